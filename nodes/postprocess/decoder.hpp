// Raw head maps to candidate boxes: what every decoder promises, and the ordered list of those that
// there are. Which one a model needs follows from the roles of its outputs (base/head_spec.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "msgs/model_info.hpp"
#include "msgs/tensor.hpp"
#include "nodes/base/result.hpp"
#include "nodes/postprocess/anchor_details.hpp"
#include "nodes/postprocess/dense_map.hpp"
#include "nodes/postprocess/head_tensors.hpp"
#include "nodes/postprocess/options.hpp"
#include "nodes/postprocess/turned_box.hpp"

namespace fovea {

// A box in network pixels (not clipped) with its best or its one class. Of a turned box: the upright
// one around it. A classifier's candidates are classes of the whole picture and have no box.
struct Candidate {
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;
  float score = 0;  // 0..1
  std::uint32_t class_id = 0;
  std::uint32_t anchor = 0;

  bool operator==(const Candidate&) const = default;
};

// Anchors whose numbers are no numbers: what a broken model or an overflow gives.
struct NotFinite {
  std::uint32_t scores = 0;  // with a NaN or infinity among their class scores or as objectness,
                             // or above a threshold with a class number that there is not
  std::uint32_t boxes = 0;   // above a threshold, but without a finite box, point or angle
  std::uint32_t masks = 0;   // detections whose mask has such numbers

  bool any() const { return scores != 0 || boxes != 0 || masks != 0; }
};

// Thread safety: one thread at a time.
class Decoder {
 public:
  Decoder() = default;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  virtual ~Decoder() = default;

  // Takes effect with the next decode. Errors: kInvalidArgument, and the former options stay.
  virtual Result<> set_options(const PostprocessOptions& options) = 0;

  // Replaces `candidates` by all boxes whose class score is above its threshold, in the order of
  // anchors, then classes; the best max_candidates of them if there are more (equal scores: the
  // earlier ones). Without multi_label an anchor makes one candidate: the best of its classes that
  // pass. Boxes that are empty or not finite are left out before anything is counted, with
  // `visible` also those that lie wholly outside its source picture; scores that are NaN or
  // infinite never pass. Allocates nothing once set_options has returned, provided that
  // `candidates` has room for max_candidates. Errors: kInvalidArgument if tensors are missing,
  // surplus or not of the model's shape.
  Result<> decode(std::span<const HeadTensor> tensors, std::vector<Candidate>& candidates,
                  const msgs::LetterboxTransform* visible = nullptr) {
    return decode_frame(tensors, candidates, visible);
  }

  // What the last decode's anchors have beside boxes and classes; null for heads without such maps.
  // Valid as long as the tensors.
  virtual const AnchorDetails* details() const { return nullptr; }
  // What the last decode's model says about every pixel; null for heads that find objects or classes.
  // Valid as long as the tensors.
  virtual const DenseMap* dense_map() const { return nullptr; }
  // In network pixels, not clipped. REQUIRES: details() with angles.
  virtual TurnedBox turned_box_of(std::uint32_t /*anchor*/) const { return {}; }

  // Of the last decode.
  virtual const NotFinite& not_finite() const = 0;
  virtual std::uint32_t anchor_count() const = 0;

 private:
  // Once a frame: what it does for each anchor is its own loop.
  virtual Result<> decode_frame(std::span<const HeadTensor> tensors,
                                std::vector<Candidate>& candidates,
                                const msgs::LetterboxTransform* visible) = 0;
};

// One kind of head.
struct DecoderRow {
  std::string_view name;
  // `force_scalar`: the readable path. REQUIRES: a model as create_decoder() checks it. Errors: why
  // the model's head is none that this decoder reads.
  Result<std::unique_ptr<Decoder>> (*create)(const msgs::ModelInfo& model, bool force_scalar);
};
std::span<const DecoderRow> decoders();

// The first decoder that takes the model's head; with FOVEA_ISA=scalar in the environment its
// readable path. Errors: kInvalidArgument for a model description that makes no sense (it may come
// from a peer), or a head that no decoder takes, with the reason of each.
Result<std::unique_ptr<Decoder>> create_decoder(const msgs::ModelInfo& model,
                                                bool force_scalar = false,
                                                std::span<const DecoderRow> rows = decoders());

}  // namespace fovea
