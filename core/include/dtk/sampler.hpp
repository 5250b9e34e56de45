#pragma once
#include <functional>
#include <vector>

#include <dtk/grid.hpp>
#include <dtk/plugin.hpp>
#include <dtk/process.hpp>
#include <dtk/view.hpp>

#define DTK_Sampler_VERSION 1

namespace dtk {

/// Called after each step with its number (from 1), and the state.
using Watch = std::function<void(std::int64_t step, const Tensor& x)>;

/// x_T → x_0. A sampler owns the loop, knows no schedule and no network, and keeps nothing between two calls.
class DTK_API Sampler {
 public:
    static constexpr const char* kind = "sampler";

    /// The fields every sampler has; a sampler's own Config derives from it and calls its fields first.
    struct DTK_API Config {
        std::int64_t steps = 0;
        Choice<Grid> grid;
        void fields(Fields& f);
    };
    Sampler(const Config& config, const View& view);
    virtual ~Sampler();

    /// The times it visits, falling; without a number of steps, all T.
    std::vector<double> times(const Process& process) const;

    /// x: [B, ...] from the prior → [B, ...] samples. Runs without gradients unless it asks for them. At step i of the
    /// loop (from 0) a draw comes from `random.step(i)`; row k belongs to sample k of the call.
    virtual Tensor sample(const Predict& predict, const Process& process, const std::vector<double>& times, Tensor x,
                          const Context& context, const Random& random, const Watch& watch = {}) const = 0;

 private:
    std::int64_t steps_;
    std::shared_ptr<Grid> grid_;
};

/// A time for every row of x: [B] float64.
DTK_API Tensor rows_at(double t, const Tensor& x);

/// The process as a Gaussian one. Errors: Error that says that `who` needs one.
DTK_API const GaussianProcess& gaussian(const Process& process, const char* who);

}  // namespace dtk
