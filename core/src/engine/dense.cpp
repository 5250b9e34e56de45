// z_{i+1} = W_i h_i + b_i,  h_{i+1} = φ(z_{i+1});   ∂z = ∂h φ'(z),  ∂W_i = ∂zᵀ h_i,  ∂b_i = Σ ∂z,  ∂h_i = ∂z W_i
// A block of rows goes through all layers while it is in the cache, and back again for the gradient. Rows are shared
// out among threads; which of them are summed first does not depend on how many threads there are.
#include <dtk/dense.hpp>

#include <algorithm>
#include <numeric>

#include <ATen/Version.h>
#include <ATen/autocast_mode.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "engine/dense.hpp"
#include "engine/parallel.hpp"

namespace dtk {

const kernels::Dense* dense_kernels(std::string_view instructions) {
#ifdef __x86_64__
    if (instructions == "AVX512") return &kernels::dense_avx512;
    if (instructions == "AVX2") return &kernels::dense_avx2;
#endif
    return instructions == "DEFAULT" ? &kernels::dense_plain : nullptr;
}

namespace {

using torch::autograd::variable_list;

constexpr std::int64_t block = 64;      ///< rows that go through all layers together
constexpr std::int64_t widest = 1024;   ///< beyond it the products are all that counts, and LibTorch's are as fast
constexpr std::int64_t summed = 256;    ///< rows whose gradients are summed by one thread, one after the other
constexpr double worth_a_thread = 4e6;  ///< operations

/// Those that LibTorch uses here, so that ATEN_CPU_CAPABILITY chooses for both.
const kernels::Dense& kernel() {
    static const auto* const chosen = [] {
        const auto* found = dense_kernels(at::get_cpu_capability());
        return found ? found : &kernels::dense_plain;
    }();
    return *chosen;
}

float* data_of(const Tensor& x) { return x.mutable_data_ptr<float>(); }
const float* reading(const Tensor& x) { return x.const_data_ptr<float>(); }
Tensor floats(std::int64_t n) { return at::empty({n}, at::kFloat); }

/// What the layers are, whatever their numbers.
struct Shape {
    std::vector<std::int64_t> width;  ///< of h_0 … h_n
    bool silu, activated;             ///< φ is SiLU; the last layer has it, too

    std::size_t layers() const { return width.size() - 1; }
    std::int64_t padded(std::size_t i) const { return kernels::padded(width[i]); }
    bool has_slope(std::size_t i) const { return i > 0 && (i < layers() || activated); }
    void activate(float* h, float* slope, std::int64_t n) const {
        (silu ? kernel().silu : kernel().sigmoid)(h, slope, n);
    }
    /// Operations of all layers on a row.
    double work() const {
        double sum = 0;
        for (std::size_t i = 0; i < layers(); ++i) sum += 2.0 * static_cast<double>(width[i] * padded(i + 1));
        return sum;
    }
};

/// The weights as the kernels read them: W_iᵀ, [in, padded out], and b_i, [padded out].
class Transposed {
 public:
    Transposed(const Shape& shape, at::TensorList parameters) {
        std::int64_t n = 0;
        for (std::size_t i = 0; i < shape.layers(); ++i) {
            places_.push_back(n);
            n += (shape.width[i] + 1) * shape.padded(i + 1);
        }
        space_ = floats(n);
        for (std::size_t i = 0; i < shape.layers(); ++i) {
            const auto in = shape.width[i], out = shape.width[i + 1], row = shape.padded(i + 1);
            const auto *weight = reading(parameters[2 * i]), *bias = reading(parameters[2 * i + 1]);
            auto* to = data_of(space_) + places_[i];
            for (std::int64_t k = 0; k < in; ++k) std::fill(to + k * row + out, to + (k + 1) * row, 0.0F);
            for (std::int64_t first = 0; first < out; first += kernels::padded_to)  // in squares, for the cache's sake
                for (std::int64_t k = 0; k < in; ++k)
                    for (auto n = first; n < std::min(out, first + kernels::padded_to); ++n)
                        to[k * row + n] = weight[n * in + k];
            std::fill(std::copy_n(bias, out, to + in * row), to + (in + 1) * row, 0.0F);
        }
    }
    const float* weight(std::size_t i) const { return reading(space_) + places_[i]; }
    const float* bias(const Shape& shape, std::size_t i) const {
        return weight(i) + shape.width[i] * shape.padded(i + 1);
    }

