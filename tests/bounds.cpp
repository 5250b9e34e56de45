// The variational bound and the simple loss with the exact denoiser, where every expectation is known. Expectations
// over x_0 and ε are Gaussian quadrature, so what is compared is the toolkit's arithmetic and not luck.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numbers>

#include <dtk/schedule.hpp>
#include <dtk/weighting.hpp>

#include "base/declaration.hpp"
#include "catch.hpp"
#include "engine/training_sums.hpp"
#include "support.hpp"

using at::Tensor;
using support::distance;
using support::make;

namespace {

const dtk::Random stream(5, "bounds");
constexpr const char* data_07 = "preset = \"none\"\nmeans = [[0.7]]\nstd = [0.5]";  // m = 0.7, s² = 0.25

struct Component {
    double weight, mean, variance;
};
const std::vector<Component> gauss{{1, 0.7, 0.25}};
const std::vector<Component> gmm1d{{0.3, -2, 0.25}, {0.5, 0.5, 0.09}, {0.2, 3, 0.5}};

/// Pairs (x_0, x_t) that stand for their joint law at time t.
struct Pairs {
    Tensor x0, xt, t, weight;  // [n, 1], [n, 1], [n], [n]
};

/// What is averaged is quadratic in x_0 given x_t and the component, so two nodes at ±1 sd are exact there. In x_t it
/// is quadratic too where the data are Gaussian; for the smooth responsibilities of a mixture the trapezoidal rule over
/// ±9 sd is exact to rounding.
Pairs pairs(const std::vector<Component>& components, const dtk::NoiseLevels& l, std::int64_t t) {
    const double h = 1.0 / 12;
    const bool gaussian = components.size() == 1;
    const auto z = gaussian ? at::tensor({-1.0, 1.0}, at::kDouble) : at::arange(-9 * 12, 9 * 12 + 1, at::kDouble) * h;
    const auto w = gaussian ? at::full_like(z, 0.5) : (-z.square() / 2).exp() * (h / std::sqrt(2 * std::numbers::pi));
    const double a = l.alpha(t), s2 = l.sigma2(t);
    std::vector<Tensor> x0, xt, weight;
    for (const auto& c : components) {
        const double v = a * a * c.variance + s2, sd = std::sqrt(s2 * c.variance / v);
        const auto x = a * c.mean + std::sqrt(v) * z;
        const auto m = c.mean + a * c.variance / std::sqrt(v) * z;
        for (const double sign : {-1.0, 1.0})
            x0.push_back(m + sign * sd), xt.push_back(x), weight.push_back(0.5 * c.weight * w);
    }
    const auto weights = at::cat(weight);
    return {at::cat(x0).unsqueeze(1), at::cat(xt).unsqueeze(1), at::full_like(weights, static_cast<double>(t)),
            weights};
}

/// The expected terms of the bound at times first … last−1, [last − first].
Tensor expected_terms(const support::BuildContext& context, const std::vector<Component>& components,
                      std::int64_t first, std::int64_t last, const std::string& variance) {
    std::vector<Tensor> x0, xt, t, weight;
    for (auto i = first; i < last; ++i) {
        const auto p = pairs(components, context.chain->levels(), i);
        x0.push_back(p.x0), xt.push_back(p.xt), t.push_back(p.t), weight.push_back(p.weight);
    }
    const auto x = at::cat(xt), time = at::cat(t);
    const auto terms =
        context.chain->bound_term(at::cat(x0), x, time, time - 1, context.network->forward(x, time, {}), variance);
    return (terms * at::cat(weight)).view({last - first, -1}).sum(1);
}

double expected_term(const support::BuildContext& context, const std::vector<Component>& components, std::int64_t t,
                     const std::string& variance) {
    return expected_terms(context, components, t, t + 1, variance).item<double>();
}

double expected_prior(const support::BuildContext& context, const std::vector<Component>& components) {
    double sum = 0;  // quadratic in x_0
    for (const auto& c : components) {
        const double sd = std::sqrt(c.variance);
        sum += c.weight * context.chain->prior_term(at::tensor({c.mean - sd, c.mean + sd}, at::kDouble).unsqueeze(1))
                              .mean()
                              .item<double>();
    }
    return sum;
}

support::BuildContext chain(const std::string& data, const std::string& schedule, std::int64_t steps) {
    return support::exact("gaussian_mixture", data, fmt::format("steps = {}\nschedule = \"{}\"", steps, schedule));
}

dtk::Batch batch(const support::BuildContext& context, std::int64_t n) {
    auto drawn = context.data->examples(at::arange(n));
    drawn.x = drawn.x.to(at::kDouble);
    return drawn;
}

/// Mean and its standard error.
std::pair<double, double> mean_and_error(const Tensor& x) {
    return {x.mean().item<double>(), x.std().item<double>() / std::sqrt(static_cast<double>(x.numel()))};
}

/// Do these times come from a density of their own, which is a part of the objective unless it is weighed back?
bool has_density(const std::string& times) {
    const auto& plugins = support::registry();
    const auto fields = dtk::declared_fields(plugins.load(plugins.find("times", times)));
    return std::any_of(fields.begin(), fields.end(), [](const auto& field) { return field.key == "importance"; });
}

const std::map<std::string, std::string> published{{"linear", "linear"}, {"cosine", "cosine"}, {"quad", "quadratic"}};

}  // namespace

