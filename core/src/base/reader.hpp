#pragma once
#include <set>

#include <dtk/fields.hpp>

#include "base/registry.hpp"
#include "base/toml.hpp"

namespace dtk {

/// What reading one stage of an experiment shares: where plugins are, where mistakes go, which tables were used.
struct DTK_API ParseContext {
    const Registry& registry;
    Diagnostics& mistakes;
    std::filesystem::path folder;  ///< what a relative path is relative to
    std::vector<const toml::table*>
        scopes;                             ///< where a table named like a kind is looked for: the stage, then the file
    std::set<const toml::node*> used = {};  ///< the tables somebody read
    std::set<const PluginFile*> chosen = {};  ///< the plugins that fields of other plugins name
    std::set<std::string> references = {};    ///< the trained networks that fields name

    /// The table, text or array of that name in the nearest scope, marked as used; null where there is none.
    const toml::node* find(std::string_view name);
    /// Where that name stands in the nearest scope.
    SourceLocation place(std::string_view name) const;
};

/// A plugin that a file names: found, its fields read and checked.
class DTK_API PluginSpec {
 public:
    std::string kind;
    std::string name;
    std::string label;  ///< the `name` that the file gives it, for kinds that may have several; otherwise the plugin's
    SourceLocation place;
    toml::table resolved;  ///< every field with its value
    const PluginFile* file = nullptr;
    const Descriptor* descriptor = nullptr;
    std::shared_ptr<void> config;      ///< what it is built from
    const toml::node* node = nullptr;  ///< the table or name in the file; null for a default
    explicit operator bool() const { return descriptor != nullptr; }
    /// Builds it. Errors: PlacedError with what its constructor threw.
    std::shared_ptr<void> make(const BuildContext& context) const;
};

/// Reads `{use = "name", fields …}`, or `"name"`, or nothing (the kind's default). On a mistake the result is empty.
/// labelled: the table may give it a `name` of its own.
DTK_API PluginSpec read_plugin(ParseContext& reading, const std::string& kind, const toml::node* node,
                               SourceLocation place, bool labelled = false);

/// Fields out of a TOML table, with every mistake noted where it stands. `finish` reports keys nobody asked for.
class DTK_API TomlFields : public Fields {
 public:
    /// Of a table that is no plugin's, "[train]".
    TomlFields(ParseContext& reading, const toml::table* table, std::string owner)
        : reading_(reading), table_(table), owner_(std::move(owner)) {}
    TomlFields(ParseContext& reading, const toml::table* table, const std::string& kind, const std::string& name);
    void operator()(const char* key, double& value, Range range, const char* doc) override;
    void operator()(const char* key, std::int64_t& value, Range range, const char* doc) override;
    void operator()(const char* key, bool& value, const char* doc) override;
    void operator()(const char* key, std::string& value, const Choices& choices, const char* doc) override;
    void operator()(const char* key, std::string& value, const char* doc) override;
    void operator()(const char* key, std::filesystem::path& value, const char* doc) override;
    void operator()(const char* key, std::vector<double>& value, Range range, const char* doc) override;
    void operator()(const char* key, std::vector<std::int64_t>& value, Range range, const char* doc) override;
    void operator()(const char* key, std::vector<std::string>& value, const char* doc) override;
    void operator()(const char* key, std::vector<Row>& value, Range range, const char* doc) override;
    /// A list of texts and whole numbers, both as they are written.
    void words(const char* key, std::vector<std::string>& value, const char* doc);
    void require(bool holds, const char* key, const std::string& problem, const std::string& cure) override;
    void finish(const std::set<std::string>& also_known = {});
    const toml::table& resolved() const { return resolved_; }

 protected:
    void plugin(const char* key, const char* kind, AnyPart& value, const char* doc) override;
    void reference(const char* key, std::string& name, const char* doc) override;
    void has_no_default(const char* key) override { without_default_ = key; }

 private:
    const toml::node* node(const char* key, const char* doc);
    SourceLocation place_of_table() const;
    /// The plugin itself is wrong.
    void wrong_declaration(const char* key, const std::string& problem);
    void check_default(const char* key, Range range, double value);
    bool number(const toml::node& node, const char* key, Range range, double& value);
    bool inside(const toml::node& node, const char* key, Range range, double value);
    bool whole(const toml::node& node, const char* key, Range range, std::int64_t& value);
    void wrong_type(const toml::node& node, const char* key, std::string_view wanted);
    template <class Value, class Read>
    void list(const char* key, std::vector<Value>& value, const char* doc, std::string_view wanted, Read read);

    ParseContext& reading_;
    const toml::table* table_;  ///< null: every field keeps its default
    std::string owner_, kind_;  ///< in words; the plugin's kind, empty where it is none
    std::vector<std::string> asked_;
    std::string without_default_;     ///< the next field, where that has none
    std::set<std::string> mistaken_;  ///< fields whose value is no such
    toml::table resolved_;
};

/// Stands in for the context where a plugin is built without an experiment. Only kinds that see no tensor, schedules
/// and grids, are built so, and they never look at it.
DTK_API const BuildContext& no_context();

/// "0.5 is outside [0, 0.1]" and the like, in the notation of intervals.
DTK_API std::string interval(Range range);

}  // namespace dtk
