// Greedy non-maximum suppression with a bounded worst case.
//
// A candidate is compared with the boxes kept so far only, and the search ends when enough are
// kept, so n candidates cost a sort and at most n * max_detections comparisons, many at a time;
// never n * n.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "nodes/postprocess/decoder.hpp"
#include "nodes/postprocess/options.hpp"

namespace fovea {

// Thread safety: one thread at a time. `run` allocates only to make room for more candidates than
// ever before.
class NonMaximumSuppression {
 public:
  explicit NonMaximumSuppression(bool force_scalar = false);

  // Makes room for so many candidates.
  void reserve(std::size_t candidates);

  // Numbers of the candidates that stay, by falling score; equal scores in the order of
  // `candidates`, so the result does not depend on the machine. Valid until the next call.
  // REQUIRES: finite boxes, scores >= 0, options.max_detections <=
  // Detection2DArray::kMaxDetections.
  std::span<const std::uint32_t> run(std::span<const Candidate> candidates,
                                     const PostprocessOptions& options);

 private:
  bool force_scalar_;
  std::vector<std::uint64_t> order_;  // see sort_by_score()
  std::vector<std::uint32_t> kept_;
};

}  // namespace fovea
