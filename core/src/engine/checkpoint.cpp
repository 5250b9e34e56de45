#include "engine/checkpoint.hpp"

#include <algorithm>
#include <charconv>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/safetensors.hpp>

#include "base/build.hpp"
#include "base/engine.hpp"
#include "base/files.hpp"
#include "base/tensor_file.hpp"
#include "base/toml.hpp"
#include "base/words.hpp"
#include "engine/snapshots.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {
constexpr std::string_view checkpoint_format = "dtk checkpoint 3";

void put(std::map<std::string, Tensor>& all, const std::string& prefix, const std::map<std::string, Tensor>& some) {
    for (const auto& [name, tensor] : some) all.emplace(prefix + name, tensor);
}

std::map<std::string, Tensor> taken(const Safetensors& file, const std::string& prefix) {
    std::map<std::string, Tensor> some;
    for (const auto& [name, tensor] : file.tensors)
        if (name.starts_with(prefix)) some.emplace(name.substr(prefix.size()), tensor);
    return some;
}
/// The experiment as a table; empty where it cannot be read.
toml::table experiment_in(const std::string& text) {
    try {
        return toml::parse(text);
    } catch (const toml::parse_error&) {
        return {};
    }
}

/// The step that a checkpoint says, which must be one of its experiment's.
std::int64_t step_in(const std::string& text, const std::string& experiment, const fs::path& path) {
    std::int64_t step = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), step);
    const auto steps = experiment_in(experiment)["train"]["steps"].value_or(std::int64_t{0});
    if (error != std::errc() || end != text.data() + text.size() || step < 0 || step > steps)
        throw UserError(fmt::format("{} is damaged: it is said to be of step {}, and its experiment has {} steps",
                                    path.string(), quoted_name(text), steps),
                        "fetch it again, or go on from an earlier checkpoint");
    return step;
}

/// What the metadata say of the data; those of an older dtk say less.
RememberedData data_in(std::map<std::string, std::string>& metadata) {
    RememberedData data;
    auto& space = data.space;
    std::istringstream shape(metadata["shape"]), range(metadata["range"]);
    for (std::int64_t size = 0; shape >> size;) space.shape.push_back(size);
    if (double least = 0, most = 0; range >> least >> most) space.range = {least, most};
    std::istringstream(metadata["levels"]) >> space.levels;
    std::istringstream(metadata["classes"]) >> space.classes;
    data.classes = Classes::from_json(nlohmann::json::parse(metadata["class_names"], nullptr, false));
    if (data.classes.count != space.classes) data.classes = {.count = space.classes};
    data.tokenizer = metadata["tokenizer"];
    return data;
}

/// In what a checkpoint's experiment cannot be that of the run it lies in; empty where it can. How long and how fast is
/// trained, and what is done with the network afterwards, may have changed meanwhile.
std::string foreign_part(const std::string& checkpoint, const toml::table& run) {
    const auto own = experiment_in(checkpoint);
    for (const char* part :
         {"seed", "seeds", "dataset", "tokenizer", "codec", "process", "conditioner", "model", "loss"}) {
        const auto *here = run.get(part), *there = own.get(part);
        if (!here != !there || (here && toml_value(*here) != toml_value(*there))) return part;
    }
    return {};
}

/// What the header of each file says its step is, and the file, the highest step first.
std::vector<std::pair<std::int64_t, fs::path>> by_step(const fs::path& folder) {
    std::vector<std::pair<std::int64_t, fs::path>> files;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        if (entry.path().extension() != ".safetensors") continue;
        // By its name where it says no step, so that it is looked at and said what is wrong with it.
        std::int64_t step = -1, named = -1;
        const auto name = entry.path().stem().string();
        std::from_chars(name.data(), name.data() + name.size(), named);
        try {
            const auto text = read_safetensors_header(entry.path()).metadata["step"];
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), step);
            if (error != std::errc() || end != text.data() + text.size()) step = -1;
        } catch (const Error&) {
            step = -1;  // what is wrong is said when it is read as a whole
        }
        if (step < 0) step = named;
        files.emplace_back(step, entry.path());
    }
    std::sort(files.rbegin(), files.rend());
    return files;
}
}  // namespace

