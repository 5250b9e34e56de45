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
# GCC 12 warns of overlaps in its own std::string that cannot happen (-Wrestrict and its like).
add_compile_options(-Wall -Wextra -Wno-restrict -Wno-stringop-overflow -Wno-array-bounds -ffp-contract=off -fno-math-errno)

find_program(DTK_CCACHE ccache)
if(DTK_CCACHE)
    # A precompiled header is only cached with these.
    set(CMAKE_CXX_COMPILER_LAUNCHER
        ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${DTK_CCACHE})
    add_compile_options(-fpch-preprocess)
endif()

find_program(DTK_MOLD mold)
if(DTK_MOLD)
    add_link_options(-fuse-ld=mold)
endif()
