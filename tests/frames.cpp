// Networks and losses of frames: what turns with the chain, what padding must not change, self-conditioning, blocks,
// and losses against sums residue by residue.
#include <cmath>

#include <dtk/block_answers.hpp>
#include <dtk/codec.hpp>
#include <dtk/geometry.hpp>
#include <dtk/rotations.hpp>

#include "catch.hpp"
#include "support.hpp"
#include "turned.hpp"

using at::Tensor;
using Catch::Matchers::Contains;
using dtk::PredictionType;
using support::distance;
using support::make;

namespace {

const dtk::Random stream(13, "frames");
constexpr std::int64_t L = 20;

/// Crops of real chains as frames.
struct Backbones final : dtk::Dataset {
    std::shared_ptr<dtk::Dataset> atoms;
    std::shared_ptr<dtk::Codec> codec;
    Backbones() {
        support::BuildContext context;
        context.data = atoms = make<dtk::Dataset>(
            "chains",
            fmt::format("file = \"{}/chains.safetensors\"\natoms = \"backbone\"\nlength = {}", DTK_TEST_DATA, L),
            context);
        codec = make<dtk::Codec>("backbone", "", context);
    }
    std::vector<std::int64_t> shape() const override { return codec->space().shape; }
    std::int64_t size() const override { return atoms->size(); }
    dtk::Batch examples(const Tensor& index) const override { return {codec->encode(atoms->examples(index).x).mean}; }
    dtk::Batch test_examples(const Tensor& index) const override {
        return {codec->encode(atoms->test_examples(index).x).mean};
    }
};

support::BuildContext frames(const std::string& model = {}, at::ScalarType type = at::kDouble) {
    static const auto data = std::make_shared<Backbones>();
    support::BuildContext context;
    context.data = data;
    context.chain =
        make<dtk::Process>("se3",
                           "translations = {use = \"gaussian\", steps = 100, schedule = \"vp\"}\nrotations = "
                           "{use = \"so3\", steps = 100, side = \"left\"}",
                           context);
    context.network = make<dtk::Model>(
        "frame_ipa", "single = 16\npair = 8\nheads = 2\nscalars = 4\nquery_points = 2\nvalue_points = 3\n" + model,
        context);
    support::leave_start(*context.network, type, stream);
    return context;
}

struct Asked {
    dtk::Time t = at::tensor({3.0, 40.0, 95.0}, at::kDouble);
    Tensor x;
    explicit Asked(const support::BuildContext& context, at::ScalarType type = at::kDouble)
        : x(context.chain->noised(context.data->examples(at::arange(3)).x.to(type), t, stream.stream("noise")).x) {}
};

Tensor answer(const support::BuildContext& context, const Tensor& x, const dtk::Time& t,
              const dtk::Condition& told = {}) {
    at::NoGradGuard no_grad;
    return context.network->forward(x, t, told).value;
}

Tensor shifted(const Tensor& frames, const Tensor& by) {
    return at::cat({frames.slice(-1, 0, 3), (frames.select(-1, 3) + by).unsqueeze(-1)}, -1);
}

}  // namespace

TEST_CASE("frames that are answered turn with the chain, are rotations, and do not see where it stands") {
    const auto Q = dtk::uniform_rotations(stream.stream("Q"), {1, 3, 3}, at::kCPU)[0];
    for (const auto type : {at::kDouble, at::kFloat}) {
        const auto context = frames("", type);
        const Asked asked(context, type);
        const auto of = answer(context, asked.x, asked.t);
        const auto scale = of.abs().max().item<double>();
        CHECK(distance(answer(context, Q.to(type).matmul(asked.x), asked.t), Q.to(type).matmul(of)) <
              (type == at::kDouble ? 1e-10 : 1e-4) * scale);
        CHECK(distance(answer(context, shifted(asked.x, at::tensor({30.0, 5.0, -8.0}, at::kDouble).to(type)), asked.t),
                       of) < (type == at::kDouble ? 1e-10 : 1e-4) * scale);
        const auto R = of.slice(-1, 0, 3);
        CHECK(distance(R.matmul(R.transpose(-1, -2)), at::eye(3, R.options())) < 1e-5);
        CHECK(of.select(-1, 3).mean(1).abs().max().item<double>() < 1e-4);
    }
    // Its reflection, which has frames of the other hand, is no state; mirrored places with turned frames are another.
    const auto context = frames();
    const Asked asked(context);
    const auto mirror = at::tensor({1.0, 1.0, -1.0}, at::kDouble).view({3, 1});
    CHECK(distance(answer(context, at::cat({asked.x.slice(-1, 0, 3), asked.x.slice(-1, 3) * mirror}, -1), asked.t)
                       .select(-1, 3),
                   (answer(context, asked.x, asked.t).slice(-1, 3) * mirror).squeeze(-1)) > 1e-2);
}

