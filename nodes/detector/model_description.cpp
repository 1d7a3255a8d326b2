// One place, so that the live node and the verification tell a decoder the same.
#include "nodes/detector/model_description.hpp"

#include <fmt/core.h>

namespace fovea {

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
                  "the model's outputs are no YOLO detect head that Fovea knows");
  }
  const auto classes = static_cast<std::size_t>(info.head.classes);
  if (info.head.strides.size() > model.strides.size() || classes > msgs::ModelInfo::kMaxClasses) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("the model has {} levels and {} classes; at most {} and {}",
                            info.head.strides.size(), classes, model.strides.size(),
                            msgs::ModelInfo::kMaxClasses));
  }
  model.reg_max = static_cast<std::uint32_t>(info.head.reg_max);
  model.network_height = static_cast<std::uint32_t>(info.input.dims[0]);
  model.network_width = static_cast<std::uint32_t>(info.input.dims[1]);
  model.level_count = static_cast<std::uint32_t>(info.head.strides.size());
  for (std::size_t i = 0; i < info.head.strides.size(); ++i) {
    model.strides[i] = static_cast<std::uint32_t>(info.head.strides[i]);
  }
  for (std::size_t i = 0; i < classes; ++i) {
    const std::string name =
        i < info.class_names.size() ? info.class_names[i] : fmt::format("class_{}", i);
    model.class_names.push_back(std::string_view(name));
  }
  return model;
}

}  // namespace fovea
