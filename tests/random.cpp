#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <dtk/error.hpp>
#include <dtk/philox.hpp>
#include <dtk/random.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "catch.hpp"

using dtk::permuted;
using dtk::Random;
using dtk::Tensor;
namespace philox = dtk::philox;

namespace {

const at::TensorOptions f32 = at::dtype(at::kFloat), f64 = at::dtype(at::kDouble);

std::array<std::uint32_t, 4> array_of(philox::Words w) { return {w.w0, w.w1, w.w2, w.w3}; }

std::uint64_t hash_of_bytes(const Tensor& t) {
    const auto* byte = static_cast<const unsigned char*>(t.const_data_ptr());
    std::uint64_t hash = 0xCBF29CE484222325u;
    for (std::size_t i = 0; i < t.nbytes(); ++i) hash = (hash ^ byte[i]) * 0x100000001B3u;
    return hash;
}

double normal_cdf(double x) { return 0.5 * std::erfc(-x * std::sqrt(0.5)); }

/// The largest distance between the empirical distribution and the normal one, times sqrt n.
double kolmogorov(const Tensor& z) {
    const Tensor sorted = std::get<0>(z.flatten().to(at::kDouble).sort());
    const double* x = sorted.const_data_ptr<double>();
    const auto n = static_cast<double>(sorted.numel());
    double worst = 0;
    for (std::int64_t i = 0; i < sorted.numel(); ++i) {
        const double p = normal_cdf(x[i]);
        worst =
            std::max({worst, std::abs(p - static_cast<double>(i) / n), std::abs(p - static_cast<double>(i + 1) / n)});
    }
    return worst * std::sqrt(n);
}

double correlation(const Tensor& a, const Tensor& b) {
    const Tensor x = a.flatten().to(at::kDouble), y = b.flatten().to(at::kDouble);
    return ((x - x.mean()) * (y - y.mean())).mean().item<double>() / (x.std() * y.std()).item<double>();
}

/// Two-sided: |value - expected| in units of its standard error.
double errors_off(double value, double expected, double variance, double n) {
    return std::abs(value - expected) / std::sqrt(variance / n);
}

}  // namespace

TEST_CASE("Philox4x32-10 gives the known answers of Random123") {
    using Answer = std::array<std::uint32_t, 4>;
    constexpr std::uint32_t ones = 0xFFFFFFFFu;
    CHECK(array_of(philox::philox4x32({0, 0, 0, 0}, {0, 0})) == Answer{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8});
    CHECK(array_of(philox::philox4x32({ones, ones, ones, ones}, {ones, ones})) ==
          Answer{0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD});
    CHECK(array_of(philox::philox4x32({0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344}, {0xA4093822, 0x299F31D0})) ==
          Answer{0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1});
}

// Bits are a promise: results people published must be reproducible, so these values never change.
TEST_CASE("the numbers have the bits they have always had") {
    const Random random = Random(2024, "golden").stream("test").step(7).from(1000);
    CHECK(hash_of_bytes(random.normal({16, 256}, f32)) == 0x99161F36F6871335);
    CHECK(hash_of_bytes(random.normal({16, 256}, f64)) == 0x117E5531B6393ED5);
    CHECK(hash_of_bytes(random.uniform({16, 256}, f32)) == 0x526C293318C8BF4B);
    CHECK(hash_of_bytes(random.uniform({16, 256}, f64)) == 0x66DB784065F76CC7);
    CHECK(hash_of_bytes(random.integers(1000003, {16, 256})) == 0x7912E9B398F05C43);
    std::vector<std::int64_t> order(10);
    for (std::int64_t i = 0; i < 10; ++i) order[i] = permuted(i, 10, 2024, 3);
    CHECK(order == std::vector<std::int64_t>{1, 3, 6, 9, 4, 2, 5, 0, 8, 7});
    const std::int64_t n = std::int64_t{1} << 40;
    CHECK(permuted(0, n, 2024, 3) == 988793437316);
    CHECK(permuted(n - 1, n, 2024, 3) == 81271153388);
}

TEST_CASE("a sample's noise does not depend on the batch, its order, the threads or the step drawn before") {
    const Random random = Random(1, "noise").step(3);
    for (const std::int64_t row : {1, 2, 3, 4, 5, 255, 256, 257, 1000}) {
        for (const auto& options : {f32, f64}) {
            const Tensor whole = random.from(10).normal({37, row}, options);
            for (const std::int64_t batch : {1, 2, 7, 36}) {
                std::vector<Tensor> parts;
                for (std::int64_t first = 0; first < 37; first += batch)
                    parts.push_back(random.from(10 + first).normal({std::min(batch, 37 - first), row}, options));
                CHECK(at::equal(at::cat(parts), whole));
            }
            const Tensor index = at::arange(46, 9, -1, at::kLong);
            CHECK(at::equal(random.samples(index).normal({37, row}, options), whole.flip(0)));
        }
    }
    const int threads = at::get_num_threads();
    at::set_num_threads(1);
    const Tensor alone = random.normal({300, 1001}, f32);
    at::set_num_threads(std::max(threads, 4));
    CHECK(at::equal(random.normal({300, 1001}, f32), alone));
    at::set_num_threads(threads);
}

