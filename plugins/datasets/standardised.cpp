// y = (x + u·δ − m)/s,   u ~ U(−½, ½) of every element, δ the distance between two levels of x, m and s mean and
// standard deviation of x + u·δ over all elements of training examples: what a density can be fitted to where the data
// come in levels, scaled as in Sohl-Dickstein et al., "Deep Unsupervised Learning using Nonequilibrium Thermodynamics",
// 2015, appendix D.2. The noise of an example is its own and stays the same.
#include <algorithm>
#include <cmath>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>

namespace {

using at::Tensor;

struct Standardised final : dtk::Dataset {
    struct Config {
        dtk::Part<dtk::Dataset> of;
        std::int64_t measure = 10000;
        void fields(dtk::Fields& f) {
            f("of", of, "the data themselves");
            f("measure", measure, dtk::at_least(1),
              "training examples that mean and variance are taken from, if there are as many");
        }
    };
    Standardised(const Config& config, const dtk::BuildContext& context)
        : of_(config.of.make(context)), random_(context.random("dataset").stream("levels")) {
        if (of_->levels() > 1 && of_->range())
            step_ = (of_->range()->second - of_->range()->first) / (of_->levels() - 1);
        const auto n = of_->size() > 0 ? std::min(of_->size(), config.measure) : config.measure;
        constexpr std::int64_t portion = 1000;
        double sum = 0, square = 0, count = 0;
        for (std::int64_t first = 0; first < n; first += portion) {
            const auto x = of_->examples(at::arange(first, std::min(first + portion, n))).x.to(at::kDouble);
            sum += x.sum().item<double>(), square += x.square().sum().item<double>(),
                count += static_cast<double>(x.numel());
        }
        mean_ = sum / count;
        sd_ = std::sqrt(square / count - mean_ * mean_ + step_ * step_ / 12);
        if (!(sd_ > 0))
            throw dtk::Error("all elements of the data are the same number, which has no scale", "use other data");
    }

    std::vector<std::int64_t> shape() const override { return of_->shape(); }
    std::int64_t size() const override { return of_->size(); }
    std::int64_t test_size() const override { return of_->test_size(); }
    std::int64_t classes() const override { return of_->classes(); }
    std::vector<std::string> class_names() const override { return of_->class_names(); }
    std::vector<std::int64_t> class_counts() const override { return of_->class_counts(); }
    std::string fingerprint() const override { return of_->fingerprint(); }
    dtk::Batch examples(const Tensor& index) const override {
        return standardised(of_->examples(index), random_.stream("train").samples(index));
    }
    dtk::Batch test_examples(const Tensor& index) const override {
        return standardised(of_->test_examples(index), random_.stream("test").samples(index));
    }

 private:
    dtk::Batch standardised(dtk::Batch batch, const dtk::Random& random) const {
        if (step_ > 0) batch.x = batch.x + step_ * (random.uniform(batch.x.sizes(), batch.x.options()) - 0.5);
        batch.x = (batch.x - mean_) / sd_;
        return batch;
    }

    std::shared_ptr<dtk::Dataset> of_;
    dtk::Random random_;
    double step_ = 0, mean_, sd_;
};

}  // namespace

DTK_PLUGIN(Dataset, standardised, Standardised,
           "other data at mean 0 and variance 1, their levels filled up with noise")
