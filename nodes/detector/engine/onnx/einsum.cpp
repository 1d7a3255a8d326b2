// Nothing here needs extents, so it works for open shapes, too: what the left
// operand has more axes than a matrix becomes MatMul's batch, over which the right one is repeated.
#include "nodes/detector/engine/onnx/einsum.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "nodes/base/text.hpp"

namespace fovea::engine {

namespace {

using Ints = std::vector<std::int64_t>;

tl::unexpected<Error> refused(std::string_view equation, std::string_view reason) {
  return fail(ErrorCode::kUnsupported,
              fmt::format("equation is '{}'; {}", shown(equation, 60), reason));
}

bool has(std::string_view labels, char label) { return labels.find(label) != labels.npos; }

// Letters, each once: an axis that appears twice would be a diagonal.
bool good_labels(std::string_view labels) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (!is_letter(labels[i]) || has(labels.substr(0, i), labels[i])) return false;
  }
  return labels.size() <= kMaxRank;
}

// Where `wanted` stand in `labels`.
Ints order_of(std::string_view wanted, std::string_view labels) {
  Ints order;
  for (const char label : wanted) order.push_back(static_cast<std::int64_t>(labels.find(label)));
  return order;
}

Ints range(std::size_t first, std::size_t count) {
  Ints values;
  for (std::size_t i = 0; i < count; ++i) values.push_back(static_cast<std::int64_t>(first + i));
  return values;
}

}  // namespace

Result<Einsum> parse_einsum(std::string_view equation) {
  std::string text(equation);
  std::erase(text, ' ');
  const std::size_t arrow = text.find("->");
  const std::size_t comma = text.find(',');
  if (arrow == text.npos || comma == text.npos || comma > arrow) {
    return refused(equation, "it must be like ab,bc->ac: two operands and the result");
  }
  std::string_view left = std::string_view(text).substr(0, comma);
  std::string_view right = std::string_view(text).substr(comma + 1, arrow - comma - 1);
  const std::string_view result = std::string_view(text).substr(arrow + 2);
  if (!good_labels(left) || !good_labels(right) || !good_labels(result)) {
    return refused(equation, "an operand and the result must have different letters, 8 at most");
  }
  std::string batch;
  std::string summed;
  std::string left_own;
  std::string right_own;
  for (const char label : left) {
    if (has(right, label)) {
      (has(result, label) ? batch : summed) += label;
    } else if (has(result, label)) {
      left_own += label;
    } else {
      return refused(equation, fmt::format("it sums over '{}' of one operand alone", label));
    }
  }
  for (const char label : right) {
    if (has(left, label)) continue;
    if (!has(result, label)) {
      return refused(equation, fmt::format("it sums over '{}' of one operand alone", label));
    }
    right_own += label;
  }
  if (result.size() != batch.size() + left_own.size() + right_own.size()) {
    return refused(equation, "the result has a letter that no operand has");
  }
  if (summed.size() > 1) {
    return refused(equation,
                   fmt::format("it sums over {} axes; that must be 1 at most", summed.size()));
  }
  if (left_own.size() > 1 && right_own.size() > 1) {
    return refused(equation, "both operands have several axes of their own; one may");
  }
  Einsum einsum;
  einsum.swapped = right_own.size() > 1;
  if (einsum.swapped) {
    std::swap(left, right);
    std::swap(left_own, right_own);
  }
  einsum.outer = summed.empty();
  einsum.batch = batch.size();
  einsum.left_own = left_own.size();
  einsum.right_own = right_own.size();
  einsum.left_order = order_of(batch + left_own + summed, left);
  einsum.right_order = order_of(batch + summed + right_own, right);
  einsum.result_order = order_of(result, batch + left_own + right_own);
  return einsum;
}

void append_einsum(const Einsum& einsum, const Layer& node, NetworkDefinition& network) {
  const auto add = [&](OpType op, std::string_view what, std::vector<ValueId> inputs,
                       ValueId output) {
    Layer layer;
    layer.name = fmt::format("{}/{}", node.name, what);
    layer.op = op;
    layer.inputs = std::move(inputs);
    if (output == kNoValue) {
      output = network.add_value({layer.name, DataType::kFloat32, {}, nullptr});
    }
    layer.outputs = {output};
    network.layers.push_back(std::move(layer));
    return output;
  };
  const auto transpose = [&](std::string_view what, ValueId x, const Ints& order, ValueId output) {
    const ValueId y = add(OpType::kTranspose, what, {x}, output);
    network.layers.back().attributes["perm"] = order;
    return y;
  };
  const auto reshape = [&](OpType op, std::string_view what, ValueId x, const Ints& axes) {
    if (axes.empty()) return x;
    const ValueId constant =
        network.add_constant(fmt::format("{}/{}.axes", node.name, what),
                             std::make_shared<const Constant>(Constant::ints(axes)));
    return add(op, what, {x, constant}, kNoValue);
  };
  ValueId left = node.inputs[einsum.swapped ? 1 : 0];
  ValueId right = node.inputs[einsum.swapped ? 0 : 1];
  left = transpose("left", left, einsum.left_order, kNoValue);
  right = transpose("right", right, einsum.right_order, kNoValue);
  if (einsum.outer) {
    left = reshape(OpType::kUnsqueeze, "column", left, range(einsum.batch + einsum.left_own, 1));
    right = reshape(OpType::kUnsqueeze, "line", right, range(einsum.batch, 1));
  }
  // Matrices have two axes: rows or columns of one take the place of those that are missing.
  Ints ones;
  if (einsum.left_own == 0) left = reshape(OpType::kUnsqueeze, "row", left, range(einsum.batch, 1));
  if (einsum.left_own > 1) ones = range(einsum.batch, einsum.left_own - 1);
  if (einsum.right_own == 0) {
    ones.push_back(
        static_cast<std::int64_t>(einsum.batch + std::max<std::size_t>(einsum.left_own, 1)));
  }
  right = reshape(OpType::kUnsqueeze, "matrix", right, ones);
  ValueId product = add(OpType::kMatMul, "product", {left, right}, kNoValue);
  Ints extra;
  if (einsum.left_own == 0) extra = range(einsum.batch, 1);
  if (einsum.right_own == 0) {
    extra.push_back(
        static_cast<std::int64_t>(einsum.batch + std::max<std::size_t>(einsum.left_own, 1)));
  }
  product = reshape(OpType::kSqueeze, "squeezed", product, extra);
  transpose("result", product, einsum.result_order, node.outputs[0]);
}

}  // namespace fovea::engine
