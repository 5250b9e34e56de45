// What training minimises at each noise level.
#include "engine/objective.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <dtk/drawn_times.hpp>

#include "base/engine.hpp"

namespace dtk {

namespace {
/// Does every row count as it is?
bool is_one(const Coefficient& weight) {
    if (weight.uniform()) return weight.value() == 1;
    const auto rows = weight.rows(at::empty({0}, at::kDouble));  // where they were made: on the host
    const auto* w = rows.const_data_ptr<double>();
    return std::all_of(w, w + rows.numel(), [](double one) { return one == 1; });
}
}  // namespace

Tensor weighted(const Stage& stage, const Objective& objective, const SampledTimes& drawn) {
    auto value = objective.value;
    if (objective.error_of) {
        const auto weighting = stage.part<Weighting>();
        const auto& levels = stage.process().levels();
        const auto type = name_of(*objective.error_of);
        const auto* gaussian = dynamic_cast<const GaussianProcess*>(&stage.process());
        const double data_sd = gaussian && type == "edm" ? gaussian->data_sd() : 1;
        const auto weight = drawn.t.map([&](double t) {
            return weighting->weight(levels.at(t), gaussian ? error_per_x0(levels, t, type, data_sd) : 1);
        });
        if (!is_one(weight)) value = weight * value;
    }
    return drawn.weight.uniform() && drawn.weight.value() == 1 ? value : drawn.weight * value;
}

namespace {
constexpr double most_log_snr = 30;

/// du/dlog-SNR at time t, u = (t+1)/T.
double time_for_log_snr(const NoiseLevels& levels, double t) {
    const auto level = levels.at(t);
    const auto rates = levels.rates(t);
    return 1 / (2 * std::abs(rates.sigma / level.sigma - rates.alpha / level.alpha));
}
}  // namespace

ObjectiveByNoise::ObjectiveByNoise(const Stage& stage) : stage_(stage) {
    const auto& name = stage.spec().part("loss").name;
    if (!stage.part<Loss>())
        throw UserError("nothing is minimised: there is no [train]", "name an experiment that trains");
    gaussian(stage.process(), "an objective by log-SNR");
    if (!stage.part<Loss>()->draws_times())
        throw UserError(
            fmt::format("loss `{}` does not stand for one drawn time, and weighs its steps by itself", name),
            "compare experiments with losses such as simple or flow_matching");
    const auto [least, most] = range();
    const auto middle = at::full({2}, (least + most) / 2, at::kDouble);
    if (!(weight(middle) > 0).all().item<bool>())
        throw UserError(fmt::format("loss `{}` is not the error of what a network answers, and weighs nothing", name),
                        "compare experiments with losses such as simple or flow_matching");
}

std::pair<double, double> ObjectiveByNoise::range() const {
    const auto& l = levels();
    const bool between = dynamic_cast<const DensityTimes*>(stage_.part<Times>().get());
    const double first = between ? 1e-9 * static_cast<double>(l.steps()) - 1 : l.first();
    return {std::max(l.log_snr(l.last()), -most_log_snr), std::min(l.log_snr(first), most_log_snr)};
}

Tensor ObjectiveByNoise::minimised(const Tensor& log_snr,
                                   const std::function<Tensor(const Tensor& x, const Time& t)>& off) const {
    at::NoGradGuard no_grad;
    const auto n = log_snr.size(0);
    const auto T = static_cast<double>(levels().steps());
    auto batch = stage_.chain_data().examples(at::arange(n, at::kLong));
    batch.x = batch.x.to(at::kDouble);

    // Where that log-SNR is, and how much of what is drawn falls to a unit of it.
    const auto* density = dynamic_cast<const DensityTimes*>(stage_.part<Times>().get());
    const auto t = at::empty({n}, at::kDouble), share = at::zeros({n}, at::kDouble);
    const auto [least, most] = range();
    for (std::int64_t i = 0; i < n; ++i) {
        const double at = log_snr[i].item<double>();
        const double time = std::clamp(levels().time(at), 1e-9 * T - 1, levels().last());
        t.mutable_data_ptr<double>()[i] = time;
        const double slack = 1e-9 * (1 + std::abs(at));
        if (at < least - slack || at > most + slack || levels().alpha(time) == 0) continue;
        share.mutable_data_ptr<double>()[i] =
            (density ? density->counts((time + 1) / T) : 1) * time_for_log_snr(levels(), time);
    }

    const Denoiser denoise(
        stage_.part<Process>(),
        [&](const Tensor& x, const Time& at, const Condition&) {
            // In the network's own words: what is compared may be those.
            const auto type = stage_.model().predicts();
            const Prediction estimate{PredictionType::x0, batch.x + off(x, at), {}};
            return Prediction{type, stage_.process().convert(estimate, type, x, at), {}};
        },
        batch.condition);
    const auto values = (*stage_.part<Loss>())(denoise, batch, Time(t), Random(0, "objective"));
    if (values.objectives.size() != 1)
        throw UserError(
            fmt::format("loss `{}` has {} objectives", stage_.spec().part("loss").name, values.objectives.size()),
            "compare experiments with losses of one, such as simple or flow_matching");
    const auto value = weighted(stage_, values.objectives.front(), {Time(t), 1}).to(at::kDouble);
    return at::where(share > 0, share * value, 0.0);
}

Tensor ObjectiveByNoise::weight(const Tensor& log_snr, double off) const {
    const auto value = minimised(log_snr, [&](const Tensor& x, const Time&) { return at::full_like(x, off); });
    return at::where(value > 0, value * (-log_snr).exp() / (off * off), 0.0);  // ‖Δε‖² = SNR ‖Δx_0‖²
}

Tensor ObjectiveByNoise::losses(const Tensor& log_snr) const {
    const auto& process = gaussian(stage_.process(), "an objective by log-SNR");
    return minimised(log_snr, [&](const Tensor& x, const Time& t) {
        const auto size = sqrt(square(process.alpha(t)) + square(process.sigma(t)));
        return 0.1 + at::sin(3 * (x / size)).square();
    });
}

}  // namespace dtk
