// The diffusion of categories against Bayes' rule on matrices, against sums over every x_t of short sequences, and
// against what is exactly known of the heartbeat and of 4×4 grids: the bound of one token at a time is −log p.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numbers>
#include <set>

#include <dtk/categories.hpp>
#include <dtk/densities.hpp>

#include "catch.hpp"
#include "complaint.hpp"
#include "support.hpp"

using at::Tensor;
using dtk::PredictionType;
using support::distance;
using support::make;

namespace {

const dtk::Random stream(5, "categorical");
const std::vector<std::string> kernels{"absorbing", "uniform"};

/// Vectors of three elements that are each −1, 0 or 1, not as likely as one another nor independent.
struct Weighted final : dtk::Dataset {
    dtk::FiniteDensity law{at::tensor({-1.0, 0.0, 1.0, 0.0, 0.0, -1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 1.0}).view({4, 3}),
                           {0.4, 0.3, 0.2, 0.1}};
    std::vector<std::int64_t> shape() const override { return {3}; }
    std::int64_t size() const override { return 0; }
    dtk::Batch examples(const Tensor& index) const override {
        const auto weights = law.log_weights().exp().expand({index.numel(), 4});
        const auto u = stream.stream("data").samples(index).uniform({index.numel()}, at::kDouble);
        return {.x = law.atoms().index_select(0, dtk::category_at(weights, u)).to(at::kFloat)};
    }
    dtk::Batch test_examples(const Tensor& index) const override { return examples(index); }
    std::optional<std::pair<double, double>> range() const override { return std::pair{-1.0, 1.0}; }
    int levels() const override { return 3; }
    const dtk::Density* density() const override { return &law; }
};

/// Data, their process and the exact denoiser.
support::BuildContext chain(std::shared_ptr<dtk::Dataset> data, const std::string& kernel, std::int64_t T,
                            const std::string& more = {}) {
    support::BuildContext context;
    context.data = std::move(data);
    context.chain =
        make<dtk::Process>("categorical", fmt::format("kernel = \"{}\"\nsteps = {}\n{}", kernel, T, more), context);
    context.network = make<dtk::Model>("exact", "prediction = \"logits\"", context);
    return context;
}
support::BuildContext chain(const std::string& data, const std::string& kernel, std::int64_t T,
                            const std::string& more = {}, const std::string& data_fields = {}) {
    return chain(make<dtk::Dataset>(data, data_fields, support::BuildContext()), kernel, T, more);
}
support::BuildContext weighted(const std::string& kernel, std::int64_t T, const std::string& more = {}) {
    return chain(std::make_shared<Weighted>(), kernel, T, more);
}

const dtk::CategoricalProcess& process_of(const support::BuildContext& context) {
    return dtk::categorical(*context.chain, "the test");
}

/// Of one element: the chances of each state [from, to] over the steps s + 1 … t, a product of single steps.
Tensor forward(const support::BuildContext& context, std::int64_t t, std::int64_t s) {
    const auto& process = process_of(context);
    const auto S = process.states();
    auto pi = at::full({S}, process.masks() ? 0.0 : 1 / static_cast<double>(S), at::kDouble);
    if (process.masks()) pi[S - 1] = 1;
    auto all = at::eye(S, at::kDouble);
    for (auto i = s + 1; i <= t; ++i) {
        const double beta = process.levels().added_variance(i, i - 1);
        all = all.matmul((1 - beta) * at::eye(S, at::kDouble) + beta * pi);
    }
    return all;
}

/// q(x_s = j | x_t, x_0), [x_t, x_0, j]; nothing where x_0 cannot become x_t.
Tensor posterior(const support::BuildContext& context, std::int64_t t, std::int64_t s) {
    const auto to_s = forward(context, s, -1), on = forward(context, t, s);
    const auto joint = to_s.unsqueeze(0) * on.t().unsqueeze(1);  // [x_t, x_0, j]
    return (joint / joint.sum(2, true)).nan_to_num(0);
}

/// Every vector of d numbers below S, [S^d, d] int64
Tensor all_states(std::int64_t S, std::int64_t d) {
    std::int64_t n = 1;
    std::vector<std::int64_t> powers;
    for (std::int64_t i = 0; i < d; ++i, n *= S) powers.push_back(n);
    return at::arange(n).unsqueeze(1).floor_divide(at::tensor(powers)).remainder(S);
}

/// Π_i M[a_i, b_i]: M: [S, S], a: [n, d], b: [m, d] → [n, m]
Tensor chances(const Tensor& M, const Tensor& a, const Tensor& b) {
    auto all = at::ones({a.size(0), b.size(0)}, at::kDouble);
    for (std::int64_t i = 0; i < a.size(1); ++i)
        all = all * M.index_select(0, a.select(1, i)).index_select(1, b.select(1, i));
    return all;
}

/// P(x_0,i = k | x_t) of the data for every x_t: [n, d, K], by Bayes' rule over all vectors; 0 where no vector can
/// become that x_t.
Tensor clean_by_bayes(const support::BuildContext& context, std::int64_t t, const Tensor& xt) {
    const auto& law = dynamic_cast<const dtk::FiniteDensity&>(*context.data->density());
    const auto atoms = process_of(context).numbers(law.atoms());
    const auto joint = chances(forward(context, t, -1), atoms, xt).t() * law.log_weights().exp();
    const auto of_atoms = (joint / joint.sum(1, true)).nan_to_num(0);
    const auto one_hot = at::one_hot(atoms, process_of(context).categories()).to(at::kDouble);  // [N, d, K]
    return of_atoms.matmul(one_hot.flatten(1)).view({xt.size(0), xt.size(1), -1});
}

Tensor log_or_nothing(const Tensor& p) { return at::where(p > 0, p, 1).log(); }

/// The bound that steps with independent elements can reach at best, in nats: every expectation a sum over all x_t, and
/// every law from the matrices alone.
double best_bound(const support::BuildContext& context) {
    const auto& process = process_of(context);
    const auto& law = dynamic_cast<const dtk::FiniteDensity&>(*context.data->density());
    const auto atoms = process.numbers(law.atoms());
    const auto xt = all_states(process.states(), atoms.size(1));
    const auto weights = law.log_weights().exp();
    double nats = 0;
    for (std::int64_t t = 0; t < process.steps(); ++t) {
        const auto by = posterior(context, t, t - 1);  // [x_t, x_0, j]
        const auto clean = clean_by_bayes(context, t, xt);
        const auto q_t = chances(forward(context, t, -1), atoms, xt);  // [N, n]
        for (std::int64_t i = 0; i < xt.size(1); ++i) {
            const auto of_xt = by.index_select(0, xt.select(1, i)).slice(1, 0, process.categories());  // [n, x_0, j]
            const auto p = clean.select(1, i).unsqueeze(1).bmm(of_xt).squeeze(1);                      // [n, j]
            for (std::int64_t a = 0; a < atoms.size(0); ++a) {
                const auto q = of_xt.select(1, atoms[a][i].item<std::int64_t>());
                const auto kl = (q * (log_or_nothing(q) - log_or_nothing(p))).sum(1);
                nats += (weights[a] * q_t[a] * kl).sum().item<double>();
            }
        }
    }
    const auto last = forward(context, process.steps() - 1, -1);
    auto prior = at::full({process.states()}, 1 / static_cast<double>(process.states()), at::kDouble);
    for (std::int64_t i = 0; !process.masks() && i < atoms.size(1); ++i)
        for (std::int64_t a = 0; a < atoms.size(0); ++a) {
            const auto q = last[atoms[a][i].item<std::int64_t>()];
            nats += (weights[a] * (q * (log_or_nothing(q) - prior.log())).sum()).item<double>();
        }
    return nats;
}

/// The same from the process's own terms and the exact denoiser.
double bound_of_terms(const support::BuildContext& context) {
    const auto& process = process_of(context);
    const auto& law = dynamic_cast<const dtk::FiniteDensity&>(*context.data->density());
    const auto atoms = process.numbers(law.atoms()), states = all_states(process.states(), atoms.size(1));
    const auto xt = process.values(states, at::kDouble);
    double nats = (law.log_weights().exp() * context.chain->prior_term(law.atoms())).sum().item<double>();
    for (std::int64_t t = 0; t < process.steps(); ++t) {
        const auto time = static_cast<double>(t);
        const auto q_t = chances(forward(context, t, -1), atoms, states);
        const auto prediction = context.network->forward(xt, time, {});
        for (std::int64_t a = 0; a < atoms.size(0); ++a) {
            const auto x0 = law.atoms().slice(0, a, a + 1).expand_as(xt);
            const auto term = context.chain->bound_term(x0, xt, time, time - 1, prediction, "small");
            // What x_0 cannot become counts nothing.
            nats += (law.log_weights()[a].exp() * at::where(q_t[a] > 0, q_t[a] * term, 0)).sum().item<double>();
        }
    }
    return nats;
}

/// Every token drawn by the sampler, and every state on the way.
struct Sampled {
    Tensor samples;
    std::vector<Tensor> states;
};
Sampled sampled(const support::BuildContext& context, const std::string& name, const std::string& fields,
                std::int64_t n, const dtk::Denoiser& denoise, at::ScalarType type = at::kFloat) {
    at::NoGradGuard no_grad;
    const auto sampler = make<dtk::Sampler>(name, fields, context);
    const auto times = sampler->times(*context.chain);
    auto sizes = context.data->shape();
    sizes.insert(sizes.begin(), n);
    Sampled result{{}, {context.chain->prior(sizes, type, stream.stream("prior"), times.front())}};
    result.samples = sampler->sample(denoise, times, result.states.front(), stream.stream(name),
                                     [&](std::int64_t, const Tensor& x) { result.states.push_back(x); });
    return result;
}
Sampled sampled(const support::BuildContext& context, const std::string& name, const std::string& fields,
                std::int64_t n) {
    return sampled(context, name, fields, n, support::denoiser(context));
}

double valid_share(const support::BuildContext& context, const Tensor& samples) {
    return at::isfinite(context.data->density()->log_prob(samples.to(at::kDouble)))
        .to(at::kDouble)
        .mean()
        .item<double>();
}

/// A network that says the same of every token: [K] log-odds.
dtk::Denoiser always(const support::BuildContext& context, const Tensor& logits) {
    return {context.chain, [logits](const Tensor& x, const dtk::Time&, const dtk::Condition&) {
                auto sizes = x.sizes().vec();
                sizes.push_back(logits.size(0));
                return dtk::Prediction{PredictionType::logits, logits.to(x.scalar_type()).expand(sizes), {}};
            }};
}

/// χ² of counts against what is expected.
double chi2(const Tensor& counts, const Tensor& expected) {
    return ((counts - expected).square() / expected).sum().item<double>();
}

}  // namespace

