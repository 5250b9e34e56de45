// t_{i + n/2} = T − 1 − t_i, i = 0 … n/2 − 1, t_i ~ U{0 … T − 1}: each half of a batch of n mirrors the other.
// Song, Meng & Ermon, "Denoising Diffusion Implicit Models", 2020, in their code.
#include <dtk/times.hpp>

namespace {
struct Antithetic final : dtk::Times {
    dtk::SampledTimes draw(const dtk::Batch& batch, const dtk::Process& process,
                           const dtk::Random& random) const override {
        const auto rows = batch.x.size(0), n = batch.of > 0 ? batch.of : rows, half = (n + 1) / 2;
        const auto row = at::arange(batch.first, batch.first + rows, at::kLong);
        const auto t = random.samples(row.remainder(half)).integers(process.steps(), {rows}).to(at::kDouble);
        return {at::where(row < half, t, static_cast<double>(process.steps() - 1) - t), 1};
    }
};
}  // namespace

DTK_PLUGIN(Times, antithetic, Antithetic, "half of a batch mirrors the other half (Song et al. 2020)")
