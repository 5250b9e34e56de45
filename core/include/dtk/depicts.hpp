#pragma once
// Data sets whose examples are neither images nor points, and that show them themselves.
#include <filesystem>
#include <string>

#include <dtk/api.hpp>
#include <dtk/tensor.hpp>

namespace dtk {

/// What a data set is beside Dataset where it makes pictures of examples, and files that other programs open.
class DTK_API Depicts {
 public:
    virtual ~Depicts();
    /// Writes FOLDER/NAME.svg, and whatever else is to begin with NAME. x: [n, ...] samples, or examples; beside them
    /// `truth`, [m, ...] held-out examples; undefined: none. Errors: Error.
    virtual void depict(const std::filesystem::path& folder, const std::string& name, const Tensor& x,
                        const Tensor& truth) const = 0;
    /// The same of states on the way to samples, [states, n, ...].
    virtual void depict_way(const std::filesystem::path& folder, const std::string& name, const Tensor& x) const = 0;
};

}  // namespace dtk
