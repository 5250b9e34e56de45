// CUDA. Without a GPU: which thread of a launch makes which number, and that the library of device code can be opened
// and answers for itself. With one, tagged [gpu]: the same numbers as on the CPU.
#include <dlfcn.h>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>

#include <c10/core/impl/VirtualGuardImpl.h>

#include <dtk/layers.hpp>
#include <dtk/safetensors.hpp>

#include "base/experiment.hpp"
#include "catch.hpp"
#include "cuda/draw.hpp"
#include "engine/checkpoint.hpp"
#include "engine/device.hpp"
#include "engine/device_random.hpp"
#include "engine/sampling.hpp"
#include "engine/trainer.hpp"
#include "run_program.hpp"
#include "support.hpp"

using at::Tensor;
using dtk::Draw;
using dtk::Random;

namespace {

const std::filesystem::path library_file = DTK_BINARY "/core/libdtk_cuda.so";

/// The name of a stream as the draws have it: FNV-1a.
constexpr std::uint64_t hashed(std::string_view name) {
    std::uint64_t hash = 0xCBF29CE484222325u;
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
    return hash;
}

bool same_bits(const Tensor& a, const Tensor& b) {
    const auto x = a.cpu().contiguous(), y = b.cpu().contiguous();
    return x.sizes() == y.sizes() && x.scalar_type() == y.scalar_type() &&
           std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

/// What a launch of that many threads fills [rows, row_size] with, the threads run one after another.
template <class Law>
Tensor launched(Draw draw, std::int64_t threads, std::int64_t rows, std::int64_t row_size) {
    using Number = typename Law::Number;
    const auto out = at::full({rows, row_size}, std::nan(""), at::dtype(c10::CppTypeToScalarType<Number>::value));
    for (auto thread = threads; thread-- > 0;)
        dtk::fill_as_thread<Law>(thread, threads, draw, out.template mutable_data_ptr<Number>(), rows, row_size);
    return out;
}

/// ‖a − b‖ / ‖b‖
double off(const Tensor& a, const Tensor& b) {
    const auto wide = b.cpu().to(at::kDouble);
    const auto size = wide.norm().item<double>();
    return (a.cpu().to(at::kDouble) - wide).norm().item<double>() / (size > 0 ? size : 1);
}

/// The GPU, or nothing, which is then said.
std::optional<at::Device> gpu() {
    try {
        return dtk::device_of("cuda");
    } catch (const dtk::Error& error) {
        fmt::print("skipped: no GPU can be used: {}\n", error.what());
        return {};
    }
}

/// A few steps of training and a few samples, on any device. Adam's ε is large, so that it does not magnify rounding.
class Trial {
 public:
    explicit Trial(const std::string& tables) {
        dtk::write_atomically(folder_ / "trial.toml", "seed = 7\n" + tables);
        dtk::Overrides overrides;
        overrides.plugin_path.emplace_back(DTK_PLUGINS);
        experiment_ = dtk::read_experiment(folder_ / "trial.toml", overrides, registry_, mistakes_);
        if (possible()) stage();
    }

    bool possible() const { return mistakes_.empty(); }
    const std::string& text() const { return experiment_.text; }

    struct Result {
        std::map<std::string, Tensor> tensors;
        Tensor samples;  ///< undefined without [sample]
    };
    Result run(at::Device where) {
        const auto built = stage();
        built->to(where);
        Result result;
        if (built->spec().train) {
            const dtk::TrainingLog log{.metrics = [](auto&&...) {},
                                       .save = [](auto&&...) {},
                                       .sample = [](auto&&...) {},
                                       .stop = [] { return false; }};
            dtk::Trainer(*built, where).run(text(), dtk::Progress::Mode::none, log);
        }
        for (const auto& named : built->named_tensors())
            result.tensors.emplace(named.name, named.tensor->detach().cpu());
        built->train(false);
        if (built->spec().sample)
            result.samples = dtk::draw_samples(*built, *built->spec().sample, where, dtk::Progress::Mode::none).samples;
        return result;
    }

 private:
    std::unique_ptr<dtk::Stage> stage() {
        const auto no_artefacts = [](const std::string&) -> dtk::TrainedNetwork {
            throw dtk::Error("there are no artefacts here");
        };
        return std::make_unique<dtk::Stage>(experiment_.stages.front(), experiment_.seed, no_artefacts, true,
                                            mistakes_);
    }
    Folder folder_;
    std::unique_ptr<dtk::Registry> registry_;
    dtk::Diagnostics mistakes_;
    dtk::Experiment experiment_;
};

/// Pictures of 8×8 in the files of MNIST.
std::string pictures() {
    static const Folder folder;
    std::string images{'\0', '\0', '\x08', '\x03', '\0', '\0', '\0', '\x20',
                       '\0', '\0', '\0',   '\x08', '\0', '\0', '\0', '\x08'};
    std::string labels{'\0', '\0', '\x08', '\x01', '\0', '\0', '\0', '\x20'};
    for (int i = 0; i < 32 * 64; ++i) images += static_cast<char>(i * i * 7);
    for (int i = 0; i < 32; ++i) labels += static_cast<char>(i % 3);
    for (const std::string set : {"train", "t10k"}) {
        dtk::write_atomically(folder / (set + "-images-idx3-ubyte"), images);
        dtk::write_atomically(folder / (set + "-labels-idx1-ubyte"), labels);
    }
    return fmt::format("{{use = \"idx\", folder = \"{}\"}}", folder.path.string());
}

/// A trial with that model, the other parts such that it works with them on the CPU; without training if it has nothing
/// to learn, without samples if it is a classifier. Null where there is none.
std::unique_ptr<Trial> fitting(const std::string& model) {
    const auto& plugins = support::registry();
    std::vector<std::string> datasets{
        pictures(),
        "{use = \"gaussian_mixture\"}\nobservation = {use = \"elements\", coordinates = [0], values = [0.5]}"};
    for (const auto& name : plugins.names("dataset")) datasets.push_back(fmt::format("{{use = \"{}\"}}", name));
    const std::string train_some = "train = {steps = 4, batch = 8}\noptimizer = {use = \"adamw\", eps = 1e-3}\n",
                      sample_some = "sample = {n = 32}\n";
    for (const auto& [train, sample] : {std::pair(train_some, sample_some), {"", sample_some}, {train_some, ""}})
        for (const auto& data : datasets)
            for (const auto& process : plugins.names("process"))
                for (const auto& loss : plugins.names("loss"))
                    for (const auto& sampler : plugins.names("sampler")) {
                        auto text = sample + fmt::format(
                                                 "dataset = {}\nprocess = {{use = \"{}\", steps = 24}}\nmodel = {{use "
                                                 "= \"{}\"}}\nsampler = {{use = \"{}\", steps = 6}}\n",
                                                 data, process, model, sampler);
                        if (!train.empty()) text += fmt::format("loss = {{use = \"{}\"}}\n", loss) + train;
                        auto trial = std::make_unique<Trial>(text);
                        if (trial->possible()) try {
                                trial->run(at::kCPU);
                                return trial;
                            } catch (const dtk::Error&) {
                            }
                    }
    return nullptr;
}

/// LibTorch's CUDA graph, by the names that its CUDA half gives to it: the tests are compiled without CUDA's headers.
class Graph {
 public:
    Graph() { function<void(void*, bool)>("_ZN2at4cuda9CUDAGraphC1Eb")(memory_, false); }
    ~Graph() { function<void(void*)>("_ZN2at4cuda9CUDAGraphD1Ev")(memory_); }
    Graph(const Graph&) = delete;
    void capture(const std::function<void()>& work) {
        constexpr int other_threads_may_go_on = 1;  // cudaStreamCaptureModeThreadLocal
        using Pool = std::pair<unsigned long long, unsigned long long>;
        function<void(void*, Pool, int)>("_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode")(
            memory_, {0, 0}, other_threads_may_go_on);
        work();
        function<void(void*)>("_ZN2at4cuda9CUDAGraph11capture_endEv")(memory_);
    }
    void replay() { function<void(void*)>("_ZN2at4cuda9CUDAGraph6replayEv")(memory_); }

 private:
    template <class Signature>
    static Signature* function(const char* name) {
        auto* found = reinterpret_cast<Signature*>(::dlsym(RTLD_DEFAULT, name));
        if (!found) throw dtk::Error(fmt::format("this LibTorch's CUDA half has no {}", name));
        return found;
    }
    alignas(64) std::byte memory_[4096];
};

/// A training step whose every number lies on the device: noise, network, loss, gradient, clipping, update.
class StaticStep {
 public:
    StaticStep(at::Device device, std::int64_t batch) {
        view_.data = support::make<dtk::Dataset>("gaussian_mixture", "", view_);
        view_.chain = support::make<dtk::Process>("gaussian", "steps = 100", view_);
        view_.network = support::make<dtk::Model>("mlp", "width = 32\ndepth = 2", view_);
        view_.chain->to(device), view_.network->to(device);
        view_.network->train(true);
        x0_ = view_.data->examples(at::arange(batch)).x.to(device);
        t_ = (at::arange(batch, at::kDouble) * 7).remainder(100).to(device);
        parameters_ = view_.network->parameters();
        for (auto& p : parameters_) {
            p.mutable_grad() = at::zeros_like(p);
            mean_.push_back(at::zeros_like(p)), square_.push_back(at::zeros_like(p)),
                steps_.push_back(at::zeros({}, p.options()));
        }
    }

    void operator()() {
        std::vector<Tensor> gradients;
        for (auto& p : parameters_) gradients.push_back(p.grad());
        at::_foreach_zero_(gradients);
        const auto xt = view_.chain->noised(x0_, t_, Random(3, "noise"));
        const auto error = view_.network->forward(xt.x, t_, {}).value - xt.noise;
        error.square().mean().backward();
        at::NoGradGuard no_grad;
        const auto norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients)), 2);
        at::_foreach_mul_(gradients, (1 / (norm + 1e-6)).clamp_max(1));
        at::_foreach_add_(steps_, 1);
        at::_fused_adamw_(parameters_, gradients, mean_, square_, {}, steps_, 1e-2, 0.9, 0.999, 0.0, 1e-3, false, false,
                          {}, {});
    }

    /// Everything a step changes.
    std::vector<Tensor> state() const {
        std::vector<Tensor> all;
        for (const auto* part : {&parameters_, &mean_, &square_, &steps_})
            for (const auto& tensor : *part) all.push_back(tensor.detach());
        return all;
    }

 private:
    support::BuildContext view_;
    Tensor x0_, t_;
    std::vector<Tensor> parameters_, mean_, square_, steps_;
};

