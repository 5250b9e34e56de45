// Codecs: autoencoders, and the scale of their channels.
#include <dtk/codec.hpp>

#include <mutex>

#include <fmt/format.h>

namespace dtk {

Codec::~Codec() = default;
Autoencoder::~Autoencoder() = default;

Prediction Autoencoder::forward(const Tensor& x, const Time&, const Condition&) {
    return {PredictionType::x0, decode(encode(x).mean).to(x.scalar_type()), {}};
}

struct ChannelScale::Once {
    std::once_flag flag;
};

ChannelScale::ChannelScale(const std::vector<std::int64_t>& shape, const Dataset& data, std::int64_t n,
                           std::function<Latents(const Tensor& x)> latents)
    : data_(data), n_(n), latents_(std::move(latents)), once_(std::make_shared<Once>()) {
    std::vector<std::int64_t> sizes(shape.size(), 1);
    sizes.front() = shape.front();
    mean_ = &buffer("mean", at::zeros(sizes));
    sd_ = &buffer("sd", at::zeros(sizes));
}

Latents ChannelScale::scaled(Latents latents) const {
    measure();
    latents.mean = (latents.mean - *mean_) / *sd_;
    if (latents.variance.defined()) latents.variance = latents.variance / sd_->square();
    return latents;
}

Tensor ChannelScale::unscaled(const Tensor& z) const {
    measure();
    return z * *sd_ + *mean_;
}

void ChannelScale::measure() const {
    std::call_once(once_->flag, [&] {
        at::NoGradGuard no_grad;
        if (!sd_->eq(0).all().item<bool>()) return;  // of a checkpoint
        constexpr std::int64_t portion = 512;
        const auto n = data_.size() > 0 ? std::min(n_, data_.size()) : n_;
        Tensor sum, squares;
        double rows = 0;
        for (std::int64_t first = 0; first < n; first += portion) {
            const auto x = data_.examples(at::arange(first, std::min(first + portion, n), at::kLong)).x;
            const auto found = latents_(x.to(sd_->device()));
            auto square = found.mean.to(at::kDouble).square();
            if (found.variance.defined()) square = square + found.variance.to(at::kDouble);
            const auto of_channels = [](const Tensor& all) {  // [B, C, ...] → [C]
                return all.to(at::kDouble).transpose(0, 1).flatten(1).sum(1);
            };
            sum = sum.defined() ? sum + of_channels(found.mean) : of_channels(found.mean);
            squares = squares.defined() ? squares + of_channels(square) : of_channels(square);
            rows += static_cast<double>(found.mean.numel()) / static_cast<double>(found.mean.size(1));
        }
        const auto mean = sum / rows, sd = (squares / rows - mean.square()).clamp_min(0).sqrt();
        if (!(sd > 0).all().item<bool>())
            throw Error("a channel of the latents is the same number in all examples, which has no scale",
                        "use fewer latents, or other data");
        mean_->copy_(mean.view(mean_->sizes()));
        sd_->copy_(sd.view(sd_->sizes()));
    });
}

}  // namespace dtk
