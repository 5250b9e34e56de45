// Laws of optimisers: where a step goes, what it leaves alone, and that a checkpoint holds all that they remember.
#include <algorithm>
#include <cmath>

#include <dtk/optimizer.hpp>

#include "laws/bench.hpp"
#include "laws/law.hpp"

namespace dtk::laws {

namespace {

const Random numbers(5, "parameters");

/// With its defaults, and with options that such have.
constexpr const char* variants[] = {"",
                                    "weight_decay = 0.1",
                                    "nesterov = true",
                                    "momentum = 0.0",
                                    "amsgrad = true",
                                    "centered = true",
                                    "rest = [\"c.\"]\nprecision = \"bf16\""};

/// Two matrices of one shape, a kernel in the layout of images, a bias, and a number, from the same numbers each time.
Parameters parameters(at::ScalarType type) {
    Parameters all;
    const std::vector<std::pair<std::string, std::vector<std::int64_t>>> sizes{{"model.a.weight", {3, 5}},
                                                                               {"model.b.weight", {4, 2, 3, 3}},
                                                                               {"model.c.weight", {3, 5}},
                                                                               {"model.d.bias", {4}},
                                                                               {"loss.scale", {}}};
    for (const auto& [name, size] : sizes) {
        auto value = numbers.stream(name).normal(size.empty() ? std::vector<std::int64_t>{1} : size, at::kDouble);
        value = value.view(size).to(type);
        if (size.size() == 4) value = value.contiguous(at::MemoryFormat::ChannelsLast);
        all.names.push_back(name);
        all.tensors.push_back(value.clone().set_requires_grad(true));
        all.decays.push_back(size.size() >= 2);
    }
    return all;
}

Tensor scalar(double value) { return at::full({}, value, at::kFloat); }

void set_gradients(const Parameters& all, std::int64_t step) {
    for (std::size_t i = 0; i < all.tensors.size(); ++i) {
        const auto& p = all.tensors[i];
        const auto g = numbers.stream("g " + all.names[i])
                           .step(step)
                           .normal(p.sizes().empty() ? at::IntArrayRef{1} : p.sizes(), at::kDouble);
        all.tensors[i].mutable_grad() = at::empty_like(p.detach()).copy_(g.view(p.sizes()));
    }
}

void make_step(Optimizer& optimizer, const Parameters& all, std::int64_t step) {
    at::NoGradGuard no_grad;
    set_gradients(all, step);
    optimizer.step(scalar(1.0 / static_cast<double>(8 << step % 3)), scalar(0));
}

std::vector<Tensor> copies(const std::vector<Tensor>& tensors) {
    std::vector<Tensor> all;
    for (const auto& tensor : tensors) all.push_back(tensor.detach().clone());
    return all;
}

NamedTensors copies(const NamedTensors& state) {
    NamedTensors all;
    for (const auto& [name, tensor] : state) all.emplace(name, tensor.detach().clone());
    return all;
}

bool same(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), same_bits);
}

bool same(const NamedTensors& a, const NamedTensors& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const auto& x, const auto& y) { return x.first == y.first && same_bits(x.second, y.second); });
}

double far(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
    double worst = 0;
    for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, distance(a[i].detach(), b[i].detach()));
    return worst;
}

/// Calls look(make, type) for every variant that there is, in both types.
template <class Look>
void for_variants(const Trial& trial, Findings& found, const Look& look) {
    const auto& bench = trial.benches().front();
    for (const std::string fields : variants) {
        if (!fields.empty() && !trial.tried<Optimizer>(bench, fields)) continue;
        for (const auto type : {at::kFloat, at::kDouble}) {
            const Within within(found, fmt::format("{}{}", type == at::kFloat ? "float32" : "float64",
                                                   fields.empty() ? "" : ", " + fields));
            look([&] { return trial.make<Optimizer>(bench, fields); }, type);
        }
    }
}

