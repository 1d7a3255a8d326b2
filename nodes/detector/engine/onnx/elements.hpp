// Elements as ONNX stores them, widened to the engine's types. Internal to parser.cpp; knows
// no protobuf.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>

#include <fmt/format.h>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

inline float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1FU;
  const std::uint32_t mantissa = half & 0x3FFU;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  const std::uint32_t wide = exponent == 0x1FU ? 0xFFU : exponent + 112;
  return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
}

inline float bfloat_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// Little-endian elements as ONNX stores them; the product runs on little-endian machines only.
static_assert(std::endian::native == std::endian::little);

template <class From, class To, class Convert>
Result<> convert_raw(std::span<const std::byte> raw, Constant& out, Convert convert) {
  const auto count = static_cast<std::size_t>(out.size());
  if (raw.size() != count * sizeof(From)) {
    return fail(ErrorCode::kCorrupt, fmt::format("has {} bytes; {} needs {}", raw.size(),
                                                 to_string(out.dims), count * sizeof(From)));
  }
  for (std::size_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, raw.data() + i * sizeof(From), sizeof(From));
    out.data<To>()[i] = convert(value);
  }
  return {};
}

template <class To, class Field, class Convert>
Result<> convert_field(const Field& field, Constant& out, Convert convert) {
  if (field.size() != out.size()) {
    return fail(ErrorCode::kCorrupt, fmt::format("has {} elements; {} needs {}", field.size(),
                                                 to_string(out.dims), out.size()));
  }
  for (int i = 0; i < field.size(); ++i) out.data<To>()[i] = convert(field.Get(i));
  return {};
}

}  // namespace fovea::engine