// ---- Draws

TEST_CASE("a category is drawn where u lies, to the last digits of float64, and never one of weight 0") {
    const std::int64_t n = 1000;
    const auto u = stream.stream("u").uniform({n}, at::kDouble);
    // The second category is all that lies within 1e-12 of u: no draw in float32 would find it.
    const auto weights = at::stack({u - 1e-12, at::full({n}, 2e-12, at::kDouble), 1 - u - 1e-12}, 1);
    CHECK(at::equal(dtk::category_at(weights, u), at::ones({n}, at::kLong)));
    CHECK(at::equal(dtk::category_at(17 * weights, u), at::ones({n}, at::kLong)));

    const auto sparse = at::tensor({0.0, 0.3, 0.0, 0.7, 0.0}, at::kDouble).expand({n, 5});
    const auto drawn = dtk::category_at(sparse, u);
    CHECK(((drawn == 1) | (drawn == 3)).all().item<bool>());
    const auto ends = at::tensor({0.0, 1 - 0x1p-53}, at::kDouble);
    CHECK(at::equal(dtk::category_at(sparse.slice(0, 0, 2), ends), at::tensor({1, 3}, at::kLong)));
}

TEST_CASE("categories of probability 1e-5 are drawn as often as they should be") {
    const std::int64_t n = 2000000;
    auto q = at::tensor({1e-5, 0.4, 1e-5, 0.3, 1e-5, 0.3 - 4e-5, 1e-5}, at::kDouble);
    const auto drawn = dtk::category_at(q.expand({n, 7}), stream.stream("rare").uniform({n}, at::kDouble));
    CHECK(chi2(at::bincount(drawn, {}, 7).to(at::kDouble), q * n) < 22.5);  // the 99.9 % point of 6 degrees
}

