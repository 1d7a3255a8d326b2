// INT8 over our own kernels, bit by bit: an independent, plain simulation of the quantised
// arithmetic must produce the same numbers on random networks.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/cpu/cpu_engine.hpp"
#include "nodes/detector/engine/cpu/kernels/convolution.hpp"
#include "nodes/detector/engine/cpu/kernels/tile.hpp"
#include "nodes/detector/engine/cpu/native/provider.hpp"
#include "nodes/detector/engine/onnx/parser.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "nodes/detector/engine/quantization/calibrator.hpp"
#include "nodes/detector/engine/reference/reference_engine.hpp"
#include "tests/engine/run_engine.hpp"
#include "tests/engine/small_network.hpp"
#include "tests/support/allocation_guard.hpp"
#include "tests/support/build_paths.hpp"

namespace fovea::engine {
namespace {

using test::Outputs;
using test::run_engine;
using test::SmallNetwork;

constexpr std::int64_t kHeight = 32;
constexpr std::int64_t kWidth = 48;

// A value of one image, [C, H, W]: codes of its grid, or f32.
struct Tensor {
  std::int64_t channels = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::vector<int> codes;
  std::vector<float> values;

  explicit Tensor(const Dims& dims = {1, 0, 0, 0})
      : channels(dims[1]), height(dims[2]), width(dims[3]) {}
  std::size_t at(std::int64_t c, std::int64_t y, std::int64_t x) const {
    return static_cast<std::size_t>((c * height + y) * width + x);
  }
  std::size_t size() const { return static_cast<std::size_t>(channels * height * width); }
};

// Every convolution of the network must be int8 with a table, or without activation into f32.
class Simulation {
 public:
  explicit Simulation(const NetworkDefinition& network)
      : network_(network), tensors_(network.values.size()) {}

  Outputs run(const std::vector<std::uint8_t>& picture) {
    for (std::size_t i = 0; i < network_.layers.size(); ++i) {
      const Layer& layer = network_.layers[i];
      switch (layer.op) {
        case OpType::kImageInput:
          image(layer, picture);
          break;
        case OpType::kConv:
          convolution(layer, network_.quantization.layers[i]);
          break;
        case OpType::kConcat:
          concat(layer);
          break;
        case OpType::kSplit:
          split(layer);
          break;
        case OpType::kMaxPool:
          pool(layer);
          break;
        case OpType::kResize:
          upsample(layer);
          break;
        default:
          ADD_FAILURE() << layer.name;
      }
    }
    Outputs outputs;
    for (const ValueId id : network_.outputs) {
      const Tensor& tensor = value(id);
      EXPECT_EQ(tensor.values.size(), tensor.size());
      std::vector<float>& output = outputs.emplace_back();
      for (std::int64_t y = 0; y < tensor.height; ++y) {
        for (std::int64_t x = 0; x < tensor.width; ++x) {
          for (std::int64_t c = 0; c < tensor.channels; ++c) {
            output.push_back(tensor.values[tensor.at(c, y, x)]);
          }
        }
      }
    }
    return outputs;
  }

 private:
  Tensor& value(ValueId id) { return tensors_[static_cast<std::size_t>(id)]; }
  Tensor& make(ValueId id) { return value(id) = Tensor(network_.value(id).dims); }
  QuantizationGrid grid(ValueId id) const {
    return network_.quantization.values[static_cast<std::size_t>(id)];
  }

  void image(const Layer& layer, const std::vector<std::uint8_t>& picture) {
    Tensor& to = make(layer.outputs[0]);
    to.codes.resize(to.size());
    for (std::int64_t i = 0; i < to.height * to.width; ++i) {
      for (std::int64_t c = 0; c < 3; ++c) {
        to.codes[to.at(c, 0, i)] = picture[static_cast<std::size_t>(i * 3 + c)];
      }
    }
  }

