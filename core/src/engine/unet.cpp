#include <dtk/unet.hpp>

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/error.hpp>
#include <dtk/process.hpp>

namespace dtk {

void UNetConfig::size_fields(Fields& f) {
    f("channels", channels, at_least(1), "channels at full size");
    f("multipliers", multipliers, at_least(1), "channels of each level as multiples; each level halves the size");
    f("blocks", blocks, at_least(1), "residual blocks of a level on the way down");
    f("attention", attention, at_least(1), "sizes (the shorter side, pixels) with self-attention besides the middle");
}

void UNetConfig::heads_field(Fields& f) { f("heads", heads, at_least(1), "heads of an attention"); }

void UNetConfig::head_width_field(Fields& f) {
    f("head_width", head_width, at_least(1), "channels of a head of an attention");
}

void UNetConfig::other_fields(Fields& f) {
    f("groups", groups, at_least(1), "groups of channels that are normalised together");
    f("dropout", dropout, up_from(0, 1), "share of zeroed activations in residual blocks");
    f("prediction", prediction, {"eps", "x0", "v", "velocity", "edm"}, "what the network answers");
    f("variance", variance, {"fixed", "range", "direct"},
      "of a reverse step: left to the sampler, learned between β̃ and β, or learned as log Σ");
    f("noise_label", noise_label, {"time", "u", "log_snr", "c_noise"},
      "how it is told the noise: 1000·t/T, u = (t+1)/T, log-SNR, or EDM's ¼ ln(σ/α)");
    f("conditional", conditional, "is the network told the class?");
    f("end_time", end_time, "is it told the time that its answer leads to, too (loss `meanflow`)?");
    f("self_condition", self_condition, "is it shown its earlier estimate of x_0 (Chen et al. 2022)?");
}

UNet::UNet(const UNetConfig& config, const BuildContext& context)
    : c(config),
      predicts_(prediction_type(config.prediction)),
      variance_(config.variance, context.process()),
      token_width_(config.transformer ? context.condition_space().token_width : 0) {
    const auto space = context.space();
    const auto sizes = level_sizes(space.shape);
    check_fields(sizes, space.classes);
    const auto vector = context.condition_space().vector;
    const auto init = context.random("init");
    const auto base = c.channels, image = space.shape[0];
    embedding_ = 4 * base;

    noise_ = child("noise", std::make_shared<NoiseInput>(predicts_, c.noise_label, base + base % 2, context.process()));
    time1_ = child<Linear>("time1", init, base + base % 2, embedding_);
    if (c.end_time) end_ = child<Linear>("end", init, base + base % 2, embedding_);
    time2_ = child<Linear>("time2", init, embedding_, embedding_);
    if (c.conditional)
        label_ = child<Embedding>("label", init, space.classes, embedding_, 1.0, context.drops_conditions());
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
        down_.push_back(halving(init, fmt::format("down{}.half", level), width));
        kept.push_back(width);
    }

    middle1_ = residual(init, "middle1", width, width);
    middle_ = mixing(init, "middle", width);
    middle2_ = residual(init, "middle2", width, width);

    for (auto level = last + 1; level-- > 0;) {
        for (std::int64_t k = 0; k <= c.blocks; ++k) {
            const auto out = base * c.multipliers[level];
            up_.push_back(block(init, fmt::format("up{}.{}", level, k), width + kept.back(), out, sizes[level]));
            kept.pop_back();
            width = out;
        }
        if (level > 0) up_.push_back(doubling(init, fmt::format("up{}.double", level), width));
    }
    norm_ = child<GroupNorm>("norm", init, width, c.groups, GroupNorm::Then::silu);
    out_ = child<Conv2d>("out", init, width, variance_.outputs() * image, 3, 1, Start::zeros);
}

ConditionSpace UNet::reads() const { return {.vector = vector_ ? 1 : 0, .token_width = token_width_ > 0 ? 1 : 0}; }

Prediction UNet::forward(const Tensor& xt, const Time& t, const Condition& condition) {
    BlockInput told{at::silu(embed(xt, t, condition)), {}, {}, condition.random, condition.recompute};
    if (token_width_ > 0) {
        told.tokens = condition.tokens;
        told.token_mask = condition.token_mask;
    }
    auto x = noise_->scaled(xt, t).to(at::kFloat);
    if (c.self_condition)
        x = at::cat(
            {x, condition.self_condition.defined() ? condition.self_condition.to(at::kFloat) : at::zeros_like(x)}, 1);

    std::vector<Tensor> kept{to_image_layout((*in_)(x))};
    for (const auto& part : down_) kept.push_back(part.resize ? (*part.resize)(kept.back()) : part(kept.back(), told));

    auto h = (*middle2_)(middle_((*middle1_)(kept.back(), told), told), told);
    for (const auto& part : up_) {
        if (part.resize) {
            h = worked(*part.resize, {h}, told, [&resize = *part.resize](const auto& in, const auto&...) {
                return resize(at::upsample_nearest2d(in[0], {2 * in[0].size(2), 2 * in[0].size(3)}));
            });
        } else if (part.doubles) {
            h = part(h, told);
        } else {
            h = part.mixing((*part.residual)(h, kept.back(), told), told);
            kept.pop_back();
        }
    }
    return variance_(predicts_, last(h, told), xt, t);
}

