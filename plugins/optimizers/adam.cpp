// m ← β_1 m + (1 − β_1) g,  v ← β_2 v + (1 − β_2) g²,  θ ← θ − lr·m̂/(√v̂ + ε),  m̂ and v̂ without their bias to 0
// Kingma & Ba, "Adam", 2015, algorithm 1, with weight decay as a part of the gradient. LibTorch's fused kernel.
#include <dtk/moments.hpp>

namespace {
struct Adam final : dtk::Optimizer {
    struct Config : dtk::AdamMoments::Fields {
        void fields(dtk::Fields& f) {
            f("beta1", beta1, dtk::up_from(0, 1), "decay of the mean gradient");
            f("beta2", beta2, dtk::up_from(0, 1), "decay of the mean squared gradient");
            f("eps", eps, dtk::above(0), "keeps the division finite");
            f("weight_decay", weight_decay, dtk::at_least(0), "times θ, added to the gradient of weights");
        }
    } c;
    explicit Adam(const Config& config) : c(config) {}

    void begin(const dtk::Parameters& parameters) override { moments_.begin(parameters); }
    void step(const at::Tensor& rate, const at::Tensor& skip) override {
        moments_.step(rate, skip, c, dtk::AdamMoments::Decay::of_gradient);
    }
    dtk::NamedTensors state() const override { return moments_.state(); }
    void restore(const dtk::NamedTensors& state) override { moments_.restore(state); }

 private:
    dtk::AdamMoments moments_;
};
}  // namespace

DTK_PLUGIN(Optimizer, adam, Adam, "running means of the gradient and of its square (Kingma & Ba 2015)")
