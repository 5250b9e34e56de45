#pragma once
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <dtk/better.hpp>
#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>
#include <dtk/denoiser.hpp>
#include <dtk/plugin.hpp>
#include <dtk/process.hpp>

#define DTK_Metric_VERSION 10_0

namespace dtk {

/// What a run has to show: the network and, where they were drawn, its samples.
struct EvaluationInput {
    Tensor samples;       ///< [n, ...] on the CPU; undefined where none were drawn
    const Dataset& data;  ///< what samples are held against
    const Process& process;
    Denoiser denoise;              ///< the network as it is sampled with; every call begins a trajectory of its own
    at::Device device = at::kCPU;  ///< where the network wants its input
    Tensor start = {};             ///< x_T that each sample came from, as `samples`
    /// To be told how far long work has come.
    std::function<void(std::int64_t done, std::int64_t of)> progress = [](std::int64_t, std::int64_t) {};
    const Observation* observation = nullptr;  ///< what was known of the samples beforehand; null: nothing
    std::optional<double> start_time = {};     ///< t of `start`, where the sampler's grid begins; unset: T−1
    const Dataset* latents = nullptr;          ///< the examples as a codec makes them; null: there is none
    std::vector<std::string> captions = {};    ///< what each sample was to show; empty: nothing was said in words
    Tensor labels = {};                        ///< [n] int64, the class each was to be of; undefined: of none
    /// The examples as the chain has them: what the network is asked about.
    const Dataset& chain_data() const { return latents ? *latents : data; }
};

/// What a metric's number is, known before anything is measured.
struct MetricCard {
    Better better = Better::less;
    std::string unit = {};  ///< "nats", "bits/dim", "share"; empty: a pure number
};

/// One number, and what it would be for a perfect model with as many samples.
struct MetricResult {
    double value = 0;                     ///< may be infinite; not a number where it is undefined
    double standard_error = 0;            ///< of the value, where it was estimated at random times or examples
    std::optional<double> expected = {};  ///< mean of the value over sets of true samples; unset: nobody knows
    double expected_sd = 0;               ///< its standard deviation
    double tolerance = 0;                 ///< beyond four standard deviations, what still passes
    std::optional<double> limit = {};  ///< the last value that passes, where it is not 4 sd + tolerance from expected
    std::vector<std::pair<std::string, double>> parts = {};  ///< what the value is made of, and numbers beside it
    std::string note = {};                                   ///< what the number is, in a few words, with its unit
    std::int64_t n = 0;         ///< samples, or examples, that it is of; 0: all samples that were drawn
    std::string split = {};     ///< "train" or "test": the examples that it looked at; empty: none
    std::string features = {};  ///< what it saw of them: "pixels", or the SHA-256 of a network; empty: the examples
    MetricCard card = {};       ///< filled in by Metric::evaluate
    /// Is it what true samples would give? Unset where that is not known.
    DTK_API std::optional<bool> passes() const;
};

/// How good is a model? One number with its noise floor.
class DTK_API Metric {
 public:
    static constexpr const char* kind = "metric";
    virtual ~Metric();
    /// Which values are good, and their unit: the same for every call.
    virtual MetricCard card() const = 0;
    /// Errors: Error where the data lack what the metric needs (say so in the constructor already, which sees the
    /// dataset).
    virtual MetricResult measure(const EvaluationInput& input, const Random& random) const = 0;
    /// Does it look at samples? Where not, a run without [sample] can be measured too.
    virtual bool needs_samples() const { return true; }
    /// What it measures, with its card. Errors: those of `measure`; PluginError where it changed the samples, which
    /// others are still to look at.
    MetricResult evaluate(const EvaluationInput& input, const Random& random) const;
};

/// The density of the data. Errors: Error that says that `who` needs one.
DTK_API const Density& known_density(const Dataset& data, const char* who);

}  // namespace dtk
