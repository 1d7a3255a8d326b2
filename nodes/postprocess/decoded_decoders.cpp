// Anchors that the network decoded, in one tensor: columns with a score per class (decoded_head()),
// or rows with an objectness beside it (objectness_head()).
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/postprocess/anchor_decoder.hpp"
#include "nodes/postprocess/checks.hpp"

namespace fovea {

namespace {

// Channels of the one tensor.
struct Channels {
  std::string tensor;
  std::int64_t count = 0;
  std::uint32_t box = 0;     // centre x, y, width, height
  std::uint32_t scores = 0;  // one per class
  std::uint32_t objectness = 0;
};

// Errors: why the head is another one.
Result<Channels> read_channels(const HeadSpec& head, AnchorAxis anchors,
                               std::initializer_list<OutputRole> roles) {
  FOVEA_TRY(check_roles(head, roles));
  Channels channels;
  for (const OutputRole role : roles) {
    FOVEA_ASSIGN(const OutputMap* map, only_map(head, role));
    FOVEA_TRY(check_layout(*map, OutputEncoding::kDecoded, anchors));
    FOVEA_TRY(check_range(fmt::format("stride of {}", msgs::enum_name(role)), map->stride, 0, 0));
    if (channels.tensor.empty()) channels.tensor = map->tensor.view();
    if (map->tensor.view() != channels.tensor) {
      return fail(ErrorCode::kUnsupported, "the maps lie in several tensors; it reads one");
    }
    if (role == OutputRole::kBox) {
      FOVEA_TRY(check_range("box channels", map->channels, 4, 4));
      channels.box = map->first_channel;
    } else if (role == OutputRole::kObjectness) {
      FOVEA_TRY(check_range("objectness channels", map->channels, 1, 1));
      channels.objectness = map->first_channel;
    } else {
      channels.scores = map->first_channel;
    }
  }
  channels.count = head.channels_of(channels.tensor);
  return channels;
}

// The number of anchors is the tensor's own; everything else is fixed by the model. `layout` is the
// shape in words.
Result<std::int64_t> anchors_of(const HeadTensor& tensor, std::size_t axis,
                                const Channels& channels, std::string_view layout) {
  const std::int64_t anchors = tensor.dims.size() == 2 ? tensor.dims[axis] : 0;
  if (anchors >= 1 && anchors <= AnchorDecoderBase::kMaxAnchors) return anchors;
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("tensor {} has the shape [{}]; it must be {} with 1..{} anchors", channels.tensor,
                  fmt::join(tensor.dims, ", "), layout, AnchorDecoderBase::kMaxAnchors));
}

AnchorDecoderBase::Box around(float x, float y, float width, float height) {
  const float half_width = width / 2;
  const float half_height = height / 2;
  return {x - half_width, y - half_height, x + half_width, y + half_height};
}

class DecodedDecoder final : public AnchorDecoder<DecodedDecoder> {
 public:
  DecodedDecoder(const msgs::ModelInfo& model, bool force_scalar)
      : AnchorDecoder(model, force_scalar, Key::kScore) {
    rows_.resize(decode_kernels::kColumnBlock);
  }

  Result<> read_head(const msgs::ModelInfo& model) {
    FOVEA_ASSIGN(channels_, read_channels(model.head, AnchorAxis::kInnermost,
                                          {OutputRole::kBox, OutputRole::kClassScore}));
    return {};
  }

  Result<> bind(std::span<const HeadTensor> tensors) {
    FOVEA_TRY(check_count(tensors, 1));
    FOVEA_ASSIGN(const std::int64_t anchors,
                 anchors_of(tensors[0], 1, channels_, "[4 + classes, anchors]"));
    const std::array<std::int64_t, 2> dims{channels_.count, anchors};
    FOVEA_ASSIGN(map_, find_values(tensors, channels_.tensor, dims));
    anchor_count_ = static_cast<std::uint32_t>(anchors);
    return {};
  }

