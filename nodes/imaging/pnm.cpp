// Netpbm's formats: `P1` to `P6`, then numbers with white space and comments between them.
#include <algorithm>

#include <fmt/core.h>

#include "nodes/imaging/picture_header.hpp"

namespace fovea::imaging {
namespace {

constexpr std::uint64_t kMaxNumber = 1'000'000'000;

struct Numbers {
  Bytes file;
  std::uint64_t at = 0;

  void skip_space() {
    for (; file.has(at, 1); ++at) {
      const std::uint32_t c = file.u8(at);
      if (c == '#') {
        while (file.has(at, 1) && file.u8(at) != '\n') ++at;
      } else if (c != ' ' && (c < '\t' || c > '\r')) {
        return;
      }
    }
  }
  bool has_digit() const { return file.u8(at) >= '0' && file.u8(at) <= '9'; }
  // 0 if there is none.
  std::uint32_t next() {
    skip_space();
    std::uint64_t value = 0;
    for (; has_digit(); ++at) value = std::min(value * 10 + file.u8(at) - '0', kMaxNumber);
    return static_cast<std::uint32_t>(value);
  }
};

}  // namespace

std::optional<PictureHeader> read_pnm_header(std::span<const std::byte> bytes) {
  Numbers numbers{Bytes(bytes), 2};
  PictureHeader header{
      .format = PictureFormat::kPnm, .pnm_kind = Bytes(bytes).u8(1) - '0', .sample_max = 1};
  header.width = numbers.next();
  header.height = numbers.next();
  const bool is_bitmap = header.pnm_kind == 1 || header.pnm_kind == 4;
  const bool is_binary = header.pnm_kind >= 4;
  const bool is_colour = header.pnm_kind == 3 || header.pnm_kind == 6;
  if (!is_bitmap) header.sample_max = numbers.next();
  if (header.sample_max == 0 || header.sample_max > 65535) return std::nullopt;
  header.samples_at = numbers.at + (is_binary ? 1 : 0);
  const std::uint64_t samples = std::uint64_t{header.width} * (is_colour ? 3 : 1);
  if (is_binary) {
    const std::uint64_t row =
        is_bitmap ? (samples + 7) / 8 : samples * (header.sample_max > 255 ? 2 : 1);
    header.bytes_needed = header.samples_at + row * header.height;
  } else {  // at least a digit for each sample, and a space between two unless they are bits
    header.bytes_needed = header.samples_at + (is_bitmap ? samples : 2 * samples) * header.height;
  }
  return header;
}

Result<> decode_pnm(std::span<const std::byte> bytes, const PictureHeader& header,
                    const ImageTarget& target) {
  Numbers numbers{Bytes(bytes), header.samples_at};
  const std::uint32_t bytes_per_sample = header.sample_max > 255 ? 2 : 1;
  const bool is_binary = header.pnm_kind >= 4;
  const bool is_colour = header.pnm_kind == 3 || header.pnm_kind == 6;
  bool complete = true;
  const auto sample = [&] {
    std::uint32_t value = 0;
    if (is_binary) {
      complete = complete && numbers.file.has(numbers.at, bytes_per_sample);
      value = bytes_per_sample == 1 ? numbers.file.u8(numbers.at) : numbers.file.u16(numbers.at);
      numbers.at += bytes_per_sample;
    } else {
      numbers.skip_space();
      complete = complete && numbers.has_digit();
      value = numbers.next();
    }
    value = std::min(value, header.sample_max);
    return static_cast<std::byte>((value * 255 + header.sample_max / 2) / header.sample_max);
  };
  for (std::uint32_t y = 0; y < target.height && complete; ++y) {
    std::byte* to = target.data + y * target.step;
    for (std::uint32_t x = 0; x < target.width; ++x, to += 3) {
      to[2] = sample();
      to[1] = is_colour ? sample() : to[2];
      to[0] = is_colour ? sample() : to[2];
    }
    if (!complete) {
      return fail(ErrorCode::kCorrupt,
                  fmt::format("is damaged: row {} of {} is not complete", y, target.height));
    }
  }
  return {};
}

}  // namespace fovea::imaging
