// The detect head is found however it is spelt, and nothing else is taken for it.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/detector/engine/onnx/parser.hpp"
#include "nodes/detector/engine/passes/head_recognisers.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "nodes/detector/engine/reference/reference_engine.hpp"
#include "tests/engine/detect_head_maker.hpp"
#include "tests/engine/onnx_writer.hpp"
#include "tests/support/build_paths.hpp"

namespace fovea::engine::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Spelling {
  const char* name;
  HeadSpelling head;
};

std::vector<Spelling> spellings() {
  return {
      {"plain", {}},
      {"fixed batch of 1", {.batch = 1}},
      {"fixed batch of 2", {.batch = 2}},
      {"levels joined", {.joined_levels = true}},
      {"slices", {.joined_levels = true, .slices = true}},
      {"opset 12 softmax", {.batch = 1, .softmax_last = true}},
      {"matmul projection", {.matmul_projection = true}},
      {"shapes from the batch", {.joined_levels = true, .slices = true, .shapes_from_batch = true}},
      {"computed anchors", {.shapes_from_batch = true, .computed_anchors = true}},
      {"as many classes as box channels", {.classes = 16}},
      {"as many classes as box channels, joined", {.classes = 16, .joined_levels = true}},
      {"one class", {.classes = 1, .reg_max = 16}},
      {"distances without bins", {.reg_max = 1}},
      {"distances without bins, as many classes", {.classes = 4, .reg_max = 1}},
      {"the best", {.reg_max = 1, .best = 20}},
      {"the best, of distributions and a fixed batch", {.batch = 1, .classes = 5, .best = 30}},
      {"the best of many classes", {.classes = 80, .reg_max = 1, .best = 20}},
      {"nearly all of many classes", {.classes = 5, .reg_max = 1, .best = 80}},
      {"the best of one class", {.classes = 1, .reg_max = 1, .best = 10}},
  };
}

TEST(DetectHead, IsCutOffHoweverItIsSpelt) {
  for (const Spelling& spelling : spellings()) {
    const NetworkDefinition before = HeadMaker(spelling.head).make();
    ASSERT_TRUE(before.validate());
    LoweringReport report;
    const auto lowered = lower(before, {}, &report);
    ASSERT_TRUE(lowered) << spelling.name << ": " << lowered.error().message;
    ASSERT_EQ(lowered->head.name, "dfl") << spelling.name;
    EXPECT_EQ(lowered->head.classes(), static_cast<std::size_t>(spelling.head.classes));
    EXPECT_EQ(lowered->head.spec.bins(), spelling.head.reg_max);
    EXPECT_THAT(lowered->head.spec.strides(), ElementsAre(8, 16, 32));
    EXPECT_EQ(lowered->head.spec.suppression,
              spelling.head.best > 0 ? Suppression::kNone : Suppression::kNeeded)
        << spelling.name;
    std::string outputs;
    for (const ValueId id : lowered->outputs) {
      outputs += lowered->value(id).name + to_string(lowered->value(id).dims) + " ";
    }
    const std::int64_t box = 4 * spelling.head.reg_max;
    std::string expected;
    for (int i = 0; i < 3; ++i) {
      const std::int64_t size = 8 >> i;
      expected += "box" + std::to_string(i) + to_string(Dims{-1, box, size, size}) + " ";
      expected +=
          "cls" + std::to_string(i) + to_string(Dims{-1, spelling.head.classes, size, size}) + " ";
    }
    EXPECT_EQ(outputs, expected) << spelling.name;
    for (const Layer& layer : lowered->layers) {
      EXPECT_TRUE(layer.op == OpType::kConv || layer.op == OpType::kImageInput) << layer.name;
    }
  }
}

