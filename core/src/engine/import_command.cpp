// dtk data import: what others publish as one file of dtk's own, by whichever data set reads it.
#include <algorithm>

#include <fmt/format.h>

#include <dtk/importer.hpp>

#include "base/overlay.hpp"
#include "base/reader.hpp"
#include "base/words.hpp"
#include "engine/commands.hpp"
#include "engine/say.hpp"
#include "engine/stage.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {

int import_in(const ImportRequest& request) {
    auto& registry = *new Registry(plugin_folders(request.plugin_path));  // plugins live until exit
    toml::table root{{"dataset", toml::table{{"use", request.dataset}}}};
    if (request.file) root["dataset"].as_table()->insert("file", fs::absolute(*request.file).string());
    std::vector<std::string> set;
    for (const auto& one : request.set) set.push_back("dataset." + one);
    Diagnostics mistakes;
    Laid laid;
    lay_over(root, set, Parts(registry), mistakes, laid);
    StageSpec spec;
    spec.reading = std::make_unique<ParseContext>(
        ParseContext{registry, mistakes, fs::current_path(), std::vector<const toml::table*>{&root}});
    auto data = read_plugin(*spec.reading, Dataset::kind, root.get("dataset"), {});
    if (!mistakes.empty()) return report(mistakes);
    spec.parts["dataset"].push_back(std::move(data));
    const auto none = [](const std::string& name) -> TrainedNetwork {
        throw Error(fmt::format("`{}` is a trained network, and data are imported without one", name));
    };
    const Stage stage(spec, 0, none, false, mistakes);
    if (!mistakes.empty()) return report(mistakes);
    const auto* importer = dynamic_cast<const Importer*>(&stage.dataset());
    if (!importer)
        throw UserError(fmt::format("data set `{}` does not read what others publish", request.dataset),
                        "name it in an experiment as it is");
    const auto what = importer->import_to(request.out);
    say(fmt::format("{}: {}", request.out.string(), harmless(what)));
    return done;
}

}  // namespace

int import_data(const ImportRequest& request) {
    return guarded([&] { return import_in(request); });
}

}  // namespace dtk