const std::string small_run = R"(
name = "small"
seed = 5
device = "cuda"
dataset = {use = "gaussian_mixture"}
process = {steps = 100}
model = {use = "mlp", width = 32, depth = 2}
train = {steps = 40, batch = 32, log_every = 10, checkpoint_every = 20}
optimizer = {use = "adamw", eps = 1e-3}
sampler = {use = "ddim", steps = 10}
sample = {n = 200}
)";

}  // namespace

TEST_CASE("the threads of a launch together make the host's numbers") {
    const Random random = Random(1234567890123, "noise").step(77);
    const auto draw = [](dtk::philox::Kind kind, std::int64_t first, const std::int64_t* samples) {
        return Draw{kind, dtk::philox::key(1234567890123, hashed("noise")), hashed("noise"), 77, first, samples};
    };
    using dtk::philox::Kind;
    for (const std::int64_t rows : {1, 2, 3, 31, 257})
        for (const std::int64_t row_size : {1, 2, 3, 4, 5, 7, 8, 9, 64, 101}) {
            const auto order = at::arange(rows, at::kLong).flip(0) * 3 + 5;
            const auto sizes = std::vector{rows, row_size};
            for (const std::int64_t threads : {1, 7, 256, 1024}) {
                INFO(rows << " rows of " << row_size << ", " << threads << " threads");
                const auto normal = draw(Kind::normal, 4294967000, nullptr),
                           uniform = draw(Kind::uniform, 4294967000, nullptr);
                const auto named = draw(Kind::normal, 9, order.const_data_ptr<std::int64_t>());
                const auto late = random.from(4294967000);
                CHECK(same_bits(launched<dtk::NormalFloat>(normal, threads, rows, row_size),
                                late.normal(sizes, at::kFloat)));
                CHECK(same_bits(launched<dtk::NormalDouble>(normal, threads, rows, row_size),
                                late.normal(sizes, at::kDouble)));
                CHECK(same_bits(launched<dtk::UniformFloat>(uniform, threads, rows, row_size),
                                late.uniform(sizes, at::kFloat)));
                CHECK(same_bits(launched<dtk::UniformDouble>(uniform, threads, rows, row_size),
                                late.uniform(sizes, at::kDouble)));
                CHECK(same_bits(launched<dtk::NormalFloat>(named, threads, rows, row_size),
                                random.samples(order).normal(sizes, at::kFloat)));
            }
        }
}

