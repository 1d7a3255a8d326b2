// Raw maps per level: boxes as distributions of their sides' distances, scores as logits, and what
// anchors have beside them; see dfl_head().
#include <array>
#include <cmath>
#include <limits>

#include <fmt/core.h>

#include "nodes/postprocess/anchor_decoder.hpp"
#include "nodes/postprocess/checks.hpp"

namespace fovea {

namespace {

constexpr std::uint32_t kMaxBins = 64;
constexpr std::uint32_t kMaxStride = 32768;

class DflDecoder final : public AnchorDecoder<DflDecoder> {
 public:
  DflDecoder(const msgs::ModelInfo& model, bool force_scalar)
      : AnchorDecoder(model, force_scalar, Key::kLogit) {}

  // A level per box map, in their order. Errors: why the head is another one.
  Result<> read_head(const msgs::ModelInfo& model) {
    FOVEA_TRY(check_roles(model.head,
                          {OutputRole::kBox, OutputRole::kClassScore, OutputRole::kMaskCoefficients,
                           OutputRole::kPrototype, OutputRole::kKeypoints, OutputRole::kAngle}));
    std::size_t score_maps = 0;
    for (const OutputMap& map : model.head.maps) {
      const bool is_box = map.role == OutputRole::kBox;
      if (!is_box && map.role != OutputRole::kClassScore) continue;
      FOVEA_TRY(check_layout(map, is_box ? OutputEncoding::kDistribution : OutputEncoding::kLogit,
                             AnchorAxis::kOutermost));
      FOVEA_TRY(check_range("stride", map.stride, 1, kMaxStride));
      FOVEA_TRY(check_range("first channel", map.first_channel, 0, 0));
      if (is_box) {
        FOVEA_TRY(add_level(model, map));
      } else {
        ++score_maps;
      }
    }
    if (levels_.empty() || levels_.size() != score_maps) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("the head has {} maps of boxes and {} of scores; it must have one of "
                              "each per stride",
                              levels_.size(), score_maps));
    }
    const AnchorDetails::Grid& last = levels_.back().grid;
    rows_.resize(last.first_anchor + last.width * last.height);
    std::vector<AnchorDetails::Grid> grids;
    for (const Level& level : levels_) grids.push_back(level.grid);
    FOVEA_ASSIGN(details_, AnchorDetails::create(model.head, grids, model.network_width,
                                                 model.network_height));
    is_turned_ = !details_.empty() && details_.role() == OutputRole::kAngle;
    return {};
  }

  const AnchorDetails* details() const override { return details_.empty() ? nullptr : &details_; }

  Result<> bind(std::span<const HeadTensor> tensors) {
    FOVEA_TRY(check_count(tensors, 2 * levels_.size() + details_.tensor_count()));
    FOVEA_TRY(details_.bind(tensors));
    anchor_count_ = 0;
    for (Level& level : levels_) {
      const auto& [stride, width, height, first_anchor] = level.grid;
      const std::array<std::int64_t, 3> box{height, width, std::int64_t{kBoxSides} * level.bins};
      const std::array<std::int64_t, 3> cls{height, width, class_count_};
      FOVEA_ASSIGN(level.boxes, find_values(tensors, level.box_name, box));
      FOVEA_ASSIGN(level.logits, find_values(tensors, level.score_name, cls));
      anchor_count_ += width * height;
    }
    return {};
  }

