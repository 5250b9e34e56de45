// Laws of conditioners: what a network is told of what the data say.
#include <map>
#include <thread>

#include <fmt/ranges.h>

#include "laws/bench.hpp"
#include "laws/law.hpp"
#include "laws/on_pretend.hpp"

namespace dtk::laws {

namespace {

constexpr std::int64_t rows = 12;

/// What the data say of some examples.
Condition said(const Bench& bench) { return bench.data->examples(at::arange(rows)).condition; }

struct Tried {
    Bench bench;
    std::shared_ptr<Conditioner> conditioner;
    Condition condition;  ///< of `rows` rows
};

/// As training leaves it: what begins at zero is so no more.
void somewhere(const Conditioner& conditioner) {
    const at::NoGradGuard no_grad;
    for (const auto& named : conditioner.named_tensors())
        if (named.trained)
            named.tensor->add_(Random(9, named.name).normal(named.tensor->sizes(), named.tensor->options()));
}

/// Calls look on every bench, built where training drops conditions and where it does not.
template <class Look>
void on_benches(const Trial& trial, Findings& found, const Look& look) {
    for (auto bench : trial.benches())
        for (const bool drops : {false, true}) {
            const Within within(found, bench.name + (drops ? ", training drops conditions" : ""));
            bench.drops = drops;
            const auto conditioner = trial.make<Conditioner>(bench);
            conditioner->train(false);
            somewhere(*conditioner);
            look(Tried{bench, conditioner, said(bench)});
        }
}

/// What of a condition a network is told, by name.
std::map<std::string, Tensor> told(const Condition& condition) {
    std::map<std::string, Tensor> all{{"label", condition.label},
                                      {"tokens", condition.tokens},
                                      {"token_mask", condition.token_mask},
                                      {"vector", condition.vector}};
    for (const auto& [name, tensor] : condition.named) all["named." + name] = tensor;
    std::erase_if(all, [](const auto& one) { return !one.second.defined(); });
    return all;
}

/// The parts that the conditioner has made or changed: for all else the model itself looks at `given`.
std::map<std::string, Tensor> made(const Condition& before, const Condition& after) {
    auto all = told(after);
    const auto earlier = told(before);
    std::erase_if(all, [&](const auto& one) {
        const auto found = earlier.find(one.first);
        return found != earlier.end() && same_bits(found->second, one.second);
    });
    return all;
}

/// |a − b| in units of what a is, at least 1.
double apart(const Tensor& a, const Tensor& b) {
    return distance(a, b) / std::max(1.0, a.to(at::kDouble).abs().max().item<double>());
}

Condition with_labels(Condition condition, const Tensor& label) {
    condition.label = label;
    return condition;
}

void makes_what_it_says(const Trial& trial, Findings& found) {
    const at::NoGradGuard no_grad;
    on_benches(trial, found, [&](const Tried& one) {
        const auto space = one.conditioner->makes(one.bench.condition_space());
        const auto c = (*one.conditioner)(one.condition);
        found.expect(c.vector.defined() == (space.vector > 0),
                     fmt::format("a vector of {} numbers is said, and {} made", space.vector,
                                 c.vector.defined() ? "one is" : "none"));
        if (c.vector.defined())
            found.expect(c.vector.sizes() == at::IntArrayRef({rows, space.vector}) && c.vector.is_floating_point() &&
                             c.vector.isfinite().all().item<bool>(),
                         fmt::format("the vectors of {} rows are [{}], {} numbers are said", rows,
                                     fmt::join(c.vector.sizes(), ", "), space.vector));
        found.expect(
            c.tokens.defined() == (space.tokens > 0),
            fmt::format("{} tokens are said, and {} made", space.tokens, c.tokens.defined() ? "some are" : "none"));
        if (c.tokens.defined() && !found.broken()) {
            const bool vectors = space.token_width > 0;
            found.expect(c.tokens.dim() == (vectors ? 3 : 2) && c.tokens.size(0) == rows &&
                             c.tokens.size(1) <= space.tokens && (!vectors || c.tokens.size(2) == space.token_width),
                         fmt::format("the tokens of {} rows are [{}], {} of width {} are said", rows,
                                     fmt::join(c.tokens.sizes(), ", "), space.tokens, space.token_width));
            if (!vectors && !found.broken())
                found.expect(c.tokens.scalar_type() == at::kLong && c.tokens.min().item<std::int64_t>() >= 0 &&
                                 c.tokens.max().item<std::int64_t>() < space.vocabulary,
                             fmt::format("tokens are no whole numbers below {}", space.vocabulary));
            if (c.token_mask.defined() && !found.broken())
                found.expect(c.token_mask.sizes() == c.tokens.sizes().slice(0, 2), "the mask is not one of the tokens");
        }
        found.expect(space.classes == 0 || c.label.defined(), "labels are said, and none left");
        if (c.label.defined() && !found.broken())
            found.expect(c.label.scalar_type() == at::kLong && c.label.sizes() == at::IntArrayRef({rows}) &&
                             c.label.min().item<std::int64_t>() >= 0 &&
                             (space.classes == 0 || c.label.max().item<std::int64_t>() < space.classes),
                         fmt::format("labels are none of {} classes", space.classes));
    });
}

void shares_are_shares(const Trial& trial, Findings& found) {
    on_benches(trial, found, [&](const Tried& one) {
        const double drops = one.conditioner->drops();
        found.expect(drops >= 0 && drops <= 1, fmt::format("it drops a share of {}", drops));
        found.expect(drops == 0 || one.conditioner->knows_null_condition(),
                     fmt::format("it drops a share of {}, and does not know rows that are told nothing", drops));
        found.expect(!one.bench.drops || one.conditioner->knows_null_condition(),
                     "built where training drops conditions it does not know rows that are told nothing");
    });
}

void rows_are_their_own(const Trial& trial, Findings& found) {
    const at::NoGradGuard no_grad;
    on_benches(trial, found, [&](const Tried& one) {
        const auto whole = told((*one.conditioner)(one.condition));
        const auto compare = [&](const Condition& some, const Tensor& of, const char* when) {
            const auto parts = told((*one.conditioner)(some));
            for (const auto& [name, all] : whole)
                found.at_most(parts.contains(name) ? apart(all.index_select(0, of), parts.at(name)) : 1e9, 1e-6,
                              fmt::format("{}, `{}` of a row moves by", when, name));
        };
        for (std::int64_t first = 0; first < rows; first += 5) {
            const auto n = std::min<std::int64_t>(5, rows - first);
            compare(one.condition.chunk(first, n), at::arange(first, first + n), "in a smaller batch");
        }
        auto turned = one.condition;
        const auto back = at::arange(rows).flip(0);
        for (auto* tensor : {&turned.label, &turned.tokens, &turned.token_mask, &turned.vector, &turned.given})
            if (tensor->defined()) *tensor = tensor->flip(0);
        for (auto& [name, tensor] : turned.named) tensor = tensor.flip(0);
        compare(turned, back, "in another order");
    });
}

void rows_told_nothing_are_alike(const Trial& trial, Findings& found) {
    const at::NoGradGuard no_grad;
    found.not_asked("it does not know rows that are told nothing");
    on_benches(trial, found, [&](const Tried& one) {
        if (!one.conditioner->knows_null_condition()) return;
        const auto whole = made(one.condition, (*one.conditioner)(one.condition));
        auto some = one.condition;
        some.given = at::arange(rows).remainder(3) != 1;
        const auto given = some.given.nonzero().flatten(), rest = (~some.given).nonzero().flatten();
        const auto half = made(some, (*one.conditioner)(some));
        auto other = some;
        if (some.label.defined())
            other.label = at::where(some.given, some.label, (some.label + 1).remainder(one.bench.data->classes()));
        const auto changed = made(other, (*one.conditioner)(other));
        for (const auto& [name, all] : half) {
            if (!whole.contains(name) || !changed.contains(name)) continue;
            found.at_most(apart(all.index_select(0, given), whole.at(name).index_select(0, given)), 1e-6,
                          fmt::format("`{}` of rows that are given moves, where others are not, by", name));
            const auto nothing = all.index_select(0, rest);
            found.at_most(apart(nothing, nothing.slice(0, 0, 1).expand_as(nothing)), 1e-6,
                          fmt::format("`{}` of rows that are told nothing differs by", name));
            found.at_most(apart(nothing, changed.at(name).index_select(0, rest)), 1e-6,
                          fmt::format("`{}` of rows that are told nothing follows their label by", name));
            if (some.label.defined())
                for (std::int64_t row = 0; row < rows; ++row)
                    found.expect(distance(nothing[0], whole.at(name)[row]) > 0,
                                 fmt::format("`{}` of rows that are told nothing is that of class {}", name,
                                             some.label[row].item<std::int64_t>()));
        }
        auto none = one.condition.null(rows);
        const auto all = made(none, (*one.conditioner)(none));
        for (const auto& [name, tensor] : all)
            found.at_most(apart(tensor, tensor.slice(0, 0, 1).expand_as(tensor)), 1e-6,
                          fmt::format("`{}` where no row is told anything differs by", name));
    });
}

void classes_are_told_apart(const Trial& trial, Findings& found) {
    const at::NoGradGuard no_grad;
    found.not_asked("the data say no classes");
    on_benches(trial, found, [&](const Tried& one) {
        const auto classes = one.bench.data->classes();
        if (classes < 2 || !one.condition.label.defined()) return;
        const auto label = at::arange(rows).remainder(classes);
        const auto after = (*one.conditioner)(with_labels(one.condition, label));
        bool differ = false;
        for (const auto& [name, all] : told(after))
            differ = differ || distance(all, all.slice(0, 0, 1).expand_as(all)) > 0;
        found.expect(differ, "whatever its class, a row is told the same");
    });
}

void passes_the_rest_on(const Trial& trial, Findings& found) {
    const at::NoGradGuard no_grad;
    on_benches(trial, found, [&](const Tried& one) {
        auto all = one.condition;
        const Random random(1, "laws");
        Trajectory trajectory;
        all.mask = at::ones({rows, 2}), all.self_condition = at::full({rows, 2}, 0.5),
        all.observed = at::full({rows, 1}, 0.25);
        if (one.conditioner->drops() == 0) all.random = &random;
        all.trajectory = &trajectory;
        all.recompute = true;
        if (one.conditioner->knows_null_condition()) all.given = at::ones({rows}, at::kBool);
        const auto after = (*one.conditioner)(all);
        const auto same = [](const Tensor& a, const Tensor& b) { return a.defined() && same_bits(a, b); };
        found.expect(same(after.mask, all.mask) && same(after.self_condition, all.self_condition),
                     "it loses what a network sees");
        found.expect(same(after.observed, all.observed), "it loses what is observed");
        found.expect(after.random == all.random && after.trajectory == all.trajectory && after.recompute,
                     "it loses the random numbers, the trajectory or `recompute`");
        found.expect(!all.given.defined() || same(after.given, all.given), "it changes which rows are given");
    });
}

void gradients_reach_its_parameters(const Trial& trial, Findings& found) {
    const at::AutoGradMode with_gradients(true);
    found.not_asked("it has nothing to train");
    on_benches(trial, found, [&](const Tried& one) {
        const auto named = one.conditioner->named_tensors();
        auto condition = one.condition;
        if (one.bench.data->classes() > 0) condition.label = at::arange(rows).remainder(one.bench.data->classes());
        if (one.conditioner->knows_null_condition()) condition.given = at::arange(rows) < rows - 2;
        at::Tensor sum;
        for (const auto& [name, tensor] : told((*one.conditioner)(condition))) {
            if (!tensor.requires_grad()) continue;
            const auto part =
                (tensor * Random(2, "laws").normal(tensor.sizes(), tensor.options().requires_grad(false))).sum();
            sum = sum.defined() ? sum + part : part;
        }
        for (const auto& tensor : named) {
            if (!tensor.trained) continue;
            found.expect(sum.defined(), "nothing that it makes depends on its parameters");
            if (found.broken()) return;
        }
        if (!sum.defined()) return;
        sum.backward();
        for (const auto& tensor : named)
            if (tensor.trained)
                found.expect(tensor.tensor->grad().defined() && tensor.tensor->grad().isfinite().all().item<bool>() &&
                                 tensor.tensor->grad().ne(0).any().item<bool>(),
                             fmt::format("no gradient reaches `{}`", tensor.name));
    });
}

void same_twice(const Trial& trial, Findings& found) {
    const at::NoGradGuard no_grad;
    on_benches(trial, found, [&](const Tried& one) {
        std::map<std::string, Tensor> before;
        for (const auto& [name, tensor] : told(one.condition)) before[name] = tensor.clone();
        std::map<std::string, Tensor> first;
        for (const auto& [name, tensor] : told((*one.conditioner)(one.condition))) first[name] = tensor.clone();
        for (const auto& [name, tensor] : told(one.condition))
            found.expect(same_bits(tensor, before.at(name)), fmt::format("it wrote into `{}`", name));
        const auto compare = [&](const std::map<std::string, Tensor>& other, const char* when) {
            found.expect(other.size() == first.size(), fmt::format("{} it makes something else", when));
            for (const auto& [name, tensor] : first)
                found.expect(other.contains(name) && same_bits(other.at(name), tensor),
                             fmt::format("{} `{}` is another", when, name));
        };
        if (one.condition.label.defined()) (*one.conditioner)(with_labels(one.condition, one.condition.label.flip(0)));
        compare(told((*one.conditioner)(one.condition)), "asked again");
        const auto again = trial.make<Conditioner>(one.bench);
        again->train(false);
        somewhere(*again);
        compare(told((*again)(one.condition)), "made again of the same seed");
        std::vector<std::map<std::string, Tensor>> seen(2);
        std::vector<std::thread> threads;
        for (std::size_t i = 0; i < 2; ++i)
            threads.emplace_back([&, i] {
                const at::NoGradGuard also_here;
                seen[i] = told((*one.conditioner)(one.condition));
            });
        for (auto& thread : threads) thread.join();
        for (const auto& other : seen) compare(other, "asked from two threads at once");
    });
}

}  // namespace

const std::vector<Law> conditioner_laws{
    {"it makes what it says, of the size and in the range", makes_what_it_says},
    {"what it drops is a share, and it knows rows that are told nothing where there are such", shares_are_shares},
    {"asked twice, and from two threads, it answers the same and writes into nothing", same_twice},
    {"a row is told what is its own, whatever the batch", rows_are_their_own},
    {"rows that are not given get what stands for nothing, whatever their label", rows_told_nothing_are_alike},
    {"classes are told apart", classes_are_told_apart},
    {"what it does not make it passes on", passes_the_rest_on},
    {"a gradient reaches every parameter", gradients_reach_its_parameters},
    stays_on_its_device(),
};

}  // namespace dtk::laws
