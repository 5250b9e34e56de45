// Classifiers that dtk trains, and the metrics that look at sets of examples: as they are, and through a classifier.
#include <cmath>

#include <dtk/classifier.hpp>
#include <dtk/features.hpp>

#include "catch.hpp"
#include "complaint.hpp"
#include "folder.hpp"
#include "made_data.hpp"
#include "run_program.hpp"
#include "support.hpp"

using at::Tensor;
using support::make;

namespace {

const std::vector<std::string> set_metrics{"frechet", "frechet_infinity", "kid", "precision_recall", "one_nn"};

std::shared_ptr<dtk::Classifier> classifier(MadeContext& context, const std::string& fields = {}) {
    context.network = make<dtk::Model>("classifier", fields, context);
    return std::dynamic_pointer_cast<dtk::Classifier>(context.network);
}

}  // namespace

TEST_CASE("the Fréchet distance of a set to its image under a symmetric map is what the map moves, exactly") {
    // x ↦ A x + b with A = Aᵀ ≥ 0 is the optimal transport between the two Gaussians (Brenier), so d² = E|A y + b −
    // y|².
    const auto data = std::make_shared<Made>([](const Tensor& index, const std::string& stream) {
        return normal(index, stream, {3})
                   .matmul(at::tensor({1.0, 0.3, 0.0, 0.0, 2.0, 0.5, 0.0, 0.0, 0.1}, at::kDouble).view({3, 3})) +
               4;
    });
    const MadeContext context(data);
    const auto y = data->test_examples(at::arange(500)).x;
    const auto root = dtk::Random(2, "A").normal({3, 3}, at::kDouble);
    const auto A = root.mm(root.t()), b = at::tensor({1.0, -2.0, 0.5}, at::kDouble);
    const auto moved = y.mm(A) + b - y;
    const double expected = (moved.mean(0).square().sum() + moved.t().cov().trace()).item<double>();
    CHECK(measured("frechet", context, y.mm(A) + b).value == Approx(expected).epsilon(1e-10));
    CHECK(std::abs(measured("frechet", context, y).value) < 1e-10);
    // A set of no width on one axis.
    auto flat = at::eye(3, at::kDouble);
    flat[1][1] = 0;
    CHECK(measured("frechet", context, y.mm(flat)).value ==
          Approx((y.select(1, 1).mean().square() + y.select(1, 1).var()).item<double>()).epsilon(1e-6));
}

TEST_CASE("the Fréchet distance of few rows of many dimensions is that of where they lie, and says that they are few") {
    // Rows of five dimensions, turned into sixty by a map that keeps distances.
    const auto basis = std::get<0>(at::linalg_qr(dtk::Random(3, "basis").normal({60, 5}, at::kDouble)));
    for (const auto& [n, m] : {std::pair{20, 20}, std::pair{12, 40}, std::pair{3, 4}}) {
        const auto x = dtk::Random(4, "x").normal({n, 5}, at::kDouble),
                   y = 0.7 * dtk::Random(5, "y").normal({m, 5}, at::kDouble) + 0.3;
        INFO(n << " and " << m);
        CHECK(dtk::frechet_distance(x.mm(basis.t()), y.mm(basis.t())) ==
              Approx(dtk::frechet_distance(x, y)).epsilon(1e-9));
    }
    // Pictures of 256² in three colours, whose covariance would take 309 GB.
    const auto x = dtk::Random(4, "x").normal({6, 5}, at::kDouble), y = x.flip(1) + 1;
    const auto padded = [](const Tensor& rows) { return at::constant_pad_nd(rows, {0, 3 * 256 * 256 - 5}); };
    CHECK(dtk::frechet_distance(padded(x), padded(y)) == Approx(dtk::frechet_distance(x, y)).epsilon(1e-9));
    // Of the same mean, each with a variance of 2 on an axis of its own.
    const auto first = at::tensor({1.0, -1.0, 0.0, 0.0, 0.0, 0.0}, at::kDouble).view({3, 2}).t(),
               second = at::tensor({0.0, 0.0, 1.0, -1.0, 0.0, 0.0}, at::kDouble).view({3, 2}).t();
    CHECK(dtk::frechet_distance(first, second) == Approx(4));
    CHECK(std::abs(dtk::frechet_distance(first, first)) < 1e-12);

    const auto data = std::make_shared<Made>(
        [](const Tensor& index, const std::string& stream) { return normal(index, stream, {60}); });
    const auto samples = normal(at::arange(80), "samples", {60});
    const auto note_of = [&](std::int64_t n) {
        return measured("frechet", MadeContext(data), samples.slice(0, 0, n)).note;
    };
    CHECK(says(note_of(50), "fewer than their 60 dimensions"));
    CHECK_FALSE(says(note_of(60), "fewer than"));
}

