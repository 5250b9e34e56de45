// y = φ(z),  z = γ x̂ + β,  x̂ = (x − μ) r,  r = 1/√(var + 1e-5), μ and var over the L·C/G elements of a group of a
// sample ∂x = r (γ ∂z − ⟨γ ∂z⟩ − x̂ ⟨γ ∂z x̂⟩),  ∂γ = Σ ∂z x̂,  ∂β = Σ ∂z,  ⟨·⟩ the mean over the group Wu & He, "Group
// Normalization", 2018; φ is SiLU or nothing.
#include "engine/group_norm.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "engine/parallel.hpp"
#include "kernels/sigmoid.hpp"
#include "kernels/vectorised.hpp"

namespace dtk {
namespace {

using kernels::sigmoid;

constexpr double epsilon = 1e-5;
constexpr auto channels_last = at::MemoryFormat::ChannelsLast;

DTK_VECTORISED void widen(const std::uint16_t* from, float* to, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) to[i] = std::bit_cast<float>(static_cast<std::uint32_t>(from[i]) << 16);
}

DTK_VECTORISED void narrow(const float* from, std::uint16_t* to, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
        const auto bits = std::bit_cast<std::uint32_t>(from[i]);
        const auto nearest_even = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
        to[i] = static_cast<std::uint16_t>(from[i] == from[i] ? nearest_even : 0x7FC0U);
    }
}

/// sum[c] = Σ_l x[l, c]
DTK_VECTORISED void column_sums(const float* x, std::int64_t L, std::int64_t C, float* __restrict sum) {
    for (std::int64_t l = 0; l < L; ++l)
        for (std::int64_t c = 0; c < C; ++c) sum[c] += x[l * C + c];
}

/// sum[c] = Σ_l (x[l, c] − mean[c])²
DTK_VECTORISED void column_squares(const float* x, const float* mean, std::int64_t L, std::int64_t C,
                                   float* __restrict sum) {
    for (std::int64_t l = 0; l < L; ++l)
        for (std::int64_t c = 0; c < C; ++c) {
            const float d = x[l * C + c] - mean[c];
            sum[c] += d * d;
        }
}

/// What a channel of a sample is normalised with: γ and β, μ and r of its group.
struct Channels {
    const float *weight, *bias, *mean, *rstd;
};

DTK_VECTORISED void normalise(const float* x, const Channels& with, std::int64_t L, std::int64_t C, bool silu,
                              float* __restrict y) {
    const float *weight = with.weight, *bias = with.bias, *mean = with.mean, *rstd = with.rstd;
    for (std::int64_t l = 0; l < L; ++l) {
        const float* from = x + l * C;
        float* __restrict to = y + l * C;
        if (silu)
            for (std::int64_t c = 0; c < C; ++c) {
                const float z = weight[c] * ((from[c] - mean[c]) * rstd[c]) + bias[c];
                to[c] = z * sigmoid(z);
            }
        else
            for (std::int64_t c = 0; c < C; ++c) to[c] = weight[c] * ((from[c] - mean[c]) * rstd[c]) + bias[c];
    }
}

/// ∂y → ∂z in place; adds Σ ∂z and Σ ∂z x̂ of each channel.
DTK_VECTORISED void through_silu(const float* x, const Channels& with, std::int64_t L, std::int64_t C, bool silu,
                                 float* __restrict grad, float* __restrict sum, float* __restrict sum_xhat) {
    const float *weight = with.weight, *bias = with.bias, *mean = with.mean, *rstd = with.rstd;
    for (std::int64_t l = 0; l < L; ++l) {
        const float* from = x + l * C;
        float* __restrict g = grad + l * C;
        if (silu)
            for (std::int64_t c = 0; c < C; ++c) {
                const float z = weight[c] * ((from[c] - mean[c]) * rstd[c]) + bias[c], s = sigmoid(z);
                g[c] *= s * (1 + z * (1 - s));
            }
        for (std::int64_t c = 0; c < C; ++c) {
            sum[c] += g[c];
            sum_xhat[c] += g[c] * ((from[c] - mean[c]) * rstd[c]);
        }
    }
}

