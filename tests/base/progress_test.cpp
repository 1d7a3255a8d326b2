// Progress where nobody watches a terminal: few lines, each of use in a log.
#include "nodes/base/progress.hpp"

#include <gtest/gtest.h>

namespace fovea {
namespace {

TEST(Progress, StagesAreALineEachAndOneForATenth) {
  testing::internal::CaptureStderr();
  StageProgress progress;
  progress.update("read", 0);
  progress.update("tune", 0.41);
  progress.update("tune", 0.42);
  progress.update("tune", 0.5);
  progress.update("done", 1);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "  0 % read\n 41 % tune\n 50 % tune\n100 % done\n");
}

TEST(Progress, CountsAreALineForATenthAndNoneWhereNobodyKnowsHowMany) {
  testing::internal::CaptureStderr();
  {
    CountProgress known("pictures", 40);
    for (std::size_t done = 0; done <= 8; ++done) known.update(done);
    CountProgress unknown("frames", 0);
    unknown.update(0);
    unknown.update(1000);
    clear_progress();
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "pictures 4/40\npictures 8/40\n");
}

}  // namespace
}  // namespace fovea
