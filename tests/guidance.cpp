// Guidance held against what it does to Gaussian laws, which is known exactly.
#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/ranges.h>

#include <dtk/guidance.hpp>
#include <dtk/schedule.hpp>

#include "catch.hpp"
#include "complaint.hpp"
#include "product.hpp"
#include "support.hpp"

using at::Tensor;
using support::distance;
using support::make;

namespace {

constexpr double sigma_max = 80;

support::BuildContext chain(const std::string& schedule = "{use = \"edm\", sigma_max = 80}") {
    support::BuildContext context;
    context.data = make<dtk::Dataset>("gaussian_mixture", "preset = \"gmm1d\"", context);
    context.chain = make<dtk::Process>("gaussian", "schedule = " + schedule, context);
    return context;
}

/// The exact denoiser of N(mean, sd²) told the condition and of N(0, spread²) told nothing, element by element.
dtk::Denoiser two_laws(const support::BuildContext& context, double mean, double sd, double spread,
                       std::int64_t* asked = nullptr) {
    const auto& process = dtk::gaussian(*context.chain, "the test");
    const auto ask = [&process, mean, sd, spread, asked](const Tensor& x, const dtk::Time& t,
                                                         const dtk::Condition& told) {
        if (asked) *asked += x.size(0);
        const auto s2 = square(process.sigma(t) / process.alpha(t)).beside(x);
        const auto y = x / process.alpha(t);
        const auto with = (s2 * mean + sd * sd * y) / (s2 + sd * sd),
                   without = spread * spread * y / (s2 + spread * spread);
        if (!told.given.defined()) return dtk::Prediction{dtk::PredictionType::x0, with, {}};
        std::vector<std::int64_t> sizes(static_cast<std::size_t>(x.dim()), 1);
        sizes[0] = -1;
        return dtk::Prediction{dtk::PredictionType::x0, at::where(told.given.view(sizes), with, without), {}};
    };
    return {context.chain, ask, {.label = at::zeros({2}, at::kLong)}};
}

struct Law {
    Tensor mean, sd;  ///< of each element
};

/// What becomes of N(0, 80²): the flow of a Gaussian law is affine, so two starting points tell it.
Law flowed(const support::BuildContext& context, const dtk::Denoiser& denoise) {
    at::NoGradGuard no_grad;
    const auto sampler = make<dtk::Sampler>(
        "heun", "steps = 4000\ngrid = {use = \"karras\", sigma_min = 1e-4, sigma_max = 80}", context);
    const auto x = at::tensor({0.0, 1.0}, at::kDouble).unsqueeze(1);
    const auto y = sampler->sample(denoise, sampler->times(*context.chain), x, dtk::Random(1, "guidance"));
    return {y[0], (y[1] - y[0]).abs() * sigma_max};
}

dtk::Denoiser guided(const support::BuildContext& context, const std::string& name, const std::string& fields,
                     const dtk::Denoiser& denoise) {
    static std::vector<std::shared_ptr<dtk::Guidance>> kept;
    kept.push_back(make<dtk::Guidance>(name, fields, context));
    return kept.back()->around(denoise);
}

/// What guidance is shown that stands on a trained network, by the network's name.
struct WithTrained final : support::BuildContext {
    std::map<std::string, dtk::TrainedNetwork> networks;
    dtk::TrainedNetwork trained(const dtk::Reference& reference) const override {
        return networks.at(reference.name());
    }
};

dtk::Prediction asked_once(const dtk::Denoiser& denoise) {
    return denoise(at::tensor({0.3, -1.2}, at::kDouble).unsqueeze(1), 400);
}

}  // namespace

