#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <dtk/error.hpp>
#include <dtk/philox.hpp>
#include <dtk/random.hpp>
#include <numeric>
#include <type_traits>
#include <utility>

#include "engine/device_random.hpp"
#include "engine/parallel.hpp"

namespace dtk {
namespace {

constexpr std::int64_t word_limit = std::int64_t{1} << 32;

/// FNV-1a of 64 bits, so that a child's hash goes on from its parent's.
std::uint64_t hashed(std::string_view text, std::uint64_t hash = 0xCBF29CE484222325u) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
    return hash;
}

std::uint32_t checked_word(std::int64_t value, const char* what) {
    if (value < 0 || value >= word_limit)
        throw Error(fmt::format("{} {} is outside 0 … 2^32 − 1, the range of the random numbers", what, value));
    return static_cast<std::uint32_t>(value);
}

/// Blocks are made in groups of this many, in arrays of their own, so that compilers vectorise over them. The size
/// does not change the numbers.
constexpr int lanes = 64;

struct Group {
    alignas(64) std::uint32_t block[lanes], sample[lanes], w0[lanes], w1[lanes], w2[lanes], w3[lanes];
};

/// Of a group that is not full only so many lanes.
void fill_words(const Draw& draw, Group& g, int count) {
    const Draw d = draw;
    for (int i = 0; i < count; ++i) {
        const philox::Words w =
            philox::philox4x32(philox::counter(d.kind, g.block[i], g.sample[i], d.step, d.stream), d.key);
        g.w0[i] = w.w0, g.w1[i] = w.w1, g.w2[i] = w.w2, g.w3[i] = w.w3;
    }
}

struct Integer {
    using Number = std::int64_t;
    static constexpr int per_block = 2;
    std::uint64_t below;
    void numbers(philox::Words w, std::int64_t* out) const {
        out[0] = one(w.w0, w.w1);
        out[1] = one(w.w2, w.w3);
    }
    std::int64_t one(std::uint64_t hi, std::uint64_t lo) const {
        return static_cast<std::int64_t>(philox::below(hi << 32 | lo, below));
    }
};

template <class Law>
void numbers_of(const Law& law, const Group& g, int count, typename Law::Number* out) {
    for (int i = 0; i < count; ++i) law.numbers({g.w0[i], g.w1[i], g.w2[i], g.w3[i]}, out + i * Law::per_block);
}

/// Calls run(row, block, done, blocks) for each stretch of `used` successive blocks that lies in one row.
template <class Run>
void for_each_run(std::int64_t first, std::int64_t row_blocks, int used, const Run& run) {
    std::int64_t row = first / row_blocks, block = first % row_blocks;
    for (int done = 0; done < used; ++row, block = 0) {
        const int blocks = static_cast<int>(std::min<std::int64_t>(used - done, row_blocks - block));
        run(row, block, done, blocks);
        done += blocks;
    }
}

/// Fills [rows, row_size], contiguous, on the host. Blocks are numbered through all rows and groups of them shared out
/// among threads.
template <class Law>
void fill(const Draw& draw, const Law& law, typename Law::Number* out, std::int64_t rows, std::int64_t row_size) {
    constexpr int per_block = Law::per_block;
    const std::int64_t row_blocks = blocks_of_row(row_size, per_block), blocks = rows * row_blocks;

    in_parallel((blocks + lanes - 1) / lanes, 8192 / lanes, [&](std::int64_t begin, std::int64_t end) {
        Group group = {};
        alignas(64) typename Law::Number numbers[lanes * per_block];
        for (std::int64_t first = begin * lanes; first < std::min(end * lanes, blocks); first += lanes) {
            const int used = static_cast<int>(std::min<std::int64_t>(lanes, blocks - first));
            for_each_run(first, row_blocks, used, [&](std::int64_t row, std::int64_t block, int done, int count) {
                std::fill_n(group.sample + done, count, draw.sample(row));
                std::iota(group.block + done, group.block + done + count, static_cast<std::uint32_t>(block));
            });
            fill_words(draw, group, used);
            numbers_of(law, group, used, numbers);
            for_each_run(first, row_blocks, used, [&](std::int64_t row, std::int64_t block, int done, int count) {
                const std::int64_t element = block * per_block;
                std::copy_n(numbers + done * per_block, std::min<std::int64_t>(count * per_block, row_size - element),
                            out + row * row_size + element);
            });
        }
    });
}

/// The rows and the row's size of a shape; a shape of no dimension is one row of one element.
std::pair<std::int64_t, std::int64_t> rows_of(at::IntArrayRef sizes) {
    std::int64_t rows = sizes.empty() ? 1 : sizes[0], row_size = 1;
    for (std::size_t i = 1; i < sizes.size(); ++i) row_size *= sizes[i];
    return {rows, row_size};
}

/// The numbers as they are made: on the device itself where that can be, else on the host. Wherever, they have the same
/// bits.
template <class Law>
Tensor drawn(const Draw& draw, const Law& law, const Tensor& samples, at::IntArrayRef sizes, at::Device device) {
    const auto [rows, row_size] = rows_of(sizes);
    if (blocks_of_row(row_size, Law::per_block) > static_cast<std::int64_t>(philox::max_blocks))
        throw Error(fmt::format("a sample of {} random numbers is too large: 2^31 is the limit", row_size));
    const auto options = at::dtype(c10::CppTypeToScalarType<typename Law::Number>::value);
    if constexpr (std::is_floating_point_v<typename Law::Number>)
        if (makes_numbers(device)) {
            Tensor out = at::empty(sizes, options.device(device));
            if (out.numel() > 0) fill_on_device(draw, samples, out, rows, row_size);
            return out;
        }
    Tensor out = at::empty(sizes, options);
    if (out.numel() > 0) fill(draw, law, out.mutable_data_ptr<typename Law::Number>(), rows, row_size);
    return out;
}

/// Copied without waiting where they were made on the host and are to be elsewhere.
Tensor placed(const Tensor& numbers, const at::TensorOptions& options, at::ScalarType type) {
    return numbers.to(options.device(), type, /*non_blocking=*/true);
}

at::ScalarType floating_type(const at::TensorOptions& options) {
    const at::ScalarType type = at::typeMetaToScalarType(options.dtype());
    if (type != at::kFloat && type != at::kDouble && type != at::kHalf && type != at::kBFloat16)
        throw Error(
            fmt::format("random numbers of type {} were asked for; they come in float32, float64, float16 and bfloat16",
                        at::toString(type)));
    return type;
}

Draw checked_draw(philox::Kind kind, std::uint64_t seed, std::uint64_t stream, std::uint32_t step,
                  std::int64_t first_sample, const Tensor& samples, at::IntArrayRef sizes) {
    const std::int64_t rows = rows_of(sizes).first;
    if (samples.defined() && samples.numel() != rows)
        throw Error(
            fmt::format("random numbers for {} rows were asked for, but {} samples were named", rows, samples.numel()));
    if (!samples.defined() && rows > 0) checked_word(first_sample + (rows - 1), "sample");
    const std::int64_t* index = samples.defined() ? samples.const_data_ptr<std::int64_t>() : nullptr;
    return {kind, philox::key(seed, stream), stream, step, first_sample, index};
}

}  // namespace

