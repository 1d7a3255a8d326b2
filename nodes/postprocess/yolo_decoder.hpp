// Raw YOLO head maps to candidate boxes, threshold first: scores are compared before any sigmoid,
// softmax or box is computed, so that a frame costs one read of its score maps plus a little per
// object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msgs/model_info.hpp"
#include "msgs/tensor.hpp"
#include "nodes/postprocess/options.hpp"
#include "nodes/base/result.hpp"

namespace fovea {

// One borrowed output of the network. May come from a peer: nothing about it is trusted.
struct HeadTensor {
  std::string_view name;
  msgs::DataType dtype = msgs::DataType::kFloat32;
  std::span<const std::int64_t> dims;  // of one image, innermost last; see msgs::HeadKind
  std::span<const std::byte> bytes;
};

// A box in network pixels (not clipped) with its best or its one class.
struct Candidate {
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;
  float score = 0;  // 0..1
  std::uint32_t class_id = 0;

  bool operator==(const Candidate&) const = default;
};

// Anchors whose numbers are no numbers: what a broken model or an overflow gives.
struct NotFinite {
  std::uint32_t scores = 0;  // with a NaN or infinity among their class scores or as objectness
  std::uint32_t boxes = 0;   // above a threshold, but without a finite box

  bool any() const { return scores != 0 || boxes != 0; }
};

// Thread safety: one thread at a time. `decode` allocates nothing once set_options has returned,
// provided that `candidates` has room for max_candidates.
class YoloDecoder {
 public:
  // `force_scalar`: the readable path; also with FOVEA_ISA=scalar in the environment.
  // Errors: kInvalidArgument for a model description that makes no sense (it may come from a peer).
  static Result<YoloDecoder> create(const msgs::ModelInfo& model, bool force_scalar = false);

  // Takes effect with the next decode. Errors: kInvalidArgument, and the former options stay.
  Result<> set_options(const PostprocessOptions& options);

  // Replaces `candidates` by all boxes whose class score is above its threshold, in the order of
  // anchors, then classes; the best max_candidates of them if there are more (equal scores: the
  // earlier ones). Without multi_label an anchor makes one candidate: the best of its classes that
  // pass. Boxes that are empty or not finite are left out before anything is counted, with
  // `visible` also those that lie wholly outside its source picture; scores that are NaN or
  // infinite never pass. Errors: kInvalidArgument if tensors are missing, surplus or not of the
  // model's shape.
  Result<> decode(std::span<const HeadTensor> tensors, std::vector<Candidate>& candidates,
                  const msgs::LetterboxTransform* visible = nullptr);

  // Of the last decode.
  const NotFinite& not_finite() const { return not_finite_; }
  std::uint32_t anchor_count() const { return anchor_count_; }

  std::uint32_t class_count() const { return class_count_; }
  std::uint32_t network_width() const { return network_width_; }
  std::uint32_t network_height() const { return network_height_; }

 private:
  // A score above its threshold. `key` is the score or, for kDfl, its logit: the same order.
  struct Hit {
    float key;
    std::uint32_t anchor;
    std::uint32_t class_id;
  };
  struct Level {
    std::uint32_t stride;
    std::uint32_t width;
    std::uint32_t height;
    std::uint32_t first_anchor;
  };
  struct Box {
    float x1, y1, x2, y2;
  };

  explicit YoloDecoder(bool force_scalar) : force_scalar_(force_scalar) {}

  Result<const float*> find(std::span<const HeadTensor> tensors, std::string_view name,
                            std::span<const std::int64_t> dims) const;
  Result<> bind(std::span<const HeadTensor> tensors);
  void collect_dfl();
  void collect_decoded();
  void collect_decoded_objectness();
  // Adds the classes of one anchor that pass; key of class c = factor * scores[c * stride].
  void add_anchor(std::uint32_t anchor, const float* scores, std::size_t stride, float factor);
  void add(Hit hit);
  void keep_best();
  // Takes out the hits since the last call whose boxes are of no use.
  void drop_useless();
  bool useful(const Box& box);
  Box box_of(std::uint32_t anchor) const;
  static bool better(const Hit& a, const Hit& b);

  bool force_scalar_;
  msgs::HeadKind head_ = msgs::HeadKind::kDfl;
  std::uint32_t class_count_ = 0;
  std::uint32_t reg_max_ = 0;
  std::uint32_t network_width_ = 0;
  std::uint32_t network_height_ = 0;
  std::vector<Level> levels_;              // kDfl only
  std::vector<std::string> tensor_names_;  // kDfl: box0, cls0, box1, cls1, ...; else output0
  std::vector<std::string> class_names_;

  bool multi_label_ = false;
  std::size_t max_candidates_ = 0;
  std::vector<float> thresholds_;  // of keys, per class, padded with infinity for whole vectors
  float lowest_threshold_ = 0;     // of scores

  // One frame: where its tensors lie and what passed so far.
  std::vector<const float*> maps_;  // as tensor_names_
  std::uint32_t anchor_count_ = 0;
  const msgs::LetterboxTransform* visible_ = nullptr;
  NotFinite not_finite_;
  std::vector<std::uint32_t> rows_;  // scratch of the search
  std::vector<Hit> hits_;            // never more than 2 * max_candidates_
  std::size_t useful_ = 0;           // so many of them, the first ones, have useful boxes
  float cutoff_ = 0;                 // once hits were dropped: a later one must be better than this
};

}  // namespace fovea
