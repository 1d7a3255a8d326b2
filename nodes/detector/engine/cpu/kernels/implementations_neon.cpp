// What each instruction set of ARM implements. The one list of tiles; functions of rows and
// transforms are chosen here, too.
#include "nodes/detector/engine/cpu/kernels/attention_rows.hpp"
#include "nodes/detector/engine/cpu/kernels/depthwise.hpp"
#include "nodes/detector/engine/cpu/kernels/rows.hpp"
#include "nodes/detector/engine/cpu/kernels/tensor_rows.hpp"
#include "nodes/detector/engine/cpu/kernels/tile.hpp"
#include "nodes/detector/engine/cpu/kernels/winograd.hpp"

namespace fovea::engine::kernels {

// Each behind the CPU feature of its name, in the file of its name.
const TileSet& i8mm_u8_tiles();
const TileSet& neon_dotprod_u8_tiles();
const TileSet& neon_f32_tiles();
const TileSet& neon_u8_tiles();
const RowFunctions& neon_rows();
const AttentionFunctions& neon_attention();
const TensorRowFunctions& neon_tensor_rows();
WinogradFunctions neon_winograd(DataType source);
DepthwiseFunction neon_depthwise(DataType compute);

namespace {

constexpr TileImplementation kTiles[] = {
    {"i8mm", 8, DataType::kUint8, &CpuFeatures::i8mm, i8mm_u8_tiles},
    {"neon_dotprod", 4, DataType::kUint8, &CpuFeatures::neon_dotprod, neon_dotprod_u8_tiles},
    {"neon", 4, DataType::kFloat32, &CpuFeatures::neon, neon_f32_tiles},
    // Two instructions for 2.
    {"neon", 1, DataType::kUint8, &CpuFeatures::neon, neon_u8_tiles},
};

}  // namespace

std::span<const TileImplementation> tile_implementations() { return kTiles; }

const RowFunctions& best_rows(const CpuFeatures& features) {
  return features.neon ? neon_rows() : scalar_rows();
}

const AttentionFunctions& best_attention(const CpuFeatures& features) {
  return features.neon ? neon_attention() : scalar_attention();
}

const AttentionFunctions* bf16_attention(const CpuFeatures& /*features*/) { return nullptr; }

const TensorRowFunctions& best_tensor_rows(const CpuFeatures& features) {
  return features.neon ? neon_tensor_rows() : scalar_tensor_rows();
}

WinogradImplementation best_winograd(DataType source, const CpuFeatures& features) {
  if (!features.neon || source == DataType::kUint8) return {};
  return {"neon", neon_winograd(source), &neon_f32_tiles()};
}

DepthwiseImplementation best_depthwise(DataType compute, const CpuFeatures& features) {
  if (!features.neon) return {};
  return {"neon", neon_depthwise(compute)};
}

}  // namespace fovea::engine::kernels
