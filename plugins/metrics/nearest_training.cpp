// Does the model copy? r = median over samples of the distance to the nearest training example,
//                         / the same median over examples that training never saw.
// Copies have 0, new draws from the truth 1, what lies away from the data more. How r of true samples would scatter
// comes from drawing as many held-out examples with replacement (a bootstrap of both medians).
#include <fmt/format.h>

#include <algorithm>

#include <dtk/features.hpp>
#include <dtk/metric.hpp>

namespace {

using at::Tensor;

constexpr double copied = 1e-3;  // of the median of held-out examples: rounding of pixels and no more

double middle(const Tensor& x) { return x.median().item<double>(); }

struct NearestTraining final : dtk::Metric {
    struct Config {
        dtk::Reference features{"pixels"};
        std::int64_t most = 1000, repeats = 200;
        void fields(dtk::Fields& f) {
            f("features", features, "what is looked at: pixels, or a stage or run that trained a classifier");
            f("most", most, dtk::in(10, 100'000), "samples, and held-out examples, that are looked at");
            f("repeats", repeats, dtk::in(10, 100'000), "sets of true examples that are drawn for the noise");
        }
    } c;

    NearestTraining(const Config& config, const dtk::BuildContext& context)
        : c(config), features_(config.features, context, "nearest_training") {
        dtk::needs_data_that_end(context, "nearest_training");
    }

    dtk::MetricCard card() const override { return {dtk::Better::nearest}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto found = dtk::beside_training(input, features_, c.most);
        const auto &ours = found.distance_of_samples, &theirs = found.distance_of_held_out;
        const auto n = ours.numel(), m = theirs.numel();
        const double usual = middle(theirs);
        if (!(usual > 0))
            throw dtk::Error("more than half of the held-out examples are training examples, too",
                             "use another metric for such data");

        std::vector<double> ratios;
        for (std::int64_t i = 0; i < c.repeats; ++i) {
            const auto draw = [&](const char* name, std::int64_t size) {
                return middle(theirs.index_select(0, random.stream(name).step(i).integers(m, {size})));
            };
            if (const double below = draw("held out", m); below > 0) ratios.push_back(draw("samples", n) / below);
        }
        const auto floor = at::tensor(ratios, at::kDouble);
        return {.value = middle(ours) / usual,
                .expected = floor.mean().item<double>(),
                .expected_sd = floor.std().item<double>(),
                .parts = {{"median of samples", middle(ours)},
                          {"median held out", usual},
                          {"copies", (ours <= copied * usual).to(at::kDouble).mean().item<double>()}},
                .note = fmt::format("distance to the nearest of {} training examples, {} samples over {} held out, {}",
                                    input.data.size(), n, m, features_.text()),
                .n = n,
                .split = "train",
                .features = features_.card()};
    }

 private:
    dtk::Features features_;
};
}  // namespace

DTK_PLUGIN(Metric, nearest_training, NearestTraining, "does the model copy? distance to the nearest training example")