TEST_CASE("classifier-free guidance of two Gaussian laws ends with the deviation s_c^w s_u^(1−w)") {
    const auto context = chain();
    for (const auto& [w, sd, spread] : {std::tuple(2.0, 0.5, 1.0), std::tuple(4.0, 0.5, 1.0), std::tuple(2.0, 0.3, 1.2),
                                        std::tuple(1.0, 0.5, 1.0), std::tuple(0.0, 0.5, 1.0)}) {
        const auto fields = fmt::format("scale = {:.1f}", w);
        const auto law = flowed(context, guided(context, "classifier_free", fields, two_laws(context, 0, sd, spread)));
        INFO(w << ", " << sd << ", " << spread << ": " << law.sd.item<double>());
        CHECK(law.sd.item<double>() == Approx(std::pow(sd, w) * std::pow(spread, 1 - w)).epsilon(1e-3));
    }
    // The mean is that of the flow and not that of the tilted law p_c^w p_u^(1−w), which is 1.143 for w = 2.
    const auto law = flowed(context, guided(context, "classifier_free", "scale = 2", two_laws(context, 1, 0.5, 1)));
    CHECK(law.mean.item<double>() == Approx(1.3739).margin(1e-3));
}

TEST_CASE("classifier-free guidance of a mixture towards a component gives the reference samples") {
    at::NoGradGuard no_grad;
    for (const std::string schedule : {"linear", "cosine"})
        for (const std::string data : {"gmm1d", "gmm2d"}) {
            const auto& law = support::reference()["constants"][data];
            std::vector<double> covariance;
            for (const auto& row : law["cov"][1])
                for (const auto& value : row) covariance.push_back(value);
            const auto of = [&](const std::string& fields) {
                return support::exact("gaussian_mixture", fields, fmt::format("schedule = \"{}\"", schedule),
                                      "prediction = \"eps\"");
            };
            const auto all = of(fmt::format("preset = \"{}\"", data));
            const auto one = of(fmt::format("preset = \"none\"\nmeans = [{}]\ncovariances = [[{}]]",
                                            law["mu"][1].dump(), fmt::join(covariance, ", ")));
            const auto ask = [&](const Tensor& x, const dtk::Time& t, const dtk::Condition& told) {
                auto with = one.network->forward(x, t, told);
                if (told.given.defined())
                    with.value = at::where(told.given.unsqueeze(1), with.value, all.network->forward(x, t, told).value);
                return with;
            };
            const dtk::Denoiser denoise(all.chain, ask, {.label = at::zeros({1}, at::kLong)});
            const auto ddim = make<dtk::Sampler>("ddim", "steps = 20\ngrid = \"trailing\"", all);
            const auto& known = support::reference()["vp_samplers"][schedule][data];
            for (const double scale : support::reference()["constants"]["guidance_scales"]) {
                INFO(schedule << ", " << data << ", scale " << scale);
                const auto guided_one = guided(all, "classifier_free", fmt::format("scale = {:.1f}", scale), denoise);
                const auto x = ddim->sample(guided_one, ddim->times(*all.chain), support::tensor(known["x_T"]),
                                            dtk::Random(1, "guidance"));
                const auto expected =
                    support::tensor(known["cfg_class1_ddim_trailing_20"][fmt::format("scale_{:g}", scale)]);
                CHECK(distance(x, expected) < 1e-9 * std::max(1.0, expected.abs().max().item<double>()));
            }
        }
}

TEST_CASE("scale 1 asks the conditional network alone, scale 0 the unconditional one, to the bit") {
    const auto context = chain();
    std::int64_t asked = 0;
    const auto denoise = two_laws(context, 1, 0.5, 1, &asked);
    const auto with = asked_once(denoise), without = asked_once(denoise.with(denoise.condition().null(2)));
    for (const char* name : {"classifier_free", "rescale", "apg", "cfg_zero"}) {
        INFO(name);
        asked = 0;
        CHECK(at::equal(asked_once(guided(context, name, "scale = 1", denoise)).value, with.value));
        CHECK(asked == 2);
    }
    asked = 0;
    CHECK(at::equal(asked_once(guided(context, "classifier_free", "scale = 0", denoise)).value, without.value));
    CHECK(asked == 2);
    asked = 0;
    asked_once(guided(context, "classifier_free", "scale = 3", denoise));
    CHECK(asked == 4);
}