TEST_CASE("the Fréchet distance of Gaussians of known means and covariances") {
    // In the plane tr (C_1^{1/2} C_2 C_1^{1/2})^{1/2} = √(tr C_1 C_2 + 2 √(det C_1 det C_2)).
    const auto L1 = at::tensor({1.0, 0.5, 0.0, 1.0}, at::kDouble).view({2, 2}),
               L2 = at::tensor({2.0, -1.0, 0.0, 0.7}, at::kDouble).view({2, 2});
    const auto C1 = L1.t().mm(L1), C2 = L2.t().mm(L2);
    const auto data = std::make_shared<Made>(
        [L1](const Tensor& index, const std::string& stream) { return normal(index, stream, {2}).mm(L1); });
    const auto samples = normal(at::arange(40'000), "samples", {2}).mm(L2) + 1;
    const double expected =
        2 +
        (C1.trace() + C2.trace() - 2 * (C1.mm(C2).trace() + 2 * (C1.det() * C2.det()).sqrt()).sqrt()).item<double>();
    CHECK(measured("frechet", MadeContext(data), samples).value == Approx(expected).epsilon(0.03));
}

TEST_CASE("precision, recall and the nearest neighbours of a few points, by hand") {
    // Balls around 0, 1, 10, 12 reach 1, 1, 2, 2 far and cover 0.5 and 11; those around 0.5, 3, 11, 20 reach 2.5, 2.5,
    // 8, 9.
    const auto at = [](const std::vector<double>& x) { return at::tensor(x, at::kDouble).unsqueeze(1); };
    const auto m = measured("precision_recall", MadeContext(points({0, 1, 10, 12})), at({0.5, 3, 11, 20}), "k = 1");
    CHECK(part(m, "precision") == 0.5);
    CHECK(part(m, "recall") == 1);
    CHECK(m.value == Approx(1.0 / 3));

    // 0 and 0.1 are nearest to each other, 9 to 5.1; 5, 0.3 and 5.1 are nearest to the other kind.
    CHECK(measured("one_nn", MadeContext(points({0.3, 5.1, 9})), at({0, 0.1, 5})).value == 0.5);
}

TEST_CASE("sets of one law pass, sets apart have neither precision nor recall and are told from each other") {
    const MadeContext context(pictures(0));
    const auto samples = context.data->examples(at::arange(600)).x;
    for (const auto& name : set_metrics) {
        const auto m = measured(name, context, samples);
        INFO(name << ": " << m.value << ", expected " << *m.expected << " ± " << m.expected_sd);
        CHECK(m.passes().value());
        CHECK(m.expected_sd > 0);
        CHECK_FALSE(measured(name, context, samples + 1).passes().value());
        CHECK_FALSE(measured(name, context, 0.7 * samples).passes().value());
    }
    const auto apart = measured("precision_recall", context, samples + 100);
    CHECK(part(apart, "precision") == 0);
    CHECK(part(apart, "recall") == 0);
    CHECK(apart.value == 1);
    CHECK(measured("one_nn", context, samples + 100).value == 1);

    // Of one law (n − 1)/(2n − 1), and no more than 1/√n about it.
    const auto null = measured("one_nn", context, samples);
    CHECK(*null.expected == Approx(599.0 / 1199).margin(2 * 0.5 / std::sqrt(600 * 8)));
    CHECK(null.expected_sd < 1 / std::sqrt(600));
    // The very test examples: each is nearest to its copy.
    CHECK(measured("one_nn", context, context.data->test_examples(at::arange(600)).x).value == 0);
}

TEST_CASE("what is lost shows in precision, what is missing in recall") {
    // Two far clusters, of which the samples miss one; then samples of which every second is far from the data.
    const auto data = std::make_shared<Made>([](const Tensor& index, const std::string& stream) {
        return normal(index, stream, {2}) + 100 * (index % 2).unsqueeze(1);
    });
    const MadeContext context(data);
    const auto both = data->examples(at::arange(2000)).x, one = data->examples(2 * at::arange(1000)).x;
    const auto missing = measured("precision_recall", context, one),
               whole = measured("precision_recall", context, both);
    CHECK(part(whole, "precision") > 0.9);
    CHECK(part(whole, "recall") > 0.9);
    CHECK(part(missing, "precision") > 0.9);
    CHECK(part(missing, "recall") == Approx(0.5).margin(0.03));
    const auto strays =
        measured("precision_recall", context, both + 1000 * (at::arange(2000).div(2, "floor") % 2).unsqueeze(1));
    CHECK(part(strays, "precision") == Approx(part(whole, "precision") / 2).margin(0.05));
    CHECK(part(strays, "recall") > 0.85);
}

TEST_CASE("copies of training examples lie at 0, other true examples at 1") {
    const auto data = pictures(400);
    const MadeContext context(data);
    const auto training = data->examples(at::arange(400)).x, held_out = data->test_examples(at::arange(400)).x;
    const auto copies = measured("nearest_training", context, training);
    CHECK(copies.value == 0);
    CHECK(part(copies, "copies") == 1);
    CHECK_FALSE(copies.passes().value());

    const auto same = measured("nearest_training", context, held_out);
    CHECK(same.value == 1);
    CHECK(same.passes().value());
    CHECK(part(same, "copies") == 0);
    CHECK(*same.expected == Approx(1).margin(0.01));
    const auto nearest = at::cdist(held_out.flatten(1), training.flatten(1)).amin(1);
    CHECK(part(same, "median held out") == Approx(nearest.median().item<double>()).epsilon(1e-12));

    const auto fresh = measured("nearest_training", context, data->test_examples(at::arange(1000, 1600)).x);
    INFO(fresh.value << " ± " << fresh.expected_sd);
    CHECK(fresh.passes().value());
    CHECK_FALSE(measured("nearest_training", context, 0.5 * training + 0.5 * held_out).passes().value());
    CHECK_FALSE(measured("nearest_training", context, 3 * held_out).passes().value());
    CHECK(part(measured("nearest_training", context, at::cat({training.slice(0, 0, 100), held_out.slice(0, 0, 300)})),
               "copies") == 0.25);
    CHECK(says(complaint_of([] { make<dtk::Metric>("nearest_training", "", MadeContext(pictures(0))); }),
               "data that end"));
}

TEST_CASE("distances in portions are those of all pairs") {
    const auto x = normal(at::arange(3000), "x", {7}) + 50, y = normal(at::arange(5000), "y", {7}) + 50;
    std::vector<Tensor> all;
    std::int64_t seen = 0;
    dtk::squared_distances(x, y, [&](std::int64_t first, const Tensor& d2) {
        CHECK(first == seen);
        seen += d2.size(0);
        all.push_back(d2);
    });
    CHECK(all.size() > 1);
    CHECK(support::distance(at::cat(all), at::cdist(x, y, 2, 2).square()) < 1e-11);
}

TEST_CASE("true sets of a pair have no example in common") {
    const auto numbers = std::make_shared<Made>(
        [](const Tensor& index, const std::string&) { return index.to(at::kDouble).unsqueeze(1); }, 100);
    for (std::int64_t pair = 0; pair < 3; ++pair) {
        const dtk::Random random(3, "sets");
        const auto both =
            at::cat({dtk::true_set(*numbers, 2 * pair, 50, random), dtk::true_set(*numbers, 2 * pair + 1, 50, random)})
                .flatten();
        CHECK(at::equal(std::get<0>(both.sort()), at::arange(100, at::kDouble)));
    }
    CHECK(dtk::true_set_size(*numbers, 70) == 50);
}

TEST_CASE("through a classifier sets are measured in its features") {
    MadeContext context(pictures(300));
    const auto net = classifier(context, "channels = 4\nlevels = 2\ngroups = 2");
    const auto seen = [&](const Tensor& x) {
        return net->features(x, at::zeros({x.size(0)}, at::kDouble)).detach().to(at::kDouble);
    };
    const MadeContext features(std::make_shared<Made>(
        [&](const Tensor& index, const std::string& stream) {
            return seen(normal(index, stream, {1, 4, 4}));
        },
        300));
    const auto samples = 1.2 * normal(at::arange(200), "samples", {1, 4, 4});
    REQUIRE(seen(samples).sizes() == at::IntArrayRef({200, 8}));
    for (const std::string name : {"frechet", "precision_recall", "one_nn", "nearest_training"}) {
        INFO(name);
        const auto through = measured(name, context, samples, "features = \"net\""),
                   plain = measured(name, features, seen(samples));
        CHECK(through.value == Approx(plain.value).epsilon(1e-4));
        CHECK(*through.expected == Approx(*plain.expected).epsilon(1e-4));
        CHECK(says(through.note, "features of `net`"));
    }
    for (const auto& name : set_metrics) {
        MadeContext other(points({1, 2}));
        other.network = context.network;
        CHECK(says(complaint_of([&] { measured(name, other, samples, "features = \"net\""); }),
                   "shape 1×4×4, these have 1"));
        other.network = make<dtk::Model>("mlp", "", other);
        CHECK(says(complaint_of([&] { measured(name, other, samples, "features = \"net\""); }),
                   "looks through a classifier, and `net` is another model"));
    }
}

TEST_CASE("cross entropy is −f_c + log Σ e^f, of the examples or of noisy ones") {
    MadeContext context(pictures(0));
    classifier(context);
    const auto batch = context.data->examples(at::arange(6));
    const auto odds =
        at::tensor({0.0, 0.0, 1.0, 3.0, -200.0, 200.0, 5.0, 4.0, 0.5, -0.5, 300.0, -300.0}, at::kDouble).view({6, 2});
    Tensor shown, at_time;
    const dtk::Denoiser answer(context.chain, [&](const Tensor& x, const dtk::Time& t, const dtk::Condition&) {
        shown = x;
        at_time = t.on(x);
        return dtk::Prediction{dtk::PredictionType::label, odds, {}};
    });
    const auto drawn = at::arange(6, at::kDouble) * 13;
    const auto expected = at::tensor({std::log(2.0), std::log1p(std::exp(-2.0)), 400.0, std::log1p(std::exp(1.0)),
                                      std::log1p(std::exp(-1.0)), 600.0},
                                     at::kDouble);
    const dtk::Random random(4, "loss");
    const auto loss = make<dtk::Loss>("cross_entropy", "", context);
    CHECK_FALSE(loss->draws_times());
    const auto plain = (*loss)(answer, batch, drawn, random);
    CHECK(support::distance(plain.objectives.front().value, expected) < 1e-5);
    CHECK(at::equal(shown, batch.x));
    CHECK(at::equal(at_time, at::zeros({6}, at::kDouble)));
    CHECK(plain.parts.front().first == "accuracy");
    CHECK(at::equal(plain.parts.front().second.to(at::kLong), at::tensor({1, 1, 0, 0, 1, 0}, at::kLong)));

    const auto of_noisy = make<dtk::Loss>("cross_entropy", "noised = true", context);
    CHECK(of_noisy->draws_times());
    const auto noisy = (*of_noisy)(answer, batch, drawn, random);
    CHECK(support::distance(noisy.objectives.front().value, expected) < 1e-5);
    CHECK(at::equal(at_time, drawn));
    CHECK(at::equal(shown, context.process().noised(batch.x, drawn, random.stream("noise")).x));
}

TEST_CASE("a classifier is told the time only where it is timed") {
    for (const bool image : {true, false}) {
        MadeContext context(image ? pictures(0) : points({1, 2}));
        const auto x = context.data->examples(at::arange(2)).x;
        const auto at_time = [&](dtk::Model& model, double t) {
            return model.forward(x, at::full({2}, t, at::kDouble), {}).value;
        };
        CHECK(at::equal(at_time(*classifier(context), 0), at_time(*classifier(context), 90)));
        CHECK(support::distance(at_time(*classifier(context, "timed = true"), 0),
                                at_time(*classifier(context, "timed = true"), 90)) > 1e-4);
    }
}

TEST_CASE("classifiers, their loss and their metric refuse what does not fit") {
    struct Unlabelled final : Made {
        using Made::Made;
        std::int64_t classes() const override { return 0; }
    };
    MadeContext context(std::make_shared<Unlabelled>(
        [](const Tensor& index, const std::string& stream) { return normal(index, stream, {2}); }));
    context.network = make<dtk::Model>("mlp", "", context);
    CHECK(says(complaint_of([&] { make<dtk::Model>("classifier", "", context); }), "two classes or more"));
    for (const std::string kind : {"loss", "metric"}) {
        const auto refusal = [&] {
            return complaint_of([&] {
                kind == "loss" ? void(make<dtk::Loss>("cross_entropy", "", context))
                               : void(make<dtk::Metric>("accuracy", "", context));
            });
        };
        context.data = std::make_shared<Unlabelled>(
            [](const Tensor& index, const std::string& stream) { return normal(index, stream, {2}); });
        CHECK(says(refusal(), "needs data with classes"));
        context.data = points({1, 2});
        CHECK(says(refusal(), "a classifier | use model `classifier`"));
    }
}

namespace {

/// A folder with pictures of 8×8 of noise, whose left half is bright in one class and whose right half in the other.
void write_pictures(const Folder& folder) {
    const auto write = [&](const std::string& name, const std::vector<std::int64_t>& sizes, const Tensor& values) {
        std::string bytes{'\0', '\0', '\x08', static_cast<char>(sizes.size())};
        for (const auto size : sizes) bytes += std::string{'\0', '\0', '\0', static_cast<char>(size)};
        const auto flat = values.to(at::kByte).contiguous();
        bytes.append(reinterpret_cast<const char*>(flat.const_data_ptr<std::uint8_t>()),
                     static_cast<std::size_t>(flat.numel()));
        dtk::write_atomically(folder / name, bytes);
    };
    for (const std::string set : {"train", "t10k"}) {
        const std::int64_t n = set == "train" ? 96 : 64;
        const auto label = at::arange(n) % 2;
        auto x = dtk::Random(6, set).uniform({n, 8, 8}, at::kDouble) * 200;
        x.slice(2, 0, 4).add_((label == 0).view({n, 1, 1}) * 55);
        x.slice(2, 4).add_((label == 1).view({n, 1, 1}) * 55);
        write(set + "-images-idx3-ubyte", {n, 8, 8}, x);
        write(set + "-labels-idx1-ubyte", {n}, label);
    }
}

}  // namespace

TEST_CASE(
    "a stage trains a classifier, and later ones are measured through it: the exact denoiser of the examples copies "
    "them") {
    const Folder folder;
    write_pictures(folder);
    const std::string text = R"(
seed = 3
[dataset]
use = "idx"
folder = "."
[process]
steps = 100
[[stage]]
name = "classes"
model = {use = "classifier", channels = 16, levels = 2, groups = 4}
loss = {use = "cross_entropy"}
train = {steps = 100, batch = 32, lr = 1e-2, log_every = 50}
metric = [{use = "accuracy"}]
[[stage]]
name = "copier"
model = {use = "exact"}
sampler = {use = "ddim", steps = 20}
sample = {n = 32}
metric = [{use = "frechet", features = "classes"}, {use = "precision_recall", features = "classes"}, {use = "one_nn", features = "classes"}, {use = "nearest_training", features = "classes"}, {use = "nearest_training", name = "in pixels"}]
)";
    dtk::write_atomically(folder / "experiment.toml", text);
    const auto outcome = dtk_program({"run", "experiment.toml", "--out", "run", "--progress", "none"}, folder.path);
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    const auto result = nlohmann::json::parse(dtk::read_file(folder / "run" / "run.json"))["result"];
    const auto& accuracy = result["classes"]["metrics"][0];
    CHECK(accuracy["value"] > 0.97);
    CHECK(accuracy["better"] == "more");
    CHECK(accuracy["unit"] == "share");
    CHECK_FALSE(accuracy.contains("expected"));
    const auto& metrics = result["copier"]["metrics"];
    REQUIRE(metrics.size() == 5);
    for (const auto& m : metrics) CHECK(m["expected"].is_number());
    for (const std::size_t i : {3, 4}) {
        CHECK(metrics[i]["value"] < 0.2);
        CHECK(metrics[i]["passes"] == false);
    }

    const auto refused = [&](const std::string& from, const std::string& to) {
        auto other = text;
        other.replace(other.find(from), from.size(), to);
        dtk::write_atomically(folder / "other.toml", other);
        const auto checked = dtk_program({"check", "other.toml"}, folder.path);
        CHECK(checked.code == 2);
        return checked.out + checked.err;
    };
    CHECK(says(refused("features = \"classes\"", "features = \"nobody\""), "nobody"));
    CHECK(says(refused("metric = [{use = \"accuracy\"}]", "sample = {n = 4}"),
               "classifier, which samples cannot be drawn from"));
    CHECK(says(refused("{use = \"cross_entropy\"}", "{use = \"simple\"}"), "label"));
}
