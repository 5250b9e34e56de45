// What is no finite number: weights, the loss of a step, samples.
#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/safetensors.hpp>

#include "base/json.hpp"
#include "engine/doctor/checks.hpp"
#include "engine/doctor/trials.hpp"
#include "engine/replay.hpp"

namespace dtk::doctor {

namespace {
bool finite(const Tensor& x) { return !x.is_floating_point() || at::isfinite(x).all().item<bool>(); }

/// The step, from 1, that training ended at because something was not finite; of old or cut records the end of the
/// interval that it lies in.
std::optional<std::int64_t> bad_step_of(const Examined& run) {
    const auto error = run.record().value("error", std::string());
    const std::string phrase = "not finite at step ";
    if (const auto at = error.find(phrase); at != error.npos) {
        std::int64_t step = 0;
        std::from_chars(error.data() + at + phrase.size(), error.data() + error.size(), step);
        if (step > 0) return step;
    }
    for (const auto& line : run.log())
        for (const char* name : {"train/loss", "train/grad_norm"})
            if (const auto found = line.find(name); found != line.end())
                if (const auto value = number_of(*found); value && !std::isfinite(*value))
                    return line.value("step", std::int64_t{0});
    return std::nullopt;
}

std::string number_in_words(double value) {
    return std::isnan(value) ? "not a number" : std::isinf(value) ? "infinite" : fmt::format("{:.4g}", value);
}

/// Where the first number came from that is not finite, and of which examples.
std::string in_words(const NotFinite& bad, const InspectedStep& step) {
    std::vector<std::string> examples;
    constexpr std::size_t most = 4;
    for (const auto row : bad.rows)
        if (examples.size() < most && static_cast<std::size_t>(row) < step.examples.size()) {
            const auto& one = step.examples[static_cast<std::size_t>(row)];
            examples.push_back(fmt::format("{} (t = {:g})", one.number, one.t));
        }
    return fmt::format("the first that is not finite: {}{}", bad.what,
                       examples.empty()
                           ? ""
                           : fmt::format(", of {} example{}: {}{}", bad.rows.size(), bad.rows.size() == 1 ? "" : "s",
                                         fmt::join(examples, ", "), bad.rows.size() > examples.size() ? ", …" : ""));
}
}  // namespace

Findings weights_not_finite(Examined& run) {
    const auto& checkpoint = run.checkpoint();
    if (!checkpoint) throw NotLooked("the run holds no checkpoint");
    std::vector<std::string> bad;
    for (const auto& [name, tensor] : checkpoint->tensors)
        if (!finite(tensor)) bad.push_back(name);
    const bool in_average = bad.empty();
    for (const auto& [average, tensors] : checkpoint->averages)
        for (const auto& [name, tensor] : tensors)
            if (in_average && !finite(tensor)) bad.push_back(fmt::format("{} (average {})", name, average));
    if (bad.empty()) return {};
    const auto shown = std::min<std::size_t>(bad.size(), 5);
    return {
        {Likelihood::certain,
         "parameters of the network are no finite numbers",
         {fmt::format("{} of {} tensors in the checkpoint of step {}: {}{}", bad.size(), checkpoint->tensors.size(),
                      checkpoint->step, fmt::join(bad.begin(), bad.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
                      bad.size() > shown ? ", …" : "")},
         run.anew({fmt::format("train.lr={:g}", run.stage().spec().train ? run.stage().spec().train->lr / 10 : 1e-4)}) +
             "; or sample an earlier checkpoint (--step)"}};
}

Findings training_not_finite(Examined& run) {
    const auto& train = run.stage().spec().train;
    if (!train) throw NotLooked("the run does not train");
    const auto bad = bad_step_of(run);
    if (!bad) return {};
    Finding found{
        Likelihood::certain,
        fmt::format("the loss or its gradient is not finite at step {}", *bad),
        {},
        run.anew({}) + fmt::format(" --resume={} --replay {}, which shows that step", run.folder().string(), *bad)};
    const auto from = run.steps();
    const auto needed = *bad - from;
    if (needed <= 0 || steps_in(run, 15, needed) < needed) {
        found.figures.push_back(
            fmt::format("the newest checkpoint is of step {}: too long ago to train up to it again", from));
        return {found};
    }
    // Trained up to it once more, and looked at.
    std::optional<InspectedStep> inspected;
    const auto again =
        tried(run,
              {.steps = needed - 1,
               .as_it_was = true,
               .at_the_end = [&](Stage& stage, Trainer& trainer) { inspected = inspect_next_step(stage, trainer); }},
              true);
    if (inspected) {
        std::vector<std::string> then;
        for (const auto& [name, value] : inspected->means)
            if (name == "train/loss" || name == "train/grad_norm")
                then.push_back(fmt::format("{} {}", name.substr(6), number_in_words(value)));
        found.figures.push_back(fmt::format("trained again from step {}: {}{}", from,
                                            again.loss.empty()
                                                ? std::string()
                                                : fmt::format("loss {:.4g} at first, {:.4g} the step before; then ",
                                                              again.loss.front(), again.loss.back()),
                                            fmt::join(then, ", ")));
        if (inspected->first_bad) found.figures.push_back(in_words(*inspected->first_bad, *inspected));
    }
    // Does a smaller step come past it?
    const auto beyond = needed + std::max<std::int64_t>(20, needed / 4);
    for (double lr = train->lr / 10; lr >= std::min(1e-6, train->lr / 1000); lr /= 10) {
        const auto trial = tried(run, {.set = {fmt::format("train.lr={:g}", lr)}, .steps = beyond});
        if (trial.bad_step || !std::isfinite(trial.score)) continue;
        found.what = fmt::format("the learning rate is too large: the loss is not finite from step {} on", *bad);
        found.figures.push_back(
            fmt::format("with train.lr = {:g} in place of {:g} the same steps stay finite", lr, train->lr));
        found.cure = run.anew({fmt::format("train.lr={:g}", lr)});
        return {found};
    }
    found.figures.emplace_back("no smaller learning rate comes past it: the learning rate is not the cause");
    return {found};
}

Findings samples_not_finite(Examined& run) {
    const auto file = run.folder() / "samples.safetensors";
    std::error_code error;
    if (!std::filesystem::exists(file, error)) throw NotLooked("there are no samples");
    const auto samples = load_safetensors(file).tensors["samples"];
    if (!samples.defined()) throw NotLooked("there are no samples");
    const auto bad = at::isfinite(samples).flatten(1).all(1).logical_not().sum().item<std::int64_t>();
    if (bad == 0) return {};
    return {{Likelihood::symptom,
             "samples are no finite numbers",
             {fmt::format("{} of {}", bad, samples.size(0))},
             "lower train.lr, or give the sampler more steps"}};
}

}  // namespace dtk::doctor