TEST_CASE("a network asked without its condition does not see the label, and its answer is no class's") {
    struct Dropping final : support::BuildContext {
        bool drops_conditions() const override { return true; }
    } context;
    context.data = make<dtk::Dataset>("gaussian_mixture", "preset = \"gmm2d\"\nlabels = true", context);
    context.chain = make<dtk::Process>("gaussian", "", context);
    const auto classes = context.data->classes();
    REQUIRE(classes == 3);
    const auto model = make<dtk::Model>("mlp", "width = 8\ndepth = 1\nconditional = true", context);
    at::NoGradGuard no_grad;
    for (const auto& named : model->named_tensors())
        if (named.trained) named.tensor->add_(dtk::Random(5, named.name).normal(named.tensor->sizes(), at::kFloat));
    const dtk::Denoiser denoise(context.chain, [&](const Tensor& x, const dtk::Time& t, const dtk::Condition& told) {
        return model->forward(x, t, told);
    });
    const auto x = at::full({classes, 2}, 0.3, at::kFloat);
    const auto told = denoise.with({.label = at::arange(classes, at::kLong)});
    const auto [with, without] = dtk::both_halves(told, x, 400, told.condition());
    CHECK(distance(with.value, told(x, 400).value) < 1e-4);
    CHECK(distance(without.value, without.value[0].expand_as(x)) < 1e-4);
    for (std::int64_t i = 0; i < classes; ++i) CHECK(distance(without.value[0], with.value[i]) > 0.1);
}

TEST_CASE("guidance between two noise levels only") {
    // s_c [ (lo² + s_c²)(hi² + s_u²) / ((hi² + s_c²)(lo² + s_u²)) ]^((w−1)/2)
    const auto context = chain();
    for (const auto& [w, low, high] : {std::tuple(3.0, 0.19, 1.61), std::tuple(2.0, 0.28, 5.42)}) {
        const double c = 0.25, u = 1;
        const double expected =
            0.5 * std::pow((low * low + c) * (high * high + u) / ((high * high + c) * (low * low + u)), (w - 1) / 2);
        const auto fields =
            fmt::format("of = {{use = \"classifier_free\", scale = {:.1f}}}\nlow = {}\nhigh = {}", w, low, high);
        const auto law = flowed(context, guided(context, "interval", fields, two_laws(context, 0, 0.5, 1)));
        INFO(law.sd.item<double>() << " against " << expected);
        CHECK(law.sd.item<double>() == Approx(expected).epsilon(1e-3));
    }
    // low < σ/α ≤ high, whatever α is.
    const auto other = chain("\"flow\"");
    const auto denoise = two_laws(other, 1, 0.5, 1);
    const double ratio = other.chain->levels().ratio(400);
    for (const auto& [ends, acts] :
         {std::pair{fmt::format("high = {:.17g}", ratio), true},
          {fmt::format("low = {:.17g}", ratio), false},
          {fmt::format("low = {:.17g}\nhigh = {:.17g}", 0.99 * ratio, 1.01 * ratio), true}}) {
        INFO(ends);
        CHECK((distance(asked_once(guided(other, "interval", ends, denoise)).value, asked_once(denoise).value) > 0.1) ==
              acts);
    }
}

TEST_CASE("in one dimension all of the difference lies along the answer") {
    const auto context = chain();
    const auto denoise = two_laws(context, 1, 0.5, 1);
    CHECK(distance(asked_once(guided(context, "apg", "scale = 4\neta = 0", denoise)).value, asked_once(denoise).value) <
          1e-12);
    CHECK(distance(asked_once(guided(context, "apg", "scale = 4\neta = 1", denoise)).value,
                   asked_once(guided(context, "classifier_free", "scale = 4", denoise)).value) < 1e-12);
}

