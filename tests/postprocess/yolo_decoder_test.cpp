// The decoder against a plain double-precision reading of what the three head kinds mean.
#include "nodes/postprocess/yolo_decoder.hpp"

#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "tests/postprocess/heads.hpp"
#include "tests/support/allocation_guard.hpp"

namespace fovea {
namespace {

using msgs::HeadKind;
using test::fill;
using test::Head;
using test::make_head;
using test::make_model;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr HeadKind kKinds[] = {HeadKind::kDfl, HeadKind::kDecoded, HeadKind::kDecodedObjectness};

const std::vector<float>& values(const Head& head, std::string_view name) {
  for (const Head::Map& map : head.maps) {
    if (map.name == name) return map.values;
  }
  std::abort();
}

struct ReferenceAnchor {
  double x1, y1, x2, y2;
  std::vector<double> scores;
};

double reference_distance(const float* logits) {
  double sum = 0, weighted = 0;
  for (int bin = 0; bin < 16; ++bin) {
    const double weight = std::exp(static_cast<double>(logits[bin]));
    sum += weight;
    weighted += weight * bin;
  }
  return weighted / sum;
}

std::vector<ReferenceAnchor> reference_anchors(const Head& head, const msgs::ModelInfo& model) {
  const std::size_t classes = model.class_names.size();
  std::vector<ReferenceAnchor> anchors;
  if (model.head == HeadKind::kDfl) {
    for (std::uint32_t level = 0; level < model.level_count; ++level) {
      const auto& box = values(head, fmt::format("box{}", level));
      const auto& cls = values(head, fmt::format("cls{}", level));
      const double stride = model.strides[level];
      const std::size_t width = model.network_width / model.strides[level];
      const std::size_t height = model.network_height / model.strides[level];
      for (std::size_t cell = 0; cell < width * height; ++cell) {
        const double x = static_cast<double>(cell % width) + 0.5;
        const double y = static_cast<double>(cell / width) + 0.5;
        const float* sides = &box[cell * 64];
        ReferenceAnchor anchor{(x - reference_distance(sides)) * stride,
                               (y - reference_distance(sides + 16)) * stride,
                               (x + reference_distance(sides + 32)) * stride,
                               (y + reference_distance(sides + 48)) * stride,
                               {}};
        for (std::size_t c = 0; c < classes; ++c) {
          anchor.scores.push_back(1 /
                                  (1 + std::exp(-static_cast<double>(cls[cell * classes + c]))));
        }
        anchors.push_back(std::move(anchor));
      }
    }
    return anchors;
  }
  const auto& out = values(head, "output0");
  const bool columns = model.head == HeadKind::kDecoded;
  const auto count = static_cast<std::size_t>(test::kDecodedAnchors);
  const std::size_t fields = classes + (columns ? 4 : 5);
  for (std::size_t a = 0; a < count; ++a) {
    const auto field = [&](std::size_t f) {
      return static_cast<double>(columns ? out[f * count + a] : out[a * fields + f]);
    };
    ReferenceAnchor anchor{field(0) - field(2) / 2,
                           field(1) - field(3) / 2,
                           field(0) + field(2) / 2,
                           field(1) + field(3) / 2,
                           {}};
    for (std::size_t c = 0; c < classes; ++c) {
      anchor.scores.push_back(columns ? field(4 + c) : field(4) * field(5 + c));
    }
    anchors.push_back(std::move(anchor));
  }
  return anchors;
}

std::vector<Candidate> reference_decode(const Head& head, const msgs::ModelInfo& model,
                                        const std::vector<double>& thresholds, bool multi_label) {
  std::vector<Candidate> candidates;
  for (const ReferenceAnchor& anchor : reference_anchors(head, model)) {
    int best = -1;
    for (std::size_t c = 0; c < anchor.scores.size(); ++c) {
      if (!(anchor.scores[c] > thresholds[c])) continue;
      if (multi_label) {
        candidates.push_back({static_cast<float>(anchor.x1), static_cast<float>(anchor.y1),
                              static_cast<float>(anchor.x2), static_cast<float>(anchor.y2),
                              static_cast<float>(anchor.scores[c]), static_cast<std::uint32_t>(c)});
      } else if (best < 0 || anchor.scores[c] > anchor.scores[static_cast<std::size_t>(best)]) {
        best = static_cast<int>(c);
      }
    }
    if (best >= 0) {
      candidates.push_back({static_cast<float>(anchor.x1), static_cast<float>(anchor.y1),
                            static_cast<float>(anchor.x2), static_cast<float>(anchor.y2),
                            static_cast<float>(anchor.scores[static_cast<std::size_t>(best)]),
                            static_cast<std::uint32_t>(best)});
    }
  }
  return candidates;
}

void expect_same(const std::vector<Candidate>& got, const std::vector<Candidate>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i].class_id, expected[i].class_id) << i;
    ASSERT_NEAR(got[i].score, expected[i].score, 1e-6) << i;
    ASSERT_NEAR(got[i].x1, expected[i].x1, 2e-3) << i;
    ASSERT_NEAR(got[i].y1, expected[i].y1, 2e-3) << i;
    ASSERT_NEAR(got[i].x2, expected[i].x2, 2e-3) << i;
    ASSERT_NEAR(got[i].y2, expected[i].y2, 2e-3) << i;
  }
}