void begins_downhill(const Trial& trial, Findings& found) {
    for_variants(trial, found, [&](const auto& make, at::ScalarType type) {
        const auto all = parameters(type);
        const auto before = copies(all.tensors);
        const auto optimizer = make();
        optimizer->begin(all);
        at::NoGradGuard no_grad;
        set_gradients(all, 0);
        // A decay pulls to 0: then its own share would count, too.
        for (std::size_t i = 0; i < all.tensors.size(); ++i)
            if (all.decays[i]) all.tensors[i].mutable_grad().mul_(100);
        std::vector<Tensor> g;
        for (const auto& p : all.tensors) g.push_back(p.grad().clone());
        optimizer->step(scalar(1e-3), scalar(0));
        for (std::size_t i = 0; i < all.tensors.size(); ++i) {
            const auto moved = all.tensors[i].detach() - before[i];
            const double slope = (moved * g[i]).sum().template item<double>();
            found.expect(at::isfinite(moved).all().item<bool>(), all.names[i] + " is no number after a step");
            found.expect(slope < 0,
                         fmt::format("Δθ·g = {:.3g} of {}: the first step does not go down", slope, all.names[i]));
        }
    });
}

void moves_alone(const Trial& trial, Findings& found) {
    for_variants(trial, found, [&](const auto& make, at::ScalarType type) {
        const auto all = parameters(type);
        for (std::size_t i = 0; i < all.tensors.size(); ++i) {
            const Parameters one{{all.names[i]}, {all.tensors[i]}, {all.decays[i]}};
            const auto before = copies(one.tensors);
            const auto optimizer = make();
            optimizer->begin(one);
            for (std::int64_t step = 0; step < 2; ++step) make_step(*optimizer, one, step);
            const auto again = make();
            again->begin(one);
            again->restore(copies(optimizer->state()));
            found.expect(!same(copies(one.tensors), before), all.names[i] + " alone does not move");
            found.expect(at::isfinite(one.tensors[0]).all().template item<bool>(),
                         all.names[i] + " alone is no number");
        }
    });
}

void comes_to_the_bottom(const Trial& trial, Findings& found) {
    for_variants(trial, found, [&](const auto& make, at::ScalarType type) {
        // At 0, where a decay has its minimum, too.
        const auto all = parameters(type);
        const auto optimizer = make();
        optimizer->begin(all);
        at::NoGradGuard no_grad;
        const auto farthest = [&] {
            double worst = 0;
            for (const auto& p : all.tensors) worst = std::max(worst, distance(p.detach(), at::zeros_like(p.detach())));
            return worst;
        };
        for (const double rate : {0.1, 0.01}) {
            for (int i = 0; i < 120; ++i) {
                for (const auto& p : all.tensors) p.mutable_grad() = p.detach().clone();
                optimizer->step(scalar(rate), scalar(0));
            }
            found.at_most(farthest(), 10 * rate,
                          fmt::format("|θ| after 120 steps down ½θ² at the learning rate {}", rate));
        }
    });
}

void skips(const Trial& trial, Findings& found) {
    for_variants(trial, found, [&](const auto& make, at::ScalarType type) {
        const auto all = parameters(type), straight = parameters(type);
        const auto optimizer = make(), other = make();
        optimizer->begin(all);
        other->begin(straight);
        for (std::int64_t step = 0; step < 3; ++step)
            make_step(*optimizer, all, step), make_step(*other, straight, step);
        const auto values = copies(all.tensors);
        const auto state = copies(optimizer->state());
        for (const double bad : {std::nan(""), double{INFINITY}, 1.0}) {
            at::NoGradGuard no_grad;
            set_gradients(all, 7);
            for (const auto& p : all.tensors) p.mutable_grad().view_as(p).fill_(bad);
            optimizer->step(scalar(0.1), scalar(1));
            found.expect(same(copies(all.tensors), values),
                         fmt::format("a step that is skipped moves the parameters, gradients {}", bad));
            found.expect(same(optimizer->state(), state),
                         fmt::format("a step that is skipped changes the state, gradients {}", bad));
        }
        make_step(*optimizer, all, 3), make_step(*other, straight, 3);
        found.expect(same(copies(all.tensors), copies(straight.tensors)),
                     "after skipped steps it goes on otherwise than without them");
        found.expect(!same(copies(all.tensors), values), "a step that is not skipped moves nothing");
    });
}