  void convolution(const Layer& layer, const LayerQuantization& quantization) {
    ASSERT_EQ(quantization.precision, Precision::kInt8) << layer.name;
    const Tensor& from = value(layer.inputs[0]);
    const QuantizationGrid in = grid(layer.inputs[0]);
    const Constant& weights = *network_.value(layer.inputs[1]).constant;
    const float* bias = network_.value(layer.inputs[2]).constant->data<float>();
    const auto stride = layer.ints_attribute("strides", {1, 1})[0];
    const auto pad = layer.ints_attribute("pads", {0, 0, 0, 0})[0];
    const std::int64_t kernel = weights.dims[2];
    Tensor& to = make(layer.outputs[0]);
    const QuantizationGrid out = grid(layer.outputs[0]);
    const QuantizationGrid pre = quantization.pre_activation;
    ASSERT_TRUE(weights.packed()) << layer.name;
    const auto table = kernels::activation_table(
        {pre ? pre.scale : 1, pre.zero_point}, layer.activation, layer.activation_alpha,
        {out ? out.scale : 1, out.zero_point}, {{quantization.low_value, quantization.high_value}});
    const std::int64_t taps = from.channels * kernel * kernel;
    std::vector<int> window(static_cast<std::size_t>(taps));
    for (std::int64_t y = 0; y < to.height; ++y) {
      for (std::int64_t x = 0; x < to.width; ++x) {
        for (std::int64_t k = 0; k < taps; ++k) {
          const std::int64_t row = y * stride - pad + k / kernel % kernel;
          const std::int64_t column = x * stride - pad + k % kernel;
          const bool inside = row >= 0 && row < from.height && column >= 0 && column < from.width;
          window[static_cast<std::size_t>(k)] =
              inside ? from.codes[from.at(k / (kernel * kernel), row, column)] - in.zero_point : 0;
        }
        for (std::int64_t c = 0; c < to.channels; ++c) {
          float scale = in.scale * weights.scales[static_cast<std::size_t>(c)];
          float shift = bias[c];
          if (pre) {
            scale /= pre.scale;
            shift = shift / pre.scale + static_cast<float>(pre.zero_point);
          }
          const std::int8_t* row = weights.data<std::int8_t>() + c * taps;
          const int sum = std::inner_product(window.begin(), window.end(), row, 0);
          const float result = std::fma(static_cast<float>(sum), scale, shift);
          if (!pre) {
            ASSERT_EQ(layer.activation, Activation::kNone);
            ASSERT_FALSE(out);
            to.values.resize(to.size());
            to.values[to.at(c, y, x)] = result;
            continue;
          }
          const float code = std::clamp(std::nearbyint(result), -128.0F, 127.0F);
          int activated = table[static_cast<std::uint8_t>(static_cast<std::int8_t>(code))];
          if (layer.residual != kNoValue) {
            activated += value(layer.residual).codes[to.at(c, y, x)] - out.zero_point;
          }
          to.codes.resize(to.size());
          to.codes[to.at(c, y, x)] = std::clamp(activated, 0, 255);
        }
      }
    }
  }

  void concat(const Layer& layer) {
    Tensor& to = make(layer.outputs[0]);
    for (const ValueId part : layer.inputs) {
      to.codes.insert(to.codes.end(), value(part).codes.begin(), value(part).codes.end());
    }
  }

  void split(const Layer& layer) {
    auto next = value(layer.inputs[0]).codes.begin();
    for (const ValueId part : layer.outputs) {
      Tensor& to = make(part);
      to.codes.assign(next, next + static_cast<std::ptrdiff_t>(to.size()));
      next += static_cast<std::ptrdiff_t>(to.size());
    }
  }

  void pool(const Layer& layer) {
    const Tensor& from = value(layer.inputs[0]);
    Tensor& to = make(layer.outputs[0]);
    const auto kernel = layer.ints_attribute("kernel_shape", {})[0];
    const auto stride = layer.ints_attribute("strides", {1, 1})[0];
    const auto pad = layer.ints_attribute("pads", {0, 0, 0, 0})[0];
    for (std::int64_t c = 0; c < to.channels; ++c) {
      for (std::int64_t y = 0; y < to.height; ++y) {
        for (std::int64_t x = 0; x < to.width; ++x) {
          int largest = 0;
          for (std::int64_t k = 0; k < kernel * kernel; ++k) {
            const std::int64_t row = y * stride - pad + k / kernel;
            const std::int64_t column = x * stride - pad + k % kernel;
            if (row < 0 || row >= from.height || column < 0 || column >= from.width) continue;
            largest = std::max(largest, from.codes[from.at(c, row, column)]);
          }
          to.codes.push_back(largest);
        }
      }
    }
  }

