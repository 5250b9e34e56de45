// Optimisers against their papers' formulas written out for one number; what all of them keep is in
// core/src/laws/optimizer.cpp.
#include <cmath>
#include <functional>
#include <map>

#include <dtk/optimizer.hpp>

#include "catch.hpp"
#include "support.hpp"

using at::Tensor;
using support::distance;
using support::make;

namespace {

const dtk::Random stream(5, "optimizers");

/// A matrix, a kernel, a second matrix of the first one's shape and a bias, float64, from the same numbers each time.
dtk::Parameters parameters() {
    dtk::Parameters all;
    const std::map<std::string, std::vector<std::int64_t>> sizes{
        {"a.weight", {3, 5}}, {"b.weight", {4, 2, 3, 3}}, {"c.weight", {3, 5}}, {"d.bias", {4}}};
    for (const auto& [name, size] : sizes) {
        all.names.push_back(name);
        all.tensors.push_back(stream.stream(name).normal(size, at::kDouble).set_requires_grad(true));
        all.decays.push_back(size.size() >= 2);
    }
    return all;
}

Tensor scalar(double value) { return at::full({}, value, at::kFloat); }

/// The gradients of that step.
void set_gradients(const dtk::Parameters& all, std::int64_t step) {
    for (std::size_t i = 0; i < all.tensors.size(); ++i)
        all.tensors[i].mutable_grad() =
            stream.stream("g" + all.names[i]).step(step).normal(all.tensors[i].sizes(), at::kDouble);
}

double rate_at(std::int64_t step) { return 1.0 / static_cast<double>(8 << step % 3); }  // a float32 number

void make_step(dtk::Optimizer& optimizer, const dtk::Parameters& all, std::int64_t step) {
    at::NoGradGuard no_grad;
    set_gradients(all, step);
    optimizer.step(scalar(rate_at(step)), scalar(0));
}

std::vector<Tensor> copies(const std::vector<Tensor>& tensors) {
    std::vector<Tensor> all;
    for (const auto& tensor : tensors) all.push_back(tensor.detach().clone());
    return all;
}

/// What one number does, by the formulas of a paper.
using Rule = std::function<void(double& theta, double g, double lr, double decay)>;

/// Does every element of tensors `among` move as the rule says, for ten steps?
double worst_difference(const std::string& name, const std::string& fields, const std::function<Rule()>& rule,
                        double decay, const std::string& among = "") {
    const auto all = parameters(), start = parameters();
    const auto optimizer = make<dtk::Optimizer>(name, fields);
    optimizer->begin(all);
    for (std::int64_t step = 0; step < 10; ++step) make_step(*optimizer, all, step);
    double worst = 0;
    for (std::size_t i = 0; i < all.tensors.size(); ++i) {
        if (all.names[i].find(among) == std::string::npos) continue;
        const auto flat = start.tensors[i].detach().flatten(), end = all.tensors[i].detach().flatten();
        std::vector<Tensor> g;
        for (std::int64_t step = 0; step < 10; ++step)
            g.push_back(
                stream.stream("g" + all.names[i]).step(step).normal(start.tensors[i].sizes(), at::kDouble).flatten());
        for (std::int64_t k = 0; k < flat.numel(); ++k) {
            const auto one = rule();
            double theta = flat[k].item<double>();
            for (std::int64_t step = 0; step < 10; ++step)
                one(theta, g[step][k].item<double>(), rate_at(step), all.decays[i] ? decay : 0);
            worst = std::max(worst, std::abs(theta - end[k].item<double>()));
        }
    }
    return worst;
}

struct Rows {  // running numbers of one parameter
    double m = 0, v = 0;
    int n = 0;
};

double sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }

Rule adam(bool of_gradient) {
    return [of_gradient, s = Rows{}](double& theta, double g, double lr, double decay) mutable {
        if (of_gradient) g += decay * theta;
        s.m = 0.9 * s.m + 0.1 * g, s.v = 0.999 * s.v + 0.001 * g * g, ++s.n;
        const double m = s.m / (1 - std::pow(0.9, s.n)), v = s.v / (1 - std::pow(0.999, s.n));
        theta -= lr * (m / (std::sqrt(v) + 1e-8) + (of_gradient ? 0 : decay * theta));
    };
}

}  // namespace

TEST_CASE("each number moves as its paper says") {
    CHECK(worst_difference(
              "adam", "weight_decay = 0.1", [] { return adam(true); }, 0.1) < 1e-12);
    CHECK(worst_difference(
              "adamw", "weight_decay = 0.1", [] { return adam(false); }, 0.1) < 1e-12);
    for (const bool nesterov : {false, true}) {
        const auto momentum = [=] {
            return Rule([=, s = Rows{}](double& theta, double g, double lr, double decay) mutable {
                g += decay * theta;
                s.m = 0.8 * s.m + g;
                theta -= lr * (nesterov ? g + 0.8 * s.m : s.m);
            });
        };
        const auto fields = fmt::format("momentum = 0.8\nweight_decay = 0.1\nnesterov = {}", nesterov);
        CHECK(worst_difference("sgd", fields, momentum, 0.1) < 1e-12);
    }
    const auto plain = [] {
        return Rule([](double& theta, double g, double lr, double decay) { theta -= lr * (g + decay * theta); });
    };
    CHECK(worst_difference("sgd", "momentum = 0.0\nweight_decay = 0.1", plain, 0.1) < 1e-12);
    for (const bool centered : {false, true}) {
        const auto rms = [=] {
            return Rule([=, s = Rows{}](double& theta, double g, double lr, double decay) mutable {
                s.v = 0.9 * s.v + 0.1 * g * g, s.m = 0.9 * s.m + 0.1 * g;
                theta -= lr * (g / (std::sqrt(s.v - (centered ? s.m * s.m : 0)) + 1e-3) + decay * theta);
            });
        };
        const auto fields = fmt::format("rho = 0.9\neps = 1e-3\nweight_decay = 0.1\ncentered = {}", centered);
        CHECK(worst_difference("rmsprop", fields, rms, 0.1) < 1e-12);
    }
    const auto lion = [] {
        return Rule([s = Rows{}](double& theta, double g, double lr, double decay) mutable {
            theta -= lr * (sign(0.9 * s.m + 0.1 * g) + decay * theta);
            s.m = 0.99 * s.m + 0.01 * g;
        });
    };
    CHECK(worst_difference("lion", "weight_decay = 0.1", lion, 0.1) < 1e-12);
    // What is no matrix, and what is named.
    const std::string fields = "weight_decay = 0.1\nrest = [\"c.\"]";
    CHECK(worst_difference(
              "muon", fields, [] { return adam(false); }, 0.1, "bias") < 1e-12);
    CHECK(worst_difference(
              "muon", fields, [] { return adam(false); }, 0.1, "c.weight") < 1e-12);
    CHECK(worst_difference(
              "muon", fields, [] { return adam(false); }, 0.1, "a.weight") > 1e-2);
}

