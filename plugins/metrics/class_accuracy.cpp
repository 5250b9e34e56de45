// The share of samples that a classifier finds to be of the class that they were asked to be of; beside it what it says
// of test examples, the most that can be had, and the share that it would be if classes were drawn blindly.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <dtk/classifier.hpp>
#include <dtk/metric.hpp>

namespace {

using at::Tensor;

constexpr std::int64_t portion = 256;

struct ClassAccuracy final : dtk::Metric {
    struct Config {
        dtk::Reference classifier;
        std::int64_t real = 2000;
        void fields(dtk::Fields& f) {
            f.required("classifier", classifier, "the earlier stage or the run that tells the classes apart");
            f("real", real, dtk::at_least(10), "test examples, if there are as many");
        }
    } c;
    ClassAccuracy(const Config& config, const dtk::BuildContext& context)
        : c(config), classifier_(std::dynamic_pointer_cast<dtk::Classifier>(context.trained(c.classifier).model)) {
        if (!classifier_ || classifier_->shape() != context.dataset().shape())
            throw dtk::Error(fmt::format("`classifier` = \"{}\" is no classifier of these data", c.classifier.name()),
                             "name a stage or run whose model is a classifier, trained on the same data");
        if (context.dataset().classes() < 2)
            throw dtk::Error("class_accuracy needs data with classes", "use other data, or another metric");
    }
    dtk::MetricCard card() const override { return {dtk::Better::more, "share"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random&) const override {
        const at::NoGradGuard no_grad;
        if (!input.labels.defined())
            throw dtk::Error("the samples were not asked to be of a class, and cannot be of the right one",
                             "use conditional = true in [model] with `labels`, or guide by a classifier");
        const auto n = input.samples.size(0);
        const auto m = input.data.test_size() > 0 ? std::min(c.real, input.data.test_size()) : c.real;
        const auto real = input.data.test_examples(at::arange(m, at::kLong));
        const double made = share(input.samples, input.labels, input.device),
                     best = share(real.x, real.condition.label, input.device);
        const auto deviation = [&](std::int64_t of) { return std::sqrt(best * (1 - best) / static_cast<double>(of)); };
        return {.value = made,
                .standard_error = std::sqrt(made * (1 - made) / static_cast<double>(n)),
                .expected = best,
                .expected_sd = std::hypot(deviation(n), deviation(m)),
                .tolerance = 1.0 / static_cast<double>(n),
                .parts = {{"chance", share(input.samples, input.labels.roll(n / 2 + 1), input.device)}},
                .note = fmt::format("share of {} samples that look to be of their class", n),
                .n = n,
                .split = "test"};
    }

 private:
    /// A sample with a number that is none is of no class.
    double share(const Tensor& x, const Tensor& label, at::Device device) const {
        std::int64_t right = 0;
        for (std::int64_t first = 0; first < x.size(0); first += portion) {
            const auto some = x.slice(0, first, first + portion);
            const auto found =
                classifier_->forward(some.to(device).to(at::kFloat), dtk::Time(0), {}).value.argmax(1).cpu();
            const auto finite = some.isfinite().flatten(1).all(1);
            right += ((found == label.slice(0, first, first + portion)) & finite).sum().item<std::int64_t>();
        }
        return static_cast<double>(right) / static_cast<double>(x.size(0));
    }

    std::shared_ptr<dtk::Classifier> classifier_;
};
}  // namespace

DTK_PLUGIN(Metric, class_accuracy, ClassAccuracy, "share of samples that a classifier finds to be of their class")
