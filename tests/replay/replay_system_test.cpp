// `fovea bench` as a user meets it: the real pipeline, a small model, a few seconds.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <stdlib.h>

#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

using nlohmann::json;
using test::Child;
using testing::HasSubstr;

const std::string kFovea = std::string(FOVEA_BIN_DIR) + "/fovea";

class Bench : public testing::Test {
 protected:
  Bench() {
    setenv("FOVEA_CACHE_DIR", (domain_.root() / "cache").c_str(), 1);
    setenv("FOVEA_SHARE", FOVEA_SOURCE_DIR, 1);
  }

  struct Outcome {
    int code = 0;
    std::string out, err;
  };
  Outcome run(std::vector<std::string> words) {
    words.insert(words.begin(), "bench");
    Child child(domain_.root(), kFovea, std::move(words));
    const int code = child.wait();
    return {code, child.out(), child.err()};
  }
  std::vector<std::string> replay(std::vector<std::string> more, const char* duration = "2") const {
    std::vector<std::string> words{"replay",
                                   "--video",
                                   "synthetic://?width=320&height=240",
                                   "--model",
                                   "yolov8p_demo_dynamic.onnx",
                                   "--warmup",
                                   "0.2",
                                   "--duration",
                                   duration};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  json read(const std::string& name) const {
    std::ifstream file(domain_.root() / name);
    return file ? json::parse(file, nullptr, false) : json();
  }
  std::vector<std::string> left_behind() const {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(domain_.root() / "shm"))
      files.push_back(entry.path().filename());
    return files;
  }

  test::TestDomain domain_;
};

