// The diffusion transformer of Peebles & Xie, "Scalable Diffusion Models with Transformers", 2023: tokens are patches,
// positions are sines and cosines, and each block of self-attention and a small network is scaled, shifted and gated by
// what time and class say (adaLN-Zero): every block is the identity at the start, and the answer 0.
//
//     x ← x + g_1 Attention(s_1 + (1 + c_1) LN(x)),   x ← x + g_2 W_2 GELU(W_1 (s_2 + (1 + c_2) LN(x)))
//
// An example is a sequence [L], or channels over one, two or three axes: signals, images, volumes; `patch` divides each
// axis. Of data that are categories, each element of a patch has a vector for every category and for the mask, what a
// position adds is trained from there on, and the answer is the log-odds of every category.
#include <cmath>
#include <numeric>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/categories.hpp>
#include <dtk/layers.hpp>
#include <dtk/learned_variance.hpp>
#include <dtk/model.hpp>
#include <dtk/noise_input.hpp>
#include <dtk/recompute.hpp>

namespace {

using at::Tensor;
using dtk::Linear;
using dtk::Random;
using dtk::Start;
using Sizes = std::vector<std::int64_t>;

struct Config {
    std::int64_t width = 128, depth = 4, heads = 4, patch = 1, expansion = 4;
    std::string prediction = "eps", variance = "fixed", noise_label = "time";
    bool conditional = false;
    void fields(dtk::Fields& f) {
        f("width", width, dtk::at_least(1), "numbers of a token");
        f("depth", depth, dtk::at_least(1), "blocks");
        f("heads", heads, dtk::at_least(1), "heads of an attention; they divide `width`");
        f.require(heads < 1 || width % heads == 0, "heads",
                  fmt::format("= {} does not divide `width` = {}", heads, width), "let `heads` divide `width`");
        f("patch", patch, dtk::at_least(1), "elements of a token along each axis");
        f("expansion", expansion, dtk::at_least(1), "hidden units of a block's network as multiples of `width`");
        f("prediction", prediction, {"eps", "x0", "v", "velocity", "edm", "logits"},
          "what the network answers; logits: of categories, the log-odds of x_0");
        f("variance", variance, {"fixed", "range", "direct"},
          "of a reverse step: left to the sampler, learned between β̃ and β, or learned as log Σ");
        f("noise_label", noise_label, {"time", "log_snr", "c_noise", "none"},
          "how it is told the noise: 1000·t/T, log-SNR, EDM's ¼ ln(σ/α), or not at all, as of masked tokens that say "
          "it "
          "themselves");
        f("conditional", conditional, "is the network told the class?");
    }
};

/// LN(x) without weights, scaled and shifted: x [B, N, width], shift and scale [B, 1, width]
Tensor modulated(const Tensor& x, const Tensor& shift, const Tensor& scale) {
    return at::layer_norm(x, {x.size(2)}, {}, {}, 1e-6) * (1 + scale) + shift;
}

/// SiLU(c) → `n` vectors for every token, [B, 1, width] each, 0 at the start.
struct Modulation final : dtk::Module {
    Modulation(const Random& init, std::int64_t width, std::int64_t n)
        : n_(n), out_(child<Linear>("out", init, width, n * width, Start::zeros)) {}
    std::vector<Tensor> operator()(const Tensor& told) const { return (*out_)(told).unsqueeze(1).chunk(n_, 2); }

    std::int64_t n_;
    std::shared_ptr<Linear> out_;
};

struct Block final : dtk::Module {
    Block(const Random& init, const Config& c)
        : heads_(c.heads),
          modulation_(child<Modulation>("modulation", init, c.width, 6)),
          qkv_(child<Linear>("qkv", init, c.width, 3 * c.width)),
          mixed_(child<Linear>("mixed", init, c.width, c.width)),
          in_(child<Linear>("in", init, c.width, c.expansion * c.width)),
          out_(child<Linear>("out", init, c.expansion * c.width, c.width)) {}

    Tensor operator()(const Tensor& x, const Tensor& told, bool recompute) const {
        if (!recompute) return (*this)(x, x, told);
        return dtk::recomputed([this](const auto& in) { return (*this)(in[0], in[1], in[2]); }, {x, x, told},
                               parameters());
    }

    /// x twice: as it is passed by, and as it goes in.
    Tensor operator()(const Tensor& past, const Tensor& x, const Tensor& told) const {
        const auto m = (*modulation_)(told);
        const auto h = past + m[2] * attended(modulated(x, m[0], m[1]));
        return h + m[5] * (*out_)(at::gelu((*in_)(modulated(h, m[3], m[4])), "tanh"));
    }

