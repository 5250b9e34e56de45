// Towards y = A(x_0) + sd·z, as if x_0 were N(x̂_0, Σ_t), whose covariance the network knows by Tweedie's formula:
//   Σ_t = Cov[x_0 | x_t] = σ²/α ∂x̂_0/∂x_t
//   ∇ log q(x_t | y) ≈ ∇ log q(x_t) + (∂A(x̂_0)/∂x_t)ᵀ (A Σ_t Aᵀ + sd² I)⁻¹ (y − A(x̂_0))
// Boys, Girolami, Pidstrigach, Reich, Mosca & Akyildiz, "Tweedie Moment Projected Diffusions for Inverse Problems",
// 2023; by conjugate gradients with products of vectors and Jacobians as in Rozet, Andry, Lanusse & Louppe, "Learning
// Diffusion Priors from Observations by Expectation Maximization" (MMPS), 2024. Where A is no matrix, its derivative at
// x̂_0.
//
// Exact for normal data; of others it is what a normal law of the same mean and covariance would say. Each evaluation
// costs a gradient of the network and one more for every number of y, or for every iteration where y has more than 8.
// By the flow from σ = 80, N(0.3, 0.5²) seen at 1 with sd 0.2 comes out as N(0.9014, 0.186²), where N(0.9035, 0.186²)
// is right: the difference is that of N(0, 80²) to the law of x_T.
#include <dtk/guidance.hpp>
#include <dtk/linearised.hpp>

namespace {

using at::Tensor;

struct Tmpd final : dtk::Guidance {
    struct Config {
        std::int64_t iterations = 5;
        void fields(dtk::Fields& f) {
            f("iterations", iterations, dtk::at_least(1), "of conjugate gradients, where y has more than 8 numbers");
        }
    } c;
    Tmpd(const Config& config, const dtk::BuildContext& context) : c(config), seen_(dtk::observation(context, "tmpd")) {
        dtk::gaussian(context.process(), "guidance `tmpd`");
    }

    dtk::Denoiser around(dtk::Denoiser denoise) const override {
        return dtk::pulled(
            denoise, seen_,
            [this](const dtk::ObservedEstimate& at, const dtk::Coefficient& alpha, const dtk::Coefficient& sigma) {
                const auto to_variance = square(sigma) / alpha;
                const double error2 = seen_.sd() * seen_.sd();
                const auto covariance = [&](const Tensor& v) {
                    return at.A.times(to_variance * at.back(v)) + error2 * v;
                };
                return dtk::solved(covariance, at.residual, c.iterations);
            });
    }

 private:
    const dtk::Observation& seen_;
};
}  // namespace

DTK_PLUGIN(Guidance, tmpd, Tmpd,
           "towards what is known, with the covariance of x_0 that the network itself tells (TMPD, Boys et al. 2023; "
           "MMPS)")
