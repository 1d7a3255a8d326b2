// x86's instruction where there is one, as a plan is checked on every start; else slicing by eight.
#include "nodes/detector/engine/plan/crc32c.hpp"

#include <array>
#include <bit>
#include <cstring>
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace fovea::engine {

namespace {

static_assert(std::endian::native == std::endian::little);

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0U);
    tables[0][byte] = crc;
  }
  for (std::size_t slice = 1; slice < 8; ++slice) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t previous = tables[slice - 1][byte];
      tables[slice][byte] = (previous >> 8) ^ tables[0][previous & 0xFF];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

std::uint64_t next_word(std::span<const std::byte>& bytes) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes.data(), 8);
  bytes = bytes.subspan(8);
  return word;
}

#if defined(__x86_64__)
// Whole words only. REQUIRES: SSE4.2.
__attribute__((target("sse4.2"))) std::uint32_t hardware_words(std::span<const std::byte>& bytes,
                                                               std::uint32_t crc) {
  std::uint64_t state = crc;
  while (bytes.size() >= 8) state = _mm_crc32_u64(state, next_word(bytes));
  return static_cast<std::uint32_t>(state);
}
#endif

std::uint32_t portable_words(std::span<const std::byte>& bytes, std::uint32_t crc) {
  while (bytes.size() >= 8) {
    const std::uint64_t word = next_word(bytes) ^ crc;
    crc = 0;
    for (std::size_t i = 0; i < 8; ++i) crc ^= kTables[7 - i][(word >> (8 * i)) & 0xFF];
  }
  return crc;
}

std::uint32_t words(std::span<const std::byte>& bytes, std::uint32_t crc) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2") != 0) return hardware_words(bytes, crc);
#endif
  return portable_words(bytes, crc);
}

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed) {
  std::uint32_t crc = words(bytes, ~seed);
  for (const std::byte byte : bytes) {
    crc = (crc >> 8) ^ kTables[0][(crc ^ static_cast<std::uint32_t>(byte)) & 0xFF];
  }
  return ~crc;
}

}  // namespace fovea::engine
