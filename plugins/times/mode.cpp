// u = f(r) = 1 − r − κ·(cos²(½πr) − 1 + r),  r ~ U[0, 1]: heavier tails than logit_normal, both ends are drawn
// Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis" (Stable Diffusion 3), 2024,
// eq. 20.
#include <cmath>
#include <numbers>

#include <boost/math/tools/toms748_solve.hpp>
#include <dtk/drawn_times.hpp>

namespace {
struct Mode final : dtk::DensityTimes {
    struct Config : dtk::DensityTimes::Config {
        double kappa = 1.29;
        void fields(dtk::Fields& f) {
            f("kappa", kappa, dtk::in(-1, 2 / (std::numbers::pi - 2)),
              "κ; 0: uniform, above 0: the middle of the time");
            dtk::DensityTimes::Config::fields(f);
        }
    };
    Mode(const Config& config, const dtk::BuildContext& context)
        : DensityTimes(config, context), kappa_(config.kappa) {}

    double quantile(double r) const override {
        return 1 - r - kappa_ * (std::pow(std::cos(std::numbers::pi / 2 * r), 2) - 1 + r);
    }
    double density(double u) const override {
        boost::uintmax_t most = 100;
        const auto off = [&](double r) { return quantile(r) - u; };
        if (off(0) <= 0 || off(1) >= 0) return 1 / slope(off(0) <= 0 ? 0 : 1);
        const auto [a, b] =
            boost::math::tools::toms748_solve(off, 0.0, 1.0, boost::math::tools::eps_tolerance<double>(50), most);
        return 1 / slope((a + b) / 2);
    }

 private:
    /// −df/dr
    double slope(double r) const { return 1 + kappa_ * (1 - std::numbers::pi / 2 * std::sin(std::numbers::pi * r)); }
    double kappa_;
};
}  // namespace

DTK_PLUGIN(Times, mode, Mode, "a mode in the middle and heavy tails (Esser et al. 2024)")
