// The Gaussian system of Sohl-Dickstein et al. 2015: mean and variance learned, the schedule learned, the first step
// fixed.
#include <cmath>
#include <numbers>

#include <dtk/learned_schedule.hpp>
#include <dtk/relative_step.hpp>

#include "catch.hpp"
#include "complaint.hpp"
#include "support.hpp"

using at::Tensor;
using support::distance;
using support::make;

namespace {

const dtk::Random stream(5, "learned");

std::shared_ptr<dtk::Process> gaussian(const std::string& schedule, std::int64_t steps,
                                       const std::string& decoder = "gaussian") {
    static const support::BuildContext context = [] {
        support::BuildContext context;
        context.data = make<dtk::Dataset>("moons", "", context);
        return context;
    }();
    return make<dtk::Process>(
        "gaussian", fmt::format("steps = {}\nschedule = {}\ndecoder = \"{}\"", steps, schedule, decoder), context);
}

/// The trained numbers of its learned schedule.
Tensor weight(const dtk::Process& process) {
    const auto trained = process.parameters();
    REQUIRE(trained.size() == 1);
    return trained[0];
}

/// The expected bound on data N(mean, sd²) of the exact mean and the given variance of the reverse steps, in nats. What
/// is averaged is quadratic in x_0 and ε, so two nodes each are exact.
Tensor expected_bound(const dtk::Process& process, double mean, double sd, const std::string& variance) {
    const auto& chain = dtk::gaussian(process, "the test");
    const auto z = at::tensor({-1.0, -1.0, 1.0, 1.0}, at::kDouble).unsqueeze(1),
               eps = at::tensor({-1.0, 1.0, -1.0, 1.0}, at::kDouble).unsqueeze(1);
    const auto x0 = mean + sd * z;
    auto bound = process.prior_term(x0).mean();
    for (std::int64_t step = 0; step < process.steps(); ++step) {
        const auto t = at::full({4}, static_cast<double>(step), at::kDouble);
        const auto a = chain.alpha(t).beside(x0), s = chain.sigma(t).beside(x0);
        const auto xt = a * x0 + s * eps;
        const auto estimate = mean + a * sd * sd / (a * a * sd * sd + s * s) * (xt - a * mean);
        bound = bound + process.bound_term(x0, xt, t, t - 1, {dtk::PredictionType::x0, estimate, {}}, variance).mean();
    }
    return bound;
}

}  // namespace

TEST_CASE("where the reverse steps are the forward ones, isotropic Gaussian data cost exactly their entropy") {
    const double entropy = 0.5 * (1 + std::log(2 * std::numbers::pi));
    for (const char* schedule :
         {"\"linear\"", "\"cosine\"", "\"sohl_dickstein\"", "\"learned\"", "\"monotone\"", "\"cosine_log_snr\""})
        for (const std::int64_t T : {40, 200}) {
            if (T > 40 && std::string_view(schedule) == "\"monotone\"") continue;  // slow, and its steps are alike
            INFO(schedule << ", T = " << T);
            at::NoGradGuard no_grad;
            const auto process = gaussian(schedule, T, "reversed");
            const auto& chain = dtk::gaussian(*process, "the test");
            const auto z = at::tensor({-1.0, -1.0, 1.0, 1.0}, at::kDouble).unsqueeze(1),
                       eps = at::tensor({-1.0, 1.0, -1.0, 1.0}, at::kDouble).unsqueeze(1);
            const auto zero = at::zeros_like(z);
            double bound = process->prior_term(z).mean().item<double>();
            for (std::int64_t step = 0; step < T; ++step) {
                const auto t = at::full({4}, static_cast<double>(step), at::kDouble);
                const auto xt = chain.alpha(t) * z + chain.sigma(t) * eps;
                bound += process->bound_term(z, xt, t, t - 1, dtk::relative_step(chain, xt, t, zero, zero), "small")
                             .mean()
                             .item<double>();
            }
            CHECK(std::abs(bound - entropy) < 1e-9);
        }
}

