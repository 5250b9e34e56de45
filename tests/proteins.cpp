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

/// What a run has measured, or a part of it.
double measured(const Folder& folder, const std::string& metric, const std::string& part = {}) {
    for (const auto& one : json::parse(dtk::read_file(folder / "genie/run.json"))["result"]["metrics"])
        if (one["metric"] == metric) return part.empty() ? one["value"] : one["parts"][part];
    FAIL("nothing was measured by " << metric);
    return 0;
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

TEST_CASE("after 500 steps on 200 chains genie has learned bonds, and is as wide as chains are", "[slow]") {
    // 48.8 % of neighbours are within 0.1 Å of 3.8 Å, where real chains have 99.4 % and an untrained network 1 %; what
    // is not learned by then, such as helices, has no bar.
    const Folder folder;
    std::vector<std::string> fields{"dataset.length=64", "train.steps=500", "train.warmup=30", "average.decay=0.99",
                                    "sampler.steps=100", "sample.n=16",     "sample.batch=16"};
    run(folder, "genie", fields);
    CHECK(measured(folder, "bond_validity") > 0.35);
    CHECK(measured(folder, "radius_of_gyration", "mean in Å") > 6.5);
    CHECK(measured(folder, "radius_of_gyration", "mean in Å") < 15);
    const Folder untrained;
    fields[1] = "train.steps=1", fields[2] = "train.warmup=0", fields[3] = "average.decay=0.5";
    run(untrained, "genie", fields);
    CHECK(measured(untrained, "bond_validity") < 0.05);
}
