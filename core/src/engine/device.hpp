#pragma once
#include <string>

#include <dtk/api.hpp>
#include <dtk/tensor.hpp>

namespace dtk {

/// "cpu", "cuda" or "cuda:N" as a device that is there; loads LibTorch's CUDA half when CUDA is asked for, before
/// anything asks LibTorch whether it has CUDA. Errors: Error with what is missing; there is no falling back.
DTK_API at::Device device_of(const std::string& name);

/// A line on LibTorch and some on CUDA.
std::string device_report();

/// How many threads an operation may use; 0: as threads_for says.
void use_threads(std::int64_t threads);

/// Operations of this thread use it alone for as long as this lives, so that their bits do not depend on how many more
/// there are.
class DTK_API OneThread {
 public:
    OneThread();
    ~OneThread();
    OneThread(const OneThread&) = delete;
    OneThread& operator=(const OneThread&) = delete;

 private:
    int before_;
};

}  // namespace dtk
