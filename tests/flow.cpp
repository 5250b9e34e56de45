// What metrics say of samplers and networks that are known exactly: the probability flow of single samples, and the
// error of the predicted noise.
#include <cmath>
#include <numbers>

#include <dtk/schedule.hpp>

#include "catch.hpp"
#include "complaint.hpp"
#include "line.hpp"
#include "support.hpp"

using at::Tensor;
using support::make;

namespace {

const dtk::Random stream(17, "flow");

dtk::EvaluationInput outcome(const support::BuildContext& context, const Tensor& samples, const Tensor& start) {
    return {samples, *context.data, *context.chain, support::denoiser(context), at::kCPU, start};
}

dtk::MetricResult measured(const std::string& metric, const std::string& fields, const support::BuildContext& context,
                           const Tensor& samples = {}, const Tensor& start = {}) {
    return make<dtk::Metric>(metric, fields, context)->evaluate(outcome(context, samples, start), stream);
}

Tensor sampled(const std::string& sampler, const std::string& fields, const support::BuildContext& context,
               const Tensor& x) {
    at::NoGradGuard no_grad;
    const auto plugin = make<dtk::Sampler>(sampler, fields, context);
    return plugin->sample(support::denoiser(context), plugin->times(*context.chain), x, stream);
}

}  // namespace

TEST_CASE("the flow of ode_error keeps quantiles on the line") {
    for (const char* schedule : {"linear", "cosine", "exponential", "cosine_log_snr"}) {
        INFO(schedule);
        const auto context =
            support::exact("gaussian_mixture", "preset = \"gmm1d\"", fmt::format("schedule = \"{}\"", schedule));
        const auto start = at::linspace(-3, 3, 121, at::kDouble).unsqueeze(1);
        auto exact = at::empty_like(start);
        for (std::int64_t i = 0; i < start.size(0); ++i)
            exact[i] = line::flow(start[i].item<double>(), context.chain->levels(), context.chain->steps() - 1, -1);
        const auto m = measured("ode_error", "", context, exact, start);
        INFO("largest " << m.parts[1].second);
        CHECK(m.parts[1].second < 1e-8);
        CHECK(m.value < 1e-8);
        CHECK(measured("ode_error", "", context, exact + 0.25, start).value == Approx(0.25).margin(1e-8));
    }
}

TEST_CASE("the flow of ode_error takes N(0, I) to Gaussian data by the straightest map there is") {
    // x_0 = m + C^½ (α² C + σ² I)^(−½) (x_T − α m)
    const auto context = support::exact("gaussian_mixture",
                                        "preset = \"none\"\nmeans = [[0.5, -1]]\ncovariances = [[0.5, 0.3, 0.3, 0.4]]",
                                        "schedule = \"linear\"\nsteps = 400");
    const auto mean = at::tensor({0.5, -1.0}, at::kDouble),
               covariance = at::tensor({0.5, 0.3, 0.3, 0.4}, at::kDouble).view({2, 2});
    const auto& levels = context.chain->levels();
    const double a = levels.alpha(399), s2 = levels.sigma2(399);
    const auto [lambda, axes] = at::linalg_eigh(covariance);
    const auto start = stream.stream("x").normal({300, 2}, at::kDouble);
    const auto exact =
        mean + (start - a * mean).matmul(axes * (lambda / (a * a * lambda + s2)).sqrt()).matmul(axes.t());
    CHECK(measured("ode_error", "", context, exact, start).parts[1].second < 1e-8);
    auto one_off = exact.clone();
    one_off[7] += at::tensor({0.3, 0.4}, at::kDouble);
    const auto m = measured("ode_error", "", context, one_off, start);
    CHECK(m.value == Approx(0.5 / std::sqrt(300)).epsilon(1e-6));
    CHECK(m.parts[0].second < 1e-8);
    CHECK(m.parts[1].second == Approx(0.5).epsilon(1e-6));
}