TEST_CASE("a block's number leads to its row, however large the tensor") {
    constexpr std::int64_t limit = std::int64_t{1} << 32;
    for (const std::int64_t row_blocks : {1L, 3L, 1000003L, 1L << 29})
        for (const std::int64_t rows : {1L, 1000L, limit - 1}) {
            if (rows > (std::int64_t{1} << 62) / row_blocks) continue;
            const auto blocks = rows * row_blocks;
            for (const std::int64_t row : {std::int64_t{0}, rows / 2, rows - 1})
                for (const std::int64_t block : {std::int64_t{0}, row_blocks / 2, row_blocks - 1}) {
                    const auto place = dtk::place_of(row * row_blocks + block, row_blocks, blocks);
                    CHECK(place.row == row);
                    CHECK(place.block == block);
                }
        }
}

TEST_CASE("without a GPU the library of device code says so") {
    if (!std::filesystem::exists(library_file)) {
        WARN("dtk was built without nvcc");
        return;
    }
    void* library = ::dlopen(library_file.c_str(), RTLD_NOW | RTLD_LOCAL);
    INFO(::dlerror());
    REQUIRE(library);
    const auto problem = reinterpret_cast<const char* (*)(int)>(::dlsym(library, "dtk_cuda_problem"));
    REQUIRE(problem);
    REQUIRE(::dlsym(library, "dtk_cuda_fill"));
    const char* words = problem(1000);  // nor has any machine so many
    REQUIRE(words);
    CHECK(std::string(words).size() > 10);
    CHECK(::dlsym(library, "cudaSetDevice") == nullptr);  // its CUDA runtime is its own and meets no other
}