TEST(DetectHead, IsKeptOnRequest) {
  const NetworkDefinition before = HeadMaker({}).make();
  const auto lowered = lower(before, {.keep_output0 = true});
  ASSERT_TRUE(lowered) << lowered.error().message;
  EXPECT_EQ(lowered->head.name, "decoded");
  EXPECT_EQ(lowered->head.classes(), 3U);
  ASSERT_EQ(lowered->outputs.size(), 1U);
  EXPECT_EQ(lowered->value(lowered->outputs[0]).name, "output0");
  EXPECT_EQ(lowered->value(lowered->outputs[0]).dims, (Dims{-1, 7, 84}));
}

// Rows of six are taken for nothing else than what they are proven to be.
TEST(DetectHead, OtherBestBoxesAreNotClaimed) {
  const std::vector<Spelling> wrong = {
      {"the worst", {.reg_max = 1, .best = 20, .worst = true}},
      {"one class of an anchor", {.reg_max = 1, .best = 40, .one_class_each = true}},
      {"one of many classes of an anchor",
       {.classes = 80, .reg_max = 1, .best = 40, .one_class_each = true}},
      {"anchors at the corner", {.reg_max = 1, .best = 20, .anchor_offset = 0.0F}},
      {"other strides", {.best = 20, .stride_error = 1.01F}},
      {"scores without a sigmoid", {.best = 20, .raw_scores = true}},
  };
  for (const Spelling& spelling : wrong) {
    NetworkDefinition network = HeadMaker(spelling.head).make();
    network.metadata["task"] = "detect";
    const auto lowered = lower(network);
    ASSERT_TRUE(lowered) << spelling.name << ": " << lowered.error().message;
    EXPECT_FALSE(lowered->head.known()) << spelling.name;
    EXPECT_THAT(lowered->head.note, HasSubstr("computes no boxes of them")) << spelling.name;
  }
}

TEST(DetectHead, IsNotClaimedWhenTheTailComputesSomethingElse) {
  const std::vector<Spelling> wrong = {
      {"anchors at the corner", {.anchor_offset = 0.0F}},
      {"other strides", {.stride_error = 1.01F}},
      {"corners instead of centre and size", {.corners = true}},
      {"scores without a sigmoid", {.raw_scores = true}},
  };
  for (const Spelling& spelling : wrong) {
    const auto lowered = lower(HeadMaker(spelling.head).make());
    ASSERT_TRUE(lowered) << spelling.name;
    EXPECT_EQ(lowered->head.name, "decoded") << spelling.name;
    EXPECT_EQ(lowered->outputs.size(), 1U);
  }
}

// images [N, 3, 8, 8] to `output` of the given shape, through one convolution.
NetworkDefinition with_output(const Dims& output) {
  GraphMaker g;
  const ValueId conv = g.conv(g.input("images", {-1, 3, 8, 8}), 3, output[1] * output[2] / 64, 1);
  const ValueId y = g.add(OpType::kReshape, {conv, g.constant(ints({0, output[1], output[2]}))});
  return g.finish({y});
}

TEST(DecodedHead, FollowsShapeAndMetadata) {
  struct Case {
    Dims output;
    std::size_t names;
    const char* task;
    const char* head;  // "" = none
    std::size_t classes;
  };
  const std::vector<Case> cases = {
      {{-1, 8, 64}, 4, "detect", "decoded", 4},
      {{-1, 8, 64}, 0, "", "decoded", 4},
      {{-1, 8, 64}, 5, "detect", "decoded", 4},
      {{-1, 8, 64}, 5, "", "", 0},
      {{-1, 8, 64}, 4, "segment", "", 0},
      {{-1, 64, 8}, 3, "detect", "decoded_objectness", 3},
      {{-1, 64, 8}, 0, "", "decoded_objectness", 3},
      {{-1, 64, 8}, 60, "detect", "decoded", 60},
      {{-1, 4, 64}, 0, "", "", 0},
  };
  for (const Case& c : cases) {
    NetworkDefinition network = with_output(c.output);
    network.class_names.resize(c.names);
    if (*c.task != '\0') network.metadata["task"] = c.task;
    const auto lowered = lower(network);
    ASSERT_TRUE(lowered) << lowered.error().message;
    EXPECT_EQ(lowered->head.name, c.head) << to_string(c.output) << " " << c.names;
    EXPECT_EQ(lowered->head.classes(), c.classes);
    EXPECT_EQ(lowered->value(lowered->outputs[0]).name, c.classes == 0 ? "y0" : "output0");
  }
}

