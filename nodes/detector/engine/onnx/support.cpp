// See support.hpp.
#include "nodes/detector/engine/onnx/support.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <onnx/onnx_pb.h>

#include "nodes/detector/engine/onnx/einsum.hpp"
#include "nodes/detector/engine/onnx/operators.hpp"

namespace fovea::engine {

namespace {

constexpr std::size_t kMaxListed = 20;

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
    return fmt::format("attribute '{}' is not supported", attribute.name());
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
  return fmt::format("{} is '{}'; it must be {}", attribute.name(), value,
                     fmt::join(known->allowed, ", "));
}

}  // namespace

std::string describe_node(const onnx::NodeProto& node) {
  const std::string& name = !node.name().empty()     ? node.name()
                            : node.output_size() > 0 ? node.output(0)
                                                     : node.name();
  return fmt::format("'{}' ({})", name, node.op_type());
}

std::string einsum_equation(const onnx::NodeProto& node) {
  return node.attribute_size() > 0 ? node.attribute(0).s() : "";
}

std::optional<std::string> node_refusal(const onnx::NodeProto& node) {
  if (!node.domain().empty() && node.domain() != "ai.onnx") {
    return fmt::format("domain '{}' is not supported", node.domain());
  }
  if (node.op_type() == "Constant") return std::nullopt;
  const OperatorRule* rule = find_operator(node.op_type());
  if (rule == nullptr) return "the operator is not supported";
  const auto inputs = static_cast<std::size_t>(node.input_size());
  if (inputs < rule->min_inputs || inputs > rule->max_inputs) {
    return fmt::format("it has {} inputs", inputs);
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

Result<> check_nodes(const onnx::GraphProto& graph) {
  std::vector<std::string> problems;
  std::size_t count = 0;
  for (const auto& node : graph.node()) {
    const auto reason = node_refusal(node);
    if (!reason) continue;
    ++count;
    if (problems.size() < kMaxListed)
      problems.push_back(fmt::format("{}: {}", describe_node(node), *reason));
  }
  if (count == 0) return {};
  if (count > kMaxListed) problems.push_back(fmt::format("and {} more", count - kMaxListed));
  return fail(ErrorCode::kUnsupported, fmt::format("{} of {} nodes are not supported: {}", count,
                                                   graph.node_size(), fmt::join(problems, "; ")));
}

}  // namespace fovea::engine
