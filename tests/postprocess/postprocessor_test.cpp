// From a message to detections in source pixels, and messages that lie.
#include "nodes/postprocess/postprocessor.hpp"

#include <array>
#include <cstring>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "tests/postprocess/heads.hpp"
#include "tests/support/allocation_guard.hpp"

namespace fovea {
namespace {

using test::fill;
using test::Head;
using test::HeadKind;
using test::kTransform;
using test::make_head;
using test::make_model;

Postprocessor make(const msgs::ModelInfo& model, const PostprocessOptions& options = {}) {
  auto postprocessor = Postprocessor::create(model, options);
  if (!postprocessor) std::abort();
  return std::move(*postprocessor);
}

// Puts a box [cx, cy, w, h] with one score into an all-zero kDecoded head.
void put(Head& head, std::size_t anchor, std::array<float, 4> box, std::size_t class_id,
         float score) {
  const auto anchors = static_cast<std::size_t>(test::kDecodedAnchors);
  for (std::size_t i = 0; i < 4; ++i) head.maps[0].values[i * anchors + anchor] = box[i];
  head.maps[0].values[(4 + class_id) * anchors + anchor] = score;
}

// The head as a message with its slot.
struct Message {
  msgs::TensorArray array;
  std::vector<std::byte> slot;
};

Message make_message(const Head& head) {
  Message message;
  message.array.model_id = 42;
  message.array.letterbox = kTransform;
  message.array.header.seq = 7;
  message.array.header.frame_id = "front";
  for (const Head::Map& map : head.maps) {
    const std::size_t bytes = map.values.size() * sizeof(float);
    msgs::TensorView view;
    view.name = std::string_view(map.name);
    view.rank = static_cast<std::uint32_t>(map.dims.size());
    std::copy(map.dims.begin(), map.dims.end(), view.dims.begin());
    view.offset = message.slot.size();
    view.bytes = bytes;
    message.array.tensors.push_back(view);
    message.slot.resize(message.slot.size() + bytes);
    std::memcpy(message.slot.data() + view.offset, map.values.data(), bytes);
  }
  return message;
}

TEST(Postprocessor, GivesClippedBoxesInSourcePixelsBestFirst) {
  const auto model = make_model(HeadKind::kDecoded, 3);
  Head head = make_head(model);
  put(head, 5, {80, 80, 40, 20}, 1, 0.6f);
  put(head, 9, {81, 80, 40, 20}, 1, 0.5f);     // suppressed by the first
  put(head, 300, {0, 20, 20, 20}, 2, 0.8f);    // a quarter lies inside the image
  put(head, 400, {80, 5, 30, 20}, 0, 0.9f);    // wholly in the padding
  put(head, 500, {80, 130, 40, 20}, 0, 0.2f);  // below the threshold
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray out;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, out));
  EXPECT_EQ(out.source_width, 320u);
  EXPECT_EQ(out.source_height, 240u);
  ASSERT_EQ(out.detections.size(), 2u);
  const msgs::Detection2D corner{
      .bbox = {.center_x = 10, .center_y = 10, .size_x = 20, .size_y = 20},
      .hypothesis = {.class_id = 2, .score = 0.8f},
      .class_name = "class2"};
  const msgs::Detection2D middle{
      .bbox = {.center_x = 160, .center_y = 120, .size_x = 80, .size_y = 40},
      .hypothesis = {.class_id = 1, .score = 0.6f},
      .class_name = "class1"};
  EXPECT_EQ(out.detections[0], corner);
  EXPECT_EQ(out.detections[1], middle);
}

