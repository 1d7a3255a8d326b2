// A detector that starts on a cold cache serves at once and changes to the built engine under load:
// no frame is lost, none overtakes another, and a builder that crashes, hangs or cannot even start
// costs nothing. Real processes; the test plays cameras and preprocessing.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "msgs/model_info.hpp"
#include "msgs/tensor.hpp"
#include "nodes/runtime/metrics.hpp"
#include "nodes/runtime/pubsub.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using test::Child;
using test::eventually;
using ::testing::HasSubstr;

constexpr std::int64_t kSide = 416;
const std::string kBin = FOVEA_BIN_DIR;
const std::string kModel = FOVEA_SOURCE_DIR "/config/models/yolov8p_demo_dynamic.onnx";

// Sends a camera's next tensor when the maps of the one before have come, so the detector is always
// busy and no tensor can be superseded.
class Camera {
 public:
  Camera(const Domain& domain, const std::string& name)
      : tensors_(*Publisher<msgs::Tensor>::create(domain, name + "/tensor")),
        heads_(*Subscription<msgs::TensorArray>::create(domain, name + "/heads")) {}

  // Sends `more` tensors; false if one of them got no answer, or a wrong one.
  bool pass(int more) {
    for (int i = 0; i < more; ++i) {
      ++sent_;
      send(static_cast<int>(sent_ % 251));
      if (!await()) return false;
    }
    return true;
  }
  // Of a picture of one grey; empty without an answer.
  std::vector<std::byte> maps_of(int grey) {
    ++sent_;
    send(grey);
    return await() ? maps_ : std::vector<std::byte>();
  }
  // Both ends have found each other.
  bool connect() {
    return eventually([&] { return tensors_.subscription_count() > 0; }) && pass_first();
  }
  std::uint64_t sent() const { return sent_; }
  std::uint64_t model_id() const { return model_id_; }

 private:
  void send(int grey) {
    auto slot = tensors_.loan(kSide * kSide * 3);
    ASSERT_TRUE(slot);
    std::memset(slot->data().data(), grey, kSide * kSide * 3);
    msgs::Tensor tensor;
    tensor.header.seq = sent_;
    tensor.rank = 3;
    tensor.dims = {kSide, kSide, 3};
    tensor.letterbox = {kSide, kSide, kSide, kSide, kSide, kSide, 0, 0};
    tensors_.publish(tensor, *std::move(slot), kSide * kSide * 3);
  }
  bool await() {
    std::optional<Received<msgs::TensorArray>> got;
    if (!eventually([&] {
          heads_.drain();
          got = heads_.take();
          return got.has_value();
        })) {
      return false;
    }
    model_id_ = got->message.model_id;
    maps_.assign(got->buffer.data().begin(), got->buffer.data().end());
    return got->message.header.seq == sent_ && got->buffer.data().size() > 0;
  }
  // Sends until an answer comes, then lets the answers to repeats pass.
  bool pass_first() {
    std::uint64_t first = 0;
    const auto answered = [&] {
      heads_.drain();
      auto got = heads_.take();
      first = got ? got->message.header.seq : 0;
      return got.has_value();
    };
    const bool heard = eventually([&] {
      ++sent_;
      send(0);
      return eventually(answered, std::chrono::milliseconds(100));
    });
    while (heard && first < sent_ && eventually(answered)) {
    }
    return heard && first == sent_;
  }

  Publisher<msgs::Tensor> tensors_;
  Subscription<msgs::TensorArray> heads_;
  std::uint64_t sent_ = 0;
  std::uint64_t model_id_ = 0;
  std::vector<std::byte> maps_;
};

class ServeWhileBuilding : public ::testing::Test {
 protected:
  ServeWhileBuilding() {
    setenv("FOVEA_CACHE_DIR", cache().c_str(), 1);
    unsetenv("FOVEA_BUILDER");
  }
  ~ServeWhileBuilding() override { unsetenv("FOVEA_BUILDER"); }

  fs::path root() const { return domain_.root(); }
  fs::path cache() const { return root() / "cache"; }

  // Makes `script` the program that builds; $@ are the arguments of fovea-engine.
  void use_builder(const std::string& script) const {
    const fs::path file = root() / "builder";
    std::ofstream(file) << "#!/bin/sh\n" << script;
    fs::permissions(file, fs::perms::owner_all);
    setenv("FOVEA_BUILDER", file.c_str(), 1);
  }
  const std::string real_builder_ = "exec " + kBin + "/fovea-engine \"$@\"\n";

  std::unique_ptr<Child> start(const std::string& build = "beside",
                               std::vector<std::string> more = {}) const {
    more.insert(more.end(),
                {"--domain", "test", "--cameras", "a,b", "--model", kModel, "--build", build,
                 "--threads", "1", "--max-batch", "2", "--builder-optimization-level", level_});
    return std::make_unique<Child>(root(), kBin + "/fovea-detector", std::move(more));
  }
  // Starts the cameras and sees their first frames through.
  void connect() {
    for (const char* name : {"a", "b"}) {
      cameras_.push_back(std::make_unique<Camera>(*domain_, name));
      ASSERT_TRUE(cameras_.back()->connect());
    }
    drops_at_start_ = drops();
  }
  bool pass(int frames) {
    for (int i = 0; i < frames; ++i) {
      for (auto& camera : cameras_) {
        if (!camera->pass(1)) return false;
      }
    }
    return true;
  }
  std::uint64_t metric(const char* name, const char* camera = "") const {
    const auto reader = MetricsReader::open(*domain_, "detector");
    return reader ? (*reader)->value(name, camera) : 0;
  }
  std::string status() const {
    const auto reader = MetricsReader::open(*domain_, "detector");
    return reader ? (*reader)->status() : "";
  }
  // Of both cameras together; what was repeated while connecting may have been superseded.
  std::uint64_t drops() const {
    const auto reader = MetricsReader::open(*domain_, "detector");
    std::uint64_t sum = 0;
    if (!reader) return sum;
    for (const MetricSample& sample : (*reader)->counters())
      sum += sample.name == "frames_dropped" ? sample.value : 0;
    return sum;
  }
  void expect_no_drops() const {
    EXPECT_EQ(drops(), drops_at_start_);
    EXPECT_EQ(metric("frames_in", "a") + metric("frames_in", "b"),
              metric("frames_out", "a") + metric("frames_out", "b") + drops());
  }
  std::size_t plans() const {
    std::size_t count = 0;
    std::error_code error;
    for (const auto& file : fs::directory_iterator(cache(), error))
      count += file.path().extension() == ".plan" ? 1 : 0;
    return count;
  }

  test::TestDomain domain_;
  std::string level_ = "0";
  std::vector<std::unique_ptr<Camera>> cameras_;
  std::uint64_t drops_at_start_ = 0;
};

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
  EXPECT_THAT(text, HasSubstr("--verify /data/labelled"));
  EXPECT_THAT(text, HasSubstr("--calib " + root().string()));
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
