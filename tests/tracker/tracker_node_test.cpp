// The tracker as a user runs it: in a graph behind postprocess, which neither the launcher nor the
// other nodes know of.
#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <signal.h>
#include <stdlib.h>

#include "msgs/track.hpp"
#include "nodes/runtime/figures/ledger.hpp"
#include "nodes/runtime/figures/metrics.hpp"
#include "nodes/runtime/topics/pubsub.hpp"
#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

using nlohmann::json;
using test::Child;
using test::eventually;
using testing::ElementsAre;

// Publishes one detection in a fixed place and takes the track.
class TrackerNode : public testing::Test {
 protected:
  void start(const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments{
        "--domain", "test", "--cameras", "cam", "--keep-metrics",
        // Frames are sent until one is answered; those dropped end no track.
        "--track-buffer-s", "3600"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    node_ = std::make_unique<Child>(domain_.root(), FOVEA_BIN_DIR "/fovea-tracker", arguments);
  }
  void send(float x = 32) {
    msgs::Detection2DArray array;
    array.header.seq = ++sent_;
    array.source_width = array.source_height = 64;
    array.detections.push_back({{x, 32, 8, 8}, {0, 0.9f}, std::string_view("gate")});
    detections_.publish(array);
  }
  std::uint64_t id_of_next(float x = 32) {
    std::optional<Received<msgs::Track2DArray>> got;
    EXPECT_TRUE(eventually([&] {
      send(x);
      tracks_.drain();
      got = tracks_.take();
      return got && got->message.tracks.size() == 1;
    })) << node_->err();
    return got ? got->message.tracks[0].id : 0;
  }

  test::TestDomain domain_;
  Publisher<msgs::Detection2DArray> detections_ =
      *Publisher<msgs::Detection2DArray>::create(*domain_, "cam/detections");
  Subscription<msgs::Track2DArray> tracks_ =
      *Subscription<msgs::Track2DArray>::create(*domain_, "cam/tracks");
  std::unique_ptr<Child> node_;
  std::uint64_t sent_ = 0;
};

TEST_F(TrackerNode, NoIdIsGivenTwiceAlsoAfterAKill) {
  start();
  EXPECT_EQ(id_of_next(), 1u);
  EXPECT_EQ(id_of_next(), 1u);
  node_->send(SIGKILL);
  node_->wait();
  while (tracks_.take()) {
  }
  start();
  ASSERT_TRUE(eventually([&] {
    const auto page = MetricsReader::open(*domain_, "tracker");
    return page && (*page)->starts() == 2;
  }));
  EXPECT_TRUE(eventually([&] { return id_of_next() == 2; })) << node_->err();
  node_->send(SIGINT);
  EXPECT_EQ(node_->wait(), 0) << node_->err();
}

TEST_F(TrackerNode, CountsWhoIsInAZoneAndCrossesALineByClass) {
  // The left half, and the line that it ends at, downwards.
  const std::vector<std::string> regions{
      "--zones", "yard: 0 0 0.5 0 0.5 1 0 1", "--lines", "gate: 0.5 0 0.5 1", "--min-hits", "1"};
  start(regions);
  EXPECT_EQ(id_of_next(30), 1u);
  const auto page = MetricsReader::open(*domain_, "tracker");
  ASSERT_TRUE(page) << page.error().message;
  const auto value = [&](const char* name, const char* label) {
    return (*page)->value(name, "cam", label);
  };
  // In small steps, so that it is the same object whatever frames are dropped. Standing still at the
  // end counts nothing.
  const auto walks = [&](float from, float to, std::uint64_t inside) {
    for (int step = 0; step <= 40; ++step) {
      id_of_next(from + (to - from) * static_cast<float>(step) / 40);
    }
    return eventually([&] {
      send(to);
      return value("zone_tracks", "yard/gate") == inside;
    });
  };
  EXPECT_EQ(value("zone_tracks", "yard/gate"), 1u);
  EXPECT_TRUE(walks(30, 34, 0));
  EXPECT_TRUE(eventually([&] { return value("line_crossings", "gate/to_left/gate") == 1; }));
  EXPECT_EQ(value("line_crossings", "gate/to_right/gate"), 0u);
  EXPECT_TRUE(walks(34, 30, 1));
  EXPECT_TRUE(eventually([&] { return value("line_crossings", "gate/to_right/gate") == 1; }));
  EXPECT_EQ(value("line_crossings", "gate/to_left/gate"), 1u);
  node_->send(SIGKILL);
  node_->wait();
  start(regions);
  EXPECT_TRUE(eventually([&] {
    const auto next = MetricsReader::open(*domain_, "tracker");
    return next && (*next)->starts() == 2 && (*next)->state() == msgs::LifecycleState::kActive &&
           (*next)->value("zone_tracks", "cam", "yard/gate") == 0;
  })) << "who was inside before it was killed is not inside now";
  node_->send(SIGINT);
  EXPECT_EQ(node_->wait(), 0) << node_->err();
}

TEST(TrackerConfig, BadRegionsAreRefusedWithNameAndValue) {
  for (const auto& [option, value, why] :
       {std::array{"--zones", "yard: 0 0 320 0 320 240", "'yard' has 320; points are fractions"},
        std::array{"--zones", "bow: 0 0 1 1 1 0 0 1", "'bow' crosses or touches itself"},
        std::array{"--lines", "gate: 0 0 1", "'gate' has 3 numbers"},
        std::array{"--tracker", "sort", "tracker is 'sort'; it must be one of bytetrack, iou"}}) {
    const test::TestDomain domain;
    Child check(domain.root(), FOVEA_BIN_DIR "/fovea-tracker",
                {"--check-params", "--cameras", "cam0", option, value});
    EXPECT_EQ(check.wait(), 2) << value;
    EXPECT_THAT(check.err(), testing::HasSubstr(why));
  }
}

TEST(TrackerConfig, HasTheParametersThatThereAre) {
  const test::TestDomain domain;
  Child check(domain.root(), FOVEA_BIN_DIR "/fovea-tracker",
              {"--check-params", "--params-file", FOVEA_SOURCE_DIR "/config/tracker.yaml",
               "--cameras", "cam0"});
  EXPECT_EQ(check.wait(), 0) << check.err();
}

TEST(TrackerConfig, NamesOfCamerasAreCheckedBeforeItStarts) {
  for (const auto& [cameras, why] :
       {std::pair("[cam0, Cam1]", "camera is 'Cam1'"), std::pair("cam0,cam0", "given twice")}) {
    const test::TestDomain domain;
    Child check(domain.root(), FOVEA_BIN_DIR "/fovea-tracker",
                {"--check-params", "--cameras", cameras});
    EXPECT_EQ(check.wait(), 2) << cameras;
    EXPECT_THAT(check.err(), testing::HasSubstr(why));
  }
}

// A tracker as an entry of a launch file, and the stages before it.
std::string tracker_entry(const std::string& reliability) {
  return R"(  - node:
      exec: fovea-tracker
      name: follow
      respawn: true
      param:
        - {from: "$(share)/config/tracker.yaml"}
        - {name: cameras, value: [cam0]}
        - {name: reliability, value: )" +
         reliability + "}\n";
}
std::string pipeline(const std::string& reliability, const std::string& source,
                     const std::string& behind = "") {
  return R"(  - let: {name: reliability, value: )" + reliability + R"(}
  - node:
      exec: fovea-postprocess
      name: postprocess
      param:
        - {name: cameras, value: [cam0]}
        - {name: reliability, value: $(var reliability)}
      depends_on: [)" +
         behind + R"(]
  - node:
      exec: fovea-detector
      name: detector
      param:
        - {name: cameras, value: [cam0]}
        - {name: model, value: "$(share)/config/models/yolov8p_demo_dynamic.onnx"}
        - {name: builder_optimization_level, value: 0}
        - {name: reliability, value: $(var reliability)}
      depends_on: [postprocess]
  - node:
      exec: fovea-preprocess
      name: preprocess
      param:
        - {name: cameras, value: [cam0]}
        - {name: reliability, value: $(var reliability)}
      depends_on: [detector]
  - node:
      exec: fovea-camera
      name: cam0
      param:
        - {name: uri, value: ")" +
         source + R"("}
        - {name: rate, value: -1}
        - {name: reliability, value: $(var reliability)}
      depends_on: [preprocess]
)";
}

