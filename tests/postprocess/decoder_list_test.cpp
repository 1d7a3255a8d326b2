// The list of decoders: who takes a head, and what is said when nobody does.
#include <algorithm>

#include <gtest/gtest.h>

#include "nodes/postprocess/decoder.hpp"
#include "tests/postprocess/heads.hpp"

namespace fovea {
namespace {

using test::HeadKind;
using test::make_head;
using test::make_model;

msgs::ModelInfo embedding_model() {
  auto model = make_model(HeadKind::kDecoded, 1);
  OutputMap embedding = model.head.maps[0];
  embedding.role = OutputRole::kEmbedding;
  embedding.first_channel = 5;
  embedding.channels = 51;
  model.head.maps.push_back(embedding);
  return model;
}

TEST(Decoders, DeclineAHeadThatNoneOfThemKnowsEachWithItsReason) {
  const auto refused = create_decoder(embedding_model());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(
      refused.error().message,
      "no decoder takes the model's head: dfl: the head has a map of role embedding; it reads box, "
      "class_score, mask_coefficients, prototype, keypoints, angle only; decoded, pair, queries: "
      "the "
      "head has a map of role embedding; it reads box, class_score only; decoded_objectness, grid: "
      "the "
      "head has a map of role embedding; it reads box, objectness, class_score only; rows: the "
      "head "
      "has a map "
      "of role embedding; it reads box, class_score, class_index, mask_coefficients, prototype, "
      "keypoints, angle only; classes: the head has a map of role box; it reads class_score only; "
      "semantic: the head has a map of role box; it reads semantic only; "
      "depth: the head has a map of role box; it reads depth only");
}

// A decoder that only this test knows, and that a row alone makes known.
class EmbeddingDecoder final : public Decoder {
 public:
  Result<> set_options(const PostprocessOptions&) override { return {}; }
  const NotFinite& not_finite() const override { return not_finite_; }
  std::uint32_t anchor_count() const override { return 1; }

 private:
  Result<> decode_frame(std::span<const HeadTensor>, std::vector<Candidate>& candidates,
                        const msgs::LetterboxTransform*) override {
    candidates.assign(1, {1, 2, 3, 4, 0.5f, 0});
    return {};
  }
  NotFinite not_finite_;
};

Result<std::unique_ptr<Decoder>> create_embedding_decoder(const msgs::ModelInfo& model, bool) {
  if (model.head.find(OutputRole::kEmbedding) == nullptr) {
    return fail(ErrorCode::kUnsupported, "no embedding");
  }
  return std::make_unique<EmbeddingDecoder>();
}

TEST(Decoders, OneMoreIsOneRow) {
  std::vector<DecoderRow> rows(decoders().begin(), decoders().end());
  rows.push_back({"embedding", create_embedding_decoder});
  const auto embedding = create_decoder(embedding_model(), false, rows);
  ASSERT_TRUE(embedding) << embedding.error().message;
  std::vector<Candidate> candidates;
  ASSERT_TRUE((*embedding)->decode({}, candidates));
  EXPECT_EQ(candidates.size(), 1u);
  // The first that takes a head has it; the rest are not asked.
  std::reverse(rows.begin(), rows.end());
  const auto model = make_model(HeadKind::kDecoded, 3);
  const auto decoded = create_decoder(model, false, rows);
  ASSERT_TRUE(decoded) << decoded.error().message;
  ASSERT_TRUE((*decoded)->decode(make_head(model).tensors(), candidates));
  EXPECT_TRUE(candidates.empty());
}

}  // namespace
}  // namespace fovea
