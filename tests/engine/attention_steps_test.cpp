// Attention between pictures becomes one step of our kernels, in the ways in which exporters spell
// it, and what only looks like it does not: either way the engine gives what the reference gives.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/cpu/kernels/tile.hpp"
#include "nodes/detector/engine/cpu/native/provider.hpp"
#include "nodes/detector/engine/provider.hpp"
#include "nodes/detector/engine/reference/reference_engine.hpp"
#include "nodes/detector/engine/shapes/shape_inference.hpp"
#include "tests/engine/run_engine.hpp"
#include "tests/engine/small_network.hpp"

namespace fovea::engine {
namespace {

using test::SmallNetwork;

constexpr std::int64_t kHeight = 16;  // of the input; attention sees 8 x 12
constexpr std::int64_t kWidth = 24;
constexpr std::int64_t kRows = kHeight / 2;
constexpr std::int64_t kColumns = kWidth / 2;
constexpr std::int64_t kPositions = kRows * kColumns;
using Ints = std::vector<std::int64_t>;

enum class Twist {
  kNone,
  kNoScale,            // scores as they are
  kScaledQueries,      // the factor before the product
  kQueriesOverKeys,    // k . q, shares over its first axis
  kOtherSoftmaxAxis,   // shares over the queries
  kProbabilitiesAsIs,  // mixed without the transposition
  kProbabilitiesRead,  // by somebody else, too
  kActivatedValues,    // v is not what the convolution wrote
  kScalePerHead,       // a factor that is no single number
};

class Network : public SmallNetwork {
 public:
  Network() : SmallNetwork(kHeight, kWidth) {}

  ValueId reshape(ValueId x, const Ints& dims) {
    const ValueId shape =
        network().add_constant("shape", std::make_shared<const Constant>(Constant::ints(dims)));
    return add(OpType::kReshape, {x, shape});
  }
  ValueId transpose(ValueId x, const Ints& order) {
    return add(OpType::kTranspose, {x}, {{"perm", order}});
  }
  ValueId times(ValueId x, Dims dims, const std::vector<float>& factors) {
    const ValueId factor = network().add_constant(
        "factor", std::make_shared<const Constant>(Constant::floats(std::move(dims), factors)));
    return add(OpType::kMul, {x, factor});
  }
  std::vector<ValueId> split_axis(ValueId x, const Ints& sizes, std::int64_t axis) {
    const ValueId lengths =
        network().add_constant("sizes", std::make_shared<const Constant>(Constant::ints(sizes)));
    return add_layer(OpType::kSplit, {x, lengths}, {{"axis", axis}}, sizes.size()).outputs;
  }

  // q, k and v [batch, heads, depth, positions]; the result [batch, heads, value_dim, positions].
  ValueId attend(ValueId q, ValueId k, ValueId v, std::int64_t heads, std::int64_t key_dim,
                 Twist twist, std::vector<ValueId>& outputs) {
    const Ints swap = {0, 1, 3, 2};
    const float scale = 1 / std::sqrt(static_cast<float>(key_dim));
    if (twist == Twist::kActivatedValues) v = add(OpType::kSigmoid, {v});
    if (twist == Twist::kScaledQueries) q = times(q, {}, {scale});
    const bool over_keys = twist == Twist::kQueriesOverKeys;
    ValueId scores = over_keys ? add(OpType::kMatMul, {transpose(k, swap), q})
                               : add(OpType::kMatMul, {transpose(q, swap), k});
    if (twist == Twist::kScalePerHead) {
      std::vector<float> factors(static_cast<std::size_t>(heads), scale);
      factors.back() *= 2;
      scores = times(scores, {1, heads, 1, 1}, factors);
    } else if (twist != Twist::kNoScale && twist != Twist::kScaledQueries) {
      scores = times(scores, {}, {scale});
    }
    const bool first_axis = over_keys || twist == Twist::kOtherSoftmaxAxis;
    const ValueId shares =
        add(OpType::kSoftmax, {scores}, {{"axis", std::int64_t{first_axis ? 2 : 3}}});
    if (twist == Twist::kProbabilitiesRead) outputs.push_back(shares);
    const bool as_is = over_keys || twist == Twist::kProbabilitiesAsIs;
    return add(OpType::kMatMul, {v, as_is ? shares : transpose(shares, swap)});
  }

  // As YOLO11 and YOLO26 have it: heads of [q, k, v] one after the other.
  NetworkDefinition plain(std::int64_t heads, std::int64_t key_dim, std::int64_t value_dim,
                          Twist twist = Twist::kNone) {
    std::vector<ValueId> outputs;
    const std::int64_t depth = 2 * key_dim + value_dim;
    const ValueId qkv =
        conv(stem(16), {.in = 16, .out = heads * depth, .activation = Activation::kNone});
    const auto parts =
        split_axis(reshape(qkv, {1, heads, depth, kPositions}), {key_dim, key_dim, value_dim}, 2);
    const ValueId mixed = attend(parts[0], parts[1], parts[2], heads, key_dim, twist, outputs);
    const std::int64_t channels = heads * value_dim;
    const ValueId picture = reshape(mixed, {1, channels, kRows, kColumns});
    const ValueId values = reshape(parts[2], {1, channels, kRows, kColumns});
    const ValueId position = conv(values, {.in = channels,
                                           .out = channels,
                                           .kernel = 3,
                                           .activation = Activation::kNone,
                                           .groups = channels});
    outputs.insert(outputs.begin(),
                   conv(add(OpType::kAdd, {picture, position}), {.in = channels, .out = 16}));
    return finish(outputs, false);
  }

