#include "engine/artefacts.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/engine.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "engine/checkpoint.hpp"
#include "engine/device.hpp"
#include "engine/init.hpp"

namespace dtk {

namespace fs = std::filesystem;

void read(Loaded& loaded, const fs::path& file, const Overrides& overrides) {
    loaded.experiment = read_experiment(file, overrides, loaded.registry, loaded.mistakes);
    if (loaded.experiment.stages.empty()) return;
    try {
        loaded.device = device_of(loaded.experiment.device);
    } catch (const Error& error) {
        loaded.mistakes.add(loaded.experiment.device_place, error.what(), error.help());
    }
    use_threads(loaded.experiment.threads);
}

fs::path folder_of_artefact(const fs::path& folder, const std::string& name) {
    const auto here = fs::absolute(folder).lexically_normal();
    for (const auto& run : {here, (here / "..").lexically_normal()}) {
        if (fs::exists(run / name / "stage.toml")) return run / name;
        if (!fs::exists(run / "run.json")) continue;
        const auto record = read_record_file(run / "run.json");
        if (record.contains("artefacts") && record["artefacts"].contains(name))
            return record["artefacts"][name].get<std::string>();
    }
    return name;
}

TrainedNetwork load_artefact(const fs::path& folder) {
    std::string notes;
    const auto path = newest_checkpoint(folder / "checkpoints", notes);
    if (!path)
        throw Error(fmt::format("{} holds no checkpoint", folder.string()),
                    "name an earlier stage of this file, or the folder of a run that has trained");
    const auto checkpoint = load_checkpoint(*path);
    const auto source = folder / "stage.toml";
    auto& loaded = *new Loaded;  // plugins live until exit, and so does what they were built from
    read(loaded, source, {});
    Diagnostics mistakes;
    std::unique_ptr<Stage> stage;
    if (loaded.mistakes.empty()) {
        const auto artefacts = [&](const std::string& name) { return load_artefact(folder_of_artefact(folder, name)); };
        stage = std::make_unique<Stage>(loaded.experiment.stages.front(), loaded.experiment.seed, artefacts, true,
                                        mistakes, checkpoint.data);
    }
    if (!stage || !mistakes.empty())
        throw UserError(
            fmt::format("{} cannot be built again:\n{}{}", folder.string(), loaded.mistakes.text(), mistakes.text()));
    restore(*stage, checkpoint, average_of(*stage, checkpoint, ""), path->string());
    stage->train(false);
    for (const auto& [kind, module] : stage->modules()) module->freeze();
    const auto& kept = *stage.release();  // its plugins may look at one another for as long as the network is asked
    return {kept.part<Model>(), kept.part<Process>(), sha256_of_file(*path), kept.conditioners()};
}

Stage::Trained networks_of(const Loaded& loaded, const fs::path& folder) {
    return [&](const std::string& name) {
        const auto given = loaded.experiment.artefacts.find(name);
        return load_artefact(given != loaded.experiment.artefacts.end() ? given->second
                                                                        : folder_of_artefact(folder, name));
    };
}

namespace {
/// The network that an experiment would train, as it is before; it may itself stand on others of those that were named.
TrainedNetwork untrained_artefact(const fs::path& file, const std::map<std::string, fs::path>& named) {
    static auto& known = *new std::map<fs::path, TrainedNetwork>;
    if (const auto found = known.find(file); found != known.end()) return found->second;
    auto& loaded = *new Loaded;  // plugins live until exit, and so does what they were built from
    Overrides overrides;
    for (const auto& [name, path] : named)
        if (path != file) overrides.artefacts.push_back(name + "=" + path.string());
    read(loaded, file, overrides);
    std::map<std::string, std::shared_ptr<Stage>> stages;
    if (!loaded.experiment.stages.empty()) stages = check_stages(loaded);
    if (!loaded.mistakes.empty())
        throw UserError(fmt::format("{} is not in order:\n{}", file.string(), loaded.mistakes.text()));
    const auto& stage = *stages.at(loaded.experiment.stages.back().name);
    return known[file] = {stage.part<Model>(), stage.part<Process>(), {}, stage.conditioners()};
}
}  // namespace

std::map<std::string, std::shared_ptr<Stage>> check_stages(Loaded& loaded, bool begins) {
    std::map<std::string, std::shared_ptr<Stage>> earlier;
    const auto path_of = [&](const std::string& name) {
        const auto given = loaded.experiment.artefacts.find(name);
        const bool is_given = given != loaded.experiment.artefacts.end();
        const auto path = is_given ? given->second : fs::path(name);
        if (!is_given && !fs::is_directory(path))
            throw Error(fmt::format("`{}` is neither an earlier stage of this file nor the folder of a run", name),
                        fmt::format("or say where it is: --artefact {}=RUN", name));
        return path;
    };
    for (auto& spec : loaded.experiment.stages) {
        const auto artefacts = [&](const std::string& name) -> TrainedNetwork {
            if (const auto found = earlier.find(name); found != earlier.end())
                return {
                    found->second->part<Model>(), found->second->part<Process>(), {}, found->second->conditioners()};
            const auto path = path_of(name);
            return fs::is_directory(path) ? load_artefact(path) : untrained_artefact(path, loaded.experiment.artefacts);
        };
        const auto stage = earlier[spec.name] =
            std::make_shared<Stage>(spec, loaded.experiment.seed, artefacts, false, loaded.mistakes);
        if (!begins || !spec.init || !stage->part<Model>() || earlier.contains(spec.init->run.name())) continue;
        try {
            const auto path = path_of(spec.init->run.name());
            if (fs::is_directory(path)) check_init(*stage, init_checkpoint(path));
        } catch (const Error& error) {
            loaded.mistakes.add(spec.reading->place("init"), error.what(), error.help());
        }
    }
    return earlier;
}

}  // namespace dtk