// A head that nobody knows yet is said to be none, with the reason of every recogniser.
TEST(HeadRecognisers, EachSaysWhyItIsNotItsHead) {
  const auto lowered = lower(with_output({-1, 4, 64}));
  ASSERT_TRUE(lowered) << lowered.error().message;
  EXPECT_FALSE(lowered->head.known());
  EXPECT_EQ(
      lowered->head.note,
      "dfl: the last convolutions (1) are no maps of a head: per level one for boxes, one for "
      "classes and perhaps one more; queries: no boxes and logits of queries are proven to be "
      "behind its outputs; classify: no metadata say that it classifies; semantic: 'y0' "
      "is "
      "[1, 4, 64] of a map of 8 x 8, of another stride: the input is 8 x 8; depth: no metadata say "
      "that it measures depth; rows: 'y0' is [1, 4, "
      "64], "
      "and metadata name no classes; decoded, decoded_objectness: 'y0' is [1, 4, 64], "
      "no detector's output that Fovea knows");
  NetworkDefinition posing = with_output({-1, 8, 64});
  posing.metadata["task"] = "pose";
  EXPECT_EQ(
      lower(posing)->head.note,
      "dfl: the last convolutions (1) are no maps of a head: per level one for boxes, one for "
      "classes and perhaps one more; queries, classify, semantic, depth, decoded, decoded_objectness: its "
      "task is "
      "'pose'; rows: 'y0' is [1, 8, 64], and metadata name no classes");
  posing.metadata["task"] = "flow";
  EXPECT_EQ(
      lower(posing)->head.note,
      "its task is 'flow'; decoded are detect, segment, pose, obb, classify, semantic, depth");
}

// What a plan could not keep is no head, however well it fits.
TEST(HeadRecognisers, AHeadThatCannotBeIsNotTaken) {
  const NetworkDefinition network = with_output({-1, 8, 64});
  constexpr HeadRecogniser kWrong{"wrong", [](const HeadQuestion&) -> Result<HeadAnswer> {
                                    HeadAnswer answer;
                                    answer.head.spec = fovea::decoded_head(1U << 30);
                                    return answer;
                                  }};
  const auto found = find_head({network, network, kAutoHead}, std::span(&kWrong, 1));
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_FALSE(found->head.known());
  EXPECT_THAT(found->head.note, HasSubstr("1073741824 channels"));
}

// A recogniser that only this test knows, and that a row alone makes known.
Result<HeadAnswer> recognise_pose(const HeadQuestion& question) {
  HeadAnswer answer;
  const auto task = question.network.metadata.find("task");
  if (task == question.network.metadata.end() || task->second != "pose") {
    answer.why_not = "its task is not pose";
    return answer;
  }
  answer.head.spec = fovea::decoded_head(1);
  answer.outputs = {question.network.outputs.front()};
  answer.names = {"output0"};
  return answer;
}

TEST(HeadRecognisers, OneMoreIsOneRow) {
  NetworkDefinition posing = with_output({-1, 8, 64});
  posing.metadata["task"] = "pose";
  const HeadQuestion question{posing, posing, kAutoHead};
  std::vector<HeadRecogniser> rows(head_recognisers().begin(), head_recognisers().end());
  rows.push_back({"pose", recognise_pose});
  const auto found = find_head(question, rows);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->head.name, "pose");
  EXPECT_EQ(found->head.classes(), 1U);
  posing.metadata["task"] = "segment";
  const auto none = find_head(question, rows);
  ASSERT_TRUE(none) << none.error().message;
  EXPECT_FALSE(none->head.known());
  EXPECT_EQ(
      none->head.note,
      "dfl: the last convolutions (1) are no maps of a head: per level one for boxes, one for "
      "classes and perhaps one more; queries, classify, semantic, depth, decoded, decoded_objectness: its "
      "task is "
      "'segment'; "
      "rows: 'y0' is [], no rows of the best boxes; pose: its task is not pose");
}

