// How alike two objects of a task are, 0..1: what decides whether a detection hits. Pure functions.
#pragma once

#include <cstdint>
#include <span>

#include "nodes/base/head_spec.hpp"
#include "nodes/detector/accuracy/scored_object.hpp"

namespace fovea {

using Similarity = double (*)(const ScoredObject& found, const ScoredObject& truth);

// By boxes alone; 0 for boxes without area.
double intersection_over_union(const ScoredObject& found, const ScoredObject& truth);

// Pixels in both masks by pixels in either; 0 without a pixel. REQUIRES: of pictures of one size.
double mask_intersection_over_union(const ScoredObject& found, const ScoredObject& truth);

// COCO's object keypoint similarity (OKS): mean over the points that the truth shows (visibility
// 0.5 or more) of exp(-d^2 / (2 area (2 sigma)^2)), with COCO's sigmas for its 17 points and
// 1/points for all others. The area is 0.53 of the truth's box, as much of it as a person covers,
// for labels of points say no more. A truth that shows no point is compared by its box. 0 if the
// numbers of points differ.
double object_keypoint_similarity(const ScoredObject& found, const ScoredObject& truth);

// ProbIoU of turned boxes, see turned_box.hpp.
double turned_box_similarity(const ScoredObject& found, const ScoredObject& truth);

// What a task is judged by. REQUIRES: not kClassify, which finds no objects.
Similarity similarity_of(Task task);

}  // namespace fovea
