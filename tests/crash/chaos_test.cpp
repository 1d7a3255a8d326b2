// A minute of bench/chaos: a real graph, killed and stopped at random. The bench judges; this test
// makes sure that it had something to judge. Its seed is random and printed, so that a failure can
// be repeated: fovea-bench-chaos --seed N.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea::test {
namespace {

constexpr std::uint64_t kKills = 40;

TEST(Chaos, NothingIsTornLeakedStuckOrLostUnseenWhileProcessesAreKilledAndStopped) {
  const TestDomain folder;
  Child chaos(folder.root(), FOVEA_BIN_DIR "/fovea-bench-chaos",
              {"--kills", std::to_string(kKills), "--interval", "300", "--json"});
  EXPECT_EQ(chaos.wait(), 0) << chaos.err() << chaos.out();
  const auto report = nlohmann::json::parse(chaos.out(), nullptr, false);
  ASSERT_TRUE(report.is_object()) << chaos.err() << chaos.out();
  EXPECT_EQ(report["torn"], 0);
  EXPECT_EQ(report["leaked"], 0);
  EXPECT_GT(report["compared"].get<std::uint64_t>(), 0u);
  std::uint64_t killed = 0, restarts = 0;
  for (const auto& [name, node] : report["nodes"].items()) {
    killed += node["kills"].get<std::uint64_t>() + node["hangs"].get<std::uint64_t>();
    restarts += node["restarts"].get<std::uint64_t>();
  }
  EXPECT_GE(killed, kKills);
  EXPECT_EQ(restarts, killed);
  for (const auto& [name, camera] : report["cameras"].items()) {
    EXPECT_GT(camera["received"].get<std::uint64_t>(), 0u) << name;
    EXPECT_GT(camera["gaps"].get<std::uint64_t>(), 0u) << name;
  }
}

// People, service managers and the OOM killer: no signal may exhaust the retries of a node that
// works, end the launch, or lose a frame unseen.
TEST(Chaos, AnySignalToAnyNodeOfFourCamerasIsFollowedByARestartThatDelivers) {
  const TestDomain folder;
  Child chaos(folder.root(), FOVEA_BIN_DIR "/fovea-bench-chaos",
              {"--any-signal", "--kills", "24", "--interval", "300", "--json"});
  EXPECT_EQ(chaos.wait(), 0) << chaos.err() << chaos.out();
  const auto report = nlohmann::json::parse(chaos.out(), nullptr, false);
  ASSERT_TRUE(report.is_object()) << chaos.err() << chaos.out();
  EXPECT_EQ(report["cameras"].size(), 4u);
  EXPECT_GT(report["active_ms_p99"].get<double>(), 0);
  std::uint64_t struck = 0, restarts = 0;
  for (const auto& [name, node] : report["nodes"].items()) {
    struck += node["kills"].get<std::uint64_t>() + node["hangs"].get<std::uint64_t>();
    restarts += node["restarts"].get<std::uint64_t>();
  }
  EXPECT_EQ(struck, 24u);
  EXPECT_EQ(restarts, struck);
}

}  // namespace
}  // namespace fovea::test
