// Heads of whole pictures: what chooses a class per pixel is proven and cut off, and nothing else
// passes for it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/detector/engine/passes/passes.hpp"
#include "tests/engine/graph_maker.hpp"

namespace fovea::engine::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

struct Semantic {
  std::int64_t batch = -1;
  std::int64_t classes = 4;
  std::string coordinates = "half_pixel";
  bool chooses = true;  // else the interpolated logits are the output
  bool keeps_axis = false;
  bool casts = true;
  bool least = false;   // of the classes
  bool limits = false;  // the logits to -6..6
  std::string task = "semantic";
};

// images [N, 3, 32, 48], logits of stride 8.
NetworkDefinition semantic(const Semantic& s) {
  GraphMaker g;
  const ValueId images = g.input("images", {s.batch, 3, 32, 48});
  const ValueId features = g.silu(g.conv(images, 3, 6, 8, 8));
  ValueId y = g.conv(features, 6, s.classes);
  if (s.limits) {
    y = g.add(OpType::kClip, {y, g.constant(floats({}, {-6})), g.constant(floats({}, {6}))});
  }
  y = g.add(OpType::kResize, {y, kNoValue, g.constant(floats({4}, {1, 1, 8, 8}))},
            {{"mode", std::string("linear")}, {"coordinate_transformation_mode", s.coordinates}});
  if (s.least) y = g.add(OpType::kNeg, {y});
  if (s.chooses && s.classes > 1) {
    y = g.add(OpType::kArgMax, {y},
              {{"axis", std::int64_t{1}}, {"keepdims", std::int64_t{s.keeps_axis ? 1 : 0}}});
  } else if (s.chooses) {
    y = g.add(OpType::kSqueeze, {y, g.constant(ints({1}))});
    y = g.add(OpType::kGreater, {y, g.constant(floats({}, {0}))});
  }
  if (s.chooses && s.casts) {
    y = g.add(OpType::kCast, {y}, {{"to", static_cast<std::int64_t>(DataType::kFloat32)}});
  }
  NetworkDefinition network = g.finish({y});
  if (!s.task.empty()) network.metadata["task"] = s.task;
  for (std::int64_t c = 0; c < s.classes; ++c) {
    network.class_names.push_back("c" + std::to_string(c));
  }
  return network;
}

std::string note_of(const Semantic& spelling) {
  const auto lowered = lower(semantic(spelling));
  if (!lowered) return "error: " + lowered.error().message;
  EXPECT_FALSE(lowered->head.known());
  return lowered->head.note;
}

TEST(SemanticHead, EndsAtTheLogitsHoweverTheClassIsChosen) {
  for (const Semantic& spelling :
       {Semantic{}, Semantic{.batch = 1}, Semantic{.keeps_axis = true}, Semantic{.casts = false},
        Semantic{.chooses = false}, Semantic{.classes = 1}, Semantic{.classes = 255}}) {
    const auto lowered = lower(semantic(spelling));
    ASSERT_TRUE(lowered) << lowered.error().message;
    EXPECT_EQ(lowered->head.name, "semantic") << lowered->head.note;
    EXPECT_EQ(lowered->head.spec, semantic_head(static_cast<std::uint32_t>(spelling.classes), 8));
    EXPECT_THAT(lowered->head.warnings, IsEmpty());
    ASSERT_EQ(lowered->outputs.size(), 1U);
    EXPECT_EQ(lowered->value(lowered->outputs[0]).name, "semantic");
    EXPECT_EQ(op_list(*lowered).find("Resize"), std::string::npos);
    EXPECT_EQ(op_list(*lowered).find("ArgMax"), std::string::npos);
  }
}

TEST(SemanticHead, IsNotClaimedOfAnotherTail) {
  for (const Semantic& spelling :
       {Semantic{.least = true}, Semantic{.limits = true}, Semantic{.coordinates = "align_corners"},
        Semantic{.chooses = false, .limits = true}}) {
    EXPECT_THAT(note_of(spelling), HasSubstr("does not choose the greatest of the classes"));
  }
}

TEST(SemanticHead, OfMoreClassesThanALabelTellsApartIsRefused) {
  EXPECT_THAT(note_of({.classes = 300}), HasSubstr("300 classes apart; a label holds at most 255"));
}

