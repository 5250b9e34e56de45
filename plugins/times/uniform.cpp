// t ~ U{0 … T−1}, each row for itself (Ho et al. 2020, algorithm 1).
#include <dtk/times.hpp>

namespace {
struct Uniform final : dtk::Times {
    dtk::SampledTimes draw(const dtk::Batch& batch, const dtk::Process& process,
                           const dtk::Random& random) const override {
        const auto t = random.integers(process.steps(), {batch.x.size(0)}).to(at::kDouble);
        return {dtk::Time(t), 1};
    }
};
}  // namespace

DTK_DEFAULT_PLUGIN(Times, uniform, Uniform, "each example draws its own time")
