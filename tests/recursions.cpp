// What steps of samplers are exactly: on Gaussian data the recursion that the paper of each has, with the same draws,
// and its mean and variance; and the polynomials that a step integrates exactly.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <numbers>
#include <optional>
#include <valarray>

#include <boost/math/quadrature/gauss.hpp>

#include <dtk/exponential.hpp>
#include <dtk/schedule.hpp>

#include "catch.hpp"
#include "product.hpp"
#include "support.hpp"

using at::Tensor;
using product::sampled;
using product::states;
using support::distance;
using support::make;

namespace {

const dtk::Random stream(23, "orders");

constexpr double mean0 = 0.7, sd0 = 0.5;

support::BuildContext gaussian(const std::string& schedule, const std::string& prediction = "x0") {
    return support::exact("gaussian_mixture", fmt::format("preset = \"none\"\nmeans = [[{}]]\nstd = [{}]", mean0, sd0),
                          fmt::format("schedule = {}\nsteps = 1000", schedule),
                          fmt::format("prediction = \"{}\"", prediction));
}

/// A random number that is affine in x_T and in draws: its coefficients of 1, of x_T and of each of them.
using Affine = std::valarray<double>;

/// What the exact denoiser of N(mean0, sd0²) says of such a number.
struct Exact {
    const dtk::NoiseLevels& noise;
    Affine x0(const Affine& x, double t) const {
        const double a = noise.alpha(t), s2 = noise.sigma2(t), v = a * a * sd0 * sd0 + s2;
        Affine answer = x * (a * sd0 * sd0 / v);
        answer[0] += mean0 * s2 / v;
        return answer;
    }
    Affine eps(const Affine& x, double t) const { return (x - noise.alpha(t) * x0(x, t)) / noise.sigma(t); }
    double lambda(double t) const { return dtk::half_log_snr(noise, t); }
};

/// x_0 of a sampler as its paper's recursion says, along those times; draw(name, i) is coefficient 1 of a draw.
using Draw = std::function<Affine(const std::string& stream, std::int64_t step)>;
using Recursion =
    std::function<Affine(const Exact& exact, const std::vector<dtk::Step>& steps, Affine x, const Draw& draw)>;

/// ∫_0^1 e^{−H(1−r)} q(r) dr · H
double integral(double H, const std::function<double(double)>& q) {
    return H * boost::math::quadrature::gauss<double, 30>::integrate(
                   [&](double r) { return std::exp(-H * (1 - r)) * q(r); }, 0.0, 1.0);
}

/// q through values at nodes, by Lagrange's formula: its k-th basis polynomial at r.
double basis(const std::vector<double>& nodes, std::size_t k, double r) {
    double value = 1;
    for (std::size_t j = 0; j < nodes.size(); ++j)
        if (j != k) value *= (r - nodes[j]) / (nodes[k] - nodes[j]);
    return value;
}

/// k-diffusion's ancestral samplers, in x̃ and σ̃.
Recursion ancestral(double eta, bool second) {
    return [=](const Exact& exact, const std::vector<dtk::Step>& steps, Affine x, const Draw& draw) {
        const auto& noise = exact.noise;
        for (const auto& [i, t, s, last] : steps) {
            const double from = noise.ratio(t), to = noise.ratio(s), part = to / from;
            // up² + down² = σ̃_s²; the root of their difference would lose what is left of a small `down`.
            const double up = to * std::min(1.0, eta * std::sqrt(1 - part * part));
            const double down = up < to ? to * std::sqrt(1 - eta * eta + eta * eta * part * part) : 0;
            Affine slope = exact.eps(x, t), y = x / noise.alpha(t);
            if (second && down > 0) {
                const double middle = noise.time_of_ratio(std::exp((std::log(from) + std::log(down)) / 2));
                slope = exact.eps(noise.alpha(middle) * (y + (noise.ratio(middle) - from) * slope), middle);
            }
            y += (down - from) * slope;
            if (up > 0) y += up * draw("", i);
            x = noise.alpha(s) * y;
        }
        return x;
    };
}

/// Exponential integration of the polynomial through the last answers, any η; `half` is 2M's second term.
Recursion exponential(std::size_t order, double eta, bool half = false) {
    return [=](const Exact& exact, const std::vector<dtk::Step>& steps, Affine x, const Draw& draw) {
        const auto& noise = exact.noise;
        std::vector<Affine> D;
        std::vector<double> lambda;
        for (const auto& [i, t, s, last] : steps) {
            D.insert(D.begin(), exact.x0(x, t));
            lambda.insert(lambda.begin(), exact.lambda(t));
            if (last) return D[0];
            const double h = exact.lambda(s) - lambda[0], H = (1 + eta) * h, alpha = noise.alpha(s);
            const auto points = std::min(order, D.size());
            std::vector<double> nodes;
            for (std::size_t k = 0; k < points; ++k) nodes.push_back((lambda[k] - lambda[0]) / h);
            x *= noise.sigma(s) / noise.sigma(t) * std::exp(-eta * h);
            if (half && points == 2)
                x += alpha * (1 - std::exp(-H)) * (D[0] + (D[0] - D[1]) / (2 * -nodes[1]));
            else
                for (std::size_t k = 0; k < points; ++k)
                    x += alpha * integral(H, [&](double r) { return basis(nodes, k, r); }) * D[k];
            if (eta > 0) x += noise.sigma(s) * std::sqrt(1 - std::exp(-2 * eta * h)) * draw("", i);
        }
        return x;
    };
}

/// SA-Solver's predictor and corrector with τ of a step from that σ̃; UniPC's where `B` weighs two points.
Recursion stochastic_adams(std::size_t predictor, std::size_t corrector, const std::function<double(double)>& tau_at,
                           const std::function<double(double)>& B = {}) {
    return [=](const Exact& exact, const std::vector<dtk::Step>& steps, Affine x, const Draw& draw) {
        const auto& noise = exact.noise;
        std::vector<Affine> D{exact.x0(x, steps[0].t)};
        std::vector<double> lambda{exact.lambda(steps[0].t)};
        for (const auto& [i, t, s, last] : steps) {
            if (last) return D[0];
            const double tau = tau_at(noise.ratio(t)), to = exact.lambda(s), h = to - exact.lambda(t),
                         H = (1 + tau * tau) * h;
            const auto step = [&, t = t, s = s, i = i](std::size_t points, double now) {
                std::vector<double> nodes;
                for (std::size_t k = 0; k < points; ++k) nodes.push_back((lambda[k] - now) / h);
                Affine y = x * (noise.sigma(s) / noise.sigma(t) * std::exp(-tau * tau * h));
                if (B && points == 2) {
                    const Affine slope = (D[0] - D[1]) / (nodes[0] - nodes[1]);
                    y += noise.alpha(s) * ((1 - std::exp(-h)) * (D[0] - nodes[0] * slope) + B(h) / 2 * slope);
                    return y;
                }
                for (std::size_t k = 0; k < points; ++k)
                    y += noise.alpha(s) * integral(H, [&](double r) { return basis(nodes, k, r); }) * D[k];
                if (tau > 0) y += noise.sigma(s) * std::sqrt(1 - std::exp(-2 * tau * tau * h)) * draw("", i);
                return y;
            };
            const double now = lambda[0];
            const Affine predicted = step(std::min(predictor, D.size()), now);
            D.insert(D.begin(), exact.x0(predicted, s));
            lambda.insert(lambda.begin(), to);
            x = corrector > 0 ? step(std::min(corrector + 1, D.size()), now) : predicted;
        }
        return x;
    };
}

/// Karras et al. 2022, algorithm 2.
Recursion churned(double s_churn, double s_min, double s_max, double s_noise, bool heun) {
    return [=](const Exact& exact, const std::vector<dtk::Step>& steps, Affine x, const Draw& draw) {
        const auto& noise = exact.noise;
        for (const auto& [i, t, s, last] : steps) {
            double from = noise.ratio(t), now = t;
            const double to = noise.ratio(s);
            Affine y = x / noise.alpha(t);
            if (from >= s_min && from <= s_max) {
                const double n = static_cast<double>(steps.back().i + 1);
                const double hat =
                    std::min(from * (1 + std::min(s_churn / n, std::numbers::sqrt2 - 1)), noise.ratio(noise.last()));
                y += s_noise * std::sqrt(hat * hat - from * from) * draw("", i);
                now = noise.time_of_ratio(from = hat);
            }
            const Affine d = exact.eps(noise.alpha(now) * y, now);
            Affine there = y + (to - from) * d;
            if (heun && !last) there = y + (to - from) / 2 * (d + exact.eps(noise.alpha(s) * there, s));
            x = noise.alpha(s) * there;
        }
        return x;
    };
}

/// ER-SDE-Solver by its own divided differences.
Recursion extended(int order, const std::function<double(double)>& phi) {
    return [=](const Exact& exact, const std::vector<dtk::Step>& steps, Affine x, const Draw& draw) {
        const auto& noise = exact.noise;
        std::vector<Affine> answers;
        std::vector<double> sigmas;  // the newest first, as the answers
        Affine slope_before;
        for (const auto& [i, t, s, last] : steps) {
            const Affine D = exact.x0(x, t);
            if (last) return D;
            const double from = noise.ratio(t), to = noise.ratio(s), r = phi(to) / phi(from), dt = to - from;
            answers.insert(answers.begin(), D);
            sigmas.insert(sigmas.begin(), from);
            Affine y = r * x / noise.alpha(t) + (1 - r) * D;
            const auto area = [&](int power) {
                return boost::math::quadrature::gauss<double, 30>::integrate(
                    [&](double log_sigma) {
                        const double sigma = std::exp(log_sigma);
                        return std::pow(sigma - from, power) / phi(sigma) * sigma;
                    },
                    std::log(to), std::log(from));
            };
            if (answers.size() > 1 && order >= 2) {
                const Affine slope = (D - answers[1]) / (from - sigmas[1]);
                y += (dt + area(0) * phi(to)) * slope;
                if (answers.size() > 2 && order >= 3) {
                    const double one = from - sigmas[1], two = from - sigmas[2];
                    // Newton's form: the published solver takes `slope` for x̂_0's at σ̃_t, here it is brought there.
                    const Affine curve = (slope - slope_before) / two;
                    y += (dt * dt + 2 * area(1) * phi(to) + one * (dt + area(0) * phi(to))) * curve;
                }
                slope_before = slope;
            }
            if (const double left = 1 - std::pow(from * r / to, 2); left > 1e-14)
                y += to * std::sqrt(left) * draw("", i);
            x = noise.alpha(s) * y;
        }
        return x;
    };
}

/// Adams–Bashforth's method for dx̃/dσ̃ = ε̂, the polynomial through the last answers in `place`(σ̃).
Recursion adams_bashforth(std::size_t order, double (*place)(double)) {
    return [=](const Exact& exact, const std::vector<dtk::Step>& steps, Affine x, const Draw&) {
        const auto& noise = exact.noise;
        std::vector<Affine> E;
        std::vector<double> places;
        for (const auto& [i, t, s, last] : steps) {
            if (last) return exact.x0(x, t);
            const double from = noise.ratio(t), to = noise.ratio(s);
            E.insert(E.begin(), exact.eps(x, t));
            places.insert(places.begin(), place(from));
            if (E.size() > order) E.pop_back(), places.pop_back();
            Affine y = x / noise.alpha(t);
            for (std::size_t k = 0; k < E.size(); ++k)
                y -= E[k] * boost::math::quadrature::gauss<double, 30>::integrate(
                                [&](double log_sigma) {
                                    const double sigma = std::exp(log_sigma);
                                    return basis(places, k, place(sigma)) * sigma;
                                },
                                std::log(to), std::log(from));
            x = noise.alpha(s) * y;
        }
        return x;
    };
}

/// DPM-Solver's single steps in ε̂, and the one of DPM-Solver++ in x̂_0 of two evaluations (order 0).
Recursion single_step(int order) {
    return [=](const Exact& exact, const std::vector<dtk::Step>& steps, Affine x, const Draw&) {
        const auto& noise = exact.noise;
        for (const auto& [i, t, s, last] : steps) {
            if (last) return exact.x0(x, t);
            const double from = exact.lambda(t), h = exact.lambda(s) - from, alpha = noise.alpha(t);
            const auto at = [&](double r) { return noise.time(2 * (from + r * h)); };
            if (order == 0) {
                const double m = at(0.5), half = exact.lambda(m) - from;
                const Affine u =
                    noise.sigma(m) / noise.sigma(t) * x - noise.alpha(m) * std::expm1(-half) * exact.x0(x, t);
                x = Affine(noise.sigma(s) / noise.sigma(t) * x - noise.alpha(s) * std::expm1(-h) * exact.x0(u, m));
                continue;
            }
            const Affine E = exact.eps(x, t);
            const auto F = [&](double m) {
                return Affine(noise.alpha(m) / alpha * x - noise.sigma(m) * std::expm1(exact.lambda(m) - from) * E);
            };
            if (order == 2) {
                const double m = at(0.5), r1 = (exact.lambda(m) - from) / h;
                x = F(s) - noise.sigma(s) * std::expm1(h) / (2 * r1) * Affine(exact.eps(F(m), m) - E);
            } else {
                const double m = at(1. / 3), m2 = at(2. / 3), r1 = (exact.lambda(m) - from) / h,
                             r2 = (exact.lambda(m2) - from) / h;
                const auto area = [](double z) { return std::expm1(z) / z - 1; };
                const Affine D1 = exact.eps(F(m), m) - E;
                const Affine u2 = F(m2) - noise.sigma(m2) * r2 / r1 * area(r2 * h) * D1;
                x = F(s) - noise.sigma(s) / r2 * area(h) * Affine(exact.eps(u2, m2) - E);
            }
        }
        return x;
    };
}

const Recursion plms = [](const Exact& exact, const std::vector<dtk::Step>& steps, Affine x, const Draw&) {
    const auto& noise = exact.noise;
    std::vector<Affine> E;
    for (const auto& [i, t, s, last] : steps) {
        if (last) return exact.x0(x, t);
        E.insert(E.begin(), exact.eps(x, t));
        const auto ddim = [&, t = t, s = s](const Affine& e) {
            return Affine(noise.alpha(s) / noise.alpha(t) * (x - noise.sigma(t) * e) + noise.sigma(s) * e);
        };
        const Affine mean = E.size() == 1   ? Affine((E[0] + exact.eps(ddim(E[0]), s)) / 2.)
                            : E.size() == 2 ? Affine((3. * E[0] - E[1]) / 2.)
                            : E.size() == 3 ? Affine((23. * E[0] - 16. * E[1] + 5. * E[2]) / 12.)
                                            : Affine((55. * E[0] - 59. * E[1] + 37. * E[2] - 9. * E[3]) / 24.);
        x = ddim(mean);
    }
    return x;
};

Affine velocity(const Exact& exact, const Affine& x, double t) {
    const auto [alpha, sigma] = exact.noise.rates(t);
    return alpha * exact.x0(x, t) + sigma * exact.eps(x, t);
}

/// Euler's step of the velocity in u.
Affine euler_in_u(const Exact& exact, const std::vector<dtk::Step>& steps, Affine x, const Draw&) {
    for (const auto& [i, t, s, last] : steps) {
        if (last) return exact.x0(x, t);
        x += (s - t) / static_cast<double>(exact.noise.steps()) * velocity(exact, x, t);
    }
    return x;
}

/// Runge–Kutta methods along the flow, Euler's, the midpoint's, the classical one: in u, or in the angle atan(σ/α) of a
/// table, where x/√(α² + σ²) = cos w x_0 + sin w ε.
Recursion runge_kutta(int order) {
    return [=](const Exact& exact, const std::vector<dtk::Step>& steps, Affine x, const Draw&) {
        const auto& noise = exact.noise;
        const bool angle = !noise.continuous();
        const auto length = [&](double t) { return angle ? std::hypot(noise.alpha(t), noise.sigma(t)) : 1; };
        const auto clock = [&](double t) {
            return angle ? std::atan2(noise.sigma(t), noise.alpha(t)) : (t + 1) / static_cast<double>(noise.steps());
        };
        const auto slope = [&](const Affine& y, double t) -> Affine {
            if (!angle) return velocity(exact, y, t);
            const Affine at = y * length(t);
            return std::cos(clock(t)) * exact.eps(at, t) - std::sin(clock(t)) * exact.x0(at, t);
        };
        for (const auto& [i, t, s, last] : steps) {
            if (last) return exact.x0(x, t);
            const double h = clock(s) - clock(t);
            const double middle = angle ? noise.time_of_ratio(std::tan((clock(s) + clock(t)) / 2)) : (t + s) / 2;
            Affine y = x / length(t);
            const Affine k1 = slope(y, t);
            if (order == 1) {
                y += h * k1;
            } else if (order == 2) {
                y += h * slope(y + h / 2 * k1, middle);
            } else {
                const Affine k2 = slope(y + h / 2 * k1, middle), k3 = slope(y + h / 2 * k2, middle),
                             k4 = slope(y + h * k3, s);
                y += h / 6 * (k1 + 2. * k2 + 2. * k3 + k4);
            }
            x = y * length(s);
        }
        return x;
    };
}

/// Along the velocity in the place of the average one, past s where there is new noise to add.
Recursion flow_map(double gamma) {
    return [=](const Exact& exact, const std::vector<dtk::Step>& steps, Affine x, const Draw& draw) {
        const auto& noise = exact.noise;
        for (const auto& [i, t, s, last] : steps) {
            const double left = std::sqrt(1 - gamma * gamma) * noise.ratio(s);  // of σ_s/α_s
            const double end = last || gamma == 0 ? s : left == 0 ? -1 : noise.time_of_ratio(left);
            x += (end - t) / static_cast<double>(noise.steps()) * velocity(exact, x, t);
            if (last || gamma == 0) continue;
            const double kept = noise.alpha(s) / noise.alpha(end);
            x = Affine(kept * x + std::sqrt(noise.sigma2(s) - kept * kept * noise.sigma2(end)) * draw("", i));
        }
        return x;
    };
}

const Recursion decode = [](const Exact& exact, const std::vector<dtk::Step>& steps, const Affine& x, const Draw&) {
    return exact.x0(x, steps.front().t);
};

/// Ho et al. 2020 between any two times, with the variance β.
const Recursion large = [](const Exact& exact, const std::vector<dtk::Step>& steps, Affine x, const Draw& draw) {
    const auto& noise = exact.noise;
    for (const auto& [i, t, s, last] : steps) {
        if (last) return exact.x0(x, t);
        const double share = -std::expm1(2 * (exact.lambda(t) - exact.lambda(s)));  // β = share·σ_t²
        x = Affine(noise.alpha(s) * share * exact.x0(x, t) +
                   noise.alpha(t) / noise.alpha(s) * noise.sigma2(s) / noise.sigma2(t) * x +
                   std::sqrt(share) * noise.sigma(t) * draw("", i));
    }
    return x;
};

const Recursion consistency = [](const Exact& exact, const std::vector<dtk::Step>& steps, Affine x, const Draw& draw) {
    const auto& noise = exact.noise;
    for (const auto& [i, t, s, last] : steps) {
        if (last) return exact.x0(x, t);
        x = Affine(noise.alpha(s) * exact.x0(x, t) + noise.sigma(s) * draw("", i));
    }
    return x;
};

const Recursion langevin = [](const Exact& exact, const std::vector<dtk::Step>& steps, Affine x, const Draw& draw) {
    const auto& noise = exact.noise;
    for (const auto& [i, t, s, last] : steps) {
        for (const auto* name : {"", "correction 2"})
            x = Affine(noise.alpha(t) * exact.x0(x, t) + std::sqrt(1 - 0.05) * noise.sigma(t) * exact.eps(x, t) +
                       std::sqrt(0.05) * noise.sigma(t) * draw(name, i));
        x = Affine(noise.alpha(s) * exact.x0(x, t) + noise.sigma(s) * exact.eps(x, t));
    }
    return x;
};
/// With that power of σ in g².
Recursion flow_sde(double scale, double power) {
    return [=](const Exact& exact, const std::vector<dtk::Step>& steps, Affine x, const Draw& draw) {
        const auto& noise = exact.noise;
        for (const auto& [i, t, s, last] : steps) {
            if (last) return exact.x0(x, t);
            const double step = (t - s) / static_cast<double>(noise.steps()),
                         g2 = scale * std::pow(noise.sigma(t), power);
            const auto [alpha, sigma] = noise.rates(t);
            const Affine x0 = exact.x0(x, t), eps = exact.eps(x, t), v = alpha * x0 + sigma * eps;
            x = Affine(x - step * v - g2 / 2 * step * eps / noise.sigma(t) + std::sqrt(g2 * step) * draw("", i));
        }
        return x;
    };
}
const Recursion restart = [](const Exact& exact, const std::vector<dtk::Step>& steps, Affine x, const Draw& draw) {
    const auto& noise = exact.noise;
    const auto heun = [&](Affine x, double t, double s) {
        if (noise.alpha(t) == 0) return Affine(noise.alpha(s) * exact.x0(x, t) + noise.sigma(s) * exact.eps(x, t));
        const double from = noise.ratio(t), to = noise.ratio(s);
        const Affine y = x / noise.alpha(t), d = exact.eps(x, t);
        if (s <= -1) return Affine(y + (to - from) * d);
        const Affine there = y + (to - from) * d;
        return Affine(noise.alpha(s) * (y + (to - from) / 2 * (d + exact.eps(noise.alpha(s) * there, s))));
    };
    const auto away = [&](const dtk::Step& step) { return std::abs(std::log(noise.ratio(step.t) / 0.1)); };
    const auto nearest = std::ranges::min_element(steps, {}, away)->i;
    for (const auto& [i, t, s, last] : steps) {
        x = heun(x, t, s);
        if (i + 1 != nearest) continue;
        const double low = noise.ratio(s), high = 0.8, n = 4;
        for (int k = 0; k < 2; ++k) {
            double now = noise.time_of_ratio(high);
            x = Affine(noise.alpha(now) *
                       (x / noise.alpha(s) + std::sqrt(high * high - low * low) * draw("interval 0", k)));
            for (int j = 1; j <= n; ++j) {
                const double a = std::pow(high, 1. / 7), b = std::pow(low, 1. / 7);
                const double next = j == n ? s : noise.time_of_ratio(std::pow(a + j / n * (b - a), 7));
                x = heun(x, now, next);
                now = next;
            }
        }
    }
    return x;
};

/// A sampler and the recursion that its paper gives.
struct Known {
    std::string sampler, fields;
    Recursion recursion;
    /// Order with which the error of mean and standard deviation falls from n = 40 to 320; 0: it need not. Answers
    /// carry the noise of their steps, so that more than two of them do not lead beyond order two; where their errors
    /// change sign it shows less.
    double weak = 0;
    /// Share of new noise in a first step from α = 0, where most methods take that of first order; nothing: the
    /// recursion itself knows.
    std::optional<double> anew = 0.0;
};

const auto er_phi = [](double sigma) { return sigma * (std::exp(std::pow(sigma, 0.3)) + 10); };
/// τ where σ̃ lies between the two, 0 elsewhere.
std::function<double(double)> tau(double value, double low = 0, double high = 1e9) {
    return [=](double sigma) { return sigma >= low && sigma <= high ? value : 0; };
}
const std::vector<Known> stochastic{
    {"euler_ancestral", "", ancestral(1, false), 1, 1},
    {"euler_ancestral", "eta = 0.4", ancestral(0.4, false), 1, 0.4},
    {"ddim", "eta = 1", ancestral(1, false), 1, 1},
    {"ddpm", "", ancestral(1, false), 1, 1},
    {"ddpm", "variance = \"large\"", large, 1, {}},
    {"dpm2_ancestral", "", ancestral(1, true), 2, 1},
    {"dpm2_ancestral", "eta = 0.4", ancestral(0.4, true), 2, 0.4},
    {"sde_dpm_solver_pp", "form = \"1\"", exponential(1, 1), 1, 1},
    {"sde_dpm_solver_pp", "", exponential(2, 1, true), 2, 1},
    {"sde_dpm_solver_pp", "eta = 0.5", exponential(2, 0.5, true), 2, 1},
    {"sde_dpm_solver_pp", "form = \"3m\"", exponential(3, 1), 1.5, 1},
    {"exponential_adams", "order = 2\neta = 1", exponential(2, 1), 2, 1},
    {"exponential_adams", "order = 4\neta = 0.3", exponential(4, 0.3), 2, 1},
    {"sa_solver", "tau_min = 0\ntau_max = 1e9", stochastic_adams(3, 3, tau(1)), 1.8},
    {"sa_solver", "predictor = 2\ncorrector = 0\ntau = 0.6\ntau_min = 0\ntau_max = 1e9",
     stochastic_adams(2, 0, tau(0.6)), 2},
    {"sa_solver", "", stochastic_adams(3, 3, tau(1, 0.05, 1))},
    {"er_sde", "order = 1", extended(1, er_phi), 1, 1},
    {"er_sde", "order = 2", extended(2, er_phi), 2, 1},
    {"er_sde", "", extended(3, er_phi), 2, 1},
    {"er_sde", "form = \"sde\"", extended(3, [](double sigma) { return sigma * sigma; }), 2, 1},
    {"euler", "s_churn = 3\ns_min = 0.1\ns_max = 10\ns_noise = 1.01", churned(3, 0.1, 10, 1.01, false)},
    {"heun", "s_churn = 3\ns_min = 0.1\ns_max = 10\ns_noise = 1.01", churned(3, 0.1, 10, 1.01, true)},
    {"langevin", "corrections = 2\ndelta = 0.05", langevin, 0, {}},
    {"flow_sde", "scale = 0.7", flow_sde(0.7, 1), 1, {}},
    {"flow_sde", "scale = 0.2\ndiffusion = \"variance\"", flow_sde(0.2, 2), 1, {}},
    {"flow_sde", "scale = 0.2\ndiffusion = \"constant\"", flow_sde(0.2, 0), 1, {}},
    {"restart", "intervals = [[0.1, 0.8, 2, 4]]", restart, 0, {}},
    {"consistency", "", consistency, 0, {}},
    {"flow_map", "gamma = 1", flow_map(1), 0, {}},
    {"flow_map", "gamma = 0.6", flow_map(0.6), 0, {}},
};

const auto itself = [](double sigma) { return sigma; };
const auto logarithm = [](double sigma) { return std::log(sigma); };
const auto bh1 = [](double h) { return h; };
const auto bh2 = [](double h) { return -std::expm1(-h); };
const std::vector<Known> deterministic{
    {"ddim", "", ancestral(0, false)},
    {"euler", "", ancestral(0, false)},
    {"euler_ancestral", "eta = 0", ancestral(0, false)},
    {"heun", "", churned(0, 0, 1e300, 1, true)},
    {"dpm2", "", ancestral(0, true)},
    {"dpm2_ancestral", "eta = 0", ancestral(0, true)},
    {"lms", "order = 1", adams_bashforth(1, itself)},
    {"lms", "order = 2", adams_bashforth(2, itself)},
    {"lms", "order = 3", adams_bashforth(3, itself)},
    {"lms", "order = 4", adams_bashforth(4, itself)},
    {"plms", "", plms},
    {"deis", "order = 1", adams_bashforth(1, logarithm)},
    {"deis", "order = 2", adams_bashforth(2, logarithm)},
    {"deis", "order = 3", adams_bashforth(3, logarithm)},
    {"dpm_solver", "form = \"1\"", ancestral(0, false)},
    {"dpm_solver", "form = \"2\"", single_step(2)},
    {"dpm_solver", "form = \"3\"", single_step(3)},
    {"dpm_solver_pp", "form = \"1\"", exponential(1, 0)},
    {"dpm_solver_pp", "form = \"2s\"", single_step(0)},
    {"dpm_solver_pp", "form = \"2m\"", exponential(2, 0, true)},
    {"dpm_solver_pp", "form = \"3m\"", exponential(3, 0, true)},
    {"sde_dpm_solver_pp", "form = \"3m\"\neta = 0", exponential(3, 0)},
    {"unipc", "order = 1\nform = \"bh1\"", stochastic_adams(1, 1, tau(0), bh1)},
    {"unipc", "order = 2", stochastic_adams(2, 2, tau(0), bh2)},
    {"unipc", "order = 3", stochastic_adams(3, 3, tau(0), bh2)},
    {"exponential_adams", "order = 1", exponential(1, 0)},
    {"exponential_adams", "order = 2", exponential(2, 0)},
    {"exponential_adams", "order = 3", exponential(3, 0)},
    {"exponential_adams", "order = 4", exponential(4, 0)},
    {"er_sde", "form = \"ode\"", extended(3, itself)},
    {"sa_solver", "tau = 0", stochastic_adams(3, 3, tau(0))},
    {"langevin", "corrections = 0", ancestral(0, false)},
    {"flow_ode", "method = \"euler\"", runge_kutta(1), 0, {}},
    {"flow_ode", "method = \"midpoint\"", runge_kutta(2), 0, {}},
    {"flow_ode", "method = \"rk4\"", runge_kutta(4), 0, {}},
    {"flow_sde", "scale = 0", euler_in_u, 0, {}},
    {"flow_map", "", flow_map(0), 0, {}},
    {"decode", "", decode, 0, {}},
};

/// What a recursion makes of x_T, and which draws it took.
struct Law {
    Affine x;  ///< x_0
    std::vector<std::pair<std::string, std::int64_t>> draws;
    double mean(double of_x) const { return x[0] + x[1] * of_x; }
    double variance(double of_x) const {
        double sum = x[1] * x[1] * of_x;
        for (std::size_t k = 2; k < x.size(); ++k) sum += x[k] * x[k];
        return sum;
    }
};
Law law_of(const Known& known, const dtk::NoiseLevels& noise, std::vector<dtk::Step> steps) {
    Law law;
    const std::size_t room = 2 + 2 * steps.size() + 4;
    Affine x(0.0, room);
    x[1] = 1;
    const auto draw = [&](const std::string& name, std::int64_t i) {
        law.draws.emplace_back(name, i);
        Affine z(0.0, room);
        z[1 + law.draws.size()] = 1;
        return z;
    };
    std::map<std::pair<std::string, std::int64_t>, Affine> drawn;
    const auto once = [&](const std::string& name, std::int64_t i) {
        const auto found = drawn.find({name, i});
        return found != drawn.end() ? found->second : drawn[{name, i}] = draw(name, i);
    };
    const Exact exact{noise};
    if (const auto [i, t, s, last] = steps.front(); known.anew && noise.alpha(t) == 0) {
        const double share = *known.anew, sigma = noise.sigma(s);
        x = Affine(noise.alpha(s) * exact.x0(x, t) + sigma * std::sqrt(1 - share * share) * exact.eps(x, t));
        if (share > 0) x += sigma * share * once("", i);
        steps.erase(steps.begin());
    }
    law.x = steps.empty() ? x : known.recursion(exact, steps, x, once);
    return law;
}

const std::map<std::string, std::string> named_grids{
    {"karras", "grid = {use = \"karras\", sigma_min = 0.01, sigma_max = 20}"},
    {"uniform_log_snr", "grid = {use = \"uniform_log_snr\", log_snr_min = -6, log_snr_max = 9}"}};

}  // namespace

