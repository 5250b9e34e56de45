// The diffusion of frames: what a network is told against slopes of the log-density, noise on noise, rotations that
// stay rotations, and a mixture of frames whose law is known.
#include <cmath>

#include <dtk/rotations.hpp>
#include <dtk/schedule.hpp>

#include "catch.hpp"
#include "support.hpp"

using at::Tensor;
using Catch::Matchers::Contains;
using dtk::PredictionType;
using support::distance;
using support::make;

namespace {

const dtk::Random stream(5, "se3");

/// Σ_k w_k of frames near M_k = (R_k, m_k): R from IGSO(3) of spread `turn` about R_k, x from N(m_k, move²), one frame
/// a chain.
struct Frames final : dtk::Dataset {
    Tensor weights = at::tensor({0.5, 0.3, 0.2}, at::kDouble);
    Tensor turns = dtk::rotation(at::tensor({0.0, 0.0, 0.5, 2.0, 0.6, 0.0, -0.8, 1.5, 1.2}, at::kDouble).view({3, 3}));
    Tensor moves = at::tensor({8.0, 0.0, -3.0, -6.0, 9.0, 1.0, -5.0, -8.0, 2.0}, at::kDouble).view({3, 3});
    static constexpr double turn = 0.25, move = 1.5;

    std::vector<std::int64_t> shape() const override { return {1, 3, 4}; }
    std::int64_t size() const override { return 0; }
    dtk::Batch examples(const Tensor& index) const override {
        return drawn(stream.stream("train").samples(index), index);
    }
    dtk::Batch test_examples(const Tensor& index) const override {
        return drawn(stream.stream("test").samples(index), index);
    }
    dtk::Batch drawn(const dtk::Random& random, const Tensor& index) const {
        const auto n = index.size(0);
        const auto k = at::searchsorted(weights.cumsum(0), random.stream("k").uniform({n}, at::kDouble)).clamp_max(2);
        const auto sigma = at::full({1}, turn, at::kDouble);
        const auto v = dtk::igso3_draw(random.stream("v"), 1, sigma.expand({n}).contiguous(),
                                       dtk::igso3_cumulative(sigma).expand({n, -1}).contiguous());
        const auto R = turns.index_select(0, k).matmul(dtk::rotation(v.view({n, 3})));
        const auto x = moves.index_select(0, k) + move * random.stream("x").normal({n, 3}, at::kDouble);
        return {at::cat({R, x.unsqueeze(-1)}, -1).unsqueeze(1).to(at::kFloat)};
    }
};

support::BuildContext frames(const std::string& rotations, std::int64_t steps = 200) {
    support::BuildContext context;
    context.data = std::make_shared<Frames>();
    context.chain = make<dtk::Process>(
        "se3",
        fmt::format(
            "translations = {{use = \"gaussian\", steps = {0}, schedule = \"vp\"}}\nrotations = {{use = \"so3\", "
            "steps = {0}, {1}}}",
            steps, rotations),
        context);
    return context;
}

/// σ of the rotations and α, σ of the places (of 0.1 Å⁻¹ x) at t, as schedules `rotation` and `vp` say.
struct Noise {
    double turn, alpha, sigma;
    Noise(const support::BuildContext& context, double t, std::int64_t steps = 200)
        : turn(0.02 + 2.0 * (3 * u(t, steps) + u(t, steps) * u(t, steps)) / 4),
          alpha(context.chain->levels().alpha(t)),
          sigma(context.chain->levels().sigma(t)) {}
    static double u(double t, std::int64_t steps) { return (t + 1) / static_cast<double>(steps); }
};

/// log q(x_t) of x_t [n, 1, 3, 4] where x_0 has the law of the data: [n]
Tensor log_density(const Frames& data, const Tensor& xt, const Noise& noise) {
    const auto R = xt.select(1, 0).slice(-1, 0, 3).unsqueeze(1), x = xt.select(1, 0).select(-1, 3).unsqueeze(1);
    const auto angle = dtk::rotation_vector(data.turns.transpose(1, 2).matmul(R)).norm(2, -1);
    const auto sigma = at::full({1}, std::hypot(Frames::turn, noise.turn), at::kDouble);
    const double variance = std::pow(noise.alpha * Frames::move, 2) + std::pow(noise.sigma / 0.1, 2);
    const auto of_place = -(x - noise.alpha * data.moves).square().sum(-1) / (2 * variance) - 1.5 * std::log(variance);
    return (data.weights.log() + dtk::igso3_log_density(angle, sigma) + of_place).logsumexp(1);
}

/// ∇ log q(x_t) by hand, as the process writes scores.
Tensor score(const Frames& data, const Tensor& xt, const Noise& noise) {
    const auto R = xt.select(1, 0).slice(-1, 0, 3).unsqueeze(1), x = xt.select(1, 0).select(-1, 3).unsqueeze(1);
    const auto v = dtk::rotation_vector(data.turns.transpose(1, 2).matmul(R));
    const auto angle = v.norm(2, -1), sigma = at::full({1}, std::hypot(Frames::turn, noise.turn), at::kDouble);
    const double variance = std::pow(noise.alpha * Frames::move, 2) + std::pow(noise.sigma / 0.1, 2);
    const auto off = x - noise.alpha * data.moves;
    const auto r = (data.weights.log() + dtk::igso3_log_density(angle, sigma) - off.square().sum(-1) / (2 * variance))
                       .softmax(1)
                       .unsqueeze(-1);
    const auto tangent = (r * dtk::igso3_slope(angle, sigma).unsqueeze(-1) * v).sum(1);
    const auto along = (r * -off / variance).sum(1);
    return at::cat({dtk::hat(tangent), along.unsqueeze(-1)}, -1).unsqueeze(1);
}

double off_rotations(const Tensor& frames) {
    const auto R = frames.slice(-1, 0, 3);
    return std::max(distance(R.matmul(R.transpose(-1, -2)), at::eye(3, R.options())),
                    (at::linalg_det(R) - 1).abs().max().item<double>());
}

/// x moved along a tangent: R Exp(v), x + d
Tensor moved(const Tensor& frames, const Tensor& v, const Tensor& d) {
    return at::cat({frames.slice(-1, 0, 3).matmul(dtk::rotation(v)), (frames.select(-1, 3) + d).unsqueeze(-1)}, -1);
}

}  // namespace

