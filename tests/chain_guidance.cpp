// Guidance of chains: groups of rotations, and potentials against their slopes.
#include <cmath>

#include <dtk/guidance.hpp>
#include <dtk/rotations.hpp>
#include <dtk/sampler.hpp>

#include "catch.hpp"
#include "support.hpp"

using at::Tensor;
using Catch::Matchers::Contains;
using dtk::PredictionType;
using support::distance;
using support::make;

namespace {

const dtk::Random stream(17, "chain guidance");

support::BuildContext polymer(std::int64_t length) {
    return support::exact("polymer", fmt::format("length = {}", length),
                          "steps = 100\nschedule = {use = \"cosine\", s = 0.0}");
}

/// A denoiser that answers that x̂_0, whatever it is asked.
dtk::Denoiser always(const support::BuildContext& context, const Tensor& x0) {
    return {context.chain, [x0](const Tensor&, const dtk::Time&, const dtk::Condition&) {
                return dtk::Prediction{PredictionType::x0, x0, {}};
            }};
}

/// U of Å, as its file says.
Tensor energy(const Tensor& x, double compact, double radius, double contacts) {
    const auto L = x.size(1);
    const auto off = x - x.mean(1, true);
    const auto size = off.square().sum(-1).mean(1).sqrt();
    auto all = static_cast<double>(L) * compact * (size - radius).clamp_min(0);
    for (std::int64_t i = 0; i < L; ++i)
        for (std::int64_t j = i + 3; j < L; ++j) {
            const auto d = (x.select(1, i) - x.select(1, j)).norm(2, -1);
            all = all - contacts / (1 + ((d - 4) / 8).pow(6));
        }
    return all;
}

double radius_of(const Tensor& x) {
    return (x - x.mean(1, true)).square().sum(-1).mean(1).sqrt().mean().item<double>();
}

}  // namespace

TEST_CASE("symmetric samples are their first part turned by a group") {
    at::NoGradGuard no_grad;
    const auto context = polymer(24);
    for (const auto& [name, order] : {std::pair{"C2", 2}, {"C3", 3}, {"C4", 4}, {"D2", 4}, {"D3", 6}}) {
        const auto guidance = make<dtk::Guidance>("symmetry", fmt::format("group = \"{}\"", name), context);
        const auto sampler = make<dtk::Sampler>("ddpm", "steps = 50", context);
        const auto x = context.chain->prior({3, 24, 3}, at::kFloat, stream.stream("start"), 99);
        const auto y =
            sampler->sample(guidance->around(support::denoiser(context)), sampler->times(*context.chain), x, stream)
                .to(at::kDouble);
        const auto n = 24 / order;
        // Whichever part is taken for the first, the others are it turned by rotations that are a group: every distance
        // between two parts is one from the first part.
        const auto part = [&](std::int64_t k) { return y.slice(1, k * n, (k + 1) * n); };
        std::vector<Tensor> turns;
        for (std::int64_t k = 0; k < order; ++k) {
            const auto A = part(0)[0], B = part(k)[0];
            const auto turn = at::linalg_pinv(A).matmul(B).t();
            CHECK(distance(turn.matmul(turn.t()), at::eye(3, at::kDouble)) < 1e-4);
            CHECK(at::linalg_det(turn).item<double>() == Approx(1).epsilon(1e-4));
            CHECK(distance(part(0).matmul(turn.t()), part(k)) < 1e-4);
            turns.push_back(turn);
        }
        for (const auto& a : turns)
            for (const auto& b : turns) {
                double nearest = 1e9;
                for (const auto& c : turns) nearest = std::min(nearest, distance(a.matmul(b), c));
                CHECK(nearest < 1e-3);
            }
        for (std::size_t i = 1; i < turns.size(); ++i) CHECK(distance(turns[i], turns[0]) > 0.1);
        CHECK(radius_of(y) > 3);
    }
    CHECK_THROWS_WITH(make<dtk::Guidance>("symmetry", "group = \"C5\"", context), Contains("does not fall into the 5"));
    for (const std::string group : {"T", "C", "C1", "Cx", "3", ""})
        CHECK_THROWS_WITH(make<dtk::Guidance>("symmetry", "group = \"" + group + "\"", context), Contains("no group"));
}

TEST_CASE("the first part of a symmetric chain has the noise that the network is told") {
    // Data that are symmetric themselves: one part of them is N(0, s²), and so are samples of it.
    at::NoGradGuard no_grad;
    const auto context = polymer(4);
    const auto guidance = make<dtk::Guidance>("symmetry", "group = \"C2\"", context);
    const auto* process = dynamic_cast<const dtk::GaussianProcess*>(context.chain.get());
    constexpr double s = 2;
    const dtk::Denoiser denoise(context.chain, [&](const Tensor& x, const dtk::Time& t, const dtk::Condition&) {
        const auto a = process->alpha(t), v = square(a) * (s * s) + square(process->sigma(t));
        return dtk::Prediction{PredictionType::x0, a * (s * s) / v * x, {}};
    });
    const auto sampler = make<dtk::Sampler>("ddim", "", context);
    const auto x = context.chain->prior({4000, 4, 3}, at::kDouble, stream.stream("start"), 99);
    const auto y = sampler->sample(guidance->around(denoise), sampler->times(*context.chain), x, stream);
    CHECK(y.std().item<double>() == Approx(s).epsilon(0.02));
}

