// One place, so that the live node and the verification tell a decoder the same.
#include "nodes/detector/model_description.hpp"

#include <algorithm>
#include <string>

#include <fmt/core.h>

#include "msgs/tensor.hpp"
#include "nodes/detector/class_names.hpp"
#include "nodes/detector/engine/plan/sha256.hpp"

namespace fovea {

namespace {

bool same_tensor(const engine::TensorSpec& a, const engine::TensorSpec& b) {
  return a.name == b.name && a.dtype == b.dtype && a.dims == b.dims && a.bytes == b.bytes;
}

}  // namespace

std::uint64_t model_id(const engine::EngineInfo& info) {
  engine::Sha256 hash;
  hash.add(fmt::format("{} head {} input {}\n", info.model_hash, static_cast<int>(info.head.kind),
                       engine::to_string(info.input.dims)));
  return std::stoull(hash.finish().substr(0, 16), nullptr, 16);
}

bool same_bindings(const engine::EngineInfo& a, const engine::EngineInfo& b) {
  return model_id(a) == model_id(b) && same_tensor(a.input, b.input) &&
         std::equal(a.outputs.begin(), a.outputs.end(), b.outputs.begin(), b.outputs.end(),
                    same_tensor) &&
         a.max_batch == b.max_batch;
}

Result<msgs::ModelInfo> describe_model(const engine::EngineInfo& info, std::uint64_t model_id) {
  msgs::ModelInfo model;
  model.model_id = model_id;
  switch (info.head.kind) {
    case engine::HeadKind::kDfl:
      model.head = msgs::HeadKind::kDfl;
      break;
    case engine::HeadKind::kDecoded:
      model.head = msgs::HeadKind::kDecoded;
      break;
    case engine::HeadKind::kDecodedObjectness:
      model.head = msgs::HeadKind::kDecodedObjectness;
      break;
    case engine::HeadKind::kUnknown:
      return fail(ErrorCode::kUnsupported,
                  "the model's outputs are no YOLO detect head that Fovea knows" +
                      (info.head.note.empty() ? "" : ": " + info.head.note));
  }
  const auto classes = static_cast<std::size_t>(info.head.classes);
  if (info.head.strides.size() > model.strides.size() || classes > msgs::ModelInfo::kMaxClasses ||
      info.outputs.size() > msgs::TensorArray::kMaxTensors) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("the model has {} levels, {} classes and {} outputs; at most {}, {} and "
                    "{}",
                    info.head.strides.size(), classes, info.outputs.size(), model.strides.size(),
                    msgs::ModelInfo::kMaxClasses, msgs::TensorArray::kMaxTensors));
  }
  model.reg_max = static_cast<std::uint32_t>(info.head.reg_max);
  model.network_height = static_cast<std::uint32_t>(info.input.dims[0]);
  model.network_width = static_cast<std::uint32_t>(info.input.dims[1]);
  model.level_count = static_cast<std::uint32_t>(info.head.strides.size());
  for (std::size_t i = 0; i < info.head.strides.size(); ++i) {
    model.strides[i] = static_cast<std::uint32_t>(info.head.strides[i]);
  }
  for (const std::string& name : distinct_class_names(info.class_names, classes)) {
    model.class_names.push_back(std::string_view(name));
  }
  return model;
}

}  // namespace fovea