namespace {

/// Does the sampler what its recursion does with the same draws, relative to the largest number in it? → was it tried?
bool check_recursion(const Known& known, const std::string& schedule, const std::string& grid, int n) {
    static std::map<std::string, support::BuildContext> views;
    auto& context = views[schedule];
    INFO(known.sampler << ", " << known.fields << ", " << schedule << ", " << grid << ", " << n << " steps");
    std::shared_ptr<dtk::Sampler> sampler;
    try {
        if (!context.chain) context = gaussian(schedule);
        sampler =
            make<dtk::Sampler>(known.sampler, fmt::format("steps = {}\ngrid = {}\n{}", n, grid, known.fields), context);
    } catch (const dtk::Error&) {
        return false;
    }
    const auto times = sampler->times(*context.chain);
    // From so much noise, but not from noise alone, too few digits are left of the data.
    const auto too_far = [&](double t) {
        const double ratio = context.chain->levels().ratio(t);
        return ratio > 1e4 && std::isfinite(ratio);
    };
    if (std::ranges::any_of(times, too_far)) return false;
    const auto law = law_of(known, context.chain->levels(), dtk::steps_along(times));
    const auto x = stream.stream("x").normal({6, 1}, at::kDouble) * context.chain->levels().sigma(times.front());
    auto expected = law.x[0] + law.x[1] * x;
    for (std::size_t k = 0; k < law.draws.size(); ++k) {
        const auto& [name, step] = law.draws[k];
        const auto random = name.empty() ? stream : stream.stream(name);
        expected = expected + law.x[2 + k] * random.step(step).normal(x.sizes(), x.options());
    }
    at::NoGradGuard no_grad;
    const product::GaussianData data{at::tensor({mean0}, at::kDouble), sd0};
    const auto there = sampler->sample(data.denoiser(context.chain, dtk::PredictionType::x0), times, x, stream);
    const double size = std::max({1.0, x.abs().max().item<double>(), expected.abs().max().item<double>()});
    INFO(distance(there, expected) << " of " << size);
    CHECK(distance(there, expected) < 1e-10 * size);
    return true;
}

std::vector<Known> all_known() {
    auto all = stochastic;
    all.insert(all.end(), deterministic.begin(), deterministic.end());
    return all;
}

}  // namespace

