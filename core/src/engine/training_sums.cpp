// Sums of training's numbers.
#include "engine/training_sums.hpp"

#include <algorithm>
#include <cmath>

#include <ATen/Dispatch.h>

#include "base/registry.hpp"

namespace dtk {

TrainingSums::TrainingSums(at::Device device)
    : device_(device), first_bad_(at::full({}, -1, at::TensorOptions(device).dtype(at::kLong))) {
    clear();
}

void TrainingSums::clear() {
    sum_ = at::zeros({1 + 2 * noise_bins + static_cast<std::int64_t>(parts_.size())},
                     at::TensorOptions(device_).dtype(at::kDouble));
    norm_ = at::zeros({}, sum_.options());
    steps_ = 0;
}

namespace {
std::int64_t bin_of(double t, std::int64_t process_steps) {
    const double place = std::floor((t + 1e-9) * TrainingSums::noise_bins / static_cast<double>(process_steps));
    return static_cast<std::int64_t>(std::clamp(place, 0.0, static_cast<double>(TrainingSums::noise_bins - 1)));
}

/// Σ value·share, and Σ weight·error and Σ weight of every bin, in memory that nobody waits for.
Tensor summed_here(const Tensor& error, const Tensor& value, const SampledTimes& drawn, double share,
                   std::int64_t process_steps) {
    const auto plain = error.detach().contiguous(), minimised = value.detach().to(error.scalar_type()).contiguous();
    const auto weight = drawn.weight.uniform() ? Tensor() : drawn.weight.rows(plain);
    const auto times = drawn.t.rows(plain.size(0));
    auto numbers = at::zeros({1 + 2 * TrainingSums::noise_bins}, at::kDouble);
    auto* sum = numbers.mutable_data_ptr<double>();
    const auto *w = weight.defined() ? weight.const_data_ptr<double>() : nullptr, *t = times.const_data_ptr<double>();
    const double all = w ? 0 : drawn.weight.value();
    AT_DISPATCH_FLOATING_TYPES(plain.scalar_type(), "training sums", [&] {
        const auto *e = plain.const_data_ptr<scalar_t>(), *v = minimised.const_data_ptr<scalar_t>();
        for (std::int64_t i = 0; i < plain.size(0); ++i) {
            const auto bin = bin_of(t[i], process_steps);
            const double weighs = w ? w[i] : all;
            sum[0] += static_cast<double>(v[i]) * share;
            sum[1 + bin] += weighs * static_cast<double>(e[i]);
            sum[1 + TrainingSums::noise_bins + bin] += weighs;
        }
    });
    return numbers;
}
}  // namespace

Tensor TrainingSums::of_part(const Tensor& error, const Tensor& value, const SampledTimes& drawn,
                             const LossValues& values, double share, std::int64_t process_steps) {
    const auto sum = [](const Tensor& x) { return x.detach().to(at::kDouble).sum(); };
    if (parts_.empty() && !values.parts.empty()) {
        for (const auto& [name, part] : values.parts) parts_.push_back(name);
        std::sort(parts_.begin(), parts_.end());  // as a checkpoint has them
        sum_ = at::cat({sum_, at::zeros({static_cast<std::int64_t>(parts_.size())}, sum_.options())});
    }
    std::vector<Tensor> numbers;
    const bool counted_here =
        error.is_cpu() && value.is_cpu() && (error.scalar_type() == at::kFloat || error.scalar_type() == at::kDouble);
    if (counted_here) {
        numbers.push_back(summed_here(error, value, drawn, share, process_steps));
        if (parts_.empty() && values.parts.empty()) return numbers.front();
    } else {
        const auto bins = drawn.t.map([&](double t) { return static_cast<double>(bin_of(t, process_steps)); })
                              .rows(error)
                              .to(at::kLong);
        const auto plain = error.detach().to(at::kDouble), weight = drawn.weight.rows(plain);
        numbers = {(sum(value) * share).view({1}),
                   at::zeros({noise_bins}, plain.options()).index_add_(0, bins, weight * plain),
                   at::zeros({noise_bins}, plain.options()).index_add_(0, bins, weight)};
    }
    for (const auto& name : parts_) {
        const auto same =
            std::find_if(values.parts.begin(), values.parts.end(), [&](const auto& one) { return one.first == name; });
        if (same == values.parts.end() || parts_.size() != values.parts.size())
            throw PluginError("the loss answers other values beside its objective than at the step before");
        numbers.push_back((sum(same->second) * share).view({1}));
    }
    return at::cat(numbers);
}

void TrainingSums::end_step(const Tensor& norm, const Tensor& finite, std::int64_t step) {
    // From the first step that is not finite on nothing is updated, until the host looks.
    ++steps_;
    if (device_.is_cpu() && norm.is_cpu() && finite.is_cpu()) {
        auto& bad = *first_bad_.mutable_data_ptr<std::int64_t>();
        if (bad < 0 && !(finite.item<bool>() && std::isfinite(norm.item<double>()))) bad = step;
        *norm_.mutable_data_ptr<double>() += norm.item<double>();
        return;
    }
    first_bad_ = at::where(finite.logical_and(norm.isfinite()).logical_or(first_bad_ >= 0), first_bad_,
                           at::full_like(first_bad_, step));
    norm_ += norm.to(at::kDouble);
}

std::vector<std::pair<std::string, double>> TrainingSums::means() const {
    const auto n = static_cast<double>(steps_);
    std::vector<std::pair<std::string, double>> values{{"train/loss", loss().item<double>() / n}};
    for (std::size_t i = 0; i < parts_.size(); ++i)
        values.emplace_back("train/" + parts_[i], part(i).item<double>() / n);
    values.emplace_back("train/grad_norm", norm_.item<double>() / n);
    return values;
}

std::vector<double> TrainingSums::error_by_noise() const {
    const auto means = (bin_error() / bin_count()).cpu().contiguous();
    return {means.const_data_ptr<double>(), means.const_data_ptr<double>() + noise_bins};
}

NamedTensors TrainingSums::state() const {
    NamedTensors state{{"loss", loss()},
                       {"norm", norm_},
                       {"bin_error", bin_error()},
                       {"bin_count", bin_count()},
                       {"steps", at::full({}, steps_, at::kLong)}};
    for (std::size_t i = 0; i < parts_.size(); ++i) state.emplace("part." + parts_[i], part(i));
    return state;
}

void TrainingSums::restore(const NamedTensors& state) {
    if (!state.contains("loss")) return;
    std::vector<Tensor> numbers{state.at("loss").view({1}), state.at("bin_error"), state.at("bin_count")};
    parts_.clear();
    for (const auto& [name, part] : state) {
        if (!name.starts_with("part.")) continue;
        parts_.push_back(name.substr(5));
        numbers.push_back(part.view({1}));
    }
    sum_ = at::cat(numbers).to(device_);
    norm_ = state.at("norm").to(device_);
    steps_ = state.at("steps").item<std::int64_t>();
}

}  // namespace dtk
