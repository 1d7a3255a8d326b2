// The wire contract: what differs is refused, whatever arrives is safe, and JSON shows what was
// sent.
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "msgs/detection.hpp"
#include "msgs/image.hpp"
#include "msgs/json.hpp"
#include "msgs/keypoints.hpp"
#include "msgs/model_info.hpp"
#include "msgs/node_status.hpp"
#include "msgs/registry.hpp"
#include "msgs/tensor.hpp"
#include "msgs/wire.hpp"

namespace fovea::msgs {

// Variants of one small message that differ in a single property each.
struct Base {
  Header header;
  std::uint32_t a = 0;
  std::uint32_t b = 0;
};
struct Renamed {
  Header header;
  std::uint32_t a = 0;
  std::uint32_t c = 0;
};
struct Swapped {
  Header header;
  std::uint32_t b = 0;
  std::uint32_t a = 0;
};
struct Retyped {
  Header header;
  std::uint32_t a = 0;
  float b = 0;
};
struct OtherSign {
  Header header;
  std::uint32_t a = 0;
  std::int32_t b = 0;
};
struct OtherUnit {
  Header header;
  std::uint32_t a = 0;
  std::uint32_t b = 0;
};

#define FOVEA_TEST_FIELDS(Type, first, second, unit)                            \
  template <>                                                                   \
  struct Fields<Type> {                                                         \
    static constexpr std::string_view kName = "Base";                           \
    static constexpr auto kList =                                               \
        std::tuple(field("header", &Type::header), field(#first, &Type::first), \
                   field(#second, &Type::second, unit));                        \
  }
FOVEA_TEST_FIELDS(Base, a, b, "");
FOVEA_TEST_FIELDS(Renamed, a, c, "");
FOVEA_TEST_FIELDS(Swapped, b, a, "");
FOVEA_TEST_FIELDS(Retyped, a, b, "");
FOVEA_TEST_FIELDS(OtherSign, a, b, "");
FOVEA_TEST_FIELDS(OtherUnit, a, b, "px");

namespace {

template <Message M>
std::vector<std::byte> encoded(const M& message) {
  std::vector<std::byte> wire(kMaxWireSize<M>);
  wire.resize(encode(message, wire));
  return wire;
}

Detection2DArray two_people() {
  Detection2DArray array;
  array.header.seq = 7;
  array.header.frame_id = "cam0";
  array.detections.push_back({{10, 20, 30, 40}, {0, 0.5f}, "person"});
  array.detections.push_back({{1, 2, 3, 4}, {0, 0.25f}, "person"});
  return array;
}

TEST(LayoutHash, AnyDifferenceInTheFieldListChangesIt) {
  const std::set<std::uint64_t> hashes{kLayoutHash<Base>,      kLayoutHash<Renamed>,
                                       kLayoutHash<Swapped>,   kLayoutHash<Retyped>,
                                       kLayoutHash<OtherSign>, kLayoutHash<OtherUnit>};
  EXPECT_EQ(hashes.size(), 6u);
}

TEST(LayoutHash, EveryMessageTypeHasItsOwn) {
  std::set<std::uint64_t> hashes;
  for (const MessageType& type : all_message_types()) {
    hashes.insert(type.layout_hash);
    EXPECT_EQ(find_message_type(type.layout_hash), &type);
  }
  EXPECT_EQ(hashes.size(), all_message_types().size());
  EXPECT_EQ(find_message_type(0), nullptr);
}

TEST(Wire, RoundTripKeepsEveryField) {
  Image image;
  image.header = {.stamp_monotonic = -1,
                  .stamp_realtime = 2,
                  .seq = 3,
                  .topic_seq = 4,
                  .frame_id = "cam1",
                  .stages = {}};
  image.header.stages.push_back({"camera", 5, 6});
  image.header.stages.push_back({"a_stage_of_a_long_name", 7, 8});
  image.height = 576;
  image.width = 768;
  image.step = 2304;
  image.encoding = Encoding::kRgb8;
  image.data = {.incarnation = 9, .slot = 10, .generation = 11, .bytes = 12};
  Image copy;
  ASSERT_EQ(decode(encoded(image), copy), DecodeError::kNone);
  EXPECT_EQ(copy.header, image.header);
  EXPECT_EQ(copy.data, image.data);
  EXPECT_EQ(to_json(copy), to_json(image));
}

TEST(Wire, OnlyUsedElementsOfTheTailTravel) {
  Detection2DArray array = two_people();
  const auto wire = encoded(array);
  EXPECT_EQ(wire.size(),
            kHashBytes + detail::fixed_size<Detection2DArray>() + 2 * sizeof(Detection2D));
  Detection2DArray copy;
  copy.detections.push_back({{}, {}, "left over"});
  ASSERT_EQ(decode(wire, copy), DecodeError::kNone);
  ASSERT_EQ(copy.detections.size(), 2u);
  EXPECT_EQ(copy.detections[1], array.detections[1]);
  array.detections.clear();
  ASSERT_EQ(decode(encoded(array), copy), DecodeError::kNone);
  EXPECT_TRUE(copy.detections.empty());
}

TEST(Wire, OtherLayoutIsRefusedNotReinterpreted) {
  Renamed renamed;
  EXPECT_EQ(decode(encoded(Base{}), renamed), DecodeError::kWrongLayout);
  Tensor tensor;
  EXPECT_EQ(decode(encoded(Image{}), tensor), DecodeError::kWrongLayout);
}

TEST(Wire, EveryTruncationIsRefused) {
  const auto wire = encoded(two_people());
  Detection2DArray copy;
  for (std::size_t size = 0; size < wire.size(); ++size) {
    EXPECT_NE(decode(std::span(wire).first(size), copy), DecodeError::kNone) << size;
  }
  auto longer = wire;
  longer.push_back(std::byte{0});
  EXPECT_EQ(decode(longer, copy), DecodeError::kWrongSize);
}

TEST(Wire, CountBeyondCapacityIsRefused) {
  auto wire = encoded(two_people());
  const std::uint32_t huge = 0xffffffff;
  std::memcpy(wire.data() + kHashBytes + offsetof(Detection2DArray, detections), &huge,
              sizeof huge);
  Detection2DArray copy;
  EXPECT_EQ(decode(wire, copy), DecodeError::kBadCount);

  wire = encoded(two_people());
  std::memcpy(
      wire.data() + kHashBytes + offsetof(Detection2DArray, header) + offsetof(Header, stages),
      &huge, sizeof huge);
  EXPECT_EQ(decode(wire, copy), DecodeError::kBadCount) << "of an array that is not the last field";
}

TEST(Wire, CountBeyondCapacityIsRefusedInAnElementOfAList) {
  auto people = std::make_unique<KeypointDetection2DArray>();
  people->detections.push_back({});
  people->detections.push_back({});
  people->detections[1].keypoints.push_back({1, 2, 0.5f});
  std::vector<std::byte> wire(wire_size(*people));
  encode(*people, wire);
  auto copy = std::make_unique<KeypointDetection2DArray>();
  ASSERT_EQ(decode(wire, *copy), DecodeError::kNone);
  EXPECT_EQ(copy->detections[1], people->detections[1]);
  people->detections[1].keypoints.count = KeypointDetection2D::kMaxKeypoints + 1;
  encode(*people, wire);
  EXPECT_EQ(decode(wire, *copy), DecodeError::kBadCount);
}

TEST(Wire, CountBeyondCapacityIsRefusedHoweverDeepItStands) {
  auto model = std::make_unique<ModelInfo>();
  model->head.maps.push_back({});
  std::vector<std::byte> wire(wire_size(*model));
  encode(*model, wire);
  auto copy = std::make_unique<ModelInfo>();
  ASSERT_EQ(decode(wire, *copy), DecodeError::kNone);
  EXPECT_EQ(copy->head.maps.size(), 1u);
  const std::uint32_t one_too_many = HeadSpec::kMaxMaps + 1;
  std::memcpy(wire.data() + kHashBytes + offsetof(ModelInfo, head) + offsetof(HeadSpec, maps),
              &one_too_many, sizeof one_too_many);
  EXPECT_EQ(decode(wire, *copy), DecodeError::kBadCount);
}

TEST(Wire, RandomBytesNeverCrashDecodingOrJson) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    auto wire = encoded(two_people());
    for (int flips = 0; flips < 8; ++flips) {
      wire[kHashBytes + random() % (wire.size() - kHashBytes)] = static_cast<std::byte>(random());
    }
    for (const MessageType& type : all_message_types()) {
      std::memcpy(wire.data(), &type.layout_hash, kHashBytes);
      if (const auto json = type.to_json(wire)) {
        EXPECT_FALSE(json->empty());
      }
    }
  }
}

TEST(Json, ShowsNamesUnitsAndOnlyUsedElements) {
  EXPECT_THAT(
      to_json(two_people()),
      testing::AllOf(testing::HasSubstr(R"("frame_id":"cam0")"), testing::HasSubstr(R"("seq":7)"),
                     testing::HasSubstr(R"("class_name":"person")"),
                     testing::EndsWith(R"("class_name":"person"}]})")));
  Image image;
  EXPECT_THAT(to_json(image), testing::HasSubstr(R"("encoding":"bgr8")"));
  image.encoding = static_cast<Encoding>(77);
  EXPECT_THAT(to_json(image), testing::HasSubstr(R"("encoding":"invalid")"));
}

TEST(Json, EscapesTextAndHasNoNan) {
  NodeStatus status;
  status.message = "a\"b\\c\n\xff\xc3\xa9";
  EXPECT_THAT(to_json(status), testing::HasSubstr("\"a\\\"b\\\\c\\u000a\\ufffd\xc3\xa9\""));
  BoundingBox2D box{std::nanf(""), std::numeric_limits<float>::infinity(), 0.5f, 1};
  EXPECT_EQ(to_json(box), R"({"center_x":null,"center_y":null,"size_x":0.5,"size_y":1})");
}

TEST(FixedString, CutsLongTextAndReadsUnterminatedBytes) {
  const FixedString<4> cut("abcdef");
  EXPECT_EQ(cut.view(), "abc");
  FixedString<4> hostile;
  hostile.bytes = {'w', 'x', 'y', 'z'};
  EXPECT_EQ(hostile.view(), "wxyz");
}

TEST(BoundedArray, RefusesMoreThanItsCapacity) {
  BoundedArray<int, 2> array;
  EXPECT_TRUE(array.push_back(1));
  EXPECT_TRUE(array.push_back(2));
  EXPECT_FALSE(array.push_back(3));
  EXPECT_EQ(std::vector(array.begin(), array.end()), std::vector({1, 2}));
}

TEST(LetterboxTransform, HostileValuesAreInvalid) {
  LetterboxTransform good{768, 576, 640, 640, 640, 480, 0, 80, 0, 0};
  EXPECT_TRUE(good.valid());
  EXPECT_FLOAT_EQ(good.source_x(320), 384);
  EXPECT_FLOAT_EQ(good.source_y(320), 288);
  for (auto break_it : {+[](LetterboxTransform& t) { t.new_width = 0; },
                        +[](LetterboxTransform& t) { t.source_height = 0; },
                        +[](LetterboxTransform& t) { t.source_width = 32769; },
                        +[](LetterboxTransform& t) { t.crop_left = 1; },
                        +[](LetterboxTransform& t) { t.network_width = 0; },
                        +[](LetterboxTransform& t) { t.new_width = 641, t.crop_left = 2; },
                        +[](LetterboxTransform& t) { t.pad_top = 0xffffffff; }}) {
    LetterboxTransform bad = good;
    break_it(bad);
    EXPECT_FALSE(bad.valid());
  }
  const LetterboxTransform cropped{640, 480, 224, 224, 299, 224, 0, 0, 37, 0};
  EXPECT_TRUE(cropped.valid());
  EXPECT_FLOAT_EQ(cropped.source_x(112.5f), 320);
}

}  // namespace
}  // namespace fovea::msgs
