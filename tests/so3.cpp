// IGSO(3) against its sum over characters with 200 digits, draws against that sum's distribution function, and the
// diffusion of rotations against laws it must keep.
#include <cmath>
#include <numbers>

#include <dtk/rotations.hpp>

#include "catch.hpp"
#include "support.hpp"

using at::Tensor;
using dtk::PredictionType;
using support::distance;
using support::make;

namespace {

constexpr double pi = std::numbers::pi;
const dtk::Random stream(3, "so3");

const nlohmann::json& reference() {
    static const auto values = nlohmann::json::parse(dtk::read_file(DTK_TEST_DATA "/igso3.json"));
    return values;
}

double number(const nlohmann::json& text) { return std::stod(text.get<std::string>()); }
Tensor one(double value) { return at::full({1}, value, at::kDouble); }
double density(double angle, double sigma) {
    return std::exp(dtk::igso3_log_density(one(angle), one(sigma)).item<double>());
}
double score(double angle, double sigma) { return angle * dtk::igso3_slope(one(angle), one(sigma)).item<double>(); }
double quantile(double u, double sigma) {
    return dtk::igso3_quantile(one(u).unsqueeze(0), one(sigma), dtk::igso3_cumulative(one(sigma))).item<double>();
}

/// The angle's distribution function, by characters, integrated term by term.
Tensor cumulative(const Tensor& w, double sigma) {
    auto P = w - w.sin();
    for (int l = 1; l < 10 / sigma + 2; ++l)
        P = P + (2 * l + 1) * std::exp(-0.5 * l * (l + 1) * sigma * sigma) *
                    ((l * w).sin() / l - ((l + 1) * w).sin() / (l + 1));
    return P / pi;
}

/// √n times Kolmogorov and Smirnov's distance of values in 0 … 1 from the uniform law; above 1.95 once in a thousand
/// times.
double ks(const Tensor& u) {
    const auto n = u.numel();
    const auto sorted = std::get<0>(u.flatten().sort());
    const auto left = at::arange(n, at::kDouble) / n;
    return std::sqrt(static_cast<double>(n)) *
           at::maximum((sorted - left).max(), (left + 1.0 / n - sorted).max()).item<double>();
}
constexpr double ks_limit = 1.95;

support::BuildContext mixture(const std::string& process, const std::string& model = "prediction = \"eps\"",
                              const std::string& data = {}) {
    support::BuildContext context;
    context.data = make<dtk::Dataset>("rotation_mixture", data, context);
    context.chain = make<dtk::Process>("so3", process, context);
    context.network = make<dtk::Model>("exact", model, context);
    return context;
}

Tensor identity(std::int64_t n) { return at::eye(3, at::kDouble).expand({n, 3, 3}).contiguous(); }
Tensor time_of(double t, std::int64_t n) { return at::full({n}, t, at::kDouble); }
Tensor angle_of(const Tensor& R) { return dtk::rotation_vector(R).norm(2, -1); }
double off_rotations(const Tensor& R) {
    return std::max(distance(R.matmul(R.transpose(-1, -2)), at::eye(3, R.options())),
                    distance(at::linalg_det(R), at::ones({R.size(0)}, R.options())));
}

}  // namespace

TEST_CASE("IGSO(3) has the values known to six digits and more") {
    struct Row {
        double sigma, angle, f, score;
    };
    for (const auto& [sigma, angle, f, s] :
         {Row{0.1, 0.2, 6.804526e+02, -19.983322}, Row{0.1, 1.0, 1.009689e-18, -99.915244},
          Row{0.2, 2.0, 1.443571e-19, -49.821046}, Row{0.5, 0.5, 2.536108e+01, -1.958159},
          Row{0.5, 3.0, 9.772154e-07, -10.961779}, Row{1.0, 1.0, 3.593450, -0.915205},
          Row{1.0, 3.0, 0.1375634, -0.951283}, Row{1.5, 2.0, 1.046364, -0.542767},
          Row{2.02, 3.0, 0.9503354, -0.015037}}) {
        INFO("σ = " << sigma << ", ω = " << angle);
        CHECK(density(angle, sigma) == Approx(f).epsilon(5e-7));
        CHECK(std::abs(score(angle, sigma) - s) < 6e-7);
    }
}

