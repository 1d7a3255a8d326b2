// What a user may choose about the network's input, as parameters: one declaration for every program
// that takes them by preprocess's names.
//
// Thread safety: plain values.
#pragma once

#include <cstdint>

#include "nodes/runtime/process/parameters.hpp"

namespace fovea {

struct PreprocessParameters {
  std::uint8_t pad = 114;

  // REQUIRES: it outlives `p`.
  void declare(ParameterSet& p) {
    p.add("pad", &pad, "Value of the border around the image", Range{0, 255});
  }
};

}  // namespace fovea
