// log(σ/α) ~ N(mean, sd²), cut to the schedule's noise levels
// Karras, Aittala, Aila & Laine, "Elucidating the Design Space of Diffusion-Based Generative Models", 2022, table 1:
// mean −1.2 and sd 1.2 for data of standard deviation ½; EDM2, 2024: −0.4 and 1.
#include <cmath>

#include <boost/math/distributions/normal.hpp>
#include <dtk/drawn_times.hpp>
#include <dtk/schedule.hpp>

namespace {
struct LogNormal final : dtk::DensityTimes {
    struct Config : dtk::DensityTimes::Config {
        double mean = -1.2, sd = 1.2;
        void fields(dtk::Fields& f) {
            f("mean", mean, dtk::any_number(), "of log(σ/α)");
            f("sd", sd, dtk::above(0), "of log(σ/α)");
            dtk::DensityTimes::Config::fields(f);
        }
    };
    LogNormal(const Config& config, const dtk::BuildContext& context)
        : DensityTimes(config, context), process_(context.process()), law_(config.mean, config.sd) {
        const auto& levels = process_.levels();
        const double T = static_cast<double>(levels.steps()), most = levels.ratio(levels.last());
        const double least = levels.ratio(1e-9 * T - 1);
        below_ = least > 0 ? cdf(law_, std::log(least)) : 0;
        above_ = std::isfinite(most) ? cdf(law_, std::log(most)) : 1;
        if (!(above_ - below_ > 1e-6))
            throw dtk::Error("hardly any of these times lies between the schedule's noise levels",
                             "move `mean` to where the schedule has noise");
    }

    double quantile(double r) const override {
        const auto& levels = process_.levels();
        const double log_ratio = boost::math::quantile(law_, below_ + r * (above_ - below_));
        return (levels.time(-2 * log_ratio) + 1) / static_cast<double>(levels.steps());
    }
    double density(double u) const override {
        const auto& levels = process_.levels();
        const double t = u * static_cast<double>(levels.steps()) - 1;
        const auto [alpha, sigma, log_snr] = levels.at(t);
        const auto [alpha_rate, sigma_rate] = levels.rates(t);
        return pdf(law_, -log_snr / 2) / (above_ - below_) * (sigma_rate / sigma - alpha_rate / alpha);
    }

 private:
    const dtk::Process& process_;
    boost::math::normal_distribution<double> law_;
    double below_, above_;
};
}  // namespace

DTK_PLUGIN(Times, log_normal, LogNormal, "log(σ/α) is normal (Karras et al. 2022)")
