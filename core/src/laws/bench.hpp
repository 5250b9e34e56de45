#pragma once
// What a plugin is tried on: small data whose law is known, the default process over them, and their exact denoiser.
// Nothing here is a plugin but the one on trial, those of a default, and what its author names.
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <dtk/build_context.hpp>
#include <dtk/codec.hpp>
#include <dtk/conditioner.hpp>
#include <dtk/dataset.hpp>
#include <dtk/denoiser.hpp>
#include <dtk/metric.hpp>
#include <dtk/model.hpp>
#include <dtk/observation.hpp>
#include <dtk/process.hpp>
#include <dtk/schedule.hpp>

#include "base/registry.hpp"
#include "base/toml.hpp"

namespace dtk::laws {

/// What a plugin's constructor may look at. A copy shares the parts.
struct DTK_API Bench : BuildContext {
    Bench(std::string name, std::shared_ptr<Dataset> data) : name(std::move(name)), data(std::move(data)) {}

    std::string name;  ///< "points", "pictures of 3 classes"
    std::shared_ptr<Dataset> data;
    std::shared_ptr<Codec> code = {};
    std::shared_ptr<Dataset> latents = {};  ///< of the data, where there is a codec
    std::shared_ptr<Process> chain = {};
    std::shared_ptr<Model> network = {};  ///< the exact denoiser of the data, where their law is known
    std::shared_ptr<Observation> seen = {};
    std::map<std::string, TrainedNetwork> networks = {};  ///< by the name of the reference
    std::uint64_t seed = 1;
    bool drops = false;  ///< does training drop conditions?

    const Dataset& dataset() const override;
    Space space() const override;
    const Dataset& chain_data() const override { return latents ? *latents : dataset(); }
    const Process& process() const override;
    const Model& model() const override;
    Random random(std::string_view stream) const override { return {seed, stream}; }
    /// One that was named, else the bench's own network.
    TrainedNetwork trained(const Reference& reference) const override;
    bool running() const override { return true; }
    bool drops_conditions() const override { return drops; }
    const Observation* observation() const override { return seen.get(); }

    /// The network under the process, told nothing.
    Denoiser denoiser() const;
};

/// A plugin on trial: its file, the fields that its author or the command names, and what it is tried on.
class DTK_API Trial {
 public:
    /// named: tables by the names of kinds, as in an experiment: that of the plugin's own kind holds its fields, others
    /// replace parts of the bench, and [trained.NAME] makes the network of a reference. What is relative in them is so
    /// to `folder`.
    Trial(const Registry& registry, const PluginFile& plugin, toml::table named, std::filesystem::path folder);

    const PluginFile& plugin() const { return plugin_; }
    /// Does the author name a part of that kind for it?
    bool names(std::string_view kind) const { return named_.contains(kind); }
    /// Why its author does not want to be asked for that law, [not_asked] "law" = "why"; empty where he does.
    std::string excuse(const std::string& law) const { return named_["not_asked"][law].value_or(std::string()); }

    /// Those of the benches that the plugin can be built on, as it is named. Where its author names a data set there is
    /// only that one. Errors: Error with every reason where there is none.
    const std::vector<Bench>& benches() const;
    /// The plugin on that bench. more: further fields, "conditional = true". Errors: Error where it refuses.
    template <class Interface>
    std::shared_ptr<Interface> make(const Bench& bench, const std::string& more = {}) const {
        return std::static_pointer_cast<Interface>(build(bench, more));
    }
    /// The same, null where the plugin has no such fields or refuses them there.
    template <class Interface>
    std::shared_ptr<Interface> tried(const Bench& bench, const std::string& more) const {
        return std::static_pointer_cast<Interface>(tried(bench, more));
    }
    /// Another plugin by name (empty: the default of its kind), its fields from TOML: "steps = 50".
    template <class Interface>
    std::shared_ptr<Interface> other(const Bench& bench, const std::string& name,
                                     const std::string& fields = {}) const {
        return std::static_pointer_cast<Interface>(other(Interface::kind, name, fields, bench));
    }
    /// Those data with what the author names beside a data set. Null where he names other data or the plugin refuses
    /// these.
    std::optional<Bench> over(const std::string& name, std::shared_ptr<Dataset> data) const;
    /// The bench under a process of the same kind with other fields: "steps = 50".
    Bench under(Bench bench, const std::string& process_fields) const;

 private:
    std::shared_ptr<void> build(const Bench& bench, const std::string& more) const;
    std::shared_ptr<void> tried(const Bench& bench, const std::string& more) const;
    std::shared_ptr<void> other(const std::string& kind, const std::string& name, const std::string& fields,
                                const Bench& bench) const;
    std::shared_ptr<void> made(const std::string& kind, const toml::table& table, const Bench& bench) const;
    Bench furnished(Bench bench) const;

    const Registry& registry_;
    const PluginFile& plugin_;
    toml::table named_;
    std::filesystem::path folder_;
    mutable std::optional<std::vector<Bench>> benches_;
};

/// The same under a Gaussian process that says it knows its whole steps alone, or has other noise levels, or α = 0 at
/// its last step: for what looks at levels, since what predictions mean there stays as it was.
DTK_API Bench of_whole_steps(Bench bench);
DTK_API Bench under_levels(Bench bench, const NoiseLevels& levels);
DTK_API Bench ends_without_signal(Bench bench);

/// Training examples 0 … n − 1.
DTK_API Batch examples(const Bench& bench, std::int64_t n, at::ScalarType type = at::kFloat);
/// Rows first … first + n − 1 of a whole batch, which know where they stand in it.
DTK_API Batch part_of(const Batch& batch, std::int64_t first, std::int64_t n);

/// Numbers in the plane: a mixture of three normal laws, whose classes are its components; the law of all and of each
/// is known.
DTK_API std::shared_ptr<Dataset> points();
/// Normal numbers of that shape with that mean and deviation in every element, in `classes` classes that differ in
/// nothing.
DTK_API std::shared_ptr<Dataset> normal(std::vector<std::int64_t> shape, double mean, double sd,
                                        std::int64_t classes = 0);
/// 512 pictures of that shape in three classes, and as many for testing, [−1, 1] in 256 levels, whose law nobody
/// knows.
DTK_API std::shared_ptr<Dataset> pictures(std::vector<std::int64_t> shape = {1, 8, 12}, std::int64_t classes = 3);

/// E[x_0 | x_t], by the data's own law; told a class where classes have laws of their own.
DTK_API std::shared_ptr<Model> exact(std::shared_ptr<Dataset> data, std::shared_ptr<Process> process,
                                     PredictionType type = PredictionType::eps);

/// n true examples of set `number`, which neither training nor testing ever shows where there is an end of these; none
/// where nobody can make more.
DTK_API std::optional<Batch> new_examples(const Dataset& data, std::int64_t n, std::int64_t number = 0);

/// The numbers of those of data without end, among the training examples.
DTK_API Tensor new_numbers(std::int64_t n, std::int64_t number);

/// max |a − b|; infinite where a number is none, or shapes differ.
DTK_API double distance(const Tensor& a, const Tensor& b);
/// max |a − b| beside the size of b, where that is more than 1.
DTK_API double apart(const Tensor& a, const Tensor& b);
/// The same bits, shape and type.
DTK_API bool same_bits(const Tensor& a, const Tensor& b);
/// Do two threads that ask at once get what one alone gets?
DTK_API bool same_in_threads(const std::function<Tensor()>& ask);

}  // namespace dtk::laws
