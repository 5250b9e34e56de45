#pragma once
#include <functional>
#include <map>
#include <memory>

#include <dtk/dataset.hpp>
#include <dtk/loss.hpp>
#include <dtk/metric.hpp>
#include <dtk/model.hpp>
#include <dtk/process.hpp>
#include <dtk/sampler.hpp>
#include <dtk/view.hpp>

#include "base/experiment.hpp"

namespace dtk {

/// How a network is asked.
struct Asking {
    const Random* random = nullptr;                      ///< for dropout; null outside training
    bool bf16 = false;                                   ///< matrix products and convolutions in bfloat16
    std::int64_t rows = 0;                               ///< asked for so many rows at a time, padded; 0: all at once
    std::optional<std::pair<double, double>> clip = {};  ///< x̂_0 is kept between these
};

/// The objects of one stage, built from what its file says, and the view its plugins have of one another.
class DTK_API Stage : public View {
 public:
    using Artefacts = std::function<Artefact(const std::string&)>;
    /// Builds dataset, process, model, loss, sampler and metrics in that order. What does not fit goes into `mistakes`;
    /// parts that need a part that failed are then left out.
    Stage(StageSpec& spec, std::int64_t seed, Artefacts artefacts, bool running, Mistakes& mistakes);

    const Dataset& dataset() const override { return given(dataset_, "data set"); }
    const Process& process() const override { return given(process_, "process"); }
    const Model& model() const override { return given(model_, "model"); }
    Random random(std::string_view stream) const override { return Random(static_cast<std::uint64_t>(seed_), stream); }
    Artefact artefact(const std::string& stage_or_run) const override { return artefacts_(stage_or_run); }
    bool running() const override { return running_; }

    /// For how many rows the network has been asked so far.
    std::int64_t rows_asked() const { return *rows_asked_; }
    bool has_dataset() const { return dataset_ != nullptr; }
    const StageSpec& spec() const { return spec_; }
    std::int64_t seed() const { return seed_; }
    const std::shared_ptr<Model>& model_ptr() const { return model_; }
    const std::shared_ptr<Process>& process_ptr() const { return process_; }
    const Loss* loss() const { return loss_.get(); }
    const Sampler* sampler() const { return sampler_.get(); }
    const std::vector<std::shared_ptr<Metric>>& metrics() const { return metrics_; }

    /// Every tensor a plugin of this stage owns, under the name of its part: "model.…", "process.…", "loss.…".
    std::vector<Module::Named> named_tensors() const;
    void to(at::Device device);
    void train(bool on);
    /// The model as losses and samplers see it: in portions, its products in bfloat16, its own earlier estimate fed
    /// back where it wants it, x̂_0 clipped, in that order. The random numbers must outlive the answer.
    Predict predict(const Asking& asking) const;

 private:
    template <class Part>
    const Part& given(const std::shared_ptr<Part>& part, const char* what) const {
        asked_in_vain_ = !part;
        if (!part) throw Error(std::string("it asks for the ") + what + " before that is built");
        return *part;
    }
    template <class Part>
    std::shared_ptr<Part> build(const PluginSpec& plugin, Mistakes& mistakes);

    StageSpec& spec_;
    std::int64_t seed_;
    Artefacts artefacts_;
    bool running_;
    mutable bool asked_in_vain_ = false;  ///< a plugin asked for a part that could not be built
    std::shared_ptr<std::int64_t> rows_asked_ = std::make_shared<std::int64_t>(0);
    std::shared_ptr<Dataset> dataset_;
    std::shared_ptr<Process> process_;
    std::shared_ptr<Model> model_;
    std::shared_ptr<Loss> loss_;
    std::shared_ptr<Sampler> sampler_;
    std::vector<std::shared_ptr<Metric>> metrics_;
};

}  // namespace dtk