TEST_CASE("ode_error measures the order of ddim, and looks at samples from among all") {
    const auto context =
        support::exact("gaussian_mixture", "preset = \"gmm2d\"", "steps = 4096\nschedule = \"linear\"");
    const auto start = stream.stream("x").normal({200, 2}, at::kDouble);
    std::vector<double> errors;
    for (const int n : {128, 256, 512})
        errors.push_back(
            measured("ode_error", "", context, sampled("ddim", fmt::format("steps = {}", n), context, start), start)
                .value);
    INFO("errors " << errors[0] << ", " << errors[1] << ", " << errors[2]);
    CHECK(std::log2(errors[0] / errors[1]) == Approx(1).margin(0.1));
    CHECK(std::log2(errors[1] / errors[2]) == Approx(1).margin(0.1));

    // Rows 10, 30, … of 200, which are right, and all others, which are not.
    auto spoilt = at::full_like(start, 1e6);
    const auto looked = at::arange(10, 200, 20);
    spoilt.index_copy_(0, looked, sampled("ddim", "steps = 512", context, start.index_select(0, looked)));
    CHECK(measured("ode_error", "n = 10", context, spoilt, start).value < 10 * errors[2]);
}

TEST_CASE("every density that is known can be followed, and few samples take few seconds") {
    for (const auto& name : support::registry().names("dataset")) {
        support::BuildContext context;
        // In units of about 1, as the others are.
        const std::string fields = name == "polymer" ? "length = 8\nbond = 0.8" : "";
        try {
            context.data = make<dtk::Dataset>(name, fields, context);
            if (!context.data->density()) continue;
            context = support::exact(name, fields, "schedule = \"cosine\"");
        } catch (const dtk::Error&) {
            continue;
        }
        Tensor samples;
        const auto start =
            stream.stream("x").normal({50, context.data->examples(at::zeros({1}, at::kLong)).x.numel()}, at::kDouble);
        try {
            samples = sampled("ddim", "steps = 200", context, start);
        } catch (const dtk::Error&) {
            continue;
        }
        INFO(name);
        const auto m = measured("ode_error", "n = 50", context, samples, start);
        INFO(m.value << ", largest " << m.parts[1].second);
        CHECK(m.parts[0].second < 0.05);
    }
}

TEST_CASE("the error of the predicted noise is known for networks that are known") {
    const auto context = support::exact("gaussian_mixture", "preset = \"none\"\nmeans = [[0.7]]\nstd = [0.5]",
                                        "schedule = \"linear\"", "prediction = \"eps\"");
    const auto exact = measured("eps_error", "", context);
    CHECK(exact.value < 1e-9);
    CHECK(exact.passes().value());
    CHECK(exact.expected.value() == 0);

    // Of Gaussian data ε* is off by N(0, f_t), f = α²s²/(α²s² + σ²); the limit is a hundredth of the mean floor.
    const auto& levels = context.chain->levels();
    double floor = 0, square = 0;
    for (std::int64_t t = 0; t < 1000; ++t) {
        const double signal = 0.25 * levels.alpha_bar(t), f = signal / (signal + levels.sigma2(t));
        floor += f / 1000, square += 2 * f * f / 1000;
    }
    CHECK(std::abs(100 * exact.limit.value() - floor) < 4 * std::sqrt(square / 10000));

    const auto asked = [&](const std::function<Tensor(const Tensor& eps, const Tensor& t)>& spoilt,
                           const support::BuildContext& of) {
        auto shown = outcome(of, {}, {});
        const auto ask = shown.denoise;
        shown.denoise = ask.replaced([&](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
            auto prediction = ask(x, t, condition);
            prediction.value = spoilt(prediction.value, t.on(x));
            return prediction;
        });
        return make<dtk::Metric>("eps_error", "", of)->evaluate(shown, stream);
    };
    const auto shifted = asked([](const Tensor& eps, const Tensor&) { return eps + 0.2; }, context);
    CHECK(shifted.value == Approx(0.04).epsilon(1e-5));
    CHECK_FALSE(shifted.passes().value());
    REQUIRE(shifted.parts.size() == 10);
    for (const auto& [name, part] : shifted.parts) CHECK(part == Approx(0.04).epsilon(1e-5));

    // Wrong at the three noisiest of ten ranges of log-SNR, a known share of the steps.
    const double least = levels.log_snr(999), width = (levels.log_snr(0) - least) / 10;
    std::int64_t first = 0;
    while (levels.log_snr(first) >= least + 3 * width) ++first;
    const auto noisy = asked(
        [&](const Tensor& eps, const Tensor& t) {
            return eps + 0.2 * (t >= static_cast<double>(first)).to(eps.scalar_type()).unsqueeze(1);
        },
        context);
    for (int i = 0; i < 10; ++i)
        CHECK(noisy.parts[static_cast<std::size_t>(i)].second == Approx(i < 3 ? 0.04 : 0).margin(1e-6));
    CHECK(noisy.value == Approx(0.04 * static_cast<double>(1000 - first) / 1000).epsilon(1e-5));

    // Nobody knows what a network that is told the label can do.
    const auto labelled =
        support::exact("gaussian_mixture", "labels = true", "schedule = \"linear\"", "prediction = \"eps\"");
    const auto silent = asked([](const Tensor& eps, const Tensor&) { return at::zeros_like(eps); }, labelled);
    CHECK_FALSE(silent.expected);
    CHECK_FALSE(silent.passes());
    CHECK(std::abs(silent.value - 1) < 4 * silent.standard_error);
    CHECK(silent.standard_error == Approx(std::sqrt(1.0 / 10000)).epsilon(0.05));
}

