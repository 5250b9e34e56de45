// What training minimises beyond the simple loss: each objective at its own minimiser, learned variances, EDM's
// identities, and which configurations are the same objective.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numbers>
#include <numeric>

#include <dtk/assignment.hpp>
#include <dtk/noise_input.hpp>
#include <dtk/optimizer.hpp>
#include <dtk/weighting.hpp>

#include "catch.hpp"
#include "complaint.hpp"
#include "engine/safetensors.hpp"
#include "run_program.hpp"
#include "support.hpp"

using at::Tensor;
using dtk::PredictionType;
using support::distance;
using support::make;

namespace {

const dtk::Random stream(5, "objectives");

/// N(0.7, 0.5²), and the exact denoiser.
support::View normal(const std::string& process, const std::string& model = {}) {
    return support::exact("gaussian_mixture", "preset = \"none\"\nmeans = [[0.7]]\nstd = [0.5]", process, model);
}
constexpr double mean = 0.7, variance = 0.25;

dtk::Batch batch(const dtk::View& view, std::int64_t n) {
    auto drawn = view.dataset().examples(at::arange(n));
    drawn.x = drawn.x.to(at::kDouble);
    return drawn;
}

/// Times drawn uniformly for so many rows, whole.
dtk::Time some_times(const dtk::Process& process, std::int64_t n) {
    return stream.stream("t").integers(process.steps(), {n}).to(at::kDouble);
}

std::pair<double, double> mean_and_error(const Tensor& x) {
    return {x.mean().item<double>(), x.std().item<double>() / std::sqrt(static_cast<double>(x.numel()))};
}

using Direction = std::function<Tensor(const Tensor& x, const dtk::Time& t)>;
const std::vector<Direction> directions{[](const Tensor& x, const dtk::Time&) { return at::ones_like(x); },
                                        [](const Tensor& x, const dtk::Time&) { return x; },
                                        [](const Tensor& x, const dtk::Time& t) {
                                            return at::sin(2 * x) * (t.on(x) / 100).view({-1, 1});
                                        }};

/// d/dθ of objective `which` where θ_i·direction is added to the answer of example i, and its standard error.
std::pair<double, double> expected_gradient(const dtk::Loss& loss, const dtk::Denoiser& denoise, const dtk::Batch& data,
                                            const dtk::Time& t, const Direction& direction, std::size_t which = 0) {
    auto theta = at::zeros({data.x.size(0), 1}, at::kDouble).set_requires_grad(true);
    const auto moved = denoise.replaced([&](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
        auto answer = denoise(x, t, condition);
        answer.value = answer.value + theta * direction(x, t);
        return answer;
    });
    loss(moved.with(data.condition), data, t, stream).objectives.at(which).value.sum().backward();
    return theta.grad().defined() ? mean_and_error(theta.grad()) : std::pair{0.0, 0.0};
}

/// Is the objective least there, as far as n examples say?
void check_stationary(const dtk::Loss& loss, const dtk::Denoiser& denoise, const dtk::Batch& data, const dtk::Time& t) {
    for (std::size_t i = 0; i < directions.size(); ++i) {
        const auto [gradient, se] = expected_gradient(loss, denoise, data, t, directions[i]);
        INFO("direction " << i << ": " << gradient << " ± " << se);
        CHECK(se > 0);
        CHECK(std::abs(gradient) < 4 * se);
    }
}

/// λ(t) as the trainer multiplies it, at each row.
Tensor weights(const std::string& weighting, const std::string& fields, const support::View& view, PredictionType type,
               const dtk::Time& t) {
    const auto plugin = make<dtk::Weighting>(weighting, fields, view);
    const auto& levels = view.chain->levels();
    const double sd = dtk::gaussian(*view.chain, "the test").data_sd();
    return t
        .map([&](double t) {
            return plugin->weight(levels.at(t), dtk::error_per_x0(levels, t, dtk::name_of(type), sd));
        })
        .rows(at::empty({0}, at::kDouble));
}

Tensor& tensor_named(dtk::Module& module, const std::string& name) {
    for (const auto& named : module.named_tensors())
        if (named.name == name) return *named.tensor;
    throw dtk::Error("no tensor " + name);
}

/// Pictures of one channel, whose density nobody knows.
struct Pictures final : dtk::Dataset {
    std::vector<std::int64_t> shape() const override { return {1, 4, 4}; }
    std::int64_t size() const override { return 0; }
    dtk::Batch examples(const Tensor& index) const override {
        return {.x = stream.samples(index).normal({index.size(0), 1, 4, 4}, at::kFloat)};
    }
    dtk::Batch test_examples(const Tensor& index) const override { return examples(index + 1000000); }
};

}  // namespace