TEST_CASE("padding of frames changes nothing in the others") {
    const auto context = frames();
    const Asked asked(context);
    auto told = dtk::Condition{};
    told.self_condition = 0.9 * asked.x.roll({1}, {0});
    const auto of = answer(context, asked.x, asked.t, told);
    const auto beyond = stream.stream("beyond").normal(asked.x.sizes(), at::kDouble) * 20;
    told.self_condition = at::cat({told.self_condition, beyond}, 1);
    told.mask = at::cat({at::ones({3, L}), at::zeros({3, L})}, 1);
    const auto padded = answer(context, at::cat({asked.x, beyond}, 1), asked.t, told);
    CHECK(distance(padded.slice(1, 0, L), of) < 1e-6);
    CHECK(distance(padded.slice(1, L).slice(-1, 0, 3), at::eye(3, at::kDouble)) < 1e-12);
    CHECK(padded.slice(1, L).select(-1, 3).abs().max().item<double>() < 1e-12);
}

TEST_CASE("what was answered last matters by its distances alone") {
    const auto context = frames();
    const Asked asked(context);
    CHECK(context.network->self_conditions());
    dtk::Condition nothing, told, turned;
    nothing.self_condition = at::zeros_like(asked.x);
    told.self_condition = context.data->examples(at::arange(3)).x.to(at::kDouble);
    const auto Q = dtk::uniform_rotations(stream.stream("Q"), {1, 3, 3}, at::kCPU)[0];
    turned.self_condition = shifted(Q.matmul(told.self_condition), at::tensor({4.0, 0.0, 1.0}, at::kDouble));
    const auto first = answer(context, asked.x, asked.t);
    CHECK(distance(answer(context, asked.x, asked.t, nothing), first) == 0);
    CHECK(distance(answer(context, asked.x, asked.t, told), first) > 1e-3);
    CHECK(distance(answer(context, asked.x, asked.t, turned), answer(context, asked.x, asked.t, told)) < 1e-9);
}

