// A classifier's scores: candidates are its best classes, of the whole picture; see classify_head().
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "msgs/classification.hpp"
#include "nodes/postprocess/anchor_decoder.hpp"
#include "nodes/postprocess/checks.hpp"

namespace fovea {

namespace {

class ClassDecoder final : public Decoder {
 public:
  // Errors: why the head is another one.
  Result<> read_head(const HeadSpec& head) {
    FOVEA_TRY(check_roles(head, {OutputRole::kClassScore}));
    FOVEA_ASSIGN(const OutputMap* map, only_map(head, OutputRole::kClassScore));
    FOVEA_TRY(check_layout(*map, OutputEncoding::kDecoded, AnchorAxis::kInnermost));
    FOVEA_TRY(check_range("stride of class_score", map->stride, 0, 0));
    FOVEA_TRY(check_range("first channel", map->first_channel, 0, 0));
    tensor_ = map->tensor.view();
    order_.resize(map->channels);
    return {};
  }

  // Of the options nothing changes which classes are the best.
  Result<> set_options(const PostprocessOptions& /*options*/) override { return {}; }

  const NotFinite& not_finite() const override { return not_finite_; }
  std::uint32_t anchor_count() const override { return 1; }

 private:
  Result<> decode_frame(std::span<const HeadTensor> tensors, std::vector<Candidate>& candidates,
                        const msgs::LetterboxTransform* /*visible*/) override {
    candidates.clear();
    FOVEA_TRY(check_count(tensors, 1));
    const std::array<std::int64_t, 1> dims{static_cast<std::int64_t>(order_.size())};
    FOVEA_ASSIGN(const float* scores, find_values(tensors, tensor_, dims));
    const bool finite = std::all_of(scores, scores + order_.size(),
                                    [](float score) { return std::isfinite(score); });
    not_finite_ = {.scores = finite ? 0u : 1u};
    if (!finite) return {};
    std::iota(order_.begin(), order_.end(), 0u);
    const std::size_t count = std::min(msgs::Classification::kMaxResults, order_.size());
    std::partial_sort(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(count),
                      order_.end(), [&](std::uint32_t a, std::uint32_t b) {
                        return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
                      });
    for (std::size_t i = 0; i < count; ++i) {
      Candidate candidate;
      candidate.score = std::clamp(scores[order_[i]], 0.0f, 1.0f);
      candidate.class_id = order_[i];
      candidates.push_back(candidate);
    }
    return {};
  }

  std::string tensor_;
  NotFinite not_finite_;
  std::vector<std::uint32_t> order_;  // scratch
};

}  // namespace

Result<std::unique_ptr<Decoder>> create_class_decoder(const msgs::ModelInfo& model,
                                                      bool /*force_scalar*/) {
  auto decoder = std::make_unique<ClassDecoder>();
  FOVEA_TRY(decoder->read_head(model.head));
  return decoder;
}

}  // namespace fovea
