// Attention in one step: each implementation against sums in double precision, for the layouts that
// detectors have and for scores that a careless softmax gets wrong.
#include "nodes/detector/engine/cpu/kernels/attention.hpp"

#include <algorithm>
#include <cmath>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "nodes/detector/engine/cpu/kernels/attention_rows.hpp"
#include "tests/kernels/instruction_sets.hpp"
#include "tests/support/allocation_guard.hpp"

namespace fovea::kernel_test {
namespace {

using namespace engine::kernels;  // NOLINT: the kernel under test
using engine::DataType;
using engine::cpu::ThreadPool;

std::vector<const AttentionFunctions*> implementations() {
  std::vector<const AttentionFunctions*> all;
  for (const CpuFeatures& features : instruction_sets()) {
    const AttentionFunctions* best = &best_attention(features);
    if (std::find(all.begin(), all.end(), best) == all.end()) all.push_back(best);
  }
  return all;
}

// A picture with room around it, NaN wherever nobody wrote.
class Picture {
 public:
  Picture(std::int64_t height, std::int64_t width, std::int64_t channels, std::int64_t border = 0,
          std::int64_t more_channels = 0)
      : layout_{{DataType::kFloat32,
                 channels + more_channels,
                 (width + border) * (channels + more_channels),
                 {}},
                height,
                width,
                channels},
        first_(border * (layout_.surface.row_stride + layout_.surface.pixel_stride)),
        floats_(static_cast<std::size_t>(first_ + (height + border) * layout_.surface.row_stride),
                std::nanf("")) {}

  const AttentionPicture& layout() const { return layout_; }
  float* data() { return floats_.data() + first_; }
  float& at(std::int64_t pixel, std::int64_t channel) { return data()[place(pixel, channel)]; }
  template <class Visit>
  void for_each(Visit visit) {
    for (std::int64_t pixel = 0; pixel < layout_.height * layout_.width; ++pixel) {
      for (std::int64_t c = 0; c < layout_.channels; ++c) visit(pixel, c, at(pixel, c));
    }
  }
  // All but the picture is as it was made.
  void expect_room_untouched() {
    std::vector<float> rest = floats_;
    for_each([&](std::int64_t pixel, std::int64_t channel, float) {
      rest[static_cast<std::size_t>(first_ + place(pixel, channel))] = std::nanf("");
    });
    EXPECT_TRUE(std::all_of(rest.begin(), rest.end(), [](float x) { return std::isnan(x); }));
  }

 private:
  std::int64_t place(std::int64_t pixel, std::int64_t channel) const {
    return pixel / layout_.width * layout_.surface.row_stride +
           pixel % layout_.width * layout_.surface.pixel_stride + channel;
  }

  AttentionPicture layout_;
  std::int64_t first_;
  std::vector<float> floats_;
};

enum class Scores { kNormal, kWide, kEqual, kOneHuge, kRising, kLow };

const char* to_string(Scores scores) {
  constexpr const char* kNames[] = {"normal", "wide", "equal", "one huge", "rising", "low"};
  return kNames[static_cast<int>(scores)];
}

struct Shape {
  std::int64_t areas = 1;
  std::int64_t heads = 2;
  std::int64_t positions = 400;
  std::int64_t key_dim = 32;
  std::int64_t value_dim = 64;
  std::int64_t width = 20;  // of the picture; areas * positions is a multiple
  // q, k, v and the result in pictures of their own, with borders.
  bool apart = false;
};

std::string describe(const Shape& s) {
  return fmt::format("{} areas, {} heads, {} positions, {} and {} channels, {} wide{}", s.areas,
                     s.heads, s.positions, s.key_dim, s.value_dim, s.width,
                     s.apart ? ", apart" : "");
}

// Pictures with q, k and v, and what comes out of them.
class Problem {
 public:
  Problem(const Shape& shape, Scores scores, unsigned seed) : shape_(shape), random_(seed) {
    const std::int64_t height = shape.areas * shape.positions / shape.width;
    const std::int64_t head = 2 * shape.key_dim + shape.value_dim;
    if (shape.apart) {
      pictures_.emplace_back(height, shape.width, shape.heads * shape.key_dim, 1);
      pictures_.emplace_back(height, shape.width, shape.heads * shape.key_dim, 2, 3);
      pictures_.emplace_back(height, shape.width, shape.heads * shape.value_dim, 3);
      to_.emplace(height, shape.width, shape.heads * shape.value_dim, 1, 5);
    } else {
      pictures_.emplace_back(height, shape.width, shape.heads * head);
      to_.emplace(height, shape.width, shape.heads * shape.value_dim);
    }
    spec_.positions = shape.positions;
    spec_.key_dim = shape.key_dim;
    spec_.value_dim = shape.value_dim;
    spec_.scale = 1 / std::sqrt(static_cast<float>(shape.key_dim));
    spec_.q = picture(0).layout();
    spec_.k = picture(1).layout();
    spec_.v = picture(2).layout();
    spec_.to = to_->layout();
    for (std::int64_t area = 0; area < shape.areas; ++area) {
      for (std::int64_t h = 0; h < shape.heads; ++h) {
        const std::int64_t pixel = area * shape.positions;
        if (shape.apart) {
          spec_.pairs.push_back({{pixel, h * shape.key_dim},
                                 {pixel, h * shape.key_dim},
                                 {pixel, h * shape.value_dim},
                                 {pixel, h * shape.value_dim}});
        } else {
          spec_.pairs.push_back({{pixel, h * head},
                                 {pixel, h * head + shape.key_dim},
                                 {pixel, h * head + 2 * shape.key_dim},
                                 {pixel, h * shape.value_dim}});
        }
      }
    }
    for (Picture& picture : pictures_) {
      picture.for_each([&](std::int64_t, std::int64_t, float& value) { value = normal_(random_); });
    }
    shape_scores(scores);
    solve();
  }