TEST_CASE("samplers draw categories by numbers of float64, even of a float32 state") {
    at::NoGradGuard no_grad;
    const std::int64_t n = 500;
    const auto context = chain("latin", "absorbing", 1000);
    // All but one token show, and of that one the third category is all that lies within 1e-11 of u.
    auto x = context.data->examples(at::arange(n)).x;
    x.select(1, 6).fill_(4);
    const auto drawn_near = [&](const Tensor& u, const std::function<Tensor(const dtk::Denoiser&)>& sample) {
        const auto law = at::stack({u / 2, u / 2 - 1e-11, at::full({n}, 2e-11, at::kDouble), 1 - u - 1e-11}, 1);
        const dtk::Denoiser denoise(context.chain, [&](const Tensor& x, const dtk::Time&, const dtk::Condition&) {
            return dtk::Prediction{PredictionType::logits, law.log().unsqueeze(1).expand({n, x.size(1), 4}), {}};
        });
        return (sample(denoise).select(1, 6) == 2).all().item<bool>();
    };
    CHECK(drawn_near(stream.uniform({n, 16}, at::kDouble).select(1, 6), [&](const dtk::Denoiser& denoise) {
        return denoise.reverse_step(x, 500.0, -1.0, "small", stream);
    }));
    CHECK(drawn_near(stream.step(0).stream("token").uniform({n}, at::kDouble), [&](const dtk::Denoiser& denoise) {
        const auto sampler = make<dtk::Sampler>("first_hitting", "", context);
        return sampler->sample(denoise, sampler->times(*context.chain), x, stream);
    }));
}

TEST_CASE("rare tokens come through every sampler as often as they should") {
    const std::int64_t n = 10000;
    const auto p = at::tensor({1e-4, 0.5, 0.5 - 2e-4, 1e-4}, at::kDouble);
    for (const auto& [sampler, fields] : {std::pair("ddpm", "steps = 20"), {"first_hitting", ""}}) {
        const auto context = chain("latin", "absorbing", 1000);
        const auto samples = sampled(context, sampler, fields, n, always(context, p.log())).samples;
        const auto counts = at::bincount(samples.flatten().to(at::kLong), {}, 4).to(at::kDouble);
        INFO(sampler << ": χ²(3) = " << chi2(counts, p * (16 * n)));
        CHECK(chi2(counts, p * (16 * n)) < 16.3);
    }
}

TEST_CASE("noise is float64, whatever the state, and one number of it makes x_t at every time") {
    for (const auto& kernel : kernels) {
        const auto context = weighted(kernel, 10);
        const auto noise = context.chain->noise({6, 3}, at::kFloat, stream);
        CHECK(noise.scalar_type() == at::kDouble);
        const auto x0 = context.data->examples(at::arange(6)).x;
        auto changed = at::zeros({6, 3}, at::kBool);
        for (std::int64_t t = 0; t < 10; ++t) {
            const auto now = context.chain->mix(x0, noise, static_cast<double>(t)) != x0;
            if (kernel == "absorbing") CHECK((now | ~changed).all().item<bool>());  // what is masked stays so
            changed = now;
        }
    }
}

TEST_CASE("states are drawn as often as they must be") {
    const std::int64_t n = 30000, T = 7;
    for (const auto& kernel : kernels) {
        const auto context = weighted(kernel, T);
        const auto& process = process_of(context);
        const auto S = process.states();
        const auto often = [&](const Tensor& x, const Tensor& p) {
            const auto counts = at::bincount(process.numbers(x).flatten(), {}, S).to(at::kDouble);
            CHECK(((counts > 0) & (p == 0)).sum().item<std::int64_t>() == 0);
            const auto possible = p > 0;
            CHECK(chi2(counts.masked_select(possible), (p * n).masked_select(possible)) < 30);
        };
        auto pi = at::full({S}, 1 / static_cast<double>(S), at::kDouble);
        if (process.masks()) pi.zero_()[S - 1] = 1;
        often(process.prior({n, 1}, at::kFloat, stream, T - 1), pi);
        for (const std::int64_t t : {0, 3, 6})
            for (std::int64_t k = 0; k < 3; ++k) {
                INFO(kernel << ", t = " << t << ", category " << k);
                const auto x0 = process.values(at::full({n, 1}, k, at::kLong), at::kFloat);
                often(process.noised(x0, static_cast<double>(t), stream.step(10 * t + k)).x,
                      forward(context, t, -1)[k]);
                const auto clean = at::tensor({0.5, 0.2, 0.3}, at::kDouble);
                for (const std::int64_t s : {t - 1, t / 2 - 1})
                    for (std::int64_t seen = 0; seen < S; ++seen) {
                        auto law = posterior(context, t, s)[seen].slice(0, 0, 3);
                        law = process.masks() && seen < 3 ? law[seen] : clean.matmul(law);
                        if (law.sum().item<double>() == 0) continue;  // nothing shows at T
                        const auto xt = process.values(at::full({n, 1}, seen, at::kLong), at::kFloat);
                        const dtk::Prediction says{
                            PredictionType::logits, clean.log().to(at::kFloat).expand({n, 1, 3}), {}};
                        often(process.reverse_step(xt, says, static_cast<double>(t), static_cast<double>(s), "small",
                                                   stream.step(100 * t + 10 * seen + s + 1)),
                              law);
                    }
            }
    }
}

// ---- Bayes' rule

TEST_CASE("every term of the bound is what Bayes' rule gives, between any two times") {
    const auto clean = at::tensor({0.5, 0.2, 0.3}, at::kDouble);
    for (const auto& kernel : kernels)
        for (const char* schedule : {"\"linear_alpha_bar\"", "{use = \"zero_terminal_snr\", of = \"cosine\"}"}) {
            const std::int64_t T = 6;
            const auto context = weighted(kernel, T, fmt::format("schedule = {}", schedule));
            const auto& process = process_of(context);
            for (std::int64_t t = 0; t < T; ++t)
                for (std::int64_t s = -1; s < t; ++s) {
                    const auto by = posterior(context, t, s);
                    for (std::int64_t xt = 0; xt < process.states(); ++xt)
                        for (std::int64_t x0 = 0; x0 < 3; ++x0) {
                            if (forward(context, t, -1)[x0][xt].item<double>() == 0) continue;
                            const bool shows = process.masks() && xt < 3;
                            const auto q = by[xt][x0], p = shows ? by[xt][xt] : clean.matmul(by[xt].slice(0, 0, 3));
                            const double expected = (q * (log_or_nothing(q) - log_or_nothing(p))).sum().item<double>();
                            const auto value = [&](std::int64_t number) {
                                return process.values(at::full({1, 1}, number, at::kLong), at::kDouble);
                            };
                            const auto term = process.bound_term(
                                value(x0), value(xt), static_cast<double>(t), static_cast<double>(s),
                                {PredictionType::logits, clean.log().view({1, 1, 3}) + 5, {}}, "small");
                            INFO(kernel << ", t = " << t << ", s = " << s << ", x_t = " << xt << ", x_0 = " << x0);
                            CHECK(term.item<double>() == Approx(expected).margin(1e-12));
                            CHECK(expected > -1e-13);
                        }
                }
            for (std::int64_t x0 = 0; x0 < 3; ++x0) {
                const auto q = forward(context, T - 1, -1)[x0];
                const auto x = process.values(at::full({1, 1}, x0, at::kLong), at::kDouble);
                const double prior = process.masks() ? 0 : (q * (log_or_nothing(q) + std::log(3))).sum().item<double>();
                CHECK(process.prior_term(x).item<double>() == Approx(prior).margin(1e-12));
            }
        }
}

