// R_t = R_0 Exp(v),  v ~ IGSO(3) with σ_t,   p(R_T) uniform,   and backwards a geodesic random walk,
//   R_s = R_t Exp((σ_t² − σ_s²) ∇ log q(R_t) + √variance z),   z ~ N(0, I) in the tangent space
// De Bortoli et al., "Riemannian Score-Based Generative Modelling", 2022; Leach et al., "Denoising Diffusion
// Probabilistic Models on SO(3)", 2022; Yim et al., "FrameDiff", 2023. The step's variance is large, σ_t² − σ_s², as
// there, or small, σ_s²/σ_t² of that, as where the noise is so weak that the space is flat (Song et al. 2021, app. F).
//
// A score is a tangent of the frame R_t, written as its antisymmetric matrix so that it is shaped as the state; of a
// network's nine numbers the antisymmetric part counts. `eps` is −σ_t ∇ log q, of size 1 at all noise that matters. An
// `x0` is read by Gram–Schmidt on its columns as a rotation R̂_0, and its score is ∇ log q(R_t | R̂_0), as RFdiffusion
// and FrameDiff have it.
//
// FrameDiff multiplies noise from the right, as here, and RFdiffusion from the left, R_t = Exp(w) R_0. Since the law of
// w is the same in all directions, and Exp(w) R_0 = R_0 Exp(R_0ᵀw), that is the same process: only which rotation a
// draw makes depends on `side`, so that with "left" samples turn with their start and their noise.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>
#include <dtk/noise_scale.hpp>
#include <dtk/rotations.hpp>
#include <dtk/schedule.hpp>

namespace {

using at::Tensor;
using dtk::PredictionType;
using dtk::Time;

// The law is uniform to the last digit long before, and σ² stays finite at an SNR of 0.
constexpr double endless = 20;

struct So3 final : dtk::RotationProcess, dtk::ScaledNoise {
    struct Config {
        std::int64_t steps = 1000;
        dtk::Part<dtk::Schedule> schedule{"rotation"};
        std::string side = "right";
        void fields(dtk::Fields& f) {
            f("steps", steps, dtk::in(1, 1000000), "T, the steps of the Markov chain");
            f("schedule", schedule, "how noisy each step is: σ is its σ/α, in radians");
            f("side", side, {"right", "left"}, "noise is drawn in the frame of R, or in the one that R turns from");
        }
    };
    So3(const Config& config, const dtk::BuildContext& context)
        : left_(config.side == "left"), levels_(in_radians(config.schedule.make(context)->levels(config.steps))) {
        check_rotations(context.chain_data());
        std::vector<double> sigma;
        for (std::int64_t t = 0; t < config.steps; ++t) sigma.push_back(std::min(levels_.sigma(t), endless));
        const auto of_steps = at::tensor(sigma, at::kDouble);
        cumulative_ = &constant("cumulative", dtk::igso3_cumulative(of_steps));
        divergence_ = dtk::igso3_divergence(of_steps.slice(0, config.steps - 1)).item<double>();
        if (divergence_ > 1)
            throw dtk::Error(fmt::format("after the last step, σ = {:.4g} rad, rotations are far from the uniform ones "
                                         "that sampling starts from",
                                         sigma.back()),
                             "use a schedule that ends at σ/α = 2 or more, such as rotation with its own sigma_max");
    }

    std::int64_t steps() const override { return levels_.steps(); }
    const dtk::NoiseLevels& levels() const override { return levels_; }
    dtk::Coefficient sigma(const Time& t) const override {
        return t.map([&](double t) { return std::min(levels_.sigma(t), endless); });
    }

    Tensor prior(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random,
                 double) const override {
        return dtk::uniform_rotations(random, sizes, options.device()).to(options.dtype());
    }

    /// A unit axis and a share of all angles for each rotation, [B, rotations, 4] float64.
    Tensor noise(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random) const override {
        std::int64_t each = 1;
        for (const auto size : sizes.slice(1)) each *= size;
        return dtk::igso3_variate(random, sizes[0], each / 9, options);
    }

    Tensor mix(const Tensor& x0, const Tensor& noise, const Time& t) const override {
        return x0.to(at::kDouble).matmul(dtk::rotation(vector(noise, x0, t))).to(x0.scalar_type());
    }

    Tensor target(PredictionType kind, const Tensor& x0, const dtk::NoisySample& xt, const Time& t) const override {
        accept(kind);
        if (kind == PredictionType::x0) return x0;
        return written(kind, pull(vector(xt.noise, x0, t), t), t).to(x0.scalar_type());
    }

    Tensor convert(const dtk::Prediction& prediction, PredictionType to, const Tensor& xt,
                   const Time& t) const override {
        accept(prediction.type);
        accept(to);
        if (to != PredictionType::x0) return written(to, score(prediction, xt, t), t).to(xt.scalar_type());
        if (prediction.type == PredictionType::x0) return prediction.value;
        throw dtk::Error(
            "a score of rotations does not say what x_0 is: many laws of x_0 have the same one",
            "let the network predict x0, or do without what asks for x0 (clip, self_condition, target = \"x0\")");
    }

    Tensor reverse_step(const Tensor& xt, const dtk::Prediction& prediction, const Time& t, const Time& s,
                        const std::string& variance, const dtk::Random& random) const override {
        return scaled_step(xt, prediction, t, s, variance, random, 1);
    }

