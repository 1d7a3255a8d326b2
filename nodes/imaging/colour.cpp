#include "nodes/imaging/colour.hpp"

#include <array>

namespace fovea::imaging {

Colour colour_of(std::uint32_t number) {
  static constexpr std::array<Colour, 16> kColours{{{255, 92, 71},
                                                    {51, 181, 255},
                                                    {255, 193, 38},
                                                    {93, 214, 92},
                                                    {222, 110, 255},
                                                    {255, 138, 188},
                                                    {0, 214, 190},
                                                    {255, 140, 26},
                                                    {125, 140, 255},
                                                    {196, 222, 60},
                                                    {255, 84, 150},
                                                    {92, 200, 230},
                                                    {235, 180, 130},
                                                    {150, 230, 160},
                                                    {186, 150, 255},
                                                    {240, 220, 130}}};
  const Colour colour = kColours[number % kColours.size()];
  const auto each = [&](auto change) {
    return Colour{change(colour.red), change(colour.green), change(colour.blue)};
  };
  // Then the same ones paler, and deeper.
  switch (number / kColours.size() % 3) {
    case 1:
      return each([](int part) { return static_cast<std::uint8_t>(part + (255 - part) * 9 / 20); });
    case 2:
      return each([](int part) { return static_cast<std::uint8_t>(part * 13 / 20); });
    default:
      return colour;
  }
}

Colour darker(Colour colour) {
  const auto part = [](std::uint8_t value) { return static_cast<std::uint8_t>(value * 2 / 5); };
  return {part(colour.red), part(colour.green), part(colour.blue)};
}

Colour text_on(Colour ground) {
  const double luma = 0.299 * ground.red + 0.587 * ground.green + 0.114 * ground.blue;
  return luma > 110 ? Colour{16, 16, 16} : Colour{255, 255, 255};
}

}  // namespace fovea::imaging