TEST_CASE("losses of frames are sums over blocks, residues and atoms") {
    const auto context = frames("blocks = 3");
    auto batch = context.data->examples(at::arange(3));
    batch.x = batch.x.to(at::kDouble);
    batch.condition.mask = at::ones({3, L});
    batch.condition.mask[1].slice(0, 12).zero_();
    const dtk::Time t = at::tensor({10.0, 60.0, 20.0}, at::kDouble);
    const auto denoise = support::denoiser(context).with(batch.condition);
    const auto xt = context.chain->noised(batch.x, t, stream.stream("noise"));
    const auto blocks = dtk::all_blocks(denoise, xt.x, t);
    REQUIRE(blocks.before.size() == 2);
    CHECK(distance(blocks.before[0], blocks.before[1]) > 1e-3);
    CHECK(distance(blocks.last.value, denoise(xt.x, t).value) == 0);

    const auto frame_error = [&](const Tensor& answered, std::int64_t b) {
        double sum = 0, n = 0;
        for (std::int64_t i = 0; i < L; ++i) {
            if (batch.condition.mask[b][i].item<double>() == 0) continue;
            const auto off = (answered[b][i] - batch.x[b][i]).select(-1, 3).norm().item<double>();
            const auto R = answered[b][i].slice(-1, 0, 3).t().matmul(batch.x[b][i].slice(-1, 0, 3));
            sum += 0.5 * std::pow(std::min(off, 10.0), 2) + (at::eye(3, at::kDouble) - R).square().sum().item<double>();
            n += 1;
        }
        return sum / n;
    };
    const auto value =
        (*make<dtk::Loss>("frame_mse", "depth = 0.5", context))(denoise, batch, t, stream).objectives[0].value;
    for (std::int64_t b = 0; b < 3; ++b) {
        const double expected = (frame_error(blocks.last.value, b) + 0.5 * frame_error(blocks.before[1], b) +
                                 0.25 * frame_error(blocks.before[0], b)) /
                                1.75;
        CHECK(value[b].item<double>() == Approx(expected).epsilon(1e-6));
    }

    // At 20 and 10 of 100 steps atoms count, at 60 they do not.
    const auto all = (*make<dtk::Loss>("se3_score", "", context))(denoise, batch, t, stream);
    const auto told = context.chain->target(PredictionType::score, batch.x, xt, t);
    const auto said = context.chain->convert(blocks.last, PredictionType::score, xt.x, t);
    for (std::int64_t b = 0; b < 3; ++b) {
        const double u = (t.rows(3)[b].item<double>() + 1) / 100, sigma = 0.02 + 2.0 * (3 * u + u * u) / 4;
        double place = 0, turn = 0, n = 0;
        for (std::int64_t i = 0; i < L; ++i) {
            if (batch.condition.mask[b][i].item<double>() == 0) continue;
            place += 0.01 * (blocks.last.value[b][i] - batch.x[b][i]).select(-1, 3).square().sum().item<double>();
            turn += dtk::vee((said - told)[b][i].slice(-1, 0, 3)).square().sum().item<double>();
            n += 1;
        }
        const double size = dtk::igso3_score_square(at::full({1}, sigma, at::kDouble)).item<double>() / 3;
        CHECK(all.parts[0].second[b].item<double>() == Approx(place / n).epsilon(1e-6));
        CHECK(all.parts[1].second[b].item<double>() == Approx(turn / n / size).epsilon(1e-6));
        CHECK((all.parts[2].second[b].item<double>() > 0) == (b != 1));
        CHECK(all.objectives[0].value[b].item<double>() ==
              Approx(place / n + 0.5 * turn / n / size + 0.25 * all.parts[2].second[b].item<double>()).epsilon(1e-6));
    }
    const auto perfect = dtk::Denoiser(context.chain, [&](const Tensor&, const dtk::Time&, const dtk::Condition&) {
        return dtk::Prediction{PredictionType::x0, batch.x, {}};
    });
    CHECK((*make<dtk::Loss>("frame_mse", "", context))(perfect, batch, t, stream)
              .objectives[0]
              .value.max()
              .item<double>() < 1e-9);
    CHECK((*make<dtk::Loss>("se3_score", "", context))(perfect, batch, t, stream)
              .objectives[0]
              .value.max()
              .item<double>() < 1e-6);
}

TEST_CASE("the loss of a flow of frames is the error of its velocity, bounded near the data") {
    auto context = frames("self_condition = false");
    context.chain = make<dtk::Process>("se3_flow", "steps = 100", context);
    auto batch = context.data->examples(at::arange(3));
    batch.x = batch.x.to(at::kDouble);
    batch.condition.mask = at::ones({3, L});
    batch.condition.mask[1].slice(0, 12).zero_();
    const dtk::Time t = at::tensor({2.0, 60.0, 98.0}, at::kDouble);
    const auto xt = context.chain->noised(batch.x, t, stream.stream("noise"));
    const auto guess =
        at::cat({batch.x.slice(-1, 0, 3).matmul(dtk::rotation(0.1 * stream.normal({3, L, 3}, at::kDouble))),
                 batch.x.slice(-1, 3) + stream.normal({3, L, 3, 1}, at::kDouble)},
                -1);
    const dtk::Denoiser denoise(context.chain, [&](const Tensor&, const dtk::Time&, const dtk::Condition&) {
        return dtk::Prediction{PredictionType::x0, guess, {}};
    });
    const auto value =
        (*make<dtk::Loss>("frame_flow", "", context))(denoise, batch, t, stream).objectives.front().value;
    const auto v = context.chain->target(PredictionType::velocity, batch.x, xt, t);
    const auto told = context.chain->convert({PredictionType::x0, guess, {}}, PredictionType::velocity, xt.x, t);
    for (std::int64_t b = 0; b < 3; ++b) {
        const double u = (t.rows(3)[b].item<double>() + 1) / 100, share = std::pow(u / std::max(u, 0.1), 2);
        double place = 0, turn = 0, n = 0;
        for (std::int64_t i = 0; i < L; ++i) {
            if (batch.condition.mask[b][i].item<double>() == 0) continue;
            place += 0.01 * (told - v)[b][i].select(-1, 3).square().sum().item<double>();
            turn += dtk::vee((told - v)[b][i].slice(-1, 0, 3)).square().sum().item<double>();
            n += 1;
        }
        CHECK(value[b].item<double>() == Approx(std::min(2 * place / n * share, 5.0) + turn / n * share).epsilon(1e-5));
    }
}

