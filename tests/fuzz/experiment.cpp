// Experiment files, also as the stage.toml of a run: whatever is in them is refused with a place, or can be written and
// read again.
#include <fstream>

#include "base/experiment.hpp"
#include "input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const auto file = [] {
        char name[] = "/tmp/dtk-fuzz-XXXXXX";
        return std::filesystem::path(::mkdtemp(name) ? name : ".") / "experiment.toml";
    }();
    std::ofstream(file, std::ios::binary).write(reinterpret_cast<const char*>(data), static_cast<long>(size));
    fuzz::read_or_refuse([&] {
        dtk::Diagnostics mistakes;
        const auto table = dtk::read_toml(file, mistakes);
        if (!mistakes.empty()) {
            fuzz::must(!mistakes.text().empty());
            return;
        }
        const auto again = toml::parse(dtk::toml_text(table));
        fuzz::must(dtk::toml_text(again) == dtk::toml_text(table));
        std::unique_ptr<dtk::Registry> registry;
        dtk::Diagnostics found;
        const auto experiment = dtk::read_experiment(file, {}, registry, found);
        fuzz::must(found.empty() || !found.text().empty());
    });
    return 0;
}
