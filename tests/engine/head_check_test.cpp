// What a model's shape lets one assume of its outputs, and what their numbers then refute.
#include "nodes/detector/engine/head_check.hpp"

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/detector/engine/passes/passes.hpp"
#include "tests/engine/graph_maker.hpp"

namespace fovea::engine::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::int64_t kSide = 64;
constexpr std::size_t kAnchors = 84;  // strides 8, 16, 32
constexpr std::size_t kClasses = 3;

struct Row {
  float x, y, w, h;
  std::vector<float> scores;  // with objectness if the head has it
};

// A sound grid head's row for cell (x, y) of a stride.
Row sound(std::size_t anchor, float x, float y, float stride, std::size_t scores) {
  Row row{(x + 0.5F) * stride, (y + 0.5F) * stride, 2 * stride, 1.5F * stride, {}};
  for (std::size_t s = 0; s < scores; ++s) {
    row.scores.push_back(0.9F * static_cast<float>((anchor * 7 + s * 3) % 11) / 11);
  }
  return row;
}

using Change = std::function<void(std::size_t anchor, Row& row)>;

std::string doubt(const HeadSpec& head, const Change& change) {
  const bool columns = head.find(OutputRole::kObjectness) == nullptr;
  const std::size_t scores = kClasses + (columns ? 0 : 1);
  const std::size_t fields = 4 + scores;
  EngineInfo info;
  info.input.dims = {kSide, kSide, 3};
  info.head.spec = head;
  const auto anchors = static_cast<std::int64_t>(kAnchors);
  const auto width = static_cast<std::int64_t>(fields);
  info.outputs.push_back({"output0", DataType::kFloat32,
                          columns ? Dims{width, anchors} : Dims{anchors, width}, 0});
  std::vector<float> values(kAnchors * fields);
  std::size_t anchor = 0;
  for (const std::size_t stride : {8U, 16U, 32U}) {
    for (std::size_t y = 0; y < kSide / stride; ++y) {
      for (std::size_t x = 0; x < kSide / stride; ++x, ++anchor) {
        Row row = sound(anchor, static_cast<float>(x), static_cast<float>(y),
                        static_cast<float>(stride), scores);
        change(anchor, row);
        std::vector<float> all = {row.x, row.y, row.w, row.h};
        all.insert(all.end(), row.scores.begin(), row.scores.end());
        for (std::size_t f = 0; f < fields; ++f) {
          values[columns ? f * kAnchors + anchor : anchor * fields + f] = all[f];
        }
      }
    }
  }
  EXPECT_EQ(anchor, kAnchors);
  return doubt_of_output(info, values);
}

const HeadSpec kColumns = fovea::decoded_head(kClasses);
const HeadSpec kRows = objectness_head(kClasses);
const HeadSpec kBoth[] = {kColumns, kRows};

TEST(HeadCheck, SoundNumbersGiveNoDoubt) {
  for (const HeadSpec& head : kBoth) {
    EXPECT_EQ(doubt(head, [](std::size_t, Row&) {}), "");
    // Nothing in sight: all scores the same, and 0 or nearly so.
    EXPECT_EQ(doubt(head, [](std::size_t, Row& row) { row.scores.assign(row.scores.size(), 0); }),
              "");
  }
}

TEST(HeadCheck, RowsThatStillWantDecodingAreRefuted) {
  for (const HeadSpec& head : kBoth) {
    // YOLOX: offsets within the cell, logarithms of sizes.
    EXPECT_THAT(doubt(head,
                      [](std::size_t a, Row& row) {
                        row.x = row.y = 0.4F + 0.01F * static_cast<float>(a % 10);
                        row.w = row.h = a % 3 == 0 ? -1.5F : 0.7F;
                      }),
                HasSubstr("want decoding"));
    // The same with sizes of which none is below 0.
    EXPECT_THAT(doubt(head,
                      [](std::size_t, Row& row) {
                        row = {0.5F, 0.5F, 1, 1, row.scores};
                      }),
                AllOf(HasSubstr("centres"), HasSubstr("want decoding")));
  }
}

TEST(HeadCheck, NormalisedBoxesAreRefuted) {
  for (const HeadSpec& head : kBoth) {
    EXPECT_THAT(doubt(head,
                      [](std::size_t, Row& row) {
                        row.x /= 64;
                        row.y /= 64;
                        row.w /= 64;
                        row.h /= 64;
                      }),
                HasSubstr("normalised"));
  }
}

TEST(HeadCheck, ScoresWithoutASigmoidAreRefuted) {
  for (const HeadSpec& head : kBoth) {
    EXPECT_THAT(doubt(head, [](std::size_t, Row& row) { row.scores.back() = -7; }),
                AllOf(HasSubstr("from -7"), HasSubstr("a sigmoid is missing")));
  }
}

