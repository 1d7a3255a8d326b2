// Queries of a transformer: boxes as shares of the picture and logits of classes, a row each, in two
// tensors (query_head()).
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/postprocess/anchor_decoder.hpp"
#include "nodes/postprocess/checks.hpp"

namespace fovea {

namespace {

class QueryDecoder final : public AnchorDecoder<QueryDecoder> {
 public:
  QueryDecoder(const msgs::ModelInfo& model, bool force_scalar)
      : AnchorDecoder(model, force_scalar, Key::kLogit),
        width_(static_cast<float>(model.network_width)),
        height_(static_cast<float>(model.network_height)) {}

  // Errors: why the head is another one.
  Result<> read_head(const HeadSpec& head) {
    FOVEA_TRY(check_roles(head, {OutputRole::kBox, OutputRole::kClassScore}));
    FOVEA_ASSIGN(const OutputMap* box, only_map(head, OutputRole::kBox));
    FOVEA_ASSIGN(const OutputMap* scores, only_map(head, OutputRole::kClassScore));
    FOVEA_TRY(check_layout(*box, OutputEncoding::kNormalised, AnchorAxis::kOutermost));
    FOVEA_TRY(check_layout(*scores, OutputEncoding::kLogit, AnchorAxis::kOutermost));
    FOVEA_TRY(check_range("stride of box", box->stride, 0, 0));
    FOVEA_TRY(check_range("stride of class_score", scores->stride, 0, 0));
    FOVEA_TRY(check_range("box channels", box->channels, kBoxSides, kBoxSides));
    FOVEA_TRY(check_range("first box channel", box->first_channel, 0, 0));
    FOVEA_TRY(check_range("first class channel", scores->first_channel, 0, 0));
    if (box->tensor == scores->tensor) {
      return fail(ErrorCode::kUnsupported, "boxes and scores lie in one tensor; it reads two");
    }
    box_name_ = box->tensor.view();
    score_name_ = scores->tensor.view();
    return {};
  }

  // The number of queries is the tensors' own. Behind the classes a row of logits may have more,
  // which stand for no class.
  Result<> bind(std::span<const HeadTensor> tensors) {
    FOVEA_TRY(check_count(tensors, 2));
    const auto scores = std::find_if(tensors.begin(), tensors.end(),
                                     [&](const HeadTensor& t) { return t.name == score_name_; });
    const auto dims = scores == tensors.end() ? std::span<const std::int64_t>{} : scores->dims;
    const bool fits = dims.size() == 2 && dims[0] >= 1 && dims[0] <= kMaxAnchors &&
                      dims[1] >= class_count_ && dims[1] <= kMaxAnchors;
    if (scores != tensors.end() && !fits) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("tensor {} has the shape [{}]; it must be [1..{} queries, {} or more "
                              "classes]",
                              score_name_, fmt::join(dims, ", "), kMaxAnchors, class_count_));
    }
    FOVEA_ASSIGN(logits_, find_values(tensors, score_name_, dims));
    const std::array<std::int64_t, 2> boxes{dims[0], kBoxSides};
    FOVEA_ASSIGN(boxes_, find_values(tensors, box_name_, boxes));
    anchor_count_ = static_cast<std::uint32_t>(dims[0]);
    row_ = static_cast<std::size_t>(dims[1]);
    return {};
  }

  void search() {
    // Hundreds of rows where dense heads have thousands: not worth a search of its own.
    not_finite_.scores += count_not_finite(logits_, anchor_count_, row_, class_count_, 1);
    for (std::uint32_t query = 0; query < anchor_count_; ++query) {
      add_anchor(query, logits_ + query * row_, 1, 1.0F);
    }
  }

  Box box_of(std::uint32_t query) const {
    const float* box = boxes_ + std::size_t{query} * kBoxSides;
    const float half_width = box[2] / 2;
    const float half_height = box[3] / 2;
    return {(box[0] - half_width) * width_, (box[1] - half_height) * height_,
            (box[0] + half_width) * width_, (box[1] + half_height) * height_};
  }

 private:
  float width_;
  float height_;
  std::string box_name_;
  std::string score_name_;
  // In the current frame.
  const float* boxes_ = nullptr;
  const float* logits_ = nullptr;
  std::size_t row_ = 0;  // logits of one query
};

}  // namespace

Result<std::unique_ptr<Decoder>> create_query_decoder(const msgs::ModelInfo& model,
                                                      bool force_scalar) {
  auto decoder = std::make_unique<QueryDecoder>(model, force_scalar);
  FOVEA_TRY(decoder->read_head(model.head));
  FOVEA_TRY(decoder->set_options({}));
  return decoder;
}

}  // namespace fovea
