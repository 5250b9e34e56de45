// Loops over the memory of many tensors.
#include "engine/blocks.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <torch/csrc/autograd/variable.h>

#include "engine/parallel.hpp"
#include "kernels/vectorised.hpp"

namespace dtk {

namespace {

constexpr std::int64_t stretch = 4096;  ///< numbers that are gone through at once
constexpr std::int64_t portion = 16;    ///< stretches that are worth a thread

struct AdamNumbers {
    double rate, keep, lambda, beta1, beta2, eps, first_unbiased, second_unbiased;
};

template <class T>
[[gnu::always_inline]] inline void adam_of(T* __restrict p, const T* __restrict g, T* __restrict m, T* __restrict v,
                                           std::int64_t n, const AdamNumbers& numbers) {
    const auto keep = static_cast<T>(numbers.keep), lambda = static_cast<T>(numbers.lambda);
    const auto beta1 = static_cast<T>(numbers.beta1), rest1 = static_cast<T>(1 - numbers.beta1);
    const auto beta2 = static_cast<T>(numbers.beta2), rest2 = static_cast<T>(1 - numbers.beta2);
    const auto step = static_cast<T>(numbers.rate / numbers.first_unbiased);
    const auto root = static_cast<T>(1 / std::sqrt(numbers.second_unbiased)), eps = static_cast<T>(numbers.eps);
    for (std::int64_t i = 0; i < n; ++i) {
        const T gradient = g[i] + lambda * p[i];
        m[i] = beta1 * m[i] + rest1 * gradient;
        v[i] = beta2 * v[i] + rest2 * (gradient * gradient);
        p[i] = keep * p[i] - step * m[i] / (std::sqrt(v[i]) * root + eps);
    }
}

DTK_VECTORISED void adam_float(float* p, const float* g, float* m, float* v, std::int64_t n,
                               const AdamNumbers& numbers) {
    adam_of(p, g, m, v, n, numbers);
}
DTK_VECTORISED void adam_double(double* p, const double* g, double* m, double* v, std::int64_t n,
                                const AdamNumbers& numbers) {
    adam_of(p, g, m, v, n, numbers);
}

template <class T>
[[gnu::always_inline]] inline void approach_of(T* __restrict x, const T* __restrict y, std::int64_t n, T share) {
    if (share < T(0.5))
        for (std::int64_t i = 0; i < n; ++i) x[i] += share * (y[i] - x[i]);
    else  // where all of y is taken, x becomes y
        for (std::int64_t i = 0; i < n; ++i) x[i] = y[i] - (1 - share) * (y[i] - x[i]);
}
DTK_VECTORISED void approach_float(float* x, const float* y, std::int64_t n, float share) {
    approach_of(x, y, n, share);
}
DTK_VECTORISED void approach_double(double* x, const double* y, std::int64_t n, double share) {
    approach_of(x, y, n, share);
}

constexpr int side_by_side = 16;

/// A sum for each of `side_by_side` numbers in turn, so that it is the same whatever the width of a vector.
template <class T>
[[gnu::always_inline]] inline double squares_of(const T* x, std::int64_t n) {
    T sum[side_by_side] = {};
    std::int64_t i = 0;
    for (; i + side_by_side <= n; i += side_by_side)
        for (int k = 0; k < side_by_side; ++k) sum[k] += x[i + k] * x[i + k];
    double all = 0;
    for (int k = 0; k < side_by_side; ++k) all += static_cast<double>(sum[k]);
    for (; i < n; ++i) all += static_cast<double>(x[i] * x[i]);
    return all;
}
DTK_VECTORISED double squares_float(const float* x, std::int64_t n) { return squares_of(x, n); }
DTK_VECTORISED double squares_double(const double* x, std::int64_t n) { return squares_of(x, n); }

template <class T>
[[gnu::always_inline]] inline void scale_of(T* x, std::int64_t n, T factor) {
    for (std::int64_t i = 0; i < n; ++i) x[i] *= factor;
}
DTK_VECTORISED void scale_float(float* x, std::int64_t n, float factor) { scale_of(x, n, factor); }
DTK_VECTORISED void scale_double(double* x, std::int64_t n, double factor) { scale_of(x, n, factor); }

}  // namespace

std::optional<Blocks> Blocks::of(std::initializer_list<const std::vector<Tensor>*> lists) {
    Blocks blocks;
    const auto& first = **lists.begin();
    if (first.empty()) return std::nullopt;
    blocks.type_ = first.front().scalar_type();
    if (blocks.type_ != at::kFloat && blocks.type_ != at::kDouble) return std::nullopt;
    blocks.starts_.push_back(0);
    for (const auto& x : first) {
        if (!x.is_non_overlapping_and_dense()) return std::nullopt;
        blocks.sizes_.push_back(x.numel());
        blocks.starts_.push_back(blocks.starts_.back() + (x.numel() + stretch - 1) / stretch);
    }
    for (const auto* list : lists) {
        auto& data = blocks.data_.emplace_back();
        data.reserve(list->size());
        for (std::size_t i = 0; i < list->size(); ++i) {
            const auto& x = (*list)[i];
            if (!x.is_cpu() || x.layout() != at::kStrided || x.scalar_type() != blocks.type_ ||
                x.sizes() != first[i].sizes() || x.strides() != first[i].strides())
                return std::nullopt;
            data.push_back(x.mutable_data_ptr());
        }
    }
    return blocks;
}

void Blocks::written(const std::vector<Tensor>& list) {
    for (const auto& x : list) torch::autograd::impl::bump_version(x);
}

void Blocks::each(const std::function<void(const Stretch&)>& work) const {
    in_parallel(starts_.back(), portion, [&](std::int64_t first, std::int64_t last) {
        auto i = static_cast<std::size_t>(std::ranges::upper_bound(starts_, first) - starts_.begin()) - 1;
        for (auto number = first; number < last; ++number) {
            while (number >= starts_[i + 1]) ++i;
            const auto from = (number - starts_[i]) * stretch;
            work({number, i, from, std::min(stretch, sizes_[i] - from)});
        }
    });
}

void adam(const Blocks& blocks, const std::vector<double>& lambda, const AdamStep& step) {
    const AdamNumbers all{.rate = step.rate,
                          .keep = 1,
                          .lambda = 0,
                          .beta1 = step.beta1,
                          .beta2 = step.beta2,
                          .eps = step.eps,
                          .first_unbiased = 1 - std::pow(step.beta1, step.made),
                          .second_unbiased = 1 - std::pow(step.beta2, step.made)};
    blocks.each([&](const Blocks::Stretch& one) {
        auto numbers = all;
        if (step.decays_weights)
            numbers.keep = 1 - step.rate * lambda[one.i];
        else
            numbers.lambda = lambda[one.i];
        if (blocks.type() == at::kFloat)
            adam_float(blocks.at<float>(0, one), blocks.at<float>(1, one), blocks.at<float>(2, one),
                       blocks.at<float>(3, one), one.n, numbers);
        else
            adam_double(blocks.at<double>(0, one), blocks.at<double>(1, one), blocks.at<double>(2, one),
                        blocks.at<double>(3, one), one.n, numbers);
    });
}

void approach(const Blocks& blocks, double share) {
    blocks.each([&](const Blocks::Stretch& one) {
        if (blocks.type() == at::kFloat)
            approach_float(blocks.at<float>(0, one), blocks.at<float>(1, one), one.n, static_cast<float>(share));
        else
            approach_double(blocks.at<double>(0, one), blocks.at<double>(1, one), one.n, share);
    });
}

double squares(const Blocks& blocks) {
    std::vector<double> sums(static_cast<std::size_t>(blocks.stretches()));
    blocks.each([&](const Blocks::Stretch& one) {
        sums[static_cast<std::size_t>(one.number)] = blocks.type() == at::kFloat
                                                         ? squares_float(blocks.at<float>(0, one), one.n)
                                                         : squares_double(blocks.at<double>(0, one), one.n);
    });
    return std::accumulate(sums.begin(), sums.end(), 0.0);
}

void scale(const Blocks& blocks, double factor) {
    blocks.each([&](const Blocks::Stretch& one) {
        if (blocks.type() == at::kFloat)
            scale_float(blocks.at<float>(0, one), one.n, static_cast<float>(factor));
        else
            scale_double(blocks.at<double>(0, one), one.n, factor);
    });
}

}  // namespace dtk
