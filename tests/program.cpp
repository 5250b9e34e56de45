// The program from outside: what its commands print, what a run leaves behind, and that a run can be repeated,
// interrupted, killed and gone on with to the same bits.
#include "catch.hpp"

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <sstream>

#include <nlohmann/json.hpp>

#include "compared_runs.hpp"
#include "run_program.hpp"

namespace {

namespace fs = std::filesystem;
using json = nlohmann::json;

const std::string experiment = R"(# a comment that must survive
name = "small"
seed = 5
threads = 1

[dataset]
use = "gaussian_mixture"

[process]
steps = 100

[schedule]
use = "cosine"

[model]
use = "mlp"
width = 16
depth = 2

[train]
steps = 60
keep = 9
batch = 32
log_every = 10
checkpoint_every = 20

[sampler]
use = "ddim"
steps = 10

[sample]
n = 200

[[metric]]
use = "nll"
)";

/// A safetensors file as its format has it: names, and the numbers of float32 tensors.
struct Tensors {
    std::map<std::string, std::vector<float>> values;
    std::map<std::string, std::vector<std::int64_t>> shapes;
    std::map<std::string, std::string> notes;
};

Tensors tensors(const fs::path& file) {
    const auto bytes = read(file);
    std::uint64_t length = 0;
    REQUIRE(bytes.size() > 8);
    std::memcpy(&length, bytes.data(), 8);
    const auto header = json::parse(bytes.substr(8, length));
    Tensors found;
    for (const auto& [name, entry] : header.items()) {
        if (name == "__metadata__") {
            found.notes = entry.get<std::map<std::string, std::string>>();
            continue;
        }
        if (entry["dtype"] != "F32") continue;
        const std::size_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
        auto& values = found.values[name];
        values.resize((end - begin) / 4);
        std::memcpy(values.data(), bytes.data() + 8 + length + begin, end - begin);
        found.shapes[name] = entry["shape"].get<std::vector<std::int64_t>>();
    }
    return found;
}

/// max |a − b| / max(1, |b|)
double distance(const std::vector<float>& a, const std::vector<float>& b) {
    REQUIRE(a.size() == b.size());
    double most = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
        most = std::max<double>(most, std::abs(a[i] - b[i]) / std::max(1.f, std::abs(b[i])));
    return most;
}

/// Runs the experiment in `folder` as `name`, which must work.
fs::path run(const Folder& folder, const std::string& name, std::vector<std::string> more = {},
             const std::string& text = experiment) {
    write(folder / "small.toml", text);
    std::vector<std::string> arguments{"run", "small.toml", "--out", name, "--progress", "none"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto outcome = dtk_program(arguments, folder.path);
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    return folder / name;
}

fs::path last_checkpoint(const fs::path& run) {
    fs::path last;
    for (const auto& entry : fs::directory_iterator(run / "checkpoints"))
        if (entry.path().extension() == ".safetensors") last = std::max(last, entry.path());
    REQUIRE(!last.empty());
    return last;
}

/// Are the results of two runs the same bits? Checkpoints hold the experiment too, so their tensors are compared.
void check_same(const fs::path& a, const fs::path& b) {
    const auto one = tensors(last_checkpoint(a)), other = tensors(last_checkpoint(b));
    CHECK(one.notes.at("step") == other.notes.at("step"));
    CHECK((one.values == other.values));
    CHECK((tensors(a / "samples.safetensors").values == tensors(b / "samples.safetensors").values));
    CHECK(json::parse(read(a / "run.json"))["result"] == json::parse(read(b / "run.json"))["result"]);
}

std::size_t temporaries(const fs::path& run) {
    std::size_t n = 0;
    for (const auto& entry : fs::recursive_directory_iterator(run))
        n += entry.path().filename().string().find(".tmp") != std::string::npos;
    return n;
}

/// One run that all tests of its results look at.
const fs::path& reference_run() {
    static const Folder folder;
    static const auto path = run(folder, "reference");
    return path;
}

}  // namespace

