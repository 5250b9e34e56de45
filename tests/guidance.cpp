// Guidance held against what it does to Gaussian laws, which is known exactly.
#include <algorithm>
#include <cmath>

#include <fmt/ranges.h>

#include <dtk/guidance.hpp>
#include <dtk/schedule.hpp>

#include "catch.hpp"
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
Law flowed(const support::BuildContext& context, const dtk::Denoiser& denoise, std::int64_t elements = 1) {
    at::NoGradGuard no_grad;
    const auto sampler = make<dtk::Sampler>(
        "heun", "steps = 4000\ngrid = {use = \"karras\", sigma_min = 1e-4, sigma_max = 80}", context);
    const auto x = at::tensor({0.0, 1.0}, at::kDouble).unsqueeze(1).expand({2, elements}).contiguous();
    const auto y = sampler->sample(denoise, sampler->times(*context.chain), x, dtk::Random(1, "guidance"));
    return {y[0], (y[1] - y[0]).abs() * sigma_max};
}

dtk::Denoiser guided(const support::BuildContext& context, const std::string& name, const std::string& fields,
                     const dtk::Denoiser& denoise) {
    static std::vector<std::shared_ptr<dtk::Guidance>> kept;
    kept.push_back(make<dtk::Guidance>(name, fields, context));
    return kept.back()->around(denoise);
}

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

TEST_CASE("guidance acts on every channel alike") {
    const auto context = chain();
    const auto law = flowed(context, guided(context, "classifier_free", "scale = 2", two_laws(context, 0, 0.5, 1)), 4);
    CHECK(distance(law.sd, at::full({4}, 0.25, at::kDouble)) < 1e-3);
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
