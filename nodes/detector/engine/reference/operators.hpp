// The reference implementation of each operator, in two steps so that running allocates nothing:
// prepare() reads attributes and extents, the kernel it returns only loops over elements.
#pragma once

#include <functional>
#include <vector>

#include "nodes/detector/engine/reference/evaluate.hpp"

namespace fovea::engine::reference {

// What a kernel reads and writes; the tensors must outlive it. Outputs have the dims that
// infer_layer() gives. Inputs that infer_layer() needs `known` must hold their contents when the
// kernel is prepared.
struct Operands {
  const Layer* layer = nullptr;
  std::vector<const Tensor*> inputs;  // null where an optional one is absent
  std::vector<Tensor*> outputs;
  const Tensor* residual = nullptr;

  const Tensor* input(std::size_t index) const {
    return index < inputs.size() ? inputs[index] : nullptr;
  }
};

// Fails only for what the data decide, like an index out of range.
using Kernel = std::function<Result<>()>;

// The layer's operator, then its activation, then its residual.
Result<Kernel> prepare(const Operands& operands);

// By family; each file holds the operators named here.
Result<Kernel> prepare_unary(const Operands& operands);  // elementwise.cpp
Result<Kernel> prepare_binary(
    const Operands& operands);  // elementwise.cpp: Add, Sub, Mul, Div, Mod, Pow and comparisons
Result<Kernel> prepare_logic(const Operands& operands);  // elementwise.cpp: And, Or, Xor
Result<Kernel> prepare_extremum(const Operands& operands);                // elementwise.cpp
Result<Kernel> prepare_where(const Operands& operands);                   // elementwise.cpp
Result<Kernel> prepare_cast(const Operands& operands);                    // elementwise.cpp
Result<Kernel> prepare_clip(const Operands& operands);                    // elementwise.cpp
Result<Kernel> prepare_quantize(const Operands& operands);                // elementwise.cpp
Result<Kernel> prepare_dequantize(const Operands& operands);              // elementwise.cpp
Result<Kernel> prepare_batch_normalization(const Operands& operands);     // elementwise.cpp
Result<Kernel> prepare_convolution(const Operands& operands);             // window.cpp
Result<Kernel> prepare_transposed_convolution(const Operands& operands);  // window.cpp
Result<Kernel> prepare_pool(const Operands& operands);         // window.cpp: MaxPool, AveragePool
Result<Kernel> prepare_global_pool(const Operands& operands);  // window.cpp
Result<Kernel> prepare_resize(const Operands& operands);       // window.cpp
Result<Kernel> prepare_matmul(const Operands& operands);       // matrix.cpp
Result<Kernel> prepare_gemm(const Operands& operands);         // matrix.cpp
Result<Kernel> prepare_softmax(const Operands& operands);      // matrix.cpp
Result<Kernel> prepare_layer_normalization(const Operands& operands);  // reduction.cpp
Result<Kernel> prepare_reduce(const Operands& operands);               // reduction.cpp
Result<Kernel> prepare_arg_max(const Operands& operands);              // reduction.cpp
Result<Kernel> prepare_top_k(const Operands& operands);                // reduction.cpp
Result<Kernel> prepare_copy(
    const Operands& operands);  // movement.cpp: Reshape and its kin, Identity
Result<Kernel> prepare_shape(const Operands& operands);              // movement.cpp
Result<Kernel> prepare_range(const Operands& operands);              // movement.cpp
Result<Kernel> prepare_broadcast(const Operands& operands);          // movement.cpp: Expand
Result<Kernel> prepare_constant_of_shape(const Operands& operands);  // movement.cpp
Result<Kernel> prepare_transpose(const Operands& operands);          // movement.cpp
Result<Kernel> prepare_slice(const Operands& operands);              // movement.cpp
Result<Kernel> prepare_concat(const Operands& operands);             // movement.cpp
Result<Kernel> prepare_split(const Operands& operands);              // movement.cpp
Result<Kernel> prepare_pad(const Operands& operands);                // movement.cpp
Result<Kernel> prepare_gather(const Operands& operands);             // movement.cpp
Result<Kernel> prepare_gather_elements(const Operands& operands);    // movement.cpp
Result<Kernel> prepare_gather_nd(const Operands& operands);          // indexed.cpp
Result<Kernel> prepare_scatter_nd(const Operands& operands);         // indexed.cpp
Result<Kernel> prepare_grid_sample(const Operands& operands);        // grid_sample.cpp
Result<Kernel> prepare_tile(const Operands& operands);               // movement.cpp
Result<Kernel> prepare_image_input(const Operands& operands);        // movement.cpp

// In place over `size` floats.
void apply_activation(Activation activation, float alpha, float* data, std::int64_t size);

}  // namespace fovea::engine::reference
