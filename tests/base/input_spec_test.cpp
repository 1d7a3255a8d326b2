// How a picture becomes a network's input, in words and numbers of people.
#include "nodes/base/input_spec.hpp"

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fovea {
namespace {

using ::testing::HasSubstr;

TEST(InputSpec, SaysItselfInOneLine) {
  EXPECT_EQ(to_string(InputSpec{}), "rgb 0..1, letterbox, border 114");
  InputSpec spec;
  spec.colour = ColourOrder::kBgr;
  spec.range = ValueRange::kBytes;
  spec.mean = {103.5F, 116.25F, 123.5F};
  spec.deviation = {57.5F, 57, 58};
  spec.resize = ResizeMode::kStretch;
  EXPECT_EQ(to_string(spec), "bgr 0..255, mean 103.5 116.25 123.5, deviation 57.5 57 58, stretch");
  EXPECT_EQ(problem_of(spec), "");
}

TEST(InputSpec, AForgedOneIsRefused) {
  InputSpec spec;
  spec.colour = static_cast<ColourOrder>(9);
  EXPECT_THAT(problem_of(spec), HasSubstr("colour order is 9; it must be 0..2 (rgb, bgr, gray)"));
  spec = {};
  spec.mean[1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(problem_of(spec), HasSubstr("mean is 0 nan 0; it must be finite"));
  spec = {};
  for (const float deviation : {0.0F, -1.0F, std::numeric_limits<float>::infinity(), 1e-42F}) {
    spec.deviation[2] = deviation;
    EXPECT_THAT(problem_of(spec), HasSubstr("it must be above 0")) << deviation;
  }
}

TEST(InputSpec, OnlyWhatIsSaidReplaces) {
  InputSpec family;
  family.colour = ColourOrder::kBgr;
  family.border = 7;
  InputChoice choice;
  EXPECT_EQ(with_choice(family, choice), family);
  EXPECT_EQ(to_string(choice), "auto");
  choice.resize = ResizeMode::kLetterboxTopLeft;
  choice.mean = PerChannel{1, 2, 3};
  const InputSpec spec = with_choice(family, choice);
  EXPECT_EQ(spec.colour, ColourOrder::kBgr);
  EXPECT_EQ(spec.border, 7);
  EXPECT_EQ(spec.resize, ResizeMode::kLetterboxTopLeft);
  EXPECT_EQ(spec.mean, (PerChannel{1, 2, 3}));
  EXPECT_EQ(to_string(choice), "mean 1 2 3, resize letterbox_top_left");
}

TEST(InputSpec, NumbersPerChannelAreReadInEverySpelling) {
  const PerChannel imagenet{0.485F, 0.456F, 0.406F};
  for (const char* text : {"0.485,0.456,0.406", "[0.485, 0.456, 0.406]", "(0.485 0.456 0.406)",
                           " 0.485\t0.456 0.406 ", "[ 0.485,0.456 , 0.406 ]"}) {
    const auto values = parse_per_channel("mean", text);
    ASSERT_TRUE(values) << text;
    EXPECT_EQ(*values, imagenet) << text;
  }
  EXPECT_EQ(*parse_per_channel("std", "57.5"), (PerChannel{57.5F, 57.5F, 57.5F}));
  for (const char* text : {"", "[]", "1,2", "1,2,3,4", "1;2;3", "nan", "1,x,3", "[1,2,3", "inf"}) {
    const auto values = parse_per_channel("mean", text);
    ASSERT_FALSE(values) << text;
    EXPECT_THAT(values.error().message, HasSubstr("it must be one number or three")) << text;
  }
}

}  // namespace
}  // namespace fovea