  const AttentionSpec& spec() const { return spec_; }

  // Largest error over the largest result.
  double error_of(const AttentionFunctions& functions, int threads) {
    return error_of(create_attention(spec_, functions), threads);
  }
  // The same with products of bf16 numbers, where the CPU has tiles for them.
  double error_of_bf16(const CpuFeatures& features, int threads) {
    AttentionSpec spec = spec_;
    spec.bf16 = true;
    return error_of(create_attention(spec, features), threads);
  }

 private:
  double error_of(Result<std::unique_ptr<const Kernel>> kernel, int threads) {
    auto pool = ThreadPool::create({.threads = threads});
    EXPECT_TRUE(kernel && pool);
    if (!kernel || !pool) return HUGE_VAL;
    to_->for_each([](std::int64_t, std::int64_t, float& value) { value = std::nanf(""); });
    std::vector<std::byte> memory((*kernel)->scratch_bytes(threads) + 64, std::byte{0xff});
    void* scratch = memory.data();
    std::size_t room = memory.size();
    std::align(64, room - 64, scratch, room);
    const void* sources[] = {picture(0).data(), picture(1).data(), picture(2).data()};
    void* destinations[] = {to_->data()};
    {
      const testing::ScopedTrace trace(__FILE__, __LINE__,
                                       std::string((*kernel)->implementation()));
      const test::AllocationGuard guard;
      (*kernel)->run({sources, destinations, static_cast<std::byte*>(scratch)}, **pool);
      EXPECT_EQ(guard.count(), 0U);
      to_->expect_room_untouched();
    }
    double largest = 0;
    double error = 0;
    std::size_t i = 0;
    to_->for_each([&](std::int64_t, std::int64_t, float value) {
      largest = std::max(largest, std::abs(want_[i]));
      const double distance = std::abs(static_cast<double>(value) - want_[i++]);
      error = std::isnan(distance) ? HUGE_VAL : std::max(error, distance);
    });
    EXPECT_GT(largest, 0.01);
    return error / largest;
  }
  Picture& picture(std::size_t index) { return pictures_[shape_.apart ? index : 0]; }
  float& q(const AttentionPair& pair, std::int64_t i, std::int64_t c) {
    return picture(0).at(pair.q.pixel + i, pair.q.channel + c);
  }
  float& k(const AttentionPair& pair, std::int64_t j, std::int64_t c) {
    return picture(1).at(pair.k.pixel + j, pair.k.channel + c);
  }

  void shape_scores(Scores scores) {
    const auto positions = static_cast<float>(shape_.positions);
    const auto each = [&](float scores_of_q, const auto& of_key) {
      for (const AttentionPair& pair : spec_.pairs) {
        for (std::int64_t i = 0; i < shape_.positions; ++i) {
          for (std::int64_t c = 0; c < shape_.key_dim; ++c) {
            q(pair, i, c) = c == 0 ? scores_of_q / spec_.scale : 0;
            if (c == 0) k(pair, i, c) = of_key(i);
          }
        }
      }
    };
    switch (scores) {
      case Scores::kNormal:
        return;
      case Scores::kWide:
        for (const AttentionPair& pair : spec_.pairs) {
          for (std::int64_t i = 0; i < shape_.positions; ++i) {
            for (std::int64_t c = 0; c < shape_.key_dim; ++c) q(pair, i, c) *= 6;
          }
        }
        return;
      case Scores::kEqual:
        return each(0, [](std::int64_t) { return 1.0F; });
      case Scores::kOneHuge:
        return each(1, [](std::int64_t j) { return j == 5 ? 300.0F : 0.0F; });
      case Scores::kRising:
        return each(1, [&](std::int64_t j) { return 560 * static_cast<float>(j) / positions; });
      case Scores::kLow:
        return each(1, [](std::int64_t j) { return -850 + 0.01F * static_cast<float>(j % 7); });
    }
  }

