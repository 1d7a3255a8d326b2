// Decides where every value of a network lies: its type, the buffer that it shares with the concat
// or split it belongs to, and the border that the convolutions reading it need.
//
// Thread safety: none; used while compiling.
#pragma once

#include <optional>
#include <vector>

#include "nodes/detector/engine/cpu/kernels/movement.hpp"
#include "nodes/detector/engine/cpu/program/program.hpp"
#include "nodes/detector/engine/program/placement.hpp"
#include "nodes/detector/engine/network.hpp"

namespace fovea::engine::cpu::native {

// A picture in memory, or plain row-major bytes.
struct Home {
  Location location;
  kernels::Surface surface;  // pictures only
};

class Storage {
 public:
  // Which halves convolutions that may compute in them do compute in here.
  struct Halves {
    bool fp16 = false;
    bool bf16 = false;
  };
  // REQUIRES: inferred shapes; check_quantization().
  Storage(const NetworkDefinition& network, Halves halves);

  // f32 [1, C, H, W], stored NHWC, unless only operators on matrices touch it. Everything else is
  // stored as it is.
  bool is_picture(ValueId id) const;
  // What a picture is stored in: u8 on its grid, f16 between f16 convolutions, else f32.
  DataType type(ValueId id) const { return at(types_, id); }
  kernels::Grid grid(ValueId id) const;
  // The network's picture as convolutions read it: u8, in the caller's memory.
  bool is_image(ValueId id) const { return id == image_; }
  Home image() const;

  // Calls of the first phase, before any home is asked for.
  void split(const Layer& layer);                // its outputs lie in its input
  std::vector<bool> concat(const Layer& layer);  // later concats first; true: the part lies there
  void need_border(ValueId id, DataType as, const kernels::Border& border);

  // Second phase. `as` differs from type(): a converted copy of its own.
  Home home(ValueId id) { return home(id, type(id)); }
  Home home(ValueId id, DataType as);
  // Channels [channel, ...) of a picture.
  static Home part(Home home, std::int64_t channel);
  std::vector<Buffer> take_buffers() { return std::move(buffers_); }

 private:
  struct Place {  // of a buffer that is not made yet
    kernels::Border border;
    std::int32_t buffer = -1;
  };

  template <class T>
  static const T& at(const std::vector<T>& all, ValueId id) {
    return all[static_cast<std::size_t>(id)];
  }
  Place& place(ValueId id, DataType as);
  void choose_plain(const NetworkDefinition& network);
  void choose_half(const NetworkDefinition& network, Halves halves);

  const NetworkDefinition& network_;
  ValueId image_ = kNoValue;
  std::vector<DataType> types_;
  std::vector<bool> plain_;  // no picture in spite of its axes
  Placement placement_;
  std::vector<Place> own_;                       // by root
  std::vector<std::array<Place, 4>> converted_;  // by value; f32, f16, bf16, u8
  std::vector<Buffer> buffers_;
};

}  // namespace fovea::engine::cpu::native
