#include "engine/snapshots.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include <dtk/power_average.hpp>
#include <dtk/safetensors.hpp>

#include "base/engine.hpp"
#include "engine/checkpoint.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view averages_format = "dtk averages 1";

fs::path snapshots_of(const fs::path& stage) { return stage / "snapshots"; }
fs::path snapshot_at(const fs::path& stage, std::int64_t step) {
    return snapshots_of(stage) / fmt::format("{:08}.safetensors", step);
}
fs::path made_at(const fs::path& stage, std::int64_t step) { return stage / "averages" / fmt::format("{:08}", step); }

std::optional<std::int64_t> step_of(const fs::path& path) {
    const auto name = path.stem().string();
    std::int64_t step = -1;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
    if (error != std::errc() || end != name.data() + name.size() || step < 0) return std::nullopt;
    return step;
}

/// The steps of the copies, rising.
std::vector<std::int64_t> steps_in(const fs::path& stage) {
    std::vector<std::int64_t> steps;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(snapshots_of(stage), error))
        if (const auto step = step_of(entry.path()); step && entry.path().extension() == ".safetensors")
            steps.push_back(*step);
    std::ranges::sort(steps);
    return steps;
}

void save(const fs::path& path, Safetensors file) {
    fs::create_directories(path.parent_path());
    file.metadata["format"] = averages_format;
    file.metadata["checksum"] = checksum_of(file);
    save_safetensors(path, file);
}

Safetensors load(const fs::path& path) try {
    auto file = load_safetensors(path);
    if (file.metadata["format"] != averages_format || file.metadata["checksum"] != checksum_of(file))
        throw UserError(fmt::format("{} is damaged: it does not hold what was saved", path.string()),
                        "fetch it again, or remove it and make do with the others");
    return file;
} catch (const UserError&) {
    throw;
} catch (const Error& error) {
    throw UserError(error.what(), error.help());
}

double number_in(const Safetensors& file, const std::string& key) {
    const auto found = file.metadata.find(key);
    return found == file.metadata.end() ? 0 : std::strtod(found->second.c_str(), nullptr);
}

/// The averages of a copy, without their tensors.
std::vector<PowerAverage> averages_in(const std::map<std::string, std::string>& metadata) {
    std::vector<PowerAverage> all;
    for (const auto& [key, value] : metadata)
        if (key.starts_with("power.")) all.push_back({key.substr(6), std::strtod(value.c_str(), nullptr), {}});
    return all;
}

std::optional<MadeAverage> made_before(const fs::path& path, double width) {
    if (!fs::exists(path)) return std::nullopt;
    auto file = load(path);
    return MadeAverage{width, number_in(file, "off"), static_cast<std::int64_t>(number_in(file, "copies")),
                       std::move(file.tensors)};
}

}  // namespace

void save_snapshot(const fs::path& stage, std::int64_t step, const std::vector<PowerAverage>& averages) {
    Safetensors file;
    for (const auto& [name, power, tensors] : averages) {
        file.metadata["power." + name] = fmt::format("{}", power);
        for (const auto& [tensor, value] : tensors) file.tensors.emplace(name + "/" + tensor, value);
    }
    save(snapshot_at(stage, step), std::move(file));
}

void forget_snapshots_after(const fs::path& stage, std::int64_t step) {
    std::error_code error;
    std::vector<fs::path> late;
    for (const auto* folder : {"snapshots", "averages"})
        for (const auto& entry : fs::directory_iterator(stage / folder, error))
            if (const auto own = step_of(entry.path()); own && *own > step) late.push_back(entry.path());
    for (const auto& path : late) fs::remove_all(path, error);
}

std::int64_t newest_snapshot(const fs::path& stage) {
    const auto steps = steps_in(stage);
    if (!steps.empty()) return steps.back();
    throw UserError(fmt::format("{} holds no copies of averages that others could be made of", stage.string()),
                    "train with snapshot_every in [train] and one or two [[average]] of use = \"power\", such as those "
                    "of width 0.05 and 0.1");
}

std::string name_of_width(double width) { return fmt::format("width={:g}", width); }

std::optional<double> width_named(const std::string& name) {
    constexpr std::string_view before = "width=";
    double width = 0;
    if (!name.starts_with(before)) return std::nullopt;
    const auto [end, error] = std::from_chars(name.data() + before.size(), name.data() + name.size(), width);
    if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
    return width;
}

std::vector<MadeAverage> made_averages(const fs::path& stage, std::int64_t step, const std::vector<double>& widths) {
    std::vector<MadeAverage> made;
    std::vector<std::size_t> lacking;
    for (const auto width : widths) {
        const auto path = made_at(stage, step) / (name_of_width(width) + ".safetensors");
        auto before = made_before(path, width);
        if (!before) lacking.push_back(made.size());
        made.push_back(before ? std::move(*before) : MadeAverage{width});
    }
    if (lacking.empty()) return made;

    // The copies and their profiles.
    const auto newest = newest_snapshot(stage);
    auto steps = steps_in(stage);
    std::erase_if(steps, [&](const auto own) { return own > step; });
    if (steps.empty())
        throw UserError(fmt::format("{} holds no copies of averages up to step {}", stage.string(), step),
                        fmt::format("ask for a later step, such as {}", newest));
    std::vector<PowerProfile> profiles;
    for (const auto own : steps)
        for (const auto& one : averages_in(read_safetensors_header(snapshot_at(stage, own)).metadata))
            profiles.push_back({one.power, static_cast<double>(own)});

    // What of each makes the wanted ones.
    std::vector<std::vector<double>> parts;
    for (const auto i : lacking) {
        const PowerProfile wanted{power_of_width(made[i].width), static_cast<double>(step)};
        parts.push_back(nearest_combination(profiles, wanted));
        made[i].off = relative_distance(profiles, parts.back(), wanted);
        made[i].copies = static_cast<std::int64_t>(profiles.size());
    }

    // Their sums, one file after the other.
    std::size_t profile = 0;
    for (const auto own : steps) {
        const auto file = load(snapshot_at(stage, own));
        for (const auto& one : averages_in(file.metadata)) {
            for (const auto& [name, tensor] : file.tensors) {
                if (!name.starts_with(one.name + "/")) continue;
                for (std::size_t k = 0; k < lacking.size(); ++k) {
                    auto& sum = made[lacking[k]].tensors[name.substr(one.name.size() + 1)];
                    const auto part = parts[k][profile] * tensor.to(at::kDouble);
                    sum = sum.defined() ? sum + part : part;
                }
            }
            ++profile;
        }
    }
    for (const auto i : lacking) {
        for (auto& [name, tensor] : made[i].tensors) tensor = tensor.to(at::kFloat);
        save(made_at(stage, step) / (name_of_width(made[i].width) + ".safetensors"),
             {made[i].tensors,
              {{"off", fmt::format("{}", made[i].off)}, {"copies", fmt::format("{}", made[i].copies)}}});
    }
    return made;
}

}  // namespace dtk
