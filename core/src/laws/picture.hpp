#pragma once
// What a plugin does, as a picture.
#include <filesystem>

#include "laws/bench.hpp"

namespace dtk::laws {

/// A schedule's levels, a grid's times, a sampler's error, a data set's examples …, as .svg or .png; nothing for kinds
/// that have no picture. Errors: Error where it cannot be made.
void draw(const Trial& trial, const std::filesystem::path& file);

}  // namespace dtk::laws
