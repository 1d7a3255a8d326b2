// Transformers' heads are found by what they compute, cut in front of their choice of the best, and
// their second input is the network's own size.
#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/detector/engine/passes/passes.hpp"
#include "tests/engine/graph_maker.hpp"

namespace fovea::engine::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Attributes = std::map<std::string, Attribute>;

constexpr std::int64_t kQueries = 64;

enum class Tail { kAll, kRows, kParts, kNamed };

struct Spelling {
  const char* name;
  Tail tail = Tail::kRows;
  std::int64_t classes = 5;
  std::int64_t best = 20;
  std::int64_t batch = -1;
  bool corners = false;  // boxes as x1, y1, x2, y2
  // Heads that are none.
  bool softmax = false;
  bool worst = false;
  bool one_class_each = false;  // a query's best class only, in the order of queries
  bool labels_are_queries = false;
  float corner_error = 1.0F;
};

// 64 x 64 pixels, a query for each of 8 x 8 cells.
class QueryMaker {
 public:
  explicit QueryMaker(const Spelling& spelling) : s_(spelling) {}

  NetworkDefinition make() {
    const ValueId images = g_.input("images", {s_.batch, 3, 64, 64});
    const ValueId size = s_.tail == Tail::kParts
                             ? g_.input("orig_target_sizes", {s_.batch, 2}, DataType::kInt64)
                             : kNoValue;
    ValueId features = g_.silu(g_.conv(images, 3, 6, 8, 8));
    features = g_.add(OpType::kReshape, {features, g_.constant(ints({0, 6, kQueries}))});
    features =
        g_.add(OpType::kTranspose, {features}, {{"perm", std::vector<std::int64_t>{0, 2, 1}}});
    const ValueId boxes = g_.add(OpType::kSigmoid, {product(features, 4)});
    const ValueId logits = product(features, s_.classes);
    std::vector<ValueId> outputs = {boxes, logits};
    if (s_.tail != Tail::kNamed) {
      const ValueId scores = s_.softmax ? g_.add(OpType::kSoftmax, {logits}, axis(-1))
                                        : g_.add(OpType::kSigmoid, {logits});
      outputs = tail(given(boxes, size), scores);
    }
    NetworkDefinition network = g_.finish(outputs);
    const std::vector<std::string> names =
        s_.tail == Tail::kNamed   ? std::vector<std::string>{"dets", "labels"}
        : s_.tail == Tail::kParts ? std::vector<std::string>{"labels", "boxes", "scores"}
                                  : std::vector<std::string>{"output0"};
    for (std::size_t i = 0; i < names.size(); ++i) network.value(outputs[i]).name = names[i];
    return network;
  }

 private:
  static Attributes axis(std::int64_t value) { return {{"axis", value}}; }

  ValueId product(ValueId x, std::int64_t columns) {
    const ValueId weights = g_.constant(noise({6, columns}, static_cast<std::uint64_t>(columns)));
    return g_.add(OpType::kMatMul, {x, weights});
  }
  ValueId as_float(ValueId x) {
    return g_.add(OpType::kCast, {x}, {{"to", static_cast<std::int64_t>(DataType::kFloat32)}});
  }
  ValueId number(float value) { return g_.constant(floats({}, {value})); }

  // As the model gives them.
  ValueId given(ValueId boxes, ValueId size) {
    if (s_.corners) {
      const auto parts =
          g_.add_many(OpType::kSplit, {boxes, g_.constant(ints({2, 2}))}, axis(2), 2);
      const ValueId half = g_.add(OpType::kMul, {parts[1], number(0.5F * s_.corner_error)});
      boxes =
          g_.add(OpType::kConcat,
                 {g_.add(OpType::kSub, {parts[0], half}), g_.add(OpType::kAdd, {parts[0], half})},
                 axis(2));
    }
    if (size == kNoValue) return boxes;
    ValueId factor = g_.add(OpType::kTile, {size, g_.constant(ints({1, 2}))});
    factor = g_.add(OpType::kUnsqueeze, {as_float(factor), g_.constant(ints({1}))});
    return g_.add(OpType::kMul, {boxes, factor});
  }