TEST_CASE("apg projects in many dimensions, limits the difference and remembers the step before") {
    const auto context = chain();
    const auto ask = [](const Tensor& x, const dtk::Time&, const dtk::Condition& told) {
        const auto with = at::tensor({1.0, 0.0, 2.0}, at::kDouble).expand_as(x);
        const auto without = at::tensor({0.5, 1.0, 0.0}, at::kDouble).expand_as(x);
        const auto given = told.given.defined() ? told.given : at::ones({x.size(0)}, at::kBool);
        return dtk::Prediction{dtk::PredictionType::x0, at::where(given.unsqueeze(1), with, without), {}};
    };
    const dtk::Denoiser denoise(context.chain, ask, {.label = at::zeros({1}, at::kLong)});
    const auto x = at::zeros({1, 3}, at::kDouble);
    const auto d = at::tensor({1.0, 0.0, 2.0}, at::kDouble), delta = at::tensor({0.5, -1.0, 2.0}, at::kDouble);
    const auto across = delta - (delta.dot(d) / d.dot(d)) * d;
    CHECK(distance(guided(context, "apg", "scale = 3", denoise)(x, 400).value[0], d + 2 * across) < 1e-12);
    const double norm = delta.norm().item<double>();
    CHECK(distance(guided(context, "apg", "scale = 3\nnorm = 1", denoise)(x, 400).value[0], d + 2 / norm * across) <
          1e-12);

    const auto walk = guided(context, "apg", "scale = 3\nmomentum = -0.5", denoise).begin(false);
    CHECK(distance(walk(x, 400).value[0], d + 2 * across) < 1e-12);
    CHECK(distance(walk(x, 400).value[0], d + 2 * across) < 1e-12);  // the same step: nothing is remembered yet
    walk.advance();
    CHECK(distance(walk(x, 300).value[0], d + 2 * 0.5 * across) < 1e-12);
}

TEST_CASE("rescaled guidance has the spread of the conditional answer") {
    const auto context = chain();
    const auto x = dtk::Random(1, "x").normal({2, 500}, at::kDouble);
    auto denoise = two_laws(context, 0.2, 0.5, 1);
    const auto with = denoise(x, 400).value;
    const auto full = guided(context, "rescale", "scale = 5\nphi = 1", denoise)(x, 400).value;
    CHECK(distance(full.std(1), with.std(1)) < 1e-10);
    CHECK(distance(guided(context, "rescale", "scale = 5\nphi = 0", denoise)(x, 400).value,
                   guided(context, "classifier_free", "scale = 5", denoise)(x, 400).value) < 1e-12);
}

TEST_CASE("cfg_zero fits the scale of the unconditional velocity, and rests at the noisy end") {
    const auto context = chain("\"flow\"");
    const auto denoise = two_laws(context, 1, 0.5, 1);
    const auto guidance = guided(context, "cfg_zero", "scale = 3\nshare = 0.1", denoise);
    const auto x = at::tensor({0.3, -1.2}, at::kDouble).unsqueeze(1);
    CHECK((guidance(x, 950).value == 0).all().item<bool>());
    // In one dimension s* v_u is v_c itself.
    CHECK(distance(guidance.velocity(x, 500), denoise.velocity(x, 500)) < 1e-9);
}

TEST_CASE("thresholds keep the estimate in the range of the data, and ε̂ goes with it") {
    support::BuildContext context;
    context.data = make<dtk::Dataset>("dead_leaves", "size = 8", context);
    context.chain = make<dtk::Process>("gaussian", "", context);
    REQUIRE(context.data->range());
    const auto [least, most] = *context.data->range();
    const double middle = (least + most) / 2, half = (most - least) / 2;
    const dtk::Denoiser far(context.chain, [=](const Tensor& x, const dtk::Time&, const dtk::Condition&) {
        return dtk::Prediction{dtk::PredictionType::x0, middle + 2 * half * x, {}};
    });
    const auto x = at::stack({at::linspace(-0.2, 1, 64, at::kDouble), at::linspace(-0.4, 0.4, 64, at::kDouble)})
                       .view({2, 1, 8, 8});
    const auto away = 2 * half * x;
    // Of all elements of a sample, by linear interpolation; the second one lies inside and stays.
    const double s = 2 * half * (-0.2 + 1.2 * 0.9);
    const auto dynamic = at::stack({away[0].clamp(-s, s) * (half / s), away[1]}) + middle;
    for (const auto& [fields, expected] : {std::pair{"form = \"static\"", away.clamp(-half, half) + middle},
                                           {"form = \"dynamic\"\nquantile = 0.9", dynamic}}) {
        const auto kept = guided(context, "threshold", fields, far);
        CHECK(distance(kept.x0(x, 10), expected) < 1e-6 * half);
        const auto& process = dtk::gaussian(*context.chain, "the test");
        CHECK(distance(kept.eps(x, 10), (x - process.alpha(10) * expected) / process.sigma(10)) < 1e-4);
    }
}

