// Laws of metrics: one number, its floor, and which way is better.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <thread>

#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include <dtk/captions.hpp>
#include <dtk/densities.hpp>
#include <dtk/metric.hpp>
#include <dtk/schedule.hpp>

#include "laws/bench.hpp"
#include "laws/law.hpp"

namespace dtk::laws {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// What each sample was to be, of data that say so.
struct Asked {
    std::vector<std::string> captions = {};
    Tensor labels = {};
};

/// Samples that a run might have drawn, and where each of them came from.
struct Drawn {
    Tensor x, start;
    Asked asked = {};
};

/// A metric on a bench, and what a perfect model's run would show it.
struct Tried {
    Bench bench;
    std::shared_ptr<Metric> metric;
    Drawn truth;     ///< undefined where it looks at none
    Denoiser exact;  ///< the best network that there is

    MetricResult of(const Drawn& drawn, const Denoiser& denoise, const Random& random = {1, "metric"},
                    const Metric* other = nullptr) const {
        EvaluationInput input{drawn.x, *bench.data, *bench.chain, denoise};
        input.start = drawn.start;
        input.captions = drawn.asked.captions;
        input.labels = drawn.asked.labels;
        input.observation = bench.seen.get();
        input.progress = [](std::int64_t done, std::int64_t all) {
            if (done < 0 || all <= 0 || done > all)
                throw Error(fmt::format("it says that {} of {} are done", done, all));
        };
        return (other ? *other : *metric).evaluate(input, random);
    }
    MetricResult of(const Drawn& drawn) const { return of(drawn, exact); }
    MetricResult of_truth() const { return of(truth); }
};

/// How many samples are drawn, which may be more than there are true examples to hold against them.
std::int64_t samples_for(const Bench& bench) {
    const auto draws = bench.seen ? bench.seen->draws() : 0;
    return draws > 0 ? 100 * draws : 400;
}

/// x_0 that the exact probability flow makes of x_T, by Heun's rule in the angle arctan(σ/α).
Tensor flown(const Bench& bench, const Tensor& start) {
    constexpr int steps = 300;
    const auto& levels = bench.chain->levels();
    const double alpha = levels.alpha(levels.last()), sigma = levels.sigma(levels.last());
    const auto& density = *bench.data->density();
    auto y = start.flatten(1).to(at::kDouble) / std::hypot(alpha, sigma);
    const auto slope = [&](const Tensor& at, double angle) {
        const double a = std::cos(angle), s = std::sin(angle);
        const auto x0 =
            density.posterior_mean(at, at::full({at.size(0)}, a, at::kDouble), at::full({at.size(0)}, s, at::kDouble));
        return s > 1e-9 ? a / s * (at - a * x0) - s * x0 : at::zeros_like(at);
    };
    const double first = std::atan2(sigma, alpha);
    for (int i = 0; i < steps; ++i) {  // finer toward the data
        const auto place = [&](int k) { return first * std::pow(1 - static_cast<double>(k) / steps, 3); };
        const double from = place(i), to = place(i + 1);
        const auto here = slope(y, from), there = slope(y + (to - from) * here, to);
        y = y + (to - from) / 2 * (here + there);
    }
    return y.view(start.sizes()).to(at::kFloat);
}

/// n true examples, of those that agree with what was observed where there is an observation; undefined where nobody
/// can make them. number: another set for each.
Drawn true_samples(const Bench& bench, std::int64_t n, std::int64_t number) {
    if (!bench.seen) {
        const auto batch = new_examples(*bench.data, n, number);
        if (!batch) return {};
        const auto* said = bench.data->size() == 0 ? known_as<Captioned>(*bench.data) : nullptr;
        return {batch->x,
                {},
                {said ? said->captions(new_numbers(n, number)) : std::vector<std::string>{}, batch->condition.label}};
    }
    if (bench.seen->sd() == 0) return {};
    // What is drawn agrees with y as often as y is likely.
    const auto pool = new_examples(*bench.data, (bench.seen->draws() > 0 ? 4 : 40) * n, number);
    if (!pool) return {};
    const auto measured = bench.seen->of(pool->x.to(at::kDouble)), y = bench.seen->y(0, n);
    const auto draws = std::max<std::int64_t>(bench.seen->draws(), 1), groups = bench.seen->draws() > 0 ? n / draws : 1;
    std::vector<Tensor> rows;
    for (std::int64_t g = 0; g < groups; ++g) {
        const auto wanted = bench.seen->draws() > 0 ? draws : n;
        const auto off = (measured - y[g * draws]).square().sum(1) / (2 * bench.seen->sd() * bench.seen->sd());
        const auto u = Random(number, "agree").step(g).uniform({off.size(0)}, at::kDouble);
        const auto agree = (u < (-off).exp()).nonzero().flatten();
        if (agree.size(0) < wanted) return {};
        // Not the first ones, or groups would have samples in common.
        rows.push_back(agree.roll(-(g * draws) % agree.size(0)).slice(0, 0, wanted));
    }
    return {pool->x.index_select(0, at::cat(rows)), {}};
}

/// What a perfect classifier would answer.
Denoiser knowing_classes(const Bench& bench, double wrong) {
    const auto* laws = dynamic_cast<const ClassDensities*>(bench.data->density());
    const auto classes = bench.data->classes();
    return {bench.chain, [=](const Tensor& x, const Time&, const Condition&) -> Prediction {
                if (!laws) throw Error("nobody knows the classes of these data");
                std::vector<Tensor> log_p;
                for (std::int64_t c = 0; c < classes; ++c)
                    log_p.push_back(laws->of_class(c)->log_prob(x.flatten(1).to(at::kDouble)));
                const auto all = at::stack(log_p, 1).log_softmax(1);
                return {PredictionType::label, ((1 - wrong) * all + wrong * all.roll(1, 1)).to(x.scalar_type()), {}};
            }};
}

/// The exact denoiser whose x̂_0 is off by `wrong` deviations of the data.
Denoiser off(const Bench& bench, double wrong) {
    if (bench.network && bench.network->predicts() == PredictionType::label) return knowing_classes(bench, wrong);
    if (!bench.network)
        return {bench.chain, [](const Tensor&, const Time&, const Condition&) -> Prediction {
                    throw Error("it asks a network, and says that it looks at samples alone");
                }};
    const double sd = bench.data->examples(at::arange(64)).x.std().item<double>();
    return {bench.chain,
            [=, network = bench.network, chain = bench.chain](const Tensor& x, const Time& t,
                                                              const Condition& condition) -> Prediction {
                const auto right = network->forward(x, t, condition);
                if (wrong == 0) return right;
                const auto x0 = chain->convert(right, PredictionType::x0, x, t);
                return {right.type, chain->convert({PredictionType::x0, x0 + wrong * sd, {}}, right.type, x, t), {}};
            }};
}

/// Does it refuse samples of which nobody knows where they came from? Asked once in a process for each bench.
bool wants_start(const Tried& one) {
    if (!one.bench.data->density()) return false;
    static std::map<std::string, bool> known;
    const auto found = known.find(one.bench.name);
    if (found != known.end()) return found->second;
    bool wants = false;
    try {
        one.of_truth();
    } catch (const Error&) {
        wants = true;
    }
    return known[one.bench.name] = wants;
}

/// Is there a network whose answers are known to be right?
bool has_a_network(const Bench& bench) {
    if (!bench.network) return false;
    return bench.network->predicts() != PredictionType::label ||
           dynamic_cast<const ClassDensities*>(bench.data->density()) != nullptr;
}

/// Calls look(tried) on every bench where it can be measured, `most` of them.
template <class Look>
void on_benches(const Trial& trial, Findings& found, const Look& look, int most = 9) {
    const at::NoGradGuard no_grad;
    int measured = 0;
    for (const auto& bench : trial.benches()) {
        if (measured == most) return;
        Tried one{bench, trial.make<Metric>(bench), {}, off(bench, 0)};
        if (!one.metric->needs_samples() && !has_a_network(bench)) continue;
        const Within within(found, bench.name);
        if (one.metric->needs_samples()) {
            one.truth = true_samples(bench, samples_for(bench), 0);
            if (!one.truth.x.defined()) continue;
            // One that wants to know where samples came from is shown what the exact flow makes of noise.
            if (wants_start(one)) {
                const auto options = one.truth.x.options();
                one.truth.start =
                    bench.chain->prior(one.truth.x.sizes(), options, Random(4, "laws"), bench.chain->levels().last());
                one.truth.x = flown(bench, one.truth.start);
            }
        }
        ++measured;
        look(one);
    }
    if (measured == 0) found.not_asked("there are no data here whose true samples could be drawn");
}

double error_of(const MetricResult& m) { return std::hypot(m.standard_error, m.expected ? m.expected_sd : 0); }

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

void same_result(const MetricResult& a, const MetricResult& b, const std::string& when, Findings& found) {
    found.expect(same(a.value, b.value), fmt::format("{} it is {}, not {}", when, b.value, a.value));
    found.expect(same(a.standard_error, b.standard_error) && a.expected == b.expected &&
                     same(a.expected_sd, b.expected_sd) && a.limit == b.limit && a.n == b.n,
                 fmt::format("{} its error, its floor or its limit is another", when));
    found.expect(
        a.parts.size() == b.parts.size() &&
            std::equal(a.parts.begin(), a.parts.end(), b.parts.begin(),
                       [](const auto& x, const auto& y) { return x.first == y.first && same(x.second, y.second); }),
        fmt::format("{} what it is made of is something else", when));
}

/// Rows of samples and starts.
Drawn rows(const Drawn& drawn, const Tensor& index) {
    Drawn some{drawn.x.index_select(0, index), drawn.start.defined() ? drawn.start.index_select(0, index) : Tensor()};
    const auto& [captions, labels] = drawn.asked;
    for (std::int64_t i = 0; i < index.numel() && !captions.empty(); ++i)
        some.asked.captions.push_back(captions[static_cast<std::size_t>(index[i].item<std::int64_t>())]);
    if (labels.defined()) some.asked.labels = labels.index_select(0, index);
    return some;
}

void says_what_it_is(const Trial& trial, Findings& found) {
    on_benches(trial, found, [&](const Tried& one) {
        const auto card = one.metric->card(), again = trial.make<Metric>(one.bench)->card();
        const auto m = one.of_truth();
        found.expect(card.better == again.better && card.unit == again.unit && card.better == m.card.better,
                     "its card changes");
        found.expect(std::isfinite(m.value), fmt::format("of true samples it is {}", m.value));
        found.expect(m.standard_error >= 0 && std::isfinite(m.standard_error),
                     fmt::format("its standard error is {}", m.standard_error));
        found.expect(!m.expected || (std::isfinite(*m.expected) && std::isfinite(m.expected_sd) && m.expected_sd >= 0),
                     fmt::format("true samples are expected to have {} ± {}", m.expected.value_or(0), m.expected_sd));
        found.expect(m.tolerance >= 0 && std::isfinite(m.tolerance), fmt::format("the tolerance is {}", m.tolerance));
        found.expect(!m.limit || !std::isnan(*m.limit), "the limit is no number");
        found.expect(!m.note.empty(), "it does not say in a note what the number is");
        found.expect(m.split.empty() || m.split == "train" || m.split == "test",
                     fmt::format("the split is `{}`", m.split));
        std::set<std::string> names;
        for (const auto& [name, value] : m.parts)
            found.expect(!name.empty() && names.insert(name).second, fmt::format("two parts are called `{}`", name));
        if (!one.metric->needs_samples()) return;
        const auto all = one.truth.x.size(0);
        found.expect(m.n > 0 && m.n <= all, fmt::format("of {} samples it says that it looked at {}", all, m.n));
        // Those that it did not look at change nothing.
        if (m.n < all && !one.bench.seen && one.truth.start.defined() == false) {
            const auto few = rows(one.truth, at::arange(all).slice(0, 0, m.n));
            found.expect(one.of(few).n == m.n,
                         fmt::format("of {} samples it looks at {}, of {} at {}", all, m.n, m.n, one.of(few).n));
        }
    });
}

void same_twice(const Trial& trial, Findings& found) {
    on_benches(
        trial, found,
        [&](const Tried& one) {
            const Drawn given{one.truth.x.defined() ? one.truth.x.clone() : Tensor(),
                              one.truth.start.defined() ? one.truth.start.clone() : Tensor(), one.truth.asked};
            const auto first = one.of(given);
            if (given.x.defined()) found.expect(same_bits(given.x, one.truth.x), "it wrote into the samples");
            if (given.start.defined())
                found.expect(same_bits(given.start, one.truth.start), "it wrote into their start");
            if (given.x.defined()) one.of({given.x * 0.5, given.start, given.asked});
            same_result(first, one.of(given), "asked again", found);
            const auto fresh = trial.make<Metric>(one.bench);
            same_result(first, one.of(given, one.exact, {1, "metric"}, fresh.get()), "made again", found);
            MetricResult beside;
            std::string wrong;
            std::thread thread([&] {
                const at::NoGradGuard also_here;
                try {
                    beside = one.of(given);
                } catch (const std::exception& error) {
                    wrong = error.what();
                }
            });
            const auto here = one.of(given);
            thread.join();
            found.expect(wrong.empty(), "from two threads it throws " + wrong);
            if (found.broken()) return;
            same_result(first, here, "from two threads at once", found);
            same_result(first, beside, "from two threads at once", found);
        },
        1);
}

void threads_change_nothing(const Trial& trial, Findings& found) {
    struct Threads {
        int before = at::get_num_threads();
        explicit Threads(int n) { at::set_num_threads(n); }
        ~Threads() { at::set_num_threads(before); }
    };
    on_benches(
        trial, found,
        [&](const Tried& one) {
            const auto a = one.of_truth();
            const Threads two(2);
            const auto b = one.of_truth();
            found.at_most(same(a.value, b.value) ? 0 : std::abs(a.value - b.value) / std::max(std::abs(a.value), 1e-12),
                          1e-6, "with two threads the value moves by a share of");
        },
        1);
}

void order_and_batch_change_nothing(const Trial& trial, Findings& found) {
    on_benches(trial, found, [&](const Tried& one) {
        const auto moved = [&](const MetricResult& a, const MetricResult& b, double error, const std::string& what) {
            found.at_most(same(a.value, b.value) ? 0 : std::abs(a.value - b.value),
                          std::max(1e-6 * std::abs(a.value), error), what);
        };
        const auto first = one.of_truth();
        for (const auto* batch : {"batch = 7", "batch = 64"})
            if (const auto other = trial.tried<Metric>(one.bench, batch))
                moved(first, one.of(one.truth, one.exact, {1, "metric"}, other.get()), 1e-6,
                      fmt::format("with {} the value moves by", batch));
        if (!one.metric->needs_samples()) return;
        // Sorted along a direction, and not: what looks at the first ones alone sees another law. Rows of one y stay
        // together.
        const auto n = one.truth.x.size(0);
        const auto along = one.truth.x.flatten(1).select(1, 0).to(at::kDouble);
        const auto draws = one.bench.seen ? one.bench.seen->draws() : 0;
        Tensor order;
        if (draws > 0) {
            const auto groups = n / draws;
            order = (along.slice(0, 0, groups * draws).view({groups, draws}).argsort(std::int64_t{1}) +
                     draws * at::arange(groups).unsqueeze(1))
                        .flatten();
        } else {
            order = along.argsort();
        }
        const auto sorted = one.of(rows(one.truth, order));
        const double error = 4 * std::max(error_of(first), error_of(sorted));
        if (first.n == n || error > 0) moved(first, sorted, error, "of sorted samples the value moves by");
        found.expect(sorted.n == first.n, "of sorted samples it looks at another number");
    });
}

void types_change_little(const Trial& trial, Findings& found) {
    found.not_asked("it looks at no samples");
    on_benches(
        trial, found,
        [&](const Tried& one) {
            if (!one.metric->needs_samples()) return;
            const auto a = one.of_truth();
            const auto b =
                one.of({one.truth.x.to(at::kDouble),
                        one.truth.start.defined() ? one.truth.start.to(at::kDouble) : Tensor(), one.truth.asked});
            found.at_most(same(a.value, b.value) ? 0 : std::abs(a.value - b.value),
                          1e-4 * std::max(std::abs(a.value), error_of(a)) + 1e-9,
                          "of the same samples in float64 the value moves by");
        },
        1);
}

void chance_is_within_its_error(const Trial& trial, Findings& found) {
    on_benches(
        trial, found,
        [&](const Tried& one) {
            const auto first = one.of_truth();
            for (std::uint64_t seed = 2; seed < 5; ++seed) {
                const auto other = one.of(one.truth, one.exact, {seed, "metric"});
                found.at_most(same(first.value, other.value) ? 0 : std::abs(first.value - other.value),
                              6 * std::max(error_of(first), error_of(other)) + 1e-6 * std::abs(first.value),
                              "under another seed the value moves by");
            }
        },
        1);
}

void true_samples_pass(const Trial& trial, Findings& found) {
    found.not_asked("it has no floor");
    on_benches(trial, found, [&](const Tried& one) {
        constexpr int sets = 5;
        int asked = 0, passed = 0, held = 0, near = 0;
        std::vector<std::string> values;
        for (int i = 0; i < sets; ++i) {
            auto drawn = one.truth;
            if (one.metric->needs_samples() && !drawn.start.defined())
                drawn = true_samples(one.bench, samples_for(one.bench), i + 1);
            const auto m = one.of(drawn, one.exact, {static_cast<std::uint64_t>(i + 1), "metric"});
            if (const auto passes = m.passes()) {
                ++asked;
                passed += *passes;
                if (m.expected && m.expected_sd > 0) {
                    ++held;
                    near += std::abs(m.value - *m.expected) <= 5 * error_of(m) + m.tolerance;
                }
                values.push_back(fmt::format("{:.4g}, of {:.4g} ± {:.2g}{}", m.value, m.expected.value_or(NAN),
                                             m.expected_sd, m.limit ? fmt::format(", limit {:.4g}", *m.limit) : ""));
            }
        }
        if (asked == 0) return;
        found.expect(passed >= asked - 1,
                     fmt::format("of {} sets of true samples {} pass: {}", asked, passed, fmt::join(values, "; ")));
        found.expect(near >= held - 1,
                     fmt::format("of {} sets of true samples {} lie near what is expected of them: {}", held, near,
                                 fmt::join(values, "; ")));
    });
}

/// Is a the worse one?
double worse_by(const MetricResult& a, const MetricResult& b) {
    if (std::isnan(a.value)) return infinity;
    switch (a.card.better) {
        case Better::less:
            return a.value - b.value;
        case Better::more:
            return b.value - a.value;
        case Better::nearest:
            break;
    }
    const double wanted = b.expected.value_or(b.value);
    return std::abs(a.value - wanted) - std::abs(b.value - wanted);
}

/// Samples that are far worse than true ones, by what was done to them.
std::vector<std::pair<std::string, Drawn>> spoilt(const Tried& one) {
    const auto& x = one.truth.x;
    const auto centre = x.mean(0, true), sd = 3 * x.std();
    std::vector<std::pair<std::string, Drawn>> all{
        {"shifted", {x + sd, one.truth.start, one.truth.asked}},
        {"noised", {x + sd * Random(6, "laws").normal(x.sizes(), x.options()), one.truth.start, one.truth.asked}},
        {"collapsed", {centre + 0.05 * (x - centre), one.truth.start, one.truth.asked}}};
    if (const auto there = one.bench.data->size(); there > 0) {
        auto copied = x.clone();
        const auto n = std::min(x.size(0), there);
        copied.slice(0, 0, n).copy_(one.bench.data->examples(at::arange(n)).x);
        all.push_back({"copied from training", {copied, one.truth.start, one.truth.asked}});
    }
    return all;
}

void worse_is_worse(const Trial& trial, Findings& found) {
    found.not_asked("it looks at neither samples nor the network");
    bool asked = false, seen = false;
    std::string values;
    on_benches(trial, found, [&](const Tried& one) {
        const auto best = one.of_truth();
        const auto look = [&](const std::string& name, const MetricResult& worst) {
            if (same(worst.value, best.value)) return;
            asked = true;
            seen = seen || worse_by(worst, best) > error_of(best);
            values += fmt::format("{}{} {:.4g} → {:.4g}", values.empty() ? "" : ", ", name, best.value, worst.value);
        };
        if (!one.metric->needs_samples()) return look("a network that is off", one.of({}, off(one.bench, 1)));
        for (const auto& [name, drawn] : spoilt(one)) look(name, one.of(drawn));
    });
    if (asked) found.expect(seen, "whatever is done to samples or network, its card calls none of it worse: " + values);
}

/// Refused in words, or a value that passes nothing.
void passes_nothing(const Tried& one, const Drawn& drawn, const std::string& what, Findings& found) {
    try {
        const auto m = one.of(drawn);
        found.expect(m.passes() != true, fmt::format("{} pass, with {}", what, m.value));
    } catch (const Error& error) {
        found.expect(!std::string(error.what()).empty(), "it refuses without words");
    } catch (const std::exception& error) {
        found.expect(false, fmt::format("shown {} it throws no dtk::Error, but: {}", what,
                                        std::string(error.what()).substr(0, 100)));
    }
}

void no_numbers_pass_nothing(const Trial& trial, Findings& found) {
    found.not_asked("it looks at no samples");
    on_benches(trial, found, [&](const Tried& one) {
        if (!one.metric->needs_samples()) return;
        for (const double value : {std::nan(""), infinity}) {
            auto x = one.truth.x.clone();
            x.flatten(1)[17][0] = value;
            passes_nothing(one, {x, one.truth.start, one.truth.asked},
                           fmt::format("samples with one {} among them", value), found);
        }
        passes_nothing(one, {at::full_like(one.truth.x, std::nan("")), one.truth.start, one.truth.asked},
                       "samples that are not numbers", found);
    });
}

void few_samples_are_refused(const Trial& trial, Findings& found) {
    found.not_asked("it looks at no samples");
    on_benches(
        trial, found,
        [&](const Tried& one) {
            if (!one.metric->needs_samples()) return;
            for (const std::int64_t n : {1, 2, 3}) {
                const auto few = rows(one.truth, at::arange(n));
                try {
                    const auto m = one.of(few);
                    found.expect(!std::isnan(m.value) || m.passes() != true,
                                 fmt::format("{} samples pass, with no number", n));
                } catch (const Error& error) {
                    found.expect(!error.help().empty(),
                                 fmt::format("it refuses {} samples without a cure: {}", n, error.what()));
                } catch (const std::exception& error) {
                    found.expect(false, fmt::format("shown {} samples it throws no dtk::Error, but: {}", n,
                                                    std::string(error.what()).substr(0, 100)));
                }
            }
        },
        1);
}

}  // namespace

const std::vector<Law> metric_laws{
    {"it says what its number is, with an error, a floor and how many it is of", says_what_it_is},
    {"asked twice, and from two threads, it is the same number, and samples stay as they are", same_twice},
    {"the number of threads changes nothing", threads_change_nothing},
    {"the order of samples and the batch change nothing", order_and_batch_change_nothing},
    {"samples of float64 are measured as those of float32", types_change_little},
    {"chance moves it within the error that it states", chance_is_within_its_error},
    {"true samples pass, and have what is expected of them", true_samples_pass},
    {"what is worse is worse by its card", worse_is_worse},
    {"samples that are not numbers pass nothing", no_numbers_pass_nothing},
    {"too few samples are refused in words", few_samples_are_refused},
};

}  // namespace dtk::laws
