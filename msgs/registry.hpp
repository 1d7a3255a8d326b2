// All message types by name and layout hash, for tools that meet a topic without knowing its type.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "msgs/fields.hpp"

namespace fovea::msgs {

struct MessageType {
  std::string_view name;
  std::uint64_t layout_hash;
  // The message in `bytes` as JSON, or nullopt if they are no well-formed message of this type.
  std::optional<std::string> (*to_json)(std::span<const std::byte> bytes);
};

std::span<const MessageType> all_message_types();

// nullptr for an unknown hash: a peer built from other sources.
const MessageType* find_message_type(std::uint64_t layout_hash);

}  // namespace fovea::msgs
