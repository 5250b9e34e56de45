// m ← μ m + (1 − μ) g,   O = NewtonSchulz(μ m + (1 − μ) g),   θ ← θ − lr·f·(s·O + λ θ)   for matrices
//   X ← a X + (b XXᵀ + c (XXᵀ)²) X from X = G/‖G‖: every singular value goes to about 1, U S Vᵀ to U Vᵀ
// Jordan et al., "Muon: An Optimizer for Hidden Layers in Neural Networks", 2024, with (a, b, c) = (3.4445, −4.7750,
// 2.0315); s = 0.2·√max(n, m) of Liu et al., "Muon is Scalable for LLM Training", 2025, eq. 4, makes steps as large as
// AdamW's, s = √max(1, n/m) is Jordan's. A convolution's kernel is a matrix with an output in each row. All other
// tensors, and those that `rest` names, move by AdamW (Loshchilov & Hutter 2019).
#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include <dtk/moments.hpp>

namespace {

using at::Tensor;

/// U Vᵀ of U S Vᵀ, nearly. g: [k, n, m]
Tensor newton_schulz(const Tensor& g, std::int64_t steps, at::ScalarType type) {
    const bool tall = g.size(1) > g.size(2);
    auto x = tall ? g.transpose(1, 2) : g;
    x = (x / (at::linalg_vector_norm(x, 2, at::IntArrayRef{1, 2}, true) + 1e-30)).to(type);
    for (std::int64_t i = 0; i < steps; ++i) {
        const auto a = at::bmm(x, x.transpose(1, 2));
        x = 3.4445 * x + at::bmm(-4.7750 * a + 2.0315 * at::bmm(a, a), x);
    }
    x = x.to(g.scalar_type());
    return tall ? x.transpose(1, 2) : x;
}

struct Muon final : dtk::Optimizer {
    struct Config {
        double momentum = 0.95, factor = 1, weight_decay = 0;
        bool nesterov = true;
        std::int64_t iterations = 5;
        std::string scale = "adamw", precision = "full";
        std::vector<std::string> rest;
        double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
        void fields(dtk::Fields& f) {
            f("momentum", momentum, dtk::up_from(0, 1), "μ, decay of a matrix's mean gradient");
            f("nesterov", nesterov, "look ahead by the momentum of the next step");
            f("iterations", iterations, dtk::in(1, 20), "of Newton and Schulz");
            f("factor", factor, dtk::above(0), "f, the learning rate of matrices over that of the rest");
            f("scale", scale, {"adamw", "spectral"},
              "s: 0.2·√max(n, m), steps as large as AdamW's, or √max(1, n/m), as Jordan's");
            f("precision", precision, {"full", "bf16"},
              "of the iteration: that of the parameters, or bfloat16, which is faster on a GPU");
            f("weight_decay", weight_decay, dtk::at_least(0), "λ per step, times the learning rate");
            f("rest", rest, "parts of the names of matrices that AdamW moves too: embeddings, the last layer");
            f("beta1", beta1, dtk::up_from(0, 1), "of AdamW: decay of the mean gradient");
            f("beta2", beta2, dtk::up_from(0, 1), "of AdamW: decay of the mean squared gradient");
            f("eps", eps, dtk::above(0), "of AdamW: keeps the division finite");
        }
    } c;
    explicit Muon(const Config& config) : c(config) {}

    void begin(const dtk::Parameters& parameters) override {
        std::vector<bool> is_matrix;
        for (std::size_t i = 0; i < parameters.names.size(); ++i)
            is_matrix.push_back(parameters.tensors[i].dim() >= 2 &&
                                std::ranges::none_of(c.rest, [&](const std::string& part) {
                                    return parameters.names[i].find(part) != std::string::npos;
                                }));
        matrices_ = dtk::marked(parameters, is_matrix, true);
        momentum_.begin(matrices_, {"momentum"});
        adam_.begin(dtk::marked(parameters, is_matrix, false));
        shapes_.clear();
        for (std::size_t i = 0; i < matrices_.tensors.size(); ++i) {
            const auto& sizes = matrices_.tensors[i].sizes();
            shapes_[{sizes[0], c10::multiply_integers(sizes.slice(1))}].push_back(i);
        }
    }

    void step(const Tensor& rate, const Tensor& skip) override {
        adam_.step(rate, skip, {c.beta1, c.beta2, c.eps, c.weight_decay}, dtk::AdamMoments::Decay::of_weights);
        if (matrices_.tensors.empty()) return;
        const auto g = dtk::gradients(matrices_.tensors);
        dtk::average(momentum_[0], g, c.momentum, skip);
        const auto ahead = c.nesterov ? at::_foreach_lerp(g, momentum_[0], c.momentum) : momentum_[0];

        // Matrices of one shape go together.
        std::vector<Tensor> delta(g.size());
        for (const auto& [shape, members] : shapes_) {
            std::vector<Tensor> some;
            for (const auto i : members) some.push_back(ahead[i].reshape({shape.first, shape.second}));
            const auto even = scale(shape) * newton_schulz(at::stack(some), c.iterations, type_of(ahead[members[0]]));
            for (std::size_t k = 0; k < members.size(); ++k) {
                const auto& theta = matrices_.tensors[members[k]];
                delta[members[k]] = at::empty_like(theta).copy_(even.select(0, k).reshape(theta.sizes()));
            }
        }
        dtk::descend(matrices_, delta, rate * c.factor, c.weight_decay, skip);
    }

    dtk::NamedTensors state() const override {
        auto state = adam_.state();
        state.merge(momentum_.state());
        return state;
    }
    void restore(const dtk::NamedTensors& state) override {
        adam_.restore(state);
        momentum_.restore(state);
    }

 private:
    using Shape = std::pair<std::int64_t, std::int64_t>;

    double scale(const Shape& shape) const {
        const auto n = static_cast<double>(shape.first), m = static_cast<double>(shape.second);
        return c.scale == "adamw" ? 0.2 * std::sqrt(std::max(n, m)) : std::sqrt(std::max(1.0, n / m));
    }

    at::ScalarType type_of(const Tensor& x) const { return c.precision == "bf16" ? at::kBFloat16 : x.scalar_type(); }

    dtk::Parameters matrices_;
    dtk::Moments momentum_;
    dtk::AdamMoments adam_;
    std::map<Shape, std::vector<std::size_t>> shapes_;  ///< which matrices have that shape
};
}  // namespace

DTK_PLUGIN(Optimizer, muon, Muon, "orthogonal steps for matrices, AdamW for the rest (Jordan et al. 2024)")
