// Laws of networks: what they answer, what they are trained by, and what they must not look at.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include <dtk/categories.hpp>
#include <dtk/model.hpp>

#include "laws/bench.hpp"
#include "laws/law.hpp"
#include "laws/on_pretend.hpp"

namespace dtk::laws {

namespace {

/// With its defaults, and with options that such have.
constexpr const char* variants[] = {"",
                                    "conditional = true",
                                    "self_condition = true",
                                    "prediction = \"v\"",
                                    "prediction = \"edm\"\nnoise_label = \"c_noise\"",
                                    "variance = \"range\""};

/// What a network is asked: x_t, a time for each row, and all that a condition may hold.
struct Question {
    Tensor x;
    Time t;
    Condition condition;
};

Question rows_of(const Question& q, std::int64_t first, std::int64_t n) {
    return {q.x.slice(0, first, first + n), q.t.chunk(first, n), q.condition.chunk(first, n)};
}

/// x_t as the process makes it of examples, at times from its first step to its last.
Question question(const Bench& bench, std::int64_t B, at::ScalarType type = at::kFloat, std::int64_t which = 0) {
    const Random random = Random(3, "question").step(which);
    const double last = static_cast<double>(bench.process().steps() - 1);
    auto batch = bench.chain_data().examples(at::arange(B) + 5 * which);
    const auto x0 = batch.x.to(type);
    auto t = at::empty({B}, at::kDouble);
    for (std::int64_t i = 0; i < B; ++i)
        t.mutable_data_ptr<double>()[i] =
            std::floor(last * (B > 1 ? static_cast<double>(i) / static_cast<double>(B - 1) : 0.4));
    if (B > 2) t.mutable_data_ptr<double>()[0] = std::min(3.0, last);
    Condition condition = batch.condition;
    condition.self_condition = 0.5 * x0.roll({1}, {0});
    if (const auto* seen = bench.observation()) condition.observed = at::full({B, seen->size()}, 0.5, type);
    return {bench.process().noised(x0, t, random).x, t, condition};
}

Prediction ask(Model& model, const Question& q) { return model.forward(q.x, q.t, q.condition); }

/// All of an answer, to compare it.
Tensor all_of(const Prediction& p) {
    return p.variance ? at::cat({p.value.flatten(1), p.variance->expand_as(p.value).flatten(1)}, 1)
                      : p.value.flatten(1);
}
Tensor all_of(Model& model, const Question& q) {
    at::NoGradGuard no_grad;
    return all_of(ask(model, q));
}

/// Away from the zeros that last layers start with.
void disturb(Model& model) {
    at::NoGradGuard no_grad;
    for (const auto& named : model.named_tensors())
        if (named.trained && named.tensor->numel() > 0)
            named.tensor->add_(Random(5, named.name)
                                   .normal(named.tensor->dim() > 0 ? named.tensor->sizes() : at::IntArrayRef{1},
                                           named.tensor->options().requires_grad(false))
                                   .view_as(*named.tensor),
                               0.05);
}

using Make = std::function<std::shared_ptr<Model>(const Bench&)>;

/// Calls look(make, bench) on every bench.
template <class Look>
void for_benches(const Trial& trial, Findings& found, const Look& look, const std::string& fields = {}) {
    for (const auto& bench : trial.benches()) {
        if (found.broken() || (!fields.empty() && !trial.tried<Model>(bench, fields))) continue;
        const Within within(found, bench.name + (fields.empty() ? "" : ", " + fields));
        look([&](const Bench& other) { return trial.make<Model>(other, fields); }, bench);
    }
}

/// The same for every variant.
template <class Look>
void for_variants(const Trial& trial, Findings& found, const Look& look) {
    for (const auto* fields : variants) for_benches(trial, found, look, fields);
}

std::vector<std::int64_t> sizes_of_answer(const Model& model, const Bench& bench, const Tensor& x) {
    if (model.predicts() == PredictionType::label) return {x.size(0), bench.space().classes};
    auto sizes = x.sizes().vec();
    if (model.predicts() == PredictionType::logits)
        if (const auto* tokens = dynamic_cast<const CategoricalProcess*>(&bench.process()))
            sizes.push_back(tokens->categories());
    return sizes;
}

void shaped_as_asked(const Trial& trial, Findings& found) {
    for_variants(trial, found, [&](const Make& make, const Bench& bench) {
        const auto model = make(bench);
        for (const auto type : {at::kFloat, at::kDouble})
            for (const std::int64_t B : {1, 3}) {
                const auto q = question(bench, B, type);
                const auto answer = ask(*model, q);
                const auto place = fmt::format("{} rows of {}", B, type == at::kFloat ? "float32" : "float64");
                found.expect(answer.type == model->predicts(),
                             fmt::format("it says that it predicts {} and answers {}", name_of(model->predicts()),
                                         name_of(answer.type)));
                found.expect(answer.value.sizes().vec() == sizes_of_answer(*model, bench, q.x),
                             fmt::format("the answer to {} has {} numbers in {} dimensions", place,
                                         answer.value.numel(), answer.value.dim()));
                found.expect(answer.value.scalar_type() == type, "the answer to " + place + " is of another type");
                found.expect(answer.value.is_contiguous(), "the answer to " + place + " is not contiguous");
                found.expect(at::isfinite(answer.value).all().item<bool>(), "the answer to " + place + " is no number");
                if (!answer.variance) continue;
                found.expect(answer.variance->scalar_type() == type,
                             "the variance of " + place + " is of another type");
                found.expect(
                    (*answer.variance > 0).all().item<bool>() && at::isfinite(*answer.variance).all().item<bool>(),
                    "the variance of " + place + " is not above 0");
                found.expect(at::broadcast_tensors({answer.value, *answer.variance})[0].sizes() == answer.value.sizes(),
                             "the variance of " + place + " is shaped otherwise");
            }
    });
}

void finite_at_both_ends(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Make& make, const Bench& given) {
        auto benches = std::vector{given};
        if (dynamic_cast<const GaussianProcess*>(given.chain.get())) benches.push_back(ends_without_signal(given));
        for (const auto& bench : benches) {
            std::shared_ptr<Model> model;
            try {
                model = make(bench);
                if (model->predicts() != PredictionType::label) bench.process().accept(model->predicts());
            } catch (const Error&) {
                continue;  // it says nothing where α = 0
            }
            disturb(*model);
            const double T = static_cast<double>(bench.process().steps());
            std::vector<double> times{0, T - 1};
            if (!bench.process().whole_steps()) times.insert(times.end(), {-1 + 1e-6 * T, -0.5, T - 1.5});
            const auto B = static_cast<std::int64_t>(times.size());
            for (const auto type : {at::kFloat, at::kDouble}) {
                auto q = question(bench, B, type);
                q.t = at::tensor(times, at::kDouble);
                q.x = q.x.detach().set_requires_grad(q.x.is_floating_point());
                const auto answer = all_of(ask(*model, q));
                const bool has_gradient = answer.requires_grad();
                if (has_gradient) answer.sum().backward();
                for (std::int64_t i = 0; i < B; ++i) {
                    const double t = times[static_cast<std::size_t>(i)];
                    const auto place = fmt::format("at t = {}, α = {:.3g}", t, bench.process().levels().alpha(t));
                    found.expect(at::isfinite(answer[i]).all().item<bool>(), "the answer is no number " + place);
                    if (q.x.grad().defined())
                        found.expect(at::isfinite(q.x.grad()[i]).all().item<bool>(),
                                     "the gradient by x is no number " + place);
                }
                for (const auto& p : model->parameters())
                    if (p.grad().defined())
                        found.expect(at::isfinite(p.grad()).all().item<bool>(),
                                     "a gradient by the parameters is no number at one of the ends");
            }
        }
    });
}

