// Times drawn from a density.
#include <dtk/drawn_times.hpp>

#include <algorithm>

namespace dtk {

DensityTimes::~DensityTimes() = default;

void DensityTimes::Config::fields(Fields& f) {
    f("importance", importance, "weigh the draws back, so that the objective is that of uniform times");
    f("stratified", stratified, "one draw in each of n equal shares of probability, n the batch");
}

DensityTimes::DensityTimes(const Config& config, const BuildContext& context) : config_(config) {
    if (context.process().whole_steps())
        throw Error("these times are real numbers, and the process knows only whole steps",
                    "use times such as uniform or stratified, or process `gaussian` with a fixed schedule");
}

double DensityTimes::counts(double u) const {
    const double here = density(u);
    return config_.importance && here > 0 ? 1 : here;
}

SampledTimes DensityTimes::draw(const Batch& batch, const Process& process, const Random& random) const {
    const auto rows = batch.x.size(0), n = batch.of > 0 ? batch.of : rows;
    auto share = random.uniform({rows}, at::kDouble);
    if (config_.stratified) {
        // Row i of the batch gets another part of the probability at every step.
        const auto k = random.stream("turn").from(0).integers(n, {1});
        const auto part = (at::arange(batch.first, batch.first + rows, at::kLong) + k).remainder(n);
        share = (part + share) / static_cast<double>(n);
    }
    const auto T = static_cast<double>(process.steps());
    const auto t = at::empty({rows}, at::kDouble), weight = at::ones({rows}, at::kDouble);
    for (std::int64_t i = 0; i < rows; ++i) {
        const double r = std::clamp(share.const_data_ptr<double>()[i], 1e-12, 1 - 1e-12);
        const double u = std::clamp(quantile(r), 1e-12, 1.0);
        t.mutable_data_ptr<double>()[i] = u * T - 1;
        if (config_.importance) weight.mutable_data_ptr<double>()[i] = 1 / density(u);
    }
    return {t, config_.importance ? Coefficient::of_rows(weight) : Coefficient(1)};
}

}  // namespace dtk
