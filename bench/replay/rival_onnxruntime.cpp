// ONNX Runtime as a rival: the session of the provider "onnxruntime" with the rivals' model as it
// is, not lowered by us.
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "bench/replay/rival_loop.hpp"
#include "nodes/detector/engine/onnxruntime/onnxruntime_engine.hpp"
#include "nodes/detector/engine/onnxruntime/session.hpp"

namespace fovea::bench {
namespace {

namespace onnxruntime = engine::onnxruntime;

class OnnxRuntimeNetwork final : public RivalNetwork {
 public:
  OnnxRuntimeNetwork(std::unique_ptr<const onnxruntime::OrtSession> session, std::size_t height,
                     std::size_t width)
      : session_(std::move(session)),
        input_{"planes",
               engine::DataType::kFloat32,
               {3, static_cast<std::int64_t>(height), static_cast<std::int64_t>(width)},
               3 * height * width * sizeof(float)} {}

  Result<std::vector<RawMap>> run(const std::vector<float>& planes) override {
    outputs_.reset();  // before, so that their memory can be taken again
    FOVEA_ASSIGN(outputs_, session_->run({planes.data(), planes.size() * sizeof(float)}, input_));
    std::vector<RawMap> maps;
    for (const onnxruntime::OrtOutput& output : outputs_->tensors()) {
      const engine::Dims& dims = output.spec.dims;
      if (dims.size() != 4) {
        return fail(ErrorCode::kUnsupported,
                    fmt::format("ONNX Runtime: an output is {}; a raw map has 4 extents",
                                engine::to_string(dims)));
      }
      const auto extent = [&](std::size_t axis) { return static_cast<std::size_t>(dims[axis]); };
      maps.push_back({extent(1), extent(2), extent(3), static_cast<const float*>(output.data)});
    }
    return maps;
  }

 private:
  std::unique_ptr<const onnxruntime::OrtSession> session_;
  engine::TensorSpec input_;
  std::optional<onnxruntime::OrtOutputs> outputs_;
};

}  // namespace

Result<std::unique_ptr<RivalNetwork>> make_onnxruntime_network(const std::string& file, int threads,
                                                               std::size_t height,
                                                               std::size_t width) {
  FOVEA_ASSIGN(const onnxruntime::Library* library, onnxruntime::find_library());
  FOVEA_ASSIGN(auto session,
               onnxruntime::OrtSession::open(*library, onnxruntime::BackEnd::kCpu, file, threads));
  return std::make_unique<OnnxRuntimeNetwork>(std::move(session), height, width);
}

}  // namespace fovea::bench
