// All ways a picture becomes the network's input, against a plain computation of what each says it
// does, and the antialiased one against PIL's bytes.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nodes/preprocess/letterbox.hpp"
#include "tests/support/allocation_guard.hpp"

namespace fovea {
namespace {

using msgs::Encoding;

constexpr ResizeMode kModes[] = {ResizeMode::kLetterbox, ResizeMode::kLetterboxTopLeft,
                                 ResizeMode::kStretch, ResizeMode::kStretchAntialiased,
                                 ResizeMode::kCentreCrop};
constexpr Encoding kEncodings[] = {Encoding::kBgr8, Encoding::kRgb8, Encoding::kMono8};

bool antialiased(ResizeMode mode) {
  return mode == ResizeMode::kCentreCrop || mode == ResizeMode::kStretchAntialiased;
}

constexpr double kPad = 114;

struct Case {
  std::uint32_t source_width;
  std::uint32_t source_height;
  std::uint32_t network_width = 32;
  std::uint32_t network_height = 32;
};

constexpr Case kCases[] = {
    {1, 1},   {1, 2},     {2, 1},       {1, 1000},      {1000, 1},         {3, 5},       {31, 33},
    {32, 32}, {32, 47},   {47, 32},     {64, 64},       {97, 61},          {61, 97},     {900, 4},
    {4, 900}, {320, 240}, {5, 5, 1, 1}, {33, 33, 7, 5}, {100, 50, 17, 40}, {9, 9, 3, 70}};

std::string text_of(const Case& c, ResizeMode mode, Encoding encoding) {
  return std::to_string(c.source_width) + "x" + std::to_string(c.source_height) + " -> " +
         std::to_string(c.network_width) + "x" + std::to_string(c.network_height) + " " +
         std::string(kResizeModeNames[static_cast<std::size_t>(mode)]) + " " +
         std::string(msgs::enum_name(encoding));
}

Letterbox make(const Case& c, ResizeMode mode, bool force_scalar = false) {
  auto letterbox = Letterbox::create({.network_width = c.network_width,
                                      .network_height = c.network_height,
                                      .resize = mode,
                                      .force_scalar = force_scalar});
  if (!letterbox) std::abort();
  return std::move(*letterbox);
}

// Memory that ends with the last pixel.
struct Picture {
  Picture(std::uint32_t width, std::uint32_t height, Encoding encoding, std::uint32_t extra = 0) {
    const std::uint32_t step = width * msgs::channels(encoding) + extra;
    pixels.resize(std::size_t{step} * height - extra);
    view = {pixels, width, height, step, encoding};
  }
  static Picture random(std::uint32_t width, std::uint32_t height, Encoding encoding) {
    Picture picture(width, height, encoding, 5);
    std::mt19937 generator(width * 7 + height);
    for (auto& byte : picture.pixels) byte = static_cast<std::byte>(generator());
    return picture;
  }
  // Of red, green or blue.
  double sample(std::uint32_t x, std::uint32_t y, std::size_t c) const {
    const std::uint32_t channels = msgs::channels(view.encoding);
    if (channels == 1) c = 0;
    if (view.encoding == Encoding::kBgr8) c = 2 - c;
    return static_cast<double>(
        std::to_integer<int>(pixels[std::size_t{view.step} * y + std::size_t{x} * channels + c]));
  }

