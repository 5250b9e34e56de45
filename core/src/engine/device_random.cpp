#include "engine/device_random.hpp"

#include <dlfcn.h>

#include <filesystem>
#include <map>
#include <mutex>

#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <fmt/format.h>

#include <dtk/error.hpp>

namespace dtk {
namespace {

/// The functions of cuda/random.cu.
struct Library {
    const char* (*problem)(int device) = nullptr;
    const char* (*fill)(const Draw*, bool wide, void* out, std::int64_t rows, std::int64_t row_size, int device,
                        void* stream) = nullptr;
    std::string missing;  ///< why there are none

    Library() {
        Dl_info info{};
        ::dladdr(reinterpret_cast<const void*>(&makes_numbers), &info);
        const auto file = std::filesystem::path(info.dli_fname ? info.dli_fname : "").parent_path() / "libdtk_cuda.so";
        if (!std::filesystem::exists(file)) {
            missing = fmt::format("dtk was built without nvcc ({} is missing)", file.string());
            return;
        }
        void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (library) {
            problem = reinterpret_cast<decltype(problem)>(::dlsym(library, "dtk_cuda_problem"));
            fill = reinterpret_cast<decltype(fill)>(::dlsym(library, "dtk_cuda_fill"));
        }
        if (!problem || !fill) missing = ::dlerror();
    }
};

const Library& library() {
    static const Library library;
    return library;
}

at::Device numbered(at::Device device) {
    return device.has_index() ? device : c10::impl::VirtualGuardImpl(device.type()).getDevice();
}

}  // namespace

std::string why_host_numbers(at::Device device) {
    if (!library().missing.empty()) return library().missing;
    const c10::DeviceGuard guard(device);
    const char* problem = library().problem(device.index());
    return problem ? problem : "";
}

bool makes_numbers(at::Device device) {
    if (!device.is_cuda()) return false;
    static std::mutex mutex;
    static std::map<int, bool> known;
    const std::lock_guard lock(mutex);
    const auto there = numbered(device);
    const auto found = known.find(there.index());
    return found != known.end() ? found->second : (known[there.index()] = why_host_numbers(there).empty());
}

void fill_on_device(Draw draw, const Tensor& samples, const Tensor& out, std::int64_t rows, std::int64_t row_size) {
    const auto device = out.device();
    const c10::DeviceGuard guard(device);
    const auto index = samples.defined() ? samples.to(device, /*non_blocking=*/true) : Tensor();
    draw.samples = index.defined() ? index.const_data_ptr<std::int64_t>() : nullptr;
    const c10::impl::VirtualGuardImpl impl(device.type());
    void* stream = impl.getStreamNativeHandle(impl.getStream(device));
    const bool wide = out.scalar_type() == at::kDouble;
    if (const char* problem =
            library().fill(&draw, wide, out.mutable_data_ptr(), rows, row_size, device.index(), stream))
        throw Error(fmt::format("random numbers cannot be made on {}: {}", device.str(), problem),
                    "`./dtk doctor` says more; use device = \"cpu\" meanwhile");
}

}  // namespace dtk
