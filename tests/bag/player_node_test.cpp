// What `fovea-player --check-params` says of recordings that are not there.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

using test::Child;

TEST(PlayerNode, ARecordingThatIsNotThereIsToldWhenTheParametersAreChecked) {
  const test::TestDomain domain;
  const std::string why = "/missing.mcap: No such file or directory\n";
  Child checked(domain.root(), FOVEA_BIN_DIR "/fovea-player",
                {"--check-params", "-p", "path:=/missing.mcap"});
  EXPECT_EQ(checked.wait(), 2);
  EXPECT_EQ(checked.err(), "error: -p: path: " + why);
  Child started(domain.root(), FOVEA_BIN_DIR "/fovea-player",
                {"--domain", "test", "-p", "path:=/missing.mcap"});
  EXPECT_EQ(started.wait(), 2);
  EXPECT_THAT(started.err(), testing::EndsWith(why));
}

}  // namespace
}  // namespace fovea
