#pragma once
// Samples in the file that they are written to as they come. Who looks at them afterwards sees the file and not a copy
// in memory, so that memory does not grow with their number.
#include <filesystem>
#include <map>
#include <string>

#include "engine/sampling.hpp"

namespace dtk {

/// What draw_into has drawn.
struct SampleFile {
    Tensor samples, start;        ///< [n, ...], as they lie in files; no start where it is not wanted
    double evaluations = 0;       ///< of the network for each row
    KeptTrajectory trajectory;    ///< where [sample] asks for it
    std::int64_t not_finite = 0;  ///< samples with an element that is no finite number
};

/// Draws the samples of the stage into that safetensors file, with the classes that were asked for, `labels`, where the
/// network or its guidance looks at them; how those are called stands in the metadata under `class_names`. Errors: as
/// draw_samples; there is then no such file.
DTK_API SampleFile draw_into(const std::filesystem::path& file, const Stage& stage, const SampleSettings& settings,
                             at::Device device, Progress::Mode progress, std::map<std::string, std::string> metadata,
                             bool want_start);

}  // namespace dtk
