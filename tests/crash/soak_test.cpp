// However the soak of bench/pubsub ends, its processes go with their driver, and their pools and
// sockets with them: each holds 50 MB of shared memory.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea::test {
namespace {

namespace fs = std::filesystem;

class Soak : public ::testing::Test {
 protected:
  std::unique_ptr<Child> start(const std::string& seconds) const {
    return std::make_unique<Child>(folder_.root(), FOVEA_BIN_DIR "/fovea-bench-pubsub",
                                   std::vector<std::string>{"--soak", seconds});
  }
  std::ptrdiff_t pools() const {
    const fs::directory_iterator files(folder_.root() / "shm");
    return std::distance(begin(files), end(files));
  }

  // What a killed driver leaves in the folder for temporary files goes with the test's.
  void SetUp() override { setenv("TMPDIR", folder_.root().c_str(), 1); }
  void TearDown() override { unsetenv("TMPDIR"); }

  const TestDomain folder_;
};

// Its publishers still run when the last figures are in.
TEST_F(Soak, EndsWithoutLeavingAPool) {
  const auto driver = start("1");
  // 1: frames were lost, as may be on a busy machine.
  EXPECT_THAT(driver->wait(), ::testing::AnyOf(0, 1)) << driver->err() << driver->out();
  EXPECT_EQ(pools(), 0);
}

TEST_F(Soak, InterruptedOrKilledDriversTakeTheirProcessesAndPoolsAlong) {
  for (const int signal : {SIGINT, SIGKILL}) {
    SCOPED_TRACE(signal);
    const auto driver = start("600");
    ASSERT_TRUE(eventually([&] { return pools() == 4; })) << driver->err();
    driver->send(signal);
    driver->wait();
    EXPECT_TRUE(eventually([&] { return pools() == 0; })) << pools() << " pools are left";
  }
}

}  // namespace
}  // namespace fovea::test
