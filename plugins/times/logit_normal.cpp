// logit u ~ N(mean, sd²): the middle of the time, u = 1/(1 + e^{−z})
// Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis" (Stable Diffusion 3), 2024,
// eq. 19.
#include <algorithm>
#include <cmath>

#include <boost/math/distributions/normal.hpp>
#include <dtk/drawn_times.hpp>

namespace {
struct LogitNormal final : dtk::DensityTimes {
    struct Config : dtk::DensityTimes::Config {
        double mean = 0, sd = 1;
        void fields(dtk::Fields& f) {
            f("mean", mean, dtk::any_number(), "of logit u; above 0: more noise");
            f("sd", sd, dtk::above(0), "of logit u");
            dtk::DensityTimes::Config::fields(f);
        }
    };
    LogitNormal(const Config& config, const dtk::BuildContext& context)
        : DensityTimes(config, context), law_(config.mean, config.sd) {}

    double quantile(double r) const override { return 1 / (1 + std::exp(-boost::math::quantile(law_, r))); }
    double density(double u) const override {
        const double inside = std::min(u, 1 - 1e-12);
        return pdf(law_, std::log(inside / (1 - inside))) / (inside * (1 - inside));
    }

 private:
    boost::math::normal_distribution<double> law_;
};
}  // namespace

DTK_PLUGIN(Times, logit_normal, LogitNormal, "logit u is normal (Esser et al. 2024)")