  void upsample(const Layer& layer) {
    const Tensor& from = value(layer.inputs[0]);
    Tensor& to = make(layer.outputs[0]);
    for (std::int64_t c = 0; c < to.channels; ++c) {
      for (std::int64_t y = 0; y < to.height; ++y) {
        for (std::int64_t x = 0; x < to.width; ++x) {
          to.codes.push_back(from.codes[from.at(c, y / 2, x / 2)]);
        }
      }
    }
  }

  const NetworkDefinition& network_;
  std::vector<Tensor> tensors_;
};

// A backbone, a pooling pyramid, a neck and two heads, of sizes that `seed` draws.
NetworkDefinition random_detector(unsigned seed) {
  std::mt19937 random(seed);
  const auto channels = [&](int least, int most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(random);
  };
  SmallNetwork n(kHeight, kWidth, seed);
  const std::int64_t a = channels(4, 40);
  const ValueId x = n.stem(a);
  const std::int64_t b = channels(3, 70);
  const ValueId fine = n.conv(n.c2f(x, a, channels(2, 24)),
                              {.in = a, .out = b, .kernel = 3, .activation = Activation::kRelu});
  const std::int64_t c = channels(5, 90);
  const ValueId coarse = n.conv(fine, {.in = b, .out = c, .kernel = 3, .stride = 2});
  const ValueId p1 = n.max_pool(coarse, 5);
  const ValueId p2 = n.max_pool(p1, 3);
  const std::int64_t d = channels(6, 50);
  const ValueId pyramid = n.conv(n.concat({coarse, p1, p2}), {.in = 3 * c, .out = d});
  const ValueId neck = n.concat({n.upsample(pyramid), fine});
  const ValueId joined = n.c2f(neck, d + b, channels(4, 20));
  const auto parts = n.split(joined, {d, b});
  const ValueId lower = n.concat({parts[1], n.conv(neck, {.in = d + b, .out = 7, .kernel = 5})});
  const ValueId residual = n.conv(parts[0], {.in = d, .out = d, .kernel = 3, .residual = parts[0]});
  const auto head = [&](ValueId from, std::int64_t in, std::int64_t out) {
    return n.conv(from, {.in = in, .out = out, .activation = Activation::kNone});
  };
  return n.finish({head(lower, b + 7, channels(1, 90)), head(residual, d, 64),
                   head(pyramid, d, channels(1, 20))});
}

std::vector<std::uint8_t> picture(const EngineInfo& info, unsigned seed) {
  return SmallNetwork::picture(info.input.dims[0], info.input.dims[1], seed);
}

// Of noise.
CalibrationTable calibrated(NetworkDefinition& network) {
  EXPECT_TRUE(infer_shapes(network, 1));
  const auto source = [](std::size_t index, std::span<std::byte> to) -> Result<> {
    std::mt19937 random(static_cast<unsigned>(index));
    for (std::byte& byte : to) byte = static_cast<std::byte>(random() & 0xFF);
    return {};
  };
  auto table = calibrate(network, kLeastCalibrationPictures, source, {});
  EXPECT_TRUE(table) << table.error().message;
  return table ? std::move(*table) : CalibrationTable{};
}

NetworkDefinition quantised(NetworkDefinition network, const CalibrationTable& table,
                            const QuantizationChoice& choice = {}) {
  const auto done = quantize(network, table, choice);
  EXPECT_TRUE(done) << done.error().message;
  const auto valid = check_quantization(network);
  EXPECT_TRUE(valid) << valid.error().message;
  return network;
}

NetworkDefinition quantised(NetworkDefinition network) {
  const CalibrationTable table = calibrated(network);
  return quantised(std::move(network), table);
}

EngineInfo info_of(const NetworkDefinition& network, std::int32_t threads = 1) {
  return *describe_engine(network, "cpu", {.threads = threads, .precision = Precision::kInt8});
}

kernels::CpuFeatures half_features(bool emulated) {
  kernels::CpuFeatures features = kernels::cpu_features();
  features.emulated_fp16 = emulated;
  return features;
}

bool has_int8() {
  return kernels::best_tiles(DataType::kUint8, kernels::cpu_features()) != nullptr;
}

class NativeInt8 : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_int8()) GTEST_SKIP() << "needs AVX2 or NEON";
  }
};

