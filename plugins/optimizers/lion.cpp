// θ ← θ − lr·(sign(β_1 m + (1 − β_1) g) + λ θ),   m ← β_2 m + (1 − β_2) g
// Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, algorithm 2. Its steps are longer than Adam's: a
// learning rate of a third to a tenth of Adam's, and λ as much larger. Weights of two dimensions or more decay.
#include <dtk/moments.hpp>

namespace {
struct Lion final : dtk::Optimizer {
    struct Config {
        double beta1 = 0.9, beta2 = 0.99, weight_decay = 0;
        void fields(dtk::Fields& f) {
            f("beta1", beta1, dtk::up_from(0, 1), "share of the running mean in the step's direction");
            f("beta2", beta2, dtk::up_from(0, 1), "decay of the mean gradient");
            f("weight_decay", weight_decay, dtk::at_least(0), "λ per step, times the learning rate");
        }
    } c;
    explicit Lion(const Config& config) : c(config) {}

    void begin(const dtk::Parameters& parameters) override {
        parameters_ = parameters;
        moments_.begin(parameters, {"mean"});
    }

    void step(const at::Tensor& rate, const at::Tensor& skip) override {
        const auto g = dtk::gradients(parameters_.tensors);
        if (g.empty()) return;
        auto direction = at::_foreach_lerp(g, moments_[0], c.beta1);
        at::_foreach_sign_(direction);
        dtk::descend(parameters_, direction, rate, c.weight_decay, skip);
        dtk::average(moments_[0], g, c.beta2, skip);
    }

    dtk::NamedTensors state() const override { return moments_.state(); }
    void restore(const dtk::NamedTensors& state) override { moments_.restore(state); }

 private:
    dtk::Parameters parameters_;
    dtk::Moments moments_;
};
}  // namespace

DTK_PLUGIN(Optimizer, lion, Lion, "the sign of a running mean of the gradient (Chen et al. 2023)")
