// x_u = (1 − u) x_0 + u ε/s,   R_u = R_0 Exp(u Log(R_0ᵀ R_1)),   ε ~ N(0, I), R_1 uniform: frames move to noise along
// straight lines and geodesics at constant speed. u = (t+1)/T; a state is [L, 3, 4] as that of `se3`.
// Yim et al., "Fast protein backbone generation with SE(3) flow matching" (FrameFlow), 2023; there R_1 is drawn from
// IGSO(3) with σ = 1.5 in training and uniformly in sampling, here uniformly in both. A step back, t → s, has no noise:
//   x_s = x_t − (u_t − u_s) v̂,   R_s = R_t Exp(−k Log(R̂_0ᵀ R_t)),   k = (u_t − u_s)/u_t, or with `rotation_rate` c > 0
//   min(c (u_t − u_s), 1), so that rotations are there long before places, which samples are better for
#include <algorithm>

#include <fmt/format.h>

#include <dtk/build_context.hpp>
#include <dtk/frame_process.hpp>
#include <dtk/rotations.hpp>
#include <dtk/schedule.hpp>

namespace {

using at::Tensor;
using dtk::PredictionType;
using dtk::Time;

struct Se3Flow final : dtk::FrameProcess {
    struct Config {
        std::int64_t steps = 100;
        double scale = 0.1, rotation_rate = 0;
        void fields(dtk::Fields& f) {
            f("steps", steps, dtk::in(1, 1000000), "T, steps of sampling unless a sampler says otherwise");
            f("scale", scale, dtk::above(0), "s: noise of places has a standard deviation of 1/s Å");
            f("rotation_rate", rotation_rate, dtk::at_least(0),
              "c of steps back; 0: rotations go as places do; FrameFlow 10");
        }
    } c;
    Se3Flow(const Config& config, const dtk::BuildContext& context)
        : c(config),
          levels_(dtk::NoiseLevels::from_function(config.steps, [](double u) { return dtk::noise_level(1 - u, u); })) {
        const auto shape = context.space().shape;
        if (shape.size() != 3 || shape[1] != 3 || shape[2] != 4)
            throw dtk::Error(
                "se3_flow needs chains of frames, [L, 3, 4]",
                "use data of backbones, such as `chains` with atoms = \"backbone\", and codec = \"backbone\"");
    }

    std::int64_t steps() const override { return c.steps; }
    bool whole_steps() const override { return false; }
    const dtk::NoiseLevels& levels() const override { return levels_; }
    double scale() const override { return c.scale; }
    /// That of x_s, given x_t and x_0: none.
    std::vector<std::string> variances() const override { return {"small"}; }
    void accept(PredictionType type) const override {
        if (type != PredictionType::x0 && type != PredictionType::velocity)
            throw dtk::Error(
                fmt::format("a flow of frames has no meaning for a prediction of kind {}", dtk::name_of(type)),
                "use x0 or velocity");
    }

    Tensor prior(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random,
                 double t) const override {
        const auto noise = this->noise(sizes, options, random);
        return frames_of(turns(noise), levels_.prior_sd(t) / c.scale * moves(noise)).to(options.dtype());
    }

    /// R_1 and ε as a state, float64.
    Tensor noise(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random) const override {
        auto of_rotations = sizes.vec();
        of_rotations.back() = 3;
        const auto R = dtk::uniform_rotations(random.stream("rotations"), of_rotations, options.device());
        const auto x =
            random.stream("translations").normal(sizes.slice(0, sizes.size() - 1), options.dtype(at::kDouble));
        return frames_of(R, x);
    }

    Tensor mix(const Tensor& x0, const Tensor& noise, const Time& t) const override {
        const auto whole = x0.to(at::kDouble);
        const auto v = way(turns(whole), turns(noise));
        const auto places = moves(whole);
        return frames_of(turns(whole).matmul(dtk::rotation(u(t) * v)),
                         sum_of(1 - u(t), places, u(t), moves(noise) / c.scale))
            .to(x0.scalar_type());
    }

    Tensor target(PredictionType type, const Tensor& x0, const dtk::NoisySample& xt, const Time&) const override {
        accept(type);
        if (type == PredictionType::x0) return x0;
        const auto whole = x0.to(at::kDouble);
        return frames_of(dtk::hat(way(turns(whole), turns(xt.noise))), moves(xt.noise) / c.scale - moves(whole))
            .to(x0.scalar_type());
    }

    Tensor convert(const dtk::Prediction& prediction, PredictionType to, const Tensor& xt,
                   const Time& t) const override {
        accept(prediction.type);
        accept(to);
        if (prediction.type == to) return prediction.value;
        const auto x = xt.to(at::kDouble), value = prediction.value.to(at::kDouble);
        if (to == PredictionType::velocity)
            return frames_of(dtk::hat(way(turns(value), turns(x)) / u(t)), (moves(x) - moves(value)) / u(t))
                .to(xt.scalar_type());
        return frames_of(turns(x).matmul(dtk::rotation(-u(t) * dtk::vee(turns(value)))), moves(x) - u(t) * moves(value))
            .to(xt.scalar_type());
    }

    Tensor reverse_step(const Tensor& xt, const dtk::Prediction& prediction, const Time& t, const Time& s,
                        const std::string&, const dtk::Random&) const override {
        const auto x0 = convert(prediction, PredictionType::x0, xt, t).to(at::kDouble), x = xt.to(at::kDouble);
        const auto share = (u(t) - u(s)) / u(t);
        const auto turned = c.rotation_rate == 0 ? share : t.map(s, [&](double t, double s) {
            return s <= -1 ? 1 : std::min(c.rotation_rate * (u_of(t) - u_of(s)), 1.0);
        });
        const auto R = turns(x).matmul(dtk::rotation(-turned * way(turns(x0), turns(x))));
        // Newton's step towards the nearest rotation, so that rounding does not add up.
        return frames_of(1.5 * R - 0.5 * R.matmul(R.transpose(-1, -2)).matmul(R),
                         sum_of(1 - share, moves(x), share, moves(x0)))
            .to(xt.scalar_type());
    }

    Tensor bound_term(const Tensor&, const Tensor&, const Time&, const Time&, const dtk::Prediction&,
                      const std::string&) const override {
        throw dtk::Error("a flow of frames has steps without noise, and these have no bound",
                         "use metrics of samples, or process `se3`");
    }

    /// It ends in its prior, whatever it began with.
    Tensor prior_term(const Tensor& x0) const override { return at::zeros({x0.size(0)}, x0.options()); }

 private:
    double u_of(double t) const { return (t + 1) / static_cast<double>(c.steps); }
    dtk::Coefficient u(const Time& t) const {
        return t.map([&](double t) { return u_of(t); });
    }
    static Tensor turns(const Tensor& frames) { return frames.slice(-1, 0, 3); }
    static Tensor moves(const Tensor& frames) { return frames.select(-1, 3); }
    static Tensor frames_of(const Tensor& R, const Tensor& x) { return at::cat({R, x.unsqueeze(-1)}, -1); }
    /// Log(Aᵀ B)
    static Tensor way(const Tensor& A, const Tensor& B) { return dtk::rotation_vector(A.transpose(-1, -2).matmul(B)); }

    dtk::NoiseLevels levels_;
};
}  // namespace

DTK_PLUGIN(Process, se3_flow, Se3Flow,
           "frames that flow along straight lines and geodesics (Yim et al. 2023, FrameFlow)")