class TrackerInAGraph : public testing::Test {
 protected:
  TrackerInAGraph() {
    const std::string share = FOVEA_SOURCE_DIR;
    setenv("FOVEA_CACHE_DIR", (domain.root() / "cache").c_str(), 1);
    setenv("FOVEA_SHARE", share.c_str(), 1);
  }
  std::string file(const std::string& name, const std::string& text) const {
    const std::filesystem::path path = domain.root() / name;
    std::ofstream(path) << text;
    return path;
  }
  json report() const {
    std::ifstream text(report_path);
    return json::parse(text, nullptr, false);
  }

  const test::TestDomain domain;
  const std::string report_path = domain.root() / "report.json";
};

TEST_F(TrackerInAGraph, IsAStageOfTheChainWithoutAnyoneKnowingIt) {
  const std::string launch = file(
      "tracked.launch.yaml",
      "launch:\n" + tracker_entry("reliable") +
          pipeline("reliable", "synthetic://?width=160&height=120&fps=50&frames=40", "follow"));
  auto tracks = *Subscription<msgs::Track2DArray>::create(
      *domain, "cam0/tracks", {.depth = 64, .reliability = Reliability::kReliable});
  Child run(domain.root(), FOVEA_BIN_DIR "/fovea",
            {"launch", launch, "--domain", "test", "--json", report_path});
  std::uint64_t frames = 0;
  EXPECT_TRUE(eventually([&] {
    tracks.drain();
    while (const auto got = tracks.take()) {
      ++frames;
      EXPECT_EQ(got->message.header.seq, frames);
      std::vector<std::string> passed;
      for (const msgs::StageStamp& stamp : got->message.header.stages) {
        passed.emplace_back(stamp.stage.view());
      }
      EXPECT_THAT(passed,
                  ElementsAre("camera", "preprocess", "detector", "postprocess", "tracker"));
    }
    return frames == 40;
  })) << frames;
  ASSERT_EQ(run.wait(), 0) << run.err() << run.out();
  const json camera = report()["cameras"]["cam0"];
  EXPECT_THAT(camera["stages"].get<std::vector<std::string>>(),
              ElementsAre("cam0", "preprocess", "detector", "postprocess", "follow"));
  EXPECT_EQ(camera["captured"], 40);
  EXPECT_EQ(camera["delivered"], 40) << camera << run.err();
  EXPECT_GT(camera["latency_ms"]["p50"].get<double>(), 0);
}

