# nvcc, if there is one that takes this compiler as its host's: DTK_NVCC_WORKS, DTK_NVCC, DTK_NVCC_FLAGS. CMake's own CUDA
# language is not used: it stops the configuration where something is amiss. -DDTK_NVCC= builds without.

find_program(DTK_NVCC nvcc HINTS "$ENV{CUDA_HOME}/bin" /usr/local/cuda/bin)

# Nothing may be contracted into fused multiply-adds, as on the host: the random numbers have the same bits everywhere.
set(DTK_NVCC_FLAGS -std=c++17 -O3 --fmad=false -Wno-deprecated-gpu-targets -ccbin ${CMAKE_CXX_COMPILER} -Xcompiler=-fPIC,-fvisibility=hidden,-ffp-contract=off,-Wall,-Wextra)

set(DTK_NVCC_WORKS FALSE)
if(DTK_NVCC)
    if(NOT DTK_NVCC_TRIED STREQUAL "${DTK_NVCC} ${DTK_NVCC_FLAGS}")
        set(dtk_trial "${CMAKE_BINARY_DIR}/CMakeFiles/nvcc_trial")
        file(WRITE "${dtk_trial}.cu" "__global__ void nothing() {}\n")
        execute_process(COMMAND ${DTK_NVCC} ${DTK_NVCC_FLAGS} -arch=all-major -c "${dtk_trial}.cu" -o "${dtk_trial}.o"
            RESULT_VARIABLE dtk_failed OUTPUT_VARIABLE dtk_words ERROR_VARIABLE dtk_words)
        file(WRITE "${dtk_trial}.log" "${dtk_words}")
        set(DTK_NVCC_TRIED "${DTK_NVCC} ${DTK_NVCC_FLAGS}" CACHE INTERNAL "what nvcc was tried with")
        set(DTK_NVCC_FAILED "${dtk_failed}" CACHE INTERNAL "did the trial fail?")
    endif()
    if(DTK_NVCC_FAILED)
        message(STATUS "CUDA: ${DTK_NVCC} does not work with ${CMAKE_CXX_COMPILER} (CMakeFiles/nvcc_trial.log): built without device code")
    else()
        set(DTK_NVCC_WORKS TRUE)
        message(STATUS "CUDA: device code by ${DTK_NVCC}")
    endif()
else()
    message(STATUS "CUDA: no nvcc, built without device code")
endif()