TEST_CASE("guidance takes an example for one vector, whatever its shape, and has a time for each example") {
    support::BuildContext context;
    context.data = make<dtk::Dataset>("dead_leaves", "size = 8", context);  // which have a range
    context.chain = make<dtk::Process>("gaussian", "schedule = \"flow\"", context);
    // Answers of which no part is like another, and which leave the range.
    const double most = context.data->range().value().second;
    const auto ask = [&](const Tensor& x, const dtk::Time& t, const dtk::Condition& told) {
        auto sizes = x.sizes().vec(), rows = std::vector<std::int64_t>(sizes.size(), 1);
        sizes[0] = 1, rows[0] = -1;
        const auto weight = at::linspace(0.2, 3, x[0].numel(), x.options()).view(sizes);
        const auto with = dtk::gaussian(*context.chain, "the test").alpha(t) * (2 * most * (weight * x.square() - 1));
        return dtk::Prediction{dtk::PredictionType::x0,
                               told.given.defined() ? at::where(told.given.view(rows), with, weight.sqrt() * x) : with,
                               {}};
    };
    const dtk::Denoiser denoise(context.chain, ask, {.label = at::zeros({3}, at::kLong)});
    const auto flat = dtk::Random(1, "x").normal({3, 60}, at::kDouble);
    const auto t = at::tensor({100.0, 600.0, 970.0}, at::kDouble);
    for (const auto& [name, fields] : {std::pair{"classifier_free", "scale = 3"},
                                       {"rescale", "scale = 5\nphi = 0.6"},
                                       {"apg", "scale = 4\neta = 0.3\nnorm = 2"},
                                       {"cfg_zero", "scale = 3\nshare = 0.1"},
                                       {"interval", "of = {use = \"classifier_free\", scale = 3}\nlow = 0.5\nhigh = 5"},
                                       {"threshold", "quantile = 0.8"},
                                       {"threshold", "form = \"static\""}}) {
        INFO(name << ", " << fields);
        const auto one = guided(context, name, fields, denoise);
        const auto together = one.x0(flat, dtk::Time(t));
        CHECK(distance(one.x0(flat.view({3, 3, 4, 5}), dtk::Time(t)).view({3, 60}), together) < 1e-12);
        for (std::int64_t i = 0; i < 3; ++i)
            CHECK(distance(one.x0(flat.slice(0, i, i + 1), t[i].item<double>()), together.slice(0, i, i + 1)) < 1e-9);
    }
}

TEST_CASE("guidance is asked in the network's own type and answers the same whatever that is") {
    const auto context = chain("\"flow\"");
    const auto denoise = two_laws(context, 0.4, 0.5, 1.2);
    const auto x = dtk::Random(1, "x").normal({3, 4}, at::kDouble);
    for (const auto& [name, fields] : {std::pair{"classifier_free", "scale = 3"},
                                       {"apg", "scale = 4\neta = 0.3"},
                                       {"cfg_zero", "scale = 3"},
                                       {"interval", "of = {use = \"classifier_free\", scale = 3}\nhigh = 5"}}) {
        const auto expected = guided(context, name, fields, denoise).x0(x, 500);
        for (const char* type : {"eps", "v", "velocity", "score"}) {
            INFO(name << ", " << type);
            const auto other =
                denoise.replaced([&](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
                    const auto kind = dtk::prediction_type(type);
                    return dtk::Prediction{kind, context.chain->convert(denoise(x, t, condition), kind, x, t), {}};
                });
            CHECK(distance(guided(context, name, fields, other).x0(x, 500), expected) < 1e-9);
        }
    }
}

