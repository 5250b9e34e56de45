// The learning rate stays what it is.
#include <dtk/rate.hpp>

namespace {
struct Constant final : dtk::Rate {
    double share(std::int64_t, std::int64_t) const override { return 1; }
};
}  // namespace

DTK_DEFAULT_PLUGIN(Rate, constant, Constant, "the learning rate stays as it is")