    Tensor attended(const Tensor& x) const {
        const auto B = x.size(0), N = x.size(1), width = x.size(2);
        const auto qkv = (*qkv_)(x).view({B, N, 3, heads_, width / heads_}).permute({2, 0, 3, 1, 4}).unbind();
        return (*mixed_)(dtk::attention(qkv[0], qkv[1], qkv[2]).transpose(1, 2).reshape({B, N, width}));
    }

    std::int64_t heads_;
    std::shared_ptr<Modulation> modulation_;
    std::shared_ptr<Linear> qkv_, mixed_, in_, out_;
};

/// Patches of [B, C, n_1·p, …, n_k·p], and back; any number of entries may stand behind each element.
class Patches {
 public:
    /// Errors: Error where p does not divide an axis.
    Patches(const Sizes& shape, std::int64_t p) : channels_(shape.size() > 1 ? shape[0] : 1), p_(p) {
        for (auto i = shape.size() > 1 ? 1U : 0U; i < shape.size(); ++i) {
            if (shape[i] % p != 0)
                throw dtk::Error(fmt::format("`patch` = {} does not divide the {} elements of an axis", p, shape[i]),
                                 fmt::format("the shape is [{}]", fmt::join(shape, ", ")));
            counts_.push_back(shape[i] / p);
        }
    }
    const Sizes& counts() const { return counts_; }  ///< patches along each axis
    std::int64_t tokens() const {
        return std::accumulate(counts_.begin(), counts_.end(), std::int64_t{1}, std::multiplies<>());
    }
    /// Elements of a patch.
    std::int64_t elements() const {
        auto n = channels_;
        for (std::size_t i = 0; i < counts_.size(); ++i) n *= p_;
        return n;
    }

    /// x: [B, ...] → [B, tokens, elements]
    Tensor cut(const Tensor& x) const {
        Sizes sizes{x.size(0), channels_}, order{0};
        for (const auto n : counts_) sizes.insert(sizes.end(), {n, p_});
        for (std::size_t i = 0; i < counts_.size(); ++i) order.push_back(axis(i));
        order.push_back(1);
        for (std::size_t i = 0; i < counts_.size(); ++i) order.push_back(axis(i) + 1);
        return x.reshape(sizes).permute(order).reshape({x.size(0), tokens(), elements()});
    }

    /// y: [B, tokens, elements·m·k] → [B, m·C, n_1·p, …, k], as many times as many channels and k behind each
    Tensor joined(const Tensor& y, std::int64_t m, std::int64_t k) const {
        const auto axes = static_cast<std::int64_t>(counts_.size());
        Sizes sizes{y.size(0)}, order{0, axes + 1}, whole{y.size(0), m * channels_};
        sizes.insert(sizes.end(), counts_.begin(), counts_.end());
        sizes.push_back(m * channels_);
        sizes.insert(sizes.end(), counts_.size(), p_);
        sizes.push_back(k);
        for (std::int64_t i = 0; i < axes; ++i) {
            order.insert(order.end(), {i + 1, axes + 2 + i});
            whole.push_back(counts_[static_cast<std::size_t>(i)] * p_);
        }
        order.push_back(2 * axes + 2);
        whole.push_back(k);
        return y.reshape(sizes).permute(order).reshape(whole);
    }