using AlignedBytes = std::unique_ptr<std::byte, decltype(&std::free)>;
AlignedBytes aligned(std::size_t bytes) {
  return {static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)), &std::free};
}

// What a decoder does with the raw maps (dfl_head()), to `out` [4 + classes, anchors].
void decode(const EngineInfo& info, const std::vector<AlignedBytes>& maps, Tensor& out) {
  const std::int64_t anchors = out.dims[2];
  const auto bins = static_cast<std::int64_t>(info.head.spec.bins());
  const auto classes = static_cast<std::int64_t>(info.head.classes());
  const std::vector<std::uint32_t> strides = info.head.spec.strides();
  std::int64_t first = 0;
  for (std::size_t l = 0; l < strides.size(); ++l) {
    const Dims& dims = info.outputs[2 * l].dims;
    const auto* box = reinterpret_cast<const float*>(maps[2 * l].get());
    const auto* scores = reinterpret_cast<const float*>(maps[2 * l + 1].get());
    const auto stride = static_cast<float>(strides[l]);
    for (std::int64_t cell = 0; cell < dims[0] * dims[1]; ++cell) {
      double side[4];
      for (std::int64_t s = 0; s < 4; ++s) {
        double sum = 0;
        double weighted = 0;
        for (std::int64_t bin = 0; bin < bins; ++bin) {
          const double e = std::exp(static_cast<double>(box[cell * dims[2] + s * bins + bin]));
          sum += e;
          weighted += e * static_cast<double>(bin);
        }
        side[s] = weighted / sum;
      }
      const double x = static_cast<double>(cell % dims[1]) + 0.5;
      const double y = static_cast<double>(cell / dims[1]) + 0.5;
      const double values[4] = {x + (side[2] - side[0]) / 2, y + (side[3] - side[1]) / 2,
                                side[0] + side[2], side[1] + side[3]};
      for (std::int64_t k = 0; k < 4; ++k) {
        out.data<float>()[k * anchors + first + cell] = static_cast<float>(values[k]) * stride;
      }
      for (std::int64_t c = 0; c < classes; ++c) {
        const double logit = static_cast<double>(scores[cell * classes + c]);
        out.data<float>()[(4 + c) * anchors + first + cell] =
            static_cast<float>(1 / (1 + std::exp(-logit)));
      }
    }
    first += dims[0] * dims[1];
  }
}

