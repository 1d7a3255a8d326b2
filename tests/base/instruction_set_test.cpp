#include "nodes/base/instruction_set.hpp"

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

namespace fovea {
namespace {

constexpr InstructionSet kX86[] = {InstructionSet::kScalar,     InstructionSet::kSse4,
                                   InstructionSet::kAvx2,       InstructionSet::kAvxVnni,
                                   InstructionSet::kAvx512,     InstructionSet::kAvx512Vnni,
                                   InstructionSet::kAvx512Fp16, InstructionSet::kAmx};
constexpr InstructionSet kArm[] = {InstructionSet::kScalar, InstructionSet::kNeon,
                                   InstructionSet::kNeonDotprod, InstructionSet::kI8mm};
#if defined(__aarch64__)
constexpr auto& kOwn = kArm;
constexpr auto& kOther = kX86;
constexpr const char* kNames = "i8mm, neon_dotprod, neon or scalar";
#else
constexpr auto& kOwn = kX86;
constexpr auto& kOther = kArm;
constexpr const char* kNames =
    "amx, avx512_fp16, avx512_vnni, avx512, avx_vnni, avx2, sse4 or scalar";
#endif

TEST(InstructionSetTest, EveryNameIsParsedAndNoOther) {
  for (const InstructionSet set : kOwn) EXPECT_EQ(parse_instruction_set(to_string(set)), set);
  for (std::size_t i = 1; i < std::size(kOwn); ++i) EXPECT_LT(kOwn[i - 1], kOwn[i]);
  EXPECT_EQ(kOwn[std::size(kOwn) - 1], kHighestInstructionSet);
  for (const char* name : {"", "AVX2", "avx", "avx2 ", "avx9000", "NEON", "neon ", "sve"}) {
    EXPECT_FALSE(parse_instruction_set(name)) << name;
  }
  EXPECT_EQ(instruction_set_names(), kNames);
}

TEST(InstructionSetTest, NamesOfAnotherArchitectureAreNone) {
  for (std::size_t i = 1; i < std::size(kOther); ++i) {
    EXPECT_FALSE(parse_instruction_set(to_string(kOther[i])));
  }
  // The environment is read once per process: each in one of its own.
  const std::string other(to_string(kOther[std::size(kOther) - 1]));
  const auto refuse = [](const std::string& name) {
    ::setenv("FOVEA_ISA", name.c_str(), 1);
    const auto checked = check_requested_instruction_set();
    std::fputs(checked ? "taken" : checked.error().message.c_str(), stderr);
    std::_Exit(checked ? 0 : 1);
  };
  EXPECT_EXIT(refuse(other), testing::ExitedWithCode(1),
              "^FOVEA_ISA is " + other +
                  ", which is of another architecture; valid here: " + kNames + "$");
  EXPECT_EXIT(refuse("avx9000"), testing::ExitedWithCode(1),
              std::string("^FOVEA_ISA is avx9000; it must be ") + kNames + "$");
  EXPECT_EXIT(refuse("scalar"), testing::ExitedWithCode(0), "^taken$");
}

}  // namespace
}  // namespace fovea
