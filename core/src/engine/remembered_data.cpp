#include "engine/remembered_data.hpp"

#include <fmt/format.h>

#include <dtk/error.hpp>

#include "base/registry.hpp"

namespace dtk {

namespace {
class LostDataset final : public Dataset {
 public:
    LostDataset(const RememberedData& data, const std::string& why)
        : space_(data.space), classes_(data.classes), why_(why) {}
    std::vector<std::int64_t> shape() const override { return space_.shape; }
    std::int64_t size() const override { return 0; }
    Batch examples(const Tensor&) const override { refuse(); }
    Batch test_examples(const Tensor&) const override { refuse(); }
    std::int64_t classes() const override { return space_.classes; }
    std::optional<std::pair<double, double>> range() const override { return space_.range; }
    int levels() const override { return space_.levels; }
    std::vector<std::string> class_names() const override { return classes_.names; }
    std::vector<std::int64_t> class_counts() const override { return classes_.examples; }

 private:
    [[noreturn]] void refuse() const {
        throw Error("it needs the data, and they cannot be read: " + why_, "bring the data back to where they were");
    }
    Space space_;
    Classes classes_;
    std::string why_;
};
}  // namespace

std::shared_ptr<Dataset> remembered_data(const RememberedData& data, const std::string& why) {
    return std::make_shared<LostDataset>(data, why);
}

Classes classes_of(const Dataset& data) {
    const auto count = data.classes();
    const auto of = [&](auto list, const char* what) {
        if (!list.empty() && static_cast<std::int64_t>(list.size()) != count)
            throw PluginError(fmt::format("the data set has {} classes and {} {}", count, list.size(), what),
                              "its class_names() and class_counts() are empty, or have one for each class");
        return list;
    };
    return {count, of(data.class_names(), "names for them"), of(data.class_counts(), "counts of them")};
}

}  // namespace dtk
