// Recordings as their users make them: real processes, one command each.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "msgs/classification.hpp"
#include "msgs/instance_mask.hpp"
#include "msgs/keypoints.hpp"
#include "msgs/oriented_box.hpp"
#include "nodes/bag/mcap.hpp"
#include "nodes/runtime/figures/ledger.hpp"
#include "nodes/runtime/figures/metrics.hpp"
#include "nodes/runtime/process/control.hpp"
#include "nodes/runtime/topics/pubsub.hpp"
#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using std::chrono_literals::operator""s;
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
  void record_and_damage() {
    record("synthetic://?width=320&height=240&frames=60",
           {"--image-format", "raw", "--compression", "none"}, 60);
    std::fstream file(path("run.mcap"), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(2'000'000);
    file.write("damage", 6);
  }
  std::string path(const std::string& name) const { return domain_.root() / name; }
  std::uint64_t taken_in(const std::string& node, const std::string& topic) {
    const auto page = MetricsReader::open(*domain_, node);
    return page ? (*page)->value("frames_in", topic) : 0;
  }
  json info(const std::string& file, int code = 0) {
    auto tool = start("fovea", {"bag", "info", path(file), "--json"});
    EXPECT_EQ(tool->wait(), code) << tool->err();
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
  ASSERT_TRUE(eventually([&] { return taken_in("recorder", "cam0/image") == 20; }))
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

// The frames together are far below a chunk's size: only time can bring them into the file.
TEST_F(Bag, AKilledRecordersFileHoldsWhatCameBefore) {
  auto recorder = start("fovea", {"bag", "record", "-o", path("run.mcap"), "cam0/image",
                                  "--reliability", "reliable"});
  auto source = camera("synthetic://?width=64&height=48&frames=60");
  ASSERT_TRUE(eventually([&] { return received("recorder", "cam0/image") == 60; }))
      << recorder->err();
  recorder->send(SIGKILL);
  EXPECT_EQ(recorder->wait(), 1000 + SIGKILL);
  const json found = info("run.mcap", 1);
  EXPECT_EQ(found["closed"], false);
  EXPECT_EQ(found["messages"], 60);
  EXPECT_EQ(found["damage"], "not closed: 60 messages recovered");
  // Its successor goes on beside it.
  auto again = start("fovea", {"bag", "record", "-o", path("run.mcap"), "cam0/image"});
  EXPECT_TRUE(eventually([&] { return fs::exists(path("run-2.mcap")); })) << again->err();
  again->send(SIGINT);
  EXPECT_EQ(again->wait(), 0) << again->err();
  source->send(SIGINT);
  EXPECT_EQ(source->wait(), 0) << source->err();
  auto player =
      start("fovea", {"bag", "play", path("run.mcap"), "--rate", "0", "--subscriber-timeout", "0"});
  EXPECT_EQ(player->wait(), 0) << player->err();
  EXPECT_THAT(player->err(), HasSubstr("not closed: 60 messages recovered"));
}

TEST_F(Bag, ATriggeredRecordersFileSurvivesItsDeath) {
  auto recorder = start("fovea", {"bag", "record", "-o", path("box.mcap"), "cam0/image", "--ring",
                                  "3600", "--after-trigger", "3600", "--reliability", "reliable"});
  auto source = camera("synthetic://?width=64&height=48&frames=20");
  ASSERT_TRUE(eventually([&] { return taken_in("recorder", "cam0/image") == 20; }))
      << recorder->err();
  EXPECT_EQ(start("fovea", {"bag", "trigger"})->wait(), 0);
  ASSERT_TRUE(eventually([&] { return received("recorder", "cam0/image") == 20; }))
      << recorder->err();
  recorder->send(SIGKILL);
  EXPECT_EQ(recorder->wait(), 1000 + SIGKILL);
  EXPECT_EQ(info("box_0.mcap", 1)["messages"], 20);
  // Its successor does not fail at the file that is there.
  auto again = start("fovea", {"bag", "record", "-o", path("box.mcap"), "cam0/image", "--ring",
                               "3600", "--name", "second"});
  ASSERT_TRUE(eventually([&] {
    const auto page = MetricsReader::open(*domain_, "second");
    return page && (*page)->state() == msgs::LifecycleState::kActive;
  })) << again->err();
  EXPECT_EQ(start("fovea", {"bag", "trigger", "--name", "second"})->wait(), 0);
  EXPECT_TRUE(eventually([&] { return fs::exists(path("box_1.mcap")); })) << again->err();
}

TEST_F(Bag, ASecondStopSignalDoesNotCutTheClosingShort) {
  for (const auto& [first, second] : {std::pair{SIGINT, SIGTERM}, std::pair{SIGTERM, SIGINT}}) {
    fs::remove(path("run.mcap"));
    auto recorder = start("fovea", {"bag", "record", "-o", path("run.mcap"), "cam0/image",
                                    "--reliability", "reliable"});
    auto source = camera("synthetic://?width=320&height=240&frames=30");
    ASSERT_TRUE(eventually([&] { return taken_in("recorder", "cam0/image") == 30; }));
    recorder->send(first);
    recorder->send(second);
    EXPECT_EQ(recorder->wait(), 0) << recorder->err();
    EXPECT_EQ(info("run.mcap")["messages"], 30);
  }
}

TEST_F(Bag, WhatWasSentBeforeTheRecorderJoinedIsNotLost) {
  auto source =
      start("fovea-camera", {"--name", "cam0", "--uri", "synthetic://?width=64&height=48", "--rate",
                             "200", "--reliability", "reliable", "--subscriber-timeout", "0"});
  ASSERT_TRUE(eventually([&] { return received("cam0", "cam0") >= 20; })) << source->err();
  auto recorder = start("fovea", {"bag", "record", "-o", path("run.mcap"), "cam0/image",
                                  "--reliability", "reliable"});
  ASSERT_TRUE(eventually([&] { return received("recorder", "cam0/image") >= 20; }));
  recorder->send(SIGINT);
  EXPECT_EQ(recorder->wait(), 0) << recorder->err();
  EXPECT_EQ(info("run.mcap")["metadata"]["fovea"]["cam0/image.dropped"], "0");
}

TEST_F(Bag, ADamagedChunkIsToldByInfoPlayAndCamera) {
  record_and_damage();
  const json found = info("run.mcap", 1);
  ASSERT_EQ(found["damaged_chunks"].size(), 1u);
  const auto lost = found["lost_messages"].get<std::uint64_t>();
  EXPECT_GT(lost, 0u);
  auto text = start("fovea", {"bag", "info", path("run.mcap")});
  EXPECT_EQ(text->wait(), 1);
  EXPECT_THAT(text->out(), HasSubstr("its checksum differs; " + std::to_string(lost)));

  auto player =
      start("fovea", {"bag", "play", path("run.mcap"), "--rate", "0", "--subscriber-timeout", "0"});
  EXPECT_EQ(player->wait(), 1);
  EXPECT_THAT(player->err(), HasSubstr(std::to_string(lost) + " messages could not be read"));

  auto source = start("fovea-camera", {"--name", "cam0", "--uri", "bag://" + path("run.mcap"),
                                       "--rate", "-1", "--subscriber-timeout", "0"});
  const auto ended = [&] {
    const auto page = MetricsReader::open(*domain_, "cam0");
    return page && (*page)->status() == "ended";
  };
  ASSERT_TRUE(eventually(ended)) << source->err();
  const auto page = MetricsReader::open(*domain_, "cam0");
  ASSERT_TRUE(page);
  EXPECT_EQ((*page)->value("frames_in", "cam0"), 60u);
  EXPECT_EQ((*page)->value("frames_dropped", "cam0", "error"), lost);
  const std::string log = source->err();
  const auto warning = log.find("checksum differs");
  EXPECT_NE(warning, std::string::npos);
  EXPECT_EQ(log.find("checksum differs", warning + 1), std::string::npos) << "one is enough";
}

TEST_F(Bag, ClosedAndFullStreamsHarmNothingAndAreToldByTheExitCode) {
  const std::string uri = "synthetic://?width=64&height=48&fps=30";
  const std::string fovea = "exec " + kBin + "fovea bag ";
  // It is told to stop when it has recorded something, whatever its streams are.
  for (const char* streams : {">&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"}) {
    SCOPED_TRACE(streams);
    fs::remove(path("run.mcap"));
    auto source = start("fovea-camera", {"--name", "cam0", "--uri", uri});
    Child recorder(domain_.root(), "/bin/sh",
                   {"-c", fovea + "record -o " + path("run.mcap") + " cam0/image " + streams});
    ASSERT_TRUE(eventually([&] { return received("recorder", "cam0/image") > 0; }));
    recorder.send(SIGINT);
    EXPECT_EQ(recorder.wait(), 0);
    source->send(SIGINT);
    EXPECT_EQ(source->wait(), 0);
  }
  for (const char* command : {"info ", "info --json "}) {
    for (const auto& [stream, code] : {std::pair(" >/dev/null", 0),
                                       {" >/dev/full", 1},
                                       {" >&-", 0},
                                       {" >&- 2>&-", 0},
                                       {" 2>/dev/full", 0}}) {
      Child child(domain_.root(), "/bin/sh", {"-c", fovea + command + path("run.mcap") + stream});
      EXPECT_EQ(child.wait(), code) << command << stream << child.err();
      EXPECT_EQ(child.err().find("write to stdout: No space") != std::string::npos, code == 1);
    }
  }
}

TEST_F(Bag, ADamagedChunkIsToldByVerify) {
  record_and_damage();
  auto verify = start("fovea", {"bag", "verify", path("run.mcap"), kModel, "--runs", "1"});
  EXPECT_EQ(verify->wait(), 1);
  EXPECT_THAT(verify->err(), HasSubstr("its checksum differs"));
  EXPECT_THAT(verify->out(), HasSubstr("1 of 1 runs equal"));
}

TEST_F(Bag, RecordsIntoANewFileOnly) {
  const auto refusal = [&](const std::string& to) {
    auto recorder = start("fovea", {"bag", "record", "-o", to, "cam0/image"});
    EXPECT_EQ(recorder->wait(), 2) << to;
    return recorder->err();
  };
  std::ofstream(path("run.mcap")) << "precious";
  EXPECT_THAT(refusal(path("run.mcap")), HasSubstr("File exists"));
  EXPECT_EQ(fs::file_size(path("run.mcap")), 8u);
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
  EXPECT_THAT(refusal(path("fifo")), HasSubstr("is a FIFO"));
  EXPECT_THAT(refusal("/dev/null"), HasSubstr("is a device"));
  EXPECT_THAT(refusal(path("")), HasSubstr("is a folder"));
  EXPECT_THAT(refusal(path("absent/run.mcap")), HasSubstr("No such file"));
  auto forced = start("fovea", {"bag", "record", "-o", path("run.mcap"), "cam0/image", "--force"});
  ASSERT_TRUE(eventually([&] { return mcap::Reader::open(path("run.mcap")).has_value(); }))
      << forced->err();
  forced->send(SIGINT);
  EXPECT_EQ(forced->wait(), 0) << forced->err();
  EXPECT_EQ(info("run.mcap")["messages"], 0);
  auto reading = start("fovea", {"bag", "info", path("fifo")});
  EXPECT_EQ(reading->wait(), 1);
  EXPECT_THAT(reading->err(), HasSubstr("is a FIFO"));
}

TEST_F(Bag, ARecorderThatCouldNotBeConfiguredIsConfiguredAnewAsAWhole) {
  std::ofstream(path("run.mcap")) << "precious";
  auto recorder = start("fovea-recorder", {"--no-autostart", "--topics", "cam0/image,cam1/image",
                                           "--path", path("run.mcap")});
  const auto change = [&](const std::string& transition) {
    const auto reply =
        control_request(*domain_, "recorder",
                        R"({"op": "change_state", "transition": ")" + transition + "\"}", 60s);
    return reply ? *reply : reply.error().message;
  };
  EXPECT_THAT(change("configure"), HasSubstr("File exists"));
  fs::remove(path("run.mcap"));
  EXPECT_EQ(change("configure"), R"({"ok":true,"state":"inactive"})");
  EXPECT_EQ(change("activate"), R"({"ok":true,"state":"active"})");
  recorder->send(SIGINT);
  EXPECT_EQ(recorder->wait(), 0) << recorder->err();
  const std::string log = recorder->err();
  const std::string line = "cam0/image: 0 received, ";
  const std::size_t first = log.find(line);
  ASSERT_NE(first, std::string::npos) << log;
  EXPECT_EQ(log.find(line, first + 1), std::string::npos) << log;
  EXPECT_EQ(info("run.mcap")["metadata"]["fovea"].size(), 2u);
}

TEST_F(Bag, AFullDiskEndsTheRecordingAndNothingElse) {
  auto recorder =
      start("fovea", {"bag", "record", "-o", path("run.mcap"), "cam0/image", "--image-format",
                      "raw", "--compression", "none", "--keep-metrics"});
  ASSERT_TRUE(eventually([&] {
    const auto page = MetricsReader::open(*domain_, "recorder");
    return page && (*page)->state() == msgs::LifecycleState::kActive;
  })) << recorder->err();
  const rlimit small{400'000, 400'000};
  ASSERT_EQ(prlimit(recorder->pid(), RLIMIT_FSIZE, &small, nullptr), 0);
  auto source = start("fovea-camera", {"--name", "cam0", "--uri", "synthetic://?width=64&height=48",
                                       "--rate", "50"});
  EXPECT_EQ(recorder->wait(), 1);
  EXPECT_THAT(recorder->err(), HasSubstr("recording ended: write"));
  EXPECT_THAT(recorder->err(), HasSubstr("File too large"));
  const auto recorded = mcap::Reader::open(path("run.mcap"));
  ASSERT_TRUE(recorded) << recorded.error().message;
  EXPECT_GT((*recorded)->summary().messages, 0u);
  EXPECT_TRUE((*recorded)->find_damaged_chunks().empty());
  const auto page = MetricsReader::open(*domain_, "recorder");
  ASSERT_TRUE(page);
  const StageCounts counts = read_stage(**page, "cam0/image");
  EXPECT_EQ(counts.out, (*recorded)->summary().messages);
  EXPECT_GT(counts.drops[static_cast<std::size_t>(DropReason::kError)], 0u);
  EXPECT_EQ(counts.in, counts.out + counts.dropped());
  EXPECT_THAT((*page)->status(), HasSubstr("File too large"));
  const std::uint64_t before = received("cam0", "cam0");
  EXPECT_TRUE(eventually([&] { return received("cam0", "cam0") > before; })) << source->err();
}

TEST_F(Bag, InstantsOfAnyEraAreShown) {
  {
    auto writer = mcap::Writer::create(path("old.mcap"));
    ASSERT_TRUE(writer);
    const auto channel = (*writer)->add_channel("a", 0, "cdr");
    ASSERT_TRUE((*writer)->write(channel, 0, -500'000'000, 0, {}));
    ASSERT_TRUE((*writer)->write(channel, 1, 500'000'000, 0, {}));
    ASSERT_TRUE((*writer)->close());
  }
  auto tool = start("fovea", {"bag", "info", path("old.mcap")});
  EXPECT_EQ(tool->wait(), 0) << tool->err();
  EXPECT_THAT(tool->out(), HasSubstr("1969-12-31 23:59:59.500 UTC"));
  EXPECT_THAT(tool->out(), HasSubstr("duration  1.000 s"));
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

// Publishes one result of each kind until the recorder has it.
TEST_F(Bag, EveryKindOfResultIsReadByTheMcapProjectsOwnReader) {
  const std::string python = FOVEA_SOURCE_DIR "/build/mcap_reader/bin/python";
  if (!fs::exists(python)) {
    GTEST_SKIP() << "NOTICE: " << python << " is absent; tests/run.sh makes it";
  }
  auto masks = std::make_unique<msgs::InstanceMask2DArray>();
  masks->instances.push_back({.bbox = {10, 20, 4, 6},
                              .hypothesis = {1, 0.5f},
                              .class_name = "cat",
                              .first_run = 0,
                              .run_count = 3});
  for (const std::uint32_t run : {7, 2, 40}) masks->runs.push_back(run);
  auto keypoints = std::make_unique<msgs::KeypointDetection2DArray>();
  keypoints->detections.push_back({});
  keypoints->detections[0].keypoints.push_back({1, 2, 0.5f});
  keypoints->detections[0].keypoints.push_back({3, 4, 1});
  msgs::OrientedDetection2DArray boxes;
  boxes.detections.push_back({{1, 2, 3, 4, 0.25f}, {2, 0.75f}, "ship"});
  msgs::Classification classes;
  classes.results.push_back({{3, 0.875f}, "dog"});

  msgs::Detection2DArray detections;
  detections.header.stamp_realtime = 1'500'000'000;
  detections.detections.push_back({{1, 2, 3, 4}, {1, 0.625f}, "cow"});

  auto recorder = start("fovea", {"bag", "record", "-o", path("run.mcap"), "cam0/masks",
                                  "cam0/keypoints", "cam0/oriented_boxes", "cam0/classification",
                                  "cam0/detections", "--standard-messages", "true"});
  const auto send = [&]<class M>(const char* kind, M& message) {
    const std::string topic = std::string("cam0/") + kind;
    auto publisher = Publisher<M>::create(*domain_, topic);
    ASSERT_TRUE(publisher);
    ASSERT_TRUE(eventually([&] { return publisher->subscription_count() > 0; }));
    message.header.frame_id = "cam0";
    message.header.seq = 1;
    publisher->publish(message);
    EXPECT_TRUE(eventually([&] { return received("recorder", topic) == 1; })) << recorder->err();
  };
  send("masks", *masks);
  send("keypoints", *keypoints);
  send("oriented_boxes", boxes);
  send("classification", classes);
  send("detections", detections);
  recorder->send(SIGINT);
  EXPECT_EQ(recorder->wait(), 0) << recorder->err();

  Child reader(domain_.root(), python,
               {FOVEA_SOURCE_DIR "/tests/bag/mcap_reader/read.py", path("run.mcap"), "--contents"});
  ASSERT_EQ(reader.wait(), 0) << reader.err();
  const json topics = json::parse(reader.out(), nullptr, false)["topics"];
  const auto last = [&](const char* topic) { return topics[topic]["last"]; };
  EXPECT_EQ(topics["cam0/masks"]["type"], "fovea_msgs/msg/InstanceMask2DArray");
  EXPECT_EQ(last("cam0/masks")["runs"], json({7, 2, 40}));
  EXPECT_EQ(last("cam0/masks")["instances"][0]["class_name"], "cat");
  EXPECT_EQ(last("cam0/keypoints")["detections"][0]["keypoints"][1]["y"], 4);
  EXPECT_EQ(last("cam0/oriented_boxes")["detections"][0]["bbox"]["theta"], 0.25);
  EXPECT_EQ(last("cam0/classification")["results"][0]["hypothesis"]["score"], 0.875);

  // The same as other tools know it.
  EXPECT_EQ(topics["cam0/detections/vision_msgs"]["type"], "vision_msgs/msg/Detection2DArray");
  EXPECT_EQ(topics["cam0/detections/vision_msgs"]["frame_id"], "cam0");
  const json found = last("cam0/detections/vision_msgs");
  EXPECT_EQ(found["header"]["stamp"], json({{"sec", 1}, {"nanosec", 500'000'000}}));
  const json& cow = found["detections"][0];
  EXPECT_EQ(cow["results"][0]["hypothesis"], json({{"class_id", "cow"}, {"score", 0.625}}));
  EXPECT_EQ(cow["results"][0]["pose"]["covariance"].size(), 36U);
  EXPECT_EQ(cow["results"][0]["pose"]["pose"]["orientation"]["w"], 1);
  EXPECT_EQ(cow["bbox"]["center"]["position"], json({{"x", 1}, {"y", 2}}));
  EXPECT_EQ(cow["bbox"]["size_y"], 4);
  const json turned = last("cam0/oriented_boxes/vision_msgs")["detections"][0]["bbox"];
  EXPECT_EQ(turned["center"]["theta"], 0.25);
  EXPECT_EQ(turned["size_x"], 3);
  EXPECT_EQ(topics["cam0/classification/vision_msgs"]["type"], "vision_msgs/msg/Classification");
  EXPECT_EQ(last("cam0/classification/vision_msgs")["results"][0]["class_id"], "dog");
  EXPECT_EQ(topics["cam0/keypoints/foxglove"]["type"], "foxglove_msgs/msg/ImageAnnotations");
  const json annotations = last("cam0/keypoints/foxglove");
  EXPECT_EQ(annotations["points"].size(), 2U);
  EXPECT_EQ(annotations["points"][1]["type"], 1);
  EXPECT_EQ(annotations["points"][1]["points"], json({{{"x", 1}, {"y", 2}}, {{"x", 3}, {"y", 4}}}));
  EXPECT_EQ(annotations["texts"][0]["text"], " 0.00");
  EXPECT_FALSE(topics.contains("cam0/masks/vision_msgs"));

  // And it plays: what is there for others is passed over.
  auto player = start("fovea", {"bag", "play", path("run.mcap")});
  EXPECT_EQ(player->wait(), 0) << player->err();
}

}  // namespace
}  // namespace fovea
