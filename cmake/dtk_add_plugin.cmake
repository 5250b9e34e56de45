# dtk_add_plugin(NAME SOURCE... [FOLDER folder])
#   One shared library NAME.so that exports nothing but its descriptors, built into <build>/plugins[/folder].
#   NAME.check.toml beside the source names what `dtk plugins check` tries it with.
#   A source whose headers never reach dtk/tensor.hpp (a schedule, a grid) is built without LibTorch. The packaged
#   libraries whose headers it includes are linked.

string(MD5 DTK_BASE_BUILD_ID "${CMAKE_SYSTEM_NAME} ${CMAKE_SYSTEM_PROCESSOR}")
string(MD5 DTK_TORCH_BUILD_ID "${CMAKE_SYSTEM_NAME} ${CMAKE_SYSTEM_PROCESSOR} LibTorch ${DTK_TORCH_VERSION}")
string(SUBSTRING "b${DTK_BASE_BUILD_ID}" 0 9 DTK_BASE_BUILD_ID)
string(SUBSTRING "t${DTK_TORCH_BUILD_ID}" 0 9 DTK_TORCH_BUILD_ID)

set(DTK_CMAKE_DIR "${CMAKE_CURRENT_LIST_DIR}")

# Does the header or source reach dtk/tensor.hpp through the SDK's headers?
function(dtk_uses_tensors file result)
    get_target_property(folders dtk::base INTERFACE_INCLUDE_DIRECTORIES)
    set(pending "${file}")
    set(seen "")
    while(pending)
        list(POP_FRONT pending current)
        file(STRINGS "${current}" includes REGEX "^#include <dtk/[a-z0-9_]+\\.hpp>")
        foreach(include IN LISTS includes)
            string(REGEX REPLACE "^#include <(dtk/[a-z0-9_]+\\.hpp)>.*" "\\1" header "${include}")
            if(header STREQUAL "dtk/tensor.hpp")
                set(${result} TRUE PARENT_SCOPE)
                return()
            endif()
            foreach(folder IN LISTS folders)
                string(REGEX REPLACE "^\\$<BUILD_INTERFACE:(.*)>$" "\\1" folder "${folder}")
                if(EXISTS "${folder}/${header}" AND NOT header IN_LIST seen)
                    list(APPEND seen "${header}")
                    list(APPEND pending "${folder}/${header}")
                endif()
            endforeach()
        endforeach()
    endwhile()
    set(${result} FALSE PARENT_SCOPE)
endfunction()

# Links the packaged libraries whose headers the sources include: header, CMake's package, target.
set(DTK_PACKAGED
    "png\\.h PNG PNG::PNG"
    "jpeglib\\.h JPEG JPEG::JPEG"
    "zlib\\.h ZLIB ZLIB::ZLIB"
    "openssl/[a-z0-9_]+\\.h OpenSSL OpenSSL::Crypto")
function(dtk_link_included target)
    foreach(source IN LISTS ARGN)
        foreach(library IN LISTS DTK_PACKAGED)
            separate_arguments(library)
            list(POP_FRONT library header package)
            file(STRINGS "${source}" includes REGEX "^#include <${header}>")
            if(includes)
                find_package(${package} REQUIRED)
                target_link_libraries(${target} PRIVATE ${library})
            endif()
        endforeach()
    endforeach()
endfunction()

