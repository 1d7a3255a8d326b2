// When a CPU with AMX may use it, and what is said when it may not.
#include "nodes/detector/engine/cpu/kernels/amx_permission.hpp"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fovea::kernel_test {
namespace {

using engine::kernels::amx_support;
using engine::kernels::AmxSupport;
using engine::kernels::judge_amx;

constexpr unsigned kBf16 = 1U << 22;
constexpr unsigned kTiles = 1U << 24;
constexpr unsigned kInt8 = 1U << 25;
constexpr unsigned long long kTileState = 3ULL << 17;

TEST(AmxPermissionTest, EachKindOfTileHasItsOwnBit) {
  const AmxSupport both = judge_amx(kTiles | kInt8 | kBf16, kTileState | 7, 0);
  EXPECT_TRUE(both.int8 && both.bf16);
  EXPECT_EQ(both.refused, "");
  const AmxSupport bytes = judge_amx(kTiles | kInt8, kTileState, 0);
  EXPECT_TRUE(bytes.int8);
  EXPECT_FALSE(bytes.bf16);
}

TEST(AmxPermissionTest, ACpuWithoutTilesIsNoRefusal) {
  const AmxSupport none = judge_amx(kInt8 | kBf16, kTileState, EINVAL);
  EXPECT_FALSE(none.int8 || none.bf16);
  EXPECT_EQ(none.refused, "");
}

TEST(AmxPermissionTest, RefusalsNameTheirReason) {
  constexpr unsigned kAll = kTiles | kInt8 | kBf16;
  const auto refused = [](const AmxSupport& support) {
    EXPECT_FALSE(support.int8 || support.bf16);
    return support.refused;
  };
  EXPECT_EQ(refused(judge_amx(kAll, 1ULL << 17, 0)),
            "AMX: the system does not save the tiles' state");
  EXPECT_EQ(refused(judge_amx(kAll, kTileState, ENOSPC)),
            "AMX: refused, for some thread has an alternate signal stack that is too small for "
            "the tiles' state");
  EXPECT_EQ(refused(judge_amx(kAll, kTileState, EINVAL)),
            "AMX: refused, Invalid argument (Linux gives it from 5.16 on)");
}

// In a process of its own: permission is asked for once.
TEST(AmxPermissionTest, ASmallSignalStackMeansNoAmx) {
  if (!amx_support().int8) GTEST_SKIP() << "this CPU or system has no AMX";
  // The child runs this program again, for permission outlives fork.
  const std::string self = "/proc/self/exe";
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    setenv("FOVEA_TEST_SMALL_SIGNAL_STACK", "1", 1);
    execl(self.c_str(), self.c_str(), "--gtest_filter=AmxPermissionTest.DISABLED_*",
          "--gtest_also_run_disabled_tests", static_cast<char*>(nullptr));
    _exit(127);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// The child of the test above.
TEST(AmxPermissionTest, DISABLED_WithASmallSignalStack) {
  if (std::getenv("FOVEA_TEST_SMALL_SIGNAL_STACK") == nullptr) GTEST_SKIP();
  constexpr std::size_t kSmall = 4096;  // less than the tiles' 8 KiB
  std::vector<std::byte> stack(kSmall);
  const stack_t small{.ss_sp = stack.data(), .ss_flags = 0, .ss_size = stack.size()};
  ASSERT_EQ(sigaltstack(&small, nullptr), 0);
  EXPECT_FALSE(amx_support().int8);
  EXPECT_NE(amx_support().refused.find("alternate signal stack"), std::string::npos)
      << amx_support().refused;
  const stack_t none{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
  sigaltstack(&none, nullptr);
}

}  // namespace
}  // namespace fovea::kernel_test