TEST_CASE("help and version come on standard output and end with 0") {
    const Folder folder;
    const std::vector<std::vector<std::string>> commands{{"--help"},
                                                         {"run", "--help"},
                                                         {"check", "--help"},
                                                         {"sample", "--help"},
                                                         {"plugins", "--help"},
                                                         {"plugins", "list", "--help"},
                                                         {"plugins", "describe", "--help"},
                                                         {"plugins", "path", "--help"},
                                                         {"schedule", "--help"},
                                                         {"schedule", "show", "--help"},
                                                         {"data", "--help"},
                                                         {"data", "show", "--help"},
                                                         {"doctor", "--help"}};
    for (const auto& command : commands) {
        const auto outcome = dtk_program(command, folder.path);
        INFO(command[0]);
        CHECK(outcome.code == 0);
        CHECK(outcome.err.empty());
        CHECK(says(outcome.out, "--help"));
    }
    const auto version = dtk_program({"--version"}, folder.path);
    CHECK(version.code == 0);
    CHECK(version.out.rfind("dtk 0.", 0) == 0);
    CHECK(says(dtk_program({"--help"}, folder.path).out, "Exit codes"));
}

TEST_CASE("plugins list, describe and path say the same in words and in JSON") {
    const Folder folder;
    const auto list = json::parse(dtk_program({"plugins", "list", "--json"}, folder.path).out);
    const auto text = dtk_program({"plugins", "list"}, folder.path).out;
    REQUIRE(list.size() > 20);
    std::map<std::string, int> defaults;
    for (const auto& plugin : list) {
        INFO(plugin.dump());
        CHECK_FALSE(plugin.contains("problem"));
        CHECK(says(text, plugin["name"]));
        CHECK(says(text, plugin["summary"]));
        defaults[plugin["kind"]] += plugin["default"].get<bool>();
    }
    for (const auto& [kind, number] : defaults) {
        INFO(kind);
        CHECK(number <= 1);
    }
    const auto details = json::parse(dtk_program({"plugins", "describe", "--json"}, folder.path).out);
    const auto words = dtk_program({"plugins", "describe"}, folder.path).out;
    REQUIRE(details.size() == list.size());
    for (std::size_t i = 0; i < list.size(); ++i) {
        const auto& one = details[i];
        INFO(one.dump());
        CHECK(one["kind"] == list[i]["kind"]);
        CHECK(one["name"] == list[i]["name"]);
        CHECK(one["summary"] == list[i]["summary"]);
        const auto kind = one["kind"].get<std::string>(), name = one["name"].get<std::string>();
        const auto from = words.find(kind + " `" + name + "`: ");
        REQUIRE(from != words.npos);
        const auto own = words.substr(from, words.find("use = \"" + name + "\"", from) - from);
        for (const auto& field : one["fields"]) {
            CHECK(says(own, field["key"]));
            CHECK(says(own, field["doc"]));
            CHECK_FALSE(field["doc"].get<std::string>().empty());
        }
        if (i % 25 > 0) continue;
        const auto alone = dtk_program({"plugins", "describe", kind, name}, folder.path);
        CHECK(alone.code == 0);
        CHECK(says(words, alone.out));
        CHECK(json::parse(dtk_program({"plugins", "describe", kind, name, "--json"}, folder.path).out).at(0) == one);
    }
    CHECK(dtk_program({"plugins", "list", "schedule"}, folder.path).out.find("ddpm") == std::string::npos);
    const auto path =
        dtk_program({"plugins", "path", "--plugin-path", "first"}, folder.path, {{"DTK_PLUGIN_PATH", "/second:/third"}})
            .out;
    CHECK(path.rfind("first", 0) == 0);
    CHECK(path.find("/second") < path.find("/third"));
}

