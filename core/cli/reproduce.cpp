// dtk reproduce: does the same experiment give the same bits again?
#include <algorithm>
#include <cmath>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "base/engine.hpp"
#include "base/files.hpp"
#include "base/launch.hpp"
#include "base/tensor_file.hpp"
#include "base/threads.hpp"
#include "base/toml.hpp"
#include "cli/commands.hpp"
#include "cli/runs.hpp"

namespace dtk::cli {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {

/// What was held against each other, and what came of it.
struct Reproduced {
    std::string what;
    std::string difference;  ///< empty where the bits agree
};

fs::path last_checkpoint(const fs::path& folder) {
    fs::path last;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder / "checkpoints", error))
        if (entry.path().extension() == ".safetensors") last = std::max(last, entry.path());
    return last;
}

Reproduced compared(std::string what, const fs::path& before, const fs::path& after) {
    if (!fs::exists(before) || !fs::exists(after))
        return {std::move(what), fmt::format("{} is not there", typed(fs::exists(before) ? after : before))};
    const auto a = read_tensors(before), b = read_tensors(after);
    std::string first;
    std::size_t differ = 0;
    double largest = 0;
    const auto differs = [&](const std::string& name, const std::string& how) {
        if (differ++ == 0) first = fmt::format("`{}` {}", name, how);
    };
    for (const auto& [name, tensor] : b)
        if (!a.contains(name)) differs(name, "is new");
    for (const auto& [name, tensor] : a) {
        const auto other = b.find(name);
        if (other == b.end())
            differs(name, "is missing");
        else if (other->second.dtype != tensor.dtype || other->second.shape != tensor.shape)
            differs(name, "has another shape or type");
        else if (other->second.bytes != tensor.bytes) {
            const auto x = tensor.numbers(), y = other->second.numbers();
            double most = 0;
            std::size_t values = 0;
            for (std::size_t i = 0; i < x.size(); ++i)
                if (x[i] != y[i])
                    ++values, most = std::max(most, std::isnan(x[i] - y[i]) ? INFINITY : std::abs(x[i] - y[i]));
            largest = std::max(largest, most);
            differs(name, fmt::format("in {} of {} values, by up to {:.3g}", values, x.size(), most));
        }
    }
    if (differ == 0) return {fmt::format("{} ({} tensors)", what, a.size()), {}};
    return {std::move(what), fmt::format("{} of {} tensors differ, first {}{}", differ, a.size(), first,
                                         differ > 1 ? fmt::format("; the largest difference is {:.3g}", largest) : "")};
}

std::vector<Reproduced> compared_metrics(const Record& before, const Record& after) {
    std::vector<Reproduced> all;
    for (const auto& m : before.measured) {
        const auto other = std::find_if(after.measured.begin(), after.measured.end(),
                                        [&](const Measured& one) { return one.metric == m.metric; });
        const bool same = other != after.measured.end() &&
                          (other->value == m.value || (std::isnan(other->value) && std::isnan(m.value)));
        all.push_back({"metric " + m.metric, same ? ""
                                             : other == after.measured.end()
                                                 ? "was not measured"
                                                 : fmt::format("{} and {}, a difference of {:.3g}", m.value,
                                                               other->value, other->value - m.value)});
    }
    return all;
}

/// The run whose network the samples were drawn from: the one they lie in, or in a study the training of the same
/// experiment.
fs::path trained_for(const Record& sample) {
    const auto around = sample.folder.parent_path();
    if (fs::exists(around.parent_path() / "stage.toml")) return around.parent_path();
    Diagnostics mistakes;
    auto own = read_toml(sample.folder / "resolved.toml", mistakes);
    for (const auto* table : {"sampler", "sample", "metric"}) own.erase(table);
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(around, error)) {
        Diagnostics ignored;
        if (entry.path() != sample.folder && fs::exists(entry.path() / "run.json") &&
            toml_text(read_toml(entry.path() / "resolved.toml", ignored)) == toml_text(own))
            return entry.path();
    }
    throw UserError(
        fmt::format("the run that the samples in {} were drawn from cannot be found", sample.folder.string()),
        fmt::format("run the whole experiment again instead: dtk run {}", typed(sample.folder / "resolved.toml")));
}

/// Draws the samples anew with the network as it is; that the network itself can be made again is shown by reproducing
/// its run.
int sample_again(const Record& sample, const fs::path& out, Progress::Mode progress) {
    const auto trained = trained_for(sample);
    fmt::print(stderr, "network  {} (reproduce that folder to see whether training gives it again)\n", typed(trained));
    // A folder that holds the network and says how these samples were drawn.
    const auto as_run = out / "as_run";
    fs::create_directories(as_run);
    write_atomically(as_run / "stage.toml", read_file(sample.folder / "resolved.toml"));
    if (fs::exists(trained / "checkpoints"))
        fs::create_directory_symlink(fs::absolute(trained / "checkpoints"), as_run / "checkpoints");
    SampleRequest request{.run = as_run, .overrides = {}, .out = out / "again", .progress = progress};
    if (const auto step = sample.content.value("step", json()); step.is_number_integer())
        request.step = step.get<std::int64_t>();
    const auto code = engine().sample(request);
    fs::remove_all(as_run);
    return code;
}

