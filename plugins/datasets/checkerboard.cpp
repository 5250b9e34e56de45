// Uniform on the dark unit squares (i, j), i + j even, of a board of k·k, plus noise·z, z ~ N(0, I); centred and
// divided by √(k²/12 + noise²), which makes the variance of each axis 1.
//
// Given a dark square, the axes are independent, and x_t = α(u + noise·z) + σ ε is N(α u, S²), S² = α²noise² + σ², with
// u uniform on an interval of half-width w about its middle c. With h = α w/S, m = |x_t − α c|/S, β = h − m, ρ =
// φ(β)/Φ(β):
//   q(x_t)    = (Φ(β) − Φ(−h−m)) / (2hS)
//   E[u | x_t] = c ± w (m − ρ (1 − e^(−2hm)) / (1 − Φ(−h−m)/Φ(β))) / h    (the mean of a truncated Gaussian)
// where h is small both cancel, and a Gauss–Legendre rule over the interval takes their place.
#include <fmt/format.h>

#include <cmath>
#include <dtk/build_context.hpp>
#include <dtk/densities.hpp>
#include <mutex>
#include <numbers>

namespace {

using at::Tensor;

constexpr double log_2pi = 1.8378770664093454836;

/// One axis: the noisy density of every column, and where in its column x_0 lay.
struct Axis {
    Tensor log_q;     // [n, k]
    Tensor position;  // [n, k] E[(u − c)/w], in −1 … 1
};

/// For h below `least_h`: nodes τ = (u − c)/w over the interval, weighted by exp(mhτ − h²τ²/2).
Axis narrow(const Tensor& m, const Tensor& h, const Tensor& S) {
    const auto [at, weight] = dtk::gauss_legendre({-1, 1});
    const auto tau = at.to(m.device(), true);
    const auto log_f =
        (m * h).unsqueeze(2) * tau - (h.unsqueeze(2) * tau).square() / 2 + (weight.to(m.device(), true) / 2).log();
    return {log_f.logsumexp(2) - m.square() / 2 - S.log() - log_2pi / 2, (log_f.softmax(2) * tau).sum(2)};
}

/// For h from `least_h` on. erfcx(−z/√2) is 2 Φ(z) exp(z²/2), and Φ(36) is 1.
Axis wide(const Tensor& m, const Tensor& h, const Tensor& S) {
    const auto beta = (h - m).clamp_max(36);
    const auto scaled = at::special_erfcx(beta / -std::numbers::sqrt2);
    const auto fall = (-2 * h * m).exp();
    const auto ratio = at::special_erfcx((h + m) / std::numbers::sqrt2) / scaled * fall;
    const auto rho = std::sqrt(2 / std::numbers::pi) / scaled;
    return {at::special_log_ndtr(beta) + at::log1p(-ratio) - (2 * h * S).log(),
            (m - rho * (1 - fall) / (1 - ratio)) / h};
}

class Board final : public dtk::Density {
 public:
    Board(std::int64_t squares, double noise)
        : k_(squares),
          scale_(std::sqrt(static_cast<double>(squares * squares) / 12 + noise * noise)),
          noise_(noise / scale_),
          w_(0.5 / scale_) {
        const auto i = at::arange(k_, at::kDouble);
        middles_ = (i - static_cast<double>(k_ - 1) / 2) / scale_;
        dark_ = (i.unsqueeze(1) + i).remainder(2) == 0;
    }
    double scale() const { return scale_; }

    Tensor log_prob(const Tensor& x) const override {
        const auto one = at::ones({x.size(0)}, x.options().dtype(at::kDouble)), zero = at::zeros_like(one);
        const auto rows = x.to(at::kDouble);
        return dtk::in_portions(
                   x.size(0), portion(x),
                   [&](std::int64_t first, std::int64_t last) {
                       const auto a = one.slice(0, first, last), b = zero.slice(0, first, last);
                       const auto part = rows.slice(0, first, last);
                       return log_joint(axis(part.select(1, 0), a, b), axis(part.select(1, 1), a, b)).logsumexp({1, 2});
                   })
            .to(x.scalar_type());
    }

