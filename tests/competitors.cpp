// Models that make data in one evaluation: a VAE against the exact bound of Gaussian data, a GAN where its dynamics are
// known, and the sampler that draws from both.
#include <cmath>

#include <torch/csrc/autograd/autograd.h>

#include <dtk/encoder.hpp>
#include <dtk/optimizer.hpp>
#include <dtk/schedule.hpp>

#include "catch.hpp"
#include "complaint.hpp"
#include "support.hpp"

using at::Tensor;
using dtk::PredictionType;
using support::distance;
using support::make;

namespace {

const dtk::Random stream(5, "competitors");

/// N(0.7, 0.5²), and a model that makes it of noise.
support::BuildContext normal(const std::string& model, const std::string& fields,
                             const std::string& data = "preset = \"none\"\nmeans = [[0.7]]\nstd = [0.5]") {
    support::BuildContext context;
    context.data = make<dtk::Dataset>("gaussian_mixture", data, context);
    context.chain = make<dtk::Process>("gaussian", "steps = 10\nschedule = \"cosine\"", context);
    context.network = make<dtk::Model>(model, fields, context);
    return context;
}
constexpr double entropy = 0.72579136;  // ½ log(2πe·0.25)

dtk::Batch examples(const support::BuildContext& context, std::int64_t first, std::int64_t n) {
    return context.dataset().examples(at::arange(first, first + n));
}

dtk::Parameters trained(const std::vector<dtk::Module*>& modules) {
    dtk::Parameters all;
    for (auto* module : modules)
        for (const auto& named : module->named_tensors()) {
            if (!named.trained) continue;
            all.names.push_back(named.name);
            all.tensors.push_back(*named.tensor);
            all.decays.push_back(false);
        }
    return all;
}

Tensor& tensor_named(dtk::Module& module, const std::string& name) {
    for (const auto& named : module.named_tensors())
        if (named.name == name) return *named.tensor;
    throw dtk::Error("no tensor " + name);
}

/// The gradients of the objectives for what each trains, as the trainer takes them.
void backward(const dtk::LossValues& values, const support::BuildContext& context, dtk::Loss& loss) {
    for (const auto& objective : values.objectives) {
        auto of = objective.trains == "model"  ? context.network->parameters()
                  : objective.trains == "loss" ? loss.parameters()
                                               : context.network->parameters();
        if (objective.trains.empty())
            for (const auto& p : loss.parameters()) of.push_back(p);
        objective.value.mean().backward({}, true, false, at::TensorList(of));
    }
}

void train(
    const support::BuildContext& context, dtk::Loss& loss, const std::string& optimizer, int steps,
    const std::function<double(int)>& rate, std::int64_t batch, const std::function<void(int)>& each = [](int) {}) {
    auto parameters = trained({context.network.get(), &loss});
    const auto moves = make<dtk::Optimizer>(optimizer, optimizer == "sgd" ? "momentum = 0.0" : "");
    moves->begin(parameters);
    for (int i = 0; i < steps; ++i) {
        for (auto& p : parameters.tensors) p.mutable_grad() = at::zeros_like(p);
        backward(loss(support::denoiser(context), examples(context, i * batch, batch), 0.0, stream.step(i)), context,
                 loss);
        at::NoGradGuard no_grad;
        moves->step(at::full({}, rate(i), at::kFloat), at::zeros({}, at::kFloat));
        each(i);
    }
}

}  // namespace

