#pragma once
// How wrong a network is at each noise level, beside the best linear denoiser and, where the density of the data is
// known, the best of all.
#include <optional>
#include <vector>

#include "engine/doctor/examined.hpp"

namespace dtk::doctor {

/// x̂_0 = μ + α C (α² C + σ²)⁻¹ (x_t − α μ): what is best for normal data of the same mean and covariance. Of many
/// elements the covariance is taken for diagonal, with one variance for each channel.
class LinearDenoiser {
 public:
    explicit LinearDenoiser(const Tensor& examples);
    /// xt: [n, ...] → [n, ...] float64
    Tensor x0(const Tensor& xt, double alpha, double sigma) const;

 private:
    Tensor mean_, variance_, axes_;  ///< [d], [d], and [d, d] or undefined; float64
};

/// Errors at one noise level, of each example, as means over its elements.
struct ErrorsAt {
    double t, log_snr, alpha, sigma;
    double spread;        ///< standard deviation of the elements of x_t
    Tensor network;       ///< |x̂_0 − x_0|²; [n] float64
    Tensor linear;        ///< the same of the best linear denoiser
    Tensor optimum;       ///< the same of the best of all; undefined where nobody knows it
    Tensor over_optimum;  ///< |x̂_0 − E[x_0 | x_t]|²

    /// α √‖…‖ in units of the spread of x_t: how far an error of x̂_0 moves x_t. 0 where `mean_square` is negative.
    double moved(double mean_square) const;
};

/// Mean over its standard error.
double z_of(const Tensor& values);

/// At most `levels` times of the stage's process, evenly spread in log-SNR.
std::vector<double> times_to_look_at(const Stage& stage, int levels);

/// Does another class change what the network answers?
bool is_told_the_class(const Stage& stage, const Examples& examples, at::Device device);

/// The network of `stage` on those examples, with the noise of a stream of its own: the same in every call.
/// Errors: NotLooked where the process is not Gaussian or the network no denoiser.
std::vector<ErrorsAt> errors_by_noise(Examined& run, const Stage& stage, const Examples& examples, bool bf16 = false,
                                      int levels = 16);

/// Those of the run's own network on held-out examples, computed once for each kind of weights.
const std::vector<ErrorsAt>& held_out_errors(Examined& run, Weights weights);

/// A network as a number, less is better: how far its errors move x_t, as a mean over the levels; over the optimum
/// where that is known, in all elsewhere.
double score_of(const std::vector<ErrorsAt>& errors);

/// How a network stands to what can be learned.
struct Fit {
    bool bad = false;      ///< worse than linear at a level or, where the optimum is known, far from that
    bool learned = false;  ///< does it know more than the best linear denoiser, or nearly all that there is to know?
    const ErrorsAt* worst = nullptr;  ///< where it is worst
    double worst_moved = 0;           ///< there, against what it is held to
    bool against_optimum = false;     ///< that, or the best linear denoiser
    /// Of what the optimum knows beyond the linear denoiser; unset where that is next to nothing or nobody knows it.
    std::optional<double> share_learned = {};
};
Fit fit_of(const std::vector<ErrorsAt>& errors);

}  // namespace dtk::doctor
