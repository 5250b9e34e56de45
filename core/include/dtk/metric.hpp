#pragma once
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <dtk/dataset.hpp>
#include <dtk/plugin.hpp>
#include <dtk/process.hpp>
#include <dtk/view.hpp>

#define DTK_Metric_VERSION 3

namespace dtk {

/// What a run has to show: the network and, where they were drawn, its samples.
struct Outcome {
    Tensor samples;  ///< [n, ...] on the CPU; undefined where none were drawn
    const Dataset& data;
    const Process& process;
    Predict predict;               ///< the network as it is sampled with
    at::Device device = at::kCPU;  ///< where the network wants its input
    Tensor start = {};             ///< x_T that each sample came from, as `samples`
    /// To be told how far long work has come.
    std::function<void(std::int64_t done, std::int64_t of)> progress = [](std::int64_t, std::int64_t) {};
};

/// One number, and what it would be for a perfect model with as many samples.
struct Measurement {
    double value = 0;
    double standard_error = 0;            ///< of the value, where it was estimated at random times or examples
    std::optional<double> expected = {};  ///< mean of the value over sets of true samples; unset: nobody knows
    double expected_sd = 0;               ///< its standard deviation
    bool two_sided = true;                ///< is a value below the expected one a fault too?
    double tolerance = 0;                 ///< beyond four standard deviations, what still passes
    std::optional<double> limit = {};  ///< the largest value that passes, where it is not expected + 4 sd + tolerance
    std::vector<std::pair<std::string, double>> parts = {};  ///< what the value is made of, and numbers beside it
    std::string note = {};                                   ///< what the number is, in a few words, with its unit
    /// Is it what true samples would give? Unset where that is not known.
    std::optional<bool> passes() const {
        if (limit) return value <= *limit;
        if (!expected) return std::nullopt;
        const double away = value - *expected;
        return (two_sided && away < 0 ? -away : away) <= 4 * expected_sd + tolerance;
    }
};

/// How good is a model? One number with its noise floor.
class DTK_API Metric {
 public:
    static constexpr const char* kind = "metric";
    virtual ~Metric();
    /// Errors: Error where the data lack what the metric needs (say so in the constructor already, which sees the
    /// dataset).
    virtual Measurement measure(const Outcome& outcome, const Random& random) const = 0;
    /// Does it look at samples? Where not, a run without [sample] can be measured too.
    virtual bool needs_samples() const { return true; }
};

/// The density of the data. Errors: Error that says that `who` needs one.
DTK_API const Density& known_density(const Dataset& data, const char* who);

}  // namespace dtk