  void solve() {
    std::vector<double> rows(
        static_cast<std::size_t>(spec_.to.height * spec_.to.width * spec_.to.channels));
    std::vector<double> shares(static_cast<std::size_t>(shape_.positions));
    for (const AttentionPair& pair : spec_.pairs) {
      for (std::int64_t i = 0; i < shape_.positions; ++i) {
        double top = -HUGE_VAL;
        for (std::int64_t j = 0; j < shape_.positions; ++j) {
          double sum = 0;
          for (std::int64_t c = 0; c < shape_.key_dim; ++c) {
            sum += static_cast<double>(q(pair, i, c)) * static_cast<double>(k(pair, j, c));
          }
          shares[static_cast<std::size_t>(j)] = sum * static_cast<double>(spec_.scale);
          top = std::max(top, shares[static_cast<std::size_t>(j)]);
        }
        double sum = 0;
        for (double& share : shares) sum += share = std::exp(share - top);
        double* to = rows.data() + (pair.to.pixel + i) * spec_.to.channels + pair.to.channel;
        for (std::int64_t j = 0; j < shape_.positions; ++j) {
          for (std::int64_t d = 0; d < shape_.value_dim; ++d) {
            to[d] += shares[static_cast<std::size_t>(j)] / sum *
                     static_cast<double>(picture(2).at(pair.v.pixel + j, pair.v.channel + d));
          }
        }
      }
    }
    want_ = std::move(rows);
  }