/// A table that follows from a formula, as of positions, has numbers more than once; drawn ones are all different.
bool drawn(const Tensor& x) {
    if (x.numel() < 2 || x.std().item<double>() == 0) return false;
    const auto some = x.detach().flatten().slice(0, 0, 64).to(at::kFloat).contiguous();
    const auto* first = some.const_data_ptr<float>();
    return std::set<float>(first, first + some.numel()).size() == static_cast<std::size_t>(some.numel());
}

void starts_from_a_seed(const Trial& trial, Findings& found) {
    for_variants(trial, found, [&](const Make& make, const Bench& bench) {
        auto reseeded = bench;
        reseeded.seed = 2;
        const auto first = make(bench), second = make(bench), other = make(reseeded);
        const auto a = first->named_tensors(), b = second->named_tensors(), c = other->named_tensors();
        found.expect(a.size() == b.size() && a.size() == c.size(), "another one of it has other tensors");
        if (found.broken()) return;
        std::set<std::string> names;
        std::map<std::pair<double, double>, std::string> starts;
        for (std::size_t i = 0; i < a.size(); ++i) {
            const auto& tensor = *a[i].tensor;
            found.expect(names.insert(a[i].name).second, "two of its tensors are called " + a[i].name);
            found.expect(a[i].name == b[i].name && a[i].name == c[i].name,
                         "another one of it has tensors of other names");
            found.expect(same_bits(tensor, *b[i].tensor), a[i].name + " starts otherwise with the same seed");
            if (!a[i].trained || !drawn(tensor)) continue;
            found.expect(!same_bits(tensor, *c[i].tensor), a[i].name + " starts alike with another seed");
            // Whatever factor they were multiplied by.
            const auto some = tensor.detach().flatten().slice(0, 0, 3).to(at::kDouble).contiguous();
            const auto* first_numbers = some.const_data_ptr<double>();
            const auto angle = [&](std::int64_t k) {
                return k < some.numel() ? std::round(std::atan2(first_numbers[k], first_numbers[0]) * 1e5) : 0;
            };
            const auto start = std::pair{angle(1), angle(2)};
            const auto [before, fresh] = starts.emplace(start, a[i].name);
            found.expect(fresh, fmt::format("{} and {} start from the same random numbers", before->second, a[i].name));
        }
    });
}

