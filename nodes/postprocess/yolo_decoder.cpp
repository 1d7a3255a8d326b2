// Search of the score maps, the bounded list of the best hits, and boxes for those that remain.
#include "nodes/postprocess/yolo_decoder.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/postprocess/decode_kernels.hpp"
#include "nodes/postprocess/source_box.hpp"

namespace fovea {
namespace {

using msgs::HeadKind;
using Limits = std::numeric_limits<float>;

constexpr std::uint32_t kMaxNetworkSide = 32768;
constexpr std::uint32_t kMaxBins = 64;
constexpr std::uint32_t kMaxAnchors = 1u << 22;  // far above any YOLO; keeps products in 32 bits
constexpr std::uint32_t kBoxSides = 4;

const decode_kernels::Kernels& kernels_for(bool force_scalar) {
  return force_scalar ? decode_kernels::scalar_kernels() : decode_kernels::best_kernels();
}

float sigmoid(float logit) { return 1.0f / (1.0f + std::exp(-logit)); }

// Infinite at the ends, which makes 0 pass everything and 1 nothing.
float logit(float score) { return std::log(score / (1.0f - score)); }

// Of `rows` rows of scores, each of `columns` elements that are `step` apart; rows are `stride`
// apart.
std::uint32_t count_not_finite(const float* scores, std::size_t rows, std::size_t stride,
                               std::size_t columns, std::size_t step) {
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

Result<> check_unit(std::string_view key, float value) {
  if (value >= 0 && value <= 1) return {};
  return fail(ErrorCode::kInvalidArgument, fmt::format("{} is {}; it must be 0..1", key, value));
}

Result<> check_range(std::string_view key, std::uint64_t value, std::uint64_t low,
                     std::uint64_t high) {
  if (value >= low && value <= high) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{} is {}; it must be {}..{}", key, value, low, high));
}

}  // namespace

Result<YoloDecoder> YoloDecoder::create(const msgs::ModelInfo& model, bool force_scalar) {
  if (model.head > HeadKind::kDecodedObjectness) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("head is {}; it must be dfl, decoded or decoded_objectness",
                            static_cast<std::uint32_t>(model.head)));
  }
  FOVEA_TRY(check_range("network_width", model.network_width, 1, kMaxNetworkSide));
  FOVEA_TRY(check_range("network_height", model.network_height, 1, kMaxNetworkSide));
  FOVEA_TRY(check_range("class count", model.class_names.size(), 1, msgs::ModelInfo::kMaxClasses));

  YoloDecoder decoder(force_scalar);
  decoder.head_ = model.head;
  decoder.class_count_ = model.class_names.count;
  decoder.network_width_ = model.network_width;
  decoder.network_height_ = model.network_height;
  for (const auto& name : model.class_names) decoder.class_names_.emplace_back(name.view());
  if (model.head == HeadKind::kDfl) {
    FOVEA_TRY(check_range("reg_max", model.reg_max, 1, kMaxBins));
    FOVEA_TRY(check_range("level_count", model.level_count, 1, msgs::ModelInfo::kMaxLevels));
    decoder.reg_max_ = model.reg_max;
    std::uint64_t anchors = 0;
    for (std::uint32_t i = 0; i < model.level_count; ++i) {
      const std::uint32_t stride = model.strides[i];
      FOVEA_TRY(check_range(fmt::format("stride {}", i), stride, 1, kMaxNetworkSide));
      const Level level{.stride = stride,
                        .width = (model.network_width + stride - 1) / stride,
                        .height = (model.network_height + stride - 1) / stride,
                        .first_anchor = static_cast<std::uint32_t>(anchors)};
      anchors += std::uint64_t{level.width} * level.height;
      FOVEA_TRY(check_range("anchor count", anchors, 1, kMaxAnchors));
      decoder.levels_.push_back(level);
      decoder.tensor_names_.push_back(fmt::format("box{}", i));
      decoder.tensor_names_.push_back(fmt::format("cls{}", i));
    }
    decoder.rows_.resize(anchors);
  } else {
    decoder.tensor_names_.emplace_back("output0");
    decoder.rows_.resize(decode_kernels::kColumnBlock);
  }
  decoder.maps_.resize(decoder.tensor_names_.size());
  FOVEA_TRY(decoder.set_options({}));
  return decoder;
}