TEST_CASE("every sampler's recursion is known, but of those that have to be told what is known of the samples") {
    const auto context = gaussian("\"linear\"");
    for (const auto& name : support::registry().names("sampler")) {
        INFO(name);
        try {
            make<dtk::Sampler>(name, "", context);
        } catch (const dtk::Error&) {
            continue;  // posteriors.cpp knows its law
        }
        CHECK(std::ranges::any_of(all_known(), [&](const Known& known) { return known.sampler == name; }));
    }
}

TEST_CASE("on Gaussian data samplers do what their papers' recursion does with the same draws: all pairs") {
    const auto known = all_known();
    const auto schedules = product::parts("schedule", false), grids = product::parts("grid", false);
    const std::array numbers_of_steps{1, 2, 3, 10};
    std::size_t ran = 0;
    for (const auto& row : product::pairwise({known.size(), schedules.size(), grids.size(), numbers_of_steps.size()})) {
        const auto schedule = schedules[row[1]].toml();
        ran += check_recursion(known[row[0]], schedule, grids[row[2]].toml(), numbers_of_steps[row[3]]) ||
               check_recursion(known[row[0]], schedule, "\"trailing\"", 10);
    }
    CHECK(ran > known.size() * schedules.size() * 2 / 3);
}

TEST_CASE("on Gaussian data samplers do what their papers' recursion does with the same draws: everywhere", "[slow]") {
    for (const auto& known : all_known())
        for (const auto& schedule : product::parts("schedule", false))
            for (const auto& grid : product::parts("grid"))
                for (const int n : {1, 2, 3, 10}) check_recursion(known, schedule.toml(), grid.toml(), n);
}

