// Models that bring their own quantisation (QuantizeLinear and DequantizeLinear nodes): constant
// weights become plain ones, activations keep the rounding that the model asks for.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

#include <gmock/gmock.h>

#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/onnx/parser.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "nodes/detector/engine/quantization/calibration_ranges.hpp"
#include "nodes/detector/engine/reference/evaluate.hpp"
#include "tests/engine/detect_head_maker.hpp"
#include "tests/engine/graph_maker.hpp"
#include "tests/engine/onnx_writer.hpp"

namespace fovea::engine::test {
namespace {

using Ints = std::vector<std::int64_t>;

constexpr double kActivationScale = 0.125;

// images -> Q -> DQ -> Conv (s8 weights and i32 bias through DQ, per channel) -> Q -> DQ -> y, with
// codes of `type`.
OnnxWriter quantized_convolution(OnnxType type, const std::string& domain = "") {
  OnnxWriter w(17);
  w.input("images", {1, 3, 8, 8});
  w.floats("scale_in", {}, {1.0 / 255}).initializer({"zero_in", OnnxType::kUint8, {}, {0}});
  w.node("QuantizeLinear", {"images", "scale_in", "zero_in"}, {"images_q"}, {}, "q_in");
  w.node("DequantizeLinear", {"images_q", "scale_in", "zero_in"}, {"images_dq"}, {}, "dq_in");

  std::vector<double> weights;
  for (int i = 0; i < 2 * 3; ++i) weights.push_back(i * 37 % 255 - 127);
  w.initializer({"w_q", OnnxType::kInt8, {2, 3, 1, 1}, weights});
  w.floats("w_scale", {2}, {0.02, 0.01});
  w.initializer({"w_zero", OnnxType::kInt8, {2}, {0, 0}});
  w.node("DequantizeLinear", {"w_q", "w_scale", "w_zero"}, {"w"}, {{"axis", std::int64_t{0}}});
  w.initializer({"b_q", OnnxType::kInt32, {2}, {100, -300}});
  w.floats("b_scale", {2}, {0.01, 0.005});
  w.initializer({"b_zero", OnnxType::kInt32, {2}, {0, 0}});
  w.node("DequantizeLinear", {"b_q", "b_scale", "b_zero"}, {"b"}, {{"axis", std::int64_t{0}}});
  w.node("Conv", {"images_dq", "w", "b"}, {"conv"}, {{"kernel_shape", Ints{1, 1}}}, "conv");

  w.floats("scale_out", {}, {kActivationScale});
  w.initializer({"zero_out", type, {}, {3}});
  w.node("QuantizeLinear", {"conv", "scale_out", "zero_out"}, {"conv_q"}, {}, "q_out");
  w.domain(domain);
  w.node("DequantizeLinear", {"conv_q", "scale_out", "zero_out"}, {"y"}, {}, "dq_out").output("y");
  w.domain(domain);
  return w;
}

// The same by hand for one pixel of u8 values r, g, b.
float expected(int channel, const std::uint8_t* rgb, double low, double high) {
  const double w_scale = channel == 0 ? 0.02 : 0.01;
  double sum = channel == 0 ? 1.0 : -1.5;
  for (int c = 0; c < 3; ++c) {
    sum += ((channel * 3 + c) * 37 % 255 - 127) * w_scale * rgb[c] / 255.0;
  }
  const double code = std::clamp(std::nearbyint(sum / kActivationScale) + 3, low, high);
  return static_cast<float>((code - 3) * kActivationScale);
}

Constant picture() {
  Constant pixels = Constant::make(DataType::kUint8, {1, 8, 8, 3});
  for (std::int64_t i = 0; i < pixels.size(); ++i)
    pixels.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(i * 91 % 256);
  return pixels;
}

// Elements that differ by more than rounding noise. A sum that lies on a tie may fall either way.
std::size_t differences(const float* got, double low, double high) {
  const Constant pixels = picture();
  std::size_t count = 0;
  for (int channel = 0; channel < 2; ++channel) {
    for (int p = 0; p < 64; ++p) {
      const float want = expected(channel, pixels.data<std::uint8_t>() + 3 * p, low, high);
      if (std::abs(got[channel * 64 + p] - want) > 1e-4F) ++count;
    }
  }
  return count;
}

TEST(QuantizedModel, WeightsBecomePlainAndActivationsKeepTheirRounding) {
  auto network = parse_onnx(quantized_convolution(OnnxType::kUint8).bytes(), "");
  ASSERT_TRUE(network) << network.error().message;
  const auto lowered = lower(*network);
  ASSERT_TRUE(lowered) << lowered.error().message;
  const auto count = [&](OpType op) {
    return std::count_if(lowered->layers.begin(), lowered->layers.end(),
                         [&](const Layer& layer) { return layer.op == op; });
  };
  EXPECT_EQ(count(OpType::kQuantizeLinear), 2);
  EXPECT_EQ(count(OpType::kDequantizeLinear), 2) << "those of weights and bias are constants now";
  const auto outputs = reference::evaluate(*lowered, {{"images", picture()}});
  ASSERT_TRUE(outputs) << outputs.error().message;
  EXPECT_LE(differences(outputs->begin()->second.data<float>(), 0, 255), 1U);
  // Without the saturation at code 0 the second channel would go lower.
  EXPECT_GT(differences(outputs->begin()->second.data<float>(), -128, 127), 10U);
}

TEST(QuantizedModel, OnnxRuntimesOwnOperatorsMeanTheSame) {
  const auto network =
      parse_onnx(quantized_convolution(OnnxType::kUint8, "com.microsoft").bytes(), "");
  ASSERT_TRUE(network) << network.error().message;
  const auto lowered = lower(*network);
  ASSERT_TRUE(lowered) << lowered.error().message;
  const auto outputs = reference::evaluate(*lowered, {{"images", picture()}});
  ASSERT_TRUE(outputs) << outputs.error().message;
  EXPECT_LE(differences(outputs->begin()->second.data<float>(), 0, 255), 1U);
}

TEST(QuantizedModel, SignedCodesComeFromTheZeroPointsType) {
  auto network = parse_onnx(quantized_convolution(OnnxType::kInt8).bytes(), "");
  ASSERT_TRUE(network) << network.error().message;
  const auto lowered = lower(*network);
  ASSERT_TRUE(lowered) << lowered.error().message;
  const auto outputs = reference::evaluate(*lowered, {{"images", picture()}});
  ASSERT_TRUE(outputs) << outputs.error().message;
  EXPECT_LE(differences(outputs->begin()->second.data<float>(), -128, 127), 1U);
}

TEST(QuantizedModel, RunsOnTheCpuProviderAndSurvivesItsPlan) {
  const auto file = std::filesystem::path(testing::TempDir()) / "quantized_model.onnx";
  quantized_convolution(OnnxType::kUint8).save(file);
  const auto plan = build_plan(file, {});
  std::filesystem::remove(file);
  ASSERT_TRUE(plan) << plan.error().message;
  const auto read = deserialize(serialize(*plan));
  ASSERT_TRUE(read) << read.error().message;
  const auto engine = load_engine(*read);
  ASSERT_TRUE(engine) << engine.error().message;
  auto context = (*engine)->create_execution_context();
  ASSERT_TRUE(context) << context.error().message;
  struct alignas(64) Memory {
    std::uint8_t pixels[192];
    float y[128];
  } memory;
  const Constant pixels = picture();
  std::copy_n(pixels.data<std::uint8_t>(), 192, memory.pixels);
  const MemoryView output{memory.y, sizeof memory.y};
  const BatchItem item{{memory.pixels, sizeof memory.pixels}, {&output, 1}};
  const auto done = (*context)->execute({&item, 1});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_LE(differences(memory.y, 0, 255), 1U);
}

// images -> Q -> DQ -> conv1 -> SiLU -> Q -> DQ -> conv2 -> Q (s8) -> DQ -> conv3 -> y, as
// exporters of quantised models write it. `whole`: the middle pair is there.
OnnxWriter quantized_chain(bool whole) {
  OnnxWriter w(17);
  w.input("images", {1, 3, 8, 8});
  const auto pair = [&](const std::string& from, double scale, OnnxType type, double zero) {
    w.floats(from + "_s", {}, {scale}).initializer({from + "_z", type, {}, {zero}});
    w.node("QuantizeLinear", {from, from + "_s", from + "_z"}, {from + "_q"}, {}, from + "_Q");
    w.node("DequantizeLinear", {from + "_q", from + "_s", from + "_z"}, {from + "_dq"}, {},
           from + "_DQ");
    return from + "_dq";
  };
  const auto conv = [&](const std::string& name, const std::string& from, std::int64_t in,
                        std::int64_t out, const std::string& to) {
    std::vector<double> weights;
    for (std::int64_t i = 0; i < out * in; ++i) {
      // The largest code of every channel is 127, as calibrators of weights leave it.
      weights.push_back(i % in == 0 ? 127 : static_cast<double>(i * 37 % 255) - 127);
    }
    w.initializer({name + "_w", OnnxType::kInt8, {out, in, 1, 1}, weights});
    w.floats(name + "_ws", {}, {0.01}).initializer({name + "_wz", OnnxType::kInt8, {}, {0}});
    w.node("DequantizeLinear", {name + "_w", name + "_ws", name + "_wz"}, {name + "_wdq"});
    std::vector<double> bias;
    for (std::int64_t i = 0; i < out; ++i) bias.push_back(0.1 * static_cast<double>(i) - 0.2);
    w.floats(name + "_b", {out}, bias);
    w.node("Conv", {from, name + "_wdq", name + "_b"}, {to}, {{"kernel_shape", Ints{1, 1}}}, name);
  };
  conv("conv1", pair("images", 1.0 / 255, OnnxType::kUint8, 0), 3, 8, "a");
  w.node("Sigmoid", {"a"}, {"a_sigmoid"}).node("Mul", {"a", "a_sigmoid"}, {"b"});
  conv("conv2", whole ? pair("b", 0.02, OnnxType::kUint8, 14) : "b", 8, 8, "c");
  conv("conv3", pair("c", 0.06, OnnxType::kInt8, 5), 8, 4, "y");
  w.output("y");
  return w;
}

TEST(QuantizedModel, Int8TakesTheModelsOwnGridsWithoutCalibration) {
  const auto network = parse_onnx(quantized_chain(true).bytes(), "");
  ASSERT_TRUE(network) << network.error().message;
  const auto honoured = lower(*network);
  ASSERT_TRUE(honoured) << honoured.error().message;
  auto adopted = lower(*network, {.adopt_quantization = true});
  ASSERT_TRUE(adopted) << adopted.error().message;
  EXPECT_EQ(adopted->layers.size(), 4U) << "picture and three convolutions, SiLU fused";
  ASSERT_TRUE(infer_shapes(*adopted, 1));
  ASSERT_TRUE(quantize(*adopted, {}, {.exact_activations = true}));

  const auto grid_behind = [&](const std::string& layer) {
    const auto found = std::find_if(adopted->layers.begin(), adopted->layers.end(),
                                    [&](const Layer& one) { return one.name == layer; });
    return adopted->quantization.values[static_cast<std::size_t>(found->outputs[0])];
  };
  EXPECT_EQ(grid_behind("conv1"), (QuantizationGrid{0.02F, 14}));
  EXPECT_EQ(grid_behind("conv2"), (QuantizationGrid{0.06F, 133})) << "s8 codes as u8 ones";
  EXPECT_EQ(
      std::count_if(adopted->quantization.layers.begin(), adopted->quantization.layers.end(),
                    [](const LayerQuantization& one) { return one.precision == Precision::kInt8; }),
      3);

  // Same roundings at the same places: the model's own arithmetic, but for ties.
  const auto expected = reference::evaluate(*honoured, {{"images", picture()}});
  ASSERT_TRUE(expected) << expected.error().message;
  const float* y = expected->begin()->second.data<float>();
  for (const char* provider : {"reference", "cpu"}) {
    SCOPED_TRACE(provider);
    Plan plan;
    plan.provider = provider;
    plan.precision = Precision::kInt8;
    plan.network = *adopted;
    const auto engine = load_engine(plan);
    ASSERT_TRUE(engine) << engine.error().message;
    auto context = (*engine)->create_execution_context();
    ASSERT_TRUE(context) << context.error().message;
    struct alignas(64) Memory {
      std::uint8_t pixels[192];
      float y[256];
    } memory;
    const Constant pixels = picture();
    std::copy_n(pixels.data<std::uint8_t>(), 192, memory.pixels);
    const MemoryView output{memory.y, sizeof memory.y};
    const BatchItem item{{memory.pixels, sizeof memory.pixels}, {&output, 1}};
    const auto done = (*context)->execute({&item, 1});
    ASSERT_TRUE(done) << done.error().message;
    int different = 0;
    for (int i = 0; i < 256; ++i) different += std::abs(memory.y[i] - y[i]) > 1e-3F ? 1 : 0;
    EXPECT_LE(different, 8) << "a tie in `c` shows in all four channels";
  }
  EXPECT_GT(*std::max_element(y, y + 256) - *std::min_element(y, y + 256), 1);
}

TEST(QuantizedModel, OwnGridsGiveActivationsTheirTablesToo) {
  const auto network = parse_onnx(quantized_chain(true).bytes(), "");
  ASSERT_TRUE(network) << network.error().message;
  auto adopted = lower(*network, {.adopt_quantization = true});
  ASSERT_TRUE(adopted) << adopted.error().message;
  ASSERT_TRUE(quantize(*adopted, {}));
  const auto conv1 =
      std::find_if(adopted->layers.begin(), adopted->layers.end(),
                   [](const Layer& layer) { return layer.activation == Activation::kSilu; });
  ASSERT_NE(conv1, adopted->layers.end());
  const auto& own =
      adopted->quantization.layers[static_cast<std::size_t>(conv1 - adopted->layers.begin())];
  EXPECT_TRUE(own.pre_activation) << "without a table the kernel computes exponentials";
  EXPECT_NEAR(own.high_value, 0.02F * (255 - 14), 0.01);
}

TEST(QuantizedModel, EndsOfAnActivationFollowFromTheGridBehindIt) {
  const QuantizationGrid silu{0.03F, 9};  // -0.27..7.38
  const Ends smooth = ends_for_output(silu, Activation::kSilu, 0, false);
  EXPECT_NEAR(smooth.high, 7.38, 0.02);
  EXPECT_NEAR(smooth.high_value, 7.38, 0.001);
  EXPECT_NEAR(smooth.low / (1 + std::exp(-smooth.low)), -0.03, 0.002) << "one code from flat";
  EXPECT_NEAR(smooth.low_value, -0.015, 0.002);
  const Ends added = ends_for_output(silu, Activation::kSilu, 0, true);
  EXPECT_NEAR(added.high, 7.65, 0.02) << "the other addend may be the least of the grid";
  const Ends relu = ends_for_output({0.1F, 0}, Activation::kRelu, 0, false);
  EXPECT_NEAR(relu.low, 0, 0.1);
  EXPECT_NEAR(relu.high, 25.5, 0.01);
  const Ends leaky = ends_for_output({0.1F, 10}, Activation::kLeakyRelu, 0.1F, false);
  EXPECT_NEAR(leaky.low, -10, 0.01);
  EXPECT_NEAR(leaky.low_value, -1, 0.001);
  EXPECT_NEAR(leaky.high, 24.5, 0.01);
  const Ends sigmoid = ends_for_output({1.0F / 255, 0}, Activation::kSigmoid, 0, false);
  EXPECT_NEAR(sigmoid.low, -5.5, 0.1);
  EXPECT_NEAR(sigmoid.high, 6.2, 0.1);
}

TEST(QuantizedModel, SixteenBitActivationsGiveTheirRange) {
  OnnxWriter w(21);
  w.input("images", {1, 3, 8, 8});
  w.floats("s", {}, {0.001}).initializer({"z", OnnxType::kUint16, {}, {1000}});
  w.floats("w", {2, 3, 1, 1}, {1, 2, 3, 4, 5, 6});
  w.node("Conv", {"images", "w"}, {"a"});
  w.node("QuantizeLinear", {"a", "s", "z"}, {"q"}).node("DequantizeLinear", {"q", "s", "z"}, {"b"});
  w.node("Conv", {"b", "v"}, {"y"}).floats("v", {1, 2, 1, 1}, {1, 2}).output("y");
  const auto network = parse_onnx(w.bytes(), "");
  ASSERT_TRUE(network) << network.error().message;
  const auto adopted = lower(*network, {.adopt_quantization = true});
  ASSERT_TRUE(adopted) << adopted.error().message;
  ASSERT_TRUE(adopted->own_grids.contains("a"));
  EXPECT_EQ(adopted->own_grids.at("a"), QuantizationGrid::over(-1.0F, 64.535F, 0));
}

// Static quantisers round anchors, strides and the projection of the detect head like weights.
TEST(QuantizedModel, ATailWithRoundedConstantsIsCutOffAllTheSame) {
  const auto rounded = [](const HeadSpelling& spelling) {
    NetworkDefinition network = HeadMaker(spelling).make();
    for (Value& value : network.values) {
      if (!value.constant || value.dtype != DataType::kFloat32 || value.constant->size() < 4) {
        continue;
      }
      const bool weights = value.dims.size() == 4 && value.dims[0] != 1;
      if (weights) continue;
      Constant constant = *value.constant;
      float* numbers = constant.data<float>();
      const float scale = *std::max_element(numbers, numbers + constant.size()) / 63;
      for (std::int64_t i = 0; i < constant.size(); ++i) {
        numbers[i] = std::nearbyint(numbers[i] / scale) * scale;
      }
      value.constant = std::make_shared<const Constant>(std::move(constant));
    }
    return network;
  };
  const auto head_of = [](NetworkDefinition network, bool own_grids) {
    if (own_grids) network.own_grids["somewhere"] = {0.1F, 0};
    auto lowered = lower(std::move(network));
    return lowered ? lowered->head.name : "";
  };
  EXPECT_EQ(head_of(rounded({}), true), "dfl");
  EXPECT_EQ(head_of(rounded({}), false), "decoded") << "a float model rounds nothing";
  for (const HeadSpelling& wrong :
       {HeadSpelling{.anchor_offset = 0.0F}, HeadSpelling{.stride_error = 1.25F},
        HeadSpelling{.corners = true}, HeadSpelling{.raw_scores = true}}) {
    EXPECT_EQ(head_of(rounded(wrong), true), "decoded");
  }
}

TEST(QuantizedModel, RangesThatTheModelLacksAreAskedFor) {
  const auto network = parse_onnx(quantized_chain(false).bytes(), "");
  ASSERT_TRUE(network) << network.error().message;
  auto adopted = lower(*network, {.adopt_quantization = true});
  ASSERT_TRUE(adopted) << adopted.error().message;
  ASSERT_TRUE(infer_shapes(*adopted, 1));
  const auto refused = quantize(*adopted, {});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("no range for what 'conv1' writes"));