TEST_CASE("each part of the bound on Gaussian data is the exact one") {
    at::NoGradGuard no_grad;
    for (const auto& [key, schedule] : published) {
        const auto context = chain(data_07, schedule, 1000);
        const double prior = expected_prior(context, gauss);
        for (const char* variance : {"small", "large"}) {
            INFO(key << ", " << variance);
            const auto& expected = support::reference()["elbo"]["gaussian"][key][std::string("fixed_") + variance];
            const auto terms = expected_terms(context, gauss, 0, 1000, variance);
            const double denoising = terms.slice(0, 1).sum().item<double>(), reconstruction = terms[0].item<double>();
            CHECK(std::abs(prior - expected["L_T_prior"].get<double>()) < 1e-10);
            CHECK(std::abs(denoising - expected["L_mid_denoising"].get<double>()) < 1e-10);
            CHECK(std::abs(reconstruction - expected["L_0_reconstruction"].get<double>()) < 1e-10);
            CHECK(std::abs(prior + denoising + reconstruction - expected["total_nats"].get<double>()) < 1e-10);
            for (const auto& [t, term] : expected["terms_at_t"].items()) {
                INFO("t = " << t);
                CHECK(std::abs(terms[std::stoll(t)].item<double>() - term.get<double>()) < 1e-10);
            }
        }
    }
}

TEST_CASE("each term of the bound on a mixture is the exact one") {
    at::NoGradGuard no_grad;
    for (const auto& [key, schedule] : published) {
        const auto context = chain("preset = \"gmm1d\"", schedule, 1000);
        for (const char* variance : {"small", "large"}) {
            const auto& expected = support::reference()["elbo"]["gmm1d"][key][std::string("fixed_") + variance];
            INFO(key << ", " << variance);
            CHECK(std::abs(expected_prior(context, gmm1d) - expected["L_T_prior"].get<double>()) < 1e-10);
            for (const auto& [t, term] : expected["terms_at_t"].items()) {
                INFO("t = " << t);
                CHECK(std::abs(expected_term(context, gmm1d, std::stoll(t), variance) - term.get<double>()) < 1e-10);
            }
        }
    }
}

TEST_CASE("the gap between bound and entropy depends on the number of steps as it must") {
    at::NoGradGuard no_grad;
    const auto& all = support::reference()["elbo"];
    for (const auto& [key, schedule] :
         std::map<std::string, std::string>{{"linear_scaled", "linear"}, {"cosine", "cosine"}})
        for (const std::int64_t T : {50, 100}) {
            const auto& expected = all["gap_vs_T"][fmt::format("{}_T{}", key, T)];
            const auto gap = [&](const std::string& data, const std::vector<Component>& components,
                                 const char* variance, double entropy) {
                const auto context = chain(data, schedule, T);
                return expected_prior(context, components) +
                       expected_terms(context, components, 0, T, variance).sum().item<double>() - entropy;
            };
            for (const char* variance : {"small", "large"}) {
                INFO(key << ", T = " << T << ", " << variance);
                CHECK(std::abs(gap(data_07, gauss, variance, all["gaussian"]["entropy_nats"]) -
                               expected[std::string("gaussian_gap_nats_fixed_") + variance].get<double>()) < 1e-10);
                CHECK(std::abs(gap("preset = \"gmm1d\"", gmm1d, variance, all["gmm1d"]["entropy_nats"]) -
                               expected[std::string("gmm1d_gap_nats_fixed_") + variance].get<double>()) < 1e-10);
            }
        }
}