namespace {

/// Error of mean and standard deviation at the grid's last noise level, with n steps to there.
double weak_error(const Known& method, const std::string& schedule, const std::string& grid, int n) {
    const auto context = gaussian(schedule);
    const auto plugin = make<dtk::Sampler>(
        method.sampler, fmt::format("steps = {}\n{}\n{}", n + 1, named_grids.at(grid), method.fields), context);
    const auto times = plugin->times(*context.chain);
    const auto& noise = context.chain->levels();
    auto steps = dtk::steps_along(times);
    steps.pop_back();
    const auto law = law_of(method, noise, steps);
    const auto mean = [&](double t) { return noise.alpha(t) * mean0; };
    const auto variance = [&](double t) { return noise.alpha_bar(t) * sd0 * sd0 + noise.sigma2(t); };
    return std::hypot(law.mean(mean(times.front())) - mean(times.back()),
                      std::sqrt(law.variance(variance(times.front()))) - std::sqrt(variance(times.back()))) /
           noise.alpha(times.back());
}

}  // namespace

TEST_CASE("ddpm's step to a time between clean data and the first step draws noise, too") {
    const auto context = gaussian("{use = \"edm\", sigma_max = 80}");
    const auto ddpm = make<dtk::Sampler>("ddpm", "steps = 9\n" + named_grids.at("karras"), context);
    const auto ddim = make<dtk::Sampler>("ddim", "eta = 1\nsteps = 9\n" + named_grids.at("karras"), context);
    const auto x = 20 * stream.stream("x").normal({6, 1}, at::kDouble);
    CHECK(distance(sampled(*ddpm, context, x, stream), sampled(*ddim, context, x, stream)) < 1e-10);
}