TEST_CASE("uniform noise of two categories is that of bits with π = ½") {
    for (const char* schedule : {"linear_alpha_bar", "cosine"}) {
        const auto fields = fmt::format("schedule = \"{}\"", schedule);
        const auto context = chain("heartbeat", "uniform", 8, fields);
        auto bits = context;
        bits.chain = make<dtk::Process>("bernoulli", "steps = 8\n" + fields, context);
        bits.network = make<dtk::Model>("exact", "", bits);
        const auto x0 = context.data->examples(at::arange(50)).x.to(at::kDouble);
        CHECK(distance(context.chain->prior_term(x0), bits.chain->prior_term(x0)) < 1e-12);
        for (double t = 0; t <= 7; t += 0.5)
            for (const double s : {t - 1, t / 2 - 0.5}) {
                const auto xt = bits.chain->noised(x0, t, stream.step(static_cast<std::int64_t>(2 * t))).x;
                const auto term = [&](const support::BuildContext& of) {
                    return of.chain->bound_term(x0, xt, t, std::max(s, -1.0), of.network->forward(xt, t, {}), "small");
                };
                INFO(schedule << ", t = " << t << ", s = " << s);
                CHECK(distance(term(context), term(bits)) < 1e-9);
            }
    }
}

TEST_CASE("the exact denoiser of categories is Bayes' rule over all vectors") {
    for (const auto& kernel : kernels) {
        for (const auto& context : {weighted(kernel, 5), chain("heartbeat", kernel, 5, "", "length = 4\nperiod = 2")}) {
            const auto& process = process_of(context);
            const auto states = all_states(process.states(), context.data->shape()[0]);
            const auto xt = process.values(states, at::kDouble);
            for (std::int64_t t = 0; t < 5; ++t) {
                const auto expected = clean_by_bayes(context, t, states);
                const auto possible = expected.sum({1, 2}) > 0;
                const auto answer = context.network->forward(xt, static_cast<double>(t), {}).value.exp();
                CHECK(distance((answer - expected) * possible.view({-1, 1, 1}), at::zeros({1}, at::kDouble)) < 1e-12);
                CHECK(at::isfinite(answer).all().item<bool>());  // also where no vector goes with x_t
            }
        }
        const auto grids = chain("latin", kernel, 10);
        const auto x0 = grids.data->examples(at::arange(40)).x.to(at::kDouble);
        for (const std::int64_t t : {1, 4, 8}) {
            const auto xt = grids.chain->noised(x0, static_cast<double>(t), stream.step(t)).x;
            const auto answer = grids.network->forward(xt, static_cast<double>(t), {}).value.exp();
            CHECK(distance(answer, clean_by_bayes(grids, t, process_of(grids).numbers(xt))) < 1e-12);
        }
    }
}

// ---- The bound

TEST_CASE("masked tokens shown one by one, in any order: the exact denoiser's bound is −log p") {
    at::NoGradGuard no_grad;
    for (const auto& [data, atoms] : {std::pair("heartbeat", 5), {"latin", 288}}) {
        const auto context = chain(data, "absorbing", 1000);
        const auto& process = process_of(context);
        const auto x0 = context.data->examples(at::arange(20)).x.to(at::kDouble);
        const auto number = process.numbers(x0);
        const auto d = x0.size(1);
        for (std::int64_t order = 0; order < 5; ++order) {
            auto x = context.chain->prior(x0.sizes(), x0.options(), stream, 999);
            auto nats = at::zeros({20}, at::kDouble);
            for (std::int64_t i = 0; i < d; ++i) {
                const auto place = order == 0 ? i : dtk::permuted(i, d, 3, order);
                const auto log_p = process.log_clean(context.network->forward(x, 500.5, {}), x).select(1, place);
                nats = nats - log_p.gather(1, number.slice(1, place, place + 1)).squeeze(1);
                x.select(1, place).copy_(x0.select(1, place));
            }
            INFO(data << ", order " << order);
            CHECK(distance(nats, at::full({20}, std::log(atoms), at::kDouble)) < 1e-9);
        }
    }
}

TEST_CASE("over all sets of masked cells the cross entropy of a grid weighs up to log 288") {
    at::NoGradGuard no_grad;
    const auto context = chain("latin", "absorbing", 1000);
    const auto& process = process_of(context);
    const auto masked = all_states(2, 16);  // [2^16, 16]
    const auto size = masked.sum(1);
    std::vector<double> weight{0};  // ∫ m^{n−1} (1 − m)^{16−n} dm = 1/(n C(16, n))
    for (int n = 1; n <= 16; ++n) weight.push_back(std::tgamma(n) * std::tgamma(17 - n) / std::tgamma(17));
    const auto x0 = context.data->examples(at::arange(1)).x.to(at::kDouble);
    const auto number = process.numbers(x0);
    double nats = 0;
    for (std::int64_t first = 0; first < masked.size(0); first += 8192) {
        const auto here = masked.slice(0, first, first + 8192);
        const auto xt = process.values(at::where(here == 1, 4, number), at::kDouble);
        const auto log_p = process.log_clean(context.network->forward(xt, 500.0, {}), xt);
        const auto surprise = -log_p.gather(2, number.expand_as(here).unsqueeze(2)).sum({1, 2});
        nats +=
            (at::tensor(weight).index_select(0, size.slice(0, first, first + 8192)) * surprise).sum().item<double>();
    }
    CHECK(std::abs(nats - std::log(288)) < 1e-9);
}

