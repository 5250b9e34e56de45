// t_i = T−1 at the noisy end and denser towards the data: (t_i + 1)/T = ((n − i)/n)²
// The quadratic selection of Song, Meng & Ermon, "Denoising Diffusion Implicit Models", 2020, appendix D.2, to the end.
#include <cmath>

#include <dtk/grid.hpp>

namespace {
struct Quadratic final : dtk::Grid {
    std::vector<double> times(const dtk::NoiseLevels& levels, std::int64_t n) const override {
        std::vector<double> t;
        for (std::int64_t i = 0; i < n; ++i) {
            const double left = static_cast<double>(n - i) / static_cast<double>(n);
            t.push_back(left * left * static_cast<double>(levels.steps()) - 1);
        }
        return t;
    }
};
}  // namespace

DTK_PLUGIN(Grid, quadratic, Quadratic, "squares of evenly spaced numbers, dense near the data (Song et al. 2020)")
