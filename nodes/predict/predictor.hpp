// The live pipeline for one picture after the other, in one process: preprocess's stage, the
// detector's engine and postprocess's stage, without topics between them.
//
// Thread safety: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "msgs/detection.hpp"
#include "nodes/detector/cache/engine_build.hpp"
#include "nodes/detector/model_description.hpp"
#include "nodes/postprocess/decode_stage.hpp"
#include "nodes/predict/prediction.hpp"
#include "nodes/preprocess/letterbox_stage.hpp"

namespace fovea::predict {

struct PredictorOptions {
  EngineRequest engine;
  PostprocessOptions postprocess;
};

class Predictor {
 public:
  // Takes the engine from the plan cache or builds it, as the detector does: `events` hears of a
  // build, `building` is called once before one begins. A model that nobody could decode is refused
  // before anything is built. Errors: build_or_load()'s, load_engine()'s; kUnsupported for a model
  // whose outputs no decoder of postprocess reads.
  static Result<std::unique_ptr<Predictor>> create(const PredictorOptions& options,
                                                   const PictureReader& reader,
                                                   const EngineBuildEvents& events,
                                                   const std::function<void()>& building);
  ~Predictor();

  // Everything but `file`, `frame`, `seconds` and `saved`. Errors: the stages' and the engine's.
  Result<Prediction> run(const Picture& picture);

  const engine::EngineInfo& info() const { return engine_->info(); }
  Task task() const { return task_; }
  const std::vector<std::string>& class_names() const { return class_names_; }
  // The highest instruction set among the kernels that run; empty where a provider does not say.
  const std::string& instruction_set() const { return instruction_set_; }
  // What its user should know: of the head, the cache, a precision that this CPU lacks.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  struct MoreThanBoxes;

  Predictor();
  Result<> prepare(const PredictorOptions& options, const engine::Plan& plan);
  // What postprocess found in the last run.
  void add_found(Prediction& prediction);

  std::shared_ptr<const engine::Engine> engine_;
  std::unique_ptr<engine::ExecutionContext> context_;  // destroyed before its engine
  Task task_ = Task::kDetect;
  std::vector<std::string> class_names_;
  std::string instruction_set_;
  std::vector<std::string> warnings_;

  // The stages refer to what stands above them.
  std::optional<Letterbox> letterbox_;
  std::optional<Postprocessor> postprocessor_;
  std::optional<LetterboxStage> preprocess_;
  std::optional<DecodeStage> decode_;

  HostMemory input_;
  HostMemory outputs_;
  HeadsDescription heads_;
  std::vector<MemoryView> output_views_;
  msgs::Tensor tensor_;
  std::unique_ptr<msgs::Detection2DArray> found_;
  std::unique_ptr<MoreThanBoxes> more_;
};

}  // namespace fovea::predict
