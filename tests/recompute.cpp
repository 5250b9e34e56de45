// Activation checkpointing: gradients of networks whose inner values are computed again, bit for bit those of networks
// that keep them, and the memory that it takes.
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <torch/csrc/autograd/autograd.h>

#include <dtk/recompute.hpp>

#include "bench.hpp"
#include "catch.hpp"
#include "compared_runs.hpp"
#include "complaint.hpp"
#include "engine/trainer.hpp"
#include "run_program.hpp"
#include "small_experiment.hpp"
#include "support.hpp"

namespace {

using at::Tensor;

/// Bytes that this thread has asked for and not given back: the most there were at once.
class Memory final : public c10::MemoryReportingInfoBase {
 public:
    void reportMemoryUsage(void*, std::int64_t size, std::size_t, std::size_t, c10::Device) override {
        now_ += size;
        most_ = std::max(most_, now_);
    }
    bool memoryProfilingEnabled() const override { return true; }
    std::int64_t most() const { return most_; }

 private:
    std::int64_t now_ = 0, most_ = 0;
};

std::int64_t most_memory(const std::function<void()>& work) {
    const auto memory = std::make_shared<Memory>();
    const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, memory);
    work();
    return memory->most();
}

std::string image_experiment(const std::string& model, const std::string& train, int size = 16) {
    return "name = \"same\"\nseed = 3\nthreads = 1\n[dataset]\nuse = \"dead_leaves\"\nsize = " + std::to_string(size) +
           "\n[schedule]\nuse = "
           "\"cosine\"\n[model]\n" +
           model + "\n[train]\nsteps = 3\n" + train;
}

/// Gradients of the first step, by the tensors' names.
dtk::NamedTensors gradients(const std::string& model, const std::string& train) {
    Bench bench(image_experiment(model, train));
    at::NoGradGuard no_grad;
    // Last layers begin at 0, and nothing before them would have a gradient.
    for (const auto& named : bench.stage->named_tensors())
        if (named.trained)
            named.tensor->add_(0.05 *
                               dtk::Random(1, named.name).normal(named.tensor->sizes(), named.tensor->options()));
    const at::AutoGradMode grad(true);
    dtk::Trainer trainer(*bench.stage, at::kCPU);
    trainer.look({});
    dtk::NamedTensors all;
    for (const auto& named : bench.stage->named_tensors())
        if (named.trained) all.emplace(named.name, named.tensor->grad().clone());
    return all;
}

const std::string unet =
    "use = \"unet\"\nchannels = 8\nmultipliers = [1, 2]\nblocks = 2\nattention = [16]\nheads = 2\ndropout = 0.2\n"
    "self_condition = true\n";

}  // namespace

TEST_CASE("gradients of a network that computes its inner values again have the bits of one that keeps them") {
    const std::string dit = "use = \"dit\"\nwidth = 32\ndepth = 3\nheads = 2\npatch = 4\n";
    for (const auto& model : {unet, dit})
        for (const std::string train :
             {"batch = 4\n", "batch = 4\nprecision = \"bf16\"\n", "batch = 4\naccumulate = 2\n"}) {
            const auto kept = gradients(model, train), again = gradients(model, train + "recompute = true\n");
            REQUIRE(kept.size() == again.size());
            for (const auto& [name, gradient] : kept) {
                INFO(name << "\n" << train);
                CHECK(at::equal(gradient, again.at(name)));
                CHECK(gradient.abs().max().item<float>() > 0);
            }
        }
}