TEST_CASE("a CUDA device makes the CPU's numbers, bit for bit", "[gpu]") {
    const auto device = gpu();
    if (!device) return;
    if (std::filesystem::exists(library_file))
        CHECK(dtk::why_host_numbers(*device) == "");
    else
        WARN("dtk was built without nvcc: the numbers are made on the host and copied");
    for (const auto type : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16})
        for (const std::vector<std::int64_t>& sizes : std::vector<std::vector<std::int64_t>>{{},
                                                                                             {0, 3},
                                                                                             {1},
                                                                                             {1, 1},
                                                                                             {5, 2},
                                                                                             {3, 7},
                                                                                             {1, 1001},
                                                                                             {70000, 1},
                                                                                             {513, 3, 8, 8},
                                                                                             {64, 3, 32, 32},
                                                                                             {2, 3000001}})
            for (const std::int64_t step : {0L, 4294967295L})
                for (const std::int64_t first : {0L, 1000L}) {
                    INFO(at::toString(type)
                         << " of " << at::IntArrayRef(sizes) << ", step " << step << ", from " << first);
                    const auto random = Random(0xFEDCBA9876543210u, "noise").step(step).from(first);
                    const auto there = at::TensorOptions(*device).dtype(type);
                    CHECK(random.normal(sizes, there).device() == *device);
                    CHECK(same_bits(random.normal(sizes, there), random.normal(sizes, at::dtype(type))));
                    CHECK(same_bits(random.uniform(sizes, there), random.uniform(sizes, at::dtype(type))));
                    const auto rows = sizes.empty() ? 1 : sizes[0];
                    const auto named = random.samples(dtk::Random(3, "order").integers(std::int64_t{1} << 32, {rows}));
                    CHECK(same_bits(named.normal(sizes, there), named.normal(sizes, at::dtype(type))));
                }
}

