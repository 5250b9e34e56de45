// m ← β_1 m + (1 − β_1) g,  v ← β_2 v + (1 − β_2) g²,  θ ← θ − lr·(m̂/(√v̂ + ε) + λ θ),  m̂ and v̂ without their bias to 0
// Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2. Weights of two dimensions or more
// decay, biases and norms do not. LibTorch's fused kernel.
#include <dtk/moments.hpp>

namespace {
struct AdamW final : dtk::Optimizer {
    struct Config {
        double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
        void fields(dtk::Fields& f) {
            f("beta1", beta1, dtk::up_from(0, 1), "decay of the mean gradient");
            f("beta2", beta2, dtk::up_from(0, 1), "decay of the mean squared gradient");
            f("eps", eps, dtk::above(0), "keeps the division finite");
            f("weight_decay", weight_decay, dtk::at_least(0), "λ per step, times the learning rate");
        }
    } c;
    explicit AdamW(const Config& config) : c(config) {}

    void begin(const dtk::Parameters& parameters) override {
        parameters_ = parameters;
        moments_.begin(parameters, {"mean", "square"});
    }

    void step(const at::Tensor& rate, const at::Tensor& skip) override {
        const auto g = dtk::gradients(parameters_.tensors);
        auto& steps = moments_.steps();
        at::_foreach_add_(steps, 1);
        for (const bool decays : {true, false}) {
            const auto some = [&](const std::vector<at::Tensor>& all) {
                return c.weight_decay == 0 ? all : dtk::marked(all, parameters_.decays, decays);
            };
            auto tensors = some(parameters_.tensors);
            if (tensors.empty()) continue;
            at::_fused_adamw_(tensors, some(g), some(moments_[0]), some(moments_[1]), {}, some(steps), rate, c.beta1,
                              c.beta2, decays ? c.weight_decay : 0, c.eps, false, false, {}, skip);
            if (c.weight_decay == 0) break;
        }
        at::_foreach_sub_(steps, at::TensorList(std::vector<at::Tensor>(steps.size(), skip)));
    }

    dtk::NamedTensors state() const override { return moments_.state(); }
    void restore(const dtk::NamedTensors& state) override { moments_.restore(state); }

 private:
    dtk::Parameters parameters_;
    dtk::Moments moments_;
};
}  // namespace

DTK_DEFAULT_PLUGIN(Optimizer, adamw, AdamW, "Adam with decoupled weight decay (Loshchilov & Hutter 2019)")