TEST_CASE("an encoder reads vectors and images, and its slope can be differentiated") {
    for (const auto& shape : {std::vector<std::int64_t>{5}, std::vector<std::int64_t>{2, 7, 9}}) {
        const dtk::Encoder encoder(stream, {.channels = 8, .levels = 2}, shape, 3);
        auto sizes = shape;
        sizes.insert(sizes.begin(), 4);
        const auto x = stream.normal(sizes, at::kFloat).requires_grad_(true);
        const auto y = encoder(x);
        CHECK(y.sizes() == at::IntArrayRef({4, 3}));
        const auto slope = torch::autograd::grad({y.select(1, 0).sum()}, {x}, {}, std::nullopt, true).front();
        slope.square().sum().backward();
        std::int64_t reached = 0;
        for (const auto& p : encoder.parameters())
            reached += p.grad().defined() && p.grad().abs().max().item<double>() > 0;
        CHECK(reached >= 4);
    }
    CHECK(says(complaint_of([&] { dtk::Encoder(stream, {.channels = 4, .levels = 5}, {1, 8, 8}, 1); }), "`levels`"));
}

TEST_CASE("a linear VAE reaches the entropy of Gaussian data, and draws them") {
    for (const std::string variance : {"direct", "fixed"}) {
        auto context = normal("decoder", "levels = 0\nvariance = \"" + variance + "\"");
        const auto loss = make<dtk::Loss>("vae", "levels = 0", context);
        CHECK_FALSE(loss->draws_times());
        train(
            context, *loss, "adam", 800, [](int i) { return i < 500 ? 0.02 : 0.002; }, 512);

        at::NoGradGuard no_grad;
        const auto n = std::int64_t{100000};
        const auto values = (*loss)(support::denoiser(context), examples(context, 1 << 20, n), 0.0, stream.step(9999));
        REQUIRE(values.objectives.size() == 1);
        const auto bound = values.objectives[0].value;
        const double mean = bound.mean().item<double>(), se = bound.std().item<double>() / std::sqrt(double(n));
        INFO(variance << ": " << mean << " ± " << se);
        CHECK(mean > entropy - 4 * se);  // a bound
        CHECK(mean < entropy + 0.01 + 4 * se);
        CHECK(distance(values.parts[0].second + values.parts[1].second, bound) < 1e-6);

        if (variance == "fixed") continue;
        const auto draw = [&](const std::string& fields) {
            const auto sampler = make<dtk::Sampler>("decode", fields, context);
            const auto times = sampler->times(*context.chain);
            CHECK(times == std::vector<double>{9});
            return sampler->sample(support::denoiser(context), times, stream.normal({n, 1}, at::kFloat),
                                   stream.stream("draw"));
        };
        const auto x = draw("");
        CHECK(x.mean().item<double>() == Approx(0.7).margin(0.02));
        CHECK(x.std().item<double>() == Approx(0.5).margin(0.02));
        // The mean alone has no more spread than z brings.
        const auto made = support::denoiser(context)(stream.normal({n, 1}, at::kFloat), 9.0);
        CHECK(distance(draw("noise = false"), made.value) < 1e-6);
        CHECK(at::allclose((x - made.value).square().mean(), made.variance->mean(), 0.05));
    }
}

TEST_CASE("the bound of a VAE is that of its formula") {
    auto context = normal("decoder", "levels = 0\nlatent = 1\nvariance = \"direct\"",
                          "preset = \"none\"\nmeans = [[0.7, -0.2]]\nstd = [0.5]");
    const auto loss = make<dtk::Loss>("vae", "levels = 0\nlatent = 1\nbeta = 0.5", context);
    at::NoGradGuard no_grad;
    const auto set = [](Tensor& tensor, std::vector<float> values) {
        tensor.copy_(at::tensor(values).view_as(tensor));
    };
    // q(z | x) = N(0.3 x_1 + 0.1, e^{−1}), x̂ = (z + 0.2, −z), log s² = (−0.5, 0.4)
    set(tensor_named(*loss, "encoder.out.weight"), {0.3F, 0, 0, 0});
    set(tensor_named(*loss, "encoder.out.bias"), {0.1F, -1});
    set(tensor_named(*context.network, "out.weight"), {1, -1, 0, 0});
    set(tensor_named(*context.network, "out.bias"), {0.2F, 0, -0.5F, 0.4F});
    const auto batch = examples(context, 0, 64);
    const auto values = (*loss)(support::denoiser(context), batch, 0.0, stream);
    const auto mean = 0.3 * batch.x.select(1, 0) + 0.1;
    const auto z = mean + std::exp(-0.5) * stream.stream("z").normal({64, 1}, at::kFloat).select(1, 0);
    const auto term = [&](const Tensor& off, double log_s2) {
        return 0.5 * (std::log(2 * std::numbers::pi) + log_s2 + off.square() * std::exp(-log_s2));
    };
    const auto reconstruction = term(batch.x.select(1, 0) - (z + 0.2), -0.5) + term(batch.x.select(1, 1) + z, 0.4);
    const auto kl = 0.5 * (mean.square() + std::exp(-1.0) - 1 + 1);
    CHECK(distance(values.objectives[0].value, (reconstruction + 0.5 * kl) / 2) < 1e-5);
    CHECK(says(complaint_of([&] { make<dtk::Loss>("vae", "latent = 3", context); }), "`latent` = 3"));
    CHECK(says(complaint_of([&] { make<dtk::Model>("decoder", "latent = 3", context); }), "`latent` = 3"));
}

