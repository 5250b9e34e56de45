// The U-Net of Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models", 2020, app. B: residual blocks of
// GroupNorm, SiLU, convolution, with the time added in between, self-attention at some sizes and always in the middle,
// every output of the way down concatenated on the way up, last layers zero at the start. Time is presented as
// 1000·t/T.
#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <dtk/dataset.hpp>
#include <dtk/flow_map.hpp>
#include <dtk/layers.hpp>
#include <dtk/learned_variance.hpp>
#include <dtk/model.hpp>
#include <dtk/noise_input.hpp>
#include <dtk/process.hpp>
#include <dtk/recompute.hpp>

namespace {

using at::Tensor;
using dtk::Conv2d;
using dtk::GroupNorm;
using dtk::Linear;
using dtk::Random;
using dtk::Start;
using Then = GroupNorm::Then;

struct Config {
    std::int64_t channels = 32, blocks = 2, heads = 1, groups = 8;
    std::vector<std::int64_t> multipliers{1, 2, 2}, attention{};
    double dropout = 0;
    std::string prediction = "eps", variance = "fixed", noise_label = "time";
    bool conditional = false, self_condition = false, end_time = false;
    void fields(dtk::Fields& f) {
        f("channels", channels, dtk::at_least(1), "channels at full size");
        f("multipliers", multipliers, dtk::at_least(1),
          "channels of each level as multiples; each level halves the size");
        f("blocks", blocks, dtk::at_least(1), "residual blocks of a level on the way down");
        f("attention", attention, dtk::at_least(1),
          "sizes (the shorter side, pixels) with self-attention besides the middle");
        f("heads", heads, dtk::at_least(1), "heads of an attention");
        f("groups", groups, dtk::at_least(1), "groups of channels that are normalised together");
        f("dropout", dropout, dtk::up_from(0, 1), "share of zeroed activations in residual blocks");
        f("prediction", prediction, {"eps", "x0", "v", "velocity", "edm"}, "what the network answers");
        f("variance", variance, {"fixed", "range", "direct"},
          "of a reverse step: left to the sampler, learned between β̃ and β, or learned as log Σ");
        f("noise_label", noise_label, {"time", "u", "log_snr", "c_noise"},
          "how it is told the noise: 1000·t/T, u = (t+1)/T, log-SNR, or EDM's ¼ ln(σ/α)");
        f("conditional", conditional, "is the network told the class?");
        f("end_time", end_time, "is it told the time that its answer leads to, too (loss `meanflow`)?");
        f("self_condition", self_condition, "is it shown its earlier estimate of x_0 (Chen et al. 2022)?");
    }
};

/// What every block is shown: SiLU of the embedding of time and class, and the random numbers of the step.
struct Shown {
    Tensor embedding;
    const Random* random;
    bool recompute = false;
};

/// work(inputs, embedding, random), inner values kept for the gradient or computed again. inputs: as dtk::recomputed
/// wants them.
template <class Work>
Tensor worked(const dtk::Module& part, std::vector<Tensor> inputs, const Shown& shown, const Work& work) {
    if (!shown.recompute) return work(inputs, shown.embedding, shown.random);
    inputs.push_back(shown.embedding);
    return dtk::recomputed(
        [work, random = shown.random ? std::optional(*shown.random) : std::nullopt](std::vector<Tensor> all) {
            const auto embedding = all.back();
            all.pop_back();
            return work(all, embedding, random ? &*random : nullptr);
        },
        std::move(inputs), part.parameters());
}

struct Residual final : dtk::Module {
    Residual(const Random& init, const std::string& path, const Config& c, std::int64_t in, std::int64_t out,
             std::int64_t embedding)
        : dropout_(child("dropout", std::make_shared<dtk::Dropout>(c.dropout, path))),
          norm1_(child<GroupNorm>("norm1", init, in, c.groups, Then::silu)),
          conv1_(child<Conv2d>("conv1", init, in, out, 3)),
          time_(child<Linear>("time", init, embedding, out)),
          norm2_(child<GroupNorm>("norm2", init, out, c.groups, Then::silu)),
          conv2_(child<Conv2d>("conv2", init, out, out, 3, 1, Start::zeros)) {
        if (in != out) skip_ = child<Conv2d>("skip", init, in, out, 1);
    }

