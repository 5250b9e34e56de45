// The decoder of data that come in levels and the metric that reports the bound: both against sums that can be done
// exactly.
#include <cmath>
#include <numbers>

#include <dtk/schedule.hpp>

#include "catch.hpp"
#include "support.hpp"

using at::Tensor;
using support::make;

namespace {

/// Four images of two 8-bit pixels, none of them black or white.
struct FourImages final : dtk::Dataset {
    Tensor images = (at::tensor({30.0, 200.0, 90.0, 90.0, 128.0, 127.0, 220.0, 15.0}).view({4, 1, 1, 2}) / 127.5 - 1)
                        .to(at::kFloat);
    std::vector<std::int64_t> shape() const override { return {1, 1, 2}; }
    std::int64_t size() const override { return 4; }
    dtk::Batch examples(const Tensor& index) const override { return {.x = images.index_select(0, index)}; }
    dtk::Batch test_examples(const Tensor& index) const override { return examples(index); }
    std::optional<std::pair<double, double>> range() const override { return std::pair(-1.0, 1.0); }
    int levels() const override { return 256; }
};

support::BuildContext four_images(const std::string& process) {
    support::BuildContext context;
    context.data = std::make_shared<FourImages>();
    context.chain = make<dtk::Process>("gaussian", process, context);
    context.network = make<dtk::Model>("exact", "", context);
    context.network->train(false);
    return context;
}

dtk::MetricResult measured(const support::BuildContext& context, const std::string& fields,
                           const dtk::Random& random = dtk::Random(3, "metric")) {
    const auto metric = make<dtk::Metric>("bits_per_dim", fields, context);
    CHECK_FALSE(metric->needs_samples());
    return metric->evaluate({{}, *context.data, *context.chain, support::denoiser(context)}, random);
}

double part(const dtk::MetricResult& m, const std::string& name) {
    for (const auto& [key, value] : m.parts)
        if (key == name) return value;
    FAIL("no part " << name);
    return 0;
}

/// −log p(x_0 | x_1) of one pixel, x̂_0 = estimate, for every level.
Tensor every_level(const dtk::Process& process, double estimate) {
    const auto x0 = (at::arange(256, at::kDouble) / 127.5 - 1).view({256, 1});
    const auto t = at::zeros({256}, at::kDouble);
    return process.bound_term(x0, x0, t, t - 1, {dtk::PredictionType::x0, at::full_like(x0, estimate), {}}, "small");
}

}  // namespace

TEST_CASE("the levels' probabilities add up to 1 wherever the estimate is") {
    for (const char* schedule : {"linear", "cosine"}) {
        const auto context = four_images(fmt::format("schedule = \"{}\"", schedule));
        for (const double estimate : {-1.3, -1.0, -0.997, -0.2, 0.0, 0.00391, 0.8, 1.0, 2.5}) {
            INFO(schedule << ", " << estimate);
            CHECK((-every_level(*context.chain, estimate)).exp().sum().item<double>() == Approx(1).epsilon(1e-12));
        }
    }
}

TEST_CASE("a level's probability is the normal law's over its bin") {
    const auto context = four_images("schedule = \"linear\"");
    const auto& l = context.chain->levels();
    const double sigma = std::sqrt(l.posterior_variance(1, 0)), estimate = 0.1;
    const auto terms = every_level(*context.chain, estimate);
    const auto upto = [&](double x) { return 0.5 * std::erfc((estimate - x) / sigma / std::numbers::sqrt2); };
    for (const int level : {138, 139, 140, 141, 142, 143}) {
        const double x = level / 127.5 - 1, half = 1 / 255.0;
        CHECK(terms[level].item<double>() == Approx(-std::log(upto(x + half) - upto(x - half))).epsilon(1e-9));
    }
    // Far out the probability is too small for a difference of two numbers near 1, and its logarithm is still right:
    // log Φ(−z) = −z²/2 − log(z√2π) + log(1 − 1/z² + …).
    const double z = (estimate - (20 / 127.5 - 1 + 1 / 255.0)) / sigma;
    CHECK(terms[20].item<double>() ==
          Approx(z * z / 2 + std::log(z * std::sqrt(2 * std::numbers::pi)) + 1 / (z * z)).epsilon(1e-8));
}

TEST_CASE("the decoder of levels has a gradient everywhere") {
    const auto context = four_images("schedule = \"cosine\"");
    const auto x0 = at::tensor({-1.0, -1.0, 1.0, 1.0, 0.0}, at::kDouble).unsqueeze(1);
    auto estimate = at::tensor({-1.5, 1.5, -1.5, 1.5, 0.9}, at::kDouble).unsqueeze(1).set_requires_grad(true);
    const auto t = at::zeros({5}, at::kDouble);
    context.chain->bound_term(x0, x0, t, t - 1, {dtk::PredictionType::x0, estimate, {}}, "small").sum().backward();
    CHECK(at::isfinite(estimate.grad()).all().item<bool>());
    CHECK(estimate.grad()[1].item<double>() > 0);
    CHECK(estimate.grad()[2].item<double>() < 0);
}