TEST_CASE("mean and standard deviation of stochastic samplers come to the data's with their weak order") {
    for (const auto& method : stochastic) {
        if (method.weak == 0) continue;
        for (const auto& [schedule, grid] : {std::pair{"\"linear\"", "karras"}, {"\"edm\"", "uniform_log_snr"}}) {
            const double order =
                std::log2(weak_error(method, schedule, grid, 40) / weak_error(method, schedule, grid, 320)) / 3;
            INFO(method.sampler << ", " << method.fields << ", " << schedule << ", " << grid << ": weak order "
                                << order);
            CHECK(order > method.weak - 0.2);
        }
    }
}

TEST_CASE("weak error and weak order, as in docs/samplers.md", "[.figures]") {
    for (const auto& method : stochastic)
        for (const auto& [schedule, grid] : {std::pair{"\"linear\"", "karras"}, {"\"edm\"", "uniform_log_snr"}}) {
            auto text = method.fields;
            std::replace(text.begin(), text.end(), '\n', ',');
            fmt::print("{:18} {:44} {:8} {:16}", method.sampler, text, schedule, grid);
            for (const int n : {40, 80, 160, 320}) fmt::print(" {:.2e}", weak_error(method, schedule, grid, n));
            fmt::print("  {:.2f}\n",
                       std::log2(weak_error(method, schedule, grid, 40) / weak_error(method, schedule, grid, 320)) / 3);
        }
}

