// Which ONNX operators the parser takes, with which attributes, and how older opsets map to the
// newest form. Knows no protobuf; only parser.cpp includes it.
#pragma once

#include <string_view>
#include <vector>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

enum class AttributeKind : std::uint8_t { kInt, kFloat, kString, kInts, kFloats };

std::string_view to_string(AttributeKind kind);

struct AttributeRule {
  std::string_view name;
  AttributeKind kind;
  std::vector<std::string_view> allowed = {};  // values as text; empty = any
};

struct OperatorRule {
  OpType op;
  std::size_t min_inputs;
  std::size_t max_inputs;
  std::size_t max_outputs;
  std::vector<AttributeRule> attributes = {};
};

// The form that an operator has in a file of opset `opset`; nullptr for one that is not supported.
// Its name in ONNX is to_string(rule->op), but for Dropout, Einsum, Upsample and those of
// dynamically quantised models, which become others.
const OperatorRule* find_operator(std::string_view onnx_name, std::int64_t opset);

// Turns a layer as an opset `opset` file has it into the form of network.hpp: attributes that
// became inputs are appended to network.values as constants. REQUIRES: the attributes keep their
// rule.
void modernise(Layer& layer, std::int64_t opset, NetworkDefinition& network);

}  // namespace fovea::engine