TEST_CASE("in infinitely many steps the bound of the exact denoiser is the entropy, for every schedule and kernel") {
    at::NoGradGuard no_grad;
    for (const auto& kernel : kernels)
        for (const char* schedule : {"\"linear_alpha_bar\"", "{use = \"zero_terminal_snr\", of = \"cosine\"}"})
            for (const auto& context :
                 {weighted(kernel, 4, fmt::format("schedule = {}", schedule)),
                  chain("heartbeat", kernel, 4, fmt::format("schedule = {}", schedule), "length = 4\nperiod = 2")}) {
                const auto& process = process_of(context);
                const auto& law = dynamic_cast<const dtk::FiniteDensity&>(*context.data->density());
                const auto atoms = process.numbers(law.atoms()), states = all_states(process.states(), atoms.size(1));
                const auto xt = process.values(states, at::kDouble);
                // Panels that grow from u = 0 on, and end at the steps of the table.
                std::vector<double> edges;
                for (int k = 38; k >= 2; --k) edges.push_back(std::ldexp(1.0, -k));
                edges.insert(edges.end(), {0.375, 0.5, 0.625, 0.75, 0.875, 1.0});
                const auto nodes = dtk::gauss_legendre(edges);
                double nats = (law.log_weights().exp() * process.prior_term(law.atoms())).sum().item<double>();
                for (std::int64_t i = 0; i < nodes.at.numel(); ++i) {
                    const double t = nodes.at[i].item<double>() * 4 - 1, kept = process.levels().alpha_bar(t);
                    const auto S = process.states();
                    auto pi = at::full({S}, process.masks() ? 0.0 : 1 / static_cast<double>(S), at::kDouble);
                    if (process.masks()) pi[S - 1] = 1;
                    const auto q = chances(kept * at::eye(S, at::kDouble) + (1 - kept) * pi, atoms, states);
                    const auto prediction = context.network->forward(xt, t, {});
                    for (std::int64_t a = 0; a < atoms.size(0); ++a) {
                        const auto rate =
                            process.bound_rate(law.atoms().slice(0, a, a + 1).expand_as(xt), xt, t, prediction);
                        nats +=
                            (nodes.weight[i] * law.log_weights()[a].exp() * at::where(q[a] > 0, q[a] * rate, 0).sum())
                                .item<double>();
                    }
                }
                INFO(kernel << ", " << schedule << ": " << nats << ", entropy " << law.entropy());
                CHECK(std::abs(nats - law.entropy()) < 1e-9);
            }
}

TEST_CASE("in steps the bound of the exact denoiser is the best one that there is, and falls to the entropy") {
    for (const auto& kernel : kernels) {
        double before = 1e300;
        for (const std::int64_t T : {1, 2, 5, 20, 80}) {
            const auto context = weighted(kernel, T);
            const double best = best_bound(context), nats = bound_of_terms(context);
            INFO(kernel << ", T = " << T << ": " << nats << ", at best " << best);
            CHECK(std::abs(nats - best) < 1e-9);
            CHECK(best < before);
            CHECK(best > context.data->density()->entropy());
            before = best;
        }
        CHECK(before < 1.05 * weighted(kernel, 1).data->density()->entropy());
    }
    // One step shows all 16 cells at once, each a number of four: 2 bits.
    const auto context = chain("latin", "absorbing", 1);
    const auto m = make<dtk::Metric>("bits_per_dim", "n = 50", context)->evaluate(support::input(context, {}), stream);
    CHECK(m.value == Approx(2).epsilon(1e-6));  // float32
}

TEST_CASE("losses and metrics estimate the bound that they name, with the error they state") {
    at::NoGradGuard no_grad;
    for (const auto& kernel : kernels) {
        const std::int64_t n = 4000, T = 10;
        const auto context = weighted(kernel, T);
        const double best = best_bound(context), entropy = context.data->density()->entropy();
        const auto data = context.data->examples(at::arange(n));
        const auto estimates = [&](const char* name, const char* fields, double expected) {
            const auto loss = make<dtk::Loss>(name, fields, context);
            const auto nats = support::loss_of(*loss, support::denoiser(context), data, stream, "stratified", context)
                                  .to(at::kDouble);
            const double mean = nats.mean().item<double>(), error = nats.std().item<double>() / std::sqrt(n);
            INFO(kernel << ", " << name << " " << fields << ": " << mean << " ± " << error << ", exact " << expected);
            CHECK(std::abs(mean - expected) < 4 * error);
            CHECK(error < 0.1);
        };
        estimates("elbo", "", best);
        estimates("elbo", "every_step = true", best);
        estimates("continuous_elbo", "", entropy);
        for (const char* name : {"bits_per_dim", "bound"}) {
            const auto m =
                make<dtk::Metric>(name, std::string(name) == "bound" ? "examples = 2000" : "n = 20000", context)
                    ->evaluate(support::input(context, {}), stream);
            const double value = std::string(name) == "bound" ? -m.value : 3 * m.value;  // bits of an example
            const double error = m.standard_error * (std::string(name) == "bound" ? 1 : 3);
            INFO(kernel << ", " << name << ": " << value << " ± " << error << ", " << m.note);
            CHECK(std::abs(value - best / std::numbers::ln2) < 4 * error);
            CHECK(error < 0.05);
        }
    }
}

TEST_CASE("real times go into the bound of infinitely many steps as they are, whole ones as their step") {
    at::NoGradGuard no_grad;
    const auto context = weighted("absorbing", 5);
    const auto loss = make<dtk::Loss>("continuous_elbo", "", context);
    const auto data = context.data->examples(at::arange(400));
    for (const double t : {0.0, 3.0, 1.25}) {
        Tensor seen;
        const dtk::Denoiser denoise(context.chain, [&](const Tensor& x, const dtk::Time& t, const dtk::Condition& c) {
            seen = t.rows(x.size(0));
            return context.network->forward(x, t, c);
        });
        (*loss)(denoise, data, t, stream);
        const bool whole = t == std::floor(t);
        CHECK(seen.max().item<double>() <= t);
        CHECK(seen.min().item<double>() > (whole ? t - 1 : t - 1e-12));
        CHECK((seen.max() - seen.min()).item<double>() > (whole ? 0.9 : -1));
    }
}

// ---- Samplers

