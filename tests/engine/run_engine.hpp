// Runs an engine on pictures with guarded, poisoned output memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "nodes/detector/engine/engine.hpp"

namespace fovea::engine::test {

// Memory for one tensor at the alignment that bindings need, with a guard behind it.
class GuardedTensor {
 public:
  explicit GuardedTensor(std::size_t bytes) : bytes_(bytes), storage_(bytes + 128, kPoison) {}
  std::byte* data() {
    const auto address = reinterpret_cast<std::uintptr_t>(storage_.data());
    return storage_.data() + (64 - address % 64) % 64;
  }
  bool guard_is_intact() {
    return std::all_of(data() + bytes_, storage_.data() + storage_.size(),
                       [](std::byte byte) { return byte == kPoison; });
  }

 private:
  static constexpr auto kPoison = std::byte{0xFF};  // NaN in every float
  std::size_t bytes_;
  std::vector<std::byte> storage_;
};

// One context's bindings for a batch.
class Bindings {
 public:
  Bindings(const EngineInfo& info, const std::vector<std::vector<std::uint8_t>>& pictures)
      : views_(pictures.size()) {
    tensors_.reserve(pictures.size() * (info.outputs.size() + 1));
    for (std::size_t item = 0; item < pictures.size(); ++item) {
      EXPECT_EQ(pictures[item].size(), info.input.bytes);
      std::byte* input = tensors_.emplace_back(info.input.bytes).data();
      std::memcpy(input, pictures[item].data(), pictures[item].size());
      for (const TensorSpec& output : info.outputs) {
        views_[item].push_back({tensors_.emplace_back(output.bytes).data(), output.bytes});
      }
      batch_.push_back({{input, info.input.bytes}, views_[item]});
    }
  }
  std::span<const BatchItem> batch() const { return batch_; }
  std::span<const float> output(const EngineInfo& info, std::size_t item, std::size_t k) const {
    return {static_cast<const float*>(views_[item][k].data), info.outputs[k].bytes / sizeof(float)};
  }
  bool guards_are_intact() {
    return std::all_of(tensors_.begin(), tensors_.end(),
                       [](GuardedTensor& tensor) { return tensor.guard_is_intact(); });
  }

 private:
  std::vector<GuardedTensor> tensors_;
  std::vector<std::vector<MemoryView>> views_;
  std::vector<BatchItem> batch_;
};

using Outputs = std::vector<std::vector<float>>;  // by output

// By item. `runs` > 1 repeats the batch in the same context: later runs see the memory that
// earlier ones left.
inline std::vector<Outputs> run_engine(const Engine& engine,
                                       const std::vector<std::vector<std::uint8_t>>& pictures,
                                       int runs = 1) {
  std::vector<Outputs> result(pictures.size());
  auto context = engine.create_execution_context();
  if (!context) {
    ADD_FAILURE() << context.error().message;
    return result;
  }
  const EngineInfo& info = engine.info();
  for (int run = 0; run < runs; ++run) {
    Bindings bindings(info, pictures);
    const auto done = (*context)->execute(bindings.batch());
    EXPECT_TRUE(done) << done.error().message;
    EXPECT_TRUE(bindings.guards_are_intact());
    for (std::size_t item = 0; item < pictures.size(); ++item) {
      result[item].clear();
      for (std::size_t k = 0; k < info.outputs.size(); ++k) {
        const auto values = bindings.output(info, item, k);
        result[item].emplace_back(values.begin(), values.end());
      }
    }
  }
  return result;
}

}  // namespace fovea::engine::test