TEST_CASE("a network's second output is the place of log Σ between β̃ and β, or log Σ itself") {
    for (const std::string name : {"mlp", "unet"}) {
        support::View view;
        view.data = std::make_shared<Pictures>();
        view.chain = make<dtk::Process>("gaussian", "schedule = \"linear\"", view);
        const std::string small = name == "mlp" ? "width = 8\n" : "channels = 8\nmultipliers = [1]\nblocks = 1\n";
        const auto model = make<dtk::Model>(name, small + "variance = \"range\"", view);
        const dtk::Time t(at::tensor({0.0, 1.0, 500.0, 999.0}, at::kDouble));
        const auto x = stream.normal({4, 1, 4, 4}, at::kDouble);
        const auto& l = view.chain->levels();
        const auto beta = t.map([&](double t) { return l.added_variance(t, t - 1); }).rows(x);
        // β̃ of the first step is that of the second one, 5.453188e-5 (not 1e-20, whose logarithm wrecks the bound).
        const auto posterior =
            t.map([&](double t) { return l.posterior_variance(std::max(t, 1.0), std::max(t, 1.0) - 1); }).rows(x);
        CHECK(posterior[0].item<double>() == Approx(5.453188e-5).epsilon(1e-6));
        const auto answered = [&](dtk::Model& model) {
            const auto prediction = model.forward(x, t, {});
            REQUIRE(prediction.variance);
            CHECK(prediction.value.sizes() == x.sizes());
            CHECK(prediction.variance->sizes() == x.sizes());
            return *prediction.variance;
        };
        const auto far = [&](const Tensor& a, const Tensor& rows) {
            return (a.flatten(1) / rows.unsqueeze(1) - 1).abs().max().item<double>();
        };
        CHECK(far(answered(*model), (beta * posterior).sqrt()) < 1e-6);  // where it starts
        at::NoGradGuard no_grad;
        auto& bias = tensor_named(*model, "out.bias");
        const auto second = bias.slice(0, bias.size(0) / 2);
        second.fill_(1);
        CHECK(far(answered(*model), beta) < 1e-6);
        second.fill_(-1);
        CHECK(far(answered(*model), posterior) < 1e-6);
        CHECK(model->forward(x, t, {}).value.abs().max().item<double>() == 0);

        const auto direct = make<dtk::Model>(name, small + "variance = \"direct\"", view);
        auto& other = tensor_named(*direct, "out.bias");
        other.slice(0, other.size(0) / 2).fill_(-3);
        CHECK(far(answered(*direct), at::full({4}, std::exp(-3.0), at::kDouble)) < 1e-6);
        CHECK_FALSE(make<dtk::Model>(name, small, view)->forward(x, t, {}).variance);
    }
}

TEST_CASE("a learned variance is what reverse steps draw with, and the reconstruction's") {
    const auto view = normal("steps = 100\nschedule = \"linear\"");
    const auto& process = dtk::gaussian(*view.chain, "the test");
    const auto x = stream.normal({3, 1}, at::kDouble), x0 = stream.stream("x0").normal({3, 1}, at::kDouble);
    const dtk::Time t(at::tensor({1.0, 40.0, 99.0}, at::kDouble));
    const auto learned = stream.stream("v").uniform({3, 1}, at::kDouble) + 0.01;
    for (const std::string word : {"small", "large"}) {  // neither counts
        CHECK(distance(process.reverse(x, {PredictionType::x0, x0, learned}, t, t.minus(1), word).variance, learned) <
              1e-12);
        const auto last = view.chain->bound_term(x0, x, 0, -1, {PredictionType::x0, x, learned}, word);
        const auto expected = 0.5 * ((2 * std::numbers::pi * learned).log() + (x0 - x).square() / learned);
        CHECK(distance(last, expected.flatten()) < 1e-10);
        // From a later time to the data in one step it keeps its place between β̃, that of the next step, and β.
        const auto& l = view.chain->levels();
        const auto middle =
            at::full({}, std::sqrt(l.added_variance(30, 29) * l.posterior_variance(30, 29)), at::kDouble);
        const double far = std::sqrt(l.added_variance(30, -1) * l.posterior_variance(31, 30));
        const auto leap = view.chain->bound_term(x0, x, 30, -1, {PredictionType::x0, x, middle}, word);
        const auto leapt = 0.5 * (std::log(2 * std::numbers::pi * far) + (x0 - x).square() / far);
        CHECK(distance(leap, leapt.flatten()) < 1e-9);
    }
}

