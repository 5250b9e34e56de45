// What each of our models promises beyond the laws of all (core/src/laws/model.cpp).
#include <cmath>

#include <dtk/layers.hpp>

#include "catch.hpp"
#include "complaint.hpp"
#include "support.hpp"

using at::Tensor;
using support::distance;

namespace {

/// Sixteen rectangular pictures of three classes, whose density nobody knows.
struct Pictures : dtk::Dataset {
    explicit Pictures(std::vector<std::int64_t> shape = {1, 8, 12}, std::int64_t classes = 3)
        : shape_(std::move(shape)), classes_(classes) {}
    std::vector<std::int64_t> shape() const override { return shape_; }
    std::int64_t size() const override { return 16; }
    dtk::Batch examples(const Tensor& index) const override {
        std::vector<std::int64_t> sizes{index.size(0)};
        sizes.insert(sizes.end(), shape_.begin(), shape_.end());
        return {.x = dtk::Random(7, "pictures").samples(index).normal(sizes, at::kFloat),
                .condition = {.label = index % 3}};
    }
    dtk::Batch test_examples(const Tensor& index) const override { return examples(index + 16); }
    std::int64_t classes() const override { return classes_; }
    std::vector<std::int64_t> shape_;
    std::int64_t classes_;
};

/// The same without end.
struct Endless final : Pictures {
    std::int64_t size() const override { return 0; }
};

support::BuildContext view_of(std::shared_ptr<dtk::Dataset> data, const std::string& process = "steps = 1000") {
    support::BuildContext context;
    context.data = std::move(data);
    context.chain = support::make<dtk::Process>("gaussian", process, context);
    return context;
}

support::BuildContext pictures() { return view_of(std::make_shared<Pictures>()); }

support::BuildContext mixture(const std::string& preset, const std::string& process = "steps = 1000") {
    return view_of(
        support::make<dtk::Dataset>("gaussian_mixture", "preset = \"" + preset + "\"", support::BuildContext{}),
        process);
}

struct Question {
    Tensor x;
    dtk::Time t;
};

Question question(const dtk::BuildContext& context, std::int64_t B, at::ScalarType type = at::kFloat) {
    const dtk::Random random(3, "question");
    std::vector<std::int64_t> sizes{B};
    for (const auto size : context.dataset().shape()) sizes.push_back(size);
    return {random.normal(sizes, at::kFloat).to(type), at::tensor({3.0, 400.0, 999.0}, at::kDouble).slice(0, 0, B)};
}

Tensor answer(dtk::Model& model, const Question& q) { return model.forward(q.x, q.t, {}).value; }

/// Away from the zeros that last layers start with.
void disturb(dtk::Model& model) {
    at::NoGradGuard no_grad;
    for (const auto& named : model.named_tensors())
        if (named.trained)
            named.tensor->add_(dtk::Random(5, named.name).normal(named.tensor->sizes(), at::kFloat), 0.05);
}

std::string complaint(const std::string& model, const std::string& fields, const dtk::BuildContext& context) {
    return complaint_of([&] { support::make<dtk::Model>(model, fields, context); });
}

}  // namespace

TEST_CASE("networks do not depend on the number of steps, only on the share that has passed") {
    for (const std::string name : {"mlp", "unet"}) {
        at::NoGradGuard no_grad;
        const auto data = std::make_shared<Pictures>();
        const auto many = view_of(data, "steps = 1000"), few = view_of(data, "steps = 50");
        const auto a = support::make<dtk::Model>(name, "", many), b = support::make<dtk::Model>(name, "", few);
        disturb(*a);
        disturb(*b);
        auto q = question(many, 3);
        q.t = at::tensor({0.0, 400.0, 980.0}, at::kDouble);
        const auto expected = answer(*a, q);
        q.t = q.t.rows(3) / 20;
        CHECK(distance(answer(*b, q), expected) < 1e-4);
    }
}

TEST_CASE("the exact denoiser meets the reference to 1e-11 in float64") {
    for (const std::string preset : {"gmm1d", "gmm2d"}) {
        const auto& values = support::reference()["mixtures"][preset];
        const auto x = support::tensor(values["points"]);
        for (const auto& [kind, key] :
             std::map<std::string, std::string>{{"x0", "x0_hat"}, {"eps", "eps"}, {"v", "v"}}) {
            const auto context = mixture(preset);
            const auto model = support::make<dtk::Model>("exact", "prediction = \"" + kind + "\"", context);
            for (const auto& [step, expected] : values["linear"].items()) {
                INFO(preset << ", " << kind << " at step " << step);
                const auto value = answer(*model, {x, std::stod(step)});
                CHECK(distance(value, support::tensor(expected[key])) < 1e-11);
            }
        }
    }
}

