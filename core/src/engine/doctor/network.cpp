// The network itself: parts that no gradient reaches, a class that it ignores, a precision that is too low for it.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/guidance.hpp>
#include <dtk/schedule.hpp>

#include "engine/doctor/checks.hpp"
#include "engine/doctor/errors.hpp"

namespace dtk::doctor {

namespace {
/// Gradients of the error of what the network predicts, summed over a few noise levels, beside the names of the
/// trained tensors of the model.
std::vector<std::pair<std::string, Tensor>> gradients_of(Examined& run, const Stage& stage) {
    const auto& examples = run.training();
    const auto n = std::min<std::int64_t>(examples.n(), 64);
    const auto x0 = examples.x.slice(0, 0, n).to(run.device());
    const auto condition = examples.condition.chunk(0, n).to(run.device());
    const auto random = stage.random("doctor").stream("gradient");
    const auto type = stage.model().predicts();
    std::vector<std::pair<std::string, Tensor>> all;
    std::vector<Tensor> tensors;
    for (const auto& named : stage.named_tensors())
        if (named.trained && named.name.starts_with("model.")) {
            all.emplace_back(named.name, Tensor());
            tensors.push_back(*named.tensor);
            tensors.back().mutable_grad().reset();
        }
    for (const double t : times_to_look_at(stage, 6)) {
        const auto xt = stage.process().noised(x0, t, random.step(std::llround(t)));
        const auto answer = stage.denoiser({}, condition)(xt.x, t);
        const auto wanted = stage.process().target(type, x0, xt, t);
        (answer.value - wanted).square().mean().backward();
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
        all[i].second = tensors[i].grad();
        tensors[i].mutable_grad().reset();
    }
    return all;
}

bool is_zero(const Tensor& x) { return !x.defined() || x.eq(0).all().item<bool>(); }

std::string first_of(const std::vector<std::string>& names) {
    constexpr std::size_t most = 6;
    return fmt::format("{}{}",
                       fmt::join(names.begin(),
                                 names.begin() + std::ssize(names) -
                                     std::max<std::ptrdiff_t>(0, std::ssize(names) - std::ptrdiff_t(most)),
                                 ", "),
                       names.size() > most ? ", …" : "");
}
}  // namespace

Findings unmoved_parameters(Examined& run) {
    const auto& spec = run.stage().spec();
    if (!spec.train) return {};
    if (!run.checkpoint()) throw NotLooked("the run holds no checkpoint");
    // A network that begins at zero needs some steps before all of it is reached.
    if (run.steps() < 5) return {};
    run.gaussian();
    const auto& stage = run.network(Weights::raw);
    const auto gradients = gradients_of(run, stage);
    const auto begun = run.built({});
    run.begin(*begun);
    std::map<std::string, Tensor> before, after;
    for (const auto& named : begun->stage->named_tensors()) before[named.name] = *named.tensor;
    for (const auto& named : stage.named_tensors()) after[named.name] = *named.tensor;
    std::vector<std::string> unreached, dead;
    std::int64_t unmoved = 0, units = 0, still = 0;
    for (const auto& [name, gradient] : gradients) {
        if (is_zero(gradient)) {
            unreached.push_back(name);
            unmoved += at::equal(before[name], after[name]);
            continue;
        }
        if (gradient.dim() < 2) continue;
        const auto of_unit = gradient.flatten(1).eq(0).all(1);
        const auto silent = of_unit.sum().item<std::int64_t>();
        units += of_unit.numel(), still += silent;
        if (2 * silent >= of_unit.numel()) dead.push_back(fmt::format("{} ({} of {})", name, silent, of_unit.numel()));
    }
    if (!unreached.empty())
        return {{unmoved > 0 ? Likelihood::certain : Likelihood::likely,
                 "no gradient reaches a part of the network: what it computes does not count",
                 {fmt::format("the gradient of {} of {} tensors is exactly 0 at every noise level: {}",
                              unreached.size(), gradients.size(), first_of(unreached)),
                  fmt::format("{} of them have not moved in {} steps", unmoved, run.steps())},
                 "look in the model for what multiplies that part by 0, is never added, detaches it, or saturates"}};
    if (!dead.empty())
        return {{Likelihood::likely,
                 "many units of the network are dead: no gradient reaches them",
                 {fmt::format("{} of {} units have a gradient of exactly 0 at every noise level; in {}", still, units,
                              first_of(dead))},
                 run.anew({fmt::format("train.lr={:g}", spec.train->lr / 10)}) +
                     ": too large a step makes units saturate"}};
    return {};
}

Findings ignored_class(Examined& run) {
    const auto& stage = run.network();
    const auto& spec = stage.spec();
    const auto classes = stage.dataset().classes();
    const auto& label = run.held_out().condition.label;
    if (classes < 2 || !label.defined()) return {};
    run.gaussian();
    // Does somebody want it to listen? Else data may have classes that nobody asks for.
    bool guided = false;
    for (const auto& guidance : stage.list<Guidance>()) guided = guided || guidance->needs_null_condition();
    const bool wanted =
        guided || (spec.sample && !spec.sample->labels.empty()) || (spec.train && spec.train->drop_condition > 0);
    std::vector<std::string> told_by;
    for (const auto& named : stage.named_tensors())
        if (named.name.find("label") != std::string::npos || named.name.find("class") != std::string::npos)
            told_by.push_back(named.name);
    const bool is_told = is_told_the_class(stage, run.held_out(), run.device());
    if (!is_told) {
        if (!wanted && told_by.empty()) return {};
        return {{Likelihood::certain,
                 "the network ignores the class",
                 {fmt::format("its answers for {} examples are the same, bit for bit, when another of the {} classes "
                              "is told",
                              std::min<std::int64_t>(64, run.held_out().n()), classes)},
                 run.anew({"model.conditional=true"})}};
    }
    // It looks at it. Does it know better for that?
    auto wrong = run.held_out();
    wrong.condition.label = (label + 1).remainder(classes);
    const auto right = held_out_errors(run, Weights::sampled);
    const auto other = errors_by_noise(run, stage, wrong);
    double gain = 0, possible = 0;
    // What linear denoisers of one class each would gain over one for all: the class is worth at least about that.
    const auto& training = run.training();
    std::vector<Tensor> by_class(static_cast<std::size_t>(classes));
    std::vector<std::optional<LinearDenoiser>> linear;
    for (std::int64_t c = 0; c < classes; ++c) {
        const auto rows = (training.condition.label == c).nonzero().flatten();
        linear.emplace_back();
        if (rows.numel() >= 20) linear.back().emplace(training.x.index_select(0, rows));
    }
    const auto random = stage.random("doctor").stream("noise");
    for (std::size_t i = 0; i < right.size(); ++i) {
        const auto& at = right[i];
        gain += at.moved((other[i].network - at.network).mean().item<double>());
        const auto xt = stage.process().noised(run.held_out().x, at.t, random.step(std::llround(at.t))).x;
        double saved = 0;
        std::int64_t n = 0;
        for (std::int64_t c = 0; c < classes; ++c) {
            const auto rows = (label == c).nonzero().flatten();
            if (!linear[static_cast<std::size_t>(c)] || rows.numel() == 0) continue;
            const auto x0 = linear[static_cast<std::size_t>(c)]->x0(xt.index_select(0, rows), at.alpha, at.sigma);
            const auto error = (x0 - run.held_out().x.index_select(0, rows)).flatten(1).square().mean(1);
            saved += (at.linear.index_select(0, rows) - error).sum().item<double>();
            n += rows.numel();
        }
        if (n > 0) possible += at.moved(saved / static_cast<double>(n));
    }
    const auto levels = static_cast<double>(right.size());
    if (possible / levels < 0.1 || gain > 0.2 * possible) return {};
    return {{Likelihood::certain,
             "the network pays no attention to the class",
             {fmt::format("told a wrong class, its error grows by {:.2g} of x_t's spread; one linear denoiser for each "
                          "class would gain {:.2g} over one for all",
                          gain / levels, possible / levels)},
             "look at how the model uses `condition.label`; train longer"}};
}

Findings low_precision(Examined& run) {
    const auto& spec = run.stage().spec();
    const bool samples = spec.sample && spec.sample->precision == "bf16",
               trains = spec.train && spec.train->precision == "bf16";
    if (!samples && !trains) return {};
    const auto& stage = run.network();
    const auto& exact = held_out_errors(run, Weights::sampled);
    const auto coarse = errors_by_noise(run, stage, run.held_out(), true);
    const ErrorsAt* where = nullptr;
    double worst = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
        const auto change = coarse[i].network - exact[i].network;
        const double moved = exact[i].moved(change.mean().item<double>());
        if (z_of(change) > 5 && moved > worst) where = &exact[i], worst = moved;
    }
    if (!where || worst < 0.1) return {};
    return {{samples ? Likelihood::certain : Likelihood::likely,
             "bfloat16 is too coarse for this network",
             {fmt::format("its error at log-SNR {:.1f} grows by {:.2g} of x_t's spread over that in float32",
                          where->log_snr, worst)},
             samples ? run.resampled("sample.precision=float32") : run.anew({"train.precision=float32"})}};
}

}  // namespace dtk::doctor
