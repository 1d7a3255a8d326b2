#include "msgs/registry.hpp"

#include <memory>

#include "msgs/classification.hpp"
#include "msgs/depth_map.hpp"
#include "msgs/detection.hpp"
#include "msgs/image.hpp"
#include "msgs/instance_mask.hpp"
#include "msgs/json.hpp"
#include "msgs/keypoints.hpp"
#include "msgs/model_info.hpp"
#include "msgs/node_status.hpp"
#include "msgs/oriented_box.hpp"
#include "msgs/semantic_map.hpp"
#include "msgs/tensor.hpp"
#include "msgs/track.hpp"
#include "msgs/wire.hpp"

namespace fovea::msgs {
namespace {

template <Message M>
constexpr MessageType describe() {
  return {Fields<M>::kName, kLayoutHash<M>,
          [](std::span<const std::byte> bytes) -> std::optional<std::string> {
            const auto message = std::make_unique<M>();  // some are too large for a stack
            if (decode(bytes, *message) != DecodeError::kNone) return std::nullopt;
            return to_json(*message);
          }};
}

constexpr std::array kTypes{describe<Image>(),
                            describe<Tensor>(),
                            describe<TensorArray>(),
                            describe<ModelInfo>(),
                            describe<Detection2DArray>(),
                            describe<NodeStatus>(),
                            describe<Track2DArray>(),
                            describe<InstanceMask2DArray>(),
                            describe<KeypointDetection2DArray>(),
                            describe<OrientedDetection2DArray>(),
                            describe<Classification>(),
                            describe<SemanticMap>(),
                            describe<DepthMap>()};

}  // namespace

std::span<const MessageType> all_message_types() { return kTypes; }

const MessageType* find_message_type(std::uint64_t layout_hash) {
  for (const MessageType& type : kTypes) {
    if (type.layout_hash == layout_hash) return &type;
  }
  return nullptr;
}

}  // namespace fovea::msgs