TEST_CASE("cfg_zero fits one scale to each example, and rests for exactly the share of the time that is named") {
    const auto context = chain("\"flow\"");
    const auto x = dtk::Random(1, "x").normal({2, 3}, at::kDouble), c = dtk::Random(1, "c").normal({2, 3}, at::kDouble),
               u = dtk::Random(1, "u").normal({2, 3}, at::kDouble);
    const dtk::Denoiser velocities(context.chain,
                                   [&](const Tensor&, const dtk::Time&, const dtk::Condition& told) {
                                       return dtk::Prediction{
                                           dtk::PredictionType::velocity,
                                           at::where(told.given.unsqueeze(1), c.repeat({2, 1}), u.repeat({2, 1})),
                                           {}};
                                   },
                                   {.label = at::zeros({2}, at::kLong)});
    const auto zero = guided(context, "cfg_zero", "scale = 3\nshare = 0.1", velocities);
    const auto fitted = ((c * u).sum(1) / u.square().sum(1)).unsqueeze(1) * u;
    CHECK(distance(zero.velocity(x, 899), fitted + 3 * (c - fitted)) < 1e-12);  // u = 0.9
    CHECK((zero.velocity(x, 899.5) == 0).all().item<bool>());
}

TEST_CASE("rescaled guidance is so far between the two as φ says") {
    const auto context = chain();
    const auto x = dtk::Random(1, "x").normal({2, 500}, at::kDouble);
    const auto denoise = two_laws(context, 0.2, 0.5, 1);
    const auto at_phi = [&](double phi) {
        return guided(context, "rescale", fmt::format("scale = 5\nphi = {:.1f}", phi), denoise)(x, 400).value;
    };
    CHECK(distance(at_phi(0.3), 0.3 * at_phi(1) + 0.7 * at_phi(0)) < 1e-12);
}

TEST_CASE("autoguidance of two Gaussian laws ends with the deviation good^w bad^(1−w), whatever they predict") {
    WithTrained context;
    static_cast<support::BuildContext&>(context) = chain();
    const auto good = two_laws(context, 0, 0.5, 1);
    for (const auto& [type, w] : {std::pair{"x0", 2.0}, {"eps", 3.0}}) {
        const auto worse =
            support::exact("gaussian_mixture", "preset = \"none\"\nmeans = [[0]]\nstd = [0.6]",
                           "schedule = {use = \"edm\", sigma_max = 80}", fmt::format("prediction = \"{}\"", type));
        context.networks["worse"] = {worse.network, worse.chain, {}};
        const auto fields = fmt::format("bad = \"worse\"\nscale = {:.1f}", w);
        const auto law = flowed(context, guided(context, "autoguidance", fields, good));
        INFO(type << ", " << w << ": " << law.sd.item<double>());
        CHECK(law.sd.item<double>() == Approx(std::pow(0.5, w) * std::pow(0.6, 1 - w)).epsilon(1e-3));
    }
}

namespace {
/// log w_k N(x; α μ_k, α² v_k + σ²) of the parts of a mixture on the line, element by element: the exact classifier.
struct ExactClassifier final : dtk::Model {
    struct Part {
        double weight, mean, variance;
    };
    std::vector<Part> parts;
    std::shared_ptr<dtk::Process> process;
    dtk::PredictionType predicts() const override { return dtk::PredictionType::label; }
    dtk::Prediction forward(const Tensor& x, const dtk::Time& t, const dtk::Condition&) override {
        const auto& chain = dtk::gaussian(*process, "the test");
        std::vector<Tensor> logs;
        for (const auto& [weight, mean, variance] : parts) {
            const auto v = (square(chain.alpha(t)) * variance + square(chain.sigma(t))).beside(x);
            const auto off = x - (chain.alpha(t) * mean).beside(x);
            logs.push_back((std::log(weight) - 0.5 * (v.log() + off.square() / v)).flatten(1).sum(1));
        }
        return {predicts(), at::stack(logs, 1), {}};
    }
};
}  // namespace