/// The answer, each number of it weighed by chance, so that no two cancel.
Tensor weighed(Model& model, const Question& q) {
    const auto p = ask(model, q);
    const auto all = all_of(p).to(at::kDouble);
    return (all * Random(9, "weights").normal(all.sizes(), at::kDouble)).sum();
}

void reaches_every_parameter(const Trial& trial, Findings& found) {
    for_variants(trial, found, [&](const Make& make, const Bench& bench) {
        const auto model = make(bench);
        if (model->parameters().empty()) return found.not_asked("it has no parameters");
        disturb(*model);
        // Of a row for each step or class those are reached that were asked for.
        weighed(*model, question(bench, 8)).backward();
        for (const auto& named : model->named_tensors()) {
            if (!named.trained) continue;
            const auto& g = named.tensor->grad();
            found.expect(g.defined() && g.abs().max().item<double>() > 0, "no gradient reaches " + named.name);
            found.expect(!g.defined() || at::isfinite(g).all().item<bool>(),
                         "the gradient of " + named.name + " is no number");
        }
    });
}

/// |exact − slope of f at 0|, by differences of fourth order, as wide as suits them: what is computed in float32 wants
/// wide ones, what bends narrow ones.
double off_from_slope(double exact, double enough, const std::function<double(double h)>& f) {
    double least = std::numeric_limits<double>::infinity();
    for (const double h : {4e-3, 3e-2, 5e-4})
        if (least > enough)
            least = std::min(least, std::abs(exact - (f(-2 * h) - 8 * f(-h) + 8 * f(h) - f(2 * h)) / (12 * h)));
    return least;
}

void gradients_are_slopes(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Make& make, const Bench& bench) {
        const auto model = make(bench);
        if (model->parameters().empty()) return found.not_asked("it has no parameters");
        disturb(*model);
        model->train(false);
        const auto q = question(bench, 4);
        weighed(*model, q).backward();
        at::NoGradGuard no_grad;
        for (int which = 0; which < 2; ++which) {
            // As long a way in each tensor as its numbers are large, so that each counts.
            std::vector<Tensor> start, way;
            double along = 0, scale = 0;
            for (const auto& p : model->parameters()) {
                start.push_back(p.detach().clone());
                const auto one = Random(11, fmt::format("way {} {}", which, way.size()))
                                     .normal(p.dim() > 0 ? p.sizes() : at::IntArrayRef{1}, at::kFloat)
                                     .view_as(p);
                way.push_back((one * (p.detach().square().mean().sqrt() + 0.01)).to(p.scalar_type()));
                const double share = p.grad().defined() ? (p.grad() * way.back()).sum().item<double>() : 0;
                along += share;
                scale += share * share;
            }
            const double off = off_from_slope(along, 0.02 * (std::sqrt(scale) + 1e-6), [&](double h) {
                const auto parameters = model->parameters();
                for (std::size_t i = 0; i < start.size(); ++i) parameters[i].detach().copy_(start[i] + h * way[i]);
                return weighed(*model, q).item<double>();
            });
            const auto parameters = model->parameters();
            for (std::size_t i = 0; i < start.size(); ++i) parameters[i].detach().copy_(start[i]);
            found.at_most(off / (std::sqrt(scale) + 1e-6), 0.1,
                          "a gradient by the parameters against differences, relative |Δ|");
        }
    });
}