TEST_CASE("the parts of the bound that are logged add up to it exactly") {
    const auto context = chain("preset = \"gmm2d\"", "cosine", 40);
    const auto data = context.data->examples(at::arange(500));
    for (const char* fields : {"", "variance = \"large\"", "every_step = true"}) {
        const auto loss = make<dtk::Loss>("elbo", fields, context);
        const auto values = (*loss)(support::denoiser(context), data,
                                    make<dtk::Times>("uniform")->draw(data, *context.chain, stream).t, stream);
        REQUIRE(values.parts.size() == 3);
        REQUIRE(values.objectives.size() == 1);
        const auto& value = values.objectives.front().value;
        auto sum = at::zeros_like(value);
        for (const auto& [name, part] : values.parts) sum = sum + part;
        CHECK(at::equal(sum, value));
    }
}

TEST_CASE("the bound over every step is the sum of the terms of what the model was asked") {
    const auto context = chain("preset = \"gmm2d\"", "linear", 60);
    const auto data = batch(context, 50);
    for (const char* variance : {"small", "large"}) {
        std::vector<std::pair<Tensor, dtk::Time>> asked;
        const auto watched = support::denoiser(context).replaced(
            [&](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
                asked.emplace_back(x, t);
                return context.network->forward(x, t, condition);
            });
        const auto loss =
            make<dtk::Loss>("elbo", fmt::format("every_step = true\nvariance = \"{}\"", variance), context);
        CHECK_FALSE(loss->draws_times());
        const auto value = (*loss)(watched, data, 0, stream).objectives.front().value;
        CHECK(asked.size() == 60);
        auto sum = context.chain->prior_term(data.x);
        double times = 0;
        for (const auto& [x, t] : asked) {
            sum =
                sum + context.chain->bound_term(data.x, x, t, t.minus(1), context.network->forward(x, t, {}), variance);
            times += t.value();
        }
        CHECK(times == 60 * 59 / 2);
        CHECK(distance(value, sum) < 1e-11);
    }
}

TEST_CASE("the bound with drawn times is unbiased") {
    const auto& all = support::reference()["elbo"];
    const auto context = chain("preset = \"gmm1d\"", "cosine", 50);
    const auto data = batch(context, 200000);
    for (const auto& times : support::registry().names("times")) {
        if (has_density(times)) continue;
        const auto loss = make<dtk::Loss>("elbo", "variance = \"large\"", context);
        const auto [value, se] =
            mean_and_error(support::loss_of(*loss, support::denoiser(context), data, stream, times, context));
        const double exact = all["gmm1d"]["entropy_nats"].get<double>() +
                             all["gap_vs_T"]["cosine_T50"]["gmm1d_gap_nats_fixed_large"].get<double>();
        INFO(times << ": " << value << " ± " << se << ", exact " << exact);
        CHECK(std::abs(value - exact) < 4 * se);
    }
}

TEST_CASE("importance changes the weights of times of a density, and nothing else") {
    const auto context = chain("preset = \"gmm1d\"", "cosine", 50);
    const auto data = batch(context, 1000);
    int densities = 0;
    for (const auto& times : support::registry().names("times")) {
        if (!has_density(times)) continue;
        ++densities;
        const auto drawn = [&](const std::string& fields) {
            return make<dtk::Times>(times, fields, context)->draw(data, *context.chain, stream.stream("t"));
        };
        const auto plain = drawn("");
        CHECK((plain.weight.uniform() && plain.weight.value() == 1));
        CHECK(at::equal(plain.t.rows(1), drawn("importance = true").t.rows(1)));
    }
    CHECK(densities > 0);
}

