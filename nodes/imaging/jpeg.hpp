// The JPEG decoder, straight on libjpeg: OpenCV gives its warnings, which are all that tells a cut
// or damaged picture from a good one, to stderr and nobody else.
//
// Thread safety: any thread.
#pragma once

#include <cstddef>
#include <span>

#include "nodes/base/result.hpp"
#include "nodes/imaging/image_target.hpp"

namespace fovea::imaging {

// Decodes the pixels as stored into `target`. Errors: kCorrupt for damage, a cut, or another size
// than `target`'s; kUnsupported by name. REQUIRES: `target` is not empty.
Result<> decode_jpeg(std::span<const std::byte> file, bool needs_end_marker,
                     const ImageTarget& target);

}  // namespace fovea::imaging