// ---- Polynomials that a step integrates exactly.

namespace {

/// A sampler, its order p, and what it integrates: the flow of x̂_0 = λ^d or ε̂ = λ^d or ε̂ = σ̃^d is exact for d < p.
struct Polynomial {
    std::string sampler, fields;
    int degrees;
    enum { x0_of_lambda, eps_of_lambda, eps_of_ratio, x0_of_ratio } of;
    double eta = 0;
};
const std::vector<Polynomial> polynomials{
    {"dpm_solver_pp", "form = \"1\"", 1, Polynomial::x0_of_lambda},
    {"dpm_solver_pp", "form = \"2m\"", 1, Polynomial::x0_of_lambda},
    {"dpm_solver_pp", "form = \"3m\"", 3, Polynomial::x0_of_lambda},
    {"sde_dpm_solver_pp", "form = \"2m\"", 1, Polynomial::x0_of_lambda, 1},
    {"sde_dpm_solver_pp", "form = \"3m\"", 3, Polynomial::x0_of_lambda, 1},
    {"sde_dpm_solver_pp", "form = \"3m\"\neta = 0.3", 3, Polynomial::x0_of_lambda, 0.3},
    {"exponential_adams", "order = 1", 1, Polynomial::x0_of_lambda},
    {"exponential_adams", "order = 2", 2, Polynomial::x0_of_lambda},
    {"exponential_adams", "order = 3", 3, Polynomial::x0_of_lambda},
    {"exponential_adams", "order = 4", 4, Polynomial::x0_of_lambda},
    {"exponential_adams", "order = 4\neta = 1", 4, Polynomial::x0_of_lambda, 1},
    {"unipc", "order = 2", 1, Polynomial::x0_of_lambda},
    {"unipc", "order = 3\nform = \"bh1\"", 3, Polynomial::x0_of_lambda},
    {"unipc", "order = 3\nform = \"bh2\"", 3, Polynomial::x0_of_lambda},
    {"sa_solver", "predictor = 4\ncorrector = 0\ntau = 0", 4, Polynomial::x0_of_lambda},
    {"sa_solver", "predictor = 4\ncorrector = 3\ntau = 0", 4, Polynomial::x0_of_lambda},
    {"dpm_solver", "form = \"2\"", 1, Polynomial::eps_of_lambda},
    {"dpm_solver", "form = \"3\"", 2, Polynomial::eps_of_lambda},
    {"deis", "order = 1", 1, Polynomial::eps_of_lambda},
    {"deis", "order = 2", 2, Polynomial::eps_of_lambda},
    {"deis", "order = 3", 3, Polynomial::eps_of_lambda},
    {"heun", "", 2, Polynomial::eps_of_ratio},
    {"lms", "order = 1", 1, Polynomial::eps_of_ratio},
    {"lms", "order = 2", 2, Polynomial::eps_of_ratio},
    {"lms", "order = 3", 3, Polynomial::eps_of_ratio},
    {"lms", "order = 4", 4, Polynomial::eps_of_ratio},
    {"er_sde", "form = \"ode\"\norder = 1", 1, Polynomial::x0_of_ratio},
    {"er_sde", "form = \"ode\"\norder = 2", 2, Polynomial::x0_of_ratio},
    {"er_sde", "form = \"ode\"\norder = 3", 3, Polynomial::x0_of_ratio},
};

}  // namespace