// A head whose anchors find one object each: what overlaps is two objects, whatever the options say.
TEST(Postprocessor, SuppressesNothingWhereTheHeadHasNothingToSuppress) {
  auto model = make_model(HeadKind::kDecoded, 3);
  Head head = make_head(model);
  put(head, 5, {80, 80, 40, 20}, 1, 0.6f);
  put(head, 5, {80, 80, 40, 20}, 2, 0.3f);
  put(head, 9, {81, 80, 40, 20}, 1, 0.5f);
  PostprocessOptions options;
  options.iou_threshold = 0.1f;
  options.class_agnostic = true;
  msgs::Detection2DArray out;
  ASSERT_TRUE(make(model, options).run(head.tensors(), kTransform, out));
  EXPECT_EQ(out.detections.size(), 1u);
  model.head.suppression = Suppression::kNone;
  Postprocessor one_to_one = make(model, options);
  ASSERT_TRUE(one_to_one.run(head.tensors(), kTransform, out));
  ASSERT_EQ(out.detections.size(), 3u);
  EXPECT_EQ(out.detections[0].hypothesis.score, 0.6f);
  EXPECT_EQ(out.detections[1].hypothesis.score, 0.5f);
  EXPECT_EQ(out.detections[2].hypothesis.class_id, 2u);
  options.score_threshold = 0.4f;  // changed while it runs
  ASSERT_TRUE(one_to_one.set_options(options));
  ASSERT_TRUE(one_to_one.run(head.tensors(), kTransform, out));
  EXPECT_EQ(out.detections.size(), 2u);
}

TEST(Postprocessor, GivesTheSameFromAMessageAndFromPointers) {
  std::mt19937 random(1);
  for (const HeadKind kind : {HeadKind::kDfl, HeadKind::kDecoded, HeadKind::kDecodedObjectness}) {
    const auto model = make_model(kind, 10);
    Head head = make_head(model);
    fill(head, model, random);
    Postprocessor postprocessor = make(model);
    const Message message = make_message(head);
    msgs::Detection2DArray direct, received;
    ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, direct));
    const auto result = postprocessor.run(message.array, message.slot, received);
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(received.header, message.array.header);
    ASSERT_GT(direct.detections.size(), 5u);
    ASSERT_EQ(direct.detections.size(), received.detections.size());
    EXPECT_TRUE(std::equal(direct.detections.begin(), direct.detections.end(),
                           received.detections.begin()));
    for (const auto& detection : received.detections) {
      EXPECT_GE(detection.bbox.center_x - detection.bbox.size_x / 2, -1e-3f);
      EXPECT_LE(detection.bbox.center_x + detection.bbox.size_x / 2, 320 + 1e-3f);
      EXPECT_GE(detection.bbox.center_y - detection.bbox.size_y / 2, -1e-3f);
      EXPECT_LE(detection.bbox.center_y + detection.bbox.size_y / 2, 240 + 1e-3f);
    }
  }
}

TEST(Postprocessor, IsBoundedWhenEverythingIsAboveTheThreshold) {
  auto model = make_model(HeadKind::kDfl, 80, 640);
  Head head = make_head(model);
  std::mt19937 random(2);
  fill(head, model, random);
  for (Head::Map& map : head.maps) {
    if (!map.name.starts_with("cls")) continue;
    for (float& value : map.values) value = 3 + value / 16;
  }
  PostprocessOptions options;
  for (const bool multi_label : {false, true}) {
    options.multi_label = multi_label;
    options.iou_threshold = 1;
    Postprocessor postprocessor = make(model, options);
    msgs::LetterboxTransform transform = kTransform;
    transform.network_width = transform.network_height = 640;
    msgs::Detection2DArray out;
    ASSERT_TRUE(postprocessor.run(head.tensors(), transform, out));
    EXPECT_LE(out.detections.size(), 300u);
    EXPECT_GT(out.detections.size(), 10u);
    for (std::size_t i = 1; i < out.detections.size(); ++i) {
      ASSERT_GE(out.detections[i - 1].hypothesis.score, out.detections[i].hypothesis.score);
    }
  }
}