TEST_CASE("an element does not depend on the elements after it, nor on how they are arranged") {
    const Random random = Random(1, "noise");
    const Tensor whole = random.normal({5, 3, 4, 6}, f32);
    CHECK(at::equal(random.normal({5, 72}, f32), whole.flatten(1)));
    CHECK(at::equal(random.normal({5, 31}, f32), whole.flatten(1).narrow(1, 0, 31)));
    CHECK(at::equal(random.normal({5}, f32), whole.flatten(1).select(1, 0)));
    CHECK(at::equal(random.normal({}, f32), whole.flatten()[0]));
    CHECK(random.normal({0}, f32).sizes() == at::IntArrayRef({0}));
    CHECK(random.normal({4, 0, 3}, f64).sizes() == at::IntArrayRef({4, 0, 3}));
}

TEST_CASE("names of streams nest like paths, and a child keeps step and samples") {
    const Tensor z = Random(5, "a/b/c").step(2).from(9).normal({4, 9}, f32);
    CHECK(at::equal(Random(5, "a").step(2).from(9).stream("b").stream("c").normal({4, 9}, f32), z));
    CHECK(at::equal(Random(5, "a").stream("b/c").from(9).step(2).normal({4, 9}, f32), z));
    CHECK_FALSE(at::equal(Random(5, "ab/c").step(2).from(9).normal({4, 9}, f32), z));
    CHECK(Random(5, "a").seed() == 5);
}

TEST_CASE("streams, steps, seeds, samples and kinds are independent of each other") {
    constexpr std::int64_t n = 1 << 18;
    const Random random = Random(1, "noise");
    const Tensor z = random.normal({n / 64, 64}, f32);
    const std::vector<Tensor> others = {
        Random(2, "noise").normal({n / 64, 64}, f32),
        Random(1 | std::uint64_t{1} << 63, "noise").normal({n / 64, 64}, f32),
        Random(1, "noisf").normal({n / 64, 64}, f32),
        random.stream("x").normal({n / 64, 64}, f32),
        random.step(1).normal({n / 64, 64}, f32),
        random.from(1).normal({n / 64, 64}, f32),
        random.uniform({n / 64, 64}, f32),
        random.integers(1 << 20, {n / 64, 64}),
        z.flatten().roll(1),
        z.flatten().roll(64),
    };
    // Beyond the correlation of the numbers: that of their squares, where Box and Muller's radius would show.
    for (const Tensor& other : others) {
        const double limit = 4.5 / std::sqrt(static_cast<double>(n));
        CHECK(std::abs(correlation(z, other)) < limit);
        CHECK(std::abs(correlation(z * z, (other - other.to(at::kDouble).mean()).square())) < limit);
    }
}

TEST_CASE("normal numbers are normal") {
    for (const auto& options : {f32, f64}) {
        const double n = 1 << 20;
        const Tensor z = Random(11, "noise").normal({1 << 10, 1 << 10}, options).to(at::kDouble);
        CHECK(errors_off(z.mean().item<double>(), 0, 1, n) < 4);
        CHECK(errors_off(z.pow(2).mean().item<double>(), 1, 2, n) < 4);
        CHECK(errors_off(z.pow(3).mean().item<double>(), 0, 15, n) < 4);
        CHECK(errors_off(z.pow(4).mean().item<double>(), 3, 96, n) < 4);
        CHECK(kolmogorov(z) < 1.95);  // exceeded once in a thousand
        for (const double tail : {1.0, 2.0, 3.0, 4.0}) {
            const double p = 1 - normal_cdf(tail);
            CHECK(errors_off((z > tail).sum().item<double>() / n, p, p * (1 - p), n) < 4);
            CHECK(errors_off((z < -tail).sum().item<double>() / n, p, p * (1 - p), n) < 4);
        }
        // Directions of successive pairs: the four quadrants, then the angle within.
        const Tensor pairs = z.view({-1, 2});
        const Tensor angle = at::atan2(pairs.select(1, 1), pairs.select(1, 0));
        const Tensor count = ((angle / M_PI + 1) * 32).floor().clamp(0, 63).to(at::kLong).bincount().to(at::kDouble);
        const double expected = n / 2 / 64;
        CHECK(((count - expected).square() / expected).sum().item<double>() < 63 + 4 * std::sqrt(2.0 * 63));
    }
}

