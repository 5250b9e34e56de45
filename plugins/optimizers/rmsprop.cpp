// v ← ρ v + (1 − ρ) g²,   θ ← θ − lr·(g/(√v + ε) + λ θ);  centered: √(v − ḡ²), ḡ the running mean of g
// Tieleman & Hinton, "Lecture 6.5: RMSProp", 2012; centered: Graves, "Generating Sequences with Recurrent Neural
// Networks", 2013, eqs. 38–41, without momentum. Weights of two dimensions or more decay, apart from the gradient.
#include <dtk/moments.hpp>

namespace {
struct RmsProp final : dtk::Optimizer {
    struct Config {
        double rho = 0.99, eps = 1e-8, weight_decay = 0;
        bool centered = false;
        void fields(dtk::Fields& f) {
            f("rho", rho, dtk::up_from(0, 1), "ρ, decay of the mean squared gradient");
            f("eps", eps, dtk::above(0), "keeps the division finite");
            f("centered", centered, "divide by the standard deviation of the gradient");
            f("weight_decay", weight_decay, dtk::at_least(0), "λ per step, times the learning rate");
        }
    } c;
    explicit RmsProp(const Config& config) : c(config) {}

    void begin(const dtk::Parameters& parameters) override {
        parameters_ = parameters;
        moments_.begin(parameters,
                       c.centered ? std::vector<std::string>{"square", "mean"} : std::vector<std::string>{"square"});
    }

    void step(const at::Tensor& rate, const at::Tensor& skip) override {
        const auto g = dtk::gradients(parameters_.tensors);
        if (g.empty()) return;
        dtk::average(moments_[0], at::_foreach_mul(g, g), c.rho, skip);
        auto spread = at::_foreach_mul(moments_[0], 1.0);
        if (c.centered) {
            dtk::average(moments_[1], g, c.rho, skip);
            at::_foreach_addcmul_(spread, moments_[1], moments_[1], -1);
            at::_foreach_clamp_min_(spread, 0);  // rounding
        }

        at::_foreach_sqrt_(spread);
        at::_foreach_add_(spread, c.eps);
        dtk::descend(parameters_, at::_foreach_div(g, spread), rate, c.weight_decay, skip);
    }

    dtk::NamedTensors state() const override { return moments_.state(); }
    void restore(const dtk::NamedTensors& state) override { moments_.restore(state); }

 private:
    dtk::Parameters parameters_;
    dtk::Moments moments_;
};
}  // namespace

DTK_PLUGIN(Optimizer, rmsprop, RmsProp, "the gradient over its running root mean square (Tieleman & Hinton 2012)")