TEST_F(TrackerInAGraph, WhoIsAddedLateLosesNoFrameThatPassedBeforeIt) {
  const std::string launch =
      file("running.launch.yaml",
           "launch:\n" + pipeline("best_effort", "synthetic://?width=160&height=120&fps=50"));
  auto tracks = *Subscription<msgs::Track2DArray>::create(*domain, "cam0/tracks", {.depth = 64});
  std::uint64_t received = 0;
  const auto receives = [&](std::uint64_t more) {
    return eventually([&, goal = received + more] {
      tracks.drain();
      while (tracks.take()) ++received;
      return received >= goal;
    });
  };
  Child run(domain.root(), FOVEA_BIN_DIR "/fovea",
            {"launch", launch, "--domain", "test", "--json", report_path});
  ASSERT_TRUE(eventually([&] {
    const auto page = MetricsReader::open(*domain, "postprocess");
    return page && read_stage(**page, "cam0").out >= 50;
  })) << run.err();

  Child add(domain.root(), FOVEA_BIN_DIR "/fovea",
            {"node", "add", file("entry.yaml", tracker_entry("best_effort")), "--domain", "test"});
  ASSERT_EQ(add.wait(), 0) << add.err();
  ASSERT_TRUE(receives(10)) << run.err();
  const auto page = *MetricsReader::open(*domain, "follow");
  const std::int64_t passed = -read_stage(*page, "cam0").ahead;
  EXPECT_GE(passed, 50);
  kill(static_cast<pid_t>(page->pid()), SIGKILL);
  ASSERT_TRUE(receives(20)) << run.err();
  run.send(SIGINT);
  ASSERT_EQ(run.wait(), 0) << run.err() << run.out();
  receives(0);

  const json camera = report()["cameras"]["cam0"];
  EXPECT_EQ(camera["stages"].back(), "follow");
  const auto delivered = camera["delivered"].get<std::uint64_t>();
  std::uint64_t dropped = 0;
  for (const auto& count : camera["drops"]) dropped += count.get<std::uint64_t>();
  EXPECT_EQ(camera["captured"].get<std::uint64_t>(), delivered + dropped) << camera;
  EXPECT_GE(delivered, static_cast<std::uint64_t>(passed) + received) << camera;
  EXPECT_EQ(camera["restart_gaps"]["follow"]["count"], 1) << "what a crash costs is told as before";
  EXPECT_GE(camera["drops"]["lost"], camera["restart_gaps"]["follow"]["frames"]);
}

}  // namespace
}  // namespace fovea
