// What is known beforehand: conditional densities, and samplers that are to respect it. Each is asked for its own exact
// law, biased as it is; only the exact conditional denoiser is asked for the posterior.
#include <cmath>
#include <map>
#include <numbers>

#include <dtk/calibration.hpp>
#include <dtk/guidance.hpp>
#include <dtk/linearised.hpp>
#include <dtk/schedule.hpp>

#include "catch.hpp"
#include "complaint.hpp"
#include "folder.hpp"
#include "support.hpp"

using at::Tensor;
using support::distance;
using support::make;
using support::reference;

namespace {

const dtk::Random stream(3, "posteriors");
constexpr double seen_at = 1.2, rho = 0.8;  // as in the reference values

const std::string unit_pair = "preset = \"none\"\nmeans = [[0, 0]]\ncovariances = [[1, 0.8, 0.8, 1]]";

/// A mixture of which something is known, and a denoiser over it.
support::BuildContext seen_mixture(const std::string& data, const std::string& observation, const std::string& fields,
                                   const std::string& process = "", const std::string& model = "exact") {
    auto context = support::exact("gaussian_mixture", data, process);
    context.seen = make<dtk::Observation>(observation, fields, context);
    context.network = make<dtk::Model>(model, "", context);
    return context;
}

/// Two unit Gaussians with correlation 0.8, of which the first is known to be 1.2, and a denoiser over them.
support::BuildContext pair(const std::string& model = "exact", const std::string& process = "schedule = \"linear\"") {
    return seen_mixture(unit_pair, "elements", "coordinates = [0]\nvalues = [1.2]", process, model);
}

/// N(0, 1) seen at 1 with variance ½, diffused as in 2015.
support::BuildContext multiplied(std::int64_t steps, const std::string& model = "exact") {
    return seen_mixture("preset = \"none\"\nmeans = [[0]]\nstd = [1]", "elements",
                        "coordinates = [0]\nvalues = [1]\nsd = 0.70710678118654752",
                        fmt::format("steps = {}\nschedule = \"linear_alpha_bar\"\ndecoder = \"reversed\"", steps),
                        model);
}

struct Law {
    double mean = 0, variance = 1;
    explicit Law(const nlohmann::json& row) : mean(row["mean"]), variance(row["var"]) {}
    Law(double m, double v) : mean(m), variance(v) {}
};

/// Are these the mean and variance of n draws from that law?
bool hits(const Law& sample, const Law& law, double n) {
    return std::abs(sample.mean - law.mean) < 4 * std::sqrt(law.variance / n) &&
           std::abs(sample.variance - law.variance) < 4 * law.variance * std::sqrt(2 / n);
}

void check_near(const Law& got, const Law& expected, double tolerance) {
    CHECK(std::abs(got.mean - expected.mean) < tolerance);
    CHECK(std::abs(got.variance - expected.variance) < tolerance);
}

const nlohmann::json& rows() { return reference()["inpaint"]["gaussian_2d"]; }
const Law posterior{rho * seen_at, 1 - rho* rho};

/// The exact denoiser of the pair as one product, x̂_0 = α Σ (α² Σ + σ² I)⁻¹ x_t: faster than `exact`, for many samples.
dtk::Denoiser linear_denoiser(const support::BuildContext& context) {
    return {context.chain, [&](const Tensor& x, const dtk::Time& t, const dtk::Condition&) {
                const double step = t.value();
                const double alpha = context.chain->levels().alpha(step), sigma2 = context.chain->levels().sigma2(step);
                const auto covariance = at::tensor({1.0, rho, rho, 1.0}, at::kDouble).view({2, 2});
                const auto gain =
                    alpha *
                    covariance.matmul(at::linalg_inv(alpha * alpha * covariance + sigma2 * at::eye(2, at::kDouble)));
                return dtk::Prediction{dtk::PredictionType::x0, x.matmul(gain.to(x.scalar_type())), {}};
            }};
}

/// The last element's law, from n samples.
Law sampled_law(const dtk::Sampler& sampler, const support::BuildContext& context, std::int64_t n,
                const dtk::Denoiser& denoise) {
    at::NoGradGuard no_grad;
    const auto x = stream.stream("prior").normal({n, context.data->shape()[0]}, at::kFloat);
    const auto y =
        sampler.sample(support::told(context, denoise, x), sampler.times(*context.chain), x, stream.stream("steps"))
            .select(1, -1)
            .to(at::kDouble);
    return {y.mean().item<double>(), y.var().item<double>()};
}

/// The last element's law where each step makes of it A·x + B + sd·z + C·k, k what the network is shown of the elements
/// before it, which is drawn anew each time with the law that `shown` says. A, B, C and sd are read off one call with a
/// few rows. A y that is always the same tells B and C not apart, which wants a driver for such systems.
Law exact_law(const dtk::Sampler& sampler, const support::BuildContext& context,
              const std::function<Law(double t)>& shown) {
    at::NoGradGuard no_grad;
    const auto x = stream.stream("x").normal({12, context.data->shape()[0]}, at::kDouble);
    const auto draws = stream.stream("steps");
    const auto times = sampler.times(*context.chain);
    std::vector<Tensor> states;
    const dtk::Denoiser denoise(context.chain,
                                [&](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
                                    states.push_back(x);
                                    return context.network->forward(x, t, condition);
                                });
    const auto end = sampler.sample(support::told(context, denoise, x), times, x, draws);
    states.push_back(end);
    states.front() =
        at::cat({states.front().slice(1, 0, -1), x.slice(1, -1)}, 1);  // what is done to x_T belongs to the first step
    REQUIRE(states.size() == times.size() + 1);

    Law law{0, 1};
    double worst = 0;
    for (std::size_t i = 0; i < times.size(); ++i) {
        const auto z = draws.step(static_cast<std::int64_t>(i)).normal(x.sizes(), x.options()).slice(1, -1);
        const auto& before = states[i];
        const auto features = at::cat({before.slice(1, -1), at::ones_like(z), z, before.slice(1, 0, -1)}, 1),
                   after = states[i + 1].slice(1, -1);
        const auto fit = std::get<0>(at::linalg_lstsq(features, after, std::nullopt, "gelsd"));
        worst = std::max(worst, distance(features.matmul(fit), after));
        const double a = fit[0].item<double>(), b = fit[1].item<double>(), sd = fit[2].item<double>(),
                     c = fit.size(0) > 3 ? fit[3].item<double>() : 0;
        const auto k = shown(times[i]);
        law = {a * law.mean + b + c * k.mean, a * a * law.variance + sd * sd + c * c * k.variance};
    }
    CHECK(worst < 1e-10);
    return law;
}

const std::function<Law(double)> nothing_shown = [](double) { return Law{0, 0}; };

/// What the network is shown of the known element by `clamp`.
std::function<Law(double)> clamped(const support::BuildContext& context, bool noised) {
    return [&context, noised](double t) {
        const auto& levels = context.chain->levels();
        const auto step = static_cast<std::int64_t>(t);
        return noised ? Law{levels.alpha(step) * seen_at, levels.sigma2(step)} : Law{seen_at, 0};
    };
}

/// The unknown element's law under RePaint: every evaluation is shown a fresh draw of the known one, so that its mean
/// and variance go through affine maps.
Law repaint_law(const support::BuildContext& context, std::int64_t n, std::int64_t repeats, bool repeat_last,
                std::int64_t jump = 1) {
    const auto& levels = context.chain->levels();
    const auto times = make<dtk::Sampler>("ddpm", fmt::format("steps = {}", n), context)->times(*context.chain);
    // The paper's schedule of jumps, in its own numbers: x_T, T = n, is the noisiest, 0 is clean data.
    std::map<std::int64_t, std::int64_t> jumps;
    for (std::int64_t place = 1; place <= n - jump; place += jump) jumps[place] = repeats - 1;
    if (repeat_last) jumps[0] = repeats - 1;
    std::vector<std::int64_t> places{n};
    for (std::int64_t place = n; place > 0;) {
        places.push_back(--place);
        while (jumps[place] > 0) {
            --jumps[place];
            for (std::int64_t k = 0; k < jump; ++k) places.push_back(++place);
            places.push_back(--place);
        }
    }
    const auto time = [&](std::int64_t place) {
        return place == 0 ? -1.0 : times[static_cast<std::size_t>(n - place)];
    };

    Law law{0, 1};
    for (std::size_t k = 0; k + 1 < places.size(); ++k) {
        const double now = time(places[k]), next = time(places[k + 1]);
        if (next > now) {
            const double ratio = levels.alpha(next) / levels.alpha(now);
            law = {ratio * law.mean, ratio * ratio * law.variance + levels.added_variance(next, now)};
            continue;
        }
        const double alpha = levels.alpha(now), sigma2 = levels.sigma2(now);
        // x̂_0 of the unknown element, from both: α Σ (α² Σ + σ² I)⁻¹
        const double own = alpha * alpha + sigma2, other = alpha * alpha * rho, det = own * own - other * other;
        const double of_known = alpha * (rho * own - other) / det, of_unknown = alpha * (own - rho * other) / det;
        const double c0 = levels.posterior_mean_x0(now, next), ct = levels.posterior_mean_xt(now, next);
        const double a = c0 * of_unknown + ct, c = c0 * of_known;
        law = {a * law.mean + c * alpha * seen_at,
               a * a * law.variance + c * c * sigma2 + levels.posterior_variance(now, next)};
    }
    return law;
}

Tensor one(double value) { return at::full({1}, value, at::kDouble); }

/// Mean and variance of an element of a law.
Law moments(const dtk::Density& density, std::int64_t d, std::int64_t element) {
    const auto nothing = at::zeros({1, d}, at::kDouble);
    return {density.posterior_mean(nothing, one(0), one(1))[0][element].item<double>(),
            density.posterior_variance(nothing, one(0), one(1))[0][element].item<double>()};
}

/// Rows of the unit matrix.
Tensor rows_of_unit(std::int64_t d, const std::vector<std::int64_t>& which) {
    return at::eye(d, at::kDouble).index_select(0, at::tensor(which, at::kLong));
}

}  // namespace