Result<> YoloDecoder::set_options(const PostprocessOptions& options) {
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
  thresholds_.assign(decode_kernels::padded(class_count_), Limits::infinity());
  for (std::uint32_t c = 0; c < class_count_; ++c) {
    thresholds_[c] = head_ == HeadKind::kDfl ? logit(scores[c]) : scores[c];
  }
  hits_.reserve(2 * max_candidates_);
  return {};
}

Result<const float*> YoloDecoder::find(std::span<const HeadTensor> tensors, std::string_view name,
                                       std::span<const std::int64_t> dims) const {
  const auto tensor = std::find_if(tensors.begin(), tensors.end(),
                                   [&](const HeadTensor& t) { return t.name == name; });
  if (tensor == tensors.end()) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("tensor {} is missing", name));
  }
  if (tensor->dtype != msgs::DataType::kFloat32) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("tensor {} is {}; it must be float32",
                                                         name, msgs::enum_name(tensor->dtype)));
  }
  if (!std::equal(dims.begin(), dims.end(), tensor->dims.begin(), tensor->dims.end())) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("tensor {} has the shape [{}]; it must be [{}]", name,
                            fmt::join(tensor->dims, ", "), fmt::join(dims, ", ")));
  }
  std::uint64_t bytes = sizeof(float);
  for (const std::int64_t extent : dims) bytes *= static_cast<std::uint64_t>(extent);
  if (tensor->bytes.size() != bytes) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("tensor {} has {} bytes; it must have {}",
                                                         name, tensor->bytes.size(), bytes));
  }
  if (reinterpret_cast<std::uintptr_t>(tensor->bytes.data()) % alignof(float) != 0) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("tensor {} is not aligned to {} bytes", name, alignof(float)));
  }
  return reinterpret_cast<const float*>(tensor->bytes.data());
}

Result<> YoloDecoder::bind(std::span<const HeadTensor> tensors) {
  if (tensors.size() != tensor_names_.size()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} tensors; the model has {}", tensors.size(), tensor_names_.size()));
  }
  if (head_ == HeadKind::kDfl) {
    anchor_count_ = 0;
    for (std::size_t i = 0; i < levels_.size(); ++i) {
      const Level& level = levels_[i];
      const std::array<std::int64_t, 3> box{level.height, level.width, std::int64_t{kBoxSides} * reg_max_};
      const std::array<std::int64_t, 3> cls{level.height, level.width, class_count_};
      FOVEA_ASSIGN(maps_[2 * i], find(tensors, tensor_names_[2 * i], box));
      FOVEA_ASSIGN(maps_[2 * i + 1], find(tensors, tensor_names_[2 * i + 1], cls));
      anchor_count_ += level.width * level.height;
    }
    return {};
  }
  // The number of anchors is the tensor's own; everything else is fixed by the model.
  const bool columns = head_ == HeadKind::kDecoded;
  const auto dims = tensors[0].dims;
  const std::int64_t anchors = dims.size() == 2 ? dims[columns ? 1 : 0] : 0;
  if (anchors < 1 || anchors > kMaxAnchors) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("tensor {} has the shape [{}]; it must be {} with 1..{} anchors",
                    tensor_names_[0], fmt::join(dims, ", "),
                    columns ? "[4 + classes, anchors]" : "[anchors, 5 + classes]", kMaxAnchors));
  }
  const std::int64_t values = (columns ? 4 : 5) + static_cast<std::int64_t>(class_count_);
  const std::array<std::int64_t, 2> expected{columns ? values : anchors,
                                             columns ? anchors : values};
  FOVEA_ASSIGN(maps_[0], find(tensors, tensor_names_[0], expected));
  anchor_count_ = static_cast<std::uint32_t>(anchors);
  return {};
}

