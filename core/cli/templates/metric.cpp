//! metric=[{use="my_metric"}]
// |E‖x‖² of the samples − E‖x‖² of as many test examples|: one number, with the floor that true samples have.
#include <cmath>

#include <dtk/metric.hpp>

namespace {
struct MyMetric final : dtk::Metric {
    dtk::MetricCard card() const override { return {dtk::Better::less, ""}; }  // direction and unit

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random&) const override {
        at::NoGradGuard no_grad;
        const auto n = input.samples.size(0);
        const auto of = [](const at::Tensor& x) { return x.flatten(1).to(at::kDouble).square().sum(1); };
        const auto held_out = input.data.test_size() > 0 ? std::min(n, input.data.test_size()) : n;
        const auto samples = of(input.samples), truth = of(input.data.test_examples(at::arange(held_out)).x);
        // The difference of two such means of true examples is normal; its size has the mean √(2/π) sd.
        const double sd =
            std::sqrt(truth.var().item<double>() * (1 / static_cast<double>(n) + 1 / static_cast<double>(held_out)));
        return {.value = std::abs(samples.mean().item<double>() - truth.mean().item<double>()),
                .expected = 0.79788 * sd,
                .expected_sd = 0.60281 * sd,
                .note = "difference of the mean squared length",
                .split = "test"};
    }
};
}  // namespace

DTK_PLUGIN(Metric, my_metric, MyMetric, "how far the mean squared length is off")
