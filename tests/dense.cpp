// Layers in one go are what LibTorch's operations make of them: values, gradients, gradients of gradients.
#include <cmath>
#include <mutex>
#include <set>
#include <thread>

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/forward_grad.h>

#include <dtk/dense.hpp>

#include "catch.hpp"
#include "engine/dense.hpp"
#include "engine/parallel.hpp"
#include "support.hpp"

using at::Tensor;
using dtk::Activation;
using dtk::Dense;

namespace {

struct Layers {
    std::vector<std::shared_ptr<dtk::Linear>> all;
    std::vector<Tensor> parameters;

    explicit Layers(const std::vector<std::int64_t>& widths) {
        for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
            all.push_back(
                std::make_shared<dtk::Linear>(dtk::Random(1, fmt::format("layer {}", i)), widths[i], widths[i + 1]));
            parameters.insert(parameters.end(), {all.back()->weight(), all.back()->bias()});
        }
    }
    /// By LibTorch's operations, in the type of x.
    Tensor plain(const Tensor& x, Activation activation, Dense::Last last) const {
        auto h = x;
        for (std::size_t i = 0; i < all.size(); ++i) {
            h = at::linear(h, all[i]->weight().to(x.scalar_type()), all[i]->bias().to(x.scalar_type()));
            if (i + 1 < all.size() || last == Dense::Last::activated)
                h = activation == Activation::silu ? at::silu(h) : at::sigmoid(h);
        }
        return h;
    }
};

Tensor drawn(const std::string& name, at::IntArrayRef sizes) { return dtk::Random(2, name).normal(sizes, at::kFloat); }

/// Value, gradient by x and by the parameters.
std::vector<Tensor> all_of(const Layers& layers, const Tensor& x0, const std::function<Tensor(const Tensor&)>& ask) {
    const auto x = x0.clone().set_requires_grad(true);
    const auto y = ask(x);
    auto inputs = layers.parameters;
    inputs.insert(inputs.begin(), x);
    auto found = torch::autograd::grad({(y * drawn("weights", y.sizes()).to(y.scalar_type())).sum()}, inputs);
    found.insert(found.begin(), y.detach());
    return found;
}

double far(const Tensor& a, const Tensor& b) {
    const auto difference = (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
    return difference / std::max(1e-30, b.to(at::kDouble).abs().max().item<double>());
}

const std::vector<std::vector<std::int64_t>> shapes{
    {66, 128, 128, 128, 2}, {3, 5, 7}, {34, 32, 32, 2}, {1, 1}, {20, 100, 33, 48}};

/// Does this processor have what the kernels of that name were compiled for?
bool has(const std::string& instructions) {
#ifdef __x86_64__
    if (instructions == "AVX512")
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
    if (instructions == "AVX2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return instructions == "DEFAULT";
}

struct Threads {
    explicit Threads(int n) { at::set_num_threads(n); }
    ~Threads() { at::set_num_threads(before); }
    int before = at::get_num_threads();
};

}  // namespace

TEST_CASE("layers in one go have the values and gradients of LibTorch's operations, to 1e-6 of the largest") {
    for (const auto& widths : shapes)
        for (const std::int64_t B : {1, 5, 64, 67, 600})
            for (const auto activation : {Activation::silu, Activation::sigmoid})
                for (const auto last : {Dense::Last::linear, Dense::Last::activated}) {
                    INFO(fmt::format("{} layers, {} rows of {}, sigmoid {}, activated {}", widths.size() - 1, B,
                                     widths[0], activation == Activation::sigmoid, last == Dense::Last::activated));
                    const Layers layers(widths);
                    const Dense dense(layers.all, activation, last);
                    const auto x = drawn("x", {B, widths[0]});
                    const auto ours = all_of(layers, x, [&](const Tensor& x) { return dense(x); });
                    const auto exact = all_of(layers, x.to(at::kDouble),
                                              [&](const Tensor& x) { return layers.plain(x, activation, last); });
                    REQUIRE(ours.size() == exact.size());
                    for (std::size_t i = 0; i < ours.size(); ++i) CHECK(far(ours[i], exact[i]) < 1e-6);
                    at::NoGradGuard no_grad;
                    CHECK(at::equal(dense(x), ours[0]));
                }
}

TEST_CASE("a row's answer has the same bits in any batch, and all bits are the same for any number of threads") {
    const Layers layers(shapes[0]);
    const Dense dense(layers.all, Activation::silu, Dense::Last::linear);
    const auto x = drawn("x", {1000, 66});
    const auto together = all_of(layers, x, [&](const Tensor& x) { return dense(x); });
    for (const auto& [first, n] : {std::pair{0, 1}, {17, 64}, {63, 130}, {999, 1}})
        CHECK(at::equal(dense(x.slice(0, first, first + n)).detach(), together[0].slice(0, first, first + n)));
    for (const int n : {2, 3}) {
        const Threads threads(n);
        const auto shared = all_of(layers, x, [&](const Tensor& x) { return dense(x); });
        for (std::size_t i = 0; i < shared.size(); ++i) CHECK(at::equal(shared[i], together[i]));
    }
}

TEST_CASE("work is shared out among as many threads as LibTorch has") {
    const Threads threads(3);
    std::mutex mutex;
    std::set<std::thread::id> seen;
    std::vector<int> times(100);
    bool short_share = false;
    dtk::in_parallel(100, 10, [&](std::int64_t first, std::int64_t last) {
        const std::lock_guard lock(mutex);
        seen.insert(std::this_thread::get_id());
        short_share = short_share || (last - first < 10 && last != 100);
        for (auto i = first; i < last; ++i) ++times[static_cast<std::size_t>(i)];
    });
    CHECK(seen.size() == 3);
    CHECK_FALSE(short_share);
    CHECK(times == std::vector<int>(100, 1));
    CHECK_THROWS_AS(dtk::in_parallel(100, 10, [](std::int64_t, std::int64_t) { throw dtk::Error("no"); }), dtk::Error);
}

TEST_CASE("second derivatives, and those in forward mode, go through the layers") {
    const Layers layers({6, 20, 20, 3});
    const Dense dense(layers.all, Activation::silu, Dense::Last::linear);
    const auto second = [&](const std::function<Tensor(const Tensor&)>& ask) {
        const auto x = drawn("x", {9, 6}).set_requires_grad(true);
        const auto first = torch::autograd::grad({ask(x).square().sum()}, {x}, {}, std::nullopt, true);
        auto inputs = layers.parameters;
        inputs.back() = x;
        return torch::autograd::grad({first[0].square().sum()}, inputs);
    };
    const auto plain = [&](const Tensor& x) { return layers.plain(x, Activation::silu, Dense::Last::linear); };
    const auto ours = second([&](const Tensor&x) { return dense(x); }), theirs = second(plain);
    for (std::size_t i = 0; i < ours.size(); ++i) CHECK(far(ours[i], theirs[i]) < 1e-6);

    const auto level = torch::autograd::ForwardADLevel::get_next_idx();
    const auto dual = at::_make_dual(drawn("x", {9, 6}), drawn("way", {9, 6}), 0);
    CHECK(at::equal(dense(dual)._fw_grad(0), plain(dual)._fw_grad(0)));
    torch::autograd::ForwardADLevel::release_idx(level);
}

TEST_CASE("outside float32 on the CPU layers are LibTorch's, and so are very wide ones") {
    const Layers layers({6, 20, 3}), wide({6, 1200, 3});
    const auto x = drawn("x", {4, 6});
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    at::autocast::set_autocast_enabled(at::kCPU, true);
    at::autocast::increment_nesting();
    const auto ours = Dense(layers.all, Activation::silu, Dense::Last::linear)(x),
               theirs = layers.plain(x, Activation::silu, Dense::Last::linear);
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCPU, false);
    CHECK(ours.scalar_type() == at::kBFloat16);
    CHECK(at::equal(ours, theirs));
    CHECK(at::equal(Dense(wide.all, Activation::silu, Dense::Last::linear)(x),
                    wide.plain(x, Activation::silu, Dense::Last::linear)));
    CHECK(Dense(layers.all, Activation::silu, Dense::Last::linear)(drawn("x", {0, 6})).sizes() ==
          at::IntArrayRef({0, 3}));
}

