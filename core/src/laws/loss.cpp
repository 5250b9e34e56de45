// Laws of losses: one number for each example, what it is least for, and what it must not depend on.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include <dtk/flow_map.hpp>
#include <dtk/loss.hpp>
#include <dtk/weighting.hpp>

#include "laws/bench.hpp"
#include "laws/law.hpp"
#include "laws/on_pretend.hpp"

namespace dtk::laws {

namespace {

const Random numbers(17, "train");

/// A bench that knows whether it was asked for a trained network.
struct Watched final : Bench {
    explicit Watched(const Bench& bench) : Bench(bench) {}
    TrainedNetwork trained(const Reference& reference) const override {
        asked_for_a_teacher = true;
        return Bench::trained(reference);
    }
    mutable bool asked_for_a_teacher = false;
};

/// What the loss asks of the network, as far as anybody looks.
struct Asked {
    int times = 0, told = 0;
    double least = std::numeric_limits<double>::infinity(), most = -least;
};

/// The bench's network with the batch's condition and the numbers of the step. added: to what it answers, if defined.
Denoiser denoiser(const Bench& bench, const Batch& batch, const Random& random, Asked* asked = nullptr,
                  const Tensor& added = {}) {
    return {bench.chain,
            [network = bench.network, asked, random, added](const Tensor& x, const Time& t, Condition condition) {
                if (asked) {
                    ++asked->times;
                    asked->told += condition.label.defined() ? 1 : 0;
                    const auto rows = t.rows(x.size(0));
                    asked->least = std::min(asked->least, rows.min().item<double>());
                    asked->most = std::max(asked->most, rows.max().item<double>());
                }
                condition.random = &random;
                auto answer = network->forward(x, t, condition);
                if (added.defined()) answer.value = answer.value + added;
                return answer;
            },
            batch.condition};
}

/// Times from the first step to the last, each row another.
Time spread(const Bench& bench, std::int64_t B) {
    const auto u = (at::arange(B, at::kDouble) * 0.6180339887498949 + 0.3).frac();
    return ((u * static_cast<double>(bench.process().steps())).floor())
        .clamp_max(static_cast<double>(bench.process().steps() - 1));
}

/// Everything that it says of each example: [B, N]
Tensor all_of(const LossValues& values) {
    std::vector<Tensor> all;
    for (const auto& objective : values.objectives) all.push_back(objective.value.detach().to(at::kDouble));
    for (const auto& [_, part] : values.parts) all.push_back(part.detach().to(at::kDouble));
    return at::stack(all, 1);
}

/// The loss on a bench, in training, and a batch of examples with their times.
struct Trying {
    Watched bench;
    std::shared_ptr<Loss> loss;
    Batch batch;
    Time t;

    Trying(const Trial& trial, const Bench& given, std::int64_t B, at::ScalarType type = at::kFloat)
        : bench(given), loss(trial.make<Loss>(bench)), batch(examples(bench, B, type)), t(spread(bench, B)) {
        disturb(*bench.network);
        disturb(*loss);
    }
    LossValues operator()(const Random& random, Asked* asked = nullptr) const { return of(batch, t, random, asked); }
    LossValues of(const Batch& some, const Time& times, const Random& random, Asked* asked = nullptr,
                  const Tensor& added = {}) const {
        return (*loss)(denoiser(bench, some, random, asked, added), some, times, random);
    }

