#include "nodes/bag/image_record.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "msgs/cdr.hpp"
#include "nodes/base/text.hpp"

namespace fovea::bag {

// The fixed parts of ROS 2's messages, in the order of their definitions.
struct RosHeader {
  std::int32_t sec = 0;
  std::uint32_t nanosec = 0;
  msgs::FixedString<64> frame_id;
};

struct RosImage {
  RosHeader header;
  std::uint32_t height = 0;
  std::uint32_t width = 0;
  msgs::FixedString<32> encoding;
  std::uint8_t is_bigendian = 0;
  std::uint32_t step = 0;
};

struct RosCompressedImage {
  RosHeader header;
  msgs::FixedString<32> format;
};

}  // namespace fovea::bag

template <>
struct fovea::msgs::Fields<fovea::bag::RosHeader> {
  using T = bag::RosHeader;
  static constexpr std::string_view kName = "std_msgs/Header";
  static constexpr auto kList =
      std::tuple(field("sec", &T::sec, "s"), field("nanosec", &T::nanosec, "ns"),
                 field("frame_id", &T::frame_id));
};

template <>
struct fovea::msgs::Fields<fovea::bag::RosImage> {
  using T = bag::RosImage;
  static constexpr std::string_view kName = "sensor_msgs/Image";
  static constexpr auto kList =
      std::tuple(field("header", &T::header), field("height", &T::height, "px"),
                 field("width", &T::width, "px"), field("encoding", &T::encoding),
                 field("is_bigendian", &T::is_bigendian), field("step", &T::step, "bytes"));
};

template <>
struct fovea::msgs::Fields<fovea::bag::RosCompressedImage> {
  using T = bag::RosCompressedImage;
  static constexpr std::string_view kName = "sensor_msgs/CompressedImage";
  static constexpr auto kList =
      std::tuple(field("header", &T::header), field("format", &T::format));
};

namespace fovea::bag {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

#define FOVEA_ROS_HEADER_SCHEMA                                                        \
  "================================================================================\n" \
  "MSG: std_msgs/Header\n"                                                             \
  "builtin_interfaces/Time stamp\n"                                                    \
  "string frame_id\n"                                                                  \
  "================================================================================\n" \
  "MSG: builtin_interfaces/Time\n"                                                     \
  "int32 sec\n"                                                                        \
  "uint32 nanosec\n"

// builtin_interfaces/Time reaches from 1901 to 2038; other instants become its first or last.
RosHeader header_of(const ImageRecord& record) {
  constexpr std::int64_t kFirst = std::numeric_limits<std::int32_t>::min() * kSecond;
  constexpr std::int64_t kLast = std::numeric_limits<std::int32_t>::max() * kSecond;
  const std::int64_t stamp = std::clamp(record.stamp_realtime, kFirst, kLast);
  std::int64_t seconds = stamp / kSecond;
  std::int64_t rest = stamp % kSecond;
  if (rest < 0) {
    --seconds;
    rest += kSecond;
  }
  return {static_cast<std::int32_t>(seconds), static_cast<std::uint32_t>(rest),
          std::string_view(record.frame_id)};
}

void take_header(const RosHeader& header, ImageRecord& record) {
  record.stamp_realtime = header.sec * kSecond + header.nanosec;
  record.frame_id = header.frame_id.view();
}

// ROS 2's and OpenCV's other names of the same.
std::string_view usual_name(std::string_view name) {
  constexpr std::array<std::array<std::string_view, 2>, 6> kOthers = {{{"8UC1", "mono8"},
                                                                       {"8UC3", "bgr8"},
                                                                       {"8UC4", "bgra8"},
                                                                       {"yuyv", "yuv422_yuy2"},
                                                                       {"yuv422", "uyvy"},
                                                                       {"NV12", "nv12"}}};
  for (const auto& [other, usual] : kOthers) {
    if (name == other) return usual;
  }
  return name;
}

bool parse_encoding(std::string_view name, msgs::Encoding& encoding) {
  name = usual_name(name);
  const auto& names = msgs::EnumNames<msgs::Encoding>::kNames;
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return false;
  encoding = static_cast<msgs::Encoding>(found - names.begin());
  return true;
}

}  // namespace

std::string_view image_schema() {
  return "std_msgs/Header header\n"
         "uint32 height\n"
         "uint32 width\n"
         "string encoding\n"
         "uint8 is_bigendian\n"
         "uint32 step\n"
         "uint8[] data\n" FOVEA_ROS_HEADER_SCHEMA;
}

std::string_view compressed_image_schema() {
  return "std_msgs/Header header\n"
         "string format\n"
         "uint8[] data\n" FOVEA_ROS_HEADER_SCHEMA;
}

void to_cdr(const ImageRecord& record, std::vector<std::byte>& out) {
  msgs::CdrWriter writer(out);
  if (record.compressed) {
    writer.put(RosCompressedImage{header_of(record), "jpeg"});
  } else {
    writer.put(RosImage{header_of(record), record.height, record.width,
                        msgs::enum_name(record.encoding), 0, record.step});
  }
  writer.put_bytes(record.data);
}

bool from_cdr(std::span<const std::byte> bytes, bool compressed, ImageRecord& record,
              std::string* why) {
  msgs::CdrReader reader(bytes);
  record = {};
  record.compressed = compressed;
  if (compressed) {
    RosCompressedImage image;
    reader.get(image);
    take_header(image.header, record);
    record.data = reader.get_bytes();
    return reader.ok();
  }
  RosImage image;
  reader.get(image);
  take_header(image.header, record);
  record.height = image.height;
  record.width = image.width;
  record.step = image.step;
  record.data = reader.get_bytes();
  const auto refused = [&](std::string text) {
    if (why != nullptr) *why = std::move(text);
    return false;
  };
  if (!reader.ok()) return false;
  if (!parse_encoding(image.encoding.view(), record.encoding)) {
    return refused(fmt::format("its encoding is '{}'; read are {}",
                               shown(image.encoding.view(), 40), fmt::join(kEncodingNames, ", ")));
  }
  if (record.encoding == msgs::Encoding::kMono16 && image.is_bigendian != 0) {
    return refused("its 16 bits are big endian; little endian is read");
  }
  if ((needs_even_width(record.encoding) && record.width % 2 != 0) ||
      (needs_even_height(record.encoding) && record.height % 2 != 0)) {
    return refused(fmt::format("it is {}x{}, and {} has even sides", record.width, record.height,
                               msgs::enum_name(record.encoding)));
  }
  return record.width > 0 && record.height > 0 &&
         bytes_per_row(record.encoding, record.width) <= record.step &&
         std::uint64_t{record.step} * rows_of_bytes(record.encoding, record.height) <=
             record.data.size();
}

}  // namespace fovea::bag
