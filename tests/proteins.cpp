// The experiments with proteins, on the 200 chains of the fixture: each in a few steps from end to end, and in a form
// of minutes with a bar.
#include <cmath>

#include <nlohmann/json.hpp>

#include <dtk/rotations.hpp>
#include <dtk/safetensors.hpp>

#include "base/files.hpp"
#include "catch.hpp"
#include "run_program.hpp"
#include "support.hpp"

namespace {

using at::Tensor;
using json = nlohmann::json;

/// An experiment of ours on the fixture with other fields.
void run(const Folder& folder, const std::string& name, std::vector<std::string> fields) {
    std::vector<std::string> arguments{"run", DTK_EXPERIMENTS "/" + name + ".toml", "--out", name, "--progress",
                                       "none"};
    fields.insert(fields.begin(), {"dataset.use=chains", "dataset.file=" DTK_TEST_DATA "/chains.safetensors",
                                   "dataset.atoms=" + std::string(name == "genie" ? "ca" : "backbone")});
    for (const auto& field : fields) {
        arguments.emplace_back("--set");
        arguments.push_back(field);
    }
    const auto outcome = dtk_program(arguments, folder.path);
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
}

Tensor samples_in(const Folder& folder, const std::string& name) {
    return dtk::load_safetensors(folder / name / "samples.safetensors").tensors.at("samples");
}

}  // namespace

TEST_CASE("each experiment with proteins runs from end to end") {
    for (const std::string name : {"genie", "rfdiffusion", "frameflow"}) {
        const Folder folder;
        run(folder, name,
            {"dataset.length=24", "train.steps=3", "train.warmup=1", "train.batch=2", "sampler.steps=4", "sample.n=2",
             "metric=[]"});
        const auto samples = samples_in(folder, name);
        INFO(name);
        CHECK(samples.sizes() == (name == "genie" ? at::IntArrayRef({2, 24, 3}) : at::IntArrayRef({2, 24, 4, 3})));
        CHECK(at::isfinite(samples).all().item<bool>());
        if (name == "genie") continue;
        // Atoms of a residue are where its frame has them, wherever that is.
        const auto bond = (samples.select(2, 2) - samples.select(2, 1)).norm(2, -1);
        CHECK((bond - 1.525).abs().max().item<double>() < 1e-3);
    }
}