TEST_CASE("numbers on a CUDA device are ordered with the work around them", "[gpu]") {
    const auto device = gpu();
    if (!device) return;
    // Memory that was just in use comes back with the next draw, on the same stream.
    const auto there = at::TensorOptions(*device).dtype(at::kFloat);
    const Random random(5, "noise");
    auto sum = at::zeros({256, 1000}, there);
    auto expected = at::zeros({256, 1000}, at::kFloat);
    for (std::int64_t step = 0; step < 50; ++step) {
        sum += random.step(step).normal({256, 1000}, there);
        expected += random.step(step).normal({256, 1000}, at::kFloat);
    }
    CHECK(same_bits(sum, expected));
}

TEST_CASE("float32 is float32 on a CUDA device: no factor is rounded to TF32", "[gpu]") {
    const auto device = gpu();
    if (!device) return;
    const Random random(5, "noise");
    const auto x = random.stream("x").normal({4, 64, 16, 16}, at::kFloat),
               w = random.stream("w").normal({64, 64, 3, 3}, at::kFloat);
    const auto exact = at::conv2d(x.to(at::kDouble), w.to(at::kDouble));
    CHECK(off(at::conv2d(x.to(*device), w.to(*device)).cpu(), exact) < 3e-6);  // TF32: 3e-4
    const auto a = x.view({256, 256});
    CHECK(off(a.to(*device).matmul(a.to(*device)).cpu(), a.to(at::kDouble).matmul(a.to(at::kDouble))) < 3e-6);
}

TEST_CASE("every model trains and samples on a CUDA device as on the CPU", "[gpu]") {
    const auto device = gpu();
    if (!device) return;
    for (const auto& name : support::registry().names("model")) {
        INFO("model " << name);
        const auto trial = fitting(name);
        REQUIRE(trial);
        INFO(trial->text());
        const auto here = trial->run(at::kCPU), there = trial->run(*device);
        REQUIRE(here.tensors.size() == there.tensors.size());
        for (const auto& [tensor, value] : here.tensors) {
            INFO(tensor);
            CHECK(off(there.tensors.at(tensor), value) < 1e-4);
        }
        if (here.samples.defined()) CHECK(off(there.samples, here.samples) < 1e-3);
    }
}

