// The diffusion of bits against Bayes' rule on two-by-two matrices, against sums over every path of a short chain, and
// against the best bound there is for the heartbeat of Sohl-Dickstein et al. 2015.
#include <array>
#include <cmath>
#include <numbers>

#include <dtk/bernoulli.hpp>

#include "catch.hpp"
#include "support.hpp"

using at::Tensor;
using dtk::PredictionType;
using support::distance;
using support::make;

namespace {

const dtk::Random stream(5, "binomial");

std::shared_ptr<dtk::Process> bits(std::int64_t T, double rate, const std::string& more = {}) {
    support::BuildContext context;
    context.data = make<dtk::Dataset>("heartbeat", "", context);
    return make<dtk::Process>("bernoulli", fmt::format("steps = {}\nrate = {}\n{}", T, rate, more), context);
}

/// A heartbeat, its process and the exact denoiser.
support::BuildContext beats(std::int64_t T, double rate, const std::string& process_fields = "decoder = \"reversed\"",
                            const std::string& data_fields = {}) {
    support::BuildContext context;
    context.data = make<dtk::Dataset>("heartbeat", data_fields, context);
    context.chain = bits(T, rate, process_fields);
    context.network = make<dtk::Model>("exact", "", context);
    return context;
}

/// Probabilities of 0 and 1 for each value of the bit before.
using Kernel = std::array<std::array<double, 2>, 2>;

/// q(x_t | x_s), s < t, as a product of single steps.
Kernel forward(const dtk::Process& process, double rate, std::int64_t t, std::int64_t s) {
    Kernel k{{{1, 0}, {0, 1}}};
    for (auto i = s + 1; i <= t; ++i) {
        const double beta = process.levels().added_variance(i, i - 1);
        const Kernel step{{{1 - beta * rate, beta * rate}, {beta * (1 - rate), 1 - beta * (1 - rate)}}};
        Kernel next{};
        for (int a = 0; a < 2; ++a)
            for (int b = 0; b < 2; ++b) next[a][b] = k[a][0] * step[0][b] + k[a][1] * step[1][b];
        k = next;
    }
    return k;
}

/// q(x_s = 1 | x_t, x_0)
double posterior(const dtk::Process& process, double rate, std::int64_t t, std::int64_t s, int xt, int x0) {
    const auto to_s = forward(process, rate, s, -1), to_t = forward(process, rate, t, s);
    const double one = to_s[x0][1] * to_t[1][xt], zero = to_s[x0][0] * to_t[0][xt];
    return one / (one + zero);
}

double kl(double q, double p) {
    return (q > 0 ? q * std::log(q / p) : 0) + (q < 1 ? (1 - q) * std::log((1 - q) / (1 - p)) : 0);
}

Tensor one(double value) { return at::full({1, 1}, value, at::kDouble); }
Tensor time_of(std::int64_t t, std::int64_t rows = 1) { return at::full({rows}, t, at::kDouble); }

/// Every vector of d bits: [2^d, d]
Tensor all_vectors(std::int64_t d) {
    return at::arange(1 << d).unsqueeze(1).bitwise_right_shift(at::arange(d)).remainder(2).to(at::kDouble);
}

/// Π_i of the chances that `one`: [n, d] gives to the bits of x: [m, d] → [n, m]
Tensor chances(const Tensor& one, const Tensor& x) {
    const auto p = one.unsqueeze(1), b = x.unsqueeze(0);
    return (p * b + (1 - p) * (1 - b)).prod(2);
}

/// q(x_t | x_s) for whole vectors, [2^d, 2^d]
Tensor forward_vectors(const dtk::Process& process, double rate, std::int64_t t, std::int64_t s, const Tensor& x) {
    const auto k = forward(process, rate, t, s);
    return chances(k[0][1] + (k[1][1] - k[0][1]) * x, x);
}

/// A network of no merit, whose answer for each bit depends on all of them: P(x_{t−1} = 1 | x_t).
Tensor careless(const Tensor& x, const Tensor& t) {
    const auto d = x.size(1);
    const auto mix = (at::arange(d * d, at::kDouble) * 0.7).sin().view({d, d});
    return (x.matmul(mix) + t.unsqueeze(1) * 0.3 - 0.5).sigmoid();
}

/// The representatives of the x_t of 20 bits under x_0 = phase 0: only the number of ones among the places of each
/// phase counts, and the phases other than x_0's may be exchanged. What each stands for is in `weight`, but for q(x_t |
/// x_0).
struct States {
    Tensor x, ones;  // [n, 20], [n, 5]
    std::vector<double> weight;
};

States states() {
    const std::array<double, 5> choose{1, 4, 6, 4, 1};
    States all;
    std::vector<double> x, ones;
    for (int own = 0; own <= 4; ++own)
        for (int a = 0; a <= 4; ++a)
            for (int b = a; b <= 4; ++b)
                for (int c = b; c <= 4; ++c)
                    for (int d = c; d <= 4; ++d) {
                        const std::array<int, 5> k{own, a, b, c, d};
                        double orders = 24, alike = 1;
                        for (int i = 2; i < 5; ++i) orders /= k[i] == k[i - 1] ? ++alike : (alike = 1);
                        for (const int count : k) orders *= choose[count];
                        all.weight.push_back(orders);
                        for (int place = 0; place < 20; ++place) x.push_back(place / 5 < k[place % 5]);
                        for (const int count : k) ones.push_back(count);
                    }
    all.x = at::tensor(x, at::kDouble).view({-1, 20});
    all.ones = at::tensor(ones, at::kDouble).view({-1, 5});
    return all;
}

/// K in bits, every expectation a sum over all x_t.
double exact_bound(const support::BuildContext& context, double rate) {
    at::NoGradGuard no_grad;
    static const auto all = states();
    const auto n = all.x.size(0), T = context.chain->steps();
    const auto x0 = (at::arange(20).remainder(5) == 0).to(at::kDouble).expand({n, 20});
    const auto own = all.ones.select(1, 0), others = all.ones.slice(1, 1).sum(1);
    double nats = context.chain->prior_term(x0.slice(0, 0, 1)).item<double>();
    for (std::int64_t t = 0; t < T; ++t) {
        const double kept = 1 - static_cast<double>(t + 1) / static_cast<double>(T);
        const double r1 = kept + (1 - kept) * rate, r0 = (1 - kept) * rate;
        const auto log_q = own * std::log(r1) + at::xlogy(4 - own, at::scalar_tensor(1 - r1, at::kDouble)) +
                           others * std::log(r0) + (16 - others) * std::log1p(-r0);
        const auto time = time_of(t, n);
        const auto term =
            context.chain->bound_term(x0, all.x, time, time - 1, context.network->forward(all.x, time, {}), "small");
        const auto q = log_q.exp() * at::tensor(all.weight, at::kDouble);
        CHECK(q.sum().item<double>() == Approx(1).epsilon(1e-11));
        nats += (q * term).sum().item<double>();
    }
    return -nats / std::numbers::ln2;
}

void check_best_bounds(const char* key, double rate, std::int64_t from, std::int64_t to) {
    for (const auto& row : support::reference()["heartbeat"][key]) {
        const auto T = row["T"].get<std::int64_t>();
        if (T < from || T > to) continue;
        const double K = exact_bound(beats(T, rate), rate);
        INFO("π = " << rate << ", T = " << T << ": " << K);
        CHECK(std::abs(K - row["K_opt_bits"].get<double>()) < 1e-9);
    }
}

double best_bound(std::int64_t T) {
    for (const auto& row : support::reference()["heartbeat"]["K_opt"])
        if (row["T"] == T) return row["K_opt_bits"];
    throw dtk::Error("no such T in the reference");
}

}  // namespace