TEST_CASE("hybrid trains the mean by the squared error and the variance by the bound, λ times T steps of it") {
    for (const std::int64_t T : {50, 1000}) {
        const auto view = normal(fmt::format("steps = {}\nschedule = \"cosine\"", T), "prediction = \"eps\"");
        const auto loss = make<dtk::Loss>("hybrid", "", view);
        const auto data = batch(view, 64);
        const auto t = some_times(*view.chain, 64);
        auto theta = at::zeros({}, at::kDouble).set_requires_grad(true),
             phi = at::zeros({}, at::kDouble).set_requires_grad(true);
        const auto exact = support::denoiser(view);
        const auto learned = [&](const Tensor& x, const dtk::Time& t) {
            return t.map([&](double t) { return view.chain->levels().added_variance(t, t - 1); }).beside(x) * phi.exp();
        };
        const auto network = exact.replaced([&](const Tensor& x, const dtk::Time& t, const dtk::Condition& c) {
            return dtk::Prediction{PredictionType::eps, exact(x, t, c).value + theta, learned(x, t)};
        });
        const auto objectives = (*loss)(network, data, t, stream).objectives;
        REQUIRE(objectives.size() == 2);
        CHECK(objectives[0].error_of == PredictionType::eps);
        CHECK_FALSE(objectives[1].error_of);
        objectives[1].value.sum().backward();
        CHECK((!theta.grad().defined() || theta.grad().item<double>() == 0));
        CHECK(std::abs(phi.grad().item<double>()) > 1e-3);
        phi.mutable_grad().reset(), theta.mutable_grad().reset();
        objectives[0].value.sum().backward();
        CHECK(std::abs(theta.grad().item<double>()) > 1e-3);
        CHECK_FALSE(phi.grad().defined());

        const auto xt = view.chain->noised(data.x, t, stream.stream("noise"));
        const auto term =
            view.chain->bound_term(data.x, xt.x, t, t.minus(1), network(xt.x, t), "small") / std::numbers::ln2;
        CHECK(distance(objectives[1].value, static_cast<double>(T) / 1000 * term) < 1e-9);
        const auto simple = make<dtk::Loss>("simple", "", view);
        CHECK(distance(objectives[0].value, (*simple)(network, data, t, stream).objectives[0].value) == 0);

        CHECK(says(complaint_of([&] { (*loss)(exact, data, t, stream); }), "variance = \"range\""));
    }
}

TEST_CASE("the bound's variance is least at that of x_{t−1} given x_t") {
    // Of N(m, s²): x_{t−1} ~ N(α m, v), v = α²s² + σ², and Var(x_{t−1} | x_t) = v·q/(q + k²v), x_t = k x_{t−1} + √q z.
    const auto view = normal("steps = 20\nschedule = \"cosine\"");
    const auto& l = view.chain->levels();
    for (std::int64_t i = 0; i < 20; ++i) {
        const double t = static_cast<double>(i), q = l.added_variance(t, t - 1), k = l.alpha(t) / l.alpha(t - 1),
                     v = l.alpha_bar(t - 1) * variance + l.sigma2(t - 1), best = v * q / (q + k * k * v);
        auto log_variance = at::full({}, std::log(best), at::kDouble).set_requires_grad(true);
        // The term is quadratic in x_0 and ε: two nodes each are exact.
        const auto z = at::tensor({-1.0, -1.0, 1.0, 1.0}, at::kDouble).unsqueeze(1),
                   eps = at::tensor({-1.0, 1.0, -1.0, 1.0}, at::kDouble).unsqueeze(1);
        const auto x0 = mean + std::sqrt(variance) * z, xt = l.alpha(t) * x0 + l.sigma(t) * eps;
        auto prediction = view.network->forward(xt, t, {});
        prediction.variance = log_variance.exp();
        const auto slope = [&] {
            log_variance.mutable_grad().reset();
            prediction.variance = log_variance.exp();
            view.chain->bound_term(x0, xt, t, t - 1, prediction, "small").mean().backward();
            return log_variance.grad().item<double>();
        };
        INFO("step " << i);
        CHECK(std::abs(slope()) < 1e-9);
        {
            at::NoGradGuard no_grad;
            log_variance.add_(0.1);
        }
        CHECK(slope() > 0.01);
    }
}