TEST_CASE("a run with recomputed blocks is the run without, and is gone on with either way") {
    const auto experiment = image_experiment(unet, "batch = 4\ncheckpoint_every = 2\n");
    const Folder folder;
    write(folder / "kept.toml", experiment);
    write(folder / "again.toml", changed(experiment, "batch = 4", "batch = 4\nrecompute = true"));
    for (const std::string name : {"kept", "again"}) {
        const auto outcome = dtk_program({"run", name + ".toml", "--out", name, "--progress", "none"}, folder.path);
        INFO(outcome.err);
        REQUIRE(outcome.code == 0);
    }
    CHECK((bits_of(folder / "kept/checkpoints/00000003.safetensors") ==
           bits_of(folder / "again/checkpoints/00000003.safetensors")));
    CHECK(log_of(folder / "kept") == log_of(folder / "again"));
    std::filesystem::remove(folder / "kept/checkpoints/00000003.safetensors");
    const auto outcome = dtk_program({"run", "again.toml", "--resume=kept", "--progress", "none"}, folder.path);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK((bits_of(folder / "kept/checkpoints/00000003.safetensors") ==
           bits_of(folder / "again/checkpoints/00000003.safetensors")));
}

namespace {
/// The most memory of a step of the U-Net in experiments/fashion_mnist.toml, gradients among it.
std::int64_t memory_of_unet(const std::string& train) {
    Bench bench(image_experiment(
        "use = \"unet\"\nchannels = 32\nmultipliers = [1, 2, 4]\nblocks = 1\nattention = [7]\n", train, 28));
    dtk::Trainer trainer(*bench.stage, at::kCPU);
    return most_memory([&] { trainer.look({}); });
}

void takes_half(const std::string& train) {
    const auto kept = memory_of_unet(train), again = memory_of_unet(train + "recompute = true\n");
    INFO(train << kept / 1e6 << " MB with inner values kept, " << again / 1e6 << " MB without");
    CHECK(kept > 64'000'000);
    CHECK(2 * again < kept);
}
}  // namespace

TEST_CASE("the U-Net for Fashion-MNIST trains in half the memory or less") { takes_half("batch = 64\n"); }

TEST_CASE("the U-Net for Fashion-MNIST trains in half the memory or less at batch 256", "[slow]") {
    for (const std::string train : {"batch = 256\n", "batch = 256\nprecision = \"bf16\"\n"}) takes_half(train);
}

TEST_CASE("a recomputed block is differentiated twice, and in forward mode, as it is by itself") {
    const dtk::Random random(4, "block");
    const auto weight = random.stream("w").normal({5, 5}, at::kDouble).set_requires_grad(true);
    const auto block = [&](const std::vector<Tensor>& in) { return in[0] + at::linear(in[1], weight).tanh() * in[1]; };
    const auto plain = [&](const Tensor& x) { return block({x, x}); };
    const auto again = [&](const Tensor& x) { return dtk::recomputed(block, {x, x}, {weight}); };
    const auto x = random.stream("x").normal({3, 5}, at::kDouble).set_requires_grad(true);
    // |∂/∂x Σ y²|², differentiated by the weight and by x.
    const auto twice = [&](const std::function<Tensor(const Tensor&)>& y) {
        const auto first =
            torch::autograd::grad({y(2 * x).square().sum()}, {x}, {}, /*retain_graph=*/true, /*create_graph=*/true);
        return torch::autograd::grad({first[0].square().sum()}, {x, weight});
    };
    const auto a = twice(plain), b = twice(again);
    for (std::size_t i = 0; i < a.size(); ++i)
        CHECK(support::distance(a[i], b[i]) < 1e-12 * (1 + a[i].abs().max().item<double>()));
    CHECK(at::equal(plain(x), again(x)));
    {
        at::NoGradGuard no_grad;
        CHECK_FALSE(again(x).requires_grad());
    }
}

TEST_CASE("recompute of a model that keeps its inner values is refused in words") {
    const Folder folder;
    write(folder / "small.toml", changed(small_experiment, "batch = 8", "batch = 8\nrecompute = true"));
    const auto outcome = dtk_program({"check", "small.toml"}, folder.path);
    CHECK(outcome.code == 2);
    CHECK(says(outcome.err, "model `mlp` keeps its inner values"));
}