TEST_CASE("a penalised GAN comes to rest where the laws agree, and one without goes around them") {
    // A linear critic sees the mean alone: Mescheder et al. 2018, section 2. G(z) = z w + b.
    for (const std::string pairing : {"relativistic", "separate"})
        for (const auto& [penalty, gamma] : {std::pair("data", 1.0), std::pair("both", 1.0), std::pair("data", 0.0)}) {
            auto context = normal("decoder", "levels = 0", "preset = \"none\"\nmeans = [[0.7]]\nstd = [0.05]");
            const auto loss = make<dtk::Loss>(
                "gan",
                fmt::format("levels = 0\npairing = \"{}\"\npenalty = \"{}\"\ngamma = {:.1f}", pairing, penalty, gamma),
                context);
            auto& slope = tensor_named(*loss, "critic.out.weight");
            auto &weight = tensor_named(*context.network, "out.weight"),
                 &shift = tensor_named(*context.network, "out.bias");
            {
                at::NoGradGuard no_grad;
                slope.fill_(0);
                weight.fill_(0.05);
                shift.fill_(0);
            }
            double last = 0;
            train(
                context, *loss, "sgd", 600, [](int) { return 0.1; }, 64,
                [&](int i) {
                    if (i >= 500)
                        last = std::max(last, std::abs(shift.item<double>() - 0.7) + std::abs(slope.item<double>()));
                });
            INFO(pairing << ", " << penalty << ", γ " << gamma << ": " << last);
            if (gamma > 0)
                CHECK(last < 0.05);
            else if (pairing == "relativistic")
                CHECK(last > 0.3);
        }
}

TEST_CASE("what a GAN minimises: the slope of its critic, and each network its own objective") {
    auto context = normal("decoder", "levels = 1\nchannels = 8", "preset = \"ring8\"");
    const auto loss = make<dtk::Loss>("gan", "levels = 0\ngamma = 3\npenalty = \"both\"", context);
    const auto batch = examples(context, 0, 32);
    const auto values = (*loss)(support::denoiser(context), batch, 0.0, stream);
    REQUIRE(values.objectives.size() == 2);
    CHECK(values.objectives[0].trains == "model");
    CHECK(values.objectives[1].trains == "loss");
    CHECK_FALSE(values.objectives[0].error_of);
    // A linear critic has one slope everywhere, at data and at what is made.
    const auto w = tensor_named(*loss, "critic.out.weight").detach();
    const double slope2 = w.square().sum().item<double>();
    const auto z = context.chain->prior({32, 2}, at::kFloat, stream.stream("start"), 9);
    const auto made = context.network->forward(z, 9.0, {}).value.detach();
    const auto apart = at::mv(batch.x - made, w.squeeze(0));
    CHECK(distance(values.objectives[0].value, at::softplus(apart)) < 1e-5);
    CHECK(distance(values.objectives[1].value, at::softplus(-apart) + 0.5 * 3 * 2 * slope2) < 1e-5);
    const auto alone =
        make<dtk::Loss>("gan", "levels = 0\ngamma = 3\npenalty = \"data\"\npairing = \"separate\"", context);
    const auto separate = (*alone)(support::denoiser(context), batch, 0.0, stream);
    const auto bias = tensor_named(*alone, "critic.out.bias").detach();
    const auto of_data = at::mv(batch.x, w.squeeze(0)) + bias, of_made = at::mv(made, w.squeeze(0)) + bias;
    CHECK(distance(separate.objectives[0].value, at::softplus(-of_made)) < 1e-5);
    CHECK(distance(separate.objectives[1].value, at::softplus(-of_data) + at::softplus(of_made) + 1.5 * slope2) < 1e-5);
    // Asked without gradients, as validation does, it answers the same.
    at::NoGradGuard no_grad;
    CHECK(distance((*loss)(support::denoiser(context), batch, 0.0, stream).objectives[1].value,
                   values.objectives[1].value) == 0);
}