TEST_CASE("huber is the squared error for small differences and grows like the difference for large ones") {
    const auto view = normal("steps = 100\nschedule = \"cosine\"", "prediction = \"x0\"");
    const auto data = batch(view, 256);
    const auto t = some_times(*view.chain, 256);
    const auto& l = view.chain->levels();
    const auto off = [&](double by) {  // an answer that is wrong by that much
        const auto x0 = data.x;
        return support::denoiser(view).replaced([=](const Tensor&, const dtk::Time&, const dtk::Condition&) {
            return dtk::Prediction{PredictionType::x0, x0 + by, {}};
        });
    };
    const std::map<std::string, std::function<double(double)>> corners{
        {"constant", [](double) { return 0.2; }},
        {"exponential", [](double t) { return std::pow(0.2, (t + 1) / 100); }},
        {"snr", [&](double t) { return 0.8 / std::pow(1 + l.sigma(t) / l.alpha(t), 2) + 0.2; }}};
    for (const auto& [schedule, corner] : corners) {
        const auto loss = make<dtk::Loss>("huber", fmt::format("c = 0.2\nschedule = \"{}\"", schedule), view);
        for (const double by : {1e-4, 0.3, 50.0}) {
            const auto objective = (*loss)(off(by), data, t, stream).objectives[0];
            CHECK(objective.error_of == PredictionType::x0);
            const auto c = t.map(corner).rows(data.x);
            CHECK(distance(objective.value, 2 * c * ((by * by + c.square()).sqrt() - c)) < 1e-12);
        }
    }
    // Gaussian data lie alike to both sides of their mean, so the exact denoiser is what it is least for, too …
    const auto many = batch(view, 100000);
    const auto times = some_times(*view.chain, 100000);
    const auto loss = make<dtk::Loss>("huber", "c = 0.1", view);
    check_stationary(*loss, support::denoiser(view), many, times);
    // … which it is not for data that do not.
    const auto skew = support::exact(
        "gaussian_mixture", "preset = \"none\"\nmeans = [[0.0], [3.0]]\nstd = [0.2, 0.2]\nweights = [0.8, 0.2]",
        "steps = 100\nschedule = \"cosine\"", "prediction = \"x0\"");
    const auto late = dtk::Time(at::full({20000}, 80.0, at::kDouble));
    const auto [gradient, se] = expected_gradient(*make<dtk::Loss>("huber", "c = 0.1", skew), support::denoiser(skew),
                                                  batch(skew, 20000), late, directions[0]);
    CHECK(gradient > 10 * se);
}

TEST_CASE("uncertainty learns the logarithm of the error at each noise level, and weighs levels alike") {
    const auto view = normal("steps = 100\nschedule = \"cosine\"", "prediction = \"eps\"");
    const auto loss = make<dtk::Loss>("uncertainty", "", view);
    const auto data = batch(view, 5000);
    const auto t = some_times(*view.chain, 5000);
    check_stationary(*loss, support::denoiser(view), data, t);

    // ℓ starts at 0.
    const auto adam = make<dtk::Optimizer>("adam");
    dtk::Parameters trained{{"weight"}, loss->parameters(), {false}};
    adam->begin(trained);
    dtk::LossValues values;
    for (int i = 0; i < 300; ++i) {
        values = (*loss)(support::denoiser(view), data, t, stream);
        trained.tensors[0].mutable_grad().reset();
        values.objectives[0].value.mean().backward();
        at::NoGradGuard no_grad;
        adam->step(at::full({}, i < 200 ? 0.03 : 0.003, at::kFloat), at::zeros({}, at::kFloat));
    }
    CHECK_FALSE(values.objectives[0].error_of);
    const auto learned = values.parts.at(1).second.detach();
    // E‖ε − ε̂‖² = α²s²/(α²s² + σ²)
    const auto exact = t.map([&](double t) {
                            const double signal = view.chain->levels().alpha_bar(t) * variance;
                            return std::log(signal / (signal + view.chain->levels().sigma2(t)));
                        }).rows(data.x);
    const auto inner = (t.rows(0) >= 5).logical_and(t.rows(0) <= 90);
    INFO((learned - exact).masked_select(inner).abs().max().item<double>());
    CHECK((learned - exact).masked_select(inner).abs().max().item<double>() < 0.2);
    CHECK(exact.masked_select(inner).min().item<double>() < -3);
}

