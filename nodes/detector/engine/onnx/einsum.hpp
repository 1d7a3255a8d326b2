// Einsum, where it is a product of matrices: "bchw,bkc->bkhw" of YOLO-World becomes Transpose,
// Unsqueeze, MatMul, which every provider has. Knows no protobuf; only parser.cpp includes it.
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

// What an equation of two operands asks of MatMul. Axes that both operands and the result have are
// its batch; one is summed over, or none (an outer product); the left operand brings any number of the result's other axes, the
// right one at most one. The left operand is transposed to [batch..., own..., sum], the right one
// to [batch..., sum, own].
struct Einsum {
  bool swapped = false;  // the left operand is the equation's second
  bool outer = false;    // nothing is summed over: both operands get an axis of extent 1 for it
  std::size_t batch = 0;
  std::size_t left_own = 0;
  std::size_t right_own = 0;                          // 0 or 1
  std::vector<std::int64_t> left_order, right_order;  // perm of Transpose
  std::vector<std::int64_t> result_order;             // of [batch..., left own..., right own...]
};
// Errors: kUnsupported, saying what the equation has that is no product of two matrices.
Result<Einsum> parse_einsum(std::string_view equation);

// Appends the layers that do the work of `node`, which has the operands as inputs and the result as
// its output; their names begin with its.
void append_einsum(const Einsum& einsum, const Layer& node, NetworkDefinition& network);

}  // namespace fovea::engine
