#pragma once
// Experiments read and their stages built, with the trained networks of other runs that they name.
#include <map>
#include <memory>
#include <string>

#include "engine/stage.hpp"

namespace dtk {

/// An experiment read from its file, its stages built.
struct Loaded {
    std::unique_ptr<Registry> registry;
    Experiment experiment;
    Diagnostics mistakes;
    at::Device device = at::kCPU;
};

/// Reads the experiment and settles device and threads. What is wrong is in `mistakes`.
void read(Loaded& loaded, const std::filesystem::path& file, const Overrides& overrides);

/// Where the run or stage in `folder` has the network that it calls so: an earlier stage, one it was given, or a folder
/// by its path.
std::filesystem::path folder_of_artefact(const std::filesystem::path& folder, const std::string& name);

/// A trained network by the folder of the run or stage that made it.
TrainedNetwork load_artefact(const std::filesystem::path& folder);

/// For a stage that is built anew from the folder of its run: the networks that it names, from where the command line
/// says, or where that folder had them. Both must outlive it.
Stage::Trained networks_of(const Loaded& loaded, const std::filesystem::path& folder);

/// Every stage, built as far as it can be. With `begins`, what [init] names must be there and fit.
std::map<std::string, std::shared_ptr<Stage>> check_stages(Loaded& loaded, bool begins = true);

}  // namespace dtk
