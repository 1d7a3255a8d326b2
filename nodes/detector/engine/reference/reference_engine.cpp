// A context holds one tensor per value of one image and the kernels bound
// to them.
#include "nodes/detector/engine/reference/reference_engine.hpp"

#include <cstring>

#include <fmt/core.h>

#include "nodes/detector/engine/reference/operators.hpp"
#include "nodes/detector/engine/reference/rounding.hpp"

namespace fovea::engine {

namespace {

using reference::Kernel;
using reference::Operands;
using reference::Tensor;

class ReferenceContext : public ExecutionContext {
 public:
  ReferenceContext(const NetworkDefinition& network, const EngineInfo& info)
      : network_(network), info_(info) {}

  Result<> prepare(const KnownValues& known) {
    tensors_.resize(network_.values.size());
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const Value& value = network_.values[i];
      if (known[i] == nullptr) {
        auto tensor = std::make_shared<Tensor>(Tensor::make(value.dtype, value.dims));
        tensors_[i] = {tensor, tensor};
      } else {
        tensors_[i].read = known[i];
      }
    }
    plain_layers_.reserve(network_.layers.size());
    for (std::size_t i = 0; i < network_.layers.size(); ++i) {
      const Layer& layer = network_.layers[i];
      if (at(layer.outputs[0]).write == nullptr) continue;  // known without running
      const auto read = [&](ValueId id) { return id == kNoValue ? nullptr : at(id).read.get(); };
      Operands operands{&layer, {}, {}, read(layer.residual)};
      for (const ValueId id : layer.inputs) operands.inputs.push_back(read(id));
      for (const ValueId id : layer.outputs) operands.outputs.push_back(at(id).write.get());
      const reference::Rounding rounding(network_, i);
      if (rounding.splits_layer()) {
        plain_layers_.push_back(rounding.plain_layer());
        operands.layer = &plain_layers_.back();
        operands.residual = nullptr;
      }
      auto kernel = reference::prepare(operands);
      if (!kernel) {
        return fail(kernel.error().with_context(
            fmt::format("layer '{}' ({})", layer.name, to_string(layer.op))));
      }
      if (rounding.any()) {
        *kernel = [inner = std::move(*kernel), rounding, outputs = operands.outputs,
                   residual = read(layer.residual)]() -> Result<> {
          FOVEA_TRY(inner());
          rounding.apply(outputs, residual);
          return {};
        };
      }
      kernels_.push_back({&layer, std::move(*kernel)});
    }
    return {};
  }

  const EngineInfo& info() const override { return info_; }

  Result<Fence> enqueue(std::span<const BatchItem> batch) override {
    FOVEA_TRY(check_batch(batch, info_));
    for (const BatchItem& item : batch) {
      std::memcpy(at(network_.inputs[0]).write->bytes.data(), item.input.data, info_.input.bytes);
      for (const auto& [layer, kernel] : kernels_) {
        auto ran = kernel();
        if (!ran) return fail(ran.error().with_context("layer '" + layer->name + "'"));
      }
      for (std::size_t i = 0; i < network_.outputs.size(); ++i) {
        write_output(*at(network_.outputs[i]).read, info_.outputs[i], item.outputs[i].data);
      }
    }
    return Fence();
  }

 private:
  struct Slot {
    std::shared_ptr<Tensor> write;  // null if known
    std::shared_ptr<const Tensor> read;
  };
  struct Step {
    const Layer* layer;
    Kernel kernel;
  };

  Slot& at(ValueId id) { return tensors_[static_cast<std::size_t>(id)]; }

  void write_output(const Tensor& tensor, const TensorSpec& spec, void* out) const {
    if (!info_.head.spec.channels_last(spec.name) || spec.dims.size() != 3) {
      std::memcpy(out, tensor.bytes.data(), spec.bytes);
      return;
    }
    const std::int64_t channels = spec.dims[2];
    const std::int64_t pixels = spec.dims[0] * spec.dims[1];
    auto* target = static_cast<float*>(out);
    for (std::int64_t p = 0; p < pixels; ++p) {
      for (std::int64_t c = 0; c < channels; ++c) *target++ = tensor.data<float>()[c * pixels + p];
    }
  }

  const NetworkDefinition& network_;  // the engine's, which outlives its contexts
  const EngineInfo& info_;
  std::vector<Slot> tensors_;
  std::vector<Layer> plain_layers_;  // kernels_ point to them
  std::vector<Step> kernels_;
};

class ReferenceEngine : public Engine {
 public:
  ReferenceEngine(NetworkDefinition network, KnownValues known, EngineInfo info)
      : network_(std::move(network)), known_(std::move(known)), info_(std::move(info)) {}

  const EngineInfo& info() const override { return info_; }

  EngineInspection inspect() const override {
    EngineInspection found;
    for (const Layer& layer : network_.layers) found.layers.push_back({layer.name, "reference"});
    return found;
  }

  Result<std::unique_ptr<ExecutionContext>> create_execution_context() const override {
    auto context = std::make_unique<ReferenceContext>(network_, info_);
    FOVEA_TRY(context->prepare(known_));
    return std::unique_ptr<ExecutionContext>(std::move(context));
  }

 private:
  NetworkDefinition network_;
  KnownValues known_;
  EngineInfo info_;
};

}  // namespace

std::string reference_identity() { return "fovea"; }

Result<std::shared_ptr<const Engine>> load_reference_engine(NetworkDefinition lowered,
                                                            EngineInfo info,
                                                            const LayerTactics& /*tactics*/,
                                                            const SharedBytes& /*artifact*/) {
  FOVEA_TRY(lowered.validate());
  reference::round_weights(lowered);
  FOVEA_ASSIGN(KnownValues known, infer_known_values(lowered, 1));
  info.threads = 1;
  auto engine =
      std::make_shared<ReferenceEngine>(std::move(lowered), std::move(known), std::move(info));
  // Refuse here what a context would refuse.
  FOVEA_TRY(engine->create_execution_context());
  return std::shared_ptr<const Engine>(std::move(engine));
}

}  // namespace fovea::engine
