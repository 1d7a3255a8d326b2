// Tables, summaries and JSON from metrics pages written by hand, as nodes write them.
#include "launch/looking/table.hpp"

#include <array>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/looking/live_view.hpp"
#include "launch/looking/report.hpp"
#include "launch/supervision/launch_lock.hpp"
#include "launch/supervision/preflight.hpp"
#include "nodes/runtime/figures/metrics.hpp"
#include "tests/launch/isolated_domain.hpp"

namespace fovea::launch {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// One camera's chain after 100 captured frames, of which 90 were delivered.
class PagesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    camera_ = page("cam0", "camera");
    preprocess_ = page("preprocess", "preprocess");
    detector_ = page("detector", "detector");
    postprocess_ = page("postprocess", "postprocess");
    camera_->set_state(msgs::LifecycleState::kActive);

    stage(*camera_, "", "image", 100, 98, {{"pool_exhausted", 2}});
    stage(*preprocess_, "image", "tensor", 98, 97, {{"superseded", 1}});
    stage(*detector_, "tensor", "heads", 97, 92, {{"superseded", 5}});
    stage(*postprocess_, "heads", "detections", 92, 90, {{"error", 1}});  // one is in process

    camera_->counter("source_state", "cam0") = 1;
    camera_->counter("bytes_copied", "cam0") = 0;
    detector_->counter("bytes_copied") = 5000;
    detector_->counter("engine_info", "", "cpu/int8") = 1;
    detector_->counter("plan_built") = 1;
    detector_->counter("plan_build_ms") = 12300;
    detector_->counter("batches", "", "1") = 20;
    detector_->counter("batches", "", "4") = 18;
    detector_->counter("batches", "", "nonsense") = 3;
    for (int i = 0; i < 100; ++i) detector_->histogram("engine_us").record(8000);
    for (int i = 0; i < 90; ++i) postprocess_->histogram("latency_us", "cam0").record(20000);
    postprocess_->counter("detections", "cam0", "person") = 40;
    postprocess_->counter("detections", "cam0", "car") = 50;
    postprocess_->counter("detections", "cam0", "zebra") = 0;
  }

  std::unique_ptr<MetricsPage> page(const std::string& node, const std::string& type) {
    return MetricsPage::create(*domain_, node, type).value();
  }

  static void stage(MetricsPage& page, const std::string& reads, const std::string& writes,
                    std::uint64_t in, std::uint64_t out,
                    const std::vector<std::pair<std::string, std::uint64_t>>& drops) {
    StageLedger names(page, "cam0");
    if (!reads.empty()) names.reads("cam0/" + reads);
    names.writes("cam0/" + writes);
    page.counter("frames_in", "cam0") = in;
    page.counter("frames_out", "cam0") = out;
    for (const auto& [reason, count] : drops)
      page.counter("frames_dropped", "cam0", reason) = count;
  }

  IsolatedDomain domain_;
  std::unique_ptr<MetricsPage> camera_, preprocess_, detector_, postprocess_;
};

TEST_F(PagesTest, LiveTableShowsEveryFigure) {
  const Snapshot snapshot = take_snapshot(*domain_, false);
  ASSERT_EQ(snapshot.cameras.size(), 1u);
  EXPECT_EQ(snapshot.cameras[0].frames.captured, 100u);
  EXPECT_EQ(snapshot.cameras[0].frames.delivered, 90u);
  EXPECT_EQ(snapshot.in_flight(), 1u);
  const std::vector<std::string> lines = live_table(
      snapshot, RateMeter(), {{"cam0", Phase::kActive, 1, 0}, {"detector", Phase::kBackoff, 0, 2}});
  EXPECT_THAT(lines[0], HasSubstr("camera  source"));
  EXPECT_THAT(lines[1], AllOf(HasSubstr("cam0"), HasSubstr("connected"), HasSubstr("20."),
                              HasSubstr("pool_exhausted 2, superseded 6, error 1")));
  EXPECT_THAT(lines[2], AllOf(HasSubstr("cpu/int8"), HasSubstr("plan built in 12.3 s"),
                              HasSubstr("engine 8."), HasSubstr("batches 20x1 18x4")));
  EXPECT_THAT(lines, Contains("detector  backoff"));
  EXPECT_THAT(lines, Contains("restarts  detector 2"));
}