TEST_CASE("linear_alpha_bar keeps 1 − t/T") {
    for (const std::int64_t T : {1, 10, 2000}) {
        const auto levels = make<dtk::Schedule>("linear_alpha_bar")->levels(T);
        for (std::int64_t t = 0; t < T; ++t) {
            const double left = 1 - static_cast<double>(t + 1) / static_cast<double>(T);
            CHECK(std::abs(levels.alpha_bar(t) - left) < 1e-12);
            CHECK(levels.added_variance(t, t - 1) == Approx(1 / static_cast<double>(T - t)).epsilon(1e-14));
        }
    }
}

TEST_CASE("every term of the bound is what Bayes' rule gives, between any two times and for every kind of prediction") {
    for (const auto& [T, rate, schedule] : std::vector<std::tuple<std::int64_t, double, const char*>>{
             {7, 0.3, "linear_alpha_bar"}, {6, 0.5, "cosine"}, {5, 0.9, "cosine_log_snr"}}) {
        const auto process = bits(T, rate, fmt::format("schedule = \"{}\"", schedule));
        const auto& bernoulli = dtk::bernoulli(*process, "the test");
        for (std::int64_t t = 0; t < T; ++t)
            for (int xt = 0; xt < 2; ++xt) {
                const auto q = forward(*process, rate, t, -1);
                CHECK(bernoulli.evidence(one(xt), time_of(t)).item<double>() ==
                      Approx(std::log(q[1][xt] / q[0][xt])).margin(1e-11));
                for (std::int64_t s = -1; s < t; ++s)
                    for (int x0 = 0; x0 < 2; ++x0)
                        for (const double p : {0.1, 0.7}) {
                            INFO(schedule << ", t = " << t << ", s = " << s << ", x_t = " << xt << ", x_0 = " << x0);
                            const double of_one = posterior(*process, rate, t, s, xt, 1),
                                         of_zero = posterior(*process, rate, t, s, xt, 0);
                            const double expected = kl(x0 == 1 ? of_one : of_zero, p * of_one + (1 - p) * of_zero);
                            const auto term = [&](PredictionType type, double value) {
                                return process
                                    ->bound_term(one(x0), one(xt), time_of(t), time_of(s), {type, one(value), {}},
                                                 "small")
                                    .item<double>();
                            };
                            CHECK(term(PredictionType::x0, p) == Approx(expected).margin(1e-12));
                            CHECK(term(PredictionType::logits, std::log(p / (1 - p))) ==
                                  Approx(expected).margin(1e-12));
                            const double before = p * posterior(*process, rate, t, t - 1, xt, 1) +
                                                  (1 - p) * posterior(*process, rate, t, t - 1, xt, 0);
                            CHECK(term(PredictionType::mean, before) == Approx(expected).margin(1e-9));
                            CHECK(expected >= 0);
                            CHECK(std::abs(term(PredictionType::x0, x0)) < 1e-13);
                        }
            }
        for (int x0 = 0; x0 < 2; ++x0)
            CHECK(process->prior_term(one(x0)).item<double>() ==
                  Approx(kl(forward(*process, rate, T - 1, -1)[x0][1], rate)).margin(1e-12));
    }
}

