// Networks that are told two times: derivatives along a flow, the loss that trains average velocities, and the sampler
// that takes their steps.
#include <cmath>

#include <dtk/flow_map.hpp>
#include <dtk/optimizer.hpp>
#include <dtk/schedule.hpp>

#include "catch.hpp"
#include "complaint.hpp"
#include "support.hpp"

using at::Tensor;
using dtk::PredictionType;
using support::distance;
using support::make;

namespace {

const dtk::Random stream(5, "meanflow");
constexpr double mean = 0.7, sd = 0.5;

/// N(0.7, 0.5²) on the straight path, and its exact denoiser.
support::BuildContext flow() {
    return support::exact("gaussian_mixture", "preset = \"none\"\nmeans = [[0.7]]\nstd = [0.5]",
                          "steps = 100\nschedule = \"flow\"", "prediction = \"velocity\"");
}

/// A network with a law of its own that says what two times it is told.
struct TwoTimes final : dtk::Model, dtk::ToldEnd {
    PredictionType predicts() const override { return PredictionType::velocity; }
    bool knows_end() const override { return true; }
    dtk::Prediction forward(const Tensor&, const dtk::Time&, const dtk::Condition&) override { return {}; }
};

/// The average velocity of N(m, s²) on the straight path: x_r = m_r + (x_t − m_t)·s_r/s_t, m_t = (1 − t)·m and
/// s_t² = (1 − t)²s² + t², u = (x_t − x_r)/(t − r). x: [B, 1]; r and t: [B, 1] as u = (t+1)/T.
Tensor average_velocity(const Tensor& x, const Tensor& r, const Tensor& t, const Tensor& m, const Tensor& s) {
    const auto spread = [&](const Tensor& t) { return ((1 - t).square() * s.square() + t.square()).sqrt(); };
    const auto at_r = (1 - r) * m + (x - (1 - t) * m) * spread(r) / spread(t);
    const auto velocity = -m + (x - (1 - t) * m) * (t - (1 - t) * s.square()) / spread(t).square();
    const auto gap = t - r;
    return at::where(gap.abs() < 1e-9, velocity, (x - at_r) / at::where(gap.abs() < 1e-9, at::ones_like(gap), gap));
}

/// That, of the two times it is told, and differentiable by t in forward mode.
dtk::Denoiser told_two(const support::BuildContext& context, const Tensor& m, const Tensor& s) {
    const auto T = static_cast<double>(context.chain->steps());
    return {context.chain, [=](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
                const auto u = [&](const dtk::Time& time) { return ((time.on(x) + 1) / T).view({-1, 1}); };
                return dtk::Prediction{
                    PredictionType::velocity, average_velocity(x, u(dtk::end_of(condition, t)), u(t), m, s), {}};
            }};
}
dtk::Denoiser exact(const support::BuildContext& context) {
    return told_two(context, at::full({}, mean, at::kDouble), at::full({}, sd, at::kDouble));
}

std::shared_ptr<dtk::Loss> loss_of(support::BuildContext context, const std::string& fields) {
    context.network = std::make_shared<TwoTimes>();
    return make<dtk::Loss>("meanflow", fields, context);
}

bool knows_end(const dtk::Model& model) {
    const auto* told = dynamic_cast<const dtk::ToldEnd*>(&model);
    return told && told->knows_end();
}

dtk::Batch batch(const support::BuildContext& context, std::int64_t n) {
    auto drawn = context.dataset().examples(at::arange(n));
    drawn.x = drawn.x.to(at::kDouble);
    return drawn;
}
dtk::Time some_times(std::int64_t n, std::int64_t step = 0) {
    return stream.stream("t").step(step).uniform({n}, at::kDouble) * 100 - 1;
}

}  // namespace