 private:
    /// Away from the zeros that last layers start with; done twice, nothing more.
    static void disturb(const Module& module) {
        at::NoGradGuard no_grad;
        for (const auto& named : module.named_tensors())
            if (named.trained && named.tensor->dim() > 0 && named.tensor->count_nonzero().item<std::int64_t>() == 0)
                named.tensor->copy_(0.05 * Random(5, named.name).normal(named.tensor->sizes(), at::kFloat));
    }
};

template <class Look>
void for_benches(const Trial& trial, Findings& found, const Look& look) {
    for (const auto& bench : trial.benches()) {
        if (!bench.network) continue;
        const Within within(found, bench.name);
        look(bench);
    }
}

void one_number_each(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Bench& bench) {
        std::optional<std::vector<std::string>> names;
        for (const auto type : {at::kFloat, at::kDouble})
            for (const std::int64_t B : {1, 5}) {
                const Trying trying(trial, bench, B, type);
                Asked asked;
                const auto values = trying(numbers, &asked);
                const auto place = fmt::format("{} examples of {}", B, type == at::kFloat ? "float32" : "float64");
                found.expect(!values.objectives.empty(), "nothing is minimised");
                for (const auto& objective : values.objectives) {
                    const auto& value = objective.value;
                    found.expect(
                        value.dim() == 1 && value.size(0) == B,
                        fmt::format("of {} it has {} numbers in {} dimensions", place, value.numel(), value.dim()));
                    found.expect(value.is_floating_point() && at::isfinite(value).all().item<bool>(),
                                 "what is minimised is no number, " + place);
                    if (objective.error_of) bench.process().accept(*objective.error_of);
                }
                std::vector<std::string> parts;
                for (const auto& [name, part] : values.parts) {
                    parts.push_back(name);
                    found.expect(
                        part.dim() == 1 && part.size(0) == B && at::isfinite(part).all().item<bool>(),
                        fmt::format("`{}`, which is logged, is not one finite number for each of {}", name, place));
                }
                found.expect(std::set<std::string>(parts.begin(), parts.end()).size() == parts.size(),
                             "two of the values that are logged have one name");
                if (!names) names = parts;
                found.expect(*names == parts, "other values are logged at another batch");
                if (asked.times > 0)
                    found.expect(asked.least >= -1 && asked.most <= static_cast<double>(bench.process().steps() - 1),
                                 fmt::format("the network is asked at times from {} to {}", asked.least, asked.most));
            }
    });
}

void finite_at_the_ends(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Bench& bench) {
        const Trying trying(trial, bench, 4);
        const double T = static_cast<double>(bench.process().steps());
        std::vector<double> times{0, T - 1};
        if (!bench.process().whole_steps()) times.insert(times.end(), {1e-6 * T - 1, -0.5, T / 2 - 0.3});
        for (const double t : times) {
            const auto added = at::zeros({}).set_requires_grad(true);
            for (const auto& objective : trying.of(trying.batch, t, numbers, nullptr, added).objectives) {
                const auto& value = objective.value;
                found.expect(at::isfinite(value).all().item<bool>(),
                             fmt::format("what is minimised is no number at t = {}", t));
                if (!value.requires_grad()) continue;
                value.sum().backward({}, /*retain_graph=*/true);
                auto trained = bench.network->parameters();
                trained.push_back(added);
                for (const auto& p : trained)
                    if (p.grad().defined())
                        found.expect(at::isfinite(p.grad()).all().item<bool>(),
                                     fmt::format("the gradient is no number at t = {}", t));
            }
        }
    });
}

void of_its_numbers_alone(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Bench& bench) {
        const Trying trying(trial, bench, 6);
        const auto first = all_of(trying(numbers.step(3)));
        const auto later = all_of(trying(numbers.step(4)));
        found.expect(same_bits(first, all_of(trying(numbers.step(3)))),
                     "asked again with the same random numbers it has other values");
        const Trying other(trial, bench, 6);
        found.expect(same_bits(first, all_of(other(numbers.step(3)))),
                     "another one of it has other values of the same random numbers");
        found.expect(same_in_threads([&] { return all_of(trying(numbers.step(3))); }),
                     "asked by two threads at once it has other values");
        if (same_bits(first, later)) return;  // it draws nothing
        // The same example at the same time, six times.
        auto same = trying.batch;
        same.x = same.x.slice(0, 0, 1).expand_as(same.x).contiguous();
        same.condition = same.condition.chunk(0, 1).repeated(6);
        const auto rows = all_of(trying.of(same, trying.t.rows(6).select(0, 0).item<double>(), numbers.step(3)));
        found.expect((rows.select(1, 0) != rows.select(1, 0)[0]).any().item<bool>(),
                     "all examples of a batch have the same noise");
    });
}

