// y_b = Σ_i e_bi²/d,   ∂e_bi = 2 ∂y_b e_bi/d
#include <dtk/mean_squares.hpp>

#include <ATen/record_function.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace dtk {
namespace {

Tensor plain(const Tensor& error) { return error.square().flatten(1).mean(1); }

template <class T>
Tensor pass(const Tensor& error) {
    const auto B = error.size(0), d = error.numel() / B;
    auto mean = at::empty({B}, error.options().requires_grad(false));
    const auto* e = error.const_data_ptr<T>();
    auto* to = mean.template mutable_data_ptr<T>();
    for (std::int64_t b = 0; b < B; ++b) {
        double sum = 0;
        for (std::int64_t i = 0; i < d; ++i)
            sum += static_cast<double>(e[b * d + i]) * static_cast<double>(e[b * d + i]);
        to[b] = static_cast<T>(sum / static_cast<double>(d));
    }
    return mean;
}

template <class T>
Tensor way_back(const Tensor& error, const Tensor& grad) {
    const auto B = error.size(0), d = error.numel() / B;
    auto result = at::empty(error.sizes(), error.options().requires_grad(false));
    const auto *e = error.const_data_ptr<T>(), *g = grad.const_data_ptr<T>();
    auto* to = result.template mutable_data_ptr<T>();
    for (std::int64_t b = 0; b < B; ++b) {
        const auto factor = static_cast<T>(2 * static_cast<double>(g[b]) / static_cast<double>(d));
        for (std::int64_t i = 0; i < d; ++i) to[b * d + i] = factor * e[b * d + i];
    }
    return result;
}

struct FusedMeanSquares final : torch::autograd::Function<FusedMeanSquares> {
    static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& error) {
        context->save_for_backward({error});
        return error.scalar_type() == at::kFloat ? pass<float>(error) : pass<double>(error);
    }
    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   const torch::autograd::variable_list& grads) {
        const auto error = context->get_saved_variables().front();
        if (at::GradMode::is_enabled())  // somebody wants second derivatives
            return torch::autograd::grad({plain(error)}, {error}, grads, std::nullopt, true, true);
        const auto grad = grads[0].contiguous();
        return {error.scalar_type() == at::kFloat ? way_back<float>(error, grad) : way_back<double>(error, grad)};
    }
};

}  // namespace

Tensor mean_squares(const Tensor& error) {
    const bool ours = error.is_cpu() && error.layout() == at::kStrided && error.dim() > 1 && error.numel() > 0 &&
                      (error.scalar_type() == at::kFloat || error.scalar_type() == at::kDouble) &&
                      error.is_contiguous() && !error._fw_grad(/*level=*/0).defined() &&
                      !at::hasThreadLocalCallbacks();  // who looks at every operation is to see them
    if (!ours) return plain(error);
    if (at::GradMode::is_enabled() && error.requires_grad()) return FusedMeanSquares::apply(error);
    return error.scalar_type() == at::kFloat ? pass<float>(error) : pass<double>(error);
}

}  // namespace dtk