  std::vector<ValueId> tail(ValueId boxes, ValueId scores) {
    if (s_.tail == Tail::kAll) return {g_.add(OpType::kConcat, {boxes, scores}, axis(2))};
    if (s_.one_class_each) {
      scores = g_.add(OpType::kReduceMax, {scores, g_.constant(ints({2}))});
    }
    const std::int64_t classes = s_.one_class_each ? 1 : s_.classes;
    const ValueId flat = g_.add(OpType::kFlatten, {scores});
    const auto best = g_.add_many(OpType::kTopK, {flat, g_.constant(ints({s_.best}))},
                                  {{"largest", std::int64_t{s_.worst ? 0 : 1}}}, 2);
    const ValueId count = g_.constant(scalar(classes));
    const ValueId query = g_.add(OpType::kDiv, {best[1], count});
    const ValueId label = s_.labels_are_queries ? query : g_.add(OpType::kMod, {best[1], count});
    ValueId rows = g_.add(OpType::kUnsqueeze, {query, g_.constant(ints({2}))});
    rows = g_.add(OpType::kTile, {rows, g_.constant(ints({1, 1, 4}))});
    const ValueId chosen = g_.add(OpType::kGatherElements, {boxes, rows}, axis(1));
    if (s_.tail == Tail::kParts) return {label, chosen, best[0]};
    const auto column = [&](ValueId x) {
      return g_.add(OpType::kUnsqueeze, {x, g_.constant(ints({2}))});
    };
    return {g_.add(OpType::kConcat, {chosen, column(best[0]), column(as_float(label))}, axis(2))};
  }

  Spelling s_;
  GraphMaker g_;
};

TEST(QueryHead, IsCutInFrontOfItsChoiceHoweverItIsSpelt) {
  const std::vector<Spelling> spellings = {
      {.name = "rows"},
      {.name = "rows of corners", .corners = true},
      {.name = "rows of one class", .classes = 1},
      {.name = "rows of as many classes as a box has numbers", .classes = 4},
      {.name = "as many rows as queries", .best = kQueries},
      {.name = "fixed batch", .batch = 1},
      {.name = "all", .tail = Tail::kAll},
      {.name = "all of two classes, which are as many numbers as a row has",
       .tail = Tail::kAll,
       .classes = 2},
      {.name = "parts", .tail = Tail::kParts, .corners = true},
      {.name = "parts of many classes", .tail = Tail::kParts, .classes = 80, .corners = true},
      {.name = "parts of centres and sizes", .tail = Tail::kParts, .batch = 1},
  };
  for (const Spelling& spelling : spellings) {
    const auto lowered = lower(QueryMaker(spelling).make());
    ASSERT_TRUE(lowered) << spelling.name << ": " << lowered.error().message;
    ASSERT_EQ(lowered->head.name, "queries") << spelling.name << ": " << lowered->head.note;
    EXPECT_EQ(lowered->head.spec, query_head(static_cast<std::uint32_t>(spelling.classes)));
    EXPECT_EQ(lowered->head.basis, HeadBasis::kComputed);
    ASSERT_EQ(lowered->outputs.size(), 2U);
    const Value& boxes = lowered->value(lowered->outputs[0]);
    const Value& logits = lowered->value(lowered->outputs[1]);
    EXPECT_EQ(boxes.name, "boxes");
    EXPECT_EQ(boxes.dims, (Dims{-1, kQueries, 4})) << spelling.name;
    EXPECT_EQ(logits.name, "logits");
    EXPECT_EQ(logits.dims, (Dims{-1, kQueries, spelling.classes})) << spelling.name;
    EXPECT_EQ(lowered->inputs.size(), 1U);
    EXPECT_EQ(lowered->picture, (InputSpec{.resize = ResizeMode::kStretch}));
    for (const Layer& layer : lowered->layers) {
      EXPECT_NE(layer.op, OpType::kTopK) << spelling.name;
      EXPECT_NE(layer.op, OpType::kConcat) << spelling.name << ": " << layer.name;
    }
  }
}