Random::Random(std::uint64_t seed, std::string_view stream) : seed_(seed), stream_(hashed(stream)) {}

Random Random::stream(std::string_view name) const {
    Random child = *this;
    child.stream_ = hashed(name, hashed("/", stream_));
    return child;
}

Random Random::step(std::int64_t step) const {
    Random other = *this;
    other.step_ = checked_word(step, "step");
    return other;
}

Random Random::from(std::int64_t first_sample) const {
    checked_word(first_sample, "sample");
    Random other = *this;
    other.first_sample_ = first_sample;
    other.samples_ = Tensor();
    return other;
}

Random Random::samples(const Tensor& index) const {
    if (!index.defined() || index.dim() != 1 || index.scalar_type() != at::kLong || !index.device().is_cpu())
        throw Error("the samples of a random draw must be an int64 tensor of shape [B] on the CPU");
    Random other = *this;
    other.samples_ = index.clone(at::MemoryFormat::Contiguous);
    const std::int64_t* value = other.samples_.const_data_ptr<std::int64_t>();
    std::for_each(value, value + index.numel(), [](std::int64_t sample) { checked_word(sample, "sample"); });
    return other;
}

Tensor Random::normal(at::IntArrayRef sizes, const at::TensorOptions& options) const {
    const at::ScalarType type = floating_type(options);
    const Draw draw = checked_draw(philox::Kind::normal, seed_, stream_, step_, first_sample_, samples_, sizes);
    const auto device = options.device();
    return placed(type == at::kDouble ? drawn(draw, NormalDouble{}, samples_, sizes, device)
                                      : drawn(draw, NormalFloat{}, samples_, sizes, device),
                  options, type);
}

