// Towards y = A(x_0) + sd·z, as if x_0 were N(x̂_0, r_t² I), r_t² = σ²/(α² + σ²):
//   ∇ log q(x_t | y) ≈ ∇ log q(x_t) + (∂A(x̂_0)/∂x_t)ᵀ (r_t² A Aᵀ + sd² I)⁻¹ (y − A(x̂_0))
// Song, Vahdat, Mardani & Kautz, "Pseudoinverse-Guided Diffusion Models for Inverse Problems", 2023. Where A is no
// matrix, its derivative at x̂_0.
//
// Exact for data N(μ, I), for which r_t² is the variance that x_t leaves of x_0. Biased for others, with a perfect
// network and any number of steps: by the flow from σ = 80, N(0.3, 0.5²) seen at 1 with sd 0.2 comes out as
// N(0.770, 0.229²), where N(0.903, 0.186²) is right. See `tmpd`.
#include <dtk/guidance.hpp>
#include <dtk/linearised.hpp>

namespace {

using at::Tensor;

struct Pigdm final : dtk::Guidance {
    struct Config {
        std::int64_t iterations = 20;
        void fields(dtk::Fields& f) {
            f("iterations", iterations, dtk::at_least(1), "of conjugate gradients, where y has more than 8 numbers");
        }
    } c;
    Pigdm(const Config& config, const dtk::BuildContext& context)
        : c(config), seen_(dtk::observation(context, "pigdm")) {
        dtk::gaussian(context.process(), "guidance `pigdm`");
    }

    dtk::Denoiser around(dtk::Denoiser denoise) const override {
        return dtk::pulled(
            denoise, seen_,
            [this](const dtk::ObservedEstimate& at, const dtk::Coefficient& alpha, const dtk::Coefficient& sigma) {
                const auto r2 = square(sigma) / (square(alpha) + square(sigma));
                const double error2 = seen_.sd() * seen_.sd();
                const auto covariance = [&](const Tensor& v) {
                    return r2 * at.A.times(at.A.transposed(v)) + error2 * v;
                };
                return dtk::solved(covariance, at.residual, c.iterations);
            });
    }

 private:
    const dtk::Observation& seen_;
};
}  // namespace

DTK_PLUGIN(Guidance, pigdm, Pigdm,
           "towards what is known, the estimate of x_0 taken for as uncertain as unit normal data leave it (ΠGDM, Song "
           "et al. 2023)")
