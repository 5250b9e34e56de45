//! process={use="my_process", steps=100}
//! model.prediction="x0"
//! sampler={use="ddpm", steps=0}
// q(x_t | x_0) = N(α_t x_0, σ_t² I), and backwards x_s ~ q(x_s | x_t, x̂_0): a Markov kernel of its own.
// A process whose x_t is α_t x_0 + σ_t ε may derive from dtk::GaussianProcess instead, for the samplers of that family.
#include <dtk/build_context.hpp>
#include <dtk/process.hpp>
#include <dtk/schedule.hpp>

namespace {

using at::Tensor;
using dtk::Time;

struct MyProcess final : dtk::Process {
    struct Config {
        std::int64_t steps = 100;
        dtk::Part<dtk::Schedule> schedule{"cosine"};
        void fields(dtk::Fields& f) {
            f("steps", steps, dtk::in(1, 1000000), "T, the steps of the Markov chain");
            f("schedule", schedule, "how noisy each step is");
        }
    };
    MyProcess(const Config& config, const dtk::BuildContext& context)
        : levels_(config.schedule.make(context)->levels(config.steps)) {}

    std::int64_t steps() const override { return levels_.steps(); }
    const dtk::NoiseLevels& levels() const override { return levels_; }
    Tensor prior(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random,
                 double t) const override {
        return levels_.prior_sd(t) * random.normal(sizes, options);
    }

    // Forward.
    Tensor noise(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random) const override {
        return random.normal(sizes, options);
    }
    Tensor mix(const Tensor& x0, const Tensor& noise, const Time& t) const override {
        return t.map([&](double t) { return levels_.alpha(t); }) * x0 +
               t.map([&](double t) { return levels_.sigma(t); }) * noise;
    }

    // Its networks answer x_0; converting between types is what a Gaussian process adds.
    void accept(dtk::PredictionType type) const override {
        if (type != dtk::PredictionType::x0)
            throw dtk::Error("my_process knows predictions of x_0 alone", "let the network predict x0");
    }
    Tensor target(dtk::PredictionType type, const Tensor& x0, const dtk::NoisySample&, const Time&) const override {
        accept(type);
        return x0;
    }
    Tensor convert(const dtk::Prediction& prediction, dtk::PredictionType to, const Tensor&,
                   const Time&) const override {
        accept(prediction.type);
        accept(to);
        return prediction.value;
    }

    // Backward, without noise where s = −1.
    Tensor reverse_step(const Tensor& xt, const dtk::Prediction& prediction, const Time& t, const Time& s,
                        const std::string&, const dtk::Random& random) const override {
        const auto x0 = t.map(s, [&](double t, double s) { return levels_.posterior_mean_x0(t, s); });
        const auto kept = t.map(s, [&](double t, double s) { return levels_.posterior_mean_xt(t, s); });
        const auto variance = t.map(s, [&](double t, double s) { return levels_.posterior_variance(t, s); });
        return x0 * prediction.value + kept * xt + sqrt(variance) * random.normal(xt.sizes(), xt.options());
    }

    Tensor bound_term(const Tensor&, const Tensor&, const Time&, const Time&, const dtk::Prediction&,
                      const std::string&) const override {
        throw dtk::Error("nobody has worked out the bound of my_process", "use loss `simple`");
    }
    Tensor prior_term(const Tensor& x0) const override { return at::zeros({x0.size(0)}, x0.options()); }
    std::vector<std::string> variances() const override { return {"small"}; }

 private:
    dtk::NoiseLevels levels_;
};
}  // namespace

DTK_PLUGIN(Process, my_process, MyProcess, "Gaussian noise, written out")