TEST_CASE("one_nn tells what a fitted Gaussian would have, and true samples are better") {
    at::NoGradGuard no_grad;
    for (const auto& [data, least, most] :
         {std::tuple("preset = \"ring8\"", 0.6, 1.0),
          std::tuple("preset = \"none\"\nmeans = [[0.7, 1.0]]\nstd = [0.5]", 0.45, 0.55)}) {
        auto context = normal("decoder", "", data);
        const auto metric = make<dtk::Metric>("one_nn", "gaussian = 20000\nmost = 1000\nrepeats = 2", context);
        const auto found = metric->evaluate(support::input(context, examples(context, 1 << 20, 1000).x), stream);
        REQUIRE(found.parts.size() == 1);
        INFO(data << ": " << found.value << ", of a Gaussian " << found.parts[0].second);
        CHECK(found.parts[0].first == "of a Gaussian");
        CHECK(found.parts[0].second > least);
        CHECK(found.parts[0].second < most);
        CHECK(found.value == Approx(0.5).margin(0.05));
    }
}

TEST_CASE("decoders make images of the right size from the numbers they read") {
    struct Pictures final : dtk::Dataset {
        std::vector<std::int64_t> shape() const override { return {3, 8, 12}; }
        std::int64_t size() const override { return 0; }
        dtk::Batch examples(const Tensor& index) const override {
            return {.x = stream.samples(index).normal({index.size(0), 3, 8, 12}, at::kFloat)};
        }
        dtk::Batch test_examples(const Tensor& index) const override { return examples(index + 1000000); }
    };
    support::BuildContext context;
    context.data = std::make_shared<Pictures>();
    context.chain = make<dtk::Process>("gaussian", "steps = 10\nschedule = {use = \"edm\", sigma_max = 80}", context);
    const auto model =
        make<dtk::Model>("decoder", "latent = 5\nchannels = 4\nlevels = 2\nvariance = \"direct\"", context);
    const auto z = stream.normal({2, 3, 8, 12}, at::kFloat);
    const auto made = model->forward(80 * z, 9.0, {});
    CHECK(made.value.sizes() == z.sizes());
    REQUIRE(made.variance);
    CHECK(made.variance->sizes() == z.sizes());
    auto other = z.flatten(1).clone();
    other.slice(1, 5).add_(1);
    CHECK(distance(model->forward(80 * other.view_as(z), 9.0, {}).value, made.value) == 0);
    other.select(1, 4).add_(1);
    CHECK(distance(model->forward(80 * other.view_as(z), 9.0, {}).value, made.value) > 0);
    CHECK(says(complaint_of([&] { make<dtk::Model>("decoder", "levels = 3", context); }), "doublings"));
    context.network = model;
    CHECK(says(complaint_of([&] { make<dtk::Sampler>("decode", "steps = 2", context); }), "one step"));
}