TEST_CASE("the kernels of every instruction set that this processor has agree with float64") {
    int tried = 0;
    for (const auto* const name : {"DEFAULT", "AVX2", "AVX512"}) {
        if (!has(name)) continue;
        const auto* kernels = dtk::dense_kernels(name);
        REQUIRE(kernels);
        INFO(name);
        ++tried;
        for (const auto& [M, N, K] : {std::tuple{1, 16, 1}, {7, 48, 5}, {64, 128, 66}, {13, 80, 512}}) {
            const auto a = drawn("a", {M, K}), b = drawn("b", {K, N}), start = drawn("start", {N});
            const auto exact = a.to(at::kDouble).mm(b.to(at::kDouble));
            auto c = drawn("c", {M, N});
            const auto before = c.to(at::kDouble);
            const auto turned = a.t().contiguous();
            const auto run = [&](bool transposed, bool starts, bool adds) {
                kernels->product(transposed ? dtk::kernels::Strided{turned.const_data_ptr<float>(), 1, M}
                                            : dtk::kernels::Strided{a.const_data_ptr<float>(), K, 1},
                                 b.const_data_ptr<float>(), N, starts ? start.const_data_ptr<float>() : nullptr, adds,
                                 c.mutable_data_ptr<float>(), N, M, N, K);
                return c;
            };
            CHECK(far(run(false, false, true), before + exact) < 1e-6);
            CHECK(far(run(true, false, false), exact) < 1e-6);
            CHECK(far(run(false, true, false), exact + start.to(at::kDouble)) < 1e-6);
        }
        const auto z = at::linspace(-100, 100, 4001, at::kFloat), exact = z.to(at::kDouble);
        for (const bool silu : {true, false}) {
            auto h = z.clone(), slope = at::empty_like(z);
            (silu ? kernels->silu : kernels->sigmoid)(h.mutable_data_ptr<float>(), slope.mutable_data_ptr<float>(),
                                                      4001);
            const auto s = exact.sigmoid();
            CHECK(far(h, silu ? exact * s : s) < 1e-6);
            CHECK(far(slope, silu ? s * (1 + exact * (1 - s)) : s * (1 - s)) < 1e-6);
        }
    }
    CHECK(tried >= 1);
}
