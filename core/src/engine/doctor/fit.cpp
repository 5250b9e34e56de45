// A network that is far from what can be learned, and noise levels that training hardly ever shows it.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <dtk/schedule.hpp>
#include <dtk/times.hpp>

#include "engine/doctor/checks.hpp"
#include "engine/doctor/errors.hpp"

namespace dtk::doctor {

Findings network_fit(Examined& run) {
    if (run.stage().model().parameters().empty()) return {};  // a formula
    const auto& errors = held_out_errors(run, Weights::sampled);
    const auto fit = fit_of(errors);
    if (!fit.bad) return {};
    const auto& at = *fit.worst;
    const double network = at.network.mean().item<double>();
    const double reference = (fit.against_optimum ? at.optimum : at.linear).mean().item<double>();
    const bool below_linear = z_of(at.network - at.linear) > 5;
    Finding found{
        Likelihood::symptom,
        fmt::format("the network is {} at log-SNR {:.1f}",
                    below_linear ? "worse than the best linear denoiser" : "far from the best denoiser", at.log_snr),
        {fmt::format("squared error of x̂_0 on {} held-out examples: {:.4g}; {}: {:.4g}{}", at.network.numel(), network,
                     fit.against_optimum ? "the best there is" : "the best linear denoiser", reference,
                     fit.against_optimum
                         ? fmt::format("; the best linear denoiser: {:.4g}", at.linear.mean().item<double>())
                         : ""),
         fmt::format("that moves x_t by {:.2g} of its spread", fit.worst_moved)},
        "train longer (train.steps), or take a larger network (width, channels or blocks of [model])"};
    if (fit.share_learned)
        found.figures.push_back(
            fmt::format("it knows {:.0f} % of what can be learned beyond linear", 100 * *fit.share_learned));
    const auto type = run.stage().model().predicts();
    if (at.log_snr < -3 && type == PredictionType::eps) {
        found.figures.push_back(
            fmt::format("x̂_0 = (x_t − σ ε̂)/α multiplies an error of ε̂ by {:.3g} there", at.sigma / at.alpha));
        found.cure = run.anew({"model.prediction=v"});
    }
    if (at.log_snr > 3 && type == PredictionType::x0) found.cure = run.anew({"model.prediction=v"});
    return {found};
}

}  // namespace dtk::doctor