  // Calibration supplies them, and the model's own stay.
  CalibrationTable table;
  LayerRanges ranges;
  ranges.layer = "conv1";
  ranges.pre_low = -4;
  ranges.pre_high = 6;
  ranges.low = -0.25F;
  ranges.high.fill(4.85F);
  table.layers = {ranges};
  ranges.layer = "conv2";
  ranges.high.fill(100);
  table.layers.push_back(ranges);
  ASSERT_TRUE(quantize(*adopted, table));
  const auto& values = adopted->quantization.values;
  EXPECT_TRUE(std::find(values.begin(), values.end(), QuantizationGrid{0.06F, 133}) !=
              values.end());
  EXPECT_TRUE(std::any_of(values.begin(), values.end(), [](const QuantizationGrid& grid) {
    return std::abs(grid.scale - 0.02F) < 1e-6F;
  }));
  EXPECT_TRUE(adopted->quantization.layers[1].pre_activation);
}

// As ONNX Runtime's static quantiser writes them: the bias' scale is [1] or [C], its zero point has
// whatever rank, or is absent; scales of activations are [] or [1].
TEST(QuantizedModel, OneScaleIsPerTensorWhateverItsRankAndThatOfItsZeroPoint) {
  const Dims scalar;
  const Dims vector{1};
  const Dims matrix{1, 1};
  struct Ranks {
    Dims scale;
    std::optional<Dims> zero;
  };
  const std::vector<Ranks> of_one = {{scalar, scalar}, {scalar, vector},       {vector, scalar},
                                     {vector, vector}, {vector, std::nullopt}, {matrix, scalar},
                                     {scalar, matrix}};
  std::vector<Ranks> of_bias = of_one;
  of_bias.push_back({Dims{2}, scalar});
  of_bias.push_back({Dims{2}, vector});
  of_bias.push_back({Dims{2}, Dims{2}});
  of_bias.push_back({Dims{2}, std::nullopt});
  for (std::size_t i = 0; i < of_bias.size(); ++i) {
    const Ranks& activation = of_one[i % of_one.size()];
    const Ranks& bias = of_bias[i];
    SCOPED_TRACE(i);
    OnnxWriter w(17);
    w.input("images", {1, 3, 8, 8});
    const auto grid = [&](const std::string& name, const Ranks& ranks, double scale, OnnxType type,
                          double zero) {
      w.floats(name + "_s", ranks.scale,
               std::vector<double>(static_cast<std::size_t>(volume(ranks.scale)), scale));
      std::vector<std::string> inputs{name + "_s"};
      if (ranks.zero) {
        const auto count = static_cast<std::size_t>(volume(*ranks.zero));
        w.initializer({name + "_z", type, *ranks.zero, std::vector<double>(count, zero)});
        inputs.push_back(name + "_z");
      }
      return inputs;
    };
    const auto apply = [&](const std::string& op, const std::string& from, const std::string& to,
                           std::vector<std::string> inputs, std::int64_t axis) {
      inputs.insert(inputs.begin(), from);
      w.node(op, inputs, {to}, {{"axis", axis}});
    };
    const auto in = grid("in", activation, 1.0 / 255, OnnxType::kUint8, 0);
    apply("QuantizeLinear", "images", "q", in, 1);
    apply("DequantizeLinear", "q", "dq", in, 1);
    std::vector<double> weights;
    for (int k = 0; k < 6; ++k) weights.push_back(k * 37 % 255 - 127);
    w.initializer({"w_q", OnnxType::kInt8, {2, 3, 1, 1}, weights});
    apply("DequantizeLinear", "w_q", "w", grid("w", {{2}, Dims{2}}, 0.02, OnnxType::kInt8, 0), 0);
    w.initializer({"b_q", OnnxType::kInt32, {2}, {100, -300}});
    apply("DequantizeLinear", "b_q", "b", grid("b", bias, 0.01, OnnxType::kInt32, 0), 0);
    w.node("Conv", {"dq", "w", "b"}, {"conv"}, {{"kernel_shape", Ints{1, 1}}}, "conv");
    const auto out = grid("out", activation, 0.125, OnnxType::kUint8, 0);
    apply("QuantizeLinear", "conv", "conv_q", out, 1);
    apply("DequantizeLinear", "conv_q", "y", out, 1);
    w.output("y");

    const auto network = parse_onnx(w.bytes(), "");
    ASSERT_TRUE(network) << network.error().message;
    const auto lowered = lower(*network);
    ASSERT_TRUE(lowered) << lowered.error().message;
    const auto outputs = reference::evaluate(*lowered, {{"images", picture()}});
    ASSERT_TRUE(outputs) << outputs.error().message;
    const float* y = outputs->begin()->second.data<float>();
    const Constant pixels = picture();
    for (int p = 0; p < 128; ++p) {
      const std::uint8_t* rgb = pixels.data<std::uint8_t>() + 3 * (p % 64);
      double sum = p < 64 ? 1.0 : -3.0;
      for (std::size_t c = 0; c < 3; ++c) {
        sum += weights[static_cast<std::size_t>(p / 64) * 3 + c] * 0.02 * rgb[c] / 255.0;
      }
      const double codes = std::clamp(sum / 0.125, 0.0, 255.0);
      EXPECT_NEAR(y[p] / 0.125, codes, 0.51);
    }

    const auto adopted = lower(*network, {.adopt_quantization = true});
    ASSERT_TRUE(adopted) << adopted.error().message;
    EXPECT_EQ(adopted->layers.size(), 2U) << "picture and convolution";
    EXPECT_EQ(adopted->own_grids.at("y"), (QuantizationGrid{0.125F, 0}));
  }
}

TEST(QuantizedModel, ScalesAndZeroPointsThatContradictEachOtherAreRefused) {
  OnnxWriter w(17);
  w.input("images", {1, 3, 8, 8});
  w.floats("s", {}, {1}).initializer({"z", OnnxType::kUint8, {3}, {0, 0, 0}});
  w.node("QuantizeLinear", {"images", "s", "z"}, {"q"}).node("DequantizeLinear", {"q", "s"}, {"y"});
  w.output("y");
  const auto network = parse_onnx(w.bytes(), "");
  ASSERT_TRUE(network) << network.error().message;
  const auto lowered = lower(*network);
  ASSERT_FALSE(lowered);
  EXPECT_THAT(lowered.error().message, testing::HasSubstr("the zero point [3]"));
}

// images -> DynamicQuantizeLinear -> ConvInteger -> Cast -> Mul(scales) -> Add(bias) -> y, as ONNX
// Runtime's dynamic quantiser writes it.
OnnxWriter dynamic_convolution(bool per_channel, bool foreign_zero = false) {
  OnnxWriter w(17);
  w.input("images", {1, 3, 8, 8});
  w.node("DynamicQuantizeLinear", {"images"}, {"q", "s", "z"}, {}, "quantizer");
  std::vector<double> weights;
  for (int i = 0; i < 2 * 3; ++i) weights.push_back(i * 37 % 255);
  w.initializer({"w_q", OnnxType::kUint8, {2, 3, 1, 1}, weights});
  if (per_channel) {
    w.initializer({"w_z", OnnxType::kUint8, {2}, {120, 130}})
        .floats("w_s", {2, 1, 1}, {0.02, 0.01});
  } else {
    w.initializer({"w_z", OnnxType::kUint8, {}, {120}}).floats("w_s", {1}, {0.02});
  }
  w.initializer({"other_z", OnnxType::kUint8, {}, {7}});
  w.node("Mul", {"s", "w_s"}, {"scales"});
  w.node("ConvInteger", {"q", "w_q", foreign_zero ? "other_z" : "z", "w_z"}, {"sum"},
         {{"kernel_shape", Ints{1, 1}}}, "conv");
  w.node("Cast", {"sum"}, {"sum_f"}, {{"to", std::int64_t{1}}});
  w.node("Mul", {"sum_f", "scales"}, {"scaled"});
  w.floats("b", {1, 2, 1, 1}, {1, -3}).node("Add", {"scaled", "b"}, {"y"}).output("y");
  return w;
}

TEST(QuantizedModel, DynamicallyQuantisedConvolutionsGetTheNumbersOfTheirWeights) {
  for (const bool per_channel : {false, true}) {
    SCOPED_TRACE(per_channel);
    const auto network = parse_onnx(dynamic_convolution(per_channel).bytes(), "");
    ASSERT_TRUE(network) << network.error().message;
    const auto lowered = lower(*network);
    ASSERT_TRUE(lowered) << lowered.error().message;
    EXPECT_EQ(lowered->layers.size(), 2U) << "picture and convolution, scale and bias folded";
    const auto outputs = reference::evaluate(*lowered, {{"images", picture()}});
    ASSERT_TRUE(outputs) << outputs.error().message;
    const float* y = outputs->begin()->second.data<float>();
    const Constant pixels = picture();
    for (int i = 0; i < 128; ++i) {
      const int channel = i / 64;
      const std::uint8_t* rgb = pixels.data<std::uint8_t>() + 3 * (i % 64);
      const double scale = per_channel && channel == 1 ? 0.01 : 0.02;
      const double zero = per_channel && channel == 1 ? 130 : 120;
      double sum = channel == 0 ? 1 : -3;
      for (int c = 0; c < 3; ++c) {
        sum += ((channel * 3 + c) * 37 % 255 - zero) * scale * rgb[c] / 255.0;
      }
      EXPECT_NEAR(y[i], sum, 1e-4);
    }
  }
}

TEST(QuantizedModel, DynamicallyQuantisedMatricesGetTheNumbersOfTheirWeights) {
  OnnxWriter w(17);
  w.input("x", {2, 3}).node("DynamicQuantizeLinear", {"x"}, {"q", "s", "z"});
  w.initializer({"w_q", OnnxType::kInt8, {3, 2}, {1, 2, 3, 4, 5, 6}});
  w.initializer({"w_z", OnnxType::kInt8, {2}, {0, 1}}).floats("w_s", {2}, {0.5, 2});
  w.node("MatMulInteger", {"q", "w_q", "z", "w_z"}, {"sum"}).node("Mul", {"s", "w_s"}, {"scales"});
  w.node("Cast", {"sum"}, {"f"}, {{"to", std::int64_t{1}}});
  w.node("Mul", {"f", "scales"}, {"y"}).output("y");
  const auto network = parse_onnx(w.bytes(), "");
  ASSERT_TRUE(network) << network.error().message;
  const auto outputs = reference::evaluate(*network, {{"x", floats({2, 3}, {1, 2, 3, 0, -1, 4})}});
  ASSERT_TRUE(outputs) << outputs.error().message;
  const Constant& y = outputs->at("y");
  EXPECT_THAT(std::vector<float>(y.data<float>(), y.data<float>() + 4),
              testing::ElementsAre(11, 44, 8.5F, 34));
}

TEST(QuantizedModel, AForeignZeroPointIsRefusedByNode) {
  const auto network = parse_onnx(dynamic_convolution(false, true).bytes(), "");
  ASSERT_FALSE(network);
  EXPECT_THAT(network.error().message,
              testing::AllOf(testing::HasSubstr("'conv' (ConvInteger)"),
                             testing::HasSubstr("same DynamicQuantizeLinear")));
}

TEST(QuantizedModel, RefusesCodesItCannotKeep) {
  OnnxWriter wide = quantized_convolution(OnnxType::kInt32);
  const auto network = parse_onnx(wide.bytes(), "");
  ASSERT_FALSE(network);
  EXPECT_EQ(network.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(network.error().message,
              testing::AllOf(testing::HasSubstr("q_out"), testing::HasSubstr("8 or 16 bits")));
}

TEST(QuantizedModel, RefusesScalesThatFitNoAxis) {
  OnnxWriter w(17);
  w.input("images", {1, 3, 8, 8});
  w.floats("scales", {4}, {1, 1, 1, 1}).initializer({"zeros", OnnxType::kUint8, {4}, {0, 0, 0, 0}});
  w.node("QuantizeLinear", {"images", "scales", "zeros"}, {"q"}, {}, "four");
  w.node("DequantizeLinear", {"q", "scales", "zeros"}, {"y"}).output("y");
  auto network = parse_onnx(w.bytes(), "");
  ASSERT_TRUE(network) << network.error().message;
  const auto lowered = lower(*network);
  ASSERT_FALSE(lowered);
  EXPECT_THAT(lowered.error().message,
              testing::AllOf(testing::HasSubstr("four"), testing::HasSubstr("4 scales")));
}

}  // namespace
}  // namespace fovea::engine::test