TEST_CASE("a step relative to the forward one has the mean and the variance it says") {
    const auto process = gaussian("\"linear\"", 100);
    const auto& chain = dtk::gaussian(*process, "the test");
    const auto t = at::tensor({0.0, 1.0, 50.0, 99.0}, at::kDouble);
    const auto x = stream.normal({4, 3}, at::kDouble), mean = stream.stream("mean").normal({4, 3}, at::kDouble),
               logit = stream.stream("logit").normal({4, 3}, at::kDouble);
    const auto step = dtk::relative_step(chain, x, t, mean, logit);
    for (std::int64_t i = 0; i < 4; ++i) {
        const double beta = process->levels().added_variance(t[i].item<std::int64_t>(), t[i].item<std::int64_t>() - 1);
        CHECK(distance(step.value[i], std::sqrt(1 - beta) * x[i] + std::sqrt(beta) * mean[i]) < 1e-12);
        CHECK(distance((*step.variance)[i], 1 / (1 + (1 - beta) / beta * (-logit[i]).exp())) < 1e-12);
    }
}

TEST_CASE("a predicted mean is that of one step and says what it implies of x_0") {
    const auto process = gaussian("\"cosine\"", 100);
    const auto& l = process->levels();
    const auto t = at::arange(1, 100, at::kDouble);
    const auto x0 = stream.normal({99, 2}, at::kDouble);
    const auto xt = process->noised(x0, t, stream.stream("eps"));
    const auto mean = process->target(dtk::PredictionType::mean, x0, xt, t);
    for (std::int64_t i = 0; i < 99; ++i)
        CHECK(distance(mean[i], l.posterior_mean_x0(i + 1, i) * x0[i] + l.posterior_mean_xt(i + 1, i) * xt.x[i]) <
              1e-12);
    CHECK(distance(process->convert({dtk::PredictionType::mean, mean, {}}, dtk::PredictionType::x0, xt.x, t), x0) <
          1e-8);
    CHECK(distance(process->convert({dtk::PredictionType::mean, mean, {}}, dtk::PredictionType::eps, xt.x, t),
                   xt.noise) < 1e-8);
    CHECK(distance(process->convert({dtk::PredictionType::eps, xt.noise, {}}, dtk::PredictionType::mean, xt.x, t),
                   mean) < 1e-8);
    CHECK(process->bound_term(x0, xt.x, t, t - 1, {dtk::PredictionType::mean, mean, {}}, "small")
              .abs()
              .max()
              .item<double>() < 1e-12);
}

TEST_CASE("a learned variance keeps its place between the two fixed ones over a longer step") {
    const auto process = gaussian("\"linear\"", 100);
    const auto& chain = dtk::gaussian(*process, "the test");
    const auto& l = process->levels();
    const auto t = at::tensor({20.0, 60.0, 99.0}, at::kDouble), x = stream.normal({3, 1}, at::kDouble),
               zero = at::zeros_like(x);
    const auto of_one = [&](double f) {  // β^f β̃^(1−f) of the step t → t−1
        auto v = at::empty_like(x);
        for (std::int64_t i = 0; i < 3; ++i) {
            const auto u = t[i].item<std::int64_t>();
            v[i] = std::pow(l.added_variance(u, u - 1), f) * std::pow(l.posterior_variance(u, u - 1), 1 - f);
        }
        return v;
    };
    for (const auto& s : {t - 1, t - 15})
        for (const double f : {0.0, 0.3, 1.0}) {
            const auto law = chain.reverse(x, {dtk::PredictionType::x0, zero, of_one(f)}, t, s, "small");
            for (std::int64_t i = 0; i < 3; ++i) {
                const auto u = t[i].item<std::int64_t>(), v = s[i].item<std::int64_t>();
                CHECK(law.variance[i].item<double>() ==
                      Approx(std::pow(l.added_variance(u, v), f) * std::pow(l.posterior_variance(u, v), 1 - f))
                          .epsilon(1e-9));
            }
        }
}

TEST_CASE("a fixed last step is the forward one turned around, and is drawn") {
    for (const char* schedule : {"\"linear\"", "\"cosine_log_snr\""}) {
        const auto process = gaussian(schedule, 50, "reversed");
        const auto& l = process->levels();
        const auto t = at::zeros({3}, at::kDouble), x = stream.normal({3, 2}, at::kDouble),
                   x0 = stream.stream("x0").normal({3, 2}, at::kDouble);
        const double a = l.alpha(0), s2 = l.sigma2(0);  // the prior is N(0, I)
        const auto z = stream.stream("z").normal(x.sizes(), x.options());
        const auto drawn =
            process->reverse_step(x, {dtk::PredictionType::x0, x0, {}}, t, t - 1, "small", stream.stream("z"));
        CHECK(distance(drawn, a / (a * a + s2) * x + std::sqrt(s2 / (a * a + s2)) * z) < 1e-12);
        const double v = s2 / (a * a + s2);
        const auto term = process->bound_term(x0, x, t, t - 1, {dtk::PredictionType::x0, x0, {}}, "small");
        CHECK(distance(
                  term,
                  (0.5 * std::log(2 * std::numbers::pi * v) + (x0 - a / (a * a + s2) * x).square() / (2 * v)).sum(1)) <
              1e-12);
    }
}

