// Provider "onnxruntime": ONNX Runtime, where the user has it. It runs every network in f32, also
// models whose operators neither the parser nor another provider knows, and is the oracle for
// `verify --against onnxruntime`. Its own back ends are rows of their own: "onnxruntime" is its CPU,
// "onnxruntime:cuda", "onnxruntime:tensorrt" and "onnxruntime:openvino" are where that library has
// them.
//
// A network reaches it as ONNX (onnx/writer.hpp), with the bindings of every other provider, so that
// outputs can be compared one by one. One item of a batch runs after the other.
#pragma once

#include <array>
#include <filesystem>
#include <string>

#include "nodes/detector/engine/provider.hpp"

namespace fovea::engine {

namespace onnxruntime {

enum class BackEnd { kCpu, kCuda, kTensorRt, kOpenVino };

// Provider::available, ::identity, ::load and ::take_over of each.
Result<> check_available(BackEnd back_end);
std::string identity(BackEnd back_end);
Result<std::shared_ptr<const Engine>> load(BackEnd back_end, NetworkDefinition lowered,
                                           EngineInfo info, const SharedBytes& artifact);
Result<ForeignModel> take_over(BackEnd back_end, const std::filesystem::path& model,
                               const ForeignOptions& options);

template <BackEnd kBackEnd>
constexpr Provider make_provider(std::string_view name) {
  return {.name = name,
          .available = [] { return check_available(kBackEnd); },
          .identity = [] { return identity(kBackEnd); },
          .load =
              [](NetworkDefinition lowered, EngineInfo info, const LayerTactics& /*tactics*/,
                 const SharedBytes& artifact) {
                return load(kBackEnd, std::move(lowered), std::move(info), artifact);
              },
          .take_over =
              [](const std::filesystem::path& model, const ForeignOptions& options) {
                return take_over(kBackEnd, model, options);
              }};
}

}  // namespace onnxruntime

inline constexpr std::array kOnnxRuntimeProviders = {
    onnxruntime::make_provider<onnxruntime::BackEnd::kCpu>("onnxruntime"),
    onnxruntime::make_provider<onnxruntime::BackEnd::kCuda>("onnxruntime:cuda"),
    onnxruntime::make_provider<onnxruntime::BackEnd::kTensorRt>("onnxruntime:tensorrt"),
    onnxruntime::make_provider<onnxruntime::BackEnd::kOpenVino>("onnxruntime:openvino")};

}  // namespace fovea::engine
