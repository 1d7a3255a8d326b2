// What a user may choose about the network's input, as parameters: one declaration for every program
// that takes them by preprocess's names.
//
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <optional>

#include "nodes/base/head_spec.hpp"
#include "nodes/runtime/process/parameters.hpp"

namespace fovea {

struct PreprocessParameters {
  std::optional<ResizeMode> resize;  // none: the model's
  std::uint8_t pad = 114;

  // REQUIRES: it outlives `p`.
  void declare(ParameterSet& p) {
    p.add("resize",
          choice(&resize, {{"auto", std::nullopt},
                           {"letterbox", ResizeMode::kLetterbox},
                           {"stretch", ResizeMode::kStretch},
                           {"centre_crop", ResizeMode::kCentreCrop}}),
          "How pictures become the network's input: as the model wants it (auto), with a border "
          "(letterbox), out of proportion (stretch), or their middle, antialiased (centre_crop)");
    p.add("pad", &pad, "Value of the border around the image", Range{0, 255});
  }
};

}  // namespace fovea