TEST_CASE("before it has learned anything a learned schedule is the one it starts from") {
    at::NoGradGuard no_grad;
    for (const char* start : {"sohl_dickstein", "linear", "cosine"}) {
        INFO(start);
        const auto learned = gaussian(fmt::format("{{use = \"learned\", start = \"{}\"}}", start), 60),
                   fixed = gaussian(fmt::format("\"{}\"", start), 60);
        const auto t = at::arange(60, at::kDouble);
        const auto x0 = stream.normal({60, 2}, at::kDouble);
        const auto a = learned->noised(x0, t, stream), b = fixed->noised(x0, t, stream);
        CHECK(distance(a.x, b.x) < 1e-12);
        for (const char* variance : {"small", "large"}) {
            const dtk::Prediction prediction{dtk::PredictionType::x0, 0.9 * x0, {}};
            CHECK(distance(learned->bound_term(x0, b.x, t, t - 1, prediction, variance),
                           fixed->bound_term(x0, b.x, t, t - 1, prediction, variance)) < 1e-9);
        }
        CHECK(distance(learned->prior_term(x0), fixed->prior_term(x0)) < 1e-12);
        for (std::int64_t i = 0; i < 60; ++i)
            CHECK(learned->levels().alpha_bar(i) == Approx(fixed->levels().alpha_bar(i)).epsilon(1e-12));
    }
}

TEST_CASE("the bound's gradient in a learned schedule is its slope, and the first step stays") {
    const auto process = gaussian("{use = \"learned\", bumps = 6}", 30, "reversed");
    auto w = weight(*process);
    {
        at::NoGradGuard no_grad;
        w.copy_(at::tensor({0.3, -0.2, 0.5, 0.1, -0.4, 0.2}, at::kFloat));
    }
    for (const char* variance : {"small", "large"}) {
        w.mutable_grad().reset();
        expected_bound(*process, 0.7, 0.5, variance).backward();
        for (std::int64_t i = 0; i < 6; ++i) {
            at::NoGradGuard no_grad;
            const float before = w[i].item<float>();
            const auto at_step = [&](float h) {
                w[i] = before + h;
                return expected_bound(*process, 0.7, 0.5, variance).item<double>();
            };
            const float h = 1.0f / 64;  // exact in float32
            const double slope = (8 * (at_step(h) - at_step(-h)) - (at_step(2 * h) - at_step(-2 * h))) / (12 * h);
            w[i] = before;
            INFO(variance << ", number " << i);
            CHECK(w.grad()[i].item<double>() == Approx(slope).epsilon(1e-4).margin(1e-6));
        }
    }
    CHECK(process->levels().added_variance(0, -1) == Approx(1e-3).epsilon(1e-12));
}

TEST_CASE("what a learned schedule's process answers follows its numbers") {
    at::NoGradGuard no_grad;
    const auto process = gaussian("\"learned\"", 30);
    const double before = process->levels().alpha_bar(15);
    weight(*process).fill_(1);
    const auto& l = process->levels();
    CHECK(l.alpha_bar(15) < before);
    const auto x = at::ones({1, 1}, at::kDouble);
    CHECK(dtk::gaussian(*process, "the test").alpha(15).beside(x).item<double>() == Approx(l.alpha(15)).epsilon(1e-12));
    double kept = 1;  // logit β moved by 1, of a basis that sums to 1
    const auto start = make<dtk::Schedule>("sohl_dickstein")->levels(30);
    for (std::int64_t i = 0; i <= 15; ++i) {
        const double beta = start.added_variance(i, i - 1), odds = beta / (1 - beta) * (i == 0 ? 1 : std::numbers::e);
        kept *= 1 - odds / (1 + odds);
    }
    CHECK(l.alpha_bar(15) == Approx(kept).epsilon(1e-12));
}