TEST_CASE("what a perfect network is told is the slope of the log-density of x_t given x_0") {
    for (const std::string side : {"right", "left"}) {
        const auto context = frames("side = \"" + side + "\"");
        const auto& process = *context.chain;
        const auto x0 = context.data->examples(at::arange(8)).x.to(at::kDouble);
        for (const double t : {0.0, 40.0, 150.0}) {
            const Noise noise(context, t);
            const auto xt = process.noised(x0, t, stream.stream("noise"));
            const auto told = process.target(PredictionType::score, x0, xt, t);
            const auto log_q = [&](const Tensor& x) {
                const auto R = x0.slice(-1, 0, 3).transpose(-1, -2).matmul(x.slice(-1, 0, 3));
                const auto angle = dtk::rotation_vector(R).norm(2, -1).squeeze(1);
                const auto off = x.select(-1, 3) - noise.alpha * x0.select(-1, 3);
                return dtk::igso3_log_density(angle, at::full({1}, noise.turn, at::kDouble)) -
                       0.5 * off.square().sum({1, 2}) / std::pow(noise.sigma / 0.1, 2);
            };
            const double h = 1e-3 * noise.turn;
            for (int i = 0; i < 6; ++i) {
                auto v = at::zeros({3}, at::kDouble), d = at::zeros({3}, at::kDouble);
                (i < 3 ? v : d)[i % 3] = 1;
                const auto f = [&](double by) { return log_q(moved(xt.x, by * h * v, by * h * d)); };
                const auto slope = (8 * (f(1) - f(-1)) - (f(2) - f(-2))) / (12 * h);
                const auto said =
                    i < 3 ? dtk::vee(told.slice(-1, 0, 3)).select(-1, i) : told.select(-1, 3).select(-1, i - 3);
                INFO(side << ", t = " << t << ", direction " << i);
                CHECK(((said.squeeze(1) - slope).abs() / (1 + said.squeeze(1).abs())).max().item<double>() < 1e-5);
            }
            // A network that knows x_0 knows the score.
            const auto from_x0 = process.convert({PredictionType::x0, x0, {}}, PredictionType::score, xt.x, t);
            CHECK(((from_x0 - told).abs() / (1 + told.abs())).max().item<double>() < 1e-4);
        }
    }
}

