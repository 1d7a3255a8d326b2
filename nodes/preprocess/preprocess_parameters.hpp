// What a user may choose about the network's input, as parameters: one declaration for every program
// that takes them by preprocess's names.
//
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <optional>

#include "nodes/base/input_spec.hpp"
#include "nodes/runtime/process/parameters.hpp"

namespace fovea {

struct PreprocessParameters {
  std::optional<ResizeMode> resize;  // none: the model's
  std::int32_t pad = -1;             // -1: the model's

  std::uint8_t border(std::uint8_t of_model) const {
    return pad < 0 ? of_model : static_cast<std::uint8_t>(pad);
  }

  // REQUIRES: it outlives `p`.
  void declare(ParameterSet& p) {
    p.add("resize",
          choice(&resize, {{"auto", std::nullopt},
                           {"letterbox", ResizeMode::kLetterbox},
                           {"letterbox_top_left", ResizeMode::kLetterboxTopLeft},
                           {"stretch", ResizeMode::kStretch},
                           {"stretch_antialiased", ResizeMode::kStretchAntialiased},
                           {"centre_crop", ResizeMode::kCentreCrop}}),
          "How pictures become the network's input: as the model wants it (auto), with a border "
          "around them (letterbox) or to the right and below (letterbox_top_left), out of "
          "proportion (stretch, stretch_antialiased), or their middle, antialiased (centre_crop)");
    p.add("pad", &pad, "Value of the border around the image; -1 = the model's", Range{-1, 255});
  }
};

}  // namespace fovea
