// A detector process of which the test plays cameras and preprocessing.
#pragma once

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <stdlib.h>

#include "msgs/model_info.hpp"
#include "msgs/tensor.hpp"
#include "nodes/runtime/figures/metrics.hpp"
#include "nodes/runtime/topics/pubsub.hpp"
#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {

namespace fs = std::filesystem;
using test::Child;
using test::eventually;

inline constexpr std::int64_t kSide = 416;
inline const std::string kBin = FOVEA_BIN_DIR;
inline const std::string kModel = FOVEA_SOURCE_DIR "/config/models/yolov8p_demo_dynamic.onnx";

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

}  // namespace fovea