TEST(DemoModel, GivesTheSameDetectionsLoweredAndNot) {
  const auto model = parse_onnx(std::filesystem::path(FOVEA_SOURCE_DIR) / "config" / "models" /
                                "yolov8p_demo_dynamic.onnx");
  ASSERT_TRUE(model) << model.error().message;
  // A smooth picture with edges: flat noise would leave the deeper layers idle.
  constexpr std::int64_t kSize = 416;
  const AlignedBytes image = aligned(kSize * kSize * 3);
  Tensor planar = Tensor::make(DataType::kFloat32, {1, 3, kSize, kSize});
  for (std::int64_t y = 0; y < kSize; ++y) {
    for (std::int64_t x = 0; x < kSize; ++x) {
      for (std::int64_t c = 0; c < 3; ++c) {
        const bool inside = (x - 150) * (x - 150) + (y - 220) * (y - 220) < 90 * 90;
        const std::int64_t value = inside ? 40 + 60 * c + y % 16 : (x / 2 + y / 3 * (c + 1)) % 256;
        image.get()[(y * kSize + x) * 3 + c] = static_cast<std::byte>(value);
        planar.data<float>()[(c * kSize + y) * kSize + x] = static_cast<float>(value) / 255.0F;
      }
    }
  }
  const auto whole = reference::evaluate(*model, {{"images", planar}});
  ASSERT_TRUE(whole) << whole.error().message;
  const Tensor& expected = whole->at("output0");

  const auto lowered = lower(*model);
  ASSERT_TRUE(lowered) << lowered.error().message;
  const auto info = describe_engine(*lowered, "reference", {});
  ASSERT_TRUE(info) << info.error().message;
  ASSERT_EQ(info->outputs.size(), 6U);
  EXPECT_EQ(info->outputs[0].dims, (Dims{52, 52, 64}));
  EXPECT_EQ(info->outputs[5].dims, (Dims{13, 13, 80}));
  EXPECT_EQ(info->head.classes(), 80U);
  EXPECT_EQ(info->head.spec.bins(), 16U);
  EXPECT_THAT(info->head.spec.strides(), ElementsAre(8, 16, 32));
  EXPECT_EQ(info->class_names.size(), 80U);
  const auto engine = load_reference_engine(*lowered, *info);
  ASSERT_TRUE(engine) << engine.error().message;
  const auto context = (*engine)->create_execution_context();
  ASSERT_TRUE(context);
  std::vector<AlignedBytes> maps;
  std::vector<MemoryView> views;
  for (const TensorSpec& spec : info->outputs) {
    maps.push_back(aligned(spec.bytes));
    views.push_back({maps.back().get(), spec.bytes});
  }
  const BatchItem item{{image.get(), info->input.bytes}, views};
  ASSERT_TRUE((*context)->execute({&item, 1}));
  Tensor decoded = Tensor::make(DataType::kFloat32, expected.dims);
  decode(*info, maps, decoded);

  float box_error = 0;
  float score_error = 0;
  for (std::int64_t i = 0; i < expected.size(); ++i) {
    float& error = i < 4 * expected.dims[2] ? box_error : score_error;
    error = std::max(error, std::abs(expected.data<float>()[i] - decoded.data<float>()[i]));
  }
  EXPECT_LT(box_error, 0.02F) << "pixels";
  EXPECT_LT(score_error, 1e-4F);
}

TEST(DemoModel, LowersToSixMaps) {
  const auto model = parse_onnx(std::filesystem::path(FOVEA_SOURCE_DIR) / "config" / "models" /
                                "yolov8n_demo_dynamic.onnx");
  ASSERT_TRUE(model) << model.error().message;
  const auto lowered = lower(*model);
  ASSERT_TRUE(lowered) << lowered.error().message;
  std::vector<std::string> outputs;
  for (const ValueId id : lowered->outputs) {
    outputs.push_back(lowered->value(id).name + " " + to_string(lowered->value(id).dims));
  }
  EXPECT_THAT(outputs,
              ElementsAre("box0 [?, 64, 80, 80]", "cls0 [?, 80, 80, 80]", "box1 [?, 64, 40, 40]",
                          "cls1 [?, 80, 40, 40]", "box2 [?, 64, 20, 20]", "cls2 [?, 80, 20, 20]"));
  // 63 convolutions (the projection is gone), 57 with SiLU, 6 of them with a residual; nothing left
  // to fuse.
  std::map<std::string, int> ops;
  for (const Layer& layer : lowered->layers) ++ops[std::string(to_string(layer.op))];
  EXPECT_EQ(ops, (std::map<std::string, int>{{"Concat", 13},
                                             {"Conv", 63},
                                             {"ImageInput", 1},
                                             {"MaxPool", 3},
                                             {"Resize", 2},
                                             {"Split", 8}}));
  EXPECT_EQ(std::count_if(lowered->layers.begin(), lowered->layers.end(),
                          [](const Layer& l) { return l.activation == Activation::kSilu; }),
            57);
  EXPECT_EQ(std::count_if(lowered->layers.begin(), lowered->layers.end(),
                          [](const Layer& l) { return l.residual != kNoValue; }),
            6);
}

