#include "nodes/base/instruction_set.hpp"

#include <array>
#include <cstddef>
#include <cstdlib>

#include <fmt/format.h>

#include "nodes/base/text.hpp"

namespace fovea {
namespace {

constexpr std::array<std::string_view, 8> kNames = {
    "scalar", "sse4", "avx2", "avx_vnni", "avx512", "avx512_vnni", "avx512_fp16", "amx"};
static_assert(kNames.size() == static_cast<std::size_t>(kHighestInstructionSet) + 1);

std::string_view requested() {
  static const std::string kRequested = [] {
    const char* isa = std::getenv("FOVEA_ISA");  // NOLINT(concurrency-mt-unsafe): nobody sets it
    return std::string(isa == nullptr ? "" : isa);
  }();
  return kRequested;
}

}  // namespace

std::string_view to_string(InstructionSet set) { return kNames[static_cast<std::size_t>(set)]; }

std::optional<InstructionSet> parse_instruction_set(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<InstructionSet>(i);
  }
  return std::nullopt;
}

std::string instruction_set_names() {
  std::string names;
  for (std::size_t i = kNames.size(); i-- > 0;) {
    names += kNames[i];
    if (i > 0) names += i == 1 ? " or " : ", ";
  }
  return names;
}

std::optional<InstructionSet> requested_instruction_set() {
  return parse_instruction_set(requested());
}

Result<> check_requested_instruction_set() {
  if (requested().empty() || parse_instruction_set(requested())) return {};
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("FOVEA_ISA is {}; it must be {}", shown(requested()), instruction_set_names()));
}

}  // namespace fovea
