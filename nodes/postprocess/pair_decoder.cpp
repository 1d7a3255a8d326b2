// Anchors that the network decoded, boxes and scores in a tensor each; see pair_head().
#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/postprocess/anchor_decoder.hpp"
#include "nodes/postprocess/checks.hpp"

namespace fovea {

namespace {

class PairDecoder final : public AnchorDecoder<PairDecoder> {
 public:
  PairDecoder(const msgs::ModelInfo& model, bool force_scalar)
      : AnchorDecoder(model, force_scalar, Key::kScore) {
    rows_.resize(decode_kernels::kColumnBlock);
  }

  Result<> read_head(const msgs::ModelInfo& model) {
    FOVEA_TRY(check_roles(model.head, {OutputRole::kBox, OutputRole::kClassScore}));
    FOVEA_ASSIGN(const OutputMap* box, only_map(model.head, OutputRole::kBox));
    FOVEA_ASSIGN(const OutputMap* scores, only_map(model.head, OutputRole::kClassScore));
    FOVEA_TRY(check_layout(*box, OutputEncoding::kCorners, AnchorAxis::kOutermost));
    FOVEA_TRY(check_layout(*scores, OutputEncoding::kDecoded, scores->anchors));
    FOVEA_TRY(check_range("box channels", box->channels, kBoxSides, kBoxSides));
    if (box->tensor == scores->tensor) {
      return fail(ErrorCode::kUnsupported, "boxes and scores lie in one tensor; it reads two");
    }
    for (const OutputMap* map : {box, scores}) {
      FOVEA_TRY(check_range("stride", map->stride, 0, 0));
      FOVEA_TRY(check_range("first channel", map->first_channel, 0, 0));
    }
    box_name_ = box->tensor.view();
    score_name_ = scores->tensor.view();
    columns_ = scores->anchors == AnchorAxis::kInnermost;
    return {};
  }

  Result<> bind(std::span<const HeadTensor> tensors) {
    FOVEA_TRY(check_count(tensors, 2));
    const auto boxes = std::find_if(tensors.begin(), tensors.end(),
                                    [&](const HeadTensor& t) { return t.name == box_name_; });
    if (boxes != tensors.end()) {
      const std::int64_t anchors = boxes->dims.size() == 2 ? boxes->dims[0] : 0;
      if (anchors < 1 || anchors > kMaxAnchors) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("tensor {} has the shape [{}]; it must be [anchors, 4] with 1..{} "
                                "anchors",
                                box_name_, fmt::join(boxes->dims, ", "), kMaxAnchors));
      }
      anchor_count_ = static_cast<std::uint32_t>(anchors);
    }
    const std::array<std::int64_t, 2> box_dims{anchor_count_, kBoxSides};
    FOVEA_ASSIGN(boxes_, find_values(tensors, box_name_, box_dims));
    std::array<std::int64_t, 2> score_dims{anchor_count_, class_count_};
    if (columns_) std::swap(score_dims[0], score_dims[1]);
    FOVEA_ASSIGN(scores_, find_values(tensors, score_name_, score_dims));
    return {};
  }

  void search() {
    for (std::uint32_t begin = 0; begin < anchor_count_; begin += decode_kernels::kColumnBlock) {
      const std::size_t count =
          std::min<std::size_t>(anchor_count_ - begin, decode_kernels::kColumnBlock);
      const float* first = scores_ + (columns_ ? begin : std::size_t{begin} * class_count_);
      const std::size_t row = columns_ ? 1 : class_count_;  // from one anchor to the next
      const std::size_t step = columns_ ? anchor_count_ : 1;
      bool finite = true;
      const std::size_t found =
          columns_ ? kernels_.find_columns(first, class_count_, anchor_count_, count,
                                           thresholds_.data(), rows_.data(), finite)
                   : kernels_.find_rows(first, count, class_count_, thresholds_.data(),
                                        rows_.data(), finite);
      if (!finite) not_finite_.scores += count_not_finite(first, count, row, class_count_, step);
      for (std::size_t k = 0; k < found; ++k) {
        add_anchor(begin + rows_[k], first + rows_[k] * row, step, 1.0F);
      }
    }
  }

  Box box_of(std::uint32_t anchor) const {
    const float* p = boxes_ + std::size_t{anchor} * kBoxSides;
    return {p[0], p[1], p[2], p[3]};
  }

 private:
  std::string box_name_;
  std::string score_name_;
  bool columns_ = false;  // scores are [classes, anchors]
  const float* boxes_ = nullptr;
  const float* scores_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<Decoder>> create_pair_decoder(const msgs::ModelInfo& model,
                                                     bool force_scalar) {
  auto decoder = std::make_unique<PairDecoder>(model, force_scalar);
  FOVEA_TRY(decoder->read_head(model));
  FOVEA_TRY(decoder->set_options({}));
  return decoder;
}

}  // namespace fovea
