// Calibration: the rules on known distributions, tables that survive files and refuse damage, and
// small networks that stay close to f32 in 8 bits.
#include "nodes/detector/engine/quantization/calibrator.hpp"

#include <cmath>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "nodes/detector/engine/quantization/calibration_ranges.hpp"
#include "tests/engine/small_network.hpp"

namespace fovea::engine {
namespace {

constexpr std::int64_t kSide = 32;

Result<> noise_picture(std::size_t index, std::span<std::byte> picture) {
  const auto pixels = test::SmallNetwork::picture(kSide, kSide, static_cast<unsigned>(index));
  std::memcpy(picture.data(), pixels.data(), std::min(pixels.size(), picture.size()));
  return {};
}

NetworkDefinition small_detector(Activation activation = Activation::kSilu) {
  test::SmallNetwork n(kSide, kSide);
  const ValueId x = n.stem(8);
  const ValueId y = n.c2f(x, 8, 8);
  const ValueId z =
      n.conv(y, {.in = 8, .out = 16, .kernel = 3, .stride = 2, .activation = activation});
  return n.finish({n.conv(z, {.in = 16, .out = 8, .activation = Activation::kNone})});
}

Result<CalibrationTable> calibrated(const NetworkDefinition& network, std::string provider,
                                    std::size_t pictures = 8) {
  return calibrate(
      network, pictures, noise_picture,
      {.provider = std::move(provider), .threads = 2, .model_hash = "m", .identity = "abc"});
}

std::vector<float> run(const NetworkDefinition& network, unsigned seed) {
  Plan plan;
  plan.provider = "reference";
  plan.precision = network.quantization.empty() ? Precision::kFp32 : Precision::kInt8;
  plan.network = network;
  const auto engine = load_engine(plan);
  EXPECT_TRUE(engine) << engine.error().message;
  const auto context = (*engine)->create_execution_context();
  const auto& info = (*engine)->info();
  alignas(64) static std::byte input[3 * kSide * kSide];
  alignas(64) static std::byte output[1 << 16];
  (void)noise_picture(seed, input);
  const MemoryView outputs[] = {{output, sizeof output}};
  const BatchItem item{{input, sizeof input}, outputs};
  EXPECT_TRUE((*context)->execute({&item, 1}));
  std::vector<float> values(info.outputs[0].bytes / sizeof(float));
  std::memcpy(values.data(), output, info.outputs[0].bytes);
  return values;
}

double relative_error(const std::vector<float>& a, const std::vector<float>& exact) {
  double error = 0;
  double power = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - exact[i], 2);
    power += std::pow(static_cast<double>(exact[i]), 2);
  }
  return std::sqrt(error / power);
}

// A hundred thousand normal numbers and one far away.
Histogram with_outlier() {
  Histogram histogram(-5, 100);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (int i = 0; i < 100'000; ++i) {
    const float x = normal(random);
    histogram.add(&x, 1);
  }
  const float far = 100;
  histogram.add(&far, 1);
  return histogram;
}

TEST(Histogram, CountsEverythingAtTheRightPlace) {
  Histogram histogram(0, 4096);
  const std::vector<float> values = {0.5F, 1.5F, 1.6F, 4096, -3, 5000};
  histogram.add(values.data(), values.size());
  EXPECT_EQ(histogram.counts()[0], 2U);
  EXPECT_EQ(histogram.counts()[1], 2U);
  EXPECT_EQ(histogram.counts()[4095], 2U);
  EXPECT_EQ(histogram.total(), 6U);
  Histogram constant(3, 3);
  const float three = 3;
  constant.add(&three, 1);
  EXPECT_EQ(percentile(constant, 99.999), 3);
}

TEST(Percentile, CutsTheTail) {
  const Histogram histogram = with_outlier();
  EXPECT_LT(percentile(histogram, 99.9), 4);
  EXPECT_GT(percentile(histogram, 99.9), 2.5);
  EXPECT_NEAR(percentile(histogram, 100), 100, 0.1);
  EXPECT_NEAR(percentile_of(histogram, 50), 99.999, 0.0005);
}