void save_checkpoint(const fs::path& path, const Checkpoint& checkpoint, const Stage& stage) {
    Safetensors file;
    put(file.tensors, "", checkpoint.tensors);
    for (const auto& [name, average] : checkpoint.averages) put(file.tensors, "average." + name + "/", average);
    put(file.tensors, "optimizer.", checkpoint.optimizer);
    put(file.tensors, "sums.", checkpoint.sums);
    put(file.tensors, "pending.", checkpoint.pending);
    file.metadata = {
        {"format", std::string(checkpoint_format)},
        {"step", std::to_string(checkpoint.step)},
        {"experiment", checkpoint.experiment},
        {"prediction", std::string(name_of(stage.model().predicts()))},
        {"time", fmt::format("real numbers 0 … {}, 0 least noisy", stage.process().steps() - 1)},
        {"shape", fmt::format("{}", fmt::join(stage.dataset().shape(), " "))},
        {"build", std::string(torch_build_text())},
    };
    const auto& data = stage.dataset();
    if (const auto range = data.range()) file.metadata["range"] = fmt::format("{} {}", range->first, range->second);
    file.metadata["levels"] = std::to_string(data.levels());
    file.metadata["classes"] = std::to_string(data.classes());
    if (data.classes() > 0) file.metadata["class_names"] = stage.classes().to_json().dump();
    if (const auto tokenizer = stage.part<Tokenizer>()) file.metadata["tokenizer"] = tokenizer->learned();
    if (const auto* gaussian = dynamic_cast<const GaussianProcess*>(&stage.process());
        gaussian && stage.model().predicts() == PredictionType::edm)
        file.metadata["data_sd"] = fmt::format("{}", gaussian->data_sd());
    file.metadata["checksum"] = checksum_of(file);
    save_safetensors(path, file);
}

Checkpoint load_checkpoint(const fs::path& path) try {
    auto file = load_safetensors(path);
    if (file.metadata["format"] != checkpoint_format)
        throw UserError(fmt::format("{} is not a checkpoint of dtk's", path.string()),
                        "a checkpoint is made by `dtk run`");
    if (file.metadata["checksum"] != checksum_of(file))
        throw UserError(fmt::format("{} is damaged: it does not hold what was saved", path.string()),
                        "fetch it again, or go on from an earlier checkpoint");
    Checkpoint checkpoint;
    checkpoint.experiment = file.metadata["experiment"];
    checkpoint.step = step_in(file.metadata["step"], checkpoint.experiment, path);
    for (const auto& [name, tensor] : taken(file, "average.")) {
        const auto slash = name.find('/');
        if (slash != name.npos) checkpoint.averages[name.substr(0, slash)].emplace(name.substr(slash + 1), tensor);
    }
    checkpoint.optimizer = taken(file, "optimizer.");
    checkpoint.sums = taken(file, "sums.");
    checkpoint.pending = taken(file, "pending.");
    checkpoint.data = data_in(file.metadata);
    std::istringstream(file.metadata["data_sd"]) >> checkpoint.data_sd;
    for (const auto* part : {"codec.", "conditioner.", "model.", "process.", "loss.", "times."})
        for (const auto& [name, tensor] : taken(file, part)) checkpoint.tensors.emplace(part + name, tensor);
    return checkpoint;
} catch (const UserError&) {
    throw;
} catch (const Error& error) {
    throw UserError(error.what(), error.help());
}

void add_made_average(Checkpoint& checkpoint, const std::string& name, const fs::path& stage, std::int64_t step) {
    if (const auto width = width_named(name); width && !checkpoint.averages.contains(name))
        checkpoint.averages[name] = made_averages(stage, step, {*width}).front().tensors;
}

const NamedTensors* average_of(const Stage& stage, const Checkpoint& checkpoint, const std::string& name) {
    if (checkpoint.averages.empty() || name == "none") return nullptr;
    auto wanted = name;
    const auto& laws = stage.spec().list("average");
    if (wanted.empty()) wanted = laws.empty() ? checkpoint.averages.begin()->first : laws.front().label;
    const auto found = checkpoint.averages.find(wanted);
    if (found != checkpoint.averages.end()) return &found->second;
    std::vector<std::string> names{"none"};
    for (const auto& [one, tensors] : checkpoint.averages) names.push_back(one);
    throw UserError(fmt::format("the checkpoint holds no average `{}`", wanted),
                    fmt::format("`average` in [sample] is one of {}, or of any width, width=0.08, where the run kept "
                                "copies (snapshot_every)",
                                fmt::join(names, ", ")));
}