TEST_CASE(
    "times drawn by information say how often they are drawn, weigh at most ten, and lower the scatter of the bound") {
    const auto context = chain("preset = \"gmm1d\"", "linear", 1000);
    const auto data = batch(context, 100000);
    const auto error_with = [&](const std::string& times) {
        const auto loss = make<dtk::Loss>("elbo", "", context);
        return mean_and_error(support::loss_of(*loss, support::denoiser(context), data, stream, times, context)).second;
    };
    CHECK(error_with("information") < 0.4 * error_with("uniform"));
    const auto drawn = make<dtk::Times>("information", "", context)->draw(data, *context.chain, stream);
    const auto t = drawn.t.rows(data.x.size(0)), weight = drawn.weight.rows(data.x);
    CHECK(weight.mean().item<double>() == Approx(1).epsilon(2e-3));
    CHECK(weight.max().item<double>() <= 10);
    const auto counts = at::bincount(t.to(at::kLong), {}, 1000).to(at::kDouble);
    for (const std::int64_t step : {0, 1, 20, 400, 999}) {
        const double share = 1 / (1000 * weight.index({t == static_cast<double>(step)})[0].item<double>());
        CHECK(std::abs(counts[step].item<double>() - 100000 * share) < 3);  // of each equal share of probability one
    }
}

TEST_CASE("the error by noise is that of uniform times, however often which are drawn") {
    // An error that goes from 0 to 1 and back over the times, so that it is another at every one of a tenth of them.
    const auto error = [](double u) { return std::pow(4 * u * (1 - u), 4); };
    const auto integral = [](double u) {
        return 256 * std::pow(u, 5) * (1 / 5.0 - 2 * u / 3 + 6 * u * u / 7 - u * u * u / 2 + u * u * u * u / 9);
    };
    const std::int64_t rows = 40000, steps = 1000;
    const auto context = chain("preset = \"gmm1d\"", "linear", steps);
    const auto data = batch(context, rows);
    for (const auto& times : support::registry().names("times")) {
        const auto law = make<dtk::Times>(times, has_density(times) ? "importance = true" : "", context);
        const auto drawn = law->draw(data, *context.chain, stream.stream("t"));
        const auto errors = drawn.t.map([&](double t) { return error((t + 1) / steps); }).rows(data.x);
        const auto weight = drawn.weight.rows(data.x);
        // Two parts of a batch come to what the whole of it does.
        dtk::TrainingSums sums(at::kCPU);
        for (const std::int64_t first : {0, 10000}) {
            const auto last = first == 0 ? 10000 : rows;
            const dtk::SampledTimes part{dtk::Time(drawn.t.rows(rows).slice(0, first, last)),
                                         dtk::Coefficient::of_rows(weight.slice(0, first, last))};
            const auto of_part = errors.slice(0, first, last);
            sums.add(sums.of_part(of_part, of_part, part, {}, 1.0 / rows, steps));
        }
        const auto found = sums.error_by_noise();
        const auto bins = ((drawn.t.rows(rows) + 1 - 1e-6) * 10 / steps).floor().clamp(0, 9);
        int checked = 0;
        for (int bin = 0; bin < 10; ++bin) {
            const auto inside = (bins == bin).to(at::kDouble) * weight;
            if (inside.count_nonzero().item<std::int64_t>() < 200) continue;
            ++checked;
            const double exact = 10 * (integral((bin + 1) / 10.0) - integral(bin / 10.0)),
                         se = (inside * (errors - exact)).norm().item<double>() / inside.sum().item<double>();
            INFO(times << ", tenth " << bin << ": " << found[bin] << " ± " << se << ", exact " << exact);
            // Whole steps lie up to one thousandth beside the middle of their share.
            CHECK(std::abs(found[bin] - exact) < 4 * se + 2e-3);
        }
        CHECK(checked >= 6);
    }
}

TEST_CASE("a bound has a finite gradient at every step") {
    const auto context = chain("preset = \"gmm2d\"", "linear", 50);
    const auto x0 = batch(context, 50).x;
    const auto t = at::arange(50, at::kDouble);
    for (const char* kind : {"eps", "x0", "v"})
        for (const auto& variance : context.chain->variances()) {
            INFO(kind << ", " << variance);
            const auto xt = context.chain->noised(x0, t, stream).x;
            auto answer = at::zeros_like(x0).set_requires_grad(true),
                 log_variance = at::zeros_like(x0).set_requires_grad(true);
            context.chain->bound_term(x0, xt, t, t - 1, {dtk::prediction_type(kind), answer, {}}, variance)
                .sum()
                .backward();
            CHECK(at::isfinite(answer.grad()).all().item<bool>());
            context.chain
                ->bound_term(x0, xt, t, t - 1, {dtk::prediction_type(kind), answer, log_variance.exp()}, variance)
                .sum()
                .backward();
            CHECK(at::isfinite(answer.grad()).all().item<bool>());
            CHECK(at::isfinite(log_variance.grad()).all().item<bool>());
        }
}