void reaches_the_state(const Trial& trial, Findings& found) {
    const auto differentiated = [&](const Make& make,
                                    const Bench& bench) -> std::optional<std::pair<std::shared_ptr<Model>, Question>> {
        if (dynamic_cast<const CategoricalProcess*>(&bench.process())) {
            found.not_asked("categories have no slope");
            return {};
        }
        const auto model = make(bench);
        disturb(*model);
        model->train(false);
        auto q = question(bench, 4, at::kDouble);
        q.x = q.x.detach().clone().set_requires_grad(true);
        weighed(*model, q).backward();
        const auto& g = q.x.grad();
        found.expect(g.defined() && at::isfinite(g).all().item<bool>(), "there is no gradient by x");
        if (found.broken()) return {};
        found.expect(g.abs().max().item<double>() > 0, "the gradient by x is 0");
        return std::pair{model, q};
    };
    for_variants(trial, found, differentiated);
    for_benches(trial, found, [&](const Make& make, const Bench& bench) {
        const auto done = differentiated(make, bench);
        if (!done) return;
        at::NoGradGuard no_grad;
        auto [model, q] = *done;
        const auto g = q.x.grad(), x = q.x.detach(), way = Random(13, "way").normal(x.sizes(), at::kDouble);
        const double along = (g * way).sum().item<double>(),
                     scale = (g * way).square().sum().sqrt().item<double>() + 1e-6;
        const double off = off_from_slope(along, 0.02 * scale, [&, &model = model, &q = q](double h) {
            q.x = x + h * way;
            return weighed(*model, q).item<double>();
        });
        found.at_most(off / scale, 0.1, "the gradient by x against differences, relative |Δ|");
    });
}

void kept_by_its_tensors(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Make& make, const Bench& bench) {
        auto reseeded = bench;
        reseeded.seed = 2;
        const auto saved = make(bench), read = make(reseeded);
        disturb(*saved);
        saved->train(false);
        read->train(false);
        const auto q = question(bench, 3);
        all_of(*read, q);
        const auto expected = all_of(*saved, q);
        at::NoGradGuard no_grad;
        const auto from = saved->named_tensors();
        for (const auto& to : read->named_tensors())
            for (const auto& one : from)
                if (one.saved && one.name == to.name) to.tensor->copy_(*one.tensor);
        found.expect(same_bits(all_of(*read, q), expected),
                     "with the tensors that a checkpoint keeps, one of another seed answers otherwise");
    });
}

void one_answer(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Make& make, const Bench& bench) {
        const auto model = make(bench);
        disturb(*model);
        model->train(false);
        const auto q = question(bench, 3), other = question(bench, 5, at::kFloat, 1);
        const auto first = all_of(*model, q);
        found.expect(same_bits(first, all_of(*model, q)), "asked twice, it answers otherwise");
        all_of(*model, other);
        found.expect(same_bits(first, all_of(*model, q)), "asked something else in between, it answers otherwise");
        const auto fresh = make(bench);
        disturb(*fresh);
        fresh->train(false);
        all_of(*fresh, other);
        found.expect(same_bits(first, all_of(*fresh, q)), "one that was asked something else before answers otherwise");
    });
}

