// The extended reverse SDE, whose noise is set by φ(σ̃), in x̃ = x/α and σ̃ = σ/α, the polynomial in σ̃ through the last
// answers x̂_0 integrated exactly:
//   x̃_s = φ_s/φ_t x̃_t + φ_s ∫_{σ̃_s}^{σ̃_t} φ'/φ² Σ_k ℓ_k(σ) x̂_0,k dσ + √(σ̃_s² − σ̃_t² (φ_s/φ_t)²) z
// with φ = σ g(σ): g = 1 is the probability flow ("ode"), σ the reverse SDE ("sde"), e^{σ^0.3} + 10 the paper's "er".
// Cui, Zhang, Lu & Liao, "Elucidating the Solution Space of Extended Reverse-Time SDE for Diffusion Models", 2023,
// ER-SDE-Solver-1, -2 and -3. Their third one, as it is published, takes the last divided difference for the slope at
// σ̃_t and is of order two; here all are the polynomials. The first steps have the order that there are answers for; the
// last one, and one from α_t = 0, is of first order.
#include <cmath>

#include <boost/math/quadrature/gauss.hpp>

#include <dtk/multistep.hpp>
#include <dtk/sampler.hpp>

namespace {
struct ErSde final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        std::int64_t order = 3;
        std::string form = "er";
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("order", order, dtk::in(1, 3), "how many answers are used");
            f("form", form, {"er", "sde", "ode"}, "φ, which sets the noise; ode: deterministic");
        }
    } c;
    ErSde(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context), c(config) {}

    at::Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, at::Tensor x,
                      const dtk::Random& random, const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        dtk::Answers answers(c.order);
        for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
            const double from = noise.ratio(t), to = noise.ratio(s), alpha = noise.alpha(s), sigma = noise.sigma(s);
            answers.add(denoise.x0(x, t), from);

            const double shrunk = std::exp(log_g(to) - log_g(from)), kept = sigma / noise.sigma(t) * shrunk;
            std::vector<double> moments{alpha - kept * noise.alpha(t)};
            if (!last && std::isfinite(from))
                for (std::size_t j = 1; j < answers.size(); ++j) moments.push_back(alpha * moment(from, to, j));
            const auto nodes = answers.nodes(from, to, moments.size());
            x = dtk::combined(kept, x, dtk::interpolation_weights(nodes, moments), answers);
            const double sd = sigma * std::sqrt((1 - shrunk) * (1 + shrunk));
            if (sd > 0) x = x + sd * random.step(i).normal(x.sizes(), x.options());
            done(i + 1, x);
        }
        return x;
    }

 private:
    double log_g(double sigma) const {
        if (c.form == "ode") return 0;
        if (c.form == "sde") return std::log(sigma);
        const double power = std::pow(sigma, 0.3);  // log(e^p + 10) for any p
        return power + std::log1p(10 * std::exp(-power));
    }

    /// φ_s ∫ φ'/φ² r^j dσ with r = (σ − σ̃_t)/(σ̃_s − σ̃_t), by parts: 1 − φ_s ∫_0^1 j r^{j−1}/φ dr, integrated in log σ.
    double moment(double from, double to, std::size_t j) const {
        const double k = static_cast<double>(j), end = log_g(to);
        const auto integrand = [&](double log_sigma) {
            const double sigma = std::exp(log_sigma), r = (sigma - from) / (to - from);
            return k * std::pow(r, k - 1) * std::exp(end - log_g(sigma)) * to / (to - from);
        };
        return 1 - boost::math::quadrature::gauss<double, 20>::integrate(integrand, std::log(from), std::log(to));
    }
};
}  // namespace

DTK_PLUGIN(Sampler, er_sde, ErSde,
           "extended reverse SDE of order up to three (ER-SDE-Solver, Cui et al. 2023); elsewhere: er_sde_solver")