TEST_CASE("a prediction of bits keeps its meaning from kind to kind") {
    const auto process = bits(8, 0.3);
    const auto x0 = stream.stream("p").uniform({50, 4}, at::kDouble) * 0.98 + 0.01;
    const auto xt = (stream.stream("x").uniform({50, 4}, at::kDouble) < 0.5).to(at::kDouble),
               t = stream.integers(8, {50}).to(at::kDouble);
    for (const auto via : {PredictionType::logits, PredictionType::mean}) {
        const auto there = process->convert({PredictionType::x0, x0, {}}, via, xt, t);
        CHECK(distance(process->convert({via, there, {}}, PredictionType::x0, xt, t), x0) < 1e-11);
    }
    const auto bit = (x0 > 0.5).to(at::kDouble);
    const auto told = process->target(PredictionType::mean, bit, {xt, {}}, t);
    CHECK(distance(process->convert({PredictionType::x0, bit, {}}, PredictionType::mean, xt, t), told) == 0);
    CHECK_THROWS_AS(process->target(PredictionType::logits, bit, {xt, {}}, t), dtk::Error);
    for (const auto type : {PredictionType::eps, PredictionType::v, PredictionType::score}) {
        CHECK_THROWS_AS(process->accept(type), dtk::Error);
        CHECK_THROWS_AS(process->convert({PredictionType::x0, x0, {}}, type, xt, t), dtk::Error);
        CHECK_THROWS_AS(process->convert({type, x0, {}}, PredictionType::x0, xt, t), dtk::Error);
    }
}