void in_parts(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Bench& bench) {
        const Trying trying(trial, bench, 12, at::kDouble);
        const auto whole = all_of(trying(numbers.step(2)));
        for (const std::int64_t size : {1, 4}) {
            std::vector<Tensor> parts;
            for (std::int64_t first = 0; first < 12; first += size) try {
                    parts.push_back(all_of(trying.of(part_of(trying.batch, first, size), trying.t.chunk(first, size),
                                                     numbers.step(2).from(first))));
                } catch (const Error& error) {
                    found.expect(!error.help().empty(),
                                 fmt::format("it refuses a part of a batch without a cure: {}", error.what()));
                    return found.not_asked("its examples are looked at together, and it refuses parts of a batch");
                }
            found.at_most(((at::cat(parts) - whole).abs() / (1 + whole.abs())).max().item<double>(), 1e-6,
                          fmt::format("relative |Δ| of a batch in parts of {}", size));
        }
    });
}

void writes_nothing(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Bench& bench) {
        const Trying trying(trial, bench, 4);
        const auto x = trying.batch.x.clone(), t = trying.t.rows(4).clone();
        const auto label = trying.batch.condition.label.defined() ? trying.batch.condition.label.clone() : Tensor();
        std::vector<Tensor> before;
        for (const auto& p : bench.network->parameters()) before.push_back(p.detach().clone());
        const auto of_teachers = [&] {
            std::vector<Tensor> all;
            for (const auto& [_, teacher] : bench.networks)
                for (const auto& named : teacher.model->named_tensors()) all.push_back(named.tensor->detach().clone());
            return all;
        };
        const auto taught = of_teachers();
        for (const auto& objective : trying(numbers).objectives)
            if (objective.value.requires_grad()) objective.value.sum().backward({}, /*retain_graph=*/true);
        found.expect(same_bits(trying.batch.x, x), "it writes into the examples");
        found.expect(!trying.batch.x.requires_grad(), "it leaves the examples wanting a gradient");
        found.expect(same_bits(trying.t.rows(4), t), "it writes into the times");
        found.expect(!label.defined() || same_bits(trying.batch.condition.label, label), "it writes into the labels");
        std::size_t i = 0;
        for (const auto& p : bench.network->parameters())
            found.expect(same_bits(p.detach(), before[i++]),
                         "it moves the network's parameters: that is the optimiser's");
        const auto now = of_teachers();
        found.expect(std::equal(now.begin(), now.end(), taught.begin(), taught.end(), same_bits),
                     "it moves a network that it learns from");
        for (const auto& [name, teacher] : bench.networks)
            for (const auto& p : teacher.model->named_tensors())
                found.expect(!p.tensor->requires_grad() && !p.tensor->grad().defined(),
                             "it trains the network `" + name + "`, which it learns from");
    });
}

void condition_is_told(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Bench& bench) {
        if (bench.space().classes == 0) return found.not_asked("the data have no classes");
        if (bench.network->predicts() == PredictionType::label)
            return found.not_asked("a classifier is not told the class");
        const Trying trying(trial, bench, 4);
        Asked asked;
        trying(numbers, &asked);
        if (asked.times == 0) return found.not_asked("it does not ask the denoiser");
        found.expect(asked.told > 0, "the network is never told the condition of the batch");
    });
}

void looks_at_times_it_stands_for(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Bench& bench) {
        const Trying trying(trial, bench, 4);
        const auto first = all_of(trying(numbers));
        const auto others = all_of(trying.of(trying.batch, trying.t.rows(4).flip(0).contiguous(), numbers));
        if (!trying.loss->draws_times())
            found.expect(same_bits(first, others),
                         "it says that it does not stand for a drawn time, and depends on it: the importance weight is "
                         "then lost");
        else
            found.expect(!same_bits(first, others),
                         "it says that it stands for a drawn time, and does not look at it: it would be weighed by "
                         "what it does not depend on");
    });
}