void rows_alone(const Trial& trial, Findings& found) {
    for_variants(trial, found, [&](const Make& make, const Bench& bench) {
        const auto model = make(bench);
        disturb(*model);
        model->train(false);
        const auto q = question(bench, 4);
        const auto together = all_of(*model, q);
        constexpr double limit = 3e-5;
        for (std::int64_t i = 0; i < 4; ++i)
            found.at_most(apart(all_of(*model, rows_of(q, i, 1)), together.slice(0, i, i + 1)), limit,
                          "|Δ| of a row asked alone");
        const auto turned = at::tensor({2, 0, 3, 1}, at::kLong);
        auto other = q;
        other.x = q.x.index_select(0, turned);
        other.t = q.t.rows(4).index_select(0, turned);
        for (auto* part : {&other.condition.label, &other.condition.tokens, &other.condition.token_mask,
                           &other.condition.vector, &other.condition.self_condition, &other.condition.observed})
            if (part->defined()) *part = part->index_select(0, turned);
        found.at_most(apart(all_of(*model, other), together.index_select(0, turned)), limit,
                      "|Δ| of rows in another order");
        other = q;
        other.t = Time(q.t.rows(4).select(0, 1).item<double>());
        found.at_most(apart(all_of(*model, other).slice(0, 1, 2), together.slice(0, 1, 2)), limit,
                      "|Δ| where one time is said for all rows");
    });
}

/// Deterministic in training, too, but for the numbers of the step.
void chance_is_addressed(const Trial& trial, Findings& found) {
    for (const auto& bench : trial.benches())
        for (const std::string fields : {"", "dropout = 0.5"}) {
            if (!fields.empty() && !trial.tried<Model>(bench, fields)) continue;
            const Within within(found, bench.name + (fields.empty() ? "" : ", " + fields));
            const auto model = trial.make<Model>(bench, fields);
            disturb(*model);
            auto q = question(bench, 3);
            const auto at_step = [&](std::int64_t step, std::int64_t first = 0, std::int64_t n = 3) {
                const auto random = Random(1, "train").step(step).from(first);
                auto part = rows_of(q, first, n);
                part.condition.random = &random;
                return all_of(*model, part);
            };
            const auto first = at_step(1);
            found.expect(same_bits(first, at_step(1)), "in training, the numbers of a step make two answers");
            found.at_most(apart(at_step(1, 2, 1), first.slice(0, 2, 3)), 1e-4,
                          "|Δ| of a row alone in training: its numbers are those of its place in the batch");
            if (!fields.empty()) {
                found.expect(distance(first, at_step(2)) > 1e-4, "dropout is the same at two steps");
                try {
                    all_of(*model, q);
                    found.expect(false, "without the numbers of a step dropout goes on in training");
                } catch (const Error&) {
                }
            }
            model->train(false);
            const auto outside = all_of(*model, q);
            found.expect(same_bits(outside, all_of(*model, q)), "outside training it has two answers");
            found.expect(same_bits(outside, at_step(1)) && same_bits(outside, at_step(2)),
                         "outside training it looks at the numbers of a step");
        }
}

void told_its_class(const Trial& trial, Findings& found) {
    bool conditional = false;
    for (auto bench : trial.benches()) {
        bench.drops = true;
        const auto plain = trial.tried<Model>(bench, "conditional = false");
        const auto model = trial.tried<Model>(bench, "conditional = true");
        if (bench.space().classes < 2 || !model) continue;
        conditional = true;
        const Within within(found, bench.name);
        disturb(*model);
        model->train(false);
        const auto classes = bench.space().classes;
        auto q = question(bench, 3);
        q.t = std::floor(static_cast<double>(bench.process().steps()) / 2);
        const auto first = all_of(*model, q);
        auto other = q;
        other.condition.label = (q.condition.label + 1).remainder(classes);
        for (std::int64_t i = 0; i < 3; ++i)
            found.expect(distance(all_of(*model, other)[i], first[i]) > 1e-6, "another class has the same answer");
        if (model->knows_null_condition()) {
            q.condition.given = at::tensor({0, 1, 0}, at::kLong).to(at::kBool);
            other.condition.given = q.condition.given;
            const auto a = all_of(*model, q), b = all_of(*model, other);
            found.expect(same_bits(a[0], b[0]) && same_bits(a[2], b[2]), "a row that is not told its class knows it");
            found.at_most(apart(a[1], first[1]), 3e-5, "|Δ| of a row that is told its class, where others are not");
            found.expect(distance(a[0], first[0]) > 1e-6, "without its class a row has the answer of its class");
        }
        if (plain) {
            plain->train(false);
            auto mute = question(bench, 3);
            mute.condition.label = Tensor();
            found.expect(at::isfinite(all_of(*plain, mute)).all().item<bool>(), "built without classes, it wants them");
        }
    }
    if (!conditional) found.not_asked("it has no `conditional`, or the data no classes");
}