TEST(EntropyHigh, CutsFarBelowAnOutlier) {
  const Histogram histogram = with_outlier();
  EXPECT_LT(entropy_high(histogram, -5), 60);
  EXPECT_LT(percentile_of(histogram, entropy_high(histogram, -5)), 100);
}

TEST(LeastSquaresHigh, KeepsWhatRoundingDoesNotPayFor) {
  // Uniform: nothing can be clipped without loss.
  Histogram uniform(0, 10);
  for (int i = 0; i < 10000; ++i) {
    const float x = static_cast<float>(i) / 1000;
    uniform.add(&x, 1);
  }
  EXPECT_NEAR(least_squares_high(uniform, 0), 10, 0.2);
}

TEST(LeastSquaresEnds, SpendNoCodesWhereSiluIsFlat) {
  Histogram wide(-40, 20);
  std::mt19937 random(2);
  std::normal_distribution<float> normal(-4, 6);
  for (int i = 0; i < 100'000; ++i) {
    const float x = std::clamp(normal(random), -40.0F, 20.0F);
    wide.add(&x, 1);
  }
  const Ends silu = least_squares_ends(wide, Activation::kSilu, 0);
  EXPECT_GE(silu.low, -8);
  EXPECT_LE(silu.low, -1.5);
  EXPECT_GT(silu.high, 10);
  // The identity is flat nowhere.
  EXPECT_LT(least_squares_ends(wide, Activation::kNone, 0).low, -20);
  EXPECT_EQ(least_squares_ends(wide, Activation::kRelu, 0).low, -1.5F);
}

TEST(LeastSquaresEnds, OutermostCodesStandForTheMeanOfWhatTheyClip) {
  // Most of it lies where SiLU is flat and far beyond the lower end.
  Histogram wide(-40, 20);
  std::mt19937 random(3);
  std::normal_distribution<float> normal(-6, 8);
  std::vector<float> values;
  for (int i = 0; i < 100'000; ++i) values.push_back(std::clamp(normal(random), -40.0F, 20.0F));
  wide.add(values.data(), values.size());
  const Ends ends = least_squares_ends(wide, Activation::kSilu, 0);
  const QuantizationGrid grid = QuantizationGrid::over(ends.low, ends.high, 0);
  const auto silu = [](double x) { return x / (1 + std::exp(-x)); };
  double low_sum = 0;
  double high_sum = 0;
  int low_count = 0;
  int high_count = 0;
  for (const float x : values) {
    const float code = std::nearbyint(x / grid.scale) + static_cast<float>(grid.zero_point);
    if (code <= 0) {
      low_sum += silu(x);
      ++low_count;
    }
    if (code >= 255) {
      high_sum += silu(x);
      ++high_count;
    }
  }
  ASSERT_GT(low_count, 1000);
  ASSERT_GT(high_count, 0);
  EXPECT_NEAR(ends.low_value, low_sum / low_count, 2e-3);
  EXPECT_NEAR(ends.high_value, high_sum / high_count, 2e-2);
  // SiLU of the lower end itself is a multiple of that.
  EXPECT_GT(ends.low_value, silu(ends.low) / 2);
}

TEST(CalibrationTable, SurvivesJsonExactly) {
  const auto table = calibrated(small_detector(), "reference");
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_EQ(table->layers.size(), 6U);  // all but the last, whose output stays f32
  const std::string text = to_json(*table);
  const auto read = calibration_from_json(text);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, *table);
  EXPECT_EQ(to_json(*read), text);
}

