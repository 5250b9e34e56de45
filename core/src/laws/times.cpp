// Laws of drawn times: where they lie, how often, and that a mean over them is one over uniform times.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include <dtk/drawn_times.hpp>

#include "laws/bench.hpp"
#include "laws/law.hpp"

namespace dtk::laws {

namespace {

const Random numbers(11, "times");

/// What is drawn for a batch of that many rows.
struct Drawn {
    Tensor t, weight;  ///< [B] float64
};

Batch rows(std::int64_t n) { return {.x = at::zeros({n, 2})}; }

Drawn draw(const Times& times, const Bench& bench, const Batch& batch, const Random& random) {
    const auto drawn = times.draw(batch, bench.process(), random);
    return {drawn.t.rows(batch.x.size(0)), drawn.weight.rows(batch.x).to(at::kDouble)};
}

using Look =
    std::function<void(const Times& times, const Bench& bench, const std::function<std::shared_ptr<Times>()>& make)>;

/// Of the process's own times and of whole steps, of few and of many; with its defaults, and with options that such
/// have.
void for_processes(const Trial& trial, Findings& found, std::initializer_list<std::int64_t> lengths, const Look& look) {
    const auto& given = trial.benches().front();
    int had = 0;
    const bool is_gaussian = dynamic_cast<const GaussianProcess*>(given.chain.get());
    for (const auto T : lengths) {
        std::vector<std::pair<std::string, Bench>> benches;
        if (is_gaussian) {
            const auto own = under_levels(
                given, NoiseLevels::from_function(T, [](double u) { return variance_preserving(8 - 16 * u); }));
            benches = {{"", own},
                       {", whole steps alone", of_whole_steps(own)},
                       {", no signal at the end", ends_without_signal(own)}};
        }
        if (!is_gaussian || T == given.process().steps()) benches.emplace_back(", the default process", given);
        for (const auto& [which, bench] : benches)
            for (const std::string fields :
                 {"", "importance = true", "importance = true\nstratified = false", "stratified = false"}) {
                const auto times = trial.tried<Times>(bench, fields);
                if (!times) continue;
                ++had;
                const Within within(found, fmt::format("T = {}{}{}", T, which, fields.empty() ? "" : ", " + fields));
                look(*times, bench, [&, &bench = bench] { return trial.make<Times>(bench, fields); });
            }
    }
    if (had == 0) found.not_asked("it takes no process of so many steps");
}

void lie_inside(const Trial& trial, Findings& found) {
    for_processes(trial, found, {1, 2, 40, 1000}, [&](const Times& times, const Bench& bench, const auto&) {
        const auto last = static_cast<double>(bench.process().steps() - 1);
        for (const std::int64_t B : {1, 7, 256})
            for (std::int64_t step = 0; step < 4; ++step) {
                const auto drawn = times.draw(rows(B), bench.process(), numbers.step(step));
                const auto t = drawn.t.rows(B), weight = drawn.weight.rows(rows(B).x).to(at::kDouble);
                found.expect(t.dim() == 1 && t.size(0) == B && weight.dim() == 1 && weight.size(0) == B,
                             fmt::format("of {} rows, {} have a time and {} a weight", B, t.numel(), weight.numel()));
                if (found.broken()) return;
                found.expect((t > -1).all().item<bool>() && (t <= last).all().item<bool>(),
                             fmt::format("times of {} rows from {:.6g} to {:.6g}; the process has them in (−1, {}]", B,
                                         t.min().item<double>(), t.max().item<double>(), last));
                found.expect(at::isfinite(weight).all().item<bool>() && (weight >= 0).all().item<bool>(),
                             fmt::format("weights from {:.3g} to {:.3g}", weight.min().item<double>(),
                                         weight.max().item<double>()));
                if (bench.process().whole_steps())
                    found.expect(t.equal(t.round()), "times between the whole steps of the process");
            }
    });
}

/// Vanishes at the ends, where a density may do so too and its weights then have no variance.
double inner(double u) { return std::pow(4 * u * (1 - u), 4); }

struct Tested {
    std::string name;
    std::function<double(double u)> of;
};

const std::vector<Tested>& inside() {
    static const std::vector<Tested> all{
        {"(4u(1 − u))⁴", inner},
        {"u·(4u(1 − u))⁴", [](double u) { return u * inner(u); }},
        {"cos(2πu)·(4u(1 − u))⁴", [](double u) { return std::cos(2 * std::numbers::pi * u) * inner(u); }}};
    return all;
}

const std::vector<Tested>& up_to_the_ends() {
    static const std::vector<Tested> all{{"1", [](double) { return 1.0; }},
                                         {"u", [](double u) { return u; }},
                                         {"u²", [](double u) { return u * u; }},
                                         {"(1 − u)⁸", [](double u) { return std::pow(1 - u, 8); }},
                                         {"u⁸", [](double u) { return std::pow(u, 8); }},
                                         {"cos(2πu)", [](double u) { return std::cos(2 * std::numbers::pi * u); }}};
    return all;
}

/// Means over batches against those over uniform times, or over the density that the draws have and are a part of.
void as_often_as_said(const Times& times, const Bench& bench, Findings& found, std::int64_t first_step) {
    const auto T = static_cast<double>(bench.process().steps());
    constexpr std::int64_t B = 64, batches = 250;
    std::vector<Tensor> ts, weights;
    for (std::int64_t step = 0; step < batches; ++step) {
        const auto one = draw(times, bench, rows(B), numbers.step(first_step + step));
        ts.push_back(one.t);
        weights.push_back(one.weight);
    }
    const auto t = at::stack(ts), weight = at::stack(weights);
    const bool whole = t.equal(t.round());
    const auto* density = dynamic_cast<const DensityTimes*>(&times);
    const auto exact = [&](const auto& f) {
        const auto n = whole ? bench.process().steps() : std::int64_t{2000};
        double sum = 0;
        for (std::int64_t i = 0; i < n; ++i) {
            const double u =
                whole ? static_cast<double>(i + 1) / T : (static_cast<double>(i) + 0.5) / static_cast<double>(n);
            sum += (density ? density->counts(u) : 1) * f(u);
        }
        return sum / static_cast<double>(n);
    };
    const bool bounded = !density && weight.max().item<double>() < 50;
    for (const auto* tests : {&inside(), bounded ? &up_to_the_ends() : nullptr}) {
        if (!tests) continue;
        for (const auto& [name, of] : *tests) {
            const auto value = at::empty_like(t);
            for (std::int64_t i = 0; i < t.numel(); ++i)
                value.mutable_data_ptr<double>()[i] = of((t.const_data_ptr<double>()[i] + 1) / T);
            const auto means = (weight * value).mean(1);
            const double error = means.std().item<double>() / std::sqrt(static_cast<double>(batches)),
                         wanted = exact(of);
            found.at_most(std::abs(means.mean().item<double>() - wanted), 4.5 * error + 2e-5,
                          fmt::format("the weighted mean of {} against {:.5g} of {}, |Δ|", name, wanted,
                                      density ? "the density that it says"
                                      : whole ? "uniform steps"
                                              : "uniform times"));
        }
    }
}

void unbiased(const Trial& trial, Findings& found) {
    for_processes(trial, found, {40, 1000}, [&](const Times& times, const Bench& bench, const auto&) {
        as_often_as_said(times, bench, found, 0);
        // Weighed back, the weight is one over the density of the draws.
        const auto plain = trial.tried<Times>(bench, "importance = false");
        const auto* density = dynamic_cast<const DensityTimes*>(plain.get());
        if (!density) return;
        const auto drawn = draw(times, bench, rows(64), numbers);
        for (std::int64_t i = 0; i < 64; ++i) {
            const double weight = drawn.weight.const_data_ptr<double>()[i],
                         u = (drawn.t.const_data_ptr<double>()[i] + 1) / static_cast<double>(bench.process().steps());
            if (weight != 1)
                found.at_most(std::abs(weight * density->counts(u) - 1), 1e-6,
                              fmt::format("|weight·density − 1| at u = {:.4g}", u));
        }
    });
}

void of_its_numbers_alone(const Trial& trial, Findings& found) {
    for_processes(trial, found, {40, 1000}, [&](const Times& times, const Bench& bench, const auto& make) {
        const auto batch = rows(64);
        const auto first = draw(times, bench, batch, numbers.step(3));
        const auto again = [&](const Drawn& other) {
            return same_bits(first.t, other.t) && same_bits(first.weight, other.weight);
        };
        const auto later = draw(times, bench, batch, numbers.step(4));
        found.expect(!same_bits(first.t, later.t), "another step of training has the same times");
        found.expect(!same_bits(first.t, draw(times, bench, batch, Random(12, "times").step(3)).t),
                     "another seed has the same times");
        found.expect(again(draw(times, bench, batch, numbers.step(3))),
                     "the same random numbers make other times when they are asked again");
        found.expect(again(draw(*make(), bench, batch, numbers.step(3))),
                     "another one of it makes other times of the same random numbers");
        found.expect(same_in_threads([&] {
                         const auto one = draw(times, bench, batch, numbers.step(3));
                         return at::stack({one.t, one.weight});
                     }),
                     "asked by two threads at once it makes other times");
    });
}

void in_parts(const Trial& trial, Findings& found) {
    for_processes(trial, found, {40, 1000}, [&](const Times& times, const Bench& bench, const auto&) {
        for (const std::int64_t B : {12, 7}) {
            const auto batch = rows(B);
            const auto whole = draw(times, bench, batch, numbers.step(5));
            for (const std::int64_t size : {1, 3, 4})
                for (std::int64_t first = 0; first < B; first += size) {
                    const auto n = std::min(size, B - first);
                    const auto part = draw(times, bench, part_of(batch, first, n), numbers.step(5).from(first));
                    found.expect(same_bits(part.t, whole.t.slice(0, first, first + n)) &&
                                     same_bits(part.weight, whole.weight.slice(0, first, first + n)),
                                 fmt::format("rows {} … {} of {} have other times in a part of the batch", first,
                                             first + n - 1, B));
                }
        }
    });
}

/// An error that is large at some times and never there at others.
void tell(Times& times, const Bench& bench, double scale = 1) {
    const auto T = static_cast<double>(bench.process().steps());
    for (std::int64_t step = 0; step < 60; ++step) {
        const auto one = draw(times, bench, rows(64), numbers.step(1000 + step));
        times.observe(one.t, scale * (0.05 + ((one.t + 1) / T - 0.3).square() * 3));
    }
}

void unbiased_after_it_was_told(const Trial& trial, Findings& found) {
    for_processes(trial, found, {40}, [&](const Times& first, const Bench& bench, const auto& make) {
        if (!first.observes()) return found.not_asked("it does not want to be told errors");
        for (const double scale : {1.0, 0.0, 1e6}) {
            const auto times = make();
            tell(*times, bench, scale);
            const Within within(found, fmt::format("T = {}, errors of about {}", bench.process().steps(), scale));
            as_often_as_said(*times, bench, found, 5000);
        }
    });
}

void state_in_tensors(const Trial& trial, Findings& found) {
    for_processes(trial, found, {40}, [&](const Times&, const Bench& bench, const auto& make) {
        const auto told = make(), read = make();
        if (told->observes()) {
            tell(*told, bench);
            draw(*read, bench, rows(8), numbers);
        }
        const auto from = told->named_tensors(), to = read->named_tensors();
        found.expect(from.size() == to.size(), "another one of it has other tensors");
        if (found.broken()) return;
        at::NoGradGuard no_grad;
        for (std::size_t i = 0; i < from.size(); ++i)
            if (from[i].saved) to[i].tensor->copy_(*from[i].tensor);
        for (std::int64_t step = 0; step < 3; ++step) {
            const auto a = draw(*told, bench, rows(64), numbers.step(step)),
                       b = draw(*read, bench, rows(64), numbers.step(step));
            found.expect(same_bits(a.t, b.t) && same_bits(a.weight, b.weight),
                         "with the tensors that a checkpoint keeps, another one of it draws other times");
        }
    });
}

}  // namespace

const std::vector<Law> times_laws{
    {"times lie in (−1, T − 1], whole where the process knows whole steps alone", lie_inside},
    {"the same random numbers make the same times, those of another step others", of_its_numbers_alone},
    {"a batch in parts has the times of the whole", in_parts},
    {"all that it remembers is in tensors that a checkpoint keeps", state_in_tensors},
    {"a weighted mean over its times is one over uniform times, or over the density that it says", unbiased},
    {"it stays so after it was told errors", unbiased_after_it_was_told},
};

}  // namespace dtk::laws