  void search() {
    const float* scores = map_ + std::size_t{channels_.scores} * anchor_count_;
    for (std::uint32_t begin = 0; begin < anchor_count_; begin += decode_kernels::kColumnBlock) {
      const std::size_t count =
          std::min<std::size_t>(anchor_count_ - begin, decode_kernels::kColumnBlock);
      bool finite = true;
      const std::size_t found =
          kernels_.find_columns(scores + begin, class_count_, anchor_count_, count,
                                thresholds_.data(), rows_.data(), finite);
      if (!finite) {
        not_finite_.scores +=
            count_not_finite(scores + begin, count, 1, class_count_, anchor_count_);
      }
      for (std::size_t k = 0; k < found; ++k) {
        add_anchor(begin + rows_[k], scores + begin + rows_[k], anchor_count_, 1.0f);
      }
    }
  }

  Box box_of(std::uint32_t anchor) const {
    const std::size_t step = anchor_count_;
    const float* p = map_ + channels_.box * step + anchor;
    return around(p[0], p[step], p[2 * step], p[3 * step]);
  }

 private:
  Channels channels_;
  const float* map_ = nullptr;
};

class ObjectnessDecoder final : public AnchorDecoder<ObjectnessDecoder> {
 public:
  ObjectnessDecoder(const msgs::ModelInfo& model, bool force_scalar)
      : AnchorDecoder(model, force_scalar, Key::kScore) {}

  Result<> read_head(const msgs::ModelInfo& model) {
    FOVEA_ASSIGN(channels_, read_channels(model.head, AnchorAxis::kOutermost,
                                          {OutputRole::kBox, OutputRole::kObjectness,
                                           OutputRole::kClassScore}));
    return {};
  }

  Result<> bind(std::span<const HeadTensor> tensors) {
    FOVEA_TRY(check_count(tensors, 1));
    FOVEA_ASSIGN(const std::int64_t anchors,
                 anchors_of(tensors[0], 0, channels_, "[anchors, 5 + classes]"));
    const std::array<std::int64_t, 2> dims{anchors, channels_.count};
    FOVEA_ASSIGN(map_, find_values(tensors, channels_.tensor, dims));
    anchor_count_ = static_cast<std::uint32_t>(anchors);
    return {};
  }

  void search() {
    for (std::uint32_t anchor = 0; anchor < anchor_count_; ++anchor) {
      const float* row = row_of(anchor);
      const float objectness = row[channels_.objectness];
      if (!std::isfinite(objectness)) {
        ++not_finite_.scores;
        continue;
      }
      // A class score is at most 1, so the product cannot pass where the objectness alone does not.
      if (!(objectness > lowest_threshold_)) continue;
      const float* scores = row + channels_.scores;
      not_finite_.scores += count_not_finite(scores, 1, 0, class_count_, 1);
      add_anchor(anchor, scores, 1, objectness);
    }
  }

  Box box_of(std::uint32_t anchor) const {
    const float* p = row_of(anchor) + channels_.box;
    return around(p[0], p[1], p[2], p[3]);
  }

 private:
  const float* row_of(std::uint32_t anchor) const {
    return map_ + anchor * static_cast<std::size_t>(channels_.count);
  }

  Channels channels_;
  const float* map_ = nullptr;
};

template <class X>
Result<std::unique_ptr<Decoder>> create(const msgs::ModelInfo& model, bool force_scalar) {
  auto decoder = std::make_unique<X>(model, force_scalar);
  FOVEA_TRY(decoder->read_head(model));
  FOVEA_TRY(decoder->set_options({}));
  return decoder;
}

}  // namespace

Result<std::unique_ptr<Decoder>> create_decoded_decoder(const msgs::ModelInfo& model,
                                                        bool force_scalar) {
  return create<DecodedDecoder>(model, force_scalar);
}

Result<std::unique_ptr<Decoder>> create_objectness_decoder(const msgs::ModelInfo& model,
                                                           bool force_scalar) {
  return create<ObjectnessDecoder>(model, force_scalar);
}

}  // namespace fovea