TEST_CASE("schedule show prints the numbers of the reference values in every format and draws them") {
    const Folder folder;
    const auto reference = json::parse(read(DTK_TEST_DATA "/reference_values.json"));
    const auto shown = dtk_program(
        {"schedule", "show", "linear", "cosine", "--format", "json", "--picture", "curves.svg"}, folder.path);
    REQUIRE(shown.code == 0);
    const auto schedules = json::parse(shown.out);
    REQUIRE(schedules.size() == 2);
    CHECK(schedules[0]["schedule"] == "linear");
    CHECK(schedules[0]["beta"][0].get<double>() == Approx(1e-4).epsilon(1e-13));
    CHECK(schedules[0]["beta"][999].get<double>() == Approx(0.02).epsilon(1e-13));
    CHECK(schedules[0]["alpha_bar"][999].get<double>() == Approx(4.0358e-5).epsilon(1e-4));  // Ho et al. 2020
    for (const auto& one : schedules) {
        double alpha_bar = 1;
        for (std::size_t t = 0; t < 1000; ++t) {
            alpha_bar *= 1 - one["beta"][t].get<double>();
            REQUIRE(one["alpha_bar"][t].get<double>() == Approx(alpha_bar).epsilon(1e-9));
            REQUIRE(one["sigma2"][t].get<double>() == Approx(1 - alpha_bar).epsilon(1e-9));
            REQUIRE(one["snr"][t].get<double>() == Approx(alpha_bar / (1 - alpha_bar)).epsilon(1e-9));
        }
    }
    CHECK(says(read(folder / "curves.svg"), "</svg>"));

    std::istringstream csv(
        dtk_program({"schedule", "show", "linear", "--format", "csv", "--picture", "curves.png"}, folder.path).out);
    std::string line;
    std::getline(csv, line);
    CHECK(line == "schedule,t,beta,alpha_bar,sigma2,snr,log_snr,posterior_variance,log_snr_density");
    std::size_t t = 0;
    for (; std::getline(csv, line); ++t) {
        std::string name, number, beta, alpha_bar;
        std::istringstream cells(line);
        std::getline(cells, name, ','), std::getline(cells, number, ','), std::getline(cells, beta, ','),
            std::getline(cells, alpha_bar, ',');
        REQUIRE(std::stod(beta) == schedules[0]["beta"][t].get<double>());
        REQUIRE(std::stod(alpha_bar) == schedules[0]["alpha_bar"][t].get<double>());
    }
    CHECK(t == 1000);
    CHECK(read(folder / "curves.png").substr(1, 3) == "PNG");

    const auto few =
        dtk_program({"schedule", "show", "cosine", "--steps", "8", "--set", "s=0.02", "--rows", "0"}, folder.path);
    CHECK(says(few.out, "cosine, T = 8"));
    CHECK(few.err.empty());
    CHECK(reference.is_object());
}

TEST_CASE("every experiment in the tree is in order") {
    const Folder folder;
    std::size_t found = 0;
    for (const auto& entry : fs::directory_iterator(DTK_EXPERIMENTS)) {
        if (entry.path().extension() != ".toml") continue;
        auto outcome = dtk_program({"check", entry.path().string()}, folder.path);
        // A package of 371 MB that nobody's tests should need; a part of what is in it is at hand.
        if (says(outcome.err, "install Debian's promod3-data")) {
            const bool frames = read(entry.path()).find("atoms = \"backbone\"") != std::string::npos;
            outcome = dtk_program({"check", entry.path().string(), "--set", "dataset.use=chains", "--set",
                                   "dataset.file=" DTK_TEST_DATA "/chains.safetensors", "--set", "dataset.length=64",
                                   "--set", frames ? "dataset.atoms=backbone" : "dataset.atoms=ca"},
                                  folder.path);
        }
        INFO(entry.path() << "\n" << outcome.err);
        CHECK(outcome.code == 0);
        CHECK(says(outcome.out, "is in order"));
        ++found;
    }
    CHECK(found >= 2);
    CHECK(fs::is_empty(folder.path));
}