  std::vector<std::byte> pixels;
  ImageView view;
};

// How much each source position weighs in `position` of an axis that is scaled to `new_size`.
std::vector<double> weights_of(std::uint32_t position, std::uint32_t source_size,
                               std::uint32_t new_size, bool antialiased) {
  const double scale = static_cast<double>(source_size) / new_size;
  const double centre = (position + 0.5) * scale;
  std::vector<double> weights(source_size);
  double sum = 0;
  if (antialiased) {
    const double support = std::max(scale, 1.0);
    for (std::uint32_t i = 0; i < source_size; ++i) {
      weights[i] = std::max(0.0, 1 - std::abs(i + 0.5 - centre) / support);
      sum += weights[i];
    }
  } else {
    const double exact = std::clamp(centre - 0.5, 0.0, source_size - 1.0);
    for (std::uint32_t i = 0; i < source_size; ++i) {
      weights[i] = std::max(0.0, 1 - std::abs(i - exact));
      sum += weights[i];
    }
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

// In double precision; no rounding between the passes.
std::vector<double> reference(const Picture& picture, const msgs::LetterboxTransform& t,
                              bool antialiased) {
  std::vector<std::vector<double>> columns(t.network_width), rows(t.network_height);
  const auto inside = [](std::uint32_t at, std::uint32_t pad, std::uint32_t size) {
    return at >= pad && at - pad < size;
  };
  for (std::uint32_t x = 0; x < t.network_width; ++x) {
    if (!inside(x, t.pad_left, t.new_width)) continue;
    columns[x] = weights_of(x - t.pad_left + t.crop_left, t.source_width, t.new_width, antialiased);
  }
  for (std::uint32_t y = 0; y < t.network_height; ++y) {
    if (!inside(y, t.pad_top, t.new_height)) continue;
    rows[y] = weights_of(y - t.pad_top + t.crop_top, t.source_height, t.new_height, antialiased);
  }
  std::vector<double> out;
  for (const auto& row : rows) {
    for (const auto& column : columns) {
      for (std::size_t c = 0; c < 3; ++c) {
        double sum = 0;
        for (std::uint32_t y = 0; y < row.size(); ++y) {
          if (row[y] == 0) continue;
          for (std::uint32_t x = 0; x < column.size(); ++x) {
            if (column[x] > 0) sum += row[y] * column[x] * picture.sample(x, y, c);
          }
        }
        out.push_back(row.empty() || column.empty() ? kPad : sum);
      }
    }
  }
  return out;
}

TEST(ResizeModes, AreWithinOneOfThePlainComputationForEverySizeAndEncoding) {
  for (const Case& c : kCases) {
    for (const ResizeMode mode : kModes) {
      for (const Encoding encoding : kEncodings) {
        const Picture picture = Picture::random(c.source_width, c.source_height, encoding);
        Letterbox letterbox = make(c, mode);
        std::vector<std::byte> tensor(letterbox.output_bytes());
        const auto t = letterbox.run(picture.view, tensor);
        ASSERT_TRUE(t) << t.error().message;
        EXPECT_EQ(*t, letterbox.transform(c.source_width, c.source_height));
        const auto expected = reference(picture, *t, antialiased(mode));
        for (std::size_t i = 0; i < tensor.size(); ++i) {
          // Half from each of the two roundings.
          ASSERT_NEAR(std::to_integer<int>(tensor[i]), expected[i], 1.01)
              << text_of(c, mode, encoding) << ", byte " << i;
        }
      }
    }
  }
}

TEST(ResizeModes, VectorisedPathGivesTheBitsOfTheScalarOne) {
  for (const Case& c : kCases) {
    for (const ResizeMode mode : kModes) {
      for (const Encoding encoding : kEncodings) {
        const Picture picture = Picture::random(c.source_width, c.source_height, encoding);
        std::vector<std::byte> outputs[2];
        for (const bool scalar : {false, true}) {
          Letterbox letterbox = make(c, mode, scalar);
          outputs[scalar].resize(letterbox.output_bytes());
          ASSERT_TRUE(letterbox.run(picture.view, outputs[scalar]));
        }
        ASSERT_EQ(outputs[0], outputs[1]) << text_of(c, mode, encoding);
      }
    }
  }
}

TEST(ResizeModes, KeepEveryFlatColourExactly) {
  for (const ResizeMode mode : {ResizeMode::kStretch, ResizeMode::kCentreCrop}) {
    for (const Case& c : {Case{37, 61, 24, 24}, {640, 480}, {9, 7}, {224, 130, 20, 30}}) {
      Letterbox letterbox = make(c, mode);
      std::vector<std::byte> tensor(letterbox.output_bytes());
      Picture picture(c.source_width, c.source_height, Encoding::kMono8);
      for (int value = 0; value < 256; ++value) {
        std::fill(picture.pixels.begin(), picture.pixels.end(), static_cast<std::byte>(value));
        ASSERT_TRUE(letterbox.run(picture.view, tensor));
        ASSERT_EQ(std::count(tensor.begin(), tensor.end(), static_cast<std::byte>(value)),
                  static_cast<std::ptrdiff_t>(tensor.size()))
            << text_of(c, mode, Encoding::kMono8) << " value " << value;
      }
    }
  }
}

// What PIL and torchvision make of (37 x + 91 y + 7 x y) % 256: Resize(6), CenterCrop(6).
TEST(ResizeModes, CentreCropGivesTheBytesOfPil) {
  const auto centre_crop = [](std::uint32_t width, std::uint32_t height) {
    Picture picture(width, height, Encoding::kMono8);
    for (std::uint32_t y = 0; y < height; ++y) {
      for (std::uint32_t x = 0; x < width; ++x) {
        picture.pixels[y * width + x] = static_cast<std::byte>(37 * x + 91 * y + 7 * x * y);
      }
    }
    Letterbox letterbox = make({width, height, 6, 6}, ResizeMode::kCentreCrop);
    std::vector<std::byte> tensor(letterbox.output_bytes());
    std::vector<int> gray;
    if (letterbox.run(picture.view, tensor)) {
      for (std::size_t i = 0; i < tensor.size(); i += 3) {
        gray.push_back(std::to_integer<int>(tensor[i]));
      }
    }
    return gray;
  };
  EXPECT_EQ(centre_crop(23, 17),
            (std::vector<int>{125, 122, 120, 126, 124, 127, 143, 133, 135, 126, 143, 137,
                              130, 131, 130, 133, 129, 133, 129, 119, 129, 142, 121, 118,
                              103, 95,  133, 138, 125, 135, 111, 113, 137, 136, 120, 136}));
  EXPECT_EQ(centre_crop(3, 4),
            (std::vector<int>{23,  32,  52,  71,  91,  100, 68,  79,  100, 121, 142, 153,
                              114, 125, 148, 155, 146, 141, 159, 172, 196, 173, 101, 66,
                              141, 154, 180, 159, 89,  54,  58,  73,  101, 113, 109, 107}));
}

// A letterbox would show one pixel of three here, a stretch's four nearest as well.
TEST(ResizeModes, OnlyCentreCropAveragesAllPixelsOfAReduction) {
  Picture picture(96, 96, Encoding::kMono8);
  for (std::uint32_t y = 0; y < 96; ++y) {
    for (std::uint32_t x = 0; x < 96; ++x) {
      picture.pixels[y * 96 + x] = x % 3 == 1 ? std::byte{240} : std::byte{0};
    }
  }
  for (const ResizeMode mode : kModes) {
    Letterbox letterbox = make({96, 96}, mode);
    std::vector<std::byte> tensor(letterbox.output_bytes());
    ASSERT_TRUE(letterbox.run(picture.view, tensor));
    const int inner = std::to_integer<int>(tensor[tensor.size() / 2 + 48]);
    if (antialiased(mode)) {
      EXPECT_NEAR(inner, 80, 1);
    } else {
      EXPECT_EQ(inner, 240);
    }
  }
}

// A page per row: whoever reads a row that the crop cuts off dies.
TEST(ResizeModes, CentreCropReadsOnlyRowsThatReachTheCrop) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  constexpr std::uint32_t kHeight = 192;
  void* memory =
      mmap(nullptr, page * kHeight, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* bytes = static_cast<std::byte*>(memory);
  // 64x192 becomes 32x96, of which rows 32..63 stay: source rows 64..127, and one more on each side
  // under the triangles.
  constexpr std::size_t kFirst = 63, kLast = 128;
  ASSERT_EQ(mprotect(bytes, kFirst * page, PROT_NONE), 0);
  ASSERT_EQ(mprotect(bytes + (kLast + 1) * page, (kHeight - kLast - 1) * page, PROT_NONE), 0);
  bytes[kFirst * page] = bytes[kLast * page] = std::byte{255};
  Letterbox letterbox = make({64, kHeight}, ResizeMode::kCentreCrop);
  std::vector<std::byte> tensor(letterbox.output_bytes());
  ASSERT_TRUE(letterbox.run({.pixels = {bytes, page * kHeight},
                             .width = 64,
                             .height = kHeight,
                             .step = static_cast<std::uint32_t>(page),
                             .encoding = Encoding::kMono8},
                            tensor));
  EXPECT_GT(std::to_integer<int>(tensor.front()), 0);  // both rows are in the result
  EXPECT_GT(std::to_integer<int>(tensor[31 * 32 * 3]), 0);
  munmap(memory, page * kHeight);
}

TEST(ResizeModes, WriteNothingBehindTheTensor) {
  for (const ResizeMode mode : kModes) {
    const Picture picture = Picture::random(50, 20, Encoding::kBgr8);
    Letterbox letterbox = make({50, 20, 17, 17}, mode);
    std::vector<std::byte> tensor(letterbox.output_bytes() + 64, std::byte{0xa5});
    ASSERT_TRUE(letterbox.run(picture.view, tensor));
    EXPECT_EQ(std::count(tensor.end() - 64, tensor.end(), std::byte{0xa5}), 64);
  }
}

TEST(ResizeModes, SeveralCameraSizesTakeTurnsWithoutAllocating) {
  for (const ResizeMode mode : {ResizeMode::kStretch, ResizeMode::kCentreCrop}) {
    Letterbox letterbox = make({}, mode);
    std::vector<std::byte> tensor(letterbox.output_bytes());
    std::vector<Picture> pictures;
    for (std::uint32_t i = 0; i < Letterbox::kMaxPlans; ++i) {
      pictures.push_back(Picture::random(40 + 7 * i, 290 - 8 * i, kEncodings[i % 3]));
    }
    const test::AllocationGuard first_use;
    for (const Picture& picture : pictures) ASSERT_TRUE(letterbox.run(picture.view, tensor));
    EXPECT_GT(first_use.count(), 0u);  // the guard can count
    const test::AllocationGuard guard;
    bool ok = true;
    for (const Picture& picture : pictures) {
      ok = ok && letterbox.run(picture.view, tensor).has_value();
    }
    EXPECT_EQ(guard.count(), 0u);
    EXPECT_TRUE(ok);
  }
}

TEST(ResizeModes, AModeThatIsNoneIsRefused) {
  const auto letterbox = Letterbox::create({.resize = static_cast<ResizeMode>(7)});
  ASSERT_FALSE(letterbox);
  EXPECT_EQ(letterbox.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(letterbox.error().message,
            "resize is 7; it must be 0..4 (letterbox, stretch, centre_crop, letterbox_top_left, "
            "stretch_antialiased)");
}

// They are in the keys of caches: a text that changes makes engines be built anew.
TEST(ResizeModes, HaveNamesOfTheirOwnInCacheKeys) {
  EXPECT_EQ(make({}, ResizeMode::kLetterbox).parameters(),
            "letterbox 32x32 pad 114 bilinear rgb u8");
  EXPECT_EQ(make({}, ResizeMode::kStretch).parameters(), "stretch 32x32 bilinear rgb u8");
  EXPECT_EQ(make({}, ResizeMode::kCentreCrop).parameters(),
            "centre_crop 32x32 antialiased bilinear rgb u8");
  EXPECT_EQ(make({}, ResizeMode::kLetterboxTopLeft).parameters(),
            "letterbox_top_left 32x32 pad 114 bilinear rgb u8");
  EXPECT_EQ(make({}, ResizeMode::kStretchAntialiased).parameters(),
            "stretch 32x32 antialiased bilinear rgb u8");
}

}  // namespace
}  // namespace fovea