TEST_CASE("a density is used where the data do not come in levels, and bins are refused there") {
    auto context = support::exact("gaussian_mixture", "", "");
    const auto x0 = at::zeros({1, 2}, at::kDouble), t = at::zeros({1}, at::kDouble);
    const double variance = context.chain->levels().posterior_variance(1, 0);
    CHECK(context.chain->bound_term(x0, x0, t, t - 1, {dtk::PredictionType::x0, x0, {}}, "small").item<double>() ==
          Approx(std::log(2 * std::numbers::pi * variance)));
    CHECK_THROWS_WITH(make<dtk::Process>("gaussian", "decoder = \"discretised\"", context),
                      Catch::Contains("needs data that come in levels"));
    // And of data that come in levels a density says nothing: no bits, however small their number.
    for (const std::string decoder : {"gaussian", "reversed"})
        for (const std::string schedule : {"linear", "cosine", "sohl_dickstein"}) {
            INFO(decoder << ", " << schedule);
            CHECK_THROWS_WITH(four_images("schedule = \"" + schedule + "\"\ndecoder = \"" + decoder + '"'),
                              Catch::Contains("is a density, and the data come in 256 levels"));
        }
    CHECK(Catch::Contains("of a density").match(measured(support::exact("gaussian_mixture", "", ""), "n = 4").note));
}

TEST_CASE("the bound on a mixture with the exact denoiser is the exact one") {
    const auto& elbo = support::reference()["elbo"]["gmm1d"];
    for (const char* schedule : {"linear", "cosine"}) {
        const auto context =
            support::exact("gaussian_mixture", "preset = \"gmm1d\"", fmt::format("schedule = \"{}\"", schedule));
        const auto& expected = elbo[schedule]["fixed_small"];
        const auto m = measured(context, "n = 20000\nbatch = 20000\ndraws = 60");
        INFO(schedule << ": " << m.value << " ± " << m.standard_error);
        CHECK(std::abs(m.value - expected["total_nats"].get<double>() / std::numbers::ln2) < 4 * m.standard_error);
        CHECK(m.standard_error < 0.03);
        CHECK(part(m, "prior") + part(m, "denoising") + part(m, "reconstruction") == Approx(m.value));
        CHECK(part(m, "prior") == Approx(expected["L_T_prior"].get<double>() / std::numbers::ln2).epsilon(0.05));
    }
}

TEST_CASE("the standard error is that of repeated measurements, and several steps lower it") {
    const auto context = support::exact("gaussian_mixture", "preset = \"gmm1d\"", "steps = 200\nschedule = \"cosine\"");
    std::vector<double> values, errors;
    for (int i = 0; i < 60; ++i) {
        const auto m = measured(context, "n = 400\nbatch = 400", dtk::Random(static_cast<std::uint64_t>(i), "metric"));
        values.push_back(m.value), errors.push_back(m.standard_error);
    }
    const double sd = at::tensor(values, at::kDouble).std().item<double>(),
                 said = at::tensor(errors, at::kDouble).mean().item<double>();
    INFO("sd " << sd << ", said " << said);
    CHECK(sd < 1.3 * said);  // the examples' own differences are counted in, so it may be larger
    CHECK(said < 3 * sd);
    CHECK(measured(context, "n = 400\nbatch = 400\ndraws = 16").standard_error < 0.6 * said);
}

TEST_CASE("one drawn step for each example estimates the sum over all of them") {
    for (const char* process : {"steps = 100\nschedule = \"cosine\"", "steps = 60\nschedule = \"linear\""}) {
        const auto context = four_images(process);
        const auto all = measured(context, "every_step = true"), drawn = measured(context, "draws = 2000");
        INFO(process << ": all steps " << all.value << " ± " << all.standard_error << ", drawn " << drawn.value << " ± "
                     << drawn.standard_error);
        CHECK(part(drawn, "reconstruction") == part(all, "reconstruction"));
        CHECK(part(drawn, "prior") == part(all, "prior"));
        // One noise for each image and step is what the full sum has drawn.
        CHECK(std::abs(drawn.value - all.value) < 4 * std::hypot(drawn.standard_error, all.standard_error));
    }
}

TEST_CASE("no bound on four equally probable images is below two bits") {
    const auto context = four_images("schedule = \"cosine\"");
    const auto m = measured(context, "every_step = true");
    CHECK(2 * m.value > 2);
    // At the first step the image is known, and each pixel costs the chance that the decoder leaves its bin.
    const double sigma = std::sqrt(context.chain->levels().posterior_variance(1, 0));
    CHECK(part(m, "reconstruction") ==
          Approx(-std::log2(std::erf(1 / 255.0 / sigma / std::numbers::sqrt2))).epsilon(1e-5));
    // Its denoising steps tell which image it is: two bits, and what steps of a fixed variance waste.
    CHECK(2 * part(m, "denoising") > 1.9);
    CHECK(2 * part(m, "denoising") < 4);
}

TEST_CASE("the batch changes no noise and no step") {
    const auto context = four_images("steps = 50\nschedule = \"cosine\"");
    const auto together = measured(context, "batch = 4\ndraws = 3"), apart = measured(context, "batch = 1\ndraws = 3");
    CHECK(together.value == Approx(apart.value).epsilon(1e-5));
}

TEST_CASE("a chain of one step and one without signal at its end are measured too") {
    CHECK(std::isfinite(
        measured(four_images("steps = 2\nschedule = {use = \"linear\", rescale = false}"), "draws = 10").value));
    CHECK(std::isfinite(measured(four_images("steps = 1\nschedule = {use = \"linear\", rescale = false}"), "").value));
}