TEST_CASE("a run leaves what was asked, what ran and what came out") {
    const auto& path = reference_run();
    CHECK(read(path / "experiment.toml") == experiment);
    CHECK(says(read(path / "resolved.toml"), "checkpoint_every = 20"));
    CHECK(says(read(path / "resolved.toml"), "beta_max"));

    const auto record = json::parse(read(path / "run.json"));
    CHECK(record["status"] == "completed");
    CHECK(record["seed"] == 5);
    CHECK_FALSE(record.contains("error"));
    CHECK(record["result"]["samples"] == 200);
    CHECK(record["result"]["metrics"][0]["metric"] == "nll");
    std::set<std::string> used;
    for (const auto& plugin : record["plugins"]) {
        used.insert(plugin["name"]);
        CHECK(plugin["sha256"].get<std::string>().size() == 64);
        CHECK(fs::exists(plugin["path"].get<std::string>()));
    }
    for (const std::string name :
         {"gaussian_mixture", "gaussian", "cosine", "mlp", "simple", "uniform", "ddim", "trailing", "nll"}) {
        INFO(name);
        CHECK(used.count(name) == 1);
    }

    std::istringstream lines(read(path / "metrics.jsonl"));
    std::int64_t before = 0, n = 0;
    for (std::string text; std::getline(lines, text); ++n) {
        const auto line = json::parse(text);
        CHECK(line["step"].get<std::int64_t>() > before);
        before = line["step"];
        CHECK(line["train/loss"].is_number());
        CHECK(line["train/grad_norm"].is_number());
    }
    CHECK(n == 6);
    CHECK(before == 60);

    for (const std::string step : {"00000020", "00000040", "00000060"}) {
        const auto checkpoint = tensors(path / "checkpoints" / (step + ".safetensors"));
        CHECK(std::stoi(checkpoint.notes.at("step")) == std::stoi(step));
        CHECK(checkpoint.notes.at("prediction") == "eps");
        CHECK(says(checkpoint.notes.at("experiment"), "width = 16"));
        CHECK(checkpoint.values.count("model.out.weight") == 1);
        CHECK(checkpoint.values.count("average.ema/model.out.weight") == 1);
    }
    const auto samples = tensors(path / "samples.safetensors");
    CHECK((samples.shapes.at("samples") == std::vector<std::int64_t>{200, 2}));
    CHECK(read(path / "samples.png").substr(1, 3) == "PNG");
    CHECK(says(read(path / "loss.svg"), "</svg>"));
    CHECK(temporaries(path) == 0);
}

TEST_CASE("results go to standard output, what is on the way to standard error") {
    const Folder folder;
    write(folder / "small.toml", experiment);
    const auto outcome = dtk_program({"run", "small.toml", "--progress", "plain"}, folder.path);
    REQUIRE(outcome.code == 0);
    CHECK(says(outcome.out, "nll"));
    CHECK(says(outcome.out, "run      "));
    CHECK_FALSE(says(outcome.out, "it/s"));
    CHECK(says(outcome.err, "train  60/60"));
    CHECK_FALSE(says(outcome.err, "nan"));
    CHECK_FALSE(says(outcome.err, "\x1b"));
    CHECK(fs::exists(folder / "runs" / "small" / "latest" / "run.json"));
}

TEST_CASE("the resolved experiment runs again to the same bits, and so does the file itself") {
    const Folder folder;
    check_same(reference_run(), run(folder, "again", {}, read(reference_run() / "resolved.toml")));
    CHECK(read(folder / "again" / "resolved.toml") == read(reference_run() / "resolved.toml"));
}

