#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <dtk/prediction.hpp>
#include <dtk/random.hpp>

namespace dtk {

class Dataset;
class Model;
class Process;

/// A network that an earlier stage or another run trained, ready to be asked.
struct Artefact {
    std::shared_ptr<Model> model;
    std::shared_ptr<Process> process;
    std::string sha256;  ///< of the checkpoint it was read from
};

/// What a plugin's constructor may look at: what is already built (dataset, then process, then model), nothing to
/// change.
class DTK_API View {
 public:
    virtual ~View();
    /// Errors: Error where it is not built yet, which is a fault of the plugin that asks.
    virtual const Dataset& dataset() const = 0;
    virtual const Process& process() const = 0;
    virtual const Model& model() const = 0;
    /// The random numbers of the experiment's seed under that name.
    virtual Random random(std::string_view stream) const = 0;
    /// The network of an earlier stage of this file (by its name) or of a run (by its folder), with its average of the
    /// parameters, frozen. Errors: Error where there is none.
    virtual Artefact artefact(const std::string& stage_or_run) const = 0;
    /// False while a file is only checked: then nothing has been trained and artefacts of stages do not exist.
    virtual bool running() const = 0;
};

}  // namespace dtk
