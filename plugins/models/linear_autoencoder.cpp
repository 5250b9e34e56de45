// z = W (x − b), x̂ = V z + b: trained by loss `reconstruction`, V spans the directions in which the data vary most.
// Baldi & Hornik, "Neural Networks and Principal Component Analysis: Learning from Examples Without Local Minima",
// 1989.
#include <fmt/format.h>

#include <dtk/codec.hpp>
#include <dtk/layers.hpp>

namespace {

using at::Tensor;

struct LinearAutoencoder final : dtk::Autoencoder {
    struct Config {
        std::int64_t latent = 2;
        void fields(dtk::Fields& f) { f("latent", latent, dtk::at_least(1), "numbers of z"); }
    };
    LinearAutoencoder(const Config& config, const dtk::BuildContext& context)
        : shape_(context.space().shape), latent_(config.latent) {
        const auto d = context.space().elements();
        if (latent_ > d)
            throw dtk::Error(fmt::format("`latent` = {} is more than the {} numbers of an example", latent_, d),
                             "lower it");
        const auto init = context.random("init");
        centre_ = &parameter("centre", at::zeros({d}));
        encoder_ =
            &parameter("encoder", dtk::starting_value(dtk::Start::uniform, {latent_, d}, d, init.stream("encoder")));
        decoder_ = &parameter("decoder",
                              dtk::starting_value(dtk::Start::uniform, {d, latent_}, latent_, init.stream("decoder")));
    }
    std::vector<std::int64_t> shape() const override { return shape_; }
    std::vector<std::int64_t> latent_shape() const override { return {latent_}; }
    dtk::Latents encode(const Tensor& x) const override {
        return {at::linear(x.flatten(1).to(at::kFloat) - *centre_, *encoder_)};
    }
    Tensor decode(const Tensor& z) const override {
        auto sizes = shape_;
        sizes.insert(sizes.begin(), z.size(0));
        return at::linear(z, *decoder_, *centre_).view(sizes);
    }

 private:
    std::vector<std::int64_t> shape_;
    std::int64_t latent_;
    Tensor *centre_, *encoder_, *decoder_;
};
}  // namespace

DTK_PLUGIN(Model, linear_autoencoder, LinearAutoencoder,
           "a linear map to fewer numbers and one back: the principal subspace, for codec `autoencoder`")
