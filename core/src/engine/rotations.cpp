// With respect to Haar's measure, and with the angle's own density on 0 … π beside it,
//   f(ω) = Σ_{l≥0} (2l+1) e^{−l(l+1)σ²/2} sin((l+½)ω)/sin(ω/2),   p(ω) = f(ω) (1 − cos ω)/π
// Nikolayev & Savyolova, "Normal Distribution on the Rotation Group SO(3)", 1997. Summed over characters that is exact
// to rounding for wide laws; for narrow ones its terms cancel, and Poisson's summation makes of it a sum over images,
// all positive where it counts:
//   f(ω) = e^{σ²/8} √(2π) σ^{−3} Σ_k (−1)^k a e^{−a²/2σ²} / sin(ω/2),   a = ω − 2πk
#include <cmath>
#include <numbers>

#include <dtk/densities.hpp>
#include <dtk/rotations.hpp>

namespace dtk {
namespace {

constexpr double pi = std::numbers::pi;
// Below it three images are exact to rounding, above it the characters up to `characters` are.
constexpr double wide = 0.8;
constexpr int characters = 11;
// 1 − P(ω) < 10^−16 beyond so many σ.
constexpr double reach_in_sigma = 9;
constexpr std::int64_t panels = 32;

Tensor element(const Tensor& m, std::int64_t i, std::int64_t j) { return m.select(-2, i).select(-1, j); }

Tensor rows_of(const std::vector<Tensor>& elements) {
    auto sizes = elements[0].sizes().vec();
    const auto n = elements.size() == 9 ? 3 : 4;
    sizes.insert(sizes.end(), {n, n});
    return at::stack(elements, -1).view(sizes);
}

/// Quaternions (w, x, y, z), which need not have length 1.
Tensor from_quaternion(const Tensor& q) {
    const auto unit = q / q.norm(2, -1, true);
    const auto w = unit.select(-1, 0), x = unit.select(-1, 1), y = unit.select(-1, 2), z = unit.select(-1, 3);
    return rows_of({1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y), 2 * (x * y + w * z),
                    1 - 2 * (x * x + z * z), 2 * (y * z - w * x), 2 * (x * z - w * y), 2 * (y * z + w * x),
                    1 - 2 * (x * x + y * y)});
}

/// The images k = ±1 over the middle one, P. They hardly vary near 0, where this form of them would divide by ω. With
/// them f = e^{σ²/8} √(2π) σ^{−3} ω/sin(ω/2) e^{−ω²/2σ²} (1 + P).
struct OuterImages {
    Tensor w, per_s2, plus, minus, P;
    OuterImages(const Tensor& angle, const Tensor& sigma) : w(angle.clamp_min(1e-3)), per_s2(2 * pi / sigma.square()) {
        plus = (-(pi - w) * per_s2).exp(), minus = (-(pi + w) * per_s2).exp();
        P = plus * (2 * pi / w - 1) - minus * (2 * pi / w + 1);
    }
    /// (1/ω) ∂P/∂ω
    Tensor slope() const {
        const auto r = 2 * pi / w;
        return (plus * (per_s2 * (r - 1) - r / w) + minus * (per_s2 * (r + 1) + r / w)) / w;
    }
};

Tensor log_of_images(const Tensor& angle, const Tensor& sigma) {
    const auto s2 = sigma.square();
    const auto at_identity = s2 / 8 - 3 * sigma.log() + (0.5 * std::log(2 * pi) + std::numbers::ln2);
    return at_identity - angle.square() / (2 * s2) - at::sinc(angle / (2 * pi)).log() +
           OuterImages(angle, sigma).P.log1p();
}

Tensor slope_of_images(const Tensor& angle, const Tensor& sigma) {
    // (1/ω) ∂ log(ω/sin(ω/2))/∂ω = (1/ω − ½ cot(ω/2))/ω, near 0 by its series
    const auto v = angle.clamp_min(0.25), w2 = angle.square();
    const auto series = 1. / 12 + w2 * (1. / 720 + w2 * (1. / 30240 + w2 * (1. / 1209600 + w2 * (1. / 47900160))));
    const auto bend = at::where(angle < 0.25, series, (1 / v - 0.5 / (v / 2).tan()) / v);
    const OuterImages outer(angle, sigma);
    return bend + outer.slope() / (1 + outer.P) - 1 / sigma.square();
}

/// A character is 1 + 2 Σ_{m ≤ l} cos mω, so that f − 1 = Σ_m g_m cos mω, where g_0 and ½ g_m are sums over l ≥ m, l >
/// 0. Clenshaw's recurrence in cos ω for that sum, or with m g_m for the sines of its derivative: b_1, b_2 and g_0.
struct Clenshaw {
    Tensor first, second, constant;
    Clenshaw(const Tensor& angle, const Tensor& sigma, bool derivative) {
        const auto twice = 2 * angle.cos(), s2 = sigma.square();
        constant = at::zeros_like(s2);
        first = second = at::zeros_like(angle * s2);
        for (int m = characters; m >= 1; --m) {
            constant = constant + (2 * m + 1) * (-0.5 * m * (m + 1) * s2).exp();
            const auto next = twice * first - second + (derivative ? 2 * m : 2) * constant;
            second = first;
            first = next;
        }
    }
};

Tensor log_of_characters(const Tensor& angle, const Tensor& sigma) {
    const Clenshaw sum(angle, sigma, false);
    return (sum.constant + angle.cos() * sum.first - sum.second).log1p();
}

Tensor slope_of_characters(const Tensor& angle, const Tensor& sigma) {
    const Clenshaw f(angle, sigma, false), df(angle, sigma, true);
    return -at::sinc(angle / pi) * df.first / (1 + f.constant + angle.cos() * f.first - f.second);
}

/// p(ω)
Tensor angle_density(const Tensor& angle, const Tensor& sigma) {
    return igso3_log_density(angle, sigma).exp() * (angle / 2).sin().square() * (2 / pi);
}

Tensor reach(const Tensor& sigma) { return (reach_in_sigma * sigma).clamp_max(pi); }

/// Ten-point Gauss–Legendre on 0 … 1, on that device.
QuadratureNodes unit_nodes(at::Device device) {
    const auto rule = gauss_legendre({0, 1});
    return {rule.at.to(device, /*non_blocking=*/true), rule.weight.to(device, /*non_blocking=*/true)};
}

/// E of a function of angle and σ.
template <class Function>
Tensor igso3_mean(const Tensor& sigma, const Function& f) {
    const auto rule = unit_nodes(sigma.device());
    const auto width = (reach(sigma) / panels).unsqueeze(1).unsqueeze(2), s = sigma.unsqueeze(1).unsqueeze(2);
    const auto angle = (at::arange(panels, rule.at.options()).unsqueeze(1) + rule.at) * width;
    return ((angle_density(angle, s) * f(angle, s) * rule.weight).sum(2) * width.squeeze(2)).sum(1);
}

}  // namespace