/// ∂z → ∂x in place, given ⟨γ ∂z⟩ and ⟨γ ∂z x̂⟩ of each channel's group.
DTK_VECTORISED void through_norm(const float* x, const Channels& with, const float* average, const float* average_xhat,
                                 std::int64_t L, std::int64_t C, float* __restrict grad) {
    const float *weight = with.weight, *mean = with.mean, *rstd = with.rstd;
    for (std::int64_t l = 0; l < L; ++l)
        for (std::int64_t c = 0; c < C; ++c) {
            const float xhat = (x[l * C + c] - mean[c]) * rstd[c];
            grad[l * C + c] = rstd[c] * (weight[c] * grad[l * C + c] - average[c] - xhat * average_xhat[c]);
        }
}

/// Every channel gets the mean of its group: column[c] summed over the group's channels, divided by L·C/G.
void average_groups(float* column, std::int64_t L, std::int64_t C, std::int64_t G) {
    const auto width = C / G;
    for (std::int64_t g = 0; g < G; ++g) {
        double sum = 0;
        for (std::int64_t c = g * width; c < (g + 1) * width; ++c) sum += column[c];
        const auto mean = static_cast<float>(sum / static_cast<double>(L * width));
        for (std::int64_t c = g * width; c < (g + 1) * width; ++c) column[c] = mean;
    }
}

/// The rows of one sample as float32, straight from the tensor or widened into `space`.
const float* rows(const Tensor& x, std::int64_t sample, std::int64_t n, std::vector<float>& space) {
    if (x.scalar_type() == at::kFloat) return x.const_data_ptr<float>() + sample * n;
    space.resize(static_cast<std::size_t>(n));
    widen(reinterpret_cast<const std::uint16_t*>(x.const_data_ptr<at::BFloat16>()) + sample * n, space.data(), n);
    return space.data();
}

/// Calls work(rows) with the place for one sample's float32 results and puts them into the tensor.
template <class Work>
void write_rows(const Tensor& y, std::int64_t sample, std::int64_t n, std::vector<float>& space, const Work& work) {
    if (y.scalar_type() == at::kFloat) return work(y.mutable_data_ptr<float>() + sample * n);
    space.resize(static_cast<std::size_t>(n));
    work(space.data());
    narrow(space.data(), reinterpret_cast<std::uint16_t*>(y.mutable_data_ptr<at::BFloat16>()) + sample * n, n);
}

struct Normalised {
    Tensor y, mean, rstd;  ///< mean and rstd: [B, C]
};

Normalised forward(const Tensor& x, const Tensor& weight, const Tensor& bias, std::int64_t G, bool silu) {
    const auto B = x.size(0), C = x.size(1), L = x.size(2) * x.size(3), n = L * C;
    Normalised result{at::empty_like(x), at::zeros({B, C}, weight.options()), at::zeros({B, C}, weight.options())};
    const auto *gamma = weight.const_data_ptr<float>(), *beta = bias.const_data_ptr<float>();
    auto *means = result.mean.mutable_data_ptr<float>(), *rstds = result.rstd.mutable_data_ptr<float>();
    in_parallel(B, 1, [&](std::int64_t first, std::int64_t last) {
        std::vector<float> wide_x, wide_y;
        for (auto b = first; b < last; ++b) {
            const auto* from = rows(x, b, n, wide_x);
            auto *mean = means + b * C, *rstd = rstds + b * C;
            column_sums(from, L, C, mean);
            average_groups(mean, L, C, G);
            column_squares(from, mean, L, C, rstd);
            average_groups(rstd, L, C, G);
            for (std::int64_t c = 0; c < C; ++c) rstd[c] = static_cast<float>(1 / std::sqrt(rstd[c] + epsilon));
            write_rows(result.y, b, n, wide_y, [&](float* to) {
                normalise(from, {gamma, beta, mean, rstd}, L, C, silu, to);
            });
        }
    });
    return result;
}

struct GroupNormGradients {
    Tensor x, weight, bias;
};

