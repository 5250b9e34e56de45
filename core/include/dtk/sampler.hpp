#pragma once
// x_T → x_0: samplers.
#include <functional>
#include <vector>

#include <dtk/build_context.hpp>
#include <dtk/denoiser.hpp>
#include <dtk/grid.hpp>
#include <dtk/plugin.hpp>
#include <dtk/process.hpp>
#include <dtk/schedule.hpp>

#define DTK_Sampler_VERSION 4_0

namespace dtk {

/// Called after each step with its number (from 1) and the state.
using StepCallback = std::function<void(std::int64_t step, const Tensor& x)>;
DTK_API void ignore_step(std::int64_t step, const Tensor& x);

/// One step of a trajectory, from t to the earlier s.
struct Step {
    std::int64_t i;  ///< from 0
    double t, s;     ///< s = −1 in the last step
    bool last;
};

/// The steps along falling times, the last one to −1.
DTK_API std::vector<Step> steps_along(const std::vector<double>& times);

/// A sampler owns the loop, knows no network, and keeps nothing between two calls.
class DTK_API Sampler {
 public:
    static constexpr const char* kind = "sampler";

    /// The fields every sampler has; a sampler's own Config derives from it and calls its fields first.
    struct DTK_API Config {
        std::int64_t steps = 0;
        Part<Grid> grid;
        void fields(Fields& f);
    };
    Sampler(const Config& config, const BuildContext& context);
    virtual ~Sampler();

    /// The times it visits, falling; without a number of steps, all T. Errors: Error where the grid's times are not
    /// exactly that many, falling, inside 0 … T−1, and whole where the process knows only whole steps.
    std::vector<double> times(const Process& process) const;

    /// x: [B, ...] from the prior at times.front() → [B, ...] samples. Runs without gradients unless it asks for them.
    /// At step i (from 0) a draw comes from `random.step(i)`; row k belongs to sample k of the call. `done` is never
    /// empty.
    virtual Tensor sample(const Denoiser& denoise, const std::vector<double>& times, Tensor x, const Random& random,
                          const StepCallback& done = ignore_step) const = 0;
    /// Does it draw the process's reverse steps, so that guidance can move their mean?
    virtual bool draws_reverse_steps() const { return false; }

 private:
    std::int64_t steps_;
    std::shared_ptr<Grid> grid_;
};

/// A sampler of the Gaussian family. Errors: Error in the constructor where the process is another.
class DTK_API GaussianSampler : public Sampler {
 public:
    GaussianSampler(const Config& config, const BuildContext& context);
    ~GaussianSampler() override;
};

}  // namespace dtk
