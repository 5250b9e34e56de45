// Laws of guidance: what it does to the answers of a denoiser, whatever network that is.
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>

#include <fmt/ranges.h>

#include <dtk/guidance.hpp>
#include <dtk/observation.hpp>
#include <dtk/schedule.hpp>

#include "laws/bench.hpp"
#include "laws/law.hpp"
#include "laws/on_pretend.hpp"

namespace dtk::laws {

namespace {

constexpr std::int64_t rows = 4;
constexpr std::array all_types{PredictionType::x0,    PredictionType::eps,      PredictionType::v,
                               PredictionType::score, PredictionType::velocity, PredictionType::edm};

/// Guidance over a bench, and a network of arithmetic alone: the exact denoiser of N(0.4 − 0.3·label, 0.5²) in every
/// element where it is told the class, and of N(0, 0.8²) where it is told nothing.
struct Walk {
    const Bench& bench;
    std::shared_ptr<Guidance> guidance;
    Tensor x;
    Condition condition;
    std::shared_ptr<std::atomic<int>> without = std::make_shared<std::atomic<int>>(0);  ///< rows asked untold

    Walk(const Bench& bench, std::shared_ptr<Guidance> guidance) : bench(bench), guidance(std::move(guidance)) {
        auto sizes = bench.space().shape;
        sizes.insert(sizes.begin(), rows);
        x = Random(1, "laws").normal(sizes, at::kDouble);
        if (bench.space().classes > 0) condition.label = at::arange(rows, at::kLong) % bench.space().classes;
        if (bench.seen) condition.observed = bench.seen->y(0, rows);
    }

    Denoiser network(PredictionType type = PredictionType::x0) const {
        const auto ask = [process = bench.chain, type, without = without](const Tensor& x, const Time& t,
                                                                          const Condition& told) {
            const auto n = x.size(0);
            const auto given = told.given.defined() ? told.given : at::ones({n}, at::kBool);
            *without += static_cast<int>((~given).sum().item<std::int64_t>());
            std::vector<std::int64_t> one(static_cast<std::size_t>(x.dim()), 1);
            one[0] = n;
            const auto label = told.label.defined() ? told.label.to(at::kDouble) : at::zeros({n}, at::kDouble);
            const auto mean = at::where(given, 0.4 - 0.3 * label, 0.0).view(one).to(x.scalar_type());
            const auto v = at::where(given, 0.25, 0.64).to(at::kDouble).view(one);
            const auto level = [&](auto of) {
                return t.map([&](double t) { return of(process->levels().at(t)); }).rows(x).view(one);
            };
            const auto a = level([](const NoiseLevel&l) { return l.alpha; }),
                       s2 = level([](const NoiseLevel&l) { return l.sigma * l.sigma; });
            const auto gain = (a * v / (a * a * v + s2)).to(x.scalar_type());
            const auto x0 = mean + gain * (x - a.to(x.scalar_type()) * mean);
            return Prediction{type, process->convert({PredictionType::x0, x0, {}}, type, x, t), {}};
        };
        return {bench.chain, ask, condition};
    }
    Denoiser guided(PredictionType type = PredictionType::x0) const { return guidance->around(network(type)); }
    double time(double share) const { return std::floor(share * bench.chain->levels().last()); }
    std::vector<double> times() const { return {time(0.99), time(0.6), time(0.1), time(0.02)}; }

