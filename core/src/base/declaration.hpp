#pragma once
#include <string>
#include <vector>

#include <dtk/plugin.hpp>

namespace dtk {

/// A field as its plugin declares it.
struct DeclaredField {
    std::string key;
    std::string type;           ///< "number", "whole number", "text", "list of numbers", …, or the kind of a plugin
    std::string default_value;  ///< in TOML; empty where there is none
    std::string accepts;        ///< the range or the choices, in words; empty where anything goes
    std::string doc;
    Range range = {};       ///< of numbers
    Choices choices = {};   ///< of a text; empty where anything goes
    bool required = false;  ///< it has no default
};

/// Collects fields as they are declared.
class DTK_API DeclaringFields final : public Fields {
 public:
    std::vector<DeclaredField> found;
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
    void words(const char* key, std::vector<std::string>& value, const char* doc);
    void require(bool holds, const char* key, const std::string& problem, const std::string& cure) override;

 protected:
    void reference(const char* key, std::string& name, const char* doc) override;
    void plugin(const char* key, const char* kind, AnyPart& value, const char* doc) override;
    void has_no_default(const char* key) override { without_default_ = key; }

 private:
    void add(DeclaredField field);
    std::string without_default_;
};

/// The fields of a plugin, in the order it declares them.
DTK_API std::vector<DeclaredField> declared_fields(const Descriptor& descriptor);

}  // namespace dtk