TEST(QueryHead, IsNotClaimedWhenTheTailComputesSomethingElse) {
  const std::vector<Spelling> wrong = {
      {.name = "softmax", .softmax = true},
      {.name = "softmax of all", .tail = Tail::kAll, .softmax = true},
      {.name = "the worst", .worst = true},
      {.name = "numbers of queries as classes", .labels_are_queries = true},
      {.name = "one class of each query", .one_class_each = true},
      {.name = "corners that are too far out", .corners = true, .corner_error = 1.01F},
      {.name = "parts with such corners",
       .tail = Tail::kParts,
       .corners = true,
       .corner_error = 1.01F},
  };
  for (const Spelling& spelling : wrong) {
    const auto lowered = lower(QueryMaker(spelling).make());
    // Refused by those that guess, or another head, or none.
    if (!lowered) continue;
    EXPECT_NE(lowered->head.name, "queries") << spelling.name << ": " << lowered->head.note;
  }
}

TEST(QueryHead, OfNamedOutputsLeavesTheLastLogitOut) {
  const auto plain = lower(QueryMaker({.name = "RF-DETR", .tail = Tail::kNamed}).make());
  ASSERT_TRUE(plain) << plain.error().message;
  EXPECT_EQ(plain->head.spec, query_head(4));
  EXPECT_EQ(plain->picture.resize, ResizeMode::kStretch);
  EXPECT_EQ(plain->picture.mean, (PerChannel{0.485F, 0.456F, 0.406F}));
  EXPECT_THAT(plain->head.note, HasSubstr("the last of its logits stands for none"));
  EXPECT_EQ(plain->value(plain->outputs[1]).dims, (Dims{-1, kQueries, 5}));

  const auto coco =
      lower(QueryMaker({.name = "COCO's", .tail = Tail::kNamed, .classes = 91}).make());
  ASSERT_TRUE(coco) << coco.error().message;
  EXPECT_EQ(coco->head.spec, query_head(91));

  NetworkDefinition named = QueryMaker({.name = "names", .tail = Tail::kNamed}).make();
  named.metadata["names"] = "{0: 'a', 1: 'b', 2: 'c', 3: 'd', 4: 'e'}";
  named.class_names = {"a", "b", "c", "d", "e"};
  const auto all = lower(std::move(named));
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ(all->head.spec, query_head(5));
  EXPECT_THAT(all->head.warnings, IsEmpty());
}

TEST(SizeInput, BecomesTheNetworksOwnSize) {
  NetworkDefinition network = QueryMaker({.name = "parts", .tail = Tail::kParts}).make();
  network.value(network.inputs[0]).dims = {-1, 3, 64, 128};
  const auto outcome = fold_size_input(network);
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->changes, 1U);
  EXPECT_THAT(outcome->note, HasSubstr("'orig_target_sizes' is the network's own size, 128 x 64"));
  EXPECT_TRUE(network.validate());
  EXPECT_EQ(network.inputs.size(), 1U);
  const auto size = std::find_if(network.values.begin(), network.values.end(),
                                 [](const Value& v) { return v.name == "orig_target_sizes"; });
  ASSERT_NE(size->constant, nullptr);
  EXPECT_EQ(size->constant->dims, (Dims{1, 2}));
  EXPECT_EQ(size->constant->data<std::int64_t>()[0], 128);
  EXPECT_EQ(size->constant->data<std::int64_t>()[1], 64);
}

TEST(SizeInput, IsRefusedUnderAnotherNameShapeOrTypeWithTheCure) {
  const auto refusal = [](auto change) {
    NetworkDefinition network = QueryMaker({.name = "parts", .tail = Tail::kParts}).make();
    change(network.value(network.inputs[1]));
    const auto lowered = lower(std::move(network));
    return lowered ? std::string("taken") : lowered.error().message;
  };
  EXPECT_THAT(refusal([](Value& v) { v.name = "scale_factor"; }),
              HasSubstr("'scale_factor' int64 [?, 2] is neither the picture nor its size "
                        "(orig_target_sizes, orig_target_size, orig_sizes int64 [batch, 2]); "
                        "export it with the picture as its one input"));
  EXPECT_THAT(refusal([](Value& v) { v.dims = {-1, 3}; }), HasSubstr("int64 [?, 3] is neither"));
  EXPECT_THAT(refusal([](Value& v) { v.dtype = DataType::kBool; }), HasSubstr("bool [?, 2]"));
}

}  // namespace
}  // namespace fovea::engine::test
