#include "nodes/detector/tool/npy.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/base/file_io.hpp"
#include "nodes/base/text.hpp"

namespace fovea {

namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr std::size_t kPreamble = 10;  // magic, version, 16-bit length of the header
constexpr std::size_t kAlignment = 64;
constexpr std::int64_t kMostElements = std::int64_t{1} << 31;

// Bytes of one element; 0 for a type that is not read.
std::size_t element_bytes(std::string_view dtype) {
  if (dtype.size() != 3 || (dtype[0] != '<' && dtype[0] != '|' && dtype[0] != '=')) return 0;
  constexpr std::array<std::string_view, 11> kTypes = {"f2", "f4", "f8", "u1", "u2", "u4",
                                                       "i1", "i2", "i4", "i8", "b1"};
  const std::string_view type = dtype.substr(1);
  if (std::find(kTypes.begin(), kTypes.end(), type) == kTypes.end()) return 0;
  return static_cast<std::size_t>(type[1] - '0');
}

tl::unexpected<Error> corrupt(std::string message) {
  return fail(ErrorCode::kCorrupt, std::move(message));
}

// What stands behind `'key':` in the header, a Python dictionary on one line.
std::optional<std::string_view> value_of(std::string_view header, std::string_view key) {
  for (const char quote : {'\'', '"'}) {
    const std::string wanted = fmt::format("{0}{1}{0}", quote, key);
    std::size_t at = header.find(wanted);
    if (at == std::string_view::npos) continue;
    at = header.find_first_not_of(" ", at + wanted.size());
    if (at == std::string_view::npos || header[at] != ':') continue;
    at = header.find_first_not_of(" ", at + 1);
    if (at != std::string_view::npos) return header.substr(at);
  }
  return std::nullopt;
}

std::optional<std::vector<std::int64_t>> shape_of(std::string_view text) {
  if (text.empty() || text[0] != '(') return std::nullopt;
  const std::size_t end = text.find(')');
  if (end == std::string_view::npos) return std::nullopt;
  text = text.substr(1, end - 1);
  std::vector<std::int64_t> dims;
  std::int64_t elements = 1;
  while (true) {
    const std::size_t start = text.find_first_not_of(" ,");
    if (start == std::string_view::npos) return dims;
    text.remove_prefix(start);
    std::int64_t extent = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), extent);
    if (error != std::errc() || extent < 0 || dims.size() == 8) return std::nullopt;
    if (extent > kMostElements || (elements *= std::max<std::int64_t>(extent, 1)) > kMostElements) {
      return std::nullopt;
    }
    dims.push_back(extent);
    text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
  }
}

// IEEE half to single.
float from_half(std::uint16_t half) {
  const float sign = (half & 0x8000) != 0 ? -1.0F : 1.0F;
  const int exponent = (half >> 10) & 0x1F;
  const int mantissa = half & 0x3FF;
  if (exponent == 31) return mantissa != 0 ? std::nanf("") : sign * HUGE_VALF;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(mantissa + 0x400), exponent - 25);
}

template <class T>
void widen(const NpyArray& array, std::vector<float>& out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, array.bytes.data() + i * sizeof(T), sizeof(T));
    out[i] = static_cast<float>(value);
  }
}

}  // namespace

std::size_t NpyArray::size() const {
  std::size_t count = 1;
  for (const std::int64_t extent : dims) count *= static_cast<std::size_t>(extent);
  return count;
}

