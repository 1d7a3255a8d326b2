// What a topic carries, told by its last part, as the nodes name their topics: `cam0/image` is an
// Image. Lets a tool subscribe before the first message has come.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>

#include "msgs/classification.hpp"
#include "msgs/depth_map.hpp"
#include "msgs/detection.hpp"
#include "msgs/image.hpp"
#include "msgs/instance_mask.hpp"
#include "msgs/keypoints.hpp"
#include "msgs/model_info.hpp"
#include "msgs/node_status.hpp"
#include "msgs/oriented_box.hpp"
#include "msgs/semantic_map.hpp"
#include "msgs/tensor.hpp"
#include "msgs/track.hpp"
#include "nodes/base/result.hpp"

namespace fovea::bag {

// Returns use(std::type_identity<M>{}) for the message type M of `topic`. kInvalidArgument for a
// name that tells no type. `use` returns a Result<>.
template <class Use>
Result<> with_type_of(std::string_view topic, Use&& use) {
  const std::string_view kind = topic.substr(topic.rfind('/') + 1);
  if (kind == "image") return use(std::type_identity<msgs::Image>{});
  if (kind == "tensor") return use(std::type_identity<msgs::Tensor>{});
  if (kind == "heads") return use(std::type_identity<msgs::TensorArray>{});
  if (kind == "detections") return use(std::type_identity<msgs::Detection2DArray>{});
  if (kind == "masks") return use(std::type_identity<msgs::InstanceMask2DArray>{});
  if (kind == "keypoints") return use(std::type_identity<msgs::KeypointDetection2DArray>{});
  if (kind == "oriented_boxes") return use(std::type_identity<msgs::OrientedDetection2DArray>{});
  if (kind == "classification") return use(std::type_identity<msgs::Classification>{});
  if (kind == "semantic_map") return use(std::type_identity<msgs::SemanticMap>{});
  if (kind == "depth") return use(std::type_identity<msgs::DepthMap>{});
  if (kind == "tracks") return use(std::type_identity<msgs::Track2DArray>{});
  if (kind == "model_info") return use(std::type_identity<msgs::ModelInfo>{});
  if (kind == "status") return use(std::type_identity<msgs::NodeStatus>{});
  return fail(
      ErrorCode::kInvalidArgument,
      "topic `" + std::string(topic) +
          "` does not tell what it carries; it must end in /image, /tensor, /heads, "
          "/detections, /masks, /keypoints, /oriented_boxes, /classification, /semantic_map, "
          "/depth, /tracks, /model_info or /status");
}

}  // namespace fovea::bag
