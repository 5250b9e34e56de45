// Plugins of a kind that no built-in one is, through the program itself: what they may own, be fed, hold and stand on.
#include <stdlib.h>
#include <sys/wait.h>

#include <dtk/safetensors.hpp>

#include "catch.hpp"
#include "folder.hpp"
#include "support.hpp"

namespace fs = std::filesystem;

namespace {

struct Outcome {
    int code;
    std::string said;
};

/// A folder with an experiment and the program run in it.
struct Bench {
    Folder folder;
    explicit Bench(const std::string& experiment) {
        dtk::write_atomically(folder / "experiment.toml",
                              fmt::format("plugins = {{path = [\"{}\"]}}\nseed = 3\n{}", DTK_SEAMS, experiment));
    }
    Outcome dtk(const std::string& arguments) const {
        const auto log = folder / "said";
        const auto command =
            fmt::format("cd '{}' && '{}' {} > said 2>&1", folder.path.string(), DTK_PROGRAM, arguments);
        const int status = std::system(command.c_str());
        return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, dtk::read_file(log)};
    }
    void run(const std::string& out = "run") const {
        const auto outcome = dtk("run experiment.toml --progress none --out " + out);
        INFO(outcome.said);
        REQUIRE(outcome.code == 0);
    }
    dtk::Safetensors checkpoint(const std::string& run) const {
        fs::path newest;
        for (const auto& entry : fs::directory_iterator(folder / run / "checkpoints"))
            if (entry.path().extension() == ".safetensors") newest = std::max(newest, entry.path());
        return dtk::load_safetensors(newest);
    }
    at::Tensor samples(const std::string& run) const {
        return dtk::load_safetensors(folder / run / "samples.safetensors").tensors.at("samples");
    }
};

const std::string data = R"(
[dataset]
use = "gaussian_mixture"
[process]
steps = 50
[schedule]
use = "cosine"
)";

/// The tensors of a checkpoint that are called so, whatever part of it they stand in.
std::vector<std::string> called(const dtk::Safetensors& checkpoint, const std::string& name) {
    std::vector<std::string> names;
    for (const auto& [key, tensor] : checkpoint.tensors)
        if (key.find(name) != std::string::npos) names.push_back(key);
    return names;
}

}  // namespace

TEST_CASE("a loss may own parameters, which are trained and saved") {
    const Bench bench(data + R"(
[model]
use = "mlp"
width = 8
depth = 1
[loss]
use = "learned_weight"
[train]
steps = 60
batch = 64
lr = 1e-2
log_every = 30
)");
    bench.run();
    const auto checkpoint = bench.checkpoint("run");
    REQUIRE(!called(checkpoint, "loss.log_variance").empty());
    const double w = checkpoint.tensors.at("loss.log_variance").item<double>();
    CHECK(std::abs(w) > 1e-3);
    CHECK(std::abs(w) < 1);
    CHECK(dtk::read_file(bench.folder / "run" / "metrics.jsonl").find("train/error") != std::string::npos);
}

TEST_CASE("a model that asks for its own estimate is fed it: in sampling always, in training every second time") {
    const Bench bench(data + R"(
[model]
use = "counting"
[train]
steps = 50
batch = 64
[[average]]
use = "none"
[sample]
n = 24
batch = 8
[sampler]
use = "ddim"
steps = 9
)");
    bench.run();
    // Each portion starts anew: none has counted further than its nine steps.
    CHECK(at::equal(bench.samples("run"), at::full({24, 2}, 9.0f)));
    const auto checkpoint = bench.checkpoint("run");
    const double rows = checkpoint.tensors.at("model.rows").item<double>(),
                 shown = checkpoint.tensors.at("model.shown").item<double>();
    CHECK(rows == 50 * 64);
    CHECK(std::abs(shown / rows - 0.5) < 4 * std::sqrt(0.25 / rows));
}

