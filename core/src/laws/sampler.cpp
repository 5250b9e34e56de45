// Laws of samplers: what they make of a start, step by step, and which law samples have with the exact denoiser.
#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/ranges.h>

#include <dtk/categories.hpp>
#include <dtk/observation.hpp>
#include <dtk/sampler.hpp>
#include <dtk/schedule.hpp>

#include "laws/bench.hpp"
#include "laws/law.hpp"
#include "laws/on_pretend.hpp"

namespace dtk::laws {

namespace {

const Random stream(1, "laws");

/// N(mean, sd²) in every element: its denoiser is arithmetic alone and rounds a row alike wherever it stands.
constexpr double mean = 0.3, sd = 0.5;

/// The exact denoiser of those data under the bench's process, or where that is not Gaussian the bench's network, told
/// what is known of as many rows as there are.
Denoiser denoiser(const Bench& bench, std::int64_t rows, PredictionType type = PredictionType::x0) {
    Condition condition;
    if (bench.seen) condition.observed = bench.seen->y(0, rows);
    const auto* chain = dynamic_cast<const GaussianProcess*>(bench.chain.get());
    if (!chain && !bench.network)
        throw Error("there is no network under this process", "name one in [check.model] that knows its data");
    if (!chain) return bench.denoiser().with(condition);
    const auto ask = [process = bench.chain, chain, type](const Tensor& x, const Time& t, const Condition&) {
        const auto a = chain->alpha(t), noise = square(chain->sigma(t)), all = square(a) * (sd * sd) + noise;
        const auto x0 = (a * (sd * sd) / all) * x + noise / all * at::full_like(x, mean);
        return Prediction{type, process->convert({PredictionType::x0, x0, {}}, type, x, t), {}};
    };
    return {bench.chain, ask, condition};
}

/// The same answers, each row asked for alone: kernels may round by the place of a row.
Denoiser row_by_row(const Denoiser& denoise) {
    return denoise.replaced([denoise](const Tensor& x, const Time& t, const Condition& condition) {
        std::vector<Tensor> rows;
        Prediction one;
        for (std::int64_t k = 0; k < x.size(0); ++k) {
            one = denoise(x.slice(0, k, k + 1), t.chunk(k, 1), condition.chunk(k, 1));
            rows.push_back(one.value);
        }
        return Prediction{one.type, at::cat(rows), {}};
    });
}

/// Such data in vectors and in pictures, as far as the author names no others.
std::vector<Bench> benches(const Trial& trial) {
    std::vector<Bench> all;
    for (const auto& [name, shape] :
         {std::pair{"normal points", std::vector<std::int64_t>{2}}, {"normal pictures", {1, 2, 3}}})
        if (auto bench = trial.over(name, normal(shape, mean, sd))) all.push_back(std::move(*bench));
    if (all.empty()) all.push_back(trial.benches().front());
    return all;
}

/// A sampler on a bench, with a number of steps.
struct Made {
    Bench bench;
    std::shared_ptr<Sampler> sampler;
    std::vector<double> times;