TEST_F(NativeInt8, RandomNetworksEqualTheSimulationBitByBit) {
  for (unsigned seed = 0; seed < 8; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const NetworkDefinition network = quantised(random_detector(seed));
    const auto pixels = picture(info_of(network), 100 + seed);
    const Outputs want = Simulation(network).run(pixels);
    for (const std::int32_t threads : {1, 2}) {
      auto engine = cpu::native::load(network, info_of(network, threads));
      ASSERT_TRUE(engine) << engine.error().message;
      EXPECT_TRUE((*engine)->inspect().declined.empty());
      const Outputs got = run_engine(**engine, {pixels}, 2)[0];
      ASSERT_EQ(got.size(), want.size());
      for (std::size_t k = 0; k < want.size(); ++k) {
        ASSERT_EQ(got[k].size(), want[k].size());
        std::size_t different = 0;
        for (std::size_t i = 0; i < want[k].size(); ++i) different += got[k][i] != want[k][i];
        EXPECT_EQ(different, 0U) << "of " << want[k].size() << " numbers of output " << k;
      }
    }
  }
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0;
  double aa = 0;
  double bb = 0;
  EXPECT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    ab += double{a[i]} * b[i];
    aa += double{a[i]} * a[i];
    bb += double{b[i]} * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

// Mixed precision, exact activations and half precision against the reference on the same grids.
// One code of difference here and there is allowed: the vector kernels' exponential is not libm's.
TEST_F(NativeInt8, MixedPrecisionsAgreeWithTheReference) {
  if (!kernels::cpu_features().avx512) GTEST_SKIP() << "needs AVX-512";
  for (unsigned seed = 0; seed < 4; ++seed) {
    NetworkDefinition plain = random_detector(seed);
    const auto layers = quantizable_layers(plain);
    ASSERT_TRUE(layers);
    QuantizationChoice lifted;
    for (std::size_t i = seed; i < layers->size(); i += 3)
      lifted.lifted.push_back((*layers)[i].name);
    QuantizationChoice exact;
    exact.exact_activations = true;
    const CalibrationTable table = calibrated(plain);
    for (const QuantizationChoice& choice : {lifted, exact}) {
      SCOPED_TRACE("seed " + std::to_string(seed) + " " + to_string(choice));
      NetworkDefinition network = quantised(plain, table, choice);
      if (seed % 2 == 1) {
        for (LayerQuantization& layer : network.quantization.layers) {
          if (layer.precision == Precision::kFp32) layer.precision = Precision::kFp16;
        }
      }
      auto reference = load_reference_engine(network, info_of(network));
      ASSERT_TRUE(reference) << reference.error().message;
      auto engine =
          cpu::native::load(network, info_of(network, 2), {.features = half_features(seed == 1)});
      ASSERT_TRUE(engine) << engine.error().message;
      const auto pixels = picture((*engine)->info(), 7);
      const Outputs want = run_engine(**reference, {pixels})[0];
      const Outputs got = run_engine(**engine, {pixels}, 2)[0];
      for (std::size_t k = 0; k < want.size(); ++k) EXPECT_GT(cosine(got[k], want[k]), 0.9995) << k;
    }
  }
}

TEST_F(NativeInt8, HalfPrecisionEverywhereStoresHalfPrecision) {
  if (!kernels::cpu_features().avx512) GTEST_SKIP() << "needs AVX-512";
  NetworkDefinition network = random_detector(3);
  ASSERT_TRUE(infer_shapes(network, 1));
  auto reference = load_reference_engine(network, info_of(network));
  ASSERT_TRUE(reference);
  auto f32 = cpu::native::load(network, info_of(network, 2));
  ASSERT_TRUE(f32) << f32.error().message;
  network.quantization.values.resize(network.values.size());
  network.quantization.layers.resize(network.layers.size());
  for (LayerQuantization& layer : network.quantization.layers) layer.precision = Precision::kFp16;
  auto engine = cpu::native::load(network, info_of(network, 2), {.features = half_features(true)});
  ASSERT_TRUE(engine) << engine.error().message;
  EXPECT_LT((*engine)->inspect().context_bytes, (*f32)->inspect().context_bytes);
  EXPECT_EQ((*engine)->inspect().layers.size(), (*f32)->inspect().layers.size());
  const auto pixels = picture((*engine)->info(), 7);
  const Outputs want = run_engine(**reference, {pixels})[0];
  const Outputs got = run_engine(**engine, {pixels}, 2)[0];
  for (std::size_t k = 0; k < want.size(); ++k) EXPECT_GT(cosine(got[k], want[k]), 0.9999) << k;
}

TEST_F(NativeInt8, Bfloat16EverywhereStoresBfloat16) {
  const kernels::CpuFeatures features = kernels::detect_cpu_features();
  if (!features.amx_bf16) GTEST_SKIP() << "needs AMX-BF16";
  NetworkDefinition network = random_detector(3);
  ASSERT_TRUE(infer_shapes(network, 1));
  auto reference = load_reference_engine(network, info_of(network));
  ASSERT_TRUE(reference);
  auto f32 = cpu::native::load(network, info_of(network, 2));
  ASSERT_TRUE(f32) << f32.error().message;
  ASSERT_TRUE(use_half_precision(network, Precision::kBf16));
  auto engine = cpu::native::load(network, info_of(network, 2), {.features = features});
  ASSERT_TRUE(engine) << engine.error().message;
  const EngineInspection report = (*engine)->inspect();
  EXPECT_LT(report.context_bytes, (*f32)->inspect().context_bytes);
  EXPECT_TRUE(std::any_of(report.layers.begin(), report.layers.end(), [](const auto& layer) {
    return layer.implementation.starts_with("amx/");
  }));
  EXPECT_TRUE(std::none_of(report.layers.begin(), report.layers.end(),
                           [](const auto& layer) { return layer.implementation == "scalar"; }));
  const auto pixels = picture((*engine)->info(), 7);
  const Outputs want = run_engine(**reference, {pixels})[0];
  const Outputs got = run_engine(**engine, {pixels}, 2)[0];
  for (std::size_t k = 0; k < want.size(); ++k) EXPECT_GT(cosine(got[k], want[k]), 0.999) << k;
}

TEST_F(NativeInt8, Bfloat16PlanSaysWhereItRunsInF32) {
  Plan plan;
  plan.provider = "cpu";
  plan.precision = Precision::kBf16;
  plan.network = random_detector(1);
  ASSERT_TRUE(use_half_precision(plan.network, Precision::kBf16));
  ASSERT_TRUE(infer_shapes(plan.network, 1));
  const auto info = describe_engine(plan.network, "cpu", {.precision = Precision::kBf16});
  ASSERT_TRUE(info) << info.error().message;
  kernels::CpuFeatures features = kernels::detect_cpu_features();
  if (!cpu::native::check_vectors(features)) GTEST_SKIP() << "needs AVX2 or NEON";
  features.amx_bf16 = false;
  const auto without = cpu::native::load(plan.network, *info, {.features = features});
  ASSERT_TRUE(without) << without.error().message;
  EXPECT_EQ((*without)->info().precision, Precision::kFp32);
  ASSERT_EQ((*without)->inspect().declined.size(), 1U);
  EXPECT_TRUE((*without)->inspect().declined[0].starts_with("bf16 runs as fp32: needs amx_bf16"));
  const auto read = deserialize(serialize(plan));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->precision, Precision::kBf16);
}