// 120 boxes of high scores in the border above the picture, one of a low score inside it.
TEST(Postprocessor, BoxesInTheBorderTakeNoPlaceOfMaxDetectionsOrMaxCandidates) {
  for (const HeadKind kind : {HeadKind::kDecoded, HeadKind::kDecodedObjectness}) {
    const auto model = make_model(kind, 2);
    Head head = make_head(model);
    const auto set = [&](std::size_t anchor, std::array<float, 4> box, float score) {
      if (kind == HeadKind::kDecoded) {
        put(head, anchor, box, 1, score);
        return;
      }
      float* row = head.maps[0].values.data() + anchor * 7;
      std::copy(box.begin(), box.end(), row);
      row[4] = 1;
      row[6] = score;
    };
    for (std::size_t i = 0; i < 120; ++i) {
      set(i, {static_cast<float>(i), 8, 0.5f, 20}, 0.9f);  // ends at 18; the picture begins at 20
    }
    set(500, {80, 80, 40, 20}, 0.4f);
    for (const bool multi_label : {false, true}) {
      PostprocessOptions options;
      options.max_detections = 100;
      options.max_candidates = 10;
      options.multi_label = multi_label;
      Postprocessor postprocessor = make(model, options);
      msgs::Detection2DArray out;
      ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, out));
      ASSERT_EQ(out.detections.size(), 1u);
      EXPECT_EQ(out.detections[0].hypothesis.score, 0.4f);
    }
  }
}

// The one in the border is the better one and overlaps it, but nobody would see it.
TEST(Postprocessor, ABoxInTheBorderSuppressesNoneInThePicture) {
  const auto model = make_model(HeadKind::kDecoded, 2);
  Head head = make_head(model);
  put(head, 1, {80, 10, 40, 20}, 1, 0.9f);
  put(head, 2, {80, 11, 40, 20}, 1, 0.5f);  // a pixel of it is in the picture
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray out;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, out));
  ASSERT_EQ(out.detections.size(), 1u);
  EXPECT_EQ(out.detections[0].hypothesis.score, 0.5f);
}

TEST(Postprocessor, AModelThatGivesOnlyNanIsAnErrorAndNoEmptyScene) {
  for (const HeadKind kind : {HeadKind::kDfl, HeadKind::kDecoded, HeadKind::kDecodedObjectness}) {
    const auto model = make_model(kind, 3);
    for (const float broken :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      Head head = make_head(model);
      for (Head::Map& map : head.maps) std::fill(map.values.begin(), map.values.end(), broken);
      Postprocessor postprocessor = make(model);
      msgs::Detection2DArray out;
      const auto result = postprocessor.run(head.tensors(), kTransform, out);
      ASSERT_FALSE(result);
      EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
      EXPECT_NE(result.error().message.find("not finite"), std::string::npos);
      const Head good = make_head(model);
      ASSERT_TRUE(postprocessor.run(good.tensors(), kTransform, out));
      EXPECT_FALSE(postprocessor.not_finite().any());
    }
  }
}

TEST(Postprocessor, NanInSomeRowsIsCountedAndTheOthersAreFound) {
  const auto model = make_model(HeadKind::kDecoded, 3);
  Head head = make_head(model);
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  put(head, 5, {80, 80, 40, 20}, 1, 0.6f);
  put(head, 7, {80, 80, 40, 20}, 1, kNan);
  put(head, 9, {80, 80, 40, 20}, 2, std::numeric_limits<float>::infinity());
  put(head, 11, {kNan, 80, 40, 20}, 1, 0.8f);
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray out;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, out));
  ASSERT_EQ(out.detections.size(), 1u);
  EXPECT_EQ(out.detections[0].hypothesis.score, 0.6f);
  EXPECT_EQ(postprocessor.not_finite().scores, 2u);
  EXPECT_EQ(postprocessor.not_finite().boxes, 1u);
}

TEST(Postprocessor, BoxesThatAreAllNanAreAnError) {
  const auto model = make_model(HeadKind::kDecoded, 3);
  Head head = make_head(model);
  put(head, 5, {80, std::numeric_limits<float>::quiet_NaN(), 40, 20}, 1, 0.6f);
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray out;
  const auto result = postprocessor.run(head.tensors(), kTransform, out);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
}