TEST_CASE("IGSO(3) is its sum over characters with 200 digits") {
    double worst = 0;
    for (const auto& row : reference()["law"]) {
        const double sigma = row["sigma"], angle = row["angle"];
        INFO("σ = " << sigma << ", ω = " << angle);
        const double f =
            std::abs(dtk::igso3_log_density(one(angle), one(sigma)).item<double>() - number(row["log_density"]));
        const double slope =
            std::abs(dtk::igso3_slope(one(angle), one(sigma)).item<double>() / number(row["slope"]) - 1);
        CHECK(f < 1e-10);
        CHECK(slope < 1e-10);
        worst = std::max({worst, f, slope});
    }
    INFO("the worst of all: " << worst);
    CHECK(worst < 1e-11);
    CHECK(reference()["law"].size() > 150);
    for (const auto& row : reference()["quantiles"]) {
        const double sigma = row["sigma"], u = row["u"];
        INFO("σ = " << sigma << ", u = " << u);
        CHECK(quantile(u, sigma) == Approx(number(row["angle"])).epsilon(1e-10));
    }
    for (const auto& row : reference()["divergences"])
        CHECK(dtk::igso3_divergence(one(row["sigma"])).item<double>() == Approx(number(row["value"])).epsilon(1e-10));
}

TEST_CASE("the score is the slope of the log density, and the density integrates to one") {
    const auto angle = at::linspace(0.02, 3.12, 63, at::kDouble);
    for (const double sigma : {0.03, 0.3, 0.79, 0.81, 2.0}) {
        INFO("σ = " << sigma);
        const double h = 1e-4;
        const auto f = [&](double by) { return dtk::igso3_log_density(angle + by, one(sigma)); };
        const auto slope = (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h);
        const auto expected = angle * dtk::igso3_slope(angle, one(sigma));
        CHECK(((slope - expected).abs() / (1 + expected.abs())).max().item<double>() < 1e-8);
        const auto P = dtk::igso3_cumulative(one(sigma));
        CHECK(P.select(1, P.size(1) - 1).item<double>() == Approx(1).epsilon(1e-13));
    }
}

TEST_CASE("a rotation vector comes back from its matrix, at angles near 0 and π too") {
    const auto axis = stream.stream("axis").normal({40, 3}, at::kDouble);
    for (const double angle : {0.0, 1e-12, 1e-5, 0.7, 2.5, pi - 1e-5, pi - 1e-9}) {
        const auto v = axis / axis.norm(2, 1, true) * angle;
        INFO("angle " << angle);
        const auto R = dtk::rotation(v);
        CHECK(off_rotations(R) < 1e-14);
        CHECK(distance(dtk::rotation_vector(R), v) < 1e-15 + 4e-15 * angle);
        CHECK(distance(R.transpose(1, 2).matmul(v.unsqueeze(2)).squeeze(2), v) < 1e-14);
    }
    CHECK(distance(dtk::vee(dtk::hat(axis)), axis) == 0);
    CHECK(distance(dtk::hat(axis).bmm(axis.flip(0).unsqueeze(2)).squeeze(2), at::linalg_cross(axis, axis.flip(0))) <
          1e-14);
}

TEST_CASE("noise of rotations has the law of IGSO(3) and an even axis, whatever rotation it starts from") {
    const auto context = mixture("steps = 100");
    const auto& process = *context.chain;
    constexpr std::int64_t n = 5000;
    const auto x0 = dtk::uniform_rotations(stream.stream("x0"), {n, 3, 3}, at::kCPU);
    for (const std::int64_t t : {0, 10, 40, 60, 99}) {
        const double sigma = process.levels().sigma(static_cast<double>(t));
        INFO("σ = " << sigma);
        const auto xt = process.noised(x0, time_of(t, n), stream.stream("noise").step(t));
        CHECK(off_rotations(xt.x) < 1e-13);
        const auto v = dtk::rotation_vector(x0.transpose(1, 2).bmm(xt.x));
        // The noise is a unit axis and a share of all angles, whatever σ.
        const auto axis = xt.noise.select(1, 0).slice(1, 0, 3);
        CHECK(xt.noise.sizes() == at::IntArrayRef{n, 1, 4});
        CHECK(distance(axis.norm(2, 1), at::ones({n}, at::kDouble)) < 1e-14);
        CHECK(distance(v, axis * v.norm(2, 1, true)) < 1e-7);
        CHECK(distance(cumulative(v.norm(2, 1), sigma), xt.noise.select(1, 0).select(1, 3)) < 1e-7);
        CHECK(at::equal(process.mix(x0, xt.noise, static_cast<double>(t)), xt.x));
        CHECK(ks(cumulative(v.norm(2, 1), sigma)) < ks_limit);
        for (int i = 0; i < 3; ++i) CHECK(ks(0.5 + 0.5 * v.select(1, i) / v.norm(2, 1)) < ks_limit);
    }
    // One level for each row, and several rotations to an example.
    const auto frames = identity(4000).unsqueeze(1).expand({4000, 5, 3, 3}).contiguous();
    const auto t = at::arange(4000, at::kDouble).remainder(100);
    const auto angle = angle_of(process.noised(frames, t, stream.stream("frames")).x);
    CHECK(ks(cumulative(angle.slice(0, 30, 4000, 100), process.levels().sigma(30))) < ks_limit);
    CHECK(ks(cumulative(angle.slice(0, 99, 4000, 100), process.levels().sigma(99))) < ks_limit);
    // The prior is uniform: the angle from anywhere has (ω − sin ω)/π.
    const auto w = angle_of(process.prior({n, 3, 3}, at::kDouble, stream.stream("prior"), 99));
    CHECK(ks((w - w.sin()) / pi) < ks_limit);
}

