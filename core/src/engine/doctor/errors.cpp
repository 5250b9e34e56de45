// Errors of a network by noise level.
#include "engine/doctor/errors.hpp"

#include <algorithm>
#include <cmath>
#include <ctime>

#include <ATen/Parallel.h>
#include <dtk/schedule.hpp>

namespace dtk::doctor {

namespace {
/// Beyond these, log-SNR says the same of any data: all noise, or none.
constexpr double most_log_snr = 16;
/// A covariance is estimated in full of so many elements at most.
constexpr std::int64_t full_covariance = 64;
/// An error that moves x_t by so much of its spread is seen in samples.
constexpr double visible = 0.15;
/// One of so much is not.
constexpr double slight = 0.05;
/// Less of what can be learned beyond linear is not worth training for.
constexpr double half_learned = 0.5;
/// The same as a mean over the levels, which all add up along a trajectory.
constexpr double visible_on_average = 0.1;
/// Standard errors beyond which chance is no explanation.
constexpr double beyond_chance = 5;

double mean_of(const Tensor& x) { return x.mean().item<double>(); }
}  // namespace

LinearDenoiser::LinearDenoiser(const Tensor& examples) {
    const auto x = examples.flatten(1).to(at::kDouble);
    const auto d = x.size(1);
    mean_ = x.mean(0);
    if (d <= full_covariance && x.size(0) >= 10 * d) {
        std::tie(variance_, axes_) = at::linalg_eigh((x - mean_).t().matmul(x - mean_) / x.size(0));
        variance_ = variance_.clamp_min(0);
        return;
    }
    const auto scale = scale_of(examples);
    const auto each = d / scale.channel_mean.numel();
    mean_ = scale.channel_mean.repeat_interleave(each);
    variance_ = scale.channel_sd.square().repeat_interleave(each);
}

Tensor LinearDenoiser::x0(const Tensor& xt, double alpha, double sigma) const {
    auto away = xt.flatten(1).to(at::kCPU, at::kDouble) - alpha * mean_;
    if (axes_.defined()) away = away.matmul(axes_);
    away = away * (alpha * variance_ / (alpha * alpha * variance_ + sigma * sigma).clamp_min(1e-300));
    if (axes_.defined()) away = away.matmul(axes_.t());
    return (away + mean_).view(xt.sizes());
}

double ErrorsAt::moved(double mean_square) const {
    return mean_square > 0 ? alpha * std::sqrt(mean_square) / spread : 0;
}

double z_of(const Tensor& values) {
    const auto n = values.numel();
    if (n < 2) return 0;
    const double mean = values.mean().item<double>(), error = values.std().item<double>() / std::sqrt(double(n));
    return error > 0 ? mean / error : mean == 0 ? 0 : std::copysign(INFINITY, mean);
}

std::vector<double> times_to_look_at(const Stage& stage, int levels) {
    const auto& noise = stage.process().levels();
    const double most = std::min(noise.log_snr(noise.first()), most_log_snr),
                 least = std::max(noise.log_snr(noise.last()), -most_log_snr);
    std::vector<double> times;
    for (int i = 0; i < levels; ++i) {
        double t = noise.time(most + (least - most) * i / (levels - 1));
        if (stage.process().whole_steps()) t = std::round(t);
        t = std::clamp(t, noise.first(), noise.last());
        if (noise.alpha(t) == 0 || (!times.empty() && t <= times.back())) continue;
        times.push_back(t);
    }
    return times;
}

bool is_told_the_class(const Stage& stage, const Examples& examples, at::Device device) {
    at::NoGradGuard no_grad;
    const auto classes = stage.dataset().classes();
    if (classes < 2 || !examples.condition.label.defined()) return false;
    const auto n = std::min<std::int64_t>(examples.n(), 64);
    const auto x = examples.x.slice(0, 0, n).to(device);
    const double t = stage.process().levels().time(0);
    const auto answer = [&](std::int64_t turn) {
        auto condition = examples.condition.chunk(0, n).to(device);
        condition.label = (condition.label + turn).remainder(classes);
        return stage.denoiser({}, condition)(x, stage.process().whole_steps() ? std::round(t) : t).value;
    };
    return !at::equal(answer(0), answer(1));
}

std::vector<ErrorsAt> errors_by_noise(Examined& run, const Stage& stage, const Examples& examples, bool bf16,
                                      int levels) {
    at::NoGradGuard no_grad;
    run.gaussian();
    const auto& process = dynamic_cast<const GaussianProcess&>(stage.process());
    if (stage.model().predicts() == PredictionType::label) throw NotLooked("the network is a classifier");
    const LinearDenoiser linear(run.training().x);
    // Who knows the class knows more than the density of all.
    const auto* density = is_told_the_class(stage, examples, run.device()) ? nullptr : stage.chain_data().density();
    const auto n = examples.n();
    constexpr std::int64_t portion = 512;
    const double sd = run.data_scale().sd;
    std::vector<ErrorsAt> all;
    const auto random = stage.random("doctor").stream("noise");
    for (const double t : times_to_look_at(stage, levels)) {
        const auto level = process.levels().at(t);
        ErrorsAt at{};
        at.t = t, at.log_snr = level.log_snr, at.alpha = level.alpha, at.sigma = level.sigma;
        at.spread = std::sqrt(level.alpha * level.alpha * sd * sd + level.sigma * level.sigma);
        std::vector<Tensor> network, best_linear, optimum, over;
        const auto square = [](const Tensor& x) { return x.flatten(1).square().mean(1); };
        for (std::int64_t first = 0; first < n; first += portion) {
            const auto rows = std::min(portion, n - first);
            const auto x0 = examples.x.slice(0, first, first + rows).to(run.device());
            const auto xt = process.noised(x0, t, random.step(std::llround(t)).from(first)).x;
            const auto denoise = stage.denoiser({.bf16 = bf16}, examples.condition.chunk(first, rows).to(run.device()));
            const auto began = std::clock();  // others may be at work on this machine
            const auto estimate = denoise.x0(xt, t).to(at::kCPU, at::kDouble);
            run.seconds_per_row = static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC /
                                  std::max(1, at::get_num_threads()) / static_cast<double>(rows);
            const auto right = x0.to(at::kCPU, at::kDouble);
            network.push_back(square(estimate - right));
            best_linear.push_back(square(linear.x0(xt, level.alpha, level.sigma) - right));
            if (!density) continue;
            const auto x = xt.flatten(1).to(at::kCPU, at::kDouble);
            const auto one = at::ones({rows}, at::kDouble);
            const auto best = density->posterior_mean(x, level.alpha * one, level.sigma * one).view(right.sizes());
            optimum.push_back(square(best - right));
            over.push_back(square(estimate - best));
        }
        at.network = at::cat(network);
        at.linear = at::cat(best_linear);
        if (density) at.optimum = at::cat(optimum), at.over_optimum = at::cat(over);
        all.push_back(std::move(at));
    }
    return all;
}

const std::vector<ErrorsAt>& held_out_errors(Examined& run, Weights weights) {
    auto& kept = run.errors[weights == Weights::raw];
    if (kept.empty()) kept = errors_by_noise(run, run.network(weights), run.held_out());
    return kept;
}

double score_of(const std::vector<ErrorsAt>& errors) {
    // What is beyond ten spreads is no worse for being farther.
    constexpr double lost = 10;
    double sum = 0;
    for (const auto& at : errors) {
        const double moved = at.moved(mean_of(at.optimum.defined() ? at.over_optimum : at.network));
        sum += std::isfinite(moved) ? std::min(moved, lost) : lost;
    }
    return errors.empty() ? 0 : sum / static_cast<double>(errors.size());
}

Fit fit_of(const std::vector<ErrorsAt>& errors) {
    Fit fit;
    double sum = 0, to_learn = 0, lacking = 0;
    for (const auto& at : errors) {
        const bool knows = at.optimum.defined();
        const auto excess = knows ? at.network - at.optimum : at.network - at.linear;
        const double mean_excess = mean_of(knows ? at.over_optimum : excess);
        const bool is_number = std::isfinite(mean_excess);
        const double moved = is_number ? at.moved(mean_excess) : INFINITY;
        if (z_of(at.linear - at.network) > beyond_chance && at.moved(mean_of(at.linear - at.network)) > slight)
            fit.learned = true;
        if (knows) {
            to_learn += std::pow(at.moved(mean_of(at.linear - at.optimum)), 2);
            lacking += std::pow(std::min(moved, 10.0), 2);
        }
        // A network that is told the class may do better than the optimum without.
        if (is_number && z_of(excess) <= beyond_chance) continue;
        sum += std::min(moved, 10.0);
        if (fit.worst && moved <= fit.worst_moved) continue;
        fit.worst = &at;
        fit.worst_moved = moved;
        fit.against_optimum = knows;
    }
    const auto levels = static_cast<double>(errors.size());
    if (to_learn > slight * slight * levels) fit.share_learned = std::max(0.0, 1 - lacking / to_learn);
    fit.bad = fit.worst && (fit.worst_moved > (fit.against_optimum ? 2 * visible : visible) ||
                            sum / levels > visible_on_average || fit.share_learned.value_or(1) < half_learned);
    return fit;
}

}  // namespace dtk::doctor