TEST_CASE("the floor of the predicted noise is the reference's") {
    for (const std::string data : {"gmm1d", "gmm2d"})
        for (const std::string schedule : {"linear", "cosine"}) {
            INFO(data << ", " << schedule);
            const auto context = support::exact("gaussian_mixture", "preset = \"" + data + '"',
                                                "schedule = \"" + schedule + '"', "prediction = \"eps\"");
            const double expected =
                support::reference()["mixtures"][data]["loss_floor"][schedule]["eps_mse_floor_sum_over_dims"];
            const auto d = static_cast<double>(context.data->shape()[0]);
            CHECK(100 * d * measured("eps_error", "n = 100000\nbatch = 20000", context).limit.value() ==
                  Approx(expected).epsilon(0.01));
        }
}

TEST_CASE("metrics of the flow and of the noise say what they lack") {
    support::BuildContext context;
    context.data = make<dtk::Dataset>("gaussian_mixture", "", context);
    context.chain = make<dtk::Process>("gaussian", "", context);
    CHECK_THROWS_WITH(measured(
                          "ode_error", "",
                          [&] {
                              auto lacking = context;
                              lacking.network = make<dtk::Model>("exact", "", context);
                              return lacking;
                          }(),
                          at::zeros({5, 2})),
                      Catch::Matchers::Contains("x_T"));
    auto bits = context;
    bits.data = make<dtk::Dataset>("heartbeat", "", context);
    bits.chain = make<dtk::Process>("bernoulli", "", bits);
    CHECK_THROWS_AS(make<dtk::Metric>("ode_error", "", bits), dtk::Error);
    CHECK_THROWS_AS(make<dtk::Metric>("eps_error", "", bits), dtk::Error);
}

namespace {
/// 256 levels of one number, each as likely: spread over their bins they are uniform, whose exact denoiser is a
/// truncated normal law's mean.
struct EvenLevels final : dtk::Dataset {
    std::vector<std::int64_t> shape() const override { return {1}; }
    std::int64_t size() const override { return 0; }
    dtk::Batch examples(const Tensor& index) const override {
        return {.x = (index.remainder(256).to(at::kFloat) * (2.0 / 255) - 1).unsqueeze(1)};
    }
    dtk::Batch test_examples(const Tensor& index) const override { return examples(index); }
    std::optional<std::pair<double, double>> range() const override { return std::pair{-1.0, 1.0}; }
    int levels() const override { return 256; }
};

dtk::Denoiser denoiser_of_uniform(const std::shared_ptr<dtk::Process>& process) {
    return {process, [process](const Tensor& x, const dtk::Time& t, const dtk::Condition&) {
                const auto& chain = dtk::gaussian(*process, "the test");
                const auto a = chain.alpha(t).beside(x), s = chain.sigma(t).beside(x) / a;
                constexpr double edge = 256.0 / 255;
                const auto m = x / a, low = (-edge - m) / s, high = (edge - m) / s;
                const auto density = [](const Tensor& z) {
                    return (-0.5 * z.square()).exp() / std::sqrt(2 * std::numbers::pi);
                };
                const auto mass = at::special_ndtr(high) - at::special_ndtr(low);
                // Far outside all mass stands at the nearer edge; in much noise the law is as good as a normal one.
                constexpr double least = 1e-140, much = 1e3, variance = edge * edge / 3;
                const auto inside = m + s * (density(low) - density(high)) / mass.clamp_min(least);
                const auto x0 = at::where(s > much, m * variance / (variance + s.square()),
                                          at::where(mass > least, inside, m.clamp(-edge, edge)));
                return dtk::Prediction{dtk::PredictionType::x0, x0, {}};
            }};
}
}  // namespace

