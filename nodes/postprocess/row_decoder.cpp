// Rows of a model that chooses its best boxes itself: a box, its score, its class, and what else it
// has; see rows_head(). Nothing is suppressed, and thresholds count on top of the model's own choice.
#include <array>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/postprocess/anchor_decoder.hpp"
#include "nodes/postprocess/checks.hpp"

namespace fovea {

namespace {

class RowDecoder final : public AnchorDecoder<RowDecoder> {
 public:
  RowDecoder(const msgs::ModelInfo& model, bool force_scalar)
      : AnchorDecoder(model, force_scalar, Key::kScore) {}

  // Errors: why the head is another one.
  Result<> read_head(const msgs::ModelInfo& model) {
    const HeadSpec& head = model.head;
    FOVEA_TRY(check_roles(head, {OutputRole::kBox, OutputRole::kClassScore, OutputRole::kClassIndex,
                                 OutputRole::kMaskCoefficients, OutputRole::kPrototype,
                                 OutputRole::kKeypoints, OutputRole::kAngle}));
    FOVEA_ASSIGN(details_,
                 AnchorDetails::create_for_rows(head, model.network_width, model.network_height));
    is_turned_ = !details_.empty() && details_.role() == OutputRole::kAngle;
    FOVEA_ASSIGN(const OutputMap* box, only_map(head, OutputRole::kBox));
    tensor_ = box->tensor.view();
    for (const OutputMap& map : head.maps) {
      if (map.role == OutputRole::kPrototype || map.tensor.view() == tensor_) continue;
      return fail(ErrorCode::kUnsupported, "the maps lie in several tensors; it reads one");
    }
    channels_ = head.channels_of(tensor_);
    FOVEA_ASSIGN(box_, column_of(head, OutputRole::kBox,
                                 is_turned_ ? OutputEncoding::kDecoded : OutputEncoding::kCorners,
                                 kBoxSides));
    FOVEA_ASSIGN(score_, column_of(head, OutputRole::kClassScore, OutputEncoding::kDecoded, 1));
    FOVEA_ASSIGN(class_, column_of(head, OutputRole::kClassIndex, OutputEncoding::kDecoded, 1));
    return {};
  }

  const AnchorDetails* details() const override { return details_.empty() ? nullptr : &details_; }

  Result<> bind(std::span<const HeadTensor> tensors) {
    FOVEA_TRY(check_count(tensors, 1 + details_.tensor_count()));
    const auto rows = std::find_if(tensors.begin(), tensors.end(),
                                   [&](const HeadTensor& t) { return t.name == tensor_; });
    const std::int64_t count = rows != tensors.end() && rows->dims.size() == 2 ? rows->dims[0] : 0;
    if (rows != tensors.end() && (count < 1 || count > kMaxAnchors)) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("tensor {} has the shape [{}]; it must be [rows, {}] with 1..{} rows",
                              tensor_, fmt::join(rows->dims, ", "), channels_, kMaxAnchors));
    }
    const std::array<std::int64_t, 2> dims{count, channels_};
    FOVEA_ASSIGN(rows_of_boxes_, find_values(tensors, tensor_, dims));
    anchor_count_ = static_cast<std::uint32_t>(count);
    return details_.bind_rows(rows_of_boxes_, channels_, tensors);
  }

  void search() {
    for (std::uint32_t anchor = 0; anchor < anchor_count_; ++anchor) {
      const float* row = row_of(anchor);
      if (!std::isfinite(row[score_])) {
        ++not_finite_.scores;
        continue;
      }
      if (!(row[score_] > lowest_threshold_)) continue;
      const float number = row[class_];
      if (!(number >= 0 && number < static_cast<float>(class_count_)) ||
          number != std::floor(number)) {
        ++not_finite_.scores;
        continue;
      }
      add_class(anchor, static_cast<std::uint32_t>(number), row[score_]);
    }
  }

  Box box_of(std::uint32_t anchor) const {
    if (!details_.empty() && !details_.is_finite(anchor)) {
      constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
      return {kNan, kNan, kNan, kNan};
    }
    if (is_turned_) {
      const UprightBox box = upright(turned_box_of(anchor));
      return {box.x1, box.y1, box.x2, box.y2};
    }
    const float* box = row_of(anchor) + box_;
    return {box[0], box[1], box[2], box[3]};
  }

  TurnedBox turned_box_of(std::uint32_t anchor) const override {
    const float* box = row_of(anchor) + box_;
    return {.center_x = box[0],
            .center_y = box[1],
            .size_x = std::abs(box[2]),
            .size_y = std::abs(box[3]),
            .theta = details_.angle_of(anchor)};
  }

 private:
  // The first channel of a role's one map. Errors: it means something else.
  static Result<std::uint32_t> column_of(const HeadSpec& head, OutputRole role,
                                         OutputEncoding encoding, std::uint32_t channels) {
    FOVEA_ASSIGN(const OutputMap* map, only_map(head, role));
    FOVEA_TRY(check_layout(*map, encoding, AnchorAxis::kOutermost));
    const std::string_view name = msgs::enum_name(role);
    FOVEA_TRY(check_range(fmt::format("stride of {}", name), map->stride, 0, 0));
    FOVEA_TRY(check_range(fmt::format("{} channels", name), map->channels, channels, channels));
    return map->first_channel;
  }

  const float* row_of(std::uint32_t anchor) const {
    return rows_of_boxes_ + std::size_t{anchor} * channels_;
  }

  std::string tensor_;
  std::uint32_t channels_ = 0;
  std::uint32_t box_ = 0;
  std::uint32_t score_ = 0;
  std::uint32_t class_ = 0;
  AnchorDetails details_;
  bool is_turned_ = false;
  const float* rows_of_boxes_ = nullptr;  // of the current frame
};

}  // namespace

Result<std::unique_ptr<Decoder>> create_row_decoder(const msgs::ModelInfo& model,
                                                    bool force_scalar) {
  auto decoder = std::make_unique<RowDecoder>(model, force_scalar);
  FOVEA_TRY(decoder->read_head(model));
  FOVEA_TRY(decoder->set_options({}));
  return decoder;
}

}  // namespace fovea