TEST_CASE("frames are symmetric with their turns") {
    at::NoGradGuard no_grad;
    struct Frames final : dtk::Dataset {
        std::vector<std::int64_t> shape() const override { return {6, 3, 4}; }
        std::int64_t size() const override { return 0; }
        dtk::Batch examples(const Tensor& index) const override {
            const auto n = index.size(0);
            const auto R = dtk::uniform_rotations(stream.samples(index), {n, 6, 3, 3}, at::kCPU);
            return {at::cat({R, 5 * stream.samples(index).normal({n, 6, 3, 1}, at::kDouble)}, -1).to(at::kFloat)};
        }
        dtk::Batch test_examples(const Tensor& index) const override { return examples(index + 1000); }
    };
    support::BuildContext context;
    context.data = std::make_shared<Frames>();
    context.chain = make<dtk::Process>("se3",
                                       "translations = {use = \"gaussian\", steps = 100, schedule = \"vp\"}\n"
                                       "rotations = {use = \"so3\", steps = 100}",
                                       context);
    const auto guidance = make<dtk::Guidance>("symmetry", "group = \"C3\"", context);
    const auto sampler = make<dtk::Sampler>("ddpm", "", context);
    const auto x0 = context.data->examples(at::arange(2)).x;
    const auto y = sampler->sample(guidance->around(always(context, x0)), sampler->times(*context.chain),
                                   context.chain->prior({2, 6, 3, 4}, at::kFloat, stream, 99), stream);
    const auto Q = dtk::rotation(at::tensor({0.0, 0.0, 2 * 3.14159265358979 / 3}, at::kDouble)).to(at::kFloat);
    CHECK(distance(Q.matmul(y.slice(1, 0, 2)), y.slice(1, 2, 4)) < 1e-4);
    CHECK(distance(Q.matmul(y.slice(1, 2, 4)), y.slice(1, 4, 6)) < 1e-4);
    CHECK(distance(y.slice(1, 0, 2).select(-1, 3), x0.slice(1, 0, 2).select(-1, 3)) < 1e-3);
}

TEST_CASE("potentials move the answer down their slope, less and less towards the data") {
    const auto context = polymer(9);
    const auto x0 = context.data->examples(at::arange(3)).x.to(at::kDouble), x = x0 + 1;
    struct Row {
        double compact, radius, contacts;
    };
    for (const auto& [compact, radius, contacts] : {Row{0.7, 1, 0}, Row{0, 0, 0.4}, Row{0.3, 2, 0.2}}) {
        const auto guidance = make<dtk::Guidance>(
            "potential", fmt::format("compact = {}\nradius = {}\ncontacts = {}\ndecay = 2", compact, radius, contacts),
            context);
        const auto guided = guidance->around(always(context, x0));
        for (const double t : {99.0, 49.0}) {
            const double faded = std::pow((t + 1) / 100, 2);
            const auto moved = guided.x0(x, t) - x0;
            for (std::int64_t i = 0; i < 9; ++i)
                for (std::int64_t k = 0; k < 3; ++k) {
                    auto h = at::zeros_like(x0);
                    h.select(1, i).select(1, k).fill_(1e-4);
                    const auto slope =
                        (energy(x0 + h, compact, radius, contacts) - energy(x0 - h, compact, radius, contacts)) / 2e-4;
                    CHECK(distance(moved.select(1, i).select(1, k), -faded * slope) < 1e-6);
                }
        }
    }
    // Nothing is drawn in that is compact already.
    const auto wide = make<dtk::Guidance>("potential", "contacts = 0.0\nradius = 100.0", context);
    CHECK(distance(wide->around(always(context, x0)).x0(x, 50), x0) == 0);
}

TEST_CASE("chains that are drawn in are more compact") {
    at::NoGradGuard no_grad;
    const auto context = polymer(24);
    const auto sampler = make<dtk::Sampler>("ddpm", "", context);
    const auto x = context.chain->prior({200, 24, 3}, at::kDouble, stream.stream("start"), 99);
    const auto drawn = [&](const std::string& fields) {
        const auto guidance = make<dtk::Guidance>("potential", fields, context);
        return radius_of(
            sampler->sample(guidance->around(support::denoiser(context)), sampler->times(*context.chain), x, stream));
    };
    const double plain = drawn("compact = 0.0\ncontacts = 0.0"), compact = drawn("contacts = 0.0"),
                 contacts = drawn("compact = 0.0\ncontacts = 1.0");
    INFO(plain << ", " << compact << ", " << contacts << " Å");
    CHECK(compact < 0.95 * plain);
    CHECK(contacts < plain);
}
