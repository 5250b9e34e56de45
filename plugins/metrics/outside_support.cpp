// The share of samples that cannot occur: those where the true density is zero. Of data that may lie anywhere it is 0
// always. It does not see a missing mode, so never judge by it alone: mode_coverage counts them.
#include <limits>

#include <dtk/metric.hpp>

namespace {
struct OutsideSupport final : dtk::Metric {
    struct Config {
        double limit = 0.015;
        void fields(dtk::Fields& f) { f("limit", limit, dtk::in(0, 1), "the largest share that passes"); }
    } c;
    OutsideSupport(const Config& config, const dtk::BuildContext& context) : c(config) {
        dtk::known_density(context.dataset(), "outside_support");
    }

    dtk::MetricCard card() const override { return {dtk::Better::less, "share"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random&) const override {
        const auto x = input.samples.reshape({input.samples.size(0), -1}).to(at::kDouble);
        const auto inside =
            dtk::known_density(input.data, "outside_support").log_prob(x) > -std::numeric_limits<double>::infinity();
        return {.value = 1 - inside.to(at::kDouble).mean().item<double>(),
                .expected = 0,
                .limit = c.limit,
                .note = "share of samples that the data never show"};
    }
};
}  // namespace

DTK_PLUGIN(Metric, outside_support, OutsideSupport, "the share of samples where the true density is zero")
