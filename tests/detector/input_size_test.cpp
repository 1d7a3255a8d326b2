// A detector told which size to run: what fits it gets through, tensors of another size are refused
// by both sizes and counted, and sizes that the model cannot have end the start. Real processes;
// the test plays preprocessing.
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include "msgs/tensor.hpp"
#include "nodes/runtime/figures/metrics.hpp"
#include "nodes/runtime/topics/pubsub.hpp"
#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

using test::Child;
using test::eventually;
using ::testing::HasSubstr;

class DetectorInputSize : public ::testing::Test {
 protected:
  DetectorInputSize() { setenv("FOVEA_CACHE_DIR", (domain_.root() / "cache").c_str(), 1); }

  std::string write_model(std::vector<std::string> flags) const {
    const std::string file = domain_.root() / "model.onnx";
    flags.insert(flags.begin(), {"yolov8n", file});
    Child writer(domain_.root(), FOVEA_BIN_DIR "/fovea-write-yolo", std::move(flags));
    EXPECT_EQ(writer.wait(), 0) << writer.err();
    return file;
  }
  std::unique_ptr<Child> start(const std::string& model, const std::string& size,
                               const std::string& cameras = "cam",
                               const std::string& build = "wait",
                               const std::string& level = "0") const {
    return std::make_unique<Child>(
        domain_.root(), FOVEA_BIN_DIR "/fovea-detector",
        std::vector<std::string>{"--domain", "test", "--cameras", cameras, "--model", model,
                                 "--threads", "1", "--build", build, "--builder-optimization-level",
                                 level, "--input-size", size});
  }
  void send(std::int64_t width, std::int64_t height) { send(tensors_, width, height); }
  void send(Publisher<msgs::Tensor>& tensors, std::int64_t width, std::int64_t height) {
    const auto bytes = static_cast<std::size_t>(3 * width * height);
    auto slot = tensors.loan(bytes);
    ASSERT_TRUE(slot);
    std::memset(slot->data().data(), 114, bytes);
    msgs::Tensor tensor;
    tensor.header.seq = ++sent_;
    tensor.rank = 3;
    tensor.dims = {height, width, 3};
    const auto w = static_cast<std::uint32_t>(width);
    const auto h = static_cast<std::uint32_t>(height);
    tensor.letterbox = {w, h, w, h, w, h, 0, 0};
    tensors.publish(tensor, *std::move(slot), bytes);
  }
  std::uint64_t metric(const char* name, const char* label = "") const {
    const auto reader = MetricsReader::open(*domain_, "detector");
    return reader ? (*reader)->value(name, "cam", label) : 0;
  }
  std::uint64_t drops() const {
    const auto reader = MetricsReader::open(*domain_, "detector");
    std::uint64_t sum = 0;
    if (!reader) return sum;
    for (const MetricSample& sample : (*reader)->counters())
      sum += sample.name == "frames_dropped" ? sample.value : 0;
    return sum;
  }
  std::string status() const {
    const auto reader = MetricsReader::open(*domain_, "detector");
    return reader ? (*reader)->status() : "";
  }
  std::optional<msgs::DiagnosticLevel> level() const {
    const auto reader = MetricsReader::open(*domain_, "detector");
    return reader ? std::optional((*reader)->level()) : std::nullopt;
  }

  test::TestDomain domain_;
  Publisher<msgs::Tensor> tensors_ = *Publisher<msgs::Tensor>::create(*domain_, "cam/tensor");
  Subscription<msgs::TensorArray> heads_ =
      *Subscription<msgs::TensorArray>::create(*domain_, "cam/heads");
  std::uint64_t sent_ = 0;
};

