// Metrics that do wrong on purpose; each names the law that it breaks as its summary.
#include <cmath>
#include <mutex>

#include <ATen/Parallel.h>

#include <dtk/metric.hpp>

namespace {

using at::Tensor;

/// |mean of the samples − mean of as many test examples|, of all elements, which is what the others do wrong.
struct Right : dtk::Metric {
    dtk::MetricCard card() const override { return {dtk::Better::less, "units of the data"}; }
    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random&) const override {
        return of(input, numbers(input.samples));
    }
    static Tensor numbers(const Tensor& x) { return x.flatten(1).to(at::kDouble).mean(1); }
    static dtk::MetricResult of(const dtk::EvaluationInput& input, const Tensor& x) {
        if (x.size(0) < 10) throw dtk::Error("ten samples or more are needed", "raise `n` in [sample]");
        const auto there = input.data.test_size(), n = there > 0 ? std::min(x.size(0), there) : x.size(0);
        const auto y = numbers(input.data.test_examples(at::arange(n)).x);
        const double error = std::sqrt(2 * y.var().item<double>() / static_cast<double>(n));
        return {.value = std::abs(x.mean().item<double>() - y.mean().item<double>()),
                .expected = 0.79788 * error,
                .expected_sd = 0.60281 * error,
                .note = "distance of the means"};
    }
};

/// Looks at the first half alone.
struct FirstHalf final : Right {
    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random&) const override {
        return of(input, numbers(input.samples.slice(0, 0, (input.samples.size(0) + 1) / 2)));
    }
};

/// A mean of the batches' medians.
struct OfItsBatches final : Right {
    struct Config {
        std::int64_t batch = 100;
        void fields(dtk::Fields& f) { f("batch", batch, dtk::at_least(1), "samples at a time"); }
    } c;
    explicit OfItsBatches(const Config& config) : c(config) {}
    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random&) const override {
        auto result = Right::of(input, numbers(input.samples));
        std::vector<double> medians;
        for (const auto& part : numbers(input.samples).split(c.batch)) medians.push_back(part.median().item<double>());
        result.value += std::abs(at::tensor(medians, at::kDouble).mean().item<double>());
        result.expected.reset();
        return result;
    }
};

/// More is better, of a distance.
struct TheOtherWay final : Right {
    dtk::MetricCard card() const override { return {dtk::Better::more, "units of the data"}; }
};

/// Held against 0, as if true samples had no error.
struct NoFloor final : Right {
    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        auto result = Right::measure(input, random);
        result.expected = 0, result.expected_sd *= 0.01;
        return result;
    }
};

/// Gathers what it has seen, over all calls.
struct Remembers final : Right {
    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random&) const override {
        const std::lock_guard lock(mutex_);
        seen_ = seen_.defined() ? at::cat({seen_, numbers(input.samples)}) : numbers(input.samples);
        auto result = of(input, seen_);
        result.n = input.samples.size(0);
        return result;
    }
    mutable std::mutex mutex_;
    mutable Tensor seen_;
};

/// Centres the samples where they are.
struct InPlace final : Right {
    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        auto result = Right::measure(input, random);
        Tensor(input.samples).sub_(0.01);
        return result;
    }
};

/// A few of the samples, and no word of an error.
struct FewOfThem final : Right {
    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        auto result = Right::measure(input, random);
        const auto x = numbers(input.samples);
        result.value = x.index_select(0, random.integers(x.size(0), {20})).square().mean().item<double>();
        result.expected.reset();
        return result;
    }
};

/// A part for each thread, and parts of other sizes count the same.
struct OfItsThreads final : Right {
    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        auto result = Right::measure(input, random);
        std::vector<double> parts;
        for (const auto& part : numbers(input.samples).chunk(at::get_num_threads() + 2))
            parts.push_back(part.square().mean().sqrt().item<double>());
        result.value += at::tensor(parts, at::kDouble).mean().item<double>();
        result.expected.reset();
        return result;
    }
};

/// The deviation of one number.
struct NoError final : Right {
    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        auto result = Right::measure(input, random);
        result.standard_error = at::tensor({result.value}, at::kDouble).std().item<double>();
        return result;
    }
};

/// Reads float32, whatever is there.
struct Floats final : Right {
    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        auto result = Right::measure(input, random);
        result.value += 1e-9 * static_cast<double>(input.samples.contiguous().const_data_ptr<float>()[0]);
        return result;
    }
};

/// The ten greatest, of however many.
struct TenGreatest final : Right {
    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random&) const override {
        const auto x = numbers(input.samples);
        return {.value = std::get<0>(x.topk(10)).mean().item<double>(), .note = "mean of the ten greatest"};
    }
};

/// Asserts what it hopes for.
struct Asserts final : Right {
    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        if (!input.samples.isfinite().all().item<bool>()) throw std::runtime_error("assertion failed");
        return Right::measure(input, random);
    }
};

}  // namespace

DTK_PLUGIN(Metric, first_half, FirstHalf, "the order of samples and the batch change nothing")
DTK_PLUGIN(Metric, of_its_batches, OfItsBatches, "the order of samples and the batch change nothing")
DTK_PLUGIN(Metric, the_other_way, TheOtherWay, "what is worse is worse by its card")
DTK_PLUGIN(Metric, no_floor, NoFloor, "true samples pass, and have what is expected of them")
DTK_PLUGIN(Metric, remembers, Remembers,
           "asked twice, and from two threads, it is the same number, and samples stay as they are")
DTK_PLUGIN(Metric, in_place, InPlace,
           "asked twice, and from two threads, it is the same number, and samples stay as they are")
DTK_PLUGIN(Metric, few_of_them, FewOfThem, "chance moves it within the error that it states")
DTK_PLUGIN(Metric, of_its_threads, OfItsThreads, "the number of threads changes nothing")
DTK_PLUGIN(Metric, no_error, NoError, "it says what its number is, with an error, a floor and how many it is of")
DTK_PLUGIN(Metric, floats, Floats, "samples of float64 are measured as those of float32")
DTK_PLUGIN(Metric, ten_greatest, TenGreatest, "too few samples are refused in words")
DTK_PLUGIN(Metric, asserts, Asserts, "samples that are not numbers pass nothing")
