// One borrowed output of the network, and the checks before its numbers are read.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "msgs/tensor.hpp"
#include "nodes/base/result.hpp"

namespace fovea {

// May come from a peer: nothing about it is trusted.
struct HeadTensor {
  std::string_view name;
  msgs::DataType dtype = msgs::DataType::kFloat32;
  std::span<const std::int64_t> dims;  // of one image, innermost last; see HeadSpec
  std::span<const std::byte> bytes;
};

// The values of a tensor of exactly this shape. Errors: kInvalidArgument.
Result<const float*> find_values(std::span<const HeadTensor> tensors, std::string_view name,
                                 std::span<const std::int64_t> dims);
// Errors: kInvalidArgument for more or fewer tensors than the head has.
Result<> check_count(std::span<const HeadTensor> tensors, std::size_t expected);

}  // namespace fovea