GroupNormGradients backward(const Tensor& grad, const Tensor& x, const Tensor& weight, const Tensor& bias,
                            const Tensor& mean, const Tensor& rstd, std::int64_t G, bool silu) {
    const auto B = x.size(0), C = x.size(1), L = x.size(2) * x.size(3), n = L * C;
    const auto grad_x = at::empty_like(x), sums = at::zeros({2, B, C}, weight.options());
    const auto *gamma = weight.const_data_ptr<float>(), *beta = bias.const_data_ptr<float>();
    const auto *means = mean.const_data_ptr<float>(), *rstds = rstd.const_data_ptr<float>();
    auto* all_sums = sums.mutable_data_ptr<float>();
    in_parallel(B, 1, [&](std::int64_t first, std::int64_t last) {
        std::vector<float> wide_x, wide_grad, wide_out, average(C), average_xhat(C);
        for (auto b = first; b < last; ++b) {
            const auto *from = rows(x, b, n, wide_x), *incoming = rows(grad, b, n, wide_grad);
            const Channels with{gamma, beta, means + b * C, rstds + b * C};
            auto *sum_xhat = all_sums + b * C, *sum = all_sums + (B + b) * C;
            write_rows(grad_x, b, n, wide_out, [&](float* to) {
                std::copy_n(incoming, n, to);
                through_silu(from, with, L, C, silu, to, sum, sum_xhat);
                for (std::int64_t c = 0; c < C; ++c)
                    average[c] = gamma[c] * sum[c], average_xhat[c] = gamma[c] * sum_xhat[c];
                average_groups(average.data(), L, C, G);
                average_groups(average_xhat.data(), L, C, G);
                through_norm(from, with, average.data(), average_xhat.data(), L, C, to);
            });
        }
    });
    const auto over_samples = sums.sum(1);
    return {grad_x, over_samples[0], over_samples[1]};
}

/// LibTorch's. On a device that answers in the plain layout whatever it was given; the answer is put into that of x.
Tensor plain_group_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, std::int64_t groups, bool silu) {
    const auto z = at::group_norm(x, groups, weight, bias, epsilon).contiguous(x.suggest_memory_format());
    return silu ? at::silu(z) : z;
}

struct FusedGroupNorm final : torch::autograd::Function<FusedGroupNorm> {
    static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& weight,
                          const Tensor& bias, std::int64_t groups, bool silu) {
        auto result = dtk::forward(x, weight, bias, groups, silu);
        context->save_for_backward({x, weight, bias, result.mean, result.rstd});
        context->saved_data["groups"] = groups;
        context->saved_data["silu"] = silu;
        return result.y;
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   const torch::autograd::variable_list& grads) {
        const auto saved = context->get_saved_variables();
        const auto groups = context->saved_data["groups"].toInt();
        const auto silu = context->saved_data["silu"].toBool();
        if (at::GradMode::is_enabled()) {  // somebody wants second derivatives
            const auto y = plain_group_norm(saved[0], saved[1], saved[2], groups, silu);
            auto first = torch::autograd::grad({y}, {saved[0], saved[1], saved[2]}, grads, std::nullopt, true, true);
            return {first[0], first[1], first[2], {}, {}};
        }
        const auto first = dtk::backward(grads[0].contiguous(channels_last), saved[0], saved[1], saved[2], saved[3],
                                         saved[4], groups, silu);
        return {first.x, first.weight, first.bias, {}, {}};
    }
};

}  // namespace

Tensor group_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, std::int64_t groups, bool silu) {
    // LibTorch's derivative in forward mode reads the plain layout alone.
    if (x._fw_grad(/*level=*/0).defined()) return plain_group_norm(x.contiguous(), weight, bias, groups, silu);
    const bool ours = x.is_cpu() && x.dim() == 4 && x.numel() > 0 && x.is_contiguous(channels_last) &&
                      (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
                      weight.scalar_type() == at::kFloat;
    if (!ours) return plain_group_norm(x, weight, bias, groups, silu);
    const bool recorded = at::GradMode::is_enabled() && (x.requires_grad() || weight.requires_grad());
    return recorded ? FusedGroupNorm::apply(x, weight, bias, groups, silu) : forward(x, weight, bias, groups, silu).y;
}

}  // namespace dtk
