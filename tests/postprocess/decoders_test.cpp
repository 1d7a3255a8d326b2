// The decoders against a plain double-precision reading of what their heads mean.
#include <cmath>
#include <limits>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/postprocess/decoder.hpp"
#include "tests/postprocess/heads.hpp"
#include "tests/support/allocation_guard.hpp"

namespace fovea {
namespace {

using test::fill;
using test::Head;
using test::HeadKind;
using test::kHeadKinds;
using test::make_head;
using test::make_model;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

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
  if (test::is_dfl(model)) {
    const std::vector<std::uint32_t> strides = model.head.strides();
    for (std::size_t level = 0; level < strides.size(); ++level) {
      const auto& box = values(head, fmt::format("box{}", level));
      const auto& cls = values(head, fmt::format("cls{}", level));
      const double stride = strides[level];
      const std::size_t width = model.network_width / strides[level];
      const std::size_t height = model.network_height / strides[level];
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
  if (test::is_queries(model)) {
    const auto& boxes = values(head, "boxes");
    const auto& logits = values(head, "logits");
    const double side = model.network_width;
    for (std::size_t q = 0; q < boxes.size() / 4; ++q) {
      const auto number = [&](std::size_t i) {
        return static_cast<double>(boxes[4 * q + i]) * side;
      };
      ReferenceAnchor anchor{number(0) - number(2) / 2,
                             number(1) - number(3) / 2,
                             number(0) + number(2) / 2,
                             number(1) + number(3) / 2,
                             {}};
      for (std::size_t c = 0; c < classes; ++c) {
        anchor.scores.push_back(1 / (1 + std::exp(-static_cast<double>(logits[q * classes + c]))));
      }
      anchors.push_back(std::move(anchor));
    }
    return anchors;
  }
  const auto& out = values(head, "output0");
  const bool columns = test::is_columns(model);
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

std::unique_ptr<Decoder> make_decoder(const msgs::ModelInfo& model,
                                      const PostprocessOptions& options,
                                      bool force_scalar = false) {
  auto decoder = create_decoder(model, force_scalar);
  if (!decoder || !(*decoder)->set_options(options)) std::abort();
  return std::move(*decoder);
}

TEST(Decoders, MatchesThePlainReferenceForEveryHeadThresholdAndClassCount) {
  std::mt19937 random(1);
  for (const HeadKind kind : kHeadKinds) {
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
            const auto decoder = make_decoder(model, options, scalar);
            std::vector<Candidate> candidates;
            const auto result = decoder->decode(head.tensors(), candidates);
            ASSERT_TRUE(result) << result.error().message;
            SCOPED_TRACE(fmt::format("{} classes {} threshold {} multi {}", static_cast<int>(kind),
                                     classes, threshold, multi_label));
            expect_same(candidates, expected);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST(Decoders, UsesThresholdsPerClassByNameAndByNumber) {
  std::mt19937 random(2);
  for (const HeadKind kind : kHeadKinds) {
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
      const auto decoder = make_decoder(model, options);
      std::vector<Candidate> candidates;
      ASSERT_TRUE(decoder->decode(head.tensors(), candidates));
      const auto expected = reference_decode(head, model, thresholds, multi_label);
      ASSERT_GT(expected.size(), 10u);
      expect_same(candidates, expected);
    }
  }
}

// A class that is switched off must not hide a lower one that is not.
TEST(Decoders, TakesTheBestClassAmongThoseThatPass) {
  const auto model = make_model(HeadKind::kDecoded, 2);
  Head head = make_head(model);
  auto& out = head.maps[0].values;
  const auto anchors = static_cast<std::size_t>(test::kDecodedAnchors);
  const float column[] = {50, 50, 20, 20, 0.9f, 0.6f};
  for (std::size_t f = 0; f < 6; ++f) out[f * anchors + 17] = column[f];
  PostprocessOptions options;
  options.class_thresholds = {{"class0", 0.95f}};
  const auto decoder = make_decoder(model, options);
  std::vector<Candidate> candidates;
  ASSERT_TRUE(decoder->decode(head.tensors(), candidates));
  ASSERT_EQ(candidates.size(), 1u);
  EXPECT_EQ(candidates[0], (Candidate{40, 40, 60, 60, 0.6f, 1, 17}));
}

TEST(Decoders, KeepsTheBestWhenThereAreTooManyAndPrefersEarlierOnesAmongEquals) {
  std::mt19937 random(3);
  for (const HeadKind kind : kHeadKinds) {
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
    ASSERT_TRUE(make_decoder(model, options)->decode(head.tensors(), all));
    for (const std::size_t limit : {1u, 2u, 100u, 1000u}) {
      options.max_candidates = limit;
      ASSERT_TRUE(make_decoder(model, options)->decode(head.tensors(), best));
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

TEST(Decoders, NanAndInfinityNeverReachACandidate) {
  std::mt19937 random(4);
  for (const HeadKind kind : kHeadKinds) {
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
      ASSERT_TRUE(make_decoder(model, options)->decode(head.tensors(), candidates));
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
TEST(Decoders, ReadsDistancesDirectlyWithOneBin) {
  auto model = make_model(HeadKind::kDfl, 1);
  constexpr std::array<std::uint32_t, 1> kStrides{8};
  model.head = dfl_head(1, 1, kStrides);
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
  ASSERT_TRUE(make_decoder(model, {})->decode(head.tensors(), candidates));
  ASSERT_EQ(candidates.size(), 1u);
  EXPECT_EQ(candidates[0], (Candidate{20, 4, 52, 52, 0.5f, 0, 2 * 20 + 3}));
}

TEST(Decoders, RefusesTensorsThatAreNotTheModels) {
  for (const HeadKind kind : kHeadKinds) {
    const auto model = make_model(kind, 4);
    const Head head = make_head(model);
    const auto decoder = make_decoder(model, {});
    std::vector<Candidate> candidates;
    ASSERT_TRUE(decoder->decode(head.tensors(), candidates));
    const auto refuse = [&](auto change, std::string_view text) {
      auto tensors = head.tensors();
      std::vector<std::int64_t> dims(tensors[0].dims.begin(), tensors[0].dims.end());
      change(tensors, dims);
      const auto result = decoder->decode(tensors, candidates);
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

TEST(Decoders, RefuseModelsThatMakeNoSense) {
  using Model = msgs::ModelInfo;
  using Change = void (*)(Model&);
  const struct {
    HeadKind kind;
    Change change;
    const char* why;
  } cases[] = {
      {HeadKind::kDfl, [](Model& m) { m.network_width = 0; }, "network_width is 0"},
      {HeadKind::kDfl, [](Model& m) { m.network_height = 0xffffffff; }, "network_height is"},
      {HeadKind::kDfl, [](Model& m) { m.class_names.count = 0; }, "class count is 0"},
      {HeadKind::kDfl, [](Model& m) { m.class_names.count = Model::kMaxClasses + 1; },
       "class count is 1025"},
      {HeadKind::kDfl, [](Model& m) { m.class_names.count = 3; }, "scores of 4 classes"},
      {HeadKind::kDfl, [](Model& m) { m.head.maps.count = 0; }, "scores of 0 classes"},
      {HeadKind::kDfl, [](Model& m) { m.head.maps.count = HeadSpec::kMaxMaps + 1; }, "has 33 maps"},
      {HeadKind::kDfl, [](Model& m) { m.head.maps.count = 0xffffffff; }, "at most 32"},
      {HeadKind::kDfl, [](Model& m) { m.head.maps[2].role = static_cast<OutputRole>(99); },
       "map 2 of the head: role is 99"},
      {HeadKind::kDfl, [](Model& m) { m.head.maps[2].encoding = static_cast<OutputEncoding>(99); },
       "encoding is 99"},
      {HeadKind::kDfl, [](Model& m) { m.head.maps[2].anchors = static_cast<AnchorAxis>(2); },
       "anchors is 2"},
      {HeadKind::kDfl, [](Model& m) { m.head.maps[2].tensor = std::string_view(); },
       "names no tensor"},
      {HeadKind::kDfl, [](Model& m) { m.head.maps[0].channels = 0xffffffff; }, "channels"},
      {HeadKind::kDfl, [](Model& m) { m.head.maps[0].first_channel = 0xffffffff; }, "channels"},
      {HeadKind::kDfl, [](Model& m) { m.head.maps[0].bins = 0; }, "bins is 0"},
      {HeadKind::kDfl, [](Model& m) { m.head.maps[0].bins = 7; }, "bins is 7 of 64"},
      {HeadKind::kDfl,
       [](Model& m) {
         m.head.maps[0].bins = 65;
         m.head.maps[0].channels = 4 * 65;
       },
       "dfl: bins is 65"},
      {HeadKind::kDfl, [](Model& m) { m.head.maps[0].channels = 16; }, "dfl: box channels is 16"},
      {HeadKind::kDfl, [](Model& m) { m.head.maps[4].stride = 0; }, "dfl: stride is 0"},
      {HeadKind::kDfl, [](Model& m) { m.head.maps[4].stride = 40000; }, "stride is 40000"},
      {HeadKind::kDfl, [](Model& m) { m.head.maps[5].stride = 64; }, "boxes but no scores"},
      {HeadKind::kDfl,
       [](Model& m) { m.head.maps[4].stride = m.head.maps[5].stride = m.head.maps[0].stride; },
       "several maps of boxes"},
      {HeadKind::kDfl, [](Model& m) { m.head.maps.count = 5; }, "boxes but no scores"},
      {HeadKind::kDfl, [](Model& m) { m.head.maps[1].channels = 5; }, "of 5 and of 4 classes"},
      {HeadKind::kDfl,
       [](Model& m) {
         m.head.maps[1].tensor = m.head.maps[0].tensor;
         m.head.maps[1].first_channel = 63;
       },
       "overlap"},
      {HeadKind::kDfl,
       [](Model& m) {
         m.head.maps[1].tensor = m.head.maps[0].tensor;
         m.head.maps[1].first_channel = 64;
       },
       "dfl: first channel is 64"},
      {HeadKind::kDfl,
       [](Model& m) {  // a thousand million anchors
         m.network_width = m.network_height = 32768;
         m.head.maps[0].stride = m.head.maps[1].stride = 1;
       },
       "dfl: anchor count"},
      {HeadKind::kDecoded, [](Model& m) { m.head.maps[0].channels = 3; },
       "decoded: box channels is 3"},
      {HeadKind::kDecoded, [](Model& m) { m.head.maps[1].tensor = std::string_view("x"); },
       "several tensors"},
      {HeadKind::kDecoded, [](Model& m) { m.head.maps[1].anchors = AnchorAxis::kOutermost; },
       "one tensor in two ways"},
      {HeadKind::kDecoded, [](Model& m) { m.head.maps[1].encoding = OutputEncoding::kLogit; },
       "class_score is logit"},
      {HeadKind::kDecoded, [](Model& m) { m.head.maps[0] = m.head.maps[1]; }, "overlap"},
      {HeadKind::kDecodedObjectness,
       [](Model& m) {
         m.head.maps[1].channels = 2;
         m.head.maps[2].first_channel = 6;
       },
       "objectness channels is 2"},
  };
  for (const auto& c : cases) {
    auto model = make_model(c.kind, 4);
    c.change(model);
    const auto refused = create_decoder(model);
    ASSERT_FALSE(refused) << c.why;
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(refused.error().message, testing::HasSubstr(c.why));
  }
}

// A head that nobody knows yet: boxes, scores and looks.
// What stands behind the classes in a row of logits is none of them.
TEST(Decoders, LeavesLogitsOutThatStandForNoClass) {
  const auto model = make_model(HeadKind::kQueries, 2, 100);
  Head head;
  head.add("logits", {2, 3});
  head.maps[0].values = {-9, -9, 9, -9, 0, 5};
  head.add("boxes", {2, 4});
  head.maps[1].values = {0.5f, 0.5f, 0.2f, 0.2f, 0.25f, 0.5f, 0.1f, 0.2f};
  std::vector<Candidate> candidates;
  ASSERT_TRUE(make_decoder(model, {})->decode(head.tensors(), candidates));
  ASSERT_EQ(candidates.size(), 1u);
  EXPECT_EQ(candidates[0].class_id, 1u);
  EXPECT_EQ(candidates[0].anchor, 1u);
  EXPECT_NEAR(candidates[0].score, 0.5f, 1e-6f);
  EXPECT_NEAR(candidates[0].x1, 20, 1e-4f);
  EXPECT_NEAR(candidates[0].y2, 60, 1e-4f);
}

// Where the parts of a tensor lie is the head's, not the decoder's.
TEST(Decoders, FollowTheChannelsThatTheHeadNames) {
  auto model = make_model(HeadKind::kDecoded, 2);
  model.head.maps[1].first_channel = 0;  // scores first, then something unnamed, then the box
  model.head.maps[0].first_channel = 3;
  Head head;
  head.add("output0", {7, 2});
  head.maps[0].values = {0, 0, 0, 0.75f, 9, 9, 0, 50, 0, 60, 0, 20, 0, 10};
  std::vector<Candidate> candidates;
  ASSERT_TRUE(make_decoder(model, {})->decode(head.tensors(), candidates));
  ASSERT_EQ(candidates.size(), 1u);
  EXPECT_EQ(candidates[0], (Candidate{40, 55, 60, 65, 0.75f, 1, 1}));
}

TEST(Decoders, RefusesOptionsOutOfRangeAndKeepsTheFormerOnes) {
  const auto model = make_model(HeadKind::kDecoded, 4);
  Head head = make_head(model);
  std::mt19937 random(5);
  fill(head, model, random);
  const auto decoder = make_decoder(model, {});
  std::vector<Candidate> before, after;
  ASSERT_TRUE(decoder->decode(head.tensors(), before));
  const auto refuse = [&](auto change, std::string_view text) {
    PostprocessOptions options;
    options.score_threshold = 0.6f;
    change(options);
    const auto result = decoder->set_options(options);
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
  ASSERT_TRUE(decoder->decode(head.tensors(), after));
  EXPECT_EQ(before, after);
}

TEST(Decoders, DecodesWithoutAllocating) {
  std::mt19937 random(6);
  for (const HeadKind kind : kHeadKinds) {
    const auto model = make_model(kind, 80);
    Head head = make_head(model);
    fill(head, model, random);
    PostprocessOptions options = PostprocessOptions::evaluation();
    const auto decoder = make_decoder(model, options);
    std::vector<Candidate> candidates;
    candidates.reserve(options.max_candidates);
    const auto tensors = head.tensors();
    const test::AllocationGuard guard;
    const bool ok = decoder->decode(tensors, candidates).has_value();
    EXPECT_EQ(guard.count(), 0u) << static_cast<int>(kind);
    EXPECT_TRUE(ok);
    EXPECT_GT(candidates.size(), 1000u);
  }
}

}  // namespace
}  // namespace fovea