void trains_what_there_is(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Bench& bench) {
        const Trying trying(trial, bench, 6);
        std::vector<Module::Named> all;
        for (auto named : bench.network->named_tensors()) named.name = "model." + named.name, all.push_back(named);
        for (auto named : trying.loss->named_tensors()) named.name = "loss." + named.name, all.push_back(named);
        // Where the network has nothing to train, a number is added to what it answers.
        auto added = at::zeros({}).set_requires_grad(true);
        if (bench.network->parameters().empty())
            all.push_back({"model.added", &added, true, false});
        else
            added = Tensor();
        const auto values = trying.of(trying.batch, trying.t, numbers, nullptr, added);
        std::set<std::string> reached;
        bool of_network = false;
        for (const auto& objective : values.objectives) {
            std::vector<Module::Named> trained;
            for (const auto& named : all)
                if (named.trained && (objective.trains.empty() || named.name.starts_with(objective.trains + ".")))
                    trained.push_back(named);
            found.expect(!trained.empty() || objective.trains.empty(),
                         fmt::format("it trains `{}`, and there is no trained tensor of that path", objective.trains));
            if (trained.empty() || found.broken()) continue;
            found.expect(objective.value.requires_grad(), "what is minimised has no gradient");
            if (found.broken()) return;
            for (const auto& named : trained) named.tensor->mutable_grad() = Tensor();
            std::vector<Tensor> inputs;
            for (const auto& named : trained) inputs.push_back(*named.tensor);
            objective.value.sum().backward({}, /*retain_graph=*/true, /*create_graph=*/false, at::TensorList(inputs));
            for (const auto& named : trained) {
                const auto& g = named.tensor->grad();
                if (!g.defined()) continue;
                found.expect(at::isfinite(g).all().item<bool>(), "the gradient of " + named.name + " is no number");
                reached.insert(named.name);  // it may be 0, as of a number that differences lose
                of_network = of_network || (named.name.starts_with("model.") && g.abs().max().item<double>() > 0);
            }
        }
        found.expect(of_network, "no gradient reaches the network");
        for (const auto& named : all)
            if (named.trained && named.name.starts_with("loss."))
                found.expect(reached.contains(named.name), "no gradient reaches its own " + named.name);
    });
}

/// What a network could add to the exact denoiser: functions of x_t, t and what that answers.
using Direction = Tensor (*)(const Tensor& x, const Tensor& u, const Tensor& answer);
constexpr std::pair<const char*, Direction> directions[] = {
    {"1", [](const Tensor& x, const Tensor&, const Tensor&) { return at::ones_like(x); }},
    {"x_t", [](const Tensor& x, const Tensor&, const Tensor&) { return x; }},
    {"the same again", [](const Tensor&, const Tensor&, const Tensor& answer) { return answer; }},
    {"u·sin 2x_t", [](const Tensor& x, const Tensor& u, const Tensor&) { return u * at::sin(2 * x); }},
    {"(1 − u)·cos 3x_t", [](const Tensor& x, const Tensor& u, const Tensor&) { return (1 - u) * at::cos(3 * x); }},
    {"x_t turned", [](const Tensor& x, const Tensor&, const Tensor&) { return x.flip(1); }}};

/// A loss of a batch of examples whose exact denoiser is known.
struct Known {
    std::shared_ptr<Loss> loss;
    std::shared_ptr<Process> process;
    std::shared_ptr<Model> truth;
    bool variance;  ///< does the network answer one?
    Batch batch;
    Time t;

    /// θ of each row times a direction is added to what the exact denoiser answers. It is that of all classes, and told
    /// none.
    std::vector<Objective> with_added(Direction direction, const Tensor& theta) const {
        const Denoiser moved(process, [&](const Tensor& x, const Time& t, const Condition&) {
            auto answer = truth->forward(x, t, {});
            std::vector<std::int64_t> beside(static_cast<std::size_t>(x.dim()), 1);
            beside[0] = x.size(0);
            const auto u = (t.on(x) + 1) / static_cast<double>(process->steps());
            answer.value = answer.value + theta.view(beside) * direction(x, u.view(beside), answer.value);
            if (variance) answer.variance = at::full_like(x, 0.1);
            return answer;
        });
        return (*loss)(moved, batch, t, numbers).objectives;
    }
};

