#pragma once
#include <cstdint>
#include <dtk/api.hpp>
#include <dtk/tensor.hpp>
#include <string_view>

namespace dtk {

/// Counter-based random numbers: a value, not a generator. A number depends on (seed, stream, step, sample, element)
/// alone, so it is the same whatever the batch size, the number of workers, the order of work or the device. Copying is
/// free and drawing consumes nothing: **the same draw twice gives the same numbers**, so give each use its own stream
/// or step. (A normal, a uniform and an integer of one address are independent of each other; the same kind in float32
/// and in float64 is not, nor are two shapes.)
///
///     Random noise = random.stream("noise").step(step).from(first_sample_of_this_batch);
///     Tensor eps = noise.normal(x0.sizes(), x0.options());
///
/// Every call throws Error when a step or a sample lies outside 0 … 2^32 − 1.
class DTK_API Random {
 public:
    Random(std::uint64_t seed, std::string_view stream);

    /// An independent child stream. Names nest like paths: Random(s, "a").stream("b") is Random(s, "a/b"). Two names
    /// are told apart by 64 bits of hash. Step and samples are kept.
    Random stream(std::string_view name) const;
    /// The numbers of one step (step 0 unless said).
    Random step(std::int64_t step) const;
    /// Row i of a tensor belongs to sample first_sample + i (sample i unless said).
    Random from(std::int64_t first_sample) const;
    /// Row i of a tensor belongs to sample index[i]; index is int64 [B] on the CPU and is copied. A draw must then have
    /// B rows.
    Random samples(const Tensor& index) const;

    /// N(0, 1), shape [B, ...]: row i holds the elements of its sample. Half precisions are float32 numbers rounded;
    /// float64 numbers are others than float32's, with 53 bits of their own. At most 2^31 elements a row.
    Tensor normal(at::IntArrayRef sizes, const at::TensorOptions& options) const;
    /// [0, 1), shape [B, ...], in steps of 2^-24 (float32), 2^-53 (float64), 2^-11 (float16), 2^-8 (bfloat16).
    Tensor uniform(at::IntArrayRef sizes, const at::TensorOptions& options) const;
    /// 0 … below − 1 with equal probability, int64 [B, ...] on the CPU; below is at least 1.
    Tensor integers(std::int64_t below, at::IntArrayRef sizes) const;

    std::uint64_t seed() const { return seed_; }

 private:
    std::uint64_t seed_;
    std::uint64_t stream_;
    std::uint32_t step_ = 0;
    std::int64_t first_sample_ = 0;
    Tensor samples_;
};

/// Where `index` goes under a seeded permutation of 0 … n − 1: the order of the data in an epoch, without memory and
/// from any place on. Throws Error unless 0 <= index < n <= 2^62 and 0 <= epoch < 2^32.
DTK_API std::int64_t permuted(std::int64_t index, std::int64_t n, std::uint64_t seed, std::int64_t epoch);

}  // namespace dtk
