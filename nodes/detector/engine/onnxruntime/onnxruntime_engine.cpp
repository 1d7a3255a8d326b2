#include "nodes/detector/engine/onnxruntime/onnxruntime_engine.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine/onnx/adapter.hpp"
#include "nodes/detector/engine/onnx/writer.hpp"
#include "nodes/detector/engine/onnxruntime/session.hpp"
#include "nodes/detector/engine/passes/head_recognisers.hpp"

namespace fovea::engine::onnxruntime {

namespace {

class OrtContext final : public ExecutionContext {
 public:
  OrtContext(const OrtSession& session, const EngineInfo& info) : session_(session), info_(info) {}

  const EngineInfo& info() const override { return info_; }

  Result<Fence> enqueue(std::span<const BatchItem> batch) override {
    FOVEA_TRY(check_batch(batch, info_));
    for (const BatchItem& item : batch) {
      FOVEA_TRY(session_.run(item.input, info_.input, item.outputs, info_.outputs));
    }
    return Fence();
  }

 private:
  const OrtSession& session_;  // the engine's, which outlives its contexts
  const EngineInfo& info_;
};

class OrtEngine final : public Engine {
 public:
  OrtEngine(EngineInfo info, std::unique_ptr<const OrtSession> session, std::string implementation)
      : info_(std::move(info)),
        session_(std::move(session)),
        implementation_(std::move(implementation)) {}

  const EngineInfo& info() const override { return info_; }

  // ONNX Runtime does not say which of its kernels run a model: it is one step.
  EngineInspection inspect() const override { return {{{"model", implementation_}}, {}, 0}; }

  Result<std::unique_ptr<ExecutionContext>> create_execution_context() const override {
    return std::make_unique<OrtContext>(*session_, info_);
  }

 private:
  EngineInfo info_;
  std::unique_ptr<const OrtSession> session_;
  std::string implementation_;
};

// The library, if it has the back end.
Result<const Library*> library_with(BackEnd back_end) {
  FOVEA_ASSIGN(const Library* library, find_library());
  const auto& has = library->execution_providers;
  if (std::find(has.begin(), has.end(), name_of(back_end)) == has.end()) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: this ONNX Runtime {} has no {}; it has {}", shown(library->path),
                            library->version, name_of(back_end), fmt::join(has, ", ")));
  }
  return library;
}

// A network of one layer, which only this provider runs.
NetworkDefinition foreign_network(const AdaptedModel& model, std::vector<TensorSpec> outputs) {
  NetworkDefinition network;
  network.producer = model.producer;
  network.opset = model.opset;
  network.metadata = model.metadata;
  network.class_names = model.class_names;
  network.picture = model.picture;
  Layer layer;
  layer.name = "model";
  layer.op = OpType::kForeign;
  layer.inputs = {network.add_value(
      {model.input, DataType::kUint8, {1, model.height, model.width, 3}, nullptr})};
  network.inputs = layer.inputs;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    layer.attributes[foreign_dims(i)] = outputs[i].dims;
    layer.attributes[foreign_type(i)] = static_cast<std::int64_t>(outputs[i].dtype);
    layer.outputs.push_back(network.add_value(
        {model.outputs[i], outputs[i].dtype, std::move(outputs[i].dims), nullptr}));
  }
  network.outputs = layer.outputs;
  network.layers.push_back(std::move(layer));
  return network;
}

// What its outputs mean is asked as of any other model; decoders look at the input as planes.
Result<> recognise(NetworkDefinition& network, const InputChoice& said, std::string_view stated) {
  if (stated == "none") {
    network.head.note = "as stated";
    return {};
  }
  NetworkDefinition planes = network;
  Dims& input = planes.value(planes.inputs[0]).dims;
  input = {input[0], 3, input[1], input[2]};
  FOVEA_ASSIGN(HeadAnswer answer, find_head({network, planes, stated}));
  network.head = std::move(answer.head);
  if (!said.resize && network.picture.resize == InputSpec().resize) {
    network.picture.resize = answer.picture.resize;
  }
  if (!network.head.known()) return {};
  if (network.head.spec.find(OutputRole::kPrototype) != nullptr) {  // channels first here
    network.head = {};
    network.head.note = "prototypes of a model that is taken over are not decoded";
    return {};
  }
  for (std::size_t i = 0; i < answer.outputs.size(); ++i) {
    network.value(answer.outputs[i]).name = answer.names[i];
  }
  network.class_names.resize(network.head.classes());
  for (std::size_t i = 0; i < network.class_names.size(); ++i) {
    if (network.class_names[i].empty()) network.class_names[i] = fmt::format("class_{}", i);
  }
  return {};
}

}  // namespace

Result<> check_available(BackEnd back_end) {
  FOVEA_TRY(library_with(back_end));
  return {};
}

std::string identity(BackEnd back_end) {
  const auto library = library_with(back_end);
  if (!library) return fmt::format("no {}", name_of(back_end));
  return fmt::format("ONNX Runtime {} {}", (*library)->version, name_of(back_end));
}

Result<std::shared_ptr<const Engine>> load(BackEnd back_end, NetworkDefinition lowered,
                                           EngineInfo info, const SharedBytes& artifact) {
  FOVEA_ASSIGN(const Library* library, library_with(back_end));
  std::vector<std::byte> written;
  std::span<const std::byte> model(artifact.data(), artifact.size());
  if (model.empty()) {
    FOVEA_ASSIGN(written, write_onnx(lowered));
    model = written;
  }
  FOVEA_ASSIGN(auto session, OrtSession::create(*library, back_end, model, info.threads));
  if (session->outputs() != info.outputs.size()) {
    return fail(ErrorCode::kCorrupt, fmt::format("its model has {} outputs; the plan says {}",
                                                 session->outputs(), info.outputs.size()));
  }
  std::string implementation =
      fmt::format("onnxruntime {} {}", library->version, name_of(back_end));
  return std::make_shared<const OrtEngine>(std::move(info), std::move(session),
                                           std::move(implementation));
}

Result<ForeignModel> take_over(BackEnd back_end, const std::filesystem::path& model,
                               const ForeignOptions& options) {
  FOVEA_ASSIGN(const Library* library, library_with(back_end));
  FOVEA_ASSIGN(AdaptedModel adapted, adapt_onnx(model, {options.input_height, options.input_width,
                                                        options.picture, options.metadata}));
  FOVEA_ASSIGN(const auto session,
               OrtSession::create(*library, back_end, adapted.bytes, options.threads));
  TensorSpec input{adapted.input, DataType::kUint8, {adapted.height, adapted.width, 3}, 0};
  input.bytes = static_cast<std::size_t>(volume(input.dims));
  FOVEA_ASSIGN(std::vector<TensorSpec> outputs, session->shapes(input));
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (!checked_volume(outputs[i].dims) || outputs[i].dims.empty() || outputs[i].dims[0] != 1) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("output '{}' is {} for one picture; its first extent must be the "
                              "batch, 1",
                              shown(adapted.outputs[i], 60), to_string(outputs[i].dims)));
    }
  }
  ForeignModel taken{foreign_network(adapted, std::move(outputs)), {}};
  FOVEA_TRY(recognise(taken.network, options.picture, options.head));
  auto& warnings = taken.network.head.warnings;
  warnings.insert(warnings.end(), adapted.warnings.begin(), adapted.warnings.end());
  auto bytes = std::make_shared<const std::vector<std::byte>>(std::move(adapted.bytes));
  taken.artifact = SharedBytes(*bytes, bytes);
  return taken;
}

}  // namespace fovea::engine::onnxruntime
