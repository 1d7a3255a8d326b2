// CDR bytes and ros2msg schemas of messages, against hand-made ones and themselves.
#include "msgs/cdr.hpp"

#include <algorithm>
#include <cstring>
#include <random>

#include <gmock/gmock.h>

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
#include "nodes/bag/image_record.hpp"

namespace fovea {
namespace {

using ::testing::HasSubstr;

std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

TEST(Cdr, AlignsAndCountsAsTheStandardSays) {
  std::vector<std::byte> out;
  msgs::CdrWriter writer(out);
  writer.put(std::uint8_t{7});
  writer.put(std::uint32_t{0x01020304});
  writer.put(msgs::FixedString<8>("ab"));
  writer.put(std::uint64_t{5});
  writer.put_bytes(bytes_of({9, 8}));
  EXPECT_EQ(out, bytes_of({0, 1, 0, 0,                  // little endian
                           7, 0, 0, 0, 4,   3,   2, 1,  // padding to 4
                           3, 0, 0, 0, 'a', 'b', 0, 0,  // length with NUL; padding
                           5, 0, 0, 0, 0,   0,   0, 0, 2, 0, 0, 0, 9, 8}));
}

msgs::Detection2DArray some_detections() {
  msgs::Detection2DArray message;
  message.header.stamp_monotonic = 123456789;
  message.header.seq = 42;
  message.header.frame_id = "cam0";
  for (int i = 0; i < 3; ++i) {
    msgs::Detection2D detection;
    detection.bbox = {1.5f + static_cast<float>(i), 2, 3, 4};
    detection.hypothesis = {static_cast<std::uint32_t>(i), 0.25f};
    message.detections.push_back(detection);
  }
  return message;
}

TEST(Cdr, BringsAMessageBack) {
  const msgs::Detection2DArray sent = some_detections();
  std::vector<std::byte> bytes;
  msgs::to_cdr(sent, {}, bytes);
  msgs::Detection2DArray got;
  std::span<const std::byte> payload;
  ASSERT_TRUE(msgs::from_cdr<msgs::Detection2DArray>(bytes, got, payload));
  EXPECT_EQ(got.header, sent.header);
  ASSERT_EQ(got.detections.size(), 3u);
  EXPECT_EQ(got.detections[2].bbox, sent.detections[2].bbox);
  EXPECT_EQ(got.detections[1].hypothesis, sent.detections[1].hypothesis);
}

TEST(Cdr, CarriesThePayloadInPlaceOfTheSlot) {
  msgs::Tensor sent;
  sent.rank = 3;
  sent.dims = {2, 1, 3};
  sent.data = {.incarnation = 77, .slot = 1, .generation = 2, .bytes = 6};
  const auto pixels = bytes_of({1, 2, 3, 4, 5, 6});
  std::vector<std::byte> bytes;
  msgs::to_cdr(sent, pixels, bytes);
  msgs::Tensor got;
  std::span<const std::byte> payload;
  ASSERT_TRUE(msgs::from_cdr<msgs::Tensor>(bytes, got, payload));
  EXPECT_EQ(got.dims, sent.dims);
  EXPECT_EQ(got.data, msgs::BufferRef{});
  EXPECT_THAT(payload, ::testing::ElementsAreArray(pixels));
}

template <class M>
void expect_safe_on_any_bytes(std::mt19937& random) {
  std::vector<std::byte> bytes;
  msgs::to_cdr(M{}, {}, bytes);
  M message;
  std::span<const std::byte> payload;
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(msgs::from_cdr<M>(std::span(bytes).first(size), message, payload)) << size;
  }
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::byte> damaged = bytes;
    for (int i = 0; i < 4; ++i) {
      damaged[4 + random() % (damaged.size() - 4)] = static_cast<std::byte>(random());
    }
    static_cast<void>(msgs::from_cdr<M>(damaged, message, payload));  // the sanitizers judge
  }
}

TEST(Cdr, AnyBytesAreSafeAndCutOnesAreRefused) {
  std::mt19937 random(1);
  expect_safe_on_any_bytes<msgs::Image>(random);
  expect_safe_on_any_bytes<msgs::TensorArray>(random);
  expect_safe_on_any_bytes<msgs::Detection2DArray>(random);
  expect_safe_on_any_bytes<msgs::InstanceMask2DArray>(random);
  expect_safe_on_any_bytes<msgs::KeypointDetection2DArray>(random);
  expect_safe_on_any_bytes<msgs::OrientedDetection2DArray>(random);
  expect_safe_on_any_bytes<msgs::Classification>(random);
  expect_safe_on_any_bytes<msgs::SemanticMap>(random);
  expect_safe_on_any_bytes<msgs::DepthMap>(random);
  expect_safe_on_any_bytes<msgs::ModelInfo>(random);
  expect_safe_on_any_bytes<msgs::NodeStatus>(random);
}

TEST(Cdr, ACountBeyondTheCapacityIsRefused) {
  std::vector<std::byte> bytes;
  msgs::Detection2DArray empty;
  msgs::to_cdr(empty, {}, bytes);
  msgs::Detection2DArray got;
  std::span<const std::byte> payload;
  ASSERT_TRUE(msgs::from_cdr<msgs::Detection2DArray>(bytes, got, payload));
  const std::uint32_t count = 1u << 30;
  std::memcpy(bytes.data() + bytes.size() - sizeof count, &count, sizeof count);
  EXPECT_FALSE(msgs::from_cdr<msgs::Detection2DArray>(bytes, got, payload));
}

