#include "bench/engine/rival_model.hpp"

#include <algorithm>
#include <fstream>
#include <set>

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

namespace fovea::bench {
namespace {

Result<> end_at(onnx::GraphProto& graph, const std::vector<std::string>& ends) {
  graph.clear_output();
  std::set<std::string> needed;
  for (const std::string& end : ends) {
    const auto node = std::find_if(graph.node().begin(), graph.node().end(),
                                   [&](const auto& each) { return each.name() == end; });
    if (node == graph.node().end()) {
      return fail(ErrorCode::kNotFound, fmt::format("no node is named {}", end));
    }
    auto* output = graph.add_output();
    output->set_name(node->output(0));
    auto* type = output->mutable_type()->mutable_tensor_type();
    type->set_elem_type(onnx::TensorProto::FLOAT);
    // OpenCV insists on a shape, not on extents.
    for (int axis = 0; axis < 4; ++axis) type->mutable_shape()->add_dim();
    needed.insert(node->output(0));
  }
  // Nodes stand in topological order.
  onnx::GraphProto kept;
  for (int i = graph.node_size() - 1; i >= 0; --i) {
    const onnx::NodeProto& node = graph.node(i);
    if (std::none_of(node.output().begin(), node.output().end(),
                     [&](const std::string& output) { return needed.contains(output); })) {
      continue;
    }
    needed.insert(node.input().begin(), node.input().end());
    *kept.add_node() = node;
  }
  std::reverse(kept.mutable_node()->begin(), kept.mutable_node()->end());
  graph.mutable_node()->Swap(kept.mutable_node());
  for (const onnx::TensorProto& constant : graph.initializer()) {
    if (needed.contains(constant.name())) *kept.add_initializer() = constant;
  }
  graph.mutable_initializer()->Swap(kept.mutable_initializer());
  return {};
}

}  // namespace

Result<> write_rival_model(const std::filesystem::path& model, const RivalModel& wanted) {
  onnx::ModelProto proto;
  std::ifstream in(model, std::ios::binary);
  if (!proto.ParseFromIstream(&in) || proto.graph().input_size() == 0) {
    return fail(ErrorCode::kCorrupt, fmt::format("{}: not an ONNX file", model.string()));
  }
  onnx::GraphProto& graph = *proto.mutable_graph();
  auto* shape = graph.mutable_input(0)->mutable_type()->mutable_tensor_type()->mutable_shape();
  shape->clear_dim();
  for (const std::int64_t extent : wanted.input) shape->add_dim()->set_dim_value(extent);
  graph.clear_value_info();  // of open extents
  if (!wanted.ends.empty()) {
    if (auto ended = end_at(graph, wanted.ends); !ended) {
      return fail(ended.error().with_context(model.string()));
    }
  }
  std::ofstream out(wanted.file, std::ios::binary);
  if (!proto.SerializeToOstream(&out) || !out.flush()) {
    return fail_errno(ErrorCode::kInternal, "write " + wanted.file.string());
  }
  return {};
}

}  // namespace fovea::bench
