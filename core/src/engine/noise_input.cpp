// How a network is shown x_t and told how noisy it is.
#include <dtk/noise_input.hpp>

#include <algorithm>

#include <dtk/schedule.hpp>

namespace dtk {

NoiseInput::NoiseInput(PredictionType predicts, const std::string& label, std::int64_t features, const Process& process)
    : label_(label == "time"      ? Label::time
             : label == "log_snr" ? Label::log_snr
                                  : Label::c_noise),
      process_(process) {
    if (predicts == PredictionType::edm) scaling_ = &gaussian(process, "prediction = \"edm\"");
    const double scale = label_ == Label::time      ? 1000.0 / static_cast<double>(process.steps())
                         : label_ == Label::log_snr ? 25
                                                    : 1;
    waves_ = child("waves", std::make_shared<SinusoidalEmbedding>(features, scale));
}

Tensor NoiseInput::label(const Tensor& x, const Time& t) const {
    if (label_ == Label::time) return t.on(x);
    const auto& levels = process_.levels();
    const double scale = label_ == Label::log_snr ? 1 : -1.0 / 8;
    return t.map([&](double t) { return scale * std::clamp(levels.log_snr(t), -20.0, 20.0); }).rows(x);
}

Tensor NoiseInput::scaled(const Tensor& x, const Time& t) const {
    if (!scaling_) return x;
    const double sd = scaling_->data_sd();
    return (1.0 / sqrt(square(scaling_->sigma(t)) + square(scaling_->alpha(t)) * (sd * sd))) * x;
}

}  // namespace dtk