 private:
    Tensor space_;
    std::vector<std::int64_t> places_;
};

/// What is kept of a pass for its gradient: h_i, their rows padded, and φ'(z_i).
class KeptInputs {
 public:
    KeptInputs(const Shape& shape, std::int64_t B, Tensor space = {}) : shape_(shape) {
        std::int64_t n = 0;
        for (std::size_t i = 0; i <= shape.layers(); ++i) {
            values_.push_back(n);
            if (i < shape.layers()) n += B * shape.padded(i);
            slopes_.push_back(n);
            if (shape.has_slope(i)) n += B * shape.padded(i);
        }
        space_ = space.defined() ? std::move(space) : floats(n);
    }
    const Tensor& space() const { return space_; }
    float* value(std::size_t i, std::int64_t row) const { return at(values_[i], i, row); }
    float* slope(std::size_t i, std::int64_t row) const { return at(slopes_[i], i, row); }

 private:
    float* at(std::int64_t place, std::size_t i, std::int64_t row) const {
        return data_of(space_) + place + row * shape_.padded(i);
    }
    const Shape& shape_;
    Tensor space_;
    std::vector<std::int64_t> values_, slopes_;
};

/// [rows, width] → [rows, padded], or back: what is beyond the shorter of the two is not touched.
void copy_rows(const float* from, std::int64_t from_row, float* to, std::int64_t to_row, std::int64_t rows) {
    const auto n = std::min(from_row, to_row);
    for (std::int64_t b = 0; b < rows; ++b) std::copy_n(from + b * from_row, n, to + b * to_row);
}

void clear_beyond(float* to, std::int64_t width, std::int64_t padded, std::int64_t rows) {
    for (std::int64_t b = 0; b < rows && width < padded; ++b)
        std::fill(to + b * padded + width, to + (b + 1) * padded, 0.0F);
}

/// x: [B, in], contiguous → [B, out]. `kept`: null where no gradient is wanted.
Tensor dense_forward(const Shape& shape, const Tensor& x, at::TensorList parameters, const KeptInputs* kept) {
    const auto n = shape.layers();
    const auto B = x.size(0), in = shape.width[0], out = shape.width[n];
    const Transposed weights(shape, parameters);
    const auto y = at::empty({B, out}, at::kFloat);
    const auto widest_row = kernels::padded(*std::max_element(shape.width.begin(), shape.width.end()));
    const auto blocks = (B + block - 1) / block;
    const auto least = static_cast<std::int64_t>(worth_a_thread / (shape.work() * block));
    in_parallel(blocks, std::max<std::int64_t>(1, least), [&](std::int64_t begin, std::int64_t end) {
        const auto space = floats(2 * block * widest_row);
        for (auto first = begin * block; first < std::min(end * block, B); first += block) {
            const auto rows = std::min(block, B - first);
            kernels::Strided h{reading(x) + first * in, in, 1};
            if (kept) {
                auto* to = kept->value(0, first);
                copy_rows(h.data, in, to, shape.padded(0), rows);
                clear_beyond(to, in, shape.padded(0), rows);
            }
            for (std::size_t i = 0; i < n; ++i) {
                const auto row = shape.padded(i + 1);
                auto* to = kept && i + 1 < n ? kept->value(i + 1, first)
                                             : data_of(space) + static_cast<std::int64_t>(i % 2) * block * widest_row;
                kernel().product(h, weights.weight(i), row, weights.bias(shape, i), false, to, row, rows, row,
                                 shape.width[i]);
                if (shape.has_slope(i + 1)) shape.activate(to, kept ? kept->slope(i + 1, first) : nullptr, rows * row);
                h = {to, row, 1};
            }
            copy_rows(h.data, h.rows, data_of(y) + first * out, out, rows);
        }
    });
    return y;
}

/// Sums of the gradients by the parameters over some rows, the rows of ∂W_i padded.
class Sums {
 public:
    explicit Sums(const Shape& shape) : shape_(shape) {
        std::int64_t n = 0;
        for (std::size_t i = 0; i < shape.layers(); ++i) {
            places_.push_back(n);
            n += shape.width[i + 1] * shape.padded(i) + shape.padded(i + 1);
        }
        space_ = floats(n);
    }
    float* weight(std::size_t i) const { return data_of(space_) + places_[i]; }
    float* bias(std::size_t i) const { return weight(i) + shape_.width[i + 1] * shape_.padded(i); }
    const Tensor& space() const { return space_; }