TEST_CASE("noise of frames is that of their schedules, whichever side it comes from") {
    for (const std::string side : {"right", "left"}) {
        const auto context = frames("side = \"" + side + "\"");
        constexpr std::int64_t n = 20000;
        const auto x0 =
            context.data->examples(at::zeros({1}, at::kLong)).x.to(at::kDouble).expand({n, 1, 3, 4}).contiguous();
        for (const double t : {20.0, 90.0}) {
            const Noise noise(context, t);
            const auto xt = context.chain->noised(x0, t, stream.stream(side)).x.select(1, 0);
            // E tr R is 3 e^{−σ²} for IGSO(3) of σ, so that R_t = R_0 Exp(v) from either side has E R_t = e^{−σ²} R_0.
            const auto R = xt.slice(-1, 0, 3), mean = R.mean(0);
            CHECK((mean - std::exp(-noise.turn * noise.turn) * x0[0][0].slice(-1, 0, 3)).abs().max().item<double>() <
                  5 / std::sqrt(3.0 * n));
            const auto x = xt.select(-1, 3) - noise.alpha * x0[0][0].select(-1, 3);
            CHECK(x.mean(0).abs().max().item<double>() < 5 * noise.sigma * 10 / std::sqrt(1.0 * n));
            CHECK(x.std().item<double>() == Approx(noise.sigma * 10).epsilon(0.02));
        }
        // Noise on noise: σ² adds up, so what two turns leave of E R is the product.
        const Noise near(context, 30), far(context, 100);
        const auto rest = at::full({1}, std::sqrt(far.turn * far.turn - near.turn * near.turn), at::kDouble);
        const auto more =
            dtk::rotation(dtk::igso3_draw(stream.stream("more"), n, rest, dtk::igso3_cumulative(rest)))[0];
        const auto twice =
            context.chain->noised(x0, 30, stream.stream("once")).x.select(1, 0).slice(-1, 0, 3).matmul(more);
        const auto once = context.chain->noised(x0, 100, stream.stream("far")).x.select(1, 0).slice(-1, 0, 3);
        for (const auto& R : {twice, once}) {
            const auto back = x0[0][0].slice(-1, 0, 3).t().matmul(R);
            const auto trace = back.diagonal(0, 1, 2).sum(1);
            CHECK(std::abs(trace.mean().item<double>() - 3 * std::exp(-far.turn * far.turn)) <
                  4.5 * trace.std().item<double>() / std::sqrt(1.0 * n));
            // The second character, 1 + 2 cos ω + 2 cos 2ω = tr² − tr − 1, has e^{−3σ²} of its 5.
            const auto second = trace.square() - trace - 1;
            CHECK(std::abs(second.mean().item<double>() - 5 * std::exp(-3 * far.turn * far.turn)) <
                  4.5 * second.std().item<double>() / std::sqrt(1.0 * n));
        }
    }
}

TEST_CASE("frames turn with the noise: from the left with its axes, from the right with their own") {
    const auto Q = dtk::uniform_rotations(stream.stream("Q"), {1, 3, 3}, at::kCPU)[0];
    for (const std::string side : {"right", "left"}) {
        const auto context = frames("side = \"" + side + "\"");
        const auto x0 = context.data->examples(at::arange(4)).x.to(at::kDouble);
        auto noise = context.chain->noise(x0.sizes(), x0.options(), stream.stream("noise"));
        const auto xt = context.chain->mix(x0, noise, 70);
        auto turned = noise.clone();
        if (side == "left") turned.slice(-1, 0, 3).copy_(noise.slice(-1, 0, 3).matmul(Q.t()));
        turned.slice(-1, 4).copy_(noise.slice(-1, 4).matmul(Q.t()));
        CHECK(distance(context.chain->mix(Q.matmul(x0), turned, 70), Q.matmul(xt)) < 1e-12 * 50);
    }
}

