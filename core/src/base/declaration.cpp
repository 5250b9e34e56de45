#include "base/declaration.hpp"

#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/reader.hpp"

namespace dtk {

namespace {

std::string toml_row(const Row& row) {
    std::string text = "[";
    for (std::size_t i = 0; i < row.size(); ++i) text += (i > 0 ? ", " : "") + toml_number(row[i]);
    return text + "]";
}

class Declaring final : public Fields {
 public:
    std::vector<DeclaredField> found;
    void operator()(const char* key, double& value, Range range, const char* doc) override {
        found.push_back({key, "number", toml_number(value), limits(range), doc});
    }
    void operator()(const char* key, std::int64_t& value, Range range, const char* doc) override {
        found.push_back({key, "whole number", fmt::format("{}", value), limits(range), doc});
    }
    void operator()(const char* key, bool& value, const char* doc) override {
        found.push_back({key, "truth", value ? "true" : "false", "true or false", doc});
    }
    void operator()(const char* key, std::string& value, const Choices& choices, const char* doc) override {
        found.push_back({key, "text", fmt::format("\"{}\"", value), fmt::format("{}", fmt::join(choices, ", ")), doc});
    }
    void operator()(const char* key, std::string& value, const char* doc) override {
        found.push_back({key, "text", fmt::format("\"{}\"", value), "", doc});
    }
    void operator()(const char* key, std::filesystem::path& value, const char* doc) override {
        found.push_back({key, "path", fmt::format("\"{}\"", value.string()), "", doc});
    }
    void operator()(const char* key, std::vector<double>& value, Range range, const char* doc) override {
        found.push_back({key, "list of numbers", toml_row(value), limits(range), doc});
    }
    void operator()(const char* key, std::vector<std::int64_t>& value, Range range, const char* doc) override {
        found.push_back(
            {key, "list of whole numbers", fmt::format("[{}]", fmt::join(value, ", ")), limits(range), doc});
    }
    void operator()(const char* key, std::vector<std::string>& value, const char* doc) override {
        found.push_back({key, "list of texts",
                         value.empty() ? "[]" : fmt::format("[\"{}\"]", fmt::join(value, "\", \"")), "", doc});
    }
    void operator()(const char* key, std::vector<Row>& value, Range range, const char* doc) override {
        std::vector<std::string> rows;
        for (const auto& row : value) rows.push_back(toml_row(row));
        found.push_back(
            {key, "list of lists of numbers", fmt::format("[{}]", fmt::join(rows, ", ")), limits(range), doc});
    }

 protected:
    void reference(const char* key, std::string& name, const char* doc) override {
        found.push_back({key, "trained network", fmt::format("\"{}\"", name), "a stage's name or a run's folder", doc});
    }
    void plugin(const char* key, const char* kind, AnyPart& value, const char* doc) override {
        found.push_back({key, kind, value.use.empty() ? "" : fmt::format("\"{}\"", value.use),
                         fmt::format("a {} plugin", kind), doc});
    }

 private:
    static std::string limits(Range range) {
        return std::isinf(range.lo) && std::isinf(range.hi) ? "" : interval(range);
    }
};

}  // namespace

std::vector<DeclaredField> declared_fields(const Descriptor& descriptor) {
    Declaring declaring;
    descriptor.describe(declaring);
    return std::move(declaring.found);
}

}  // namespace dtk