TEST_CASE("a monotone schedule falls for any numbers, and its tensors say what its levels say, between steps too") {
    at::NoGradGuard no_grad;
    const auto process = gaussian("{use = \"monotone\", hidden = 16}", 25);
    CHECK_FALSE(process->whole_steps());
    const auto& chain = dtk::gaussian(*process, "the test");
    for (std::int64_t trial = 0; trial < 4; ++trial) {
        if (trial > 0) {
            std::int64_t number = 0;
            for (const auto& p : process->parameters())
                p.copy_(3 * stream.step(trial).stream(fmt::format("{}", number++)).normal(p.sizes(), p.options()));
        }
        const auto& l = process->levels();
        const auto t = at::tensor({-1.0, -0.5, 0.0, 3.0, 3.25, 17.9, 24.0}, at::kDouble),
                   x = at::ones({7, 1}, at::kDouble);
        const auto alpha = chain.alpha(t).beside(x), sigma = chain.sigma(t).beside(x);
        for (std::int64_t i = 0; i < 7; ++i) {
            INFO("trial " << trial << ", t = " << t[i].item<double>());
            CHECK(alpha[i].item<double>() == Approx(l.alpha(t[i].item<double>())).epsilon(1e-12));
            CHECK(sigma[i].item<double>() == Approx(l.sigma(t[i].item<double>())).epsilon(1e-9));
            if (i > 1) CHECK(l.log_snr(t[i].item<double>()) < l.log_snr(t[i - 1].item<double>()));
        }
        if (trial > 0) continue;
        CHECK(l.log_snr(24) == Approx(-5).epsilon(1e-6));
        CHECK(l.log_snr(-1 + 1e-9) == Approx(13.3).epsilon(1e-6));
        CHECK(l.log_snr(11.5) == Approx(0.5 * (13.3 - 5)).epsilon(0.02));  // it starts nearly linear
    }
    CHECK(says(complaint_of([] { gaussian("{use = \"monotone\", log_snr_first = -6}", 25); }), "must fall"));
}

TEST_CASE("the bound's gradient in a monotone schedule is its slope") {
    const auto process = gaussian("{use = \"monotone\", hidden = 3, log_snr_first = 4}", 10, "reversed");
    expected_bound(*process, 0.7, 0.5, "small").backward();
    for (const auto& p : process->parameters())
        for (std::int64_t i = 0; i < p.numel(); ++i) {
            at::NoGradGuard no_grad;
            const float before = p[i].item<float>();
            const auto at_step = [&](float h) {
                p[i] = before + h;
                return expected_bound(*process, 0.7, 0.5, "small").item<double>();
            };
            const float h = std::ldexp(1.0f, std::ilogb(before) - 6);  // a share of the number
            const double above = p[i].item<float>() + h, below = p[i].item<float>() - h;
            const double slope = (at_step(h) - at_step(-h)) / (static_cast<double>(static_cast<float>(above)) -
                                                               static_cast<double>(static_cast<float>(below)));
            p[i] = before;
            CHECK(p.grad()[i].item<double>() == Approx(slope).epsilon(1e-3).margin(1e-7));
        }
}

TEST_CASE("the best bound of the swiss roll is the one that was computed beside dtk") {
    at::NoGradGuard no_grad;
    for (const auto& row : support::reference()["swiss_roll"]["K_opt_exact_posterior_optimal_diag_variance"]) {
        const auto T = row["T"].get<std::int64_t>();
        if (T > 40 || row["schedule"] != "beta_1=0.001, then 1/linspace(T,2,T)[1:]") continue;
        auto context =
            support::exact("swiss_roll", "noise = 0.5",
                           fmt::format("steps = {}\nschedule = \"sohl_dickstein\"\ndecoder = \"reversed\"", T));
        const auto metric = make<dtk::Metric>("bound", "best = true\nexamples = 2000", context);
        const auto m = metric->evaluate(
            {.samples = {}, .data = *context.data, .process = *context.chain, .denoise = support::denoiser(context)},
            stream);
        double excess = 0, error = 0;
        for (const auto& [name, value] : m.parts) {
            if (name == "K − K*") excess = value;
            if (name == "its standard error") error = value;
        }
        const double se = std::hypot(m.standard_error, row["stderr"].get<double>());
        INFO("T = " << T << ": K* = " << m.value - excess << ", expected " << row["K_opt_bits"].get<double>() << " ± "
                    << se);
        CHECK(std::abs(m.value - excess - row["K_opt_bits"].get<double>()) < 4 * se);
        // The exact mean with β̃ for its variance is worse, by more than chance.
        CHECK(excess < -4 * error);
    }
}