TEST_CASE("the cheapest pairs are those that trying all of them finds") {
    for (std::int64_t n = 1; n <= 7; ++n)
        for (std::int64_t k = 0; k < (n < 7 ? 10 : 2); ++k) {
            auto cost = stream.step(k).normal({n, n}, at::kDouble);
            if (k % 2 == 1) cost = (2 * cost).round();  // ties
            const auto pairs = dtk::cheapest_pairs(cost);
            auto seen = pairs;
            std::sort(seen.begin(), seen.end());
            std::vector<std::int64_t> order(n);
            std::iota(order.begin(), order.end(), 0);
            CHECK(seen == order);
            const auto price = [&](const std::vector<std::int64_t>& of) {
                double sum = 0;
                for (std::int64_t i = 0; i < n; ++i) sum += cost[i][of[i]].item<double>();
                return sum;
            };
            double least = price(order);
            while (std::next_permutation(order.begin(), order.end())) least = std::min(least, price(order));
            CHECK(price(pairs) == Approx(least).margin(1e-12));
        }
    // On the line the cheapest pairs keep the order.
    const auto x = stream.stream("x").normal({300}, at::kDouble), z = stream.stream("z").normal({300}, at::kDouble);
    const auto pairs = at::tensor(dtk::cheapest_pairs((x.unsqueeze(1) - z).square()));
    CHECK(at::equal(z.index_select(0, pairs).index_select(0, x.argsort()), std::get<0>(z.sort())));
}

TEST_CASE("sinkhorn's plan has its margins, and without entropy it is the cheapest pairs") {
    const auto x = stream.stream("x").normal({40, 2}, at::kDouble), z = stream.stream("z").normal({40, 2}, at::kDouble);
    const auto cost = (x.unsqueeze(1) - z).square().sum(2);
    const auto plan = dtk::sinkhorn_plan(cost, 0.05 * cost.mean(), 500);
    CHECK(distance(plan.sum(1), at::full({40}, 1.0 / 40, at::kDouble)) < 1e-15);
    CHECK(distance(plan.sum(0), at::full({40}, 1.0 / 40, at::kDouble)) < 1e-8);
    const auto sharp = dtk::sinkhorn_plan(cost, 2e-3 * cost.mean(), 5000);
    CHECK(at::equal(sharp.argmax(1), at::tensor(dtk::cheapest_pairs(cost))));
    // Without any cost nothing is paired.
    CHECK(distance(dtk::sinkhorn_plan(at::zeros_like(cost), at::ones({}, at::kDouble), 3),
                   at::full_like(cost, 1.0 / 1600)) < 1e-15);
}

namespace {

/// The x_t that a loss asked about, and from it the noise each example was paired with.
struct Pairing {
    Tensor x0, z, label;
};
Pairing paired(const support::View& view, const std::string& fields, const dtk::Batch& data,
               const dtk::Random& random = stream) {
    const auto loss = make<dtk::Loss>("flow_matching", fields, view);
    Tensor asked;
    const auto listening =
        support::denoiser(view).replaced([&](const Tensor& x, const dtk::Time&, const dtk::Condition&) {
            asked = x;
            return dtk::Prediction{PredictionType::velocity, at::zeros_like(x), {}};
        });
    const double t = 49;  // α = σ = ½ of 100 steps of a straight flow
    (*loss)(listening, data, t, random);
    return {data.x, 2 * asked - data.x, data.condition.label};
}

support::View flow(const std::string& data, const std::string& fields) {
    return support::exact(data, fields, "steps = 100\nschedule = \"flow\"", "prediction = \"velocity\"");
}
const std::string one_d = "preset = \"none\"\nmeans = [[0.7]]\nstd = [0.5]";

}  // namespace

