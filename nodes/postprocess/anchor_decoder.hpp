// What decoders of anchors share: thresholds, the bounded list of the best hits, and boxes for those
// that remain. Threshold first: scores are compared before any sigmoid, softmax or box is computed,
// so that a frame costs one read of its score maps plus a little per object.
//
// A decoder says how its tensors lie; see AnchorDecoder.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/postprocess/decode_kernels.hpp"
#include "nodes/postprocess/decoder.hpp"
#include "nodes/postprocess/source_box.hpp"

namespace fovea {

// The decoders of decoders().
Result<std::unique_ptr<Decoder>> create_dfl_decoder(const msgs::ModelInfo& model,
                                                    bool force_scalar);
Result<std::unique_ptr<Decoder>> create_decoded_decoder(const msgs::ModelInfo& model,
                                                        bool force_scalar);
Result<std::unique_ptr<Decoder>> create_objectness_decoder(const msgs::ModelInfo& model,
                                                           bool force_scalar);
Result<std::unique_ptr<Decoder>> create_row_decoder(const msgs::ModelInfo& model,
                                                    bool force_scalar);
Result<std::unique_ptr<Decoder>> create_grid_decoder(const msgs::ModelInfo& model,
                                                     bool force_scalar);
Result<std::unique_ptr<Decoder>> create_pair_decoder(const msgs::ModelInfo& model,
                                                     bool force_scalar);
Result<std::unique_ptr<Decoder>> create_query_decoder(const msgs::ModelInfo& model,
                                                      bool force_scalar);
Result<std::unique_ptr<Decoder>> create_class_decoder(const msgs::ModelInfo& model,
                                                      bool force_scalar);
Result<std::unique_ptr<Decoder>> create_semantic_decoder(const msgs::ModelInfo& model,
                                                         bool force_scalar);
Result<std::unique_ptr<Decoder>> create_depth_decoder(const msgs::ModelInfo& model,
                                                      bool force_scalar);

// The one map of a role. Errors: there is none, or more than one.
Result<const OutputMap*> only_map(const HeadSpec& head, OutputRole role);
// Errors: a map of another role, which a decoder that does not know it must not pass over.
Result<> check_roles(const HeadSpec& head, std::initializer_list<OutputRole> known);
// Errors: the map's numbers mean something else or lie in another way.
Result<> check_layout(const OutputMap& map, OutputEncoding encoding, AnchorAxis anchors);

// What does not depend on how boxes lie.
class AnchorDecoderBase : public Decoder {
 public:
  static constexpr std::uint32_t kMaxAnchors = 1U << 22;  // keeps products in 32 bits
  static constexpr std::uint32_t kBoxSides = 4;

  struct Box {
    float x1, y1, x2, y2;
  };

  Result<> set_options(const PostprocessOptions& options) override;
  const NotFinite& not_finite() const override { return not_finite_; }
  std::uint32_t anchor_count() const override { return anchor_count_; }

 protected:
  enum class Key { kScore, kLogit };  // what the score maps hold: the same order
  // A score above its threshold.
  struct Hit {
    float key;
    std::uint32_t anchor;
    std::uint32_t class_id;
  };

  AnchorDecoderBase(const msgs::ModelInfo& model, bool force_scalar, Key key);

  // Of `rows` rows of scores, each of `columns` elements that are `step` apart; rows are `stride`
  // apart.
  static std::uint32_t count_not_finite(const float* scores, std::size_t rows, std::size_t stride,
                                        std::size_t columns, std::size_t step);

  const decode_kernels::Kernels& kernels_;
  const Key key_;
  std::uint32_t class_count_;
  std::vector<std::string> class_names_;

  bool multi_label_ = false;
  std::size_t max_candidates_ = 0;
  std::vector<float> thresholds_;  // of keys, per class, padded with infinity for whole vectors
  float lowest_threshold_ = 0;     // of scores

