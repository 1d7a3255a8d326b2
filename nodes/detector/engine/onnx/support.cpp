#include "nodes/detector/engine/onnx/support.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <onnx/onnx_pb.h>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine/onnx/einsum.hpp"
#include "nodes/detector/engine/onnx/operators.hpp"
#include "nodes/detector/engine/onnx/parser.hpp"

namespace fovea::engine {

namespace {

// What a message about a whole model may hold.
constexpr std::size_t kMaxListed = 8;    // groups
constexpr std::size_t kMaxNames = 2;     // nodes of a group
constexpr std::size_t kMaxGroups = 256;  // that are told apart before the largest are chosen
constexpr std::size_t kNameLimit = 60;

// Nodes of one operator that are refused for one reason.
struct Group {
  std::string op;
  std::string reason;
  std::vector<std::string> names;  // the first few
  std::size_t nodes = 0;
};

// `Gelu ('/a', '/b' and 3 more): the operator is not supported`.
std::string to_string(const Group& group) {
  std::vector<std::string> names;
  for (const std::string& name : group.names) {
    names.push_back(fmt::format("'{}'", shown(name, kNameLimit)));
  }
  const std::size_t left = group.nodes - names.size();
  return fmt::format("{} ({}{}): {}", shown(group.op, kNameLimit), fmt::join(names, ", "),
                     left == 0 ? "" : fmt::format(" and {} more", left), group.reason);
}

// What to ask the exporter or quantiser for instead, if the graph holds what Ultralytics puts behind
// its heads, or the integer operators that ONNX Runtime's quantiser writes on request.
std::optional<std::string> export_advice(const onnx::ModelProto& model) {
  bool suppresses = false;
  bool picks = false;
  bool integer = false;
  bool transforms = model.graph().input_size() > 1;  // its choice is its own, and is cut off
  for (const auto& node : model.graph().node()) {
    suppresses = suppresses || node.op_type() == "NonMaxSuppression";
    picks = picks || node.op_type() == "TopK";
    transforms =
        transforms || node.op_type() == "GridSample" || node.op_type() == "LayerNormalization";
    integer = integer || node.op_type().starts_with("QLinear");
  }
  for (const auto& property : model.metadata_props()) {
    picks = picks || (property.key() == "end2end" && property.value() == "True");
  }
  if (suppresses) {
    return "the model suppresses boxes itself, which postprocess does here: export it without "
           "nms=True";
  }
  if (integer && !picks) {
    return "the model is quantised in QOperator format: quantise it again in QDQ format "
           "(quantize_static(..., quant_format=QuantFormat.QDQ)), or give the float model and "
           "precision int8";
  }
  if (!picks || transforms) return std::nullopt;
  return "the model picks its boxes itself (an end-to-end head, as YOLOv10's and YOLO26's): export "
         "the dense head, with Ultralytics by end2end=False, or from 8.4.190 on without nms=False";
}

std::optional<std::string> attribute_refusal(const OperatorRule& rule,
                                             const onnx::AttributeProto& attribute) {
  if (rule.op == OpType::kConstantOfShape && attribute.name() == "value") {
    if (attribute.has_t()) return std::nullopt;
    return "attribute 'value' must be a tensor";
  }
  const auto known =
      std::find_if(rule.attributes.begin(), rule.attributes.end(),
                   [&](const AttributeRule& a) { return a.name == attribute.name(); });
  if (known == rule.attributes.end()) {
    return fmt::format("attribute '{}' is not supported", shown(attribute.name(), kNameLimit));
  }
  const auto type = [&] {
    switch (known->kind) {
      case AttributeKind::kInt:
        return onnx::AttributeProto::INT;
      case AttributeKind::kFloat:
        return onnx::AttributeProto::FLOAT;
      case AttributeKind::kString:
        return onnx::AttributeProto::STRING;
      case AttributeKind::kInts:
        return onnx::AttributeProto::INTS;
      case AttributeKind::kFloats:
        return onnx::AttributeProto::FLOATS;
    }
    return onnx::AttributeProto::UNDEFINED;
  }();
  if (attribute.type() != type) {
    return fmt::format("attribute '{}' must be {}", attribute.name(), to_string(known->kind));
  }
  if (known->allowed.empty()) return std::nullopt;
  const std::string value =
      known->kind == AttributeKind::kInt ? std::to_string(attribute.i()) : attribute.s();
  if (std::find(known->allowed.begin(), known->allowed.end(), value) != known->allowed.end()) {
    return std::nullopt;
  }
  return fmt::format("{} is '{}'; it must be {}", attribute.name(), shown(value, kNameLimit),
                     fmt::join(known->allowed, ", "));
}

}  // namespace

std::string node_name(const onnx::NodeProto& node) {
  return node.name().empty() && node.output_size() > 0 ? node.output(0) : node.name();
}

std::string describe_node(const onnx::NodeProto& node) {
  return fmt::format("'{}' ({})", shown(node_name(node), kNameLimit),
                     shown(node.op_type(), kNameLimit));
}

std::int64_t opset_of(const onnx::ModelProto& model) {
  std::int64_t opset = 0;
  for (const auto& import : model.opset_import()) {
    if (import.domain().empty() || import.domain() == "ai.onnx") opset = import.version();
  }
  return opset;
}

std::optional<std::string> opset_refusal(const onnx::ModelProto& model) {
  const std::int64_t opset = opset_of(model);
  if (opset >= kMinOpset && opset <= kMaxOpset) return std::nullopt;
  return fmt::format("the opset is {}; it must be {}..{}", opset, kMinOpset, kMaxOpset);
}

std::string einsum_equation(const onnx::NodeProto& node) {
  return node.attribute_size() > 0 ? node.attribute(0).s() : "";
}

bool is_standard(const onnx::NodeProto& node) {
  if (node.domain().empty() || node.domain() == "ai.onnx") return true;
  // ONNX Runtime's own two, of UseQDQContribOps, mean what ONNX's do.
  return node.domain() == "com.microsoft" &&
         (node.op_type() == "QuantizeLinear" || node.op_type() == "DequantizeLinear");
}

std::optional<std::string> node_refusal(const onnx::NodeProto& node, std::int64_t opset) {
  if (!is_standard(node)) {
    return fmt::format("domain '{}' is not supported", shown(node.domain(), kNameLimit));
  }
  if (node.op_type() == "Constant") return std::nullopt;
  const OperatorRule* rule = find_operator(node.op_type(), opset);
  if (rule == nullptr) return "the operator is not supported";
  const auto inputs = static_cast<std::size_t>(node.input_size());
  if (inputs < rule->min_inputs || inputs > rule->max_inputs) {
    return fmt::format("it has {} inputs, which opset {} does not have", inputs, opset);
  }
  if (node.output_size() == 0 || node.output(0).empty()) return "it has no output";
  for (std::size_t i = rule->max_outputs; i < static_cast<std::size_t>(node.output_size()); ++i) {
    if (!node.output(static_cast<int>(i)).empty())
      return fmt::format("output {} is not supported", i);
  }
  for (const auto& attribute : node.attribute()) {
    if (auto reason = attribute_refusal(*rule, attribute)) return reason;
  }
  if (node.op_type() == "Einsum") {
    if (const auto einsum = parse_einsum(einsum_equation(node)); !einsum) {
      return einsum.error().message;
    }
  }
  return std::nullopt;
}

Result<> check_nodes(const onnx::ModelProto& model) {
  const std::int64_t opset = opset_of(model);
  std::vector<Group> groups;
  std::size_t count = 0;
  for (const auto& node : model.graph().node()) {
    const auto reason = node_refusal(node, opset);
    if (!reason) continue;
    ++count;
    const auto same = [&](const Group& group) {
      return group.op == node.op_type() && group.reason == *reason;
    };
    auto group = std::find_if(groups.begin(), groups.end(), same);
    if (group == groups.end()) {
      if (groups.size() == kMaxGroups) continue;
      group = groups.insert(groups.end(), Group{node.op_type(), *reason, {}, 0});
    }
    ++group->nodes;
    if (group->names.size() < kMaxNames) group->names.push_back(node_name(node));
  }
  if (count == 0) return {};
  std::stable_sort(groups.begin(), groups.end(),
                   [](const Group& a, const Group& b) { return a.nodes > b.nodes; });
  std::vector<std::string> problems;
  std::size_t listed = 0;
  for (const Group& group : groups) {
    if (problems.size() == kMaxListed) break;
    problems.push_back(to_string(group));
    listed += group.nodes;
  }
  if (listed < count) problems.push_back(fmt::format("and {} more", count - listed));
  std::string message = fmt::format("{} of {} nodes are not supported: {}", count,
                                    model.graph().node_size(), fmt::join(problems, "; "));
  if (const auto advice = export_advice(model)) message += "; " + *advice;
  return fail(ErrorCode::kUnsupported, std::move(message));
}

}  // namespace fovea::engine
