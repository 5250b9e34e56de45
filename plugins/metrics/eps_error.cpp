// E‖ε̂ − ε‖²/d on test examples at t uniform in 0 … T−1: what `simple` trains, whatever was trained. Its least value is
// not 0 but
//   E‖ε* − ε‖²/d,   ε* = (x_t − α E[x_0 | x_t])/σ,
// and where the density is known that floor is taken out exactly, ‖ε̂ − ε‖² = ‖ε̂ − ε*‖² + ‖ε* − ε‖² on average: the
// value is the excess E‖ε̂ − ε*‖²/d, 0 for a perfect network, and passes where it is a small share of the floor. The
// parts are means over ten equal ranges of log-SNR: where a network is wrong.
#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include <dtk/metric.hpp>
#include <dtk/sampler.hpp>
#include <dtk/schedule.hpp>

namespace {

using at::Tensor;

struct EpsError final : dtk::Metric {
    struct Config {
        std::int64_t n = 10000, batch = 500;
        double share = 0.01;
        void fields(dtk::Fields& f) {
            f("n", n, dtk::at_least(2), "test examples, each at one t of its own; all where there are fewer");
            f("batch", batch, dtk::at_least(1), "examples the network is asked for at a time");
            f("share", share, dtk::above(0), "of a known floor: an excess up to it passes");
        }
    } c;
    EpsError(const Config& config, const dtk::BuildContext& context) : c(config) {
        dtk::gaussian(context.process(), "eps_error");
    }
    bool needs_samples() const override { return false; }

    dtk::MetricCard card() const override { return {dtk::Better::less}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        at::NoGradGuard no_grad;
        const auto& process = dtk::gaussian(input.process, "eps_error");
        // Who knows the label knows more than the density of all.
        const auto* density = input.chain_data().classes() > 0 ? nullptr : input.chain_data().density();
        const auto there = input.chain_data().test_size(), n = there > 0 ? std::min(c.n, there) : c.n;
        const auto times = drawn_times(n, process.steps(), random.stream("t"));

        std::vector<Tensor> errors, floors;
        for (std::int64_t first = 0; first < n; first += c.batch) {
            const auto last = std::min(first + c.batch, n);
            const auto batch = input.chain_data().test_examples(at::arange(first, last, at::kLong));
            const auto x0 = batch.x.to(input.device);
            const auto t = dtk::Time(times.slice(0, first, last));
            const auto xt = process.noised(x0, t, random.stream("noise").from(first));
            const auto denoise = input.denoise.with(batch.condition.to(input.device));
            const auto flat = [](const Tensor& x) { return x.flatten(1).to(at::kCPU, at::kDouble); };
            const auto eps = flat(denoise.eps(xt.x, t));
            auto right = flat(xt.noise);
            if (density) {
                const auto x = xt.x.flatten(1).to(at::kDouble);
                const auto alpha = process.alpha(t), sigma = process.sigma(t);
                const auto best = flat((x - alpha * density->posterior_mean(x, alpha.rows(x), sigma.rows(x))) / sigma);
                floors.push_back((best - right).square().mean(1));
                right = best;
            }
            errors.push_back((eps - right).square().mean(1));
            input.progress(last, n);
        }
        const auto error = at::cat(errors);
        dtk::MetricResult result{.value = error.mean().item<double>(),
                                 .standard_error = error.std().item<double>() / std::sqrt(static_cast<double>(n)),
                                 .parts = by_log_snr(error, times, process.levels()),
                                 .note = fmt::format("E‖ε̂ − ε‖²/d, {} test examples", n),
                                 .n = n,
                                 .split = "test"};
        if (density) {
            const double floor = at::cat(floors).mean().item<double>();
            result.expected = 0;
            result.limit = c.share * floor;
            result.note = fmt::format("E‖ε̂ − ε*‖²/d, {:.2g} % over the floor {:.4g}, {} test examples",
                                      100 * result.value / floor, floor, n);
        }
        return result;
    }

 private:
    /// One time from each of n equal shares of 0 … T−1, in an order of chance. → [n] float64
    static Tensor drawn_times(std::int64_t n, std::int64_t T, const dtk::Random& random) {
        auto t = random.uniform({n}, at::kDouble);
        auto* one = t.mutable_data_ptr<double>();
        for (std::int64_t i = 0; i < n; ++i)
            one[i] = std::floor((static_cast<double>(dtk::permuted(i, n, random.seed(), 0)) + one[i]) /
                                static_cast<double>(n) * static_cast<double>(T));
        return t.clamp_max_(static_cast<double>(T - 1));
    }

    static std::vector<std::pair<std::string, double>> by_log_snr(const Tensor& error, const Tensor& t,
                                                                  const dtk::NoiseLevels& levels) {
        // At ᾱ_T = 0 the last step's is −∞ and belongs to the first range.
        const double most = levels.log_snr(0), last = levels.log_snr(levels.steps() - 1);
        const double least = std::isfinite(last) || levels.steps() < 2 ? last : levels.log_snr(levels.steps() - 2);
        auto log_snr = t.clone();
        for (auto* one = log_snr.mutable_data_ptr<double>(); one != log_snr.const_data_ptr<double>() + log_snr.numel();
             ++one)
            *one = levels.log_snr(static_cast<std::int64_t>(*one));
        const double width = (most - least) / ranges;
        if (!(width > 0)) return {};
        const auto range = ((log_snr.clamp_min(least) - least) / width).floor().clamp_max(ranges - 1);
        std::vector<std::pair<std::string, double>> parts;
        for (int i = 0; i < ranges; ++i) {
            const auto inside = error.masked_select(range == i);
            if (inside.numel() > 0)
                parts.emplace_back(fmt::format("log-SNR {:.1f} … {:.1f}", least + i * width, least + (i + 1) * width),
                                   inside.mean().item<double>());
        }
        return parts;
    }

    static constexpr int ranges = 10;
};
}  // namespace

DTK_PLUGIN(Metric, eps_error, EpsError, "error of the predicted noise on test examples, over its exact floor")
