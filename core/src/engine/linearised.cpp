// Observations as guidance sees them: derivatives by automatic differentiation, and equations as large as y.
#include <dtk/linearised.hpp>

#include <torch/csrc/autograd/autograd.h>

namespace dtk {

namespace {
/// vᵀ ∂y/∂x; zero where y does not depend on x.
Tensor product(const Tensor& y, const Tensor& x, const Tensor& v, bool again = false) {
    if (!y.requires_grad()) return at::zeros_like(x);
    const auto gradient =
        torch::autograd::grad({y}, {x}, {v}, /*retain_graph=*/true, /*create_graph=*/again, /*allow_unused=*/true)
            .front();
    return gradient.defined() ? gradient : at::zeros_like(x);
}
}  // namespace

Linearised::Linearised(const Observation& seen, const Tensor& x0)
    : seen_(&seen), x0_(x0.detach()), value_(seen.of(x0_)) {}

Tensor Linearised::transposed(const Tensor& v) const {
    const at::AutoGradMode with_gradient(true);
    const auto x0 = x0_.detach().requires_grad_(true);
    return product(seen_->of(x0), x0, v);
}

// A'ᵀ v is linear in v, and the transpose of what it does to v is A'.
Tensor Linearised::times(const Tensor& w) const {
    if (seen_->linear()) return seen_->of(w);
    const at::AutoGradMode with_gradient(true);
    const auto x0 = x0_.detach().requires_grad_(true), v = at::zeros_like(value_).requires_grad_(true);
    return product(product(seen_->of(x0), x0, v, /*again=*/true), v, w);
}

ObservedEstimate observed_estimate(const Denoiser& denoise, const Observation& seen, const Tensor& x, const Time& t,
                                   const Condition& condition) {
    const at::AutoGradMode with_gradient(true);
    const auto state = x.detach().requires_grad_(true);
    const auto answer = denoise(state, t, condition);
    const auto x0 = denoise.process().convert(answer, PredictionType::x0, state, t);
    const auto measured = seen.of(x0);
    Prediction prediction{PredictionType::x0, x0.detach(), {}};
    if (answer.variance) prediction.variance = answer.variance->detach();
    return {prediction, observed(condition).to(x.options()) - measured.detach(), Linearised(seen, x0), state, measured};
}

Tensor ObservedEstimate::back(const Tensor& v) const { return product(measured, x, v); }

Denoiser pulled(const Denoiser& denoise, const Observation& seen, Pull pull) {
    return denoise.replaced(
        [denoise, &seen, pull = std::move(pull)](const Tensor& x, const Time& t, const Condition& condition) {
            const auto& process = denoise.gaussian();
            const auto at = observed_estimate(denoise, seen, x, t, condition);
            const auto alpha = where(process.alpha(t), process.alpha(t), 1), sigma = process.sigma(t);
            const auto gain = where(process.alpha(t), square(sigma) / alpha, 0);
            auto moved = at.prediction;
            moved.value = moved.value + gain * at.back(pull(at, alpha, sigma));
            return moved;
        });
}

Tensor solved(const std::function<Tensor(const Tensor&)>& times, const Tensor& b, std::int64_t iterations) {
    constexpr std::int64_t exactly_up_to = 8;
    const auto m = b.size(1);
    if (m <= exactly_up_to) {
        std::vector<Tensor> columns;
        for (std::int64_t i = 0; i < m; ++i)
            columns.push_back(times(at::eye(m, b.options()).slice(0, i, i + 1).expand_as(b)));
        const auto S = at::stack(columns, 2);
        return std::get<0>(at::linalg_solve_ex(0.5 * (S + S.transpose(1, 2)), b.unsqueeze(2))).squeeze(2);
    }
    // Hestenes & Stiefel, "Methods of Conjugate Gradients for Solving Linear Systems", 1952.
    const auto dot = [](const Tensor& a, const Tensor& c) { return (a * c).sum(1, /*keepdim=*/true); };
    constexpr double solved_to = 1e-12;
    auto u = at::zeros_like(b), r = b, p = b, rr = dot(r, r);
    const auto enough = solved_to * solved_to * rr;
    for (std::int64_t i = 0; i < std::min(iterations, m); ++i) {
        const auto Sp = times(p), pSp = dot(p, Sp);
        const auto active = (rr > enough).logical_and(pSp > 0);
        const auto step = at::where(active, rr / at::where(active, pSp, 1), 0);
        u = u + step * p;
        r = r - step * Sp;
        const auto next = dot(r, r);
        p = at::where(active, r + next / at::where(active, rr, 1) * p, p);
        rr = at::where(active, next, rr);
    }
    return u;
}

}  // namespace dtk
