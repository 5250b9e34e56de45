#include "engine/init.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/safetensors.hpp>

#include "base/engine.hpp"
#include "base/toml.hpp"
#include "engine/checkpoint.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {

bool is_taken_over(const std::string& name) {
    return std::ranges::any_of(std::initializer_list<const char*>{"model.", "process.", "codec.", "conditioner."},
                               [&](const char* part) { return name.starts_with(part); });
}

/// What a stage's tensors find in a checkpoint.
struct Fit {
    std::vector<std::string> taken, differing, lacking, left;
    bool whole() const { return differing.empty() && lacking.empty() && left.empty(); }
};

Fit fit_of(const Stage& stage, std::map<std::string, std::vector<std::int64_t>> there) {
    Fit fit;
    for (const auto& named : stage.named_tensors()) {
        if (!named.saved || !is_taken_over(named.name)) continue;
        const auto found = there.find(named.name);
        const auto sizes = named.tensor->sizes().vec();
        if (found == there.end())
            fit.lacking.push_back(named.name);
        else if (found->second != sizes)
            fit.differing.push_back(fmt::format("{} ({} there, {} here)", named.name, fmt::join(found->second, "×"),
                                                fmt::join(sizes, "×")));
        else
            fit.taken.push_back(named.name);
        if (found != there.end()) there.erase(found);
    }
    for (const auto& [name, sizes] : there)
        if (is_taken_over(name)) fit.left.push_back(name);
    return fit;
}

/// "a, b, c and 5 more"
std::string some_of(const std::vector<std::string>& names) {
    constexpr std::size_t shown = 4;
    if (names.size() <= shown) return fmt::format("{}", fmt::join(names, ", "));
    return fmt::format("{} and {} more", fmt::join(names.begin(), names.begin() + shown, ", "), names.size() - shown);
}

std::string what_does_not_fit(const Fit& fit) {
    std::string text;
    const auto add = [&](const char* what, const std::vector<std::string>& names) {
        if (!names.empty()) text += fmt::format("\n         {}: {}", what, some_of(names));
    };
    add("of another shape, left as drawn", fit.differing);
    add("not there, left as drawn", fit.lacking);
    add("not used", fit.left);
    return text;
}

void refuse(const Stage& stage, const Fit& fit, const fs::path& from) {
    const auto& settings = *stage.spec().init;
    if (fit.taken.empty())
        throw UserError(fmt::format("no tensor of {} has the name and shape of one of this model's{}", from.string(),
                                    what_does_not_fit(fit)),
                        "name a run of the same kind of model");
    if (fit.whole() || (!settings.strict && stage.spec().train)) return;
    throw UserError(fmt::format("{} does not fit whole{}", from.string(), what_does_not_fit(fit)),
                    settings.strict ? "make the model as it was there, or leave `strict` out"
                                    : "make the model as it was there, or add [train], which makes up for what is new");
}

/// Of those in the checkpoint, the first in its own experiment.
const NamedTensors* average_to_begin_from(const Checkpoint& checkpoint, std::string name) {
    if (checkpoint.averages.empty() || name == "none") return nullptr;
    if (name.empty()) {
        const auto experiment = toml::parse(checkpoint.experiment);
        const auto first = experiment["average"][0];
        name = first["name"].value_or(first["use"].value_or(std::string()));
        if (!checkpoint.averages.contains(name)) name = checkpoint.averages.begin()->first;
    }
    if (const auto found = checkpoint.averages.find(name); found != checkpoint.averages.end()) return &found->second;
    std::vector<std::string> names{"none"};
    for (const auto& [one, tensors] : checkpoint.averages) names.push_back(one);
    throw UserError(fmt::format("the run that [init] names has no average `{}`", name),
                    fmt::format("`average` in [init] is one of {}", fmt::join(names, ", ")));
}

}  // namespace

fs::path init_checkpoint(const fs::path& run) {
    std::string notes;
    if (const auto path = newest_checkpoint(run / "checkpoints", notes)) return *path;
    throw UserError(
        fmt::format("{} holds no checkpoint to begin from{}", run.string(), notes.empty() ? "" : ":\n" + notes),
        "name the folder of a run that has trained");
}

void check_init(const Stage& stage, const fs::path& checkpoint) {
    std::map<std::string, std::vector<std::int64_t>> there;
    for (const auto& [name, entry] : read_safetensors_header(checkpoint).entries) there[name] = entry.shape;
    refuse(stage, fit_of(stage, std::move(there)), checkpoint);
}

std::string begin_as(Stage& stage, const fs::path& path) {
    at::NoGradGuard no_grad;
    const auto checkpoint = load_checkpoint(path);
    const auto* average = average_to_begin_from(checkpoint, stage.spec().init->average);
    std::map<std::string, std::vector<std::int64_t>> there;
    for (const auto& [name, tensor] : checkpoint.tensors) there[name] = tensor.sizes().vec();
    const auto fit = fit_of(stage, std::move(there));
    refuse(stage, fit, path);
    for (auto& named : stage.named_tensors()) {
        if (std::find(fit.taken.begin(), fit.taken.end(), named.name) == fit.taken.end()) continue;
        const auto* value = &checkpoint.tensors.at(named.name);
        if (average)
            if (const auto smooth = average->find(named.name); smooth != average->end()) value = &smooth->second;
        named.tensor->copy_(*value);
    }
    return fmt::format("init     {} tensors from step {} of {}{}", fit.taken.size(), checkpoint.step, path.string(),
                       what_does_not_fit(fit));
}

}  // namespace dtk
