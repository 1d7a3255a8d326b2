#include "nodes/detector/engine/onnx/summary.hpp"

#include <algorithm>
#include <limits>
#include <unordered_set>

#include <fmt/core.h>
#include <onnx/onnx_pb.h>

#include "nodes/detector/engine/onnx/external.hpp"
#include "nodes/detector/engine/onnx/model_file.hpp"
#include "nodes/detector/engine/onnx/support.hpp"
#include "nodes/detector/engine/onnx/suppression.hpp"
#include "nodes/detector/engine/onnx/tensors.hpp"

namespace fovea::engine {

namespace {

namespace fs = std::filesystem;

// Numpy's names, as exporters and users say them.
std::string type_name(int onnx_type) {
  switch (onnx_type) {
    case onnx::TensorProto::FLOAT:
      return "float32";
    case onnx::TensorProto::DOUBLE:
      return "float64";
    default:
      break;
  }
  if (!onnx::TensorProto::DataType_IsValid(onnx_type)) return fmt::format("type {}", onnx_type);
  std::string name =
      onnx::TensorProto::DataType_Name(static_cast<onnx::TensorProto::DataType>(onnx_type));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

OnnxTensorSummary summary_of(const onnx::ValueInfoProto& value) {
  OnnxTensorSummary summary;
  summary.name = value.name();
  if (!value.type().has_tensor_type()) {
    summary.type = value.type().has_sequence_type() ? "sequence" : "no tensor";
    return summary;
  }
  const auto& tensor = value.type().tensor_type();
  summary.type = type_name(tensor.elem_type());
  summary.has_shape = tensor.has_shape();
  for (const auto& dim : tensor.shape().dim()) {
    switch (dim.value_case()) {
      case onnx::TensorShapeProto::Dimension::kDimValue:
        summary.dims.push_back(std::to_string(dim.dim_value()));
        break;
      case onnx::TensorShapeProto::Dimension::kDimParam:
        summary.dims.push_back(dim.dim_param());
        break;
      default:
        summary.dims.emplace_back("?");
    }
  }
  return summary;
}

// Sums that a file's claims cannot make overflow.
void add(std::uint64_t& sum, std::uint64_t value) {
  sum = value > std::numeric_limits<std::uint64_t>::max() - sum
            ? std::numeric_limits<std::uint64_t>::max()
            : sum + value;
}

class Summariser {
 public:
  Summariser(const onnx::ModelProto& model, const fs::path& base_dir)
      : model_(model), graph_(model.graph()), base_dir_(base_dir) {}

  OnnxSummary run() {
    read_header();
    std::unordered_set<std::string> constants;
    for (const auto& tensor : graph_.initializer()) {
      constants.insert(tensor.name());
      count(tensor);
    }
    for (const auto& input : graph_.input()) {
      if (!constants.contains(input.name())) summary_.inputs.push_back(summary_of(input));
    }
    for (const auto& output : graph_.output()) summary_.outputs.push_back(summary_of(output));
    read_nodes();
    return std::move(summary_);
  }

 private:
  void read_header() {
    summary_.ir_version = model_.ir_version();
    for (const auto& import : model_.opset_import()) {
      summary_.opsets.push_back(
          {import.domain().empty() ? "ai.onnx" : import.domain(), import.version()});
    }
    summary_.producer_name = model_.producer_name();
    summary_.producer_version = model_.producer_version();
    summary_.graph_name = graph_.name();
    for (const auto& property : model_.metadata_props()) {
      summary_.metadata[property.key()] = property.value();
    }
    if (const auto refusal = opset_refusal(model_)) summary_.refusal = *refusal;
  }

  void read_nodes() {
    summary_.nodes = static_cast<std::size_t>(graph_.node_size());
    const std::int64_t opset = opset_of(model_);
    std::map<std::string, std::size_t> counts;
    const auto suppression = find_suppression(graph_);  // is never run
    const auto runs = [&](int i) {
      return !suppression || suppression->kept[static_cast<std::size_t>(i)];
    };
    for (int i = 0; i < graph_.node_size(); ++i) {
      const auto& node = graph_.node(i);
      const bool foreign = !node.domain().empty() && node.domain() != "ai.onnx";
      const std::string op = foreign ? node.domain() + "." + node.op_type() : node.op_type();
      ++counts[op];
      if (auto reason = runs(i) ? node_refusal(node, opset) : std::nullopt) {
        summary_.refused.push_back({node_name(node), op, std::move(*reason)});
      }
      if (node.op_type() != "Constant") continue;
      for (const auto& attribute : node.attribute()) {
        if (attribute.has_t()) count(attribute.t());
      }
    }
    for (const auto& [op, nodes] : counts) summary_.operators.push_back({op, nodes});
    std::stable_sort(summary_.operators.begin(), summary_.operators.end(),
                     [](const auto& a, const auto& b) { return a.nodes > b.nodes; });
  }

  void count(const onnx::TensorProto& tensor) {
    const auto elements = checked_volume(Dims(tensor.dims().begin(), tensor.dims().end()));
    if (!elements) return;
    const auto size = static_cast<std::uint64_t>(*elements);
    add(summary_.parameters, size);
    add(summary_.parameter_bytes, size * stored_size(tensor.data_type()));
    if (tensor.data_location() == onnx::TensorProto::EXTERNAL) count_external(tensor);
  }

  void count_external(const onnx::TensorProto& tensor) {
    std::string location;
    for (const auto& entry : tensor.external_data()) {
      if (entry.key() == "location") location = entry.value();
    }
    auto& files = summary_.external_files;
    auto known = std::find_if(files.begin(), files.end(),
                              [&](const auto& file) { return file.location == location; });
    if (known == files.end()) {
      OnnxExternalFile file{location, 0, std::nullopt};
      if (const auto path = find_external_data(location, base_dir_)) {
        std::error_code error;
        const std::uintmax_t bytes = fs::file_size(*path, error);
        if (!error) file.bytes = bytes;
      }
      known = files.insert(files.end(), std::move(file));
    }
    ++known->tensors;
  }

  const onnx::ModelProto& model_;
  const onnx::GraphProto& graph_;
  const fs::path& base_dir_;
  OnnxSummary summary_;
};

}  // namespace

Result<OnnxSummary> summarize_onnx(std::span<const std::byte> bytes, const fs::path& base_dir) {
  onnx::ModelProto model;
  FOVEA_TRY(decode_model(bytes, model));
  return Summariser(model, base_dir).run();
}

Result<OnnxSummary> summarize_onnx(const fs::path& file) {
  FOVEA_ASSIGN(const std::vector<std::byte> bytes, read_model_file(file));
  auto summary = summarize_onnx(bytes, folder_of_model(file));
  if (!summary) return fail(summary.error().with_context(file.string()));
  return summary;
}

}  // namespace fovea::engine