TEST_CASE("a derivative along a flow is the function's own") {
    const auto x = stream.normal({4, 3}, at::kDouble), dx = stream.stream("dx").normal({4, 3}, at::kDouble);
    const dtk::Time t(at::tensor({-0.5, 0.3, 7.0, 42.0}, at::kDouble));
    auto a = at::full({}, 1.7, at::kDouble).set_requires_grad(true);
    const auto f = [&](const Tensor& x, const dtk::Time& t) {
        return at::sin(a * x) * at::exp(0.01 * t.on(x)).unsqueeze(1) + x * x;
    };
    const auto [value, rate] = dtk::along(f, x, dx, t);
    CHECK(distance(value, f(x, t)) == 0);
    const auto grown = at::exp(0.01 * t.rows(4)).unsqueeze(1);
    CHECK(distance(rate, 1.7 * at::cos(1.7 * x) * grown * dx + 0.01 * at::sin(1.7 * x) * grown + 2 * x * dx) < 1e-12);
    CHECK(value.requires_grad());
    CHECK_FALSE(rate.requires_grad());
    // One time for all rows, and what depends on neither.
    CHECK(distance(dtk::along(f, x, dx, 42.0).rate.select(0, 3), rate.select(0, 3)) < 1e-12);
    CHECK(distance(dtk::along([&](const Tensor& x, const dtk::Time&) { return at::ones_like(x); }, x, dx, t).rate,
                   at::zeros_like(x)) == 0);
    at::NoGradGuard no_grad;
    CHECK(distance(dtk::along(f, x, dx, t).rate, rate) == 0);
}

TEST_CASE("networks that are told the end pass on the derivative of the time, whatever they are told of the noise") {
    struct Pictures final : dtk::Dataset {
        std::vector<std::int64_t> shape() const override { return {1, 8, 8}; }
        std::int64_t size() const override { return 0; }
        dtk::Batch examples(const Tensor& index) const override {
            return {.x = stream.samples(index).normal({index.size(0), 1, 8, 8}, at::kFloat)};
        }
        dtk::Batch test_examples(const Tensor& index) const override { return examples(index + 1000000); }
    };
    // Labels, and a step of the time over which their waves hardly bend.
    const std::vector<std::pair<std::string, double>> labels{
        {"time", 0.003}, {"u", 2}, {"log_snr", 0.003}, {"c_noise", 0.3}};
    for (const std::string name : {"mlp", "unet"})
        for (const auto& [label, step] : labels) {
            support::BuildContext context;
            context.data = std::make_shared<Pictures>();
            context.chain = make<dtk::Process>("gaussian", "steps = 100\nschedule = \"flow\"", context);
            const auto small = name == "mlp" ? std::string("width = 16\n")
                                             : std::string("channels = 8\nmultipliers = [1, 2]\nblocks = 1\n");
            const auto model = make<dtk::Model>(
                name, small + "prediction = \"velocity\"\nend_time = true\nnoise_label = \"" + label + "\"", context);
            CHECK(knows_end(*model));
            CHECK_FALSE(knows_end(*make<dtk::Model>(name, small, context)));
            model->train(false);
            {
                at::NoGradGuard no_grad;
                for (const auto& named : model->named_tensors())
                    if (named.trained)
                        named.tensor->add_(0.1 * stream.stream(named.name).normal(named.tensor->sizes(), at::kFloat));
            }
            const dtk::Denoiser denoise(
                context.chain,
                [&](const Tensor& x, const dtk::Time& t, const dtk::Condition& c) { return model->forward(x, t, c); });
            const auto f = [&](const Tensor& x, const dtk::Time& t) {
                return dtk::leading_to(denoise, dtk::Time(at::tensor({-1.0, 2.0, 20.0}, at::kDouble)), 3)(x, t).value;
            };
            const auto x = stream.normal({3, 1, 8, 8}, at::kFloat),
                       dx = stream.stream("dx").normal({3, 1, 8, 8}, at::kFloat);
            const auto t = at::tensor({9.3, 30.1, 77.7}, at::kDouble);
            const auto [value, rate] = dtk::along(f, x, dx, t);
            // Differences of float32 answers, over a hundredth of a step.
            constexpr double h = 0.01;
            const auto slope = (f(x + h * dx, t + h) - f(x - h * dx, t - h)) / (2 * h);
            const double size = slope.abs().max().item<double>();
            INFO(name << ", " << label << ": " << distance(rate, slope) << " of " << size);
            CHECK(distance(value, f(x, t)) < 1e-4 * value.abs().max().item<double>());
            CHECK(distance(rate, slope) < 0.01 * size);
            // By the time alone, which is little beside it.
            const auto by_time = dtk::along(f, x, at::zeros_like(dx), t).rate,
                       differences = (f(x, t + step) - f(x, t - step)) / (2 * step);
            INFO("by the time " << distance(by_time, differences) << " of " << by_time.abs().max().item<double>());
            CHECK(distance(by_time, differences) < 0.05 * by_time.abs().max().item<double>());
            // Both times are looked at.
            CHECK(distance(dtk::leading_to(denoise, 1.0, 3)(x, t).value, f(x, t)) > 0);
            CHECK(distance(denoise(x, t).value, dtk::leading_to(denoise, t, 3)(x, t).value) == 0);
        }
}