TEST(HeadCheck, ClassNumbersInPlaceOfScoresAreRefuted) {
  EXPECT_THAT(
      doubt(kRows, [](std::size_t a, Row& row) { row.scores.back() = static_cast<float>(a % 5); }),
      HasSubstr("class numbers"));
}

TEST(HeadCheck, DetectionsInTheOrderOfTheirScoresAreRefuted) {
  EXPECT_THAT(doubt(kRows,
                    [](std::size_t a, Row& row) {
                      row.scores[0] = 0.9F - 0.01F * static_cast<float>(a);
                      row.scores[1] = row.scores[2] = row.scores[3] = 0;
                    }),
              HasSubstr("after suppression"));
}

TEST(HeadCheck, CornersInPlaceOfCentreAndSizeAreRefuted) {
  for (const HeadSpec& head : kBoth) {
    EXPECT_THAT(doubt(head,
                      [](std::size_t, Row& row) {
                        const Row box = row;
                        row.x = box.x - box.w / 2;
                        row.y = box.y - box.h / 2;
                        row.w = box.x + box.w / 2;
                        row.h = box.y + box.h / 2;
                      }),
                HasSubstr("two corners"));
  }
}

TEST(HeadCheck, NanIsRefuted) {
  EXPECT_THAT(doubt(kColumns,
                    [](std::size_t a, Row& row) {
                      if (a == 9) row.h = std::numeric_limits<float>::quiet_NaN();
                    }),
              HasSubstr("NaN"));
}

TEST(HeadCheck, HeadsThatItCannotReadGiveNoDoubt) {
  const auto wild = [](std::size_t, Row& row) { row.scores.back() = 7; };
  HeadSpec head = kColumns;
  EXPECT_NE(doubt(head, wild), "");
  head.maps[1].encoding = OutputEncoding::kLogit;
  EXPECT_EQ(doubt(head, wild), "");
  head = kColumns;
  head.maps[1].channels = 400;  // more than the output has, as a forged plan may say
  EXPECT_EQ(doubt(head, wild), "");
  head = kColumns;
  head.maps[0].tensor = head.maps[1].tensor = std::string_view("elsewhere");
  EXPECT_EQ(doubt(head, wild), "");
}

// images [N, 3, 64, 64] to outputs of the given shapes.
NetworkDefinition with_outputs(const std::vector<Dims>& outputs) {
  GraphMaker g;
  const ValueId x = g.input("images", {-1, 3, kSide, kSide});
  std::vector<ValueId> ids;
  for (const Dims& dims : outputs) {
    const std::int64_t cells = kSide * kSide / 64;
    const ValueId conv = g.conv(x, 3, (dims[1] * dims[2] + cells - 1) / cells, 8, 8);
    const ValueId flat = g.add(OpType::kReshape, {conv, g.constant(ints({0, -1}))});
    const ValueId cut = g.add(OpType::kSlice, {flat, g.constant(ints({0})),
                                               g.constant(ints({dims[1] * dims[2]})),
                                               g.constant(ints({1}))});
    ids.push_back(
        g.add(OpType::kReshape, {cut, g.constant(ints({0, dims[1], dims[2]}))}));
  }
  return g.finish(ids);
}

TEST(AssumedHead, IsOneWarningThatNamesTheAssumption) {
  const auto columns = lower(with_outputs({{-1, 7, 84}}));
  ASSERT_TRUE(columns) << columns.error().message;
  EXPECT_EQ(columns->head.basis, HeadBasis::kAssumed);
  EXPECT_THAT(columns->head.warnings,
              ElementsAre(AllOf(HasSubstr("assumed"), HasSubstr("YOLOv8"), HasSubstr("3 class"),
                                HasSubstr("strides 8, 16, 32"), HasSubstr("RGB, scaled to 0..1"),
                                HasSubstr("class_0"), HasSubstr("--head"))));
  const auto rows = lower(with_outputs({{-1, 252, 8}}));
  ASSERT_TRUE(rows) << rows.error().message;
  EXPECT_THAT(rows->head.warnings, ElementsAre(AllOf(HasSubstr("YOLOv5"), HasSubstr("objectness"))));
}

TEST(AssumedHead, IsRefusedAgainstEvidence) {
  const struct {
    const char* name;
    std::vector<Dims> outputs;
    const char* why;
  } cases[] = {
      {"segmentation with prototypes", {{-1, 39, 84}, {-1, 32, 64}}, "has 2 outputs"},
      {"SSD-like, scores first", {{-1, 84, 21}, {-1, 84, 4}}, "has 2 outputs"},
      {"detections after suppression", {{-1, 50, 6}}, "rows of six"},
      {"YOLOv5's rows, transposed", {{-1, 8, 252}}, "transposed"},
  };
  for (const auto& c : cases) {
    const auto lowered = lower(with_outputs(c.outputs));
    ASSERT_FALSE(lowered) << c.name;
    EXPECT_EQ(lowered.error().code, ErrorCode::kUnsupported);
    EXPECT_THAT(lowered.error().message, AllOf(HasSubstr(c.why), HasSubstr("--head"))) << c.name;
    const auto raw = lower(with_outputs(c.outputs), {.head = std::string(kNoHead)});
    ASSERT_TRUE(raw) << c.name << raw.error().message;
    EXPECT_FALSE(raw->head.known());
    EXPECT_EQ(raw->outputs.size(), c.outputs.size());
  }
}