TEST_CASE("bits are drawn as often as they must be") {
    const std::int64_t n = 200000, T = 9;
    const double rate = 0.3;
    const auto process = bits(T, rate);
    const auto often = [&](const Tensor& x, double p) {
        CHECK(((x == 0) | (x == 1)).all().item<bool>());
        CHECK(std::abs(x.mean().item<double>() - p) < 4 * std::sqrt(p * (1 - p) / static_cast<double>(n)));
    };
    often(process->prior({n, 1}, at::kFloat, stream, T - 1), rate);
    for (const std::int64_t t : {0, 4, 8})
        for (int x0 = 0; x0 < 2; ++x0) {
            often(process->noised(at::full({n, 1}, x0, at::kFloat), time_of(t, n), stream.step(t)).x,
                  forward(*process, rate, t, -1)[x0][1]);
            for (const std::int64_t s : {t - 1, t / 2 - 1}) {
                const int xt = 1 - x0;
                const double p =
                    0.6 * posterior(*process, rate, t, s, xt, 1) + 0.4 * posterior(*process, rate, t, s, xt, 0);
                often(process->reverse_step(at::full({n, 1}, xt, at::kFloat),
                                            {PredictionType::x0, at::full({n, 1}, 0.6, at::kFloat), {}}, time_of(t, n),
                                            time_of(s, n), "small", stream.step(t)),
                      p);
            }
        }
}

TEST_CASE("the terms add up to the bound that the sum over every path gives") {
    const std::int64_t T = 4, d = 2;
    const double rate = 0.35;
    const auto x = all_vectors(d);
    const auto n = x.size(0);
    for (const bool reversed : {false, true}) {
        const auto process =
            bits(T, rate, fmt::format("schedule = \"cosine\"\ndecoder = \"{}\"", reversed ? "reversed" : "model"));
        const auto prior = chances(at::full({1, d}, rate, at::kDouble), x).squeeze(0);
        std::vector<Tensor> q, p;  // q(x_t | x_{t−1}) and p(x_{t−1} | x_t), [from, to]
        for (std::int64_t t = 0; t < T; ++t) {
            q.push_back(forward_vectors(*process, rate, t, t - 1, x));
            p.push_back(t == 0 && reversed ? q[0].t() * prior / prior.unsqueeze(1)
                                           : chances(careless(x, time_of(t, n)), x));
            CHECK(distance(p.back().sum(1), at::ones({n}, at::kDouble)) < 1e-14);
        }
        for (std::int64_t i = 0; i < n; ++i) {
            double bound = 0, likelihood = 0;
            for (std::int64_t path = 0; path < n * n * n * n; ++path) {
                const std::array<std::int64_t, 5> at{i, path % n, path / n % n, path / (n * n) % n, path / (n * n * n)};
                double forwards = 1, backwards = prior[at[T]].item<double>();
                for (std::int64_t t = 0; t < T; ++t) {
                    forwards *= q[t][at[t]][at[t + 1]].item<double>();
                    backwards *= p[t][at[t + 1]][at[t]].item<double>();
                }
                bound -= forwards * std::log(backwards / forwards);
                likelihood += backwards;
            }
            const auto x0 = x.slice(0, i, i + 1);
            double sum = process->prior_term(x0).item<double>();
            for (std::int64_t t = 0; t < T; ++t) {
                const auto time = time_of(t, n);
                const auto term = process->bound_term(x0.expand({n, d}), x, time, time - 1,
                                                      {PredictionType::mean, careless(x, time), {}}, "small");
                sum += (forward_vectors(*process, rate, t, -1, x)[i] * term).sum().item<double>();
            }
            INFO("x_0 number " << i << ", decoder " << (reversed ? "reversed" : "model")
                               << ", −log p = " << -std::log(likelihood));
            CHECK(sum == Approx(bound).epsilon(1e-12));
            CHECK(bound > -std::log(likelihood));
        }
    }
}

TEST_CASE("a reverse that is the forward process turned around is bits of the prior, and the bound has no slack") {
    for (const double rate : {0.2, 0.5, 0.8})
        for (const std::int64_t T : {1, 2, 10, 100})
            for (const char* decoder : {"model", "reversed"}) {
                const auto process = bits(T, rate, fmt::format("decoder = \"{}\"", decoder));
                for (int x0 = 0; x0 < 2; ++x0) {
                    double sum = process->prior_term(one(x0)).item<double>();
                    for (std::int64_t t = 0; t < T; ++t)
                        for (int xt = 0; xt < 2; ++xt) {
                            const double beta = process->levels().added_variance(t, t - 1);
                            const dtk::Prediction same{PredictionType::mean, one((1 - beta) * xt + beta * rate), {}};
                            sum += forward(*process, rate, t, -1)[x0][xt] *
                                   process->bound_term(one(x0), one(xt), time_of(t), time_of(t - 1), same, "small")
                                       .item<double>();
                        }
                    INFO("π = " << rate << ", T = " << T << ", x_0 = " << x0 << ", decoder " << decoder);
                    CHECK(sum == Approx(-std::log(x0 == 1 ? rate : 1 - rate)).epsilon(1e-12));
                }
            }
}