TEST_CASE("another seed gives other numbers, the same seed the same, and --seed and --set lie over the file") {
    const Folder folder;
    const auto other = run(folder, "other", {"--seed", "6"}),
               set = run(folder, "set", {"--set", "seed=5", "--set", "model.width=16"},
                         changed(experiment, "seed = 5", "seed = 9"));
    CHECK(distance(tensors(reference_run() / "samples.safetensors").values["samples"],
                   tensors(other / "samples.safetensors").values["samples"]) > 0.1);
    check_same(reference_run(), set);
    CHECK(says(read(other / "resolved.toml"), "seed = 6"));
}

TEST_CASE("a dry run prints the experiment with every field, which runs, and writes nothing") {
    const Folder folder;
    write(folder / "small.toml", experiment);
    const auto outcome = dtk_program({"run", "small.toml", "--dry-run"}, folder.path);
    CHECK(outcome.code == 0);
    CHECK(outcome.out == read(reference_run() / "resolved.toml"));
    CHECK_FALSE(fs::exists(folder / "runs"));
    write(folder / "resolved.toml", outcome.out);
    CHECK(dtk_program({"check", "resolved.toml"}, folder.path).code == 0);
}

TEST_CASE("a run never overwrites") {
    const Folder folder;
    fs::create_directory(folder / "out");
    write(folder / "out" / "precious.txt", "data");
    write(folder / "small.toml", experiment);
    const auto outcome = dtk_program({"run", "small.toml", "--out", "out"}, folder.path);
    CHECK(outcome.code == 2);
    CHECK(says(outcome.err, "out is there already and is not empty"));
    CHECK(read(folder / "out" / "precious.txt") == "data");
    CHECK(std::distance(fs::directory_iterator(folder / "out"), {}) == 1);
}

TEST_CASE("a run that has trained can be sampled without being told what it is") {
    const Folder folder;
    const auto outcome = dtk_program(
        {"sample", reference_run().string(), "--n", "100", "--set", "sampler.steps=5", "--out", "drawn"}, folder.path);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(
        (tensors(folder / "drawn" / "samples.safetensors").shapes.at("samples") == std::vector<std::int64_t>{100, 2}));
    REQUIRE(dtk_program({"sample", reference_run().string(), "--out", "same"}, folder.path).code == 0);
    CHECK((tensors(folder / "same" / "samples.safetensors").values ==
           tensors(reference_run() / "samples.safetensors").values));
    CHECK(dtk_program({"sample", reference_run().string(), "--set", "model.width=8", "--out", "wrong"}, folder.path)
              .code == 2);
}

TEST_CASE("samples do not depend on how many are drawn at a time") {
    const Folder folder;
    const auto whole = tensors(reference_run() / "samples.safetensors").values["samples"];
    for (const std::string batch : {"1", "7", "64"}) {
        const auto outcome = dtk_program(
            {"sample", reference_run().string(), "--set", "sample.batch=" + batch, "--out", batch}, folder.path);
        INFO(batch << outcome.err);
        REQUIRE(outcome.code == 0);
        CHECK(distance(tensors(folder / batch / "samples.safetensors").values["samples"], whole) < 1e-4);
    }
}

TEST_CASE("samples keep their bits whatever the batch when the network always sees as many rows") {
    const Folder folder;
    std::vector<float> first;
    for (const std::string batch : {"200", "1", "7", "64"}) {
        const auto outcome = dtk_program({"sample", reference_run().string(), "--set", "sample.batch=" + batch, "--set",
                                          "sample.network_batch=16", "--out", batch},
                                         folder.path);
        INFO(batch << outcome.err);
        REQUIRE(outcome.code == 0);
        const auto samples = tensors(folder / batch / "samples.safetensors").values["samples"];
        REQUIRE(samples.size() == 400);
        if (first.empty()) first = samples;
        CHECK((samples == first));
    }
}

