// Two traps that others fell into in training: labels that are dropped twice, and an average that is asked as if it
// were still being trained.
#include <cmath>

#include <dtk/safetensors.hpp>

#include "bench.hpp"
#include "catch.hpp"
#include "engine/checkpoint.hpp"
#include "engine/trainer.hpp"

using at::Tensor;
using support::distance;

namespace {
std::filesystem::path newest_checkpoint(const std::filesystem::path& run) {
    std::filesystem::path newest;
    for (const auto& entry : std::filesystem::directory_iterator(run / "checkpoints"))
        newest = std::max(newest, entry.path());
    return newest;
}
}  // namespace

TEST_CASE("labels are dropped once: the network is told all those that training left") {
    // REPA's --legacy: the data loader dropped a tenth of the labels, and the network another tenth of the rest.
    constexpr double dropped = 0.3;
    constexpr std::int64_t rows = 4096;
    Bench bench(
        fmt::format("seed = 3\nthreads = 1\ndataset = {{use = \"gaussian_mixture\", preset = \"ring8\", labels = "
                    "true}}\nprocess = {{steps = 100}}\nschedule = \"cosine\"\nmodel = {{use = \"mlp\", width = 16, "
                    "conditional = true}}\ntrain = {{steps = 3, batch = {}, drop_condition = {}}}\n",
                    rows, dropped));
    {
        at::NoGradGuard no_grad;
        for (const auto& named : bench.stage->named_tensors())
            if (named.trained)
                named.tensor->add_(0.2 * dtk::Random(1, named.name).normal(named.tensor->sizes(), at::kFloat));
    }
    dtk::Trainer trainer(*bench.stage, at::kCPU);
    for (std::int64_t step = 0; step < 3; ++step) {
        int looked = 0;
        trainer.look({.begins = {},
                      .computed = [&](const dtk::Batch& batch, const dtk::Time& t, const Tensor& error, const Tensor&) {
                          ++looked;
                          at::NoGradGuard no_grad;
                          const auto told = batch.condition;
                          REQUIRE(told.given.defined());
                          const double share = 1 - told.given.to(at::kDouble).mean().item<double>();
                          CHECK(std::abs(share - dropped) < 4 * std::sqrt(dropped * (1 - dropped) / rows));

                          // What the network answers where everybody is told, and where nobody is.
                          const auto model = bench.stage->part<dtk::Model>();
                          const auto noise = bench.stage->random("train").step(step).stream("noise");
                          const auto xt = bench.stage->process().noised(batch.x, t, noise);
                          const auto error_of = [&](const dtk::Condition& condition) {
                              return (model->forward(xt.x, t, condition).value - xt.noise).square().mean(1);
                          };
                          const auto all = error_of({.label = told.label}), none = error_of(told.null(rows));
                          CHECK(distance(all, none) > 1e-2);
                          CHECK(distance(error, at::where(told.given, all, none)) < 1e-5);
                      }});
        CHECK(looked == 1);
        trainer.advance(step + 1);
    }
}

TEST_CASE("an average is validated and sampled as it will be used, without dropout, and training goes on as it was") {
    // ect #21: the averaged network was evaluated in training mode.
    const Folder folder;
    const std::string plain =
        "name = \"a\"\nseed = 3\nthreads = 1\ndataset = {use = \"dead_leaves\", size = 4, r_min = 1, r_max = "
        "2}\nprocess = "
        "{steps = 20}\nschedule = \"cosine\"\nmodel = {use = \"unet\", channels = 8, multipliers = [1], blocks = 1, "
        "dropout "
        "= 0.5}\naverage = [{use = \"ema\", decay = 0.9}]\nsampler = {use = \"ddim\", steps = 4}\nsample = {n = 6, "
        "batch = "
        "6}\n";
    const std::string looks = "validate = {every = 4, n = 64, levels = 4, batch = 64}\n";
    const auto train = [](const std::string& more) {
        return "train = {steps = 12, batch = 8, lr = 1e-2" + more + "}\n";
    };
    const std::map<std::string, std::string> files{
        {"looked", plain + looks + train(", sample_every = 3")},
        {"unseen", plain + train("")},
        {"without", changed(plain, "dropout = 0.5", "dropout = 0.0") + train("")}};
    std::map<std::string, std::map<std::string, Tensor>> trained, drawn;
    for (const auto& [name, text] : files) {
        write(folder / (name + ".toml"), text);
        const auto outcome = dtk_program({"run", name + ".toml", "--out", name, "--progress", "none"}, folder.path);
        INFO(outcome.err);
        REQUIRE(outcome.code == 0);
        trained[name] = dtk::load_checkpoint(newest_checkpoint(folder / name)).tensors;
        drawn[name] = dtk::load_safetensors(folder / name / "samples.safetensors").tensors;
    }
    const auto apart = [&](const std::string& a, const std::string& b) {
        double most = 0;
        for (const auto& [name, tensor] : trained.at(a))
            if (tensor.is_floating_point()) most = std::max(most, distance(tensor, trained.at(b).at(name)));
        return most;
    };
    CHECK(apart("looked", "unseen") == 0);
    CHECK(apart("unseen", "without") > 1e-4);

    // Held out and sampled, it answers what the network that is read from the checkpoint answers.
    Bench bench(files.at("looked"));
    const auto path = newest_checkpoint(folder / "looked");
    const auto checkpoint = dtk::load_checkpoint(path);
    dtk::restore(*bench.stage, checkpoint, dtk::average_of(*bench.stage, checkpoint, ""), path.string());
    bench.stage->train(false);
    const double error = bench.held_out().error;
    nlohmann::json last;
    std::istringstream lines(read(folder / "looked" / "metrics.jsonl"));
    for (std::string line; std::getline(lines, line);)
        if (const auto one = nlohmann::json::parse(line); one.contains("validate/average_error")) last = one;
    REQUIRE(last["step"] == 12);
    CHECK(last["validate/average_error"].get<double>() == Approx(error).epsilon(1e-12));

    const auto again = dtk_program({"sample", "looked", "--out", "again", "--progress", "none"}, folder.path);
    INFO(again.err);
    REQUIRE(again.code == 0);
    const auto sampled = dtk::load_safetensors(folder / "again" / "samples.safetensors").tensors;
    CHECK(distance(drawn["looked"].at("samples"), sampled.at("samples")) == 0);
    CHECK(distance(drawn["looked"].at("samples"), drawn["without"].at("samples")) > 1e-4);
}