/// Null, and why, where nobody knows what the loss is least for.
std::optional<Known> known(const Trial& trial, const Bench& given, Findings& found) {
    const auto unknown = [&](const char* why) {
        found.not_asked(why);
        return std::nullopt;
    };
    const auto type = given.network->predicts();
    if (type == PredictionType::label || type == PredictionType::logits || !given.data->density() ||
        !dynamic_cast<const GaussianProcess*>(given.chain.get()))
        return unknown("what a network would have to know there is not known");
    const auto* told_end = dynamic_cast<const ToldEnd*>(given.network.get());
    if (told_end && told_end->knows_end()) return unknown("the network is told two times");
    // Few steps, so that what they weigh does not differ by much.
    Watched bench(given);
    try {
        bench = Watched(trial.under(given, "steps = 50"));
        bench.network = given.network;
    } catch (const Error&) {  // a process of another's that is told otherwise
    }
    std::shared_ptr<Loss> loss;
    try {
        loss = trial.make<Loss>(bench);
    } catch (const Error&) {
        if (!bench.asked_for_a_teacher) throw;
    }
    if (bench.asked_for_a_teacher) return unknown("it learns from a trained network");
    if (!loss->draws_times()) return unknown("it stands for no time of its own");
    constexpr std::int64_t n = 16000;
    auto batch = examples(bench, n, at::kDouble);
    const Time t = spread(bench, n);
    const bool variance = given.network->forward(batch.x, t, batch.condition).variance.has_value();
    try {
        const auto part = part_of(examples(bench, 8, at::kDouble), 0, 4);
        (*loss)(denoiser(bench, part, numbers), part, spread(bench, 4), numbers);
    } catch (const Error&) {
        return unknown("its examples are looked at together");
    }
    return Known{loss, bench.chain, exact(given.data, bench.chain, type), variance, std::move(batch), t};
}

/// The slopes of each row along θ that the gradient says, and the values at θ = −h, 0, h and 2h.
struct Along {
    Tensor slope;
    std::vector<Tensor> values;
    std::optional<PredictionType> error_of;
    /// Does no square of θ differ from it?
    bool is_square() const {
        const auto third = values[3] - 3 * values[2] + 3 * values[1] - values[0];
        return third.abs().max().item<double>() <= 1e-6 * size();
    }
    /// Is the gradient that of the values? Of what holds a part of itself fixed it is not.
    bool is_slope(double h, double bend) const {
        const auto off = values[2] - values[0] - 2 * h * slope;
        return off.abs().mean().item<double>() <= bend * ((values[2] - values[0]).abs().mean().item<double>() + 1e-12);
    }
    double size() const {
        return (values[2] - values[1]).abs().max().item<double>() + values[1].abs().max().item<double>();
    }
};

/// Calls look(direction's name, along) for every objective that moves with what the network answers.
template <class Look>
void for_directions(const Known& known, double h, const Look& look) {
    const auto n = known.batch.x.size(0);
    for (const auto& [name, direction] : directions) {
        const auto theta = at::zeros({n}, at::kDouble).set_requires_grad(true);
        const auto here = known.with_added(direction, theta);
        std::vector<std::vector<Objective>> elsewhere;
        for (const double at : {-h, 0.0, h, 2 * h}) {
            at::NoGradGuard no_grad;
            elsewhere.push_back(known.with_added(direction, at::full({n}, at, at::kDouble)));
        }
        for (std::size_t i = 0; i < here.size(); ++i) {
            if (!here[i].value.requires_grad()) continue;
            theta.mutable_grad() = Tensor();
            here[i].value.sum().backward({}, /*retain_graph=*/true, /*create_graph=*/false, at::TensorList({theta}));
            Along along{
                theta.grad().defined() ? theta.grad().clone() : at::zeros({n}, at::kDouble), {}, here[i].error_of};
            for (const auto& values : elsewhere) along.values.push_back(values[i].value.to(at::kDouble));
            if (!same_bits(along.values[0], along.values[1])) look(name, along);
        }
    }
}