TEST_CASE("what is known can be said when a run is sampled, and samples keep their bits whatever the batch") {
    const Folder folder;
    const std::vector<std::string> known{
        "--set", "observation={use = \"elements\", coordinates = [0], draws = 5, sd = 0.2}",
        "--set", "sample.network_batch=16",
        "--n",   "50"};
    for (const std::string with :
         {"guidance=[{use = \"tmpd\"}]", "sampler={use = \"twisted\", particles = 3, steps = 8}"}) {
        std::vector<float> first;
        for (const std::string batch : {"50", "7"}) {
            std::vector<std::string> words{"sample", reference_run().string(), "--set", with,
                                           "--set",  "sample.batch=" + batch,  "--out", with.substr(0, 5) + batch};
            words.insert(words.end(), known.begin(), known.end());
            const auto outcome = dtk_program(words, folder.path);
            INFO(outcome.err);
            REQUIRE(outcome.code == 0);
            const auto samples = tensors(folder / words[7] / "samples.safetensors").values["samples"];
            REQUIRE(samples.size() == 100);
            if (first.empty()) first = samples;
            CHECK((samples == first));
        }
        if (with.starts_with("sampler")) continue;  // steps from a network that has hardly learned go far astray
        // The first element of each group of five lies around the y that its example was measured as.
        double within = 0, between = 0;
        for (std::size_t g = 0; g < 10; ++g) {
            double mean = 0, square = 0;
            for (std::size_t k = 0; k < 5; ++k)
                mean += first[10 * g + 2 * k] / 5, square += std::pow(first[10 * g + 2 * k], 2) / 5;
            within += (square - mean * mean) / 10, between += mean * mean / 10;
        }
        INFO(with << ": " << within << " within groups, " << between << " between");
        CHECK(within < between / 4);
    }
}

TEST_CASE("products in bfloat16 train and sample, near to those in float32") {
    const Folder folder;
    const auto path = run(folder, "bf16", {"--set", "train.precision=\"bf16\"", "--set", "sample.precision=\"bf16\""});
    const auto narrow = tensors(last_checkpoint(path)), wide = tensors(last_checkpoint(reference_run()));
    double most = 0;
    for (const auto& [name, values] : wide.values)
        if (name.rfind("model.", 0) == 0) most = std::max(most, distance(narrow.values.at(name), values));
    CHECK(most > 0);
    CHECK(most < 0.05);
}

TEST_CASE("a batch computed in parts trains as the whole one does") {
    const Folder folder;
    const auto parts = tensors(last_checkpoint(run(folder, "parts", {"--set", "train.accumulate=4"})));
    const auto whole = tensors(last_checkpoint(reference_run()));
    for (const auto& [name, values] : whole.values)
        if (name.rfind("model.", 0) == 0) {
            INFO(name);
            CHECK(distance(parts.values.at(name), values) < 2e-4);
        }
}

TEST_CASE("a run that is interrupted saves itself, ends with 130, and goes on to the same bits") {
    const Folder folder;
    const auto text = changed(experiment, "steps = 60", "steps = 2000");
    const auto whole = run(folder, "whole", {}, text);
    auto running = start_dtk({"run", "small.toml", "--out", "cut", "--progress", "none"}, folder.path);
    while (!fs::exists(folder / "cut" / "checkpoints" / "00000040.safetensors") && !running.ended())
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    running.send(SIGINT);
    const auto outcome = running.wait();
    INFO(outcome.err);
    REQUIRE(outcome.code == 130);
    CHECK(says(outcome.err, "stopped after step"));
    CHECK(says(outcome.err, "--resume="));
    CHECK(json::parse(read(folder / "cut" / "run.json"))["status"] == "interrupted");
    const auto on = dtk_program({"run", "small.toml", "--resume=cut", "--progress", "none"}, folder.path);
    INFO(on.err);
    REQUIRE(on.code == 0);
    CHECK(json::parse(read(folder / "cut" / "run.json"))["status"] == "completed");
    check_same(whole, folder / "cut");

    std::istringstream lines(read(folder / "cut" / "metrics.jsonl"));
    std::int64_t before = 0;
    for (std::string line; std::getline(lines, line); before = json::parse(line)["step"])
        CHECK(json::parse(line)["step"].get<std::int64_t>() > before);
}