TEST_CASE("ode_nll of exact denoisers is −log p of the examples, by the exact trace and by Hutchinson's") {
    for (const auto& [preset, d] :
         {std::pair{"preset = \"gmm1d\"", 1},
          {"preset = \"none\"\nmeans = [[0.5, -1]]\ncovariances = [[0.5, 0.3, 0.3, 0.4]]", 2}})
        for (const char* schedule : {"flow", "\"edm\""}) {
            const bool edm = schedule[0] == '"';
            INFO(preset << ", " << schedule);
            // What the prior misses of the data's mean falls as 1/sigma_max.
            const auto context = support::exact("gaussian_mixture", preset,
                                                edm ? "schedule = {use = \"edm\", sigma_max = 1e5}\nsteps = 1000"
                                                    : "schedule = \"flow\"\nsteps = 1000");
            const std::string fields =
                "n = 12\nprecision = \"float64\"\nrtol = 1e-7\natol = 1e-7\nfirst_time = -0.999999";
            const auto m = measured("ode_nll", fields, context);
            const auto x = context.data->test_examples(at::arange(12, at::kLong)).x.to(at::kDouble);
            const double exact = -context.data->density()->log_prob(x).mean().item<double>();
            CHECK(m.value == Approx(exact).margin(2e-5));
            CHECK(m.expected == context.data->density()->entropy());
            CHECK(m.split == "test");
            const auto estimated = measured("ode_nll", fields + "\ntrace = \"hutchinson\"\nprobes = 3", context);
            if (d == 1) {  // e² = 1
                CHECK(estimated.value == Approx(exact).margin(2e-5));
            } else {
                REQUIRE(estimated.parts.size() == 1);
                CHECK(estimated.parts[0].second > 1e-4);
                CHECK(std::abs(estimated.value - exact) < 4 * estimated.parts[0].second);
            }
        }
}

TEST_CASE("ode_nll of levels that are as likely is eight bits, and is refused without dequantisation") {
    support::BuildContext context;
    context.data = std::make_shared<EvenLevels>();
    context.chain = make<dtk::Process>("gaussian", "schedule = \"flow\"\nsteps = 1000", context);
    const auto metric = make<dtk::Metric>(
        "ode_nll", "n = 256\ndequantise = \"uniform\"\nprecision = \"float64\"\nrtol = 1e-6\natol = 1e-6", context);
    const auto m = metric->evaluate({.samples = {},
                                     .data = *context.data,
                                     .process = *context.chain,
                                     .denoise = denoiser_of_uniform(context.chain)},
                                    stream);
    // Of the noise at the first time a share of some thousandths has left the bins.
    CHECK(m.value == Approx(8).margin(0.01));
    CHECK(m.card.unit == "bits/dim, uniformly dequantised");
    CHECK(says(complaint_of([&] { make<dtk::Metric>("ode_nll", "", context); }), "come in levels"));
    const auto continuous = support::exact("gaussian_mixture", "preset = \"gmm1d\"", "schedule = \"flow\"");
    CHECK(says(complaint_of([&] { make<dtk::Metric>("ode_nll", "dequantise = \"uniform\"", continuous); }),
               "come in levels"));
    CHECK(says(complaint_of([&] { make<dtk::Metric>("ode_nll", "first_time = 1000", continuous); }), "first_time"));
}
