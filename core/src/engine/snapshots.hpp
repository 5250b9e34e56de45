#pragma once
// Averages by a power of the time: copies of them that a run keeps while it trains, and averages of other widths made
// of those (EDM2, Karras et al. 2024, section 3.2).
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <dtk/optimizer.hpp>

namespace dtk {

/// One such average, as it stands.
struct PowerAverage {
    std::string name;
    double power;  ///< γ
    NamedTensors tensors;
};

/// Keeps a copy in the stage's folder, snapshots/STEP.safetensors.
DTK_API void save_snapshot(const std::filesystem::path& stage, std::int64_t step,
                           const std::vector<PowerAverage>& averages);

/// Those of later steps, and what was made of them, go: training comes by these steps again.
void forget_snapshots_after(const std::filesystem::path& stage, std::int64_t step);

/// The step of the newest copy. Errors: UserError where there is none.
std::int64_t newest_snapshot(const std::filesystem::path& stage);

/// An average of a width that none had while training went on.
struct MadeAverage {
    double width;
    /// How far its profile is from the wanted one, as a share of that: √∫(p̂ − p)²/√∫p².
    double off = 0;
    std::int64_t copies = 0;  ///< that it was made of
    NamedTensors tensors = {};
};

/// "width=0.08", what [sample] calls it, and back; nothing where a name says no width.
std::string name_of_width(double width);
std::optional<double> width_named(const std::string& name);

/// The averages of those widths at that step, from the copies up to it by least squares; what has been made before is
/// read from averages/STEP/ of the stage's folder, and kept there. Errors: UserError where there are no copies, or they
/// are damaged.
DTK_API std::vector<MadeAverage> made_averages(const std::filesystem::path& stage, std::int64_t step,
                                               const std::vector<double>& widths);

}  // namespace dtk
