// Samples: cures that are tried on the sampler, and what the samples that are there look like.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <dtk/safetensors.hpp>
#include <dtk/schedule.hpp>

#include "engine/doctor/checks.hpp"
#include "engine/doctor/draws.hpp"
#include "engine/doctor/errors.hpp"

namespace dtk::doctor {

namespace {
/// A distance is seen from such a share of the distance between any two on; a shift by a sixth of the standard
/// deviation makes 0.006.
constexpr double visible_share = 0.006;
constexpr double beyond_chance = 6;

/// Answers with `of` where `when` says so.
template <class When, class Of>
Denoiser answered(const Denoiser& denoise, When when, Of of) {
    return denoise.replaced([=](const Tensor& x, const Time& t, const Condition& told) {
        return when(t) ? Prediction{PredictionType::x0, of(x, t), {}} : denoise(x, t, told);
    });
}
}  // namespace

namespace {
Findings try_sampling_cures(Examined& run) {
    const auto& stage = run.network();
    auto drawing = as_the_run(run, 1);
    const auto& settings = *stage.spec().sample;
    held_out_errors(run, Weights::sampled);  // what asking costs is known afterwards
    // As many as three seconds draw, of the thousand that would do.
    const double each = rows_of(drawing) * run.seconds_per_row;
    drawing.n = std::clamp<std::int64_t>(static_cast<std::int64_t>(3 / std::max(each, 1e-9)), 48, 1000);
    run.afford(2 * rows_of(drawing));
    const double sd = run.data_scale().sd;
    if (!(sd > 0)) throw NotLooked("the data do not vary");
    const auto examples = examples_like_samples(run, std::min<std::int64_t>(1000, run.training().n()));
    const auto distance = [&](const Drawing& how) { return distance_between(drawn(run, how), examples, sd); };
    const auto now = distance(drawing);
    if (std::isfinite(now.value) && (now.share() < visible_share || now.z() < beyond_chance)) return {};

    const auto times = stage.part<Sampler>()->times(stage.process());
    const auto N = static_cast<std::int64_t>(times.size()), T = stage.process().steps();
    struct Cure {
        std::string what, figure, cure;
        Distance then;
    };
    std::vector<Cure> cures;
    const auto with = [&](std::string what, std::string figure, std::string cure, const Drawing& how) {
        try {
            run.afford(rows_of(how));
            cures.push_back({std::move(what), std::move(figure), std::move(cure), distance(how)});
        } catch (const NotLooked&) {  // the others may be cheaper
        }
    };

    const auto type = stage.model().predicts();
    const double first = times.front();
    if (type == PredictionType::eps || type == PredictionType::score) {
        auto how = drawing;
        const auto linear = std::make_shared<LinearDenoiser>(run.training().x);
        const auto level = stage.process().levels().at(first);
        how.around = [=](const Denoiser& denoise) {
            return answered(
                denoise, [=](const Time& t) { return t.all([=](double t) { return t >= first; }); },
                [=](const Tensor& x, const Time&) {
                    return linear->x0(x, level.alpha, level.sigma).to(x.device(), x.scalar_type());
                });
        };
        with(fmt::format("the first step of sampling multiplies the network's error by {:.3g}",
                         level.sigma / level.alpha),
             fmt::format("with the best linear x̂_0 in the place of the network's at t = {:g}, log-SNR {:.1f}, alone",
                         first, level.log_snr),
             run.anew({"model.prediction=v"}), how);
    }
    std::unique_ptr<Built> finer;
    if (N < T) {
        const auto more = std::min(T, std::max<std::int64_t>(4 * N, 20));
        finer = run.built({fmt::format("sampler.steps={}", more)});
        finer->stage->to(run.device());
        if (run.checkpoint() && !stage.model().parameters().empty())
            restore(*finer->stage, *run.checkpoint(), average_of(stage, *run.checkpoint(), settings.average),
                    "the checkpoint");
        finer->stage->train(false);
        auto how = drawing;
        how.stage = finer->stage.get();
        with(fmt::format("{} sampling steps are too few", N), fmt::format("with {} steps", more),
             run.resampled(fmt::format("sampler.steps={}", more)), how);
    }
    if (settings.clip && stage.space().range) {
        auto how = drawing;
        how.clip = false;
        with("clipping x̂_0 to the data's range spoils the samples", "without clipping",
             run.resampled("sample.clip=false"), how);
    }
    if (settings.precision == "bf16") {
        auto how = drawing;
        how.bf16 = false;
        with("bfloat16 spoils the samples", "in float32", run.resampled("sample.precision=float32"), how);
    }

    const auto in_words = [](const Distance& d) {
        return std::isfinite(d.value) ? fmt::format("{:.3g}", d.value) : std::string("not finite");
    };
    const auto standing = fmt::format(
        "energy distance of {} samples to the data, in standard deviations: {}; true samples: {:.2g} ± {:.1g}",
        drawing.n, in_words(now), now.by_chance, now.sd);
    const auto left = [&](const Distance& then) {
        if (!std::isfinite(then.value)) return 1.0;
        return std::isfinite(now.value) ? std::max(0.0, then.excess()) / now.excess() : 0.0;
    };
    std::stable_sort(cures.begin(), cures.end(),
                     [&](const Cure& a, const Cure& b) { return left(a.then) < left(b.then); });
    Findings all;
    for (const auto& cure : cures) {
        if (left(cure.then) > 0.5) break;
        all.push_back({left(cure.then) < 0.3 ? Likelihood::certain : Likelihood::likely,
                       cure.what,
                       {standing, fmt::format("{}: {}", cure.figure, in_words(cure.then))},
                       cure.cure});
    }
    if (!all.empty()) return {all.front()};
    Finding symptom{Likelihood::symptom,
                    "samples lie off the data",
                    {standing},
                    "what the other findings say; else train longer, or take a larger network"};
    for (const auto& cure : cures)
        symptom.figures.push_back(fmt::format("{}: {}, which is no cure", cure.figure, in_words(cure.then)));
    return {symptom};
}
}  // namespace

Findings sampling_cures(Examined& run) {
    if (!run.sampling) run.sampling = try_sampling_cures(run);
    return *run.sampling;
}

Findings samples_drift(Examined& run) {
    as_the_run(run, 1);
    const auto file = run.folder() / "samples.safetensors";
    std::error_code error;
    if (!std::filesystem::exists(file, error)) throw NotLooked("there are no samples");
    const auto samples = load_safetensors(file).tensors["samples"];
    if (!samples.defined() || samples.size(0) < 16) throw NotLooked("there are fewer than 16 samples");
    if (!at::isfinite(samples).all().item<bool>()) return {};
    const auto examples = examples_like_samples(run, run.training().n());
    // Of each sample and channel, its mean and its mean square about the data's mean.
    const auto rows = [](const Tensor& x) {
        return (x.dim() > 2 ? x.flatten(2) : x.flatten(1).unsqueeze(2)).to(at::kDouble);
    };
    const auto x = rows(samples), y = rows(examples);
    const auto centre = y.mean(at::IntArrayRef{0, 2}, true);
    const auto sd = (y - centre).square().mean(at::IntArrayRef{0, 2}).sqrt();
    const auto compare = [](const Tensor& a, const Tensor& b) {
        const auto error = (a.var(0) / static_cast<double>(a.size(0)) + b.var(0) / static_cast<double>(b.size(0)))
                               .sqrt()
                               .clamp_min(1e-300);
        return std::pair(a.mean(0) - b.mean(0), (a.mean(0) - b.mean(0)) / error);
    };
    const auto [mean, mean_z] = compare(x.mean(2), y.mean(2));
    const auto [square, square_z] = compare((x - centre).square().mean(2), (y - centre).square().mean(2));
    const auto ratio = ((x - centre).square().mean(at::IntArrayRef{0, 2}).sqrt() / sd.clamp_min(1e-300));
    const auto shift = mean / sd.clamp_min(1e-300);
    std::vector<std::string> figures;
    const auto channels = shift.numel();
    std::int64_t drifted = 0;
    for (std::int64_t c = 0; c < channels; ++c) {
        if (!(sd[c].item<double>() > 1e-6 * run.data_scale().sd)) continue;  // a constant has no spread to go by
        const double s = shift[c].item<double>(), r = ratio[c].item<double>();
        const bool moved = std::abs(s) > 0.15 && std::abs(mean_z[c].item<double>()) > beyond_chance;
        const bool scaled =
            std::abs(std::log(r)) > std::log(1.15) && std::abs(square_z[c].item<double>()) > beyond_chance;
        if (!moved && !scaled) continue;
        if (++drifted <= 4)
            figures.push_back(
                fmt::format("{} {}: mean off by {:+.2g} of the data's standard deviation, spread {:.2g} "
                            "times the data's",
                            samples.dim() > 2 ? "channel" : "element", c, s, r));
    }
    if (drifted == 0) return {};
    if (drifted > 4) figures.push_back(fmt::format("… {} in all", drifted));
    return {{Likelihood::symptom, "the samples have another mean or another spread than the data", figures,
             "see the other findings"}};
}

Findings clipped_estimates(Examined& run) {
    at::NoGradGuard no_grad;
    const auto range = run.stage().space().range;
    const auto& stage = run.network();
    const auto& settings = stage.spec().sample;
    if (!range || !settings || !settings->clip) return {};
    run.gaussian();
    const auto [least, most] = *range;
    const double slack = 0.1 * (most - least);
    const auto& examples = run.held_out();
    const auto n = std::min<std::int64_t>(examples.n(), 128);
    const auto x0 = examples.x.slice(0, 0, n).to(run.device());
    auto condition = examples.condition.chunk(0, n).to(run.device());
    if (stage.part<Observation>()) throw NotLooked("samples are drawn under an [observation]");
    const auto denoise = stage.denoiser({.guided = true}, condition);
    const auto random = stage.random("doctor").stream("clip");
    double worst = 0, where = 0;
    for (const double log_snr : {-2.0, -1.0, 0.0, 1.0, 2.0}) {
        double t = stage.process().levels().time(log_snr);
        if (stage.process().whole_steps()) t = std::round(t);
        const auto estimate = denoise.x0(stage.process().noised(x0, t, random.step(std::llround(t))).x, t);
        const double outside =
            (estimate < least - slack).logical_or(estimate > most + slack).to(at::kDouble).mean().item<double>();
        if (outside > worst) worst = outside, where = log_snr;
    }
    if (worst < 0.1) return {};
    const bool guided = !stage.list<Guidance>().empty();
    return {{Likelihood::likely,
             guided ? "guidance drives the estimates of x_0 far out of the data's range"
                    : "much of the network's estimate of x_0 lies far out of the data's range and is clipped",
             {fmt::format("at log-SNR {:g} {:.0f} % of the elements of x̂_0 lie beyond {:g} … {:g} by more than a tenth "
                          "of its width",
                          where, 100 * worst, least, most)},
             guided ? "a smaller `scale` of [[guidance]]" : "see the other findings; --set sample.clip=false"}};
}

}  // namespace dtk::doctor