TEST_CASE("one bit with its exact posterior has no slack but the prior's") {
    const std::int64_t T = 12;
    const double rate = 0.5, p = 0.85;
    const auto process = bits(T, rate, "schedule = {use = \"linear\", rescale = false}");
    double bound = 0;
    for (int x0 = 0; x0 < 2; ++x0) {
        double sum = process->prior_term(one(x0)).item<double>();
        for (std::int64_t t = 0; t < T; ++t)
            for (int xt = 0; xt < 2; ++xt) {
                const auto logits =
                    dtk::bernoulli(*process, "the test").evidence(one(xt), time_of(t)) + std::log(p / (1 - p));
                sum += forward(*process, rate, t, -1)[x0][xt] *
                       process
                           ->bound_term(one(x0), one(xt), time_of(t), time_of(t - 1),
                                        {PredictionType::logits, logits, {}}, "small")
                           .item<double>();
            }
        bound += (x0 == 1 ? p : 1 - p) * sum;
    }
    const auto last = forward(*process, rate, T - 1, -1);
    const double entropy = -p * std::log(p) - (1 - p) * std::log(1 - p),
                 mismatch = kl(p * last[1][1] + (1 - p) * last[0][1], rate);
    CHECK(mismatch > 0.01);
    CHECK(bound == Approx(entropy + mismatch).epsilon(1e-12));
}

TEST_CASE("the exact denoiser's bound on the heartbeat is the best one, to 1e-9") {
    check_best_bounds("K_opt", 0.2, 10, 200);
    check_best_bounds("K_opt_pi_half", 0.5, 10, 50);
}

TEST_CASE("the same for many steps", "[slow]") {
    check_best_bounds("K_opt", 0.2, 201, 2000);
    check_best_bounds("K_opt_pi_half", 0.5, 51, 2000);
}

TEST_CASE("loss and metric estimate the heartbeat's best bound, with the error they state") {
    at::NoGradGuard no_grad;
    const auto context = beats(50, 0.2);
    const auto data = context.data->examples(at::arange(2000));
    for (const char* fields : {"every_step = true", ""}) {
        const auto loss = make<dtk::Loss>("elbo", fields, context);
        const auto nats =
            support::loss_of(*loss, support::denoiser(context), data, stream, "stratified", context).to(at::kDouble);
        const double K = -nats.mean().item<double>() / std::numbers::ln2,
                     error = nats.std().item<double>() / std::sqrt(2000) / std::numbers::ln2;
        INFO(fields << ": " << K << " ± " << error << ", exact " << best_bound(50));
        CHECK(std::abs(K - best_bound(50)) < 4 * error);
        CHECK(error < 0.6);
    }
    const auto m = make<dtk::Metric>("bound", "examples = 1000", context)
                       ->evaluate({{}, *context.data, *context.chain, support::denoiser(context)}, stream);
    INFO("metric: " << m.value << " ± " << m.standard_error << ", " << m.note);
    CHECK(std::abs(m.value - best_bound(50)) < 4 * m.standard_error);
    CHECK(m.standard_error < 0.1);
    double sum = 0;
    for (const auto& [name, part] : m.parts) sum += part;
    CHECK(sum == Approx(m.value));
    // 20 bits, each 1 in every fifth sequence
    const double null = 20 * (0.2 * std::log2(0.2) + 0.8 * std::log2(0.8));
    CHECK(m.note.find(fmt::format("K − L_null = {:.5g}", m.value - null)) != std::string::npos);
    CHECK(m.note.find("-2.32193") != std::string::npos);
}

TEST_CASE("the bound's standard error is that of its scatter") {
    at::NoGradGuard no_grad;
    const auto context = beats(10, 0.2);
    const auto metric = make<dtk::Metric>("bound", "examples = 50", context);
    std::vector<double> values, errors;
    for (int i = 0; i < 200; ++i) {
        const auto m = metric->evaluate({{}, *context.data, *context.chain, support::denoiser(context)},
                                        stream.stream(fmt::format("{}", i)));
        values.push_back(m.value), errors.push_back(m.standard_error);
    }
    const auto v = at::tensor(values, at::kDouble);
    CHECK(v.std().item<double>() == Approx(at::tensor(errors, at::kDouble).mean().item<double>()).epsilon(0.2));
    CHECK(std::abs(v.mean().item<double>() - best_bound(10)) < 4 * v.std().item<double>() / std::sqrt(200));
}