bool YoloDecoder::better(const Hit& a, const Hit& b) {
  if (a.key != b.key) return a.key > b.key;
  return a.anchor != b.anchor ? a.anchor < b.anchor : a.class_id < b.class_id;
}

void YoloDecoder::add(Hit hit) {
  // Hits come in the order of anchors and classes, so one that only equals the cutoff comes too
  // late.
  if (!(hit.key > cutoff_) || !std::isfinite(hit.key)) return;
  hits_.push_back(hit);
  if (hits_.size() == 2 * max_candidates_) keep_best();
}

bool YoloDecoder::useful(const Box& box) {
  if (!std::isfinite(box.x1) || !std::isfinite(box.y1) || !std::isfinite(box.x2) ||
      !std::isfinite(box.y2)) {
    ++not_finite_.boxes;
    return false;
  }
  if (box.x2 <= box.x1 || box.y2 <= box.y1) return false;
  if (visible_ == nullptr) return true;
  const msgs::BoundingBox2D clipped = to_source(box.x1, box.y1, box.x2, box.y2, *visible_);
  return clipped.size_x > 0 && clipped.size_y > 0;
}

void YoloDecoder::drop_useless() {
  std::uint32_t anchor = anchor_count_;  // hits of one anchor follow each other
  bool keep = false;
  const auto useless = [&](const Hit& hit) {
    if (hit.anchor != anchor) keep = useful(box_of(anchor = hit.anchor));
    return !keep;
  };
  hits_.erase(
      std::remove_if(hits_.begin() + static_cast<std::ptrdiff_t>(useful_), hits_.end(), useless),
      hits_.end());
  useful_ = hits_.size();
}

// Boxes that nobody will see must not take the places of others, so they go first.
void YoloDecoder::keep_best() {
  drop_useless();
  if (hits_.size() <= max_candidates_) return;
  const auto last = hits_.begin() + static_cast<std::ptrdiff_t>(max_candidates_) - 1;
  std::nth_element(hits_.begin(), last, hits_.end(), better);
  cutoff_ = last->key;
  hits_.resize(max_candidates_);
  useful_ = hits_.size();
}

void YoloDecoder::add_anchor(std::uint32_t anchor, const float* scores, std::size_t stride,
                             float factor) {
  Hit best{-Limits::infinity(), anchor, class_count_};
  for (std::uint32_t c = 0; c < class_count_; ++c) {
    const float key = factor * scores[c * stride];
    if (!(key > thresholds_[c])) continue;
    if (multi_label_) {
      add({key, anchor, c});
    } else if (key > best.key) {
      best = {key, anchor, c};
    }
  }
  if (best.class_id < class_count_) add(best);
}

void YoloDecoder::collect_dfl() {
  for (std::size_t i = 0; i < levels_.size(); ++i) {
    const float* logits = maps_[2 * i + 1];
    const std::size_t cells = std::size_t{levels_[i].width} * levels_[i].height;
    bool finite = true;
    const std::size_t found =
        kernels_for(force_scalar_)
            .find_rows(logits, cells, class_count_, thresholds_.data(), rows_.data(), finite);
    if (!finite) {
      not_finite_.scores += count_not_finite(logits, cells, class_count_, class_count_, 1);
    }
    for (std::size_t k = 0; k < found; ++k) {
      add_anchor(levels_[i].first_anchor + rows_[k], logits + std::size_t{rows_[k]} * class_count_,
                 1, 1.0f);
    }
  }
}

void YoloDecoder::collect_decoded() {
  const float* scores = maps_[0] + std::size_t{kBoxSides} * anchor_count_;
  for (std::uint32_t begin = 0; begin < anchor_count_; begin += decode_kernels::kColumnBlock) {
    const std::size_t count =
        std::min<std::size_t>(anchor_count_ - begin, decode_kernels::kColumnBlock);
    bool finite = true;
    const std::size_t found = kernels_for(force_scalar_)
                                  .find_columns(scores + begin, class_count_, anchor_count_, count,
                                                thresholds_.data(), rows_.data(), finite);
    if (!finite) {
      not_finite_.scores += count_not_finite(scores + begin, count, 1, class_count_, anchor_count_);
    }
    for (std::size_t k = 0; k < found; ++k) {
      add_anchor(begin + rows_[k], scores + begin + rows_[k], anchor_count_, 1.0f);
    }
  }
}

