// h_{i+1} = leaky(Σ_s up^s(W_{i,s} ∗ pool^s(h_i))), s = 0 … scales−1, pool: the mean of 2×2 pixels, up: each pixel four
// times; beside it, where `dense` is not 0, a fully connected network over the whole image; then leaky(W h) pixel by
// pixel, and a read-out of `basis` coefficients y for each pixel's mean and for its variance, which is all that sees
// the time:
//   f(t) = Σ_j y_j g_j(2t/(T−1) − 1), g normal bumps over −1 … 1 that add up to 1
//   p(x_{t−1} | x_t) = N(√(1−β_t) x_t + √β_t f_μ, sigmoid(logit β_t + f_Σ/√T))
// The network for images of Sohl-Dickstein et al., "Deep Unsupervised Learning using Nonequilibrium Thermodynamics",
// 2015, appendix D.2, in the form of their code; there with 20 maps, 4 layers of each kind, 500 dense units and 2 dense
// numbers a pixel. leaky(h) is h, or h/20 where h < 0. With f = 0, where it starts, the reverse process is the forward
// one turned around.
#include <cmath>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>
#include <dtk/layers.hpp>
#include <dtk/model.hpp>
#include <dtk/relative_step.hpp>
#include <dtk/sampler.hpp>

namespace {

using at::Tensor;
using dtk::Conv2d;
using dtk::Linear;
using dtk::Random;

struct Config {
    std::int64_t maps = 20, layers = 4, scales = 3, kernel = 3;
    std::int64_t dense = 0, dense_layers = 4, dense_out = 2;
    std::int64_t pixel_maps = 20, pixel_layers = 2, basis = 10;
    void fields(dtk::Fields& f) {
        f("maps", maps, dtk::at_least(1), "maps of a convolution");
        f("layers", layers, dtk::at_least(1), "layers of convolutions");
        f("scales", scales, dtk::in(1, 10), "sizes that each layer looks at, each half of the one before");
        f("kernel", kernel, dtk::in(1, 99), "width of a convolution; odd");
        f.require(kernel % 2 == 1, "kernel", fmt::format("= {} is even", kernel),
                  fmt::format("write {} or {}", kernel - 1, kernel + 1));
        f("dense", dense, dtk::at_least(0), "units of a fully connected layer; 0: no fully connected part");
        f("dense_layers", dense_layers, dtk::at_least(1), "fully connected layers");
        f("dense_out", dense_out, dtk::at_least(1), "numbers that the fully connected part has for each pixel");
        f("pixel_maps", pixel_maps, dtk::at_least(1), "units of a layer that looks at one pixel");
        f("pixel_layers", pixel_layers, dtk::at_least(0), "layers that look at one pixel");
        f("basis", basis, dtk::in(2, 1000), "bumps over the time");
    }
};

Tensor leaky(const Tensor& h) { return at::leaky_relu(h, 0.05); }

/// A layer whose outputs are as large as its inputs after leaky(), on average over its initial values (He et al. 2015):
/// those of PyTorch, U(−1/√n, 1/√n), shrink them sixfold in variance.
template <class Layer, class... Args>
std::shared_ptr<Layer> even_layer(const Random& random, double share, Args&&... args) {
    auto layer = std::make_shared<Layer>(random, std::forward<Args>(args)...);
    at::NoGradGuard no_grad;
    for (const auto& named : layer->named_tensors())
        named.tensor->mul_(named.name == "weight" ? std::sqrt(6 * share) : 0.0);
    return layer;
}

struct Multiscale final : dtk::Module {
    Multiscale(const Random& init, const Config& c, std::int64_t in) {
        for (std::int64_t s = 0; s < c.scales; ++s) {
            const auto name = fmt::format("scale{}", s);
            scales_.push_back(child(name, even_layer<Conv2d>(init.stream(name), 1.0 / static_cast<double>(c.scales), in,
                                                             c.maps, c.kernel)));
        }
    }
    Tensor operator()(const Tensor& x) const {
        std::vector<Tensor> pyramid{x};
        while (pyramid.size() < scales_.size()) pyramid.push_back(at::avg_pool2d(pyramid.back(), 2));
        Tensor sum;
        for (auto s = scales_.size(); s-- > 0;) {
            const auto seen = (*scales_[s])(pyramid[s]);
            sum = sum.defined() ? seen + at::upsample_nearest2d(sum, {seen.size(2), seen.size(3)}) : seen;
        }
        return sum;
    }