    Tensor operator()(const Tensor& x, const Shown& shown) const {
        return worked(*this, {x, x}, shown, [this](const auto& in, const Tensor& embedding, const Random* random) {
            return skip_ ? (*this)(in[1], in[0], embedding, random) : (*this)(in[0], in[1], embedding, random);
        });
    }

    /// Of the block on the way up, x and what was kept on the way down.
    Tensor operator()(const Tensor& x, const Tensor& kept, const Shown& shown) const {
        return worked(*this, {x, kept}, shown, [this](const auto& in, const Tensor& embedding, const Random* random) {
            const auto both = at::cat({in[0], in[1]}, 1);
            return (*this)(both, both, embedding, random);
        });
    }

    /// x twice: as it is passed by, and as it goes in.
    Tensor operator()(const Tensor& past, const Tensor& x, const Tensor& embedding, const Random* random) const {
        // What is passed by comes first, so that its gradient comes last, when the others take no memory any more.
        const auto by = skip_ ? (*skip_)(past) : past;
        auto h = (*conv1_)((*norm1_)(x));
        h = h + (*time_)(embedding).unsqueeze(2).unsqueeze(3);
        h = (*conv2_)((*dropout_)((*norm2_)(h), random));
        return by + h;
    }

    std::shared_ptr<dtk::Dropout> dropout_;
    std::shared_ptr<GroupNorm> norm1_;
    std::shared_ptr<Conv2d> conv1_;
    std::shared_ptr<Linear> time_;
    std::shared_ptr<GroupNorm> norm2_;
    std::shared_ptr<Conv2d> conv2_, skip_;
};

struct SelfAttention final : dtk::Module {
    SelfAttention(const Random& init, const Config& c, std::int64_t channels)
        : heads_(c.heads),
          norm_(child<GroupNorm>("norm", init, channels, c.groups)),
          qkv_(child<Linear>("qkv", init, channels, 3 * channels)),
          out_(child<Linear>("out", init, channels, channels, Start::zeros)) {}

    Tensor operator()(const Tensor& x, const Shown& shown) const {
        return worked(*this, {x, x}, shown,
                      [this](const auto& in, const Tensor&, const Random*) { return (*this)(in[0], in[1]); });
    }

    Tensor operator()(const Tensor& past, const Tensor& x) const {
        const auto B = x.size(0), C = x.size(1), H = x.size(2), W = x.size(3);
        const auto pixels = (*norm_)(x).permute({0, 2, 3, 1}).reshape({B, H * W, C});
        const auto qkv = (*qkv_)(pixels).view({B, H * W, 3, heads_, C / heads_}).permute({2, 0, 3, 1, 4}).unbind();
        const auto mixed = dtk::attention(qkv[0], qkv[1], qkv[2]).transpose(1, 2).reshape({B, H * W, C});
        return past + (*out_)(mixed).view({B, H, W, C}).permute({0, 3, 1, 2});
    }

