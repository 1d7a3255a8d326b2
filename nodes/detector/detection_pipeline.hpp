// What a live run does to one picture, in one object, for everything that measures accuracy:
// letterbox, engine, decoder and suppression are those of the live nodes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "msgs/detection.hpp"
#include "nodes/detector/accuracy.hpp"
#include "nodes/detector/engine/engine.hpp"
#include "nodes/postprocess/postprocessor.hpp"
#include "nodes/preprocess/letterbox.hpp"

namespace fovea {

// A decoded picture, BGR, rows dense.
struct Picture {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::vector<std::byte> bgr;
};
// Decodes a file. Given by the program, so that no library needs an image codec. Errors: kNotFound,
// kCorrupt (no picture), naming the path.
using PictureReader = std::function<Result<Picture>(const std::string& path)>;

ImageView view_of(const Picture& picture);

// The letterbox of an engine's input. Errors: Letterbox::create()'s.
Result<Letterbox> letterbox_for(const engine::EngineInfo& info);

// Memory for one batch item at the alignment that bindings need. Addresses are stable.
class Bindings {
 public:
  explicit Bindings(const engine::EngineInfo& info);
  engine::BatchItem item() const { return {input_, outputs_}; }
  std::span<std::byte> input() const { return {input_, input_bytes_}; }
  std::span<const std::byte> output(std::size_t index) const;

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::vector<std::unique_ptr<std::byte[], Free>> memory_;
  std::byte* input_ = nullptr;
  std::size_t input_bytes_ = 0;
  std::vector<void*> outputs_;
  std::vector<std::size_t> output_bytes_;
};

// Thread safety: one thread at a time.
class DetectionPipeline {
 public:
  // With PostprocessOptions::evaluation(). Errors: kUnsupported if the engine has no detect head.
  static Result<DetectionPipeline> create(std::shared_ptr<const engine::Engine> engine);

  // Detections in pixels of the picture, best first.
  Result<std::vector<ScoredBox>> run(const Picture& picture);

  // Of the last run: output `index` of the engine, and the time that execute() took.
  std::span<const float> output(std::size_t index) const;
  double inference_seconds() const { return inference_seconds_; }
  const engine::EngineInfo& info() const { return engine_->info(); }

 private:
  DetectionPipeline(std::shared_ptr<const engine::Engine> engine,
                    std::unique_ptr<engine::ExecutionContext> context, Letterbox letterbox,
                    Postprocessor postprocessor);

  std::shared_ptr<const engine::Engine> engine_;
  std::unique_ptr<engine::ExecutionContext> context_;
  Letterbox letterbox_;
  Postprocessor postprocessor_;
  Bindings bindings_;
  std::unique_ptr<msgs::Detection2DArray> found_;
  double inference_seconds_ = 0;
};

}  // namespace fovea