TEST_CASE("flow matching is least at the exact velocity, whatever the network predicts") {
    for (const std::string prediction : {"velocity", "x0", "v"})
        for (const std::string schedule : {"flow", "interpolant"}) {
            const auto view =
                support::exact("gaussian_mixture", one_d, fmt::format("steps = 100\nschedule = \"{}\"", schedule),
                               fmt::format("prediction = \"{}\"", prediction));
            const auto loss = make<dtk::Loss>("flow_matching", "", view);
            check_stationary(*loss, support::denoiser(view), batch(view, 20000), some_times(*view.chain, 20000));
        }
    const auto view = flow("gaussian_mixture", one_d);
    const auto data = batch(view, 1000);
    const auto t = some_times(*view.chain, 1000);
    const auto objective =
        (*make<dtk::Loss>("flow_matching", "", view))(support::denoiser(view), data, t, stream).objectives[0];
    CHECK(objective.error_of == PredictionType::velocity);
    // The target is z − x_0.
    const auto xt = view.chain->noised(data.x, t, stream.stream("noise"));
    const auto error = support::denoiser(view).velocity(xt.x, t) - (xt.noise - data.x);
    CHECK(distance(objective.value, error.square().mean(1)) < 1e-10);
}

TEST_CASE("couplings permute the noise, the optimal one into the order of the data on the line") {
    const auto view = flow("gaussian_mixture", one_d);
    const auto data = batch(view, 64);
    const auto alone = paired(view, "", data);
    CHECK(distance(alone.z, stream.stream("noise").normal({64, 1}, at::kDouble)) < 1e-12);
    const auto optimal = paired(view, "coupling = \"optimal\"", data);
    const auto sorted = [](const Tensor& x) { return std::get<0>(x.flatten().sort()); };
    CHECK(distance(sorted(optimal.z), sorted(alone.z)) < 1e-12);  // the same noise
    CHECK(distance(optimal.z.flatten().index_select(0, optimal.x0.flatten().argsort()), sorted(alone.z)) < 1e-12);
    CHECK(at::equal(paired(view, "coupling = \"optimal\"", data).z, optimal.z));

    // Groups are paired by themselves, in one batch as in its parts; a part that cuts one is refused.
    const auto grouped = paired(view, "coupling = \"optimal\"\ngroup = 16", data);
    for (std::int64_t first = 0; first < 64; first += 32) {
        dtk::Batch part = data;
        part.x = data.x.slice(0, first, first + 32), part.first = first, part.of = 64;
        const auto half = paired(view, "coupling = \"optimal\"\ngroup = 16", part, stream.from(first));
        CHECK(at::equal(half.z, grouped.z.slice(0, first, first + 32)));
        const auto drawn = paired(view, "coupling = \"sinkhorn\"\ngroup = 16", part, stream.from(first));
        CHECK(at::equal(drawn.z,
                        paired(view, "coupling = \"sinkhorn\"\ngroup = 16", data).z.slice(0, first, first + 32)));
        CHECK(says(complaint_of([&] { paired(view, "coupling = \"optimal\"", part, stream.from(first)); }), "`group`"));
        CHECK(says(complaint_of([&] { paired(view, "coupling = \"optimal\"\ngroup = 24", part, stream.from(first)); }),
                   "`group`"));
    }
    CHECK_FALSE(at::equal(grouped.z, optimal.z));
    CHECK(says(complaint_of([&] { make<dtk::Loss>("flow_matching", "coupling = \"class\"", view); }), "classes"));
}

TEST_CASE("a coupling keeps the law of the noise, and only the one of classes keeps it within a class") {
    const auto view =
        flow("gaussian_mixture", "preset = \"none\"\nmeans = [[-1.0], [1.0]]\nstd = [0.1, 0.1]\nlabels = true");
    const auto data = batch(view, 8192);
    for (const std::string coupling : {"independent", "optimal", "sinkhorn", "class"}) {
        const auto pairs =
            paired(view, fmt::format("coupling = \"{}\"\ngroup = 128\niterations = 200", coupling), data);
        const auto z = pairs.z.flatten();
        INFO(coupling);
        for (const auto& [power, expected, sd] :
             {std::tuple{1.0, 0.0, 1.0}, {2.0, 1.0, std::sqrt(2.0)}, {4.0, 3.0, std::sqrt(96.0)}})
            CHECK(std::abs(z.pow(power).mean().item<double>() - expected) < 5 * sd / std::sqrt(8192.0));
        // Two classes at ±1: pairs of all classes together never show the one on the right a z on the left.
        const double left = (z < 0).masked_select(pairs.label == 1).to(at::kDouble).mean().item<double>();
        const double right =
            (pairs.x0.flatten() > 0).masked_select(pairs.label == 1).to(at::kDouble).mean().item<double>();
        CHECK(right > 0.99);
        if (coupling == "independent" || coupling == "class") CHECK(left == Approx(0.5).margin(0.04));
        if (coupling == "optimal") CHECK(left < 0.1);
        if (coupling == "sinkhorn") CHECK(left < 0.2);
        // Straighter than independent pairs: E z·x_0 is 0 there, and E|z| √(…) at most where the order is kept.
        const double along = (z * pairs.x0.flatten()).mean().item<double>();
        if (coupling == "independent") CHECK(std::abs(along) < 0.05);
        if (coupling == "optimal") CHECK(along > 0.75);
    }
}

