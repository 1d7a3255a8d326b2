// Colours of marks.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>

namespace fovea::imaging {

struct Colour {
  std::uint8_t red = 0;
  std::uint8_t green = 0;
  std::uint8_t blue = 0;

  bool operator==(const Colour&) const = default;
};

// One of 48 that are told apart: 16 bright ones, then the same paler and deeper; neighbours differ
// most.
Colour colour_of(std::uint32_t number);

// The same at two fifths of its light: a rim keeps a mark visible on a ground of its own colour.
Colour darker(Colour colour);

// Black or white, whichever is read more easily on it.
Colour text_on(Colour ground);

}  // namespace fovea::imaging
