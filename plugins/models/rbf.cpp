// φ_j(x) ∝ exp(−‖x − c_j‖²/2w_j²), Σ_j φ_j = 1;   (f_μ, f_Σ) = V_t φ(x_t) + b_t, a read-out of its own for each step
// p(x_{t−1} | x_t) = N(√(1−β_t) x_t + √β_t f_μ, sigmoid(logit β_t + f_Σ)): where f = 0 it is the forward step turned
// around The network of the swiss roll of Sohl-Dickstein et al., "Deep Unsupervised Learning using Nonequilibrium
// Thermodynamics", 2015, appendix D.1.1, there with 16 units; the read-out of mean and variance is that of their code.
#include <cmath>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>
#include <dtk/layers.hpp>
#include <dtk/model.hpp>
#include <dtk/relative_step.hpp>
#include <dtk/sampler.hpp>

namespace {

using at::Tensor;

struct Rbf final : dtk::Model {
    struct Config {
        std::int64_t units = 16;
        double width = 0.5;
        void fields(dtk::Fields& f) {
            f("units", units, dtk::at_least(1), "radial basis functions, which all steps share");
            f("width", width, dtk::above(0), "standard deviation that each starts with");
        }
    };
    Rbf(const Config& config, const dtk::BuildContext& context) : process_(dtk::gaussian(context.process(), "rbf")) {
        const auto init = context.random("init");
        const auto d = context.space().elements();
        centre_ = &parameter("centre", init.stream("centre").normal({config.units, d}, at::kFloat));
        log_width_ = &parameter("log_width", at::full({config.units}, std::log(config.width)));
        out_ = child<dtk::StepLinear>("out", init, context.process().steps(), config.units, 2 * d, dtk::Start::zeros);
    }

    dtk::PredictionType predicts() const override { return dtk::PredictionType::mean; }

    dtk::Prediction forward(const Tensor& xt, const dtk::Time& t, const dtk::Condition&) override {
        const auto x = xt.flatten(1).to(at::kFloat);
        const auto distance2 = (x.unsqueeze(1) - *centre_).square().sum(2);
        const auto phi = (-0.5 * distance2 * (-2 * *log_width_).exp()).softmax(1);
        const auto f = (*out_)(phi, t.on(x)).view({x.size(0), 2, -1});
        return dtk::relative_step(process_, xt, t, f.select(1, 0).view_as(xt), f.select(1, 1).view_as(xt));
    }

 private:
    const dtk::GaussianProcess& process_;
    Tensor *centre_, *log_width_;
    std::shared_ptr<dtk::StepLinear> out_;
};
}  // namespace

DTK_PLUGIN(
    Model, rbf, Rbf,
    "radial basis functions with a read-out for each step, mean and variance learned (Sohl-Dickstein et al. 2015)")
