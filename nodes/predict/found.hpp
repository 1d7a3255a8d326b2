// What postprocess's messages say, as the objects of a Prediction.
//
// Thread safety: pure functions.
#pragma once

#include <vector>

#include "msgs/classification.hpp"
#include "msgs/depth_map.hpp"
#include "msgs/detection.hpp"
#include "msgs/keypoints.hpp"
#include "msgs/oriented_box.hpp"
#include "msgs/semantic_map.hpp"
#include "nodes/predict/prediction.hpp"

namespace fovea::predict {

std::vector<Object> objects_of(const msgs::Detection2DArray& found);
std::vector<ClassScore> classes_of(const msgs::Classification& found);

std::vector<ClassScore> classes_of(const msgs::SemanticMap& found);

DepthMap depth_of(const msgs::DepthMap& found);

// To the objects of the same run, whose order is that of the message.
void add_keypoints(const msgs::KeypointDetection2DArray& found, std::vector<Object>& objects);
// And makes each object's box the upright one around its corners.
void add_corners(const msgs::OrientedDetection2DArray& found, std::vector<Object>& objects);

}  // namespace fovea::predict
