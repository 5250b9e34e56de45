// Autoencoders of pictures: what their loss is least at, what its critic weighs, and how near their answers come.
#include <cmath>

#include <torch/csrc/autograd/autograd.h>

#include <dtk/codec.hpp>
#include <dtk/metric.hpp>

#include "catch.hpp"
#include "support.hpp"

namespace {

using at::Tensor;

/// Pictures of one grey each, evenly from black to white.
struct Greys final : dtk::Dataset {
    std::vector<std::int64_t> shape() const override { return {1, 16, 16}; }
    std::int64_t size() const override { return 64; }
    dtk::Batch examples(const Tensor& index) const override {
        return {.x = (grey(index).to(at::kFloat)).view({-1, 1, 1, 1}).expand({index.numel(), 1, 16, 16}).contiguous()};
    }
    dtk::Batch test_examples(const Tensor& index) const override { return examples(index); }
    std::optional<std::pair<double, double>> range() const override { return std::pair{-1.0, 1.0}; }
    static Tensor grey(const Tensor& index) { return index.to(at::kDouble) / 80 - 0.5; }
};

/// Answers what it is shown, and a little more.
struct Brighter final : dtk::Autoencoder {
    explicit Brighter(double by) : by(by) {}
    std::vector<std::int64_t> shape() const override { return {1, 16, 16}; }
    std::vector<std::int64_t> latent_shape() const override { return {1, 16, 16}; }
    dtk::Latents encode(const Tensor& x) const override { return {x}; }
    Tensor decode(const Tensor& z) const override { return z + by; }
    double by;
};

support::BuildContext greys(double by) {
    support::BuildContext context;
    context.data = std::make_shared<Greys>();
    context.chain = support::make<dtk::Process>("gaussian", "steps = 100", context);
    context.network = std::make_shared<Brighter>(by);
    return context;
}

/// A small autoencoder of pictures whose last layers are not zero any more.
support::BuildContext small() {
    support::BuildContext context;
    context.data = support::make<dtk::Dataset>("composites", "items = \"shapes\"\nsize = 16", context);
    context.chain = support::make<dtk::Process>("gaussian", "steps = 100", context);
    context.network = support::make<dtk::Model>("autoencoder_kl",
                                                "channels = 8\ngroups = 4\nmultipliers = [1, 2]\nlatent = 3", context);
    return context;
}

}  // namespace

TEST_CASE("an error that is the same at every pixel has the PSNR and the SSIM of the formulas") {
    for (const double by : {0.1, -0.03}) {
        const auto context = greys(by);
        const auto metric = support::make<dtk::Metric>("psnr", "most = 60", context);
        const auto result = metric->evaluate(support::input(context, {}), dtk::Random(1, "metric"));
        CHECK(result.value == Approx(20 * std::log10(2 / std::abs(by))).margin(1e-4));
        // Without any contrast only the means count.
        const auto m = Greys::grey(at::arange(60)), other = m + by;
        const double c1 = std::pow(0.01 * 2, 2);
        const auto ssim = (2 * m * other + c1) / (m.square() + other.square() + c1);
        REQUIRE(result.parts.size() == 1);
        CHECK(result.parts[0].second == Approx(ssim.mean().item<double>()).margin(1e-4));
        CHECK(result.n == 60);
    }
}

TEST_CASE("the learned scale of the error is least at its mean, and the network's gradient is the error's over it") {
    const auto context = small();
    const auto loss = support::make<dtk::Loss>("autoencoder_kl", "kl = 0", context);
    const auto batch = context.data->examples(at::arange(8));
    const auto asked = [&] { return (*loss)(support::denoiser(context), batch, dtk::Time(0), dtk::Random(2, "loss")); };
    auto& log_scale = *[&] {
        for (const auto& named : loss->named_tensors())
            if (named.name == "scale.log") return named.tensor;
        throw std::runtime_error("no scale");
    }();
    const auto first = asked();
    const double error = first.parts.at(0).second.mean().item<double>();
    REQUIRE(first.objectives.size() == 2);
    CHECK(first.objectives[0].trains == "loss.scale");
    const auto slope = [&] {
        return torch::autograd::grad({asked().objectives[0].value.mean()}, {log_scale}).front().item<double>();
    };
    CHECK(slope() == Approx(1 - error).margin(1e-5));  // of error·e^{−l} + l at l = 0
    {
        const at::NoGradGuard no_grad;
        log_scale.fill_(std::log(error));
    }
    CHECK(slope() == Approx(0).margin(1e-5));
    const auto weight = context.network->parameters().back();
    const auto of_network = torch::autograd::grad({asked().objectives[1].value.mean()}, {weight}).front();
    const auto of_error = torch::autograd::grad({first.objectives[1].value.mean()}, {weight}).front();
    CHECK(support::distance(of_network * error, of_error) < 1e-5);
}

TEST_CASE("the critic pulls at the last weights as hard as the error does") {
    const auto context = small();
    const auto batch = context.data->examples(at::arange(8));
    const auto parameters = context.network->parameters();
    const auto last = parameters[parameters.size() - 2];
    const auto pull = [&](const std::string& fields) {
        const auto loss = support::make<dtk::Loss>("autoencoder_kl", fields, context);
        const auto values = (*loss)(support::denoiser(context), batch, dtk::Time(0), dtk::Random(2, "loss"));
        return torch::autograd::grad({values.objectives.back().value.mean()}, {last}).front();
    };
    const auto error = pull("kl = 0"), once = pull("kl = 0\ncritic = 1"), thrice = pull("kl = 0\ncritic = 3");
    CHECK((once - error).norm().item<double>() == Approx(error.norm().item<double>()).epsilon(0.02));
    CHECK((thrice - error).norm().item<double>() == Approx(3 * error.norm().item<double>()).epsilon(0.02));
}

TEST_CASE("a critic that has not learned loses a half for each side, and data that it knows cost it nothing") {
    const auto context = small();
    const auto loss = support::make<dtk::Loss>("autoencoder_kl", "critic = 1", context);
    const auto batch = context.data->examples(at::arange(8));
    {
        const at::NoGradGuard no_grad;
        for (const auto& named : loss->named_tensors())
            if (named.name.starts_with("critic.out")) named.tensor->zero_();
    }
    const auto values = (*loss)(support::denoiser(context), batch, dtk::Time(0), dtk::Random(2, "loss"));
    REQUIRE(values.objectives[1].trains == "loss.critic");
    CHECK(support::distance(values.objectives[1].value.detach(), at::ones({8})) < 1e-6);  // ½ (1 + 1)
    const at::NoGradGuard no_grad;
    for (const auto& named : loss->named_tensors())
        if (named.name == "critic.out.bias") named.tensor->fill_(4);
    const auto sure = (*loss)(support::denoiser(context), batch, dtk::Time(0), dtk::Random(2, "loss"));
    CHECK(support::distance(sure.objectives[1].value, at::full({8}, 2.5)) < 1e-6);  // ½ (0 + 5)
}
