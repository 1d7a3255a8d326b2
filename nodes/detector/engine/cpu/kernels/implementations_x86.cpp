// What each instruction set of x86 implements. The one list of tiles; functions of rows and transforms
// are chosen here, too.
#include "nodes/detector/engine/cpu/kernels/attention_rows.hpp"
#include "nodes/detector/engine/cpu/kernels/depthwise.hpp"
#include "nodes/detector/engine/cpu/kernels/rows.hpp"
#include "nodes/detector/engine/cpu/kernels/tensor_rows.hpp"
#include "nodes/detector/engine/cpu/kernels/tile.hpp"
#include "nodes/detector/engine/cpu/kernels/winograd.hpp"

namespace fovea::engine::kernels {

// Each behind the CPU feature of its name, in the file of its name.
const TileSet& avx512_fp16_f16_tiles();
const TileSet& avx512_vnni_u8_tiles();
const TileSet& avx512_f32_tiles();
const TileSet& avx512_f16_tiles();  // f16 weights and pixels, f32 arithmetic
const TileSet& avx_vnni_u8_tiles();
const TileSet& avx2_f32_tiles();
const TileSet& avx2_u8_tiles();
const RowFunctions& avx512_rows(bool vbmi);
const RowFunctions& avx2_rows();
const AttentionFunctions& amx_attention();
const AttentionFunctions& avx512_attention();
const AttentionFunctions& avx2_attention();
const TensorRowFunctions& avx512_tensor_rows();
const TensorRowFunctions& avx2_tensor_rows();
WinogradFunctions avx512_winograd(DataType source);
WinogradFunctions avx2_winograd(DataType source);
WinogradFunctions avx2_winograd_s16();
const TileSet& avx2_s16_tiles();
DepthwiseFunction avx512_depthwise(DataType compute);  // of bytes: with VNNI
DepthwiseFunction avx2_depthwise(DataType compute);

namespace {

constexpr TileImplementation kTiles[] = {
    {"avx512_fp16", 16, DataType::kFloat16, &CpuFeatures::avx512_fp16, avx512_fp16_f16_tiles},
    {"avx512_vnni", 16, DataType::kUint8, &CpuFeatures::avx512_vnni, avx512_vnni_u8_tiles},
    {"avx512", 16, DataType::kFloat32, &CpuFeatures::avx512, avx512_f32_tiles},
    {"avx512", 16, DataType::kFloat16, &CpuFeatures::avx512, avx512_f16_tiles},
    {"avx_vnni", 8, DataType::kUint8, &CpuFeatures::avx_vnni, avx_vnni_u8_tiles},
    {"avx2", 8, DataType::kFloat32, &CpuFeatures::avx2, avx2_f32_tiles},
    // Three instructions for 8.
    {"avx2", 8 / 3, DataType::kUint8, &CpuFeatures::avx2, avx2_u8_tiles},
};

}  // namespace

std::span<const TileImplementation> tile_implementations() { return kTiles; }

const RowFunctions& best_rows(const CpuFeatures& features) {
  if (features.avx512) return avx512_rows(features.avx512_vbmi);
  return features.avx2 ? avx2_rows() : scalar_rows();
}

const AttentionFunctions& best_attention(const CpuFeatures& features) {
  if (features.avx512) return avx512_attention();
  return features.avx2 ? avx2_attention() : scalar_attention();
}

const AttentionFunctions* bf16_attention(const CpuFeatures& features) {
  return features.amx_bf16 ? &amx_attention() : nullptr;
}

const TensorRowFunctions& best_tensor_rows(const CpuFeatures& features) {
  if (features.avx512) return avx512_tensor_rows();
  return features.avx2 ? avx2_tensor_rows() : scalar_tensor_rows();
}

WinogradImplementation best_winograd(DataType source, const CpuFeatures& features) {
  if (source == DataType::kUint8) {
    // VNNI's direct sums are faster.
    const bool needed = features.avx2 && !features.avx_vnni && !features.avx512_vnni;
    if (needed) return {"avx2", avx2_winograd_s16(), &avx2_s16_tiles()};
    return {};
  }
  if (features.avx512) return {"avx512", avx512_winograd(source), &avx512_f32_tiles()};
  if (features.avx2 && source == DataType::kFloat32) {
    return {"avx2", avx2_winograd(source), &avx2_f32_tiles()};
  }
  return {};
}

DepthwiseImplementation best_depthwise(DataType compute, const CpuFeatures& features) {
  const bool bytes = compute == DataType::kUint8;
  if (bytes ? features.avx512_vnni : features.avx512) {
    return {bytes ? "avx512_vnni" : "avx512", avx512_depthwise(compute)};
  }
  if (features.avx2 && compute != DataType::kFloat16) return {"avx2", avx2_depthwise(compute)};
  return {};
}

}  // namespace fovea::engine::kernels