 private:
    const Shape& shape_;
    Tensor space_;
    std::vector<std::int64_t> places_;
};

/// The weights with padded rows, where theirs are not.
std::vector<Tensor> padded_weights(const Shape& shape, at::TensorList parameters) {
    std::vector<Tensor> all;
    for (std::size_t i = 0; i < shape.layers(); ++i) {
        const auto row = shape.padded(i), in = shape.width[i], out = shape.width[i + 1];
        all.push_back(parameters[2 * i]);
        if (row == in) continue;
        all.back() = floats(out * row);
        copy_rows(reading(parameters[2 * i]), in, data_of(all.back()), row, out);
        clear_beyond(data_of(all.back()), in, row, out);
    }
    return all;
}

struct DenseGradients {
    Tensor x;                        ///< undefined where it is not wanted
    std::vector<Tensor> parameters;  ///< ∂W_0, ∂b_0, ∂W_1 …
};

/// grad: [B, out], contiguous
DenseGradients dense_backward(const Shape& shape, const Tensor& grad, at::TensorList parameters, const KeptInputs& kept,
                              bool wants_x) {
    const auto n = shape.layers();
    const auto B = grad.size(0), in = shape.width[0], out = shape.width[n];
    const auto weights = padded_weights(shape, parameters);
    const auto widest_row = kernels::padded(*std::max_element(shape.width.begin(), shape.width.end()));
    DenseGradients result;
    if (wants_x) result.x = at::empty({B, in}, at::kFloat);
    const auto portions = std::max<std::int64_t>(1, B / summed);
    std::vector<Sums> sums;
    for (std::int64_t i = 0; i < portions; ++i) sums.emplace_back(shape);
    in_parallel(portions, 1, [&](std::int64_t begin, std::int64_t end) {
        const auto space = floats(2 * block * widest_row);
        for (auto portion = begin; portion < end; ++portion) {
            const auto& sum = sums[static_cast<std::size_t>(portion)];
            const auto start = B * portion / portions, stop = B * (portion + 1) / portions;
            for (std::size_t i = 0; i < n; ++i) std::fill_n(sum.bias(i), shape.padded(i + 1), 0.0F);
            for (auto first = start; first < stop; first += block) {
                const auto rows = std::min(block, stop - first);
                auto *dz = data_of(space), *dh = dz + block * widest_row;
                copy_rows(reading(grad) + first * out, out, dz, shape.padded(n), rows);
                clear_beyond(dz, out, shape.padded(n), rows);
                if (shape.activated) kernel().multiply(dz, kept.slope(n, first), rows * shape.padded(n));
                for (auto i = n; i-- > 0;) {
                    const auto row = shape.padded(i + 1), before = shape.padded(i), width = shape.width[i + 1];
                    kernel().product({dz, 1, row}, kept.value(i, first), before, nullptr, first > start, sum.weight(i),
                                     before, width, before, rows);
                    kernel().add_rows(dz, rows, row, sum.bias(i));
                    if (i == 0 && !wants_x) break;
                    kernel().product({dz, row, 1}, reading(weights[i]), before, nullptr, false, dh, before, rows,
                                     before, width);
                    if (shape.has_slope(i)) kernel().multiply(dh, kept.slope(i, first), rows * before);
                    std::swap(dz, dh);
                }
                if (wants_x) copy_rows(dz, shape.padded(0), data_of(result.x) + first * in, in, rows);
            }
        }
    });
    for (std::size_t k = 1; k < sums.size(); ++k) sums.front().space().add_(sums[k].space());
    for (std::size_t i = 0; i < n; ++i) {
        result.parameters.push_back(at::empty({shape.width[i + 1], shape.width[i]}, at::kFloat));
        copy_rows(sums.front().weight(i), shape.padded(i), data_of(result.parameters.back()), shape.width[i],
                  shape.width[i + 1]);
        result.parameters.push_back(at::empty({shape.width[i + 1]}, at::kFloat));
        std::copy_n(sums.front().bias(i), shape.width[i + 1], data_of(result.parameters.back()));
    }
    return result;
}

/// By LibTorch's operations.
Tensor plain_dense(const Shape& shape, const Tensor& x, at::TensorList parameters) {
    auto h = x;
    for (std::size_t i = 0; i < shape.layers(); ++i) {
        h = at::linear(h, parameters[2 * i], parameters[2 * i + 1]);
        if (shape.has_slope(i + 1)) h = shape.silu ? at::silu(h) : at::sigmoid(h);
    }
    return h;
}

Shape shape_of(const Tensor& x, at::TensorList parameters, bool silu, bool activated) {
    Shape shape{{x.size(1)}, silu, activated};
    for (std::size_t i = 0; i < parameters.size(); i += 2) shape.width.push_back(parameters[i].size(0));
    return shape;
}

struct FusedDense final : torch::autograd::Function<FusedDense> {
    static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, at::TensorList parameters,
                          bool silu, bool activated) {
        const auto shape = shape_of(x, parameters, silu, activated);
        const KeptInputs kept(shape, x.size(0));
        auto saved = parameters.vec();
        saved.insert(saved.end(), {x, kept.space()});
        context->save_for_backward(std::move(saved));
        context->saved_data["silu"] = silu;
        context->saved_data["activated"] = activated;
        return dense_forward(shape, x, parameters, &kept);
    }