    std::vector<std::shared_ptr<Conv2d>> scales_;
};

struct MultiscaleConv final : dtk::Model {
    using Config = ::Config;
    MultiscaleConv(const Config& config, const dtk::BuildContext& context)
        : c(config), process_(dtk::gaussian(context.process(), "multiscale_conv")) {
        const auto shape = context.space().shape;
        check_fields(shape);
        const auto init = context.random("init");
        channels_ = shape[0];
        const auto pixels = shape[1] * shape[2];
        const auto add = [&]<class Layer>(std::vector<std::shared_ptr<Layer>>& layers, const char* kind,
                                          auto... sizes) {
            const auto name = fmt::format("{}{}", kind, layers.size());
            layers.push_back(child(name, even_layer<Layer>(init.stream(name), 1, sizes...)));
        };
        for (std::int64_t i = 0; i < c.layers; ++i)
            conv_.push_back(child<Multiscale>(fmt::format("conv{}", i), init, c, i == 0 ? channels_ : c.maps));
        if (c.dense > 0)
            for (std::int64_t i = 0; i <= c.dense_layers; ++i)
                add(dense_, "dense", i == 0 ? channels_ * pixels : c.dense,
                    i == c.dense_layers ? c.dense_out * pixels : c.dense);
        auto width = c.maps + (c.dense > 0 ? c.dense_out : 0);
        for (std::int64_t i = 0; i < c.pixel_layers; ++i, width = c.pixel_maps)
            add(pixel_, "pixel", width, c.pixel_maps, std::int64_t{1});
        out_ = child<Conv2d>("out", init, width, 2 * channels_ * c.basis, 1, 1, dtk::Start::zeros);
    }

    dtk::PredictionType predicts() const override { return dtk::PredictionType::mean; }

    dtk::Prediction forward(const Tensor& xt, const dtk::Time& t, const dtk::Condition&) override {
        const auto x = dtk::to_image_layout(xt.to(at::kFloat));
        const auto B = x.size(0), H = x.size(2), W = x.size(3);
        auto h = x;
        for (const auto& layer : conv_) h = leaky((*layer)(h));
        if (!dense_.empty()) {
            auto d = xt.to(at::kFloat).flatten(1);
            for (const auto& layer : dense_) d = leaky((*layer)(d));
            h = at::cat({h, d.view({B, c.dense_out, H, W})}, 1);
        }
        for (const auto& layer : pixel_) h = leaky((*layer)(h));

        const auto T = static_cast<double>(process_.steps());
        const auto g = dtk::bumps(t.on(x).to(at::kFloat) * (2 / std::max(T - 1, 1.0)) - 1, c.basis);
        const auto y = (*out_)(h).to(at::kFloat).contiguous().view({B, 2 * channels_, c.basis, H * W});
        const auto f = (y * g.view({B, 1, c.basis, 1})).sum(2).view({B, 2, channels_, H, W});
        return dtk::relative_step(process_, xt, t, f.select(1, 0), f.select(1, 1) / std::sqrt(T));
    }

 private:
    void check_fields(const std::vector<std::int64_t>& shape) const {
        if (shape.size() != 3)
            throw dtk::Error("multiscale_conv needs images, of shape [channels, height, width]",
                             "use model `rbf` for other data");
        const auto factor = std::int64_t{1} << (c.scales - 1);
        if (shape[1] % factor != 0 || shape[2] % factor != 0)
            throw dtk::Error(
                fmt::format(
                    "images of {}×{} pixels cannot be halved {} times, once between each two of the {} `scales`",
                    shape[1], shape[2], c.scales - 1, c.scales),
                "ask for fewer `scales`");
    }

    Config c;
    const dtk::GaussianProcess& process_;
    std::int64_t channels_;
    std::vector<std::shared_ptr<Multiscale>> conv_;
    std::vector<std::shared_ptr<Linear>> dense_;
    std::vector<std::shared_ptr<Conv2d>> pixel_;
    std::shared_ptr<Conv2d> out_;
};
}  // namespace

DTK_PLUGIN(Model, multiscale_conv, MultiscaleConv,
           "convolutions at several sizes, mean and variance learned, the time in the read-out alone (Sohl-Dickstein "
           "et al. 2015)")
