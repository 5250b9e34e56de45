// The Gaussian process with the noise of its reverse steps at another temperature: p(x_s | x_t) = N(μ, τ² Σ). It
// differs from the process that it derives from in one thing.
#include <dtk/gaussian_chain.hpp>

namespace {
struct Tempered final : dtk::GaussianChain {
    struct Config : dtk::GaussianChain::Config {
        double temperature = 1;
        void fields(dtk::Fields& f) {
            dtk::GaussianChain::Config::fields(f);
            f("temperature", temperature, dtk::at_least(0), "τ");
        }
    };
    Tempered(const Config& config, const dtk::BuildContext& context)
        : GaussianChain(config, context), temperature_(config.temperature) {}

    dtk::Normal reverse(const at::Tensor& xt, const dtk::Prediction& prediction, const dtk::Time& t, const dtk::Time& s,
                        const std::string& variance) const override {
        auto step = GaussianChain::reverse(xt, prediction, t, s, variance);
        step.variance = step.variance * (temperature_ * temperature_);
        return step;
    }

    double temperature_;
};
}  // namespace

DTK_PLUGIN(Process, tempered, Tempered, "Gaussian noise whose reverse steps have a temperature")
