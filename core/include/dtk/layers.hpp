#pragma once
// Building blocks that networks share. Each is a Module whose initial values come from the random numbers it is given,
// so a parameter starts from the stream named after its path, whatever stands before it in the network.

#include <cstdint>
#include <string>

#include <dtk/module.hpp>
#include <dtk/prediction.hpp>
#include <dtk/random.hpp>
#include <dtk/tensor.hpp>

namespace dtk {

/// How the weights of a layer start. `uniform`: U(−1/√n, 1/√n), n inputs to each output, as PyTorch's layers;
/// `zeros`: the layer answers 0 until it has learned something, as the last layer of a residual branch does.
enum class Start { uniform, zeros };

/// A starting weight or bias [out, ...] of a layer whose every output has `inputs` inputs.
DTK_API Tensor starting_value(Start start, at::IntArrayRef sizes, std::int64_t inputs, const Random& random);

/// y = W x + b over the last dimension: [..., in] → [..., out]
class DTK_API Linear : public Module {
 public:
    Linear(const Random& random, std::int64_t in, std::int64_t out, Start start = Start::uniform);
    Tensor operator()(const Tensor& x) const { return at::linear(x, *weight_, *bias_); }
    const Tensor& weight() const { return *weight_; }  ///< [out, in]
    const Tensor& bias() const { return *bias_; }      ///< [out]

 private:
    Tensor *weight_, *bias_;
};

/// y = W_t x + b_t, an affine map of its own for each step: x [B, in], t [B] in 0 … steps−1 → [B, out]
class DTK_API StepLinear : public Module {
 public:
    StepLinear(const Random& random, std::int64_t steps, std::int64_t in, std::int64_t out,
               Start start = Start::uniform);
    Tensor operator()(const Tensor& x, const Tensor& t) const;

 private:
    Tensor *weight_, *bias_;
};

/// n normal densities with centres spread evenly over [−1, 1] and half their distance wide, at u: [N], divided by their
/// sum. → [N, n], as u
DTK_API Tensor bumps(const Tensor& u, std::int64_t n);

/// A convolution with odd square kernels and zeros around the image: [B, in, H, W] → [B, out, ⌈H/stride⌉, ⌈W/stride⌉]
class DTK_API Conv2d : public Module {
 public:
    Conv2d(const Random& random, std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride = 1,
           Start start = Start::uniform);
    Tensor operator()(const Tensor& x) const;

 private:
    Tensor *weight_, *bias_;
    std::int64_t stride_, padding_;
};

/// Each group of channels of each sample to mean 0 and variance 1, then a scale and a shift per channel: [B, C, H, W]
class DTK_API GroupNorm : public Module {
 public:
    enum class Then { nothing, silu };
    /// Errors: Error where `groups` does not divide `channels`.
    GroupNorm(const Random& random, std::int64_t channels, std::int64_t groups, Then then = Then::nothing);
    Tensor operator()(const Tensor& x) const;

 private:
    Tensor *weight_, *bias_;
    std::int64_t groups_;
    bool silu_;
};

/// A vector for each of `count` classes and, with `null`, one for rows that are not told theirs; N(0, sd²) at the
/// start. condition.label: [B] int64 → [B, out]
class DTK_API Embedding : public Module {
 public:
    Embedding(const Random& random, std::int64_t count, std::int64_t out, double sd = 1, bool null = false);
    /// Errors: Error where there are no labels, or rows that are not told theirs and no vector for them.
    Tensor operator()(const Condition& condition) const;
    bool knows_null() const { return null_; }

 private:
    Tensor* weight_;
    std::int64_t count_;
    bool null_;
};

/// [sin(c·t·ω_i), cos(c·t·ω_i)], ω_i = 10000^(−i/(n−1)), i = 0 … n−1, n = features/2: t [B] → [B, features] float32.
/// Transformer positions as in Ho et al. 2020; c brings t to the range 0 … 1000 that they are made for.
class DTK_API SinusoidalEmbedding : public Module {
 public:
    /// Errors: Error for an odd number of features.
    SinusoidalEmbedding(std::int64_t features, double c = 1);
    Tensor operator()(const Tensor& t) const;

 private:
    Tensor *frequency_, *phase_;
};

/// Zeroes a share p of the elements and scales the rest by 1/(1−p), while training. The numbers come from the step's
/// own, so they belong to the sample, the step and the site, and not to the batch. Errors: Error without random numbers
/// in training.
class DTK_API Dropout : public Module {
 public:
    /// site: a name that no other dropout of the network has
    Dropout(double p, std::string site) : p_(p), site_(std::move(site)) {}
    Tensor operator()(const Tensor& x, const Random* random) const;

 private:
    double p_;
    std::string site_;
};

/// softmax(q kᵀ/√d) v. q, k, v: [B, heads, L, d] → [B, heads, L, d]
DTK_API Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v);

/// The memory layout that networks of images should ask of their input: the one that convolutions are fastest in. The
/// layers here keep it.
DTK_API Tensor to_image_layout(const Tensor& x);

}  // namespace dtk
