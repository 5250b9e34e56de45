// How a network is shown x_t and told how noisy it is.
#include <dtk/noise_input.hpp>

#include <algorithm>

#include <dtk/schedule.hpp>

namespace dtk {

NoiseInput::NoiseInput(PredictionType predicts, const std::string& label, std::int64_t features, const Process& process)
    : label_(label == "time"      ? Label::time
             : label == "u"       ? Label::u
             : label == "log_snr" ? Label::log_snr
                                  : Label::c_noise),
      process_(process) {
    if (predicts == PredictionType::edm) scaling_ = &gaussian(process, "prediction = \"edm\"");
    const double scale = label_ == Label::time      ? 1000.0 / static_cast<double>(process.steps())
                         : label_ == Label::u       ? 1.0 / static_cast<double>(process.steps())
                         : label_ == Label::log_snr ? 25
                                                    : 1;
    waves_ = child("waves", std::make_shared<SinusoidalEmbedding>(features, scale));
}

Tensor NoiseInput::label(const Tensor& x, const Time& t) const {
    if (label_ == Label::time) return t.on(x);
    if (label_ == Label::u) return t.on(x) + 1;
    const auto& levels = process_.levels();
    const double scale = label_ == Label::log_snr ? 1 : -1.0 / 8;
    const auto label = t.map([&](double t) { return scale * std::clamp(levels.log_snr(t), -20.0, 20.0); }).rows(x);
    if (t.uniform()) return label;
    // Where t is differentiated in forward mode, so is what is a function of it on the host.
    constexpr std::uint64_t level = 0;
    const auto& rate = t.rows(x.size(0))._fw_grad(level);
    if (!rate.defined()) return label;
    const auto slope = t.map([&](double t) {
        const auto at = levels.at(t);
        if (!(std::abs(at.log_snr) < 20)) return 0.0;
        const auto [alpha_rate, sigma_rate] = levels.rates(t);
        return scale * 2 * (alpha_rate / at.alpha - sigma_rate / at.sigma) / static_cast<double>(levels.steps());
    });
    return at::_make_dual(label, (slope.rows(x) * rate.to(x.device())).detach(), level);
}

Tensor NoiseInput::scaled(const Tensor& x, const Time& t) const {
    if (!scaling_) return x;
    const double sd = scaling_->data_sd();
    return (1.0 / sqrt(square(scaling_->sigma(t)) + square(scaling_->alpha(t)) * (sd * sd))) * x;
}

}  // namespace dtk