TEST_CASE("classifier guidance with the exact classifier is the exact denoiser of the class, in both forms") {
    at::NoGradGuard no_grad;
    for (const std::string schedule : {"\"linear\"", "{use = \"edm\", sigma_max = 80}"}) {
        WithTrained context;
        static_cast<support::BuildContext&>(context) =
            support::exact("gaussian_mixture", "preset = \"gmm1d\"", "schedule = " + schedule);
        auto classifier = std::make_shared<ExactClassifier>();
        classifier->parts = {{0.3, -2, 0.25}, {0.5, 0.5, 0.09}, {0.2, 3, 0.5}};
        classifier->process = context.chain;
        context.networks["classifier"] = {classifier, context.chain, {}};
        const auto of_class = support::exact("gaussian_mixture", "preset = \"none\"\nmeans = [[0.5]]\nstd = [0.3]",
                                             "schedule = " + schedule);
        const auto told = support::denoiser(context).with({.label = at::ones({9}, at::kLong)});
        for (const double t : {20.0, 400.0, 700.5}) {
            const auto& noise = context.chain->levels();
            const auto x =
                (at::linspace(-3, 4, 9, at::kDouble) * std::hypot(noise.alpha(t), noise.sigma(t))).unsqueeze(1);
            const auto plain = told.score(x, t), exact = support::denoiser(of_class).score(x, t);
            const double tolerance = 1e-5 * exact.abs().max().item<double>();  // slopes are of float32 logits
            for (const double scale : {1.0, 2.5}) {
                INFO(schedule << ", t = " << t << ", scale " << scale);
                const auto fields = fmt::format("of = \"classifier\"\nscale = {:.1f}", scale);
                CHECK(distance(guided(context, "classifier", fields, told).score(x, t),
                               plain + scale * (exact - plain)) < scale * tolerance);
                // Every reverse step N(μ, Σ) is moved by s Σ ∇ log p(c | x).
                const double s = t - 15;
                const auto step = told.reverse(x, t, s, "large"),
                           moved = guided(context, "classifier", fields + "\nform = \"mean\"", told)
                                       .reverse(x, t, s, "large");
                CHECK(distance(moved.mean, step.mean + scale * noise.added_variance(t, s) * (exact - plain)) <
                      scale * tolerance * noise.added_variance(t, s));
                CHECK(at::equal(moved.variance, step.variance));
            }
        }
    }
}