TEST_CASE("samples of the exact denoiser have the law that the product of its kernels gives") {
    at::NoGradGuard no_grad;
    const std::int64_t n = 40000;
    for (const auto& kernel : kernels) {
        const std::int64_t T = 4;
        const auto context = weighted(kernel, T);
        const auto& process = process_of(context);
        const auto S = process.states();
        const auto states = all_states(S, 3);
        auto pi = at::full({S}, 1 / static_cast<double>(S), at::kDouble);
        if (process.masks()) pi.zero_()[S - 1] = 1;
        auto law = chances(pi.expand({S, S}), states.slice(0, 0, 1), states).squeeze(0);
        for (auto t = T - 1; t >= 0; --t) {
            const auto by = posterior(context, t, t - 1);
            // What no vector goes with, the denoiser takes for those with the fewest differences.
            const auto clean =
                context.network->forward(process.values(states, at::kDouble), static_cast<double>(t), {}).value.exp();
            auto kernel_t = at::ones({states.size(0), states.size(0)}, at::kDouble);
            for (std::int64_t i = 0; i < 3; ++i) {
                const auto seen = states.select(1, i);
                const auto of_xt = by.index_select(0, seen).slice(1, 0, 3);
                auto p = clean.select(1, i).unsqueeze(1).bmm(of_xt).squeeze(1);
                if (process.masks()) p = at::where((seen < 3).unsqueeze(1), at::one_hot(seen, S).to(at::kDouble), p);
                kernel_t = kernel_t * p.index_select(1, seen);
            }
            law = law.matmul(kernel_t);
        }
        CHECK(law.sum().item<double>() == Approx(1).epsilon(1e-12));
        const auto samples = sampled(context, "ddpm", "", n).samples;
        const auto number = (process.numbers(samples) * at::tensor({1L, S, S * S})).sum(1);
        const auto counts = at::bincount(number, {}, states.size(0)).to(at::kDouble);
        const auto possible = law > 1e-12;
        CHECK(counts.masked_select(~possible).sum().item<double>() == 0);
        const auto seen = counts.masked_select(possible), expected = law.masked_select(possible) * n;
        const double df = static_cast<double>(expected.numel()) - 1;
        INFO(kernel << ": χ²(" << df << ") = " << chi2(seen, expected));
        CHECK(chi2(seen, expected) < df + 4 * std::sqrt(2 * df) + 4);
    }
}

TEST_CASE("tokens that show stay as they are, and at the end none is masked") {
    for (const auto& [sampler, fields] : std::vector<std::pair<const char*, const char*>>{
             {"ddpm", "steps = 7"}, {"first_hitting", ""}, {"first_hitting", "steps = 5"}}) {
        const auto context = chain("latin", "absorbing", 1000);
        // Of a network that is sure of nothing, far from 0
        const auto [samples, states] =
            sampled(context, sampler, fields, 500, always(context, at::tensor({-300.0, -299.0, -300.0, -301.0})));
        for (std::size_t i = 1; i < states.size(); ++i) {
            const auto before = states[i - 1], after = states[i];
            CHECK(((before == 4) | (before == after)).all().item<bool>());
        }
        INFO(sampler << ", " << fields);
        CHECK((states.front() == 4).all().item<bool>());
        CHECK((samples < 4).all().item<bool>());
        CHECK(at::equal(samples, states.back()));
    }
}

TEST_CASE("many tokens shown at once are drawn each by itself: valid heartbeats in K steps") {
    // 20,000 draws of another program, ± 0.003
    const std::vector<std::pair<std::int64_t, double>> shares{{1, 0.0003}, {2, 0.0985}, {4, 0.385},  {8, 0.632},
                                                              {16, 0.798}, {32, 0.893}, {64, 0.947}, {128, 0.973}};
    for (const auto& [K, share] : shares) {
        const std::int64_t n = std::max<std::int64_t>(1000, 20000 / K);
        const auto context = chain("heartbeat", "absorbing", K);
        const double valid = valid_share(context, sampled(context, "ddpm", "", n).samples);
        const double error = std::hypot(0.003, std::sqrt(share * (1 - share) / static_cast<double>(n)));
        INFO(K << " steps: " << valid << ", " << share << " ± " << error);
        CHECK(std::abs(valid - share) < 4 * error);
    }
}

TEST_CASE("first hitting draws the data's law without error, one token at a time") {
    const std::int64_t n = 6000;
    for (const auto& [data, degrees] : {std::pair("heartbeat", 4.0), {"latin", 287.0}}) {
        const auto context = chain(data, "absorbing", 1000);
        const auto samples = sampled(context, "first_hitting", "", n).samples.to(at::kDouble);
        CHECK(valid_share(context, samples) == 1);
        const auto counts =
            at::bincount(context.data->density()->nearest_mode(samples), {}, static_cast<std::int64_t>(degrees) + 1)
                .to(at::kDouble);
        const double found = chi2(counts, at::full_like(counts, static_cast<double>(n) / (degrees + 1)));
        INFO(data << ": χ²(" << degrees << ") = " << found);
        CHECK(found < degrees + 4 * std::sqrt(2 * degrees) + 4);
        const auto share = make<dtk::Metric>("outside_support", "", context)
                               ->evaluate(support::input(context, samples.to(at::kFloat)), stream);
        CHECK(share.value == 0);
    }
    // All tokens from one evaluation are what one step of the chain is.
    const auto context = chain("heartbeat", "absorbing", 1000);
    CHECK(valid_share(context, sampled(context, "first_hitting", "steps = 1", 20000).samples) < 0.002);
}

TEST_CASE("first hitting asks at the times at which the next token shows") {
    const std::int64_t n = 4000;
    const auto context = chain("latin", "absorbing", 1000);
    std::vector<double> shares;
    std::vector<std::int64_t> masked;
    const dtk::Denoiser denoise(context.chain, [&](const Tensor& x, const dtk::Time& t, const dtk::Condition&) {
        double sum = 0;
        for (const double time :
             std::vector<double>(t.rows(n).const_data_ptr<double>(), t.rows(n).const_data_ptr<double>() + n))
            sum += context.chain->levels().sigma2(time);
        shares.push_back(sum / static_cast<double>(n));
        masked.push_back((x == 4).sum().item<std::int64_t>() / n);
        return dtk::Prediction{PredictionType::logits, at::zeros({n, 16, 4}), {}};
    });
    const auto samples = sampled(context, "first_hitting", "", n, denoise).samples;
    REQUIRE(shares.size() == 16);
    for (std::size_t i = 0; i < 16; ++i) {
        // The i-th largest of 16 numbers of U(0, 1)
        const double k = 16 - static_cast<double>(i), mean = k / 17, sd = std::sqrt(k * (17 - k) / (17 * 17 * 18));
        INFO("token " << i + 1 << ": " << shares[i] << ", expected " << mean);
        CHECK(std::abs(shares[i] - mean) < 4 * sd / std::sqrt(n));
        CHECK(masked[i] == 16 - static_cast<std::int64_t>(i));
    }
    const auto counts = at::bincount(samples.flatten().to(at::kLong), {}, 4).to(at::kDouble);
    CHECK(chi2(counts, at::full_like(counts, 4.0 * n)) < 16.3);
}