namespace {
/// Kills the run of small.toml `times` times, each time after a random part of what a whole run takes, and lets it go
/// on.
void kill_again_and_again(const Folder& folder, const std::string& name, int times, std::chrono::microseconds whole_run,
                          std::mt19937& random) {
    for (int kills = 0; kills < times; ++kills) {
        const bool begun = fs::exists(folder / name / "run.json");
        std::vector<std::string> command{"run", "small.toml", "--progress", "none"};
        if (begun)
            command.push_back("--resume=" + name);
        else
            command.insert(command.end(), {"--out", name});
        auto running = start_dtk(command, folder.path);
        std::this_thread::sleep_for(whole_run * (random() % 1000) / 1000);
        running.send(SIGKILL);
        const auto end = running.wait();
        INFO(end.err);
        REQUIRE((end.signal == SIGKILL || end.code == 0));
    }
}

void check_kills(int runs, int kills, const std::string& text) {
    const Folder folder;
    const auto whole = folder / "whole";
    write(folder / "small.toml", text);
    const auto began = std::chrono::steady_clock::now();
    const auto first = start_dtk({"run", "small.toml", "--out", "whole", "--progress", "none"}, folder.path).wait();
    INFO(first.err);
    REQUIRE(first.code == 0);
    const auto took = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - began);
    std::mt19937 random(1);
    for (int i = 0; i < runs; ++i) {
        const auto name = "killed" + std::to_string(i);
        kill_again_and_again(folder, name, kills, took, random);
        const bool begun = fs::exists(folder / name / "run.json");
        const auto on = dtk_program(
            {"run", "small.toml", begun ? "--resume=" + name : "--out=" + name, "--progress", "none"}, folder.path);
        INFO(name << "\n" << on.err);
        REQUIRE(on.code == 0);
        check_same(whole, folder / name);
        CHECK(temporaries(folder / name) == 0);
        CHECK(log_of(folder / name) == log_of(whole));
    }
}

std::string long_experiment() {
    return changed(experiment, "steps = 60", "steps = 600") + "[validate]\nevery = 25\nn = 40\nbatch = 16\n";
}
}  // namespace

TEST_CASE("--resume without a name goes on with the latest run of the experiment") {
    const Folder folder;
    write(folder / "small.toml", changed(experiment, "steps = 60", "steps = 2000"));
    auto running = start_dtk({"run", "small.toml", "--progress", "none"}, folder.path);
    const auto latest = folder / "runs" / "small" / "latest";
    while (!fs::exists(latest / "checkpoints" / "00000020.safetensors") && !running.ended())
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    running.send(SIGINT);
    REQUIRE(running.wait().code == 130);
    const auto on = dtk_program({"run", "small.toml", "--resume", "--progress", "none"}, folder.path);
    INFO(on.err);
    REQUIRE(on.code == 0);
    CHECK(json::parse(read(latest / "run.json"))["status"] == "completed");
    CHECK(std::distance(fs::directory_iterator(folder / "runs" / "small"), {}) == 2);  // the run and the link
}

TEST_CASE("a run that is killed at any moment goes on to the same bits") { check_kills(1, 3, long_experiment()); }

TEST_CASE("runs that are killed twenty times go on to the same bits", "[slow]") {
    check_kills(10, 2, long_experiment());
    check_kills(4, 5, changed(long_experiment(), "batch = 32", "batch = 32\naccumulate = 2\nsample_every = 50"));
}

