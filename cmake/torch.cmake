# LibTorch as the target dtk::torch: headers, libtorch_cpu and libc10, and nothing of CUDA.
#
# LibTorch's own package asks for a CUDA toolkit wherever it was built with CUDA; dtk links the CPU half alone and
# loads the CUDA half when a run asks for it, so it describes the library itself. Set DTK_TORCH_ROOT to a folder that
# holds lib/libtorch_cpu.so (an unpacked wheel's torch/, an unpacked libtorch archive, a virtual environment's torch/).
# Sets DTK_TORCH_VERSION. After unpacked.cmake.

set(dtk_torch_default "$ENV{DTK_LIBTORCH}")
if(NOT dtk_torch_default)
    set(dtk_torch_default "${dtk_home}/libtorch-2.11.0/torch")
endif()
set(DTK_TORCH_ROOT "${dtk_torch_default}" CACHE PATH "folder that holds lib/libtorch_cpu.so and include/ATen")

if(NOT EXISTS "${DTK_TORCH_ROOT}/lib/libtorch_cpu.so")
    message(FATAL_ERROR
        "No LibTorch in DTK_TORCH_ROOT = ${DTK_TORCH_ROOT}\n"
        "Run ./dtk setup, which fetches LibTorch 2.11.0, or name a LibTorch you have: -DDTK_TORCH_ROOT=/path/to/torch")
endif()

file(STRINGS "${DTK_TORCH_ROOT}/include/torch/headeronly/version.h" dtk_version_lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
string(REGEX REPLACE "[^0-9;]" "" dtk_version_numbers "${dtk_version_lines}")
string(REPLACE ";" "." DTK_TORCH_VERSION "${dtk_version_numbers}")
if(DTK_TORCH_VERSION VERSION_LESS 2.11)
    message(FATAL_ERROR "LibTorch ${DTK_TORCH_VERSION} in ${DTK_TORCH_ROOT} is too old: dtk needs 2.11 or newer")
endif()

# A wheel keeps the CUDA run-time libraries that libtorch_cpu.so names in a folder beside it.
file(GLOB dtk_torch_beside "${DTK_TORCH_ROOT}/../nvidia/*/lib")
list(TRANSFORM dtk_torch_beside PREPEND "LINKER:-rpath-link,")

add_library(dtk::torch INTERFACE IMPORTED GLOBAL)
target_include_directories(dtk::torch SYSTEM INTERFACE
    "${DTK_TORCH_ROOT}/include" "${DTK_TORCH_ROOT}/include/torch/csrc/api/include")
target_link_libraries(dtk::torch INTERFACE "${DTK_TORCH_ROOT}/lib/libtorch_cpu.so" "${DTK_TORCH_ROOT}/lib/libc10.so")
target_link_options(dtk::torch INTERFACE ${dtk_torch_beside})
# Clang 18 gave constrained templates other symbols; LibTorch exports the old ones, which GCC uses as well.
if(CMAKE_CXX_COMPILER_ID MATCHES Clang AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 18)
    target_compile_options(dtk::torch INTERFACE -fclang-abi-compat=17)
endif()
