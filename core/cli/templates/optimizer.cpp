//! optimizer="my_optimizer"
// θ ← θ − lr·sign(g): an optimiser, with the state that a checkpoint keeps.
#include <dtk/moments.hpp>

namespace {
struct MyOptimizer final : dtk::Optimizer {
    struct Config {
        double beta = 0.9, weight_decay = 0;
        void fields(dtk::Fields& f) {
            f("beta", beta, dtk::up_from(0, 1), "how long gradients are averaged");
            f("weight_decay", weight_decay, dtk::at_least(0), "λ, times θ, taken from weights at each step");
        }
    } c;
    explicit MyOptimizer(const Config& config) : c(config) {}

    void begin(const dtk::Parameters& parameters) override {
        parameters_ = parameters;
        moments_.begin(parameters, {"mean"});
    }

    // Reads nothing back from the device; where skip is 1 nothing changes.
    void step(const at::Tensor& rate, const at::Tensor& skip) override {
        dtk::average(moments_[0], dtk::gradients(parameters_.tensors), c.beta, skip);
        dtk::descend(parameters_, at::_foreach_sign(moments_[0]), rate, c.weight_decay, skip);
    }

    dtk::NamedTensors state() const override { return moments_.state(); }
    void restore(const dtk::NamedTensors& state) override { moments_.restore(state); }

 private:
    dtk::Parameters parameters_;
    dtk::Moments moments_;
};
}  // namespace

DTK_PLUGIN(Optimizer, my_optimizer, MyOptimizer, "steps by the sign of the averaged gradient")
