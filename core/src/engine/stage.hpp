#pragma once
// The objects of one stage, built from what its file says, and what its plugins may see of one another.
#include <functional>
#include <map>
#include <memory>

#include <dtk/build_context.hpp>
#include <dtk/codec.hpp>
#include <dtk/conditioner.hpp>
#include <dtk/dataset.hpp>
#include <dtk/denoiser.hpp>
#include <dtk/guidance.hpp>
#include <dtk/loss.hpp>
#include <dtk/metric.hpp>
#include <dtk/model.hpp>
#include <dtk/observation.hpp>
#include <dtk/process.hpp>
#include <dtk/sampler.hpp>
#include <dtk/times.hpp>
#include <dtk/tokenizer.hpp>
#include <dtk/weighting.hpp>

#include "base/experiment.hpp"
#include "engine/remembered_data.hpp"

namespace dtk {

/// How a network is asked.
struct DenoiserOptions {
    const Random* random = nullptr;                      ///< for dropout; null outside training
    bool recompute = false;                              ///< inner values are computed again for the gradient
    bool bf16 = false;                                   ///< matrix products and convolutions in bfloat16
    std::int64_t rows = 0;                               ///< asked for so many rows at a time, padded; 0: all at once
    bool guided = false;                                 ///< with [[guidance]] around it
    std::optional<std::pair<double, double>> clip = {};  ///< x̂_0 is kept between these
};

class DTK_API Stage : public BuildContext {
 public:
    using Trained = std::function<TrainedNetwork(const std::string&)>;
    /// Builds the parts in the order of `stage_parts`. What does not fit goes into `mistakes`; parts that need a part
    /// that failed are then left out. With `remembered`, data that cannot be read are no mistake: that stands in
    /// for them, and metrics that need more say so when they are asked.
    Stage(StageSpec& spec, std::int64_t seed, Trained trained, bool running, Diagnostics& mistakes,
          std::optional<RememberedData> remembered = {});

    const Dataset& dataset() const override { return given<Dataset>("data set"); }
    Space space() const override;
    const Dataset& chain_data() const override;
    ConditionSpace condition_space() const override;
    /// Where nothing is trained, as the network that it begins as was.
    bool drops_conditions() const override;
    const Process& process() const override { return given<Process>("process"); }
    const Model& model() const override { return given<Model>("model"); }
    /// Of the experiment's seed. In a file of several stages the initial values and all of training are a stage's own;
    /// data, sampling and metrics are shared.
    Random random(std::string_view stream) const override;
    TrainedNetwork trained(const Reference& reference) const override;
    bool running() const override { return running_; }
    const Observation* observation() const override;

    /// The trained networks that its plugins asked for, by the name in the file.
    const std::map<std::string, TrainedNetwork>& trained_networks() const { return trained_; }
    const StageSpec& spec() const { return spec_; }
    /// What its data are divided into; none where they have no classes.
    Classes classes() const { return classes_of(dataset()); }
    /// The conditioners, in the order in which they work.
    std::vector<NamedConditioner> conditioners() const;
    /// Can the network be asked without a condition?
    bool knows_null_condition() const;
    /// Is anything told the class while samples are drawn? A network that was built without classes, and is not guided,
    /// answers whatever was asked for.
    bool looks_at_classes() const;
    /// Why the data cannot be read, where their space stands in for them; else empty.
    const std::string& missing_data() const { return missing_data_; }
    std::int64_t seed() const { return seed_; }
    /// What orders the training data.
    std::uint64_t data_seed() const;
    /// For how many rows the network has been asked so far, padding left out.
    std::int64_t rows_asked() const { return *rows_asked_; }

    /// The part of that kind, null where there is none.
    template <class Part>
    std::shared_ptr<Part> part() const {
        const auto found = parts_.find(Part::kind);
        return found == parts_.end() || found->second.empty() ? nullptr
                                                              : std::static_pointer_cast<Part>(found->second.front());
    }
    template <class Part>
    std::vector<std::shared_ptr<Part>> list() const {
        std::vector<std::shared_ptr<Part>> all;
        if (const auto found = parts_.find(Part::kind); found != parts_.end())
            for (const auto& one : found->second) all.push_back(std::static_pointer_cast<Part>(one));
        return all;
    }

    /// The parts that may own tensors, with their kinds.
    std::vector<std::pair<std::string, std::shared_ptr<Module>>> modules() const;
    /// Every tensor a plugin of this stage owns, under the kind of its part: "model.…", "process.…",
    /// "conditioner.NAME.…".
    std::vector<Module::Named> named_tensors() const;
    void to(at::Device device);
    void train(bool on);

    /// The model as losses and samplers see it. From the inside out: the network, its products in bfloat16, chunks of
    /// rows, in training self-conditioning, guidance in the order of the file, x̂_0 clipped. What sampling feeds back
    /// belongs to a trajectory (Denoiser::begin). The random numbers must outlive the answer.
    Denoiser denoiser(const DenoiserOptions& options, Condition condition = {}) const;

 private:
    template <class Part>
    const Part& given(const char* what) const {
        const auto part = this->part<Part>();
        asked_in_vain_ = !part;
        if (!part) throw Error(std::string("it asks for the ") + what + " before that is built");
        return *part;
    }
    void build(const PluginSpec& plugin, Diagnostics& mistakes);
    void check_codec(Diagnostics& mistakes) const;
    /// → does the process know what to do with its answers?
    bool check_model(Diagnostics& mistakes) const;
    void check_sampling(Diagnostics& mistakes) const;
    void check_labels(Diagnostics& mistakes) const;
    void check_tokens(Diagnostics& mistakes) const;
    void check_observation(const Observation& seen, Diagnostics& mistakes) const;

    StageSpec& spec_;
    std::int64_t seed_;
    Trained find_trained_;
    mutable std::map<std::string, TrainedNetwork> trained_;  ///< those that were asked for, by the name in the file
    bool running_;
    std::optional<RememberedData> remembered_;
    std::string missing_data_;
    mutable bool asked_in_vain_ = false;  ///< a plugin asked for a part that could not be built
    mutable bool observation_used_ = false;
    std::shared_ptr<std::int64_t> rows_asked_ = std::make_shared<std::int64_t>(0);
    std::map<std::string, std::vector<std::shared_ptr<void>>> parts_;
    std::shared_ptr<const Dataset> latents_;  ///< null without a codec
};

}  // namespace dtk
