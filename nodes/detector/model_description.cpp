// One place, so that the live node and the verification tell a decoder the same.
#include "nodes/detector/model_description.hpp"

#include <algorithm>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "nodes/detector/class_names.hpp"
#include "nodes/detector/engine/plan/sha256.hpp"

namespace fovea {

namespace {

bool same_tensor(const engine::TensorSpec& a, const engine::TensorSpec& b) {
  return a.name == b.name && a.dtype == b.dtype && a.dims == b.dims && a.bytes == b.bytes;
}

std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

std::uint64_t model_id(const engine::EngineInfo& info) {
  engine::Sha256 hash;
  hash.add(fmt::format("{} head {} input {} of {}\n", info.model_hash, to_string(info.head.spec),
                       engine::to_string(info.input.dims), to_string(info.picture)));
  return std::stoull(hash.finish().substr(0, 16), nullptr, 16);
}

bool same_bindings(const engine::EngineInfo& a, const engine::EngineInfo& b) {
  return model_id(a) == model_id(b) && same_tensor(a.input, b.input) &&
         std::equal(a.outputs.begin(), a.outputs.end(), b.outputs.begin(), b.outputs.end(),
                    same_tensor) &&
         a.max_batch == b.max_batch;
}

Result<msgs::ModelInfo> describe_model(const engine::EngineInfo& info, std::uint64_t model_id) {
  if (!info.head.known()) {
    return fail(ErrorCode::kUnsupported, "the model's outputs are no head that Fovea decodes" +
                                             (info.head.note.empty() ? "" : ": " + info.head.note));
  }
  const std::size_t classes = info.head.classes();
  if (classes > msgs::ModelInfo::kMaxClasses) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("the model has {} classes; at most {} are served", classes,
                            msgs::ModelInfo::kMaxClasses));
  }
  if (info.outputs.size() > msgs::TensorArray::kMaxTensors) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("the model has {} outputs; at most {} are served", info.outputs.size(),
                            msgs::TensorArray::kMaxTensors));
  }
  msgs::ModelInfo model;
  model.model_id = model_id;
  model.head = info.head.spec;
  model.input = info.picture;
  model.network_height = static_cast<std::uint32_t>(info.input.dims[0]);
  model.network_width = static_cast<std::uint32_t>(info.input.dims[1]);
  for (const std::string& name : distinct_class_names(info.class_names, classes)) {
    model.class_names.push_back(std::string_view(name));
  }
  return model;
}

HeadsDescription describe_heads(const engine::EngineInfo& info, std::uint64_t model_id) {
  HeadsDescription heads;
  heads.message.model_id = model_id;
  for (const engine::TensorSpec& output : info.outputs) {
    msgs::TensorView view;
    view.name = std::string_view(output.name);
    view.dtype = msgs::DataType::kFloat32;
    view.rank = static_cast<std::uint32_t>(output.dims.size());
    std::copy(output.dims.begin(), output.dims.end(), view.dims.begin());
    view.offset = heads.bytes;
    view.bytes = output.bytes;
    heads.bytes += aligned(output.bytes);
    heads.message.tensors.push_back(view);
  }
  return heads;
}

}  // namespace fovea
