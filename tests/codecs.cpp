// The chain's space apart from the data: codecs and conditioners, and stages that feed one another through them.
#include <cmath>

#include <ATen/ops/linalg_eigh.h>
#include <nlohmann/json.hpp>

#include <dtk/codec.hpp>
#include <dtk/conditioner.hpp>
#include <dtk/safetensors.hpp>

#include "base/files.hpp"
#include "bench.hpp"
#include "catch.hpp"
#include "compared_runs.hpp"
#include "complaint.hpp"
#include "engine/conditioning.hpp"
#include "engine/trainer.hpp"
#include "run_program.hpp"
#include "small_experiment.hpp"
#include "support.hpp"

namespace {

namespace fs = std::filesystem;
using at::Tensor;
using json = nlohmann::json;

Outcome run(const Folder& folder, const std::string& name, const std::string& text, int code = 0) {
    write(folder / (name + ".toml"), text);
    const auto outcome = dtk_program({"run", name + ".toml", "--out", name, "--progress", "none"}, folder.path);
    INFO(outcome.out << outcome.err);
    CHECK(outcome.code == code);
    return outcome;
}

std::string complaints(const std::string& text) {
    const Folder folder;
    write(folder / "experiment.toml", text);
    const auto outcome = dtk_program({"check", "experiment.toml"}, folder.path);
    CHECK(outcome.code == 2);
    return outcome.err;
}

Tensor samples_in(const fs::path& run) {
    return dtk::load_safetensors(run / "samples.safetensors").tensors.at("samples");
}

/// 600 rows of four numbers, normal with standard deviations 3, 2, 0.3, 0.2 along turned axes, mean (5, −1, 0, 2).
struct FourNumbers {
    FourNumbers() {
        const dtk::Random random(9, "four");
        const auto turned = std::get<0>(at::linalg_qr(random.stream("axes").normal({4, 4}, at::kDouble)));
        const auto sd = at::tensor({3.0, 2.0, 0.3, 0.2}, at::kDouble);
        rows = at::matmul(random.stream("z").normal({600, 4}, at::kDouble) * sd, turned.t()) +
               at::tensor({5.0, -1.0, 0.0, 2.0}, at::kDouble);
        csv = "a,b,c,d,class\n";
        for (std::int64_t i = 0; i < rows.size(0); ++i) {
            for (std::int64_t j = 0; j < 4; ++j) csv += fmt::format("{:.9g},", rows[i][j].item<double>());
            csv += i % 3 == 0 ? "odd\n" : "even\n";
        }
    }
    Tensor rows;
    std::string csv;
};
const FourNumbers& four() {
    static const FourNumbers all;
    return all;
}
const std::string four_data = "[dataset]\nuse = \"csv\"\nfile = \"rows.csv\"\nlabel = \"class\"\ntest = 0.1\n";

}  // namespace

TEST_CASE("the identity codec gives the bits that no codec gives") {
    const Folder folder;
    const auto plain = small_experiment +
                       "average = \"none\"\n[validate]\nn = 64\nlevels = 4\n[[metric]]\nuse = \"nll\"\n"
                       "[[metric]]\nuse = \"eps_error\"\n";
    run(folder, "plain", plain);
    run(folder, "coded", changed(plain, "[process]", "[codec]\nuse = \"identity\"\n[process]"));
    CHECK((bits_of(folder / "plain/samples.safetensors") == bits_of(folder / "coded/samples.safetensors")));
    CHECK((bits_of(folder / "plain/checkpoints/00000030.safetensors") ==
           bits_of(folder / "coded/checkpoints/00000030.safetensors")));
    CHECK(log_of(folder / "plain") == log_of(folder / "coded"));
    const auto metrics = [&](const std::string& name) {
        return json::parse(read(folder / name / "run.json"))["result"]["metrics"];
    };
    CHECK(metrics("plain") == metrics("coded"));
    // What knows the law of the data knows that of their identical latents.
    Bench exact(
        "seed = 1\n[dataset]\nuse = \"gaussian_mixture\"\n[codec]\nuse = \"identity\"\n[model]\nuse = \"exact\"\n"
        "[sample]\nn = 4\n");
    CHECK(exact.stage->chain_data().density() == exact.stage->dataset().density());
}