// Labels prove themselves; numbers need a task.
TEST(SemanticHead, IsWhatTheModelComputesNotWhatMetadataSay) {
  const auto lowered = lower(semantic({.task = "detect"}));
  ASSERT_TRUE(lowered) << lowered.error().message;
  EXPECT_EQ(lowered->head.spec.task(), Task::kSemantic);
  EXPECT_THAT(lowered->head.warnings,
              ElementsAre("the metadata say task 'detect', and the model computes semantic, which "
                          "counts"));
  EXPECT_EQ(lower(semantic({.task = ""}))->head.spec.task(), Task::kSemantic);
  EXPECT_FALSE(lower(semantic({.chooses = false, .task = ""}))->head.known());
}

TEST(SemanticHead, IsNotClaimedOfRowsOfADetector) {
  GraphMaker g;
  const ValueId images = g.input("images", {1, 3, 64, 64});
  const ValueId map = g.conv(images, 3, 9, 8, 8);
  NetworkDefinition network =
      g.finish({g.add(OpType::kReshape, {map, g.constant(ints({1, 9, 64}))})});
  network.metadata["task"] = "semantic";
  const auto lowered = lower(network);
  ASSERT_TRUE(lowered) << lowered.error().message;
  EXPECT_FALSE(lowered->head.known());
  EXPECT_THAT(lowered->head.note, HasSubstr("its task is 'semantic'"));
}

TEST(SemanticHead, IsLeftWhereOutput0IsToBeKept) {
  const auto lowered = lower(semantic({}), {.keep_output0 = true});
  ASSERT_TRUE(lowered) << lowered.error().message;
  EXPECT_FALSE(lowered->head.known());
  EXPECT_NE(op_list(*lowered).find("ArgMax"), std::string::npos);
}

struct Depth {
  std::string coordinates = "align_corners";
  bool enlarges = true;
  std::string task = "depth";
};

// images [N, 3, 32, 48], distances of stride 4.
NetworkDefinition depth(const Depth& d) {
  GraphMaker g;
  ValueId y = g.conv(g.input("images", {-1, 3, 32, 48}), 3, 1, 4, 4);
  y = g.add(OpType::kExp,
            {g.add(OpType::kClip, {y, g.constant(floats({}, {-4})), g.constant(floats({}, {5}))})});
  if (d.enlarges) {
    y = g.add(OpType::kResize, {y, kNoValue, g.constant(floats({4}, {1, 1, 4, 4}))},
              {{"mode", std::string("linear")}, {"coordinate_transformation_mode", d.coordinates}});
  }
  NetworkDefinition network = g.finish({y});
  if (!d.task.empty()) network.metadata["task"] = d.task;
  return network;
}

TEST(DepthHead, EndsAtTheDistancesBeforeTheyAreEnlarged) {
  for (const Depth& spelling : {Depth{}, Depth{.enlarges = false}}) {
    NetworkDefinition network = depth(spelling);
    network.class_names = {"Ultralytics names classes", "of depth, too"};
    const auto lowered = lower(network);
    ASSERT_TRUE(lowered) << lowered.error().message;
    EXPECT_EQ(lowered->head.name, "depth") << lowered->head.note;
    EXPECT_EQ(lowered->head.spec, depth_head(4));
    EXPECT_EQ(lowered->head.basis, HeadBasis::kMetadata);
    EXPECT_THAT(lowered->head.warnings, IsEmpty());
    EXPECT_EQ(lowered->value(lowered->outputs[0]).name, "depth");
    EXPECT_EQ(lowered->value(lowered->outputs[0]).dims, (Dims{-1, 1, 8, 12}));
    EXPECT_EQ(op_list(*lowered).find("Resize"), std::string::npos);
  }
}

TEST(DepthHead, IsNotClaimedOfAnotherEnlarging) {
  const auto lowered = lower(depth({.coordinates = "half_pixel"}));
  ASSERT_TRUE(lowered) << lowered.error().message;
  EXPECT_FALSE(lowered->head.known());
  EXPECT_THAT(lowered->head.note, HasSubstr("no linear interpolation with the outermost cells"));
}

// No numbers prove that they are distances.
TEST(DepthHead, IsWhatTheMetadataSay) {
  EXPECT_FALSE(lower(depth({.task = ""}))->head.known());
  const auto other = lower(depth({.task = "detect"}));
  EXPECT_FALSE(other->head.known());
  const auto detector = lower(semantic({.task = "depth"}));
  EXPECT_EQ(detector->head.spec.task(), Task::kSemantic);
  EXPECT_THAT(detector->head.warnings, Not(IsEmpty()));
}

}  // namespace
}  // namespace fovea::engine::test
