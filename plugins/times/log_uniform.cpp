// log(σ/α) ~ U[log least, log most]: noise levels evenly in their logarithm
#include <cmath>

#include <dtk/drawn_times.hpp>
#include <dtk/schedule.hpp>

namespace {
struct LogUniform final : dtk::DensityTimes {
    struct Config : dtk::DensityTimes::Config {
        double least = 0, most = 0;
        void fields(dtk::Fields& f) {
            f("least", least, dtk::at_least(0), "smallest σ/α; 0: the schedule's after its first step");
            f("most", most, dtk::at_least(0), "largest σ/α; 0: the schedule's at its last step");
            dtk::DensityTimes::Config::fields(f);
        }
    };
    LogUniform(const Config& config, const dtk::BuildContext& context)
        : DensityTimes(config, context), process_(context.process()) {
        const auto& levels = process_.levels();
        const double first = config.least > 0 ? config.least : levels.ratio(levels.first());
        const double last = config.most > 0 ? config.most : levels.ratio(levels.last());
        if (!std::isfinite(last))
            throw dtk::Error("the schedule ends without signal, at an infinite σ/α", "name `most`, such as 80");
        if (!(first < last)) throw dtk::Error("`least` must be smaller than `most`", "swap them");
        low_ = std::log(first);
        high_ = std::log(last);
    }

    double quantile(double r) const override {
        const auto& levels = process_.levels();
        return (levels.time(-2 * (low_ + r * (high_ - low_))) + 1) / static_cast<double>(levels.steps());
    }
    double density(double u) const override {
        const auto& levels = process_.levels();
        const double t = u * static_cast<double>(levels.steps()) - 1;
        const auto [alpha, sigma, log_snr] = levels.at(t);
        if (-log_snr / 2 < low_ - 1e-12 || -log_snr / 2 > high_ + 1e-12) return 0;
        const auto [alpha_rate, sigma_rate] = levels.rates(t);
        return (sigma_rate / sigma - alpha_rate / alpha) / (high_ - low_);
    }

 private:
    const dtk::Process& process_;
    double low_, high_;
};
}  // namespace

DTK_PLUGIN(Times, log_uniform, LogUniform, "log(σ/α) is uniform")
