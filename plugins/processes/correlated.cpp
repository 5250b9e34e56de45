// q(x_t | x_0) = α_t x_0 + σ_t R z,  z ~ N(0, I): noise that is correlated along the first axis of an example, of a
// chain its residues, as a given linear map R says. In the coordinates R⁻¹x it is the plain Gaussian process `of`, so
// its steps, its bound and its prior are those, and a density in x is that in R⁻¹x divided by |det R| for each number
// along the other axes. What is meant by eps is R z, so that all that a prediction says of x_0 is said as ever.
// Ingraham et al., "Illuminating protein space with a programmable generative model" (Chroma), 2023, whose R makes of z
// a compact chain: neighbours move together, and at no noise does a chain fall apart.
//
// Samplers that add noise of their own would add another; those that draw the process's steps, such as `ddpm`, are
// right.
#include <filesystem>

#include <fmt/format.h>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>
#include <dtk/noise_scale.hpp>
#include <dtk/numpy.hpp>
#include <dtk/polymer.hpp>
#include <dtk/process.hpp>

namespace {

using at::Tensor;
using dtk::PredictionType;
using dtk::Time;

struct Correlated final : dtk::Process, dtk::ScaledNoise {
    struct Config {
        dtk::Part<dtk::Process> of{"gaussian"};
        std::string map = "polymer";
        dtk::Polymer chain;
        std::filesystem::path file;
        void fields(dtk::Fields& f) {
            f("of", of, "the process of R⁻¹x, a Gaussian one");
            f("map", map, {"polymer", "file"}, "R: that of a Gaussian polymer, or numbers of your own");
            chain.fields(f);
            f("file", file, "with map = \"file\": a .npy file with R, [L, L]");
            f.require(map != "file" || !file.empty(), "file", "is not given", "name a .npy file with R, [L, L]");
        }
    };
    Correlated(const Config& config, const dtk::BuildContext& context) : of_(config.of.make(context)) {
        child("of", of_);
        dtk::gaussian(*of_, "correlated");
        const auto space = context.space();
        const auto L = space.shape.front();
        if (space.levels > 0)
            throw dtk::Error("noise that is correlated has no bins: the data come in levels",
                             "use data that are real numbers, or process `gaussian`");
        const auto map = config.map == "file" ? read(config.file, L) : config.chain.map(L);
        const auto inverse = at::linalg_inv(map);
        log_det_ = std::get<1>(at::linalg_slogdet(map)).item<double>() * static_cast<double>(space.elements() / L);
        map_ = &constant("map", map);
        inverse_ = &constant("inverse", inverse);
    }

    std::int64_t steps() const override { return of_->steps(); }
    bool whole_steps() const override { return of_->whole_steps(); }
    const dtk::NoiseLevels& levels() const override { return of_->levels(); }
    std::vector<std::string> variances() const override { return of_->variances(); }

    Tensor prior(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random,
                 double t) const override {
        return coloured(of_->prior(sizes, options, random, t));
    }
    Tensor noise(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random) const override {
        return of_->noise(sizes, options, random);
    }
    Tensor mix(const Tensor& x0, const Tensor& noise, const Time& t) const override {
        return of_->mix(x0, coloured(noise), t);
    }
    Tensor target(PredictionType type, const Tensor& x0, const dtk::NoisySample& xt, const Time& t) const override {
        accept(type);
        return of_->target(type, x0, {xt.x, coloured(xt.noise)}, t);
    }
    /// Numbers that hold for each element hold for each vector of them.
    Tensor convert(const dtk::Prediction& prediction, PredictionType to, const Tensor& xt,
                   const Time& t) const override {
        accept(prediction.type);
        accept(to);
        return of_->convert(prediction, to, xt, t);
    }
    Tensor reverse_step(const Tensor& xt, const dtk::Prediction& prediction, const Time& t, const Time& s,
                        const std::string& variance, const dtk::Random& random) const override {
        return scaled_step(xt, prediction, t, s, variance, random, 1);
    }
    Tensor scaled_step(const Tensor& xt, const dtk::Prediction& prediction, const Time& t, const Time& s,
                       const std::string& variance, const dtk::Random& random, double noise_scale) const override {
        const auto step = dtk::gaussian(*of_, "correlated").reverse(white(xt), white(prediction), t, s, variance);
        const auto z = random.normal(xt.sizes(), xt.options());
        return coloured(step.mean + noise_scale * step.variance.sqrt() * z);
    }
    Tensor bound_term(const Tensor& x0, const Tensor& xt, const Time& t, const Time& s,
                      const dtk::Prediction& prediction, const std::string& variance) const override {
        const auto term = of_->bound_term(white(x0), white(xt), t, s, white(prediction), variance);
        // The last one is a density of x_0.
        return term + s.map([&](double s) { return s <= -1 ? log_det_ : 0.0; }).rows(term).to(term.scalar_type());
    }
    Tensor prior_term(const Tensor& x0) const override { return of_->prior_term(white(x0)); }

    void accept(PredictionType type) const override {
        if (type == PredictionType::score || type == PredictionType::edm)
            throw dtk::Error(fmt::format("under correlated noise a prediction of kind {} is not what its formula says",
                                         dtk::name_of(type)),
                             "let the network predict eps, x0, v or velocity");
        of_->accept(type);
    }

 private:
    static Tensor read(const std::filesystem::path& file, std::int64_t L) {
        const auto map = dtk::load_npy(file);
        if (map.dim() != 2 || map.size(0) != L || map.size(1) != L)
            throw dtk::Error(
                fmt::format("{} holds no matrix of {}×{} numbers, as many as the first axis of the data has",
                            file.string(), L, L),
                "write R as an array of shape [L, L]");
        const auto R = map.to(at::kDouble);
        if (!at::isfinite(R).all().item<bool>() || !(at::linalg_cond(R).item<double>() < 1e8))
            throw dtk::Error(fmt::format("the matrix in {} cannot be inverted with some digits left", file.string()),
                             "every direction needs some noise: choose an R with a condition number below 1e8");
        return R;
    }

    /// R or R⁻¹ along the first axis, in float64: [B, L, ...] → as x
    static Tensor along(const Tensor& map, const Tensor& x) {
        return map.to(x.device(), /*non_blocking=*/true)
            .matmul(x.to(at::kDouble).reshape({x.size(0), x.size(1), -1}))
            .view(x.sizes())
            .to(x.scalar_type());
    }
    Tensor coloured(const Tensor& z) const { return along(*map_, z); }
    Tensor white(const Tensor& x) const { return along(*inverse_, x); }
    dtk::Prediction white(const dtk::Prediction& prediction) const {
        if (prediction.variance)
            throw dtk::Error("a variance that the network learns is one of elements, and here they are correlated",
                             "use variance = \"fixed\" in [model]");
        return {prediction.type, white(prediction.value), {}};
    }

    std::shared_ptr<dtk::Process> of_;
    Tensor *map_, *inverse_;
    double log_det_;
};
}  // namespace

DTK_PLUGIN(Process, correlated, Correlated, "Gaussian noise that is correlated along a chain (Ingraham et al. 2023)")