TEST_CASE("a standardised chain lives at mean 0 and variance 1, and samples come out in the data's units") {
    const std::string text =
        "seed = 1\nthreads = 1\n" + four_data +
        "[codec]\nuse = \"standardised\"\n[process]\nsteps = 50\n[schedule]\nuse = \"cosine\"\n"
        "[model]\nuse = \"mlp\"\nwidth = 16\ndepth = 1\nprediction = \"x0\"\n[train]\nsteps = 20\nbatch = 16\n"
        "[sampler]\nuse = \"ddim\"\nsteps = 10\n[sample]\nn = 200\n";
    Bench bench(text, {{"rows.csv", four().csv}});
    const auto& stage = *bench.stage;
    const auto n = stage.dataset().size();
    const auto index = at::arange(n, at::kLong);
    const auto x = stage.dataset().examples(index).x.to(at::kDouble),
               z = stage.chain_data().examples(index).x.to(at::kDouble);
    CHECK(z.mean(0).abs().max().item<double>() < 1e-6);
    CHECK(support::distance(z.var(0, /*unbiased=*/false), at::ones({4}, at::kDouble)) < 1e-5);
    CHECK(stage.space().range == std::nullopt);
    const auto codec = stage.part<dtk::Codec>();
    CHECK(support::distance(codec->decode(z), x) < 1e-5);
    // What was measured is kept with the network.
    const auto tensors = stage.named_tensors();
    const auto named = [&](const std::string& name) {
        for (const auto& one : tensors)
            if (one.name == name) return one.tensor->flatten().to(at::kDouble);
        throw std::runtime_error("no " + name);
    };
    CHECK(support::distance(named("codec.scale.mean"), x.mean(0)) < 1e-5);
    CHECK(support::distance(named("codec.scale.sd"), x.std(0, /*unbiased=*/false)) < 1e-5);

    // A run of it draws such data again, also where these cannot be read any more.
    const Folder folder;
    write(folder / "rows.csv", four().csv);
    run(folder, "scaled", changed(text, "steps = 20\nbatch", "steps = 600\nlr = 5e-3\nbatch"));
    const auto drawn = samples_in(folder / "scaled").to(at::kDouble);
    CHECK(((drawn.mean(0) - x.mean(0)).abs() / x.std(0)).max().item<double>() < 0.5);
    fs::rename(folder / "rows.csv", folder / "gone.csv");
    const auto outcome = dtk_program({"sample", "scaled", "--out", "later", "--progress", "none"}, folder.path);
    INFO(outcome.err);
    CHECK(outcome.code == 0);
    CHECK((bits_of(folder / "scaled/samples.safetensors") == bits_of(folder / "later/samples.safetensors")));
}

TEST_CASE("a linear autoencoder finds the principal subspace") {
    Bench bench(
        "seed = 2\nthreads = 1\n" + four_data +
            "[model]\nuse = \"linear_autoencoder\"\nlatent = 2\n[loss]\nuse = \"reconstruction\"\n[train]\n"
            "steps = 3000\nbatch = 64\nlr = 2e-2\nclip = 0\n[rate]\nuse = \"cosine\"\n[[average]]\nuse = \"none\"\n",
        {{"rows.csv", four().csv}});
    dtk::Trainer(*bench.stage, at::kCPU).advance(3000);
    at::NoGradGuard no_grad;
    const auto x =
        bench.stage->dataset().examples(at::arange(bench.stage->dataset().size(), at::kLong)).x.to(at::kDouble);
    const auto centred = x - x.mean(0);
    const auto [value, vector] = at::linalg_eigh(at::matmul(centred.t(), centred) / static_cast<double>(x.size(0)));
    const auto best = vector.slice(1, 2), wanted = at::matmul(best, best.t());  // the two of most variance
    const auto autoencoder = std::dynamic_pointer_cast<dtk::Autoencoder>(bench.stage->part<dtk::Model>());
    REQUIRE(autoencoder);
    const auto decoded = autoencoder->decode(at::cat({at::zeros({1, 2}), at::eye(2)})).to(at::kDouble);
    const auto basis = std::get<0>(at::linalg_qr((decoded.slice(0, 1) - decoded[0]).t()));
    CHECK(support::distance(at::matmul(basis, basis.t()), wanted) < 0.02);
    // And no two latents can answer with a smaller error than the two directions of least variance leave.
    const auto error = (autoencoder->decode(autoencoder->encode(x).mean) - x).square().sum(1).mean().item<double>();
    const double least = (value[0] + value[1]).item<double>();
    CHECK(error > least * (1 - 1e-5));
    CHECK(error < 1.05 * least);
}

