// What a stage of the pipeline is: one frame of a camera in, one frame out. Nothing here says how
// frames reach a stage or leave it, so the same stage runs in a node of its own
// (nodes/runtime/stages/stage_node.hpp), or called by another stage of the same process.
//
// Whoever runs a stage owns what is around a frame: the slots, the header and its stamps, the
// ledger, the log of frames that are refused. A stage owns its algorithm and what it remembers of
// its one camera.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "nodes/base/result.hpp"

namespace fovea {

// One frame of the camera; borrowed for the length of the call.
template <class M>
struct StageIn {
  const M& message;
  std::span<const std::byte> payload;  // empty for messages without one
};

template <class M>
struct StageOut {
  // The header is the input's already. All else is what the frame before left here, so a stage sets
  // every field.
  M& message;
  std::span<std::byte> payload;  // of at least payload_bytes(); empty for messages without one
  // What is wrong with a frame that is delivered all the same; empty = nothing. Only its beginning
  // is logged, so its numbers may vary from frame to frame.
  std::string warning;
};

// Of one camera. Thread safety: one thread at a time.
template <class In, class Out>
class Stage {
 public:
  virtual ~Stage() = default;

  // What process() writes to the payload for this input.
  virtual std::size_t payload_bytes(const In& /*in*/) const { return 0; }

  // An error refuses the frame: it is counted as `error`, logged when such frames begin to come, and
  // shown as the node's status until a good one comes. kCorrupt and kUnavailable say that the stage
  // itself is in order (the frame's content is broken; something else is not here yet): a warning.
  virtual Result<> process(const StageIn<In>& in, StageOut<Out>& out) = 0;
};

}  // namespace fovea