 private:
    static std::int64_t axis(std::size_t i) { return 2 + 2 * static_cast<std::int64_t>(i); }
    std::int64_t channels_, p_;
    Sizes counts_;
};

/// Sines and cosines of the place along each axis, an equal share of the width for each: [tokens, width]. What does not
/// share evenly stays 0.
Tensor positions(const Sizes& counts, std::int64_t width) {
    const auto axes = static_cast<std::int64_t>(counts.size()), waves = width / (2 * axes);
    std::vector<Tensor> parts;
    for (std::int64_t i = 0; i < axes; ++i) {
        const auto n = counts[static_cast<std::size_t>(i)];
        const auto frequency = (at::arange(waves, at::kDouble) * (-std::log(1e4) / std::max<double>(1, waves))).exp();
        const auto phase = at::arange(n, at::kDouble).unsqueeze(1) * frequency;
        Sizes place(counts.size(), 1), all = counts;
        place[static_cast<std::size_t>(i)] = n;
        place.push_back(2 * waves);
        all.push_back(2 * waves);
        parts.push_back(at::cat({phase.sin(), phase.cos()}, 1).view(place).expand(all).reshape({-1, 2 * waves}));
    }
    parts.push_back(at::zeros({parts.front().size(0), width - 2 * axes * waves}, at::kDouble));
    return at::cat(parts, 1).to(at::kFloat);
}

struct Dit final : dtk::Model {
    using Config = ::Config;
    Dit(const Config& config, const dtk::BuildContext& context)
        : c(config),
          predicts_(dtk::prediction_type(config.prediction)),
          variance_(config.variance, context.process()),
          patches_(context.space().shape, config.patch) {
        const auto space = context.space();
        const auto init = context.random("init");
        check_fields(space);
        if (predicts_ == dtk::PredictionType::logits)
            tokens_ = &dtk::categorical(context.process(), "dit with prediction = \"logits\"");

        const auto elements = patches_.elements();
        const auto places = positions(patches_.counts(), c.width);
        if (tokens_) {
            const auto table = init.stream("embedding").normal({elements * tokens_->states(), c.width}, at::kFloat);
            embedding_ = &parameter("embedding", table / std::sqrt(static_cast<double>(elements)));
            position_ = &parameter("position", places);
        } else {
            in_ = child<Linear>("in", init, elements, c.width);
            position_ = &constant("position", places);
        }
        if (c.noise_label != "none") {
            const auto waves = c.width + c.width % 2;
            noise_ =
                child("noise", std::make_shared<dtk::NoiseInput>(predicts_, c.noise_label, waves, context.process()));
            time1_ = child<Linear>("time1", init, waves, c.width);
            time2_ = child<Linear>("time2", init, c.width, c.width);
        }
        if (c.conditional)
            label_ = child<dtk::Embedding>("label", init, space.classes, c.width, 0.02, context.drops_conditions());
        if (const auto vector = context.condition_space().vector; vector > 0)
            vector_ = child<Linear>("vector", init, vector, c.width);
        for (std::int64_t i = 0; i < c.depth; ++i) blocks_.push_back(child<Block>(fmt::format("block{}", i), init, c));
        modulation_ = child<Modulation>("modulation", init, c.width, 2);
        out_ = child<Linear>("out", init, c.width, elements * variance_.outputs() * answers(), Start::zeros);
    }

    dtk::PredictionType predicts() const override { return predicts_; }
    bool knows_null_condition() const override { return label_ && label_->knows_null(); }
    dtk::ConditionSpace reads() const override { return {.vector = vector_ ? 1 : 0}; }
    bool recomputes() const override { return true; }

    dtk::Prediction forward(const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) override {
        auto told = at::zeros({x.size(0), c.width}, x.options().dtype(at::kFloat));
        if (noise_) told = (*time2_)(at::silu((*time1_)(noise_->embedding(x, t))));
        if (label_) told = told + (*label_)(condition);
        if (vector_) told = told + (*vector_)(condition.vector);
        told = at::silu(told);

        auto h = embedded(x, t) + *position_;
        for (const auto& block : blocks_) h = (*block)(h, told, condition.recompute);
        const auto last = (*modulation_)(told);
        const auto y = patches_.joined((*out_)(modulated(h, last[0], last[1])), variance_.outputs(), answers());
        if (!tokens_) return variance_(predicts_, y, x, t);
        auto sizes = x.sizes().vec();
        sizes.push_back(answers());
        return {predicts_, y.to(x.scalar_type()).view(sizes), {}};
    }

 private:
    /// Numbers that are answered for each element.
    std::int64_t answers() const { return tokens_ ? tokens_->categories() : 1; }

    Tensor embedded(const Tensor& x, const dtk::Time& t) const {
        if (!tokens_) return (*in_)(patches_.cut(noise_ ? noise_->scaled(x, t) : x).to(at::kFloat));
        // Every place of a patch has vectors of its own.
        const auto number = patches_.cut(tokens_->numbers(x)), place = at::arange(number.size(2), number.options());
        return at::embedding(*embedding_, number + place * tokens_->states()).sum(2);
    }

    void check_fields(const dtk::Space& space) const {
        if (c.conditional && space.classes == 0)
            throw dtk::Error("`conditional` needs data with classes", "use conditional = false");
        if (c.noise_label == "none" && predicts_ != dtk::PredictionType::logits)
            throw dtk::Error("noise_label = \"none\" is for masked tokens, which say themselves how many are masked",
                             "use noise_label = \"time\"");
    }

    Config c;
    dtk::PredictionType predicts_;
    dtk::LearnedVariance variance_;
    Patches patches_;
    const dtk::CategoricalProcess* tokens_ = nullptr;
    std::shared_ptr<dtk::NoiseInput> noise_;
    std::shared_ptr<Linear> time1_, time2_, vector_, in_, out_;
    std::shared_ptr<dtk::Embedding> label_;
    Tensor *embedding_ = nullptr, *position_;
    std::vector<std::shared_ptr<Block>> blocks_;
    std::shared_ptr<Modulation> modulation_;
};
}  // namespace

DTK_PLUGIN(Model, dit, Dit, "transformer over tokens or patches of images and volumes (Peebles & Xie 2023)")
