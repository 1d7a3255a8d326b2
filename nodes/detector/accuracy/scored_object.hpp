// One object of a picture as accuracy is measured on it, of any task that finds objects.
#pragma once

#include <cstdint>
#include <vector>

#include "msgs/keypoints.hpp"
#include "nodes/postprocess/turned_box.hpp"

namespace fovea {

// Edges in pixels of the picture; x1 <= x2, y1 <= y2. What a task does not give stays empty.
struct ScoredObject {
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;
  float score = 0;  // ignored in ground truth
  std::uint32_t class_id = 0;

  std::vector<std::uint32_t> mask_runs = {};     // kSegment; as msgs::InstanceMask2D
  std::vector<msgs::Keypoint2D> keypoints = {};  // kPose, in the model's order
  TurnedBox turned = {};                         // kObb; the edges are those around it
};

}  // namespace fovea