TEST_CASE("a step that knows x_0 costs nothing with the variance of the posterior") {
    for (const char* schedule : {"linear", "cosine", "cosine_log_snr"}) {
        const auto context = chain("preset = \"gmm2d\"", schedule, 200);
        const auto t = at::arange(1, 200, at::kDouble);
        const auto x0 = batch(context, 199).x;
        const auto xt = context.chain->noised(x0, t, stream).x;
        for (const auto& s : {t - 1, (t / 2).floor().minimum(t - 1)})
            CHECK(context.chain->bound_term(x0, xt, t, s, {dtk::PredictionType::x0, x0, {}}, "small")
                      .abs()
                      .max()
                      .item<double>() == 0);
    }
}

TEST_CASE("on unit Gaussian data the step with the large variance is the forward chain turned round") {
    // E[x_0 | x_t] = α_t x_t and p(x_s | x_t) = N(α_t/α_s·x_t, σ²_{t|s}) = q(x_s | x_t), whose term is the information
    // that x_0 adds: ½ log(σ²_t/σ²_s), in each dimension. They telescope.
    for (const char* schedule : {"linear", "cosine", "quadratic"}) {
        INFO(schedule);
        const auto context = support::exact("gaussian_mixture", "preset = \"gmm1d\"",
                                            fmt::format("decoder = \"gaussian\"\nschedule = \"{}\"", schedule));
        const auto& process = context.chain;
        const auto& gaussian = dtk::gaussian(*process, "the test");
        const auto& l = process->levels();
        double sum = 0, worst = 0, turned = 0;
        for (std::int64_t t = 1; t < 1000; ++t) {
            // x_0 given x_t is N(α x_t, σ²): two nodes each
            const auto time = at::full({4}, static_cast<double>(t), at::kDouble);
            const auto xt = at::tensor({-1.0, -1.0, 1.0, 1.0}, at::kDouble).unsqueeze(1);
            const auto mean_x0 = gaussian.alpha(time) * xt;
            const auto x0 =
                mean_x0 + gaussian.sigma(time) * at::tensor({-1.0, 1.0, -1.0, 1.0}, at::kDouble).unsqueeze(1);
            const dtk::Prediction prediction{dtk::PredictionType::x0, mean_x0, {}};
            const double term = process->bound_term(x0, xt, time, time - 1, prediction, "large").mean().item<double>();
            worst = std::max(worst, std::abs(term - 0.5 * std::log(l.sigma2(t) / l.sigma2(t - 1))));
            sum += term;
            const auto z = stream.step(t).normal(xt.sizes(), xt.options());
            const auto x = process->reverse_step(xt, prediction, time, time - 1, "large", stream.step(t));
            turned = std::max(
                turned, distance(x, l.alpha(t) / l.alpha(t - 1) * xt + std::sqrt(l.added_variance(t, t - 1)) * z));
        }
        CHECK(worst < 1e-12);
        CHECK(turned < 1e-12);
        CHECK(sum == Approx(0.5 * std::log(l.sigma2(999) / l.sigma2(0))).margin(1e-10));
    }
}

TEST_CASE("the simple loss of the exact denoiser is its known floor") {
    const auto& mixtures = support::reference()["mixtures"];
    for (const char* data : {"gmm1d", "gmm2d"})
        for (const char* schedule : {"linear", "cosine"}) {
            const auto context = chain(fmt::format("preset = \"{}\"", data), schedule, 1000);
            const auto examples = batch(context, 200000);
            const auto d = static_cast<double>(examples.x.size(1));
            for (const char* target : {"eps", "x0", "v"}) {
                const auto loss = make<dtk::Loss>("simple", fmt::format("target = \"{}\"", target), context);
                const auto [value, se] = mean_and_error(
                    support::loss_of(*loss, support::denoiser(context), examples, stream, "stratified", context));
                const double floor =
                    mixtures[data]["loss_floor"][schedule][std::string(target) + "_mse_floor_sum_over_dims"]
                        .get<double>() /
                    d;
                INFO(data << ", " << schedule << ", " << target << ": " << value << " ± " << se << ", exact " << floor);
                CHECK(std::abs(value - floor) < 4 * se + 2e-4 * floor);
            }
        }
}