# LibTorch brings fmt's headers in a version of its own, whose library it does not, and they would come first. Without the
# library each file compiles fmt anew, four seconds of it; so the system's headers stand before LibTorch's.
function(dtk_system_fmt target)
    get_target_property(folder fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
    list(GET folder 0 folder)
    file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/system_fmt")
    file(CREATE_LINK "${folder}/fmt" "${CMAKE_BINARY_DIR}/system_fmt/fmt" SYMBOLIC)
    target_include_directories(${target} BEFORE PRIVATE "${CMAKE_BINARY_DIR}/system_fmt")
    target_link_libraries(${target} PRIVATE fmt::fmt)
endfunction()

# The precompiled header that all plugins with tensors, or all without, share: what most of them include.
function(dtk_plugin_header uses_tensors result)
    set(header dtk_plain_header)
    set(includes <dtk/schedule.hpp>)
    if(uses_tensors)
        set(header dtk_tensor_header)
        set(includes <dtk/tensor.hpp> <dtk/metric.hpp> <dtk/sampler.hpp>)
    endif()
    set(${result} ${header} PARENT_SCOPE)
    if(NOT TARGET ${header})
        file(WRITE "${CMAKE_BINARY_DIR}/${header}.cpp.in" "")
        configure_file("${CMAKE_BINARY_DIR}/${header}.cpp.in" "${CMAKE_BINARY_DIR}/${header}.cpp" COPYONLY)
        add_library(${header} OBJECT "${CMAKE_BINARY_DIR}/${header}.cpp")
        dtk_plugin_settings(${header} ${uses_tensors})
        target_precompile_headers(${header} PRIVATE ${includes} <algorithm> <cmath> <numbers> <fmt/format.h>)
    endif()
endfunction()

function(dtk_plugin_settings target uses_tensors)
    if(uses_tensors)
        target_link_libraries(${target} PRIVATE dtk::dtk)
        dtk_system_fmt(${target})
        target_compile_definitions(${target} PRIVATE DTK_TORCH_BUILD_ID=${DTK_TORCH_BUILD_ID})
    else()
        target_link_libraries(${target} PRIVATE dtk::base fmt::fmt)
        target_compile_definitions(${target} PRIVATE DTK_BASE_BUILD_ID=${DTK_BASE_BUILD_ID})
    endif()
    target_compile_features(${target} PRIVATE cxx_std_20)
    target_compile_options(${target} PRIVATE -ffp-contract=off -fno-math-errno)
    set_target_properties(${target} PROPERTIES
        PREFIX "" DEFINE_SYMBOL "" CXX_EXTENSIONS OFF
        CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON POSITION_INDEPENDENT_CODE ON)
endfunction()

function(dtk_add_plugin name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "FOLDER" "")
    set(sources ${arg_UNPARSED_ARGUMENTS})
    list(GET sources 0 source)
    cmake_path(ABSOLUTE_PATH source)
    dtk_uses_tensors("${source}" uses_tensors)
    add_library(${name} MODULE ${sources})
    dtk_plugin_settings(${name} ${uses_tensors})
    dtk_link_included(${name} ${sources})
    dtk_plugin_header(${uses_tensors} header)
    target_precompile_headers(${name} REUSE_FROM ${header})
    target_link_options(${name} PRIVATE LINKER:--no-undefined LINKER:--version-script=${DTK_CMAKE_DIR}/exports.map)
    set_target_properties(${name} PROPERTIES
        LINK_DEPENDS ${DTK_CMAKE_DIR}/exports.map
        LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/plugins/${arg_FOLDER})
    # The comment that the source begins with, beside the plugin: the formula and the paper, for the reference.
    add_custom_command(TARGET ${name} POST_BUILD
        COMMAND sed -n "s|^// \\{0,1\\}||p;t;q" "${source}"
            > "$<TARGET_FILE_DIR:${name}>/$<TARGET_FILE_BASE_NAME:${name}>.txt"
        VERBATIM)
    # What `dtk plugins check` tries it with, where its author says so.
    cmake_path(REPLACE_EXTENSION source LAST_ONLY ".check.toml" OUTPUT_VARIABLE check)
    if(EXISTS "${check}")
        cmake_path(GET check FILENAME check_name)
        file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/plugins/${arg_FOLDER}")
        file(CREATE_LINK "${check}" "${CMAKE_BINARY_DIR}/plugins/${arg_FOLDER}/${check_name}" SYMBOLIC)
    endif()
endfunction()
