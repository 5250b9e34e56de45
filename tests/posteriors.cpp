// What is known beforehand: conditional densities, and samplers that are to respect it. Each is asked for its own exact
// law, biased as it is; only the exact conditional denoiser is asked for the posterior.
#include <cmath>
#include <numbers>

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

const std::string unit_pair =
    R"(of = {use = "gaussian_mixture", preset = "none", means = [[0, 0]], covariances = [[1, 0.8, 0.8, 1]]})";
const std::string first_seen = unit_pair + "\ncoordinates = [0]\nvalues = [1.2]\n";

/// Two unit Gaussians with correlation 0.8, of which the first is known to be 1.2, and a denoiser over them.
support::View pair(const std::string& model = "exact", const std::string& process = "schedule = \"linear\"") {
    auto view = support::exact("observed", first_seen, process);
    view.network = make<dtk::Model>(model, "", view);
    return view;
}

/// N(0, 1) seen at 1 with variance ½, diffused as in 2015.
support::View multiplied(std::int64_t steps, const std::string& model = "exact") {
    auto view =
        support::exact("observed",
                       "of = {use = \"gaussian_mixture\", preset = \"none\", means = [[0]], std = [1]}\ncoordinates = "
                       "[0]\nvalues = [1]\nsd = 0.70710678118654752",
                       fmt::format("steps = {}\nschedule = \"linear_alpha_bar\"\ndecoder = \"reversed\"", steps));
    view.network = make<dtk::Model>(model, "", view);
    return view;
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
dtk::Denoiser linear_denoiser(const support::View& view) {
    return {view.chain, [&](const Tensor& x, const dtk::Time& t, const dtk::Condition&) {
                const double step = t.value();
                const double alpha = view.chain->levels().alpha(step), sigma2 = view.chain->levels().sigma2(step);
                const auto covariance = at::tensor({1.0, rho, rho, 1.0}, at::kDouble).view({2, 2});
                const auto gain =
                    alpha *
                    covariance.matmul(at::linalg_inv(alpha * alpha * covariance + sigma2 * at::eye(2, at::kDouble)));
                return dtk::Prediction{dtk::PredictionType::x0, x.matmul(gain.to(x.scalar_type())), {}};
            }};
}

/// The last element's law, from n samples.
Law sampled_law(const dtk::Sampler& sampler, const support::View& view, std::int64_t n, const dtk::Denoiser& denoise) {
    at::NoGradGuard no_grad;
    const auto x = stream.stream("prior").normal({n, view.data->shape()[0]}, at::kFloat);
    const auto y =
        sampler.sample(denoise, sampler.times(*view.chain), x, stream.stream("steps")).select(1, -1).to(at::kDouble);
    return {y.mean().item<double>(), y.var().item<double>()};
}

/// The last element's law where each step makes of it A·x + B + sd·z + C·k, k what the network is shown of the elements
/// before it, which is drawn anew each time with the law that `shown` says. A, B, C and sd are read off one call with a
/// few rows. A y that is always the same tells B and C not apart, which wants a driver for such systems.
Law exact_law(const dtk::Sampler& sampler, const support::View& view, const std::function<Law(double t)>& shown) {
    at::NoGradGuard no_grad;
    const auto x = stream.stream("x").normal({12, view.data->shape()[0]}, at::kDouble);
    const auto draws = stream.stream("steps");
    const auto times = sampler.times(*view.chain);
    std::vector<Tensor> states;
    const dtk::Denoiser denoise(view.chain, [&](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
        states.push_back(x);
        return view.network->forward(x, t, condition);
    });
    const auto end = sampler.sample(denoise, times, x, draws);
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
std::function<Law(double)> clamped(const support::View& view, bool noised) {
    return [&view, noised](double t) {
        const auto& levels = view.chain->levels();
        const auto step = static_cast<std::int64_t>(t);
        return noised ? Law{levels.alpha(step) * seen_at, levels.sigma2(step)} : Law{seen_at, 0};
    };
}

/// The unknown element's law under RePaint: every evaluation is shown a fresh draw of the known one, so that its mean
/// and variance go through affine maps.
Law repaint_law(const support::View& view, std::int64_t n, std::int64_t repeats, bool repeat_last) {
    const auto& levels = view.chain->levels();
    const auto times = make<dtk::Sampler>("ddpm", fmt::format("steps = {}", n), view)->times(*view.chain);
    Law law{0, 1};
    for (std::size_t i = 0; i < times.size(); ++i) {
        const bool last = i + 1 == times.size();
        const auto t = static_cast<std::int64_t>(times[i]), s = last ? -1 : static_cast<std::int64_t>(times[i + 1]);
        const double alpha = levels.alpha(t), sigma2 = levels.sigma2(t), ratio = alpha / levels.alpha(s),
                     added = levels.added_variance(t, s);
        // x̂_0 of the unknown element, from both: α Σ (α² Σ + σ² I)⁻¹
        const double own = alpha * alpha + sigma2, other = alpha * alpha * rho, det = own * own - other * other;
        const double of_known = alpha * (rho * own - other) / det, of_unknown = alpha * (own - rho * other) / det;
        const double c0 = levels.posterior_mean_x0(t, s), ct = levels.posterior_mean_xt(t, s);
        const auto turns = last && !repeat_last ? 1 : repeats;
        for (std::int64_t u = 1; u <= turns; ++u) {
            const double a = c0 * of_unknown + ct, c = c0 * of_known;
            law = {a * law.mean + c * alpha * seen_at,
                   a * a * law.variance + c * c * sigma2 + levels.posterior_variance(t, s)};
            if (u < turns) law = {ratio * law.mean, ratio * ratio * law.variance + added};
        }
    }
    return law;
}

Tensor one(double value) { return at::full({1}, value, at::kDouble); }

/// Mean and variance of a law on the line.
Law moments(const dtk::Density& density) {
    const auto nothing = at::zeros({1, 1}, at::kDouble);
    return {density.posterior_mean(nothing, one(0), one(1)).item<double>(),
            density.posterior_variance(nothing, one(0), one(1)).item<double>()};
}

}  // namespace

TEST_CASE("a mixture given one of its elements is the published one") {
    const auto data = make<dtk::Dataset>("gaussian_mixture", "", support::View{});
    const auto known = at::tensor({1.0, 0.0}, at::kDouble);
    for (const auto& [value, expected] : reference()["inpaint"]["gmm2d_conditional_x1_given_x0"].items()) {
        INFO("x_0 = " << value);
        const auto given = data->density()->given(known, at::tensor({std::stod(value), 0.0}, at::kDouble), 0);
        REQUIRE(given);
        check_near(moments(*given), Law(expected), 1e-12);
        CHECK(std::abs(given->entropy() - expected["entropy_nats"].get<double>()) < 1e-8);
        const auto x = at::linspace(-4, 4, 33, at::kDouble).unsqueeze(1);
        const auto w = support::tensor(expected["weights"]), m = support::tensor(expected["means"]),
                   v = support::tensor(expected["vars"]);
        const auto density = (w * (-(x - m).square() / (2 * v)).exp() / (2 * std::numbers::pi * v).sqrt()).sum(1);
        CHECK(distance(given->log_prob(x), density.log()) < 1e-10);
    }
}

// log p(x | y) − log p(x) − log p(y | x) is −log p(y), whatever x.
TEST_CASE("a mixture given what was seen of it obeys Bayes' rule") {
    const auto data = make<dtk::Dataset>(
        "gaussian_mixture",
        "preset = \"none\"\nweights = [0.3, 0.7]\nmeans = [[0, 1, 2], [1, -1, 0]]\n"
        "covariances = [[1, 0.3, 0.2, 0.3, 0.8, -0.1, 0.2, -0.1, 0.5], [0.6, 0, 0.1, 0, 1, 0.4, 0.1, 0.4, 0.9]]",
        support::View{});
    const auto& density = *data->density();
    const auto x = data->test_examples(at::arange(20)).x.to(at::kDouble);
    const auto y = at::tensor({0.4, 0.0, 1.1}, at::kDouble);
    for (const auto& known : {at::tensor({1.0, 0.0, 1.0}, at::kDouble), at::tensor({0.0, 0.0, 1.0}, at::kDouble),
                              at::ones({3}, at::kDouble)})
        for (const double sd : {0.3, 2.0}) {
            const auto given = density.given(known, y, sd);
            REQUIRE(given);
            const auto log_r = -(known * (y - x).square()).sum(1) / (2 * sd * sd);
            const auto rest = given->log_prob(x) - density.log_prob(x) - log_r;
            CHECK(distance(rest, rest[0]) < 1e-10);
        }
    for (const auto& known : {at::tensor({1.0, 0.0, 1.0}, at::kDouble), at::tensor({0.0, 0.0, 1.0}, at::kDouble)}) {
        const auto left = (known == 0).nonzero().flatten();
        const auto given = density.given(known, y, 0);
        REQUIRE(given);
        const auto rest = given->log_prob(x.index_select(1, left)) - density.log_prob(at::where(known > 0, y, x));
        CHECK(distance(rest, rest[0]) < 1e-10);
    }
    CHECK_FALSE(density.given(at::ones({3}, at::kDouble), y, 0));
    CHECK(distance(density.given(at::zeros({3}, at::kDouble), y, 1)->log_prob(x), density.log_prob(x)) < 1e-12);
}

TEST_CASE("data of which something is known are the same data") {
    support::View view;
    const auto plain = make<dtk::Dataset>("gaussian_mixture", "preset = \"ring8\"\nlabels = true", view);
    const auto data = make<dtk::Dataset>("observed",
                                         "of = {use = \"gaussian_mixture\", preset = \"ring8\", labels = "
                                         "true}\ncoordinates = [1]\nvalues = [-0.5]\nsd = 0.2",
                                         view);
    const auto index = at::arange(50);
    CHECK(at::equal(data->examples(index).x, plain->examples(index).x));
    CHECK(at::equal(data->examples(index).condition.label, plain->examples(index).condition.label));
    CHECK(at::equal(data->test_examples(index).x, plain->test_examples(index).x));
    CHECK(data->classes() == 8);
    CHECK(data->density()->entropy() == plain->density()->entropy());
    const auto& seen = dtk::observation(*data, "test");
    CHECK(at::equal(seen.known, at::tensor({0.0F, 1.0F})));
    CHECK(at::equal(seen.value, at::tensor({0.0F, -0.5F})));
    CHECK(seen.sd == 0.2);
    CHECK(seen.posterior);
    CHECK(plain->observation() == nullptr);
}

TEST_CASE("what is said wrongly of what is known is refused with the cure") {
    const auto complaint = [](const std::string& fields) {
        return complaint_of(
            [&] { make<dtk::Dataset>("observed", "of = {use = \"gaussian_mixture\"}\n" + fields, support::View{}); });
    };
    CHECK(says(complaint_of([] { make<dtk::Dataset>("observed", "coordinates = [0]\nvalues = [1]", support::View{}); }),
               "dataset"));
    CHECK(says(complaint(""),
               "nothing is said of what is known | give `coordinates` and `values` for vectors, as in coordinates = "
               "[0], values = [1.2]"));
    CHECK(says(complaint("coordinates = [0]\nvalues = [1]\nhidden = [0, 0, 1, 1]"),
               "both `coordinates` and `hidden` are given"));
    CHECK(says(complaint("coordinates = [0]"), "0 `values` for 1 `coordinates` | give one number for each"));
    CHECK(says(complaint("coordinates = [2]\nvalues = [1]"),
               "coordinate 2 of data with 2 elements | the first is 0, the last 1"));
    CHECK(says(complaint("coordinates = [-1]\nvalues = [1]"), "outside ≥ 0"));
    CHECK(says(complaint("coordinates = [0, 0]\nvalues = [1, 1]"), "coordinate 0 is given twice"));
    CHECK(says(complaint("coordinates = [0, 1]\nvalues = [1, 1]"),
               "nothing is left to be drawn | leave some of them out"));
    CHECK(complaint("coordinates = [0, 1]\nvalues = [1, 1]\nsd = 0.1").empty());
    CHECK(says(complaint("coordinates = [0]\nvalues = [1]\nexample = 3"), "`example` is of images"));
    CHECK(says(complaint("hidden = [0, 0, 1, 1]"), "`hidden` is a box of an image, but the data have shape 2"));
    CHECK(says(complaint_of([] {
                   make<dtk::Dataset>("observed",
                                      "of = {use = \"observed\", of = {use = \"gaussian_mixture\"}, coordinates = [0], "
                                      "values = [1]}\ncoordinates = [1]\nvalues = [1]",
                                      support::View{});
               }),
               "`of` is observed already"));
}

TEST_CASE("what stands on an observation is refused where there is none, or where it knows no error") {
    const auto plain = support::exact("gaussian_mixture", "", "");
    for (const std::string name : {"clamp", "repaint", "multiply"})
        CHECK(says(complaint_of([&] { make<dtk::Sampler>(name, "", plain); }),
                   name + " needs to be told what is known of the samples"));
    CHECK(says(complaint_of([&] { make<dtk::Model>("exact_conditional", "", plain); }),
               "exact_conditional needs to be told what is known"));
    CHECK(says(complaint_of([&] { make<dtk::Metric>("posterior", "", plain); }),
               "posterior needs to be told what is known"));
    const auto noisy = multiplied(40);
    for (const std::string name : {"clamp", "repaint"})
        CHECK(says(complaint_of([&] { make<dtk::Sampler>(name, "", noisy); }), "takes what was observed for exact"));
    CHECK(says(complaint_of([&] { make<dtk::Sampler>("multiply", "form = \"shift\"", pair()); }), "has no slope"));
    CHECK(says(complaint_of([&] { make<dtk::Sampler>("clamp", "variance = \"none\"", pair()); }),
               "no reverse variance `none`"));
    auto roll = support::exact("observed", "of = {use = \"swiss_roll\"}\ncoordinates = [0]\nvalues = [1]", "");
    CHECK(says(complaint_of([&] { make<dtk::Model>("exact_conditional", "", roll); }), "nobody has worked it out"));
    CHECK(says(complaint_of([&] { make<dtk::Metric>("posterior", "", roll); }), "nobody has worked it out"));
}

TEST_CASE("clamp makes of two Gaussians exactly what the published recursion says") {
    const auto view = pair();
    for (const int n : {50, 250, 1000})
        for (const bool noised : {false, true}) {
            INFO(n << " steps, noised = " << noised);
            const Law expected(rows()[noised ? "replace_noised" : "replace_clean"][std::to_string(n)]);
            const auto clamp = make<dtk::Sampler>("clamp", fmt::format("steps = {}\nnoised = {}", n, noised), view);
            check_near(exact_law(*clamp, view, clamped(view, noised)), expected, 1e-7);
            CHECK_FALSE(hits(expected, posterior, 1e5));
        }
}

TEST_CASE("the recursion of repaint is the published one") {
    const auto view = pair();
    for (const auto& [name, n, repeats] : {std::tuple("N=50,U=10", 50, 10), std::tuple("N=250,U=10", 250, 10),
                                           std::tuple("N=250,U=100", 250, 100), std::tuple("N=1000,U=10", 1000, 10)}) {
        INFO(name);
        const Law expected(rows()["replace_noised_repaint_resample"][name]);
        check_near(repaint_law(view, n, repeats, true), expected, 1e-10);
        CHECK_FALSE(hits(expected, posterior, 1e5));
        CHECK_FALSE(hits(repaint_law(view, n, repeats, false), posterior, 1e5));
    }
    check_near(repaint_law(view, 50, 1, true), Law(rows()["replace_noised"]["50"]), 1e-10);
}

namespace {
void check_clamp(std::int64_t steps, bool noised, std::int64_t n) {
    INFO(steps << " steps, noised = " << noised);
    const auto view = pair();
    const auto clamp = make<dtk::Sampler>("clamp", fmt::format("steps = {}\nnoised = {}", steps, noised), view);
    const auto law = sampled_law(*clamp, view, n, linear_denoiser(view));
    INFO(law.mean << ", " << law.variance);
    CHECK(hits(law, Law(rows()[noised ? "replace_noised" : "replace_clean"][std::to_string(steps)]),
               static_cast<double>(n)));
    CHECK_FALSE(hits(law, posterior, static_cast<double>(n)));
}

void check_repaint(std::int64_t steps, std::int64_t repeats, bool repeat_last, std::int64_t n) {
    INFO(steps << " steps, " << repeats << " repeats, of the last one, too: " << repeat_last);
    const auto view = pair();
    const auto repaint = make<dtk::Sampler>(
        "repaint", fmt::format("steps = {}\nrepeats = {}\nrepeat_last = {}", steps, repeats, repeat_last), view);
    const auto law = sampled_law(*repaint, view, n, linear_denoiser(view));
    INFO(law.mean << ", " << law.variance);
    CHECK(hits(law, repaint_law(view, steps, repeats, repeat_last), static_cast<double>(n)));
    CHECK_FALSE(hits(law, posterior, static_cast<double>(n)));
}
}  // namespace

TEST_CASE("samples of clamp have its own law, with noise that is fresh at each step") {
    for (const bool noised : {false, true}) check_clamp(50, noised, 100'000);
}

TEST_CASE("samples of repaint have its own law") {
    for (const bool repeat_last : {false, true}) check_repaint(50, 10, repeat_last, 10'000);
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
    const auto view = pair("exact_conditional");
    const auto ddpm = make<dtk::Sampler>("ddpm", "steps = 1000", view);
    const auto law = sampled_law(*ddpm, view, 100'000, support::denoiser(view));
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
    const auto view = pair();
    const auto x = stream.normal({50, 2}, at::kDouble);
    const auto sampled = [&](const std::string& name, const std::string& fields) {
        const auto sampler = make<dtk::Sampler>(name, "steps = 20\n" + fields, view);
        return sampler->sample(support::denoiser(view), sampler->times(*view.chain), x, stream);
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
        const auto view = pair(model);
        const auto sampler = make<dtk::Sampler>(name, "steps = 10", view);
        const auto x = sampler->sample(support::denoiser(view), sampler->times(*view.chain),
                                       stream.normal({20, 2}, at::kFloat), stream);
        CHECK((x.select(1, 0) == static_cast<float>(seen_at)).all().item<bool>());
    }
}

TEST_CASE("with the exact conditional denoiser ddpm comes to the posterior as the published recursion says") {
    const auto view = pair("exact_conditional");
    for (const int n : {50, 250, 1000}) {
        INFO(n << " steps");
        const auto ddpm = make<dtk::Sampler>("ddpm", fmt::format("steps = {}", n), view);
        check_near(exact_law(*ddpm, view, clamped(view, true)),
                   Law(rows()["exact_conditional_score"][std::to_string(n)]), 1e-7);
    }
    CHECK(hits(Law(rows()["exact_conditional_score"]["1000"]), posterior, 1e5));
}

// The published chain has the variance β in its last step too, where ours ends in x̂_0 itself.
TEST_CASE("with the exact conditional denoiser the chain of 2015 is the h-transform") {
    for (const int T : {40, 1000}) {
        INFO("T = " << T);
        auto view = multiplied(T, "exact_conditional");
        view.chain =
            make<dtk::Process>("gaussian", fmt::format("steps = {}\nschedule = \"linear_alpha_bar\"", T), view);
        view.network = make<dtk::Model>("exact_conditional", "", view);
        const auto law = exact_law(*make<dtk::Sampler>("ddpm", "variance = \"large\"", view), view, nothing_shown);
        const Law published(
            reference()["inpaint"]["multiply_distributions_gaussian"][fmt::format("T{}_h_transform_shift", T)]);
        check_near(law, {published.mean, published.variance - view.chain->levels().added_variance(0, -1)}, 1e-7);
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
            const auto view = multiplied(T);
            const auto law =
                exact_law(*make<dtk::Sampler>("multiply", fmt::format("variance = \"large\"\n{}", fields), view), view,
                          nothing_shown);
            check_near(law, Law(published[fmt::format("T{}_{}", T, key)]), 1e-7);
            CHECK_FALSE(hits(law, Law(published["exact"]), 1e5));
        }
    const auto view = multiplied(1000);
    const auto constant = exact_law(*make<dtk::Sampler>("multiply", "variance = \"large\"", view), view, nothing_shown);
    check_near(constant, Law(published["limit_of_r_const_as_T_grows_is_p_r_squared"]), 1e-3);
}

TEST_CASE("multiply by what is known exactly is clamp") {
    at::NoGradGuard no_grad;
    const auto view = pair();
    const auto x = stream.normal({50, 2}, at::kDouble);
    const auto sampled = [&](const std::string& name) {
        const auto sampler = make<dtk::Sampler>(name, "steps = 20", view);
        return sampler->sample(support::denoiser(view), sampler->times(*view.chain), x, stream);
    };
    CHECK(distance(sampled("multiply"), sampled("clamp")) < 1e-12);
}

TEST_CASE("the metric tells samples of the posterior from others, and lists what it compared") {
    const auto seen = "of = {use = \"gaussian_mixture\"}\ncoordinates = [0]\nvalues = [0]\n";
    const auto view = support::exact("observed", seen, "");
    const auto metric = make<dtk::Metric>("posterior", "", view);
    const auto measured = [&](const Tensor& x1, double x0 = 0) {
        return metric->evaluate(
            {at::stack({at::full_like(x1, x0), x1}, 1), *view.data, *view.chain, support::denoiser(view)},
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
    const auto view = multiplied(40);
    const auto metric = make<dtk::Metric>("posterior", "", view);
    int missed = 0;
    double sum = 0;
    constexpr int times = 500;
    for (int i = 0; i < times; ++i) {
        const auto x = 2.0 / 3 + std::sqrt(1.0 / 3) * stream.step(i).normal({2000, 1}, at::kDouble);
        const auto m =
            metric->evaluate({x, *view.data, *view.chain, support::denoiser(view)}, dtk::Random(1, "metric"));
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
    const auto of = fmt::format("of = {{use = \"idx\", folder = \"{}\", labels = \"\", test_labels = \"\"}}\n",
                                folder.path.string());
    const auto data = make<dtk::Dataset>("observed", of + "hidden = [1, 2, 2, 3]\nexample = 1", support::View{});
    const auto& seen = dtk::observation(*data, "test");
    CHECK(data->levels() == 256);
    CHECK(data->test_size() == 2);
    CHECK(data->fingerprint().size() == 64);
    CHECK(seen.known.sizes() == at::IntArrayRef{1, 4, 5});
    CHECK(seen.known.sum().item<float>() == 14);
    CHECK(seen.known.slice(1, 1, 3).slice(2, 2, 5).sum().item<float>() == 0);
    const auto picture = data->test_examples(at::ones({1}, at::kLong)).x[0];
    CHECK(at::equal(seen.value, at::where(seen.known > 0, picture, 0)));
    CHECK_FALSE(seen.posterior);

    const auto complaint = [&](const std::string& fields) {
        return complaint_of([&] { make<dtk::Dataset>("observed", of + fields, support::View{}); });
    };
    CHECK(
        says(complaint("coordinates = [0]\nvalues = [1]"), "`coordinates` are of vectors, but the data are 1 × 4 × 5"));
    CHECK(says(complaint("hidden = [1, 2]"),
               "`hidden` has 2 numbers, not 4 | write hidden = [top, left, height, width]"));
    CHECK(says(complaint("hidden = [1, 3, 2, 3]"),
               "a hidden box of 2 × 3 from row 1 and column 3 does not lie in images of 4 × 5"));
    CHECK(says(complaint("hidden = [0, 0, 0, 3]"), "does not lie in images"));
    CHECK(says(complaint("hidden = [0, 0, 4, 5]"), "so that nothing is known"));
    CHECK(says(complaint("hidden = [1, 2, 2, 3]\nexample = 2"),
               "`example` = 2, but there are 2 test examples | the last is 1"));
    CHECK(says(complaint("hidden = [1, 2, 2, 3]\nvalues = [1]"), "`values` belong to `coordinates`"));
}
