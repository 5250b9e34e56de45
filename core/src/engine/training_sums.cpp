// Sums of training's numbers.
#include "engine/training_sums.hpp"

#include <algorithm>
#include <cmath>

namespace dtk {

TrainingSums::TrainingSums(at::Device device)
    : device_(device), first_bad_(at::full({}, -1, at::TensorOptions(device).dtype(at::kLong))) {
    clear();
}

void TrainingSums::clear() {
    const auto options = at::TensorOptions(device_).dtype(at::kDouble);
    loss_ = at::zeros({}, options);
    norm_ = at::zeros({}, options);
    bin_error_ = at::zeros({noise_bins}, options);
    bin_count_ = at::zeros({noise_bins}, options);
    parts_.clear();
    steps_ = 0;
}

void TrainingSums::add(const Tensor& error, const Tensor& value, const Time& t, const LossValues& values, double share,
                       std::int64_t process_steps) {
    const auto sum = [](const Tensor& x) { return x.detach().to(at::kDouble).sum(); };
    loss_ += sum(value) * share;
    const auto bin = t.map([&](double t) {
        const double place = std::floor((t + 1e-9) * noise_bins / static_cast<double>(process_steps));
        return std::clamp(place, 0.0, static_cast<double>(noise_bins - 1));
    });
    const auto plain = error.detach().to(at::kDouble);
    bin_error_.index_add_(0, bin.rows(error).to(at::kLong), plain);
    bin_count_.index_add_(0, bin.rows(error).to(at::kLong), at::ones_like(plain));
    for (const auto& [name, part] : values.parts) {
        auto same = std::find_if(parts_.begin(), parts_.end(), [&](const auto& p) { return p.first == name; });
        if (same == parts_.end()) same = parts_.insert(parts_.end(), {name, at::zeros_like(loss_)});
        same->second += sum(part) * share;
    }
}

void TrainingSums::end_step(const Tensor& norm, const Tensor& finite, std::int64_t step) {
    // From the first step that is not finite on nothing is updated, until the host looks.
    first_bad_ = at::where(finite.logical_or(first_bad_ >= 0), first_bad_, at::full_like(first_bad_, step));
    norm_ += norm.to(at::kDouble);
    ++steps_;
}

std::vector<std::pair<std::string, double>> TrainingSums::means() const {
    const auto n = static_cast<double>(steps_);
    std::vector<std::pair<std::string, double>> values{{"train/loss", loss_.item<double>() / n}};
    for (const auto& [name, part] : parts_) values.emplace_back("train/" + name, part.item<double>() / n);
    values.emplace_back("train/grad_norm", norm_.item<double>() / n);
    return values;
}

std::vector<double> TrainingSums::error_by_noise() const {
    const auto means = (bin_error_ / bin_count_).cpu().contiguous();
    return {means.const_data_ptr<double>(), means.const_data_ptr<double>() + noise_bins};
}

NamedTensors TrainingSums::state() const {
    NamedTensors state{{"loss", loss_},
                       {"norm", norm_},
                       {"bin_error", bin_error_},
                       {"bin_count", bin_count_},
                       {"steps", at::full({}, steps_, at::kLong)}};
    for (const auto& [name, part] : parts_) state.emplace("part." + name, part);
    return state;
}

void TrainingSums::restore(const NamedTensors& state) {
    if (!state.contains("loss")) return;
    loss_ = state.at("loss").to(device_);
    norm_ = state.at("norm").to(device_);
    bin_error_ = state.at("bin_error").to(device_);
    bin_count_ = state.at("bin_count").to(device_);
    steps_ = state.at("steps").item<std::int64_t>();
    parts_.clear();
    for (const auto& [name, part] : state)
        if (name.starts_with("part.")) parts_.emplace_back(name.substr(5), part.to(device_));
}

}  // namespace dtk
