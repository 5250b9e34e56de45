// t_i = ⌊T·((i + r)/n mod 1)⌋, i = 0 … n − 1, with one r ~ U[0, 1) for the whole batch of n.
// Kingma, Salimans, Poole & Ho, "Variational Diffusion Models", 2021, appendix I.1. Example i gets another place at
// every step, so that none is tied to a part of the times.
#include <dtk/times.hpp>

namespace {
struct LowDiscrepancy final : dtk::Times {
    dtk::SampledTimes draw(const dtk::Batch& batch, const dtk::Process& process,
                           const dtk::Random& random) const override {
        const auto rows = batch.x.size(0), n = batch.of > 0 ? batch.of : rows;
        const auto shared = random.stream("turn").from(0);
        const auto k = shared.integers(n, {1});
        const auto r = shared.uniform({1}, at::kDouble);
        const auto part = (at::arange(batch.first, batch.first + rows, at::kLong) + k).remainder(n);
        const auto T = static_cast<double>(process.steps());
        return {((part + r) * (T / static_cast<double>(n))).floor().clamp_max(T - 1), 1};
    }
};
}  // namespace

DTK_PLUGIN(Times, low_discrepancy, LowDiscrepancy, "evenly spaced over the batch with one shift (Kingma et al. 2021)")