TEST_F(NativeInt8, HalfPrecisionPlanSaysWhereItRunsInF32) {
  if (!kernels::cpu_features().avx512) GTEST_SKIP() << "needs AVX-512";
  Plan plan;
  plan.provider = "cpu";
  plan.precision = Precision::kFp16;
  plan.network = random_detector(1);
  ASSERT_TRUE(use_half_precision(plan.network));
  for (const LayerQuantization& layer : plan.network.quantization.layers) {
    EXPECT_NE(layer.precision, Precision::kInt8);
  }
  ASSERT_TRUE(infer_shapes(plan.network, 1));
  const auto info = describe_engine(plan.network, "cpu", {.precision = Precision::kFp16});
  ASSERT_TRUE(info) << info.error().message;
  const auto with = cpu::native::load(plan.network, *info, {.features = half_features(true)});
  ASSERT_TRUE(with) << with.error().message;
  EXPECT_EQ((*with)->info().precision, Precision::kFp16);
  EXPECT_TRUE((*with)->inspect().declined.empty());
  kernels::CpuFeatures features = half_features(false);
  features.avx512_fp16 = false;
  const auto without = cpu::native::load(plan.network, *info, {.features = features});
  ASSERT_TRUE(without) << without.error().message;
  EXPECT_EQ((*without)->info().precision, Precision::kFp32);
  ASSERT_EQ((*without)->inspect().declined.size(), 1U);
  EXPECT_NE((*without)->inspect().declined[0].find("fp16 runs as fp32"), std::string::npos);
  // A plan file keeps it; a provider that knows one precision only refuses it.
  const auto bytes = serialize(plan);
  const auto read = deserialize(bytes);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_TRUE(load_engine(*read));
  plan.provider = "onednn";
  const auto refused = load_engine(plan);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
}

