// Laws of observations: what is measured of what is drawn.
#include <fmt/ranges.h>

#include <dtk/linearised.hpp>

#include "laws/bench.hpp"
#include "laws/law.hpp"

namespace dtk::laws {

namespace {

/// An observation, and eight examples of its bench in float64.
struct Seen {
    std::shared_ptr<Observation> of;
    Tensor x;
};
template <class Look>
void for_benches(const Trial& trial, Findings& found, const Look& look) {
    for (const auto& bench : trial.benches()) {
        const Within within(found, "on " + bench.name);
        const auto there = bench.dataset().test_size();
        const auto index = at::arange(8) % (there > 0 ? there : 8);
        look(Seen{trial.make<Observation>(bench), bench.dataset().test_examples(index).x.to(at::kDouble)});
    }
}

void as_many_numbers(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Seen& seen) {
        const auto m = seen.of->size();
        found.expect(m > 0, "it measures nothing");
        for (const auto type : {at::kFloat, at::kDouble}) {
            const auto y = seen.of->of(seen.x.to(type));
            found.expect(y.sizes() == at::IntArrayRef({8, m}),
                         fmt::format("8 rows are measured as {}, not as 8 × {}", fmt::join(y.sizes(), " × "), m));
            found.expect(y.scalar_type() == type, "y has not the type of x");
            found.expect(at::isfinite(y).all().item<bool>(), "y is not finite");
        }
        found.at_most(apart(seen.of->of(seen.x.to(at::kFloat)), seen.of->of(seen.x)), 1e-4,
                      "|y of float32 − y of float64|");
    });
}

void row_by_row(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Seen& seen) {
        const auto y = seen.of->of(seen.x);
        found.at_most(apart(at::cat({seen.of->of(seen.x.slice(0, 0, 3)), seen.of->of(seen.x.slice(0, 3))}), y), 1e-12,
                      "|Δ| of a batch in parts");
        found.at_most(apart(seen.of->of(seen.x.flip(0)), y.flip(0)), 1e-12, "|Δ| of rows in another order");
        auto other = seen.x.clone();
        other.slice(0, 1).mul_(3).add_(1);
        found.at_most(apart(seen.of->of(other)[0], y[0]), 1e-12, "|Δ| of a row beside others");
    });
}

void a_matrix(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Seen& seen) {
        if (!seen.of->linear()) return found.not_asked("it says that it is none");
        const auto other = Random(1, "laws").normal(seen.x.sizes(), seen.x.options());
        found.at_most(apart(seen.of->of(2 * seen.x - 0.7 * other), 2 * seen.of->of(seen.x) - 0.7 * seen.of->of(other)),
                      1e-11, "|A(2x − 0.7z) − 2A(x) + 0.7A(z)|");
        found.at_most(apart(seen.of->of(at::zeros_like(seen.x)), at::zeros({8, seen.of->size()}, at::kDouble)), 1e-12,
                      "|A(0)|");
    });
}

void its_elements(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Seen& seen) {
        const auto places = seen.of->elements();
        if (!places.defined()) return found.not_asked("it names none");
        found.expect(places.scalar_type() == at::kLong && places.is_cpu() && places.dim() == 1 &&
                         places.size(0) == seen.of->size(),
                     "its elements are not int64 [m] on the CPU");
        if (found.broken()) return;
        found.expect(places.min().item<std::int64_t>() >= 0 && places.max().item<std::int64_t>() < seen.x[0].numel() &&
                         std::get<0>(at::_unique(places)).size(0) == places.size(0),
                     "an element is none of the example, or named twice");
        if (!found.broken())
            found.expect(at::equal(seen.of->of(seen.x), seen.x.flatten(1).index_select(1, places)),
                         "y is not the elements that it names");
    });
}

void derivative(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Seen& seen) {
        const auto& x = seen.x;
        const auto y = seen.of->of(x);
        const auto w = Random(1, "w").normal(x.sizes(), at::kDouble), v = Random(1, "v").normal(y.sizes(), at::kDouble);
        const auto slope = (seen.of->of(x + 1e-5 * w) - seen.of->of(x - 1e-5 * w)) / 2e-5;
        const Linearised A(*seen.of, x);
        found.at_most(apart(A.value(), y), 1e-12, "|Δ| of its value where a derivative is taken");
        found.at_most(apart(A.times(w), slope), 1e-7, "|A'w − differences|");
        found.at_most(apart((A.transposed(v) * w).flatten(1).sum(1), (v * slope).sum(1)), 1e-6,
                      "|⟨A'ᵀv, w⟩ − ⟨v, differences⟩|");
    });
}

void y_the_same(const Trial& trial, Findings& found) {
    for (const auto& bench : trial.benches()) {
        const auto seen = trial.make<Observation>(bench), again = trial.make<Observation>(bench);
        const auto y = seen->y(0, 8);
        found.expect(y.sizes() == at::IntArrayRef({8, seen->size()}) && y.scalar_type() == at::kDouble,
                     "y of 8 rows is not float64 [8, m]");
        found.expect(same_bits(y, again->y(0, 8)), "another of the same fields has another y");
        found.expect(same_bits(y, at::cat({seen->y(0, 3), seen->y(3, 5)})), "y of rows in parts is another");
    }
}

void pure(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Seen& seen) {
        const auto before = seen.x.clone(), y = seen.of->of(seen.x);
        const auto kept = y.clone();
        seen.of->of(seen.x.flip(0) * 2);
        found.expect(same_bits(seen.of->of(seen.x), kept), "asked again, it measures something else");
        found.expect(same_bits(y, kept), "what it answered first has changed");
        found.expect(same_bits(seen.x, before), "it has written into x");
        found.expect(same_in_threads([&] { return seen.of->of(seen.x); }),
                     "two threads at once are answered otherwise");
    });
}

}  // namespace

const std::vector<Law> observation_laws{
    {"it measures as many numbers as it says, in the type of x", as_many_numbers},
    {"every row is measured by itself", row_by_row},
    {"it is a matrix where it says so", a_matrix},
    {"its elements are those of x that it names", its_elements},
    {"y has a derivative by x", derivative},
    {"y is the same whenever it is asked for", y_the_same},
    {"asked twice, it answers the same, and changes nothing", pure},
};

}  // namespace dtk::laws
