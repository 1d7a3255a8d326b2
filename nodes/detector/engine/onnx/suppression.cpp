#include "nodes/detector/engine/onnx/suppression.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_set>
#include <utility>

#include <onnx/onnx_pb.h>

namespace fovea::engine {

namespace {

constexpr std::size_t kMaxOutputs = 8;  // of which one is to be a head
// What may stand between a head and its suppression, and be left out: it changes no number.
constexpr std::array<std::string_view, 6> kMovements = {"Cast",    "Identity",  "Reshape",
                                                        "Squeeze", "Transpose", "Unsqueeze"};

using Names = std::unordered_set<std::string>;

// Initialisers, extents, and what nodes make of nothing else: what no picture has to do with.
Names constants_of(const onnx::GraphProto& graph) {
  Names constants;
  for (const auto& tensor : graph.initializer()) constants.insert(tensor.name());
  for (const auto& node : graph.node()) {
    const bool constant =
        node.op_type() == "Shape" ||
        std::all_of(node.input().begin(), node.input().end(), [&](const std::string& input) {
          return input.empty() || constants.contains(input);
        });
    if (constant) constants.insert(node.output().begin(), node.output().end());
  }
  return constants;
}

bool reads_any(const onnx::NodeProto& node, const Names& names) {
  return std::any_of(node.input().begin(), node.input().end(),
                     [&](const std::string& input) { return names.contains(input); });
}

// Per node, whether it chooses the boxes that are kept: NonMaxSuppression, which knows no turned boxes.
// For those exporters compare every box with those before it, a triangle of a matrix, and number the
// boxes that remain.
std::vector<bool> choices(const onnx::GraphProto& graph, const Names& constants) {
  std::vector<bool> chooses(static_cast<std::size_t>(graph.node_size()));
  bool any = false;
  for (int i = 0; i < graph.node_size(); ++i) {
    const bool chosen = graph.node(i).op_type() == "NonMaxSuppression";
    chooses[static_cast<std::size_t>(i)] = chosen;
    any = any || chosen;
  }
  if (any) return chooses;
  Names triangle;
  for (int i = 0; i < graph.node_size(); ++i) {
    const onnx::NodeProto& node = graph.node(i);
    const bool of_triangle = reads_any(node, triangle);
    chooses[static_cast<std::size_t>(i)] = of_triangle && node.op_type() == "NonZero";
    const bool starts =
        node.op_type() == "Trilu" && node.input_size() > 0 && !constants.contains(node.input(0));
    if (of_triangle || starts) triangle.insert(node.output().begin(), node.output().end());
  }
  return chooses;
}

// The nodes that `outputs` depend on.
std::vector<bool> needed_nodes(const onnx::GraphProto& graph, Names needed) {
  std::vector<bool> kept(static_cast<std::size_t>(graph.node_size()));
  for (int i = graph.node_size() - 1; i >= 0; --i) {
    const onnx::NodeProto& node = graph.node(i);
    const bool keep =
        std::any_of(node.output().begin(), node.output().end(),
                    [&](const std::string& output) { return needed.contains(output); });
    kept[static_cast<std::size_t>(i)] = keep;
    if (keep) needed.insert(node.input().begin(), node.input().end());
    needed.erase("");  // an input that is left out
  }
  return kept;
}

}  // namespace

std::optional<SuppressionCut> find_suppression(const onnx::GraphProto& graph) {
  const Names constants = constants_of(graph);
  const std::vector<bool> chooses = choices(graph, constants);
  auto left = std::count(chooses.begin(), chooses.end(), true);
  if (left == 0) return std::nullopt;

  Names chosen;
  for (int i = 0; i < graph.node_size(); ++i) {
    const onnx::NodeProto& node = graph.node(i);
    if (chooses[static_cast<std::size_t>(i)] || reads_any(node, chosen)) {
      chosen.insert(node.output().begin(), node.output().end());
    }
  }
  // Backwards through the file, which has the nodes in order: what is read so far and not yet
  // written. Where that is one value, everything behind came through it.
  Names open;
  SuppressionCut cut;
  for (const auto& output : graph.output()) {
    if (chosen.contains(output.name())) {
      open.insert(output.name());
    } else {
      cut.beside.push_back(output.name());
    }
  }
  int first_node = 0;
  for (int i = graph.node_size() - 1; i >= 0 && cut.outputs.size() < kMaxOutputs; --i) {
    const onnx::NodeProto& node = graph.node(i);
    bool read = false;
    for (const std::string& output : node.output()) read = open.erase(output) > 0 || read;
    if (!read) continue;
    if (chooses[static_cast<std::size_t>(i)]) --left;
    const bool moves =
        std::find(kMovements.begin(), kMovements.end(), node.op_type()) != kMovements.end();
    if (node.op_type() == "Conv" || (!cut.outputs.empty() && !moves)) break;
    for (const std::string& input : node.input()) {
      if (!input.empty() && !constants.contains(input)) open.insert(input);
    }
    if (left > 0 || open.size() != 1) continue;
    if (cut.outputs.empty()) first_node = i;
    cut.outputs.push_back(*open.begin());
  }
  // Neither inputs, nor values of a file whose nodes are in no order.
  Names written;
  for (int i = 0; i < first_node; ++i) {
    written.insert(graph.node(i).output().begin(), graph.node(i).output().end());
  }
  std::erase_if(cut.outputs, [&](const std::string& name) { return !written.contains(name); });
  if (cut.outputs.empty()) return std::nullopt;
  Names needed(cut.outputs.begin(), cut.outputs.end());
  needed.insert(cut.beside.begin(), cut.beside.end());
  cut.kept = needed_nodes(graph, std::move(needed));
  return cut;
}

void cut_suppression(const SuppressionCut& cut, onnx::GraphProto& graph) {
  graph.clear_output();
  for (const std::string& output : cut.outputs) graph.add_output()->set_name(output);
  for (const std::string& output : cut.beside) graph.add_output()->set_name(output);
  int next = 0;
  for (int i = 0; i < graph.node_size(); ++i) {
    if (cut.kept[static_cast<std::size_t>(i)]) graph.mutable_node()->SwapElements(next++, i);
  }
  graph.mutable_node()->DeleteSubrange(next, graph.node_size() - next);
}

}  // namespace fovea::engine