  void search() {
    for (const Level& level : levels_) {
      const float* logits = level.logits;
      const std::size_t cells = std::size_t{level.grid.width} * level.grid.height;
      bool finite = true;
      const std::size_t found =
          kernels_.find_rows(logits, cells, class_count_, thresholds_.data(), rows_.data(), finite);
      if (!finite) {
        not_finite_.scores += count_not_finite(logits, cells, class_count_, class_count_, 1);
      }
      for (std::size_t k = 0; k < found; ++k) {
        add_anchor(level.grid.first_anchor + rows_[k],
                   logits + std::size_t{rows_[k]} * class_count_, 1, 1.0f);
      }
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
    const auto [x, y, distance, stride] = cell_of(anchor);
    return {(x - distance[0]) * stride, (y - distance[1]) * stride, (x + distance[2]) * stride,
            (y + distance[3]) * stride};
  }

  // The distances are along the box's own axes. Where they make a size negative the box is mirrored,
  // which is the same rectangle.
  TurnedBox turned_box_of(std::uint32_t anchor) const override {
    const auto [x, y, distance, stride] = cell_of(anchor);
    const float angle = details_.angle_of(anchor);
    const float along = (distance[2] - distance[0]) / 2;
    const float across = (distance[3] - distance[1]) / 2;
    const float cosine = std::cos(angle);
    const float sine = std::sin(angle);
    return {.center_x = (along * cosine - across * sine + x) * stride,
            .center_y = (along * sine + across * cosine + y) * stride,
            .size_x = std::abs(distance[0] + distance[2]) * stride,
            .size_y = std::abs(distance[1] + distance[3]) * stride,
            .theta = angle};
  }

 private:
  struct Level {
    AnchorDetails::Grid grid;
    std::uint32_t bins;
    std::string box_name;
    std::string score_name;
    // In the current frame.
    const float* boxes = nullptr;
    const float* logits = nullptr;
  };

  // An anchor's cell: its centre and the distances of the sides from it, in cells.
  struct Cell {
    float x, y;
    std::array<float, kBoxSides> distance;
    float stride;
  };
  Cell cell_of(std::uint32_t anchor) const {
    std::size_t i = levels_.size() - 1;
    while (levels_[i].grid.first_anchor > anchor) --i;
    const Level& level = levels_[i];
    const std::uint32_t number = anchor - level.grid.first_anchor;
    const float* logits = level.boxes + std::size_t{number} * kBoxSides * level.bins;
    Cell cell{.x = static_cast<float>(number % level.grid.width) + 0.5f,
              .y = static_cast<float>(number / level.grid.width) + 0.5f,
              .distance = {},
              .stride = static_cast<float>(level.grid.stride)};
    for (std::size_t side = 0; side < kBoxSides; ++side) {
      // Heads without bins give the distance itself.
      cell.distance[side] = level.bins == 1
                                ? logits[side]
                                : kernels_.expected_bin(logits + side * level.bins, level.bins);
    }
    return cell;
  }

  Result<> add_level(const msgs::ModelInfo& model, const OutputMap& box) {
    FOVEA_TRY(check_range("bins", box.bins, 1, kMaxBins));
    FOVEA_TRY(check_range("box channels", box.channels, std::uint64_t{kBoxSides} * box.bins,
                          std::uint64_t{kBoxSides} * box.bins));
    const auto* scores =
        std::find_if(model.head.maps.begin(), model.head.maps.end(), [&](const OutputMap& map) {
          return map.role == OutputRole::kClassScore && map.stride == box.stride;
        });
    const bool known = std::any_of(levels_.begin(), levels_.end(), [&](const Level& level) {
      return level.grid.stride == box.stride;
    });
    if (scores == model.head.maps.end() || known) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("stride {} has {}", box.stride,
                              known ? "several maps of boxes" : "boxes but no scores"));
    }
    const Level level{.grid = {.stride = box.stride,
                               .width = (model.network_width + box.stride - 1) / box.stride,
                               .height = (model.network_height + box.stride - 1) / box.stride,
                               .first_anchor = static_cast<std::uint32_t>(anchors_)},
                      .bins = box.bins,
                      .box_name = std::string(box.tensor.view()),
                      .score_name = std::string(scores->tensor.view())};
    anchors_ += std::uint64_t{level.grid.width} * level.grid.height;
    FOVEA_TRY(check_range("anchor count", anchors_, 1, kMaxAnchors));
    levels_.push_back(level);
    return {};
  }

  std::vector<Level> levels_;
  std::uint64_t anchors_ = 0;  // of levels_
  AnchorDetails details_;
  bool is_turned_ = false;
};

}  // namespace

Result<std::unique_ptr<Decoder>> create_dfl_decoder(const msgs::ModelInfo& model,
                                                    bool force_scalar) {
  auto decoder = std::make_unique<DflDecoder>(model, force_scalar);
  FOVEA_TRY(decoder->read_head(model));
  FOVEA_TRY(decoder->set_options({}));
  return decoder;
}

}  // namespace fovea
