// What training minimises beyond the simple loss: each objective at its own minimiser, learned variances, EDM's
// identities, and which configurations are the same objective.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numbers>
#include <numeric>

#include <dtk/assignment.hpp>
#include <dtk/distillation.hpp>
#include <dtk/noise_input.hpp>
#include <dtk/optimizer.hpp>
#include <dtk/safetensors.hpp>
#include <dtk/weighting.hpp>

#include "catch.hpp"
#include "complaint.hpp"
#include "run_program.hpp"
#include "support.hpp"

using at::Tensor;
using dtk::PredictionType;
using support::distance;
using support::make;

namespace {

const dtk::Random stream(5, "objectives");

/// N(0.7, 0.5²), and the exact denoiser.
support::BuildContext normal(const std::string& process, const std::string& model = {}) {
    return support::exact("gaussian_mixture", "preset = \"none\"\nmeans = [[0.7]]\nstd = [0.5]", process, model);
}
constexpr double mean = 0.7, variance = 0.25;

dtk::Batch batch(const dtk::BuildContext& context, std::int64_t n) {
    auto drawn = context.dataset().examples(at::arange(n));
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
Tensor weights(const std::string& weighting, const std::string& fields, const support::BuildContext& context,
               PredictionType type, const dtk::Time& t) {
    const auto plugin = make<dtk::Weighting>(weighting, fields, context);
    const auto& levels = context.chain->levels();
    const double sd = dtk::gaussian(*context.chain, "the test").data_sd();
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
        support::BuildContext context;
        context.data = std::make_shared<Pictures>();
        context.chain = make<dtk::Process>("gaussian", "schedule = \"linear\"", context);
        const std::string small = name == "mlp" ? "width = 8\n" : "channels = 8\nmultipliers = [1]\nblocks = 1\n";
        const auto model = make<dtk::Model>(name, small + "variance = \"range\"", context);
        const dtk::Time t(at::tensor({0.0, 1.0, 500.0, 999.0}, at::kDouble));
        const auto x = stream.normal({4, 1, 4, 4}, at::kDouble);
        const auto& l = context.chain->levels();
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

        const auto direct = make<dtk::Model>(name, small + "variance = \"direct\"", context);
        auto& other = tensor_named(*direct, "out.bias");
        other.slice(0, other.size(0) / 2).fill_(-3);
        CHECK(far(answered(*direct), at::full({4}, std::exp(-3.0), at::kDouble)) < 1e-6);
        CHECK_FALSE(make<dtk::Model>(name, small, context)->forward(x, t, {}).variance);
    }
}

TEST_CASE("a learned variance is what reverse steps draw with, and the reconstruction's") {
    const auto context = normal("steps = 100\nschedule = \"linear\"");
    const auto& process = dtk::gaussian(*context.chain, "the test");
    const auto x = stream.normal({3, 1}, at::kDouble), x0 = stream.stream("x0").normal({3, 1}, at::kDouble);
    const dtk::Time t(at::tensor({1.0, 40.0, 99.0}, at::kDouble));
    const auto learned = stream.stream("v").uniform({3, 1}, at::kDouble) + 0.01;
    for (const std::string word : {"small", "large"}) {  // neither counts
        CHECK(distance(process.reverse(x, {PredictionType::x0, x0, learned}, t, t.minus(1), word).variance, learned) <
              1e-12);
        const auto last = context.chain->bound_term(x0, x, 0, -1, {PredictionType::x0, x, learned}, word);
        const auto expected = 0.5 * ((2 * std::numbers::pi * learned).log() + (x0 - x).square() / learned);
        CHECK(distance(last, expected.flatten()) < 1e-10);
        // From a later time to the data in one step it keeps its place between β̃, that of the next step, and β.
        const auto& l = context.chain->levels();
        const auto middle =
            at::full({}, std::sqrt(l.added_variance(30, 29) * l.posterior_variance(30, 29)), at::kDouble);
        const double far = std::sqrt(l.added_variance(30, -1) * l.posterior_variance(31, 30));
        const auto leap = context.chain->bound_term(x0, x, 30, -1, {PredictionType::x0, x, middle}, word);
        const auto leapt = 0.5 * (std::log(2 * std::numbers::pi * far) + (x0 - x).square() / far);
        CHECK(distance(leap, leapt.flatten()) < 1e-9);
    }
}

TEST_CASE("hybrid trains the mean by the squared error and the variance by the bound, λ times T steps of it") {
    for (const std::int64_t T : {50, 1000}) {
        const auto context = normal(fmt::format("steps = {}\nschedule = \"cosine\"", T), "prediction = \"eps\"");
        const auto loss = make<dtk::Loss>("hybrid", "", context);
        const auto data = batch(context, 64);
        const auto t = some_times(*context.chain, 64);
        auto theta = at::zeros({}, at::kDouble).set_requires_grad(true),
             phi = at::zeros({}, at::kDouble).set_requires_grad(true);
        const auto exact = support::denoiser(context);
        const auto learned = [&](const Tensor& x, const dtk::Time& t) {
            return t.map([&](double t) { return context.chain->levels().added_variance(t, t - 1); }).beside(x) *
                   phi.exp();
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

        const auto xt = context.chain->noised(data.x, t, stream.stream("noise"));
        const auto term =
            context.chain->bound_term(data.x, xt.x, t, t.minus(1), network(xt.x, t), "small") / std::numbers::ln2;
        CHECK(distance(objectives[1].value, static_cast<double>(T) / 1000 * term) < 1e-9);
        const auto simple = make<dtk::Loss>("simple", "", context);
        CHECK(distance(objectives[0].value, (*simple)(network, data, t, stream).objectives[0].value) == 0);

        CHECK(says(complaint_of([&] { (*loss)(exact, data, t, stream); }), "variance = \"range\""));
    }
}

TEST_CASE("the bound's variance is least at that of x_{t−1} given x_t") {
    // Of N(m, s²): x_{t−1} ~ N(α m, v), v = α²s² + σ², and Var(x_{t−1} | x_t) = v·q/(q + k²v), x_t = k x_{t−1} + √q z.
    const auto context = normal("steps = 20\nschedule = \"cosine\"");
    const auto& l = context.chain->levels();
    for (std::int64_t i = 0; i < 20; ++i) {
        const double t = static_cast<double>(i), q = l.added_variance(t, t - 1), k = l.alpha(t) / l.alpha(t - 1),
                     v = l.alpha_bar(t - 1) * variance + l.sigma2(t - 1), best = v * q / (q + k * k * v);
        auto log_variance = at::full({}, std::log(best), at::kDouble).set_requires_grad(true);
        // The term is quadratic in x_0 and ε: two nodes each are exact.
        const auto z = at::tensor({-1.0, -1.0, 1.0, 1.0}, at::kDouble).unsqueeze(1),
                   eps = at::tensor({-1.0, 1.0, -1.0, 1.0}, at::kDouble).unsqueeze(1);
        const auto x0 = mean + std::sqrt(variance) * z, xt = l.alpha(t) * x0 + l.sigma(t) * eps;
        auto prediction = context.network->forward(xt, t, {});
        prediction.variance = log_variance.exp();
        const auto slope = [&] {
            log_variance.mutable_grad().reset();
            prediction.variance = log_variance.exp();
            context.chain->bound_term(x0, xt, t, t - 1, prediction, "small").mean().backward();
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
    const auto context = normal("steps = 100\nschedule = \"cosine\"", "prediction = \"x0\"");
    const auto data = batch(context, 256);
    const auto t = some_times(*context.chain, 256);
    const auto& l = context.chain->levels();
    const auto off = [&](double by) {  // an answer that is wrong by that much
        const auto x0 = data.x;
        return support::denoiser(context).replaced([=](const Tensor&, const dtk::Time&, const dtk::Condition&) {
            return dtk::Prediction{PredictionType::x0, x0 + by, {}};
        });
    };
    const std::map<std::string, std::function<double(double)>> corners{
        {"constant", [](double) { return 0.2; }},
        {"exponential", [](double t) { return std::pow(0.2, (t + 1) / 100); }},
        {"snr", [&](double t) { return 0.8 / std::pow(1 + l.sigma(t) / l.alpha(t), 2) + 0.2; }}};
    for (const auto& [schedule, corner] : corners) {
        const auto loss = make<dtk::Loss>("huber", fmt::format("c = 0.2\nschedule = \"{}\"", schedule), context);
        for (const double by : {1e-4, 0.3, 50.0}) {
            const auto objective = (*loss)(off(by), data, t, stream).objectives[0];
            CHECK(objective.error_of == PredictionType::x0);
            const auto c = t.map(corner).rows(data.x);
            CHECK(distance(objective.value, 2 * c * ((by * by + c.square()).sqrt() - c)) < 1e-12);
        }
    }
    // Gaussian data lie alike to both sides of their mean, so the exact denoiser is what it is least for, too …
    const auto many = batch(context, 100000);
    const auto times = some_times(*context.chain, 100000);
    const auto loss = make<dtk::Loss>("huber", "c = 0.1", context);
    check_stationary(*loss, support::denoiser(context), many, times);
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
    const auto context = normal("steps = 100\nschedule = \"cosine\"", "prediction = \"eps\"");
    const auto loss = make<dtk::Loss>("uncertainty", "", context);
    const auto data = batch(context, 5000);
    const auto t = some_times(*context.chain, 5000);
    check_stationary(*loss, support::denoiser(context), data, t);

    // ℓ starts at 0.
    const auto adam = make<dtk::Optimizer>("adam");
    dtk::Parameters trained{{"weight"}, loss->parameters(), {false}};
    adam->begin(trained);
    dtk::LossValues values;
    for (int i = 0; i < 300; ++i) {
        values = (*loss)(support::denoiser(context), data, t, stream);
        trained.tensors[0].mutable_grad().reset();
        values.objectives[0].value.mean().backward();
        at::NoGradGuard no_grad;
        adam->step(at::full({}, i < 200 ? 0.03 : 0.003, at::kFloat), at::zeros({}, at::kFloat));
    }
    CHECK_FALSE(values.objectives[0].error_of);
    const auto learned = values.parts.at(1).second.detach();
    // E‖ε − ε̂‖² = α²s²/(α²s² + σ²)
    const auto exact = t.map([&](double t) {
                            const double signal = context.chain->levels().alpha_bar(t) * variance;
                            return std::log(signal / (signal + context.chain->levels().sigma2(t)));
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
Pairing paired(const support::BuildContext& context, const std::string& fields, const dtk::Batch& data,
               const dtk::Random& random = stream) {
    const auto loss = make<dtk::Loss>("flow_matching", fields, context);
    Tensor asked;
    const auto listening =
        support::denoiser(context).replaced([&](const Tensor& x, const dtk::Time&, const dtk::Condition&) {
            asked = x;
            return dtk::Prediction{PredictionType::velocity, at::zeros_like(x), {}};
        });
    const double t = 49;  // α = σ = ½ of 100 steps of a straight flow
    (*loss)(listening, data, t, random);
    return {data.x, 2 * asked - data.x, data.condition.label};
}

support::BuildContext flow(const std::string& data, const std::string& fields) {
    return support::exact(data, fields, "steps = 100\nschedule = \"flow\"", "prediction = \"velocity\"");
}
const std::string one_d = "preset = \"none\"\nmeans = [[0.7]]\nstd = [0.5]";

}  // namespace

TEST_CASE("flow matching is least at the exact velocity, whatever the network predicts") {
    for (const std::string prediction : {"velocity", "x0", "v"})
        for (const std::string schedule : {"flow", "interpolant"}) {
            const auto context =
                support::exact("gaussian_mixture", one_d, fmt::format("steps = 100\nschedule = \"{}\"", schedule),
                               fmt::format("prediction = \"{}\"", prediction));
            const auto loss = make<dtk::Loss>("flow_matching", "", context);
            check_stationary(*loss, support::denoiser(context), batch(context, 8000), some_times(*context.chain, 8000));
        }
    const auto context = flow("gaussian_mixture", one_d);
    const auto data = batch(context, 1000);
    const auto t = some_times(*context.chain, 1000);
    const auto objective =
        (*make<dtk::Loss>("flow_matching", "", context))(support::denoiser(context), data, t, stream).objectives[0];
    CHECK(objective.error_of == PredictionType::velocity);
    // The target is z − x_0.
    const auto xt = context.chain->noised(data.x, t, stream.stream("noise"));
    const auto error = support::denoiser(context).velocity(xt.x, t) - (xt.noise - data.x);
    CHECK(distance(objective.value, error.square().mean(1)) < 1e-10);
}

TEST_CASE("couplings permute the noise, the optimal one into the order of the data on the line") {
    const auto context = flow("gaussian_mixture", one_d);
    const auto data = batch(context, 64);
    const auto alone = paired(context, "", data);
    CHECK(distance(alone.z, stream.stream("noise").normal({64, 1}, at::kDouble)) < 1e-12);
    const auto optimal = paired(context, "coupling = \"optimal\"", data);
    const auto sorted = [](const Tensor& x) { return std::get<0>(x.flatten().sort()); };
    CHECK(distance(sorted(optimal.z), sorted(alone.z)) < 1e-12);  // the same noise
    CHECK(distance(optimal.z.flatten().index_select(0, optimal.x0.flatten().argsort()), sorted(alone.z)) < 1e-12);
    CHECK(at::equal(paired(context, "coupling = \"optimal\"", data).z, optimal.z));

    // Groups are paired by themselves, in one batch as in its parts; a part that cuts one is refused.
    const auto grouped = paired(context, "coupling = \"optimal\"\ngroup = 16", data);
    for (std::int64_t first = 0; first < 64; first += 32) {
        dtk::Batch part = data;
        part.x = data.x.slice(0, first, first + 32), part.first = first, part.of = 64;
        const auto half = paired(context, "coupling = \"optimal\"\ngroup = 16", part, stream.from(first));
        CHECK(at::equal(half.z, grouped.z.slice(0, first, first + 32)));
        const auto drawn = paired(context, "coupling = \"sinkhorn\"\ngroup = 16", part, stream.from(first));
        CHECK(at::equal(drawn.z,
                        paired(context, "coupling = \"sinkhorn\"\ngroup = 16", data).z.slice(0, first, first + 32)));
        CHECK(says(complaint_of([&] { paired(context, "coupling = \"optimal\"", part, stream.from(first)); }),
                   "`group`"));
        CHECK(
            says(complaint_of([&] { paired(context, "coupling = \"optimal\"\ngroup = 24", part, stream.from(first)); }),
                 "`group`"));
    }
    CHECK_FALSE(at::equal(grouped.z, optimal.z));
    CHECK(says(complaint_of([&] { make<dtk::Loss>("flow_matching", "coupling = \"class\"", context); }), "classes"));
}

TEST_CASE("a coupling keeps the law of the noise, and only the one of classes keeps it within a class") {
    const auto context =
        flow("gaussian_mixture", "preset = \"none\"\nmeans = [[-1.0], [1.0]]\nstd = [0.1, 0.1]\nlabels = true");
    const auto data = batch(context, 8192);
    for (const std::string coupling : {"independent", "optimal", "sinkhorn", "class"}) {
        const auto pairs =
            paired(context, fmt::format("coupling = \"{}\"\ngroup = 128\niterations = 200", coupling), data);
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
    support::BuildContext context =
        support::exact("gaussian_mixture", "preset = \"none\"\nmeans = [[0.0, 0.0]]\nstd = [0.5]",
                       "steps = 200\nschedule = \"edm\"\ndata_sd = 0.5", "prediction = \"edm\"");
    const auto& l = context.chain->levels();
    const auto n = std::int64_t{20000};
    const auto data = batch(context, n);
    const auto untrained =
        support::nobody(context.chain).replaced([](const Tensor& x, const dtk::Time&, const dtk::Condition&) {
            return dtk::Prediction{PredictionType::edm, at::zeros_like(x), {}};
        });
    const dtk::NoiseInput input(PredictionType::edm, "c_noise", 8, *context.chain);
    for (const double t : {0.0, 20.0, 77.5, 150.0, 199.0}) {
        const double sigma = l.ratio(t), sd = 0.5, both = sigma * sigma + sd * sd;
        const double skip = sd * sd / both, out = sigma * sd / std::sqrt(both), in = 1 / std::sqrt(both);
        const auto x = stream.normal({3, 2}, at::kDouble), F = stream.stream("F").normal({3, 2}, at::kDouble);
        const auto y = x / l.alpha(t);  // EDM's x, at σ/α
        CHECK(distance(context.chain->convert({PredictionType::edm, F, {}}, PredictionType::x0, x, t),
                       skip * y + out * F) < 1e-12 * (1 + sigma));
        CHECK(distance(input.scaled(x, t), in * y) < 1e-12);
        CHECK(input.label(x, t)[0].item<double>() == Approx(std::log(sigma) / 4).margin(1e-12));

        // The input and the target have variance 1, so F = 0 costs 1, and D's error times λ the same.
        const dtk::Time times(at::full({n}, t, at::kDouble));
        const auto xt = context.chain->noised(data.x, times, stream.stream("noise"));
        const auto scaled = input.scaled(xt.x, t);
        CHECK(scaled.square().mean().item<double>() == Approx(1).margin(5 * std::sqrt(2.0 / (2 * n))));
        const auto F_loss = (*make<dtk::Loss>("simple", "target = \"edm\"", context))(untrained, data, times, stream)
                                .objectives[0]
                                .value;
        const auto x0_loss = (*make<dtk::Loss>("simple", "target = \"x0\"", context))(untrained, data, times, stream)
                                 .objectives[0]
                                 .value;
        const auto weighted = weights("edm", "", context, PredictionType::x0, times) * x0_loss;
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
        const auto context = support::exact("gaussian_mixture", "preset = \"gmm2d\"",
                                            fmt::format("steps = 100\nschedule = \"{}\"\ndata_sd = 0.5", schedule),
                                            "prediction = \"x0\"");
        const auto data = batch(context, 500);
        const auto t = some_times(*context.chain, 500);
        const auto exact = support::denoiser(context);
        const auto wrong = exact.replaced([&](const Tensor& x, const dtk::Time& t, const dtk::Condition& c) {
            return dtk::Prediction{PredictionType::x0, exact(x, t, c).value + at::sin(x), {}};
        });
        for (const auto& group : same) {
            Tensor first;
            for (const auto& [weighting, fields, target] : group) {
                const auto loss = make<dtk::Loss>("simple", fmt::format("target = \"{}\"", target), context);
                const auto objective = (*loss)(wrong, data, t, stream).objectives[0];
                const auto weighted = weights(weighting, fields, context, *objective.error_of, t) * objective.value;
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

    support::BuildContext context = normal("steps = 100\nschedule = \"linear\"");
    const auto x = stream.normal({2, 1}, at::kDouble);
    const dtk::Time t(at::tensor({10.0, 60.0}, at::kDouble));
    const auto& l = context.chain->levels();
    const auto answer = [&](const std::string& fields) {
        const auto model = make<dtk::Model>("mlp", "width = 8\n" + fields, context);
        at::NoGradGuard no_grad;
        for (const auto& named : model->named_tensors())
            if (named.trained) named.tensor->add_(0.1);
        return model->forward(x, t, {}).value;
    };
    CHECK(distance(answer("noise_label = \"time\""), answer("")) == 0);
    CHECK(distance(answer("noise_label = \"log_snr\""), answer("")) > 1e-4);
    CHECK(distance(answer("noise_label = \"c_noise\""), answer("")) > 1e-4);
    const double sd = dtk::gaussian(*context.chain, "the test").data_sd();
    const dtk::NoiseInput scaling(PredictionType::edm, "time", 8, *context.chain);
    const auto in = t.map([&](double t) { return 1 / (l.alpha(t) * std::sqrt(std::pow(l.ratio(t), 2) + sd * sd)); });
    CHECK(distance(scaling.scaled(x, t), in * x) < 1e-12);
    CHECK(at::equal(scaling.label(x, t), t.rows(2)));
    const dtk::NoiseInput input(PredictionType::eps, "log_snr", 8, *context.chain);
    CHECK(distance(input.label(x, t), t.map([&](double t) { return l.log_snr(t); }).rows(x)) < 1e-12);
    CHECK(at::equal(input.scaled(x, t), x));
}

namespace {

/// A student's view with the exact denoiser of N(0.7, 0.5²) for its teacher.
struct Taught final : support::BuildContext {
    support::BuildContext teacher;
    dtk::TrainedNetwork trained(const dtk::Reference&) const override { return {teacher.network, teacher.chain, {}}; }
};

Taught taught(const std::string& process, const std::string& own_process = {}) {
    Taught context;
    context.teacher = normal(process, "prediction = \"x0\"");
    static_cast<support::BuildContext&>(context) =
        normal(own_process.empty() ? process : own_process, "prediction = \"x0\"");
    return context;
}

/// x → slope·x + shift
struct Affine {
    double slope = 1, shift = 0;
    Affine after(const Affine& first) const { return {slope * first.slope, slope * first.shift + shift}; }
};

/// What a DDIM step of the exact denoiser of N(m, s²) does, t → s.
Affine exact_step(const dtk::NoiseLevels& l, double t, double s) {
    const double a = l.alpha(t), v = l.sigma2(t), k = a * variance / (a * a * variance + v), m = mean - k * a * mean;
    // x̂_0 = k x + m, ε̂ = (x − α x̂_0)/σ
    const double ratio = l.sigma(s) / std::sqrt(v);
    return {l.alpha(s) * k + ratio * (1 - a * k), l.alpha(s) * m - ratio * a * m};
}

/// A network whose x̂_0 is affine in x_t, by the time.
dtk::Denoiser affine(const support::BuildContext& context, std::function<Affine(double t)> map) {
    return support::nobody(context.chain)
        .replaced([map = std::move(map)](const Tensor& x, const dtk::Time& t, const dtk::Condition&) {
            const auto slope = t.map([&](double t) { return map(t).slope; }),
                       shift = t.map([&](double t) { return map(t).shift; });
            return dtk::Prediction{PredictionType::x0, slope * x + shift.beside(x), {}};
        });
}

/// The loss of each example is 0 there, and more for any other map.
void check_least(const dtk::Loss& loss, const support::BuildContext& context,
                 const std::function<Affine(double t)>& map, const dtk::Batch& data, const dtk::Time& t) {
    const auto value = [&](double slope, double shift) {
        const auto moved = affine(context, [=](double t) {
            return Affine{map(t).slope * slope, map(t).shift + shift};
        });
        return loss(moved, data, t, stream).objectives[0].value;
    };
    CHECK(value(1, 0).max().item<double>() < 1e-20);
    CHECK(value(1, 0.1).mean().item<double>() > 1e-6);
    CHECK(value(1.1, 0).mean().item<double>() > 1e-6);
}

/// b + (x/α − b)·√(a²/(a² + ρ²)), ρ = σ/α: where the flow of N(b, a²) ends, with a and b trained.
struct Ends {
    Tensor a = at::full({}, 1.0, at::kDouble).set_requires_grad(true),
           b = at::full({}, 0.0, at::kDouble).set_requires_grad(true);
    dtk::Denoiser of(const support::BuildContext& context) const {
        return support::nobody(context.chain)
            .replaced([*this, &context](const Tensor& x, const dtk::Time& t, const dtk::Condition&) {
                const auto& l = context.chain->levels();
                const auto rho2 = t.map([&](double t) { return std::pow(l.ratio(t), 2); }).beside(x);
                const auto y = x / t.map([&](double t) { return l.alpha(t); });
                return dtk::Prediction{PredictionType::x0, b + (y - b) * (a * a / (a * a + rho2)).sqrt(), {}};
            });
    }
};

}  // namespace

TEST_CASE("consistency: the teacher's own steps are least for distillation, and two parameters land on its law") {
    const auto context = taught("steps = 40\nschedule = \"linear\"");
    const auto loss = make<dtk::Loss>("consistency", "teacher = \"t\"\nsteps = 8", context);
    const auto& l = context.chain->levels();
    const auto map = [&](double t) {  // the rest of the way, in strides of 5
        Affine way;
        for (; t > 0; t -= 5) way = exact_step(l, t, t - 5).after(way);
        return way;
    };
    const auto data = batch(context, 64);
    const auto grid = dtk::Time(stream.stream("k").integers(8, {64}).to(at::kDouble) * 5 + 4);
    CHECK((*loss)(affine(context, map), data, grid, stream).objectives[0].error_of == PredictionType::x0);
    check_least(*loss, context, map, data, grid);
    check_least(*make<dtk::Loss>("consistency", "teacher = \"t\"\nsteps = 8\nhuber = 0.1", context), context, map, data,
                grid);

    const auto close = taught("steps = 400\nschedule = \"linear\"");
    const auto fine = make<dtk::Loss>("consistency", "teacher = \"t\"\nsteps = 200", close),
               alone = make<dtk::Loss>("consistency", "steps = 200", close);
    for (const auto& one : {fine, alone}) {
        const Ends ends;
        const auto adam = make<dtk::Optimizer>("adam");
        dtk::Parameters trained{{"a", "b"}, {ends.a, ends.b}, {false, false}};
        adam->begin(trained);
        const auto many = batch(close, 4096);
        for (int i = 0; i < 600; ++i) {
            for (auto& p : trained.tensors) p.mutable_grad().reset();
            (*one)(ends.of(close), many, stream.stream("t").step(i).integers(400, {4096}).to(at::kDouble),
                   stream.step(i))
                .objectives[0]
                .value.mean()
                .backward();
            at::NoGradGuard no_grad;
            adam->step(at::full({}, i < 300 ? 0.03 : 0.003, at::kFloat), at::zeros({}, at::kFloat));
        }
        INFO("a " << ends.a.item<double>() << ", b " << ends.b.item<double>());
        CHECK(ends.b.item<double>() == Approx(mean).margin(0.03));
        CHECK(ends.a.item<double>() == Approx(std::sqrt(variance)).margin(0.03));
    }
}

TEST_CASE("consistency training without a teacher is off by 1/N: by 1/N² in each of N strides") {
    const auto context = normal("steps = 160\nschedule = \"vp\"", "prediction = \"x0\"");
    Ends exact;
    exact.a = at::full({}, std::sqrt(variance), at::kDouble), exact.b = at::full({}, mean, at::kDouble);
    const auto n = std::int64_t{1500000};
    const auto data = batch(context, n);
    const dtk::Time t(at::full({n}, 99.0, at::kDouble));
    const Direction along = [](const Tensor& x, const dtk::Time&) { return x; };
    double before = 0;
    for (const std::int64_t N : {10, 20, 40}) {
        const auto loss = make<dtk::Loss>("consistency", fmt::format("steps = {}", N), context);
        const auto [bias, se] = expected_gradient(*loss, exact.of(context), data, t, along);
        INFO("N " << N << ": " << bias << " ± " << se);
        CHECK(std::abs(bias) > 5 * se);
        if (before != 0) CHECK(before / bias == Approx(4).margin(1));
        before = bias;
    }
}

TEST_CASE("progressive: one step of the student ends where two of the teacher's do") {
    const auto context = taught("steps = 40\nschedule = \"cosine\"");
    const auto& l = context.chain->levels();
    const auto loss = make<dtk::Loss>("progressive", "teacher = \"t\"\nsteps = 4", context);
    const auto two = [&](double t) { return exact_step(l, t - 5, t - 10).after(exact_step(l, t, t - 5)); };
    const auto student = [&](double t) {  // the x̂_0 whose DDIM step t → t−10 that is
        const double r = t - 10, kept = l.sigma(r) / l.sigma(t), under = l.alpha(r) - kept * l.alpha(t);
        return Affine{(two(t).slope - kept) / under, two(t).shift / under};
    };
    const auto data = batch(context, 64);
    const auto drawn = some_times(*context.chain, 64);  // the loss brings them to 9, 19, 29, 39
    check_least(*loss, context, student, data, drawn);
    // The student is asked at the times of its own grid, the next after the one that was drawn.
    const auto next = (((drawn.rows(64) + 1) / 10).ceil() * 10) - 1;
    const auto listening =
        affine(context, student).replaced([&](const Tensor& x, const dtk::Time& t, const dtk::Condition&) {
            CHECK(distance(t.rows(64), next) < 1e-9);
            return dtk::Prediction{PredictionType::x0, x, {}};
        });
    (*loss)(listening, data, drawn, stream);
    for (const double t : {9.0, 19.0, 39.0}) {
        const auto x = stream.normal({5, 1}, at::kDouble);
        const auto one = dtk::flow_step(affine(context, student), x, t, t - 10);
        const auto first = dtk::flow_step(support::denoiser(context.teacher), x, t, t - 5);
        CHECK(distance(one, dtk::flow_step(support::denoiser(context.teacher), first, t - 5, t - 10)) < 1e-12);
    }
    const auto whole = make<dtk::Process>("gaussian", "steps = 40\nschedule = \"learned\"", context);
    CHECK(says(complaint_of([&] { dtk::must_divide(*whole, 6); }), "grid of 6"));
    CHECK(says(complaint_of([&] { make<dtk::Loss>("progressive", "", context); }), "needs `teacher`"));
    const auto other = taught("steps = 40\nschedule = \"cosine\"", "steps = 40\nschedule = \"linear\"");
    CHECK(says(complaint_of([&] { make<dtk::Loss>("progressive", "teacher = \"t\"\nsteps = 4", other); }),
               "noise levels"));
}

TEST_CASE("reflow: straight lines to where the teacher's flow ends, which one Euler step then reaches") {
    const auto context = taught("steps = 40\nschedule = \"linear\"", "steps = 100\nschedule = \"flow\"");
    const auto& l = context.teacher.chain->levels();
    const auto loss = make<dtk::Loss>("reflow", "teacher = \"t\"\nsteps = 8", context);
    Affine way{l.sigma(39), 0};
    for (double t = 39; t > 0; t -= 5) way = exact_step(l, t, t - 5).after(way);
    // x_t = (1 − u)(A z + B) + u z, so z = (x_t − (1 − u) B)/((1 − u) A + u) and the end is A z + B.
    const auto ends = [&](double t) {
        const double u = (t + 1) / 100, under = (1 - u) * way.slope + u;
        return Affine{way.slope / under, way.shift - way.slope * (1 - u) * way.shift / under};
    };
    const auto data = batch(context, 64);
    // Its value is the velocity's, 1/u² of x̂_0's.
    const auto t = dtk::Time(stream.stream("t").integers(90, {64}).to(at::kDouble) + 9);
    check_least(*loss, context, ends, data, t);
    CHECK((*loss)(affine(context, ends), data, t, stream).objectives[0].error_of == PredictionType::velocity);
    const auto z = stream.normal({5, 1}, at::kDouble);
    CHECK(distance(dtk::flow_step(affine(context, ends), z, 99, -1), way.slope * z + way.shift) < 1e-12);
}

TEST_CASE("dmd: the generator's gradient is that of the divergence under noise, and it lands on the teacher's law") {
    const std::string process = "steps = 40\nschedule = \"linear\"";
    auto context = taught(process);
    const auto& l = context.chain->levels();
    const auto n = std::int64_t{5000};
    const auto data = batch(context, n);
    auto a = at::full({}, 0.8, at::kDouble).set_requires_grad(true),
         b = at::full({}, 0.2, at::kDouble).set_requires_grad(true);
    const auto generator =
        support::nobody(context.chain).replaced([&](const Tensor& x, const dtk::Time& t, const dtk::Condition&) {
            CHECK(t.value() == 39);
            return dtk::Prediction{PredictionType::x0, a * x + b, {}};
        });
    // The fake network that knows what the generator makes.
    const auto at_now = [&](const std::string& weight) {
        context.data = make<dtk::Dataset>(
            "gaussian_mixture",
            fmt::format("preset = \"none\"\nmeans = [[{}]]\nstd = [{}]", b.item<double>(), a.item<double>()), context);
        return make<dtk::Loss>(
            "dmd", "teacher = \"t\"\nfake = {use = \"exact\", prediction = \"eps\"}\nweight = \"" + weight + "\"",
            context);
    };
    const auto gradient = [&](const dtk::Loss& loss, const dtk::Time& t, const dtk::Random& random) {
        a.mutable_grad().reset(), b.mutable_grad().reset();
        loss(generator, data, t, random).objectives[0].value.mean().backward();
        return std::pair{a.grad().item<double>(), b.grad().item<double>()};
    };
    for (const auto& [a_now, b_now] : {std::pair{0.8, 0.2}, {0.3, 1.5}, {0.5, 0.7}}) {
        a.detach().fill_(a_now), b.detach().fill_(b_now);
        const auto loss = at_now("kl");
        for (const double t : {5.0, 20.0}) {
            const double a2 = l.alpha_bar(t), v_real = a2 * variance + l.sigma2(t),
                         v_fake = a2 * a_now * a_now + l.sigma2(t);
            const auto [by_a, by_b] = gradient(*loss, dtk::Time(at::full({n}, t, at::kDouble)), stream);
            INFO("N(" << b_now << ", " << a_now << "²), t " << t);
            CHECK(by_a == Approx(a2 * a_now * (1 / v_real - 1 / v_fake)).margin(0.1 * a2 / v_real));
            CHECK(by_b == Approx(a2 * (b_now - mean) / v_real).margin(0.1 * a2 / v_real));
            if (a_now == 0.5) CHECK((std::abs(by_a) < 1e-10 && std::abs(by_b) < 1e-10));
        }
    }
    // The second objective is the plain error of the fake network on what is made, and does not reach the generator.
    a.detach().fill_(0.8), b.detach().fill_(0.2);
    const auto values = (*at_now("kl"))(generator, data, 5, stream);
    REQUIRE(values.objectives.size() == 2);
    CHECK(values.objectives[0].trains == "model");
    CHECK(values.objectives[1].trains == "loss");
    CHECK_FALSE(values.objectives[1].value.requires_grad());
    const double signal = l.alpha_bar(5) * 0.64;
    CHECK(values.objectives[1].value.mean().item<double>() == Approx(signal / (signal + l.sigma2(5))).epsilon(0.05));

    // Normalised it is that over |x − D_real| of the example.
    const auto xt =
        context.chain->noised(0.8 * context.chain->prior({n, 1}, data.x.options(), stream.stream("start"), 39) + 0.2, 5,
                              stream.stream("noise"));
    const auto made = (xt.x - l.sigma(5) * xt.noise) / l.alpha(5);
    const auto size = (made - support::denoiser(context.teacher).x0(xt.x, 5)).abs().flatten();
    const auto kl = values.objectives[0].value.detach(),
               normalised = (*at_now("normalised"))(generator, data, 5, stream).objectives[0].value.detach();
    const double of_kl = l.alpha_bar(5) / l.sigma2(5);
    CHECK(distance(normalised * (size * of_kl).square() / kl, at::ones_like(kl)) < 1e-6);

    for (int i = 0; i < 60; ++i) {
        const auto t = dtk::Time(stream.stream("t").step(i).integers(40, {n}).to(at::kDouble));
        const auto [by_a, by_b] = gradient(*at_now("kl"), t, stream.step(i));
        a.detach().sub_(0.15 * by_a), b.detach().sub_(0.15 * by_b);
    }
    CHECK(a.item<double>() == Approx(std::sqrt(variance)).margin(0.02));
    CHECK(b.item<double>() == Approx(mean).margin(0.02));
}

TEST_CASE("every loss trains a stage of a file, those that need a teacher after one") {
    const Folder folder;
    std::ofstream(folder / "stages.toml") << R"(
seed = 3
threads = 1
dataset = {use = "gaussian_mixture"}
process = {steps = 16}
schedule = {use = "cosine"}
model = {use = "mlp", width = 16, depth = 1, prediction = "v"}
train = {steps = 8, batch = 16, log_every = 4}
[[stage]]
name = "teacher"
[[stage]]
name = "hybrid"
model = {use = "mlp", width = 16, depth = 1, variance = "range"}
loss = {use = "hybrid"}
[[stage]]
name = "huber"
loss = {use = "huber", schedule = "snr"}
[[stage]]
name = "uncertainty"
loss = {use = "uncertainty"}
[[stage]]
name = "flow"
schedule = {use = "flow"}
loss = {use = "flow_matching", coupling = "optimal"}
[[stage]]
name = "consistency"
loss = {use = "consistency", teacher = "teacher", steps = 8}
[[stage]]
name = "progressive"
loss = {use = "progressive", teacher = "teacher", steps = 4}
[[stage]]
name = "reflow"
schedule = {use = "flow"}
loss = {use = "reflow", teacher = "teacher", steps = 4}
[[stage]]
name = "dmd"
loss = {use = "dmd", teacher = "teacher", fake = {use = "mlp", width = 16, depth = 1, prediction = "v"}}
)";
    const auto run =
        Running({DTK_PROGRAM, "run", "stages.toml", "--out", "run"}, folder.path, own_environment()).wait();
    INFO(run.out << run.err);
    CHECK(run.code == 0);
    for (const std::string stage :
         {"hybrid", "huber", "uncertainty", "flow", "consistency", "progressive", "reflow", "dmd"})
        CHECK(std::filesystem::exists(folder / "run" / stage / "metrics.jsonl"));
}