// Bytes flipped anywhere in a detector: lowering gives a valid network or an error.
TEST(DetectHead, SurvivesDamagedModels) {
  using Ints = std::vector<std::int64_t>;
  OnnxWriter writer;
  writer.input("images", {-1, 3, 8, 8}).output("output0").metadata("names", "{0: 'a', 1: 'b'}");
  writer.floats("w", {8, 3, 8, 8}, std::vector<double>(1536, 0.01))
      .floats("p", {1, 2, 1, 1}, {0, 1});
  writer.floats("v", {2, 8, 1, 1}, std::vector<double>(16, 0.1))
      .floats("u", {8, 8, 1, 1}, std::vector<double>(64, 0.1));
  writer.node("Conv", {"images", "w"}, {"f"}, {{"strides", Ints{8, 8}}});
  writer.node("Conv", {"f", "u"}, {"box"}).node("Conv", {"f", "v"}, {"cls"});
  writer.ints("s4", {0, 4, 2, 1}).ints("s3", {0, 4, 1}).ints("sc", {0, 2, 1});
  writer.node("Reshape", {"box", "s4"}, {"b4"})
      .node("Transpose", {"b4"}, {"bt"}, {{"perm", Ints{0, 2, 1, 3}}});
  writer.node("Softmax", {"bt"}, {"bs"}, {{"axis", std::int64_t{1}}})
      .node("Conv", {"bs", "p"}, {"bp"});
  writer.node("Reshape", {"bp", "s3"}, {"sides"}).node("Reshape", {"cls", "sc"}, {"c3"});
  writer.node("Split", {"sides"}, {"lt", "rb"}, {{"axis", std::int64_t{1}}});
  writer.floats("anchor", {1, 2, 1}, {0.5, 0.5})
      .floats("half", {}, {0.5})
      .floats("stride", {}, {8});
  writer.node("Sub", {"anchor", "lt"}, {"low"}).node("Add", {"anchor", "rb"}, {"high"});
  writer.node("Add", {"low", "high"}, {"sum"})
      .node("Mul", {"sum", "half"}, {"mid"})
      .node("Sub", {"high", "low"}, {"size"});
  writer.node("Concat", {"mid", "size"}, {"xywh"}, {{"axis", std::int64_t{1}}})
      .node("Mul", {"xywh", "stride"}, {"pixels"});
  writer.node("Sigmoid", {"c3"}, {"scores"})
      .node("Concat", {"pixels", "scores"}, {"output0"}, {{"axis", std::int64_t{1}}});
  const std::vector<std::byte> good = writer.bytes();
  const auto whole = parse_onnx(good, {});
  ASSERT_TRUE(whole) << whole.error().message;
  const auto lowered = lower(*whole);
  ASSERT_TRUE(lowered) << lowered.error().message;
  ASSERT_EQ(lowered->head.name, "dfl");

  std::size_t refused = 0;
  for (std::size_t i = 0; i < good.size(); ++i) {
    // Weights make up most of the file; a few of them are enough.
    if (i > 400 && i < 6400 && i % 97 != 0) continue;
    for (const unsigned bit : {0U, 1U, 4U, 7U}) {
      std::vector<std::byte> damaged = good;
      damaged[i] ^= static_cast<std::byte>(1U << bit);
      const auto network = parse_onnx(damaged, {});
      if (!network) continue;
      const auto result = lower(*network);
      if (result) {
        EXPECT_TRUE(result->validate());
      } else {
        ++refused;
        EXPECT_FALSE(result.error().message.empty());
      }
    }
  }
  EXPECT_GT(refused, 0U);
}

}  // namespace
}  // namespace fovea::engine::test
