// keep(k) = 0: the parameters themselves.
#include <dtk/optimizer.hpp>

namespace {
struct None final : dtk::Average {
    double keep(std::int64_t) const override { return 0; }
};
}  // namespace

DTK_PLUGIN(Average, none, None, "no average: the parameters themselves")
