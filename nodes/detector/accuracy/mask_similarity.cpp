// On the run lengths as they are: both are walked at once, and no picture is drawn.
#include <algorithm>
#include <cstddef>

#include "nodes/detector/accuracy/similarity.hpp"

namespace fovea {

namespace {

class RunWalk {
 public:
  explicit RunWalk(std::span<const std::uint32_t> runs)
      : runs_(runs), left_(runs.empty() ? 0 : runs[0]) {}

  bool done() const { return run_ >= runs_.size(); }
  bool in_object() const { return run_ % 2 == 1; }
  std::uint32_t left() const { return left_; }  // pixels of this run
  // REQUIRES: not done(), pixels <= left().
  void advance(std::uint32_t pixels) {
    left_ -= pixels;
    if (left_ == 0 && ++run_ < runs_.size()) left_ = runs_[run_];
  }

 private:
  std::span<const std::uint32_t> runs_;
  std::size_t run_ = 0;
  std::uint32_t left_;
};

}  // namespace

double mask_intersection_over_union(const ScoredObject& found, const ScoredObject& truth) {
  std::uint64_t both = 0;
  std::uint64_t either = 0;
  RunWalk a(found.mask_runs);
  RunWalk b(truth.mask_runs);
  while (!a.done() && !b.done()) {
    const std::uint32_t pixels = std::min(a.left(), b.left());
    if (a.in_object() && b.in_object()) both += pixels;
    if (a.in_object() || b.in_object()) either += pixels;
    a.advance(pixels);
    b.advance(pixels);
  }
  return either == 0 ? 0 : static_cast<double>(both) / static_cast<double>(either);
}

}  // namespace fovea