TEST(StatedHead, IsTakenWithoutAWarningOfAGuessAndAgainstTheShapeIsAnError) {
  const auto stated = lower(with_outputs({{-1, 252, 8}}), {.head = std::string(kYolov5Head)});
  ASSERT_TRUE(stated) << stated.error().message;
  EXPECT_EQ(stated->head.basis, HeadBasis::kStated);
  EXPECT_EQ(stated->head.classes(), 3U);
  for (const std::string& warning : stated->head.warnings) {
    EXPECT_EQ(warning.find("assumed"), std::string::npos) << warning;
  }
  for (const auto& [head, dims] : {std::pair(kYolov8Head, Dims{-1, 252, 8}),
                                   {kYolov8Head, Dims{-1, 4, 84}},
                                   {kYolov5Head, Dims{-1, 84, 5}},
                                   {kYolov5Head, Dims{-1, 7, 84}}}) {
    const auto wrong = lower(with_outputs({dims}), {.head = std::string(head)});
    ASSERT_FALSE(wrong) << head << to_string(dims);
    EXPECT_EQ(wrong.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(wrong.error().message, HasSubstr("head is " + std::string(head)));
  }
}

NetworkDefinition named(const Dims& output, std::size_t names, const char* task) {
  NetworkDefinition network = with_outputs({output});
  std::string text = "{";
  for (std::size_t i = 0; i < names; ++i) {
    network.class_names.push_back("n" + std::to_string(i));
    text += std::to_string(i) + ": 'n" + std::to_string(i) + "', ";
  }
  if (names > 0) network.metadata["names"] = text + "}";
  if (*task != '\0') network.metadata["task"] = task;
  return network;
}

TEST(ClassNamesOfAHead, ThatDoNotFitAreSaidWithBothNumbers) {
  for (const std::size_t names : {2U, 5U}) {
    const auto lowered = lower(named({-1, 7, 84}, names, "detect"));
    ASSERT_TRUE(lowered) << lowered.error().message;
    EXPECT_EQ(lowered->head.name, "decoded");
    EXPECT_EQ(lowered->head.classes(), 3U);
    EXPECT_THAT(lowered->head.warnings,
                ElementsAre(HasSubstr("the model has 3 classes and its metadata " +
                                      std::to_string(names) + " names")));
  }
  // Without a word that it detects at all it is no head, and both numbers are said.
  const auto doubtful = lower(named({-1, 7, 84}, 2, ""));
  ASSERT_TRUE(doubtful) << doubtful.error().message;
  EXPECT_FALSE(doubtful->head.known());
  EXPECT_THAT(doubtful->head.note, AllOf(HasSubstr("3 classes"), HasSubstr("name 2")));
}

TEST(ClassNamesOfAHead, ThatCannotBeReadAreAWarning) {
  NetworkDefinition network = with_outputs({{-1, 7, 84}});
  network.metadata = {{"names", "{0: 'a', \x1b"}, {"task", "detect"}};
  const auto lowered = lower(network);
  ASSERT_TRUE(lowered) << lowered.error().message;
  EXPECT_EQ(lowered->head.name, "decoded");
  EXPECT_THAT(lowered->head.warnings,
              ElementsAre(AllOf(HasSubstr("cannot be read"), HasSubstr("class_0"))));
  EXPECT_EQ(lowered->head.warnings[0].find('\x1b'), std::string::npos);
  // All is well: no warning.
  EXPECT_THAT(lower(named({-1, 7, 84}, 3, "detect"))->head.warnings, IsEmpty());
}

TEST(NoHead, SaysWhyByTheMetadata) {
  const auto note = [](const Dims& output, std::size_t names, const char* task) {
    const auto lowered = lower(named(output, names, task));
    EXPECT_TRUE(lowered) << lowered.error().message;
    return lowered ? lowered->head.note : "";
  };
  EXPECT_THAT(note({-1, 7, 84}, 3, "segment"), HasSubstr("its task is 'segment'"));
  EXPECT_THAT(note({-1, 84, 7}, 3, "detect"), HasSubstr("transposed"));
  EXPECT_THAT(note({-1, 5000, 6}, 3, "detect"), HasSubstr("rows of six"));
}

}  // namespace
}  // namespace fovea::engine::test
