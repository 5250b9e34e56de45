#pragma once
// Pictures of sampling: states x_t and estimates x̂_0 that are kept on the way.
#include <filesystem>
#include <string>
#include <vector>

#include <dtk/denoiser.hpp>

namespace dtk {

class Dataset;

/// Some states of the first samples' way, from x_T to the sample.
class KeptTrajectory {
 public:
    KeptTrajectory() = default;
    /// `states` of the way along falling times are kept, the first and the last among them; 0: none.
    KeptTrajectory(std::int64_t states, std::vector<double> times);
    bool empty() const { return wanted_.empty(); }
    /// x_T, or the state after step number `step` (from 1); x0: what was last estimated, undefined before the first
    /// step.
    void see(std::int64_t step, const Tensor& x, const Tensor& x0);
    /// trajectory.safetensors: x and x0 [states, rows, ...], t [states] (−1: clean data), and a picture: a strip of
    /// images, a fan of paths in the plane, or lines of numbers. → the picture's name, empty where there is none
    std::string save(const std::filesystem::path& folder, const Dataset& data, const std::string& provenance) const;

 private:
    static constexpr std::int64_t rows = 64;  ///< samples whose way is kept
    std::vector<std::int64_t> wanted_;        ///< steps
    std::vector<double> times_, t_;
    std::vector<Tensor> x_, x0_;
};

}  // namespace dtk