  // One frame: what passed so far.
  std::uint32_t anchor_count_ = 0;
  const msgs::LetterboxTransform* visible_ = nullptr;
  NotFinite not_finite_;
  std::vector<std::uint32_t> rows_;  // scratch of the search
  std::vector<Hit> hits_;            // never more than 2 * max_candidates_
  std::size_t useful_ = 0;           // so many of them, the first ones, have useful boxes
  float cutoff_ = 0;                 // once hits were dropped: a later one must be better than this
};

// `class X final : public AnchorDecoder<X>` with
//   Result<> bind(std::span<const HeadTensor>);  // finds its maps in the frame, sets anchor_count_
//   void search();                               // calls add_anchor() in the order of anchors
//   Box box_of(std::uint32_t anchor) const;      // the upright one; not finite if anything of it is not
// all of them called directly: nothing is virtual within a frame.
template <class X>
class AnchorDecoder : public AnchorDecoderBase {
 protected:
  using AnchorDecoderBase::AnchorDecoderBase;

  // Adds one class of an anchor if it passes.
  void add_class(std::uint32_t anchor, std::uint32_t class_id, float key) {
    if (key > thresholds_[class_id]) add({key, anchor, class_id});
  }

  // Adds the classes of one anchor that pass; key of class c = factor * scores[c * stride].
  void add_anchor(std::uint32_t anchor, const float* scores, std::size_t stride, float factor) {
    Hit best{-std::numeric_limits<float>::infinity(), anchor, class_count_};
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

 private:
  X& self() { return static_cast<X&>(*this); }

  void add(Hit hit) {
    // Hits come in the order of anchors and classes, so one that only equals the cutoff comes too
    // late.
    if (!(hit.key > cutoff_) || !std::isfinite(hit.key)) return;
    hits_.push_back(hit);
    if (hits_.size() == 2 * max_candidates_) keep_best();
  }

  static bool better(const Hit& a, const Hit& b) {
    if (a.key != b.key) return a.key > b.key;
    return a.anchor != b.anchor ? a.anchor < b.anchor : a.class_id < b.class_id;
  }

  bool useful(const Box& box) {
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

  // Takes out the hits since the last call whose boxes are of no use.
  void drop_useless() {
    std::uint32_t anchor = anchor_count_;  // hits of one anchor follow each other
    bool keep = false;
    const auto useless = [&](const Hit& hit) {
      if (hit.anchor != anchor) keep = useful(self().box_of(anchor = hit.anchor));
      return !keep;
    };
    hits_.erase(
        std::remove_if(hits_.begin() + static_cast<std::ptrdiff_t>(useful_), hits_.end(), useless),
        hits_.end());
    useful_ = hits_.size();
  }

  // Boxes that nobody will see must not take the places of others, so they go first.
  void keep_best() {
    drop_useless();
    if (hits_.size() <= max_candidates_) return;
    const auto last = hits_.begin() + static_cast<std::ptrdiff_t>(max_candidates_) - 1;
    std::nth_element(hits_.begin(), last, hits_.end(), better);
    cutoff_ = last->key;
    hits_.resize(max_candidates_);
    useful_ = hits_.size();
  }

  Result<> decode_frame(std::span<const HeadTensor> tensors, std::vector<Candidate>& candidates,
                        const msgs::LetterboxTransform* visible) final {
    candidates.clear();
    not_finite_ = {};
    visible_ = visible;
    FOVEA_TRY(self().bind(tensors));
    hits_.clear();
    useful_ = 0;
    cutoff_ = -std::numeric_limits<float>::infinity();
    self().search();
    keep_best();
    // Back into the order of the maps: neighbours in memory, and an anchor's box is computed once.
    std::sort(hits_.begin(), hits_.end(), [](const Hit& a, const Hit& b) {
      return a.anchor != b.anchor ? a.anchor < b.anchor : a.class_id < b.class_id;
    });
    Box box{};
    std::uint32_t box_anchor = anchor_count_;
    for (const Hit& hit : hits_) {
      if (hit.anchor != box_anchor) box = self().box_of(box_anchor = hit.anchor);
      const float score =
          key_ == Key::kLogit ? 1.0f / (1.0f + std::exp(-hit.key)) : std::min(hit.key, 1.0f);
      candidates.push_back({box.x1, box.y1, box.x2, box.y2, score, hit.class_id, hit.anchor});
    }
    return {};
  }
};

}  // namespace fovea