TEST_CASE("one stage feeds another through a codec, a conditioner and a teacher, and the run knows their hashes") {
    const std::string chain = "process = {steps = 16}\nschedule = \"cosine\"\n";
    const std::string text =
        "name = \"fed\"\nseed = 4\nthreads = 1\n" + four_data +
        "[[stage]]\nname = \"latents\"\nmodel = {use = \"linear_autoencoder\", latent = 2}\nloss = \"reconstruction\"\n"
        "train = {steps = 60, batch = 32, lr = 2e-2, checkpoint_every = 20}\n" +
        "[[stage]]\nname = \"teacher\"\ncodec = {use = \"autoencoder\", of = \"latents\"}\n" + chain +
        "conditioner = [{use = \"class_vector\", width = 4, drop = 0.25}]\n"
        "model = {use = \"mlp\", width = 16, depth = 1, prediction = \"v\"}\n"
        "train = {steps = 40, batch = 32, checkpoint_every = 10}\nsampler = {use = \"ddim\", steps = 8}\n"
        "sample = {n = 30}\nguidance = [{use = \"classifier_free\", scale = 2.0}]\n" +
        "[[stage]]\nname = \"student\"\ncodec = {use = \"autoencoder\", of = \"latents\"}\n" + chain +
        "conditioner = [{use = \"class_vector\", width = 4}]\n"
        "model = {use = \"mlp\", width = 16, depth = 1, prediction = \"v\"}\n"
        "loss = {use = \"progressive\", teacher = \"teacher\", steps = 4}\n"
        "train = {steps = 20, batch = 32}\nsampler = {use = \"ddim\", steps = 4}\nsample = {n = 30}\n";
    const Folder folder;
    write(folder / "rows.csv", four().csv);
    run(folder, "fed", text);
    const auto record = json::parse(read(folder / "fed/run.json"));
    for (const std::string stage : {"teacher", "student"}) {
        const auto drawn = samples_in(folder / "fed" / stage);
        CHECK(drawn.sizes() == at::IntArrayRef{30, 4});  // in the data's space
        CHECK(drawn.isfinite().all().item<bool>());
        const auto kept = bits_of(folder / "fed" / stage / "checkpoints" /
                                  (stage == "teacher" ? "00000040.safetensors" : "00000020.safetensors"));
        CHECK(kept.contains("codec.scale.sd"));
        CHECK(kept.contains("conditioner.class_vector.table.weight"));
        for (const auto& [name, bytes] : kept) CHECK_FALSE(name.starts_with("codec.network"));
    }
    INFO(record.dump(2));
    const auto hash = [&](const std::string& stage, const std::string& file) {
        return dtk::sha256_of_file(folder / "fed" / stage / "checkpoints" / file);
    };
    const auto autoencoder = hash("latents", "00000060.safetensors"), teacher = hash("teacher", "00000040.safetensors");
    CHECK(record["networks"] ==
          json{{"teacher", {{"latents", autoencoder}}}, {"student", {{"latents", autoencoder}, {"teacher", teacher}}}});
    for (const std::string kind : {"codec", "conditioner"})
        CHECK(std::ranges::any_of(record["plugins"], [&](const auto& one) { return one["kind"] == kind; }));

    // Cut short and gone on with: the same bits.
    fs::copy(folder / "fed", folder / "cut", fs::copy_options::recursive);
    fs::remove_all(folder / "cut/student");
    fs::remove(folder / "cut/teacher/checkpoints/00000040.safetensors");
    const auto outcome = dtk_program({"run", "fed.toml", "--resume=cut", "--progress", "none"}, folder.path);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    for (const std::string stage : {"teacher", "student"})
        CHECK((bits_of(folder / "cut" / stage / "samples.safetensors") ==
               bits_of(folder / "fed" / stage / "samples.safetensors")));

    // Samples of a stage by itself are those of the whole run.
    const auto alone = dtk_program({"sample", "fed/teacher", "--out", "alone", "--progress", "none"}, folder.path);
    INFO(alone.err);
    REQUIRE(alone.code == 0);
    CHECK((bits_of(folder / "alone/samples.safetensors") == bits_of(folder / "fed/teacher/samples.safetensors")));
}