Result<NpyArray> parse_npy(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kMagic)) return corrupt("no .npy file: it does not begin with \\x93NUMPY");
  if (text.size() < kPreamble) return corrupt("the .npy file ends in its header");
  const auto byte = [&](std::size_t at) { return static_cast<std::size_t>(bytes[at]); };
  const std::size_t version = byte(6);
  if (version < 1 || version > 3) {
    return fail(ErrorCode::kUnsupported,
                fmt::format(".npy version {}; it must be 1 to 3", version));
  }
  std::size_t length = byte(8) | byte(9) << 8;
  std::size_t start = kPreamble;
  if (version > 1) {
    if (text.size() < kPreamble + 2) return corrupt("the .npy file ends in its header");
    length |= byte(10) << 16 | byte(11) << 24;
    start += 2;
  }
  if (length > text.size() - start) return corrupt("the .npy file ends in its header");
  const std::string_view header = text.substr(start, length);
  const auto descr = value_of(header, "descr");
  const auto order = value_of(header, "fortran_order");
  const auto shape = value_of(header, "shape");
  const auto dims = shape ? shape_of(*shape) : std::nullopt;
  if (!descr || !order || !dims) {
    return corrupt(fmt::format("the .npy header makes no sense: {}", shown(header, 120)));
  }
  NpyArray array;
  array.dtype = descr->substr(1, 3);
  array.dims = *dims;
  const std::size_t element = element_bytes(array.dtype);
  if (element == 0) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("numbers of type {}; it must be one of <f2, <f4, <f8, |u1, |i1, |b1, "
                            "<u2, <i2, <u4, <i4, <i8",
                            shown(descr->substr(0, 12), 12)));
  }
  if (!order->starts_with("False")) {
    return fail(ErrorCode::kUnsupported,
                "Fortran order; it must be C order (numpy.ascontiguousarray)");
  }
  const auto payload = bytes.subspan(start + length);
  if (payload.size() != element * array.size()) {
    return corrupt(fmt::format("{} bytes of numbers; {} [{}] takes {}", payload.size(), array.dtype,
                               fmt::join(array.dims, ", "), element * array.size()));
  }
  array.bytes.assign(payload.begin(), payload.end());
  return array;
}

Result<NpyArray> read_npy(const std::filesystem::path& file) {
  FOVEA_ASSIGN(const auto bytes, read_file(file));
  auto array = parse_npy(bytes);
  if (!array) return fail(array.error().with_context(file.string()));
  return array;
}

std::vector<float> as_floats(const NpyArray& array) {
  std::vector<float> values(array.size());
  const std::string_view type = std::string_view(array.dtype).substr(1);
  if (type == "f4") {
    if (!values.empty()) std::memcpy(values.data(), array.bytes.data(), array.bytes.size());
  } else if (type == "f2") {
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::uint16_t half = 0;
      std::memcpy(&half, array.bytes.data() + 2 * i, sizeof half);
      values[i] = from_half(half);
    }
  } else if (type == "f8") {
    widen<double>(array, values);
  } else if (type == "u1" || type == "b1") {
    widen<std::uint8_t>(array, values);
  } else if (type == "u2") {
    widen<std::uint16_t>(array, values);
  } else if (type == "u4") {
    widen<std::uint32_t>(array, values);
  } else if (type == "i1") {
    widen<std::int8_t>(array, values);
  } else if (type == "i2") {
    widen<std::int16_t>(array, values);
  } else if (type == "i4") {
    widen<std::int32_t>(array, values);
  } else {
    widen<std::int64_t>(array, values);
  }
  return values;
}

NpyArray npy_of(std::span<const float> values, std::vector<std::int64_t> dims) {
  const auto bytes = std::as_bytes(values);
  return {"<f4", std::move(dims), {bytes.begin(), bytes.end()}};
}

std::vector<std::byte> serialize(const NpyArray& array) {
  std::string shape;
  for (const std::int64_t extent : array.dims) shape += fmt::format("{}, ", extent);
  if (array.dims.size() > 1) shape.resize(shape.size() - 2);
  if (array.dims.size() == 1) shape.pop_back();
  std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", array.dtype, shape);
  const std::size_t whole =
      (kPreamble + header.size() + 1 + kAlignment - 1) / kAlignment * kAlignment;
  header.resize(whole - kPreamble - 1, ' ');
  header += '\n';
  std::string text(kMagic);
  text += {1, 0, static_cast<char>(header.size() & 0xFF), static_cast<char>(header.size() >> 8)};
  text += header;
  const auto front = std::as_bytes(std::span(text));
  std::vector<std::byte> bytes(front.begin(), front.end());
  bytes.insert(bytes.end(), array.bytes.begin(), array.bytes.end());
  return bytes;
}

Result<> write_npy(const std::filesystem::path& file, const NpyArray& array) {
  return write_file(file, serialize(array));
}

}  // namespace fovea