void YoloDecoder::collect_decoded_objectness() {
  const std::size_t values = 5 + std::size_t{class_count_};
  for (std::uint32_t anchor = 0; anchor < anchor_count_; ++anchor) {
    const float* row = maps_[0] + anchor * values;
    if (!std::isfinite(row[4])) {
      ++not_finite_.scores;
      continue;
    }
    // A class score is at most 1, so the product cannot pass where the objectness alone does not.
    if (!(row[4] > lowest_threshold_)) continue;
    not_finite_.scores += count_not_finite(row + 5, 1, 0, class_count_, 1);
    add_anchor(anchor, row + 5, 1, row[4]);
  }
}

YoloDecoder::Box YoloDecoder::box_of(std::uint32_t anchor) const {
  if (head_ != HeadKind::kDfl) {
    const bool columns = head_ == HeadKind::kDecoded;
    const std::size_t step = columns ? anchor_count_ : 1;
    const float* p = maps_[0] + (columns ? anchor : anchor * (5 + std::size_t{class_count_}));
    const float half_width = p[2 * step] / 2;
    const float half_height = p[3 * step] / 2;
    return {p[0] - half_width, p[step] - half_height, p[0] + half_width, p[step] + half_height};
  }
  std::size_t i = levels_.size() - 1;
  while (levels_[i].first_anchor > anchor) --i;
  const Level& level = levels_[i];
  const std::uint32_t cell = anchor - level.first_anchor;
  const float* logits = maps_[2 * i] + std::size_t{cell} * kBoxSides * reg_max_;
  std::array<float, kBoxSides> distance;
  for (std::size_t side = 0; side < kBoxSides; ++side) {
    // Heads without bins give the distance itself.
    distance[side] =
        reg_max_ == 1 ? logits[side]
                      : kernels_for(force_scalar_).expected_bin(logits + side * reg_max_, reg_max_);
  }
  const float center_x = static_cast<float>(cell % level.width) + 0.5f;
  const float center_y = static_cast<float>(cell / level.width) + 0.5f;
  const auto stride = static_cast<float>(level.stride);
  return {(center_x - distance[0]) * stride, (center_y - distance[1]) * stride,
          (center_x + distance[2]) * stride, (center_y + distance[3]) * stride};
}

Result<> YoloDecoder::decode(std::span<const HeadTensor> tensors,
                             std::vector<Candidate>& candidates,
                             const msgs::LetterboxTransform* visible) {
  candidates.clear();
  not_finite_ = {};
  visible_ = visible;
  FOVEA_TRY(bind(tensors));
  hits_.clear();
  useful_ = 0;
  cutoff_ = -Limits::infinity();
  switch (head_) {
    case HeadKind::kDfl:
      collect_dfl();
      break;
    case HeadKind::kDecoded:
      collect_decoded();
      break;
    case HeadKind::kDecodedObjectness:
      collect_decoded_objectness();
      break;
  }
  keep_best();
  // Back into the order of the maps: neighbours in memory, and an anchor's box is computed once.
  std::sort(hits_.begin(), hits_.end(), [](const Hit& a, const Hit& b) {
    return a.anchor != b.anchor ? a.anchor < b.anchor : a.class_id < b.class_id;
  });
  Box box{};
  std::uint32_t box_anchor = anchor_count_;
  for (const Hit& hit : hits_) {
    if (hit.anchor != box_anchor) box = box_of(box_anchor = hit.anchor);
    const float score = head_ == HeadKind::kDfl ? sigmoid(hit.key) : std::min(hit.key, 1.0f);
    candidates.push_back({box.x1, box.y1, box.x2, box.y2, score, hit.class_id});
  }
  return {};
}

}  // namespace fovea
