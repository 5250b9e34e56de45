// m ← μ m + g,   θ ← θ − lr·m;  nesterov: θ ← θ − lr·(g + μ m),   g with λθ added to it
// Polyak 1964; Nesterov 1983, in the form of Sutskever, Martens, Dahl & Hinton, "On the Importance of Initialization
// and Momentum in Deep Learning", 2013. LibTorch's fused kernel.
#include <dtk/moments.hpp>

namespace {
struct Sgd final : dtk::Optimizer {
    struct Config {
        double momentum = 0.9, weight_decay = 0;
        bool nesterov = false;
        void fields(dtk::Fields& f) {
            f("momentum", momentum, dtk::up_from(0, 1), "μ; 0: the gradient alone");
            f("nesterov", nesterov, "look ahead by the momentum of the next step");
            f("weight_decay", weight_decay, dtk::at_least(0), "λ, times θ, added to the gradient of weights");
            f.require(!nesterov || momentum > 0, "nesterov", "looks ahead by the momentum, and `momentum` is 0",
                      "set momentum = 0.9");
        }
    } c;
    explicit Sgd(const Config& config) : c(config) {}

    void begin(const dtk::Parameters& parameters) override {
        parameters_ = parameters;
        moments_.begin(parameters, c.momentum > 0 ? std::vector<std::string>{"momentum"} : std::vector<std::string>{});
    }

    void step(const at::Tensor& rate, const at::Tensor& skip) override {
        const auto g = dtk::gradients(parameters_.tensors);
        if (c.momentum == 0) return dtk::descend(parameters_, g, rate, c.weight_decay, skip);
        for (const bool decays : {true, false}) {
            const auto some = [&](const std::vector<at::Tensor>& all) {
                return dtk::marked(all, parameters_.decays, decays);
            };
            const auto tensors = some(parameters_.tensors);
            if (tensors.empty()) continue;
            at::_fused_sgd_(tensors, some(g), some(moments_[0]), decays ? c.weight_decay : 0, c.momentum, rate,
                            /*dampening=*/0, c.nesterov, /*maximize=*/false, /*is_first_step=*/false, {}, skip);
        }
    }

    dtk::NamedTensors state() const override { return moments_.state(); }
    void restore(const dtk::NamedTensors& state) override { moments_.restore(state); }

 private:
    dtk::Parameters parameters_;
    dtk::Moments moments_;
};
}  // namespace

DTK_PLUGIN(Optimizer, sgd, Sgd, "gradient descent with momentum (Polyak 1964, Nesterov 1983)")
