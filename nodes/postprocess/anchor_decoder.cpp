// Options, and the checks of heads and tensors.
#include "nodes/postprocess/anchor_decoder.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/postprocess/checks.hpp"

namespace fovea {

namespace {

// Infinite at the ends, which makes 0 pass everything and 1 nothing.
float logit(float score) { return std::log(score / (1.0f - score)); }

}  // namespace

Result<const OutputMap*> only_map(const HeadSpec& head, OutputRole role) {
  const auto count = std::count_if(head.maps.begin(), head.maps.end(),
                                   [&](const OutputMap& map) { return map.role == role; });
  if (count == 1) return head.find(role);
  return fail(
      ErrorCode::kUnsupported,
      fmt::format("the head has {} maps of role {}; it must have 1", count, msgs::enum_name(role)));
}

Result<> check_roles(const HeadSpec& head, std::initializer_list<OutputRole> known) {
  for (const OutputMap& map : head.maps) {
    if (std::find(known.begin(), known.end(), map.role) != known.end()) continue;
    std::vector<std::string_view> names;
    for (const OutputRole role : known) names.push_back(msgs::enum_name(role));
    return fail(ErrorCode::kUnsupported,
                fmt::format("the head has a map of role {}; it reads {} only",
                            msgs::enum_name(map.role), fmt::join(names, ", ")));
  }
  return {};
}

Result<> check_layout(const OutputMap& map, OutputEncoding encoding, AnchorAxis anchors) {
  if (map.encoding == encoding && map.anchors == anchors) return {};
  return fail(ErrorCode::kUnsupported,
              fmt::format("{} is {} with anchors {}; it reads {} with anchors {}",
                          msgs::enum_name(map.role), msgs::enum_name(map.encoding),
                          msgs::enum_name(map.anchors), msgs::enum_name(encoding),
                          msgs::enum_name(anchors)));
}

AnchorDecoderBase::AnchorDecoderBase(const msgs::ModelInfo& model, bool force_scalar, Key key)
    : kernels_(force_scalar ? decode_kernels::scalar_kernels() : decode_kernels::best_kernels()),
      key_(key),
      class_count_(model.class_names.count) {
  for (const auto& name : model.class_names) class_names_.emplace_back(name.view());
}

std::uint32_t AnchorDecoderBase::count_not_finite(const float* scores, std::size_t rows,
                                                  std::size_t stride, std::size_t columns,
                                                  std::size_t step) {
  std::uint32_t count = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    bool finite = true;
    for (std::size_t c = 0; c < columns; ++c) {
      finite = finite && std::isfinite(scores[row * stride + c * step]);
    }
    count += finite ? 0 : 1;
  }
  return count;
}

Result<> AnchorDecoderBase::set_options(const PostprocessOptions& options) {
  FOVEA_TRY(check_unit("score_threshold", options.score_threshold));
  FOVEA_TRY(check_unit("iou_threshold", options.iou_threshold));
  FOVEA_TRY(check_range("max_detections", options.max_detections, 1,
                        msgs::Detection2DArray::kMaxDetections));
  FOVEA_TRY(
      check_range("max_candidates", options.max_candidates, 1, PostprocessOptions::kMaxCandidates));

  std::vector<float> scores(class_count_, options.score_threshold);
  for (const auto& [key, threshold] : options.class_thresholds) {
    FOVEA_TRY(check_unit(fmt::format("class_thresholds.{}", key), threshold));
    bool known = false;
    // By name first: several classes may share one, and a class may be called "7".
    for (std::uint32_t c = 0; c < class_count_; ++c) {
      if (class_names_[c] == key) {
        scores[c] = threshold;
        known = true;
      }
    }
    for (std::uint32_t c = 0; c < class_count_ && !known; ++c) {
      if (std::to_string(c) == key) {
        scores[c] = threshold;
        known = true;
      }
    }
    if (!known) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("class_thresholds.{} names no class; it must be a class name or 0..{}", key,
                      class_count_ - 1));
    }
  }

  multi_label_ = options.multi_label;
  max_candidates_ = options.max_candidates;
  lowest_threshold_ = *std::min_element(scores.begin(), scores.end());
  thresholds_.assign(decode_kernels::padded(class_count_), std::numeric_limits<float>::infinity());
  for (std::uint32_t c = 0; c < class_count_; ++c) {
    thresholds_[c] = key_ == Key::kLogit ? logit(scores[c]) : scores[c];
  }
  hits_.reserve(2 * max_candidates_);
  return {};
}

}  // namespace fovea