TEST_CASE("many small steps of noise are one jump") {
    const auto context = mixture("steps = 100");
    constexpr std::int64_t n = 6000;
    auto x = identity(n);
    double variance = 0;
    for (int i = 0; i < 16; ++i) {
        const std::int64_t t = i % 3 == 0 ? 2 : 10;
        x = context.chain->noised(x, time_of(t, n), stream.stream("steps").step(i)).x;
        variance += context.chain->levels().sigma2(static_cast<double>(t));
    }
    INFO("σ = " << std::sqrt(variance));
    CHECK(ks(cumulative(angle_of(x), std::sqrt(variance))) < ks_limit);
    CHECK(ks(cumulative(angle_of(x), std::sqrt(variance) * 1.05)) > ks_limit);
}

TEST_CASE("the mixture's score is the gradient of its noisy density, and its examples have its law") {
    const auto context = mixture("steps = 100");
    const auto& density = dynamic_cast<const dtk::RotationDensity&>(*context.data->density());
    const auto x = dtk::uniform_rotations(stream.stream("points"), {50, 3, 3}, at::kCPU);
    for (const double sigma : {0.0, 0.3, 1.5}) {
        // The noisy mixture, as data of its own.
        const auto wider = [&](double s) { return std::sqrt(s * s + sigma * sigma); };
        const auto noisy = make<dtk::Dataset>(
            "rotation_mixture",
            fmt::format("sigma = [{:.17g}, {:.17g}, {:.17g}]", wider(0.15), wider(0.25), wider(0.2)), context);
        const auto got = density.score(x, at::full({50}, sigma, at::kDouble));
        constexpr double h = 1e-4;
        for (int i = 0; i < 3; ++i) {
            auto step = at::zeros({3}, at::kDouble);
            step[i] = h;
            const auto f = [&](double by) {
                return noisy->density()->log_prob(x.matmul(dtk::rotation(by * step)).view({-1, 9}));
            };
            const auto slope = (8 * (f(1) - f(-1)) - (f(2) - f(-2))) / (12 * h);
            CHECK(((slope - got.select(1, i)).abs() / (1 + got.abs().amax(1))).max().item<double>() < 1e-7);
        }
    }
    constexpr std::int64_t n = 20000;
    const auto drawn = context.data->test_examples(at::arange(n)).x;
    CHECK(off_rotations(drawn) < 2e-6);
    const auto log_p = density.log_prob(drawn.view({n, 9}).to(at::kDouble));
    CHECK(std::abs(-log_p.mean().item<double>() - density.entropy()) < 4 * density.log_prob_sd() / std::sqrt(n));
    CHECK(log_p.std().item<double>() == Approx(density.log_prob_sd()).epsilon(0.03));
    const auto weights = density.mode_weights();
    const auto counts = at::bincount(density.nearest_mode(drawn.view({n, 9})), {}, 3).to(at::kDouble) / n;
    for (int k = 0; k < 3; ++k) CHECK(std::abs(counts[k].item<double>() - weights[k]) < 4 * std::sqrt(weights[k] / n));
    // p integrates to 1 under Haar's measure.
    const auto anywhere = dtk::uniform_rotations(stream.stream("haar"), {50000, 3, 3}, at::kCPU);
    const auto p = make<dtk::Dataset>("rotation_mixture", "sigma = [0.5]", context)
                       ->density()
                       ->log_prob(anywhere.view({-1, 9}))
                       .exp();
    CHECK(std::abs(p.mean().item<double>() - 1) < 4 * p.std().item<double>() / std::sqrt(50000));
}

