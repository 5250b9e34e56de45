// Laws of processes: the Markov kernel, its steps back, its bound, and what a prediction means.
#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/ranges.h>

#include <dtk/bernoulli.hpp>
#include <dtk/categories.hpp>
#include <dtk/densities.hpp>
#include <dtk/schedule.hpp>

#include "laws/bench.hpp"
#include "laws/law.hpp"

namespace dtk::laws {

namespace {

constexpr std::array all_types{PredictionType::eps,   PredictionType::x0,     PredictionType::v,
                               PredictionType::score, PredictionType::mean,   PredictionType::velocity,
                               PredictionType::edm,   PredictionType::logits, PredictionType::frames,
                               PredictionType::label};

const Random stream(1, "laws");

/// A process over its data, and some of them in float64 with noise and a time for each.
struct Chain {
    const Bench& bench;
    std::shared_ptr<Process> process;
    Tensor x0, noise, t;  ///< t: [B]
    NoisySample xt;

    explicit Chain(const Bench& bench, std::int64_t rows = 6) : bench(bench), process(bench.chain) {
        x0 = bench.chain_data().test_examples(at::arange(rows)).x.to(at::kDouble);
        noise = process->noise(x0.sizes(), x0.options(), stream.stream("noise"));
        // Whole times from end to end, the last but not the very last: there α may be 0.
        const auto last = static_cast<double>(process->steps() - 1);
        t = (at::linspace(0.02, 0.8, rows, at::kDouble) * last).floor();
        xt = {process->mix(x0, noise, Time(t)), noise};
    }
    Tensor row(const Tensor& all, std::int64_t k) const { return all.slice(0, k, k + 1); }
    Time time(std::int64_t k) const { return t[k].item<double>(); }
    /// About halfway to the data.
    Tensor earlier() const { return (t / 2).floor() - (t < 1).to(at::kDouble); }

