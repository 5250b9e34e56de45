#include "engine/remembered_data.hpp"

#include <dtk/error.hpp>

namespace dtk {

namespace {
class RememberedData final : public Dataset {
 public:
    RememberedData(const Space& space, const std::string& why) : space_(space), why_(why) {}
    std::vector<std::int64_t> shape() const override { return space_.shape; }
    std::int64_t size() const override { return 0; }
    Batch examples(const Tensor&) const override { refuse(); }
    Batch test_examples(const Tensor&) const override { refuse(); }
    std::int64_t classes() const override { return space_.classes; }
    std::optional<std::pair<double, double>> range() const override { return space_.range; }
    int levels() const override { return space_.levels; }

 private:
    [[noreturn]] void refuse() const {
        throw Error("it needs the data, and they cannot be read: " + why_, "bring the data back to where they were");
    }
    Space space_;
    std::string why_;
};
}  // namespace

std::shared_ptr<Dataset> remembered_data(const Space& space, const std::string& why) {
    return std::make_shared<RememberedData>(space, why);
}

}  // namespace dtk