TEST_CASE("after a thousand steps frames are rotations still, in float32") {
    at::NoGradGuard no_grad;
    const auto context = frames("side = \"left\"", 1000);
    const auto* data = dynamic_cast<const Frames*>(context.data.get());
    auto x = context.chain->prior({50, 1, 3, 4}, at::kFloat, stream.stream("prior"), 999);
    double worst = off_rotations(x);
    for (std::int64_t i = 0; i < 1000; ++i) {
        const auto t = static_cast<double>(999 - i);
        const dtk::Prediction told{
            PredictionType::score, score(*data, x.to(at::kDouble), Noise(context, t, 1000)).to(at::kFloat), {}};
        x = context.chain->reverse_step(x, told, t, t - 1, "large", stream.stream("steps").step(i));
        worst = std::max(worst, off_rotations(x));
    }
    CHECK(worst < 1e-5);
}

TEST_CASE("a mixture of frames, sampled by its exact score, has its weights, places and spreads") {
    at::NoGradGuard no_grad;
    const auto context = frames("side = \"right\"", 300);
    const auto* data = dynamic_cast<const Frames*>(context.data.get());
    // The score by hand is the slope of the mixture's density.
    const auto some =
        context.chain->noised(data->examples(at::arange(6)).x.to(at::kDouble), 60, stream.stream("some")).x;
    const Noise noise(context, 60, 300);
    const auto said = score(*data, some, noise);
    for (int i = 0; i < 6; ++i) {
        auto v = at::zeros({3}, at::kDouble), d = at::zeros({3}, at::kDouble);
        (i < 3 ? v : d)[i % 3] = 1;
        const auto f = [&](double h) { return log_density(*data, moved(some, h * v, h * d), noise); };
        const auto slope = (8 * (f(1e-3) - f(-1e-3)) - (f(2e-3) - f(-2e-3))) / 12e-3;
        const auto one = i < 3 ? dtk::vee(said.slice(-1, 0, 3)).select(-1, i) : said.select(-1, 3).select(-1, i - 3);
        CHECK(distance(one.squeeze(1), slope) < 1e-6);
    }

    const dtk::Denoiser denoise(context.chain, [&](const Tensor& x, const dtk::Time& t, const dtk::Condition&) {
        return dtk::Prediction{PredictionType::score, score(*data, x, Noise(context, t.value(), 300)), {}};
    });
    constexpr std::int64_t n = 1500;
    const auto drawn = [&](const std::string& fields) {
        const auto sampler = make<dtk::Sampler>("ddpm", fields, context);
        return sampler
            ->sample(denoise, sampler->times(*context.chain),
                     context.chain->prior({n, 1, 3, 4}, at::kDouble, stream.stream("prior"), 299),
                     stream.stream(fields))
            .select(1, 0);
    };
    // As long as steps are, one variance is too small and the other too large.
    double spread[2][3];
    for (const bool large : {false, true}) {
        const auto samples = drawn(large ? "variance = \"large\"" : "variance = \"small\"");
        const auto R = samples.slice(-1, 0, 3), x = samples.select(-1, 3);
        const auto mode = (x.unsqueeze(1) - data->moves).square().sum(-1).argmin(1);
        for (std::int64_t k = 0; k < 3; ++k) {
            const auto of_k = (mode == k).nonzero().flatten();
            const auto share = static_cast<double>(of_k.numel()) / n, w = data->weights[k].item<double>();
            INFO("mode " << k << ", share " << share);
            CHECK(std::abs(share - w) < 4.5 * std::sqrt(w * (1 - w) / n));
            const auto off = x.index_select(0, of_k) - data->moves[k];
            const auto m = static_cast<double>(of_k.numel());
            CHECK(off.mean(0).abs().max().item<double>() < 4.5 * Frames::move / std::sqrt(m));
            spread[large][k] = off.std().item<double>();
            const auto trace = data->turns[k].t().matmul(R.index_select(0, of_k)).diagonal(0, 1, 2).sum(1);
            CHECK(trace.mean().item<double>() == Approx(3 * std::exp(-Frames::turn * Frames::turn)).epsilon(0.015));
        }
    }
    for (int k = 0; k < 3; ++k) CHECK((spread[0][k] + spread[1][k]) / 2 == Approx(Frames::move).epsilon(0.06));
    // Without its noise the same walk goes where it is likely, and does not spread as the data.
    const auto still = make<dtk::Sampler>("ddpm", "noise_scale = 0.0", context);
    const auto calm =
        still->sample(denoise, still->times(*context.chain),
                      context.chain->prior({500, 1, 3, 4}, at::kDouble, stream.stream("prior"), 299), stream);
    const auto near = (calm.select(1, 0).select(-1, 3).unsqueeze(1) - data->moves).norm(2, -1).amin(1);
    CHECK(near.mean().item<double>() < 0.5 * Frames::move * std::sqrt(3));
}