TEST_F(PagesTest, TheReportAddsUpForEveryCamera) {
  const std::string text =
      report_json(take_snapshot(*domain_, true),
                  {{"cam0", Phase::kStopped, 0, 0}, {"detector", Phase::kStopped, 0, 2}}, 7);
  const auto report = nlohmann::json::parse(text);
  const auto& camera = report["cameras"]["cam0"];
  std::uint64_t dropped = 0;
  for (const auto& [reason, count] : camera["drops"].items()) dropped += count.get<std::uint64_t>();
  EXPECT_EQ(camera["drops"].size(), kDropReasons) << "every reason is there, also at 0";
  EXPECT_EQ(camera["captured"].get<std::uint64_t>(),
            camera["delivered"].get<std::uint64_t>() + dropped);
  EXPECT_EQ(camera["captured"], 100);
  EXPECT_EQ(camera["delivered"], 90);
  EXPECT_EQ(camera["drops"]["lost"], 1) << "what was in flight at the end";
  EXPECT_EQ(camera["detections"], nlohmann::json({{"car", 50}, {"person", 40}}))
      << "no classes at 0";
  EXPECT_NEAR(camera["latency_ms"]["p50"].get<double>(), 20.0, 20.0 / 32);
  EXPECT_EQ(report["detector"]["plan"], "built");
  EXPECT_EQ(report["detector"]["provider"], "cpu");
  EXPECT_EQ(report["detector"]["precision"], "int8");
  EXPECT_EQ(report["detector"]["batch_sizes"], nlohmann::json({{"1", 20}, {"4", 18}}));
  EXPECT_NEAR(report["detector"]["engine_ms"]["p99"].get<double>(), 8.0, 8.0 / 32);
  EXPECT_EQ(report["bytes_copied_per_frame"], 50.0);
  EXPECT_EQ(report["restarts"]["detector"], 2);
  EXPECT_EQ(report["dropped_log_lines"], 7);
}

TEST_F(PagesTest, FramesOfACameraThatNobodyReadsAreNotDelivered) {
  const auto forgotten = page("cam7", "camera");
  StageLedger ledger(*forgotten, "cam7");
  ledger.writes("cam7/image");
  forgotten->counter("frames_in", "cam7") = 34;
  forgotten->counter("frames_out", "cam7") = 34;
  const Snapshot snapshot = take_snapshot(*domain_, true);
  const auto report = nlohmann::json::parse(report_json(snapshot, {}, 0));
  EXPECT_EQ(report["cameras"]["cam7"]["captured"], 34);
  EXPECT_EQ(report["cameras"]["cam7"]["delivered"], 0);
  EXPECT_EQ(report["cameras"]["cam7"]["drops"]["lost"], 34);
  EXPECT_EQ(report["cameras"]["cam0"]["delivered"], 90);
  EXPECT_THAT(snapshot.loose_ends, Contains("nobody reads cam7/image, which cam7 writes"));
}

// Neither its type nor its topics are known to the launcher.
TEST_F(PagesTest, AStrangerBetweenTwoStagesAndOneBehindTheLastAreInTheChain) {
  const auto tracker = page("follow", "tracker");
  stage(*tracker, "detections", "tracks", 90, 85, {{"error", 5}});
  for (int i = 0; i < 85; ++i) tracker->histogram("latency_us", "cam0").record(40000);
  const auto recorder = page("recorder", "recorder");
  StageLedger reads_only(*recorder, "cam0/tracks");
  reads_only.reads("cam0/tracks");

  const Snapshot snapshot = take_snapshot(*domain_, true);
  ASSERT_EQ(snapshot.cameras.size(), 1u);
  const CameraView& camera = snapshot.cameras[0];
  EXPECT_THAT(camera.stages,
              ElementsAre("cam0", "preprocess", "detector", "postprocess", "follow"));
  EXPECT_EQ(camera.frames.delivered, 85u);
  EXPECT_TRUE(camera.frames.balanced());
  EXPECT_EQ(camera.frames.drops[static_cast<std::size_t>(DropReason::kError)], 6u);
  EXPECT_NEAR(camera.latency.p50_ms, 40.0, 40.0 / 32) << "up to the last stage";
  EXPECT_EQ(camera.detections.at("car"), 50u) << "of the last stage that counts any";
}