RotationDensity::~RotationDensity() = default;
RotationProcess::~RotationProcess() = default;

Tensor hat(const Tensor& v) {
    const auto x = v.select(-1, 0), y = v.select(-1, 1), z = v.select(-1, 2), o = at::zeros_like(x);
    return rows_of({o, -z, y, z, o, -x, -y, x, o});
}

Tensor vee(const Tensor& m) {
    return 0.5 * at::stack({element(m, 2, 1) - element(m, 1, 2), element(m, 0, 2) - element(m, 2, 0),
                            element(m, 1, 0) - element(m, 0, 1)},
                           -1);
}

// Rodrigues: I + sin θ/θ V + (1 − cos θ)/θ² V²
Tensor rotation(const Tensor& v) {
    const auto angle = v.norm(2, -1, true).unsqueeze(-1);
    const auto V = hat(v);
    return at::eye(3, v.options()) + at::sinc(angle / pi) * V + 0.5 * at::sinc(angle / (2 * pi)).square() * V.matmul(V);
}

// Of the four rows of 4 q qᵀ, which is linear in R, the one that does not cancel (Shepperd 1978).
Tensor rotation_vector(const Tensor& matrix) {
    const auto R = matrix.to(at::kDouble);
    const auto a = element(R, 0, 0), b = element(R, 1, 1), c = element(R, 2, 2),
               length = R.square().sum({-2, -1}).div(3).sqrt();
    const auto twice = 2 * vee(R);
    const auto wx = twice.select(-1, 0), wy = twice.select(-1, 1), wz = twice.select(-1, 2);
    const auto sum = [&](int i, int j) { return element(R, i, j) + element(R, j, i); };
    const auto outer =
        rows_of({length + a + b + c, wx, wy, wz, wx, length + a - b - c, sum(0, 1), sum(0, 2), wy, sum(0, 1),
                 length - a + b - c, sum(1, 2), wz, sum(0, 2), sum(1, 2), length - a - b + c});
    const auto best = outer.diagonal(0, -2, -1).argmax(-1, true).unsqueeze(-1);
    auto shape = best.sizes().vec();
    shape.back() = 4;
    const auto q = outer.gather(-2, best.expand(shape)).squeeze(-2);
    const auto w = q.slice(-1, 0, 1), axis = at::where(w < 0, -q.slice(-1, 1), q.slice(-1, 1));
    // Angle over sine, whose limit at 0 has the right slope there, too. What is not chosen must have finite slopes.
    const auto sine = axis.norm(2, -1, true), cosine = w.abs();
    const auto small = sine <= 1e-9 * cosine;
    const auto divisor = at::where(small, at::ones_like(sine), sine);
    return axis * at::where(small, 2 / at::where(small, cosine, at::ones_like(cosine)),
                            2 * at::atan2(divisor, cosine) / divisor);
}