  // As YOLO12 has it: areas of whole rows as a batch.
  NetworkDefinition areas(std::int64_t areas, std::int64_t heads, std::int64_t key_dim) {
    std::vector<ValueId> outputs;
    const std::int64_t channels = heads * key_dim;
    const ValueId qkv =
        conv(stem(16), {.in = 16, .out = 3 * channels, .activation = Activation::kNone});
    const ValueId flat = transpose(reshape(qkv, {1, 3 * channels, kPositions}), {0, 2, 1});
    const ValueId heads_last = reshape(flat, {areas, kPositions / areas, heads, 3 * key_dim});
    const auto parts =
        split_axis(transpose(heads_last, {0, 2, 3, 1}), {key_dim, key_dim, key_dim}, 2);
    const auto picture = [&](ValueId x) {
      const ValueId pixels = reshape(transpose(x, {0, 3, 1, 2}), {1, kRows, kColumns, channels});
      return transpose(pixels, {0, 3, 1, 2});
    };
    const ValueId mixed =
        picture(attend(parts[0], parts[1], parts[2], heads, key_dim, Twist::kNone, outputs));
    const ValueId sum = conv(picture(parts[2]), {.in = channels,
                                                 .out = channels,
                                                 .kernel = 3,
                                                 .activation = Activation::kNone,
                                                 .residual = mixed,
                                                 .groups = channels});
    return finish({conv(sum, {.in = channels, .out = 16})}, false);
  }
};

std::size_t attention_steps(const Engine& engine) {
  const auto layers = engine.inspect().layers;
  return static_cast<std::size_t>(
      std::count_if(layers.begin(), layers.end(), [](const LayerReport& layer) {
        return layer.implementation.find("attention") != std::string::npos;
      }));
}

class AttentionSteps : public testing::Test {
 protected:
  void SetUp() override {
    if (!kernels::best_tiles(DataType::kFloat32, kernels::cpu_features())) {
      GTEST_SKIP() << "needs vectors";
    }
  }

  // Compares with the reference and returns how many steps are attention.
  static std::size_t steps(NetworkDefinition network) {
    EXPECT_TRUE(infer_shapes(network, 1));
    const auto info = describe_engine(network, "cpu", {});
    EXPECT_TRUE(info);
    const auto reference = load_reference_engine(network, *info);
    EXPECT_TRUE(reference);
    const std::vector<std::uint8_t> pixels = SmallNetwork::picture(kHeight, kWidth, 3);
    const test::Outputs want = test::run_engine(**reference, {pixels})[0];
    std::size_t found = 0;
    for (const std::int32_t threads : {1, 2}) {
      EngineInfo on = *info;
      on.threads = threads;
      const auto engine = cpu::native::load(network, on);
      EXPECT_TRUE(engine) << engine.error().message;
      if (!engine) return 0;
      const test::Outputs got = test::run_engine(**engine, {pixels}, 2)[0];
      EXPECT_EQ(got.size(), want.size());
      for (std::size_t k = 0; k < want.size(); ++k) {
        float largest = 0;
        for (const float value : want[k]) largest = std::max(largest, std::abs(value));
        EXPECT_EQ(got[k].size(), want[k].size());
        for (std::size_t i = 0; i < want[k].size(); ++i) {
          EXPECT_NEAR(got[k][i], want[k][i], 3e-5F * largest) << "output " << k << " at " << i;
          if (testing::Test::HasFailure()) return 0;
        }
      }
      found = attention_steps(**engine);
    }
    return found;
  }
};

TEST_F(AttentionSteps, HeadsOfQueriesKeysAndValuesAreOneStep) {
  EXPECT_EQ(steps(Network().plain(2, 16, 32)), 1U);
  EXPECT_EQ(steps(Network().plain(1, 32, 64)), 1U);
  EXPECT_EQ(steps(Network().plain(3, 5, 7)), 1U);
}

TEST_F(AttentionSteps, AreasOfAPictureAreOneStep) {
  EXPECT_EQ(steps(Network().areas(1, 4, 16)), 1U);
  EXPECT_EQ(steps(Network().areas(4, 2, 32)), 1U);
}

TEST_F(AttentionSteps, TheFactorMayStandElsewhereOrNowhere) {
  EXPECT_EQ(steps(Network().plain(2, 16, 32, Twist::kNoScale)), 1U);
  EXPECT_EQ(steps(Network().plain(2, 16, 32, Twist::kScaledQueries)), 1U);
}

TEST_F(AttentionSteps, SharesAreOverTheKeysWhicheverAxisTheyAre) {
  EXPECT_EQ(steps(Network().plain(2, 16, 32, Twist::kQueriesOverKeys)), 1U);
}

TEST_F(AttentionSteps, WhatOnlyLooksLikeItRunsAsItStands) {
  for (const Twist twist :
       {Twist::kOtherSoftmaxAxis, Twist::kProbabilitiesAsIs, Twist::kProbabilitiesRead,
        Twist::kActivatedValues, Twist::kScalePerHead}) {
    SCOPED_TRACE(static_cast<int>(twist));
    EXPECT_EQ(steps(Network().plain(2, 16, 32, twist)), 0U);
  }
}

// Others read it there.
TEST_F(AttentionSteps, OutputThatIsNoPictureIsWrittenWhereTheCallerWantsIt) {
  NetworkDefinition network = Network().plain(2, 16, 32, Twist::kProbabilitiesRead);
  ASSERT_TRUE(infer_shapes(network, 1));
  const auto info = describe_engine(network, "cpu", {});
  ASSERT_TRUE(info);
  const auto engine = cpu::native::load(network, *info);
  ASSERT_TRUE(engine);
  for (const LayerReport& report : (*engine)->inspect().layers) {
    EXPECT_NE(report.implementation, "copy") << report.layer;
  }
}

}  // namespace
}  // namespace fovea::engine