    static variable_list backward(torch::autograd::AutogradContext* context, const variable_list& grads) {
        auto saved = context->get_saved_variables();
        const auto space = std::move(saved.back());
        saved.pop_back();
        const auto x = std::move(saved.back());
        saved.pop_back();
        const auto shape =
            shape_of(x, saved, context->saved_data["silu"].toBool(), context->saved_data["activated"].toBool());
        variable_list all;
        if (at::GradMode::is_enabled()) {  // somebody wants second derivatives
            auto inputs = saved;
            inputs.insert(inputs.begin(), x);
            variable_list wanted;
            for (const auto& one : inputs)
                if (one.requires_grad()) wanted.push_back(one);
            const auto found =
                torch::autograd::grad({plain_dense(shape, x, saved)}, wanted, grads, std::nullopt, true, true);
            auto next = found.begin();
            for (const auto& one : inputs) all.push_back(one.requires_grad() ? *next++ : Tensor());
        } else {
            const KeptInputs kept(shape, x.size(0), space);
            auto found = dense_backward(shape, grads[0].contiguous(), saved, kept, x.requires_grad());
            all = std::move(found.parameters);
            all.insert(all.begin(), found.x);
        }
        all.insert(all.end(), {Tensor(), Tensor()});
        return all;
    }
};

bool is_ours(const Tensor& x) {
    return x.is_cpu() && x.scalar_type() == at::kFloat && x.layout() == at::kStrided &&
           !x._fw_grad(/*level=*/0).defined();
}

}  // namespace

Dense::Dense(std::vector<std::shared_ptr<Linear>> layers, Activation activation, Last last)
    : layers_(std::move(layers)), activation_(activation), last_(last) {}

Tensor Dense::operator()(const Tensor& x) const {
    std::vector<Tensor> parameters;
    parameters.reserve(2 * layers_.size());
    for (const auto& layer : layers_) parameters.insert(parameters.end(), {layer->weight(), layer->bias()});
    const bool silu = activation_ == Activation::silu, activated = last_ == Last::activated;
    const auto shape = shape_of(x, parameters, silu, activated);
    const bool ours = is_ours(x) && x.dim() == 2 && x.numel() > 0 && !at::autocast::is_autocast_enabled(at::kCPU) &&
                      std::ranges::all_of(parameters, is_ours) &&
                      std::ranges::all_of(parameters, [](const Tensor& p) { return p.is_contiguous(); }) &&
                      *std::ranges::max_element(shape.width) <= widest;
    // Who looks at every operation is to see them, each with its tensors.
    if (!ours || at::hasThreadLocalCallbacks()) return plain_dense(shape, x, parameters);
    const auto wants = [](const Tensor& p) { return p.requires_grad(); };
    const bool recorded = at::GradMode::is_enabled() && (wants(x) || std::ranges::any_of(parameters, wants));
    return recorded ? FusedDense::apply(x.contiguous(), at::TensorList(parameters), silu, activated)
                    : dense_forward(shape, x.contiguous(), parameters, nullptr);
}

}  // namespace dtk