    Tensor posterior_mean(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const override {
        const auto rows = x.to(at::kDouble), a = alpha.to(x.device(), at::kDouble),
                   b = sigma.to(x.device(), at::kDouble);
        return dtk::in_portions(x.size(0), portion(x),
                                [&](std::int64_t first, std::int64_t last) {
                                    return denoised(rows.slice(0, first, last), a.slice(0, first, last),
                                                    b.slice(0, first, last));
                                })
            .to(x.scalar_type());
    }

    double entropy() const override { return moments().entropy; }
    double log_prob_sd() const override { return moments().sd; }

 private:
    static constexpr double least_h = 0.05;

    std::int64_t portion(const Tensor& x) const {
        return dtk::numbers_at_once(x) / std::max<std::int64_t>(k_ * k_, 10 * k_);
    }
    double dark_squares() const { return static_cast<double>(k_ * k_ / 2); }

    /// x, alpha, sigma: [n]
    Axis axis(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const {
        const auto a = alpha.unsqueeze(1);
        const auto S = ((a * noise_).square() + sigma.unsqueeze(1).square()).sqrt();
        const auto signed_m = (x.unsqueeze(1) - a * middles_.to(x.device(), true)) / S;
        const auto m = signed_m.abs(), h = a * w_ / S;
        const auto [narrow_q, narrow_position] = narrow(m, h.clamp_max(least_h), S);
        const auto [wide_q, wide_position] = wide(m, h.clamp_min(least_h), S);
        const auto is_narrow = h < least_h;
        return {at::where(is_narrow, narrow_q, wide_q),
                signed_m.sign() * at::where(is_narrow, narrow_position, wide_position)};
    }

    /// [n, k, k]: log of (probability of the square)·q(x_t | square)
    Tensor log_joint(const Axis& x, const Axis& y) const {
        const auto all = x.log_q.unsqueeze(2) + y.log_q.unsqueeze(1) - std::log(dark_squares());
        return all.masked_fill(dark_.to(all.device(), true).logical_not(), -std::numeric_limits<double>::infinity());
    }

    Tensor denoised(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const {
        const auto column = axis(x.select(1, 0), alpha, sigma), row = axis(x.select(1, 1), alpha, sigma);
        const auto joint = log_joint(column, row);
        const auto r = (joint - joint.logsumexp({1, 2}, true)).exp();
        const auto middles = middles_.to(x.device(), true);
        const auto u = at::stack(
            {(r.sum(2) * (middles + w_ * column.position)).sum(1), (r.sum(1) * (middles + w_ * row.position)).sum(1)},
            1);
        const auto a = alpha.unsqueeze(1);
        const auto gain = a * noise_ * noise_ / ((a * noise_).square() + sigma.unsqueeze(1).square());
        return u + gain * (x - a * u);
    }

    const dtk::LogProbMoments& moments() const {
        std::call_once(once_, [&] {
            const auto along = [&](const Tensor& x) {
                return axis(x, at::ones_like(x), at::zeros_like(x)).log_q.exp();
            };
            const auto pairs = dark_.to(at::kDouble) / dark_squares();
            moments_ = dtk::moments_on_lattice(
                [&](const Tensor& x, const Tensor& y) { return along(x).matmul(pairs).matmul(along(y).t()); },
                static_cast<double>(k_) * w_ + 10 * noise_, noise_ / 4);
        });
        return moments_;
    }

    std::int64_t k_;
    double scale_, noise_, w_;
    Tensor middles_, dark_;
    mutable std::once_flag once_;
    mutable dtk::LogProbMoments moments_;
};

struct Checkerboard final : dtk::Dataset {
    struct Config {
        std::int64_t squares = 4;
        double noise = 0.05;
        void fields(dtk::Fields& f) {
            f("squares", squares, dtk::in(2, 16), "along each side of the board; an even number");
            f("noise", noise, dtk::in(0.01, 1), "standard deviation, where a square has side 1");
        }
    } cfg;

    Checkerboard(const Config& config, const dtk::BuildContext& context)
        : cfg(config), random_(context.random("dataset")), board_(config.squares, config.noise) {
        if (cfg.squares % 2 != 0)
            throw dtk::Error(fmt::format("`squares` = {} is odd", cfg.squares),
                             fmt::format("write {} or {}", cfg.squares - 1, cfg.squares + 1));
    }

    std::vector<std::int64_t> shape() const override { return {2}; }
    std::int64_t size() const override { return 0; }
    dtk::Batch examples(const Tensor& index) const override {
        return drawn(random_.stream("train").samples(index), index.numel());
    }
    dtk::Batch test_examples(const Tensor& index) const override {
        return drawn(random_.stream("test").samples(index), index.numel());
    }
    const dtk::Density* density() const override { return &board_; }

 private:
    dtk::Batch drawn(const dtk::Random& random, std::int64_t n) const {
        const auto half = cfg.squares / 2;
        const auto square = random.integers(cfg.squares * half, {n});
        const auto j = square.div(half, "floor"), i = 2 * square.remainder(half) + j.remainder(2);
        const auto corner = at::stack({i, j}, 1).to(at::kDouble) - static_cast<double>(half);
        const auto raw = corner + random.uniform({n, 2}, at::kDouble) + cfg.noise * random.normal({n, 2}, at::kDouble);
        return {(raw / board_.scale()).to(at::kFloat), Tensor()};
    }

    dtk::Random random_;
    Board board_;
};

}  // namespace

DTK_PLUGIN(Dataset, checkerboard, Checkerboard,
           "the dark squares of a board, whose density and best denoiser are known")
