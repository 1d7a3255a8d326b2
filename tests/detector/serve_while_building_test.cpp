// A detector that starts on a cold cache serves at once and changes to the built engine under load:
// no frame is lost, none overtakes another, and a builder that crashes, hangs or cannot even start
// costs nothing. Real processes; the test plays cameras and preprocessing.
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/resource.h>

#include "tests/detector/serve_fixture.hpp"
#include "tests/support/build_paths.hpp"

namespace fovea {
namespace {

using ::testing::HasSubstr;

TEST_F(ServeWhileBuilding, SwapsUnderLoadWithoutLosingOrReorderingAFrame) {
  use_builder("printf ' 25 %% tune\\n' >&2\nwhile [ ! -e " + (root() / "go").string() +
              " ]; do sleep 0.01; done\n" + real_builder_);
  auto detector = start();
  connect();
  ASSERT_TRUE(pass(5)) << detector->err();
  const std::uint64_t model = cameras_[0]->model_id();
  ASSERT_TRUE(eventually([&] { return metric("build_progress_pct") == 25; })) << detector->err();
  EXPECT_THAT(status(), HasSubstr("building fp32 engine beside: tune (25 %"));
  EXPECT_EQ(metric("engine_swaps"), 0U);
  EXPECT_EQ(plans(), 0U);

  std::ofstream(root() / "go");
  bool whole = true;
  ASSERT_TRUE(eventually([&] {
    whole = whole && pass(1);
    return !whole || metric("engine_swaps") == 1;
  })) << detector->err();
  ASSERT_TRUE(whole) << "a frame was lost or overtaken at " << cameras_[0]->sent();
  ASSERT_TRUE(pass(5));
  EXPECT_EQ(cameras_[0]->model_id(), model);
  EXPECT_EQ(plans(), 1U);
  EXPECT_EQ(metric("build_progress_pct"), 100U);
  EXPECT_TRUE(eventually([&] { return status().empty(); })) << status();
  expect_no_drops();
  detector->send(SIGINT);
  EXPECT_EQ(detector->wait(), 0) << detector->err();
  EXPECT_THAT(detector->err(), HasSubstr("has taken over"));

  // Next time there is nothing to build.
  cameras_.clear();
  auto again = start();
  connect();
  EXPECT_EQ(metric("plan_hit"), 1U);
  again->send(SIGINT);
  EXPECT_EQ(again->wait(), 0);
}

TEST_F(ServeWhileBuilding, AutoServesAtOnceAndTunesBesideWithTheRealBuilder) {
  level_ = "1";
  auto detector = start("auto");
  connect();
  ASSERT_TRUE(
      eventually([&] { return pass(1) && metric("engine_swaps") == 1; }, std::chrono::minutes(5)))
      << detector->err();
  expect_no_drops();
  detector->send(SIGINT);
  EXPECT_EQ(detector->wait(), 0);
  EXPECT_TRUE(fs::exists(cache() / "timing_cache.json"));
  cameras_.clear();

  auto again = start("auto");  // the tuned plan, at once
  connect();
  EXPECT_EQ(metric("plan_hit"), 1U);
  EXPECT_EQ(metric("engine_swaps"), 0U);
  again->send(SIGINT);
  EXPECT_EQ(again->wait(), 0);
}

TEST_F(ServeWhileBuilding, RestartGoesOnWithTheTuningThatAKilledDetectorBegan) {
  level_ = "2";
  const fs::path log = root() / "builder.log";
  use_builder("exec " + kBin + "/fovea-engine \"$@\" 2>> " + log.string() + "\n");
  auto killed = start("auto");
  ASSERT_TRUE(eventually([&] { return fs::exists(cache() / "timing_cache.json"); },
                         std::chrono::minutes(5)))
      << killed->err();
  killed->send(SIGKILL);
  killed->wait();
  EXPECT_EQ(plans(), 0U);

  auto detector = start("auto");
  connect();
  ASSERT_TRUE(
      eventually([&] { return pass(1) && metric("engine_swaps") == 1; }, std::chrono::minutes(5)))
      << detector->err();
  std::stringstream words;
  words << std::ifstream(log).rdbuf();
  EXPECT_THAT(words.str(), ::testing::ContainsRegex("[(][1-9][0-9]* in the timing cache[)]"));
  detector->send(SIGINT);
  EXPECT_EQ(detector->wait(), 0);
}

TEST_F(ServeWhileBuilding, Int8FromATableServesUntunedFirstAndTheTunedOneAtTheNextStart) {
  level_ = "1";
  const std::vector<std::string> int8 = {"--precision", "int8", "--calibration",
                                         FOVEA_SOURCE_DIR
                                         "/config/models/yolov8p_demo_dynamic.calibration.json"};
  auto detector = start("auto", int8);
  connect();
  ASSERT_TRUE(
      eventually([&] { return pass(1) && metric("engine_swaps") == 1; }, std::chrono::minutes(5)))
      << detector->err();
  EXPECT_EQ(plans(), 3U) << "f32 to quantise, untuned, tuned";
  expect_no_drops();
  detector->send(SIGINT);
  EXPECT_EQ(detector->wait(), 0);
  EXPECT_THAT(detector->err(), HasSubstr("an untuned"));
  cameras_.clear();

  auto again = start("auto", int8);
  connect();
  EXPECT_EQ(metric("plan_hit"), 1U);
  EXPECT_EQ(metric("engine_swaps"), 0U);
  again->send(SIGINT);
  EXPECT_EQ(again->wait(), 0);
  EXPECT_EQ(again->err().find("an untuned"), std::string::npos) << again->err();
}

TEST_F(ServeWhileBuilding, HalfPrecisionNeedsNoPictures) {
  level_ = "1";
  auto detector = start("auto", {"--precision", "fp16"});
  connect();
  ASSERT_TRUE(
      eventually([&] { return pass(1) && metric("engine_swaps") == 1; }, std::chrono::minutes(5)))
      << detector->err();
  EXPECT_EQ(plans(), 1U) << "the tuned one";
  expect_no_drops();
  detector->send(SIGINT);
  EXPECT_EQ(detector->wait(), 0);
  EXPECT_THAT(detector->err(), HasSubstr("until the fp16 one is ready"));
}

// Pictures of coloured tiles, as 24-bit BMP.
void write_pictures(const fs::path& folder, int count) {
  fs::create_directories(folder);
  for (int n = 0; n < count; ++n) {
    constexpr std::uint32_t kWidth = 160;
    constexpr std::uint32_t kHeight = 120;
    std::string bytes = "BM";
    for (const std::uint32_t field : {54 + 3 * kWidth * kHeight, 0U, 54U, 40U, kWidth, kHeight,
                                      1U | 24U << 16, 0U, 0U, 0U, 0U, 0U, 0U}) {
      for (int i = 0; i < 4; ++i) bytes += static_cast<char>(field >> (8 * i) & 0xFF);
    }
    for (std::uint32_t i = 0; i < 3 * kWidth * kHeight; ++i) {
      const std::uint32_t x = i / 3 % kWidth / 13;
      const std::uint32_t y = i / 3 / kWidth / 17;
      bytes +=
          static_cast<char>((x * 67 + y * 101 + i % 3 * 29) * static_cast<std::uint32_t>(n + 1));
    }
    std::ofstream(folder / (std::to_string(n) + ".bmp"), std::ios::binary) << bytes;
  }
}

TEST_F(ServeWhileBuilding, CalibratesBesideAndSwapsToTheBestPrecision) {
  write_pictures(root() / "pictures", 8);
  for (const std::uint64_t swaps : {1U, 0U}) {  // with a cold cache, a warm one
    SCOPED_TRACE(swaps);
    auto detector =
        start("auto", {"--precision", "best", "--calibration", (root() / "pictures").string()});
    connect();
    bool whole = pass(1);
    const std::uint64_t model = cameras_[0]->model_id();
    ASSERT_TRUE(eventually(
        [&] {
          whole = whole && pass(1);
          return !whole || metric("engine_swaps") == swaps;
        },
        std::chrono::minutes(5)))
        << detector->err();  // the builder only gets what serving leaves
    EXPECT_TRUE(whole && pass(3)) << detector->err();
    EXPECT_EQ(cameras_[0]->model_id(), model);
    expect_no_drops();
    detector->send(SIGINT);
    EXPECT_EQ(detector->wait(), 0);
    cameras_.clear();
  }
  auto strict =
      start("wait", {"--precision", "best", "--calibration", (root() / "pictures").string()});
  connect();
  EXPECT_EQ(metric("engine_swaps"), 0U);
  EXPECT_TRUE(pass(2)) << strict->err();
  strict->send(SIGINT);
  EXPECT_EQ(strict->wait(), 0);
  cameras_.clear();

  auto blind = start("auto", {"--precision", "int8"});
  EXPECT_EQ(blind->wait(), 2);
  EXPECT_THAT(blind->err(), HasSubstr("needs `calibration`"));
}

TEST_F(ServeWhileBuilding, TheSetToMeasureOnReachesTheBuilder) {
  const fs::path arguments = root() / "arguments";
  use_builder("echo \"$@\" > " + arguments.string() + "; exit 1\n");
  auto detector = start("auto", {"--precision", "int8", "--calibration", root().string(),
                                 "--verify", "/data/labelled"});
  connect();
  ASSERT_TRUE(eventually([&] {
    return detector->err().find("the untuned one serves on") != std::string::npos;
  })) << detector->err();
  std::string text;
  std::getline(std::ifstream(arguments), text);
  EXPECT_THAT(text, HasSubstr(R"("verify":"/data/labelled")"));
  EXPECT_THAT(text, HasSubstr(R"("calibration":")" + root().string()));
  detector->send(SIGINT);
  EXPECT_EQ(detector->wait(), 0) << detector->err();
}

TEST_F(ServeWhileBuilding, BuilderThatFailsIsLoggedAndServingGoesOn) {
  const struct {
    const char* script;
    const char* log;
  } faults[] = {
      {"kill -SEGV $$", "was killed by signal 11"},
      {"echo 'no memory for tuning' >&2; exit 3", "exited with code 3: no memory for tuning"},
      {"printf ' 50 %% tune\\n%%%%% \\n\\377\\376 999 %% x\\n'; exit 1", "exited with code 1"},
      {"exit 0", "names no plan"},
      {"echo '{\"plan\": \"/no/such.plan\"}'", "/no/such.plan"},
  };
  for (const auto& fault : faults) {
    SCOPED_TRACE(fault.script);
    use_builder(fault.script);
    auto detector = start();
    connect();
    ASSERT_TRUE(eventually([&] {
      return detector->err().find("the untuned one serves on") != std::string::npos;
    })) << detector->err();
    EXPECT_THAT(detector->err(), HasSubstr(fault.log));
    EXPECT_TRUE(eventually([&] { return status().find(fault.log) != std::string::npos; }))
        << status();
    EXPECT_TRUE(pass(3));
    EXPECT_EQ(metric("engine_swaps"), 0U);
    expect_no_drops();
    detector->send(SIGINT);
    EXPECT_EQ(detector->wait(), 0) << detector->err();
    cameras_.clear();
  }
  setenv("FOVEA_BUILDER", "/no/such/program", 1);
  auto detector = start();
  connect();
  ASSERT_TRUE(eventually([&] {
    return detector->err().find("cannot start /no/such/program") != std::string::npos;
  })) << detector->err();
  EXPECT_TRUE(pass(3));
  detector->send(SIGINT);
  EXPECT_EQ(detector->wait(), 0);
}

TEST_F(ServeWhileBuilding, BuilderRunsAtLowPriorityAndEndsWithTheDetector) {
  const fs::path pid_file = root() / "pid";
  use_builder("echo $$ > " + pid_file.string() + ".new; mv " + pid_file.string() + ".new " +
              pid_file.string() + "\nwhile :; do sleep 0.05; done\n");
  auto detector = start();
  ASSERT_TRUE(eventually([&] { return fs::exists(pid_file); })) << detector->err();
  pid_t builder = 0;
  std::ifstream(pid_file) >> builder;
  ASSERT_GT(builder, 1);
  EXPECT_TRUE(
      eventually([&] { return getpriority(PRIO_PROCESS, static_cast<id_t>(builder)) == 10; }));
  detector->send(SIGTERM);
  EXPECT_EQ(detector->wait(), 0) << detector->err();
  EXPECT_NE(kill(builder, 0), 0) << "the builder outlived the detector";
  EXPECT_EQ(detector->err().find("[warning]"), std::string::npos) << detector->err();
}

TEST_F(ServeWhileBuilding, WaitAndAutoServeNothingButTheWantedEngine) {
  use_builder("touch " + (root() / "called").string());
  for (const char* mode : {"wait", "auto"}) {
    auto detector = start(mode);
    connect();
    EXPECT_EQ(plans(), 1U) << mode;
    detector->send(SIGINT);
    EXPECT_EQ(detector->wait(), 0);
    cameras_.clear();
  }
  EXPECT_FALSE(fs::exists(root() / "called"));
}

TEST_F(ServeWhileBuilding, StoppedWhileItWaitsForItsEngineItEndsAtOnceAndInOrder) {
  level_ = "3";  // tunes in process, for a minute
  const auto tuning = start("wait");
  ASSERT_TRUE(eventually([&] { return fs::exists(cache() / "timing_cache.json"); }))
      << tuning->err();
  tuning->send(SIGTERM);
  EXPECT_EQ(tuning->wait(), 0) << tuning->err();
  EXPECT_THAT(tuning->err(), HasSubstr("tuning was stopped; what it measured is kept"));
  EXPECT_EQ(tuning->err().find("[error]"), std::string::npos) << tuning->err();
  EXPECT_EQ(plans(), 0U) << "a plan that was not tuned to the end is taken for one that was";

  const fs::path started = root() / "started";
  use_builder("touch " + started.string() + "\nwhile :; do sleep 0.05; done\n");
  const auto waiting = start("wait", {"--precision", "int8", "--calibration", root().string()});
  ASSERT_TRUE(eventually([&] { return fs::exists(started); })) << waiting->err();
  waiting->send(SIGTERM);
  EXPECT_EQ(waiting->wait(), 0) << waiting->err();
  EXPECT_EQ(waiting->err().find("[error]"), std::string::npos) << waiting->err();
}

// Whatever lies in the cache: the detector comes up and computes what it does with a sound one.
TEST_F(ServeWhileBuilding, EveryDamagedCacheEndsServingTheSameMaps) {
  const auto maps = [&] {
    const auto detector = start("wait");
    connect();
    auto result = cameras_[0]->maps_of(90);
    detector->send(SIGINT);
    EXPECT_EQ(detector->wait(), 0) << detector->err();
    cameras_.clear();
    return result;
  };
  const std::vector<std::byte> sound = maps();
  ASSERT_FALSE(sound.empty());
  fs::rename(cache(), root() / "sound");
  Child other(root(), kBin + "/fovea-engine",
              {"build", "--onnx", FOVEA_SOURCE_DIR "/config/models/yolov8n_demo_dynamic.onnx",
               "--builder-optimization-level", "0", "--save-engine", (root() / "other").string()});
  ASSERT_EQ(other.wait(), 0) << other.err();

  const auto only = [&](const std::string& extension) {
    for (const auto& file : fs::directory_iterator(cache())) {
      if (file.path().extension() == extension) return file.path();
    }
    return fs::path();
  };
  const auto overwrite = [&](std::uint64_t at, const std::string& bytes) {
    std::fstream(only(".plan"), std::ios::in | std::ios::out | std::ios::binary)
        .seekp(static_cast<std::streamoff>(at))
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  };
  // Section 0..2: its entry behind the header of 64 bytes has its offset at 16.
  const auto spoil_section = [&](std::uint64_t index) {
    std::uint64_t offset = 0;
    std::ifstream file(only(".plan"), std::ios::binary);
    file.seekg(static_cast<std::streamoff>(64 + 64 * index + 16));
    file.read(reinterpret_cast<char*>(&offset), sizeof offset);
    overwrite(offset + 8, "spoiled");
  };
  const auto folder_for = [&](const std::string& extension) {
    const fs::path file = only(extension);
    fs::remove(file);
    fs::create_directories(file / "x");
  };
  const struct {
    const char* name;
    std::function<void()> cause;
  } damages[] = {
      {"truncated", [&] { fs::resize_file(only(".plan"), 5000); }},
      {"zero bytes long", [&] { fs::resize_file(only(".plan"), 0); }},
      {"nothing but zeros", [&] { overwrite(0, std::string(fs::file_size(only(".plan")), '\0')); }},
      {"spoiled header", [&] { overwrite(20, "x"); }},
      {"spoiled manifest in the plan", [&] { spoil_section(0); }},
      {"spoiled network", [&] { spoil_section(1); }},
      {"spoiled weights", [&] { spoil_section(2); }},
      {"another version", [&] { overwrite(8, "\x7f"); }},
      {"another model's plan",
       [&] {
         fs::copy_file(root() / "other", only(".plan"), fs::copy_options::overwrite_existing);
       }},
      {"another CPU's manifest",
       [&] {
         std::stringstream text;
         text << std::ifstream(only(".json")).rdbuf();
         std::string manifest = text.str();
         manifest.insert(manifest.find("\"cpu_features\": \"") + 17, "riscv ");
         std::ofstream(only(".json")) << manifest;
       }},
      {"a folder in the plan's place", [&] { folder_for(".plan"); }},
      {"a folder in the manifest's place", [&] { folder_for(".json"); }},
      {"a folder in the lock's place",
       [&] {
         fs::remove(only(".plan"));
         folder_for(".lock");
       }},
      {"half written",
       [&] {
         fs::copy_file(only(".json"), only(".json").string() + ".tmp.AbCdEf");
         fs::resize_file(only(".plan"), 9000);
         fs::remove(only(".json"));
       }},
      {"unreadable", [&] { fs::permissions(only(".plan"), fs::perms::none); }},
      {"a file in the folder's place",
       [&] {
         fs::remove_all(cache());
         std::ofstream(cache()) << "not a folder";
       }},
  };
  for (const auto& damage : damages) {
    SCOPED_TRACE(damage.name);
    fs::remove_all(cache());
    fs::copy(root() / "sound", cache(), fs::copy_options::recursive);
    damage.cause();
    EXPECT_EQ(maps(), sound);
  }
}

}  // namespace
}  // namespace fovea
