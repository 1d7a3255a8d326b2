// CRC-32C (Castagnoli), the checksum of plan sections: catches truncation and flipped bits, not
// malice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace fovea::engine {

// CRC of `bytes`, continuing from `seed` (the CRC of what came before). About 2 GB/s.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed = 0);

}  // namespace fovea::engine
