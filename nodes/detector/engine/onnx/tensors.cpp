// Extents and sizes come from the file and are only a claim until the bytes are
// there.
#include "nodes/detector/engine/onnx/tensors.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include <fmt/core.h>
#include <onnx/onnx_pb.h>

#include "nodes/detector/engine/onnx/elements.hpp"
#include "nodes/detector/engine/onnx/external.hpp"

namespace fovea::engine {

namespace {

// Weights of one model after widening; a few hundred bytes can otherwise ask for any amount.
constexpr std::size_t kMaxConstantBytes = std::size_t{4} << 30;

tl::unexpected<Error> corrupt(std::string message) {
  return fail(ErrorCode::kCorrupt, std::move(message));
}
tl::unexpected<Error> unsupported(std::string message) {
  return fail(ErrorCode::kUnsupported, std::move(message));
}

Result<> fill(const onnx::TensorProto& tensor, const std::optional<std::span<const std::byte>>& raw,
              Constant& out) {
  const auto to_float = [](auto value) { return static_cast<float>(value); };
  const auto to_int = [](auto value) { return static_cast<std::int64_t>(value); };
  const auto to_bool = [](auto value) { return static_cast<std::uint8_t>(value != 0); };
  const auto low_half = [](std::int32_t value) { return static_cast<std::uint16_t>(value); };
  using Int = std::int64_t;
  switch (tensor.data_type()) {
    case onnx::TensorProto::FLOAT:
      return raw ? convert_raw<float, float>(*raw, out, to_float)
                 : convert_field<float>(tensor.float_data(), out, to_float);
    case onnx::TensorProto::DOUBLE:
      return raw ? convert_raw<double, float>(*raw, out, to_float)
                 : convert_field<float>(tensor.double_data(), out, to_float);
    case onnx::TensorProto::FLOAT16:
      return raw ? convert_raw<std::uint16_t, float>(*raw, out, half_to_float)
                 : convert_field<float>(tensor.int32_data(), out,
                                        [&](std::int32_t v) { return half_to_float(low_half(v)); });
    case onnx::TensorProto::BFLOAT16:
      return raw ? convert_raw<std::uint16_t, float>(*raw, out, bfloat_to_float)
                 : convert_field<float>(tensor.int32_data(), out, [&](std::int32_t v) {
                     return bfloat_to_float(low_half(v));
                   });
    case onnx::TensorProto::INT64:
      return raw ? convert_raw<std::int64_t, Int>(*raw, out, to_int)
                 : convert_field<Int>(tensor.int64_data(), out, to_int);
    case onnx::TensorProto::UINT64:
      return raw ? convert_raw<std::uint64_t, Int>(*raw, out, to_int)
                 : convert_field<Int>(tensor.uint64_data(), out, to_int);
    case onnx::TensorProto::UINT32:
      return raw ? convert_raw<std::uint32_t, Int>(*raw, out, to_int)
                 : convert_field<Int>(tensor.uint64_data(), out, to_int);
    case onnx::TensorProto::BOOL:
      return raw ? convert_raw<std::uint8_t, std::uint8_t>(*raw, out, to_bool)
                 : convert_field<std::uint8_t>(tensor.int32_data(), out, to_bool);
    default:
      break;
  }
  if (!raw) return convert_field<Int>(tensor.int32_data(), out, to_int);
  switch (tensor.data_type()) {
    case onnx::TensorProto::INT32:
      return convert_raw<std::int32_t, Int>(*raw, out, to_int);
    case onnx::TensorProto::INT16:
      return convert_raw<std::int16_t, Int>(*raw, out, to_int);
    case onnx::TensorProto::INT8:
      return convert_raw<std::int8_t, Int>(*raw, out, to_int);
    case onnx::TensorProto::UINT16:
      return convert_raw<std::uint16_t, Int>(*raw, out, to_int);
    default:
      return convert_raw<std::uint8_t, Int>(*raw, out, to_int);
  }
}

Result<std::vector<std::byte>> load_external(const onnx::TensorProto& tensor,
                                             const std::filesystem::path& base_dir,
                                             std::size_t most) {
  std::map<std::string, std::string> entries;
  for (const auto& entry : tensor.external_data()) entries[entry.key()] = entry.value();
  FOVEA_ASSIGN(const ExternalData data, parse_external_data(entries));
  return read_external_data(data, base_dir, most);
}

}  // namespace

std::optional<DataType> widened_type(int onnx_type) {
  switch (onnx_type) {
    case onnx::TensorProto::FLOAT:
    case onnx::TensorProto::FLOAT16:
    case onnx::TensorProto::BFLOAT16:
    case onnx::TensorProto::DOUBLE:
      return DataType::kFloat32;
    case onnx::TensorProto::INT8:
    case onnx::TensorProto::INT16:
    case onnx::TensorProto::INT32:
    case onnx::TensorProto::INT64:
    case onnx::TensorProto::UINT8:
    case onnx::TensorProto::UINT16:
    case onnx::TensorProto::UINT32:
    case onnx::TensorProto::UINT64:
      return DataType::kInt64;
    case onnx::TensorProto::BOOL:
      return DataType::kBool;
    default:
      return std::nullopt;
  }
}

std::size_t stored_size(int onnx_type) {
  switch (onnx_type) {
    case onnx::TensorProto::BOOL:
    case onnx::TensorProto::INT8:
    case onnx::TensorProto::UINT8:
      return 1;
    case onnx::TensorProto::FLOAT16:
    case onnx::TensorProto::BFLOAT16:
    case onnx::TensorProto::INT16:
    case onnx::TensorProto::UINT16:
      return 2;
    case onnx::TensorProto::FLOAT:
    case onnx::TensorProto::INT32:
    case onnx::TensorProto::UINT32:
      return 4;
    case onnx::TensorProto::DOUBLE:
    case onnx::TensorProto::INT64:
    case onnx::TensorProto::UINT64:
    case onnx::TensorProto::COMPLEX64:
      return 8;
    default:
      return 0;
  }
}

Result<Constant> TensorReader::read(const onnx::TensorProto& tensor) {
  const auto dtype = widened_type(tensor.data_type());
  if (!dtype)
    return unsupported(fmt::format("element type {} is not supported", tensor.data_type()));
  const Dims dims(tensor.dims().begin(), tensor.dims().end());
  const auto elements = checked_volume(dims);
  if (!elements) {
    return corrupt(
        fmt::format("{} is no valid shape; at most {} axes and {} elements are supported",
                    to_string(dims), kMaxRank, kMaxElements));
  }
  if (tensor.has_segment()) return unsupported("tensors in segments are not supported");
  const std::size_t bytes = static_cast<std::size_t>(*elements) * engine::element_size(*dtype);
  constant_bytes_ += bytes;
  if (constant_bytes_ > kMaxConstantBytes) {
    return unsupported(fmt::format("the constants need more than {} bytes", kMaxConstantBytes));
  }
  std::vector<std::byte> external;
  std::optional<std::span<const std::byte>> raw;
  if (tensor.data_location() == onnx::TensorProto::EXTERNAL) {
    FOVEA_ASSIGN(external,
                 load_external(tensor, base_dir_, static_cast<std::size_t>(*elements) * 8));
    raw = external;
  } else if (tensor.has_raw_data()) {
    raw = std::as_bytes(std::span(tensor.raw_data()));
  }
  // Compare before allocating: extents are only a claim until the bytes are there.
  if (raw && raw->size() < static_cast<std::size_t>(*elements)) {
    return corrupt(fmt::format("has {} bytes; {} needs more", raw->size(), to_string(dims)));
  }
  if (!raw && static_cast<std::size_t>(*elements) > tensor.ByteSizeLong()) {
    return corrupt(fmt::format("has too few elements for {}", to_string(dims)));
  }
  Constant constant = Constant::make(*dtype, dims);
  FOVEA_TRY(fill(tensor, raw, constant));
  return constant;
}

}  // namespace fovea::engine
