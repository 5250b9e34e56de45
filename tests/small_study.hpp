#pragma once
// A study of a few seconds that tests run whole, change, break and stop, and what they ask of its folder.
#include <map>
#include <sstream>

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "run_program.hpp"
#include "study/study.hpp"

namespace fs = std::filesystem;
using json = nlohmann::json;

inline const std::string study = R"(name = "small"

[ablation]
question = "Which of <these> is best?"
baseline = "linear"
seeds = [3, 4]

[[ablation.axis]]
key = "schedule.use"
values = ["linear", "cosine"]

[dataset]
use = "gaussian_mixture"

[process]
steps = 100

[schedule]
use = "cosine"

[model]
use = "mlp"
width = 8
depth = 1

[train]
steps = 40
batch = 16
log_every = 10
checkpoint_every = 10

[sampler]
use = "ddim"
steps = 5

[sample]
n = 200

[[metric]]
use = "nll"

[[metric]]
use = "sliced_wasserstein"
)";

inline const std::vector<std::string> command{"run",        "study.toml", "--out",  "study",
                                              "--progress", "none",       "--jobs", "2"};

inline Outcome run(const Folder& folder, const std::string& text = study, std::vector<std::string> more = {}) {
    write(folder / "study.toml", text);
    auto arguments = command;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return dtk_program(arguments, folder.path);
}

/// A change that makes a study a mistaken one, and what is said of it.
struct Wrong {
    const char *from, *to, *message;
};

/// The study with that change is mistaken, and that is said with its place. What a program would say, without one for
/// every mistake.
inline void refused(const Folder& folder, const std::string& text, const Wrong& wrong) {
    write(folder / "study.toml", changed(text, wrong.from, wrong.to));
    dtk::Overrides overrides;
    overrides.plugin_path = {DTK_PLUGINS};
    dtk::Diagnostics mistakes;
    const auto nothing = [](const auto&, const auto&, dtk::Diagnostics&) { return std::string(); };
    dtk::read_study(folder / "study.toml", overrides, 1, nothing, mistakes);
    INFO(wrong.to << "\n" << mistakes.text());
    CHECK(says(mistakes.text(), wrong.message));
    CHECK(says(mistakes.text(), "-->"));
}

/// What stands in the study's folder of finished work, and when it was written.
inline std::map<std::string, fs::file_time_type> finished(const fs::path& folder) {
    std::map<std::string, fs::file_time_type> found;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(folder / "tasks", none)) {
        if (fs::exists(entry.path() / "result.json"))
            found[entry.path().filename()] = fs::last_write_time(entry.path() / "result.json");
        std::ifstream in(entry.path() / "run.json");
        const auto record = in ? json::parse(in, nullptr, false) : json();
        if (record.is_object() && record.value("status", "") == "completed")
            found[entry.path().filename()] = fs::last_write_time(entry.path() / "run.json");
    }
    return found;
}

inline json results(const Folder& folder) { return json::parse(read(folder / "study" / "results.json")); }

/// The study, finished without disturbance, once for all tests of a program.
struct Done {
    Folder folder;
    Outcome outcome;
    json results;
};
inline const Done& done() {
    static Done one;
    if (one.results.is_null()) {
        one.outcome = run(one.folder);
        INFO(one.outcome.out << one.outcome.err);
        REQUIRE(one.outcome.code == 0);
        one.results = results(one.folder);
    }
    return one;
}

/// A copy of it to go on with.
inline void copy_done(const Folder& to) { fs::copy(done().folder.path, to.path, fs::copy_options::recursive); }

/// A study with exact denoisers: nothing is trained.
inline std::string exact_study(const std::string& ablation, const std::string& experiment) {
    return "name = \"exact\"\nthreads = 1\n[ablation]\n" + ablation +
           "\n[model]\nuse = \"exact\"\n[dataset]\nuse = \"gaussian_mixture\"\npreset = \"gmm1d\"\n" + experiment;
}

/// The losses that a run logged.
inline std::vector<double> losses(const fs::path& run) {
    std::vector<double> all;
    std::istringstream lines(read(run / "metrics.jsonl"));
    for (std::string line; std::getline(lines, line);)
        if (const auto one = json::parse(line); one.contains("train/loss")) all.push_back(one["train/loss"]);
    return all;
}

/// The experiment that a study's text is about, without [ablation].
inline std::string without_ablation(const std::string& text) {
    return changed(text, text.substr(text.find("[ablation]"), text.find("[dataset]") - text.find("[ablation]")), "");
}
