#include "nodes/postprocess/head_tensors.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace fovea {

Result<const float*> find_values(std::span<const HeadTensor> tensors, std::string_view name,
                                 std::span<const std::int64_t> dims) {
  const auto tensor = std::find_if(tensors.begin(), tensors.end(),
                                   [&](const HeadTensor& t) { return t.name == name; });
  if (tensor == tensors.end()) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("tensor {} is missing", name));
  }
  if (tensor->dtype != msgs::DataType::kFloat32) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("tensor {} is {}; it must be float32",
                                                         name, msgs::enum_name(tensor->dtype)));
  }
  if (!std::equal(dims.begin(), dims.end(), tensor->dims.begin(), tensor->dims.end())) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("tensor {} has the shape [{}]; it must be [{}]", name,
                            fmt::join(tensor->dims, ", "), fmt::join(dims, ", ")));
  }
  std::uint64_t bytes = sizeof(float);
  for (const std::int64_t extent : dims) bytes *= static_cast<std::uint64_t>(extent);
  if (tensor->bytes.size() != bytes) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("tensor {} has {} bytes; it must have {}",
                                                         name, tensor->bytes.size(), bytes));
  }
  if (reinterpret_cast<std::uintptr_t>(tensor->bytes.data()) % alignof(float) != 0) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("tensor {} is not aligned to {} bytes", name, alignof(float)));
  }
  return reinterpret_cast<const float*>(tensor->bytes.data());
}

Result<> check_count(std::span<const HeadTensor> tensors, std::size_t expected) {
  if (tensors.size() == expected) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{} tensors; the model has {}", tensors.size(), expected));
}

}  // namespace fovea