TEST_CASE("first hitting keeps the tokens that it is shown") {
    at::NoGradGuard no_grad;
    const auto context = chain("latin", "absorbing", 1000);
    const auto grids = context.data->examples(at::arange(300)).x;
    auto x = grids.clone();
    x.slice(1, 5).fill_(4);  // five cells show
    const auto sampler = make<dtk::Sampler>("first_hitting", "", context);
    const auto y = sampler->sample(support::denoiser(context), sampler->times(*context.chain), x, stream);
    CHECK(at::equal(y.slice(1, 0, 5), grids.slice(1, 0, 5)));
    CHECK(valid_share(context, y) == 1);
}

// ---- Data

TEST_CASE("latin has all 288 grids, each as often, and nothing else") {
    const auto data = make<dtk::Dataset>("latin", "", support::BuildContext());
    const auto& law = dynamic_cast<const dtk::FiniteDensity&>(*data->density());
    REQUIRE(law.atoms().sizes() == at::IntArrayRef{288, 16});
    const auto grids = law.atoms().view({288, 4, 4});
    const auto digits = at::arange(4, at::kDouble);
    const auto complete = [&](const Tensor& lines) {  // [..., 4]
        return at::equal(std::get<0>(lines.sort(-1)), digits.expand_as(lines));
    };
    CHECK(complete(grids));
    CHECK(complete(grids.transpose(1, 2)));
    CHECK(complete(grids.view({288, 2, 2, 2, 2}).transpose(2, 3).reshape({288, 4, 4})));
    std::set<std::vector<double>> different;
    for (std::int64_t i = 0; i < 288; ++i)
        different.emplace(law.atoms()[i].const_data_ptr<double>(), law.atoms()[i].const_data_ptr<double>() + 16);
    CHECK(different.size() == 288);
    CHECK(law.entropy() / std::numbers::ln2 == Approx(8.169925).epsilon(1e-7));
    CHECK(law.log_prob_sd() == Approx(0).margin(1e-9));

    const auto x = data->examples(at::arange(28800)).x.to(at::kDouble);
    CHECK(distance(law.log_prob(x), at::full({28800}, -std::log(288), at::kDouble)) < 1e-9);
    const auto counts = at::bincount(law.nearest_mode(x), {}, 288).to(at::kDouble);
    CHECK(chi2(counts, at::full({288}, 100.0, at::kDouble)) < 287 + 4 * std::sqrt(2 * 287));
    CHECK_FALSE(at::equal(x.slice(0, 0, 100), data->test_examples(at::arange(100)).x.to(at::kDouble)));
    auto wrong = x.slice(0, 0, 100).clone();
    wrong.select(1, 3).add_(1).remainder_(4);
    CHECK(std::isinf(law.log_prob(wrong).max().item<double>()));
}

TEST_CASE("a law of finitely many vectors knows its entropy and its posterior under Gaussian noise") {
    const auto& law = Weighted().law;
    CHECK(law.entropy() ==
          Approx(-0.4 * std::log(0.4) - 0.3 * std::log(0.3) - 0.2 * std::log(0.2) - 0.1 * std::log(0.1)));
    const auto all = law.log_prob(law.atoms());
    CHECK(distance(all.exp(), at::tensor({0.4, 0.3, 0.2, 0.1}, at::kDouble)) < 1e-14);
    CHECK(law.log_prob_sd() == Approx(((all.exp() * (all + law.entropy()).square()).sum().sqrt()).item<double>()));
    const auto x = stream.stream("x").normal({20, 3}, at::kDouble);
    const double alpha = 0.8, sigma = 0.6;
    auto sum = at::zeros_like(x), total = at::zeros({20, 1}, at::kDouble);
    for (std::int64_t a = 0; a < 4; ++a) {
        const auto w = all[a].exp() * (-(x - alpha * law.atoms()[a]).square().sum(1, true) / (2 * sigma * sigma)).exp();
        sum = sum + w * law.atoms()[a];
        total = total + w;
    }
    const auto column = [](double value) { return at::full({20}, value, at::kDouble); };
    CHECK(distance(law.posterior_mean(x, column(alpha), column(sigma)), sum / total) < 1e-12);
    CHECK_THROWS_AS(dtk::FiniteDensity(law.atoms(), {1, 1, 0, 1}), dtk::Error);
}

// ---- Networks

TEST_CASE("the bound of categories has a finite gradient at every time") {
    const std::int64_t T = 12;
    for (const auto& kernel : kernels) {
        const auto context = weighted(kernel, T);
        const auto t = at::arange(T, at::kDouble);
        const auto x0 = context.data->examples(at::arange(T)).x;
        const auto xt = context.chain->noised(x0, t, stream).x;
        for (const double start : {0.0, 1.0, 400.0}) {
            auto value = (start * stream.stream("logits").normal({T, 3, 3}, at::kFloat)).set_requires_grad(true);
            const dtk::Prediction says{PredictionType::logits, value, {}};
            const auto bound = context.chain->bound_term(x0, xt, t, t - 1, says, "small") +
                               process_of(context).bound_rate(x0, xt, t - 0.5, says);
            INFO(kernel << ", logits of size " << start);
            CHECK(at::isfinite(bound).all().item<bool>());
            bound.sum().backward();
            CHECK(at::isfinite(value.grad()).all().item<bool>());
        }
    }
}

TEST_CASE("a transformer answers 0 at the start, and the log-odds of every category and element") {
    at::NoGradGuard no_grad;
    for (const auto& kernel : kernels)
        for (const char* fields : {"patch = 1", "patch = 4", "patch = 2\nnoise_label = \"none\""}) {
            auto context = chain("latin", kernel, 100);
            const auto model = make<dtk::Model>(
                "dit", fmt::format("prediction = \"logits\"\nwidth = 16\nheads = 2\n{}", fields), context);
            const auto x = context.chain->noised(context.data->examples(at::arange(6)).x, 60.0, stream).x;
            const auto answer = model->forward(x, 60.0, {});
            CHECK(answer.type == PredictionType::logits);
            CHECK(answer.value.sizes() == at::IntArrayRef{6, 16, 4});
            CHECK(answer.value.abs().max().item<float>() == 0);
        }
}

