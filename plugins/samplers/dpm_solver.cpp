// In λ = log(α/σ), h = λ_s − λ_t, with E = ε̂(x_t, t) and F(s) = α_s/α_t x_t − σ_s (e^h − 1) E, where a constant ε̂
// leads:
//   1         x_s = F(s), which is ddim
//   2         D_1 = ε̂(F(m), m) − E,   x_s = F(s) − σ_s (e^h − 1)/(2 r_1) D_1,   r_1 = (λ_m − λ_t)/h = ½
//   3         D_1 with r_1 = ⅓,   D_2 = ε̂(F(m') − σ_m' r_2/r_1 ((e^{r_2 h} − 1)/(r_2 h) − 1) D_1, m') − E,   r_2 = ⅔,
//             x_s = F(s) − σ_s/r_2 ((e^h − 1)/h − 1) D_2
//   fast      n evaluations on n times of the grid: three of them make a step of order 3, two that are left one of
//             order 2
//   adaptive  the pair of 3 and of 2 with r_1 = ⅓: between two times of the grid as many steps as every row's
//             tolerance asks for
// Lu, Zhou, Bao, Chen, Li & Zhu, "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10
// Steps", 2022, algorithms 1 and 2 and the appendix. The last step, and one from α_t = 0, is of first order.
#include <algorithm>

#include <dtk/exponential.hpp>
#include <dtk/ratio_steps.hpp>
#include <dtk/row_steps.hpp>
#include <dtk/sampler.hpp>

namespace {

using at::Tensor;
using dtk::Time;

/// What starts at x_t, whether t is one time or one for each row.
struct From {
    const dtk::Denoiser& denoise;
    Tensor x;
    Time t;
    Tensor E = denoise.eps(x, t);
    const dtk::NoiseLevels& noise = denoise.noise();

    double h(double t, double s) const { return dtk::half_log_snr(noise, s) - dtk::half_log_snr(noise, t); }
    template <class Number>
    dtk::Coefficient to(const Time& s, Number number) const {
        return t.map(s, number);
    }
    /// The time at t + r (s − t) in λ, and the r of a time.
    Time between(const Time& s, double r) const {
        const auto m =
            to(s, [&](double t, double s) { return std::clamp(noise.time(noise.log_snr(t) + 2 * r * h(t, s)), s, t); });
        return m.uniform() ? Time(m.value()) : Time(m.rows(x));
    }
    dtk::Coefficient r(const Time& m, const Time& s) const {
        const auto length = [&](double t, double s) { return h(t, s); };
        return to(m, length) / to(s, length);
    }
    /// area/r; 0 where m cannot be told from t, as near to α = 0, where there is no D either.
    dtk::Coefficient over_r(const dtk::Coefficient& area, const Time& m, const Time& s) const {
        return where(to(m, [&](double t, double m) { return h(t, m); }), area / r(m, s), 0);
    }

    Tensor F(const Time& s) const {
        return sum_of(to(s, [&](double t, double s) { return dtk::noise_step(noise, t, s).kept; }), x,
                      to(s, [&](double t, double s) { return dtk::noise_step(noise, t, s).gain; }), E);
    }
    Tensor D(const Tensor& x, const Time& m) const { return denoise.eps(x, m) - E; }
    Tensor second(const Tensor& D1, const Time& m, const Time& s) const {
        const auto area = to(s, [&](double t, double s) { return noise.sigma(s) * std::expm1(h(t, s)) / 2; });
        return F(s) - over_r(area, m, s) * D1;
    }
    /// With D of any m: D_1 for where D_2 is asked, and D_2 for the step.
    Tensor third(const Tensor& D, const Time& m, const Time& s) const {
        const auto area = to(s, [&](double t, double s) {
            const double h = this->h(t, s);
            return noise.sigma(s) * (std::expm1(h) / h - 1);
        });
        return F(s) - over_r(area, m, s) * D;
    }
};

struct DpmSolver final : dtk::GaussianSampler {
    struct Config : dtk::Sampler::Config {
        std::string form = "3";
        double rtol = 0.05, atol = 0.0078;
        void fields(dtk::Fields& f) {
            dtk::Sampler::Config::fields(f);
            f("form", form, {"1", "2", "3", "fast", "adaptive"}, "order and evaluations of a step, or how to mix them");
            f("rtol", rtol, dtk::above(0), "adaptive: error of a step relative to x");
            f("atol", atol, dtk::above(0), "adaptive: error of a step in units of x");
        }
    } c;
    DpmSolver(const Config& config, const dtk::BuildContext& context) : GaussianSampler(config, context), c(config) {
        if (c.form != "1" && c.form != "fast") dtk::needs_times_between(context.process(), "dpm_solver");
    }

    Tensor sample(const dtk::Denoiser& denoise, const std::vector<double>& times, Tensor x, const dtk::Random&,
                  const dtk::StepCallback& done) const override {
        const auto& noise = denoise.noise();
        const auto steps = dtk::steps_along(times);
        dtk::RowSteps adaptive(c.rtol, c.atol, 0.05, 3);
        for (std::size_t i = 0; i < steps.size(); ++i) {
            const auto& [number, t, s, last] = steps[i];
            const auto left = steps.size() - 1 - i;  // steps before the last one, this one among them
            if (last || noise.alpha(t) == 0 || c.form == "1" || (c.form == "fast" && left == 1)) {
                const auto [x0, eps] = denoise.estimate(x, t);
                x = noise.alpha(s) * x0 + noise.sigma(s) * eps;
            } else if (c.form == "2") {
                const From from{denoise, x, t};
                const auto m = from.between(s, 0.5);
                x = from.second(from.D(from.F(m), m), m, s);
            } else if (c.form == "3") {
                const From from{denoise, x, t};
                const auto m = from.between(s, 1. / 3), m2 = from.between(s, 2. / 3);
                x = from.third(from.D(from.third(from.D(from.F(m), m), m, m2), m2), m2, s);
            } else if (c.form == "fast") {
                // What is asked within the step stands at the grid's own times.
                const From from{denoise, x, t};
                const auto inner = from.F(s);
                done(number + 1, inner);
                const auto D1 = from.D(inner, s);
                if (left == 2) {
                    x = from.second(D1, s, steps[++i].s);
                } else {
                    const double m2 = steps[++i].s;
                    const auto later = from.third(D1, s, m2);
                    done(number + 2, later);
                    x = from.third(from.D(later, m2), m2, steps[++i].s);
                }
            } else {
                const auto pair = [&](const Tensor& x, const Time& a, const Time& b) {
                    // Rounding must not lead back to a time of the chain that is before t, where α may be 0.
                    const auto time = [&, t = t](double lambda) { return std::min(noise.time(2 * lambda), t); };
                    const From from{denoise, x, Time(a.map(time).rows(x))};
                    const Time s(b.map(time).rows(x)), m = from.between(s, 1. / 3), m2 = from.between(s, 2. / 3);
                    const auto D1 = from.D(from.F(m), m);
                    return std::pair{from.third(from.D(from.third(D1, m, m2), m2), m2, s), from.second(D1, m, s)};
                };
                x = adaptive.along(x, dtk::half_log_snr(noise, t), dtk::half_log_snr(noise, s), pair);
            }
            done(steps[i].i + 1, x);
        }
        return x;
    }
};
}  // namespace

DTK_PLUGIN(Sampler, dpm_solver, DpmSolver,
           "DPM-Solver of order 1, 2 or 3 in ε̂, mixed or adaptive (Lu et al. 2022); elsewhere: dpm_fast, dpm_adaptive, "
           "dpmsolver")
