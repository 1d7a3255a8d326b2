// YOLOX's raw maps per level; see grid_head(). The objectness is looked at first: one number per
// cell, and most cells end there.
#include <array>
#include <cmath>

#include <fmt/core.h>

#include "nodes/postprocess/anchor_decoder.hpp"
#include "nodes/postprocess/checks.hpp"

namespace fovea {

namespace {

constexpr std::uint32_t kMaxStride = 32768;

float sigmoid(float x) { return 1.0F / (1.0F + std::exp(-x)); }

class GridDecoder final : public AnchorDecoder<GridDecoder> {
 public:
  GridDecoder(const msgs::ModelInfo& model, bool force_scalar)
      : AnchorDecoder(model, force_scalar, Key::kScore), scores_(class_count_) {}

  Result<> read_head(const msgs::ModelInfo& model) {
    const HeadSpec& head = model.head;
    FOVEA_TRY(
        check_roles(head, {OutputRole::kBox, OutputRole::kObjectness, OutputRole::kClassScore}));
    for (const OutputMap& box : head.maps) {
      if (box.role == OutputRole::kBox) FOVEA_TRY(add_level(model, box));
    }
    if (levels_.empty() || 3 * levels_.size() != head.maps.size()) {
      return fail(
          ErrorCode::kUnsupported,
          fmt::format("the head has {} maps for {} levels of boxes; it must have three each",
                      head.maps.size(), levels_.size()));
    }
    return {};
  }

  Result<> set_options(const PostprocessOptions& options) override {
    FOVEA_TRY(AnchorDecoderBase::set_options(options));
    // Infinite at the ends, which makes 0 pass everything and 1 nothing.
    lowest_logit_ = std::log(lowest_threshold_ / (1.0F - lowest_threshold_));
    return {};
  }

  Result<> bind(std::span<const HeadTensor> tensors) {
    FOVEA_TRY(check_count(tensors, 3 * levels_.size()));
    anchor_count_ = 0;
    for (Level& level : levels_) {
      const auto find = [&](const std::string& name, std::int64_t channels) {
        const std::array<std::int64_t, 3> dims{level.height, level.width, channels};
        return find_values(tensors, name, dims);
      };
      FOVEA_ASSIGN(level.boxes, find(level.box_name, kBoxSides));
      FOVEA_ASSIGN(level.objectness, find(level.objectness_name, 1));
      FOVEA_ASSIGN(level.logits, find(level.score_name, class_count_));
      anchor_count_ += level.width * level.height;
    }
    return {};
  }

  void search() {
    for (const Level& level : levels_) {
      const std::uint32_t cells = level.width * level.height;
      for (std::uint32_t cell = 0; cell < cells; ++cell) {
        const float objectness = level.objectness[cell];
        // A class score is at most 1, so the product cannot pass where the objectness does not.
        if (!(objectness > lowest_logit_)) {
          if (std::isnan(objectness)) ++not_finite_.scores;
          continue;
        }
        const float* logits = level.logits + std::size_t{cell} * class_count_;
        const std::uint32_t broken = count_not_finite(logits, 1, 0, class_count_, 1);
        if (broken != 0 || !std::isfinite(objectness)) ++not_finite_.scores;
        if (!std::isfinite(objectness)) continue;
        for (std::uint32_t c = 0; c < class_count_; ++c) scores_[c] = sigmoid(logits[c]);
        add_anchor(level.first_anchor + cell, scores_.data(), 1, sigmoid(objectness));
      }
    }
  }

  Box box_of(std::uint32_t anchor) const {
    std::size_t i = levels_.size() - 1;
    while (levels_[i].first_anchor > anchor) --i;
    const Level& level = levels_[i];
    const std::uint32_t cell = anchor - level.first_anchor;
    const float* p = level.boxes + std::size_t{cell} * kBoxSides;
    const auto stride = static_cast<float>(level.stride);
    const float x = (p[0] + static_cast<float>(cell % level.width)) * stride;
    const float y = (p[1] + static_cast<float>(cell / level.width)) * stride;
    const float half_width = std::exp(p[2]) * stride / 2;
    const float half_height = std::exp(p[3]) * stride / 2;
    return {x - half_width, y - half_height, x + half_width, y + half_height};
  }

 private:
  struct Level {
    std::uint32_t stride;
    std::uint32_t width;  // in cells
    std::uint32_t height;
    std::uint32_t first_anchor;
    std::string box_name;
    std::string objectness_name;
    std::string score_name;
    // In the current frame.
    const float* boxes = nullptr;
    const float* objectness = nullptr;
    const float* logits = nullptr;
  };

  // The one map of a role at a stride.
  static Result<std::string> map_at(const HeadSpec& head, OutputRole role, OutputEncoding encoding,
                                    std::uint32_t stride, std::uint32_t channels) {
    const OutputMap* found = nullptr;
    for (const OutputMap& map : head.maps) {
      if (map.role != role || map.stride != stride) continue;
      if (found != nullptr) {
        return fail(ErrorCode::kUnsupported,
                    fmt::format("stride {} has several maps of {}", stride, msgs::enum_name(role)));
      }
      found = &map;
    }
    if (found == nullptr) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("stride {} has no map of {}", stride, msgs::enum_name(role)));
    }
    FOVEA_TRY(check_layout(*found, encoding, AnchorAxis::kOutermost));
    FOVEA_TRY(check_range("first channel", found->first_channel, 0, 0));
    FOVEA_TRY(check_range(fmt::format("{} channels", msgs::enum_name(role)), found->channels,
                          channels, channels));
    return std::string(found->tensor.view());
  }

  Result<> add_level(const msgs::ModelInfo& model, const OutputMap& box) {
    FOVEA_TRY(check_range("stride", box.stride, 1, kMaxStride));
    Level level{.stride = box.stride,
                .width = (model.network_width + box.stride - 1) / box.stride,
                .height = (model.network_height + box.stride - 1) / box.stride,
                .first_anchor = static_cast<std::uint32_t>(anchors_),
                .box_name = {},
                .objectness_name = {},
                .score_name = {}};
    FOVEA_ASSIGN(level.box_name, map_at(model.head, OutputRole::kBox, OutputEncoding::kGridLog,
                                        box.stride, kBoxSides));
    FOVEA_ASSIGN(level.objectness_name, map_at(model.head, OutputRole::kObjectness,
                                               OutputEncoding::kLogit, box.stride, 1));
    FOVEA_ASSIGN(level.score_name, map_at(model.head, OutputRole::kClassScore,
                                          OutputEncoding::kLogit, box.stride, class_count_));
    anchors_ += std::uint64_t{level.width} * level.height;
    FOVEA_TRY(check_range("anchor count", anchors_, 1, kMaxAnchors));
    levels_.push_back(std::move(level));
    return {};
  }

  std::vector<Level> levels_;
  std::uint64_t anchors_ = 0;  // of levels_
  float lowest_logit_ = 0;
  std::vector<float> scores_;  // of one anchor
};

}  // namespace

Result<std::unique_ptr<Decoder>> create_grid_decoder(const msgs::ModelInfo& model,
                                                     bool force_scalar) {
  auto decoder = std::make_unique<GridDecoder>(model, force_scalar);
  FOVEA_TRY(decoder->read_head(model));
  FOVEA_TRY(decoder->set_options({}));
  return decoder;
}

}  // namespace fovea