TEST_CASE("a transformer's patches are where they belong, along one axis or more, of numbers and of categories") {
    at::NoGradGuard no_grad;
    struct Cube final : dtk::Dataset {
        std::vector<std::int64_t> sizes;
        explicit Cube(std::vector<std::int64_t> shape) : sizes(std::move(shape)) {}
        std::vector<std::int64_t> shape() const override { return sizes; }
        std::int64_t size() const override { return 0; }
        dtk::Batch examples(const Tensor& index) const override {
            auto all = sizes;
            all.insert(all.begin(), index.numel());
            return {.x = stream.stream("cube").samples(index).uniform(all, at::kFloat).mul(3).floor()};
        }
        dtk::Batch test_examples(const Tensor& index) const override { return examples(index); }
        std::optional<std::pair<double, double>> range() const override { return std::pair{0.0, 2.0}; }
        int levels() const override { return 3; }
    };
    for (const auto& shape : std::vector<std::vector<std::int64_t>>{{12}, {2, 12}, {2, 4, 6}, {1, 4, 2, 6}})
        for (const bool tokens : {false, true}) {
            support::BuildContext context;
            context.data = std::make_shared<Cube>(shape);
            context.chain = make<dtk::Process>(tokens ? "categorical" : "gaussian", "", context);
            const auto model = make<dtk::Model>(
                "dit",
                fmt::format("patch = 2\nwidth = 12\nheads = 2\ndepth = 2{}", tokens ? "\nprediction = \"logits\"" : ""),
                context);
            // With the gates at 0 every block is the identity: a patch sees itself alone.
            for (const auto& named : model->named_tensors())
                if (named.trained && named.name.starts_with("out."))
                    named.tensor->copy_(stream.stream(named.name).normal(named.tensor->sizes(), at::kFloat));
            const auto x = context.data->examples(at::arange(1)).x;
            const auto before = model->forward(x, 5.0, {}).value;
            const auto d = x.numel();
            for (std::int64_t i = 0; i < d; ++i) {
                auto other = x.clone();
                auto element = other.view({-1})[i];
                element.copy_((element + 1).remainder(3));
                auto changed = model->forward(other, 5.0, {}).value != before;
                if (tokens) changed = changed.any(-1);
                // Elements of the same patch: all channels, and the same half of each place along every axis.
                const auto places = [&](std::int64_t at) {
                    std::vector<std::int64_t> place;
                    for (auto axis = shape.size(); axis-- > (shape.size() > 1 ? 1U : 0U); at /= shape[axis])
                        place.push_back(at % shape[axis] / 2);
                    return place;
                };
                auto expected = at::zeros({d}, at::kBool);
                for (std::int64_t j = 0; j < d; ++j) expected[j] = places(i) == places(j);
                CHECK(at::equal(changed.view({-1}), expected));
            }
        }
}

TEST_CASE("a transformer sees every token, where each stands, and the time unless it is not told") {
    at::NoGradGuard no_grad;
    const auto context = chain("latin", "absorbing", 100);
    const auto x = context.chain->noised(context.data->examples(at::arange(8)).x, 50.0, stream).x;
    for (const bool told : {true, false}) {
        const auto model = make<dtk::Model>(
            "dit",
            fmt::format("prediction = \"logits\"\nwidth = 16\nheads = 2\ndepth = 2\nnoise_label = \"{}\"",
                        told ? "time" : "none"),
            context);
        for (const auto& named : model->named_tensors())
            if (named.trained)
                named.tensor->add_(stream.stream(named.name).normal(named.tensor->sizes(), at::kFloat), 0.2);
        const auto answer = [&](const Tensor& x, double t) { return model->forward(x, t, {}).value; };
        CHECK((distance(answer(x, 20), answer(x, 70)) > 1e-3) == told);
        auto other = x.clone();
        other.select(1, 3).add_(1).remainder_(4);
        const auto moved = (answer(other, 20) - answer(x, 20)).abs().amax(2);
        CHECK(moved.min().item<float>() > 1e-5);
        // The same tokens in another order are another sequence.
        CHECK(distance(answer(x.flip(1), 20), answer(x, 20).flip(1)) > 1e-3);
        // Rows are independent.
        CHECK(distance(answer(x.slice(0, 2, 3), 20), answer(x, 20).slice(0, 2, 3)) < 1e-5);
    }
}

// ---- What does not go together

TEST_CASE("what categories cannot be used with is refused in words") {
    support::BuildContext numbers;
    numbers.data = make<dtk::Dataset>("gaussian_mixture", "", numbers);
    const auto says = [](const std::function<void()>& make, const char* words) {
        const auto complaint = complaint_of(make);
        INFO(complaint);
        CHECK(complaint.find(words) != std::string::npos);
    };
    says([&] { make<dtk::Process>("categorical", "", numbers); }, "come in levels");
    numbers.chain = make<dtk::Process>("gaussian", "", numbers);
    numbers.network = make<dtk::Model>("exact", "", numbers);
    says([&] { make<dtk::Loss>("continuous_elbo", "", numbers); }, "needs a process of categories");
    says([&] { make<dtk::Sampler>("first_hitting", "", numbers); }, "needs a process of categories");
    says([&] { make<dtk::Model>("exact", "prediction = \"logits\"", numbers); }, "log-odds");
    says([&] { make<dtk::Model>("dit", "prediction = \"logits\"", numbers); }, "needs a process of categories");

    says([] { chain("latin", "absorbing", 10, "schedule = \"cosine\""); }, "is not masked yet");
    says([] { chain("latin", "uniform", 10, "schedule = \"flow\""); }, "α² + σ² = 1");
    says([] { chain("latin", "absorbing", 10, "schedule = \"learned\""); }, "learns none");
    const auto uniform = chain("latin", "uniform", 10), masks = chain("latin", "absorbing", 10);
    says([&] { make<dtk::Sampler>("first_hitting", "", uniform); }, "drawn anew");
    says([&] { make<dtk::Sampler>("first_hitting", "steps = 17", masks); }, "16 tokens");
    says([&] { make<dtk::Sampler>("ddim", "", masks); }, "needs a Gaussian process");
    says([&] { make<dtk::Model>("exact", "", masks); }, "probabilities");
    says([&] { make<dtk::Model>("dit", "patch = 3\nprediction = \"logits\"", masks); }, "does not divide");
    says([&] { make<dtk::Model>("dit", "noise_label = \"none\"", masks); }, "masked tokens");
    const auto x = masks.data->examples(at::arange(2)).x;
    says([&] { masks.chain->target(PredictionType::logits, x, {x, {}}, 3.0); }, "infinite");
    for (const auto type : {PredictionType::eps, PredictionType::x0, PredictionType::score})
        says([&] { masks.chain->accept(type); }, "no meaning");
    // The likeliest category, and what shows already
    const auto xt = masks.chain->noised(x, 5.0, stream).x;
    const auto best = masks.chain->convert(masks.network->forward(xt, 5.0, {}), PredictionType::x0, xt, 5.0);
    CHECK(at::equal(at::where(xt < 4, xt, best), best));
    CHECK((best < 4).all().item<bool>());
}
