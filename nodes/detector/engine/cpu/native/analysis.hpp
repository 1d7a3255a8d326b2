// What becomes of each layer, and who needs each value where: the part of compiling that only
// looks.
//
// Thread safety: const after construction.
#pragma once

#include <optional>
#include <vector>

#include "nodes/detector/engine/cpu/native/attention.hpp"
#include "nodes/detector/engine/cpu/native/storage.hpp"
#include "nodes/detector/engine/network.hpp"
#include "nodes/detector/engine/shapes/shape_inference.hpp"

namespace fovea::engine::cpu::native {

enum class Path {
  kKnown,
  kImage,
  kConvolution,
  kPool,
  kAverage,
  kConcat,
  kSplit,
  kUpsample,
  kInterpolate,  // Resize by any factor
  kPointwise,
  kTensor,
  kAttention,  // all of one, in place of its last layer
  kFused,      // the others of its layers
  kFallback
};

// The activation that an operator of its own computes.
std::optional<Activation> activation_of(OpType op);

// Channels [first, first + channels) of the convolution `layer`'s output, each pixel repeat x
// repeat times.
struct Origin {
  std::size_t layer = 0;
  std::int64_t first = 0;
  int repeat = 1;
};
// A destination of a convolution besides its own output's home.
struct Extra {
  Origin origin = {};
  std::int64_t channels = 0;
  ValueId whole = kNoValue;  // to channels [channel, ...) of this value's home,
  std::int64_t channel = 0;
  std::int32_t output = -1;  // or to the caller's memory
};

class Analysis {
 public:
  // Places splits and concats in `storage`. All must outlive it.
  Analysis(const NetworkDefinition& network, const KnownValues& known, Storage& storage);

  Path path(std::size_t layer) const { return paths_[layer]; }
  // Somebody reads the value's home.
  bool used(ValueId id) const { return used_[static_cast<std::size_t>(id)]; }
  // By part of a concat: it lies there already.
  const std::vector<bool>& in_place(std::size_t layer) const { return in_place_[layer]; }
  const std::vector<Extra>& extras(std::size_t layer) const { return extras_[layer]; }
  // The layer moves channels of a convolution that writes them where they go by itself.
  bool is_written(std::size_t layer) const { return written_[layer]; }
  // REQUIRES: path(layer) is kAttention.
  const Attention& attention(std::size_t layer) const { return attentions_[attention_[layer]]; }
  // "LAYER: reason" for what might have been one.
  const std::vector<std::string>& declined() const { return declined_; }
  // The convolution that can write `id` by itself.
  std::optional<Origin> origin(ValueId id) const;
  // A network output that leaves as [H, W, C].
  bool is_map(ValueId id) const;
  // An input whose contents are known; null if not, or absent.
  const Constant* constant(const Layer& layer, std::size_t input) const;

 private:
  bool pictures(const std::vector<ValueId>& ids) const;
  Path path_of(const Layer& layer) const;
  Path picture_path(const Layer& layer) const;
  bool is_convolution(const Layer& layer) const;
  bool is_pool(const Layer& layer) const;
  bool is_interpolation(const Layer& layer) const;
  bool is_average(const Layer& layer) const;
  void place();
  void use(ValueId id);
  void want(ValueId id, Extra extra);
  void find_uses();
  void find_attentions();
  bool want_channels(ValueId id);
  void find_layer_uses(std::size_t layer);

  const Dims& dims(ValueId id) const { return network_.value(id).dims; }

  const NetworkDefinition& network_;
  const KnownValues& known_;
  Storage& storage_;
  std::vector<Path> paths_;
  std::vector<std::int32_t> writers_;  // layer by value, -1: nobody
  std::vector<bool> used_;
  std::vector<std::vector<bool>> in_place_;
  std::vector<std::vector<Extra>> extras_;
  std::vector<bool> written_;
  std::vector<Attention> attentions_;
  std::vector<std::size_t> attention_;  // by layer
  std::vector<std::string> declined_;
};

}  // namespace fovea::engine::cpu::native
