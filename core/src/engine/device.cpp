#include "engine/device.hpp"

#include <dlfcn.h>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/headeronly/version.h>

#include <charconv>
#include <filesystem>

#include <dtk/error.hpp>

#include "base/threads.hpp"
#include "engine/device_random.hpp"

namespace dtk {

namespace {
/// The folder of the LibTorch that this process runs with.
std::filesystem::path torch_folder() {
    Dl_info info{};
    ::dladdr(reinterpret_cast<const void*>(&at::get_num_threads), &info);
    return std::filesystem::path(info.dli_fname ? info.dli_fname : "").parent_path();
}

/// → why not, or empty when CUDA can be used.
std::string load_cuda() {
    static const std::string problem = [] {
        const auto library = torch_folder() / "libtorch_cuda.so";
        if (!std::filesystem::exists(library))
            return fmt::format("this LibTorch has no CUDA half ({} is missing)", library.string());
        // Global, and before the first question whether there is CUDA: LibTorch remembers the answer.
        if (!::dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL))
            return fmt::format("LibTorch's CUDA half cannot be loaded: {}", ::dlerror());
        if (!at::hasCUDA() || at::detail::getCUDAHooks().deviceCount() == 0)
            return std::string("no CUDA device is visible (is there a GPU, and its driver?)");
        // float32 is float32: LibTorch would let convolutions, and them alone, round their factors to TF32's 10 bits.
        using at::Float32Backend, at::Float32Op, at::Float32Precision;
        for (const auto op : {Float32Op::CONV, Float32Op::RNN, Float32Op::MATMUL})
            at::globalContext().setFloat32Precision(Float32Backend::CUDA, op, Float32Precision::IEEE);
        return std::string();
    }();
    return problem;
}
}  // namespace

at::Device device_of(const std::string& name) {
    if (name == "cpu") return at::kCPU;
    int number = 0;
    const bool numbered = name.starts_with("cuda:");
    if (name != "cuda" && !numbered)
        throw Error(fmt::format("there is no device `{}`", name), "use cpu, cuda or cuda:N");
    if (numbered) {
        const auto [end, error] = std::from_chars(name.data() + 5, name.data() + name.size(), number);
        if (error != std::errc() || end != name.data() + name.size() || number < 0)
            throw Error(fmt::format("`{}` names no device", name), "use cpu, cuda or cuda:N");
    }
    if (const auto problem = load_cuda(); !problem.empty())
        throw Error(fmt::format("device `{}` was asked for, and {}", name, problem),
                    "use device = \"cpu\"; on a machine with a GPU, `./dtk setup --cuda` fetches the CUDA half");
    const int count = at::detail::getCUDAHooks().deviceCount();
    if (number >= count)
        throw Error(fmt::format("device `{}` was asked for, and there are {} CUDA devices", name, count),
                    "they count from cuda:0");
    return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(number));
}

std::string device_report() {
    auto text = fmt::format("LibTorch {}.{}.{} in {}, {} threads\n", TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR,
                            TORCH_VERSION_PATCH, torch_folder().string(), at::get_num_threads());
    if (const auto problem = load_cuda(); !problem.empty())
        return text + fmt::format("CUDA     not usable: {}\n", problem);
    const int count = at::detail::getCUDAHooks().deviceCount();
    text += fmt::format("CUDA     {} device(s)\n", count);
    for (int i = 0; i < count; ++i) {
        const auto why = why_host_numbers(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(i)));
        text += fmt::format("         cuda:{} {}\n", i,
                            why.empty() ? "makes its random numbers itself"
                                        : "is sent random numbers made on the host (the same, slower): " + why);
    }
    return text;
}

void use_threads(std::int64_t threads) { at::set_num_threads(static_cast<int>(threads_for(threads).count)); }

OneThread::OneThread() : before_(at::get_num_threads()) { at::set_num_threads(1); }
OneThread::~OneThread() { at::set_num_threads(before_); }

}  // namespace dtk
