#include "nodes/detector/engine/cpu/kernels/pair_sums.hpp"

#include <algorithm>

namespace fovea::engine::kernels {
namespace {

constexpr std::int64_t kRegisterBytes = 32;
constexpr int kMaxPair = 128;  // 255 * 128 fits 16 bits with a sign

bool overflows(const std::int8_t* pair) {
  const int first = pair[0];
  const int second = pair[1];
  return std::max(first, 0) + std::max(second, 0) > kMaxPair ||
         std::min(first, 0) + std::min(second, 0) < -kMaxPair;
}

}  // namespace

std::vector<SecondHalves> halve_large_pairs(std::byte* packed, std::int64_t steps,
                                            std::int64_t registers) {
  std::vector<SecondHalves> halves(static_cast<std::size_t>(registers));
  auto* weights = reinterpret_cast<std::int8_t*>(packed);
  for (std::int64_t step = 0; step < steps; ++step) {
    for (SecondHalves& second : halves) {
      bool large = false;
      for (std::int64_t i = 0; i < kRegisterBytes; i += 2) large |= overflows(weights + i);
      if (large) {
        second.steps.push_back(static_cast<std::int32_t>(step));
        for (std::int64_t i = 0; i < kRegisterBytes; ++i) {
          const int half = weights[i] / 2;
          second.weights.push_back(static_cast<std::byte>(weights[i] - half));
          weights[i] = static_cast<std::int8_t>(half);
        }
      }
      weights += kRegisterBytes;
    }
  }
  return halves;
}

void split_signs(const std::byte* packed, std::int64_t bytes, std::byte* split) {
  const auto* weights = reinterpret_cast<const std::int8_t*>(packed);
  for (std::int64_t at = 0; at < bytes; at += kRegisterBytes) {
    for (std::int64_t i = 0; i < kRegisterBytes; ++i) {
      const int weight = weights[i];
      split[i] = static_cast<std::byte>(weight < 0 ? -weight : weight);
      split[kRegisterBytes + i] = static_cast<std::byte>(weight < 0 ? 0x7F : 0x80);
    }
    weights += kRegisterBytes;
    split += 2 * kRegisterBytes;
  }
}

}  // namespace fovea::engine::kernels
