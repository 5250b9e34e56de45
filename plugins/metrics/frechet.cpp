// The Fréchet distance between the Gaussians with the means and covariances of the samples and of as many true
// examples (dtk/features.hpp; Dowson & Landau 1982), here in pixels or in what a classifier trained by dtk makes of an
// image: its figures compare with those of the same classifier alone. As finite sets have d² > 0, it stands beside what
// sets of true examples give.
#include <fmt/format.h>

#include <dtk/features.hpp>
#include <dtk/metric.hpp>

namespace {

struct Frechet final : dtk::Metric {
    struct Config {
        dtk::Reference features{"pixels"};
        std::int64_t repeats = 8;
        void fields(dtk::Fields& f) {
            f("features", features, "what is looked at: pixels, or a stage or run that trained a classifier");
            f("repeats", repeats, dtk::in(2, 1024), "pairs of sets of true examples that are held against each other");
        }
    } c;

    Frechet(const Config& config, const dtk::BuildContext& context)
        : c(config), features_(config.features, context, "frechet") {
        if (const auto size = context.dataset().test_size(); size > 0 && size < 4)
            throw dtk::Error("frechet needs four test examples or more", "use another metric");
    }

    dtk::MetricCard card() const override { return {dtk::Better::less, "squared distance"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto n = dtk::true_set_size(input.data, input.samples.size(0));
        if (n < 2) throw dtk::Error("frechet needs two samples or more", "raise `n` in [sample]");
        auto result = dtk::held_against_truth(input, features_, n, c.repeats, random, dtk::frechet_distance);
        result.note =
            fmt::format("Fréchet distance, squared, of {} samples to as many true ones, {}", n, features_.text());
        return result;
    }

 private:
    dtk::Features features_;
};
}  // namespace

DTK_PLUGIN(Metric, frechet, Frechet, "Fréchet distance to true examples, in pixels or in a classifier's features")