TEST_CASE("the average velocity of a Gaussian law satisfies the identity u = v − (t − r) du/dt") {
    const auto context = flow();
    const auto n = std::int64_t{500};
    const auto x = 2 * stream.normal({n, 1}, at::kDouble);
    const auto times = some_times(n).rows(n);
    const auto r = stream.stream("r").uniform({n}, at::kDouble) * (times + 1) - 1;
    const auto denoise = exact(context);
    const auto velocity = denoise.velocity(x, times);
    CHECK(distance(support::denoiser(context).velocity(x, times), velocity) < 1e-6);
    const auto ending = dtk::leading_to(denoise, r, n);
    const auto [u, rate] =
        dtk::along([&](const Tensor& x, const dtk::Time& t) { return ending(x, t).value; }, x, velocity / 100, times);
    CHECK(distance(u, velocity - (times - r).view({n, 1}) * rate) < 1e-9);
}

TEST_CASE("meanflow is least at the exact average velocity, in expectation, and not at the velocity") {
    const auto context = flow();
    const auto n = std::int64_t{20000};
    const auto data = batch(context, n);
    const auto t = some_times(n);
    for (const std::string share : {"0.25", "1"}) {
        const auto loss = loss_of(context, "power = 0\nshare = " + share);
        const auto gradient = [&](const dtk::Denoiser& of, int direction) {
            auto theta = at::zeros({n, 1}, at::kDouble).set_requires_grad(true);
            const auto moved = of.replaced([&](const Tensor& x, const dtk::Time& t, const dtk::Condition& c) {
                auto answer = of(x, t, c);
                answer.value = answer.value + theta * (direction == 0   ? at::ones_like(x)
                                                       : direction == 1 ? x
                                                                        : at::sin(2 * x));
                return answer;
            });
            const auto values = (*loss)(moved, data, t, stream);
            CHECK(values.objectives.at(0).error_of == PredictionType::velocity);
            values.objectives[0].value.sum().backward();
            const auto g = theta.grad();
            return std::pair{g.mean().item<double>(), g.std().item<double>() / std::sqrt(static_cast<double>(n))};
        };
        double far = 0;
        for (int direction = 0; direction < 3; ++direction) {
            const auto [g, se] = gradient(exact(context), direction);
            INFO("share " << share << ", direction " << direction << ": " << g << " ± " << se);
            CHECK(se > 0);
            CHECK(std::abs(g) < 4 * se);
            const auto [other, other_se] = gradient(support::denoiser(context), direction);
            far = std::max(far, std::abs(other) / other_se);
        }
        if (share == "1") CHECK(far > 10);
    }
    // Each error is divided by (its own + c)^p, beside which the plain error stands.
    const auto plain = (*loss_of(context, "power = 0"))(exact(context), data, t, stream),
               divided = (*loss_of(context, "power = 0.5\nc = 0.01"))(exact(context), data, t, stream);
    const auto error = plain.objectives[0].value;
    CHECK(distance(divided.objectives[0].value, error / (error + 0.01).sqrt()) < 1e-12);
    CHECK(distance(divided.parts.at(0).second, error) < 1e-12);
}

TEST_CASE("two parameters land on the law whose average velocity meanflow trains") {
    const auto context = flow();
    for (const std::string fields : {"power = 0\nshare = 0.5", "power = 1"}) {
        auto m = at::full({}, 0.0, at::kDouble).set_requires_grad(true),
             s = at::full({}, 1.0, at::kDouble).set_requires_grad(true);
        const auto loss = loss_of(context, fields);
        const auto adam = make<dtk::Optimizer>("adam");
        dtk::Parameters trained{{"m", "s"}, {m, s}, {false, false}};
        adam->begin(trained);
        const auto data = batch(context, 2048);
        for (int i = 0; i < 300; ++i) {
            for (auto& p : trained.tensors) p.mutable_grad().reset();
            (*loss)(told_two(context, m, s), data, some_times(2048, i), stream.step(i))
                .objectives[0]
                .value.mean()
                .backward();
            at::NoGradGuard no_grad;
            adam->step(at::full({}, i < 150 ? 0.03 : 0.003, at::kFloat), at::zeros({}, at::kFloat));
        }
        INFO(fields << ": " << m.item<double>() << ", " << s.item<double>());
        CHECK(m.item<double>() == Approx(mean).margin(0.03));
        CHECK(std::abs(s.item<double>()) == Approx(sd).margin(0.03));
    }
}

