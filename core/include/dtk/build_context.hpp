#pragma once
// What a plugin's constructor may look at.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <dtk/fields.hpp>
#include <dtk/prediction.hpp>
#include <dtk/random.hpp>

namespace dtk {

class Codec;
class Conditioner;
class Dataset;
class Denoiser;
class Model;
class Observation;
class Process;

/// What the chain lives in: that of the data set, or of the latents of a codec.
struct Space {
    std::vector<std::int64_t> shape;                      ///< of one example: {2} or {channels, height, width}
    std::optional<std::pair<double, double>> range = {};  ///< least and greatest value, where there are such
    int levels = 0;                                       ///< 256 for 8-bit values spread evenly over range
    std::int64_t classes = 0;                             ///< labels are 0 … classes−1; 0: no labels
    std::int64_t elements() const {
        std::int64_t n = 1;
        for (const auto size : shape) n *= size;
        return n;
    }
};

/// One of a stage's conditioners, by its name there (dtk/conditioner.hpp).
struct NamedConditioner {
    std::string name;
    std::shared_ptr<Conditioner> conditioner;
};

/// A network that an earlier stage or another run trained: frozen, with its average of the parameters, ready to be
/// asked.
struct TrainedNetwork {
    std::shared_ptr<Model> model;
    std::shared_ptr<Process> process;  ///< that it was trained under
    std::string sha256;                ///< of the checkpoint it was read from; empty while a file is only checked
    std::vector<NamedConditioner> conditioners = {};  ///< that make what it is told, in this order
    /// The network under its own process, told what its conditioners make of a condition.
    DTK_API Denoiser denoiser() const;
};

/// What a plugin's constructor may look at: what is already built (dataset, codec, observation, process, conditioners,
/// model, in this order), nothing to change.
class DTK_API BuildContext {
 public:
    virtual ~BuildContext();
    /// Errors: Error where it is not built yet, which is a fault of the plugin that asks.
    virtual const Dataset& dataset() const = 0;
    /// What models, processes and samplers ask in place of the data set.
    virtual Space space() const = 0;
    /// The examples as the chain has them: the data set itself, or the latents that a codec makes of it.
    virtual const Dataset& chain_data() const { return dataset(); }
    /// What a network is told: what is known of the examples, or what the conditioners make of that.
    virtual ConditionSpace condition_space() const;
    /// Does training drop conditions ([train] drop_condition), so that the network learns to be asked without them?
    virtual bool drops_conditions() const { return false; }
    virtual const Process& process() const = 0;
    virtual const Model& model() const = 0;
    /// The random numbers of the experiment's seed under that name.
    virtual Random random(std::string_view stream) const = 0;
    /// Errors: Error where there is none of that name.
    virtual TrainedNetwork trained(const Reference& reference) const = 0;
    /// False while a file is only checked: then nothing has been trained and artefacts of stages do not exist.
    virtual bool running() const = 0;
    /// What is known of what is drawn; null where nothing is. Whoever needs it asks dtk::observation, with words for
    /// that.
    virtual const Observation* observation() const { return nullptr; }
};

}  // namespace dtk
