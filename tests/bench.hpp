#pragma once
// An experiment and its stage, built as a run would build them.
#include <map>
#include <memory>
#include <string>

#include "base/experiment.hpp"
#include "engine/validation.hpp"
#include "folder.hpp"
#include "run_program.hpp"
#include "support.hpp"

/// An experiment and its stage, built.
struct Bench {
    explicit Bench(const std::string& text, const std::map<std::string, std::string>& files = {}) {
        for (const auto& [name, content] : files) write(folder / name, content);
        write(folder / "experiment.toml", text);
        dtk::Overrides overrides;
        overrides.plugin_path = {DTK_PLUGINS};
        experiment = dtk::read_experiment(folder / "experiment.toml", overrides, registry, mistakes);
        if (mistakes.empty())
            stage = std::make_unique<dtk::Stage>(
                experiment.stages.front(), experiment.seed,
                [](const std::string&) -> dtk::TrainedNetwork { throw dtk::Error("there are no artefacts here"); },
                true, mistakes);
        INFO(mistakes.text());
        REQUIRE(mistakes.empty());
        stage->train(false);
    }
    /// The network answers 0, whatever it is asked.
    Bench& zero() {
        at::NoGradGuard no_grad;
        for (const auto& named : stage->named_tensors())
            if (named.trained && named.name.starts_with("model.")) named.tensor->zero_();
        return *this;
    }
    dtk::HeldOut held_out() const { return dtk::Validation(*stage, at::kCPU).measure(); }

    Folder folder;
    std::unique_ptr<dtk::Registry> registry;
    dtk::Diagnostics mistakes;
    dtk::Experiment experiment;
    std::unique_ptr<dtk::Stage> stage;
};