YoloDecoder make_decoder(const msgs::ModelInfo& model, const PostprocessOptions& options,
                         bool force_scalar = false) {
  auto decoder = YoloDecoder::create(model, force_scalar);
  if (!decoder || !decoder->set_options(options)) std::abort();
  return std::move(*decoder);
}

TEST(YoloDecoder, MatchesThePlainReferenceForEveryHeadThresholdAndClassCount) {
  std::mt19937 random(1);
  for (const HeadKind kind : kKinds) {
    for (const std::uint32_t classes : {1u, 3u, 80u, 365u}) {
      const auto model = make_model(kind, classes);
      Head head = make_head(model);
      fill(head, model, random);
      for (const float threshold : {0.001f, 0.25f, 0.5f, 0.9f}) {
        for (const bool multi_label : {false, true}) {
          PostprocessOptions options;
          options.score_threshold = threshold;
          options.multi_label = multi_label;
          options.max_candidates = PostprocessOptions::kMaxCandidates;
          const auto expected = reference_decode(
              head, model, std::vector<double>(classes, static_cast<double>(threshold)),
              multi_label);
          if (expected.size() > options.max_candidates) continue;
          for (const bool scalar : {false, true}) {
            YoloDecoder decoder = make_decoder(model, options, scalar);
            std::vector<Candidate> candidates;
            const auto result = decoder.decode(head.tensors(), candidates);
            ASSERT_TRUE(result) << result.error().message;
            SCOPED_TRACE(fmt::format("{} classes {} threshold {} multi {}", msgs::enum_name(kind),
                                     classes, threshold, multi_label));
            expect_same(candidates, expected);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST(YoloDecoder, UsesThresholdsPerClassByNameAndByNumber) {
  std::mt19937 random(2);
  for (const HeadKind kind : kKinds) {
    const auto model = make_model(kind, 20);
    Head head = make_head(model);
    fill(head, model, random);
    PostprocessOptions options;
    options.max_candidates = PostprocessOptions::kMaxCandidates;
    options.score_threshold = 0.4f;
    options.class_thresholds = {{"class3", 0.1f}, {"7", 0.05f}, {"class9", 1.0f}};
    std::vector<double> thresholds(20, static_cast<double>(0.4f));
    thresholds[3] = static_cast<double>(0.1f);
    thresholds[7] = static_cast<double>(0.05f);
    thresholds[9] = 1;  // off
    for (const bool multi_label : {false, true}) {
      options.multi_label = multi_label;
      YoloDecoder decoder = make_decoder(model, options);
      std::vector<Candidate> candidates;
      ASSERT_TRUE(decoder.decode(head.tensors(), candidates));
      const auto expected = reference_decode(head, model, thresholds, multi_label);
      ASSERT_GT(expected.size(), 10u);
      expect_same(candidates, expected);
    }
  }
}

// A class that is switched off must not hide a lower one that is not.
TEST(YoloDecoder, TakesTheBestClassAmongThoseThatPass) {
  const auto model = make_model(HeadKind::kDecoded, 2);
  Head head = make_head(model);
  auto& out = head.maps[0].values;
  const auto anchors = static_cast<std::size_t>(test::kDecodedAnchors);
  const float column[] = {50, 50, 20, 20, 0.9f, 0.6f};
  for (std::size_t f = 0; f < 6; ++f) out[f * anchors + 17] = column[f];
  PostprocessOptions options;
  options.class_thresholds = {{"class0", 0.95f}};
  YoloDecoder decoder = make_decoder(model, options);
  std::vector<Candidate> candidates;
  ASSERT_TRUE(decoder.decode(head.tensors(), candidates));
  ASSERT_EQ(candidates.size(), 1u);
  EXPECT_EQ(candidates[0], (Candidate{40, 40, 60, 60, 0.6f, 1}));
}

TEST(YoloDecoder, KeepsTheBestWhenThereAreTooManyAndPrefersEarlierOnesAmongEquals) {
  std::mt19937 random(3);
  for (const HeadKind kind : kKinds) {
    const auto model = make_model(kind, 5);
    Head head = make_head(model);
    fill(head, model, random);
    // Few different values, so that the cut goes through equal scores.
    for (Head::Map& map : head.maps) {
      if (map.name.starts_with("box")) continue;
      for (float& value : map.values) {
        value = std::round(value * 8) / 8 + 0.125f;
        if (kind != HeadKind::kDfl) value = std::min(value, 1.0f);
      }
    }
    PostprocessOptions options;
    options.score_threshold = 0;
    options.multi_label = true;
    options.max_candidates = PostprocessOptions::kMaxCandidates;
    std::vector<Candidate> all, best;
    ASSERT_TRUE(make_decoder(model, options).decode(head.tensors(), all));
    for (const std::size_t limit : {1u, 2u, 100u, 1000u}) {
      options.max_candidates = limit;
      ASSERT_TRUE(make_decoder(model, options).decode(head.tensors(), best));
      ASSERT_EQ(best.size(), limit);
      std::vector<std::size_t> order(all.size());
      for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
      std::stable_sort(order.begin(), order.end(),
                       [&](std::size_t a, std::size_t b) { return all[a].score > all[b].score; });
      order.resize(limit);
      std::sort(order.begin(), order.end());
      for (std::size_t i = 0; i < limit; ++i) ASSERT_EQ(best[i], all[order[i]]) << i;
    }
  }
}

TEST(YoloDecoder, NanAndInfinityNeverReachACandidate) {
  std::mt19937 random(4);
  for (const HeadKind kind : kKinds) {
    const auto model = make_model(kind, 7);
    Head head = make_head(model);
    fill(head, model, random);
    for (Head::Map& map : head.maps) {
      for (float& value : map.values) {
        switch (random() % 30) {
          case 0:
            value = kNan;
            break;
          case 1:
            value = kInfinity;
            break;
          case 2:
            value = -kInfinity;
            break;
          case 3:
            value = std::numeric_limits<float>::max();
            break;
          default:
            break;
        }
      }
    }
    for (const bool multi_label : {false, true}) {
      PostprocessOptions options;
      options.multi_label = multi_label;
      options.score_threshold = 0.1f;
      std::vector<Candidate> candidates;
      ASSERT_TRUE(make_decoder(model, options).decode(head.tensors(), candidates));
      EXPECT_GT(candidates.size(), 0u);
      for (const Candidate& c : candidates) {
        ASSERT_TRUE(std::isfinite(c.x1) && std::isfinite(c.y1) && std::isfinite(c.x2) &&
                    std::isfinite(c.y2));
        ASSERT_GT(c.x2, c.x1);
        ASSERT_GT(c.y2, c.y1);
        ASSERT_TRUE(c.score > 0.1f && c.score <= 1) << c.score;
      }
    }
  }
}

// Heads without distribution bins give the distance directly.
TEST(YoloDecoder, ReadsDistancesDirectlyWithOneBin) {
  auto model = make_model(HeadKind::kDfl, 1);
  model.reg_max = 1;
  model.level_count = 1;
  Head head = make_head(model);
  for (Head::Map& map : head.maps) {
    if (map.name == "cls0") {
      std::fill(map.values.begin(), map.values.end(), -10.0f);
      map.values[2 * 20 + 3] = 0;  // row 2, column 3
    } else {
      const float sides[] = {1, 2, 3, 4};
      std::copy(std::begin(sides), std::end(sides), &map.values[(2 * 20 + 3) * 4]);
    }
  }
  std::vector<Candidate> candidates;
  ASSERT_TRUE(make_decoder(model, {}).decode(head.tensors(), candidates));
  ASSERT_EQ(candidates.size(), 1u);
  EXPECT_EQ(candidates[0], (Candidate{20, 4, 52, 52, 0.5f, 0}));
}

TEST(YoloDecoder, RefusesTensorsThatAreNotTheModels) {
  for (const HeadKind kind : kKinds) {
    const auto model = make_model(kind, 4);
    const Head head = make_head(model);
    YoloDecoder decoder = make_decoder(model, {});
    std::vector<Candidate> candidates;
    ASSERT_TRUE(decoder.decode(head.tensors(), candidates));
    const auto refuse = [&](auto change, std::string_view text) {
      auto tensors = head.tensors();
      std::vector<std::int64_t> dims(tensors[0].dims.begin(), tensors[0].dims.end());
      change(tensors, dims);
      const auto result = decoder.decode(tensors, candidates);
      ASSERT_FALSE(result) << text;
      EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
      EXPECT_NE(result.error().message.find(text), std::string::npos) << result.error().message;
    };
    using Tensors = std::vector<HeadTensor>;
    using Dims = std::vector<std::int64_t>;
    refuse([](Tensors& t, Dims&) { t.clear(); }, "0 tensors");
    refuse([](Tensors& t, Dims&) { t.push_back(t[0]); }, "tensors; the model has");
    refuse([](Tensors& t, Dims&) { t[0].name = "x"; }, "is missing");
    refuse([](Tensors& t, Dims&) { t[0].dtype = msgs::DataType::kFloat16; }, "is float16");
    refuse([](Tensors& t, Dims&) { t[0].dtype = static_cast<msgs::DataType>(77); }, "is invalid");
    refuse([](Tensors& t, Dims&) { t[0].dims = {}; }, "has the shape []");
    for (const std::int64_t extent : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 40,
                                      std::numeric_limits<std::int64_t>::min()}) {
      for (std::size_t axis = 0; axis < head.maps[0].dims.size(); ++axis) {
        refuse(
            [&](Tensors& t, Dims& dims) {
              dims[axis] = extent;
              t[0].dims = dims;
            },
            "has the shape");
      }
    }
    refuse([](Tensors& t, Dims&) { t[0].bytes = t[0].bytes.first(t[0].bytes.size() - 4); },
           "bytes; it must have");
    std::vector<std::byte> shifted(head.tensors()[0].bytes.size() + 1);
    refuse([&](Tensors& t, Dims&) { t[0].bytes = std::span(shifted).subspan(1); }, "not aligned");
  }
}

TEST(YoloDecoder, RefusesModelsThatMakeNoSense) {
  const auto refuse = [](auto change) {
    auto model = make_model(HeadKind::kDfl, 4);
    change(model);
    EXPECT_FALSE(YoloDecoder::create(model));
  };
  using Model = msgs::ModelInfo;
  refuse([](Model& m) { m.head = static_cast<HeadKind>(3); });
  refuse([](Model& m) { m.network_width = 0; });
  refuse([](Model& m) { m.network_height = 0xffffffff; });
  refuse([](Model& m) { m.class_names.count = 0; });
  refuse([](Model& m) { m.class_names.count = Model::kMaxClasses + 1; });
  refuse([](Model& m) { m.reg_max = 0; });
  refuse([](Model& m) { m.reg_max = 65; });
  refuse([](Model& m) { m.level_count = 0; });
  refuse([](Model& m) { m.level_count = Model::kMaxLevels + 1; });
  refuse([](Model& m) { m.strides[2] = 0; });
  refuse([](Model& m) {  // a million anchors per level
    m.network_width = m.network_height = 32768;
    m.strides = {1, 1, 1};
  });
}

TEST(YoloDecoder, RefusesOptionsOutOfRangeAndKeepsTheFormerOnes) {
  const auto model = make_model(HeadKind::kDecoded, 4);
  Head head = make_head(model);
  std::mt19937 random(5);
  fill(head, model, random);
  YoloDecoder decoder = make_decoder(model, {});
  std::vector<Candidate> before, after;
  ASSERT_TRUE(decoder.decode(head.tensors(), before));
  const auto refuse = [&](auto change, std::string_view text) {
    PostprocessOptions options;
    options.score_threshold = 0.6f;
    change(options);
    const auto result = decoder.set_options(options);
    ASSERT_FALSE(result) << text;
    EXPECT_NE(result.error().message.find(text), std::string::npos) << result.error().message;
  };
  using Options = PostprocessOptions;
  refuse([](Options& o) { o.score_threshold = 1.5f; }, "score_threshold is 1.5");
  refuse([](Options& o) { o.score_threshold = kNan; }, "score_threshold is nan");
  refuse([](Options& o) { o.iou_threshold = -0.1f; }, "iou_threshold is -0.1");
  refuse([](Options& o) { o.max_detections = 0; }, "max_detections is 0");
  refuse([](Options& o) { o.max_detections = 301; }, "max_detections is 301");
  refuse([](Options& o) { o.max_candidates = 0; }, "max_candidates is 0");
  refuse([](Options& o) { o.max_candidates = Options::kMaxCandidates + 1; }, "max_candidates");
  refuse([](Options& o) { o.class_thresholds = {{"dog", 0.5f}}; }, "class_thresholds.dog");
  refuse([](Options& o) { o.class_thresholds = {{"4", 0.5f}}; }, "class_thresholds.4");
  refuse([](Options& o) { o.class_thresholds = {{"0", 2.0f}}; }, "class_thresholds.0 is 2");
  ASSERT_TRUE(decoder.decode(head.tensors(), after));
  EXPECT_EQ(before, after);
}

TEST(YoloDecoder, DecodesWithoutAllocating) {
  std::mt19937 random(6);
  for (const HeadKind kind : kKinds) {
    const auto model = make_model(kind, 80);
    Head head = make_head(model);
    fill(head, model, random);
    PostprocessOptions options = PostprocessOptions::evaluation();
    YoloDecoder decoder = make_decoder(model, options);
    std::vector<Candidate> candidates;
    candidates.reserve(options.max_candidates);
    const auto tensors = head.tensors();
    const test::AllocationGuard guard;
    const bool ok = decoder.decode(tensors, candidates).has_value();
    EXPECT_EQ(guard.count(), 0u) << msgs::enum_name(kind);
    EXPECT_TRUE(ok);
    EXPECT_GT(candidates.size(), 1000u);
  }
}

}  // namespace
}  // namespace fovea
