// A schedule of noise that does not fit the data, the number of steps, or where sampling begins.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <dtk/sampler.hpp>
#include <dtk/schedule.hpp>

#include "engine/doctor/checks.hpp"
#include "engine/doctor/draws.hpp"
#include "engine/doctor/errors.hpp"

namespace dtk::doctor {

namespace {
/// Nats of each example that the noise which sampling starts from is told apart from x_T by.
constexpr double few_nats = 0.05;

/// KL(q(x_t | x_0) ‖ what sampling starts from at t), a mean over examples, in nats.
double left_at(const Stage& stage, const Tensor& x0, double t) {
    const auto& noise = stage.process().levels();
    if (!dynamic_cast<const GaussianProcess*>(&stage.process()))
        return stage.process().prior_term(x0).to(at::kDouble).mean().item<double>();
    const double prior = noise.is_variance_preserving() ? 1 : noise.sigma(t);
    const double d = static_cast<double>(x0.numel()) / static_cast<double>(x0.size(0));
    const double square = x0.to(at::kDouble).square().mean().item<double>() * d;
    const double a2 = std::pow(noise.alpha(t) / prior, 2), s2 = std::pow(noise.sigma(t) / prior, 2);
    return 0.5 * (a2 * square + d * (s2 - 1 - std::log(s2)));
}

double start_of(const Stage& stage) {
    const auto sampler = stage.part<Sampler>();
    return sampler ? sampler->times(stage.process()).front() : stage.process().levels().last();
}
/// Tries samples that start from noised examples, which are what the process leads to, in place of the prior; or, where
/// the grid is to blame, from the last step.
void try_other_start(Examined& run, Finding& found, bool by_grid) {
    try {
        auto drawing = as_the_run(run, 500);
        held_out_errors(run, Weights::sampled);  // what asking costs is known afterwards
        run.afford(2 * rows_of(drawing));
        const auto examples = examples_like_samples(run, std::min<std::int64_t>(1000, run.training().n()));
        const double sd = run.data_scale().sd;
        const auto now = distance_between(drawn(run, drawing), examples, sd);
        std::unique_ptr<Built> trailing;
        if (by_grid) {
            trailing = run.built({"sampler.grid=trailing"});
            trailing->stage->to(run.device());
            const auto& settings = run.stage().spec().sample;
            if (run.checkpoint())
                restore(*trailing->stage, *run.checkpoint(),
                        average_of(run.stage(), *run.checkpoint(), settings ? settings->average : std::string()),
                        "the checkpoint");
            trailing->stage->train(false);
            drawing.stage = trailing->stage.get();
        } else {
            drawing.from_data = true;
        }
        const auto then = distance_between(drawn(run, drawing), examples, sd);
        if (now.z() < 6 || then.excess() > now.excess() / 2) return;
        found.likelihood = Likelihood::certain;
        found.figures.push_back(
            fmt::format("energy distance of samples to the data, in standard deviations: {:.3g}; of "
                        "samples that start from {}: {:.3g}",
                        now.value, by_grid ? "the last step" : "noised examples", then.value));
    } catch (const NotLooked&) {  // the figures above stand by themselves
    }
}
}  // namespace

Findings signal_at_the_start(Examined& run) {
    at::NoGradGuard no_grad;
    const auto& stage = run.stage();
    const auto& noise = stage.process().levels();
    const auto& x0 = run.training().x;
    const double t = start_of(stage), last = noise.last();
    const double left = left_at(stage, x0, t);
    if (!(left > few_nats)) return {};
    const bool by_grid = left_at(stage, x0, last) <= few_nats;
    Finding found{left > 10 * few_nats ? Likelihood::certain : Likelihood::likely,
                  "sampling starts from pure noise, and training never saw any: signal is left at the last step",
                  {fmt::format("ᾱ = {:.3g} at t = {:g} of 0 … {:g}, log-SNR {:.3g}", noise.alpha_bar(t), t, last,
                               noise.log_snr(t)),
                   fmt::format("x_t there tells {:.2g} nats of each example; {:g} would do no harm", left, few_nats)},
                  {}};
    try_other_start(run, found, by_grid);
    if (by_grid) {
        found.what = fmt::format("the sampler starts at t = {:g}, where signal is left, and not at the last step", t);
        found.cure = run.resampled("sampler.grid=trailing");
        return {found};
    }
    // The first change of the schedule that leaves little enough.
    const auto type = stage.model().predicts();
    const auto T = stage.process().steps();
    std::vector<std::vector<std::string>> changes{{"schedule.rescale=true"}};
    if (T < 1000) changes.push_back({"process.steps=1000"});
    changes.push_back({"schedule=linear"});
    changes.push_back({"schedule=cosine"});
    for (const auto& change : changes) try {
            const auto other = run.built(change);
            if (!(left_at(*other->stage, x0, start_of(*other->stage)) <= few_nats)) continue;
            auto set = change;
            if (change.front() == "schedule=cosine" && type == PredictionType::eps) set.push_back("model.prediction=v");
            found.cure = run.anew(set);
            return {found};
        } catch (const Error&) {  // this schedule has no such field, or does not go with the model
        }
    found.cure = "a schedule that ends with less signal, and train anew: `dtk schedule show` draws them";
    return {found};
}

Findings noise_at_the_end(Examined& run) {
    const auto& noise = run.gaussian().levels();
    const double v = std::pow(run.data_scale().sd, 2), a2 = noise.alpha_bar(0), s2 = noise.sigma2(0);
    if (v == 0) return {};
    const double lost = s2 / (a2 * v + s2);
    if (lost < 0.05) return {};
    return {{lost > 0.2 ? Likelihood::certain : Likelihood::likely,
             "even the first step of the process leaves much noise on the data, and the last step of sampling guesses "
             "what lay under it",
             {fmt::format("log-SNR {:.3g} at t = 0: noise of {:.3g} on α times data of {:.3g}", noise.log_snr(0),
                          std::sqrt(s2), std::sqrt(v)),
              fmt::format("{:.0f} % of the data's variance cannot be told there", 100 * lost)},
             run.anew({noise.steps() < 1000 ? "process.steps=1000" : "schedule=cosine"})}};
}

}  // namespace dtk::doctor