TEST_CASE("a conditioner tells each row its class, nothing to rows that are dropped, and learns with the network") {
    const std::string text =
        "seed = 6\nthreads = 1\n" + four_data +
        "[process]\nsteps = 20\n[schedule]\nuse = \"cosine\"\n[[conditioner]]\nuse = \"class_vector\"\n"
        "width = 3\ndrop = 0.4\n[model]\nuse = \"mlp\"\nwidth = 8\ndepth = 1\n"
        "[train]\nsteps = 5\nbatch = 8\n";
    Bench bench(text, {{"rows.csv", four().csv}});
    const auto all = bench.stage->conditioners();
    REQUIRE(all.size() == 1);
    CHECK(all[0].name == "class_vector");
    CHECK(bench.stage->condition_space().vector == 3);
    CHECK(bench.stage->knows_null_condition());
    CHECK_FALSE(bench.stage->model().knows_null_condition());
    const auto table = *[&] {
        for (const auto& named : bench.stage->named_tensors())
            if (named.name == "conditioner.class_vector.table.weight" && named.trained) return named.tensor;
        throw std::runtime_error("no table");
    }();
    const auto before = table.detach().clone();
    REQUIRE(table.sizes() == at::IntArrayRef{3, 3});  // two classes, and none

    // Outside of training nothing is dropped but what is not given.
    dtk::Condition told;
    told.label = at::arange(6, at::kLong).remainder(2);
    const auto whole = dtk::conditioned(all, told, 6);
    CHECK(at::equal(whole.vector, table.index_select(0, told.label)));
    told.given = told.label == 1;
    const auto some = dtk::conditioned(all, told, 6);
    CHECK(at::equal(some.vector, table.index_select(0, at::where(told.given, told.label, 2))));
    CHECK(at::equal(some.given, told.given));

    // In training the share that is said, of those that are given; the same rows whatever else is drawn.
    constexpr std::int64_t n = 40000;
    const dtk::Random random(8, "step");
    dtk::Condition many;
    many.label = at::zeros({n}, at::kLong);
    many.random = &random;
    const auto dropped = [&] { return dtk::conditioned(all, many, n).vector.eq(table[2]).all(1).to(at::kDouble); };
    CHECK(dropped().mean().item<double>() == Approx(0.4).margin(4 * std::sqrt(0.24 / n)));
    CHECK(at::equal(dropped(), dropped()));
    many.given = at::arange(n, at::kLong) < n / 2;
    CHECK(dropped().mean().item<double>() == Approx(0.7).margin(4 * std::sqrt(0.24 / n)));

    // The network is told: what it answers depends on the class, the same at every call of a trajectory.
    dtk::Trainer(*bench.stage, at::kCPU).advance(5);
    CHECK(support::distance(before, table.detach()) > 0);
    bench.stage->train(false);
    at::NoGradGuard no_grad;
    told.given = Tensor();
    const auto denoise = bench.stage->denoiser({}, told);
    const auto x = random.stream("x").normal({1, 4}, at::kFloat).expand({6, 4});
    const auto first = denoise.eps(x, 7.0), second = denoise.eps(x, 7.0);
    CHECK(at::equal(first, second));
    CHECK(at::equal(first[0], first[2]));
    CHECK_FALSE(at::equal(first[0], first[1]));
    // Told otherwise, it answers otherwise: nothing is remembered of another condition.
    auto other = told;
    other.label = 1 - told.label;
    CHECK(at::equal(denoise.with(other).eps(x, 7.0)[0], first[1]));
    CHECK_FALSE(at::equal(denoise.with(told.null(6)).eps(x, 7.0)[0], first[0]));
}

TEST_CASE("codecs and conditioners that fit nothing are refused in words") {
    const auto with = [](const std::string& more) {
        return changed(small_experiment, "[process]", more + "[process]");
    };
    CHECK(says(
        complaints(
            with("[codec]\nuse = \"standardised\"\n") +
            "[observation]\nuse = \"elements\"\ncoordinates = [0]\nvalues = [1.0]\n[[guidance]]\nuse = \"tmpd\"\n"),
        "the chain lives in latents"));
    CHECK(says(complaints(with("[codec]\nuse = \"autoencoder\"\nof = \"nobody\"\n")), "nobody"));
    CHECK(says(complaints(changed(with("[codec]\nuse = \"standardised\"\n"), "use = \"mlp\"\nwidth = 8\ndepth = 1",
                                  "use = \"exact\"")),
               "density"));
    CHECK(says(complaints(with("[[conditioner]]\nuse = \"class_vector\"\n")), "needs data with classes"));
    CHECK(says(complaints(changed(small_experiment, "[model]", "[loss]\nuse = \"reconstruction\"\n[model]")),
               "models that have latents"));
    const Folder folder;
    write(folder / "rows.csv", four().csv);
    const auto told =
        "seed = 1\n" + four_data +
        "[[conditioner]]\nuse = \"class_vector\"\n[model]\nuse = \"rbf\"\n[train]\nsteps = 5\nbatch = 8\n";
    write(folder / "experiment.toml", told);
    const auto outcome = dtk_program({"check", "experiment.toml"}, folder.path);
    CHECK(outcome.code == 2);
    CHECK(says(outcome.err, "does not look at"));
}
