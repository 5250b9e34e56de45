#pragma once
// What a plugin and its host must agree on, as text: compared before anything of a plugin is called. The compiler is
// not among it: GCC and Clang lay out classes and call functions alike where the standard library is the same.

#define DTK_TEXT_OF(x) #x
#define DTK_TEXT(x) DTK_TEXT_OF(x)

#if defined(_GLIBCXX_DEBUG)
#define DTK_CONTAINERS "debug"
#else
#define DTK_CONTAINERS "release"
#endif

#if defined(_LIBCPP_VERSION)
#define DTK_STANDARD_LIBRARY "libc++"
#else
#define DTK_STANDARD_LIBRARY "libstdc++ cxx11abi " DTK_TEXT(_GLIBCXX_USE_CXX11_ABI)
#endif

/// Of the headers that no kind's interface includes: layers, helpers of samplers and losses. It grows where plugins
/// that were built with them must be built again; a kind's interface has a number of its own.
#define DTK_HELPERS_VERSION 1

/// For plugins that see no tensor: schedules, grids.
#define DTK_BASE_BUILD_TEXT \
    DTK_STANDARD_LIBRARY ", containers " DTK_CONTAINERS ", helpers " DTK_TEXT(DTK_HELPERS_VERSION)

/// For all others. LibTorch's version is known where its headers are.
#define DTK_TORCH_BUILD_TEXT                                                                                        \
    DTK_BASE_BUILD_TEXT ", LibTorch " DTK_TEXT(TORCH_VERSION_MAJOR) "." DTK_TEXT(TORCH_VERSION_MINOR) "." DTK_TEXT( \
        TORCH_VERSION_PATCH)