TEST_CASE("a mixture given one of its elements is the published one") {
    const auto data = make<dtk::Dataset>("gaussian_mixture", "", support::BuildContext{});
    for (const auto& [value, expected] : reference()["inpaint"]["gmm2d_conditional_x1_given_x0"].items()) {
        INFO("x_0 = " << value);
        const auto y = at::full({1, 1}, std::stod(value), at::kDouble);
        const auto given = data->density()->given(rows_of_unit(2, {0}), y, 0);
        REQUIRE(given);
        check_near(moments(*given, 2, 1), Law(expected), 1e-12);
        check_near(moments(*given, 2, 0), {std::stod(value), 0}, 1e-12);
        CHECK(std::abs(given->entropy() - expected["entropy_nats"].get<double>()) < 1e-8);
        const auto x = at::linspace(-4, 4, 33, at::kDouble).unsqueeze(1);
        const auto w = support::tensor(expected["weights"]), m = support::tensor(expected["means"]),
                   v = support::tensor(expected["vars"]);
        const auto density = (w * (-(x - m).square() / (2 * v)).exp() / (2 * std::numbers::pi * v).sqrt()).sum(1);
        CHECK(distance(given->log_prob(at::cat({y.expand_as(x), x}, 1)), density.log()) < 1e-10);
    }
}

// log p(x | y) − log p(x) − log p(y | x) is −log p(y), whatever x; of exact y that is so among the x that agree with
// it.
TEST_CASE("a mixture given what was seen of it obeys Bayes' rule") {
    const auto data = make<dtk::Dataset>(
        "gaussian_mixture",
        "preset = \"none\"\nweights = [0.3, 0.7]\nmeans = [[0, 1, 2], [1, -1, 0]]\n"
        "covariances = [[1, 0.3, 0.2, 0.3, 0.8, -0.1, 0.2, -0.1, 0.5], [0.6, 0, 0.1, 0, 1, 0.4, 0.1, 0.4, 0.9]]",
        support::BuildContext{});
    const auto& density = *data->density();
    const auto x = data->test_examples(at::arange(20)).x.to(at::kDouble);
    const auto oblique = at::tensor({1.0, 2.0, -0.5, 0.3, 0.0, 1.0}, at::kDouble).view({2, 3});
    for (const auto& A : {rows_of_unit(3, {0, 2}), rows_of_unit(3, {2}), at::eye(3, at::kDouble), oblique}) {
        const auto y = at::tensor({0.4, 1.1, -0.2}, at::kDouble).slice(0, 0, A.size(0)).unsqueeze(0);
        for (const double sd : {0.3, 2.0}) {
            const auto given = density.given(A, y, sd);
            REQUIRE(given);
            const auto log_r = -(x.matmul(A.t()) - y).square().sum(1) / (2 * sd * sd);
            const auto rest = given->log_prob(x) - density.log_prob(x) - log_r;
            CHECK(distance(rest, rest[0]) < 1e-10);
        }
        if (A.size(0) == 3) continue;
        const auto given = density.given(A, y, 0);
        REQUIRE(given);
        const auto agreeing = x + (y - x.matmul(A.t())).matmul(at::linalg_pinv(A, 1e-12).t());
        const auto rest = given->log_prob(agreeing) - density.log_prob(agreeing);
        CHECK(distance(rest, rest[0]) < 1e-9);
        CHECK(distance(given->posterior_mean(x, one(1).expand({20}), one(1).expand({20})).matmul(A.t()),
                       y.expand({20, -1})) < 1e-12);
    }
    CHECK(distance(density.given(at::zeros({1, 3}, at::kDouble), at::zeros({1, 1}, at::kDouble), 1)->log_prob(x),
                   density.log_prob(x)) < 1e-12);
}