TEST(CalibrationTable, RefusesDamage) {
  const auto table = calibrated(small_detector(), "reference");
  ASSERT_TRUE(table);
  const std::string text = to_json(*table);
  const auto expect_refused = [](const std::string& damaged) {
    const auto read = calibration_from_json(damaged);
    ASSERT_FALSE(read) << damaged.substr(0, 200);
    EXPECT_EQ(read.error().code, ErrorCode::kCorrupt);
  };
  expect_refused("");
  expect_refused("{}");
  expect_refused(text.substr(0, text.size() / 2));
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string copy = text;
    copy.replace(copy.find(from), from.size(), to);
    return copy;
  };
  expect_refused(replaced("calibration 2", "calibration 9"));
  expect_refused(replaced("\"pre_max\": ", "\"pre_max\": 1e999, \"was\": "));
  expect_refused(replaced("\"pre_max\": ", "\"pre_max\": -1e30, \"was\": "));
  expect_refused(replaced("\"low_value\": ", "\"low_value\": 1e999, \"was\": "));
  expect_refused(replaced("\"mse\"", "\"msf\""));
  expect_refused(replaced("\"out_min\": ", "\"out_min\": \"x\", \"was\": "));
}

TEST(Calibrate, EqualInputsGiveEqualBytes) {
  const NetworkDefinition network = small_detector();
  const auto first = calibrated(network, "reference");
  const auto second = calibrated(network, "reference");
  ASSERT_TRUE(first && second);
  EXPECT_EQ(to_json(*first), to_json(*second));
  EXPECT_EQ(hash_of(*first), hash_of(*second));
}

TEST(Calibrate, ProvidersLearnTheSameRanges) {
  const NetworkDefinition network = small_detector(Activation::kHardSwish);
  const auto reference = calibrated(network, "reference");
  const auto cpu = calibrated(network, "cpu");
  ASSERT_TRUE(reference) << reference.error().message;
  ASSERT_TRUE(cpu) << cpu.error().message;
  ASSERT_EQ(reference->layers.size(), cpu->layers.size());
  for (std::size_t i = 0; i < cpu->layers.size(); ++i) {
    const LayerRanges& a = reference->layers[i];
    const LayerRanges& b = cpu->layers[i];
    EXPECT_EQ(a.layer, b.layer);
    EXPECT_NEAR(a.pre_min, b.pre_min, 1e-3 * std::abs(a.pre_min)) << a.layer;
    EXPECT_NEAR(a.pre_max, b.pre_max, 1e-3 * std::abs(a.pre_max)) << a.layer;
    EXPECT_NEAR(a.out_max, b.out_max, 1e-3 * std::abs(a.out_max)) << a.layer;
  }
}

TEST(Calibrate, RangesAreThoseOfTheRecipe) {
  const auto table = calibrated(small_detector(), "reference");
  ASSERT_TRUE(table);
  for (const LayerRanges& ranges : table->layers) {
    const bool residual = ranges.layer == "Conv_5";
    EXPECT_EQ(ranges.low, residual ? ranges.out_min : std::max(-0.27846455F, ranges.out_min));
    EXPECT_GE(ranges.pre_low, ranges.pre_min);
    EXPECT_LE(ranges.pre_low, std::max(-1.5F, ranges.pre_min) + 1e-6F);
    EXPECT_LE(ranges.pre_high, ranges.pre_max * 1.0001F);
    for (const float high : ranges.high) {
      EXPECT_GT(high, 0) << ranges.layer;
      EXPECT_LE(high, ranges.out_max * 1.001F) << ranges.layer;
    }
    EXPECT_LE(ranges.entropy_percentile, 100);
  }
}

