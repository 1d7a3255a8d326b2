// What the implementations of convolution share: folded numbers, and the finishing of a strip of
// results. Internal to the kernels.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "nodes/detector/engine/cpu/kernels/convolution.hpp"
#include "nodes/detector/engine/cpu/kernels/rows.hpp"
#include "nodes/detector/engine/cpu/kernels/tile.hpp"

namespace fovea::engine::kernels {

// Sums become results as sum * scale[channel] + bias[channel]: s8 codes before clamping if the
// epilogue is a table, real pre-activations otherwise.
struct Folded {
  std::vector<std::int32_t>
      start;  // kUint8: the offset minus the source's zero point, times the channel's weights
  std::vector<float> scale;
  std::vector<float> bias;
};
Folded fold(const ConvolutionSpec& spec, const PixelOffset& offset = {});

// The one destination of some channels. Addresses are those of output pixel (0, 0), first of the
// channels; strides in bytes.
struct SoleTarget {
  DataType type = DataType::kFloat32;
  const std::uint8_t* table = nullptr;  // null: no table
  std::byte* to = nullptr;
  std::int64_t stride = 0;
  std::int64_t row_stride = 0;
  std::int32_t zero_point = 0;
  const std::byte* residual = nullptr;  // null: none
  DataType residual_type = DataType::kFloat32;
  std::int64_t residual_stride = 0;
  std::int64_t residual_row_stride = 0;
};

// Sends strips of results to their destinations. Holds copies of all that it needs.
class Finisher {
 public:
  Finisher(const ConvolutionSpec& spec, const RowFunctions& rows);

  bool uses_table() const { return uses_table_; }
  // What a strip holds: s8 codes for a table, else f32.
  std::int64_t strip_element_bytes() const { return uses_table_ ? 1 : 4; }
  // The address of output pixel (y, x), channel `channel`, if exactly one destination takes
  // `channels` channels from there as plain f32 without activation or residual: then no strip is
  // needed. Else null.
  std::byte* direct(const Arguments& arguments, std::int64_t y, std::int64_t x,
                    std::int64_t channel, std::int64_t channels) const;
  std::int64_t direct_stride() const { return destinations_[0].spec.surface.pixel_stride * 4; }
  // For kernels that finish results before they store them: where channels [channel, channel +
  // channels) go, if they all go to one destination, once. Else nothing.
  std::optional<SoleTarget> sole_target(const Arguments& arguments, std::int64_t channel,
                                        std::int64_t channels) const;
  // Tells `job` where output pixels (y, x ...) end up, channels [channel, channel + channels).
  void locate(const Arguments& arguments, std::int64_t y, std::int64_t x, std::int64_t channel,
              std::int64_t channels, TileJob& job) const;
  // Finishes output pixels (y, x .. x + pixels), channels [channel, channel + channels).
  // Strip pixels are `stride` elements apart.
  void finish(const Arguments& arguments, const std::byte* strip, std::int64_t stride,
              std::int64_t y, std::int64_t x, std::int64_t pixels, std::int64_t channel,
              std::int64_t channels) const;

 private:
  struct Target {
    Destination spec;
    std::size_t residual_source = 0;  // index into Arguments::sources
    std::array<std::uint8_t, 256> table{};
  };
  std::vector<Target> destinations_;
  RowFunctions rows_;
  Activation activation_;
  float alpha_;
  bool uses_table_;
};

// Memory as registers and cache lines like it.
inline constexpr std::size_t kAlignment = 64;
struct AlignedDelete {
  void operator()(std::byte* bytes) const {
    ::operator delete[](bytes, std::align_val_t{kAlignment});
  }
};
using AlignedBytes = std::unique_ptr<std::byte[], AlignedDelete>;
inline AlignedBytes zeroed(std::int64_t size) {
  auto* bytes = new (std::align_val_t{kAlignment}) std::byte[static_cast<std::size_t>(size)]();
  return AlignedBytes(bytes);
}

inline std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Cuts `pixels` into tiles: as many of the width tiles.widths[blocks][widest] as fit, then narrower
// ones.
void run_tiles(const TileSet& tiles, int blocks, std::size_t widest, TileJob& job,
               std::int64_t pixels);

// One implementation of convolution.
std::unique_ptr<const Kernel> make_scalar_convolution(const ConvolutionSpec& spec);

// Some window reaches beyond the picture.
bool windows_leave_picture(const ConvolutionSpec& spec);

// The tactic for one filter per channel, e.g. "avx512/depthwise"; empty, with a reason unless the
// convolution is no such one, if it cannot run.
std::string depthwise_tactic(const ConvolutionSpec& spec, const CpuFeatures& features,
                             std::string& declined);
// REQUIRES: `name` is depthwise_tactic()'s.
std::unique_ptr<const Kernel> make_depthwise_convolution(const ConvolutionSpec& spec,
                                                         std::string name,
                                                         const CpuFeatures& features);

struct TiledTactic {
  const TileImplementation* implementation = nullptr;
  int blocks = 1;             // of 16 output channels
  int width = 1;              // pixels
  bool weights_outer = true;  // all pixels of one channel group first: its weights stay in cache
  std::string name() const;   // "avx512/4x5/weights", ".../pixels"
};
// Empty with a reason if the CPU or the spec is unfit. Best guess first.
std::vector<TiledTactic> tiled_tactics(const ConvolutionSpec& spec,
                                       const TileImplementation& implementation,
                                       const CpuFeatures& features, std::string& declined);
// REQUIRES: tiled_tactics() lists it.
std::unique_ptr<const Kernel> make_tiled_convolution(const ConvolutionSpec& spec,
                                                     const TiledTactic& tactic,
                                                     const CpuFeatures& features);

// AMX tiles, for u8 and bf16.
struct AmxTactic {
  bool across_rows = false;   // runs of pixels that do not end with their row
  bool weights_outer = true;  // as above
  std::string name() const;   // "amx/picture/weights", "amx/rows/pixels"
};
// Empty with a reason if the CPU or the spec is unfit. Best guess first.
std::vector<AmxTactic> amx_tactics(const ConvolutionSpec& spec, const CpuFeatures& features,
                                   std::string& declined);
// REQUIRES: amx_tactics() lists it.
std::unique_ptr<const Kernel> make_amx_convolution(const ConvolutionSpec& spec,
                                                   const AmxTactic& tactic,
                                                   const CpuFeatures& features);

// 3x3 filters by fewer multiplications.
struct WinogradTactic {
  std::string_view isa;
  int tiles = 0;             // at most so many in a task
  bool integer = false;      // of 16 bits, for u8
  std::string name() const;  // "avx512/winograd4/24", "avx2/winograd16/24"
};
// Empty if the CPU or the spec is unfit. Best guess first.
std::vector<WinogradTactic> winograd_tactics(const ConvolutionSpec& spec,
                                             const CpuFeatures& features);
// REQUIRES: winograd_tactics() lists it.
std::unique_ptr<const Kernel> make_winograd_convolution(const ConvolutionSpec& spec,
                                                        const WinogradTactic& tactic,
                                                        const CpuFeatures& features);

}  // namespace fovea::engine::kernels