TEST_CASE("frames flow along geodesics at constant speed, and steps back end where they began") {
    support::BuildContext context;
    context.data = std::make_shared<Frames>();
    context.chain = make<dtk::Process>("se3_flow", "steps = 50", context);
    const auto& process = *context.chain;
    const auto x0 = context.data->examples(at::arange(8)).x.to(at::kDouble);
    const auto noise = process.noise(x0.sizes(), x0.options(), stream.stream("noise"));
    CHECK(distance(process.mix(x0, noise, 49).slice(-1, 0, 3), noise.slice(-1, 0, 3)) < 1e-6);
    CHECK(distance(process.mix(x0, noise, 49).select(-1, 3), 10 * noise.select(-1, 3)) < 1e-9);
    for (const double t : {3.0, 20.4, 45.0}) {
        const dtk::NoisySample xt{process.mix(x0, noise, t), noise};
        const auto v = process.target(PredictionType::velocity, x0, xt, t);
        // dx/du by differences, in the frame of R.
        const double h = 0.01;
        const auto later = process.mix(x0, noise, t + h), sooner = process.mix(x0, noise, t - h);
        const auto turn = dtk::rotation_vector(sooner.slice(-1, 0, 3).transpose(-1, -2).matmul(later.slice(-1, 0, 3)));
        CHECK(distance(dtk::vee(v.slice(-1, 0, 3)), turn * 50 / (2 * h)) < 1e-5);
        CHECK(distance(v.select(-1, 3), (later - sooner).select(-1, 3) * 50 / (2 * h)) < 1e-6);
        CHECK(distance(process.convert({PredictionType::x0, x0, {}}, PredictionType::velocity, xt.x, t), v) < 1e-5);
        CHECK(distance(process.convert({PredictionType::velocity, v, {}}, PredictionType::x0, xt.x, t), x0) < 1e-6);
        // One step back with a perfect network is on the same way.
        CHECK(distance(process.reverse_step(xt.x, {PredictionType::x0, x0, {}}, t, 2, "small", stream),
                       process.mix(x0, noise, 2)) < 1e-6);
    }
    // Rotations that go ten times as fast are there after a tenth of the way.
    const auto fast = make<dtk::Process>("se3_flow", "steps = 50\nrotation_rate = 10", context);
    const auto step =
        fast->reverse_step(process.mix(x0, noise, 49), {PredictionType::x0, x0, {}}, 49, 44, "small", stream);
    CHECK(distance(step.slice(-1, 0, 3), x0.slice(-1, 0, 3)) < 1e-6);
    CHECK(distance(step.select(-1, 3), process.mix(x0, noise, 44).select(-1, 3)) < 1e-6);
}

TEST_CASE("a process of frames says what it needs") {
    const auto context = frames("side = \"left\"");
    CHECK_THROWS_WITH(context.chain->accept(PredictionType::v), Contains("no meaning"));
    CHECK_THROWS_WITH(frames("schedule = {use = \"rotation\", sigma_max = 0.3}"), Contains("far from the uniform"));
    CHECK_THROWS_WITH(
        make<dtk::Process>("se3", "translations = {use = \"gaussian\", steps = 10, schedule = \"vp\"}", context),
        Contains("10 steps and rotations 1000"));
    support::BuildContext plane;
    plane.data = make<dtk::Dataset>("polymer", "length = 8", plane);
    CHECK_THROWS_WITH(make<dtk::Process>("se3", "", plane), Contains("[L, 3, 4]"));
}