  Shape shape_;
  std::mt19937 random_;
  std::normal_distribution<float> normal_;
  std::vector<Picture> pictures_;
  std::optional<Picture> to_;
  AttentionSpec spec_;
  std::vector<double> want_;  // pixel by pixel
};

// Scores of several hundred are themselves only right to about 1e-4 in f32.
double bound(Scores scores) {
  return scores == Scores::kRising || scores == Scores::kLow ? 1e-3 : 4e-6;
}

TEST(Attention, MatchesTheDefinitionForEveryKindOfScores) {
  for (const std::int64_t positions : {400, 77, 240, 401}) {
    for (const Scores scores : {Scores::kNormal, Scores::kWide, Scores::kEqual, Scores::kOneHuge,
                                Scores::kRising, Scores::kLow}) {
      const Shape shape{.positions = positions, .width = positions};
      Problem problem(shape, scores, static_cast<unsigned>(positions));
      for (const AttentionFunctions* functions : implementations()) {
        for (const int threads : {1, 2, 3}) {
          EXPECT_LT(problem.error_of(*functions, threads), bound(scores))
              << functions->name << ", " << describe(shape) << ", " << to_string(scores) << ", "
              << threads << " threads";
        }
      }
    }
  }
}

TEST(Attention, TakesPicturesAreasHeadsAndChannelsOfAnyNumber) {
  const Shape shapes[] = {
      {.areas = 4, .heads = 2, .positions = 100, .value_dim = 32, .width = 40},  // 2.5 rows an area
      {.areas = 4, .heads = 2, .positions = 80, .value_dim = 32, .width = 40, .apart = true},
      {.areas = 1, .heads = 4, .positions = 100, .value_dim = 32},
      {.heads = 3, .positions = 60, .key_dim = 20, .value_dim = 24, .width = 12},
      {.heads = 1, .positions = 30, .key_dim = 5, .value_dim = 7, .width = 6, .apart = true},
      {.heads = 1, .positions = 63, .key_dim = 64, .value_dim = 80, .width = 9},
      {.heads = 1, .positions = 8, .key_dim = 1, .value_dim = 1, .width = 4},
      {.heads = 2, .positions = 1, .key_dim = 16, .value_dim = 16, .width = 1}};
  for (const Shape& shape : shapes) {
    Problem problem(shape, Scores::kNormal, 3);
    for (const AttentionFunctions* functions : implementations()) {
      for (const int threads : {1, 3}) {
        EXPECT_LT(problem.error_of(*functions, threads), bound(Scores::kNormal))
            << functions->name << ", " << describe(shape) << ", " << threads << " threads";
      }
    }
  }
}

// Rounding to 8 bits moves scores of std 6 by some hundredths, and results with them. Scores near -850
// become one and the same: of keys whose shares differ by 6 %. A key left out moves results of
// normal, wide and equal scores at least four times as far as these bounds.
double bf16_bound(Scores scores) {
  return scores == Scores::kWide ? 3e-2 : scores == Scores::kLow ? 4e-2 : 1e-2;
}

TEST(Attention, Bf16MatchesTheDefinitionWithinItsRounding) {
  const CpuFeatures all = instruction_sets().back();
  if (!all.amx_bf16) GTEST_SKIP() << "this CPU has only: " << to_string(all);
  const Shape shapes[] = {
      {.positions = 400},
      {.areas = 4, .heads = 2, .positions = 100, .value_dim = 32, .width = 40},
      {.areas = 1, .heads = 4, .positions = 100, .value_dim = 32, .apart = true},
      {.heads = 1, .positions = 63, .key_dim = 64, .value_dim = 80, .width = 9},
      {.heads = 3, .positions = 49, .key_dim = 96, .value_dim = 24, .width = 7},
      {.heads = 3, .positions = 60, .key_dim = 20, .value_dim = 24, .width = 12}};
  for (const Shape& shape : shapes) {
    for (const Scores scores :
         {Scores::kNormal, Scores::kWide, Scores::kEqual, Scores::kOneHuge, Scores::kLow}) {
      Problem problem(shape, scores, 7);
      for (const int threads : {1, 3}) {
        EXPECT_LT(problem.error_of_bf16(all, threads), bf16_bound(scores))
            << describe(shape) << ", " << to_string(scores) << ", " << threads << " threads";
      }
    }
  }
}

TEST(Attention, TheBestForTheCpuIsTaken) {
  const Problem problem({.positions = 20}, Scores::kNormal, 1);
  const auto named = [&](const CpuFeatures& features) {
    auto kernel = create_attention(problem.spec(), features);
    return kernel ? std::string((*kernel)->implementation()) : kernel.error().message;
  };
  EXPECT_EQ(named({}), "scalar");
#if defined(__aarch64__)
  EXPECT_EQ(named({.neon = true}), "neon");
#elif defined(__x86_64__)
  EXPECT_EQ(named({.avx2 = true}), "avx2");
  EXPECT_EQ(named({.avx2 = true, .avx512 = true}), "avx512");
  EXPECT_EQ(named({.avx2 = true, .avx512 = true, .amx_bf16 = true}), "avx512");
  const auto halves = [&](const Shape& shape, const CpuFeatures& features) {
    AttentionSpec spec = Problem(shape, Scores::kNormal, 1).spec();
    spec.bf16 = true;
    auto kernel = create_attention(spec, features);
    return kernel ? std::string((*kernel)->implementation()) : kernel.error().message;
  };
  const CpuFeatures tiles{.avx2 = true, .avx512 = true, .amx_bf16 = true};
  EXPECT_EQ(halves({.positions = 40}, tiles), "amx_bf16");
  EXPECT_EQ(halves({.positions = 40}, {.avx2 = true, .avx512 = true}), "avx512");
  EXPECT_EQ(halves({.positions = 40, .key_dim = 20}, tiles), "avx512");
  EXPECT_EQ(halves({.positions = 20}, tiles), "avx512");
#endif
}

TEST(Attention, RefusesWhatReachesBeyondItsPicture) {
  const AttentionSpec good = Problem({.positions = 20}, Scores::kNormal, 1).spec();
  const auto message = [&](const auto& change) {
    AttentionSpec spec = good;
    change(spec);
    const auto kernel = create_attention(spec);
    return kernel ? std::string("taken") : kernel.error().message;
  };
  EXPECT_EQ(message([](AttentionSpec&) {}), "taken");
  EXPECT_EQ(message([](AttentionSpec& s) { s.pairs[1].q.pixel = 1; }),
            "q reaches from pixel 1 and channel 128 beyond its picture, 20 x 1 with 256 channels");
  EXPECT_EQ(message([](AttentionSpec& s) { s.pairs[1].k.channel = 225; }),
            "k reaches from pixel 0 and channel 225 beyond its picture, 20 x 1 with 256 channels");
  EXPECT_EQ(message([](AttentionSpec& s) { s.pairs[1].v.channel = -1; }),
            "v reaches from pixel 0 and channel -1 beyond its picture, 20 x 1 with 256 channels");
  EXPECT_EQ(message([](AttentionSpec& s) { s.value_dim = 65; }),
            "v reaches from pixel 0 and channel 192 beyond its picture, 20 x 1 with 256 channels");
  EXPECT_EQ(message([](AttentionSpec& s) { s.k.surface.type = DataType::kFloat16; }),
            "k.type must be f32");
  EXPECT_EQ(message([](AttentionSpec& s) { s.to.surface.pixel_stride = 127; }),
            "to.pixel_stride is 127; it must be at least 128 channels");
  EXPECT_EQ(message([](AttentionSpec& s) { s.pairs.clear(); }),
            "attention over 20 positions, 32 key and 64 value channels, 0 pairs; all must be "
            "positive");
}

}  // namespace
}  // namespace fovea::kernel_test
