#include "nodes/detector/engine/onnx/model_file.hpp"

#include <climits>
#include <system_error>

#include <fmt/core.h>
#include <onnx/onnx_pb.h>

#include "nodes/base/file_io.hpp"
#include "nodes/detector/engine/onnx/file_kind.hpp"

namespace fovea::engine {

namespace fs = std::filesystem;

Result<std::vector<std::byte>> read_model_file(const fs::path& file) {
  FOVEA_TRY(check_readable(file));
  std::error_code error;
  if (const std::uintmax_t size = fs::file_size(file, error); !error && size > INT_MAX) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{} has {} bytes; at most {} are supported: keep the weights as external "
                    "data",
                    file.string(), size, INT_MAX));
  }
  return read_file(file, INT_MAX);
}

Result<> decode_model(std::span<const std::byte> bytes, onnx::ModelProto& model) {
  if (bytes.size() > INT_MAX) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("the model has {} bytes; at most {} are supported", bytes.size(), INT_MAX));
  }
  if (bytes.empty() || !model.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    FOVEA_TRY(check_file_kind(bytes));
    return fail(ErrorCode::kCorrupt,
                fmt::format("{} bytes are no ONNX model, or a truncated one", bytes.size()));
  }
  if (!model.has_graph() || model.opset_import_size() == 0) {
    FOVEA_TRY(check_file_kind(bytes));
    return fail(ErrorCode::kCorrupt, "this is no ONNX model: it has no graph or no opset");
  }
  return {};
}

fs::path folder_of_model(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

}  // namespace fovea::engine