Tensor UNet::last(const Tensor& h, const BlockInput& told) const {
    const auto work = [this](const auto& in) { return (*out_)((*norm_)(in[0])); };
    if (!told.recompute) return work(std::vector{h});
    auto parameters = norm_->parameters();
    for (const auto& one : out_->parameters()) parameters.push_back(one);
    return recomputed(work, {h}, std::move(parameters));
}

Tensor UNet::Mixing::operator()(const Tensor& x, const BlockInput& told) const {
    return pixels ? (*pixels)(x, told) : transformer ? (*transformer)(x, told) : x;
}

std::shared_ptr<ResidualBlock> UNet::residual(const Random& init, const std::string& name, std::int64_t in,
                                              std::int64_t out, ResidualBlock::Size size) {
    return child<ResidualBlock>(name, init, name,
                                ResidualBlock::Shape{in, out, embedding_, c.groups, c.dropout, c.scale_shift, size});
}

UNet::Mixing UNet::mixing(const Random& init, const std::string& name, std::int64_t channels) {
    const auto heads = c.head_width > 0 ? channels / c.head_width : c.heads;
    if (!c.transformer) return {.pixels = child<PixelAttention>(name, init, channels, c.groups, heads)};
    return {.transformer = child<SpatialTransformer>(name, init, channels, c.groups, heads, token_width_)};
}

UNet::Part UNet::block(const Random& init, const std::string& name, std::int64_t in, std::int64_t out,
                       std::pair<std::int64_t, std::int64_t> size) {
    Part part{.residual = residual(init, name, in, out)};
    if (std::ranges::count(c.attention, std::min(size.first, size.second)) > 0)
        part.mixing = mixing(init, name + ".attention", out);
    return part;
}

UNet::Part UNet::halving(const Random& init, const std::string& name, std::int64_t width) {
    if (c.residual_resize) return {.residual = residual(init, name, width, width, ResidualBlock::Size::half)};
    return {.resize = child<Conv2d>(name, init, width, width, 3, 2)};
}

UNet::Part UNet::doubling(const Random& init, const std::string& name, std::int64_t width) {
    if (!c.residual_resize) return {.resize = child<Conv2d>(name, init, width, width, 3)};
    return {.residual = residual(init, name, width, width, ResidualBlock::Size::twice), .doubles = true};
}

Tensor UNet::embed(const Tensor& x, const Time& t, const Condition& condition) const {
    auto times = (*time1_)(noise_->embedding(x, t));
    if (end_) times = times + (*end_)(noise_->embedding(x, end_of(condition, t)));
    auto embedded = (*time2_)(at::silu(times));
    if (label_) embedded = embedded + (*label_)(condition);
    return vector_ ? embedded + (*vector_)(condition.vector) : embedded;
}

/// Height and width at each level.
UNet::Sizes UNet::level_sizes(const std::vector<std::int64_t>& shape) const {
    if (shape.size() != 3)
        throw Error("a unet needs images, of shape [channels, height, width]", "use model `mlp` for other data");
    if (c.multipliers.empty())
        throw Error("`multipliers` is empty", "give one number per level, as in multipliers = [1, 2, 2]");
    const auto height = shape[1], width = shape[2];
    const auto factor = std::int64_t{1} << (c.multipliers.size() - 1);
    if (height % factor != 0 || width % factor != 0)
        throw Error(
            fmt::format(
                "images of {}×{} pixels cannot be halved {} times, once between each two of the {} `multipliers`",
                height, width, c.multipliers.size() - 1, c.multipliers.size()),
            fmt::format("give fewer multipliers, or pad the images to {}×{}", (height + factor - 1) / factor * factor,
                        (width + factor - 1) / factor * factor));
    Sizes sizes;
    for (std::size_t level = 0; level < c.multipliers.size(); ++level)
        sizes.emplace_back(height >> level, width >> level);
    return sizes;
}

void UNet::check_fields(const Sizes& sizes, std::int64_t classes) const {
    std::vector<std::int64_t> sides;
    for (const auto& [height, width] : sizes) sides.push_back(std::min(height, width));
    for (const auto side : c.attention)
        if (std::ranges::count(sides, side) == 0)
            throw Error(fmt::format("`attention` names the size {}, which never occurs", side),
                        fmt::format("the sizes are {}", fmt::join(sides, ", ")));
    const auto shared = [&](const char* field, std::int64_t value, std::int64_t channels) {
        if (channels % value != 0)
            throw Error(fmt::format("`{}` = {} does not divide {} channels", field, value, channels),
                        fmt::format("let `{}` divide `channels` = {}", field, c.channels));
    };
    for (const auto multiplier : c.multipliers) {
        shared("groups", c.groups, c.channels * multiplier);
        if (c.head_width == 0) shared("heads", c.heads, c.channels * multiplier);
        if (c.head_width > 0) shared("head_width", c.head_width, c.channels * multiplier);
    }
    if (c.conditional && classes == 0) throw Error("`conditional` needs data with classes", "use conditional = false");
}

}  // namespace dtk
