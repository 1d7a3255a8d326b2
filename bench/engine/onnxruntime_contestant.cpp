// ONNX Runtime in f32 on the CPU, everything that it optimises switched on: the session of the
// provider "onnxruntime" with the user's model as it is, not lowered by us.
#include <optional>
#include <utility>

#include "bench/engine/contestant.hpp"
#include "nodes/detector/engine/onnxruntime/onnxruntime_engine.hpp"
#include "nodes/detector/engine/onnxruntime/session.hpp"

namespace fovea::bench {
namespace {

namespace onnxruntime = engine::onnxruntime;

class OnnxRuntimeContestant final : public Contestant {
 public:
  static Result<std::unique_ptr<Contestant>> make(const Task& task) {
    auto contestant = std::make_unique<OnnxRuntimeContestant>();
    FOVEA_TRY(contestant->load(task));
    return contestant;
  }

  Result<> run() override {
    outputs_.reset();  // before, so that their memory can be taken again
    FOVEA_ASSIGN(outputs_, session_->run({planes_.data(), input_.bytes}, input_));
    return {};
  }

  double magnitude() const override {
    double sum = 0;
    std::size_t count = 0;
    for (const onnxruntime::OrtOutput& output : outputs_->tensors()) {
      if (output.spec.dtype != engine::DataType::kFloat32) continue;
      const std::size_t size = output.spec.bytes / sizeof(float);
      sum += magnitude_of({static_cast<const float*>(output.data), size});
      count += size;
    }
    return sum / static_cast<double>(count);
  }

 private:
  Result<> load(const Task& task) {
    FOVEA_ASSIGN(const onnxruntime::Library* library, onnxruntime::find_library());
    FOVEA_ASSIGN(session_, onnxruntime::OrtSession::open(*library, onnxruntime::BackEnd::kCpu,
                                                         task.model, task.threads));
    planes_ = planes(task.height, task.width);
    input_.dims = {3, static_cast<std::int64_t>(task.height),
                   static_cast<std::int64_t>(task.width)};
    input_.bytes = planes_.size() * sizeof(float);
    return {};
  }

  std::unique_ptr<const onnxruntime::OrtSession> session_;
  std::vector<float> planes_;
  engine::TensorSpec input_{"planes", engine::DataType::kFloat32, {}, 0};
  std::optional<onnxruntime::OrtOutputs> outputs_;
};

}  // namespace
}  // namespace fovea::bench

int main(int argc, char** argv) {
  // The others' libraries are loaded before their time runs, too. What is wrong is said by make().
  (void)fovea::engine::onnxruntime::find_library();
  return fovea::bench::serve(argc, argv, fovea::bench::OnnxRuntimeContestant::make);
}
