// How a picture becomes the input: who says so, and that the network computes of bytes what the model
// computes of the values that its exporter meant.
#include "nodes/detector/engine/picture.hpp"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/detector/engine/onnx/picture_metadata.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "tests/engine/graph_maker.hpp"

namespace fovea::engine {
namespace {

using test::GraphMaker;
using test::ints;
using test::op_list;
using test::Tensor;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::int64_t kHeight = 6;
constexpr std::int64_t kWidth = 8;

const InputSpec kImageNet{.resize = ResizeMode::kStretch,
                          .mean = {0.485F, 0.456F, 0.406F},
                          .deviation = {0.229F, 0.224F, 0.225F}};
const InputSpec kBgrBytes{.colour = ColourOrder::kBgr, .range = ValueRange::kBytes};
const InputSpec kGray{
    .colour = ColourOrder::kGray, .mean = {0.5F, 0, 0}, .deviation = {0.25F, 1, 1}};

// u8 [1, h, w, 3], and what the model is to read of it by the published rule.
struct Both {
  Tensor bytes = Tensor::make(DataType::kUint8, {1, kHeight, kWidth, 3});
  Tensor values;
};
Both picture_for(const InputSpec& spec) {
  Both both;
  const std::int64_t channels = spec.colour == ColourOrder::kGray ? 1 : 3;
  both.values = Tensor::make(DataType::kFloat32, {1, channels, kHeight, kWidth});
  for (std::int64_t pixel = 0; pixel < kHeight * kWidth; ++pixel) {
    double rgb[3];
    for (std::int64_t k = 0; k < 3; ++k) {
      const std::int64_t i = 3 * pixel + k;
      const auto byte = static_cast<std::uint8_t>((i * 7919 + i / 13 * 31) % 256);
      both.bytes.data<std::uint8_t>()[i] = byte;
      rgb[k] = byte;
    }
    for (std::int64_t c = 0; c < channels; ++c) {
      const auto at = static_cast<std::size_t>(c);
      double value = spec.colour == ColourOrder::kGray
                         ? 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
                         : rgb[spec.colour == ColourOrder::kBgr ? 2 - at : at];
      if (spec.range == ValueRange::kUnit) value /= 255;
      both.values.data<float>()[c * kHeight * kWidth + pixel] = static_cast<float>(
          (value - static_cast<double>(spec.mean[at])) / static_cast<double>(spec.deviation[at]));
    }
  }
  return both;
}

// Folds, and compares every output. `what` is the operators that must result.
void expect_same(const NetworkDefinition& before, const InputSpec& spec, const std::string& what) {
  NetworkDefinition after = before;
  after.picture = spec;
  const auto outcome = fold_image_input(after);
  ASSERT_TRUE(outcome) << outcome.error().message;
  const auto valid = after.validate();
  ASSERT_TRUE(valid) << valid.error().message;
  EXPECT_EQ(op_list(after), what) << to_string(spec);
  const Both both = picture_for(spec);
  const auto expected = reference::evaluate(before, {{"images", both.values}});
  const auto actual = reference::evaluate(after, {{"images", both.bytes}});
  ASSERT_TRUE(expected) << expected.error().message;
  ASSERT_TRUE(actual) << actual.error().message;
  for (const auto& [name, wanted] : *expected) {
    const Tensor& got = actual->at(name);
    ASSERT_EQ(got.dims, wanted.dims);
    float most = 0;
    for (std::int64_t i = 0; i < wanted.size(); ++i)
      most = std::max(most, std::abs(wanted.data<float>()[i]));
    for (std::int64_t i = 0; i < wanted.size(); ++i) {
      ASSERT_NEAR(got.data<float>()[i], wanted.data<float>()[i], 1e-5F * most)
          << name << " " << i << " of " << to_string(spec);
    }
  }
}

std::int64_t channels_of(const InputSpec& spec) {
  return spec.colour == ColourOrder::kGray ? 1 : 3;
}

// Rows and columns, every second one from `y` and `x` on: a quarter of YOLOX's focus.
ValueId every_second(GraphMaker& g, ValueId from, std::int64_t y, std::int64_t x) {
  const auto slice = [&](ValueId of, std::int64_t first, std::int64_t axis) {
    return g.add(OpType::kSlice, {of, g.constant(ints({first})), g.constant(ints({1 << 20})),
                                  g.constant(ints({axis})), g.constant(ints({2}))});
  };
  return slice(slice(from, y, 2), x, 3);
}

TEST(FoldPicture, AFirstConvolutionWithoutPaddingTakesEverything) {
  for (const InputSpec& spec : {InputSpec{}, kImageNet, kBgrBytes, kGray}) {
    GraphMaker g;
    const ValueId x = g.input("images", {1, channels_of(spec), kHeight, kWidth});
    expect_same(
        g.finish({g.conv(x, channels_of(spec), 4, 2, 2), g.conv(x, channels_of(spec), 5, 1)}), spec,
        "ImageInput,Conv,Conv");
  }
}

// The zeros of a padding are zeros behind the mean: no byte is that.
TEST(FoldPicture, AMeanBeforeAPaddedConvolutionStaysExactAtTheBorder) {
  for (const InputSpec& spec : {kImageNet, kGray}) {
    GraphMaker g;
    const ValueId x = g.input("images", {1, channels_of(spec), kHeight, kWidth});
    expect_same(g.finish({g.conv(x, channels_of(spec), 4, 3)}), spec, "ImageInput,Conv,Conv");
  }
}

TEST(FoldPicture, OrderAndScaleAreExactUnderAPaddingToo) {
  for (const ColourOrder colour : {ColourOrder::kRgb, ColourOrder::kBgr, ColourOrder::kGray}) {
    InputSpec spec;
    spec.colour = colour;
    spec.deviation = {0.25F, 0.5F, 2};
    GraphMaker g;
    const ValueId x = g.input("images", {1, channels_of(spec), kHeight, kWidth});
    expect_same(g.finish({g.conv(x, channels_of(spec), 4, 3)}), spec, "ImageInput,Conv");
  }
}

TEST(FoldPicture, GoesThroughAFocus) {
  for (const InputSpec& spec : {kBgrBytes, InputSpec{}}) {
    GraphMaker g;
    const ValueId x = g.input("images", {1, 3, kHeight, kWidth});
    std::vector<ValueId> parts;
    for (std::int64_t i = 0; i < 4; ++i) parts.push_back(every_second(g, x, i % 2, i / 2));
    const ValueId all = g.add(OpType::kConcat, parts, {{"axis", std::int64_t{1}}});
    expect_same(g.finish({g.conv(all, 12, 4, 3)}), spec,
                "ImageInput,Slice,Slice,Slice,Slice,Slice,Slice,Slice,Slice,Concat,Conv");
  }
}

TEST(FoldPicture, OthersWhoReadThePictureGetItsValues) {
  for (const InputSpec& spec : {kImageNet, kBgrBytes, kGray}) {
    GraphMaker g;
    const ValueId x = g.input("images", {1, channels_of(spec), kHeight, kWidth});
    expect_same(g.finish({g.conv(g.add(OpType::kTanh, {x}), channels_of(spec), 4)}), spec,
                "ImageInput,Conv,Tanh,Conv");
  }
}

TEST(FoldPicture, APictureThatIsAnOutputIsTheModels) {
  GraphMaker g;
  const ValueId x = g.input("images", {1, 3, kHeight, kWidth});
  const ValueId part = every_second(g, x, 0, 0);
  expect_same(g.finish({part, g.conv(x, 3, 2)}), kImageNet, "ImageInput,Conv,Slice,Slice,Conv");
}

TEST(FoldPicture, AGroupedFirstConvolutionIsLeftAlone) {
  GraphMaker g;
  const ValueId x = g.input("images", {1, 3, kHeight, kWidth});
  const ValueId y = g.add(OpType::kConv, {x, g.constant(test::noise({3, 1, 1, 1}, 4))},
                          {{"group", std::int64_t{3}}});
  expect_same(g.finish({y}), kBgrBytes, "ImageInput,Conv,Conv");
}

struct Settled {
  Result<InputSpec> picture;
  std::vector<std::string> warnings;
};
Settled settle(const PictureInput& input, const std::map<std::string, std::string>& metadata,
               const InputChoice& choice = {}, const InputSpec& family = {}) {
  std::vector<std::string> warnings;
  auto picture = settled_picture(input, family, metadata, choice, warnings);
  return {std::move(picture), std::move(warnings)};
}

TEST(SettledPicture, TheUserGoesBeforeTheMetadataAndThoseBeforeTheFamily) {
  InputSpec family = kBgrBytes;
  family.border = 1;
  const std::map<std::string, std::string> metadata = {
      {"resize", "stretch"}, {"mean", "[0.5, 0.5, 0.5]"}, {"color", "rgb"}};
  InputChoice choice;
  choice.resize = ResizeMode::kCentreCrop;
  const auto [picture, warnings] = settle({"images"}, metadata, choice, family);
  ASSERT_TRUE(picture);
  EXPECT_EQ(to_string(*picture), "rgb 0..255, mean 0.5 0.5 0.5, centre_crop");
  EXPECT_EQ(picture->border, 1);
  EXPECT_THAT(warnings, IsEmpty());
}

TEST(SettledPicture, OpenVinosWordsAreUnderstood) {
  const auto [picture, warnings] =
      settle({"images"}, {{"model_info mean_values", "123.675 116.28 103.53"},
                          {"model_info scale_values", "58.395 57.12 57.375"},
                          {"model_info resize_type", "fit_to_window"},
                          {"model_info pad_value", "0"}});
  ASSERT_TRUE(picture);
  EXPECT_EQ(to_string(*picture),
            "rgb 0..255, mean 123.675 116.28 103.53, deviation 58.395 57.12 57.375, "
            "letterbox_top_left, border 0");
  EXPECT_THAT(warnings, IsEmpty());
}

TEST(SettledPicture, MetadataThatCannotBeReadAreNamedAndLeftOut) {
  const auto [picture, warnings] =
      settle({"images"}, {{"mean", "half"}, {"pad", "300"}, {"color", "grb"}});
  ASSERT_TRUE(picture);
  EXPECT_EQ(*picture, InputSpec{});
  ASSERT_EQ(warnings.size(), 3u);
  EXPECT_THAT(warnings[0],
              HasSubstr("'color' is 'grb', which is not taken: it must be rgb, bgr, gray"));
}

TEST(SettledPicture, ColoursThatContradictTheChannelsAreRefused) {
  InputChoice choice;
  EXPECT_EQ(settle({"images", 1}, {}).picture->colour, ColourOrder::kGray);
  choice.colour = ColourOrder::kBgr;
  const auto one = settle({"images", 1}, {}, choice).picture;
  ASSERT_FALSE(one);
  EXPECT_EQ(one.error().message,
            "color is bgr, but the input 'images' has 1 channel; it must be gray");
  choice.colour = ColourOrder::kGray;
  const auto three = settle({"images", 3}, {}, choice).picture;
  ASSERT_FALSE(three);
  EXPECT_THAT(three.error().message, HasSubstr("it must be rgb or bgr"));
}

TEST(SettledPicture, BytesStayBytes) {
  EXPECT_EQ(settle({"images", 3, DataType::kUint8}, {}).picture->range, ValueRange::kBytes);
}

TEST(SettledPicture, IsPartOfALoweredNetwork) {
  GraphMaker g;
  const ValueId x = g.input("images", {1, 1, kHeight, kWidth});
  LoweringOptions options;
  options.picture.resize = ResizeMode::kStretch;
  const auto network = lower(g.finish({g.conv(x, 1, 4)}), options);
  ASSERT_TRUE(network) << network.error().message;
  EXPECT_EQ(to_string(network->picture), "gray 0..1, stretch");
  EXPECT_EQ(network->value(network->inputs[0]).dims, (Dims{-1, kHeight, kWidth, 3}));
}

}  // namespace
}  // namespace fovea::engine
