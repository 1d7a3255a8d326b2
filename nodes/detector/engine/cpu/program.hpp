// A network compiled for the CPU: a list of steps over one arena of memory. The program is
// immutable and shared; binding its steps to one context's memory yields the calls that execute()
// makes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace fovea::engine::cpu {

// Where a tensor lies: bytes from the start of one buffer of the arena.
struct Location {
  std::int32_t buffer = -1;
  std::size_t offset = 0;
};

// One context's memory, and the caller's memory of the item being run. Its address is stable for
// the life of the context: steps that touch the caller's memory look at `input` and `outputs` on
// every call.
struct Frame {
  std::byte* arena = nullptr;
  std::byte* scratchpad = nullptr;
  const std::vector<std::size_t>* buffer_offsets = nullptr;
  const void* input = nullptr;
  std::span<void* const> outputs;

  template <class T = float>
  T* at(Location location) const {
    const std::size_t start = (*buffer_offsets)[static_cast<std::size_t>(location.buffer)];
    return reinterpret_cast<T*>(arena + start + location.offset);
  }
};

// Runs one step on the frame that it was bound to; false if the library refused. Allocates nothing
// itself.
using Runner = std::function<bool()>;

struct Step {
  std::string layer;                // what it computes, for errors and profiles
  std::string implementation;       // "onednn jit:avx512_core", "copy", "reference"
  std::vector<std::int32_t> reads;  // buffers
  std::vector<std::int32_t> writes;
  std::function<Runner(const Frame&)> bind;
};

struct Program {
  std::vector<Step> steps;
  std::vector<std::size_t> buffer_bytes;
  std::vector<std::size_t> buffer_offsets;  // in the arena
  std::size_t arena_bytes = 0;
  std::size_t scratchpad_bytes = 0;
  std::vector<std::string>
      declined;  // "LAYER: IMPLEMENTATION: reason", what ran on a slower path and why
};

}  // namespace fovea::engine::cpu
