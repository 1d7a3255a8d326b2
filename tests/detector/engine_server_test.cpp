// What an engine server owes its caller: no event after a start that failed, frames that pay for no
// swap, and an engine that serves on when nothing more can be started.
#include "nodes/detector/serving/engine_server.hpp"

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "tests/support/allocation_guard.hpp"
#include "tests/support/build_paths.hpp"
#include "tests/support/eventually.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using test::eventually;
using ::testing::HasSubstr;

class EngineServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "fovea-server-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    ::setenv("FOVEA_BUILDER", FOVEA_BIN_DIR "/fovea-engine", 1);
  }
  void TearDown() override {
    ::unsetenv("FOVEA_BUILDER");
    fs::remove_all(folder_);
  }

  ServeRequest request(const std::string& precision = "fp32") const {
    ServeRequest request;
    request.engine.model = FOVEA_SOURCE_DIR "/config/models/yolov8p_demo_dynamic.onnx";
    request.engine.precision = precision;
    request.engine.tuning_level = 0;
    request.engine.cache_dir = folder_ / "cache";
    request.mode = BuildMode::kBeside;
    if (precision != "fp32") {
      request.engine.calibration =
          FOVEA_SOURCE_DIR "/config/models/yolov8p_demo_dynamic.calibration.json";
    }
    return request;
  }
  ServerEvents events() {
    return {.progress = [](const BuildProgress&) {},
            .information = [](std::string_view) {},
            .warning =
                [this](std::string_view text) {
                  const std::lock_guard lock(mutex_);
                  warnings_ += std::string(text) + "\n";
                },
            .serving = [this](const ServedEngine&) { ++served_; },
            .keep_going = [] { return true; }};
  }
  std::string warnings() {
    const std::lock_guard lock(mutex_);
    return warnings_;
  }
  // One frame through the server.
  static bool pass(EngineServer& server) {
    static const std::vector<std::byte> input(server.info().input.bytes + 64);
    std::vector<std::vector<std::byte>> outputs;
    std::vector<MemoryView> views;
    for (const engine::TensorSpec& output : server.info().outputs) {
      outputs.emplace_back(output.bytes + 64);
      views.push_back({aligned(outputs.back().data()), output.bytes});
    }
    const engine::BatchItem item{.input = {aligned(input.data()), server.info().input.bytes},
                                 .outputs = views};
    return server.execute({&item, 1}).has_value();
  }
  template <class Byte>
  static Byte* aligned(Byte* bytes) {
    const auto address = reinterpret_cast<std::uintptr_t>(bytes);
    return bytes + (64 - address % 64) % 64;
  }

  fs::path folder_;
  int served_ = 0;
  std::mutex mutex_;
  std::string warnings_;  // guarded by mutex_
};

TEST_F(EngineServerTest, RefusalOfAModelIsTheStartsErrorAndNothingServes) {
  ServerEvents refusing = events();
  refusing.accept = [](const engine::EngineInfo&) -> Result<> {
    return fail(ErrorCode::kUnsupported, "not this one");
  };
  ::setenv("FOVEA_BUILDER", "/no/such/builder", 1);
  for (const BuildMode mode : {BuildMode::kWait, BuildMode::kBeside, BuildMode::kAuto}) {
    for (const char* precision : {"fp32", "int8"}) {
      ServeRequest wanted = request(precision);
      wanted.mode = mode;
      const auto server = EngineServer::start(std::move(wanted), refusing);
      ASSERT_FALSE(server);
      EXPECT_EQ(server.error().message, "not this one");
    }
  }
  EXPECT_EQ(served_, 0);
  EXPECT_EQ(warnings(), "") << "a builder was wanted";
  std::error_code error;
  for (const auto& file : fs::directory_iterator(folder_ / "cache", error))
    EXPECT_EQ(file.path().extension(), ".lock") << "built for a model that is refused";
}

// Runs with FOVEA_ISA=avx2, too, where no CPU has the arithmetic.
TEST_F(EngineServerTest, PrecisionThatTheCpuLacksIsSaidAsLongAsTheEngineServes) {
  ServeRequest wanted = request("fp16");
  wanted.engine.calibration.clear();
  wanted.mode = BuildMode::kWait;
  ServerEvents listening = events();
  std::string status;
  listening.serving = [&](const ServedEngine& served) { status = served.warning; };
  const auto server = EngineServer::start(std::move(wanted), listening);
  ASSERT_TRUE(server) << server.error().message;
  const bool half = engine::kernels::cpu_features().avx512_fp16;
  const std::string said =
      half ? "" : "this CPU (or FOVEA_ISA) has no fp16 arithmetic; the engine runs in fp32";
  EXPECT_EQ((*server)->info().precision,
            half ? engine::Precision::kFp16 : engine::Precision::kFp32);
  EXPECT_EQ(status, said);
  EXPECT_EQ(warnings(), half ? "" : said + "\n");
}

TEST_F(EngineServerTest, ReplacedEngineIsNotTakenApartInTheFramePath) {
  const auto server = EngineServer::start(request(), events());
  ASSERT_TRUE(server) << server.error().message;
  ASSERT_EQ(served_, 1);
  std::size_t freed = 0;
  ASSERT_TRUE(eventually([&] {
    const test::AllocationGuard guard;
    EXPECT_TRUE(pass(**server));
    freed = guard.freed();
    return served_ == 2;
  })) << warnings();
  const test::AllocationGuard guard;
  EXPECT_TRUE(pass(**server));
  EXPECT_LE(freed, guard.freed() + 10) << "an engine is hundreds of blocks";
}

TEST_F(EngineServerTest, OutOfDescriptorsForABuilderTheEngineThatThereIsServesOn) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  for (const char* precision : {"fp32", "int8"}) {
    SCOPED_TRACE(precision);
    const int next = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ASSERT_GE(next, 0);
    ::close(next);
    const rlimit few{static_cast<rlim_t>(next + 4), before.rlim_max};  // three pipes take six
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    ServeRequest wanted = request(precision);
    if (precision == std::string("int8")) wanted.mode = BuildMode::kAuto;
    wanted.engine.tuning_level = 1;
    const auto server = EngineServer::start(std::move(wanted), events());
    const bool told = eventually(
        [&] { return warnings().find("the untuned one serves on: ") != std::string::npos; });
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    ASSERT_TRUE(server) << server.error().message;
    EXPECT_TRUE(told);
    EXPECT_THAT(warnings(), HasSubstr("fovea-engine: Too many open files"));
    EXPECT_TRUE(pass(**server));
  }
}

}  // namespace
}  // namespace fovea