TEST_CASE("every field of every guidance does something") {
    // Pictures, which have a range, vectors of which ten numbers are seen through a matrix, and chains in space.
    WithTrained pictures, vectors, chains;
    chains.data = make<dtk::Dataset>("polymer", "length = 8", chains);
    pictures.data = make<dtk::Dataset>("dead_leaves", "size = 4", pictures);
    std::string rows, means = "0.1", sds = "1";
    for (int i = 0; i < 12; ++i) {
        std::string row;
        for (int j = 0; j < 12; ++j) row += fmt::format("{}{:.3f}", j ? ", " : "", std::sin(3.0 * i + 0.7 * j * j + 1));
        if (i < 10) rows += fmt::format("{}[{}]", i ? ", " : "", row);
        if (i > 0) means += ", 0.1";
    }
    vectors.data = make<dtk::Dataset>(
        "gaussian_mixture", fmt::format("preset = \"none\"\nmeans = [[{}]]\nstd = [{}]", means, sds), vectors);
    vectors.seen = make<dtk::Observation>("matrix", fmt::format("rows = [{}]\nexample = 1\nsd = 0.4", rows), vectors);
    for (auto* context : {&pictures, &vectors, &chains})
        context->chain = make<dtk::Process>("gaussian", "schedule = \"flow\"", *context);
    const auto classifier = std::make_shared<ExactClassifier>();
    classifier->parts = {{0.4, -1, 1}, {0.6, 1, 0.5}};
    classifier->process = vectors.chain;
    vectors.networks = {{"classifier", {classifier, vectors.chain, {}}},
                        {"worse", {make<dtk::Model>("exact", "", vectors), vectors.chain, {}}}};
    const auto shown = [&](const std::string& name, const std::string& fields) -> std::optional<Tensor> {
        at::NoGradGuard no_grad;
        const std::map<std::string, std::string> needed{{"autoguidance", "bad = \"worse\"\n"},
                                                        {"classifier", "of = \"classifier\"\n"}};
        const bool of_chains = name == "symmetry" || name == "potential";
        const auto& context = name == "threshold" ? pictures : of_chains ? chains : vectors;
        const auto guidance =
            make<dtk::Guidance>(name, (needed.contains(name) ? needed.at(name) : "") + fields, context);
        auto sizes = context.data->shape();
        sizes.insert(sizes.begin(), 2);
        const auto x = dtk::Random(1, "x").normal(sizes, at::kDouble);
        const auto walk = guidance->around(support::told(context, two_laws(context, 0.4, 0.5, 1.2), x)).begin(false);
        const auto early = walk.x0(x, 500);
        walk.advance();
        return at::cat({early, walk.x0(x, 400), walk.x0(x, 20), walk.reverse(x, 400, 350, "small").mean});
    };
    CHECK(product::idle_fields("guidance", shown) == std::vector<std::string>{});
    const auto names = support::registry().names("guidance");
    CHECK(std::ranges::count_if(names, [&](const std::string& name) { return shown(name, "").has_value(); }) > 10);
}

TEST_CASE("the exact denoiser that is told the class is that of its component, and of all where it is told nothing") {
    const std::string process = "schedule = \"cosine\"";
    const auto all = support::exact("gaussian_mixture", "preset = \"gmm1d\"\nlabels = true", process);
    const auto told = make<dtk::Model>("exact", "conditional = true", all);
    CHECK(told->knows_null_condition());
    CHECK_FALSE(all.network->knows_null_condition());
    const auto x = at::tensor({-2.1, 0.2, 1.4, 3.3}, at::kDouble).unsqueeze(1);
    const auto label = at::tensor({0, 1, 2, 1}, at::kLong);
    const std::vector<std::pair<double, double>> parts{{-2, 0.25}, {0.5, 0.09}, {3, 0.5}};  // mean, variance
    for (const double t : {5.0, 400.0, 950.0}) {
        const auto& l = all.chain->levels();
        std::vector<double> expected;
        for (std::int64_t i = 0; i < 4; ++i) {
            const auto [mean, variance] = parts[static_cast<std::size_t>(label[i].item<std::int64_t>())];
            const double off = x[i].item<double>() - l.alpha(t) * mean;
            expected.push_back(mean + l.alpha(t) * variance * off / (l.alpha_bar(t) * variance + l.sigma2(t)));
        }
        const auto given = at::tensor({1, 1, 0, 1}).to(at::kBool);
        const auto known = told->forward(x, t, {.label = label}).value;
        CHECK(distance(known, at::tensor(expected, at::kDouble).unsqueeze(1)) < 1e-10);
        const auto of_all = all.network->forward(x, t, {}).value;
        CHECK(distance(told->forward(x, t, {.label = label, .given = given}).value,
                       at::where(given.unsqueeze(1), known, of_all)) < 1e-12);
        CHECK(distance(known, of_all) > 1e-6);
    }
    CHECK(says(complaint_of([&] { told->forward(x, 5.0, {}); }), "no labels"));
    const auto without = support::exact("gaussian_mixture", "preset = \"gmm1d\"", process);
    CHECK(says(complaint_of([&] { make<dtk::Model>("exact", "conditional = true", without); }), "`conditional`"));
}