    Tensor scaled_step(const Tensor& xt, const dtk::Prediction& prediction, const Time& t, const Time& s,
                       const std::string& variance, const dtk::Random& random, double noise_scale) const override {
        const auto sigma2_t = square(sigma(t)), sigma2_s = square(sigma(s)), added = sigma2_t - sigma2_s;
        const auto last = s.map([](double s) { return s < 0 ? 1.0 : 0.0; });
        const auto kept = variance == "small" ? added * sigma2_s / sigma2_t : where(last, 0, added);
        const auto z = noise_scale * in_frame_of(xt, random.normal(tangents(xt), xt.options().dtype(at::kDouble)));
        const auto moved = xt.to(at::kDouble).matmul(dtk::rotation(added * score(prediction, xt, t) + sqrt(kept) * z));
        // Newton's step towards the nearest rotation, so that rounding does not add up.
        return (1.5 * moved - 0.5 * moved.matmul(moved.transpose(-1, -2)).matmul(moved)).to(xt.scalar_type());
    }

    Tensor bound_term(const Tensor&, const Tensor&, const Time&, const Time&, const dtk::Prediction&,
                      const std::string&) const override {
        throw dtk::Error(
            "the bound of a diffusion of rotations has no closed form: q(x_s | x_t, x_0) is a product of two IGSO(3)",
            "use loss `simple`, and metrics of samples");
    }

    Tensor prior_term(const Tensor& x0) const override {
        return at::full({x0.size(0)}, divergence_ * static_cast<double>(x0[0].numel()) / 9, x0.options());
    }

    std::vector<std::string> variances() const override { return {"small", "large"}; }

    void accept(PredictionType kind) const override {
        if (kind != PredictionType::eps && kind != PredictionType::score && kind != PredictionType::x0)
            throw dtk::Error(
                fmt::format("a process of rotations has no meaning for a prediction of kind {}", dtk::name_of(kind)),
                "use eps, score or x0");
    }

 private:
    /// α has no meaning for rotations: σ/α is the angle.
    static dtk::NoiseLevels in_radians(const dtk::NoiseLevels& levels) {
        std::vector<dtk::NoiseLevel> table;
        for (double t = 0; t < static_cast<double>(levels.steps()); ++t)
            table.push_back(dtk::noise_level(1, std::min(levels.ratio(t), 1e150)));
        return dtk::NoiseLevels::from_table(table);
    }

    static void check_rotations(const dtk::Dataset& data) {
        const auto shape = data.shape();
        const auto n = shape.size();
        bool are = n >= 2 && shape[n - 1] == 3 && shape[n - 2] == 3;
        if (are) {
            const auto R = data.test_examples(at::zeros({1}, at::kLong)).x.to(at::kDouble);
            are = (R.matmul(R.transpose(-1, -2)) - at::eye(3, at::kDouble)).abs().max().item<double>() < 1e-3 &&
                  at::linalg_det(R).min().item<double>() > 0;
        }
        if (!are)
            throw dtk::Error("so3 needs data that are rotations, matrices of 3×3 numbers",
                             "use data such as rotation_mixture, or process `gaussian`");
    }

    /// The sizes of the tangents of a state, [B, ..., 3]
    static std::vector<std::int64_t> tangents(const Tensor& x) {
        return x.sizes().slice(0, x.sizes().size() - 1).vec();
    }

    /// The tangents of R_0 that the variates are at that time, [B, ..., 3]
    Tensor vector(const Tensor& noise, const Tensor& x, const Time& t) const {
        const auto cumulative = cumulative_->index_select(0, t.on(x).to(at::kLong));
        return in_frame_of(x, dtk::igso3_vector(noise, sigma(t).rows(noise), cumulative).view(tangents(x)));
    }

    /// Drawn vectors as tangents of R.
    Tensor in_frame_of(const Tensor& R, const Tensor& drawn) const {
        if (!left_) return drawn;
        return R.to(at::kDouble).transpose(-1, -2).matmul(drawn.unsqueeze(-1)).squeeze(-1);
    }

    /// ∇ log q(R_t | R_0) for R_t = R_0 Exp(v). [B, ..., 3]
    Tensor pull(const Tensor& v, const Time& t) const {
        const auto angle = v.norm(2, -1, true);
        return v * dtk::igso3_slope(angle, sigma(t).beside(v));
    }

    Tensor score(const dtk::Prediction& prediction, const Tensor& xt, const Time& t) const {
        const auto value = prediction.value.to(at::kDouble);
        if (prediction.type == PredictionType::x0)
            return pull(dtk::rotation_vector(orthonormal(value).transpose(-1, -2).matmul(xt.to(at::kDouble))), t);
        const auto tangent = dtk::vee(value);
        return prediction.type == PredictionType::eps ? -tangent / sigma(t) : tangent;
    }

    Tensor written(PredictionType kind, const Tensor& score, const Time& t) const {
        return dtk::hat(kind == PredictionType::eps ? -sigma(t) * score : score);
    }

    static Tensor orthonormal(const Tensor& m) {
        constexpr double least = 1e-12;
        const auto unit = [](const Tensor& v) { return v / v.norm(2, -1, true).clamp_min(least); };
        const auto x = unit(m.select(-1, 0)), second = m.select(-1, 1);
        const auto y = unit(second - (x * second).sum(-1, true) * x);
        return at::stack({x, y, at::linalg_cross(x, y)}, -1);
    }

    bool left_;
    dtk::NoiseLevels levels_;
    Tensor* cumulative_;
    double divergence_;
};
}  // namespace

DTK_PLUGIN(Process, so3, So3,
           "rotations diffused by the isotropic Gaussian IGSO(3) (Leach et al. 2022, Yim et al. 2023)")