TEST_CASE(
    "a plugin may hold a plugin of any kind, its own included, and its fields are read and checked with the file") {
    const auto experiment = [](const std::string& sampler) {
        return data + "[model]\nuse = \"exact\"\n[sample]\nn = 10\nprecision = \"float64\"\n[sampler]\n" + sampler;
    };
    const std::string inner = "inner = {use = \"ddpm\", steps = 6, variance = \"large\"}\n";
    const Bench plain(experiment("use = \"ddpm\"\nsteps = 6\nvariance = \"large\"\n")),
        one(experiment("use = \"mean_of\"\nsteps = 6\n" + inner)),
        many(experiment("use = \"mean_of\"\nsteps = 6\ndraws = 20\n" + inner));
    plain.run(), one.run(), many.run();
    CHECK(at::equal(plain.samples("run"), one.samples("run")));
    CHECK(many.samples("run").std().item<double>() < one.samples("run").std().item<double>());
    CHECK(dtk::read_file(one.folder / "run" / "resolved.toml").find("large") != std::string::npos);

    // A table of its own kind that stands beside it is its own, not the inner one's.
    const auto bare = Bench(experiment("use = \"mean_of\"\nsteps = 6\n")).dtk("check experiment.toml");
    INFO(bare.said);
    CHECK(bare.code == 0);

    const auto wrong =
        Bench(experiment("use = \"mean_of\"\ninner = {use = \"ddim\", eta = 2}\n")).dtk("check experiment.toml");
    INFO(wrong.said);
    CHECK(wrong.code == 2);
    CHECK(wrong.said.find("eta") != std::string::npos);
    CHECK(wrong.said.find("experiment.toml:") != std::string::npos);
}

TEST_CASE("a stage may stand on the network of an earlier one") {
    const std::string stages = data + R"(
[[stage]]
name = "teacher"
model = {use = "mlp", width = 16, depth = 1}
train = {steps = 80, batch = 64, lr = 1e-2, log_every = 40}

[[stage]]
name = "student"
model = {use = "student", teacher = "teacher"}
train = {steps = 40, batch = 64, log_every = 20}
sample = {n = 16}
)";
    const Bench bench(stages);
    const auto checked = bench.dtk("check experiment.toml");
    INFO(checked.said);
    CHECK(checked.code == 0);
    CHECK(!fs::exists(bench.folder / "runs"));

    bench.run();
    CHECK(called(bench.checkpoint("run/student"), "hidden").empty());
    CHECK(!called(bench.checkpoint("run/teacher"), "model.hidden0").empty());
    CHECK(bench.checkpoint("run/student").tensors.at("model.own.weight").any().item<bool>());
    CHECK(at::isfinite(bench.samples("run/student")).all().item<bool>());
    const auto record = nlohmann::json::parse(dtk::read_file(bench.folder / "run" / "run.json"));
    CHECK(record["status"] == "completed");

    auto unknown = stages;
    unknown.replace(unknown.find("teacher = \"teacher\""), 19, "teacher = \"nobody\"");
    const auto refused = Bench(unknown).dtk("check experiment.toml");
    INFO(refused.said);
    CHECK(refused.code == 2);
    CHECK(refused.said.find("nobody") != std::string::npos);
}

TEST_CASE("a run finds the plugins of its experiment again when it is sampled later") {
    const Bench bench(data +
                      "[model]\nuse = \"counting\"\n[train]\nsteps = 2\nbatch = 8\n[sample]\nn = 4\n[sampler]\nuse = "
                      "\"ddim\"\nsteps = 3\n");
    bench.run();
    const auto outcome = bench.dtk("sample run --out again --progress none");
    INFO(outcome.said);
    REQUIRE(outcome.code == 0);
    CHECK(at::equal(bench.samples("again"), at::full({4, 2}, 3.0f)));
}

TEST_CASE("a process derives from the Gaussian one and differs in one thing") {
    const auto experiment = [](const std::string& process) {
        return fmt::format(R"(
[dataset]
use = "gaussian_mixture"
[process]
{}
steps = 50
[schedule]
use = "cosine"
[model]
use = "exact"
[sample]
n = 500
[sampler]
use = "ddpm"
)",
                           process);
    };
    const Bench plain(experiment("")), same(experiment("use = \"tempered\"")),
        cold(experiment("use = \"tempered\"\ntemperature = 0.5"));
    for (const auto* bench : {&plain, &same, &cold}) bench->run();
    CHECK(at::equal(plain.samples("run"), same.samples("run")));
    // With less noise they gather where the density is greatest.
    const auto spread = [](const at::Tensor& x) {
        return std::get<0>(at::cdist(x, x).fill_diagonal_(1e9).min(1)).mean().item<double>();
    };
    CHECK(spread(cold.samples("run")) < 0.8 * spread(plain.samples("run")));
    const auto laws = plain.dtk(fmt::format("plugins check tempered --plugin-path '{}'", DTK_SEAMS));
    INFO(laws.said);
    CHECK(laws.code == 0);
}