void goes_on(const Trial& trial, Findings& found) {
    for_variants(trial, found, [&](const auto& make, at::ScalarType type) {
        const auto all = parameters(type);
        const auto optimizer = make();
        optimizer->begin(all);
        for (std::int64_t step = 0; step < 3; ++step) make_step(*optimizer, all, step);
        auto resumed = parameters(type);
        resumed.tensors = copies(all.tensors);
        for (auto& tensor : resumed.tensors) tensor.set_requires_grad(true);
        const auto second = make();
        second->begin(resumed);
        auto kept = copies(optimizer->state());
        second->restore(kept);
        for (std::int64_t step = 3; step < 6; ++step)
            make_step(*optimizer, all, step), make_step(*second, resumed, step);
        found.expect(same(copies(all.tensors), copies(resumed.tensors)),
                     "restored from its state it goes on otherwise: something is not in its state");
        found.expect(same(optimizer->state(), second->state()),
                     "restored from its state it has another state after three steps");
        for (const auto& [name, tensor] : optimizer->state()) {
            found.expect(!tensor.requires_grad(), fmt::format("the state `{}` wants a gradient", name));
            auto torn = copies(optimizer->state());
            torn.erase(name);
            try {
                make_step(*second, resumed, 6);
                second->restore(torn);
                found.expect(false, fmt::format("it goes on from a state without `{}`", name));
            } catch (const Error& error) {
                found.expect(std::string(error.what()).find(name) != std::string::npos,
                             fmt::format("it does not name `{}`, which its state lacks: {}", name, error.what()));
            }
        }
    });
}

void stays_without_gradients(const Trial& trial, Findings& found) {
    for_variants(trial, found, [&](const auto& make, at::ScalarType type) {
        for (const bool defined : {true, false}) {
            auto all = parameters(type);
            all.decays[2] = false;
            const auto before = copies(all.tensors);
            const auto optimizer = make();
            optimizer->begin(all);
            at::NoGradGuard no_grad;
            for (int i = 0; i < 3; ++i) {
                if (defined)
                    for (const auto& p : all.tensors) p.mutable_grad() = at::zeros_like(p.detach());
                optimizer->step(scalar(0.01), scalar(0));
            }
            for (std::size_t i = 0; i < before.size(); ++i) {
                const auto moved = all.tensors[i].detach() - before[i];
                const auto place = fmt::format("{}, whose gradient is {}", all.names[i], defined ? "0" : "not there");
                if (!all.decays[i])
                    found.expect(same_bits(all.tensors[i].detach(), before[i]),
                                 fmt::format("{} and which does not decay, moves by {:.3g}", place,
                                             moved.abs().max().item<double>()));
                else
                    found.expect((moved * before[i]).sum().item<double>() <= 0, place + ", grows: decay goes to 0");
            }
        }
    });
}

void decays(const Trial& trial, Findings& found) {
    const auto& bench = trial.benches().front();
    if (!trial.tried<Optimizer>(bench, "weight_decay = 0.5")) return found.not_asked("it has no `weight_decay`");
    const auto after = [&](const std::string& fields) {
        auto all = parameters(at::kDouble);
        all.decays[2] = false;
        const auto optimizer = trial.make<Optimizer>(bench, fields);
        optimizer->begin(all);
        for (std::int64_t step = 0; step < 3; ++step) make_step(*optimizer, all, step);
        return all;
    };
    const auto with = after("weight_decay = 0.5"), without = after("weight_decay = 0.0");
    for (std::size_t i = 0; i < with.tensors.size(); ++i) {
        const double off = distance(with.tensors[i].detach(), without.tensors[i].detach());
        if (with.decays[i])
            found.expect(off > 0, fmt::format("{} is a weight and does not decay", with.names[i]));
        else
            found.expect(off == 0,
                         fmt::format("{} decays and is none of those that do: |Δ| = {:.3g}", with.names[i], off));
    }
}

