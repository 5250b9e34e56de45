// How the network was trained: cures that are tried, and what the log says.
#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "base/json.hpp"
#include "engine/doctor/checks.hpp"
#include "engine/doctor/errors.hpp"
#include "engine/doctor/trials.hpp"

namespace dtk::doctor {

namespace {
/// A column of the lines of metrics.jsonl that are of training; NaN where one lacks it.
std::vector<double> column(const Examined& run, const char* name) {
    std::vector<double> values;
    for (const auto& line : run.log()) {
        if (!line.contains("train/loss")) continue;
        const auto found = line.find(name);
        values.push_back(found == line.end() ? NAN : number_of(*found).value_or(NAN));
    }
    return values;
}

double median(std::vector<double> values) {
    std::erase_if(values, [](double x) { return std::isnan(x); });
    if (values.empty()) return NAN;
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

/// How often the gradient was longer than train.clip, and by what factor as a rule.
struct Clipping {
    double share = 0, factor = 0, norm = 0;
};
Clipping clipping_of(const Examined& run) {
    const auto& train = run.stage().spec().train;
    Clipping clipping;
    if (!train || train->clip <= 0) return clipping;
    const auto norms = column(run, "train/grad_norm");
    if (norms.empty()) return clipping;
    clipping.norm = median(norms);
    clipping.factor = clipping.norm / train->clip;
    clipping.share =
        static_cast<double>(std::count_if(norms.begin(), norms.end(), [&](double x) { return x > train->clip; })) /
        static_cast<double>(norms.size());
    return clipping;
}

/// The cure that helps most, and what it is called.
struct Cure {
    Tried tried;
    enum Kind { longer, lower, higher, unclipped, precise, times, weighting } kind;
    std::vector<std::string> cure;  ///< what is to be set
};

std::string name_of(Examined& run, const Cure& cure) {
    const auto& spec = run.stage().spec();
    switch (cure.kind) {
        case Cure::longer:
            return fmt::format("training was too short: {} step{} of {} examples", run.steps(),
                               run.steps() == 1 ? "" : "s", spec.train->batch);
        case Cure::lower:
            return "the learning rate is too large";
        case Cure::higher:
            return "the learning rate is too small";
        case Cure::unclipped:
            return fmt::format("train.clip = {:g} cuts the gradient of most steps", spec.train->clip);
        case Cure::precise:
            return "bfloat16 is too coarse for training this";
        case Cure::times:
            return fmt::format("[times] `{}` hardly ever draws some of the noise levels", spec.part("times").name);
        case Cure::weighting:
            return fmt::format("[weighting] `{}` lets some of the noise levels count for hardly anything",
                               spec.part("weighting").name);
    }
    return {};
}
}  // namespace

namespace {
/// Do samples lie off the data, and no change of the sampler cures them?
bool samples_are_off(Examined& run) {
    try {
        const auto found = sampling_cures(run);
        return !found.empty() && found.front().likelihood == Likelihood::symptom;
    } catch (const NotLooked&) {
        return false;
    }
}

/// Where no trial shows it within its few steps: weights that hardly moved, or that have run away.
Findings weights_moved(Examined& run) {
    const auto& train = *run.stage().spec().train;
    const auto begun = run.built({});
    run.begin(*begun);
    std::map<std::string, Tensor> before;
    for (const auto& named : begun->stage->named_tensors()) before[named.name] = *named.tensor;
    double was2 = 0, is2 = 0, away2 = 0;
    const auto square = [](const Tensor& x) { return x.detach().to(at::kDouble).square().sum().item<double>(); };
    for (const auto& named : run.network(Weights::raw).named_tensors()) {
        if (!named.trained) continue;
        was2 += square(before[named.name]), is2 += square(*named.tensor);
        away2 += square(*named.tensor - before[named.name]);
    }
    const double moved = std::sqrt(away2 / was2), grown = std::sqrt(is2 / was2);
    // What learns moves by about its size; a hundredth is nothing, and ten times as large saturates what it meets.
    if (moved < 0.01)
        return {
            {Likelihood::likely,
             "the learning rate is too small",
             {fmt::format("in {} steps the parameters have moved by {:.2g} % of their size", run.steps(), 100 * moved)},
             run.anew({fmt::format("train.lr={:g}", train.lr * 100)})}};
    if (grown > 10)
        return {{Likelihood::likely,
                 "the learning rate is too large",
                 {fmt::format("in {} steps the parameters have grown to {:.2g} times their size", run.steps(), grown)},
                 run.anew({fmt::format("train.lr={:g}", train.lr / 100)})}};
    return {};
}
}  // namespace

Findings training_cures(Examined& run) {
    const auto& spec = run.stage().spec();
    if (!spec.train) throw NotLooked("the run does not train");
    if (!run.checkpoint()) throw NotLooked("the run holds no checkpoint");
    const auto& errors = held_out_errors(run, Weights::raw);
    const auto fit = fit_of(errors);
    const bool knows = errors.front().optimum.defined();
    if (!fit.bad && (knows || (fit.learned && !samples_are_off(run)))) return {};
    if (!overfitting(run).empty()) return {};  // more of the same would not help

    // The rate that it last learned by, where it falls to nothing in the end.
    const double lr = spec.train->lr;
    const double last = std::max(learning_rate(*spec.train, *run.stage().part<Rate>(), run.steps() * 3 / 4), lr / 1000);
    const double now = score_of(errors);
    const auto steps = steps_in(run, 2, 300);
    std::vector<Cure> cures;
    const auto with = [&](Cure::Kind kind, std::vector<std::string> set, std::vector<std::string> cure,
                          bool afresh = false) {
        cures.push_back({tried(run, {.set = std::move(set), .afresh = afresh, .steps = steps}), kind, std::move(cure)});
        return cures.back().tried.score;
    };
    const auto rate = [](double lr) { return fmt::format("train.lr={:g}", lr); };
    const auto changed = [&](Cure::Kind kind, const std::string& one) { with(kind, {rate(last), one}, {one}); };
    const double same = with(Cure::longer, {rate(last)}, {});
    for (double factor = 10, before = same; factor <= 1000 && lr * factor <= 1; factor *= 10) {
        const double score = with(Cure::higher, {rate(last * factor)}, {rate(lr * factor)});
        if (!(score < before)) break;
        before = score;
    }
    with(Cure::lower, {rate(last / 10)}, {rate(lr / 10)});
    // What was thrown far does not come back: from the beginning, then.
    for (double factor = 10; factor <= 10000 && lr / factor >= 1e-5; factor *= 10)
        with(Cure::lower, {rate(lr / factor)}, {rate(lr / factor)}, true);
    if (clipping_of(run).share > 0.5) changed(Cure::unclipped, "train.clip=0");
    if (spec.train->precision == "bf16") changed(Cure::precise, "train.precision=float32");
    if (spec.part("times").name != "uniform") changed(Cure::times, "times=uniform");
    if (spec.part("weighting").name != "uniform") changed(Cure::weighting, "weighting=uniform");

    double best = now;
    for (const auto& cure : cures) best = std::min(best, cure.tried.score);
    const double total = now - best;
    // A little better is no cure. Where nobody knows the optimum, most of the error may be what nobody can learn.
    if (!(total > (knows ? 0.1 : 0.05) * now)) return weights_moved(run);
    // The least change that brings most of it: more of the same, what is set aside from the learning rate, that.
    const auto helps = [&](const Cure& cure, double share) { return now - cure.tried.score >= share * total; };
    const Cure* chosen = nullptr;
    if (helps(cures.front(), 0.5)) chosen = &cures.front();
    for (const auto& cure : cures)
        if (!chosen && cure.kind > Cure::higher && helps(cure, 0.75)) chosen = &cure;
    for (const auto& cure : cures)
        if (!chosen && helps(cure, 0.75)) chosen = &cure;
    Finding found{Likelihood::certain, name_of(run, *chosen), {}, {}};
    found.figures.push_back(fmt::format(
        "error of the network on held-out examples, in units of x_t's spread{}: {:.3g} after step {}{}",
        knows ? ", over the best there is" : "", now, run.steps(),
        fit.share_learned
            ? fmt::format("; it knows {:.0f} % of what can be learned beyond linear", 100 * *fit.share_learned)
            : ""));
    if (chosen->kind != Cure::longer)
        found.figures.push_back(fmt::format("after {} further steps as they were: {:.3g}", steps, same));
    // Trials that go on begin with the rate that was last in use, which the law may have lowered.
    const auto rate_set = [&](const std::string& one) { return one.starts_with("train.lr="); };
    const auto set = chosen->kind == Cure::longer ? std::string()
                     : rate_set(chosen->tried.trial.set.back()) && !chosen->tried.trial.afresh
                         ? fmt::format(" with {} in the place of {:g}", chosen->tried.trial.set.back(), last)
                         : " with " + chosen->tried.trial.set.back();
    found.figures.push_back(fmt::format("after {} {} steps{}: {:.3g}", steps,
                                        chosen->tried.trial.afresh ? "first" : "further", set, chosen->tried.score));
    found.cure = chosen->kind == Cure::longer ? run.longer(std::max<std::int64_t>(1000, 10 * run.steps()))
                                              : run.anew(chosen->cure);
    return {found};
}

Findings clipped_steps(Examined& run) {
    const auto& train = run.stage().spec().train;
    if (!train || run.log().empty()) throw NotLooked("there is no log of training");
    const auto clipping = clipping_of(run);
    if (clipping.share <= 0.5 || clipping.factor < 2) return {};
    return {
        {clipping.factor > 10 ? Likelihood::likely : Likelihood::possible,
         fmt::format("train.clip = {:g} cuts the gradient of most steps", train->clip),
         {fmt::format("in {:.0f} % of the lines of metrics.jsonl the mean norm is above it; their median is {:.3g}, "
                      "{:.3g} times as much",
                      100 * clipping.share, clipping.norm, clipping.factor),
          "every example's share in a step then depends on what else is in the batch, and the learning rate "
          "is another than the one that is set"},
         run.anew({"train.clip=0"}) + ", perhaps with another train.lr"}};
}

Findings training_log(Examined& run) {
    const auto& train = run.stage().spec().train;
    const auto loss = column(run, "train/loss"), norm = column(run, "train/grad_norm"), step = column(run, "step");
    if (!train || loss.size() < 5) throw NotLooked("the log of training has fewer than five lines");
    Findings all;
    const auto n = loss.size();

    // Spikes.
    const double usual = median(norm);
    std::size_t spikes = 0, worst = 0;
    for (std::size_t i = 0; i < n; ++i) {
        if (norm[i] > norm[worst]) worst = i;
        if (i > 0 && norm[i] > 100 * usual) ++spikes;
    }
    if (spikes > 0)
        all.push_back(
            {Likelihood::likely,
             "the gradient has spikes",
             {fmt::format("in {} of {} lines of metrics.jsonl its norm is above 100 times its median {:.3g}; "
                          "{:.3g} at step {:g}",
                          spikes, n, usual, norm[worst], step[worst])},
             run.anew({fmt::format("train.lr={:g}", train->lr / 3), fmt::format("train.clip={:.2g}", 2 * usual)})});

    // Divergence: a loss that has risen by more than it scatters.
    std::vector<double> changes;
    for (std::size_t i = 1; i < n; ++i) changes.push_back(std::abs(loss[i] - loss[i - 1]));
    const double scatter = median(changes);
    const auto least = static_cast<std::size_t>(std::min_element(loss.begin(), loss.end()) - loss.begin());
    const std::size_t tail = std::max<std::size_t>(1, n / 10);
    double end = 0;
    for (std::size_t i = n - tail; i < n; ++i) end += loss[i] / static_cast<double>(tail);
    if (least + tail < n && end > 1.5 * loss[least] && end - loss[least] > 5 * scatter) {
        all.push_back({Likelihood::likely,
                       "the loss has risen again",
                       {fmt::format("{:.4g} at step {:g}, {:.4g} at the end", loss[least], step[least], end)},
                       run.anew({fmt::format("train.lr={:g}", train->lr / 10)})});
        return all;
    }

    // Still falling: what twice as many steps would bring, by a power of the steps through the second half.
    if (run.has_network() && dynamic_cast<const GaussianProcess*>(&run.stage().process()) &&
        held_out_errors(run, Weights::raw).front().optimum.defined())
        return all;  // how far it is from the optimum says more
    double sx = 0, sy = 0, sxx = 0, sxy = 0, syy = 0, m = 0;
    for (std::size_t i = n / 2; i < n; ++i) {
        if (!(loss[i] > 0)) return all;
        const double x = std::log(step[i]), y = std::log(loss[i]);
        sx += x, sy += y, sxx += x * x, sxy += x * y, syy += y * y, m += 1;
    }
    if (m < 5) return all;
    const double vx = sxx - sx * sx / m, slope = (sxy - sx * sy / m) / vx;
    const double rest = std::max(0.0, syy - sy * sy / m - slope * slope * vx) / (m - 2);
    const double z = -slope / std::sqrt(std::max(rest / vx, 1e-12)), gain = 1 - std::exp2(slope);
    if (z > 5 && gain > 0.25)
        all.push_back({Likelihood::possible,
                       "the loss was still falling when training ended",
                       {fmt::format("in its second half it fell as steps^{:.2f}; twice as many would lower it by "
                                    "{:.0f} % more",
                                    slope, 100 * gain)},
                       run.longer(2 * train->steps)});
    return all;
}

Findings overfitting(Examined& run) {
    const auto& data = run.stage().chain_data();
    if (data.size() == 0) return {};  // no example comes twice
    if (!run.held_out().held_out) throw NotLooked("no examples are held out");
    if (!run.stage().spec().train) return {};
    const auto& held_out = held_out_errors(run, Weights::sampled);
    auto seen = run.training();
    const auto n = std::min(seen.n(), std::max<std::int64_t>(run.held_out().n(), 64));
    seen.x = seen.x.slice(0, 0, n);
    seen.condition = seen.condition.chunk(0, n);
    const auto training = errors_by_noise(run, run.network(), seen);
    const ErrorsAt* where = nullptr;
    double worst = 0, of_training = 0, of_held_out = 0, sure = 0;
    for (std::size_t i = 0; i < training.size(); ++i) {
        const auto &a = held_out[i].network, &b = training[i].network;
        const double x = a.mean().item<double>(), y = b.mean().item<double>();
        const auto error2 = [](const Tensor& of) {
            return of.numel() > 1 ? of.var().item<double>() / static_cast<double>(of.numel()) : 0.0;
        };
        const double z = (x - y) / std::sqrt(error2(a) + error2(b) + 1e-300);
        const double moved = held_out[i].moved(x - y);
        if (z > 3 && x > 2 * y && moved > worst)
            where = &held_out[i], worst = moved, of_training = y, of_held_out = x, sure = z;
    }
    if (!where || worst < 0.2) return {};
    const double epochs =
        static_cast<double>(run.steps() * run.stage().spec().train->batch) / static_cast<double>(data.size());
    return {{Likelihood::certain,
             "the network has learned the training examples by heart",
             {fmt::format("squared error of x̂_0 at log-SNR {:.1f}: {:.3g} on training examples, {:.3g} on held-out "
                          "ones, {:.0f} standard errors apart",
                          where->log_snr, of_training, of_held_out, sure),
              fmt::format("{} training examples, each seen {:.0f} times", data.size(), epochs)},
             fmt::format("more data, a smaller network, or fewer steps: --set train.steps={}",
                         std::max<std::int64_t>(1, run.steps() / 10))}};
}

}  // namespace dtk::doctor
