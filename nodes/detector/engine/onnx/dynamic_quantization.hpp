// Models whose weights are integers while their activations are quantised as they come:
// DynamicQuantizeLinear, ConvInteger and MatMulInteger, as ONNX Runtime's dynamic quantiser writes
// them. What such a graph computes, but for the rounding of activations, is a float network with the
// numbers that the weights stand for. Knows no protobuf; only parser.cpp includes it.
//
// Thread safety: one thread.
#pragma once

#include <unordered_map>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

// The codes of a DynamicQuantizeLinear are taken for the numbers themselves, with the scale 1 and
// the zero point 0: whatever the graph makes of all three stays right.
class DynamicQuantization {
 public:
  // `layer` has the three outputs of such a node; becomes an Identity with one.
  void take_quantizer(Layer& layer, NetworkDefinition& network);

  // `layer` is a Conv or MatMul with the inputs of ConvInteger or MatMulInteger: two operands, then
  // their zero points. They become f32 operands. Errors: kUnsupported for an operand that is neither
  // a constant nor a quantizer's, kCorrupt for a zero point that does not fit. REQUIRES: every
  // quantizer of the graph was taken.
  Result<> take_product(Layer& layer, NetworkDefinition& network) const;

 private:
  std::unordered_map<ValueId, ValueId> zero_points_;  // by codes
};

}  // namespace fovea::engine
