// How one layer will run. Made per layer in topological order, before anything has an address.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nodes/detector/engine/cpu/onednn/channel_layout.hpp"
#include "nodes/detector/engine/cpu/onednn/primitives.hpp"
#include "nodes/detector/engine/network.hpp"

namespace fovea::engine::cpu::onednn {

struct Choice {
  enum class Path : std::uint8_t {
    kImage,      // u8 picture -> planar f32
    kKernel,     // oneDNN, blocked
    kResize,     // nearest, blocked
    kAdd,        // equal shapes, blocked
    kConcat,     // channels, blocked: addressing, copies where that fails
    kSplit,      // channels, blocked: likewise
    kReference,  // planar
  };
  Path path = Path::kReference;
  Primitive kernel;                   // kKernel
  bool planar_source = false;         // kKernel: inputs[0] is read as planar
  std::vector<ValueId> inputs;        // computed ones, the residual last
  std::vector<std::int32_t> rows;     // kResize
  std::vector<std::int32_t> columns;  // kResize
  std::vector<std::string> declined;  // better implementations that refused, with reasons
};

// What is known about a value before it has an address.
struct Form {
  bool blockable = false;  // f32 [1, C, H, W]: has a blocked layout
  bool planar = false;     // its producer writes it planar; otherwise blocked
  ChannelLayout layout;    // if blockable
};

struct Choices {
  std::vector<Choice> layers;
  std::vector<Form> values;
};
// Chooses for every layer and settles every value's form. REQUIRES: what compile() requires.
Choices choose(const NetworkDefinition& network, std::int64_t block);

}  // namespace fovea::engine::cpu::onednn
