#pragma once
#include "base/progress.hpp"
#include "engine/stage.hpp"
#include "engine/trajectory.hpp"

namespace dtk {

/// Samples, and the x_T that each came from.
struct Drawn {
    Tensor samples, start;  ///< [n, ...] on the CPU
    double evaluations;     ///< of the network for each row; rows that only fill a portion up are not charged to others
    KeptTrajectory trajectory;
};

/// n samples of the stage's sampler. Row k depends on the seed and on k, not on how the rows are portioned:
/// every portion has the same size (what the last one holds too much is cut), so the network always sees the same
/// shape.
DTK_API Drawn draw_samples(const Stage& stage, const SampleSettings& settings, at::Device device,
                           Progress::Mode progress);

/// The first n true examples that training never sees: what samples are held against in pictures.
Tensor true_examples(const Dataset& data, std::int64_t n);

/// A grid for images, a scatter plot for points in the plane, a curve of the density on the line; nothing for others.
/// → the file's name, empty where there is none. Errors: Error when the picture cannot be made.
std::string draw_picture(const std::filesystem::path& folder, const std::string& name, const Tensor& samples,
                         const Dataset& data, const std::string& provenance);

}  // namespace dtk
