// On CPUs for which there are no vectors yet: scalar code for everything.
#include "nodes/detector/engine/cpu/kernels/attention_rows.hpp"
#include "nodes/detector/engine/cpu/kernels/depthwise.hpp"
#include "nodes/detector/engine/cpu/kernels/rows.hpp"
#include "nodes/detector/engine/cpu/kernels/tensor_rows.hpp"
#include "nodes/detector/engine/cpu/kernels/tile.hpp"
#include "nodes/detector/engine/cpu/kernels/winograd.hpp"

namespace fovea::engine::kernels {

std::span<const TileImplementation> tile_implementations() { return {}; }
const RowFunctions& best_rows(const CpuFeatures& /*features*/) { return scalar_rows(); }
const AttentionFunctions& best_attention(const CpuFeatures& /*features*/) {
  return scalar_attention();
}
const AttentionFunctions* bf16_attention(const CpuFeatures& /*features*/) { return nullptr; }

const TensorRowFunctions& best_tensor_rows(const CpuFeatures& /*features*/) {
  return scalar_tensor_rows();
}
WinogradImplementation best_winograd(DataType /*source*/, const CpuFeatures& /*features*/) {
  return {};
}
DepthwiseImplementation best_depthwise(DataType /*compute*/, const CpuFeatures& /*features*/) {
  return {};
}

}  // namespace fovea::engine::kernels