    std::int64_t heads_;
    std::shared_ptr<GroupNorm> norm_;
    std::shared_ptr<Linear> qkv_, out_;
};

struct UNet final : dtk::Model, dtk::ToldEnd {
    using Config = ::Config;
    UNet(const Config& config, const dtk::BuildContext& context)
        : c(config), predicts_(dtk::prediction_type(config.prediction)), variance_(config.variance, context.process()) {
        const auto space = context.space();
        const auto sizes = level_sizes(space.shape);
        check_fields(sizes, space.classes);
        const auto vector = context.condition_space().vector;
        const auto init = context.random("init");
        const auto base = c.channels, image = space.shape[0];
        embedding_ = 4 * base;

        noise_ = child("noise",
                       std::make_shared<dtk::NoiseInput>(predicts_, c.noise_label, base + base % 2, context.process()));
        time1_ = child<Linear>("time1", init, base + base % 2, embedding_);
        if (c.end_time) end_ = child<Linear>("end", init, base + base % 2, embedding_);
        time2_ = child<Linear>("time2", init, embedding_, embedding_);
        if (c.conditional)
            label_ = child<dtk::Embedding>("label", init, space.classes, embedding_, 1.0, context.drops_conditions());
        if (vector > 0) vector_ = child<Linear>("vector", init, vector, embedding_);
        in_ = child<Conv2d>("in", init, c.self_condition ? 2 * image : image, base, 3);

        std::vector<std::int64_t> kept{base};
        auto width = base;
        const auto last = c.multipliers.size() - 1;
        for (std::size_t level = 0; level <= last; ++level) {
            for (std::int64_t k = 0; k < c.blocks; ++k) {
                down_.push_back(
                    block(init, fmt::format("down{}.{}", level, k), width, base * c.multipliers[level], sizes[level]));
                kept.push_back(width = base * c.multipliers[level]);
            }
            if (level == last) break;
            down_.push_back({.resize = child<Conv2d>(fmt::format("down{}.half", level), init, width, width, 3, 2)});
            kept.push_back(width);
        }

        middle1_ = residual(init, "middle1", width, width);
        middle_ = child<SelfAttention>("middle", init, c, width);
        middle2_ = residual(init, "middle2", width, width);

        for (auto level = last + 1; level-- > 0;) {
            for (std::int64_t k = 0; k <= c.blocks; ++k) {
                const auto out = base * c.multipliers[level];
                up_.push_back(block(init, fmt::format("up{}.{}", level, k), width + kept.back(), out, sizes[level]));
                kept.pop_back();
                width = out;
            }
            if (level > 0)
                up_.push_back({.resize = child<Conv2d>(fmt::format("up{}.double", level), init, width, width, 3)});
        }
        norm_ = child<GroupNorm>("norm", init, width, c.groups, Then::silu);
        out_ = child<Conv2d>("out", init, width, variance_.outputs() * image, 3, 1, Start::zeros);
    }

    dtk::PredictionType predicts() const override { return predicts_; }
    bool self_conditions() const override { return c.self_condition; }

    bool knows_null_condition() const override { return label_ && label_->knows_null(); }
    dtk::ConditionSpace reads() const override { return {.vector = vector_ ? 1 : 0}; }
    bool recomputes() const override { return true; }
    bool knows_end() const override { return c.end_time; }

    dtk::Prediction forward(const Tensor& xt, const dtk::Time& t, const dtk::Condition& condition) override {
        const Shown shown{at::silu(embed(xt, t, condition)), condition.random, condition.recompute};
        auto x = noise_->scaled(xt, t).to(at::kFloat);
        if (c.self_condition)
            x = at::cat(
                {x, condition.self_condition.defined() ? condition.self_condition.to(at::kFloat) : at::zeros_like(x)},
                1);

        std::vector<Tensor> kept{dtk::to_image_layout((*in_)(x))};
        for (const auto& part : down_)
            kept.push_back(part.resize ? (*part.resize)(kept.back()) : part(kept.back(), shown));

        auto h = (*middle2_)((*middle_)((*middle1_)(kept.back(), shown), shown), shown);
        for (const auto& part : up_) {
            if (part.resize) {
                h = worked(*part.resize, {h}, shown, [&resize = *part.resize](const auto& in, const auto&...) {
                    return resize(at::upsample_nearest2d(in[0], {2 * in[0].size(2), 2 * in[0].size(3)}));
                });
            } else {
                h = part.attended((*part.residual)(h, kept.back(), shown), shown);
                kept.pop_back();
            }
        }
        const auto last = [this](const auto& in) { return (*out_)((*norm_)(in[0])); };
        if (!condition.recompute) return variance_(predicts_, last(std::vector{h}), xt, t);
        auto parameters = norm_->parameters();
        for (const auto& one : out_->parameters()) parameters.push_back(one);
        return variance_(predicts_, dtk::recomputed(last, {h}, std::move(parameters)), xt, t);
    }

 private:
    /// A residual block with or without attention, or a convolution that changes the size.
    struct Part {
        std::shared_ptr<Residual> residual = {};
        std::shared_ptr<SelfAttention> attention = {};
        std::shared_ptr<Conv2d> resize = {};
        Tensor attended(const Tensor& h, const Shown& shown) const { return attention ? (*attention)(h, shown) : h; }
        Tensor operator()(const Tensor& x, const Shown& shown) const { return attended((*residual)(x, shown), shown); }
    };

