// Recordings as their users make them: real processes, one command each.
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <stdlib.h>

#include "nodes/bag/mcap.hpp"
#include "nodes/runtime/metrics.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Child;
using test::eventually;
using ::testing::HasSubstr;

const std::string kBin = std::string(FOVEA_BIN_DIR) + "/";
const std::string kModel = "model:=" FOVEA_SOURCE_DIR "/config/models/yolov8p_demo_dynamic.onnx";

class Bag : public ::testing::Test {
 protected:
  Bag() {
    setenv("FOVEA_CACHE_DIR", (domain_.root() / "cache").c_str(), 1);
    setenv("FOVEA_SHARE", FOVEA_SOURCE_DIR, 1);
    setenv("FOVEA_DOMAIN", "test", 1);
  }
  ~Bag() override { unsetenv("FOVEA_DOMAIN"); }

  std::unique_ptr<Child> start(const std::string& program, std::vector<std::string> arguments) {
    return std::make_unique<Child>(domain_.root(), kBin + program, std::move(arguments));
  }
  std::unique_ptr<Child> camera(const std::string& uri) {
    return start("fovea-camera",
                 {"--name", "cam0", "--uri", uri, "--rate", "-1", "--reliability", "reliable"});
  }
  // Records the camera's first frames, all of them.
  void record(const std::string& uri, std::vector<std::string> options, std::uint64_t frames) {
    std::vector<std::string> arguments{"bag",        "record",        "-o",      path("run.mcap"),
                                       "cam0/image", "--reliability", "reliable"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    auto recorder = start("fovea", arguments);
    auto source = camera(uri);
    ASSERT_TRUE(eventually([&] { return received("recorder", "cam0/image") == frames; }))
        << recorder->err() << source->err();
    source->send(SIGINT);
    EXPECT_EQ(source->wait(), 0) << source->err();
    recorder->send(SIGINT);
    EXPECT_EQ(recorder->wait(), 0) << recorder->err();
    log_ = recorder->err();
  }
  std::uint64_t received(const std::string& node, const std::string& topic) {
    const auto page = MetricsReader::open(*domain_, node);
    return page ? (*page)->value("frames_out", topic) : 0;
  }
  std::string path(const std::string& name) const { return domain_.root() / name; }
  json info(const std::string& file) {
    auto tool = start("fovea", {"bag", "info", path(file), "--json"});
    EXPECT_EQ(tool->wait(), 0) << tool->err();
    return json::parse(tool->out(), nullptr, false);
  }

  test::TestDomain domain_;
  std::string log_;
};

TEST_F(Bag, RecordsEveryFrameOfAReliableCamera) {
  record("synthetic://?width=320&height=240&frames=40", {"--image-format", "raw"}, 40);
  EXPECT_THAT(log_, HasSubstr("cam0/image: 40 received, 40 recorded"));
  const json found = info("run.mcap");
  EXPECT_EQ(found["messages"], 40);
  EXPECT_EQ(found["closed"], true);
  EXPECT_EQ(found["topics"][0]["type"], "sensor_msgs/msg/Image");
  EXPECT_EQ(found["metadata"]["fovea"]["cam0/image.dropped"], "0");
  auto again = start("fovea", {"bag", "record", "-o", path("run.mcap"), "cam0/image"});
  EXPECT_NE(again->wait(), 0);
  EXPECT_THAT(again->err(), HasSubstr("File exists"));
}

TEST_F(Bag, ARecordingIsACamera) {
  record("synthetic://?width=320&height=240&frames=30", {}, 30);
  fs::rename(path("run.mcap"), path("first.mcap"));
  record("bag://" + path("first.mcap"), {}, 30);
  EXPECT_EQ(info("run.mcap")["messages"], 30);
  EXPECT_EQ(info("run.mcap")["topics"][0]["type"], "sensor_msgs/msg/CompressedImage");
}

TEST_F(Bag, PlaysWhatWasRecorded) {
  record("synthetic://?width=320&height=240&frames=25", {"--image-format", "raw"}, 25);
  fs::rename(path("run.mcap"), path("first.mcap"));
  auto recorder =
      start("fovea", {"bag", "record", "-o", path("second.mcap"), "cam0/image", "--name", "second",
                      "--reliability", "reliable", "--image-format", "raw"});
  auto player = start("fovea", {"bag", "play", path("first.mcap"), "--rate", "0", "--reliability",
                                "reliable", "--subscriber-timeout", "60"});
  EXPECT_EQ(player->wait(), 0) << player->err();
  EXPECT_THAT(player->err(), HasSubstr("cam0/image: 25 published"));
  ASSERT_TRUE(eventually([&] { return received("second", "cam0/image") == 25; }));
  recorder->send(SIGINT);
  EXPECT_EQ(recorder->wait(), 0) << recorder->err();
  const auto first = mcap::Reader::open(path("first.mcap"));
  const auto second = mcap::Reader::open(path("second.mcap"));
  ASSERT_TRUE(first && second);
  for (int i = 0; i < 25; ++i) {
    const auto a = (*first)->next();
    const auto b = (*second)->next();
    ASSERT_TRUE(a && *a && b && *b);
    EXPECT_EQ((*a)->sequence, (*b)->sequence);
    ASSERT_EQ((*a)->data.size(), (*b)->data.size());
    const std::size_t stamp = 4 + 8;  // the header's stamp is that of the new capture
    EXPECT_TRUE(
        std::equal((*a)->data.begin() + stamp, (*a)->data.end(), (*b)->data.begin() + stamp));
  }
}

TEST_F(Bag, ARingIsWrittenWhenTriggered) {
  auto recorder = start("fovea", {"bag", "record", "-o", path("box.mcap"), "cam0/image", "--ring",
                                  "3600", "--after-trigger", "0", "--reliability", "reliable"});
  auto source = camera("synthetic://?width=320&height=240&frames=20");
  ASSERT_TRUE(eventually([&] { return received("recorder", "cam0/image") == 20; }))
      << recorder->err() << source->err();
  EXPECT_FALSE(fs::exists(path("box_0.mcap")));
  auto trigger = start("fovea", {"bag", "trigger"});
  EXPECT_EQ(trigger->wait(), 0) << trigger->err();
  ASSERT_TRUE(eventually([&] { return fs::exists(path("box_0.mcap")); })) << recorder->err();
  recorder->send(SIGINT);
  EXPECT_EQ(recorder->wait(), 0) << recorder->err();
  EXPECT_EQ(info("box_0.mcap")["messages"], 20);
  auto nobody = start("fovea", {"bag", "trigger", "--name", "absent"});
  EXPECT_EQ(nobody->wait(), 1);
  EXPECT_THAT(nobody->err(), HasSubstr("no recorder named `absent`"));
}

TEST_F(Bag, AKilledRecordersFileIsReadable) {
  auto recorder =
      start("fovea", {"bag", "record", "-o", path("run.mcap"), "cam0/image", "--image-format",
                      "raw", "--compression", "none", "--reliability", "reliable"});
  auto source = camera("synthetic://?width=640&height=480&frames=60");
  ASSERT_TRUE(eventually([&] { return received("recorder", "cam0/image") == 60; }))
      << recorder->err();
  // Chunks of 4 MB hold five such frames: wait until some are on the disk.
  ASSERT_TRUE(eventually([&] { return fs::file_size(path("run.mcap")) > 20'000'000; }));
  recorder->send(SIGKILL);
  EXPECT_EQ(recorder->wait(), 1000 + SIGKILL);
  auto tool = start("fovea", {"bag", "info", path("run.mcap"), "--json"});
  EXPECT_EQ(tool->wait(), 1);
  const json found = json::parse(tool->out(), nullptr, false);
  EXPECT_EQ(found["closed"], false);
  EXPECT_GE(found["messages"], 20);
}

TEST_F(Bag, ReplaysToTheSameDetections) {
  auto verify = start("fovea", {"bag", "verify", "synthetic://?width=320&height=240&frames=12",
                                kModel, "--runs", "3"});
  EXPECT_EQ(verify->wait(), 0) << verify->out() << verify->err();
  EXPECT_THAT(verify->out(), HasSubstr("12 frames"));
  EXPECT_THAT(verify->out(), HasSubstr("3 of 3 runs equal"));
  auto other = start("fovea", {"bag", "verify", "synthetic://?width=320&height=240&frames=12",
                               kModel, "--runs", "1", "--expect", "0000000000000000"});
  EXPECT_EQ(other->wait(), 1);
  EXPECT_THAT(other->out(), HasSubstr("DIFFERS"));
}

TEST_F(Bag, TheMcapProjectsOwnReaderAgrees) {
  const std::string python = FOVEA_SOURCE_DIR "/build/mcap_reader/bin/python";
  if (!fs::exists(python)) {
    GTEST_SKIP() << "NOTICE: " << python << " is absent; tests/run.sh makes it";
  }
  for (const std::string format : {"raw", "jpeg"}) {
    record("synthetic://?width=320&height=240&frames=30", {"--image-format", format}, 30);
    Child reader(domain_.root(), python,
                 {FOVEA_SOURCE_DIR "/tests/bag/mcap_reader/read.py", path("run.mcap")});
    ASSERT_EQ(reader.wait(), 0) << reader.err();
    const json found = json::parse(reader.out(), nullptr, false);
    EXPECT_EQ(found["messages"], 30);
    const json& topic = found["topics"]["cam0/image"];
    EXPECT_EQ(topic["messages"], 30);
    EXPECT_EQ(topic["frame_id"], "cam0");
    if (format == "raw") {
      EXPECT_EQ(topic["bytes"], 30 * 320 * 240 * 3);
    }
    fs::remove(path("run.mcap"));
  }
}

}  // namespace
}  // namespace fovea
