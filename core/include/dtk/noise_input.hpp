#pragma once
// How a network is shown x_t and told how noisy it is.
#include <memory>
#include <string>

#include <dtk/layers.hpp>
#include <dtk/process.hpp>

namespace dtk {

/// The sines and cosines of a noise level's label, and the scale of x_t. Labels: "time": 1000·t/T, which does not
/// depend on the number of steps; "u": (t+1)/T itself, which bends little with t, as derivatives by the time want it;
/// "log_snr": 25·log-SNR, ±20 at most, as wide as 1000; "c_noise": ¼ ln(σ/α) (Karras et
/// al. 2022, table 1).
class DTK_API NoiseInput : public Module {
 public:
    NoiseInput(PredictionType predicts, const std::string& label, std::int64_t features, const Process& process);
    /// [B] float64, on the device of x; its derivative goes with it where t has one in forward mode.
    Tensor label(const Tensor& x, const Time& t) const;
    /// → [B, features]
    Tensor embedding(const Tensor& x, const Time& t) const { return (*waves_)(label(x, t)); }
    /// c_in·x_t/α of a network that predicts EDM's F, c_in = 1/√(σ²/α² + σ_d²); else x_t.
    Tensor scaled(const Tensor& x, const Time& t) const;

 private:
    enum class Label { time, u, log_snr, c_noise } label_;
    const Process& process_;
    const GaussianProcess* scaling_ = nullptr;
    std::shared_ptr<SinusoidalEmbedding> waves_;
};

}  // namespace dtk