TEST_CASE("samples of the exact denoiser have the law that the product of its kernels gives") {
    at::NoGradGuard no_grad;
    const std::int64_t d = 4, T = 5, n = 40000;
    const double rate = 0.3;
    const auto x = all_vectors(d);
    for (const char* decoder : {"model", "reversed"}) {
        const auto context = beats(T, rate, fmt::format("decoder = \"{}\"", decoder), "length = 4\nperiod = 2");
        const auto beat = at::tensor({1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0}, at::kDouble).view({2, d});
        auto law = chances(at::full({1, d}, rate, at::kDouble), x).squeeze(0);
        const auto prior = law;
        for (auto t = T - 1; t >= 0; --t) {
            const auto marginal = forward(*context.chain, rate, t, -1);
            const auto joint =
                chances(marginal[0][1] + (marginal[1][1] - marginal[0][1]) * beat, x).t();  // [x_t, beat]
            const auto x0 = (joint / joint.sum(1, true)).matmul(beat);
            auto next = at::zeros_like(x);
            for (int v = 0; v < 2; ++v) {
                const double a = posterior(*context.chain, rate, t, t - 1, v, 1),
                             b = posterior(*context.chain, rate, t, t - 1, v, 0);
                next = next + (x == v).to(at::kDouble) * (x0 * a + (1 - x0) * b);
            }
            const auto kernel = t == 0 && std::string(decoder) == "reversed"
                                    ? forward_vectors(*context.chain, rate, 0, -1, x).t() * prior / prior.unsqueeze(1)
                                    : chances(next, x);
            law = law.matmul(kernel);
        }
        const auto sampler = make<dtk::Sampler>("ddpm", "", context);
        const auto start = context.chain->prior({n, d}, at::kFloat, stream.stream("prior"), T - 1);
        const auto samples =
            sampler->sample(support::denoiser(context), sampler->times(*context.chain), start, stream.stream("steps"));
        const auto number = samples.matmul(at::tensor({1.f, 2.f, 4.f, 8.f})).to(at::kLong);
        const auto counts = at::bincount(number, {}, 16).to(at::kDouble), expected = law * n;
        const double chi2 = ((counts - expected).square() / expected).sum().item<double>();
        INFO("decoder " << decoder << ": χ²(15) = " << chi2 << ", valid "
                        << law[5].item<double>() + law[10].item<double>());
        CHECK(expected.min().item<double>() > 5);
        CHECK(chi2 < 37.7);  // its 99.9 % point

        const auto data = context.data;
        const auto share = make<dtk::Metric>("outside_support", "", context)
                               ->evaluate({samples, *data, *context.chain, support::denoiser(context)}, stream);
        CHECK(share.value == Approx(1 - (counts[5] + counts[10]).item<double>() / n).epsilon(1e-12));
        CHECK_FALSE(share.passes().value());
        const auto true_share =
            make<dtk::Metric>("outside_support", "", context)
                ->evaluate({data->examples(at::arange(100)).x, *data, *context.chain, support::denoiser(context)},
                           stream);
        CHECK(true_share.value == 0);
        CHECK(true_share.passes().value());
    }
}

TEST_CASE("a heartbeat has one 1 in each period, each phase as often") {
    const support::BuildContext context;
    const auto data = make<dtk::Dataset>("heartbeat", "", context);
    const auto x = data->examples(at::arange(5000)).x;
    CHECK(at::equal(x.view({5000, 4, 5}).sum(2), at::ones({5000, 4})));
    CHECK(at::equal(x.slice(1, 5), x.slice(1, 0, 15)));
    const auto counts = x.slice(1, 0, 5).sum(0).to(at::kDouble);
    CHECK(((counts - 1000).square() / 1000).sum().item<double>() < 18.5);
    const auto& density = *data->density();
    CHECK(density.entropy() == Approx(std::log(5)).epsilon(1e-15));
    CHECK(distance(density.log_prob(x.to(at::kDouble)), at::full({5000}, -std::log(5), at::kDouble)) < 1e-12);
    auto wrong = x.to(at::kDouble).clone();
    wrong.select(1, 7).mul_(-1).add_(1);
    CHECK(std::isinf(density.log_prob(wrong).max().item<double>()));
    CHECK(at::equal(density.nearest_mode(wrong), density.nearest_mode(x.to(at::kDouble))));
    CHECK_THROWS_AS(make<dtk::Dataset>("heartbeat", "length = 3", context), dtk::Error);
}

