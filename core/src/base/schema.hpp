#pragma once
// What an experiment file may hold, as a JSON schema for editors.
#include <nlohmann/json_fwd.hpp>

#include "base/experiment.hpp"

namespace dtk {

/// Fields as the properties of a JSON schema (draft 7).
class DTK_API SchemaFields final : public Fields {
 public:
    SchemaFields();
    ~SchemaFields() override;
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
    /// A list of texts and whole numbers.
    void words(const char* key, std::vector<std::string>& value, const char* doc);
    const nlohmann::json& properties() const { return *properties_; }

 protected:
    void plugin(const char* key, const char* kind, AnyPart& value, const char* doc) override;
    void reference(const char* key, std::string& name, const char* doc) override;

 private:
    void add(const char* key, nlohmann::json type, const char* doc);
    std::unique_ptr<nlohmann::json> properties_;
};

/// Every table of an experiment, and every plugin of the registry with its fields. Loads them all. `left_out` is told
/// of those that cannot be used.
DTK_API nlohmann::json experiment_schema(const Registry& registry, std::vector<std::string>& left_out);

}  // namespace dtk