TEST_F(PagesTest, AStageThatWasTakenOutIsNoEndOfAChainThatGoesOnWithoutIt) {
  const auto tracker = page("follow", "tracker");
  stage(*tracker, "detections", "tracks", 10, 10, {});
  EXPECT_EQ(take_snapshot(*domain_, true).cameras.at(0).frames.delivered, 10u);
  const CameraView camera = take_snapshot(*domain_, true, {"follow"}).cameras.at(0);
  EXPECT_THAT(camera.stages, ElementsAre("cam0", "preprocess", "detector", "postprocess"));
  EXPECT_EQ(camera.frames.delivered, 90u);
  EXPECT_TRUE(camera.frames.balanced());
  const CameraView all_gone =
      take_snapshot(*domain_, true, {"follow", "postprocess", "detector", "preprocess", "cam0"})
          .cameras.at(0);
  EXPECT_EQ(all_gone.frames.delivered, 10u) << "its account stays as it was";
  EXPECT_TRUE(all_gone.frames.balanced());
}

TEST_F(PagesTest, SummaryNamesTheCommonestClassFirst) {
  const std::vector<std::string> lines = final_summary(take_snapshot(*domain_, true), {});
  EXPECT_THAT(lines[1], AllOf(HasSubstr("100"), HasSubstr("90"), HasSubstr("lost 1"),
                              HasSubstr("car 50, person 40")));
  EXPECT_THAT(lines, Contains("copied    50 bytes a frame"));
  EXPECT_THAT(lines, Not(Contains(HasSubstr("does not add up"))));
}

TEST_F(PagesTest, ClassNamesDriveNoTerminal) {
  postprocess_->counter("detections", "cam0", "bell\x07\x1b[31m\nx") = 60;
  const std::vector<std::string> lines = final_summary(take_snapshot(*domain_, true), {});
  EXPECT_THAT(lines[1], HasSubstr("bell\\x07\\x1b[31m\\x0ax 60, car 50"));
}

TEST_F(PagesTest, SummaryAdmitsAnAccountThatDoesNotAddUp) {
  postprocess_->counter("frames_in", "cam0") = 1000;
  const std::vector<std::string> lines = final_summary(take_snapshot(*domain_, true), {});
  EXPECT_THAT(lines, Contains(HasSubstr("cam0: the account does not add up")));
}

TEST_F(PagesTest, SourcesHaveEndedOnlyWhenAllHave) {
  EXPECT_FALSE(take_snapshot(*domain_, false).sources_ended());
  camera_->counter("source_state", "cam0") = 3;
  EXPECT_TRUE(take_snapshot(*domain_, false).sources_ended());
  const auto second = page("cam1", "camera");
  StageLedger ledger(*second, "cam1");
  ledger.writes("cam1/image");
  EXPECT_FALSE(take_snapshot(*domain_, false).sources_ended());
  second->set_state(msgs::LifecycleState::kActive);
  second->counter("source_state", "cam1") = 4;
  EXPECT_TRUE(take_snapshot(*domain_, false).sources_ended());
  EXPECT_TRUE(take_snapshot(*domain_, false).any_source_failed());
}

TEST_F(PagesTest, NodeListShowsTheDeadAsDead) {
  camera_->set_status(msgs::DiagnosticLevel::kWarn, "stalled");
  detector_->keep();
  detector_.reset();
  const Snapshot snapshot = take_snapshot(*domain_, false);
  const std::vector<std::string> lines = node_table(snapshot.nodes);
  EXPECT_THAT(lines, Contains(AllOf(HasSubstr("cam0"), HasSubstr("active"), HasSubstr("warn"),
                                    HasSubstr("stalled"))));
  EXPECT_THAT(lines, Contains(AllOf(HasSubstr("detector"), HasSubstr("dead"))));
  const auto list = nlohmann::json::parse(nodes_json(snapshot.nodes));
  ASSERT_EQ(list.size(), 4u);
  EXPECT_EQ(list[0]["name"], "cam0");
  EXPECT_EQ(list[0]["state"], "active");
  EXPECT_EQ(list[0]["pid"], getpid());
  EXPECT_EQ(list[1]["alive"], false);
}

TEST_F(PagesTest, NamesInUseAreToldWithTheirPid) {
  Graph graph;
  graph.nodes.resize(1);
  graph.nodes[0].name = "other";
  graph.nodes[0].where = "x.yaml:3";
  EXPECT_TRUE(check_names_free(graph, *domain_, std::chrono::milliseconds(0)));
  graph.nodes[0].name = "cam0";
  const auto result = check_names_free(graph, *domain_, std::chrono::milliseconds(0));
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, AllOf(HasSubstr("x.yaml:3: node `cam0` already runs"),
                                            HasSubstr(std::to_string(getpid()))));
}

