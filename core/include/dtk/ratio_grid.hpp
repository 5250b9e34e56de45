#pragma once
// What grids share that are spaced in σ/α. No tensor.
#include <dtk/grid.hpp>

namespace dtk {

/// A grid whose points are noise-to-signal ratios σ_t/α_t between two ends, which are the schedule's unless named.
class DTK_API RatioGrid : public Grid {
 public:
    struct DTK_API Config {
        double sigma_min = 0, sigma_max = 0;
        void fields(Fields& f);
    };
    explicit RatioGrid(const Config& config) : config_(config) {}
    ~RatioGrid() override;
    std::vector<double> times(const NoiseLevels& levels, std::int64_t n) const final;

 protected:
    /// The ratio at `along`, 0 at the noisy end and 1 at the last point: `most` and `least` there.
    virtual double ratio(double least, double most, double along) const = 0;

 private:
    Config config_;
};

}  // namespace dtk
