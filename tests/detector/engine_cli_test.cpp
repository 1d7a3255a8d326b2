// `fovea engine` as its user meets it: exit codes, messages, JSON that is only JSON, and the demo
// model from the ONNX file to an engine that agrees with the reference.
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "tests/support/build_paths.hpp"

extern char** environ;

namespace fovea {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using Json = nlohmann::json;

struct Outcome {
  int code = -1;
  std::string out;
  std::string err;
};

// 8 x 8 pixels, with a thumbnail's end marker in a segment.
std::string grey_jpeg() {
  using namespace std::string_literals;
  const std::string one_code = "\1"s + std::string(16, '\0');  // a table in which bit 0 says 0
  return "\xff\xd8\xff\xe1\0\6ex\xff\xd9"s +                   // APP1
         "\xff\xdb\0\x43\0"s + std::string(64, '\1') +         // quantization
         "\xff\xc0\0\xb\10\0\10\0\10\1\1\x11\0"s +             // frame: one component
         "\xff\xc4\0\x14\0"s + one_code + "\xff\xc4\0\x14\x10"s + one_code +
         "\xff\xda\0\10\1\1\0\0\x3f\0\x3f"s +  // scan
         "\xff\xd9"s;
}

class EngineCli : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "fovea-cli-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    ::setenv("FOVEA_CACHE_DIR", (folder_ / "cache").c_str(), 1);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const char* name) const { return folder_ / name; }
  static std::string text_of(const std::string& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  pid_t start(std::vector<std::string> arguments) const {
    // Tuning is what some of the tests are about; the others do without, or have an engine.
    const auto has = [&](const std::string& word) {
      return std::find(arguments.begin(), arguments.end(), word) != arguments.end();
    };
    const std::set<std::string> builders = {"build", "inspect", "bench", "profile", "verify"};
    const std::string level = "--builder-optimization-level";
    if (!arguments.empty() && builders.contains(arguments[0]) && !has(level) &&
        !has("--load-engine") && !has("--request")) {
      arguments.insert(arguments.end(), {level, "0"});
    }
    arguments.insert(arguments.begin(), FOVEA_BIN_DIR "/fovea-engine");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC;
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, path("out").c_str(), kFlags, 0600);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, path("err").c_str(), kFlags, 0600);
    pid_t child = -1;
    EXPECT_EQ(::posix_spawn(&child, argv[0], &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return child;
  }
  Outcome finish(pid_t child) const {
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text_of(path("out")),
            text_of(path("err"))};
  }
  Outcome run(std::vector<std::string> arguments) const {
    return finish(start(std::move(arguments)));
  }

  // A detector of any size with random weights, for tests that the size and the boxes are nothing
  // to: at 64 x 64 it does in milliseconds what takes the demo model's 416 x 416 a second.
  std::vector<std::string> build_small(std::vector<std::string> more) const {
    const std::string file = path("small.onnx");
    const std::string write = FOVEA_BIN_DIR "/fovea-write-yolo yolov8n " + file;
    if (!fs::exists(file)) {
      EXPECT_EQ(std::system((write + " --dynamic --two-classes").c_str()), 0);
    }
    more.insert(more.begin(), {"build", "--onnx", file, "--input-size", "64"});
    return more;
  }

