// What losses share that learn from a trained network.
#include <dtk/distillation.hpp>

#include <algorithm>
#include <cmath>

#include <dtk/model.hpp>
#include <dtk/schedule.hpp>

namespace dtk {

TrainedNetwork teacher(const BuildContext& context, const Reference& reference) {
    const auto network = context.trained(reference);
    if (network.model->predicts() == PredictionType::label)
        throw Error("`" + reference.name() + "` is a classifier and denoises nothing", "name another network");
    return network;
}

void must_share_noise(const TrainedNetwork& network, const Process& process) {
    const auto &a = network.process->levels(), &b = process.levels();
    bool same = a.steps() == b.steps();
    for (const double share : {0.0, 0.3, 0.7, 1.0}) {
        const double t = std::floor(share * b.last());
        same = same && std::abs(a.sigma(t) - b.sigma(t)) < 1e-6 * (1 + b.sigma(t)) &&
               std::abs(a.alpha(t) - b.alpha(t)) < 1e-6;
    }
    if (!same)
        throw Error("the teacher was trained under other noise levels",
                    "give this stage the teacher's [process] and [schedule]");
}

Tensor flow_step(const Denoiser& denoise, const Tensor& x, const Time& t, const Time& s) {
    const auto& process = denoise.gaussian();
    const auto [x0, eps] = denoise.estimate(x, t);
    return process.alpha(s) * x0 + process.sigma(s) * eps;
}

Time not_before(double first, const Time& t) {
    return t.uniform() ? Time(std::max(t.value(), first)) : Time(t.rows(0).clamp_min(first));
}

Time on_grid(const Time& t, std::int64_t steps, std::int64_t n) {
    const double stride = static_cast<double>(steps) / static_cast<double>(n);
    const auto up = [&](const Tensor& t) {
        return (((t + 1) / stride - 1e-9).ceil() * stride - 1).clamp_max(static_cast<double>(steps - 1));
    };
    return t.uniform() ? Time(up(at::full({1}, t.value(), at::kDouble)).item<double>()) : Time(up(t.rows(0)));
}

void must_divide(const Process& process, std::int64_t n) {
    if (process.whole_steps() && process.steps() % n != 0)
        throw Error("a process that knows its " + std::to_string(process.steps()) + " steps alone has no grid of " +
                        std::to_string(n),
                    "let that number divide the steps of the process");
}

}  // namespace dtk
