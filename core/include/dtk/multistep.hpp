#pragma once
// What multistep samplers share: the network's last answers, and the weights with which the polynomial through them is
// integrated.
#include <cmath>
#include <cstddef>
#include <deque>
#include <utility>
#include <vector>

#include <dtk/exponential.hpp>
#include <dtk/tensor.hpp>

namespace dtk {

/// The last answers, the newest first, each with its place on the axis that is integrated along.
class Answers {
 public:
    explicit Answers(std::int64_t most) : most_(static_cast<std::size_t>(most)) {}
    /// An answer at an infinite place (λ where α = 0) serves its own step alone.
    void add(Tensor value, double place) {
        if (!places_.empty() && std::isinf(places_.front())) {
            values_.clear();
            places_.clear();
        }
        values_.push_front(std::move(value));
        places_.push_front(place);
        if (places_.size() > most_) {
            values_.pop_back();
            places_.pop_back();
        }
    }
    std::size_t size() const { return places_.size(); }
    const Tensor& operator[](std::size_t k) const { return values_[k]; }
    /// Where the newest `count` of them lie when `from` is 0 and `to` is 1.
    std::vector<double> nodes(double from, double to, std::size_t count) const {
        std::vector<double> r;
        for (std::size_t k = 0; k < count; ++k) r.push_back(places_[k] == from ? 0 : (places_[k] - from) / (to - from));
        return r;
    }

 private:
    std::size_t most_;
    std::deque<Tensor> values_;
    std::deque<double> places_;
};

/// The weights w with Σ_k w_k q(r_k) = Σ_j c_j moment_j for every polynomial q = Σ_j c_j r^j of a degree below the
/// number of nodes: with moment_j = ∫ f(r) r^j dr that is the integral of f times the polynomial through the answers.
/// Nodes are distinct, as many as moments. Björck & Pereyra, "Solution of Vandermonde Systems of Equations", 1970.
inline std::vector<double> interpolation_weights(const std::vector<double>& r, std::vector<double> moments) {
    auto& w = moments;
    const auto n = r.size();
    for (std::size_t k = 0; k + 1 < n; ++k)
        for (std::size_t i = n - 1; i > k; --i) w[i] -= r[k] * w[i - 1];
    for (std::size_t k = n - 1; k-- > 0;) {
        for (std::size_t i = k + 1; i < n; ++i) w[i] /= r[i] - r[i - k - 1];
        for (std::size_t i = k; i + 1 < n; ++i) w[i] -= w[i + 1];
    }
    return w;
}

/// kept·x + Σ_k w_k answer_k
inline Tensor combined(double kept, const Tensor& x, const std::vector<double>& weights, const Answers& answers) {
    auto sum = kept * x;
    for (std::size_t k = 0; k < weights.size(); ++k) sum = at::add(sum, answers[k], weights[k]);
    return sum;
}

/// ∫_0^1 e^{−c(1−r)} r^j dr for j = 0 … count − 1, any finite c: by parts, near c = 0 as the series Σ_i (−c)^i
/// j!/(i+j+1)!.
inline std::vector<double> exponential_moments(double c, std::size_t count) {
    std::vector<double> m;
    for (std::size_t j = 0; j < count; ++j) {
        const auto k = static_cast<double>(j);
        if (std::abs(c) >= 1) {
            m.push_back(j == 0 ? -std::expm1(-c) / c : (1 - k * m.back()) / c);
            continue;
        }
        double sum = 0, term = 1 / (k + 1);
        for (double i = 1; i < 25; ++i) {
            sum += term;
            term *= -c / (k + i + 1);
        }
        m.push_back(sum);
    }
    return m;
}

/// The probability flow (η = 0), or the reverse SDE with η times its noise's rate, from t to s, where x̂_0 is a
/// polynomial Σ_j c_j r^j of r = (λ − λ_t)/h, h = λ_s − λ_t. Exactly, with H = (1 + η) h:
///   x_s = kept x_t + Σ_j moment_j c_j + sd z
///   kept = σ_s/σ_t e^{−ηh},   moment_j = α_s H ∫_0^1 e^{−H(1−r)} r^j dr,   sd = σ_s √(1 − e^{−2ηh})
/// Where h is infinite, from α_t = 0 or to s = −1, only a constant x̂_0 has a step: `count` is then taken for 1.
struct ExponentialStep {
    double kept;
    std::vector<double> moments;
    double sd;
};
inline ExponentialStep exponential_step(const NoiseLevels& noise, double t, double s, double eta, std::size_t count) {
    const auto from = noise.at(t), to = noise.at(s);
    const double h = (to.log_snr - from.log_snr) / 2, H = (1 + eta) * h;
    const double forgotten = eta > 0 ? eta * h : 0, kept = to.sigma / from.sigma * std::exp(-forgotten);
    const double sd = to.sigma * std::sqrt(-std::expm1(-2 * forgotten));
    if (!std::isfinite(h)) return {kept, {to.alpha}, sd};
    auto moments = exponential_moments(H, count);
    for (auto& m : moments) m *= to.alpha * H;
    return {kept, std::move(moments), sd};
}

}  // namespace dtk