/// As many threads as the run had; nothing where it would come to as many by itself, and then chooses alike when one of
/// them is enough.
std::string threads_of(const Record& run) {
    const auto threads = run.content.value("threads", json());
    if (!threads.is_number_integer() || threads.get<std::int64_t>() <= 0) return {};
    Diagnostics ignored;
    const auto said = read_toml(run.folder / "resolved.toml", {}, ignored)["threads"].value_or(std::int64_t{0});
    return said == 0 && threads == threads_for(0).count ? std::string() : threads.dump();
}

}  // namespace

int reproduce_run(const ReproduceRequest& request) {
    const auto r = find_record(request.run);
    if (r.what == Record::What::study)
        throw UserError(fmt::format("{} is a study", r.folder.string()),
                        fmt::format("reproduce one of its cells: `dtk show {}` lists their folders", typed(r.folder)));
    if (r.what == Record::What::damaged)
        throw UserError(fmt::format("{} is damaged: {}", r.folder.string(), r.problem));
    if (r.status != "completed")
        throw UserError(
            fmt::format("{} is not completed but {}: there is nothing to compare with", r.folder.string(), r.status),
            "let it finish first: dtk run … --resume");
    settings_of(r);  // is there an experiment at all?

    auto out = fs::absolute(request.out.value_or(r.folder / "reproduced" /
                                                 fmt::format("{:%Y%m%d-%H%M%S}", fmt::localtime(std::time(nullptr)))));
    if (!request.out)
        for (int n = 2; fs::exists(out); ++n)
            out.replace_filename(fmt::format("{}-{}", out.filename().string().substr(0, 15), n));
    std::error_code error;
    if (fs::exists(out) && !fs::is_empty(out, error))
        throw UserError(fmt::format("{} is there already and is not empty", out.string()), "give another --out");
    const auto changed = r.is_run() ? changes_since(r) : std::vector<std::string>{};
    for (const auto& change : changed) fmt::print(stderr, "warning: {}\n", change);
    if (!changed.empty()) fmt::print(stderr, "         other bits may come of this\n");

    // Folders that the experiment names count from where it ran.
    if (const auto cwd = field_of(r, "/cwd"); fs::is_directory(cwd, error)) fs::current_path(cwd, error);
    int code = done;
    auto again = out;
    if (r.is_run()) {
        forget_launch();
        RunRequest run;
        run.file = r.folder / "resolved.toml", run.out = out, run.progress = request.progress;
        if (const auto threads = threads_of(r); !threads.empty()) run.overrides.set.push_back("threads=" + threads);
        if (const auto networks = r.content.value("artefacts", json()); networks.is_object())
            for (const auto& [name, path] : networks.items())
                if (path.is_string()) run.overrides.artefacts.push_back(name + "=" + path.get<std::string>());
        code = engine().run(run);
    } else {
        code = sample_again(r, out, request.progress);
        again = out / "again";
    }
    if (code != done) return code;

    std::vector<Reproduced> verdicts;
    for (const auto& [stage, folder] :
         r.is_run() ? stages_of(r) : std::vector<std::pair<std::string, fs::path>>{{"", r.folder}}) {
        const auto other = stage.empty() ? again : again / stage;
        const auto prefix = stage.empty() ? std::string() : stage + ": ";
        if (const auto before = last_checkpoint(folder); !before.empty())
            verdicts.push_back(compared(prefix + "checkpoint " + before.stem().string(), before,
                                        other / "checkpoints" / before.filename()));
        if (fs::exists(folder / "samples.safetensors"))
            verdicts.push_back(
                compared(prefix + "samples", folder / "samples.safetensors", other / "samples.safetensors"));
    }
    for (auto& verdict : compared_metrics(r, read_record(again))) verdicts.push_back(std::move(verdict));

    fmt::print("\n");
    bool same = true;
    for (const auto& [what, difference] : verdicts) {
        fmt::print("{}  {}{}\n", difference.empty() ? "same bits" : "DIFFERS  ", what,
                   difference.empty() ? "" : ": " + difference);
        same = same && difference.empty();
    }
    if (verdicts.empty())
        throw UserError(
            fmt::format("{} holds neither a checkpoint nor samples nor metrics to compare", r.folder.string()));
    fmt::print("\n{}\n", same ? "reproduced: the same bits" : "not reproduced: the bits differ");
    return same ? done : failed;
}

}  // namespace dtk::cli
