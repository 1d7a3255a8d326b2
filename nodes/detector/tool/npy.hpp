// NumPy's .npy files, so that raw tensors can be compared with those of any other program: one
// dense array with its type and shape. Format: numpy.lib.format, versions 1 to 3.
//
// Thread safety: pure functions. Any bytes are safe.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "nodes/base/result.hpp"

namespace fovea {

struct NpyArray {
  std::string dtype;  // numpy's: "<f4", "|u1", ...
  std::vector<std::int64_t> dims;
  std::vector<std::byte> bytes;  // C order, little endian

  std::size_t size() const;  // elements
};

// Types f2, f4, f8, u1, u2, u4, i1, i2, i4, i8 and b1. Errors: read_file()'s; kCorrupt for what is
// no .npy file or is cut off; kUnsupported for Fortran order, big endian and other types. All name
// the file.
Result<NpyArray> read_npy(const std::filesystem::path& file);
Result<NpyArray> parse_npy(std::span<const std::byte> bytes);

// The numbers as f32. REQUIRES: an array from one of the functions here.
std::vector<float> as_floats(const NpyArray& array);

NpyArray npy_of(std::span<const float> values, std::vector<std::int64_t> dims);

std::vector<std::byte> serialize(const NpyArray& array);
Result<> write_npy(const std::filesystem::path& file, const NpyArray& array);

}  // namespace fovea