TEST_CASE(
    "EDM's prediction is c_skip x + c_out F of a scaled input, and costs 1 at every noise level before training") {
    support::View view = support::exact("gaussian_mixture", "preset = \"none\"\nmeans = [[0.0, 0.0]]\nstd = [0.5]",
                                        "steps = 200\nschedule = \"edm\"\ndata_sd = 0.5", "prediction = \"edm\"");
    const auto& l = view.chain->levels();
    const auto n = std::int64_t{20000};
    const auto data = batch(view, n);
    const auto untrained =
        support::nobody(view.chain).replaced([](const Tensor& x, const dtk::Time&, const dtk::Condition&) {
            return dtk::Prediction{PredictionType::edm, at::zeros_like(x), {}};
        });
    const dtk::NoiseInput input(PredictionType::edm, "c_noise", 8, *view.chain);
    for (const double t : {0.0, 20.0, 77.5, 150.0, 199.0}) {
        const double sigma = l.ratio(t), sd = 0.5, both = sigma * sigma + sd * sd;
        const double skip = sd * sd / both, out = sigma * sd / std::sqrt(both), in = 1 / std::sqrt(both);
        const auto x = stream.normal({3, 2}, at::kDouble), F = stream.stream("F").normal({3, 2}, at::kDouble);
        const auto y = x / l.alpha(t);  // EDM's x, at σ/α
        CHECK(distance(view.chain->convert({PredictionType::edm, F, {}}, PredictionType::x0, x, t),
                       skip * y + out * F) < 1e-12 * (1 + sigma));
        CHECK(distance(input.scaled(x, t), in * y) < 1e-12);
        CHECK(input.label(x, t)[0].item<double>() == Approx(std::log(sigma) / 4).margin(1e-12));

        // The input and the target have variance 1, so F = 0 costs 1, and D's error times λ the same.
        const dtk::Time times(at::full({n}, t, at::kDouble));
        const auto xt = view.chain->noised(data.x, times, stream.stream("noise"));
        const auto scaled = input.scaled(xt.x, t);
        CHECK(scaled.square().mean().item<double>() == Approx(1).margin(5 * std::sqrt(2.0 / (2 * n))));
        const auto F_loss =
            (*make<dtk::Loss>("simple", "target = \"edm\"", view))(untrained, data, times, stream).objectives[0].value;
        const auto x0_loss =
            (*make<dtk::Loss>("simple", "target = \"x0\"", view))(untrained, data, times, stream).objectives[0].value;
        const auto weighted = weights("edm", "", view, PredictionType::x0, times) * x0_loss;
        INFO("σ = " << sigma);
        CHECK(F_loss.mean().item<double>() == Approx(1).margin(5 * std::sqrt(2.0 / (2 * n))));
        CHECK((weighted / F_loss - 1).abs().max().item<double>() < 1e-8);
    }
}