Tensor uniform_rotations(const Random& random, at::IntArrayRef sizes, at::Device device) {
    auto of_quaternion = sizes.slice(0, sizes.size() - 2).vec();
    of_quaternion.push_back(4);
    return from_quaternion(random.normal(of_quaternion, at::TensorOptions(device).dtype(at::kDouble)));
}

// Each sum is also evaluated where the other one counts, at a σ where its numbers are finite.
Tensor igso3_log_density(const Tensor& angle, const Tensor& sigma) {
    return at::where(sigma < wide, log_of_images(angle, sigma.clamp_max(wide)),
                     log_of_characters(angle, sigma.clamp_min(wide)));
}

Tensor igso3_slope(const Tensor& angle, const Tensor& sigma) {
    return at::where(sigma < wide, slope_of_images(angle, sigma.clamp_max(wide)),
                     slope_of_characters(angle, sigma.clamp_min(wide)));
}

Tensor igso3_cumulative(const Tensor& sigma) {
    const auto rule = unit_nodes(sigma.device());
    const auto width = (reach(sigma) / panels).unsqueeze(1).unsqueeze(2);
    const auto angle = (at::arange(panels, rule.at.options()).unsqueeze(1) + rule.at) * width;
    const auto mass = (angle_density(angle, sigma.unsqueeze(1).unsqueeze(2)) * rule.weight).sum(2) * width.squeeze(2);
    return at::cat({at::zeros_like(mass.slice(1, 0, 1)), mass.cumsum(1)}, 1);
}

// Newton on ∛P(ω) = ∛u, which is straight near 0, within the panel that holds u; P is exact there by quadrature from
// its left edge.
Tensor igso3_quantile(const Tensor& u, const Tensor& sigma, const Tensor& cumulative) {
    const auto rule = unit_nodes(sigma.device());
    const auto width = (reach(sigma) / panels).unsqueeze(1), s = sigma.unsqueeze(1).unsqueeze(2);
    const auto panel = ((cumulative.unsqueeze(1) <= u.unsqueeze(2)).sum(2) - 1).clamp(0, panels - 1);
    const auto below = cumulative.gather(1, panel), beyond = cumulative.gather(1, panel + 1);
    const auto root = [](const Tensor& x) { return x.pow(1. / 3); };
    const auto from = panel * width;
    const auto share = (root(u) - root(below)) / (root(beyond) - root(below)).clamp_min(1e-300);
    auto angle = from + width * share.clamp(0, 1);
    for (int i = 0; i < 4; ++i) {
        const auto length = angle - from;
        const auto inside = angle_density(from.unsqueeze(2) + length.unsqueeze(2) * rule.at, s);
        const auto P = below + (inside * rule.weight).sum(2) * length;
        const auto slope = angle_density(angle.unsqueeze(2), s).squeeze(2);
        const auto step = 3 * (P - root(u * P * P)) / slope.clamp_min(1e-300);
        angle = at::minimum(at::maximum(angle - step, from), from + width);
    }
    return angle;
}

Tensor igso3_variate(const Random& random, std::int64_t n, std::int64_t m, const at::TensorOptions& options) {
    const auto wide = options.dtype(at::kDouble);
    const auto share = random.stream("angle").uniform({n, m}, wide),
               axis = random.stream("axis").normal({n, m, 3}, wide);
    return at::cat({axis / axis.norm(2, -1, true), share.unsqueeze(2)}, 2);
}

Tensor igso3_vector(const Tensor& variate, const Tensor& sigma, const Tensor& cumulative) {
    const auto angle = igso3_quantile(variate.select(2, 3), sigma, cumulative);
    return variate.slice(2, 0, 3) * angle.unsqueeze(2);
}

Tensor igso3_draw(const Random& random, std::int64_t m, const Tensor& sigma, const Tensor& cumulative) {
    return igso3_vector(igso3_variate(random, sigma.size(0), m, sigma.options()), sigma, cumulative);
}

Tensor igso3_score_square(const Tensor& sigma) {
    return igso3_mean(sigma,
                      [](const Tensor& angle, const Tensor& s) { return (angle * igso3_slope(angle, s)).square(); });
}

Tensor igso3_divergence(const Tensor& sigma) { return igso3_mean(sigma, igso3_log_density); }

}  // namespace dtk