TEST_CASE("a normal pair is Box and Muller's to about an ulp, in the tails too") {
    const long double half_pi = std::acos(-1.0L) / 2;
    // The angle of a pair, from the quadrant's number (0: first is cos) and y in (-1, 1).
    const auto expected = [&](long double u, long double t, std::uint32_t angle, long double y) {
        const long double r = std::sqrt(u < 0.5L ? -2 * std::log(u) : -2 * std::log1p(-t));
        const long double large = (angle >> 31 ? -1 : 1) * r * std::cos(y * half_pi / 2);
        const long double small = r * std::sin(y * half_pi / 2);
        return angle >> 30 & 1 ? std::pair(small, large) : std::pair(large, small);
    };
    long double worst32 = 0, worst64 = 0;
    for (std::uint32_t i = 0; i < 200000; ++i) {
        philox::Words w = philox::philox4x32({i, 0, 0, 0}, {1, 2});
        // A third of the radii each near 0 and near 1: the tails and the centre.
        if (i % 3 == 1) w.w0 >>= i % 32;
        if (i % 3 == 2) w.w0 = ~(w.w0 >> i % 32);
        if (i == 0) w.w0 = 0;
        if (i == 1) w.w0 = 0xFFFFFFFFu;

        float a, b;
        philox::normal_pair(w.w0, w.w2, a, b);
        const long double y32 = std::ldexp(static_cast<std::int32_t>(w.w2 << 2 | 2u), -31);
        const auto [p, q] = expected((w.w0 + 0.5L) / 0x1p32L, (~w.w0 + 0.5L) / 0x1p32L, w.w2, y32);
        worst32 = std::max({worst32, std::abs(a / p - 1), std::abs(b / q - 1)});

        double c, d;
        philox::normal_pair(w, c, d);
        const std::uint64_t k = (std::uint64_t{w.w0} << 32 | w.w1) >> 11, last = (std::uint64_t{1} << 53) - 1;
        const long double y64 = std::ldexp(static_cast<long double>(static_cast<std::int32_t>(w.w2 << 2)), -31) +
                                std::ldexp(w.w3 + 0.5L, -61);
        const auto [s, v] = expected((k + 0.5L) / 0x1p53L, (last - k + 0.5L) / 0x1p53L, w.w2, y64);
        worst64 = std::max({worst64, std::abs(c / s - 1), std::abs(d / v - 1)});
    }
    INFO("largest relative errors " << worst32 / 0x1p-24L << " x 2^-24, " << worst64 / 0x1p-53L << " x 2^-53");
    CHECK(worst32 < 6 * 0x1p-24L);
    CHECK(worst64 < 6 * 0x1p-53L);
}

TEST_CASE("uniform numbers lie in [0, 1) and are uniform in every type") {
    for (const auto type : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16}) {
        const double n = 1 << 20;
        const Tensor u = Random(3, "times").uniform({1 << 20}, at::dtype(type));
        CHECK(u.scalar_type() == type);
        const Tensor wide = u.to(at::kDouble);
        CHECK(wide.min().item<double>() >= 0);
        CHECK(wide.max().item<double>() < 1);
        const Tensor count = (wide * 256).floor().to(at::kLong).bincount({}, 256).to(at::kDouble);
        CHECK(((count - n / 256).square() / (n / 256)).sum().item<double>() < 255 + 4 * std::sqrt(2.0 * 255));
    }
}

TEST_CASE("half precisions are the float32 numbers rounded") {
    const Random random = Random(3, "noise");
    const Tensor z = random.normal({8, 33}, f32);
    CHECK(at::equal(random.normal({8, 33}, at::dtype(at::kHalf)), z.to(at::kHalf)));
    CHECK(at::equal(random.normal({8, 33}, at::dtype(at::kBFloat16)), z.to(at::kBFloat16)));
}