TEST_CASE("a law for each row is the law given that row's y") {
    const auto data = make<dtk::Dataset>("gaussian_mixture", "", support::BuildContext{});
    const auto n = std::int64_t{50'000};  // more than a portion
    const auto A = at::tensor({1.0, -0.5}, at::kDouble).view({1, 2});
    const auto x = stream.stream("x").normal({n, 2}, at::kDouble), y = stream.stream("y").normal({n, 1}, at::kDouble);
    const auto half = at::full({n}, 0.5, at::kDouble);
    const auto each = data->density()->given(A, y, 0.2);
    const auto mean = each->posterior_mean(x, half, half), variance = each->posterior_variance(x, half, half),
               log_p = each->log_prob(x);
    for (const std::int64_t i : {std::int64_t{0}, n / 2, n - 1}) {
        const auto row = [&](const Tensor& all) { return all.slice(0, i, i + 1); };
        const auto alone = data->density()->given(A, row(y), 0.2);
        CHECK(distance(row(mean), alone->posterior_mean(row(x), row(half), row(half))) < 1e-12);
        CHECK(distance(row(variance), alone->posterior_variance(row(x), row(half), row(half))) < 1e-12);
        CHECK(distance(row(log_p), alone->log_prob(row(x))) < 1e-12);
    }
}

TEST_CASE("y is written out, or measured of test examples with an error of its own") {
    support::BuildContext context;
    context.data = make<dtk::Dataset>("gaussian_mixture", "preset = \"ring8\"\nlabels = true", context);
    const auto made = [&](const std::string& fields) {
        return make<dtk::Observation>("matrix", "rows = [[1, 1], [2, 0], [0, -1]]\n" + fields, context);
    };
    const auto A = at::tensor({1.0, 1.0, 2.0, 0.0, 0.0, -1.0}, at::kDouble).view({3, 2});
    const auto test = context.data->test_examples(at::arange(2000)).x.to(at::kDouble).matmul(A.t());

    CHECK(at::equal(made("values = [1, 2, 3]\nsd = 1")->y(7, 2),
                    at::tensor({1.0, 2.0, 3.0}, at::kDouble).expand({2, 3})));
    const auto fifth = made("example = 5\nsd = 0.1");
    CHECK(at::equal(fifth->y(0, 3)[0], fifth->y(9, 1)[0]));
    CHECK(distance(fifth->y(0, 1)[0], test[5]) < 0.5);
    CHECK(distance(fifth->y(0, 1)[0], test[5]) > 1e-3);

    // Groups of four in turn, the same however the rows are portioned.
    const auto many = made("draws = 4\nsd = 0.1");
    const auto y = many->y(0, 8000);
    CHECK(at::equal(y.view({2000, 4, 3}), y.slice(0, 0, 8000, 4).unsqueeze(1).expand({2000, 4, 3})));
    CHECK(at::equal(many->y(6, 5), y.slice(0, 6, 11)));
    const auto error = (y.slice(0, 0, 8000, 4) - test) / 0.1;
    CHECK(std::abs(error.mean().item<double>()) < 4 / std::sqrt(6000.0));
    CHECK(std::abs(error.square().mean().item<double>() - 1) < 4 * std::sqrt(2 / 6000.0));
    CHECK(std::abs((error.select(1, 0) * error.select(1, 1)).mean().item<double>()) < 4 / std::sqrt(2000.0));
    // The error is none of the example's own numbers.
    CHECK(std::abs((error.select(1, 0) * test.select(1, 1)).mean().item<double>()) < 0.25);
}

TEST_CASE("every observation measures what it says, row by row, and can be derived") {
    for (const auto& name : support::registry().names("observation")) {
        INFO(name);
        int met = 0;
        for (const auto& [data, data_fields, fields] :
             {std::tuple("gaussian_mixture", "preset = \"none\"\nmeans = [[0.2, -0.4, 1]]\nstd = [1]",
                         "coordinates = [2, 0]\nsd = 0.1"),
              std::tuple("gaussian_mixture", "preset = \"none\"\nmeans = [[0.2, -0.4, 1]]\nstd = [1]",
                         "rows = [[1, 2, 3], [0, 1, 0]]\nsd = 0.1"),
              std::tuple("gaussian_mixture", "preset = \"none\"\nmeans = [[0.2, -0.4, 1]]\nstd = [1]", "sd = 0.1"),
              std::tuple("dead_leaves", "size = 8", "hidden = [1, 2, 3, 4]"),
              std::tuple("dead_leaves", "size = 8", "")}) {
            support::BuildContext context;
            context.data = make<dtk::Dataset>(data, data_fields, context);
            std::shared_ptr<dtk::Observation> seen;
            if (!complaint_of([&] { seen = make<dtk::Observation>(name, fields, context); }).empty()) continue;
            ++met;
            const auto x = context.data->test_examples(at::arange(5)).x.to(at::kDouble);
            const auto y = seen->of(x);
            CHECK(y.sizes() == at::IntArrayRef{5, seen->size()});
            CHECK(seen->y(0, 2).sizes() == at::IntArrayRef{2, seen->size()});
            CHECK(distance(seen->of(x.slice(0, 3)), y.slice(0, 3)) < 1e-12);
            CHECK(seen->of(x.to(at::kFloat)).scalar_type() == at::kFloat);
            if (seen->linear()) CHECK(distance(seen->of(2 * x - x.roll(1, 0)), 2 * y - y.roll(1, 0)) < 1e-12);
            if (seen->elements().defined()) CHECK(at::equal(y, x.flatten(1).index_select(1, seen->elements())));

            // A' w and A'ᵀ v against differences.
            const dtk::Linearised A(*seen, x);
            const auto w = stream.stream("w").normal(x.sizes(), at::kDouble),
                       v = stream.stream("v").normal(y.sizes(), at::kDouble);
            const auto slope = (seen->of(x + 1e-5 * w) - seen->of(x - 1e-5 * w)) / 2e-5;
            CHECK(distance(A.value(), y) < 1e-12);
            CHECK(distance(A.times(w), slope) < 1e-7);
            CHECK(distance((A.transposed(v) * w).flatten(1).sum(1), (v * slope).sum(1)) < 1e-6);
        }
        CHECK(met > 0);
    }
}

TEST_CASE("what is said wrongly of what is known is refused with the cure") {
    support::BuildContext context;
    context.data = make<dtk::Dataset>("gaussian_mixture", "", context);
    const auto complaint = [&](const std::string& name, const std::string& fields) {
        return complaint_of([&] { make<dtk::Observation>(name, fields, context); });
    };
    CHECK(says(complaint("elements", ""), "nothing is said of what is known | name elements, as in coordinates = [0]"));
    CHECK(says(complaint("elements", "coordinates = [0]\nvalues = [1, 2]"),
               "2 `values` for the 1 numbers that are known | give one for each"));
    CHECK(says(complaint("elements", "coordinates = [2]\nvalues = [1]"),
               "coordinate 2 of data with 2 elements | the first is 0, the last 1"));
    CHECK(says(complaint("elements", "coordinates = [-1]\nvalues = [1]"), "outside ≥ 0"));
    CHECK(says(complaint("elements", "coordinates = [0, 0]\nvalues = [1, 1]"), "coordinate 0 is given twice"));
    CHECK(says(complaint("elements", "coordinates = [0, 1]\nvalues = [1, 1]"),
               "nothing is left to be drawn | leave some of them out"));
    CHECK(complaint("elements", "coordinates = [0, 1]\nvalues = [1, 1]\nsd = 0.1").empty());
    CHECK(says(complaint("elements", "coordinates = [0]\nvalues = [1]\nexample = 3"),
               "`values` say what is known, and so does a test example"));
    CHECK(says(complaint("elements", "coordinates = [0]\nvalues = [1]\ndraws = 3"), "leave out `values`"));
    CHECK(says(complaint("elements", "coordinates = [0]\nexample = 3\ndraws = 3"), "leave one of them out"));
    CHECK(says(complaint("box", "hidden = [0, 0, 1, 1]"), "`hidden` is a box of an image, but the data have shape 2"));
    CHECK(says(complaint("downsample", ""), "downsample is of images, but the data have shape 2"));
    CHECK(says(complaint("matrix", ""), "needs `rows`"));
    CHECK(says(complaint("matrix", "rows = [[1, 2], [1]]"), "row 2 of `rows` has 1 numbers, and the data 2"));
    CHECK(says(complaint("matrix", "rows = [[1, 2], [2, 4]]"), "2 rows of rank 1"));
    CHECK(says(complaint("matrix", "rows = [[1, 2], [2, 3]]"), "nothing is left to be drawn"));
    CHECK(complaint("matrix", "rows = [[1, 2], [2, 4]]\nsd = 1").empty());
}

TEST_CASE("what stands on an observation is refused where there is none, or where it knows no error") {
    auto plain = support::exact("gaussian_mixture", "", "");
    const auto refused_by = [](const auto& context) {
        std::map<std::string, std::string> complaints;
        for (const std::string name : {"clamp", "repaint", "multiply", "diffpir", "twisted"})
            complaints[name] = complaint_of([&] { make<dtk::Sampler>(name, "", context); });
        for (const std::string name : {"dps", "pigdm", "tmpd"})
            complaints[name] = complaint_of([&] { make<dtk::Guidance>(name, "", context); });
        for (const std::string name : {"posterior", "sbc", "tarp"})
            complaints[name] = complaint_of([&] { make<dtk::Metric>(name, "", context); });
        complaints["exact_conditional"] = complaint_of([&] { make<dtk::Model>("exact_conditional", "", context); });
        return complaints;
    };
    for (const auto& [name, complaint] : refused_by(plain)) {
        INFO(name << ": " << complaint);
        CHECK(says(complaint, "needs to be told what is known of the samples | add a table [observation]"));
        CHECK(says(complaint, name));
    }
    const auto noisy = multiplied(40);
    for (const std::string name : {"clamp", "repaint"})
        CHECK(says(complaint_of([&] { make<dtk::Sampler>(name, "", noisy); }), "takes what was observed for exact"));
    CHECK(says(complaint_of([&] { make<dtk::Sampler>("multiply", "form = \"shift\"", pair()); }), "has no slope"));
    CHECK(says(complaint_of([&] { make<dtk::Sampler>("twisted", "", pair()); }), "y is exact"));
    CHECK(says(complaint_of([&] { make<dtk::Guidance>("dps", "", pair()); }), "y is exact"));
    CHECK(complaint_of([&] { make<dtk::Guidance>("dps", "form = \"step\"", pair()); }).empty());
    CHECK(says(complaint_of([&] { make<dtk::Sampler>("clamp", "variance = \"none\"", pair()); }),
               "no reverse variance `none`"));
    auto roll = support::exact("swiss_roll", "", "");
    roll.seen = make<dtk::Observation>("elements", "coordinates = [0]\nvalues = [1]", roll);
    for (const std::string name : {"exact_conditional", "posterior"})
        CHECK(says(refused_by(roll)[name], "nobody has worked it out"));
    plain.seen = make<dtk::Observation>("norm", "sd = 0.1", plain);
    for (const std::string name : {"clamp", "repaint", "multiply"})
        CHECK(says(refused_by(plain)[name], "needs to know elements of the samples themselves"));
    CHECK(says(refused_by(plain)["exact_conditional"], "nobody has worked it out"));
    CHECK(says(refused_by(plain)["sbc"], "all samples are for one y | set draws = 50"));
    CHECK(says(refused_by(plain)["tarp"], "all samples are for one y"));
    plain.seen = make<dtk::Observation>("elements", "coordinates = [0]\ndraws = 5", plain);
    CHECK(says(refused_by(plain)["posterior"], "there is a y for every few of them | use metrics sbc and tarp"));
    CHECK(says(complaint_of([&] {
                   const auto ddpm = make<dtk::Sampler>("clamp", "steps = 2", plain);
                   const auto x = at::zeros({1, 2}, at::kDouble);
                   ddpm->sample(support::denoiser(plain), ddpm->times(*plain.chain), x, stream);
               }),
               "nobody says what was observed"));
}

TEST_CASE("clamp makes of two Gaussians exactly what the published recursion says") {
    const auto context = pair();
    for (const int n : {50, 250, 1000})
        for (const bool noised : {false, true}) {
            INFO(n << " steps, noised = " << noised);
            const Law expected(rows()[noised ? "replace_noised" : "replace_clean"][std::to_string(n)]);
            const auto clamp = make<dtk::Sampler>("clamp", fmt::format("steps = {}\nnoised = {}", n, noised), context);
            check_near(exact_law(*clamp, context, clamped(context, noised)), expected, 1e-7);
            CHECK_FALSE(hits(expected, posterior, 1e5));
        }
}

TEST_CASE("the recursion of repaint is the published one") {
    const auto context = pair();
    for (const auto& [name, n, repeats] : {std::tuple("N=50,U=10", 50, 10), std::tuple("N=250,U=10", 250, 10),
                                           std::tuple("N=250,U=100", 250, 100), std::tuple("N=1000,U=10", 1000, 10)}) {
        INFO(name);
        const Law expected(rows()["replace_noised_repaint_resample"][name]);
        check_near(repaint_law(context, n, repeats, true), expected, 1e-10);
        CHECK_FALSE(hits(expected, posterior, 1e5));
        CHECK_FALSE(hits(repaint_law(context, n, repeats, false), posterior, 1e5));
    }
    check_near(repaint_law(context, 50, 1, true), Law(rows()["replace_noised"]["50"]), 1e-10);
}

namespace {
void check_clamp(std::int64_t steps, bool noised, std::int64_t n) {
    INFO(steps << " steps, noised = " << noised);
    const auto context = pair();
    const auto clamp = make<dtk::Sampler>("clamp", fmt::format("steps = {}\nnoised = {}", steps, noised), context);
    const auto law = sampled_law(*clamp, context, n, linear_denoiser(context));
    INFO(law.mean << ", " << law.variance);
    CHECK(hits(law, Law(rows()[noised ? "replace_noised" : "replace_clean"][std::to_string(steps)]),
               static_cast<double>(n)));
    CHECK_FALSE(hits(law, posterior, static_cast<double>(n)));
}

void check_repaint(std::int64_t steps, std::int64_t repeats, bool repeat_last, std::int64_t n, std::int64_t jump = 1) {
    INFO(steps << " steps, " << repeats << " repeats of " << jump << ", of the last one, too: " << repeat_last);
    const auto context = pair();
    const auto repaint = make<dtk::Sampler>(
        "repaint",
        fmt::format("steps = {}\njump = {}\nrepeats = {}\nrepeat_last = {}", steps, jump, repeats, repeat_last),
        context);
    const auto law = sampled_law(*repaint, context, n, linear_denoiser(context));
    INFO(law.mean << ", " << law.variance);
    CHECK(hits(law, repaint_law(context, steps, repeats, repeat_last, jump), static_cast<double>(n)));
    CHECK_FALSE(hits(law, posterior, static_cast<double>(n)));
}
}  // namespace

TEST_CASE("samples of clamp have its own law, with noise that is fresh at each step") {
    for (const bool noised : {false, true}) check_clamp(50, noised, 100'000);
}

TEST_CASE("samples of repaint have its own law") {
    for (const bool repeat_last : {false, true}) check_repaint(50, 10, repeat_last, 10'000);
    for (const bool repeat_last : {false, true}) check_repaint(25, 4, repeat_last, 20'000, 6);
}

TEST_CASE("100,000 samples in many steps have the sampler's own law", "[slow]") {
    for (const int steps : {250, 1000})
        for (const bool noised : {false, true}) check_clamp(steps, noised, 100'000);
    check_repaint(50, 10, true, 100'000);
    check_repaint(250, 10, true, 100'000);
}

TEST_CASE("samples of repaint, multiply and the exact conditional denoiser in many steps have their own law",
          "[slow]") {
    check_repaint(1000, 10, true, 20'000);
    const auto context = pair("exact_conditional");
    const auto ddpm = make<dtk::Sampler>("ddpm", "steps = 1000", context);
    const auto law = sampled_law(*ddpm, context, 100'000, support::denoiser(context));
    INFO(law.mean << ", " << law.variance);
    CHECK(hits(law, Law(rows()["exact_conditional_score"]["1000"]), 1e5));
    const auto line = multiplied(40);
    for (const auto& [key, fields] :
         {std::pair("T40_r_const_product", ""), std::pair("T40_r_power_product", "power = \"linear\"")})
        CHECK(hits(sampled_law(*make<dtk::Sampler>("multiply", fmt::format("variance = \"large\"\n{}", fields), line),
                               line, 100'000, support::denoiser(line)),
                   Law(reference()["inpaint"]["multiply_distributions_gaussian"][key]), 1e5));
}

TEST_CASE("repaint without repeats is clamp with noise") {
    at::NoGradGuard no_grad;
    const auto context = pair();
    const auto x = stream.normal({50, 2}, at::kDouble);
    const auto sampled = [&](const std::string& name, const std::string& fields) {
        const auto sampler = make<dtk::Sampler>(name, "steps = 20\n" + fields, context);
        return sampler->sample(support::denoiser(context, x), sampler->times(*context.chain), x, stream);
    };
    CHECK(at::equal(sampled("repaint", "repeats = 1"), sampled("clamp", "noised = true")));
    CHECK_FALSE(at::equal(sampled("repaint", "repeats = 2"), sampled("clamp", "noised = true")));
}

TEST_CASE("what is known exactly is so in every sample") {
    at::NoGradGuard no_grad;
    for (const auto& [name, model] :
         {std::pair("clamp", "exact"), std::pair("repaint", "exact"), std::pair("multiply", "exact"),
          std::pair("ddpm", "exact_conditional"), std::pair("ddim", "exact_conditional")}) {
        INFO(name);
        const auto context = pair(model);
        const auto sampler = make<dtk::Sampler>(name, "steps = 10", context);
        const auto start = stream.normal({20, 2}, at::kFloat);
        const auto x =
            sampler->sample(support::denoiser(context, start), sampler->times(*context.chain), start, stream);
        CHECK((x.select(1, 0) == static_cast<float>(seen_at)).all().item<bool>());
    }
}

TEST_CASE("with the exact conditional denoiser ddpm comes to the posterior as the published recursion says") {
    const auto context = pair("exact_conditional");
    for (const int n : {50, 250, 1000}) {
        INFO(n << " steps");
        const auto ddpm = make<dtk::Sampler>("ddpm", fmt::format("steps = {}", n), context);
        check_near(exact_law(*ddpm, context, clamped(context, true)),
                   Law(rows()["exact_conditional_score"][std::to_string(n)]), 1e-7);
    }
    CHECK(hits(Law(rows()["exact_conditional_score"]["1000"]), posterior, 1e5));
}

// The published chain has the variance β in its last step too, where ours ends in x̂_0 itself.
TEST_CASE("with the exact conditional denoiser the chain of 2015 is the h-transform") {
    for (const int T : {40, 1000}) {
        INFO("T = " << T);
        auto context = multiplied(T, "exact_conditional");
        context.chain =
            make<dtk::Process>("gaussian", fmt::format("steps = {}\nschedule = \"linear_alpha_bar\"", T), context);
        context.network = make<dtk::Model>("exact_conditional", "", context);
        const auto law =
            exact_law(*make<dtk::Sampler>("ddpm", "variance = \"large\"", context), context, nothing_shown);
        const Law published(
            reference()["inpaint"]["multiply_distributions_gaussian"][fmt::format("T{}_h_transform_shift", T)]);
        check_near(law, {published.mean, published.variance - context.chain->levels().added_variance(0, -1)}, 1e-7);
    }
}

// The published chain ends at β_T = 1 − 10⁻⁹, ours at 1: 10⁻⁹ in variance, 3·10⁻⁵ in the mean of a first step that is
// soon forgotten.
TEST_CASE("multiply makes exactly what the published recursion says, which is not the posterior") {
    const auto& published = reference()["inpaint"]["multiply_distributions_gaussian"];
    for (const int T : {40, 1000})
        for (const auto& [key, fields] :
             {std::pair("r_const_product", ""), std::pair("r_const_shift", "form = \"shift\""),
              std::pair("r_power_product", "power = \"linear\"")}) {
            INFO("T = " << T << ", " << key);
            const auto context = multiplied(T);
            const auto law =
                exact_law(*make<dtk::Sampler>("multiply", fmt::format("variance = \"large\"\n{}", fields), context),
                          context, nothing_shown);
            check_near(law, Law(published[fmt::format("T{}_{}", T, key)]), 1e-7);
            CHECK_FALSE(hits(law, Law(published["exact"]), 1e5));
        }
    const auto context = multiplied(1000);
    const auto constant =
        exact_law(*make<dtk::Sampler>("multiply", "variance = \"large\"", context), context, nothing_shown);
    check_near(constant, Law(published["limit_of_r_const_as_T_grows_is_p_r_squared"]), 1e-3);
}

TEST_CASE("multiply by what is known exactly is clamp") {
    at::NoGradGuard no_grad;
    const auto context = pair();
    const auto x = stream.normal({50, 2}, at::kDouble);
    const auto sampled = [&](const std::string& name) {
        const auto sampler = make<dtk::Sampler>(name, "steps = 20", context);
        return sampler->sample(support::denoiser(context, x), sampler->times(*context.chain), x, stream);
    };
    CHECK(distance(sampled("multiply"), sampled("clamp")) < 1e-12);
}

TEST_CASE("the metric tells samples of the posterior from others, and lists what it compared") {
    const auto context = seen_mixture("", "elements", "coordinates = [0]\nvalues = [0]");
    const auto metric = make<dtk::Metric>("posterior", "", context);
    const auto measured = [&](const Tensor& x1, double x0 = 0) {
        return metric->evaluate(support::input(context, at::stack({at::full_like(x1, x0), x1}, 1)),
                                dtk::Random(1, "metric"));
    };
    const auto& expected = reference()["inpaint"]["gmm2d_conditional_x1_given_x0"]["0.0"];
    // Samples from the published weights, means and variances.
    const std::int64_t n = 20'000;
    const auto k =
        at::searchsorted(support::tensor(expected["weights"]).cumsum(0), stream.uniform({n}, at::kDouble)).clamp_max(2);
    const auto truth = support::tensor(expected["means"]).index_select(0, k) +
                       support::tensor(expected["vars"]).index_select(0, k).sqrt() * stream.normal({n}, at::kDouble);

    const auto good = measured(truth);
    CHECK(good.passes().value());
    // Of the larger of two |z|: 2/√π and √(1 − 2/π); the 99.9 % point solves erf(z/√2)² = 0.999.
    CHECK(good.expected.value() == Approx(2 / std::sqrt(std::numbers::pi)).epsilon(1e-6));
    CHECK(good.expected_sd == Approx(std::sqrt(1 - 2 / std::numbers::pi)).epsilon(1e-6));
    CHECK(std::pow(std::erf(good.limit.value() / std::numbers::sqrt2), 2) == Approx(0.999).epsilon(1e-9));
    REQUIRE(good.parts.size() == 4);
    CHECK(good.parts[0] == std::pair<std::string, double>("x_1 mean", truth.mean().item<double>()));
    CHECK(good.parts[1].second == Approx(expected["mean"].get<double>()).epsilon(1e-9));
    CHECK(good.parts[3].first == "x_1 exact variance");
    CHECK(good.parts[3].second == Approx(expected["var"].get<double>()).epsilon(1e-9));

    const double se = std::sqrt(expected["var"].get<double>() / n);
    CHECK(measured(truth + 6 * se).value == Approx(6).margin(3));
    CHECK_FALSE(measured(truth + 10 * se).passes().value());
    CHECK_FALSE(measured(truth.mean() + 1.05 * (truth - truth.mean())).passes().value());
    CHECK_FALSE(measured(at::full({n}, NAN, at::kDouble)).passes().value());
    CHECK(std::isinf(measured(truth, 0.01).value));
    CHECK(says(measured(truth, 0.01).note, "missed by up to 0.01"));
}

TEST_CASE("true samples miss the metric about once in a thousand times") {
    const auto context = multiplied(40);
    const auto metric = make<dtk::Metric>("posterior", "", context);
    int missed = 0;
    double sum = 0;
    constexpr int times = 500;
    for (int i = 0; i < times; ++i) {
        const auto x = 2.0 / 3 + std::sqrt(1.0 / 3) * stream.step(i).normal({2000, 1}, at::kDouble);
        const auto m = metric->evaluate(support::input(context, x), dtk::Random(1, "metric"));
        missed += !m.passes().value();
        sum += (m.value - m.expected.value()) / m.expected_sd;
    }
    CHECK(missed <= 4);  // Poisson with mean ½: one in five thousand
    CHECK(std::abs(sum / times) < 4 / std::sqrt(times));
}

TEST_CASE("of an image all is known but the hidden box") {
    const Folder folder;
    const auto write = [&](const char* name, int n) {
        std::string bytes{'\0', '\0', '\x08', '\x03', '\0', '\0', '\0', static_cast<char>(n),
                          '\0', '\0', '\0',   '\4',   '\0', '\0', '\0', '\5'};
        for (int i = 0; i < n * 20; ++i) bytes += static_cast<char>(5 * i + 1);
        dtk::write_atomically(folder / name, bytes);
    };
    write("train-images-idx3-ubyte", 3), write("t10k-images-idx3-ubyte", 2);
    support::BuildContext context;
    context.data = make<dtk::Dataset>(
        "idx", fmt::format("folder = \"{}\"\nlabels = \"\"\ntest_labels = \"\"", folder.path.string()), context);
    const auto seen = make<dtk::Observation>("box", "hidden = [1, 2, 2, 3]\nexample = 1", context);
    CHECK(seen->size() == 14);
    const auto picture = context.data->test_examples(at::ones({1}, at::kLong)).x;
    const auto [mask, value] = dtk::known_elements(*seen, seen->y(0, 3), at::zeros({3, 1, 4, 5}));
    CHECK(mask.sizes() == at::IntArrayRef{1, 1, 4, 5});
    CHECK(mask.sum().item<std::int64_t>() == 14);
    CHECK(mask.slice(2, 1, 3).slice(3, 2, 5).sum().item<std::int64_t>() == 0);
    CHECK(at::equal(value, at::where(mask, picture, 0).expand({3, 1, 4, 5})));
    CHECK_FALSE(seen->posterior(seen->y(0, 1)));

    const auto complaint = [&](const std::string& name, const std::string& fields) {
        return complaint_of([&] { make<dtk::Observation>(name, fields, context); });
    };
    CHECK(says(complaint("elements", "coordinates = [0]\nvalues = [1]"),
               "`coordinates` are of vectors, but the data are 1 × 4 × 5 | use observation `box`"));
    CHECK(says(complaint("box", "hidden = [1, 2]"),
               "`hidden` has 2 numbers, not 4 | write hidden = [top, left, height, width]"));
    CHECK(says(complaint("box", "hidden = [1, 3, 2, 3]"),
               "a hidden box of 2 × 3 from row 1 and column 3 does not lie in images of 4 × 5"));
    CHECK(says(complaint("box", "hidden = [0, 0, 0, 3]"), "does not lie in images"));
    CHECK(says(complaint("box", "hidden = [0, 0, 4, 5]"), "so that nothing is known"));
    CHECK(says(complaint("box", "hidden = [1, 2, 2, 3]\nexample = 2"),
               "`example` = 2, but there are 2 test examples | the last is 1"));
    CHECK(says(complaint("downsample", "factor = 2"), "images of 4 × 5 have no whole blocks of 2 × 2"));
}

// ---- Guidance by what is known: what becomes of N(0, 80²) by the flow.

namespace {
/// σ = 80 … 10⁻⁵ and all between, with α = 1.
support::BuildContext from_80(const std::string& data, const std::string& observation, const std::string& fields) {
    return seen_mixture(data, observation, fields, "schedule = {use = \"edm\", sigma_max = 80}");
}

struct AffineLaw {
    Tensor mean, covariance;
};
/// The law at the end of the flow, which is an affine map of x_T for normal data; x_T ~ N(0, sd² I).
AffineLaw flowed(const support::BuildContext& context, const dtk::Denoiser& denoise, double sd,
                 const dtk::Sampler& sampler) {
    at::NoGradGuard no_grad;
    const auto d = context.data->shape()[0];
    const auto x = at::cat({at::zeros({1, d}, at::kDouble), at::eye(d, at::kDouble)});
    const auto y = sampler.sample(support::told(context, denoise, x), sampler.times(*context.chain), x, stream);
    const auto map = sd * (y.slice(0, 1) - y[0]);
    return {y[0], map.t().matmul(map)};
}
dtk::Denoiser guided(const support::BuildContext& context, const std::string& name, const std::string& fields = "") {
    static std::vector<std::shared_ptr<dtk::Guidance>> kept;
    kept.push_back(make<dtk::Guidance>(name, fields, context));
    return kept.back()->around(support::denoiser(context));
}
const std::string karras = "grid = {use = \"karras\", sigma_min = 1e-5, sigma_max = 80}";
}  // namespace

// By fourth-order Runge–Kutta in log σ with 40,000 steps, in agreement with the published table.
TEST_CASE("guidance by what is known makes of normal data what the flow says, and only tmpd the posterior") {
    struct Row {
        const char *guidance, *data, *seen;
        double mean, sd;
    };
    const auto *unit = "preset = \"none\"\nmeans = [[0]]\nstd = [1]",
               *narrow = "preset = \"none\"\nmeans = [[0.3]]\nstd = [0.5]",
               *loose = "coordinates = [0]\nvalues = [1]\nsd = 0.5",
               *tight = "coordinates = [0]\nvalues = [1]\nsd = 0.2";
    for (const auto& [guidance, data, seen, mean, sd] :
         {Row{"tmpd", unit, loose, 0.7955279, 0.4472066}, Row{"pigdm", unit, loose, 0.7955279, 0.4472066},
          Row{"dps", unit, loose, 1.2732092, 0.1353670}, Row{"tmpd", narrow, tight, 0.9013512, 0.1856948},
          Row{"pigdm", narrow, tight, 0.7703211, 0.2286471}, Row{"dps", narrow, tight, 1.1770031, 0.0219707}}) {
        const auto context = from_80(data, "elements", seen);
        const auto heun = make<dtk::Sampler>(
            "heun", fmt::format("steps = {}\n{}", guidance == std::string("dps") ? 2000 : 500, karras), context);
        const auto law = flowed(context, guided(context, guidance), 80, *heun);
        INFO(guidance << ": " << law.mean.item<double>() << ", " << std::sqrt(law.covariance.item<double>()));
        CHECK(law.mean.item<double>() == Approx(mean).epsilon(2e-4));
        CHECK(std::sqrt(law.covariance.item<double>()) == Approx(sd).epsilon(2e-4));
    }
}

TEST_CASE("of normal data tmpd is the exact conditional denoiser, whatever the noise and the matrix") {
    const std::string three =
        "preset = \"none\"\nmeans = [[0.3, -1, 0.5]]\n"
        "covariances = [[1, 0.6, -0.2, 0.6, 0.8, 0.1, -0.2, 0.1, 0.5]]";
    std::string rows, means = "0.1", covariances;  // of ten numbers out of twelve
    for (int i = 0; i < 12; ++i) {
        std::string row;
        for (int j = 0; j < 12; ++j) {
            row += fmt::format("{}{:.3f}", j ? ", " : "", std::sin(3.0 * i + 0.7 * j * j + 1));
            covariances += fmt::format("{}{:.6f}", i + j ? ", " : "", std::pow(0.6, std::abs(i - j)));
        }
        if (i < 10) rows += fmt::format("{}[{}]", i ? ", " : "", row);
        if (i > 0) means += ", 0.1";
    }
    const auto twelve = fmt::format("preset = \"none\"\nmeans = [[{}]]\ncovariances = [[{}]]", means, covariances);
    for (const auto& [data, seen] :
         {std::pair(three, std::string("rows = [[1, 0.5, 0], [0.2, -1, 2]]\nexample = 3\nsd = 0.3")),
          std::pair(three, std::string("rows = [[1, 0.5, 0]]\nvalues = [0.7]")),
          std::pair(twelve, fmt::format("rows = [{}]\nexample = 1\nsd = 0.4", rows))})
        for (const auto* schedule :
             {"\"linear\"", "\"vp\"", "\"flow\"", "\"edm\"", "{use = \"zero_terminal_snr\", of = \"linear\"}"}) {
            const auto process = fmt::format("schedule = {}", schedule);
            const auto context = seen_mixture(data, "matrix", seen, process),
                       exact = seen_mixture(data, "matrix", seen, process, "exact_conditional");
            const auto x = stream.normal({4, context.data->shape()[0]}, at::kDouble);
            const auto guided_by = guided(context, "tmpd", "iterations = 10");
            for (const double t : {0.0, 30.5, 400.0, 950.0}) {
                INFO(schedule << ", t = " << t << ", " << context.seen->size() << " numbers");
                const auto got = support::told(context, guided_by, x).x0(x, t);
                CHECK(distance(got, support::denoiser(exact, x).x0(x, t)) < 1e-6);
                if (t == 400) CHECK(distance(got, support::denoiser(context, x).x0(x, t)) > 1e-2);
            }
        }
}

TEST_CASE("guidance by what is known has a time for each row, and a row of its own") {
    const auto context = seen_mixture("", "matrix", "rows = [[1, 0.5]]\ndraws = 1\nsd = 0.3");
    const auto x = stream.normal({3, 2}, at::kDouble);
    const auto times = at::tensor({20.0, 400.0, 800.0}, at::kDouble);
    for (const auto* name : {"dps", "pigdm", "tmpd"}) {
        INFO(name);
        const auto denoise = support::told(context, guided(context, name), x);
        const auto together = denoise.x0(x, dtk::Time(times));
        for (std::int64_t i = 0; i < 3; ++i) {
            const auto alone = denoise.with(denoise.condition().chunk(i, 1));
            CHECK(distance(together.slice(0, i, i + 1), alone.x0(x.slice(0, i, i + 1), times[i].item<double>())) <
                  1e-10);
        }
    }
}

TEST_CASE("where x_t says nothing of y, guidance by it leaves the estimate as it is") {
    const auto context = seen_mixture("", "elements", "coordinates = [0]\nvalues = [1]\nsd = 0.3",
                                      "schedule = {use = \"zero_terminal_snr\", of = \"linear\"}");
    const auto x = stream.normal({3, 2}, at::kDouble);
    for (const auto* name : {"dps", "pigdm", "tmpd"})
        CHECK(at::equal(support::told(context, guided(context, name), x).x0(x, 999),
                        support::denoiser(context).x0(x, 999)));
}

TEST_CASE("conjugate gradients solve each row by itself, and rest in rows that are solved") {
    const auto M = stream.stream("M").normal({3, 12, 12}, at::kDouble);
    const auto S = M.bmm(M.transpose(1, 2)) + at::eye(12, at::kDouble);
    const auto times = [](const Tensor& S) {
        return [S](const Tensor& v) { return S.bmm(v.unsqueeze(2)).squeeze(2); };
    };
    auto b = stream.stream("b").normal({3, 12}, at::kDouble);
    b[1].zero_();
    const auto u = dtk::solved(times(S), b, 100);
    CHECK(distance(times(S)(u), b) < 1e-8);
    CHECK((u[1] == 0).all().item<bool>());
    CHECK(distance(dtk::solved(times(S.slice(0, 2)), b.slice(0, 2), 100)[0], u[2]) < 1e-12);
    CHECK(distance(dtk::solved(times(S), b, 2), u) > 1e-3);
    // As many numbers as are solved exactly.
    const auto small = S.slice(1, 0, 5).slice(2, 0, 5).contiguous();
    CHECK(distance(times(small)(dtk::solved(times(small), b.slice(1, 0, 5).contiguous(), 1)), b.slice(1, 0, 5)) <
          1e-10);
}

TEST_CASE("dps by steps moves each reverse step by a length that the error of y has no part in") {
    at::NoGradGuard no_grad;
    const auto context = seen_mixture("preset = \"none\"\nmeans = [[0, 0]]\nstd = [1]", "matrix",
                                      "rows = [[3, 4]]\nvalues = [2]", "schedule = \"linear\"");
    const auto x = stream.normal({5, 2}, at::kDouble);
    const double t = 500, s = 450, alpha = context.chain->levels().alpha(t);
    const auto plain = support::denoiser(context, x).reverse(x, t, s, "small");
    const auto moved =
        support::told(context, guided(context, "dps", "form = \"step\"\nscale = 0.3"), x).reverse(x, t, s, "small");
    // x̂_0 = α x, and ∇‖y − A x̂_0‖²/‖y − A x̂_0‖ = −2 α Aᵀ sign(y − A x̂_0).
    const auto A = at::tensor({3.0, 4.0}, at::kDouble);
    const auto sign = (2 - alpha * x.matmul(A)).sign().unsqueeze(1);
    CHECK(distance(moved.mean, plain.mean + 0.3 * 2 * alpha * sign * A) < 1e-10);
    CHECK(at::equal(moved.variance, plain.variance));
}

TEST_CASE("diffpir makes of a normal law what its recursion says") {
    const auto context = from_80("preset = \"none\"\nmeans = [[0.3]]\nstd = [0.5]", "elements",
                                 "coordinates = [0]\nvalues = [1]\nsd = 0.2");
    for (const auto& [lambda, xi] : {std::pair(1.0, 0.3), std::pair(7.0, 1.0), std::pair(0.5, 0.0)}) {
        const auto sampler = make<dtk::Sampler>(
            "diffpir", fmt::format("steps = 40\n{}\nlambda = {:.1f}\nxi = {:.1f}", karras, lambda, xi), context);
        const auto times = sampler->times(*context.chain);
        const auto& levels = context.chain->levels();
        double mean = 0, variance = 80 * 80;
        for (std::size_t i = 0; i < times.size(); ++i) {
            const double s2 = levels.sigma2(times[i]), next = i + 1 < times.size() ? levels.sigma(times[i + 1]) : 0;
            // x̂_0' = (1 − g)(a x + b) + g y,  and of x − x̂_0' the share k is kept.
            const double a = 0.25 / (0.25 + s2), b = 0.3 * s2 / (0.25 + s2), g = 1 / (1 + lambda * 0.04 / s2);
            const double k = std::sqrt(1 - xi) * next / std::sqrt(s2);
            const double slope = (1 - g) * a * (1 - k) + k;
            mean = slope * mean + (1 - k) * ((1 - g) * b + g);
            variance = slope * slope * variance + xi * next * next;
        }
        const std::int64_t n = 40'000;
        at::NoGradGuard no_grad;
        const auto x = 80 * stream.stream("prior").normal({n, 1}, at::kDouble);
        const auto y = sampler->sample(support::denoiser(context, x), times, x, stream.stream("steps"));
        INFO(lambda << ", " << xi << ": " << mean << ", " << variance);
        CHECK(hits({y.mean().item<double>(), y.var().item<double>()}, {mean, variance}, n));
    }
}

TEST_CASE("diffpir solves for known elements as for the matrix that picks them") {
    const std::string data = "preset = \"none\"\nmeans = [[0.3, 1.0, -0.5]]\nstd = [0.5]";
    std::vector<Tensor> drawn;
    for (const auto& [observation, fields] :
         {std::pair("elements", "coordinates = [2, 0]\nvalues = [1, -1]\nsd = 0.2"),
          std::pair("matrix", "rows = [[0, 0, 1], [1, 0, 0]]\nvalues = [1, -1]\nsd = 0.2")}) {
        const auto context = from_80(data, observation, fields);
        const auto sampler = make<dtk::Sampler>("diffpir", fmt::format("steps = 12\n{}\nlambda = 3", karras), context);
        at::NoGradGuard no_grad;
        const auto x = 80 * stream.stream("prior").normal({50, 3}, at::kDouble);
        drawn.push_back(
            sampler->sample(support::denoiser(context, x), sampler->times(*context.chain), x, stream.stream("steps")));
    }
    CHECK(distance(drawn[0], drawn[1]) < 1e-10);
}

namespace {
/// Samples of twisted; every sample has particles of its own.
Tensor twisted(const support::BuildContext& context, std::int64_t n, std::int64_t particles, std::int64_t steps) {
    at::NoGradGuard no_grad;
    const auto sampler = make<dtk::Sampler>(
        "twisted", fmt::format("steps = {}\nparticles = {}\ngrid = \"uniform_log_snr\"", steps, particles), context);
    const auto x = stream.stream("prior").normal({n, context.data->shape()[0]}, at::kDouble);
    return sampler->sample(support::denoiser(context, x), sampler->times(*context.chain), x, stream.stream("steps"));
}
}  // namespace

// The steps themselves lose spread: those that know nothing of y end with so much of the variance of normal data.
namespace {
double share_of_variance(const support::BuildContext& context, const std::vector<double>& times) {
    const auto& levels = context.chain->levels();
    double variance = 1;
    for (const auto& [i, t, s, last] : dtk::steps_along(times)) {
        const double alpha = levels.alpha(t), gain = alpha / (alpha * alpha + levels.sigma2(t));
        const double slope = levels.posterior_mean_x0(t, s) * gain + levels.posterior_mean_xt(t, s);
        variance = slope * slope * variance + levels.posterior_variance(t, s);
    }
    return variance;
}
}  // namespace

TEST_CASE("twisted comes to what its steps have given y with more particles") {
    const auto context = seen_mixture("preset = \"none\"\nmeans = [[0.3, 0]]\ncovariances = [[0.25, 0.2, 0.2, 1]]",
                                      "elements", "coordinates = [0]\nvalues = [1]\nsd = 0.2", "schedule = \"linear\"");
    const auto x = twisted(context, 3000, 1, 60), y = twisted(context, 3000, 24, 60);
    const double kept = share_of_variance(
        context, make<dtk::Sampler>("ddpm", "steps = 60\ngrid = \"uniform_log_snr\"", context)->times(*context.chain));
    const double v = 0.25 * kept, gain = v / (v + 0.04);
    const Law first{0.3 + gain * 0.7, gain * 0.04}, second{0.8 * gain * 0.7, 0.64 * first.variance + kept * (1 - 0.16)};
    const auto law = [](const Tensor& x, int k) {
        return Law{x.select(1, k).mean().item<double>(), x.select(1, k).var().item<double>()};
    };
    INFO(law(x, 0).mean << ", " << law(x, 0).variance << "; " << law(y, 0).mean << ", " << law(y, 0).variance << "; "
                        << first.mean << ", " << first.variance);
    CHECK_FALSE(hits(law(x, 0), first, 3000));
    CHECK(hits(law(y, 0), first, 3000));
    CHECK(hits(law(y, 1), second, 3000));
}

TEST_CASE("every particle of twisted starts where the grid does") {
    const auto context = seen_mixture("", "elements", "coordinates = [0]\nvalues = [1]\nsd = 0.2",
                                      "schedule = {use = \"edm\", sigma_max = 80}");
    const auto sampler =
        make<dtk::Sampler>("twisted", "steps = 2\nparticles = 500\ngrid = {use = \"karras\", sigma_max = 5}", context);
    Tensor first;
    const auto watched =
        support::denoiser(context).replaced([&](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
            if (!first.defined()) first = x.detach();
            return context.network->forward(x, t, condition);
        });
    const auto x = at::zeros({4, 2}, at::kDouble);
    sampler->sample(support::told(context, watched, x), sampler->times(*context.chain), x, stream);
    CHECK(first.std().item<double>() == Approx(5).epsilon(0.05));
}

TEST_CASE("twisted takes any operator") {
    // Normal data around 0.5 whose length is 1.5, with an error of 0.3: a hump on each side of 0, of a weight that is
    // known.
    const auto context = seen_mixture("preset = \"none\"\nmeans = [[0.5]]\nstd = [1]", "norm",
                                      "values = [1.5]\nsd = 0.3", "schedule = \"linear\"");
    const double kept = share_of_variance(
        context, make<dtk::Sampler>("ddpm", "steps = 60\ngrid = \"uniform_log_snr\"", context)->times(*context.chain));
    double right = 0, all = 0, square = 0;
    for (double x = -6; x < 6; x += 1e-3) {
        const double p = std::exp(-0.5 * std::pow(x - 0.5, 2) / kept - 0.5 * std::pow((std::abs(x) - 1.5) / 0.3, 2));
        all += p, right += x > 0 ? p : 0, square += x * x * p;
    }
    const std::int64_t n = 3000;
    const auto x = twisted(context, n, 32, 60);
    const double share = right / all, on_right = (x > 0).to(at::kDouble).mean().item<double>();
    INFO(on_right << " on the right of " << share << ", mean square " << square / all);
    CHECK(on_right == Approx(share).margin(4 * std::sqrt(share * (1 - share) / n)));
    CHECK(x.square().mean().item<double>() == Approx(square / all).margin(0.06));
}

// ---- Calibration: is x* one more of the samples?

namespace {
/// Two unit Gaussians with correlation 0.8, the first seen with sd 0.5; L samples for each of the y.
support::BuildContext seen_in_groups(std::int64_t draws) {
    return seen_mixture(unit_pair, "elements", fmt::format("coordinates = [0]\ndraws = {}\nsd = 0.5", draws));
}

/// Samples of the posterior, N(0.8 y, 0.2) of the first and what follows for the second, moved and scaled about its
/// mean.
Tensor samples_of_posterior(const support::BuildContext& context, std::int64_t groups, double shift, double scale,
                            const dtk::Random& random) {
    const auto n = groups * context.seen->draws();
    const auto y = context.seen->y(0, n), z = random.normal({n, 2}, at::kDouble);
    const auto first = std::sqrt(0.2) * (scale * z.select(1, 0) + shift), mean = 0.8 * y.select(1, 0);
    return at::stack({mean + first, rho * (mean + first) + 0.6 * z.select(1, 1)}, 1);
}
}  // namespace

TEST_CASE("sbc and tarp pass the posterior as often as they say, and find a shift and a wrong spread") {
    auto context = seen_in_groups(20);
    for (const auto* name : {"sbc", "tarp"}) {
        const auto metric = make<dtk::Metric>(name, "", context);
        const auto measured = [&](double shift, double scale, std::int64_t turn, std::int64_t groups = 200) {
            const auto of = stream.stream("groups").step(turn);
            // Other test examples in each turn.
            context.seed = static_cast<std::uint64_t>(turn + 1);
            context.data = make<dtk::Dataset>("gaussian_mixture", unit_pair, context);
            context.seen = make<dtk::Observation>("elements", "coordinates = [0]\ndraws = 20\nsd = 0.5", context);
            return metric->evaluate(support::input(context, samples_of_posterior(context, groups, shift, scale, of)),
                                    dtk::Random(static_cast<std::uint64_t>(turn), "metric"));
        };
        // χ² of 9 degrees exceeds 29.67 once in two thousand times; √G D exceeds 1.9495 once in a thousand.
        CHECK(measured(0, 1, 0).limit.value() ==
              Approx(name == std::string("sbc") ? 29.67 : 1.9495 / std::sqrt(200)).epsilon(1e-3));
        double sum = 0, square = 0;
        int missed = 0;
        constexpr int turns = 200;
        for (int i = 0; i < turns; ++i) {
            const auto m = measured(0, 1, i);
            const double z = (m.value - m.expected.value()) / m.expected_sd;
            missed += !m.passes().value(), sum += z, square += z * z;
        }
        INFO(name << ": " << missed << " missed, mean " << sum / turns << ", mean square " << square / turns);
        CHECK(missed <= 3);
        // The elements are not independent of each other, and Kolmogorov's law is that of many groups.
        CHECK(std::abs(sum / turns) < 0.35);
        CHECK(square / turns == Approx(1).margin(0.4));
        // Planted: to the side, and with less and more spread. Points on all sides see a shift as a lack of spread.
        const bool balls = std::string(name) == "tarp";
        for (const auto& [shift, scale] :
             {std::pair(balls ? 1.5 : 0.5, 1.0), std::pair(0.0, balls ? 0.3 : 0.5), std::pair(0.0, 2.5)}) {
            int found = 0;
            for (int i = 0; i < 10; ++i) found += !measured(shift, scale, 1000 + i, 400).passes().value();
            INFO(name << ", shift " << shift << ", scale " << scale << ": found " << found << " times of 10");
            CHECK(found >= 9);
        }
        CHECK_FALSE(measured(NAN, 1, 0).passes().value());
    }
}

TEST_CASE("the histogram of ranks says what is wrong, and elements that are known exactly say nothing") {
    const auto context = seen_in_groups(20);
    const auto sbc = make<dtk::Metric>("sbc", "bins = 5", context);
    const auto narrow =
        sbc->evaluate(support::input(context, samples_of_posterior(context, 300, 0, 0.4, stream)), stream);
    const auto part = [](const dtk::MetricResult& m, std::size_t i) { return m.parts.at(i).second; };
    CHECK(part(narrow, 0) == Approx(0.5).margin(0.1));
    CHECK(part(narrow, 1) > 1.5);
    CHECK(part(narrow, 2) + part(narrow, 6) > 200);
    CHECK(part(narrow, 2) + part(narrow, 3) + part(narrow, 4) + part(narrow, 5) + part(narrow, 6) == 300);

    const auto exact = seen_mixture(unit_pair, "elements", "coordinates = [0]\ndraws = 20");
    const auto y = exact.seen->y(0, 4000).select(1, 0);
    const auto x = at::stack({y, rho * y + 0.6 * stream.normal({4000}, at::kDouble)}, 1);
    for (const auto* name : {"sbc", "tarp"})
        CHECK(make<dtk::Metric>(name, "", exact)->evaluate(support::input(exact, x), stream).passes().value());
}
