#pragma once
// Arrays that NumPy has written.
#include <filesystem>
#include <map>
#include <string>

#include <dtk/api.hpp>
#include <dtk/tensor.hpp>

namespace dtk {

/// The array of a .npy file, mapped into memory: its pages are read when they are first looked at. Numbers of 1, 2, 4
/// and 8 bytes and bool, little-endian, in C or Fortran order. Errors: Error that names the file and what is wrong.
DTK_API Tensor load_npy(const std::filesystem::path& path);

/// The arrays of a .npz file by their names, in memory. Errors: as load_npy; Error where they hold more than `at_most`
/// bytes.
DTK_API std::map<std::string, Tensor> load_npz(const std::filesystem::path& path, std::uint64_t at_most = 1ULL << 36);

}  // namespace dtk