Tensor Random::uniform(at::IntArrayRef sizes, const at::TensorOptions& options) const {
    const at::ScalarType type = floating_type(options);
    const Draw draw = checked_draw(philox::Kind::uniform, seed_, stream_, step_, first_sample_, samples_, sizes);
    if (type == at::kDouble)
        return placed(drawn(draw, UniformDouble{}, samples_, sizes, options.device()), options, type);
    Tensor numbers = drawn(draw, UniformFloat{}, samples_, sizes, options.device());
    // Cut, not rounded: 1 must not appear.
    if (type != at::kFloat) {
        const double steps = type == at::kHalf ? 0x1p11 : 0x1p8;
        numbers.mul_(steps).floor_().div_(steps);
    }
    return placed(numbers, options, type);
}

Tensor Random::integers(std::int64_t below, at::IntArrayRef sizes) const {
    if (below < 1) throw Error(fmt::format("random integers below {} were asked for; there are none", below));
    const Draw draw = checked_draw(philox::Kind::integer, seed_, stream_, step_, first_sample_, samples_, sizes);
    return drawn(draw, Integer{static_cast<std::uint64_t>(below)}, samples_, sizes, at::kCPU);
}

// A Feistel network over pairs (l, r) of an a × b rectangle that holds 0 … n − 1 and few cells more: each round adds a
// random function of one half to the other half, modulo its size, and exchanges them. A cell outside 0 … n − 1 is sent
// through again until it falls inside, which keeps the map a bijection (Black and Rogaway 2002). An even side is needed
// for odd permutations; small sets need more rounds before all orders are equally likely.
std::int64_t permuted(std::int64_t index, std::int64_t n, std::uint64_t seed, std::int64_t epoch) {
    if (n < 1 || n > std::int64_t{1} << 62 || index < 0 || index >= n)
        throw Error(fmt::format("index {} of a permutation of {} is out of range", index, n));
    const std::uint32_t word = checked_word(epoch, "epoch");
    const auto size = static_cast<std::uint64_t>(n);
    const auto root = static_cast<std::uint64_t>(std::sqrt(static_cast<double>(n)));
    const std::uint64_t a = (root + 2) / 2 * 2, b = std::max<std::uint64_t>(2, (size + a - 1) / a);
    const std::uint32_t rounds = n < 256 ? 24 : 12;
    const philox::Key key = philox::key(seed, 0);
    auto place = static_cast<std::uint64_t>(index);
    do {
        std::uint64_t l = place % a, r = place / a, l_size = a, r_size = b;
        for (std::uint32_t i = 0; i < rounds; ++i) {
            const philox::Words w = philox::philox4x32(
                philox::counter(philox::Kind::order, i, static_cast<std::uint32_t>(r), word, 0), key);
            const std::uint64_t moved = l + philox::below(std::uint64_t{w.w0} << 32 | w.w1, l_size);
            l = r;
            r = moved < l_size ? moved : moved - l_size;
            std::swap(l_size, r_size);
        }
        place = r * a + l;
    } while (place >= size);
    return static_cast<std::int64_t>(place);
}

}  // namespace dtk