TEST(RateMeter, CountsFramesPerSecondOverItsWindow) {
  RateMeter meter;
  Snapshot snapshot;
  snapshot.cameras.resize(1);
  snapshot.cameras[0].name = "cam0";
  for (std::uint64_t i = 0; i <= 10; ++i) {
    snapshot.taken_ns = static_cast<std::int64_t>(i) * 500'000'000;
    snapshot.cameras[0].frames.captured = 15 * i;
    snapshot.cameras[0].frames.delivered = i < 4 ? 0 : 5 * (i - 4);
    meter.add(snapshot);
  }
  EXPECT_DOUBLE_EQ(meter.rates("cam0").in, 30.0);
  EXPECT_DOUBLE_EQ(meter.rates("cam0").out, 10.0) << "what lies before the window does not count";
  EXPECT_DOUBLE_EQ(meter.rates("other").in, 0.0);
}

TEST(LiveView, RedrawsInPlaceAndLogsAbove) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
  const auto written = [&] {
    std::array<char, 4096> buffer;
    const ssize_t count = read(ends[0], buffer.data(), buffer.size());
    return count > 0 ? std::string(buffer.data(), static_cast<std::size_t>(count)) : std::string();
  };
  {
    LiveView view(ends[1], 10);
    view.draw({"short", "longer than ten", "\x1b[31mred"});
    EXPECT_EQ(written(), "short\nlonger tha\n [31mred\n")
        << "cut, and no control characters of others";
    view.print("[cam0] hello, a line as long as it likes");
    EXPECT_EQ(
        written(),
        "\x1b[3F\x1b[J[cam0] hello, a line as long as it likes\nshort\nlonger tha\n [31mred\n");
    view.draw({"äöüäöüäöüäöü"});
    EXPECT_EQ(written(), "\x1b[3F\x1b[Jäöüäöüäöüä\n") << "never half a character";
  }
  EXPECT_EQ(written(), "\x1b[1F\x1b[J");
  close(ends[0]);
  close(ends[1]);
}

TEST(LaunchLock, RefusesASecondLaunchWithThePidOfTheFirst) {
  const IsolatedDomain domain;
  {
    const auto first = LaunchLock::acquire(*domain);
    ASSERT_TRUE(first) << first.error().message;
    const auto second = LaunchLock::acquire(*domain);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kUnavailable);
    EXPECT_THAT(second.error().message,
                AllOf(HasSubstr("domain `test`"), HasSubstr(std::to_string(getpid()))));
  }
  EXPECT_THAT(domain.leftovers(), IsEmpty());
  EXPECT_TRUE(LaunchLock::acquire(*domain));
}

TEST(Preflight, NamesAnotherUserWhoseFilesBearTheSameNames) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  const IsolatedDomain domain;
  for (const auto& folder : {domain.root(), domain.root() / "shm"}) chmod(folder.c_str(), 0777);
  Graph graph;
  graph.nodes.resize(1);
  graph.nodes[0].name = "cam0";
  EXPECT_TRUE(check_owners(graph, *domain));
  std::ofstream(domain->metrics_path("cam0")) << "root's";
  EXPECT_TRUE(check_owners(graph, *domain)) << "root's own";
  const pid_t pid = fork();
  if (pid == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(255);
    const auto own = check_owners(graph, *domain);
    const std::string text = own ? "" : own.error().message;
    const bool good = text.find("belongs to root (uid 0)") != std::string::npos &&
                      text.find("--domain") != std::string::npos;
    _exit(good ? 7 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST(Preflight, TellsTheSizeNeededAndTheSizeFree) {
  const IsolatedDomain domain;
  Graph graph;
  graph.nodes.resize(2);
  graph.nodes[0].name = "cam0";
  graph.nodes[0].shm_bytes = std::uint64_t{1} << 20;
  graph.nodes[1].name = "cam1";
  EXPECT_TRUE(check_shared_memory(graph, *domain));
  graph.nodes[1].shm_bytes = std::uint64_t{1} << 60;
  const auto result = check_shared_memory(graph, *domain);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kExhausted);
  EXPECT_THAT(result.error().message,
              AllOf(HasSubstr("free; the nodes need 1073741824.0 GiB"), HasSubstr("cam0 1.0 MiB")));
}

}  // namespace
}  // namespace fovea::launch
