#include "engine/checkpoint.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/build.hpp"
#include "base/engine.hpp"
#include "base/words.hpp"
#include "engine/safetensors.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {
constexpr std::string_view format = "dtk checkpoint 1";

void put(std::map<std::string, Tensor>& all, const std::string& prefix, const std::map<std::string, Tensor>& some) {
    for (const auto& [name, tensor] : some) all.emplace(prefix + name, tensor);
}

std::map<std::string, Tensor> taken(const Safetensors& file, const std::string& prefix) {
    std::map<std::string, Tensor> some;
    for (const auto& [name, tensor] : file.tensors)
        if (name.starts_with(prefix)) some.emplace(name.substr(prefix.size()), tensor);
    return some;
}
}  // namespace

void save_checkpoint(const fs::path& path, const Checkpoint& checkpoint, const Stage& stage) {
    Safetensors file;
    put(file.tensors, "", checkpoint.tensors);
    put(file.tensors, "average.", checkpoint.averages);
    put(file.tensors, "adam.mean.", checkpoint.mean);
    put(file.tensors, "adam.square.", checkpoint.square);
    file.metadata = {
        {"format", std::string(format)},
        {"step", std::to_string(checkpoint.step)},
        {"experiment", checkpoint.experiment},
        {"prediction", std::string(name_of(stage.model().predicts()))},
        {"time", fmt::format("real numbers 0 … {}, 0 least noisy", stage.process().steps() - 1)},
        {"shape", fmt::format("{}", fmt::join(stage.space().shape, " "))},
        {"build", std::string(torch_build_text())},
    };
    if (const auto range = stage.space().range)
        file.metadata["range"] = fmt::format("{} {}", range->first, range->second);
    save_safetensors(path, file);
}

Checkpoint load_checkpoint(const fs::path& path) try {
    auto file = load_safetensors(path);
    if (file.metadata["format"] != format)
        throw Mistaken(fmt::format("{} is not a checkpoint of dtk's", path.string()),
                       "a checkpoint is made by `dtk run`");
    Checkpoint checkpoint;
    const auto& step = file.metadata["step"];
    if (std::from_chars(step.data(), step.data() + step.size(), checkpoint.step).ec != std::errc())
        throw Mistaken(fmt::format("{} does not say which step it is of", path.string()));
    checkpoint.experiment = file.metadata["experiment"];
    checkpoint.averages = taken(file, "average.");
    checkpoint.mean = taken(file, "adam.mean.");
    checkpoint.square = taken(file, "adam.square.");
    for (const auto* part : {"model.", "process.", "loss."})
        for (const auto& [name, tensor] : taken(file, part)) checkpoint.tensors.emplace(part + name, tensor);
    return checkpoint;
} catch (const Mistaken&) {
    throw;
} catch (const Error& error) {
    throw Mistaken(error.what(), error.help());
}

void restore(Stage& stage, const Checkpoint& checkpoint, bool averages, const std::string& from) {
    at::NoGradGuard no_grad;
    std::vector<std::string> missing, known;
    for (auto& named : stage.named_tensors()) {
        if (!named.saved) continue;
        known.push_back(named.name);
        auto found = checkpoint.tensors.find(named.name);
        if (found == checkpoint.tensors.end()) {
            missing.push_back(named.name);
            continue;
        }
        if (averages)
            if (const auto average = checkpoint.averages.find(named.name); average != checkpoint.averages.end())
                found = average;
        if (found->second.sizes() != named.tensor->sizes())
            throw Mistaken(
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
        throw Mistaken(
            fmt::format("{} {} {} ({} tensors in all)", from,
                        missing.empty() ? "holds what this experiment has no place for:" : "lacks", names.front(),
                        names.size()),
            "a checkpoint can only be read by the plugins that were trained; leave model and process as they were");
    }
}

fs::path checkpoint_path(const fs::path& folder, std::int64_t step) {
    return folder / fmt::format("{:08}.safetensors", step);
}

std::optional<fs::path> newest_checkpoint(const fs::path& folder, std::string& notes) {
    std::vector<fs::path> files;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error))
        if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
    std::sort(files.rbegin(), files.rend());
    for (const auto& file : files) try {
            read_safetensors_header(file);
            return file;
        } catch (const Error& damaged) {
            notes += fmt::format("passed over {}: {}\n", file.string(), damaged.what());
        }
    return std::nullopt;
}

}  // namespace dtk