    /// What it makes of the answer, and of a reverse step where it moves those.
    Tensor shown(const Denoiser& guided, const Tensor& x, const Time& t, const Condition& condition) const {
        const auto& process = *bench.chain;
        auto answer = process.convert(guided(x, t, condition), PredictionType::x0, x, t).to(at::kDouble);
        if (!guidance->moves_steps()) return answer;
        const auto s = t.uniform() ? Time(std::floor(t.value() / 2)) : Time((t.rows(0) / 2).floor());
        const auto mean = guided.with(condition).reverse(x, t, s, process.variances().front()).mean;
        return at::cat({answer, mean.to(at::kDouble)}, 1);
    }
    Tensor shown(const Denoiser& guided, double t) const { return shown(guided, x, t, condition); }
};

template <class Look>
void for_walks(const Trial& trial, Findings& found, const Look& look) {
    at::NoGradGuard no_grad;
    for (const auto& bench : trial.benches()) {
        const Within within(found, "on " + bench.name);
        look(Walk(bench, trial.make<Guidance>(bench)));
    }
}

bool accepts(const Process& process, PredictionType type) {
    try {
        process.accept(type);
        return true;
    } catch (const Error&) {
        return false;
    }
}

void shaped_as_x(const Trial& trial, Findings& found) {
    for_walks(trial, found, [&](const Walk& walk) {
        for (const auto type : all_types) {
            if (!accepts(*walk.bench.chain, type)) continue;
            const auto guided = walk.guided(type);
            for (const auto number : {at::kDouble, at::kFloat})
                for (const double t : walk.times()) {
                    const Within within(found, fmt::format("t = {}, a network of {}", t, name_of(type)));
                    const auto answer = guided(walk.x.to(number), t, walk.condition);
                    found.expect(
                        answer.value.sizes() == walk.x.sizes() && answer.value.scalar_type() == number,
                        fmt::format("its answer has the shape {}, type {}; x has {}, {}",
                                    fmt::join(answer.value.sizes(), " × "), toString(answer.value.scalar_type()),
                                    fmt::join(walk.x.sizes(), " × "), toString(number)));
                    found.expect(at::isfinite(answer.value).all().item<bool>(), "its answer is not finite");
                    found.expect(accepts(*walk.bench.chain, answer.type),
                                 fmt::format("it answers {}, which the process refuses", name_of(answer.type)));
                }
        }
    });
}

void moves_what_it_says(const Trial& trial, Findings& found) {
    for_walks(trial, found, [&](const Walk& walk) {
        found.expect(walk.guided().shifts() == walk.guidance->moves_steps(),
                     walk.guidance->moves_steps() ? "it says that it moves reverse steps, and moves none"
                                                  : "it moves reverse steps, and does not say so");
    });
}

void asks_without(const Trial& trial, Findings& found) {
    for_walks(trial, found, [&](const Walk& walk) {
        const auto guided = walk.guided();
        for (double share = 0; share <= 1; share += 0.05) walk.shown(guided, walk.time(share));
        found.expect(*walk.without == 0 || walk.guidance->needs_null_condition(),
                     "it asks the network without its condition, and does not say so");
    });
}

void neutral_scale(const Trial& trial, Findings& found) {
    at::NoGradGuard no_grad;
    for (const auto& bench : trial.benches()) {
        const Within within(found, "on " + bench.name);
        double least = std::numeric_limits<double>::infinity();
        for (const char* neutral : {"scale = 1.0", "scale = 0.0"}) {
            const auto guidance = trial.tried<Guidance>(bench, neutral);
            if (!guidance) continue;
            const Walk walk(bench, guidance);
            const auto guided = walk.guided(), plain = walk.network();
            double off = 0;
            for (const double t : walk.times()) off = std::max(off, apart(walk.shown(guided, t), walk.shown(plain, t)));
            least = std::min(least, off);
        }
        if (std::isinf(least)) return found.not_asked("it has no scale");
        found.at_most(least, 1e-12, "|guided − not| with scale 1 or 0, whichever changes less");
    }
}

/// What it stands on beside the network may tell elements apart.
bool stands_on_more(const Bench& bench) { return bench.seen || !bench.networks.empty(); }

void every_channel_alike(const Trial& trial, Findings& found) {
    at::NoGradGuard no_grad;
    bool any = false;
    for (const auto& [name, data] :
         {std::pair{"points in the plane", points()}, {"pictures of 3 channels", pictures({3, 4, 4})}}) {
        const auto bench = trial.over(name, data);
        if (!bench) continue;
        if (stands_on_more(*bench)) return found.not_asked("it stands on more than the network");
        any = true;
        const Within within(found, fmt::format("on {}", name));
        const Walk walk(*bench, trial.make<Guidance>(*bench));
        const auto guided = walk.guided();
        const auto channels = walk.x.size(1);
        const auto turned = [&](const Tensor& shown) {
            std::vector<Tensor> parts;  // the answer and, where it moves those, a step
            for (const auto& part : shown.split(channels, 1)) parts.push_back(part.flip(1));
            return at::cat(parts, 1);
        };
        for (const double t : walk.times())
            found.at_most(apart(walk.shown(guided, turned(walk.x), t, walk.condition), turned(walk.shown(guided, t))),
                          1e-9, fmt::format("|Δ| where channels change places, at t = {}", t));
    }
    if (!any) found.not_asked("its author names other data");
}

void rows_by_themselves(const Trial& trial, Findings& found) {
    for_walks(trial, found, [&](const Walk& walk) {
        const auto guided = walk.guided();
        const auto t = at::tensor(walk.times(), at::kDouble);
        const auto together = walk.shown(guided, walk.x, Time(t), walk.condition);
        for (std::int64_t k = 0; k < rows; ++k) {
            const Within within(found, fmt::format("row {} at t = {}", k, t[k].item<double>()));
            const auto alone =
                walk.shown(guided, walk.x.slice(0, k, k + 1), t[k].item<double>(), walk.condition.chunk(k, 1));
            found.at_most(apart(alone, together.slice(0, k, k + 1)),
                          walk.bench.networks.empty() ? 1e-8 : 1e-4,  // networks have float32
                          "|alone − in a batch with other times|");
        }
        const double middle = walk.time(0.5);
        found.at_most(apart(walk.shown(guided, walk.x.flip(0), middle,
                                       [&] {
                                           auto other = walk.condition;
                                           if (other.label.defined()) other.label = other.label.flip(0);
                                           if (other.observed.defined()) other.observed = other.observed.flip(0);
                                           return other;
                                       }()),
                            walk.shown(guided, middle).flip(0)),
                      walk.bench.networks.empty() ? 1e-9 : 1e-4, "|Δ| of rows in another order");
    });
}

void trajectories_by_themselves(const Trial& trial, Findings& found) {
    for_walks(trial, found, [&](const Walk& walk) {
        const auto walked = [&](const Denoiser& guided, const Tensor& x) {
            std::vector<Tensor> answers;
            const auto one = guided.begin(false);
            for (const double t : walk.times()) {
                answers.push_back(walk.shown(one, x, t, walk.condition));
                answers.push_back(walk.shown(one, x, t, walk.condition));
                one.advance();
            }
            return at::stack(answers);
        };
        const auto guided = walk.guided();
        const auto once = walked(guided, walk.x);
        for (std::int64_t i = 0; i < once.size(0); i += 2)
            found.expect(same_bits(once[i], once[i + 1]), "asked twice in a step, it answers otherwise");
        walked(guided, walk.x * 2 + 1);
        found.expect(same_bits(walked(guided, walk.x), once), "a trajectory depends on one before it");
        found.expect(same_bits(walked(walk.guided(), walk.x), once), "a fresh one answers otherwise");
        // Two that are walked in turns.
        const auto a = guided.begin(false), b = guided.begin(false);
        std::vector<Tensor> answers;
        for (const double t : walk.times()) {
            walk.shown(b, walk.x - 1, t, walk.condition);
            answers.push_back(walk.shown(a, walk.x, t, walk.condition));
            answers.push_back(answers.back());
            a.advance();
            b.advance();
        }
        found.expect(same_bits(at::stack(answers), once), "a trajectory depends on one that is walked beside it");
    });
}

void pure(const Trial& trial, Findings& found) {
    for_walks(trial, found, [&](const Walk& walk) {
        const auto guided = walk.guided();
        const auto x = walk.x.clone();
        const auto label = walk.condition.label.defined() ? walk.condition.label.clone() : Tensor();
        const auto all = [&] {
            at::NoGradGuard no_grad;
            std::vector<Tensor> answers;
            for (const double t : walk.times()) answers.push_back(walk.shown(guided, t));
            return at::stack(answers);
        };
        const auto once = all();
        found.expect(same_bits(all(), once), "asked again, it answers something else");
        found.expect(same_in_threads(all), "two threads at once are answered otherwise");
        found.expect(same_bits(walk.x, x) && (!label.defined() || same_bits(walk.condition.label, label)),
                     "it has written into what it was given");
    });
}

}  // namespace

const std::vector<Law> guidance_laws{
    {"its answers are shaped and typed as x, whatever the network predicts", shaped_as_x},
    {"it moves reverse steps where it says so, and nowhere else", moves_what_it_says},
    {"it asks without the condition where it says so, and nowhere else", asks_without},
    {"the neutral scale changes nothing", neutral_scale},
    {"asked twice, it answers the same, and changes nothing", pure},
    {"every row is guided by itself, at its own time", rows_by_themselves},
    {"every channel is guided alike", every_channel_alike},
    {"it remembers nothing but its own trajectory", trajectories_by_themselves},
    stays_on_its_device(),
};

}  // namespace dtk::laws
