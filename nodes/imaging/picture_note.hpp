// A note within a picture file that says which program made it: a comment of a JPEG, the text
// "Software" of a PNG. Viewers show it under a picture's properties; its pixels stay as they are.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace fovea::imaging {

// Behind the first header of what encode_jpeg() or encode_png() wrote; other bytes stay as they are.
// REQUIRES: at most 200 letters of ASCII.
void add_note(std::vector<std::byte>& file, std::string_view note);

// Whether add_note() put it there. Any bytes are safe; the first kNoteBytes of a file are enough.
inline constexpr std::size_t kNoteBytes = 1024;
bool has_note(std::span<const std::byte> file, std::string_view note);

}  // namespace fovea::imaging
