// One sort, then a scan that ends with the last detection wanted; the comparisons are in
// decode_kernels.hpp.
#include "nodes/postprocess/nms.hpp"

#include "nodes/postprocess/decode_kernels.hpp"
#include "nodes/postprocess/score_order.hpp"

namespace fovea {

using decode_kernels::KeptBoxes;
using decode_kernels::Query;

NonMaximumSuppression::NonMaximumSuppression(bool force_scalar) : force_scalar_(force_scalar) {
  kept_.reserve(msgs::Detection2DArray::kMaxDetections);
}

void NonMaximumSuppression::reserve(std::size_t candidates) { order_.reserve(candidates); }

std::span<const std::uint32_t> NonMaximumSuppression::run(std::span<const Candidate> candidates,
                                                          const PostprocessOptions& options) {
  const auto& kernels =
      force_scalar_ ? decode_kernels::scalar_kernels() : decode_kernels::best_kernels();

  sort_by_score(candidates, order_);
  KeptBoxes boxes;
  kept_.clear();
  for (const std::uint64_t entry : order_) {
    if (kept_.size() >= options.max_detections) break;
    const auto number = static_cast<std::uint32_t>(entry);
    const Candidate& c = candidates[number];
    const Query query{.x1 = c.x1,
                      .y1 = c.y1,
                      .x2 = c.x2,
                      .y2 = c.y2,
                      .area = (c.x2 - c.x1) * (c.y2 - c.y1),
                      .class_id = options.class_agnostic ? 0.0f : static_cast<float>(c.class_id)};
    if (kernels.overlaps_any(boxes, query, options.iou_threshold)) continue;
    kept_.push_back(number);
    boxes.x1[boxes.count] = query.x1;
    boxes.y1[boxes.count] = query.y1;
    boxes.x2[boxes.count] = query.x2;
    boxes.y2[boxes.count] = query.y2;
    boxes.area[boxes.count] = query.area;
    boxes.class_id[boxes.count] = query.class_id;
    ++boxes.count;
  }
  return kept_;
}

}  // namespace fovea
