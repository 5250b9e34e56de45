// Laws of every model that was built, and what each of ours promises beyond them.
#include <cmath>
#include <functional>
#include <set>

#include <dtk/layers.hpp>

#include "catch.hpp"
#include "complaint.hpp"
#include "support.hpp"

using at::Tensor;
using dtk::PredictionType;
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

/// What a model may be asked with: B rows and everything a condition may hold.
struct Question {
    Tensor x;
    dtk::Time t;
    dtk::Condition condition;
};

Question question(const dtk::BuildContext& context, std::int64_t B, at::ScalarType type = at::kFloat) {
    const dtk::Random random(3, "question");
    std::vector<std::int64_t> sizes{B};
    for (const auto size : context.dataset().shape()) sizes.push_back(size);
    return {random.normal(sizes, at::kFloat).to(type),
            at::tensor({3.0, 400.0, 999.0}, at::kDouble).slice(0, 0, B),
            {.label = at::arange(B) % 3,
             .self_condition = random.stream("x0").normal(sizes, at::kFloat).to(type),
             .observed = at::full({B, 1}, 0.5, type)}};
}

Tensor answer(dtk::Model& model, const Question& q) { return model.forward(q.x, q.t, q.condition).value; }

/// Away from the zeros that last layers start with.
void disturb(dtk::Model& model) {
    at::NoGradGuard no_grad;
    for (const auto& named : model.named_tensors())
        if (named.trained)
            named.tensor->add_(dtk::Random(5, named.name).normal(named.tensor->sizes(), at::kFloat), 0.05);
}

using Make = std::function<std::shared_ptr<dtk::Model>(const dtk::BuildContext&)>;

/// Data of which something is known.
support::BuildContext told() {
    auto context = mixture("gmm2d");
    context.seen = support::make<dtk::Observation>("elements", "coordinates = [0]\nvalues = [0.5]", context);
    return context;
}

/// Calls law(make, view) for every model, on every kind of data it accepts, with and without the options it may have.
void for_every_model(const std::function<void(const Make&, const support::BuildContext&)>& law) {
    for (const auto& name : support::registry().names("model")) {
        int accepted = 0;
        const auto tried = [&](const support::BuildContext& context) {
            for (const std::string fields :
                 {"", "conditional = true", "self_condition = true", "prediction = \"v\"",
                  "prediction = \"edm\"\nnoise_label = \"c_noise\"", "variance = \"range\""}) {
                try {
                    support::make<dtk::Model>(name, fields, context);
                } catch (const dtk::Error&) {
                    continue;
                }
                ++accepted;
                INFO("model " << name << ", " << fields << ", shape of " << context.dataset().shape().size()
                              << " dimensions");
                law([&](const dtk::BuildContext& other) { return support::make<dtk::Model>(name, fields, other); },
                    context);
            }
        };
        for (const auto& context : {pictures(), mixture("gmm2d")}) tried(context);
        if (accepted == 0) tried(told());
        INFO("model " << name);
        CHECK(accepted > 0);
    }
}

std::string complaint(const std::string& model, const std::string& fields, const dtk::BuildContext& context) {
    return complaint_of([&] { support::make<dtk::Model>(model, fields, context); });
}

bool same_bits(const Tensor& a, const Tensor& b) { return at::equal(a, b); }

}  // namespace

TEST_CASE("the answer is shaped as the question, or has a number for each class, and is of its type") {
    for_every_model([](const Make& make, const dtk::BuildContext& context) {
        const auto model = make(context);
        for (const std::int64_t B : {1, 3})
            for (const auto type : {at::kFloat, at::kDouble}) {
                const auto q = question(context, B, type);
                const auto p = model->forward(q.x, q.t, q.condition);
                CHECK(p.type == model->predicts());
                CHECK(p.value.sizes().vec() == (model->predicts() == PredictionType::label
                                                    ? std::vector{B, context.dataset().classes()}
                                                    : q.x.sizes().vec()));
                CHECK(p.value.scalar_type() == type);
                CHECK(p.value.is_contiguous());
                CHECK(at::isfinite(p.value).all().item<bool>());
            }
    });
}

TEST_CASE("a gradient reaches every parameter") {
    for_every_model([](const Make& make, const dtk::BuildContext& context) {
        const auto model = make(context);
        disturb(*model);
        const auto q = question(context, 3);
        const auto value = answer(*model, q);
        if (model->parameters().empty()) return;
        (value * dtk::Random(9, "weights").normal(value.sizes(), at::kFloat)).sum().backward();
        for (const auto& named : model->named_tensors()) {
            if (!named.trained) continue;
            INFO(named.name);
            REQUIRE(named.tensor->grad().defined());
            CHECK(named.tensor->grad().abs().max().item<float>() > 0);
        }
    });
}