TEST_F(NativeInt8, OddOperatorsFallBackToTheReference) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId a = n.stem(24);
  const ValueId grouped = n.conv(a, {.in = 24, .out = 24, .kernel = 3, .groups = 3});
  const ValueId bounded = n.add(OpType::kTanh, {grouped});
  const ValueId b = n.conv(bounded, {.in = 24, .out = 16, .kernel = 3, .scale = 20});
  const ValueId head = n.conv(b, {.in = 16, .out = 12, .activation = Activation::kNone});
  const ValueId transposed =
      n.add(OpType::kTranspose, {head}, {{"perm", std::vector<std::int64_t>{0, 2, 3, 1}}});
  const NetworkDefinition network = quantised(n.finish({transposed, head}, /*dfl=*/false));
  auto reference = load_reference_engine(network, info_of(network));
  ASSERT_TRUE(reference);
  auto engine = cpu::native::load(network, info_of(network));
  ASSERT_TRUE(engine) << engine.error().message;
  EXPECT_EQ((*engine)->inspect().declined.size(), 2U);
  const auto pixels = picture((*engine)->info(), 7);
  const Outputs want = run_engine(**reference, {pixels})[0];
  const Outputs got = run_engine(**engine, {pixels}, 2)[0];
  for (std::size_t k = 0; k < want.size(); ++k) EXPECT_GT(cosine(got[k], want[k]), 0.999) << k;
}

// Where the CPU has no vectors the same plan must run in f32 and say so.
TEST(CpuProviderInt8, LoadsOnEveryCpu) {
  const NetworkDefinition network = quantised(random_detector(2));
  auto reference = load_reference_engine(network, info_of(network));
  ASSERT_TRUE(reference);
  auto engine = load_cpu_engine(network, info_of(network));
  ASSERT_TRUE(engine) << engine.error().message;
  const bool alone = !onednn_available();  // 8 bits by the readable kernels
  EXPECT_EQ((*engine)->info().precision, has_int8() || alone ? Precision::kInt8 : Precision::kFp32);
  EXPECT_EQ((*engine)->inspect().declined.empty(), has_int8());
  const auto pixels = picture((*engine)->info(), 7);
  const Outputs want = run_engine(**reference, {pixels})[0];
  const Outputs got = run_engine(**engine, {pixels})[0];
  for (std::size_t k = 0; k < want.size(); ++k) EXPECT_GT(cosine(got[k], want[k]), 0.99) << k;
}

