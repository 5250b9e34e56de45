#include "engine/validation.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/engine.hpp"
#include "engine/device.hpp"
#include "engine/latent_data.hpp"

namespace dtk {

namespace {

/// Examples are kept between validations up to so many numbers; others are made anew.
constexpr std::int64_t most_kept = std::int64_t{1} << 24;

/// What a data set sees that is built again for validation: what the stage has, and random numbers of no seed.
class SeedlessContext final : public BuildContext {
 public:
    explicit SeedlessContext(const Stage& stage) : stage_(stage) {}
    const Dataset& dataset() const override { return stage_.dataset(); }
    Space space() const override { return stage_.space(); }
    const Process& process() const override { return stage_.process(); }
    const Model& model() const override { return stage_.model(); }
    Random random(std::string_view stream) const override { return Random(0, "validate").stream(stream); }
    TrainedNetwork trained(const Reference& reference) const override { return stage_.trained(reference); }
    bool running() const override { return stage_.running(); }

 private:
    const Stage& stage_;
};

/// Examples that are made, not read, would be others under another seed, so they are made for validation alike. Not
/// where a set is made of another one, which it may be scaled by.
std::shared_ptr<const Dataset> data_of(const Stage& stage) {
    const auto& chosen = stage.spec().reading->chosen;
    const bool of_another =
        std::any_of(chosen.begin(), chosen.end(), [](const PluginFile* file) { return file->kind == Dataset::kind; });
    std::shared_ptr<const Dataset> data = stage.part<Dataset>();
    if (data->size() == 0 && data->test_size() == 0 && !of_another)
        data = std::static_pointer_cast<Dataset>(stage.spec().part(Dataset::kind).make(SeedlessContext(stage)));
    if (const auto codec = stage.part<Codec>())
        return std::make_shared<LatentData>(data, codec, SeedlessContext(stage).random("codec"));
    return data;
}

}  // namespace

Validation::Validation(const Stage& stage, at::Device device)
    : stage_(stage),
      settings_(*stage.spec().validate),
      device_(device),
      random_(0, "validate"),
      data_(data_of(stage)),
      there_(settings_.split == "test" ? data_->test_size() : data_->size()) {
    const auto n = settings_.n, levels = settings_.levels;
    if (settings_.log_snr.empty() && levels > stage.process().steps())
        throw UserError(
            fmt::format("[validate] asks for {} levels, and the process has {} steps", levels, stage.process().steps()),
            "make `levels` smaller");
    bool any = false;
    for (std::int64_t level = 0; level < levels; ++level) any = any || reached(level);
    const auto& noise = stage.process().levels();
    if (!any)
        throw UserError(fmt::format("the process reaches no level of `log_snr` in [validate]: its log-SNR goes from "
                                    "{:.3g} to {:.3g}",
                                    noise.log_snr(noise.first()), noise.log_snr(noise.last())),
                        "name numbers between these, or more `levels`");
    numbers_ = at::empty({n}, at::kLong);
    places_ = random_.stream("t").uniform({n}, at::kDouble);
    auto* number = numbers_.mutable_data_ptr<std::int64_t>();
    auto* place = places_.mutable_data_ptr<double>();
    for (std::int64_t i = 0; i < n; ++i) {
        number[i] = there_ > 0 ? permuted(i % there_, there_, 0, i / there_) : i;
        // Pair i lies in level i mod `levels`, in the share of it that is its own.
        const auto level = i % levels, of_level = (n - level + levels - 1) / levels;
        place[i] = (static_cast<double>(level) +
                    (static_cast<double>(i / levels) + place[i]) / static_cast<double>(of_level)) /
                   static_cast<double>(levels);
    }
    // What does not fit is said now, also of the last portion, which may be smaller.
    at::NoGradGuard no_grad;
    const OneThread one_thread;
    for (const auto first : {std::int64_t{0}, (n - 1) / settings_.batch * settings_.batch})
        values(first, std::min(settings_.batch, n - first), times());
}

double Validation::time_at(double place) const {
    const auto& process = stage_.process();
    const auto T = static_cast<double>(process.steps());
    if (settings_.log_snr.empty()) return std::clamp(std::floor(place * T), 0.0, T - 1);
    const double t = std::max(process.levels().time(std::lerp(settings_.log_snr[0], settings_.log_snr[1], place)), 0.0);
    return process.whole_steps() ? std::round(t) : t;
}

bool Validation::reached(std::int64_t level) const {
    if (settings_.log_snr.empty()) return true;
    const auto& levels = stage_.process().levels();
    const auto end = [&](std::int64_t of) {
        return std::lerp(settings_.log_snr[0], settings_.log_snr[1],
                         static_cast<double>(of) / static_cast<double>(settings_.levels));
    };
    return end(level) <= levels.log_snr(levels.first()) && end(level + 1) >= levels.log_snr(levels.last());
}

Tensor Validation::times() const {
    auto t = at::empty_like(places_);
    for (std::int64_t i = 0; i < settings_.n; ++i)
        t.mutable_data_ptr<double>()[i] = time_at(places_.const_data_ptr<double>()[i]);
    return t;
}

std::vector<double> Validation::log_snr() const {
    std::vector<double> middles;
    for (std::int64_t level = 0; level < settings_.levels; ++level) {
        const double place = (static_cast<double>(level) + 0.5) / static_cast<double>(settings_.levels);
        middles.push_back(settings_.log_snr.empty() ? stage_.process().levels().log_snr(time_at(place))
                                                    : std::lerp(settings_.log_snr[0], settings_.log_snr[1], place));
    }
    return middles;
}

Batch Validation::examples(std::int64_t first, std::int64_t rows) const {
    const auto at = static_cast<std::size_t>(first / settings_.batch);
    if (at < kept_.size()) return kept_[at];
    const auto which = numbers_.slice(0, first, first + rows);
    auto batch = settings_.split == "test" ? data_->test_examples(which) : data_->examples(which);
    batch.x = batch.x.to(device_);
    batch.condition = batch.condition.to(device_);
    if (at == kept_.size() && batch.x.numel() / rows * settings_.n <= most_kept) kept_.push_back(batch);
    return batch;
}

Validation::Values Validation::values(std::int64_t first, std::int64_t rows, const Tensor& times) const {
    const auto batch = examples(first, rows);
    const auto& name = stage_.spec().part("loss").name;
    const auto denoise = stage_.denoiser({.bf16 = stage_.spec().train->precision == "bf16"}, batch.condition);
    const auto found =
        (*stage_.part<Loss>())(denoise, batch, Time(times.slice(0, first, first + rows)), random_.from(first));
    const auto& objective = found.objectives.at(0);
    if (!objective.error_of && found.objectives.size() > 1)
        throw UserError(fmt::format("loss `{}` trains networks against each other and has no error that held-out "
                                    "examples could be measured by",
                                    name),
                        "remove [validate], and look at samples on the way: sample_every in [train]");
    const auto here = [](const Tensor& x) { return x.detach().to(at::kCPU, at::kDouble).contiguous(); };
    Values values{here(objective.value), {}};
    for (const auto& [part, value] : found.parts) {
        // A loss whose objective is more than its error says that by itself.
        if (part == "error")
            values.error = here(value);
        else
            values.parts.emplace_back(part, here(value));
    }
    if (values.error.dim() != 1 || values.error.size(0) != rows)
        throw PluginError(fmt::format("loss `{}` answers no number for each example", name),
                          "a loss answers one number for each example, shape [B]");
    return values;
}

HeldOut Validation::measure() const {
    at::NoGradGuard no_grad;
    const OneThread one_thread;
    const auto n = settings_.n;
    const auto all_times = times();
    std::vector<double> sum(static_cast<std::size_t>(settings_.levels));
    std::vector<std::int64_t> count(sum.size());
    HeldOut found;
    for (std::int64_t first = 0; first < n; first += settings_.batch) {
        const auto rows = std::min(settings_.batch, n - first);
        const auto here = values(first, rows, all_times);
        for (std::int64_t i = 0; i < rows; ++i) {
            const auto level = static_cast<std::size_t>((first + i) % settings_.levels);
            sum[level] += here.error.const_data_ptr<double>()[i];
            ++count[level];
        }
        for (std::size_t i = 0; i < here.parts.size(); ++i) {
            if (found.parts.size() <= i) found.parts.emplace_back(here.parts[i].first, 0);
            found.parts[i].second += here.parts[i].second.sum().item<double>() / static_cast<double>(n);
        }
    }
    double levels = 0;
    for (std::size_t level = 0; level < sum.size(); ++level) {
        const bool counts = reached(static_cast<std::int64_t>(level));
        found.by_level.push_back(counts ? sum[level] / static_cast<double>(count[level]) : NAN);
        if (counts) found.error += found.by_level.back(), ++levels;
    }
    found.error /= levels;
    if (!stage_.part<Loss>()->draws_times()) found.by_level.clear();
    return found;
}

std::string Validation::in_words() const {
    const auto where = settings_.log_snr.empty()
                           ? std::string("of the times")
                           : fmt::format("of log-SNR from {:g} to {:g}", settings_.log_snr[0], settings_.log_snr[1]);
    const auto which = there_ == 0 ? std::string("made for it")
                                   : fmt::format("of {}{}", there_, settings_.n > there_ ? ", each at several" : "");
    return fmt::format("{} {} examples ({}), each at a time in one of {} parts {}", settings_.n,
                       settings_.split == "test" ? "held-out" : "training", which, settings_.levels, where);
}

}  // namespace dtk
