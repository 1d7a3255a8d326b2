#include "nodes/base/instruction_set.hpp"

#include <gtest/gtest.h>

namespace fovea {
namespace {

TEST(InstructionSetTest, EveryNameIsParsedAndNoOther) {
  for (int i = 0; i <= static_cast<int>(kHighestInstructionSet); ++i) {
    const auto set = static_cast<InstructionSet>(i);
    EXPECT_EQ(parse_instruction_set(to_string(set)), set);
  }
  EXPECT_LT(*parse_instruction_set("avx2"), *parse_instruction_set("avx_vnni"));
  EXPECT_LT(*parse_instruction_set("avx_vnni"), *parse_instruction_set("avx512"));
  for (const char* name : {"", "AVX2", "avx", "avx2 ", "avx9000"}) {
    EXPECT_FALSE(parse_instruction_set(name)) << name;
  }
  EXPECT_EQ(instruction_set_names(),
            "amx, avx512_fp16, avx512_vnni, avx512, avx_vnni, avx2, sse4 or scalar");
}

}  // namespace
}  // namespace fovea
