#pragma once
// What time samplers share that draw real times from a density of their own.
#include <functional>

#include <dtk/build_context.hpp>
#include <dtk/fields.hpp>
#include <dtk/times.hpp>

namespace dtk {

/// Times by the quantiles of a density in u = (t+1)/T. As published such a density is a part of the objective; with
/// `importance` its draws are weighed back, so that the objective is that of uniform times.
class DTK_API DensityTimes : public Times {
 public:
    struct DTK_API Config {
        bool importance = false, stratified = true;
        void fields(Fields& f);
    };
    /// Errors: Error where the process knows only whole steps.
    DensityTimes(const Config& config, const BuildContext& context);
    ~DensityTimes() override;
    SampledTimes draw(const Batch& batch, const Process& process, const Random& random) const final;
    /// How much times near u count in the objective: the density of their draws in u times their weight. Of times that
    /// are weighed back to uniform ones, as all others are, that is 1.
    double counts(double u) const;

 protected:
    /// The u in (0, 1] below which a share r in (0, 1) of the draws lies, or any u that is drawn as often.
    virtual double quantile(double r) const = 0;
    /// Density of the draws at u, 0 where there are none.
    virtual double density(double u) const = 0;

 private:
    Config config_;
};

}  // namespace dtk
