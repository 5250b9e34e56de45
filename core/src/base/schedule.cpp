// Noise levels and schedules: what follows from α, σ at every time.
#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <boost/math/tools/toms748_solve.hpp>

#include <dtk/grid.hpp>
#include <dtk/rate.hpp>
#include <dtk/schedule.hpp>
#include <dtk/weighting.hpp>

namespace dtk {

Schedule::~Schedule() = default;
Weighting::~Weighting() = default;
Rate::~Rate() = default;
Grid::~Grid() = default;

NoiseLevel variance_preserving(double log_snr) {
    const auto root_of_sigmoid = [](double x) {
        return x > 0 ? 1 / std::sqrt(1 + std::exp(-x)) : std::exp(x / 2) / std::sqrt(1 + std::exp(x));
    };
    return {root_of_sigmoid(log_snr), root_of_sigmoid(-log_snr), log_snr};
}

NoiseLevel noise_level(double alpha, double sigma) { return {alpha, sigma, 2 * (std::log(alpha) - std::log(sigma))}; }

namespace {
/// Numbers near the least that there are have lost their digits.
void refuse_faint(double alpha_bar, std::size_t step, std::size_t steps) {
    if (alpha_bar > 0 && alpha_bar < 1e-290)
        throw Error(fmt::format("ᾱ = {:.3g} at step {} of {}: so little signal cannot be told from none", alpha_bar,
                                step, steps),
                    "use fewer steps, or smaller β");
}
}  // namespace

NoiseLevels NoiseLevels::from_betas(const std::vector<double>& betas) {
    if (betas.empty()) throw Error("the schedule has no noise levels", "it must answer one β for every step");
    NoiseLevels levels;
    levels.steps_ = static_cast<std::int64_t>(betas.size());
    double alpha_bar = 1, sigma2 = 0;
    for (std::size_t t = 0; t < betas.size(); ++t) {
        const double beta = betas[t];
        if (!(beta > 0 && beta <= 1))
            throw Error(fmt::format("β = {} at step {} of {} is outside (0, 1]", beta, t + 1, betas.size()),
                        "change the schedule's ends or the number of steps");
        if (alpha_bar == 0)
            throw Error(fmt::format("ᾱ is already 0 at step {} of {}", t, betas.size()), "only the last β may be 1");
        sigma2 += alpha_bar * beta;
        alpha_bar *= 1 - beta;
        refuse_faint(alpha_bar, t + 1, betas.size());
        levels.table_.push_back({std::sqrt(alpha_bar), alpha_bar, sigma2, std::log(alpha_bar / sigma2)});
    }
    levels.beta_ = betas;
    return levels;
}

NoiseLevels NoiseLevels::from_table(const std::vector<NoiseLevel>& table) {
    NoiseLevels levels;
    levels.steps_ = static_cast<std::int64_t>(table.size());
    for (const auto& [alpha, sigma, log_snr] : table)
        levels.table_.push_back({alpha, alpha * alpha, sigma * sigma, log_snr});
    levels.check();
    return levels;
}

NoiseLevels NoiseLevels::from_function(std::int64_t steps, std::function<NoiseLevel(double u)> level) {
    std::vector<NoiseLevel> table;
    for (std::int64_t t = 0; t < steps; ++t)
        table.push_back(level(static_cast<double>(t + 1) / static_cast<double>(steps)));
    auto levels = from_table(table);
    // At a step two formulas may agree that do so nowhere else, as α = 0 and σ = 1 at the end of a straight path.
    for (std::int64_t t = 0; levels.variance_preserving_ && t < steps; ++t) {
        const auto between = level((static_cast<double>(t) + 0.5) / static_cast<double>(steps));
        const double total = between.alpha * between.alpha + between.sigma * between.sigma;
        levels.variance_preserving_ = std::abs(total - 1) < 1e-9;
    }
    levels.function_ = std::move(level);
    return levels;
}

void NoiseLevels::check() {
    if (table_.empty()) throw Error("the schedule has no noise levels", "it must answer one for every step");
    variance_preserving_ = true;
    for (std::size_t t = 0; t < table_.size(); ++t) {
        const auto& [alpha, alpha_bar, sigma2, log_snr] = table_[t];
        const auto where = fmt::format("at step {} of {}", t + 1, table_.size());
        if (!(std::isfinite(alpha) && std::isfinite(sigma2) && alpha >= 0 && sigma2 > 0))
            throw Error(fmt::format("α = {} and σ² = {} {} cannot be: α must be finite and ≥ 0, σ finite and above 0",
                                    alpha, sigma2, where),
                        "look at the schedule's formula, or change its fields");
        if (std::isnan(log_snr) || log_snr == std::numeric_limits<double>::infinity() ||
            (alpha > 0 && std::isinf(log_snr)))
            throw Error(
                fmt::format("log-SNR = {} {} does not go with α = {} and σ² = {}", log_snr, where, alpha, sigma2));
        refuse_faint(alpha_bar, t + 1, table_.size());
        if (t > 0 && !(log_snr < table_[t - 1].log_snr))
            throw Error(fmt::format("log-SNR does not fall from step {} to {}: {} → {}", t, t + 1,
                                    table_[t - 1].log_snr, log_snr),
                        "noise must grow with time; look at the schedule's formula, or use fewer steps");
        variance_preserving_ = variance_preserving_ && std::abs(alpha_bar + sigma2 - 1) < 1e-9;
    }
}

NoiseLevel NoiseLevels::at(double t) const {
    if (t <= -1) return {1, 0, std::numeric_limits<double>::infinity()};
    const double whole = std::floor(t);
    if (whole == t) {
        const auto& entry = table_.at(static_cast<std::size_t>(t));
        return {entry.alpha, std::sqrt(entry.sigma2), entry.log_snr};
    }
    if (function_) return function_((t + 1) / static_cast<double>(steps_));
    return between(t);
}

NoiseLevel NoiseLevels::between(double t) const {
    const auto later = static_cast<std::size_t>(std::ceil(t));
    const double along = t - std::floor(t);
    const auto& b = table_.at(later);
    // α² + σ² at that time, 1 where the levels preserve the variance; and from it α and σ by their ratio.
    const auto split = [&](double total, double log_snr) {
        const auto unit = dtk::variance_preserving(log_snr);
        return NoiseLevel{unit.alpha * std::sqrt(total), unit.sigma * std::sqrt(total), log_snr};
    };
    if (later == 0 && b.alpha == 0) {
        // One step from all to nothing: α = 1 − along and σ² ∝ along, brought to α² + σ² = 1 where that is so
        // elsewhere.
        const double log_snr = 2 * std::log1p(-along) - std::log(along * b.sigma2);
        if (variance_preserving_) return split(1, log_snr);
        return {1 - along, std::sqrt(along * b.sigma2), log_snr};
    }
    if (later == 0) {
        const double noise = along * b.sigma2 / b.alpha_bar;
        if (variance_preserving_) return split(1, -std::log(noise));
        const double alpha = std::exp(along * std::log(b.alpha));
        return {alpha, alpha * std::sqrt(noise), -std::log(noise)};
    }
    const auto& a = table_[later - 1];
    double log_snr = a.log_snr + along * (b.log_snr - a.log_snr);
    if (b.alpha == 0) log_snr = 2 * std::log((1 - along) * std::exp(a.log_snr / 2));
    if (variance_preserving_) return split(1, log_snr);
    if (b.alpha == 0) return split((1 - along) * (a.alpha_bar + a.sigma2) + along * b.sigma2, log_snr);
    const double alpha = std::exp((1 - along) * std::log(a.alpha) + along * std::log(b.alpha));
    return {alpha, alpha * std::exp(-log_snr / 2), log_snr};
}

double NoiseLevels::alpha_bar(double t) const {
    if (t <= -1) return 1;
    if (std::floor(t) == t) return table_.at(static_cast<std::size_t>(t)).alpha_bar;
    const double a = alpha(t);
    return a * a;
}

double NoiseLevels::sigma2(double t) const {
    if (t <= -1) return 0;
    if (std::floor(t) == t) return table_.at(static_cast<std::size_t>(t)).sigma2;
    const double s = sigma(t);
    return s * s;
}

double NoiseLevels::snr(double t) const {
    return t <= -1 ? std::numeric_limits<double>::infinity() : alpha_bar(t) / sigma2(t);
}

double NoiseLevels::ratio(double t) const {
    const auto level = at(t);
    return level.sigma / level.alpha;
}

namespace {
/// Slope of f at t: differences over steps h, h/4, h/16, …, extrapolated to a step of 0, and of all these the one that
/// its neighbours agree with best, as far as rounding lets them: so short a step that both are the same by chance is no
/// better. order 2: central differences; 1: backward ones. Ridders, "Accurate computation of F'(x) and F'(x)F''(x)",
/// 1982.
template <class F>
double ridders(F f, double t, double h, int order) {
    constexpr int rows = 14;
    constexpr double shrink = 4;
    double table[rows][rows], best = 0, error = std::numeric_limits<double>::infinity();
    for (int i = 0; i < rows; ++i, h /= shrink) {
        const double later = order == 2 ? t + h : t, earlier = t - h, a = f(later), b = f(earlier);
        table[i][0] = (a - b) / (order == 2 ? 2 * h : h);
        constexpr double epsilon = std::numeric_limits<double>::epsilon();
        const double rounding =
            epsilon * (std::max(std::abs(a), std::abs(b)) + std::max(1.0, std::abs(t)) * std::abs(table[i][0])) / h;
        double gained = 1;
        for (int j = 1; j <= i; ++j) {
            gained *= std::pow(shrink, order);
            table[i][j] = (gained * table[i][j - 1] - table[i - 1][j - 1]) / (gained - 1);
            const double off = std::max(
                {std::abs(table[i][j] - table[i][j - 1]), std::abs(table[i][j] - table[i - 1][j - 1]), rounding});
            if (off < error) {
                error = off;
                best = table[i][j];
            }
        }
    }
    return best;
}
}  // namespace

NoiseLevels::Rates NoiseLevels::rates(double t) const {
    const double T = static_cast<double>(steps_);
    if (function_) {
        const double inside = std::max(t, -1 + 1e-9 * T), room = std::min(inside + 1, last() - inside);
        const auto slope = [&](auto of) {
            // So near the noisy end that differences around it are rounding, they are taken behind it.
            return last() - inside >= 1e-6 * T ? ridders(of, inside, room / 2, 2) : ridders(of, inside, T / 8, 1);
        };
        // Where α² + σ² = 1 both follow from log-SNR, which does not stand still near α = 1.
        const auto here = at(inside);
        if (variance_preserving_ && room > 0 && here.alpha > 0 && here.sigma > 0) {
            const double fall = slope([&](double x) { return log_snr(x); }) * T / 2;
            return {here.alpha * here.sigma * here.sigma * fall, -here.sigma * here.alpha * here.alpha * fall};
        }
        return {slope([&](double x) { return alpha(x); }) * T, slope([&](double x) { return sigma(x); }) * T};
    }
    // Between two entries log-SNR and log α are known functions of t; at a whole time it is the side of less noise.
    const auto later = static_cast<std::size_t>(std::max(0.0, std::ceil(t)));
    const auto& b = table_.at(later);
    const auto [alpha, sigma, log_snr] = at(t);
    const double low = static_cast<double>(later) - 1;
    double slope = -1 / (t - low), log_alpha_slope = std::log(b.alpha);
    if (later > 0) {
        const auto& before = table_[later - 1];
        slope = b.log_snr - before.log_snr;
        log_alpha_slope = std::log(b.alpha) - std::log(before.alpha);
    }
    const double left = low + 1 - t;
    if (b.alpha == 0 && later == 0) {
        if (left == 0) return {-T, variance_preserving_ ? 0 : sigma / 2 * T};
        slope = -2 / left - 1 / (1 - left);
        log_alpha_slope = -1 / left;
    } else if (b.alpha == 0) {
        // α/σ is a line to 0, and so is α² + σ² to its end.
        const auto& before = table_[later - 1];
        const double total = alpha * alpha + sigma * sigma;
        const double widens = variance_preserving_ ? 0 : (b.sigma2 - before.alpha_bar - before.sigma2) / (2 * total);
        if (left == 0) return {-std::exp(before.log_snr / 2) * sigma * T, sigma * widens * T};
        slope = -2 / left;
        log_alpha_slope = slope * sigma * sigma / (2 * total) + widens;
    }
    if (variance_preserving_) return {alpha * sigma * sigma * slope / 2 * T, -sigma * alpha * alpha * slope / 2 * T};
    return {alpha * log_alpha_slope * T, sigma * (log_alpha_slope - slope / 2) * T};
}

double NoiseLevels::time(double log_snr) const {
    if (log_snr <= table_.back().log_snr) return last();
    // The whole times that it lies between.
    const auto after =
        std::partition_point(table_.begin(), table_.end(), [&](const Entry& entry) { return entry.log_snr > log_snr; });
    const double high = static_cast<double>(after - table_.begin());
    if (after->log_snr == log_snr) return high;
    const double low = high - 1;
    if (!function_) {
        if (low < 0 && after->alpha == 0) {
            const double ratio = std::exp(log_snr / 2) * std::sqrt(after->sigma2);  // (1 − along)/√along
            return low + std::pow(2 / (ratio + std::sqrt(ratio * ratio + 4)), 2);
        }
        if (low < 0) return low + std::exp(-log_snr) * after->alpha_bar / after->sigma2;
        const auto& before = table_[static_cast<std::size_t>(low)];
        if (after->alpha == 0) return high - std::exp((log_snr - before.log_snr) / 2);
        return low + (log_snr - before.log_snr) / (after->log_snr - before.log_snr);
    }
    // Where α = 0 it is −∞, which no interpolation can use.
    const auto off = [&](double t) { return std::max(at(t).log_snr - log_snr, -1e3); };
    double left = low < 0 ? -1 + 1e-12 * static_cast<double>(steps_) : low;
    if (off(left) <= 0) return -1;  // less noise than the function ever has
    boost::uintmax_t most = 200;
    const auto [a, b] = boost::math::tools::toms748_solve(off, left, high, off(left), off(high),
                                                          boost::math::tools::eps_tolerance<double>(52), most);
    return (a + b) / 2;
}

double NoiseLevels::time_of_ratio(double ratio) const { return time(-2 * std::log(ratio)); }

double error_per_x0(const NoiseLevels& levels, double t, std::string_view type, double data_sd) {
    const auto [alpha, sigma, log_snr] = levels.at(t);
    if (type == "x0") return 1;
    if (type == "eps") return std::exp(log_snr);
    if (type == "score") return std::exp(log_snr) / (sigma * sigma);
    if (type == "v") return std::pow((alpha * alpha + sigma * sigma) / sigma, 2);
    if (type == "velocity") {
        const auto [alpha_rate, sigma_rate] = levels.rates(t);
        return std::pow(alpha_rate - sigma_rate * alpha / sigma, 2);
    }
    if (type == "edm") return std::exp(log_snr) + 1 / (data_sd * data_sd);
    throw Error(fmt::format("an error of {} is not one of x_0, so it has no weight by noise level", type),
                "use [weighting] use = \"uniform\"");
}

double NoiseLevels::added_variance(double t, double s) const {
    if (s == t - 1 && !beta_.empty() && std::floor(t) == t) return beta_[static_cast<std::size_t>(t)];
    if (s <= -1) return sigma2(t);
    const double gap = log_snr(t) - log_snr(s);
    return -sigma2(t) * std::expm1(gap);  // σ_t² − (α_t/α_s)² σ_s² without cancellation
}

double NoiseLevels::posterior_variance(double t, double s) const {
    return added_variance(t, s) * sigma2(s) / sigma2(t);
}

double NoiseLevels::posterior_mean_x0(double t, double s) const { return alpha(s) * added_variance(t, s) / sigma2(t); }

double NoiseLevels::posterior_mean_xt(double t, double s) const { return alpha(t) / alpha(s) * sigma2(s) / sigma2(t); }

NoiseLevels BetaSchedule::levels(std::int64_t steps) const {
    const auto beta = betas(steps);
    if (static_cast<std::int64_t>(beta.size()) != steps)
        throw Error(fmt::format("the schedule answers {} numbers β where {} steps were asked for", beta.size(), steps),
                    "betas(steps) must return as many numbers as there are steps");
    return NoiseLevels::from_betas(beta);
}

void BetaRamp::Config::fields(Fields& f) {
    f("beta_start", beta_start, inside(0, 1), "β of the first step, at T = 1000");
    f("beta_end", beta_end, inside(0, 1), "β of the last step, at T = 1000");
    f("rescale", rescale, "multiply β by 1000/T, so that ᾱ_T hardly depends on T");
}

std::vector<double> BetaRamp::betas(std::int64_t steps) const {
    const auto& [start, end, rescale] = config_;
    const double scale = rescale ? 1000.0 / static_cast<double>(steps) : 1;
    if (scale * std::max(start, end) >= 1)
        throw Error(fmt::format("β_end = {} rescaled by 1000/T for {} steps is {}, and β must be less than 1", end,
                                steps, scale * end),
                    "use more steps, a smaller beta_end, or rescale = false");
    std::vector<double> betas(static_cast<std::size_t>(steps));
    for (std::int64_t i = 0; i < steps; ++i) {
        const double u = steps > 1 ? static_cast<double>(i) / static_cast<double>(steps - 1) : 0;
        betas[static_cast<std::size_t>(i)] = scale * beta(start, end, u);
    }
    return betas;
}

NoiseLevels ContinuousSchedule::levels(std::int64_t steps) const {
    // The function outlives whoever asked for the levels.
    const auto self = weak_from_this().lock();
    return NoiseLevels::from_function(steps, [this, self](double u) { return level(u); });
}

}  // namespace dtk
