// Faults of the data themselves.
#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/toml.hpp"
#include "engine/doctor/checks.hpp"
#include "engine/doctor/errors.hpp"
#include "engine/sampling.hpp"

namespace dtk::doctor {

namespace {
/// A scale that is wrong by so much is wrong for any network; one that is wrong by less may do no harm.
constexpr double far_off = 10, off = 3;

/// The first few, and how many there are.
std::string some_of(const Tensor& numbers) {
    constexpr std::int64_t most = 5;
    const auto first = numbers.slice(0, 0, most).contiguous();
    const auto* begin = first.const_data_ptr<std::int64_t>();
    return fmt::format("{}{}", fmt::join(begin, begin + first.numel(), ", "), numbers.numel() > most ? ", …" : "");
}

/// The data set as it is, inside `standardised`.
std::string standardised_cure(Examined& run) {
    return run.anew({fmt::format("dataset={{use = \"standardised\", of = {}}}",
                                 toml_value(run.stage().spec().part("dataset").resolved))});
}
}  // namespace

Findings data_not_finite(Examined& run) {
    const auto& examples = run.training();
    const auto bad = at::isfinite(examples.x).flatten(1).all(1).logical_not().nonzero().flatten();
    if (bad.numel() == 0) return {};
    return {{Likelihood::certain,
             "the data hold what is no finite number",
             {fmt::format("{} of {} training examples, numbers {}", bad.numel(), examples.n(),
                          some_of(examples.index.index_select(0, bad)))},
             "take those examples out of the data"}};
}

Findings data_outliers(Examined& run) {
    const auto& examples = run.training();
    const auto x = examples.x.dim() > 2 ? examples.x.flatten(2) : examples.x.flatten(1).unsqueeze(2);
    // By the middle half of each channel, which outliers do not reach.
    const auto by_channel = x.transpose(0, 1).flatten(1).to(at::kDouble);
    const auto thinned =
        by_channel.slice(1, 0, by_channel.size(1), std::max<std::int64_t>(1, by_channel.size(1) / 20000));
    const auto quarters = at::quantile(thinned.contiguous(), at::tensor({0.25, 0.5, 0.75}, at::kDouble), 1);
    const auto spread = (quarters[2] - quarters[0]) / 1.349;
    const auto away = ((x.to(at::kDouble) - quarters[1].view({1, -1, 1})).abs() / spread.view({1, -1, 1}))
                          .masked_fill(spread.view({1, -1, 1}) <= 0, 0)
                          .flatten(1)
                          .amax(1);
    const auto far = (away > 30).nonzero().flatten();
    if (far.numel() == 0 || 50 * far.numel() > examples.n()) return {};  // that many are how the data are
    const double most = away.max().item<double>();
    return {{most > 100 ? Likelihood::certain : Likelihood::likely,
             fmt::format("{} of {} training examples lie{} far from all others", far.numel(), examples.n(),
                         far.numel() == 1 ? "s" : ""),
             {fmt::format("by up to {:.3g} times the spread of the middle half; numbers {}", most,
                          some_of(examples.index.index_select(0, far)))},
             "take them out of the data, or mend them"}};
}

Findings data_constant(Examined& run) {
    const auto& scale = run.data_scale();
    const auto n = run.training().n();
    const double size = std::max(std::abs(scale.mean), scale.sd);
    // What float32 makes of equal numbers.
    constexpr double rounding = 1e-6;
    const auto spread =
        (run.training().x.flatten(1).to(at::kDouble) - run.training().x.flatten(1).to(at::kDouble).mean(0, true))
            .square()
            .mean()
            .sqrt()
            .item<double>();
    if (n > 1 && spread <= rounding * size)
        return {{Likelihood::certain,
                 "all training examples are the same",
                 {fmt::format("{} examples: their standard deviation is {:.2g} at a size of {:.3g}", n, spread, size)},
                 "look at what the data set reads: `dtk show RUN` names its files"}};
    const auto still = (scale.channel_sd <= rounding * size).nonzero().flatten();
    if (still.numel() == 0 || still.numel() == scale.channel_sd.numel()) return {};
    return {{Likelihood::likely,
             fmt::format("{} of {} {} of the data never change", still.numel(), scale.channel_sd.numel(),
                         run.training().x.dim() > 2 ? "channels" : "elements"),
             {fmt::format("numbers {}: {:.4g} in all of {} examples", some_of(still),
                          scale.channel_mean[still[0].item<std::int64_t>()].item<double>(), n)},
             "leave them out of the data: a constant needs no network"}};
}

Findings data_copies(Examined& run) {
    const auto x = run.training().x.flatten(1).contiguous();
    const auto n = x.size(0), d = x.size(1);
    if (n < 2) return {};
    std::unordered_map<std::string_view, std::int64_t> times;
    const auto* bytes = reinterpret_cast<const char*>(x.const_data_ptr<float>());
    const auto row = static_cast<std::size_t>(d) * sizeof(float);
    for (std::int64_t i = 0; i < n; ++i) ++times[{bytes + static_cast<std::size_t>(i) * row, row}];
    const auto different = static_cast<std::int64_t>(times.size());
    // Elements of few values each have copies by chance: those fill most of what can be combined.
    double combinations = 1;
    for (std::int64_t i = 0; i < d && combinations < 1e9; ++i)
        combinations *= static_cast<double>(std::get<0>(at::_unique2(x.select(1, i))).numel());
    if (combinations < 4 * static_cast<double>(different)) return {};
    const double copies = static_cast<double>(n - different) / static_cast<double>(n);
    if (copies < 0.05) return {};
    std::int64_t most = 0;
    for (const auto& [key, count] : times) most = std::max(most, count);
    return {{copies > 0.5 ? Likelihood::certain : Likelihood::likely,
             fmt::format("{:.0f} % of the training examples are copies of others", 100 * copies),
             {fmt::format("{} different ones among {}; one of them comes {} times", different, n, most)},
             "take the copies out of the data: a network learns by heart what it sees often"}};
}

Findings data_scale(Examined& run) {
    const auto& gaussian = run.gaussian();
    const auto& scale = run.data_scale();
    if (scale.sd == 0) return {};
    Findings all;
    // A network with EDM's preconditioning is shown data of unit variance, whatever they are.
    const bool rescaled = run.stage().model().predicts() == PredictionType::edm;
    const double size = std::sqrt(scale.mean * scale.mean + scale.sd * scale.sd);
    const double factor = std::max(size, 1 / scale.sd);
    const auto harm = [&] { return run.has_network() && fit_of(held_out_errors(run, Weights::raw)).bad; };
    if (!rescaled && (factor > far_off || (factor > off && harm()))) {
        const double shift = std::abs(scale.mean) / scale.sd;
        all.push_back(
            {factor > far_off ? Likelihood::certain : Likelihood::likely,
             fmt::format("the data are not on the scale that the process expects, mean 0 and standard deviation 1{}",
                         shift > off ? ", and lie far from 0" : ""),
             {fmt::format("their mean is {:.4g} and their standard deviation {:.4g}", scale.mean, scale.sd),
              fmt::format("against noise from {:.3g} to {:.3g}", gaussian.levels().sigma(0),
                          gaussian.levels().sigma(gaussian.levels().last()))},
             standardised_cure(run)});
        return all;
    }
    const auto moving = scale.channel_sd.masked_select(scale.channel_sd > 0);
    if (moving.numel() < 2) return all;
    const double most = moving.max().item<double>(), least = moving.min().item<double>();
    const double ratio = most / least;
    if (ratio > far_off * far_off || (ratio > far_off && harm()))
        all.push_back({ratio > far_off * far_off ? Likelihood::certain : Likelihood::likely,
                       fmt::format("the {} of the data are of very different size",
                                   run.training().x.dim() > 2 ? "channels" : "elements"),
                       {fmt::format("their standard deviations go from {:.3g} to {:.3g}; one schedule of noise is to "
                                    "serve all of them",
                                    least, most)},
                       "divide each by its own standard deviation before dtk reads them"});
    return all;
}

Findings data_range(Examined& run) {
    const auto range = run.stage().space().range;
    if (!range) return {};
    const auto [least, most] = *range;
    const auto& x = run.training().x;
    const double slack = 0.01 * (most - least);
    const double outside = (x < least - slack).logical_or(x > most + slack).to(at::kDouble).mean().item<double>();
    if (outside < 0.001) return {};
    const auto& sample = run.stage().spec().sample;
    const bool clips = sample && sample->clip;
    return {{clips ? Likelihood::certain : Likelihood::likely,
             fmt::format("{:.2g} % of the data lie outside of the range they are said to have", 100 * outside),
             {fmt::format("said: {:g} … {:g}; found: {:.4g} … {:.4g}", least, most, x.min().item<double>(),
                          x.max().item<double>()),
              clips ? "x̂_0 of every sample is clipped to that range" : "pictures and bits per dimension go by it"},
             clips ? run.resampled("sample.clip=false") + "; or give the data set the range that its data have"
                   : std::string("give the data set the range that its data have")}};
}

Findings data_classes(Examined& run) {
    const auto classes = run.stage().dataset().classes();
    const auto& label = run.training().condition.label;
    if (classes == 0 || !label.defined()) return {};
    const auto counts = at::bincount(label, {}, classes);
    std::vector<std::int64_t> empty, there;
    for (std::int64_t i = 0; i < classes; ++i) (counts[i].item<std::int64_t>() == 0 ? empty : there).push_back(i);
    if (empty.empty()) return {};
    // A class of a fair share would be missed by chance with e^{−n/classes}.
    const bool is_told = run.has_network() && is_told_the_class(run.network(), run.training(), run.device());
    std::vector<std::int64_t> asked;
    if (const auto& sample = run.stage().spec().sample) {
        const auto drawn = classes_in_turn(run.stage(), *sample);
        for (const auto one : empty)
            if (drawn.eq(one).any().item<bool>()) asked.push_back(one);
    }
    const auto n = label.numel();
    return {
        {is_told && !asked.empty() ? Likelihood::certain : Likelihood::possible,
         fmt::format("class{} {} {} no training examples", empty.size() > 1 ? "es" : "", fmt::join(empty, ", "),
                     empty.size() > 1 ? "have" : "has"),
         {fmt::format("none among {} examples of {} classes", n, classes),
          asked.empty() ? "no samples of it are asked for"
                        : fmt::format("samples are asked for of every class{}",
                                      is_told ? ", and the network knows nothing of this one" : "")},
         run.resampled(fmt::format("sample.labels=[{}]", fmt::join(there, ", "))) + "; or data that have all classes"}};
}

}  // namespace dtk::doctor
