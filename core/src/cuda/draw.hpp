#pragma once
// A draw of random numbers: which numbers lie where. One header for the host and for CUDA devices: C++17, no library.
#include <dtk/philox.hpp>

namespace dtk {

/// Everything about a draw but its shape and type.
struct Draw {
    philox::Kind kind;
    philox::Key key;
    std::uint64_t stream;
    std::uint32_t step;
    std::int64_t first_sample;
    const std::int64_t* samples;  // one per row, in memory of the device that draws, or null: first_sample + row

    DTK_HOST_DEVICE std::uint32_t sample(std::int64_t row) const {
        return static_cast<std::uint32_t>(samples ? samples[row] : first_sample + row);
    }
    DTK_HOST_DEVICE philox::Words words(std::int64_t row, std::uint32_t block) const {
        return philox::philox4x32(philox::counter(kind, block, sample(row), step, stream), key);
    }
};

// What the four words of a block become.

struct NormalFloat {
    using Number = float;
    static constexpr int per_block = 4;
    DTK_HOST_DEVICE static void numbers(philox::Words w, float* out) {
        philox::normal_pair(w.w0, w.w1, out[0], out[1]);
        philox::normal_pair(w.w2, w.w3, out[2], out[3]);
    }
};

struct NormalDouble {
    using Number = double;
    static constexpr int per_block = 2;
    DTK_HOST_DEVICE static void numbers(philox::Words w, double* out) { philox::normal_pair(w, out[0], out[1]); }
};

struct UniformFloat {
    using Number = float;
    static constexpr int per_block = 4;
    DTK_HOST_DEVICE static void numbers(philox::Words w, float* out) {
        out[0] = philox::uniform(w.w0);
        out[1] = philox::uniform(w.w1);
        out[2] = philox::uniform(w.w2);
        out[3] = philox::uniform(w.w3);
    }
};

struct UniformDouble {
    using Number = double;
    static constexpr int per_block = 2;
    DTK_HOST_DEVICE static void numbers(philox::Words w, double* out) {
        out[0] = philox::uniform(w.w0, w.w1);
        out[1] = philox::uniform(w.w2, w.w3);
    }
};

/// Blocks of one row: the last one may stick out.
DTK_HOST_DEVICE constexpr std::int64_t blocks_of_row(std::int64_t row_size, int per_block) {
    return (row_size + per_block - 1) / per_block;
}

/// Where a block lies, of all `blocks` that are numbered through all rows.
struct BlockPlace {
    std::int64_t row, block;
};
DTK_HOST_DEVICE constexpr BlockPlace place_of(std::int64_t number, std::int64_t row_blocks, std::int64_t blocks) {
    // Devices divide 32 bits faster than 64.
    const std::int64_t row = blocks >> 32 == 0
                                 ? static_cast<std::uint32_t>(number) / static_cast<std::uint32_t>(row_blocks)
                                 : number / row_blocks;
    return {row, number - row * row_blocks};
}

/// The work of one of `threads` threads, numbered from 0, that fill [rows, row_size], contiguous and not empty: a block
/// at a time, so that neighbours write side by side.
template <class Law>
DTK_HOST_DEVICE void fill_as_thread(std::int64_t thread, std::int64_t threads, const Draw& draw,
                                    typename Law::Number* out, std::int64_t rows, std::int64_t row_size) {
    constexpr int per_block = Law::per_block;
    struct alignas(16) Numbers {
        typename Law::Number of[per_block];
    };
    const std::int64_t row_blocks = blocks_of_row(row_size, per_block), blocks = rows * row_blocks;
    for (std::int64_t i = thread; i < blocks; i += threads) {
        const BlockPlace place = place_of(i, row_blocks, blocks);
        const std::int64_t element = place.block * per_block;
        Numbers numbers;
        Law::numbers(draw.words(place.row, static_cast<std::uint32_t>(place.block)), numbers.of);
        auto* to = out + place.row * row_size + element;
        if (row_size % per_block == 0)
            *reinterpret_cast<Numbers*>(to) = numbers;  // 16 bytes at once
        else
            for (int e = 0; e < per_block && element + e < row_size; ++e) to[e] = numbers.of[e];
    }
}

}  // namespace dtk
