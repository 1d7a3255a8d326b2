// libFuzzer's entry for the target FOVEA_FUZZ_TARGET; built once per target.
#include <cstdint>

#include "tests/fuzz/targets.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fovea::fuzz::Target* const kTarget = fovea::fuzz::find_target(FOVEA_FUZZ_TARGET);
  fovea::fuzz::require(kTarget != nullptr, "there is no such target");
  kTarget->run(std::as_bytes(std::span(data, size)));
  return 0;
}