TEST_CASE("integers fill their range evenly, however large it is") {
    const Random random = Random(3, "labels");
    CHECK(random.integers(1, {100}).max().item<std::int64_t>() == 0);
    for (const std::int64_t below : {2, 3, 10, 1000}) {
        const double n = 1 << 18;
        const Tensor k = random.integers(below, {1 << 18});
        CHECK(k.min().item<std::int64_t>() >= 0);
        const Tensor count = k.bincount({}, below).to(at::kDouble);
        REQUIRE(count.numel() == below);
        const double expected = n / static_cast<double>(below), freedom = static_cast<double>(below - 1);
        CHECK(((count - expected).square() / expected).sum().item<double>() < freedom + 5 * std::sqrt(2 * freedom));
    }
    const std::int64_t huge = std::int64_t{1} << 62;
    const Tensor k = random.integers(huge, {1 << 16}).to(at::kDouble) / static_cast<double>(huge);
    CHECK(errors_off(k.mean().item<double>(), 0.5, 1.0 / 12, 1 << 16) < 4);
    // The upper half of a 64-bit product, at its corners.
    constexpr std::uint64_t most = ~std::uint64_t{0};
    CHECK(philox::below(most, most) == most - 1);
    CHECK(philox::below(most, 10) == 9);
    CHECK(philox::below(0, most) == 0);
    CHECK(philox::below(std::uint64_t{1} << 63, 7) == 3);
}

TEST_CASE("an epoch's order holds every index once and differs between epochs and seeds") {
    for (const std::int64_t n : {1, 2, 3, 4, 5, 7, 10, 16, 17, 99, 100, 101, 1000, 4095, 4096, 4097, 60000}) {
        std::vector<char> seen(n, 0);
        std::int64_t fixed = 0, same = 0;
        for (std::int64_t i = 0; i < n; ++i) {
            const std::int64_t to = permuted(i, n, 42, 0);
            REQUIRE((to >= 0 && to < n));
            REQUIRE_FALSE(seen[to]);
            seen[to] = 1;
            fixed += to == i;
            same += (to == permuted(i, n, 42, 1)) + (to == permuted(i, n, 43, 0));
        }
        if (n >= 10) CHECK(fixed < 10);  // about one each, as of any random permutation
        if (n >= 10) CHECK(same < 14);
    }
    const std::int64_t huge = std::int64_t{1} << 62;
    for (const std::int64_t i : {std::int64_t{0}, huge / 2, huge - 1}) {
        CHECK(permuted(i, huge, 1, 1) >= 0);
        CHECK(permuted(i, huge, 1, 1) < huge);
    }
}

TEST_CASE("all orders of a small set are equally likely") {
    for (const int n : {3, 4, 5, 7}) {
        std::vector<int> sorted(n);
        std::iota(sorted.begin(), sorted.end(), 0);
        std::vector<std::vector<int>> orders;
        do orders.push_back(sorted);
        while (std::next_permutation(sorted.begin(), sorted.end()));
        std::vector<double> count(orders.size());
        const double expected = n == 7 ? 20 : 200;
        const auto epochs = static_cast<std::int64_t>(expected * static_cast<double>(orders.size()));
        for (std::int64_t epoch = 0; epoch < epochs; ++epoch) {
            std::vector<int> order(n);
            for (int i = 0; i < n; ++i) order[i] = static_cast<int>(permuted(i, n, 9, epoch));
            ++count[std::lower_bound(orders.begin(), orders.end(), order) - orders.begin()];
        }
        double chi2 = 0;
        for (const double c : count) chi2 += (c - expected) * (c - expected) / expected;
        const auto freedom = static_cast<double>(orders.size() - 1);
        CHECK(chi2 < freedom + 4 * std::sqrt(2 * freedom));
    }
}

TEST_CASE("what lies outside the range of the random numbers is refused") {
    const Random random = Random(1, "noise");
    const std::int64_t limit = std::int64_t{1} << 32;
    CHECK_THROWS_AS(random.step(-1), dtk::Error);
    CHECK_THROWS_AS(random.step(limit), dtk::Error);
    CHECK_THROWS_AS(random.from(-1), dtk::Error);
    CHECK_THROWS_AS(random.from(limit), dtk::Error);
    CHECK_NOTHROW(random.from(limit - 3).normal({3}, f32));
    CHECK_THROWS_AS(random.from(limit - 3).normal({4}, f32), dtk::Error);
    CHECK_THROWS_AS(random.samples(at::tensor({0, -1}, at::kLong)), dtk::Error);
    CHECK_THROWS_AS(random.samples(at::zeros({2}, f32)), dtk::Error);
    CHECK_THROWS_AS(random.samples(at::zeros({2, 2}, at::kLong)), dtk::Error);
    CHECK_THROWS_AS(random.samples(at::arange(3, at::kLong)).normal({4, 2}, f32), dtk::Error);
    CHECK_THROWS_AS(random.normal({4}, at::dtype(at::kInt)), dtk::Error);
    CHECK_THROWS_AS(random.integers(0, {4}), dtk::Error);
    CHECK_THROWS_AS(permuted(5, 5, 1, 0), dtk::Error);
    CHECK_THROWS_AS(permuted(-1, 5, 1, 0), dtk::Error);
    CHECK_THROWS_AS(permuted(0, 5, 1, -1), dtk::Error);
}
