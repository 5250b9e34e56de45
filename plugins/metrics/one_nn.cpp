// How often the nearest neighbour of a member, of n samples and n true examples thrown together, is of its own kind:
// leave-one-out accuracy of a 1-nearest-neighbour classifier (Lopez-Paz & Oquab, "Revisiting Classifier Two-Sample
// Tests", 2017). Of two sets of one law (n − 1)/(2n − 1); samples that are told from the truth have more, copies of the
// very examples less.
#include <fmt/format.h>

#include <dtk/features.hpp>
#include <dtk/metric.hpp>

namespace {

using at::Tensor;

double accuracy(const Tensor& x, const Tensor& y) {
    const auto all = at::cat({x, y});
    const auto n = x.size(0);
    std::int64_t own = 0;
    dtk::squared_distances(all, all, [&](std::int64_t first, const Tensor& d2) {
        const auto rows = at::arange(first, first + d2.size(0), at::kLong);
        const auto nearest = d2.scatter(1, rows.unsqueeze(1), std::numeric_limits<double>::infinity()).argmin(1);
        own += ((nearest < n) == (rows < n)).sum().item<std::int64_t>();
    });
    return static_cast<double>(own) / static_cast<double>(all.size(0));
}

struct OneNn final : dtk::SetMetric {
    struct Config : dtk::SetMetric::Config {
        std::int64_t most = 5000;
        void fields(dtk::Fields& f) {
            dtk::SetMetric::Config::fields(f);
            f("most", most, dtk::in(10, 100'000), "samples that are looked at; time grows with the square");
        }
    } c;

    OneNn(const Config& config, const dtk::BuildContext& context)
        : SetMetric(config, context, "one_nn", 2), c(config) {}

    dtk::MetricCard card() const override { return {dtk::Better::nearest, "share"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto n = size(input, c.most);
        auto result = held_against_truth(input, n, random, accuracy);
        result.note = fmt::format("share of {} samples and as many true ones whose nearest is of their kind, {}", n,
                                  features().text());
        return result;
    }
};
}  // namespace

DTK_PLUGIN(Metric, one_nn, OneNn, "can a nearest neighbour tell samples from true examples? (leave one out)")