TEST_CASE("a checkpoint that the disk has no room for stops the run, and the last good one is gone on from") {
    const Folder folder;
    const auto path = run(folder, "run", {}, changed(experiment, "width = 16", "width = 128"));
    fs::remove(path / "checkpoints" / "00000060.safetensors");
    // As one that was stopped there: the record of a completed run stays.
    write(path / "run.json",
          changed(read(path / "run.json"), "\"status\": \"completed\"", "\"status\": \"interrupted\""));
    const auto bytes = read(path / "checkpoints" / "00000040.safetensors");
    const auto full =
        Running({"bash", "-c", "ulimit -f 100; exec " DTK_PROGRAM " run small.toml --resume=run --progress none"},
                folder.path, own_environment())
            .wait();
    INFO(full.err);
    CHECK(full.code == 1);
    CHECK(says(full.err, "00000060.safetensors"));
    CHECK(says(full.err, "go on with: dtk run small.toml --resume="));
    CHECK(read(path / "checkpoints" / "00000040.safetensors") == bytes);
    CHECK(temporaries(path) == 0);
    CHECK(json::parse(read(path / "run.json"))["status"] == "failed");
    const auto whole = run(folder, "whole", {}, changed(experiment, "width = 16", "width = 128"));
    REQUIRE(dtk_program({"run", "small.toml", "--resume=run", "--progress", "none"}, folder.path).code == 0);
    check_same(whole, path);
}

TEST_CASE("going on passes over a damaged checkpoint, says so, and takes the one before") {
    const Folder folder;
    for (const bool cut : {true, false}) {
        const auto name = cut ? "cut" : "emptied";
        const auto path = run(folder, name);
        const auto last = last_checkpoint(path), before = path / "checkpoints" / "00000040.safetensors";
        REQUIRE(last.filename() == "00000060.safetensors");
        const auto bytes = read(last);
        write(last, cut ? bytes.substr(0, bytes.size() / 2) : "");
        const auto on =
            dtk_program({"run", "small.toml", std::string("--resume=") + name, "--progress", "none"}, folder.path);
        INFO(on.err);
        CHECK(on.code == 0);
        CHECK(says(on.err, "passed over"));
        CHECK(says(on.err, "00000060.safetensors"));
        CHECK(says(on.err, "going on after step 40 of 60"));
        check_same(reference_run(), path);
    }
}

TEST_CASE("going on with another experiment is refused with what differs") {
    const Folder folder;
    const auto path = run(folder, "run");
    write(folder / "small.toml", changed(experiment, "width = 16", "width = 17"));
    const auto before = read(path / "run.json");
    const auto outcome = dtk_program({"run", "small.toml", "--resume=run"}, folder.path);
    INFO(outcome.err);
    CHECK(outcome.code == 2);
    CHECK(says(outcome.err, "then: model.width = 16"));
    CHECK(says(outcome.err, "now:  model.width = 17"));
    CHECK(read(path / "run.json") == before);
    CHECK(dtk_program({"run", "small.toml", "--resume=nowhere"}, folder.path).code == 2);
    CHECK(dtk_program({"run", "small.toml", "--resume"}, folder.path).code == 2);
    CHECK_FALSE(fs::exists(folder / "runs"));
}

TEST_CASE("a loss that is not finite stops the run with 1, names the step and keeps the last good checkpoint") {
    const Folder folder;
    write(folder / "small.toml", changed(experiment, "batch = 32", "batch = 32\nclip = 0\nlr = 1e30"));
    const auto outcome = dtk_program({"run", "small.toml", "--out", "out", "--progress", "none"}, folder.path);
    INFO(outcome.out << outcome.err);
    CHECK(outcome.code == 1);
    CHECK(says(outcome.err, "is not finite at step "));
    CHECK(says(outcome.err, "lower `lr`"));
    const auto record = json::parse(read(folder / "out" / "run.json"));
    CHECK(record["status"] == "failed");
    CHECK(says(record["error"], "is not finite at step "));
    if (fs::exists(folder / "out" / "checkpoints"))
        for (const auto& entry : fs::directory_iterator(folder / "out" / "checkpoints"))
            for (const auto& [name, values] : tensors(entry.path()).values)
                for (const float value : values) REQUIRE(std::isfinite(value));
}
