// What a file that is called a model really is, from its bytes. Models come through Git LFS, web
// pages and archives, and what arrives is often something else under the right name.
#pragma once

#include <cstddef>
#include <span>

#include "nodes/base/result.hpp"

namespace fovea::engine {

// Fails with kCorrupt for bytes that are no whole ONNX model, naming what they are and what to do: a
// Git LFS pointer, an HTML page, another format, a model that is cut off, an empty file. Looks at
// the beginning and at the lengths of the outermost parts only: bytes that pass may still be no
// model. For readers whose decoding has failed, to say why.
Result<> check_file_kind(std::span<const std::byte> bytes);

}  // namespace fovea::engine
