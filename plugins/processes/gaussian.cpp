// q(x_t | x_0) = N(α_t x_0, σ_t² I),   p(x_T) = N(0, I),   q(x_s | x_t, x_0) = N(c_0 x_0 + c_t x_t, β̃ I)
// Sohl-Dickstein et al. 2015; Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models", 2020, eqs. 4–7, written
// for any s < t (Song, Meng & Ermon 2020) and any α, σ (Kingma et al., "Variational Diffusion Models", 2021).
//
// A schedule may be learned: then α, σ and β are functions of its tensors and so is all that is computed here
// (Sohl-Dickstein et al. 2015, section 2.4.1). A prediction `mean` is that of p(x_{t−1} | x_t), and a variance that
// comes with a prediction is that of the same step; over a longer step it keeps its place between β̃ and β (Nichol &
// Dhariwal 2021, eq. 15).
#include <dtk/gaussian_chain.hpp>

namespace {
struct Gaussian final : dtk::GaussianChain {
    using GaussianChain::GaussianChain;
};
}  // namespace

DTK_DEFAULT_PLUGIN(Process, gaussian, Gaussian, "Gaussian noise added in T steps (Ho et al. 2020)")