TEST_CASE("without a density the exact denoiser averages the examples") {
    const auto data = std::make_shared<Pictures>();
    const auto context = view_of(data);
    const auto all = data->examples(at::arange(16)).x.flatten(1).to(at::kDouble);
    for (const std::int64_t limit : {0, 5}) {
        const auto model = support::make<dtk::Model>("exact", fmt::format("limit = {}", limit), context);
        const auto known = limit == 0 ? all : all.slice(0, 0, limit);
        for (const double t : {0.0, 100.0, 500.0, 999.0}) {
            INFO("limit " << limit << ", t " << t);
            const auto& levels = context.process().levels();
            const double alpha = levels.alpha(static_cast<std::int64_t>(t)),
                         sigma = levels.sigma(static_cast<std::int64_t>(t));
            const auto x = alpha * all + sigma * dtk::Random(2, "x").normal(all.sizes(), at::kDouble);
            const auto w =
                (-(x.unsqueeze(1) - alpha * known.unsqueeze(0)).square().sum(2) / (2 * sigma * sigma)).softmax(1);
            const auto value = answer(*model, {x.view({16, 1, 8, 12}), t}).flatten(1);
            CHECK(distance(value, w.mm(known)) < 1e-11);
            const auto single = answer(*model, {x.view({16, 1, 8, 12}).to(at::kFloat), t}).flatten(1);
            CHECK(distance(single, w.mm(known)) < 1e-3);
        }
    }
}

TEST_CASE("the exact denoiser is finite without noise and without signal") {
    const std::string to_nothing = "steps = 4\nschedule = {use = \"cosine\", beta_max = 1.0}";
    for (const auto& context : {mixture("gmm2d", to_nothing), view_of(std::make_shared<Pictures>(), to_nothing)})
        for (const std::string kind : {"x0", "eps", "v"}) {
            REQUIRE(context.process().levels().alpha(3) == 0);
            const auto model = support::make<dtk::Model>("exact", "prediction = \"" + kind + "\"", context);
            auto q = question(context, 1, at::kDouble);
            q.x.set_requires_grad(true);
            for (const double t : {-1.0, 3.0}) {
                INFO(kind << " at t = " << t);
                const auto value = answer(*model, {q.x, at::full({1}, t, at::kDouble)});
                CHECK(at::isfinite(value).all().item<bool>());
                value.sum().backward();
                CHECK(at::isfinite(q.x.grad()).all().item<bool>());
                if (kind != "x0") continue;
                if (t < 0) CHECK(distance(value, q.x) == 0);
                const auto other = answer(*model, {q.x + 1, at::full({1}, t, at::kDouble)});
                if (t > 0) CHECK(distance(value, other) < 1e-12);
            }
        }
}

TEST_CASE("mistakes are named with their cure") {
    const auto images = pictures();
    const auto points = mixture("gmm2d");
    CHECK(says(complaint("mlp", "time_features = 33", points), "even number"));
    CHECK(says(
        complaint("mlp", "conditional = true", view_of(std::make_shared<Pictures>(std::vector<std::int64_t>{2}, 0))),
        "conditional = false"));
    CHECK(says(complaint("unet", "", points), "mlp"));
    CHECK(says(complaint("unet", "attention = [7]", images), "the sizes are 8, 4, 2"));
    CHECK(says(complaint("unet", "groups = 5", images), "let `groups` divide `channels` = 32"));
    CHECK(says(complaint("unet", "heads = 3", images), "`heads` = 3 does not divide 32 channels"));
    CHECK(says(complaint("unet", "multipliers = [1, 2, 2, 2]", images), "8×16"));
    CHECK(says(complaint("exact", "limit = 17", images), "16"));
    CHECK(says(complaint("exact", "", view_of(std::make_shared<Endless>())), "limit"));
}

TEST_CASE("time features are those of Ho et al. 2020") {
    const auto t = at::tensor({0.0, 1.0, 250.0}, at::kDouble);
    const auto features = dtk::SinusoidalEmbedding(8)(t).to(at::kDouble);
    for (std::int64_t i = 0; i < 4; ++i) {
        const auto angle = t * std::exp(-std::log(1e4) * static_cast<double>(i) / 3);
        CHECK(distance(features.select(1, i), angle.sin()) < 2e-5);
        CHECK(distance(features.select(1, 4 + i), angle.cos()) < 2e-5);
    }
}

TEST_CASE("group normalisation is the same in both memory layouts, with its gradients") {
    const dtk::Random random(4, "norm");
    for (const auto& [channels, groups, side] : {std::tuple{32, 8, 7}, {24, 8, 5}, {6, 3, 4}, {48, 48, 1}})
        for (const auto then : {dtk::GroupNorm::Then::nothing, dtk::GroupNorm::Then::silu}) {
            INFO(channels << " channels, " << groups << " groups, SiLU " << (then == dtk::GroupNorm::Then::silu));
            const std::vector<std::int64_t> sizes{3, channels, side, side};
            const auto x0 = 3 * random.normal(sizes, at::kFloat) + 1,
                       weight = random.stream("grad").normal(sizes, at::kFloat);
            const auto run = [&](at::MemoryFormat layout) {
                dtk::GroupNorm norm(random, channels, groups, then);
                at::NoGradGuard no_grad;
                for (const auto& named : norm.named_tensors())
                    named.tensor->add_(random.stream(named.name).normal({channels}, at::kFloat));
                at::AutoGradMode grad(true);
                auto x = x0.contiguous(layout).detach().set_requires_grad(true);
                const auto y = norm(x);
                (y * weight).sum().backward();
                std::vector<Tensor> all{y.detach(), x.grad()};
                for (const auto& p : norm.parameters()) all.push_back(p.grad());
                return all;
            };
            const auto ours = run(at::MemoryFormat::ChannelsLast), theirs = run(at::MemoryFormat::Contiguous);
            for (std::size_t i = 0; i < ours.size(); ++i)
                CHECK(distance(ours[i], theirs[i]) < 2e-5 * (1 + theirs[i].abs().max().item<double>()));
        }
}