    Tensor start(std::int64_t rows, at::ScalarType type = at::kDouble) const {
        auto sizes = bench.space().shape;
        sizes.insert(sizes.begin(), rows);
        return bench.chain->prior(sizes, type, stream.stream("prior"), times.front());
    }
    Tensor sample(const Tensor& x, const Random& random = stream, const StepCallback& done = ignore_step) const {
        return sampler->sample(denoiser(bench, x.size(0)), times, x.clone(), random, done);
    }
};

/// Nothing where it refuses so many steps, which must be in words.
std::optional<Made> made(const Trial& trial, const Bench& bench, std::int64_t steps, Findings& found) {
    try {
        auto sampler = trial.make<Sampler>(bench, fmt::format("steps = {}", steps));
        auto times = sampler->times(*bench.chain);
        return Made{bench, std::move(sampler), std::move(times)};
    } catch (const Error& error) {
        found.expect(!error.help().empty(), fmt::format("it refuses {} steps without a cure: {}", steps, error.what()));
        return {};
    }
}

/// On every bench with so many steps, or as many as it takes; it must take one such number.
template <class Look>
void for_steps(const Trial& trial, Findings& found, const std::vector<std::int64_t>& steps, const Look& look) {
    at::NoGradGuard no_grad;
    for (const auto& bench : benches(trial)) {
        int taken = 0;
        for (const auto n : steps) {
            const Within within(found, fmt::format("{} steps on {}", n, bench.name));
            if (const auto one = made(trial, bench, n, found)) ++taken, look(*one);
        }
        if (taken == 0) found.expect(false, fmt::format("it takes none of {} steps", fmt::join(steps, ", ")));
    }
}

void finite_from_one_step_on(const Trial& trial, Findings& found) {
    for_steps(trial, found, {1, 2, 3, 12}, [&](const Made& made) {
        for (const auto type : {at::kDouble, at::kFloat}) {
            const auto x = made.start(5, type);
            const auto y = made.sample(x);
            found.expect(
                y.sizes() == x.sizes() && y.scalar_type() == type,
                fmt::format("samples have the shape {}, type {}, their start {}, {}", fmt::join(y.sizes(), " × "),
                            toString(y.scalar_type()), fmt::join(x.sizes(), " × "), toString(type)));
            found.expect(at::isfinite(y).all().item<bool>(), "samples are not finite");
            found.expect(!y.requires_grad(), "samples carry a gradient");
        }
    });
}

void reports_each_step(const Trial& trial, Findings& found) {
    for_steps(trial, found, {1, 7, 12}, [&](const Made& made) {
        std::vector<std::int64_t> steps;
        Tensor last;
        const auto x = made.start(4);
        const auto end = made.sample(x, stream, [&](std::int64_t i, const Tensor& state) {
            steps.push_back(i), last = state;
            found.expect(state.sizes() == x.sizes(), "a state that it reports is not shaped as its start");
        });
        std::vector<std::int64_t> expected;
        for (std::size_t i = 1; i <= made.times.size(); ++i) expected.push_back(static_cast<std::int64_t>(i));
        found.expect(steps == expected, fmt::format("it reports the steps {}", fmt::join(steps, ", ")));
        found.expect(last.defined() && same_bits(end, last), "what it reports last is not what it answers");
    });
}

void asks_inside(const Trial& trial, Findings& found) {
    for_steps(trial, found, {1, 7, 12}, [&](const Made& made) {
        const double last = made.bench.chain->levels().last();
        const auto x = made.start(3);
        double latest = -1;
        const auto plain = denoiser(made.bench, 3);
        const auto watched = plain.replaced([&](const Tensor& x, const Time& t, const Condition& condition) {
            found.expect(t.all([&](double t) { return t > -1 && t <= last; }),
                         "it asks the network outside the process, −1 < t ≤ T − 1");
            const auto rows = t.rows(x.size(0));
            latest = std::max(latest, rows.max().item<double>());
            return plain(x, t, condition);
        });
        made.sampler->sample(watched, made.times, x, stream);
        // Times that it is given, and not those of its own grid.
        if (!dynamic_cast<const GaussianProcess*>(made.bench.chain.get()))
            return found.not_asked("its process is not Gaussian");
        const double next = made.times.size() > 1 ? made.times[1] : -1;
        found.expect(latest > next, fmt::format("its first step leads from t = {} to {}, and it asks at {} at most",
                                                made.times.front(), next, latest));
    });
}

void same_numbers_same_samples(const Trial& trial, Findings& found) {
    for_steps(trial, found, {12, 1}, [&](const Made& made) {
        const auto x = made.start(8);
        const auto once = made.sample(x);
        const auto other = stream.stream("other");
        made.sample(made.start(3) + 1, other);
        found.expect(same_bits(made.sample(x), once), "the same numbers give other samples after other ones");
        struct CutShort {};
        try {
            made.sample(x - 1, other, [&](std::int64_t step, const Tensor&) {
                if (step == static_cast<std::int64_t>(made.times.size() + 1) / 2) throw CutShort();
            });
        } catch (const CutShort&) {
        }
        found.expect(same_bits(made.sample(x), once), "a call that was cut short changes what comes after");
        const auto fresh = trial.make<Sampler>(made.bench, fmt::format("steps = {}", made.times.size()));
        found.expect(same_bits(fresh->sample(denoiser(made.bench, 8), made.times, x.clone(), stream), once),
                     "a fresh one answers otherwise");
        const auto start = x.clone();
        made.sampler->sample(denoiser(made.bench, 8), made.times, start, stream);
        found.expect(same_bits(start, x), "it has written into its start");
        found.expect(same_in_threads([&] { return made.sample(x); }), "two threads at once are answered otherwise");
    });
}

void batch_of_its_own(const Trial& trial, Findings& found) {
    for_steps(trial, found, {12, 1}, [&](const Made& made) {
        const auto x = made.start(8);
        const auto observed = denoiser(made.bench, 8).condition();
        const auto drawn = [&](std::int64_t first, std::int64_t n) {
            const auto denoise = row_by_row(denoiser(made.bench, 8)).with(observed.chunk(first, n));
            return made.sampler->sample(denoise, made.times, x.slice(0, first, first + n).clone(), stream.from(first));
        };
        const auto whole = drawn(0, 8), parts = at::cat({drawn(0, 3), drawn(3, 5)});
        found.expect(same_bits(whole, parts),
                     fmt::format("a batch in two parts is another, by {:.3g}", distance(whole, parts)));
    });
}

void any_prediction(const Trial& trial, Findings& found) {
    for_steps(trial, found, {12, 1}, [&](const Made& made) {
        if (!dynamic_cast<const GaussianProcess*>(made.bench.chain.get()))
            return found.not_asked("its process is not Gaussian");
        const auto x = made.start(6);
        const auto told = [&](PredictionType type) {
            return made.sampler->sample(denoiser(made.bench, 6, type), made.times, x.clone(), stream);
        };
        const auto x0 = told(PredictionType::x0);
        for (const auto type : {PredictionType::eps, PredictionType::v, PredictionType::score, PredictionType::edm,
                                PredictionType::velocity, PredictionType::mean}) {
            try {
                made.bench.chain->accept(type);
            } catch (const Error&) {
                continue;
            }
            found.at_most(apart(told(type), x0), 1e-6, fmt::format("|samples of {} − of x0|", name_of(type)));
        }
    });
}

void moved_where_it_says(const Trial& trial, Findings& found) {
    for_steps(trial, found, {12, 1}, [&](const Made& made) {
        if (!dynamic_cast<const GaussianProcess*>(made.bench.chain.get()))
            return found.not_asked("its process is not Gaussian");
        std::vector<double> ends;
        const auto plain = denoiser(made.bench, 3);
        const auto shifted =
            plain.shifted([&](const Tensor&, const Normal& step, const Time&, const Time& s, const Condition&) {
                ends.push_back(s.value());
                return step.mean + 0.25;
            });
        const auto x = made.start(3);
        const auto moved = made.sampler->sample(shifted, made.times, x.clone(), stream);
        if (!made.sampler->draws_reverse_steps()) {
            found.expect(ends.empty(), "it draws reverse steps, and does not say so");
            return;
        }
        for (const auto& step : steps_along(made.times))
            found.expect(std::ranges::count(ends, step.s) > 0,
                         fmt::format("it says that it draws reverse steps, and draws none to s = {}", step.s));
        found.expect(!same_bits(moved, made.sample(x)), "it draws reverse steps without what moves them");
    });
}

/// The elements of which nothing is known: [k] places of the flattened example; nothing where y is no elements.
std::optional<Tensor> unknown(const Bench& bench) {
    const auto all = at::arange(bench.space().elements(), at::kLong);
    if (!bench.seen) return all;
    const auto known = bench.seen->elements();
    if (!known.defined()) return {};
    return all.index_select(0, (~at::isin(all, known)).nonzero().flatten());
}

void law_of_the_data(const Trial& trial, Findings& found) {
    at::NoGradGuard no_grad;
    const auto bench = benches(trial).front();
    const auto places = unknown(bench);
    if (!dynamic_cast<const GaussianProcess*>(bench.chain.get())) return found.not_asked("its process is not Gaussian");
    if (!bench.data->density() || bench.data->density()->mode_weights().size() > 1 || !places || places->numel() == 0)
        return found.not_asked("what is known leaves no element as it was");
    if (!made(trial, bench, 2, found)) return found.not_asked("it makes one step, which a denoiser cannot");
    // As many samples as go fast: one that asks often, or for many particles, gets fewer.
    double asked = 0;
    const auto counted = [&](const Denoiser& denoise) {
        return denoise.replaced([&asked, denoise](const Tensor& x, const Time& t, const Condition& condition) {
            asked += static_cast<double>(x.size(0));
            return denoise(x, t, condition);
        });
    };
    if (const auto one = made(trial, bench, 20, found))
        one->sampler->sample(counted(denoiser(bench, 10)), one->times, one->start(10), stream);
    const auto rows = static_cast<std::int64_t>(std::clamp(3000 * 4 * 200 / std::max(asked, 1.0), 750.0, 3000.0));
    const auto off = [&](std::int64_t n) -> double {
        const auto one = made(trial, bench, n, found);
        if (!one) return 0;
        // Starts of which mean and spread are those of their law.
        auto x = one->start(rows);
        x = (x - x.mean(0)) / x.std(0) * one->bench.chain->levels().prior_sd(one->times.front());
        const auto y = one->sample(x).flatten(1).index_select(1, *places);
        const double m = (y.mean(0) - mean).abs().max().item<double>(), s = (y.std(0) - sd).abs().max().item<double>();
        return std::isfinite(m) && std::isfinite(s) ? std::hypot(m, s) : std::numeric_limits<double>::infinity();
    };
    const double few = off(20), many = off(500);
    const double limit = 0.03 + sd / std::sqrt(static_cast<double>(rows));
    found.at_most(many, limit, "|Δ| of mean and standard deviation of samples of N(0.3, 0.5²), 500 steps");
    found.at_most(many, std::max(few, limit), fmt::format("the same, which is {:.3g} with 20 steps", few));
}

/// Of data that are some vectors the samples are these, each as often as it should. Elements that are drawn together
/// from one answer may disagree.
void law_of_atoms(const Trial& trial, Findings& found) {
    at::NoGradGuard no_grad;
    const auto bench = benches(trial).front();
    const auto* law = dynamic_cast<const FiniteDensity*>(bench.data->density());
    if (!law || !bench.network || bench.seen) return found.not_asked("its data are not known vectors");
    const auto atoms = law->atoms().size(0);
    if (atoms > 1000) return found.not_asked("its data are too many vectors to be counted");
    const auto sampler = trial.make<Sampler>(bench);
    const Made made{bench, sampler, sampler->times(*bench.chain)};
    const auto y = made.sample(made.start(8 * atoms)).flatten(1).to(at::kDouble);
    const auto meant = law->log_prob(y) > -1e9;
    const auto hits = meant.sum().item<double>();
    found.at_most(1 - hits / static_cast<double>(8 * atoms), 0.2, "the share of samples that are none of the data");
    const auto nearest = law->nearest_mode(y.index_select(0, meant.nonzero().flatten()));
    const auto expected = law->log_weights().exp() * hits;
    const double chi2 =
        ((at::bincount(nearest, {}, atoms).to(at::kDouble) - expected).square() / expected).sum().item<double>();
    const auto K = static_cast<double>(atoms - 1);
    found.at_most(chi2 / K, 1.2 + 5 * std::sqrt(2 / K), "χ² of how often each is drawn, for each of them,");
}

void order_of_the_flow(const Trial& trial, Findings& found) {
    at::NoGradGuard no_grad;
    auto bench = benches(trial).front();
    if (bench.seen || !dynamic_cast<const GaussianProcess*>(bench.chain.get()))
        return found.not_asked("what is known leads it elsewhere, or its process is not Gaussian");
    const auto sampler = trial.make<Sampler>(bench);
    const auto& noise = bench.chain->levels();
    const bool whole = bench.chain->whole_steps();
    const double from = std::floor(0.9 * noise.last()), to = std::floor(0.1 * noise.last());
    if (whole && from - to < 400) return found.not_asked("there are not 400 whole steps");
    const auto spread = [&](double t) { return std::sqrt(noise.alpha_bar(t) * sd * sd + noise.sigma2(t)); };
    auto sizes = bench.space().shape;
    sizes.insert(sizes.begin(), 5);
    const auto x = noise.alpha(from) * mean + spread(from) * stream.stream("x").normal(sizes, at::kDouble);
    const auto exact = noise.alpha(to) * mean + (x - noise.alpha(from) * mean) * (spread(to) / spread(from));
    const auto there = [&](std::int64_t n, const Random& random) {
        std::vector<double> times;
        for (std::int64_t i = 0; i <= n; ++i) {
            const double t = from + (to - from) * static_cast<double>(i) / static_cast<double>(n);
            times.push_back(whole ? std::round(t) : t);
        }
        Tensor state;
        sampler->sample(denoiser(bench, 5), times, x.clone(), random, [&](std::int64_t i, const Tensor& now) {
            if (i == n) state = now.clone();
        });
        return state;
    };
    Tensor once;
    try {
        once = there(20, stream);
    } catch (const Error& error) {
        return found.not_asked(fmt::format("it refuses times that it is given: {}", error.what()));
    }
    if (!once.defined() || !same_bits(once, there(20, stream.stream("other"))))
        return found.not_asked("it draws, or makes one step");
    const auto error = [&](std::int64_t n) { return distance(there(n, stream), exact) / spread(to); };
    const double few = std::max(error(20), error(25)), many = error(400);
    // An adaptive one is as good as its tolerance says.
    if (many <= 1e-6) return found.at_most(many, 1e-6, "|Δ| to the exact flow in 400 steps");
    found.at_most(
        0.9 - std::log(few / many) / std::log(20.0), 0.0,
        fmt::format("0.9 less the order of its error to the exact flow, {:.3g} in 20 steps and {:.3g} in 400,", few,
                    many));
}

void draws_anew(const Trial& trial, Findings& found) {
    for_steps(trial, found, {12, 1}, [&](const Made& made) {
        const auto x = made.start(400);
        const auto once = made.sample(x), other = made.sample(x, stream.stream("other"));
        if (same_bits(once, other) || made.bench.space().elements() < 2)
            return found.not_asked("it draws nothing, or there is one element alone");
        if (made.bench.seen || !dynamic_cast<const GaussianProcess*>(made.bench.chain.get()))
            return found.not_asked("rows are told apart by y, or are not Gaussian");
        const auto alike = made.sample(x.slice(0, 0, 1).expand(x.sizes()).clone());
        const auto spread = alike.flatten(1).std(0);
        found.expect(spread.min().item<double>() > 0, "rows from one start share the numbers that are drawn");
        const auto z = (alike.flatten(1) - alike.flatten(1).mean(0)) / spread.clamp_min(1e-300);
        const double together = (z.select(1, 0) * z.select(1, 1)).mean().item<double>();
        found.at_most(std::abs(together), 5 / std::sqrt(400.0), "|correlation of two elements from one start|");
    });
}

}  // namespace

const std::vector<Law> sampler_laws{
    {"from one step on its samples are finite, shaped and typed as their start", finite_from_one_step_on},
    {"it reports each step once, and ends with what it reported last", reports_each_step},
    {"it asks the network inside the process, from the first of its times on", asks_inside},
    {"the same numbers give the same samples, whatever came before", same_numbers_same_samples},
    {"a sample does not depend on the batch that it is drawn in", batch_of_its_own},
    {"numbers are drawn anew for each row and element", draws_anew},
    {"it does not matter in which type the network answers", any_prediction},
    {"its reverse steps are moved where it says that it draws such", moved_where_it_says},
    {"with the exact denoiser and many steps its samples have the law of the data", law_of_the_data},
    {"of data that are known vectors its samples are these, as often as they should", law_of_atoms},
    {"without noise it comes to the exact flow, the nearer the shorter its steps", order_of_the_flow},
    stays_on_its_device(),
};

}  // namespace dtk::laws
