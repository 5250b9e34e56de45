// An average of the parameters that has not caught up with them.
#include <cmath>

#include <fmt/format.h>

#include <dtk/optimizer.hpp>

#include "engine/doctor/checks.hpp"
#include "engine/doctor/errors.hpp"

namespace dtk::doctor {

Findings stale_average(Examined& run) {
    const auto& stage = run.stage();
    const auto& spec = stage.spec();
    if (!run.checkpoint() || !spec.train) throw NotLooked("the run holds no checkpoint");
    const auto wanted = spec.sample ? spec.sample->average : std::string();
    if (!average_of(stage, *run.checkpoint(), wanted)) return {};
    const auto& averaged = held_out_errors(run, Weights::sampled);
    const auto& raw = held_out_errors(run, Weights::raw);
    const ErrorsAt* where = nullptr;
    double worst = 0, of_average = 0, of_raw = 0;
    for (std::size_t i = 0; i < averaged.size(); ++i) {
        const auto change = averaged[i].network - raw[i].network;
        const double moved = averaged[i].moved(change.mean().item<double>());
        if (z_of(change) > 5 && moved > worst)
            where = &averaged[i], worst = moved, of_average = averaged[i].network.mean().item<double>(),
            of_raw = raw[i].network.mean().item<double>();
    }
    if (!where || worst < 0.1) return {};

    // Which of the laws is meant, and what it has kept of the beginning.
    const auto& laws = spec.list("average");
    std::size_t which = 0;
    for (std::size_t i = 0; i < laws.size(); ++i)
        if (laws[i].label == wanted) which = i;
    const auto steps = run.steps();
    double begun = 1;
    for (std::int64_t k = 0; k < steps; ++k) begun *= stage.list<Average>()[which]->keep(k);
    const auto key = laws.size() > 1 ? fmt::format("average.{}", laws[which].label) : std::string("average");
    std::string anew;
    const auto s = static_cast<double>(steps);
    if (laws[which].name == "ema") anew = fmt::format("{}.decay={:.3g}", key, 1 - std::min(1.0, 20 / s));
    if (laws[which].name == "half_life") anew = fmt::format("{}.steps={:.3g}", key, s / 20);
    return {
        {score_of(raw) < 0.7 * score_of(averaged) ? Likelihood::certain : Likelihood::likely,
         "the average of the parameters, which samples are drawn with, lags behind the parameters",
         {fmt::format("squared error of x̂_0 at log-SNR {:.1f}: {:.3g} with the average `{}`, {:.3g} with the "
                      "parameters themselves",
                      where->log_snr, of_average, laws[which].label, of_raw),
          fmt::format("after {} steps {:.2g} % of the average are still what training began with", steps, 100 * begun)},
         run.resampled("sample.average=none") +
             (anew.empty() ? "" : "; when it is trained again, " + run.anew({anew}))}};
}

}  // namespace dtk::doctor