TEST_F(DetectorInputSize, TensorsOfAnotherSizeAreRefusedByNameAndCountedAndTheRightOnesPass) {
  auto detector = start(write_model({"--dynamic"}), "160x96");
  ASSERT_TRUE(eventually([&] { return tensors_.subscription_count() > 0; })) << detector->err();
  ASSERT_TRUE(eventually([&] {
    send(96, 96);
    return metric("frames_dropped", "error") > 0;
  })) << detector->err();
  const std::string refusal =
      "it is 96x96 and the network's input 160x96 (width x height); preprocess's width and height "
      "must be 0 or those, or input_size here 96x96 if the model leaves it open";
  EXPECT_TRUE(eventually([&] { return status() == "cam/tensor: frames are refused: " + refusal; }))
      << status();
  EXPECT_TRUE(eventually([&] { return detector->err().find(refusal) != std::string::npos; }))
      << detector->err();

  std::optional<Received<msgs::TensorArray>> got;
  ASSERT_TRUE(eventually([&] {
    send(160, 96);
    heads_.drain();
    got = heads_.take();
    return got.has_value();
  })) << detector->err();
  ASSERT_GT(got->message.tensors.size(), 0U);
  EXPECT_EQ(got->message.tensors[0].dims[0], 96 / 8);
  EXPECT_EQ(got->message.tensors[0].dims[1], 160 / 8);
  EXPECT_TRUE(eventually([&] { return status().empty(); })) << status();
  detector->send(SIGINT);
  EXPECT_EQ(detector->wait(), 0) << detector->err();
  EXPECT_EQ(metric("frames_in"), metric("frames_out") + drops());
}

TEST_F(DetectorInputSize, StreamThatRecoversLeavesTheOthersRefusalAndThenTheWarningOfBefore) {
  setenv("FOVEA_BUILDER", "/no/such/program", 1);
  auto detector = start(write_model({"--dynamic"}), "160x96", "cam,other", "beside", "1");
  unsetenv("FOVEA_BUILDER");
  auto others = *Publisher<msgs::Tensor>::create(*domain_, "other/tensor");
  ASSERT_TRUE(eventually([&] {
    return tensors_.subscription_count() > 0 && others.subscription_count() > 0;
  })) << detector->err();
  const auto becomes = [&](msgs::DiagnosticLevel wanted, const std::string& text) {
    return eventually(
        [&] { return level() == wanted && status().find(text) != std::string::npos; });
  };
  const std::string warning = "no fp32 engine, the untuned one serves on";
  ASSERT_TRUE(becomes(msgs::DiagnosticLevel::kWarn, warning)) << status();
  send(others, 96, 96);
  ASSERT_TRUE(becomes(msgs::DiagnosticLevel::kError, "other/tensor: frames are refused: "))
      << status();
  send(tensors_, 96, 96);
  ASSERT_TRUE(becomes(msgs::DiagnosticLevel::kError, "cam/tensor: frames are refused: "))
      << status();
  send(tensors_, 160, 96);
  ASSERT_TRUE(becomes(msgs::DiagnosticLevel::kError, "other/tensor: frames are refused: "))
      << status();
  send(others, 160, 96);
  ASSERT_TRUE(becomes(msgs::DiagnosticLevel::kWarn, warning)) << status();
  detector->send(SIGINT);
  EXPECT_EQ(detector->wait(), 0) << detector->err();
}

TEST_F(DetectorInputSize, SizesThatTheModelCannotHaveEndTheStartWithWhatItCan) {
  const struct {
    const char* size;
    std::vector<std::string> flags;  // of the model
    const char* error;
  } cases[] = {
      {"12by7", {"--dynamic"}, "input_size is '12by7'; it must be SIDE or WIDTHxHEIGHT"},
      {"0", {"--dynamic"}, "input_size is '0'"},
      {"160x100",
       {"--dynamic"},
       "input size 160x100 (width x height) does not fit the graph; height 100 is no multiple of "
       "the model's stride 32: 96 or 128 would be"},
      {"95", {"--dynamic"}, "64 or 96 would be"},
      {"416", {}, "input height is 416; the model fixes it to 640"},
  };
  for (const auto& c : cases) {
    auto detector = start(write_model(c.flags), c.size);
    EXPECT_EQ(detector->wait(), 2) << c.size;
    EXPECT_THAT(detector->err(), HasSubstr(c.error));
  }
}

}  // namespace
}  // namespace fovea
