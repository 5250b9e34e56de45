#include <dtk/layers.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

#include <ATen/autocast_mode.h>
#include <fmt/format.h>

#include <dtk/error.hpp>

#include "engine/group_norm.hpp"
#include "kernels/sine.hpp"
#include "kernels/vectorised.hpp"

namespace dtk {

Tensor starting_value(Start start, at::IntArrayRef sizes, std::int64_t inputs, const Random& random) {
    if (start == Start::zeros) return at::zeros(sizes);
    const double bound = 1 / std::sqrt(static_cast<double>(inputs));
    return random.uniform(sizes, at::kFloat).mul_(2 * bound).sub_(bound);
}

Linear::Linear(const Random& random, std::int64_t in, std::int64_t out, Start start)
    : weight_(&parameter("weight", starting_value(start, {out, in}, in, random.stream("weight")))),
      bias_(&parameter("bias", starting_value(start, {out}, in, random.stream("bias")))) {}

StepLinear::StepLinear(const Random& random, std::int64_t steps, std::int64_t in, std::int64_t out, Start start)
    : weight_(&parameter("weight", starting_value(start, {steps, out * in}, in, random.stream("weight")))),
      bias_(&parameter("bias", starting_value(start, {steps, out}, in, random.stream("bias")))) {}

Tensor StepLinear::operator()(const Tensor& x, const Tensor& t) const {
    // A gather whose gradient adds rows up, which index_select on a table of thousands of steps does slowly.
    const auto step = t.to(at::kLong);
    return at::embedding(*weight_, step).view({x.size(0), -1, x.size(1)}).bmm(x.unsqueeze(2)).squeeze(2) +
           at::embedding(*bias_, step);
}

Tensor bumps(const Tensor& u, std::int64_t n) {
    const auto centre = at::linspace(-1, 1, n, u.options());
    const double width = 1 / static_cast<double>(n - 1);
    return (-0.5 * ((u.unsqueeze(1) - centre) / width).square()).softmax(1);
}

Conv2d::Conv2d(const Random& random, std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride,
               Start start)
    : weight_(&parameter(
          "weight", starting_value(start, {out, in, kernel, kernel}, in * kernel * kernel, random.stream("weight")))),
      bias_(&parameter("bias", starting_value(start, {out}, in * kernel * kernel, random.stream("bias")))),
      stride_(stride),
      padding_(kernel / 2) {}

Tensor Conv2d::operator()(const Tensor& x) const { return at::conv2d(x, *weight_, *bias_, stride_, padding_); }

GroupNorm::GroupNorm(const Random&, std::int64_t channels, std::int64_t groups, Then then)
    : weight_(&parameter("weight", at::ones({channels}))),
      bias_(&parameter("bias", at::zeros({channels}))),
      groups_(groups),
      silu_(then == Then::silu) {
    if (groups < 1 || channels % groups != 0)
        throw Error(fmt::format("{} channels do not fall into {} equal groups", channels, groups),
                    "let `groups` divide every number of channels");
}

Tensor GroupNorm::operator()(const Tensor& x) const { return group_norm(x, *weight_, *bias_, groups_, silu_); }

Embedding::Embedding(const Random& random, std::int64_t count, std::int64_t out, double sd, bool null)
    : weight_(&parameter("weight", random.stream("weight").normal({count + null, out}, at::kFloat).mul_(sd))),
      count_(count),
      null_(null) {}

Tensor Embedding::operator()(const Condition& condition) const {
    if (!condition.label.defined())
        throw Error("a network conditioned on classes was given no labels",
                    "give it labels, or train it with `conditional = false`");
    if (!condition.given.defined()) return at::embedding(*weight_, condition.label);
    if (!null_)
        throw Error("the network was never asked without its class in training, and now it is",
                    "train it with drop_condition in [train], such as 0.1");
    return at::embedding(*weight_, condition.label.masked_fill(condition.given.logical_not(), count_));
}

SinusoidalEmbedding::SinusoidalEmbedding(std::int64_t features, double c) {
    if (features < 2 || features % 2 != 0)
        throw Error(fmt::format("{} time features are not pairs of a sine and a cosine", features),
                    "use an even number");
    const auto n = features / 2;
    std::vector<double> frequency, phase;
    for (std::int64_t k = 0; k < features; ++k) {
        frequency.push_back(
            c * std::pow(1e4, -static_cast<double>(k % n) / static_cast<double>(std::max<std::int64_t>(n - 1, 1))));
        phase.push_back(k < n ? 0 : std::numbers::pi / 2);  // cos x = sin(x + π/2)
    }
    frequency_ = &constant("frequency", at::tensor(frequency, at::kFloat));
    phase_ = &constant("phase", at::tensor(phase, at::kFloat));
}

namespace {
/// y[b, k] = sin(phase_k + t_b ω_k)
DTK_VECTORISED void waves(const double* t, std::int64_t B, const float* frequency, const float* phase, std::int64_t n,
                          float* __restrict y) {
    for (std::int64_t b = 0; b < B; ++b) {
        const auto time = static_cast<float>(t[b]);
        for (std::int64_t k = 0; k < n; ++k) y[b * n + k] = kernels::sine(phase[k] + time * frequency[k]);
    }
}

/// Up to where sine() is precise.
bool in_range(const double* t, std::int64_t B, double fastest) {
    return std::all_of(t, t + B, [&](double one) { return std::abs(one) * fastest < 9000; });
}
}  // namespace

Tensor SinusoidalEmbedding::operator()(const Tensor& t) const {
    const bool plain = t.is_cpu() && frequency_->is_cpu() && t.scalar_type() == at::kDouble && t.dim() == 1 &&
                       t.is_contiguous() && !t.requires_grad() && !t._fw_grad(/*level=*/0).defined() &&
                       frequency_->is_contiguous() && frequency_->scalar_type() == at::kFloat;
    const auto n = frequency_->numel();
    if (plain && in_range(t.const_data_ptr<double>(), t.size(0), *frequency_->const_data_ptr<float>())) {
        auto y = at::empty({t.size(0), n}, at::kFloat);
        waves(t.const_data_ptr<double>(), t.size(0), frequency_->const_data_ptr<float>(),
              phase_->const_data_ptr<float>(), n, y.mutable_data_ptr<float>());
        return y;
    }
    return at::addcmul(*phase_, t.to(at::kFloat).unsqueeze(1), *frequency_).sin_();
}

Tensor Dropout::operator()(const Tensor& x, const Random* random) const {
    if (p_ == 0 || !training()) return x;
    if (!random) throw Error("dropout in training needs the step's random numbers (condition.random)");
    const auto kept = random->stream("dropout").stream(site_).uniform(x.sizes(), x.options().dtype(at::kFloat)) >= p_;
    return x * kept * (1 / (1 - p_));
}

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v) {
    // LibTorch's fused kernels have no derivative in forward mode.
    if (q._fw_grad(/*level=*/0).defined()) return std::get<0>(at::_scaled_dot_product_attention_math(q, k, v));
    // On the CPU LibTorch's bfloat16 kernel is 12 times slower than the float32 one below 64 positions.
    const bool short_on_cpu = q.is_cpu() && q.scalar_type() == at::kBFloat16 && q.size(2) < 64;
    if (!short_on_cpu) return at::scaled_dot_product_attention(q, k, v);
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::DispatchKey::AutocastCPU);
    return at::scaled_dot_product_attention(q.to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat)).to(q.scalar_type());
}

// On a CUDA device channels-last would spare convolutions in bfloat16 their transpositions, and LibTorch's group norm
// there, which reads the plain layout alone, would make as many: its turn comes with a group norm of our own for the
// device.
Tensor to_image_layout(const Tensor& x) {
    return x.is_cpu() ? x.contiguous(at::MemoryFormat::ChannelsLast) : x.contiguous();
}

}  // namespace dtk
