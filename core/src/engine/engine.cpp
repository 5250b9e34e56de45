// What the program asks of the half that needs LibTorch.
#include "base/engine.hpp"

#include <set>

#include <fmt/format.h>

#include "base/blame.hpp"
#include "base/files.hpp"
#include "base/words.hpp"
#include "engine/artefacts.hpp"
#include "engine/commands.hpp"
#include "engine/device.hpp"
#include "engine/init.hpp"
#include "engine/processes.hpp"
#include "engine/say.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {

class TorchEngine final : public Engine {
 public:
    int check(const fs::path& file, const Overrides& overrides) override {
        return with_blame([&] {
            return guarded([&] {
                Loaded loaded;
                read(loaded, file, overrides);
                std::map<std::string, std::shared_ptr<Stage>> stages;
                if (!loaded.experiment.stages.empty()) stages = check_stages(loaded);
                if (!loaded.mistakes.empty()) return report(loaded.mistakes);
                say_notes(loaded.experiment);
                std::set<std::string> said;
                for (const auto& [name, stage] : stages)
                    if (const auto classes = stage->classes(); classes.count > 0 && said.insert(classes.text()).second)
                        say("classes  " + harmless(classes.text()));
                say(fmt::format("{} is in order", file.string()));
                return static_cast<int>(done);
            });
        });
    }

    std::string examine(const fs::path& file, const Overrides& overrides, Diagnostics& mistakes) override {
        auto& loaded = *new Loaded;  // plugins live until exit, and so does what they were built from
        read(loaded, file, overrides);
        std::string data;
        if (!loaded.experiment.stages.empty())
            for (const auto& [name, stage] : check_stages(loaded)) {
                if (stage->part<Dataset>()) data += stage->dataset().fingerprint();
                for (const auto& [reference, network] : stage->trained_networks()) data += network.sha256;
                if (const auto& init = stage->spec().init; init && fs::is_directory(init->run.name()))
                    data += sha256_of_file(init_checkpoint(init->run.name()));
            }
        mistakes = loaded.mistakes;
        return data;
    }

    int run(const RunRequest& request) override { return run_experiment(request); }

    int replay(const RunRequest& request) override { return replay_run(request); }

    int sample(const SampleRequest& request) override { return sample_run(request); }

    int ema(const AverageRequest& request) override { return make_averages(request); }

    int data(const DataRequest& request) override { return show_data(request); }

    int import(const ImportRequest& request) override { return import_data(request); }

    NoiseLevels levels(const fs::path& run) override { return load_artefact(run).process->levels(); }

    int equivalent(const EquivalenceRequest& request) override { return compare_objectives(request); }

    WeighedNoise weighed_noise(const std::string& experiment, const Overrides& overrides) override {
        return dtk::weighed_noise(experiment, overrides);
    }

    std::string doctor() override { return device_report() + Processes::report(); }

    int diagnose(const DiagnoseRequest& request) override { return diagnose_run(request); }
};

}  // namespace

}  // namespace dtk

extern "C" DTK_API dtk::Engine* dtk_open_engine() {
    static dtk::TorchEngine engine;
    return &engine;
}