TEST_CASE("configurations that are the same objective by algebra have equal losses") {
    struct Configuration {
        std::string weighting, fields, target;
    };
    const std::vector<std::vector<Configuration>> same{
        {{"min_snr", "", "eps"}, {"min_snr", "", "x0"}, {"min_snr", "", "v"}, {"min_snr", "", "edm"}},
        {{"uniform", "", "eps"}, {"snr", "", "x0"}, {"snr", "", "v"}, {"p2", "gamma = 0.0", "edm"}},
        {{"edm", "", "x0"}, {"uniform", "", "edm"}, {"edm", "", "eps"}},
        {{"soft_min_snr", "gamma = 4.0", "x0"}, {"soft_min_snr", "gamma = 4.0", "edm"}},
        {{"p2", "", "eps"}, {"p2", "", "x0"}, {"p2", "", "v"}},
        {{"elbo", "", "eps"}, {"elbo", "", "v"}}};
    for (const std::string schedule : {"linear", "cosine", "edm", "vp"}) {
        const auto view = support::exact("gaussian_mixture", "preset = \"gmm2d\"",
                                         fmt::format("steps = 100\nschedule = \"{}\"\ndata_sd = 0.5", schedule),
                                         "prediction = \"x0\"");
        const auto data = batch(view, 500);
        const auto t = some_times(*view.chain, 500);
        const auto exact = support::denoiser(view);
        const auto wrong = exact.replaced([&](const Tensor& x, const dtk::Time& t, const dtk::Condition& c) {
            return dtk::Prediction{PredictionType::x0, exact(x, t, c).value + at::sin(x), {}};
        });
        for (const auto& group : same) {
            Tensor first;
            for (const auto& [weighting, fields, target] : group) {
                const auto loss = make<dtk::Loss>("simple", fmt::format("target = \"{}\"", target), view);
                const auto objective = (*loss)(wrong, data, t, stream).objectives[0];
                const auto weighted = weights(weighting, fields, view, *objective.error_of, t) * objective.value;
                if (!first.defined()) first = weighted;
                INFO(schedule << ": " << weighting << " of " << target);
                CHECK((weighted / first - 1).abs().max().item<double>() < 1e-7);
                CHECK(weighted.mean().item<double>() == Approx(first.mean().item<double>()).epsilon(1e-10));
            }
        }
    }
    // Min-SNR of v divides by SNR + 1, and stays finite at both ends.
    const auto min_snr = make<dtk::Weighting>("min_snr");
    CHECK(min_snr->weight(dtk::variance_preserving(std::log(20.0)), 21) == Approx(5.0 / 21));
    CHECK(min_snr->weight({0, 1, -INFINITY}, 1) == 0);
    CHECK(min_snr->weight({1, 0, INFINITY}, 1) == 5);
}

TEST_CASE("networks are told the noise as they ask for it, and a stage shows each of them x_t once scaled") {
    // `exact` answers F of x_t itself: what it draws must not depend on what it calls its answer.
    const Folder folder;
    std::map<std::string, Tensor> drawn;
    for (const std::string prediction : {"x0", "edm"}) {
        std::ofstream(folder / (prediction + ".toml"))
            << "seed = 3\nthreads = 1\ndataset = {use = \"gaussian_mixture\"}\nprocess = {steps = 100}\nschedule = "
               "{use = "
               "\"linear\"}\nmodel = {use = \"exact\", prediction = \"" +
                   prediction + "\"}\nsampler = {use = \"ddim\", steps = 10}\nsample = {n = 20}\n";
        const auto run =
            Running({DTK_PROGRAM, "run", prediction + ".toml", "--out", prediction}, folder.path, own_environment())
                .wait();
        INFO(run.err);
        REQUIRE(run.code == 0);
        drawn[prediction] = dtk::load_safetensors(folder / prediction / "samples.safetensors").tensors.at("samples");
    }
    CHECK(distance(drawn["x0"], drawn["edm"]) < 1e-4);

    support::View view = normal("steps = 100\nschedule = \"linear\"");
    const auto x = stream.normal({2, 1}, at::kDouble);
    const dtk::Time t(at::tensor({10.0, 60.0}, at::kDouble));
    const auto& l = view.chain->levels();
    const auto answer = [&](const std::string& fields) {
        const auto model = make<dtk::Model>("mlp", "width = 8\n" + fields, view);
        at::NoGradGuard no_grad;
        for (const auto& named : model->named_tensors())
            if (named.trained) named.tensor->add_(0.1);
        return model->forward(x, t, {}).value;
    };
    CHECK(distance(answer("noise_label = \"time\""), answer("")) == 0);
    CHECK(distance(answer("noise_label = \"log_snr\""), answer("")) > 1e-4);
    CHECK(distance(answer("noise_label = \"c_noise\""), answer("")) > 1e-4);
    const dtk::NoiseInput input(PredictionType::eps, "log_snr", 8, *view.chain);
    CHECK(distance(input.label(x, t), t.map([&](double t) { return l.log_snr(t); }).rows(x)) < 1e-12);
    CHECK(at::equal(input.scaled(x, t), x));
}