void stays_at_rate_zero(const Trial& trial, Findings& found) {
    for_variants(trial, found, [&](const auto& make, at::ScalarType type) {
        const auto all = parameters(type);
        const auto before = copies(all.tensors);
        const auto optimizer = make();
        optimizer->begin(all);
        at::NoGradGuard no_grad;
        for (std::int64_t step = 0; step < 3; ++step) {
            set_gradients(all, step);
            optimizer->step(scalar(0), scalar(0));
        }
        found.at_most(far(all.tensors, before), 0, "|Δθ| in three steps at the learning rate 0");
    });
}

/// Also the number of a parameter says nothing, nor its layout.
void any_order(const Trial& trial, Findings& found) {
    const auto& bench = trial.benches().front();
    for (const std::string fields : variants) {
        if (!fields.empty() && !trial.tried<Optimizer>(bench, fields)) continue;
        if (fields.find("bf16") != std::string::npos) continue;  // rounds as its kernels do
        const Within within(found, fields);
        const auto all = parameters(at::kDouble), other = parameters(at::kDouble);
        Parameters turned;
        for (std::size_t i = all.tensors.size(); i-- > 0;) {
            turned.names.push_back(other.names[i]);
            turned.tensors.push_back(other.tensors[i].detach().contiguous().clone().set_requires_grad(true));
            turned.decays.push_back(other.decays[i]);
        }
        const auto first = trial.make<Optimizer>(bench, fields), second = trial.make<Optimizer>(bench, fields);
        first->begin(all);
        second->begin(turned);
        for (std::int64_t step = 0; step < 4; ++step) make_step(*first, all, step), make_step(*second, turned, step);
        std::reverse(turned.tensors.begin(), turned.tensors.end());
        found.at_most(far(all.tensors, turned.tensors), 1e-10,
                      "|Δθ| where the parameters come in another order, and kernels in another layout");
    }
}

void same_twice(const Trial& trial, Findings& found) {
    for_variants(trial, found, [&](const auto& make, at::ScalarType type) {
        const auto all = parameters(type), others = parameters(type);
        const auto first = make(), second = make();
        first->begin(all);
        second->begin(others);
        at::NoGradGuard no_grad;
        for (std::int64_t step = 0; step < 3; ++step) {
            set_gradients(all, step);
            set_gradients(others, step);
            const auto rate = scalar(0.01), skip = scalar(0);
            first->step(rate, skip);
            second->step(rate, skip);
            found.expect(same_bits(rate, scalar(0.01)) && same_bits(skip, scalar(0)),
                         "it writes into the rate or into skip, which are the trainer's");
            for (std::size_t i = 0; i < all.tensors.size(); ++i) {
                const auto given = all.tensors[i].grad().clone();
                set_gradients(all, step);
                found.expect(same_bits(all.tensors[i].grad(), given), "it writes into the gradient of " + all.names[i]);
            }
        }
        found.expect(same(copies(all.tensors), copies(others.tensors)),
                     "another one of it moves the same parameters otherwise");
    });
}

}  // namespace

const std::vector<Law> optimizer_laws{
    {"the first step goes downhill, for every parameter", begins_downhill},
    {"a learning rate of 0 moves nothing", stays_at_rate_zero},
    {"a step that is skipped changes no bit, whatever the gradients are", skips},
    {"without a gradient nothing moves, but what decays goes to 0", stays_without_gradients},
    {"weights decay, and nothing else", decays},
    {"two of it do the same, and leave gradients, rate and skip as they were", same_twice},
    {"it goes on from its state to the bit, and says what a state lacks", goes_on},
    {"a matrix alone moves, a bias alone, and a number", moves_alone},
    {"neither the order of the parameters matters nor their layout", any_order},
    {"it comes to the bottom of a quadratic, nearer with a smaller step", comes_to_the_bottom},
};

}  // namespace dtk::laws
