// Every reference operator against numbers worked out by hand: the oracle needs an oracle of its
// own.
#include <cmath>
#include <cstdlib>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/detector/engine/reference/reference_engine.hpp"
#include "tests/engine/operator_table.hpp"

namespace fovea::engine::test {
namespace {

float sigmoid(float x) { return 1.0F / (1.0F + std::exp(-x)); }

class ReferenceOperator : public ::testing::TestWithParam<OpCase> {};

TEST_P(ReferenceOperator, GivesTheNumbersOfTheSpecification) {
  const OpCase& c = GetParam();
  const auto actual = run(c);
  ASSERT_TRUE(actual) << actual.error().message;
  for (std::size_t i = 0; i < c.expected.size(); ++i) {
    const Tensor& expected = c.expected[i];
    const Tensor& got = (*actual)[i];
    ASSERT_EQ(got.dims, expected.dims) << "output " << i;
    ASSERT_EQ(got.dtype, expected.dtype) << "output " << i;
    if (expected.dtype != DataType::kFloat32) {
      EXPECT_EQ(got.bytes, expected.bytes) << "output " << i;
      continue;
    }
    for (std::int64_t k = 0; k < expected.size(); ++k) {
      EXPECT_NEAR(got.data<float>()[k], expected.data<float>()[k], 1e-5F)
          << "output " << i << ", element " << k;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, ReferenceOperator, ::testing::ValuesIn(op_cases()),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(ReferenceOperators, EveryOperatorHasACase) {
  std::set<std::size_t> covered;
  for (const OpCase& c : op_cases()) covered.insert(static_cast<std::size_t>(c.op));
  for (std::size_t op = 0; op < kOpTypeCount; ++op) {
    if (static_cast<OpType>(op) == OpType::kForeign) continue;  // a model, no operator
    EXPECT_TRUE(covered.contains(op)) << to_string(static_cast<OpType>(op));
  }
}

// A convolution written the other way round: gather per output element, in f64.
struct ConvCase {
  Dims x;
  Dims w;
  Ints strides = {1, 1};
  Ints pads = {0, 0, 0, 0};
  Ints dilations = {1, 1};
  std::int64_t group = 1;
};

double gathered(const ConvCase& c, const Tensor& x, const Tensor& w, std::int64_t n,
                std::int64_t oc, std::int64_t oy, std::int64_t ox) {
  double sum = 0;
  const std::int64_t first = oc / (c.w[0] / c.group) * c.w[1];
  for (std::int64_t i = 0; i < c.w[1]; ++i) {
    for (std::int64_t ky = 0; ky < c.w[2]; ++ky) {
      for (std::int64_t kx = 0; kx < c.w[3]; ++kx) {
        const std::int64_t iy = oy * c.strides[0] - c.pads[0] + ky * c.dilations[0];
        const std::int64_t ix = ox * c.strides[1] - c.pads[1] + kx * c.dilations[1];
        if (iy < 0 || ix < 0 || iy >= c.x[2] || ix >= c.x[3]) continue;
        sum +=
            static_cast<double>(
                x.data<float>()[((n * c.x[1] + first + i) * c.x[2] + iy) * c.x[3] + ix]) *
            static_cast<double>(w.data<float>()[((oc * c.w[1] + i) * c.w[2] + ky) * c.w[3] + kx]);
      }
    }
  }
  return sum;
}

TEST(ReferenceConvolution, AgreesWithAGatherAtOddShapes) {
  const std::vector<ConvCase> cases = {
      {{2, 3, 7, 5}, {4, 3, 3, 3}, {1, 1}, {1, 1, 1, 1}},
      {{1, 3, 7, 9}, {5, 3, 3, 3}, {2, 2}, {1, 1, 1, 1}},
      {{1, 4, 8, 8}, {6, 2, 3, 1}, {1, 2}, {2, 0, 0, 0}, {1, 1}, 2},
      {{1, 2, 9, 11}, {2, 2, 3, 3}, {2, 3}, {0, 2, 1, 0}, {2, 3}},
      {{1, 3, 5, 5}, {3, 1, 5, 5}, {1, 1}, {2, 2, 2, 2}, {1, 1}, 3},
      {{1, 1, 2, 2}, {1, 1, 5, 5}, {1, 1}, {4, 4, 4, 4}},
      {{1, 5, 6, 7}, {3, 5, 1, 1}},
      {{1, 5, 6, 7}, {3, 5, 1, 1}, {3, 2}},
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const ConvCase& c = cases[i];
    const Tensor x = noise(c.x, i);
    const Tensor w = noise(c.w, i + 100);
    GraphMaker graph;
    const ValueId y = graph.add(
        OpType::kConv, {graph.input("x", c.x), graph.constant(w)},
        {{"strides", c.strides}, {"pads", c.pads}, {"dilations", c.dilations}, {"group", c.group}});
    const auto outputs = reference::evaluate(graph.finish({y}), {{"x", x}});
    ASSERT_TRUE(outputs) << outputs.error().message;
    const Tensor& out = outputs->at("y0");
    std::int64_t at = 0;
    for (std::int64_t n = 0; n < out.dims[0]; ++n) {
      for (std::int64_t oc = 0; oc < out.dims[1]; ++oc) {
        for (std::int64_t oy = 0; oy < out.dims[2]; ++oy) {
          for (std::int64_t ox = 0; ox < out.dims[3]; ++ox) {
            ASSERT_NEAR(out.data<float>()[at++], gathered(c, x, w, n, oc, oy, ox), 1e-4)
                << "case " << i;
          }
        }
      }
    }
  }
}

TEST(ReferenceConvolution, AppliesTheActivationBeforeTheResidual) {
  GraphMaker graph;
  const ValueId x = graph.input("x", {1, 1, 1, 2});
  const ValueId y = graph.add(OpType::kConv, {x, graph.constant(floats({1, 1, 1, 1}, {2}))});
  graph.network().layers[0].activation = Activation::kSilu;
  graph.network().layers[0].residual = x;
  const auto outputs =
      reference::evaluate(graph.finish({y}), {{"x", floats({1, 1, 1, 2}, {1, -3})}});
  ASSERT_TRUE(outputs) << outputs.error().message;
  EXPECT_NEAR(outputs->at("y0").data<float>()[0], 2 * sigmoid(2) + 1, 1e-6);
  EXPECT_NEAR(outputs->at("y0").data<float>()[1], -6 * sigmoid(-6) - 3, 1e-6);
}

TEST(ReferenceOperators, WrongOperandsAreNamedNotRun) {
  const Tensor image = floats({1, 2, 3, 3}, std::vector<float>(18));
  const Tensor weights = floats({1, 2, 3, 3}, std::vector<float>(18));
  const Tensor one = floats({1}, {0});
  const std::vector<OpCase> cases = {
      {"do not go with an input",
       OpType::kConv,
       {image, floats({1, 3, 1, 1}, {1, 1, 1})},
       {},
       {one}},
      {"strides has 0", OpType::kConv, {image, weights}, {{"strides", Ints{0, 1}}}, {one}},
      {"pads has -1", OpType::kConv, {image, weights}, {{"pads", Ints{-1, 0, 0, 0}}}, {one}},
      {"does not fit", OpType::kConv, {image, weights}, {{"dilations", Ints{2, 2}}}, {one}},
      {"groups", OpType::kConv, {image, weights}, {{"group", std::int64_t{0}}}, {one}},
      {"the bias is [2]", OpType::kConv, {image, weights, floats({2}, {1, 2})}, {}, {one}},
      {"kernel_shape", OpType::kConv, {image, weights}, {{"kernel_shape", Ints{1, 1}}}, {one}},
      {"do not broadcast", OpType::kAdd, {floats({2}, {1, 2}), floats({3}, {1, 2, 3})}, {}, {one}},
      {"float32 and int64", OpType::kAdd, {floats({1}, {1}), ints({1})}, {}, {one}},
      {"cannot be reshaped", OpType::kReshape, {one, ints({2})}, {}, {one}},
      {"shape has -1", OpType::kReshape, {one, ints({-1, -1})}, {}, {one}},
      {"shape has 9223372036854775807",
       OpType::kReshape,
       {one, ints({INT64_MAX, INT64_MAX})},
       {},
       {one}},
      {"axis is 4", OpType::kConcat, {image, image}, {{"axis", std::int64_t{4}}}, {one}},
      {"must have 4 axes", OpType::kConcat, {image, one}, {}, {one}},
      {"must order the 4 axes", OpType::kTranspose, {image}, {{"perm", Ints{0, 1, 1, 2}}}, {one}},
      {"must order", OpType::kTranspose, {image}, {{"perm", Ints{1, 0}}}, {one}},
      {"a step is 0", OpType::kSlice, {one, ints({0}), ints({1}), ints({0}), ints({0})}, {}, {one}},
      {"do not split",
       OpType::kSplit,
       {image, ints({1, INT64_MAX})},
       {{"axis", std::int64_t{1}}},
       {one, one}},
      {"is not 1", OpType::kSqueeze, {image, ints({1})}, {}, {one}},
      {"no valid length",
       OpType::kRange,
       {scalar(0), scalar(INT64_MAX), scalar(1)},
       {},
       {ints({})}},
      {"no valid length", OpType::kRange, {scalar(0), scalar(5), scalar(0)}, {}, {ints({})}},
      {"lies outside", OpType::kGather, {one, ints({1})}, {}, {one}},
      {"is not valid", OpType::kExpand, {one, ints({1 << 20, 1 << 20})}, {}, {one}},
      {"at most 8 axes", OpType::kConstantOfShape, {ints({1 << 20, 1 << 20}), one}, {}, {one}},
      {"at most 8 axes",
       OpType::kConstantOfShape,
       {ints({1, 1, 1, 1, 1, 1, 1, 1, 1}), one},
       {},
       {one}},
      {"pads has -1", OpType::kPad, {one, ints({-1, 0})}, {}, {one}},
      {"exactly one of scales and sizes", OpType::kResize, {image}, {}, {one}},
      {"only the last two",
       OpType::kResize,
       {image, kAbsent, kAbsent, ints({1, 4, 3, 3})},
       {{"mode", std::string("linear")}},
       {one}},
      {"cannot be multiplied",
       OpType::kMatMul,
       {floats({1, 2}, {1, 2}), floats({1, 2}, {1, 2})},
       {},
       {one}},
      {"is missing", OpType::kConv, {image, kAbsent}, {}, {one}},
      {"padding 3 is not smaller",
       OpType::kMaxPool,
       {image},
       {{"kernel_shape", Ints{3, 3}}, {"pads", Ints{3, 0, 3, 0}}},
       {one}},
  };
  for (const OpCase& c : cases) {
    const auto result = run(c);
    ASSERT_FALSE(result) << c.name;
    EXPECT_THAT(result.error().message, ::testing::HasSubstr(c.name));
    EXPECT_THAT(result.error().message, ::testing::HasSubstr("layer '"));
  }
}

// Extreme extents, attributes and shape arithmetic in any operator: an error or a result, nothing
// else.
TEST(ReferenceOperators, SurviveAnyNumbers) {
  const Ints extremes = {-1, 0, 1, 2, 3, 5, -2, 8, 1 << 20, (1 << 29) + 1, INT64_MAX, INT64_MIN};
  std::uint64_t state = 1;
  const auto next = [&](std::size_t limit) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<std::size_t>(state >> 33) % limit;
  };
  std::size_t refused = 0;
  std::size_t accepted = 0;
  for (OpCase c : op_cases()) {
    const OpCase original = c;
    for (int round = 0; round < 300; ++round) {
      c = original;
      for (Tensor& input : c.inputs) {
        if (next(2) == 0) continue;
        if (input.dtype == DataType::kInt64 && input.size() > 0) {
          input.data<std::int64_t>()[next(static_cast<std::size_t>(input.size()))] =
              extremes[next(extremes.size())];
        } else if (!input.dims.empty() && input.dims != kAbsent.dims) {
          Dims dims = input.dims;
          dims[next(dims.size())] = static_cast<std::int64_t>(next(4));
          input = Tensor::make(input.dtype, dims);
        }
      }
      for (auto& [name, attribute] : c.attributes) {
        if (next(2) == 0) continue;
        if (auto* value = std::get_if<std::int64_t>(&attribute))
          *value = extremes[next(extremes.size())];
        if (auto* list = std::get_if<Ints>(&attribute)) {
          (*list)[next(list->size())] = extremes[next(extremes.size())];
          if (next(8) == 0) list->resize(next(6), 1);
        }
      }
      auto [network, given] = make_network(c);
      const auto shaped = infer_shapes(network, 1);
      if (!shaped) {
        ++refused;
        EXPECT_FALSE(shaped.error().message.empty());
        continue;
      }
      ++accepted;
      bool small = true;
      for (const Value& value : network.values) small = small && volume(value.dims) <= 1 << 12;
      const auto kernel = network.layers[0].ints_attribute("kernel_shape", {});
      for (const std::int64_t extent : kernel) small = small && extent < 1 << 8;
      if (!small) continue;
      const auto result = reference::evaluate(network, given);
      EXPECT_TRUE(result || !result.error().message.empty());
    }
  }
  EXPECT_GT(refused, 1000U);
  EXPECT_GT(accepted, 1000U);
}

struct Aligned {
  explicit Aligned(std::size_t bytes) : data(std::aligned_alloc(64, (bytes + 63) / 64 * 64)) {}
  ~Aligned() { std::free(data); }
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;
  void* data;
};

// A head that reads the first output as [h, w, channels].
HeadSpec one_map(const NetworkDefinition& network) {
  OutputMap map;
  map.tensor = std::string_view(network.value(network.outputs[0]).name);
  map.anchors = AnchorAxis::kOutermost;
  map.stride = 1;
  map.channels = 2;
  HeadSpec head;
  head.maps.push_back(map);
  return head;
}

// 2 x 2 pixels of RGB through a 1x1 convolution, two maps out.
NetworkDefinition tiny_detector() {
  GraphMaker graph;
  const ValueId image = graph.input("images", {-1, 2, 2, 3}, DataType::kUint8);
  const ValueId x = graph.add(OpType::kImageInput, {image});
  const ValueId y =
      graph.add(OpType::kConv, {x, graph.constant(floats({2, 3, 1, 1}, {1, 0, 0, 0, 1, 1}))});
  NetworkDefinition network = graph.finish({y});
  network.head.spec = one_map(network);
  return network;
}

TEST(ReferenceEngine, WritesMapsChannelsLastForEveryItem) {
  auto info = describe_engine(tiny_detector(), "reference", {.max_batch = 2});
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->input.dims, (Dims{2, 2, 3}));
  EXPECT_EQ(info->outputs[0].dims, (Dims{2, 2, 2}));
  EXPECT_EQ(info->outputs[0].bytes, 32U);
  const auto engine = load_reference_engine(tiny_detector(), *info);
  ASSERT_TRUE(engine) << engine.error().message;
  auto context = (*engine)->create_execution_context();
  ASSERT_TRUE(context);

  Aligned inputs[2] = {Aligned(12), Aligned(12)};
  Aligned outputs[2] = {Aligned(32), Aligned(32)};
  std::vector<BatchItem> batch;
  const MemoryView views[2] = {{outputs[0].data, 32}, {outputs[1].data, 32}};
  for (std::size_t i = 0; i < 2; ++i) {
    for (std::size_t k = 0; k < 12; ++k) {
      static_cast<std::uint8_t*>(inputs[i].data)[k] = static_cast<std::uint8_t>(k + 100 * i);
    }
    batch.push_back({{inputs[i].data, 12}, std::span(&views[i], 1)});
  }
  ASSERT_TRUE((*context)->execute(batch));
  for (std::size_t i = 0; i < 2; ++i) {
    const auto* out = static_cast<const float*>(outputs[i].data);
    const float base = 100.0F * static_cast<float>(i);
    // Pixel p has R = base + 3p, G = R + 1, B = R + 2; channel 0 is R, channel 1 is G + B.
    for (std::size_t p = 0; p < 4; ++p) {
      const float red = base + 3.0F * static_cast<float>(p);
      EXPECT_EQ(out[2 * p], red);
      EXPECT_EQ(out[2 * p + 1], 2 * red + 3);
    }
  }
}

TEST(ReferenceEngine, RefusesBatchesThatDoNotFit) {
  const auto info = describe_engine(tiny_detector(), "reference", {.max_batch = 1});
  ASSERT_TRUE(info);
  const auto engine = load_reference_engine(tiny_detector(), *info);
  ASSERT_TRUE(engine);
  auto context = (*engine)->create_execution_context();
  ASSERT_TRUE(context);
  Aligned memory(64);
  const MemoryView good{memory.data, 64};
  const MemoryView null{nullptr, 64};
  const MemoryView crooked{static_cast<std::byte*>(memory.data) + 4, 60};
  const MemoryView small{memory.data, 31};
  const std::vector<std::vector<BatchItem>> batches = {
      {},
      {{good, {&good, 1}}, {good, {&good, 1}}},
      {{null, {&good, 1}}},
      {{crooked, {&good, 1}}},
      {{good, {&null, 1}}},
      {{good, {&small, 1}}},
      {{good, {}}},
  };
  for (const auto& batch : batches) {
    const auto result = (*context)->execute(batch);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace fovea::engine::test