void restore(Stage& stage, const Checkpoint& checkpoint, const NamedTensors* average, const std::string& from) {
    at::NoGradGuard no_grad;
    if (const auto tokenizer = stage.part<Tokenizer>();
        tokenizer && tokenizer->learned() != checkpoint.data.tokenizer && !checkpoint.data.tokenizer.empty())
        throw UserError(
            fmt::format("the network in {} was trained with other tokens than those of the captions now", from),
            "bring the data and [tokenizer] back to what they were");
    std::vector<std::string> missing, known;
    for (auto& named : stage.named_tensors()) {
        if (!named.saved) continue;
        known.push_back(named.name);
        auto found = checkpoint.tensors.find(named.name);
        if (found == checkpoint.tensors.end()) {
            missing.push_back(named.name);
            continue;
        }
        if (average)
            if (const auto smooth = average->find(named.name); smooth != average->end()) found = smooth;
        if (found->second.sizes() != named.tensor->sizes())
            throw UserError(
                fmt::format("`{}` in {} is {}, and this experiment's is {}", named.name, from,
                            fmt::join(found->second.sizes(), "×"), fmt::join(named.tensor->sizes(), "×")),
                "a checkpoint can only be read by the model that was trained; leave the model's fields as they were");
        named.tensor->copy_(found->second);
    }
    std::vector<std::string> left;
    for (const auto& [name, tensor] : checkpoint.tensors)
        if (!name.starts_with("loss.") && std::find(known.begin(), known.end(), name) == known.end())
            left.push_back(name);
    missing.erase(
        std::remove_if(missing.begin(), missing.end(), [](const auto& name) { return name.starts_with("loss."); }),
        missing.end());
    if (!missing.empty() || !left.empty()) {
        const auto& names = missing.empty() ? left : missing;
        throw UserError(
            fmt::format("{} {} {} ({} tensors in all)", from,
                        missing.empty() ? "holds what this experiment has no place for:" : "lacks", names.front(),
                        names.size()),
            "a checkpoint can only be read by the plugins that were trained; leave model and process as they were");
    }
}

fs::path checkpoint_path(const fs::path& folder, std::int64_t step) {
    return folder / fmt::format("{:08}.safetensors", step);
}

void prune_checkpoints(const fs::path& folder, std::int64_t keep, std::int64_t every, std::int64_t best) {
    std::vector<std::int64_t> steps;
    for (const auto& entry : fs::directory_iterator(folder)) {
        const auto name = entry.path().stem().string();
        std::int64_t step = -1;
        const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
        if (error == std::errc() && end == name.data() + name.size() && entry.path() == checkpoint_path(folder, step))
            steps.push_back(step);
    }
    std::sort(steps.rbegin(), steps.rend());
    for (std::size_t i = static_cast<std::size_t>(keep); i < steps.size(); ++i) {
        std::error_code error;  // one that cannot be removed does no harm
        const bool stays = steps[i] == best || (every > 0 && steps[i] % every == 0);
        if (!stays) fs::remove(checkpoint_path(folder, steps[i]), error);
    }
}

fs::path checkpoint_of_step(const fs::path& folder, std::int64_t step) {
    std::vector<std::int64_t> there;
    for (const auto& [own, file] : by_step(folder)) {
        if (own == step) return file;
        there.push_back(own);
    }
    throw UserError(
        fmt::format("{} holds no checkpoint of step {}", folder.string(), step),
        there.empty() ? "let the run save one first" : fmt::format("there are those of {}", fmt::join(there, ", ")));
}

std::optional<fs::path> newest_checkpoint(const fs::path& folder, std::string& notes, std::int64_t most) {
    const auto stage = folder / ".." / "stage.toml";
    std::error_code error;
    const auto run = fs::exists(stage, error) ? experiment_in(read_file(stage)) : toml::table();
    for (const auto& [step, file] : by_step(folder)) try {
            if (step > most) continue;
            const auto checkpoint = load_checkpoint(file);
            const auto foreign = run.empty() ? std::string() : foreign_part(checkpoint.experiment, run);
            if (foreign.empty()) return file;
            notes += fmt::format("passed over {}: it is of another run, its `{}` differs\n", file.string(), foreign);
        } catch (const Error& damaged) {
            notes += fmt::format("passed over {}: {}\n", file.string(), damaged.what());
        }
    return std::nullopt;
}

}  // namespace dtk
