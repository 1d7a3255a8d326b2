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
#include "nodes/runtime/figures/metrics.hpp"
#include "nodes/runtime/topics/pubsub.hpp"
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
  void start() {
    node_ = std::make_unique<Child>(
        domain_.root(), FOVEA_BIN_DIR "/fovea-tracker",
        std::vector<std::string>{"--domain", "test", "--cameras", "cam", "--keep-metrics",
                                 // Frames are sent until one is answered; those dropped end no track.
                                 "--max-missed", "10000"});
  }
  void send() {
    msgs::Detection2DArray array;
    array.header.seq = ++sent_;
    array.source_width = array.source_height = 64;
    array.detections.push_back({{32, 32, 8, 8}, {0, 0.9f}, std::string_view("gate")});
    detections_.publish(array);
  }
  std::uint64_t id_of_next() {
    std::optional<Received<msgs::Track2DArray>> got;
    EXPECT_TRUE(eventually([&] {
      send();
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

TEST(TrackerInAGraph, IsAStageOfTheChainWithoutAnyoneKnowingIt) {
  const test::TestDomain domain;
  const std::string share = FOVEA_SOURCE_DIR;
  setenv("FOVEA_CACHE_DIR", (domain.root() / "cache").c_str(), 1);
  setenv("FOVEA_SHARE", share.c_str(), 1);
  const std::filesystem::path file = domain.root() / "tracked.launch.yaml";
  std::ofstream(file) << R"(launch:
  - node:
      exec: fovea-tracker
      name: follow
      param:
        - {from: "$(share)/config/tracker.yaml"}
        - {name: cameras, value: [cam0]}
        - {name: reliability, value: reliable}
  - node:
      exec: fovea-postprocess
      name: postprocess
      param:
        - {name: cameras, value: [cam0]}
        - {name: reliability, value: reliable}
      depends_on: [follow]
  - node:
      exec: fovea-detector
      name: detector
      param:
        - {name: cameras, value: [cam0]}
        - {name: model, value: "$(share)/config/models/yolov8p_demo_dynamic.onnx"}
        - {name: builder_optimization_level, value: 0}
        - {name: reliability, value: reliable}
      depends_on: [postprocess]
  - node:
      exec: fovea-preprocess
      name: preprocess
      param:
        - {name: cameras, value: [cam0]}
        - {name: reliability, value: reliable}
      depends_on: [detector]
  - node:
      exec: fovea-camera
      name: cam0
      param:
        - {name: uri, value: "synthetic://?width=160&height=120&fps=50&frames=40"}
        - {name: rate, value: -1}
        - {name: reliability, value: reliable}
      depends_on: [preprocess]
)";
  auto tracks = *Subscription<msgs::Track2DArray>::create(
      *domain, "cam0/tracks", {.depth = 64, .reliability = Reliability::kReliable});
  const std::string report_path = domain.root() / "report.json";
  Child run(domain.root(), FOVEA_BIN_DIR "/fovea",
            {"launch", file, "--domain", "test", "--json", report_path});
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
  std::ifstream text(report_path);
  const json report = json::parse(text, nullptr, false);
  const json camera = report["cameras"]["cam0"];
  EXPECT_THAT(camera["stages"].get<std::vector<std::string>>(),
              ElementsAre("cam0", "preprocess", "detector", "postprocess", "follow"));
  EXPECT_EQ(camera["captured"], 40);
  EXPECT_EQ(camera["delivered"], 40) << camera << run.err();
  EXPECT_GT(camera["latency_ms"]["p50"].get<double>(), 0);
}

}  // namespace
}  // namespace fovea