    /// What a perfect network of that type would say; nothing where there is no such number.
    std::optional<Tensor> perfect(PredictionType type) const {
        try {
            process->accept(type);
            return process->target(type, x0, xt, Time(t));
        } catch (const Error&) {
            return {};
        }
    }
    /// One that is not.
    Prediction vague() const {
        auto prediction = certain();
        prediction.value = (prediction.type == PredictionType::logits ? 0.01 : 0.5) * prediction.value;
        return prediction;
    }
    /// A prediction that is as good as certain, of any type that the process has one of.
    Prediction certain() const {
        if (const auto* categories = dynamic_cast<const CategoricalProcess*>(process.get())) {
            const auto number = categories->numbers(x0).unsqueeze(-1);
            return {PredictionType::logits, (number == at::arange(categories->categories())).to(at::kDouble) * 200, {}};
        }
        for (const auto type : all_types)
            if (auto value = perfect(type)) return {type, std::move(*value), {}};
        throw Error("no type of prediction has a target");
    }
};

template <class Look>
void for_chains(const Trial& trial, Findings& found, const Look& look) {
    for (const auto& bench : trial.benches()) {
        const Within within(found, "on " + bench.name);
        look(Chain(bench));
    }
}
/// The same where the process is Gaussian.
template <class Look>
void for_gaussian(const Trial& trial, Findings& found, const Look& look) {
    for_chains(trial, found, [&](const Chain& chain) {
        if (const auto* process = dynamic_cast<const GaussianProcess*>(chain.process.get()))
            look(chain, *process);
        else
            found.not_asked("it is not Gaussian");
    });
}

void as_many_levels(const Trial& trial, Findings& found) {
    for_chains(trial, found, [&](const Chain& chain) {
        const auto T = chain.process->steps();
        found.expect(T >= 1 && chain.process->levels().steps() == T,
                     fmt::format("it has {} steps and noise levels of {}", T, chain.process->levels().steps()));
    });
}

void types_or_a_cure(const Trial& trial, Findings& found) {
    for_chains(trial, found, [&](const Chain& chain) {
        int accepted = 0;
        for (const auto type : all_types) try {
                chain.process->accept(type);
                ++accepted;
                found.expect(type != PredictionType::label,
                             "it accepts a classifier's answer, which says nothing of x_0");
            } catch (const Error& error) {
                found.expect(!error.help().empty(),
                             fmt::format("it refuses {} without a cure: {}", name_of(type), error.what()));
            }
        found.expect(accepted > 0, "it accepts no type of prediction");
        const auto words = chain.process->variances();
        found.expect(!words.empty(), "it offers no variance");
        for (const auto& word : words) {
            found.expect(std::ranges::count(words, word) == 1, fmt::format("it offers `{}` twice", word));
            chain.process->accept_variance(word);
        }
        try {
            chain.process->accept_variance("no such variance");
            found.expect(false, "it accepts a variance that it does not offer");
        } catch (const Error& error) {
            found.expect(!error.help().empty(), "it refuses a variance without a cure");
        }
    });
}

void shaped_as_x(const Trial& trial, Findings& found) {
    for_chains(trial, found, [&](const Chain& chain) {
        const auto& process = *chain.process;
        const auto s = chain.earlier();
        const auto last = static_cast<double>(process.steps() - 1);
        for (const auto type : {at::kDouble, at::kFloat}) {
            const auto is_x = [&](const Tensor& value, const char* what) {
                found.expect(
                    value.sizes() == chain.x0.sizes() && value.scalar_type() == type,
                    fmt::format("{} has the shape {}, type {}; x has {}, {}", what, fmt::join(value.sizes(), " × "),
                                toString(value.scalar_type()), fmt::join(chain.x0.sizes(), " × "), toString(type)));
                found.expect(at::isfinite(value).all().item<bool>(), fmt::format("{} is not finite", what));
            };
            const auto x0 = chain.x0.to(type);
            const auto noise = process.noise(x0.sizes(), x0.options(), stream);
            found.expect(noise.size(0) == x0.size(0), "noise has not a row for each of x");
            const NoisySample xt{process.mix(x0, noise, Time(chain.t)), noise};
            is_x(xt.x, "x_t");
            is_x(process.noised(x0, Time(chain.t), stream).x, "a noised x");
            is_x(process.prior(x0.sizes(), x0.options(), stream, last), "a draw of the prior");
            auto certain = chain.certain();
            certain.value = certain.value.to(type);
            is_x(process.reverse_step(xt.x, certain, Time(chain.t), Time(s), process.variances().front(), stream),
                 "a step back");
            for (const auto kind : all_types) try {
                    process.accept(kind);
                    is_x(process.target(kind, x0, xt, Time(chain.t)), "a target");
                } catch (const Error& error) {
                    found.expect(!error.help().empty(), "it refuses a target without a cure");
                }
            try {
                const auto term =
                    process.bound_term(x0, xt.x, Time(chain.t), Time(s), certain, process.variances().front());
                found.expect(term.scalar_type() == type, "a term of the bound has not the type of x");
            } catch (const Error& error) {
                found.expect(!error.help().empty(), "it refuses a bound without a cure");
            }
            const auto prior = process.prior_term(x0);
            found.expect(prior.sizes() == at::IntArrayRef({x0.size(0)}) && prior.scalar_type() == type,
                         "the prior's term is not one number a row, in the type of x");
        }
    });
}

void perfect_networks_agree(const Trial& trial, Findings& found) {
    for_chains(trial, found, [&](const Chain& chain) {
        int pairs = 0;
        for (const auto from : all_types) {
            const auto known = chain.perfect(from);
            if (!known) continue;
            for (const auto to : all_types) {
                const auto expected = chain.perfect(to);
                if (!expected) continue;
                Tensor converted;
                try {
                    converted = chain.process->convert({from, *known, {}}, to, chain.xt.x, Time(chain.t));
                } catch (const Error& error) {
                    found.expect(!error.help().empty(), "it refuses to convert without a cure");
                    continue;
                }
                ++pairs;
                // What little x_t says of x_0 is divided by it; and examples of float32 are rotations to its digits.
                double worst = dynamic_cast<const GaussianProcess*>(chain.process.get()) ? 1 : 1e3;
                for (std::int64_t k = 0; k < chain.t.size(0); ++k)
                    worst = std::max(worst, chain.process->levels().ratio(chain.t[k].item<double>()));
                found.at_most(apart(converted, *expected), 1e-9 * worst,
                              fmt::format("|what is told as {} − the same told as {}|", name_of(to), name_of(from)));
            }
        }
        if (pairs == 0) found.not_asked("no type has a number for what is certain");
    });
}

void there_and_back(const Trial& trial, Findings& found) {
    for_gaussian(trial, found, [&](const Chain& chain, const GaussianProcess& process) {
        const auto answer = Random(1, "answer").normal(chain.x0.sizes(), at::kDouble);
        const auto accepted = [&](PredictionType type) {
            try {
                process.accept(type);
                return true;
            } catch (const Error&) {
                return false;
            }
        };
        for (const auto from : all_types)
            for (const auto to : all_types) {
                if (!accepted(from) || !accepted(to)) continue;
                const auto there = process.convert({from, answer, {}}, to, chain.xt.x, Time(chain.t));
                const auto back = process.convert({to, there, {}}, from, chain.xt.x, Time(chain.t));
                // Digits that x_t has of the one are not all in the other.
                const double scale = std::max(1.0, there.abs().max().item<double>());
                found.at_most(distance(back, answer), 1e-9 * scale * scale,
                              fmt::format("|Δ| of {} told as {} and back", name_of(from), name_of(to)));
            }
    });
}

void formulas(const Trial& trial, Findings& found) {
    for_gaussian(trial, found, [&](const Chain& chain, const GaussianProcess& process) {
        const auto& l = process.levels();
        const Time t(chain.t);
        const auto of = [&](auto level) { return t.map([&](double t) { return level(t); }).beside(chain.x0); };
        const auto alpha = of([&](double t) { return l.alpha(t); }), sigma = of([&](double t) { return l.sigma(t); });
        found.at_most(distance(process.alpha(t).beside(chain.x0), alpha), 1e-9, "|α − that of the levels|");
        found.at_most(apart(process.sigma(t).beside(chain.x0), sigma), 1e-9, "|σ − that of the levels|");
        found.at_most(apart(chain.xt.x, alpha * chain.x0 + sigma * chain.noise), 1e-9, "|x_t − (α x_0 + σ ε)|");
        const auto is = [&](PredictionType type, const Tensor& expected) {
            if (const auto told = chain.perfect(type))
                found.at_most(apart(*told, expected), 1e-9, fmt::format("|{} − its formula|", name_of(type)));
        };
        is(PredictionType::x0, chain.x0);
        is(PredictionType::eps, chain.noise);
        is(PredictionType::v, alpha * chain.noise - sigma * chain.x0);
        is(PredictionType::score, -chain.noise / sigma);
        is(PredictionType::velocity, of([&](double t) { return l.rates(t).alpha; }) * chain.x0 +
                                         of([&](double t) { return l.rates(t).sigma; }) * chain.noise);
        const auto n = std::int64_t{20000};
        auto sizes = chain.x0.sizes().vec();
        sizes[0] = std::max<std::int64_t>(n / chain.x0[0].numel(), 64);
        const auto z = process.noise(sizes, chain.x0.options(), stream.stream("law"));
        const auto many = static_cast<double>(z.numel());
        found.at_most(std::abs(z.mean().item<double>()), 5 / std::sqrt(many), "|mean of ε|");
        found.at_most(std::abs(z.var().item<double>() - 1), 5 * std::sqrt(2 / many), "|variance of ε − 1|");
        for (const double share : {0.3, 1.0}) {
            const double at = std::floor(share * l.last());
            const auto start = process.prior(sizes, chain.x0.options(), stream.stream("law"), at);
            found.at_most(std::abs(start.std().item<double>() / l.prior_sd(at) - 1), 5 / std::sqrt(2 * many),
                          fmt::format("|sd of the prior at t = {}, as a share, − 1|", at));
        }
        const double at = l.last(), p2 = std::pow(l.prior_sd(at), 2), v = l.sigma2(at) / p2;
        found.at_most(apart(process.prior_term(chain.x0),
                            0.5 * (l.alpha_bar(at) / p2 * chain.x0.square() + v - 1 - std::log(v)).flatten(1).sum(1)),
                      1e-9, "|the prior's term − KL(N(α_T x_0, σ_T²) ‖ N(0, prior's))|");
        if (const auto& data = chain.bench.chain_data(); data.size() == 0) {
            const double sd = data.examples(at::arange(512)).x.to(at::kDouble).std().item<double>();
            found.at_most(std::abs(process.data_sd() / sd - 1), 0.15, "|data_sd, as a share of the data's, − 1|");
        }
    });
}

/// The greatest difference of the two laws' shares below some places, in any element. a, b: [rows, elements]
double apart_in_law(const Tensor& a, const Tensor& b) {
    double worst = 0;
    const double middle = b.mean().item<double>(), spread = std::max(b.std().item<double>(), 1e-12);
    for (const double place : {-1.5, -0.7, 0.01, 0.7, 1.5}) {
        const auto below = [&](const Tensor& x) { return (x <= middle + place * spread).to(at::kDouble).mean(0); };
        worst = std::max(worst, distance(below(a), below(b)));
    }
    return worst;
}

/// q(x_t = 1 | x_0) = ᾱ_t x_0 + (1 − ᾱ_t) π, and by Bayes' rule what follows from it of x_{t−1}.
void bits(const Trial& trial, Findings& found) {
    for_chains(trial, found, [&](const Chain& chain) {
        const auto* process = dynamic_cast<const BernoulliProcess*>(chain.process.get());
        if (!process) return found.not_asked("it is none of bits");
        const auto& l = process->levels();
        const auto p = [&](double x0, double t) {
            return l.alpha_bar(t) * x0 + (1 - l.alpha_bar(t)) * process->rate();
        };
        const auto one = at::ones({1, 1}, at::kDouble), zero = at::zeros({1, 1}, at::kDouble);
        for (const double share : {0.05, 0.5, 0.9}) {
            const double t = std::max(std::floor(share * l.last()), 1.0);
            const Within within(found, fmt::format("t = {}", t));
            const auto seen = [&](const Tensor& x) { return process->evidence(x, t).item<double>(); };
            found.at_most(std::abs(seen(one) - std::log(p(1, t) / p(0, t))), 1e-9, "|Δ| of what a 1 says of x_0");
            found.at_most(std::abs(seen(zero) - std::log((1 - p(1, t)) / (1 - p(0, t)))), 1e-9,
                          "|Δ| of what a 0 says of x_0");
            for (const double x0 : {0.0, 1.0}) {
                const auto data = at::full({20000, 1}, x0, at::kDouble);
                found.at_most(std::abs(process->noised(data, t, stream).x.mean().item<double>() - p(x0, t)),
                              5 * 0.5 / std::sqrt(20000.0),
                              fmt::format("|share of 1 − that of q(x_t | x_0 = {})|", x0));
                const auto before = [&](const Tensor& x) {
                    return process->target(PredictionType::mean, x * 0 + x0, {x, x}, t).item<double>();
                };
                if (!chain.perfect(PredictionType::mean)) continue;
                found.at_most(
                    std::abs(p(x0, t) * before(one) + (1 - p(x0, t)) * before(zero) - p(x0, t - 1)), 1e-9,
                    fmt::format("|Σ q(x_{{t−1}} | x_t, x_0) q(x_t | x_0) − q(x_{{t−1}} | x_0)|, x_0 = {},", x0));
            }
        }
    });
}

/// At T the chain has come to what sampling starts from, as nearly as its prior term says: by Pinsker's inequality no
/// probability differs by more than √(KL/2).
void ends_at_the_prior(const Trial& trial, Findings& found) {
    for_chains(trial, found, [&](const Chain& chain) {
        const auto& process = *chain.process;
        const auto elements = chain.x0[0].numel();
        const auto rows = std::max<std::int64_t>(20000 / elements, 200);
        const auto T = static_cast<double>(process.steps() - 1);
        const auto x0 = chain.x0.slice(0, 0, 1);
        const auto nats = process.prior_term(x0).item<double>();
        found.expect(std::isfinite(nats) && nats >= -1e-9, fmt::format("KL(q(x_T | x_0) ‖ prior) is {}", nats));
        auto sizes = x0.sizes().vec();
        sizes[0] = rows;
        const auto mixed = process.noised(x0.expand(sizes), T, stream.stream("mixed")).x.flatten(1);
        const auto prior = process.prior(sizes, x0.options(), stream.stream("prior"), T).flatten(1);
        found.at_most(apart_in_law(mixed, prior),
                      std::sqrt(std::max(nats, 0.0) / 2) + 6 / std::sqrt(2 * static_cast<double>(rows)),
                      fmt::format("|P(x_T < c) − that of the prior| in an element, with KL = {:.3g}", nats));
    });
}

void rows_have_their_time(const Trial& trial, Findings& found) {
    for_chains(trial, found, [&](const Chain& chain) {
        const auto& process = *chain.process;
        const auto s = chain.earlier();
        const auto word = process.variances().front();
        const auto vague = chain.vague();
        const auto stepped = process.reverse_step(chain.xt.x, vague, Time(chain.t), Time(s), word, stream);
        const auto converted = process.convert(vague, vague.type, chain.xt.x, Time(chain.t));
        Tensor bound;
        try {
            bound = process.bound_term(chain.x0, chain.xt.x, Time(chain.t), Time(s), vague, word);
        } catch (const Error& error) {
            found.expect(!error.help().empty(), "it refuses a bound without a cure");
        }
        for (std::int64_t k = 0; k < chain.t.size(0); ++k) {
            const Within within(found, fmt::format("row {} at t = {}", k, chain.time(k).value()));
            const Prediction one{vague.type, chain.row(vague.value, k), {}};
            const Time t = chain.time(k), to = s[k].item<double>();
            const auto x = chain.row(chain.xt.x, k);
            found.at_most(apart(process.mix(chain.row(chain.x0, k), chain.row(chain.noise, k), t), x), 1e-9,
                          "|x_t alone − in the batch|");
            found.at_most(apart(process.reverse_step(x, one, t, to, word, stream.from(k)), chain.row(stepped, k)), 1e-9,
                          "|a step back alone − in the batch|");
            if (bound.defined())
                found.at_most(
                    apart(process.bound_term(chain.row(chain.x0, k), x, t, to, one, word), chain.row(bound, k)), 1e-9,
                    "|a term of the bound alone − in the batch|");
            for (const auto type : all_types)
                if (const auto known = chain.perfect(type))
                    found.at_most(apart(process.target(type, chain.row(chain.x0, k), {x, chain.row(chain.noise, k)}, t),
                                        chain.row(*known, k)),
                                  1e-9, fmt::format("|target {} alone − in the batch|", name_of(type)));
        }
        found.at_most(
            apart(process.noise(chain.x0.sizes(), chain.x0.options(), stream.stream("noise")).slice(0, 2),
                  process.noise(chain.x0.slice(0, 2).sizes(), chain.x0.options(), stream.stream("noise").from(2))),
            1e-12, "|noise of rows alone − in the batch|");
    });
}

void forward_composes(const Trial& trial, Findings& found) {
    for_gaussian(trial, found, [&](const Chain& chain, const GaussianProcess& process) {
        const auto& l = process.levels();
        for (const double share : {0.1, 0.5, 1.0})
            for (const double part : {0.3, 0.9}) {
                const double t = std::floor(share * l.last()), s = std::floor(part * t);
                if (s >= t) continue;
                const auto xs = process.mix(chain.x0, chain.noise, s);
                const auto [mean, variance] = process.forward(xs, s, t);
                const Within within(found, fmt::format("from s = {} to t = {}", s, t));
                const double a = l.alpha(t) / l.alpha(s);
                found.at_most(apart(mean, a * xs), 1e-9, "|mean of q(x_t | x_s) − α_t/α_s x_s|");
                found.at_most(distance(variance.expand_as(xs) + a * a * l.sigma2(s), at::full_like(xs, l.sigma2(t))) /
                                  std::max(1.0, l.sigma2(t)),
                              1e-9, "|its variance + (α_t/α_s)² σ_s² − σ_t²|");
            }
    });
}

void steps_back(const Trial& trial, Findings& found) {
    for_gaussian(trial, found, [&](const Chain& chain, const GaussianProcess& process) {
        const auto& l = process.levels();
        const auto x0 = chain.x0.slice(0, 0, 1);
        auto sizes = x0.sizes().vec();
        sizes[0] = std::max<std::int64_t>(16000 / x0.numel(), 100);
        for (const double share : {0.05, 0.5, 1.0})
            for (const double part : {0.4, 0.9})
                for (const auto& word : process.variances()) {
                    const double t = std::floor(share * l.last()), s = std::floor(part * t);
                    if (s >= t || s < 0) continue;
                    const Within within(found, fmt::format("t = {} to s = {}, variance {}", t, s, word));
                    const auto xt = process.mix(x0, chain.row(chain.noise, 0), t).expand(sizes);
                    const Prediction perfect{PredictionType::x0, x0.expand(sizes), {}};
                    const auto [mean, variance] = process.reverse(xt, perfect, t, s, word);
                    found.at_most(
                        apart(mean, l.posterior_mean_x0(t, s) * x0.expand(sizes) + l.posterior_mean_xt(t, s) * xt),
                        1e-9, "|mean − that of q(x_s | x_t, x_0)|");
                    const double least = variance.min().item<double>(), most = variance.max().item<double>();
                    found.expect(
                        least >= l.posterior_variance(t, s) * (1 - 1e-9) && most <= l.added_variance(t, s) * (1 + 1e-9),
                        fmt::format("its variance is {} … {}, and those of q(x_s | x_t, x_0) and q(x_t | x_s) "
                                    "are {} and {}",
                                    least, most, l.posterior_variance(t, s), l.added_variance(t, s)));
                    const auto drawn = process.reverse_step(xt, perfect, t, s, word, stream.stream("back"));
                    const auto z = (drawn - mean) / variance.sqrt();
                    const auto many = static_cast<double>(z.numel());
                    found.at_most(std::abs(z.mean().item<double>()), 5 / std::sqrt(many), "|mean of its draws, in sd|");
                    found.at_most(std::abs(z.var().item<double>() - 1), 5 * std::sqrt(2 / many),
                                  "|variance of its draws, as a share, − 1|");
                }
    });
}

/// Of draws x_t ~ q(x_t | x_0) the steps back make draws of q(x_s | x_0), were x_0 known: in one step and in many.
void walks_back(const Trial& trial, Findings& found) {
    for_chains(trial, found, [&](const Chain& chain) {
        const auto& process = *chain.process;
        auto told = chain.certain();
        if (chain.perfect(PredictionType::x0)) told = {PredictionType::x0, chain.x0, {}};
        if (told.type != PredictionType::x0 && told.type != PredictionType::logits)
            return found.not_asked("no prediction says what x_0 is, whatever x_t");
        const auto elements = chain.x0[0].numel();
        const auto n = std::max<std::int64_t>(20000 / elements, 300);
        const auto many = [&](const Tensor& x) {
            auto sizes = x.sizes().vec();
            sizes[0] = n;
            return x.slice(0, 0, 1).expand(sizes).contiguous();
        };
        const auto x0 = many(chain.x0);
        told.value = many(told.value);
        const bool exact = dynamic_cast<const GaussianProcess*>(&process) ||
                           dynamic_cast<const BernoulliProcess*>(&process) ||
                           dynamic_cast<const CategoricalProcess*>(&process);
        const auto last = static_cast<double>(process.steps() - 1);
        const double from = std::floor(0.8 * last), to = std::floor(0.3 * last);
        for (const std::int64_t parts : {1, 50}) {
            // Steps of other processes need only be right where they are short.
            if (parts == 1 && !exact) continue;
            auto x = process.noised(x0, from, stream.stream("from")).x;
            double t = from;
            for (std::int64_t i = 1; i <= parts; ++i) {
                const double s = std::floor(from + (to - from) * static_cast<double>(i) / static_cast<double>(parts));
                if (s >= t) continue;
                x = process.reverse_step(x, told, t, s, process.variances().front(), stream.stream("walk").step(i));
                t = s;
            }
            const auto right = process.noised(x0, to, stream.stream("to")).x;
            found.at_most(apart_in_law(x.flatten(1), right.flatten(1)),
                          (exact ? 0 : 0.05) + 6 / std::sqrt(2 * static_cast<double>(n)),
                          fmt::format("|P(x_s < c) after {} steps back from t = {} − that of q(x_s | x_0)|, s = {},",
                                      parts, from, to));
        }
    });
}

void clean_at_the_end(const Trial& trial, Findings& found) {
    for_chains(trial, found, [&](const Chain& chain) {
        const auto certain = chain.certain();
        for (const auto& word : chain.process->variances()) {
            const auto step = [&](const char* name) {
                return chain.process->reverse_step(chain.xt.x, certain, Time(chain.t), -1, word, stream.stream(name));
            };
            const auto once = step("a");
            found.at_most(apart(step("b"), once), 1e-12, "|Δ| of two draws of the last step");
            // Of what is no x_0, such as a score of rotations, the last step is not x_0.
            if (certain.type == PredictionType::x0 || dynamic_cast<const GaussianProcess*>(chain.process.get()))
                found.at_most(apart(once, chain.x0), 1e-6, "|the last step − x_0| of a perfect prediction");
        }
    });
}

/// A law of this process's x_0 that may not be known: terms are KL divergences.
void terms_of_a_bound(const Trial& trial, Findings& found) {
    for_chains(trial, found, [&](const Chain& chain) {
        const auto& process = *chain.process;
        const auto certain = chain.certain();
        const auto s = chain.earlier().clamp_min(0), t = at::maximum(chain.t, s + 1);
        const auto xt = process.mix(chain.x0, chain.noise, Time(t));
        auto told = certain, half = chain.vague();
        if (certain.type != PredictionType::logits && certain.type != PredictionType::x0)
            told.value = process.target(certain.type, chain.x0, {xt, chain.noise}, Time(t)),
            half.value = 0.5 * told.value;
        for (const auto& word : process.variances()) {
            Tensor known, vague;
            try {
                known = process.bound_term(chain.x0, xt, Time(t), Time(s), told, word);
                vague = process.bound_term(chain.x0, xt, Time(t), Time(s), half, word);
            } catch (const Error& error) {
                found.expect(!error.help().empty(), "it refuses a bound without a cure");
                return;
            }
            const Within within(found, "variance " + word);
            found.expect(known.sizes() == at::IntArrayRef({chain.x0.size(0)}), "a term is not one number a row");
            for (const auto& term : {known, vague}) {
                found.expect(at::isfinite(term).all().item<bool>(), "a term is not finite");
                found.at_most(-term.min().item<double>(), 1e-9, "−term, a KL divergence");
            }
            const bool first = word == process.variances().front();
            found.expect(!first || (vague - known).min().item<double>() >= -1e-9,
                         "a term is less where the prediction is wrong than where it is perfect");
            if (const auto* gaussian = dynamic_cast<const GaussianProcess*>(&process)) {
                const auto [mean, v] = gaussian->reverse(xt, told, Time(t), Time(s), word);
                const auto moved = gaussian->reverse(xt, half, Time(t), Time(s), word);
                const auto q =
                    Time(t)
                        .map(Time(s), [&](double t, double s) { return process.levels().posterior_variance(t, s); })
                        .beside(xt);
                const auto posterior = Time(t).map(Time(s), [&](double t, double s) {
                    return process.levels().posterior_mean_x0(t, s);
                }) * chain.x0 + Time(t).map(Time(s), [&](double t, double s) {
                    return process.levels().posterior_mean_xt(t, s);
                }) * xt;
                const auto p = moved.variance.expand_as(xt);
                const auto kl = 0.5 * ((p / q).log() + (q + (posterior - moved.mean).square()) / p - 1);
                found.at_most(apart(vague, kl.flatten(1).sum(1)), 1e-6,
                              "|term − KL of q(x_s | x_t, x_0) from its reverse step|");
            }
        }
    });
}

/// exp(−term) of the last step is p(x_0 | x_t), a law: of elements that see the same each is one, in all its values.
void reconstruction_is_a_law(const Trial& trial, Findings& found) {
    for_chains(trial, found, [&](const Chain& chain) {
        const auto& process = *chain.process;
        const auto* categories = dynamic_cast<const CategoricalProcess*>(&process);
        if (!categories && !dynamic_cast<const GaussianProcess*>(&process) &&
            !dynamic_cast<const BernoulliProcess*>(&process))
            return found.not_asked("nobody says that its elements are independent");
        const auto space = chain.bench.space();
        const auto elements = static_cast<double>(space.elements());
        Tensor values, weight;  // what x_0 may be, and what each counts
        if (space.levels > 1 && space.range) {
            values = at::linspace(space.range->first, space.range->second, space.levels, at::kDouble);
            weight = at::ones_like(values);
        } else {
            const auto z = at::linspace(-13, 13, 20001, at::kDouble);
            values = 0.3 + 1e-4 * z.sinh();
            weight = 1e-4 * z.cosh() * (z[1] - z[0]);
        }
        auto sizes = space.shape;
        sizes.insert(sizes.begin(), values.size(0));
        std::vector<std::int64_t> beside(sizes.size(), 1);
        beside[0] = values.size(0);
        const auto x0 = values.view(beside).expand(sizes).contiguous();
        Prediction told{PredictionType::x0, at::full_like(x0, 0.3), {}};
        if (categories) {
            sizes.push_back(categories->categories());
            told = {PredictionType::logits,
                    Random(1, "logits").normal({1, sizes.back()}, at::kDouble)[0].expand(sizes),
                    {}};
        }
        for (const double share : {0.0, 0.3}) {
            const double t = std::floor(share * static_cast<double>(process.steps() - 1));
            const Within within(found, fmt::format("from t = {}", t));
            Tensor term;
            try {
                process.accept(told.type);
                const auto start = process.prior(x0.slice(0, 0, 1).sizes(), x0.options(), stream,
                                                 static_cast<double>(process.steps() - 1));
                const auto xt = space.levels > 1 ? start.flatten()[0].expand(x0.sizes()).contiguous()
                                                 : at::full_like(x0, 0.3 * process.levels().alpha(t));
                term = process.bound_term(x0, xt, t, -1, told, process.variances().front());
            } catch (const Error& error) {
                found.expect(!error.help().empty(), "it refuses a bound without a cure");
                return;
            }
            const double sum = (weight * (-term / elements).exp()).sum().item<double>();
            found.at_most(std::abs(sum - 1), 1e-4, "|Σ p(x_0 | x_t) over all values of an element − 1|");
        }
    });
}

/// Over any path of times the terms of the exact denoiser sum to a bound on −log p, and more steps make it no worse.
void bounds_what_is_known(const Trial& trial, Findings& found) {
    for (const auto& bench : trial.benches()) {
        const auto& process = bench.chain;
        if (!dynamic_cast<const GaussianProcess*>(process.get()) || !bench.data->density() || bench.code) {
            found.not_asked("nobody knows the exact denoiser");
            continue;
        }
        const auto there = bench.data->test_size();
        const auto rows = there > 0 ? std::min<std::int64_t>(there, 3000) : 3000;
        const auto x0 = bench.dataset().test_examples(at::arange(rows)).x.to(at::kDouble);
        const auto known = bench.data->density()->log_prob(x0.flatten(1));
        const auto model = exact(bench.data, process, PredictionType::x0);
        at::NoGradGuard no_grad;
        const auto gap = [&](std::int64_t n) {
            auto sum = process->prior_term(x0) + known;
            double t = static_cast<double>(process->steps() - 1);
            for (std::int64_t i = n - 1; i >= 0; --i) {
                const double s =
                    i == 0 ? -1 : std::floor(static_cast<double>(i * process->steps()) / static_cast<double>(n)) - 1;
                if (s >= t) continue;
                const auto xt = process->noised(x0, t, stream.stream("path").step(i)).x;
                sum = sum + process->bound_term(x0, xt, t, s, model->forward(xt, t, {}), process->variances().front());
                t = s;
            }
            return std::pair{sum.mean().item<double>(),
                             sum.std().item<double>() / std::sqrt(static_cast<double>(rows))};
        };
        const auto [coarse, e] = gap(8);
        const auto [fine, f] = gap(64);
        const Within within(found, "on " + bench.name);
        found.at_most(-coarse, 5 * e, "−log p less the bound in 8 steps");
        found.at_most(-fine, 5 * f, "−log p less the bound in 64 steps");
        found.at_most(fine - coarse, 5 * (e + f), "the bound in 64 steps less that in 8");
    }
}

void pure(const Trial& trial, Findings& found) {
    for_chains(trial, found, [&](const Chain& chain) {
        const auto& process = *chain.process;
        const auto certain = chain.certain();
        const auto before =
            std::array{chain.x0.clone(), chain.noise.clone(), chain.xt.x.clone(), certain.value.clone()};
        const auto all = [&] {
            const auto s = chain.earlier();
            const auto last = static_cast<double>(process.steps() - 1);
            std::vector<Tensor> answers{
                process.mix(chain.x0, chain.noise, Time(chain.t)), process.noised(chain.x0, Time(chain.t), stream).x,
                process.prior(chain.x0.sizes(), chain.x0.options(), stream, last),
                process.reverse_step(chain.xt.x, certain, Time(chain.t), Time(s), process.variances().front(), stream)};
            for (const auto type : all_types)
                if (const auto known = chain.perfect(type)) answers.push_back(*known);
            for (auto& answer : answers) answer = answer.to(at::kDouble).flatten();
            answers.push_back(process.prior_term(chain.x0));
            return at::cat(answers);
        };
        const auto once = all();
        found.expect(same_bits(all(), once), "asked again, it answers something else");
        found.expect(same_in_threads(all), "two threads at once are answered otherwise");
        found.expect(same_bits(chain.x0, before[0]) && same_bits(chain.noise, before[1]) &&
                         same_bits(chain.xt.x, before[2]) && same_bits(certain.value, before[3]),
                     "it has written into what it was given");
        const auto other = process.noised(chain.x0, Time(chain.t), stream.stream("other")).x;
        found.expect(!same_bits(other, process.noised(chain.x0, Time(chain.t), stream).x),
                     "other random numbers make the same noise");
    });
}

}  // namespace

const std::vector<Law> process_laws{
    {"it has noise levels for each of its steps", as_many_levels},
    {"it accepts types of prediction and variances, or refuses them with a cure", types_or_a_cure},
    {"its answers are shaped and typed as x", shaped_as_x},
    {"asked twice, it answers the same, and changes nothing", pure},
    {"rows have times of their own and know nothing of each other", rows_have_their_time},
    {"a Gaussian process has the α, σ, targets and prior of its levels", formulas},
    {"bits are kept and drawn anew as its levels say", bits},
    {"perfect networks of all types say the same", perfect_networks_agree},
    {"a prediction told in another type and back is itself", there_and_back},
    {"noise on noise is the noise of the whole way", forward_composes},
    {"its steps back have the law of q(x_s | x_t, x_0), were x_0 known", steps_back},
    {"of x_t its steps back make x_s, were x_0 known", walks_back},
    {"its last step has no noise", clean_at_the_end},
    {"at its last time it is its prior, as nearly as the prior's term says", ends_at_the_prior},
    {"terms of the bound are divergences", terms_of_a_bound},
    {"what it reconstructs has a law, which sums to 1", reconstruction_is_a_law},
    {"the exact denoiser's terms sum to a bound, the better the more steps", bounds_what_is_known},
};

}  // namespace dtk::laws
