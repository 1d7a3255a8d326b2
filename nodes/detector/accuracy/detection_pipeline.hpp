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
#include "nodes/detector/accuracy/task_accuracy.hpp"
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

// The letterbox of an engine's input, as its picture is to be. Errors: Letterbox::create()'s.
Result<Letterbox> letterbox_for(const engine::EngineInfo& info);

// Thread safety: one thread at a time.
class DetectionPipeline {
 public:
  // With PostprocessOptions::evaluation(). Errors: kUnsupported if the engine has no head that is known.
  static Result<DetectionPipeline> create(std::shared_ptr<const engine::Engine> engine);

  // Objects in pixels of the picture, best first, with what the task gives beside boxes; of a
  // classifier, its best classes.
  Result<Answer> run(const Picture& picture);

  // Of the last run: output `index` of the engine, and the time that execute() took.
  std::span<const float> output(std::size_t index) const;
  double inference_seconds() const { return inference_seconds_; }
  const engine::EngineInfo& info() const { return engine_->info(); }
  Task task() const { return postprocessor_.task(); }

 private:
  DetectionPipeline(std::shared_ptr<const engine::Engine> engine,
                    std::unique_ptr<engine::ExecutionContext> context, engine::Bindings bindings,
                    Letterbox letterbox, Postprocessor postprocessor);
  Answer answer() const;

  std::shared_ptr<const engine::Engine> engine_;
  std::unique_ptr<engine::ExecutionContext> context_;
  engine::Bindings bindings_;
  Letterbox letterbox_;
  Postprocessor postprocessor_;
  std::unique_ptr<msgs::Detection2DArray> found_;
  std::unique_ptr<msgs::KeypointDetection2DArray> keypoints_;     // kPose
  std::unique_ptr<msgs::OrientedDetection2DArray> turned_boxes_;  // kObb
  double inference_seconds_ = 0;
};

}  // namespace fovea