TEST_CASE("the mean square of a score of rotations is that of its draws") {
    for (const double sigma : {0.05, 0.7, 1.8}) {
        const auto s = at::full({1}, sigma, at::kDouble);
        constexpr std::int64_t n = 20000;
        const auto angle = dtk::igso3_draw(stream.stream("draws"), n, s, dtk::igso3_cumulative(s))[0].norm(2, -1);
        const auto square = (angle * dtk::igso3_slope(angle, s)).square();
        CHECK(std::abs(square.mean().item<double>() - dtk::igso3_score_square(s).item<double>()) <
              4.5 * square.std().item<double>() / std::sqrt(1.0 * n));
    }
    // Narrow laws are normal in three dimensions.
    CHECK(dtk::igso3_score_square(at::full({1}, 0.01, at::kDouble)).item<double>() == Approx(3e4).epsilon(1e-3));
}

TEST_CASE("real backbones come back from their frames") {
    at::NoGradGuard no_grad;
    const Backbones data;
    const auto x = data.atoms->test_examples(at::arange(40)).x;
    const auto back = data.codec->decode(data.codec->encode(x).mean);
    CHECK(distance(back.select(2, 1), x.select(2, 1)) < 1e-4);
    const auto off = (back - x).square().sum(-1).mean().sqrt().item<double>();
    INFO("rms " << off << " Å");
    CHECK(off < 0.35);
}

TEST_CASE("samples of frames turn with their start and their noise, through a whole trajectory") {
    at::NoGradGuard no_grad;
    const auto context = frames();
    const auto Q = dtk::uniform_rotations(stream.stream("Q"), {1, 3, 3}, at::kCPU)[0];
    const auto sampler = make<dtk::Sampler>("ddpm", "", context);
    const auto times = sampler->times(*context.chain);
    const auto x = context.chain->prior({2, L, 3, 4}, at::kDouble, stream.stream("prior"), 99);
    const auto drawn = [&](std::shared_ptr<const dtk::Process> process, const Tensor& x) {
        // What it answered last is shown to it, as when samples are drawn.
        const auto denoise =
            dtk::Denoiser(process, [&](const Tensor& x, const dtk::Time& t, const dtk::Condition& told) {
                return context.network->forward(x, t, told);
            }).begin();
        return sampler->sample(denoise, times, x, stream, [&](std::int64_t, const Tensor&) { denoise.advance(); });
    };
    const auto samples = drawn(context.chain, x);
    const auto of_turned = drawn(std::make_shared<support::Turned>(context.chain, Q), support::turned(x, Q));
    INFO("off by " << distance(of_turned, support::turned(samples, Q)));
    CHECK(distance(of_turned, support::turned(samples, Q)) < 1e-9 * samples.abs().max().item<double>());
    const auto R = samples.slice(-1, 0, 3);
    CHECK(distance(R.matmul(R.transpose(-1, -2)), at::eye(3, at::kDouble)) < 1e-9);
}

TEST_CASE("losses and networks of frames say what they need") {
    support::BuildContext chain;
    chain.data = make<dtk::Dataset>("polymer", "length = 8", chain);
    chain.chain = make<dtk::Process>("gaussian", "", chain);
    chain.network = make<dtk::Model>("exact", "", chain);
    CHECK_THROWS_WITH(make<dtk::Model>("frame_ipa", "", chain), Contains("[L, 3, 4]"));
    CHECK_THROWS_WITH(make<dtk::Loss>("frame_mse", "", chain), Contains("process of frames"));
    CHECK_THROWS_WITH(make<dtk::Loss>("se3_score", "", chain), Contains("adds noise to frames"));
}