TEST(Calibrate, RefusesTooFewPicturesAndSaysWhatIsNeeded) {
  const auto table = calibrated(small_detector(), "reference", 7);
  ASSERT_FALSE(table);
  EXPECT_EQ(table.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(table.error().message.find("7 pictures; it needs at least 8"), std::string::npos)
      << table.error().message;
}

TEST(Calibrate, NamesTheLayerThatIsNotFinite) {
  test::SmallNetwork n(kSide, kSide);
  const ValueId x = n.conv(n.x(), {.in = 3, .out = 8, .scale = 1e38F});
  const ValueId y = n.conv(x, {.in = 8, .out = 8, .scale = 1e38F});
  const auto table = calibrated(
      n.finish({n.conv(y, {.in = 8, .out = 4, .activation = Activation::kNone})}), "reference");
  ASSERT_FALSE(table);
  EXPECT_EQ(table.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(table.error().message.find("Conv_1"), std::string::npos) << table.error().message;
}

TEST(Calibrate, PassesOnThePictureThatCannotBeRead) {
  const auto table = calibrate(small_detector(), 8,
                               [](std::size_t index, std::span<std::byte>) -> Result<> {
                                 if (index == 3) return fail(ErrorCode::kCorrupt, "p3.jpg: broken");
                                 return {};
                               },
                               {.provider = "reference"});
  ASSERT_FALSE(table);
  EXPECT_EQ(table.error().message, "p3.jpg: broken");
}

TEST(Quantize, StaysCloseToF32AndCloserWithMoreBits) {
  const NetworkDefinition exact = small_detector();
  const auto table = calibrated(exact, "reference", 16);
  ASSERT_TRUE(table);
  const auto error_of = [&](const QuantizationChoice& choice) {
    NetworkDefinition network = exact;
    const auto done = quantize(network, *table, choice);
    EXPECT_TRUE(done) << done.error().message;
    double sum = 0;
    for (unsigned seed = 100; seed < 104; ++seed) {
      sum += relative_error(run(network, seed), run(exact, seed));
    }
    return sum / 4;
  };
  const double recipe = error_of({});
  const double precise = error_of({.exact_activations = true});
  const double lifted = error_of({.lifted = {"Conv_1", "Conv_2"}});
  EXPECT_GT(recipe, 1e-4);  // it is 8 bits, after all
  EXPECT_LT(recipe, 0.05);
  EXPECT_LT(precise, recipe);
  EXPECT_LT(lifted, recipe);
}

TEST(Quantize, LiftedPrefixStaysF32) {
  NetworkDefinition network = small_detector();
  const auto table = calibrated(network, "reference");
  ASSERT_TRUE(table);
  ASSERT_TRUE(quantize(network, *table, {.lifted = {"Conv_1"}}));
  const auto grid = [&](std::size_t layer) {
    return network.quantization.values[static_cast<std::size_t>(network.layers[layer].outputs[0])];
  };
  EXPECT_FALSE(grid(0));  // the picture goes to an f32 convolution
  EXPECT_TRUE(grid(1));   // its output to an int8 one
  EXPECT_EQ(network.quantization.layers[1].precision, Precision::kFp32);
  EXPECT_EQ(network.quantization.layers[2].precision, Precision::kInt8);
  EXPECT_TRUE(network.quantization.layers[2].pre_activation);
}

TEST(Quantize, RefusesAnotherModelsTableAndUnknownLayers) {
  NetworkDefinition network = small_detector();
  auto table = calibrated(network, "reference");
  ASSERT_TRUE(table);
  EXPECT_FALSE(quantize(network, *table, {.lifted = {"Conv_99"}}));
  EXPECT_TRUE(network.quantization.empty());
  table->layers.erase(table->layers.begin() + 2);
  const auto done = quantize(network, *table);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::kInvalidArgument);
}

TEST(QuantizableLayers, HaveMacsAndStrides) {
  const auto layers = quantizable_layers(small_detector());
  ASSERT_TRUE(layers);
  ASSERT_EQ(layers->size(), 7U);
  EXPECT_EQ((*layers)[0].name, "Conv_1");
  EXPECT_EQ((*layers)[0].macs, 3U * 8 * 9 * 16 * 16);
  EXPECT_EQ((*layers)[0].stride, 2);
  EXPECT_EQ(layers->back().stride, 4);
}

TEST(QuantizationChoice, TextNamesEverything) {
  EXPECT_EQ(to_string(QuantizationChoice{}), "percentile");
  EXPECT_EQ(to_string(QuantizationChoice{RangeRule::kMse, true, {"a", "b"}}),
            "mse exact-activations lifted a,b");
}

}  // namespace
}  // namespace fovea::engine