TEST_CASE("flow_map goes to the end of the flow in one step or in several, and with γ keeps the law of every time") {
    at::NoGradGuard no_grad;
    const auto context = flow();
    const auto sampled = [&](const dtk::Denoiser& denoise, const std::string& fields, const Tensor& x) {
        const auto sampler = make<dtk::Sampler>("flow_map", fields, context);
        return sampler->sample(denoise, sampler->times(*context.chain), x, stream.stream("steps"));
    };
    const auto x = at::tensor({-1.3, 0.0, 2.0}, at::kDouble).unsqueeze(1);
    for (const int steps : {1, 2, 3, 7})
        CHECK(distance(sampled(exact(context), fmt::format("steps = {}", steps), x), mean + sd * x) < 1e-12);

    // A network that is told no end answers its velocity: Euler's method (the deviations of N(0.7, 0.3²)).
    const auto narrow = support::exact("gaussian_mixture", "preset = \"none\"\nmeans = [[0.7]]\nstd = [0.3]",
                                       "steps = 320\nschedule = \"flow\"", "prediction = \"velocity\"");
    const auto ends = at::tensor({0.0, 1.0}, at::kDouble).unsqueeze(1);
    for (const auto& [steps, deviation] :
         {std::pair(1, 0.0), std::pair(2, 0.0826), std::pair(4, 0.1772), std::pair(8, 0.2347), std::pair(32, 0.2825)}) {
        const auto sampler = make<dtk::Sampler>("flow_map", fmt::format("steps = {}", steps), narrow);
        const auto y = sampler->sample(support::denoiser(narrow), sampler->times(*narrow.chain), ends, stream);
        CHECK((y[1] - y[0]).item<double>() == Approx(deviation).margin(1e-4));
        CHECK(y[0].item<double>() == Approx(0.7).margin(1e-9));
    }

    // New noise leaves the law as it is; with γ = 1 nothing of x_T is left after the second step.
    const auto many = stream.stream("many").normal({100000, 1}, at::kDouble);
    for (const double gamma : {0.5, 1.0}) {
        const auto y = sampled(exact(context), fmt::format("steps = 4\ngamma = {:.1f}", gamma), many);
        CHECK(std::abs(y.mean().item<double>() - mean) < 4 * sd / std::sqrt(1e5));
        CHECK(std::abs(y.std().item<double>() - sd) < 4 * sd / std::sqrt(2e5));
        // What is left of x_T after each of the three times between goes through x_s', and is known.
        const auto& l = context.chain->levels();
        const auto spread = [&](double t) { return std::sqrt(l.alpha_bar(t) * sd * sd + l.sigma2(t)); };
        double kept = 1;
        for (const double s : {74.0, 49.0, 24.0}) {
            const double end = gamma == 1 ? -1 : l.time_of_ratio(std::sqrt(1 - gamma * gamma) * l.ratio(s));
            kept *= l.alpha(s) / l.alpha(end) * spread(end) / spread(s);
        }
        const double found = ((y - mean) * many).mean().item<double>() / sd;
        INFO("γ " << gamma << ": " << found << ", expected " << kept);
        CHECK(std::abs(found - kept) < 4 / std::sqrt(1e5));
    }
}

TEST_CASE("meanflow says what it needs") {
    const auto context = flow();
    CHECK(says(complaint_of([&] { make<dtk::Loss>("meanflow", "", context); }), "end_time = true"));
    auto whole = context;
    whole.chain = make<dtk::Process>("gaussian", "steps = 40\nschedule = \"learned\"", context);
    whole.network = std::make_shared<TwoTimes>();
    CHECK_FALSE(complaint_of([&] { make<dtk::Loss>("meanflow", "", whole); }).empty());
}