TEST(Postprocessor, OptionsChangeBetweenFramesAndBadOnesChangeNothing) {
  const auto model = make_model(HeadKind::kDecoded, 3);
  Head head = make_head(model);
  put(head, 5, {80, 80, 40, 20}, 1, 0.6f);
  put(head, 6, {30, 80, 20, 20}, 1, 0.4f);
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray out;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, out));
  EXPECT_EQ(out.detections.size(), 2u);
  PostprocessOptions options;
  options.score_threshold = 0.5f;
  ASSERT_TRUE(postprocessor.set_options(options));
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, out));
  EXPECT_EQ(out.detections.size(), 1u);
  options.score_threshold = 7;
  EXPECT_FALSE(postprocessor.set_options(options));
  EXPECT_EQ(postprocessor.options().score_threshold, 0.5f);
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, out));
  EXPECT_EQ(out.detections.size(), 1u);
}

TEST(Postprocessor, RefusesMessagesThatLie) {
  const auto model = make_model(HeadKind::kDfl, 4);
  const Message good = make_message(make_head(model));
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray out;
  ASSERT_TRUE(postprocessor.run(good.array, good.slot, out));
  const auto refuse = [&](auto change, std::string_view text) {
    msgs::TensorArray bad = good.array;
    change(bad);
    const auto result = postprocessor.run(bad, good.slot, out);
    ASSERT_FALSE(result) << text;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(result.error().message.find(text), std::string::npos) << result.error().message;
  };
  using Array = msgs::TensorArray;
  constexpr auto kHuge = ~std::uint64_t{0};
  refuse([](Array& m) { m.model_id = 43; }, "are of model 000000000000002b");
  refuse([](Array& m) { m.tensors.count = 9; }, "9 tensors");
  refuse([](Array& m) { m.tensors.count = 5; }, "5 tensors");
  refuse([](Array& m) { m.tensors[0].rank = 7; }, "rank 7");
  refuse([](Array& m) { m.tensors[0].rank = 2; }, "has the shape");
  refuse([=](Array& m) { m.tensors[0].offset = kHuge; }, "its slot has");
  refuse([=](Array& m) { m.tensors[0].bytes = kHuge; }, "its slot has");
  refuse([](Array& m) { m.tensors[5].offset += 4; }, "its slot has");
  refuse([](Array& m) { m.tensors[0].offset += 1; }, "not aligned");
  refuse([](Array& m) { m.tensors[1].name = "cls0"; }, "is missing");
  refuse([](Array& m) { m.tensors[0].name.bytes.fill('x'); }, "is missing");
  refuse([](Array& m) { m.letterbox = {}; }, "letterbox is 0x0");
  refuse([](Array& m) { m.letterbox.pad_top = 41; }, "letterbox is");
  refuse([](Array& m) { m.letterbox.network_width = 320; }, "the model's input is 160x160");
}

TEST(Postprocessor, RunsWithoutAllocating) {
  std::mt19937 random(3);
  for (const auto& options : {PostprocessOptions{}, PostprocessOptions::evaluation()}) {
    const auto model = make_model(HeadKind::kDfl, 80);
    Head head = make_head(model);
    fill(head, model, random);
    const Message message = make_message(head);
    const test::AllocationGuard creation;
    Postprocessor postprocessor = make(model, options);
    EXPECT_GT(creation.count(), 0u);  // the guard can count
    msgs::Detection2DArray out;
    const test::AllocationGuard guard;
    const bool ok = postprocessor.run(message.array, message.slot, out).has_value();
    EXPECT_EQ(guard.count(), 0u);
    EXPECT_TRUE(ok);
    EXPECT_EQ(out.detections.size(), 300u);
  }
}

}  // namespace
}  // namespace fovea