TEST_CASE("a step of order p is exact where the answers are a polynomial of a degree below p") {
    const auto context = gaussian("\"linear\"");
    const auto& noise = context.chain->levels();
    for (const auto& [sampler, fields, degrees, of, eta] : polynomials)
        for (int d = 0; d <= degrees; ++d)
            for (const auto& [name, grid] : named_grids) {
                INFO(sampler << ", " << fields << ", degree " << d << ", " << name);
                const bool of_lambda = of == Polynomial::x0_of_lambda || of == Polynomial::eps_of_lambda;
                const bool of_x0 = of == Polynomial::x0_of_lambda || of == Polynomial::x0_of_ratio;
                const auto value = [&](double lambda) { return std::pow(of_lambda ? lambda : std::exp(-lambda), d); };
                const dtk::Denoiser answers(
                    context.chain, [&](const Tensor& x, const dtk::Time& t, const dtk::Condition&) {
                        const auto q = t.map([&](double t) { return value(dtk::half_log_snr(noise, t)); });
                        return dtk::Prediction{of_x0 ? dtk::PredictionType::x0 : dtk::PredictionType::eps,
                                               q.rows(x).unsqueeze(1).expand_as(x),
                                               {}};
                    });
                const auto plugin =
                    make<dtk::Sampler>(sampler, fmt::format("steps = 12\n{}\n{}", grid, fields), context);
                const auto times = plugin->times(*context.chain);
                const auto all = states(*plugin, answers, at::tensor({0.3, -20.0}, at::kDouble).unsqueeze(1), stream);
                double worst = 0;
                for (std::size_t i = 4; i + 1 < times.size(); ++i) {
                    const double t = times[i], s = times[i + 1], from = dtk::half_log_snr(noise, t),
                                 h = dtk::half_log_snr(noise, s) - from, H = (1 + eta) * h;
                    const auto q = [&](double r) { return value(from + r * h); };
                    // x_s = σ_s/σ_t e^{−ηh} x_t + α_s H ∫ e^{−H(1−r)} x̂_0 dr,  or  α_s/α_t x_t − σ_s h ∫ e^{h(1−r)} ε̂
                    // dr
                    auto expected = of_x0 ? noise.sigma(s) / noise.sigma(t) * std::exp(-eta * h) * all[i] +
                                                noise.alpha(s) * integral(H, q)
                                          : noise.alpha(s) / noise.alpha(t) * all[i] + noise.sigma(s) * integral(-h, q);
                    if (eta > 0)
                        expected = expected + noise.sigma(s) * std::sqrt(-std::expm1(-2 * eta * h)) *
                                                  stream.step(static_cast<std::int64_t>(i)).normal({2, 1}, at::kDouble);
                    worst = std::max(worst, distance(all[i + 1], expected));
                }
                INFO(worst);
                CHECK((worst < 1e-10 * std::pow(20, d)) == (d < degrees));
            }
}
