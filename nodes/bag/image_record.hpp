// Camera frames in a recording are ROS 2's own image messages, so that Foxglove, rosbag2 and every
// ROS 2 tool show them: `sensor_msgs/msg/Image` (raw) or `sensor_msgs/msg/CompressedImage` (JPEG).
// The frame's number is the MCAP message's sequence, its instant of capture the publish time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msgs/image.hpp"

namespace fovea::bag {

inline constexpr std::string_view kImageSchemaName = "sensor_msgs/msg/Image";
inline constexpr std::string_view kCompressedImageSchemaName = "sensor_msgs/msg/CompressedImage";
// Their `ros2msg` texts.
std::string_view image_schema();
std::string_view compressed_image_schema();

// One recorded frame; `data` belongs to whoever made it.
struct ImageRecord {
  std::int64_t stamp_realtime = 0;  // ns since the epoch
  std::string frame_id;
  bool compressed = false;
  std::uint32_t height = 0;  // raw only, as are the next three
  std::uint32_t width = 0;
  std::uint32_t step = 0;
  msgs::Encoding encoding = msgs::Encoding::kBgr8;
  std::span<const std::byte> data;  // pixels, rows `step` bytes apart; or the JPEG file
};

// Replaces the contents of `out`. REQUIRES: data is below 4 GiB.
void to_cdr(const ImageRecord& record, std::vector<std::byte>& out);

// False for what is no such message, an encoding that no camera of ours has, or fewer pixels than
// height and step say; any bytes are safe. `record.data` points into `bytes`. `why`, if given, gets a
// few words where there are any, such as an encoding that is not read.
bool from_cdr(std::span<const std::byte> bytes, bool compressed, ImageRecord& record,
              std::string* why = nullptr);

}  // namespace fovea::bag