void writes_nothing(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Make& make, const Bench& bench) {
        const auto model = make(bench);
        const Random random(1, "train");
        for (const bool training : {true, false}) {
            model->train(training);
            auto q = question(bench, 3);
            q.condition.random = training ? &random : nullptr;
            const auto x = q.x.clone(), t = q.t.rows(3).clone(), self = q.condition.self_condition.clone();
            const auto label = q.condition.label.defined() ? q.condition.label.clone() : Tensor();
            std::vector<Tensor> before;
            for (const auto& named : model->named_tensors())
                if (named.saved) before.push_back(named.tensor->detach().clone());
            all_of(*model, q);
            found.expect(same_bits(q.x, x), "it writes into x");
            found.expect(same_bits(q.t.rows(3), t), "it writes into the times");
            found.expect(same_bits(q.condition.self_condition, self) &&
                             (!label.defined() || same_bits(label, q.condition.label)),
                         "it writes into the condition");
            std::size_t i = 0;
            for (const auto& named : model->named_tensors())
                if (named.saved)
                    found.expect(same_bits(before[i++], named.tensor->detach()),
                                 "asked, it changes its tensor " + named.name);
        }
    });
}

void any_layout(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Make& make, const Bench& bench) {
        const auto model = make(bench);
        disturb(*model);
        model->train(false);
        const auto q = question(bench, 3);
        const auto expected = all_of(*model, q);
        constexpr double limit = 5e-5;
        auto other = q;
        // Rows of a wider tensor, and the last axis outside.
        other.x = at::cat({q.x, q.x + 1}, 1).slice(1, 0, q.x.size(1));
        found.at_most(apart(all_of(*model, other), expected), limit, "|Δ| where x is a part of a wider tensor");
        other.x = q.x.transpose(0, -1).contiguous().transpose(0, -1);
        found.at_most(apart(all_of(*model, other), expected), limit, "|Δ| where the axes of x lie in another order");
        if (q.x.dim() == 4) {
            other.x = q.x.contiguous(at::MemoryFormat::ChannelsLast);
            found.at_most(apart(all_of(*model, other), expected), limit, "|Δ| where channels lie last");
        }
    });
}

void recomputed_alike(const Trial& trial, Findings& found) {
    const auto& bench = trial.benches().front();
    if (!trial.make<Model>(bench)->recomputes()) return found.not_asked("it keeps its inner values");
    const auto gradients = [&](bool recompute) {
        const auto model = trial.make<Model>(bench);
        disturb(*model);
        const Random random(1, "train");
        auto q = question(bench, 3);
        q.condition.random = &random;
        q.condition.recompute = recompute;
        weighed(*model, q).backward();
        std::vector<Tensor> all;
        for (const auto& p : model->parameters()) all.push_back(p.grad().flatten());
        return at::cat(all);
    };
    const auto kept = gradients(false), anew = gradients(true);
    found.at_most(apart(kept, anew), 1e-5, "|Δ| of gradients whose inner values are computed again");
}

}  // namespace

const std::vector<Law> model_laws{
    {"the answer is shaped as the question, is of its type, and of the kind that it says", shaped_as_asked},
    {"it answers finite numbers at both ends of the times, with signal and without", finite_at_both_ends},
    {"a seed makes the same start, another seed another, and every parameter has numbers of its own",
     starts_from_a_seed},
    {"asked twice it answers the same, whatever it was asked before", one_answer},
    {"the rows of a batch do not know each other", rows_alone},
    {"it writes into nothing that it is given", writes_nothing},
    {"the memory layout of x says nothing", any_layout},
    {"chance is that of the step and the row, and of training alone", chance_is_addressed},
    {"a checkpoint's tensors are all that it has learned", kept_by_its_tensors},
    {"the class matters where it is told, and nowhere else", told_its_class},
    {"a gradient reaches every parameter", reaches_every_parameter},
    {"gradients by the parameters are slopes", gradients_are_slopes},
    {"the gradient by x is there and is a slope", reaches_the_state},
    {"computed again, inner values make the same gradient", recomputed_alike},
    stays_on_its_device(),
};

}  // namespace dtk::laws