TEST_F(Bench, TwoCamerasAreReplayedAndEveryFrameIsAccountedFor) {
  const std::string report = domain_.root() / "a.json";
  const std::string page = domain_.root() / "a.html";
  const Outcome outcome = run(
      replay({"--cameras", "2", "--rate", "5", "--runs", "2", "--json", report, "--html", page}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("the books balance"));
  const json result = read("a.json");
  ASSERT_TRUE(result.is_object());
  EXPECT_EQ(result["books"].size(), 2u);
  for (const json& run : result["books"]) {
    for (const auto& [name, camera] : run.items()) {
      EXPECT_EQ(camera["captured_total"], camera["delivered_total"].get<std::uint64_t>() +
                                              camera["dropped_total"].get<std::uint64_t>());
      // 2 s at 5 Hz, whenever the window begins.
      EXPECT_GE(camera["offered"], 9);
      EXPECT_LE(camera["offered"], 11);
      EXPECT_GT(camera["delivered"], 0);
    }
  }
  EXPECT_NEAR(result["piece_sum_ratio"].get<double>(), 1, 0.01);
  EXPECT_GT(result["figures"]["latency_ms.p50"]["mean"].get<double>(), 0);
  EXPECT_EQ(result["figures"]["bytes_copied_per_frame"]["mean"], 0.0);
  EXPECT_GT(result["BasicPerformanceMetrics.MEAN_FRAME_RATE"].get<double>(), 0);
  EXPECT_GT(std::filesystem::file_size(page), 10000u);
  EXPECT_TRUE(left_behind().empty()) << testing::PrintToString(left_behind());
}

TEST_F(Bench, AFloodLosesFramesAndTheBooksStillBalance) {
  const std::string report = domain_.root() / "a.json";
  const Outcome outcome =
      run(replay({"--cameras", "1", "--rate", "max", "--runs", "1", "--json", report}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json result = read("a.json");
  EXPECT_GT(result["figures"]["loss_percent"]["mean"].get<double>(), 0);
  const json camera = result["books"][0]["cam0"];
  EXPECT_GT(camera["dropped_total"], 0);
  EXPECT_EQ(camera["captured_total"], camera["delivered_total"].get<std::uint64_t>() +
                                          camera["dropped_total"].get<std::uint64_t>());
}

TEST_F(Bench, BadInputIsRefusedByName) {
  struct Case {
    std::vector<std::string> words;
    const char* says;
  };
  const std::vector<Case> cases{
      {{"replay", "--video", "/no/such.avi"}, "no such file"},
      {{"replay"}, "--video"},
      {replay({"--rate", "fast"}), "--rate is fast"},
      {replay({"--cameras", "0"}), "--cameras is 0"},
      {{"replay", "--video", "synthetic://", "--model", "/no/such.onnx"},
       "--model is /no/such.onnx"},
      {replay({"--parameter", "threads"}), "--parameter is threads"},
      {{"compare", "/no/a.json", "/no/b.json"}, "/no/a.json"},
      {replay({"--batch", "100"}), "--batch is 100"},
      {{"sweep", "--video", "synthetic://", "--batch", "1,100"}, "--batch is 100"},
      {{"sweep", "--video", "synthetic://", "--cameras", "1,77"}, "--cameras is 77"},
      {{"sweep", "--video", "synthetic://", "--batch", "many"}, "--batch"},
      {replay({"--programs", "/no/folder"}), "/no/folder is no folder"},
      {replay({"--against", "/no/folder", "--runs", "8"}), "/no/folder is no folder"},
      {replay({"--against", FOVEA_BIN_DIR, "--runs", "7"}), "--runs is 7"},
      {{"check", "--video", "synthetic://", "--runs", "7"}, "--runs is 7"},
      {{"check", "--video", "synthetic://", "--planted", "/no/folder"}, "/no/folder is no folder"},
  };
  for (const Case& bad : cases) {
    const Outcome outcome = run(bad.words);
    EXPECT_EQ(outcome.code, 2) << bad.says;
    EXPECT_THAT(outcome.err + outcome.out, HasSubstr(bad.says));
  }
}

TEST_F(Bench, ThePeakIsSearchedForAsOftenAsThereAreRuns) {
  const std::string report = domain_.root() / "a.json";
  const Outcome outcome = run(
      replay({"--cameras", "2", "--rate", "5", "--runs", "2", "--peak", "--json", report}, "1"));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json peak = read("a.json")["peak"];
  ASSERT_EQ(peak["steps"].size(), 2u);
  EXPECT_EQ(peak["total_fps_runs"].size(), 2u);
  EXPECT_GT(peak["total_fps"].get<double>(), 0);
  for (const json& search : peak["steps"]) EXPECT_LE(search.size(), 16u);
}

TEST_F(Bench, AnEngineThatIsThreeTimesAsSlowIsFoundWhereverThePairsRun) {
  const std::string planted = std::string(FOVEA_BIN_DIR) + "/planted";
  if (!std::filesystem::exists(planted + "/fovea-detector"))
    GTEST_SKIP() << "built without FOVEA_BUILD_BENCH";
  setenv("FOVEA_BENCH_SLOWDOWN", "3", 1);
  const std::string other = domain_.root() / "b.json";
  const std::string report = domain_.root() / "a.json";
  const Outcome outcome =
      run(replay({"--rate", "10", "--runs", "8", "--programs", planted, "--against", FOVEA_BIN_DIR,
                  "--json", report, "--against-json", other},
                 "1"));
  unsetenv("FOVEA_BENCH_SLOWDOWN");
  EXPECT_EQ(outcome.code, 1) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("worse"));
  // The two files tell the same when they are compared again, and the other way round.
  const Outcome again = run({"compare", other, report});
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.out, HasSubstr("in turns"));
  EXPECT_EQ(run({"compare", report, other}).code, 0);
}

// A tmpfs of its own for the command: in a user and mount namespace, where the kernel allows it.
TEST_F(Bench, FullSharedMemoryCostsFramesAndPasses) {
  const std::string shm = domain_.root() / "shm";
  const std::string mount = "mount -t tmpfs -o size=256m tmpfs '" + shm + "'";
  if (std::system(("unshare -Urm sh -c \"" + mount + "\" 2>/dev/null").c_str()) != 0)
    GTEST_SKIP() << "no user namespaces here";
  const std::string report = domain_.root() / "a.json";
  std::string command = mount + " && exec '" + kFovea + "' bench";
  for (const std::string& word : replay(
           {"--cameras", "2", "--rate", "10", "--runs", "1", "--chaos", "shm", "--json", report}))
    command += " '" + word + "'";
  Child child(domain_.root(), "/usr/bin/unshare", {"-Urm", "sh", "-c", command});
  ASSERT_EQ(child.wait(), 0) << child.err();
  const json faults = read("a.json")["faults"];
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0]["name"], "shm");
  EXPECT_THAT(faults[0]["detail"], HasSubstr("MB taken"));
  EXPECT_GT(faults[0]["lost"], 10) << faults;  // two cameras, two seconds
  ASSERT_TRUE(faults[0]["recovered_s"].is_number()) << faults;
  EXPECT_GE(faults[0]["recovered_s"], 1.9);
}

TEST_F(Bench, SharedMemoryOfOthersIsNotFilled) {
  std::ofstream(domain_.root() / "shm" / "of_others") << "x";
  const Outcome outcome = run(replay({"--rate", "10", "--chaos", "shm"}));
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--chaos shm fills"));
  EXPECT_THAT(outcome.err, HasSubstr("unshare"));
}

TEST_F(Bench, AWrongParameterEndsWithTheNodesOwnWords) {
  const Outcome outcome = run(replay({"--runs", "1", "--parameter", "detector.threads=many"}));
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("threads"));
}

}  // namespace
}  // namespace fovea