/// The mean slope is 0 at all times together and in parts of them.
void is_least(const Known& known, const std::string& name, const Along& along, Findings& found) {
    const auto u = (known.t.rows(0) + 1) / static_cast<double>(known.process->steps());
    for (const auto& [from, to] : {std::pair{0.0, 1.0}, {0.0, 0.05}, {0.05, 0.15}, {0.15, 0.4}, {0.4, 1.0}}) {
        const auto some = along.slope.index({(u > from).logical_and(u <= to)});
        const double error = some.std().item<double>() / std::sqrt(static_cast<double>(some.numel()));
        found.at_most(
            std::abs(some.mean().item<double>()), 4.5 * error,
            fmt::format(
                "|slope| at the exact denoiser of the mean over u = {} … {}, where {} is added to what it answers",
                from, to, name));
    }
    found.expect((along.values[2] + along.values[0] - 2 * along.values[1]).mean().item<double>() > 0,
                 "it is greatest at the exact denoiser");
}

void least_at_the_exact_denoiser(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Bench& bench) {
        const auto of = known(trial, bench, found);
        if (!of) return;
        for_directions(*of, 1, [&](const std::string& name, const Along& along) {
            if (along.is_square() && along.is_slope(1, 1e-6)) is_least(*of, name, along, found);
        });
        found.not_asked("it is no square of what the network answers: its least value is elsewhere");
    });
}

/// How a number that is added to all that the network answers counts tells which error it is.
void error_that_it_says(const Trial& trial, Findings& found) {
    for_benches(trial, found, [&](const Bench& bench) {
        const auto of = known(trial, bench, found);
        if (!of) return;
        const auto& process = gaussian(*of->process, "this law");
        const auto size = [&](PredictionType type) {
            return of->t
                .map([&](double t) { return error_per_x0(process.levels(), t, name_of(type), process.data_sd()); })
                .rows(of->batch.x);
        };
        for_directions(*of, 1, [&](const std::string& name, const Along& along) {
            if (name != "1" || !along.error_of || !along.is_square() || !along.is_slope(1, 1e-6)) return;
            const auto bend = 0.5 * (along.values[2] + along.values[0] - 2 * along.values[1]);
            const auto share = bend * size(bench.network->predicts()) / size(*along.error_of);
            found.at_most((share.max() / share.min() - 1).item<double>(), 1e-3,
                          fmt::format("largest over smallest share − 1 of the squared error of {} in what says that it "
                                      "is that",
                                      name_of(*along.error_of)));
        });
        found.not_asked("it says of no square which error it is");
    });
}

/// Where the data are normal so is x_0 given x_t, whose mean is the middle of it by any distance.
void least_where_data_are_normal(const Trial& trial, Findings& found) {
    for (const auto& given : trial.benches()) {
        if (!given.network || given.space().shape.size() != 1 || !given.data->density()) continue;
        auto bench = given;
        bench.name = "normal numbers";
        bench.data = normal(given.space().shape, 0.4, 0.7, given.space().classes);
        const Within within(found, bench.name);
        const auto of = known(trial, bench, found);
        if (!of) continue;
        for_directions(*of, 1e-3, [&](const std::string& name, const Along& along) {
            if (along.is_slope(1e-3, 0.05)) is_least(*of, name, along, found);
        });
    }
    found.not_asked("its gradient is not that of its value, or its data are others");
}

}  // namespace

const std::vector<Law> loss_laws{
    {"it has one finite number for each example, and the same values to log at each step", one_number_each},
    {"it is finite at both ends of the times, and its gradient", finite_at_the_ends},
    {"the same random numbers make the same values, those of another step or row others", of_its_numbers_alone},
    {"a batch in parts has the values of the whole", in_parts},
    {"it writes into nothing that it is given", writes_nothing},
    {"the network is told the condition of the batch", condition_is_told},
    {"it depends on the drawn times, or says that it stands for none", looks_at_times_it_stands_for},
    {"gradients reach the network and all that the loss owns, and what it trains exists", trains_what_there_is},
    {"what says that it is the squared error of a type is so at every time, but for a factor", error_that_it_says},
    {"a square of what the network answers is least at the exact denoiser", least_at_the_exact_denoiser},
    {"of normal data, any distance is least at the exact denoiser", least_where_data_are_normal},
    stays_on_its_device(),
};

}  // namespace dtk::laws
