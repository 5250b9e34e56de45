#pragma once
#include <optional>
#include <string>

#include <dtk/dataset.hpp>
#include <dtk/plugin.hpp>
#include <dtk/view.hpp>

#define DTK_Metric_VERSION 1

namespace dtk {

/// One number, and what it would be for a perfect sampler with as many samples.
struct Measurement {
    double value = 0;
    double expected = 0;     ///< mean of the value over sets of true samples
    double expected_sd = 0;  ///< its standard deviation
    bool two_sided = true;   ///< is a value below the expected one a fault too?
    double tolerance = 0;    ///< beyond four standard deviations, what still passes
    std::optional<double> limit = {};  ///< the largest value that passes, where it is not expected + 4 sd + tolerance
    std::string note = {};   ///< what the number is, in a few words, with its unit
    bool passes() const {
        if (limit) return value <= *limit;
        const double away = value - expected;
        return (two_sided && away < 0 ? -away : away) <= 4 * expected_sd + tolerance;
    }
};

/// How good are samples? One number with its noise floor.
class DTK_API Metric {
 public:
    static constexpr const char* kind = "metric";
    virtual ~Metric();
    /// samples: [n, ...] → the measurement. Errors: Error where the data lack what the metric needs (say so in the
    /// constructor already, which sees the dataset).
    virtual Measurement measure(const Tensor& samples, const Dataset& data, const Random& random) const = 0;
};

/// The density of the data. Errors: Error that says that `who` needs one.
DTK_API const Density& known_density(const Dataset& data, const char* who);

}  // namespace dtk