TEST_CASE("a gradient reaches the state, for guidance") {
    for_every_model([](const Make& make, const dtk::BuildContext& context) {
        const auto model = make(context);
        disturb(*model);
        auto q = question(context, 3);
        q.x.set_requires_grad(true);
        answer(*model, q).square().sum().backward();
        CHECK(at::isfinite(q.x.grad()).all().item<bool>());
        CHECK(q.x.grad().abs().max().item<float>() > 0);
    });
}

TEST_CASE("a seed gives the same initial bits, another seed others, and every parameter numbers of its own") {
    for_every_model([](const Make& make, const support::BuildContext& context) {
        auto reseeded = context;
        reseeded.seed = 2;
        const auto first = make(context), second = make(context), other = make(reseeded);
        const auto a = first->named_tensors(), b = second->named_tensors(), c = other->named_tensors();
        REQUIRE(a.size() == b.size());
        std::set<std::string> names;
        std::set<float> starts;
        std::size_t drawn = 0;
        for (std::size_t i = 0; i < a.size(); ++i) {
            INFO(a[i].name);
            CHECK(names.insert(a[i].name).second);
            CHECK(a[i].name == c[i].name);
            CHECK(same_bits(*a[i].tensor, *b[i].tensor));
            if (!a[i].trained || a[i].tensor->numel() < 2 || a[i].tensor->std().item<float>() == 0) continue;
            CHECK_FALSE(same_bits(*a[i].tensor, *c[i].tensor));
            ++drawn;
            starts.insert((a[i].tensor->flatten()[0] / a[i].tensor->abs().max()).item<float>());
        }
        CHECK(starts.size() == drawn);
    });
}

TEST_CASE("outside training a question has one answer, and its rows do not know each other") {
    for_every_model([](const Make& make, const dtk::BuildContext& context) {
        at::NoGradGuard no_grad;
        const auto model = make(context);
        disturb(*model);
        model->train(false);
        const auto q = question(context, 3);
        const auto together = answer(*model, q);
        CHECK(same_bits(together, answer(*model, q)));
        for (std::int64_t i = 0; i < 3; ++i) {
            const auto row = [&](const Tensor& x) { return x.slice(0, i, i + 1); };
            const Question alone{row(q.x),
                                 q.t.chunk(i, 1),
                                 {.label = row(q.condition.label),
                                  .self_condition = row(q.condition.self_condition),
                                  .observed = row(q.condition.observed)}};
            CHECK(distance(answer(*model, alone), row(together)) < 1e-5 * (1 + together.abs().max().item<double>()));
        }
    });
}

TEST_CASE("dropout belongs to the step and the sample, not to the batch, and to training alone") {
    int with_dropout = 0;
    for (const auto& name : support::registry().names("model")) {
        const auto context = pictures();
        std::shared_ptr<dtk::Model> model;
        try {
            model = support::make<dtk::Model>(name, "dropout = 0.5", context);
        } catch (const dtk::Error&) {
            continue;
        }
        INFO("model " << name);
        ++with_dropout;
        at::NoGradGuard no_grad;
        disturb(*model);
        auto q = question(context, 3);
        const auto at_step = [&](std::int64_t step) {
            const auto random = dtk::Random(1, "train").step(step);
            q.condition.random = &random;
            return answer(*model, q);
        };
        const auto first = at_step(1);
        CHECK(same_bits(first, at_step(1)));
        CHECK(distance(first, at_step(2)) > 1e-3);

        const auto third = dtk::Random(1, "train").step(1).from(2);
        const Question alone{q.x.slice(0, 2),
                             q.t.chunk(2, 1),
                             {.label = q.condition.label.slice(0, 2),
                              .self_condition = q.condition.self_condition.slice(0, 2),
                              .random = &third}};
        CHECK(distance(answer(*model, alone), first.slice(0, 2)) < 1e-4);

        q.condition.random = nullptr;
        CHECK_THROWS_AS(answer(*model, q), dtk::Error);
        model->train(false);
        CHECK(same_bits(answer(*model, q), at_step(1)));
    }
    CHECK(with_dropout > 0);
}

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
                const auto value = answer(*model, {x, std::stod(step), {}});
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
            const auto value = answer(*model, {x.view({16, 1, 8, 12}), t, {}}).flatten(1);
            CHECK(distance(value, w.mm(known)) < 1e-11);
            const auto single = answer(*model, {x.view({16, 1, 8, 12}).to(at::kFloat), t, {}}).flatten(1);
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
                const auto value = answer(*model, {q.x, at::full({1}, t, at::kDouble), {}});
                CHECK(at::isfinite(value).all().item<bool>());
                value.sum().backward();
                CHECK(at::isfinite(q.x.grad()).all().item<bool>());
                if (kind != "x0") continue;
                if (t < 0) CHECK(distance(value, q.x) == 0);
                const auto other = answer(*model, {q.x + 1, at::full({1}, t, at::kDouble), {}});
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