TEST_CASE("what a network would be told is the score, on average over x_0 that of the mixture") {
    const auto context = mixture("steps = 50");
    const auto& process = *context.chain;
    constexpr std::int64_t n = 2000;
    const auto x0 = context.data->test_examples(at::arange(n)).x.to(at::kDouble);
    const auto t = at::arange(n, at::kDouble).remainder(50);
    const auto xt = process.noised(x0, t, stream.stream("targets"));
    const auto score = process.target(PredictionType::score, x0, xt, t),
               eps = process.target(PredictionType::eps, x0, xt, t);
    CHECK(distance(process.convert({PredictionType::eps, eps, {}}, PredictionType::score, xt.x, t), score) <
          1e-12 * score.abs().max().item<double>());
    // From x_0 by its own way: x_0 may be scaled, and its third column does not count.
    const auto estimate = process.convert({PredictionType::x0, 1.7 * x0, {}}, PredictionType::eps, xt.x, t);
    CHECK(distance(estimate, eps) < 1e-4);
    // E[(target − exact) · exact] = 0: the exact score is the mean of the targets.
    const auto exact = context.network->forward(xt.x, t, {}).value;
    const auto product = ((eps - exact) * exact).flatten(1).sum(1);
    CHECK(std::abs(product.mean().item<double>()) < 4 * product.std().item<double>() / std::sqrt(n));
    CHECK(exact.square().mean().item<double>() > 0.1);
    CHECK(process.prior_term(x0)[0].item<double>() ==
          Approx(dtk::igso3_divergence(one(process.levels().sigma(49))).item<double>()));
}

TEST_CASE("the way back with the exact score ends at the mixture") {
    at::NoGradGuard no_grad;
    for (const std::string variance : {"small", "large"}) {
        const auto context = mixture("steps = 400");
        const auto sampler = make<dtk::Sampler>("ddpm", fmt::format("variance = \"{}\"", variance), context);
        constexpr std::int64_t n = 1000;
        const auto x = context.chain->prior({n, 3, 3}, at::kFloat, stream.stream(variance), 399);
        const auto samples =
            sampler->sample(support::denoiser(context), sampler->times(*context.chain), x, stream.stream(variance));
        CHECK(off_rotations(samples) < 1e-5);
        const dtk::EvaluationInput outcome{samples, *context.data, *context.chain, support::denoiser(context)};
        for (const char* metric : {"mode_coverage", "nll"}) {
            const auto result = make<dtk::Metric>(metric, "", context)->evaluate(outcome, stream);
            INFO(variance << ", " << metric << ": " << result.value << ", expected " << *result.expected << " ± "
                          << result.expected_sd);
            CHECK(result.passes() == true);
        }
    }
}

TEST_CASE("a process of rotations says what it has no answer for") {
    using Catch::Matchers::Contains;
    const auto context = mixture("steps = 10");
    const auto x = identity(2), t = time_of(3, 2);
    const dtk::Prediction eps{PredictionType::eps, x, {}};
    CHECK_THROWS_WITH(context.chain->bound_term(x, x, t, t - 1, eps, "small"), Contains("no closed form"));
    CHECK_THROWS_WITH(context.chain->convert(eps, PredictionType::x0, x, t), Contains("does not say what x_0 is"));
    CHECK_THROWS_WITH(context.chain->accept(PredictionType::v), Contains("no meaning"));
    CHECK_THROWS_WITH(mixture("schedule = { use = \"rotation\", sigma_max = 0.3 }"), Contains("far from the uniform"));
    CHECK_THROWS_WITH(mixture("", "prediction = \"x0\""), Contains("is their score"));
    CHECK_NOTHROW(mixture("steps = 30\nschedule = { use = \"linear_alpha_bar\" }"));
    support::BuildContext plane;
    plane.data = make<dtk::Dataset>("moons", "", plane);
    CHECK_THROWS_WITH(make<dtk::Process>("so3", "", plane), Contains("rotations"));
}
