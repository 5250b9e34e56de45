// Mean negative log-likelihood of the samples under the true density of the data:
//   −(1/n) Σ log p(x_i);  of true samples its mean is the entropy H and its standard deviation sd(log p)/√n.
// A fault to both sides: below H, samples crowd where the density is high. It does not see a missing mode, so never
// judge by it alone.
#include <cmath>
#include <dtk/metric.hpp>
#include <dtk/remembered.hpp>

namespace {

struct Nll final : dtk::Metric {
    struct Config {
        double tolerance = 0.03;
        void fields(dtk::Fields& f) {
            f("tolerance", tolerance, dtk::at_least(0), "nats that pass beyond four standard deviations");
        }
    } cfg;

    Nll(const Config& config, const dtk::BuildContext& context) : cfg(config) {
        dtk::known_density(context.dataset(), "nll");
    }

    dtk::MetricCard card() const override { return {dtk::Better::nearest, "nats"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random&) const override {
        const auto& density = dtk::known_density(input.data, "nll");
        const auto n = input.samples.size(0);
        const auto exact = dtk::remembered("entropy", [&]() -> std::vector<double> {
            return {density.entropy(), density.log_prob_sd()};
        });
        return {.value = -density.log_prob(input.samples.reshape({n, -1}).to(at::kDouble)).mean().item<double>(),
                .expected = exact[0],
                .expected_sd = exact[1] / std::sqrt(static_cast<double>(n)),
                .tolerance = cfg.tolerance,
                .note = "nats per sample under the true density"};
    }
};

}  // namespace

DTK_PLUGIN(Metric, nll, Nll, "negative log-likelihood of the samples under the true density")
