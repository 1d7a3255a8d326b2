// What a model finds beside boxes, as a topic of the camera: the one that goes with its task.
//
//   segment   <camera>/masks            msgs::InstanceMask2DArray
//   pose      <camera>/keypoints        msgs::KeypointDetection2DArray
//   obb       <camera>/oriented_boxes   msgs::OrientedDetection2DArray
//   classify  <camera>/classification   msgs::Classification
//   semantic  <camera>/semantic_map     msgs::SemanticMap
//   depth     <camera>/depth            msgs::DepthMap
//
// Thread safety: one thread at a time.
#pragma once

#include <memory>
#include <string>

#include "msgs/header.hpp"
#include "nodes/base/head_spec.hpp"
#include "nodes/base/result.hpp"
#include "nodes/postprocess/postprocessor.hpp"
#include "nodes/runtime/topics/pubsub.hpp"

namespace fovea {

class ResultTopic {
 public:
  // Null for a task that finds boxes and nothing else. Errors: those of Publisher::create().
  static Result<std::unique_ptr<ResultTopic>> create(const Domain& domain,
                                                     const std::string& camera, Task task,
                                                     Reliability reliability);
  virtual ~ResultTopic() = default;

  virtual const std::string& name() const = 0;

  // Sends what the last run found, with this header. REQUIRES: a postprocessor of the topic's task.
  virtual void publish(const Postprocessor& found, const msgs::Header& header) = 0;
};

}  // namespace fovea