TEST_F(NativeInt8, ExecutionAllocatesNothing) {
  const NetworkDefinition network = quantised(random_detector(1));
  auto engine = cpu::native::load(network, info_of(network, 2));
  ASSERT_TRUE(engine);
  auto context = (*engine)->create_execution_context();
  ASSERT_TRUE(context);
  test::Bindings bindings((*engine)->info(), {picture((*engine)->info(), 1)});
  const fovea::test::AllocationGuard guard;
  const auto done = (*context)->execute(bindings.batch());
  EXPECT_EQ(guard.count(), 0U);
  EXPECT_TRUE(done);
}

// Bright boxes on a gradient: no photograph, but nothing like noise either.
std::vector<std::uint8_t> scene(std::int64_t height, std::int64_t width, unsigned seed) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(3 * height * width));
  std::mt19937 random(seed);
  for (std::int64_t i = 0; i < height * width; ++i) {
    for (std::int64_t c = 0; c < 3; ++c) {
      pixels[static_cast<std::size_t>(3 * i + c)] = static_cast<std::uint8_t>(
          40 + 30 * c + 90 * (i / width) / height + static_cast<std::int64_t>(random() % 9));
    }
  }
  for (int box = 0; box < 12; ++box) {
    const auto side = [&](std::int64_t of) {
      return 8 + static_cast<std::int64_t>(random()) % (of / 3);
    };
    const std::int64_t h = side(height);
    const std::int64_t w = side(width);
    const std::int64_t top = static_cast<std::int64_t>(random()) % (height - h);
    const std::int64_t left = static_cast<std::int64_t>(random()) % (width - w);
    const auto shade = static_cast<std::uint8_t>(random());
    for (std::int64_t y = top; y < top + h; ++y) {
      for (std::int64_t x = 3 * left; x < 3 * (left + w); ++x) {
        pixels[static_cast<std::size_t>(y * width * 3 + x)] =
            static_cast<std::uint8_t>(shade + 40 * (x % 3));
      }
    }
  }
  return pixels;
}

// The trained demo model: f32 equals the reference, INT8 stays close to it.
TEST_F(NativeInt8, DemoModel) {
  auto parsed = parse_onnx(FOVEA_SOURCE_DIR "/config/models/yolov8p_demo_dynamic.onnx");
  ASSERT_TRUE(parsed) << parsed.error().message;
  auto lowered = lower(std::move(*parsed));
  ASSERT_TRUE(lowered) << lowered.error().message;
  NetworkDefinition network = *lowered;
  ASSERT_TRUE(infer_shapes(network, 1));
  auto reference = load_reference_engine(network, info_of(network));
  ASSERT_TRUE(reference);
  auto f32 = cpu::native::load(network, info_of(network, 2));
  ASSERT_TRUE(f32) << f32.error().message;
  const auto side = info_of(network).input.dims;
  const auto pixels = scene(side[0], side[1], 99);
  const Outputs want = run_engine(**reference, {pixels})[0];
  const Outputs close = run_engine(**f32, {pixels}, 2)[0];
  ASSERT_EQ(want.size(), 6U);
  for (std::size_t k = 0; k < want.size(); ++k) EXPECT_GT(cosine(close[k], want[k]), 0.99999) << k;

  const auto source = [&](std::size_t index, std::span<std::byte> to) -> Result<> {
    const auto picture = scene(side[0], side[1], static_cast<unsigned>(index));
    std::memcpy(to.data(), picture.data(), to.size());
    return {};
  };
  const auto table = calibrate(*lowered, 8, source, {.threads = 2});
  ASSERT_TRUE(table) << table.error().message;
  ASSERT_TRUE(quantize(*lowered, *table));
  ASSERT_TRUE(infer_shapes(*lowered, 1));
  auto int8 = cpu::native::load(*lowered, info_of(*lowered, 2));
  ASSERT_TRUE(int8) << int8.error().message;
  EXPECT_TRUE((*int8)->inspect().declined.empty());
  const Outputs got = run_engine(**int8, {pixels}, 2)[0];
  for (std::size_t k = 0; k < want.size(); ++k) EXPECT_GT(cosine(got[k], want[k]), 0.98) << k;
}

}  // namespace
}  // namespace fovea::engine