TEST_CASE("a run on a CUDA device goes on after an interruption, and its samples are the CPU's", "[gpu]") {
    if (!gpu()) return;
    const Folder folder;
    dtk::write_atomically(folder / "small.toml", small_run);
    const auto run = [&](std::vector<std::string> arguments) {
        const auto outcome = dtk_program(std::move(arguments), folder.path);
        INFO(outcome.out << outcome.err);
        REQUIRE(outcome.code == 0);
    };
    const auto last = [&](const std::string& run) {
        return dtk::load_checkpoint(folder / run / "checkpoints/00000040.safetensors").tensors;
    };
    const auto samples = [&](const std::string& where) {
        return dtk::load_safetensors(folder / where / "samples.safetensors").tensors.at("samples");
    };
    const auto same = [&](const std::string& a, const std::string& b) {
        for (const auto& [name, value] : last(a)) {
            INFO(name << " of " << a << " and " << b);
            CHECK(off(last(b).at(name), value) < 1e-4);
        }
        CHECK(off(samples(b), samples(a)) < 1e-3);
    };
    run({"run", "small.toml", "--out", "cpu", "--device", "cpu"});
    run({"run", "small.toml", "--out", "whole"});
    CHECK(nlohmann::json::parse(dtk::read_file(folder / "whole/run.json"))["device"] == "cuda:0");
    same("cpu", "whole");

    run({"run", "small.toml", "--out", "halved"});
    std::filesystem::remove(folder / "halved/checkpoints/00000040.safetensors");
    run({"run", "small.toml", "--resume=halved"});
    same("whole", "halved");

    run({"sample", "cpu", "--device", "cuda", "--out", "cpu-on-cuda"});
    CHECK(off(samples("cpu-on-cuda"), samples("cpu")) < 1e-3);
    run({"sample", "whole", "--device", "cpu", "--out", "cuda-on-cpu"});
    CHECK(off(samples("cuda-on-cpu"), samples("whole")) < 1e-3);
}

TEST_CASE("layers of images keep the memory layout of their input on a CUDA device", "[gpu]") {
    const auto device = gpu();
    if (!device) return;
    const Random random(4, "init");
    for (const auto layout : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
        INFO(layout);
        dtk::GroupNorm norm(random, 24, 8), with_silu(random, 24, 8, dtk::GroupNorm::Then::silu);
        dtk::Conv2d convolution(random, 24, 16, 3);
        for (dtk::Module* layer : std::initializer_list<dtk::Module*>{&norm, &with_silu, &convolution})
            layer->to(*device);
        const auto x = random.normal({3, 24, 5, 4}, at::TensorOptions(*device).dtype(at::kFloat)).contiguous(layout);
        CHECK(norm(x).is_contiguous(layout));
        CHECK(with_silu(x).is_contiguous(layout));
        CHECK(convolution(x).is_contiguous(layout));
    }
}

TEST_CASE("a step of static shape trains") {
    StaticStep step(at::kCPU, 64);
    const auto before = step.state().front().clone();
    for (int i = 0; i < 3; ++i) step();
    CHECK(off(step.state().front(), before) > 1e-4);
    CHECK(step.state().back().item<double>() == 3);
}

TEST_CASE("a captured CUDA graph of a training step does what the step does", "[gpu]") {
    const auto device = gpu();
    if (!device) return;
    if (const auto why = dtk::why_host_numbers(*device); !why.empty()) {
        fmt::print("skipped: numbers that are made on the host cannot be captured: {}\n", why);
        return;
    }
    const c10::impl::VirtualGuardImpl streams(device->type());
    const auto before =
        streams.exchangeStream(streams.getStreamFromGlobalPool(*device));  // the default stream cannot be captured
    StaticStep step(*device, 64);
    for (int i = 0; i < 3; ++i) step();  // kernels are loaded and workspaces made
    std::vector<Tensor> kept, expected;
    for (const auto& tensor : step.state()) kept.push_back(tensor.clone());
    for (int i = 0; i < 3; ++i) step();
    for (const auto& tensor : step.state()) expected.push_back(tensor.cpu());
    const auto state = step.state();
    for (std::size_t i = 0; i < kept.size(); ++i) state[i].copy_(kept[i]);
    {
        Graph graph;
        graph.capture([&] { step(); });
        for (std::size_t i = 0; i < kept.size(); ++i)
            CHECK(same_bits(state[i], kept[i]));  // it was written down, not done
        for (int i = 0; i < 3; ++i) graph.replay();
        for (std::size_t i = 0; i < expected.size(); ++i) CHECK(off(state[i], expected[i]) < 1e-5);
    }
    streams.exchangeStream(before);
}
