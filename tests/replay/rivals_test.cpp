// Rivals that cannot be measured, or not any more. There is no fovea-bench-rivals beside this test.
#include "launch/bench/rivals.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/runtime/executor.hpp"

namespace fovea::bench {
namespace {

using testing::HasSubstr;

std::vector<Rival> first_measured_twice() {
  std::vector<Rival> rivals(1);
  for (std::vector<double>* figures : {&rivals[0].fps, &rivals[0].p50_ms, &rivals[0].p99_ms,
                                       &rivals[0].cpu_percent, &rivals[0].ratio})
    *figures = {10, 11};
  return rivals;
}

TEST(Rivals, RunsStayWhenALaterOneFails) {
  std::vector<Rival> rivals = first_measured_twice();
  measure_rivals({}, 20, rivals);
  ASSERT_EQ(rivals.size(), 3U);
  EXPECT_EQ(rivals[0].missing, "");
  EXPECT_EQ(rivals[0].fps.size(), 2U);
  EXPECT_EQ(rivals[0].name, "OpenCV DNN");
  EXPECT_THAT(rivals[1].missing, HasSubstr("fovea-bench-rivals is not here"));
}

TEST(Rivals, RunsStayAfterAnInterrupt) {
  Executor::block_signals();
  Executor::note_stop_signal();
  std::vector<Rival> rivals = first_measured_twice();
  measure_rivals({}, 20, rivals);
  Executor::block_signals();  // forgets it
  ASSERT_EQ(rivals.size(), 3U);
  EXPECT_EQ(rivals[0].missing, "");
  EXPECT_EQ(rivals[1].missing, "interrupted");
  EXPECT_EQ(rivals[1].name, "ONNX Runtime");
}

}  // namespace
}  // namespace fovea::bench
