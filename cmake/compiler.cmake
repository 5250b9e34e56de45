# What every target of dtk is compiled with.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

# No contraction into fused multiply-adds: the noise must have the same bits on every machine. Without errno, √ is one
# instruction and loops over it are vectorised.
add_compile_options(-Wall -Wextra -ffp-contract=off -fno-math-errno)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)  # GCC 12 warns of overlaps in its own std::string that cannot happen
    add_compile_options(-Wno-restrict -Wno-stringop-overflow -Wno-array-bounds -Wno-missing-field-initializers)
else()
    # The deprecated function is one that the standard library's own std::stable_sort calls.
    add_compile_options(-Wno-missing-braces -Wno-missing-designated-field-initializers -Wno-deprecated-declarations)
endif()

# Types are not compared across plugins: each has its own hidden copy of their descriptions.
option(DTK_SANITIZE "address and undefined-behaviour sanitizers for dtk's own code" OFF)
if(DTK_SANITIZE)
    add_compile_options(-fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined
        -fno-omit-frame-pointer)
    add_link_options(-fsanitize=address,undefined)
    if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
        add_compile_options(-Wno-maybe-uninitialized)  # it sees uninitialised values that are none
    else()
        add_compile_options(-fno-sanitize=function)
        execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=libclang_rt.asan-${CMAKE_SYSTEM_PROCESSOR}.so
            OUTPUT_VARIABLE runtime OUTPUT_STRIP_TRAILING_WHITESPACE)
        cmake_path(GET runtime PARENT_PATH runtime)
        add_link_options(-shared-libasan LINKER:-rpath,${runtime})
    endif()
endif()

find_program(DTK_CCACHE ccache)
if(DTK_CCACHE)
    # A precompiled header is only cached with this sloppiness. What a file includes is read from the compiler's own
    # list, which saves the preprocessor a run: a quarter of the time of a file that sees LibTorch.
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_DEPEND=1
        CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${DTK_CCACHE})
    if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
        add_compile_options(-fpch-preprocess)
    else()
        add_compile_options("SHELL:-Xclang -fno-pch-timestamp")
    endif()
endif()

find_program(DTK_MOLD mold)
if(DTK_MOLD)
    add_link_options(-fuse-ld=mold)
endif()
