#include "nodes/detector/engine/onnx/suppression.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_set>

#include <onnx/onnx_pb.h>

namespace fovea::engine {

namespace {

constexpr std::size_t kMaxOutputs = 8;  // of which one is to be a head
// What may stand between a head and its suppression, and be left out: it changes no number.
constexpr std::array<std::string_view, 6> kMovements = {"Cast",    "Identity",  "Reshape",
                                                        "Squeeze", "Transpose", "Unsqueeze"};

// Initialisers, and what nodes make of nothing else.
std::unordered_set<std::string> constants_of(const onnx::GraphProto& graph) {
  std::unordered_set<std::string> constants;
  for (const auto& tensor : graph.initializer()) constants.insert(tensor.name());
  for (const auto& node : graph.node()) {
    const bool constant =
        std::all_of(node.input().begin(), node.input().end(), [&](const std::string& input) {
          return input.empty() || constants.contains(input);
        });
    if (constant) constants.insert(node.output().begin(), node.output().end());
  }
  return constants;
}

}  // namespace

std::optional<SuppressionCut> find_suppression(const onnx::GraphProto& graph) {
  const auto suppresses = [](const onnx::NodeProto& node) {
    return node.op_type() == "NonMaxSuppression";
  };
  auto left = std::count_if(graph.node().begin(), graph.node().end(), suppresses);
  if (left == 0) return std::nullopt;

  const std::unordered_set<std::string> constants = constants_of(graph);
  // Backwards through the file, which has the nodes in order: what is read so far and not yet
  // written. Where that is one value, everything behind came through it.
  std::unordered_set<std::string> open;
  for (const auto& output : graph.output()) open.insert(output.name());
  SuppressionCut cut;
  for (int i = graph.node_size() - 1; i >= 0 && cut.outputs.size() < kMaxOutputs; --i) {
    const onnx::NodeProto& node = graph.node(i);
    bool read = false;
    for (const std::string& output : node.output()) read = open.erase(output) > 0 || read;
    if (!read) continue;
    if (suppresses(node)) --left;
    const bool moves =
        std::find(kMovements.begin(), kMovements.end(), node.op_type()) != kMovements.end();
    if (node.op_type() == "Conv" || (!cut.outputs.empty() && !moves)) break;
    for (const std::string& input : node.input()) {
      if (!input.empty() && !constants.contains(input)) open.insert(input);
    }
    if (left > 0 || open.size() != 1) continue;
    if (cut.outputs.empty()) cut.first_node = i;
    cut.outputs.push_back(*open.begin());
  }
  // Neither inputs, nor values of a file whose nodes are in no order.
  std::unordered_set<std::string> written;
  for (int i = 0; i < cut.first_node; ++i) {
    written.insert(graph.node(i).output().begin(), graph.node(i).output().end());
  }
  std::erase_if(cut.outputs, [&](const std::string& name) { return !written.contains(name); });
  if (cut.outputs.empty()) return std::nullopt;
  return cut;
}

void cut_suppression(const SuppressionCut& cut, onnx::GraphProto& graph) {
  graph.clear_output();
  for (const std::string& output : cut.outputs) graph.add_output()->set_name(output);
  // What only the suppression read stands among the rest.
  std::unordered_set<std::string> needed(cut.outputs.begin(), cut.outputs.end());
  std::vector<bool> kept(static_cast<std::size_t>(graph.node_size()));
  for (int i = graph.node_size() - 1; i >= 0; --i) {
    const onnx::NodeProto& node = graph.node(i);
    const bool keep = i < cut.first_node &&
                      std::any_of(node.output().begin(), node.output().end(),
                                  [&](const std::string& output) { return needed.contains(output); });
    kept[static_cast<std::size_t>(i)] = keep;
    if (keep) needed.insert(node.input().begin(), node.input().end());
    needed.erase("");  // an input that is left out
  }
  int next = 0;
  for (int i = 0; i < graph.node_size(); ++i) {
    if (kept[static_cast<std::size_t>(i)]) graph.mutable_node()->SwapElements(next++, i);
  }
  graph.mutable_node()->DeleteSubrange(next, graph.node_size() - next);
}

}  // namespace fovea::engine
