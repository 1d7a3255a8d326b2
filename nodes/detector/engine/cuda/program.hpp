// A network compiled for the GPU: a list of kernel launches over one arena, for one picture. Everything
// is laid out per image, and image i lies `i` image strides behind the first, so that one program runs
// batches of every size: only the grids' z changes.
//
// Thread safety: plain data.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "nodes/detector/engine/cuda/kernels/arguments.hpp"
#include "nodes/detector/engine/network.hpp"

namespace fovea::engine::cuda {

// What a choice of kernels depends on.
struct GpuLimits {
  int multiprocessors = 1;
  int shared_bytes = 0;  // that one block may have
};

// Of a byte, known when a context is: an arena's buffer, the batch's inputs, an output, or the
// engine's constants.
struct Address {
  enum class Space : std::uint8_t { kArena, kInput, kOutput, kConstants };
  Space space = Space::kArena;
  std::int32_t index = 0;  // buffer, or output
  std::int64_t offset = 0;
};

// A tensor of one image, wherever it lies. Strides are in elements, one per extent.
struct Tensor {
  Address address;
  std::int64_t image = 0;  // bytes from one image to the next; 0: all read the same
  Scalar scalar = Scalar::kFloat;
  Dims dims;
  Dims strides;
};

// What a launch touches: `lanes` bytes of every pixel of a buffer, so that the parts of a concat are
// told apart.
struct Access {
  std::int32_t buffer = 0;
  std::int64_t first_lane = 0;
  std::int64_t end_lane = 0;
};

// A kernel for batches of up to `images`; the last one takes larger ones, too.
struct Choice {
  std::int64_t images = 1;
  std::string kernel;
  std::array<std::uint32_t, 2> grid{1, 1};
  std::uint32_t threads = 128;
  std::uint32_t shared_bytes = 0;
  std::vector<std::byte> arguments;  // but for the addresses
};

struct Launch {
  std::string layer;
  std::vector<std::string> fused;
  std::vector<Choice> choices;  // by images, at least one
  std::uint32_t z = 1;          // of the grid, per image
  struct Pointer {
    std::size_t at;  // in `arguments`
    Address address;
  };
  std::vector<Pointer> pointers;
  std::vector<Access> reads;
  std::vector<Access> writes;

  // The index of the choice for a batch.
  std::size_t choice(std::int64_t images) const {
    std::size_t i = 0;
    while (i + 1 < choices.size() && choices[i].images < images) ++i;
    return i;
  }
};

struct Program {
  std::vector<Launch> launches;
  std::vector<std::int64_t> buffers;  // bytes of one image
  std::vector<std::byte> constants;
  std::vector<std::string> declined;  // "LAYER: reason" for each layer on a slow path
};

}  // namespace fovea::engine::cuda
