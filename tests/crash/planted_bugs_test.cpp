// bench/chaos must be able to find what it looks for: here are nodes with one bug each in their
// copy of the slots' code (CMakeLists.txt plants them), and it has to tell.
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea::test {
namespace {

struct Bug {
  const char* program;
  const char* in_place_of;
  const char* shows_as;  // field of the report
  int kills;
};

void PrintTo(const Bug& bug, std::ostream* out) { *out << bug.program; }

class PlantedBug : public ::testing::TestWithParam<Bug> {};

// Kills fall at random, so a single run may miss the one instant that shows the bug.
TEST_P(PlantedBug, IsFoundByChaos) {
  constexpr int kRuns = 5;
  const Bug& bug = GetParam();
  std::string said;
  for (int run = 0; run < kRuns; ++run) {
    const TestDomain folder;
    Child chaos(folder.root(), FOVEA_BIN_DIR "/fovea-bench-chaos",
                {"--kills", std::to_string(bug.kills), "--interval", "200", "--json", "--replace",
                 std::string(bug.in_place_of) + "=" + FOVEA_TEST_DIR "/" + bug.program});
    const int code = chaos.wait();
    said = chaos.err() + chaos.out();
    const auto report = nlohmann::json::parse(chaos.out(), nullptr, false);
    ASSERT_TRUE(report.is_object()) << said;
    EXPECT_GT(report["compared"].get<std::uint64_t>(), 0u);
    EXPECT_EQ(report["passed"], code == 0);
    if (report[bug.shows_as].get<std::uint64_t>() > 0) {
      EXPECT_EQ(code, 1) << said;
      return;
    }
  }
  ADD_FAILURE() << bug.program << " was not found: " << said;
}

// Torn frames need no kill; slots of the dead, and readers that come too late, need some.
INSTANTIATE_TEST_SUITE_P(
    Slots, PlantedBug,
    ::testing::Values(Bug{"camera_that_recycles_held_slots", "fovea-camera", "torn", 3},
                      Bug{"witness_that_holds_nothing", "fovea-chaos-witness", "torn", 3},
                      Bug{"witness_that_ignores_generations", "fovea-chaos-witness", "torn", 40},
                      Bug{"camera_that_never_reaps", "fovea-camera", "leaked", 40}),
    [](const auto& param) { return std::string(param.param.program); });

}  // namespace
}  // namespace fovea::test