  // A 24-bit BMP of one colour.
  void write_bmp(const fs::path& file, std::uint32_t width, std::uint32_t height) const {
    const std::uint32_t row = (3 * width + 3) / 4 * 4;
    std::string bytes = "BM";
    const auto put = [&](std::uint32_t value, int size) {
      for (int i = 0; i < size; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
    };
    put(54 + row * height, 4);
    put(0, 4);
    put(54, 4);
    put(40, 4);
    put(width, 4);
    put(height, 4);
    put(1, 2);
    put(24, 2);
    for (int i = 0; i < 6; ++i) put(0, 4);
    bytes.append(static_cast<std::size_t>(row) * height, '\x60');
    fs::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << bytes;
  }

  fs::path folder_;
  const std::string model_ = FOVEA_SOURCE_DIR "/config/models/yolov8p_demo_dynamic.onnx";
};

TEST_F(EngineCli, HelpNamesTheSubcommands) {
  const Outcome help = run({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* name :
       {"build", "inspect", "list", "prune", "bench", "profile", "diff", "verify"})
    EXPECT_THAT(help.out, HasSubstr(name));
  EXPECT_EQ(run({"build", "--help"}).code, 0);
}

// As a detector asks for one whose parameters name pictures, too.
TEST_F(EngineCli, ARequestInFp32MayNameACalibration) {
  const Outcome built = run({"build", "--request",
                             R"({"precision": "fp32", "builder_optimization_level": 0, )"
                             R"("calibration": "/nowhere", "verify": "/nowhere", "model": ")" +
                                 model_ + R"("})"});
  EXPECT_EQ(built.code, 0) << built.err;
  EXPECT_EQ(run({"build", "--request", R"({"modell": "x"})"}).code, 2);
}

TEST_F(EngineCli, WrongUsageExitsWithTwo) {
  EXPECT_EQ(run({}).code, 2);
  EXPECT_EQ(run({"frobnicate"}).code, 2);
  EXPECT_EQ(run({"build"}).code, 2);
  EXPECT_EQ(run({"verify", "--onnx", model_}).code, 2);
  EXPECT_EQ(run({"bench"}).code, 2);
  const Outcome batch = run({"build", "--onnx", model_, "--batch", "65"});
  EXPECT_EQ(batch.code, 2);
  EXPECT_THAT(batch.err, HasSubstr("--batch is 65; it must be 0..64"));
  const Outcome size = run({"build", "--onnx", model_, "--input-size", "12by7"});
  EXPECT_EQ(size.code, 2);
  EXPECT_THAT(size.err, HasSubstr("12by7"));
}

TEST_F(EngineCli, MissingAndBrokenModelsAreNamed) {
  for (const char* command : {"build", "inspect", "bench"}) {
    const Outcome missing = run({command, "--onnx", path("absent.onnx")});
    EXPECT_EQ(missing.code, 1) << command;
    EXPECT_THAT(missing.err, HasSubstr("absent.onnx"));
  }
  std::ofstream(path("broken.onnx")) << "this is no model";
  const Outcome broken = run({"build", "--onnx", path("broken.onnx")});
  EXPECT_EQ(broken.code, 1);
  EXPECT_THAT(broken.err, HasSubstr("broken.onnx"));
  const Outcome not_a_plan = run({"inspect", "--load-engine", path("broken.onnx")});
  EXPECT_EQ(not_a_plan.code, 1);
  EXPECT_THAT(not_a_plan.err, HasSubstr("plan:"));
}

TEST_F(EngineCli, BuildSaysBuiltThenAlreadyBuiltThenWhyNot) {
  const Outcome first = run({"build", "--onnx", model_, "--threads", "1", "--json"});
  ASSERT_EQ(first.code, 0) << first.err;
  const auto built = nlohmann::json::parse(first.out);
  EXPECT_FALSE(built["hit"]);
  EXPECT_TRUE(fs::exists(built["plan"].get<std::string>()));
  EXPECT_THAT(first.err, HasSubstr("100 % done"));
  const Outcome second = run({"build", "--onnx", model_, "--threads", "1", "--json", "-"});
  EXPECT_TRUE(nlohmann::json::parse(second.out)["hit"]);
  const Outcome other = run({"inspect", "--onnx", model_, "--threads", "2"});
  EXPECT_EQ(other.code, 0);
  EXPECT_THAT(other.out, HasSubstr("threads was 1, is 2"));
  const Outcome list = run({"list", "--json", path("list.json")});
  EXPECT_EQ(list.code, 0);
  EXPECT_EQ(nlohmann::json::parse(text_of(path("list.json")))["engines"].size(), 1U);
}

TEST_F(EngineCli, SavedEngineNeedsNoModel) {
  fs::copy_file(model_, path("m.onnx"));
  ASSERT_EQ(
      run({"build", "--onnx", path("m.onnx"), "--threads", "1", "--save-engine", path("m.plan")})
          .code,
      0);
  fs::remove(path("m.onnx"));
  const Outcome inspect = run({"inspect", "--load-engine", path("m.plan"), "--layers", "--json"});
  ASSERT_EQ(inspect.code, 0) << inspect.err;
  const auto plan = nlohmann::json::parse(inspect.out);
  EXPECT_EQ(plan["class_names"].size(), 80U);
  EXPECT_EQ(plan["declined"].size(), 0U) << plan["declined"];
  for (const auto& layer : plan["execution"]) EXPECT_NE(layer["implementation"], "reference");
  const Outcome bench =
      run({"bench", "--load-engine", path("m.plan"), "--warmup", "0", "--duration", "0",
           "--iterations", "3", "--percentile", "50,99", "--json"});
  ASSERT_EQ(bench.code, 0) << bench.err;
  const auto result = nlohmann::json::parse(bench.out);
  EXPECT_EQ(result["iterations"], 3);
  EXPECT_GT(result["latency_ms"]["p50"], 0.0);
  EXPECT_GE(result["latency_ms"]["p99"], result["latency_ms"]["p50"]);
  EXPECT_EQ(result["threads"], 1);
  const Outcome other = run({"bench", "--load-engine", path("m.plan"), "--threads", "2", "--warmup",
                             "0", "--duration", "0", "--iterations", "1"});
  ASSERT_EQ(other.code, 0) << other.err;
  EXPECT_THAT(other.err, HasSubstr("was made for 1 threads; 2 run it"));
  EXPECT_THAT(other.out, HasSubstr("fp32, 2 threads"));
  for (const char* threads : {"-1", "257", "4294967298"}) {
    const Outcome refused = run({"bench", "--load-engine", path("m.plan"), "--threads", threads});
    EXPECT_EQ(refused.code, 2) << refused.out;
    EXPECT_THAT(refused.err,
                HasSubstr(std::string("--threads is ") + threads + "; it must be 0..256"));
  }
}

TEST_F(EngineCli, ProfileShowsThePrecisionThatRuns) {
  if (!engine::kernels::detect_cpu_features().avx2) GTEST_SKIP() << "needs AVX2";
  ASSERT_EQ(run({"build", "--onnx", model_, "--threads", "1", "--precision", "bf16",
                 "--save-engine", path("m.plan")})
                .code,
            0);
  ::setenv("FOVEA_ISA", "avx2", 1);  // which has no bf16 arithmetic
  const Outcome profile =
      run({"profile", "--load-engine", path("m.plan"), "--duration", "0.001", "--json"});
  const Outcome inspect = run({"inspect", "--load-engine", path("m.plan"), "--layers", "--json"});
  ::unsetenv("FOVEA_ISA");
  ASSERT_EQ(profile.code, 0) << profile.err;
  const auto result = nlohmann::json::parse(profile.out);
  EXPECT_EQ(result["precision"], "fp32");
  for (const auto& layer : result["layers"]) EXPECT_EQ(layer["precision"], "fp32") << layer;
  ASSERT_EQ(inspect.code, 0) << inspect.err;
  const auto inspected = nlohmann::json::parse(inspect.out);
  for (const auto& layer : inspected["execution"]) EXPECT_EQ(layer["precision"], "fp32") << layer;
}

TEST_F(EngineCli, BenchSweepsBatchSizes) {
  const Outcome bench = run({"bench", "--onnx", model_, "--threads", "1", "--sweep", "1,3",
                             "--warmup", "0", "--duration", "0", "--iterations", "2", "--json"});
  ASSERT_EQ(bench.code, 0) << bench.err;
  const auto result = nlohmann::json::parse(bench.out);
  ASSERT_EQ(result["batches"].size(), 2U);
  EXPECT_EQ(result["batches"][0]["batch"], 1);
  EXPECT_EQ(result["batches"][1]["batch"], 3);
  for (const auto& batch : result["batches"]) {
    EXPECT_GT(batch["images_per_s"], 0.0);
    for (const char* name : {"mean", "p50", "p90", "p95", "p99"})
      EXPECT_GT(batch["latency_ms"][name], 0.0) << name;
  }
  EXPECT_GT(result["load_ms"], 0.0);
  EXPECT_GT(result["peak_rss_mb"], 0.0);
}

TEST_F(EngineCli, InspectExplainsFusions) {
  const Outcome outcome = run({"inspect", "--onnx", model_, "--layers", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto result = nlohmann::json::parse(outcome.out);
  EXPECT_GT(result["layers_in_file"], 200);
  std::size_t fused = 0;
  for (const auto& pass : result["passes"]) {
    if (pass["pass"] == "fuse_convolutions") fused = pass["changes"];
  }
  EXPECT_GT(fused, 30U);
  ASSERT_FALSE(result["fused"].empty());
  EXPECT_FALSE(result["fused"][0]["fused"].empty());
}

// Of every provider that times its steps: all layers are there, and their work adds up.
TEST_F(EngineCli, ProfileTimesEveryLayer) {
  double gflop = 0;
  for (const char* provider : {"cpu", "onednn"}) {
    const Outcome outcome = run({"profile", "--onnx", model_, "--provider", provider, "--threads",
                                 "1", "--duration", "0.05", "--json"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const auto result = nlohmann::json::parse(outcome.out);
    double ms = 0;
    double share = 0;
    std::size_t convolutions = 0;
    for (const auto& layer : result["layers"]) {
      ms += layer["ms"].get<double>();
      share += layer["share_pct"].get<double>();
      EXPECT_FALSE(layer["kernel"].get<std::string>().empty());
      if (layer["gflop"] == 0.0) continue;
      ++convolutions;
      EXPECT_GT(layer["gflop_per_s"], 0.0) << layer;
      EXPECT_EQ(layer["precision"], "fp32");
    }
    EXPECT_GT(convolutions, 50U);
    EXPECT_NEAR(ms, result["ms"].get<double>(), 1e-6 * ms);
    EXPECT_NEAR(share, 100, 1e-3);
    if (gflop > 0) {
      EXPECT_NEAR(result["gflop"].get<double>(), gflop, 1e-9);
    }
    gflop = result["gflop"];
  }
  const Outcome outcome = run({"profile", "--onnx", model_, "--provider", "reference"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("reference"));
}

TEST_F(EngineCli, DiffShowsWhatDiffers) {
  const auto build = [&](const char* file, const char* provider, const char* threads) {
    ASSERT_EQ(run({"build", "--onnx", model_, "--provider", provider, "--threads", threads,
                   "--save-engine", path(file)})
                  .code,
              0);
  };
  build("a.plan", "cpu", "1");
  build("again.plan", "cpu", "1");
  build("b.plan", "onednn", "2");
  EXPECT_EQ(text_of(path("a.plan")), text_of(path("again.plan")));
  const Outcome equal = run({"diff", path("a.plan"), path("again.plan"), "--json"});
  EXPECT_EQ(equal.code, 0) << equal.err;
  EXPECT_EQ(nlohmann::json::parse(equal.out),
            nlohmann::json::parse(R"({"equal": true, "settings": [], "layers": []})"));
  const Outcome other =
      run({"diff", path("a.plan"), path("b.plan"), "--profile", "0.01", "--json"});
  EXPECT_EQ(other.code, 1) << other.err;
  const auto result = nlohmann::json::parse(other.out);
  EXPECT_EQ(result["settings"][0],
            nlohmann::json::parse(R"({"name": "provider", "a": "cpu", "b": "onednn"})"));
  std::size_t differing = 0;
  for (const auto& layer : result["layers"]) differing += layer["differs"].get<bool>() ? 1 : 0;
  EXPECT_GT(differing, 50U);
  EXPECT_GT(result["ms"]["a"], 0.0);
  EXPECT_GT(result["ms"]["b"], 0.0);
  EXPECT_EQ(run({"diff", path("a.plan"), path("absent.plan")}).code, 2);
}

TEST_F(EngineCli, DemoModelAgreesWithTheReference) {
  for (const char* isa : {"", "avx2"}) {
    ::setenv("FOVEA_ISA", isa, 1);
    const Outcome outcome =
        run({"verify", "--onnx", model_, "--threads", "2", "--against-reference", "--json"});
    ::unsetenv("FOVEA_ISA");
    ASSERT_EQ(outcome.code, 0) << outcome.out << outcome.err;
    const auto result = nlohmann::json::parse(outcome.out);
    ASSERT_EQ(result["outputs"].size(), 6U);
    for (const auto& output : result["outputs"]) EXPECT_GE(output["cosine"], 0.9999) << output;
  }
}

TEST_F(EngineCli, DemoModelsOwnOutputAgreesToo) {
  const Outcome outcome = run({"verify", "--onnx", model_, "--threads", "2", "--keep-output0",
                               "--against-reference", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.out << outcome.err;
  const auto result = nlohmann::json::parse(outcome.out);
  ASSERT_EQ(result["outputs"].size(), 1U);
  EXPECT_EQ(result["outputs"][0]["name"], "output0");
}

class LabelledFolder : public EngineCli {
 protected:
  void SetUp() override {
    EngineCli::SetUp();
    write_bmp(folder_ / "data/images/a.bmp", 100, 60);
    write_bmp(folder_ / "data/images/b.bmp", 60, 100);
    fs::create_directories(folder_ / "data/labels");
    const std::string names = text_of(FOVEA_SOURCE_DIR "/tests/detector/coco80.txt");
    std::ofstream(folder_ / "data/classes.txt") << names;
    label("0 0.5 0.5 0.25 0.5\n");
  }
  void label(const std::string& text) const {
    std::ofstream(folder_ / "data/labels/a.txt") << text;
  }
  Outcome verify() const {
    return run({"verify", "--onnx", model_, "--threads", "2", "--data", path("data"), "--json"});
  }
};

TEST_F(LabelledFolder, GreyPicturesScoreZeroButAreCounted) {
  const Outcome outcome = verify();
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto result = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(result["images"], 2);
  EXPECT_EQ(result["boxes"], 1);
  EXPECT_EQ(result["per_class"].size(), 1U);
  EXPECT_EQ(result["per_class"][0]["class"], "person");
  EXPECT_LT(result["map50"], 50.0);
}

TEST_F(LabelledFolder, FaultsNameFileAndLine) {
  label("0 0.5 0.5 0.25 0.5\n80 0.5 0.5 0.1 0.1\n");
  Outcome outcome = verify();
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("a.txt:2: label is '80 0.5 0.5 0.1 0.1'"));
  label("0 0.5 0.5 0.25\n");
  EXPECT_THAT(verify().err, HasSubstr("a.txt:1"));
  label("");
  std::ofstream(folder_ / "data/images/b.bmp") << "no picture";
  outcome = verify();
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("b.bmp"));
  std::ofstream(folder_ / "data/classes.txt") << "cat\ndog\n";
  EXPECT_THAT(verify().err, HasSubstr("2 classes that are not the model's 80"));
  fs::remove_all(folder_ / "data/images");
  EXPECT_THAT(verify().err, HasSubstr("no pictures there"));
}

TEST_F(EngineCli, InterruptedBenchStopsWithItsResult) {
  const pid_t child = start({"bench", "--onnx", model_, "--threads", "1", "--duration", "3600"});
  // Whatever it is doing then, it has to end; ctest's time limit is the watchdog.
  while (text_of(path("err")).find("done") == std::string::npos &&
         ::waitpid(child, nullptr, WNOHANG) == 0) {
    ::usleep(1000);
  }
  ::kill(child, SIGINT);
  const Outcome outcome = finish(child);
  EXPECT_EQ(outcome.code, 130) << outcome.err;
}

TEST_F(EngineCli, Int8NeedsPicturesAndSaysSo) {
  const Outcome none = run({"build", "--onnx", model_, "--precision", "int8"});
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.err, HasSubstr("needs --calib FOLDER with at least 8 pictures"));
  write_bmp(folder_ / "few" / "a.bmp", 80, 60);
  const Outcome few =
      run({"build", "--onnx", model_, "--precision", "int8", "--calib", path("few")});
  EXPECT_EQ(few.code, 2);
  EXPECT_THAT(few.err, HasSubstr("1 pictures; calibration needs at least 8"));
  const Outcome rule = run({"build", "--onnx", model_, "--precision", "int8", "--calib",
                            path("few"), "--calibrator", "guess"});
  EXPECT_EQ(rule.code, 2);
  EXPECT_THAT(rule.err,
              HasSubstr("--calibrator is 'guess'; it must be percentile, mse, minmax or entropy"));
  for (const std::string precision : {"int8", "best"}) {
    const Outcome bench = run({"bench", "--onnx", model_, "--precision", precision});
    EXPECT_EQ(bench.code, 2);
    EXPECT_THAT(bench.err, HasSubstr("--precision " + precision + " --calib FOLDER --save-engine"));
  }
  for (const std::string option : {"--calib", "--calib-cache", "--verify"}) {
    const Outcome unused = run({"build", "--onnx", model_, option, path("few")});
    EXPECT_EQ(unused.code, 2);
    EXPECT_THAT(unused.err, HasSubstr(option + " is for --precision int8 and best"));
  }
}

TEST_F(EngineCli, CalibrationPicturesMustBePictures) {
  const auto calibrate = [&](const char* folder) {
    return run(build_small({"--precision", "int8", "--calib", path(folder)}));
  };
  fs::create_directories(folder_ / "empty");
  std::ofstream(folder_ / "empty/notes.txt") << "no picture";
  EXPECT_THAT(calibrate("empty").err, HasSubstr("no pictures there (.jpg"));
  EXPECT_THAT(calibrate("absent").err, HasSubstr("absent: No such file"));
  for (int i = 0; i < 8; ++i) {
    write_bmp(folder_ / "calib" / (std::to_string(i) + ".bmp"), 80U + static_cast<unsigned>(i), 60);
  }
  std::ofstream(folder_ / "calib/9.png") << "no picture";
  const Outcome fake = calibrate("calib");
  EXPECT_EQ(fake.code, 1);
  EXPECT_THAT(fake.err, HasSubstr("JPEG, PNG, WebP, BMP, TIFF or PNM can; take it out"));
  fs::remove(folder_ / "calib/9.png");
  // A phone's picture with a video behind it is read; 9.jpg is what an interrupted copy leaves:
  // OpenCV would read it, grey where it is missing.
  const std::string jpeg = grey_jpeg();
  std::ofstream(folder_ / "calib/8.jpg", std::ios::binary) << jpeg << std::string(200'000, 'v');
  for (const std::size_t left :
       {jpeg.size() - 2, jpeg.size() - 1, std::size_t{40}, std::size_t{3}}) {
    std::ofstream(folder_ / "calib/9.jpg", std::ios::binary) << jpeg.substr(0, left);
    EXPECT_THAT(calibrate("calib").err, HasSubstr("9.jpg: is cut off")) << left << " bytes";
  }
  EXPECT_FALSE(fs::exists(folder_ / "cache/calibration"));
}

TEST_F(EngineCli, RefusedInt8SaysWhatToDoAndLeavesNoEngine) {
  if (!engine::kernels::detect_cpu_features().avx2) GTEST_SKIP() << "needs AVX2";
  for (int i = 0; i < 8; ++i) {
    write_bmp(folder_ / "calib" / (std::to_string(i) + ".bmp"), 60U + 8 * static_cast<unsigned>(i),
              60);
  }
  const Outcome refused =
      run(build_small({"--precision", "int8", "--calib", path("calib"), "--min-agreement", "100",
                       "--save-engine", path("refused.plan")}));
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("int8 refused: the best that was reached"));
  EXPECT_THAT(refused.err, HasSubstr("--precision best falls back to fp32"));
  EXPECT_FALSE(fs::exists(path("refused.plan")));
  const Json list = Json::parse(run({"list", "--json"}).out);
  for (const Json& engine : list["engines"]) EXPECT_EQ(engine["inputs"]["precision"], "fp32");
}

TEST_F(EngineCli, HalfPrecisionWarnsWhereTheCpuHasNone) {
  const std::vector<std::string> build = {"build", "--onnx",        model_,           "--precision",
                                          "fp16",  "--save-engine", path("half.plan")};
  ::setenv("FOVEA_ISA", "avx2", 1);
  const Outcome without = run(build);
  ::unsetenv("FOVEA_ISA");
  ASSERT_EQ(without.code, 0) << without.err;
  EXPECT_THAT(without.err, HasSubstr("has no fp16 arithmetic; here the engine runs in fp32"));
  const Outcome inspected = run({"inspect", "--load-engine", path("half.plan"), "--json"});
  EXPECT_EQ(Json::parse(inspected.out)["precision"], "fp16") << inspected.err;
}

TEST_F(EngineCli, Int8IsCalibratedOnceAndCachedWithItsReport) {
  for (int i = 0; i < 8; ++i) {
    write_bmp(folder_ / "calib" / (std::to_string(i) + ".bmp"), 60U + 8 * static_cast<unsigned>(i),
              60);
  }
  // Best, because int8 needs AVX-512; and any agreement will do, as flat pictures show nothing.
  const std::vector<std::string> build =
      build_small({"--precision", "best", "--calib", path("calib"), "--calib-cache",
                   path("table.json"), "--min-agreement", "0", "--json"});
  const Outcome first = run(build);
  ASSERT_EQ(first.code, 0) << first.err;
  const Json built = Json::parse(first.out);
  EXPECT_THAT(built["precision"], ::testing::AnyOf("int8", "fp32"));
  EXPECT_EQ(built["hit"], false);
  EXPECT_THAT(std::string(built["accuracy"]["verdict"]), HasSubstr("int8"));
  EXPECT_THAT(first.err, HasSubstr("32 or more are better"));
  const std::string table = text_of(path("table.json"));
  EXPECT_EQ(Json::parse(table)["pictures"], 8);
  const Outcome second = run(build);
  ASSERT_EQ(second.code, 0) << second.err;
  EXPECT_EQ(Json::parse(second.out)["hit"], true);
  EXPECT_EQ(Json::parse(second.out)["accuracy"], built["accuracy"]);
  EXPECT_EQ(text_of(path("table.json")), table);
}

TEST_F(EngineCli, OneBarRunsOverAllStepsOfAnInt8Build) {
  for (int i = 0; i < 8; ++i) {
    write_bmp(folder_ / "calib" / (std::to_string(i) + ".bmp"), 60U + 8 * static_cast<unsigned>(i),
              60);
  }
  const Outcome built =
      run(build_small({"--precision", "best", "--calib", path("calib"), "--min-agreement", "0"}));
  ASSERT_EQ(built.code, 0) << built.err;
  std::istringstream lines(built.err);
  int last = 0;
  int reports = 0;
  for (std::string line; std::getline(lines, line);) {
    int percent = 0;
    if (std::sscanf(line.c_str(), "%d %% ", &percent) != 1) continue;
    EXPECT_GE(percent, last) << "it never goes back: " << line;
    last = percent;
    ++reports;
  }
  EXPECT_GT(reports, 5);
  EXPECT_EQ(last, 100);
  EXPECT_THAT(built.out, HasSubstr("calibration: 8 pictures"));
  EXPECT_THAT(built.out, HasSubstr("int8"));
}

TEST_F(EngineCli, InterruptedBuildKeepsNothingHalfDone) {
  for (int i = 0; i < 60; ++i) {
    write_bmp(folder_ / "calib" / (std::to_string(i) + ".bmp"), 80U + static_cast<unsigned>(i), 60);
  }
  const pid_t child =
      start({"build", "--onnx", model_, "--precision", "int8", "--calib", path("calib"),
             "--calib-cache", path("table.json"), "--save-engine", path("engine.plan")});
  while (text_of(path("err")).find("% calibrate") == std::string::npos &&
         ::waitpid(child, nullptr, WNOHANG) == 0) {
    ::usleep(1000);
  }
  ::kill(child, SIGINT);
  const Outcome outcome = finish(child);
  EXPECT_EQ(outcome.code, 130) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("interrupted"));
  EXPECT_FALSE(fs::exists(path("engine.plan")));
  EXPECT_FALSE(fs::exists(path("table.json")));
  for (const auto& file : fs::recursive_directory_iterator(folder_)) {
    EXPECT_EQ(file.path().string().find(".tmp"), std::string::npos) << file.path();
  }
}

}  // namespace
}  // namespace fovea