    std::shared_ptr<Residual> residual(const Random& init, const std::string& name, std::int64_t in, std::int64_t out) {
        return child<Residual>(name, init, name, c, in, out, embedding_);
    }

    Part block(const Random& init, const std::string& name, std::int64_t in, std::int64_t out,
               std::pair<std::int64_t, std::int64_t> size) {
        Part part{.residual = residual(init, name, in, out)};
        if (std::ranges::count(c.attention, std::min(size.first, size.second)) > 0)
            part.attention = child<SelfAttention>(name + ".attention", init, c, out);
        return part;
    }

    Tensor embed(const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) const {
        auto times = (*time1_)(noise_->embedding(x, t));
        if (end_) times = times + (*end_)(noise_->embedding(x, dtk::end_of(condition, t)));
        auto embedded = (*time2_)(at::silu(times));
        if (label_) embedded = embedded + (*label_)(condition);
        return vector_ ? embedded + (*vector_)(condition.vector) : embedded;
    }

    /// Height and width at each level.
    std::vector<std::pair<std::int64_t, std::int64_t>> level_sizes(const std::vector<std::int64_t>& shape) const {
        if (shape.size() != 3)
            throw dtk::Error("unet needs images, of shape [channels, height, width]", "use model `mlp` for other data");
        if (c.multipliers.empty())
            throw dtk::Error("`multipliers` is empty", "give one number per level, as in multipliers = [1, 2, 2]");
        const auto height = shape[1], width = shape[2];
        const auto factor = std::int64_t{1} << (c.multipliers.size() - 1);
        if (height % factor != 0 || width % factor != 0)
            throw dtk::Error(
                fmt::format(
                    "images of {}×{} pixels cannot be halved {} times, once between each two of the {} `multipliers`",
                    height, width, c.multipliers.size() - 1, c.multipliers.size()),
                fmt::format("give fewer multipliers, or pad the images to {}×{}",
                            (height + factor - 1) / factor * factor, (width + factor - 1) / factor * factor));
        std::vector<std::pair<std::int64_t, std::int64_t>> sizes;
        for (std::size_t level = 0; level < c.multipliers.size(); ++level)
            sizes.emplace_back(height >> level, width >> level);
        return sizes;
    }

    void check_fields(const std::vector<std::pair<std::int64_t, std::int64_t>>& sizes, std::int64_t classes) const {
        std::vector<std::int64_t> sides;
        for (const auto& [height, width] : sizes) sides.push_back(std::min(height, width));
        for (const auto side : c.attention)
            if (std::ranges::count(sides, side) == 0)
                throw dtk::Error(fmt::format("`attention` names the size {}, which never occurs", side),
                                 fmt::format("the sizes are {}", listed(sides)));
        for (const auto multiplier : c.multipliers) {
            const auto channels = c.channels * multiplier;
            if (channels % c.groups != 0)
                throw dtk::Error(fmt::format("`groups` = {} does not divide {} channels", c.groups, channels),
                                 fmt::format("let `groups` divide `channels` = {}", c.channels));
            if (channels % c.heads != 0)
                throw dtk::Error(fmt::format("`heads` = {} does not divide {} channels", c.heads, channels),
                                 fmt::format("let `heads` divide `channels` = {}", c.channels));
        }
        if (c.conditional && classes == 0)
            throw dtk::Error("`conditional` needs data with classes", "use conditional = false");
    }

    static std::string listed(const std::vector<std::int64_t>& sides) {
        std::string text;
        for (const auto side : sides) text += (text.empty() ? "" : ", ") + std::to_string(side);
        return text;
    }

    Config c;
    dtk::PredictionType predicts_;
    dtk::LearnedVariance variance_;
    std::int64_t embedding_;
    std::shared_ptr<dtk::NoiseInput> noise_;
    std::shared_ptr<Linear> time1_, time2_, end_, vector_;
    std::shared_ptr<dtk::Embedding> label_;
    std::shared_ptr<Conv2d> in_, out_;
    std::vector<Part> down_, up_;
    std::shared_ptr<Residual> middle1_, middle2_;
    std::shared_ptr<SelfAttention> middle_;
    std::shared_ptr<GroupNorm> norm_;
};
}  // namespace

DTK_PLUGIN(Model, unet, UNet, "U-Net for images (Ho et al. 2020)")