TEST(Cdr, SchemasNameEveryStructOnce) {
  const std::string schema = msgs::ros2_schema<msgs::Detection2DArray>();
  EXPECT_THAT(schema, HasSubstr("fovea_msgs/Header header\n"));
  EXPECT_THAT(schema, HasSubstr("fovea_msgs/Detection2D[<="));
  EXPECT_THAT(schema, HasSubstr("MSG: fovea_msgs/BoundingBox2D\nfloat32 center_x  # px\n"));
  const std::string title = "MSG: fovea_msgs/StageStamp\n";
  EXPECT_NE(schema.find(title), std::string::npos);
  EXPECT_EQ(schema.find(title), schema.rfind(title));
  EXPECT_THAT(msgs::ros2_schema<msgs::Tensor>(), HasSubstr("# 3 = float32\nuint32 dtype\n"));
  EXPECT_THAT(msgs::ros2_schema<msgs::Tensor>(), HasSubstr("uint8[] payload\n"));
  EXPECT_THAT(msgs::ros2_schema<msgs::Tensor>(), ::testing::Not(HasSubstr("BufferRef")));
}

TEST(ImageRecord, BringsPixelsAndJpegBack) {
  const auto pixels = bytes_of({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  bag::ImageRecord sent{.stamp_realtime = 1'700'000'000'123'456'789,
                        .frame_id = "cam0",
                        .compressed = false,
                        .height = 2,
                        .width = 2,
                        .step = 6,
                        .encoding = msgs::Encoding::kRgb8,
                        .data = pixels};
  std::vector<std::byte> bytes;
  bag::to_cdr(sent, bytes);
  bag::ImageRecord got;
  ASSERT_TRUE(bag::from_cdr(bytes, false, got));
  EXPECT_EQ(got.stamp_realtime, sent.stamp_realtime);
  EXPECT_EQ(got.frame_id, "cam0");
  EXPECT_EQ(got.width, 2u);
  EXPECT_EQ(got.encoding, msgs::Encoding::kRgb8);
  EXPECT_THAT(got.data, ::testing::ElementsAreArray(pixels));

  sent.compressed = true;
  bag::to_cdr(sent, bytes);
  ASSERT_TRUE(bag::from_cdr(bytes, true, got));
  EXPECT_THAT(got.data, ::testing::ElementsAreArray(pixels));
}

// As other tools write them: a header, then the encoding's own name.
TEST(ImageRecord, SaysWhichEncodingIsNotRead) {
  const auto pixels = bytes_of({1, 2, 3, 4, 5, 6, 7, 8});
  bag::ImageRecord sent{.stamp_realtime = 1,
                        .frame_id = "cam0",
                        .height = 2,
                        .width = 2,
                        .step = 4,
                        .encoding = msgs::Encoding::kMono16,
                        .data = pixels};
  std::vector<std::byte> bytes;
  bag::to_cdr(sent, bytes);
  bag::ImageRecord got;
  std::string why;
  ASSERT_TRUE(bag::from_cdr(bytes, false, got, &why)) << why;
  EXPECT_EQ(got.encoding, msgs::Encoding::kMono16);
  constexpr std::string_view kName = "mono16";
  auto* name = std::search(bytes.data(), bytes.data() + bytes.size(),
                           reinterpret_cast<const std::byte*>(kName.data()),
                           reinterpret_cast<const std::byte*>(kName.data()) + kName.size());
  std::memcpy(name, "32FC1 ", kName.size());
  EXPECT_FALSE(bag::from_cdr(bytes, false, got, &why));
  EXPECT_THAT(why, HasSubstr("its encoding is '32FC1 '; read are bgr8, rgb8, mono8, mono16"));

  sent.encoding = msgs::Encoding::kYuyv;
  sent.width = 1;
  bag::to_cdr(sent, bytes);
  EXPECT_FALSE(bag::from_cdr(bytes, false, got, &why));
  EXPECT_EQ(why, "it is 1x2, and yuv422_yuy2 has even sides");
}

TEST(ImageRecord, KeepsStampsBefore1970AndBoundsAbsurdOnes) {
  const auto pixel = bytes_of({1, 2, 3});
  const auto brought_back = [&](std::int64_t stamp) {
    bag::ImageRecord image;
    image.stamp_realtime = stamp;
    image.height = image.width = 1;
    image.step = 3;
    image.data = pixel;
    std::vector<std::byte> bytes;
    bag::to_cdr(image, bytes);
    bag::ImageRecord got;
    EXPECT_TRUE(bag::from_cdr(bytes, false, got));
    return got.stamp_realtime;
  };
  EXPECT_EQ(brought_back(-1), -1);
  EXPECT_EQ(brought_back(-1'500'000'000), -1'500'000'000);
  EXPECT_EQ(brought_back(std::numeric_limits<std::int64_t>::max()), 2'147'483'647'000'000'000);
  EXPECT_EQ(brought_back(std::numeric_limits<std::int64_t>::min()), -2'147'483'648'000'000'000);
}

TEST(ImageRecord, FewerPixelsThanTheSizeSaysAreRefused) {
  const auto pixels = bytes_of({1, 2, 3, 4, 5, 6});
  bag::ImageRecord image;
  image.height = image.width = 2;
  image.step = 6;
  image.data = pixels;
  std::vector<std::byte> bytes;
  bag::to_cdr(image, bytes);
  bag::ImageRecord got;
  EXPECT_FALSE(bag::from_cdr(bytes, false, got));
  image.step = 3;  // rows would overlap
  bag::to_cdr(image, bytes);
  EXPECT_FALSE(bag::from_cdr(bytes, false, got));
}

}  // namespace
}  // namespace fovea
