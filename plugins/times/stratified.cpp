// t_i = ⌊T·(j + r_i)/n⌋, r_i ~ U[0, 1): one time in each of n equal parts of 0 … T, n the whole batch. Row i gets part
// j = (i + k) mod n with a k that changes from step to step, so that no example is tied to a part.
// The stratified times of Kingma et al., "Variational Diffusion Models", 2021, with a draw of its own in each part.
#include <dtk/times.hpp>

namespace {
struct Stratified final : dtk::Times {
    dtk::SampledTimes draw(const dtk::Batch& batch, const dtk::Process& process,
                           const dtk::Random& random) const override {
        const auto rows = batch.x.size(0), n = batch.of > 0 ? batch.of : rows;
        const auto k = random.stream("turn").from(0).integers(n, {1});
        const auto part = (at::arange(batch.first, batch.first + rows, at::kLong) + k).remainder(n);
        const auto r = random.uniform({rows}, at::kDouble);
        const auto T = static_cast<double>(process.steps());
        const auto t = ((part + r) * (T / static_cast<double>(n))).floor().clamp_max(T - 1);
        return {dtk::Time(t), 1};
    }
};
}  // namespace

DTK_PLUGIN(Times, stratified, Stratified, "one time in each of n equal parts, n the batch")
