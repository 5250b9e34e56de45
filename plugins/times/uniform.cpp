// t ~ U{0 … T−1}, each row for itself (Ho et al. 2020, algorithm 1).
#include <dtk/times.hpp>

namespace {
struct Uniform final : dtk::Times {
    dtk::DrawnTimes draw(const dtk::Batch& batch, const dtk::Process& process,
                         const dtk::Random& random) const override {
        const auto t = random.integers(process.steps(), {batch.x.size(0)}).to(at::kDouble);
        return {t, at::ones_like(t)};
    }
};
}  // namespace

DTK_DEFAULT_PLUGIN(Times, uniform, Uniform, "each example draws its own time")