TEST_CASE("the simple loss of the exact denoiser of the swiss roll is its known floor") {
    const auto context = support::exact("swiss_roll", "", "schedule = \"linear\"");
    const auto loss = make<dtk::Loss>("simple", "target = \"eps\"", context);
    const auto [value, se] = mean_and_error(
        support::loss_of(*loss, support::denoiser(context), batch(context, 4000), stream, "stratified", context));
    INFO(value << " ± " << se);
    CHECK(std::abs(2 * value - 0.473) < 8 * se + 0.001);
}

TEST_CASE("what the simple loss compares only weighs the same error: SNR for ε, 1 + SNR for v, against x_0") {
    const auto context = chain("preset = \"gmm2d\"", "linear", 1000);
    const auto data = batch(context, 1000);
    const auto t = make<dtk::Times>("uniform")->draw(data, *context.chain, stream.stream("t")).t;
    const auto values = [&](const char* target) {
        const auto loss = make<dtk::Loss>("simple", fmt::format("target = \"{}\"", target), context);
        const auto objective = (*loss)(support::denoiser(context), data, t, stream).objectives.front();
        CHECK(objective.error_of == dtk::prediction_type(target));
        return objective.value;
    };
    const auto x0 = values("x0"), eps = values("eps"), v = values("v");
    const auto& l = context.chain->levels();
    const auto snr = t.map([&](double t) { return l.snr(t); }).rows(x0);
    CHECK((eps / (snr * x0) - 1).abs().max().item<double>() < 1e-8);
    CHECK((v / ((1 + snr) * x0) - 1).abs().max().item<double>() < 1e-8);
    // The weightings go by the same numbers.
    for (const std::int64_t i : {0, 1, 2, 3})
        for (const auto& [target, expected] :
             std::map<std::string, double>{{"x0", 1}, {"eps", snr[i].item<double>()}, {"v", 1 + snr[i].item<double>()}})
            CHECK(dtk::error_per_x0(l, t.rows(0)[i].item<double>(), target, 1) == Approx(expected).epsilon(1e-9));
}

TEST_CASE("nothing a network could add to the exact denoiser lowers the simple loss to first order") {
    const auto context = chain("preset = \"gmm2d\"", "cosine", 1000);
    const auto data = batch(context, 100000);
    const auto loss = make<dtk::Loss>("simple", "target = \"eps\"", context);
    const auto n = data.x.size(0);
    // θ_i scales a direction that may depend on x_t and t; its gradient is that example's share.
    const std::vector<std::function<Tensor(const Tensor&, const dtk::Time&)>> directions{
        [](const Tensor& x, const dtk::Time&) { return at::ones_like(x); },
        [](const Tensor& x, const dtk::Time&) { return x; },
        [](const Tensor& x, const dtk::Time& t) { return at::sin(2 * x) * (t.on(x) / 1000).unsqueeze(1); },
        [](const Tensor& x, const dtk::Time&) { return x.flip(1).square(); }};
    for (std::size_t i = 0; i < directions.size(); ++i) {
        auto theta = at::zeros({n, 1}, at::kDouble).set_requires_grad(true);
        const auto moved = support::denoiser(context).replaced(
            [&](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
                const auto exact = context.network->forward(x, t, condition);
                return dtk::Prediction{
                    dtk::PredictionType::eps,
                    context.chain->convert(exact, dtk::PredictionType::eps, x, t) + theta * directions[i](x, t),
                    {}};
            });
        support::loss_of(*loss, moved, data, stream).sum().backward();
        const auto [gradient, se] = mean_and_error(theta.grad());
        INFO("direction " << i << ": " << gradient << " ± " << se);
        CHECK(std::abs(gradient) < 4 * se);
    }
}
