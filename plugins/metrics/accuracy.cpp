// The share of test examples whose class has the greatest log-odds, for a model that is a classifier.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <dtk/metric.hpp>
#include <dtk/model.hpp>

namespace {

constexpr std::int64_t examples_at_once = 256;

struct Accuracy final : dtk::Metric {
    struct Config {
        std::int64_t most = 10'000;
        void fields(dtk::Fields& f) { f("most", most, dtk::at_least(1), "test examples that are classified"); }
    } c;

    Accuracy(const Config& config, const dtk::BuildContext& context) : c(config) {
        if (context.dataset().classes() == 0)
            throw dtk::Error("accuracy needs data with classes", "use other data, or give the data their labels");
        if (context.model().predicts() != dtk::PredictionType::label)
            throw dtk::Error("accuracy measures a classifier", "use model `classifier`, or another metric");
    }

    bool needs_samples() const override { return false; }

    dtk::MetricCard card() const override { return {dtk::Better::more, "share"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random&) const override {
        at::NoGradGuard no_grad;
        const auto n = input.data.test_size() == 0 ? c.most : std::min(c.most, input.data.test_size());
        std::int64_t right = 0;
        for (std::int64_t first = 0; first < n; first += examples_at_once) {
            const auto batch =
                input.data.test_examples(at::arange(first, std::min(n, first + examples_at_once), at::kLong));
            const auto x = batch.x.to(input.device);
            const auto answer = input.denoise(x, 0, {}).value;
            right += (answer.cpu().argmax(1) == batch.condition.label).sum().item<std::int64_t>();
            input.progress(first + x.size(0), n);
        }
        const double share = static_cast<double>(right) / static_cast<double>(n);
        return {.value = share,
                .standard_error = std::sqrt(share * (1 - share) / static_cast<double>(n)),
                .note = fmt::format("share of {} test examples classified right", n),
                .n = n,
                .split = "test"};
    }
};
}  // namespace

DTK_PLUGIN(Metric, accuracy, Accuracy, "share of test examples that a classifier gets right")