TEST_CASE("momentum descends a quadratic at the rate √μ, with every curvature it is stable for") {
    // θ ← θ − lr·m, m ← μ m + h θ: two complex eigenvalues of modulus √μ where (1 − √μ)² < lr h < (1 + √μ)².
    const double mu = 0.81, lr = 0.125;
    const auto h = at::tensor({0.5, 2.0, 20.0}, at::kDouble);
    dtk::Parameters one{{"x"}, {at::ones({3}, at::kDouble).set_requires_grad(true)}, {false}};
    const auto optimizer = make<dtk::Optimizer>("sgd", "momentum = 0.81");
    optimizer->begin(one);
    at::NoGradGuard no_grad;
    const auto descend = [&](int steps) {
        double largest = 0;
        for (int i = 0; i < steps; ++i) {
            one.tensors[0].mutable_grad() = h * one.tensors[0];
            optimizer->step(scalar(lr), scalar(0));
            if (i >= steps - 40) largest = std::max(largest, one.tensors[0].abs().max().item<double>());
        }
        return largest;
    };
    const double before = descend(80), after = descend(100);
    INFO(before << " to " << after);
    CHECK(std::log(after / before) / 100 == Approx(0.5 * std::log(mu)).margin(0.01));
}

TEST_CASE("muon's step has the singular vectors of the gradient and singular values that five iterations make") {
    const auto polynomial = [](double s) {
        for (int i = 0; i < 5; ++i) s = 3.4445 * s - 4.7750 * std::pow(s, 3) + 2.0315 * std::pow(s, 5);
        return s;
    };
    for (const auto& [n, m] : {std::pair{24, 40}, {40, 24}, {16, 16}})
        for (const std::string scale : {"adamw", "spectral"})
            for (const std::string precision : {"full", "bf16"}) {
                dtk::Parameters one{{"w"}, {at::zeros({n, m}, at::kDouble).set_requires_grad(true)}, {true}};
                const auto optimizer = make<dtk::Optimizer>(
                    "muon",
                    fmt::format("momentum = 0.0\nscale = \"{}\"\nprecision = \"{}\"\nfactor = 2", scale, precision));
                optimizer->begin(one);
                at::NoGradGuard no_grad;
                const auto g = stream.normal({n, m}, at::kDouble);
                one.tensors[0].mutable_grad() = g;
                optimizer->step(scalar(0.125), scalar(0));
                const double s = scale == "adamw" ? 0.2 * std::sqrt(40.0 - 24.0 * (n == m))
                                 : n > m          ? std::sqrt(40.0 / 24)
                                                  : 1;
                const auto O = one.tensors[0].detach() / (-0.25 * s);
                const auto [U, S, V] = at::linalg_svd(g, false);
                auto expected = at::empty_like(S);
                for (std::int64_t i = 0; i < S.numel(); ++i)
                    expected[i] = polynomial(S[i].item<double>() / g.norm().item<double>());
                const auto turned = U.t().mm(O).mm(V.t());
                INFO(n << "×" << m << ", " << precision << ", " << scale);
                CHECK(distance(turned, at::diag(expected)) < (precision == "full" ? 1e-10 : 0.1));
                // The band that the iteration leads to.
                CHECK(at::linalg_svdvals(O).min().item<double>() > 0.65);
                CHECK(at::linalg_svdvals(O).max().item<double>() < 1.25);
            }
}

TEST_CASE("muon takes a kernel as the matrix of its outputs, and matrices of one shape apart") {
    auto all = parameters();
    const auto start = copies(all.tensors);
    const auto optimizer = make<dtk::Optimizer>("muon", "momentum = 0.0");
    optimizer->begin(all);
    make_step(*optimizer, all, 0);
    for (const std::size_t i : {0, 1, 2}) {
        auto flat = parameters();
        dtk::Parameters one{{"x"}, {start[i].flatten(1).clone().set_requires_grad(true)}, {true}};
        const auto alone = make<dtk::Optimizer>("muon", "momentum = 0.0");
        alone->begin(one);
        at::NoGradGuard no_grad;
        one.tensors[0].mutable_grad() = all.tensors[i].grad().flatten(1);
        alone->step(scalar(rate_at(0)), scalar(0));
        CHECK(distance(one.tensors[0].detach(), all.tensors[i].detach().flatten(1)) < 1e-12);
    }
}
