#include "nodes/base/instruction_set.hpp"

#include <array>
#include <cstddef>
#include <cstdlib>

#include <fmt/format.h>

#include "nodes/base/text.hpp"

namespace fovea {
namespace {

constexpr std::array<std::string_view, 11> kNames = {
    "scalar",      "sse4", "avx2", "avx_vnni",     "avx512", "avx512_vnni",
    "avx512_fp16", "amx",  "neon", "neon_dotprod", "i8mm"};
static_assert(kNames.size() == static_cast<std::size_t>(InstructionSet::kI8mm) + 1);

bool is_of_arm(std::size_t set) { return set >= static_cast<std::size_t>(InstructionSet::kNeon); }

bool is_of_this_architecture(std::size_t set) {
  return set == 0 || is_of_arm(set) == is_of_arm(static_cast<std::size_t>(kHighestInstructionSet));
}

std::optional<std::size_t> find_name(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return i;
  }
  return std::nullopt;
}

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
  const std::optional<std::size_t> set = find_name(name);
  if (!set || !is_of_this_architecture(*set)) return std::nullopt;
  return static_cast<InstructionSet>(*set);
}

std::string instruction_set_names() {
  std::string names;
  for (std::size_t i = kNames.size(); i-- > 0;) {
    if (!is_of_this_architecture(i)) continue;
    if (!names.empty()) names += i == 0 ? " or " : ", ";
    names += kNames[i];
  }
  return names;
}

std::optional<InstructionSet> requested_instruction_set() {
  return parse_instruction_set(requested());
}

Result<> check_requested_instruction_set() {
  if (requested().empty() || parse_instruction_set(requested())) return {};
  if (find_name(requested())) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("FOVEA_ISA is {}, which is of another architecture; valid here: {}",
                    requested(), instruction_set_names()));
  }
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("FOVEA_ISA is {}; it must be {}", shown(requested()), instruction_set_names()));
}

}  // namespace fovea
