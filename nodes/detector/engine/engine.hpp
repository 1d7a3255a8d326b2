// Running a built network. An Engine is immutable and shared by all threads; each thread makes its
// own ExecutionContext. TensorRT's vocabulary.
//
//   FOVEA_ASSIGN(auto plan, build_plan("yolov8n.onnx", BuilderConfig{}));
//   FOVEA_ASSIGN(std::shared_ptr<const Engine> engine, load_engine(plan));
//   FOVEA_ASSIGN(auto context, engine->create_execution_context());
//   context->execute(items);
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nodes/detector/engine/bindings.hpp"
#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

// Shape of one binding for ONE item of a batch (no batch extent), dense, innermost last.
struct TensorSpec {
  std::string name;
  DataType dtype = DataType::kFloat32;
  Dims dims;
  std::size_t bytes = 0;
};

struct EngineInfo {
  std::string provider;   // "reference", "cpu"
  Precision precision = Precision::kFp32;
  TensorSpec input;       // "images" u8 [height, width, 3], RGB, 0..255
  std::vector<TensorSpec> outputs;
  InputSpec picture;  // how a camera's picture becomes that
  HeadInfo head;
  std::vector<std::string> class_names;
  std::int32_t max_batch = 1;
  std::int32_t threads = 1;
  std::string model_hash;  // SHA-256 of the ONNX bytes, hex
  // All sizes that its plan runs; input and outputs above are of one.
  OptimizationProfile profile;
};

// Thread safety: one thread at a time. Allocates only when created and in set_input_shape().
class ExecutionContext {
 public:
  virtual ~ExecutionContext() = default;

  // The engine's, with the bindings of this context's input shape.
  virtual const EngineInfo& info() const = 0;

  // From now on inputs are [height, width, 3] of `size`, and outputs as info() then says; steps of
  // record_layer_times() end. Plans memory anew, in milliseconds; weights are shared. On an error
  // the old shape stays. Errors: kInvalidArgument for a size that the engine does not run, naming
  // the profile, the extent and its range, or the layer that it does not fit.
  virtual Result<> set_input_shape(const Dims& size);

  // Starts the network over `batch` (1..max_batch items). When the fence is done without an error
  // every byte of every output is written; providers on the CPU do all the work here and hand out a
  // fence that is done. The context outlives the fence. Errors: kInvalidArgument for a wrong batch
  // size, a null or misaligned pointer, too few bytes or memory that the provider does not take.
  virtual Result<Fence> enqueue(std::span<const BatchItem> batch) = 0;

  // enqueue(), and waits.
  Result<> execute(std::span<const BatchItem> batch);

  // For profiles: from now on execute() adds each step's time to `times`, one entry per step of the
  // engine's inspection (EngineInspection::layers), borrowed until the next call; an empty span ends it
  // and costs nothing. False if the provider cannot, or for a wrong number of entries.
  virtual bool record_layer_times(std::span<std::chrono::nanoseconds> times) {
    return times.empty();
  }
};

// One step of execution: what runs a layer.
struct LayerReport {
  std::string layer;
  std::string implementation;  // "avx512/4x5/weights", "onednn jit:avx512_core", "reference"
  std::vector<std::string> fused = {};  // names of other layers that it does the work of, too
};

struct EngineInspection {
  // In order of execution; layers that became addresses (concats, splits) are absent.
  std::vector<LayerReport> layers;
  // "LAYER: reason" for each layer that runs on a slower path than it might.
  std::vector<std::string> declined;
  std::size_t context_bytes = 0;  // memory of one context
};

// Thread safety: const methods from any thread. Must outlive its contexts.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual const EngineInfo& info() const = 0;
  virtual EngineInspection inspect() const = 0;
  virtual Result<std::unique_ptr<ExecutionContext>> create_execution_context() const = 0;
  // Memory for `items` items of info()'s shapes, not initialised, where the provider likes it best:
  // host memory unless it says otherwise. Errors: kExhausted.
  virtual Result<Bindings> make_bindings(std::size_t items = 1) const;
};

}  // namespace fovea::engine
