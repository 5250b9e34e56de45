// (t_i + 1)/T = B⁻¹(1 − i/n; a, b), B the distribution function of the beta law: dense at both ends for a, b < 1.
// Lee et al., "Beta Sampling is All You Need", 2024, with a = b = 0.6.
#include <boost/math/distributions/beta.hpp>

#include <dtk/grid.hpp>

namespace {
struct Beta final : dtk::Grid {
    struct Config {
        double a = 0.6, b = 0.6;
        void fields(dtk::Fields& f) {
            f("a", a, dtk::above(0), "below 1: dense at the clean end");
            f("b", b, dtk::above(0), "below 1: dense at the noisy end");
        }
    } c;
    explicit Beta(const Config& config) : c(config) {}

    std::vector<double> times(const dtk::NoiseLevels& levels, std::int64_t n) const override {
        const boost::math::beta_distribution<double> law(c.a, c.b);
        std::vector<double> t;
        for (std::int64_t i = 0; i < n; ++i) {
            const double share = static_cast<double>(n - i) / static_cast<double>(n);
            t.push_back(boost::math::quantile(law, share) * static_cast<double>(levels.steps()) - 1);
        }
        return t;
    }
};
}  // namespace

DTK_PLUGIN(Grid, beta, Beta, "times by the quantiles of a beta law (Lee et al. 2024)")