TEST_CASE("the exact denoiser knows bits from examples as from their density") {
    struct Three final : dtk::Dataset {
        Tensor all = at::tensor({1.f, 0.f, 1.f, 1.f, 0.f, 1.f, 1.f, 0.f, 0.f, 0.f, 0.f, 1.f}).view({3, 4});
        std::vector<std::int64_t> shape() const override { return {4}; }
        std::int64_t size() const override { return 3; }
        dtk::Batch examples(const Tensor& index) const override { return {.x = all.index_select(0, index)}; }
        dtk::Batch test_examples(const Tensor& index) const override { return examples(index); }
    };
    const double rate = 0.4;
    const auto data = std::make_shared<Three>();
    support::BuildContext context;
    context.data = data;
    context.chain = bits(6, rate);
    const auto model = make<dtk::Model>("exact", "", context);
    const auto x = all_vectors(4), examples = data->all.to(at::kDouble);
    for (std::int64_t t = 0; t < 6; ++t) {
        const auto q = forward(*context.chain, rate, t, -1);
        const auto joint = chances(q[0][1] + (q[1][1] - q[0][1]) * examples, x).t();
        CHECK(distance(model->forward(x, time_of(t, 16), {}).value, (joint / joint.sum(1, true)).matmul(examples)) <
              1e-12);
    }
}

TEST_CASE("the bound of bits has a finite gradient at every step") {
    const std::int64_t T = 20;
    for (const char* decoder : {"model", "reversed"}) {
        const auto process = bits(T, 0.2, fmt::format("decoder = \"{}\"", decoder));
        const auto t = at::arange(T, at::kDouble);
        const auto x0 = (stream.stream("x0").uniform({T, 6}, at::kFloat) < 0.5).to(at::kFloat),
                   xt = process->noised(x0, t, stream).x;
        for (const auto& [type, start] : std::vector<std::pair<PredictionType, double>>{{PredictionType::logits, 0},
                                                                                        {PredictionType::logits, 60},
                                                                                        {PredictionType::x0, 0.5},
                                                                                        {PredictionType::x0, 1},
                                                                                        {PredictionType::mean, 0.5}}) {
            auto value = at::full({T, 6}, start, at::kFloat).set_requires_grad(true);
            const auto bound = process->bound_term(x0, xt, t, t - 1, {type, value, {}}, "small");
            CHECK(at::isfinite(bound).all().item<bool>());
            bound.sum().backward();
            CHECK(at::isfinite(value.grad()).all().item<bool>());
        }
    }
}

TEST_CASE("a residual read-out starts from the forward kernel turned around") {
    at::NoGradGuard no_grad;
    auto context = beats(30, 0.2);
    const auto model = make<dtk::Model>("per_step_mlp", "residual = true\nwidth = 4", context);
    for (const auto& named : model->named_tensors())
        if (named.trained) named.tensor->zero_();
    const auto t = at::arange(30, at::kDouble);
    const auto x = (stream.uniform({30, 20}, at::kDouble) < 0.5).to(at::kDouble);
    const auto beta = (1 / (30 - t)).unsqueeze(1);
    CHECK(distance(model->forward(x, t, {}).value, (1 - beta) * x + beta * 0.2) < 1e-6);
    CHECK_THROWS_AS(make<dtk::Model>("per_step_mlp", "residual = true\nprediction = \"logits\"", context), dtk::Error);
    context.chain = make<dtk::Process>("gaussian", "", context);
    CHECK_THROWS_AS(make<dtk::Model>("per_step_mlp", "residual = true", context), dtk::Error);
}

TEST_CASE("numbers that are no bits are refused") {
    support::BuildContext context;
    context.data = make<dtk::Dataset>("gaussian_mixture", "", context);
    CHECK_THROWS_WITH(make<dtk::Process>("bernoulli", "schedule = \"linear_alpha_bar\"", context),
                      Catch::Contains("needs data of bits"));
}
