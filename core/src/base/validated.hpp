#pragma once
// The held-out errors of a run, as its log has them.
#include <cstdint>
#include <filesystem>
#include <optional>

#include <string>

#include <dtk/api.hpp>
#include <nlohmann/json.hpp>

namespace dtk {

/// What held-out examples gave at one step.
struct Validated {
    std::int64_t step = 0;
    double error = 0;                          ///< of the parameters themselves
    std::optional<double> average_error = {};  ///< of their first average, where there is one
    /// Of what is sampled: the average, where there is one.
    double of_sampled() const { return average_error.value_or(error); }
};

/// What a line of metrics.jsonl says of them; nothing where none were measured at its step.
DTK_API std::optional<Validated> validated_in(const nlohmann::json& line);

struct DTK_API Validations {
    std::optional<Validated> best, last;  ///< the first of those with the least error of what is sampled; the newest
    void add(const Validated& one);
    /// "0.0312 at step 6000 (0.0331 without the average), least 0.0309 at step 4500"; empty where there are none.
    std::string in_words() const;
    /// For run.json; null where there are none.
    nlohmann::json record() const;
};

/// By the metrics.jsonl in the folder of a run or of one of its stages.
DTK_API Validations validations_in(const std::filesystem::path& folder);

}  // namespace dtk
