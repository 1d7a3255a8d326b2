// A small YOLOv8 network (64 x 64, strides 8, 16, 32) whose decoding is spelt in the ways exporters
// spell it: of boxes alone, or with masks, keypoints or angles beside them.
#pragma once

#include "tests/engine/graph_maker.hpp"

namespace fovea::engine::test {

// What a third convolution per level gives.
enum class ThirdMap { kNone, kMasks, kKeypoints, kAngle };

struct HeadSpelling {
  std::int64_t batch = -1;
  std::int64_t classes = 3;
  std::int64_t reg_max = 4;
  bool joined_levels =
      false;  // box and class maps concatenated per level, split after the flattening
  bool softmax_last = false;       // opset 12: transposes around a Softmax over the last axis
  bool matmul_projection = false;  // MatMul instead of the 1x1 convolution
  bool slices = false;             // Slice instead of Split
  bool shapes_from_batch = false;  // reshape targets made of Shape(images)[0]
  bool computed_anchors = false;   // anchors made of Range and Expand, as with dynamic=True
  std::int64_t best = 0;           // so many best boxes as rows of 6, of one anchor per object
  ThirdMap third = ThirdMap::kNone;
  std::int64_t third_channels = 1;
  std::int64_t point_values = 3;  // of keypoints: x, y and perhaps a visibility
  bool as_26 = false;             // YOLO26's rule for keypoints and angles
  // Decodings that are not YOLOv8's.
  float anchor_offset = 0.5F;
  float stride_error = 1.0F;
  bool corners = false;  // x1, y1, x2, y2
  bool raw_scores = false;
  bool one_class_each = false;  // of the best: an anchor's best class only
  bool worst = false;           // of the best: the others
  float point_error = 1.0F;     // factor of keypoints
  bool raw_visibility = false;
  float half_turn = 3.14159265F;      // of angles
  bool straight_boxes = false;        // although there is an angle
  std::int64_t fewer_prototypes = 0;  // than coefficients
  bool low_prototypes = false;        // half as many rows of cells
  bool second_prototypes = false;     // another output of the same kind
  bool limited = false;               // numbers of the third maps beyond -5..5 become these
};

class HeadMaker {
 public:
  explicit HeadMaker(const HeadSpelling& spelling) : s_(spelling) {}

  NetworkDefinition make() {
    images_ = g_.input("images", {s_.batch, 3, 64, 64});
    std::vector<ValueId> boxes;
    std::vector<ValueId> scores;
    std::vector<ValueId> joined;
    std::vector<ValueId> thirds;
    for (const std::int64_t stride : {8, 16, 32}) {
      const ValueId features = g_.silu(g_.conv(images_, 3, 6, stride, stride));
      const ValueId box = g_.conv(features, 6, 4 * s_.reg_max);
      const ValueId score = g_.conv(features, 6, s_.classes);
      if (s_.third != ThirdMap::kNone) {
        thirds.push_back(flat(g_.conv(features, 6, s_.third_channels), s_.third_channels));
      }
      if (s_.joined_levels) {
        joined.push_back(
            flat(g_.add(OpType::kConcat, {box, score}, axis(1)), 4 * s_.reg_max + s_.classes));
      } else {
        boxes.push_back(flat(box, 4 * s_.reg_max));
        scores.push_back(flat(score, s_.classes));
      }
    }
    ValueId box = kNoValue;
    ValueId score = kNoValue;
    if (s_.joined_levels) {
      const ValueId all = g_.add(OpType::kConcat, joined, axis(2));
      std::tie(box, score) = halves(all, 4 * s_.reg_max, 4 * s_.reg_max + s_.classes);
    } else {
      box = g_.add(OpType::kConcat, boxes, axis(2));
      score = g_.add(OpType::kConcat, scores, axis(2));
    }
    const ValueId sides = project(box);
    if (!s_.raw_scores) score = g_.add(OpType::kSigmoid, {score});
    std::vector<ValueId> parts = {kNoValue, score};
    if (!thirds.empty()) parts.push_back(third(g_.add(OpType::kConcat, thirds, axis(2))));
    parts[0] = decode(sides, parts.back());
    ValueId output = g_.add(OpType::kConcat, parts, axis(1));
    if (s_.best > 0) output = best_of(output);
    std::vector<ValueId> outputs = {output};
    if (s_.third == ThirdMap::kMasks) outputs.push_back(prototypes());
    if (s_.second_prototypes) outputs.push_back(prototypes());
    NetworkDefinition network = g_.finish(outputs);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      network.value(outputs[i]).name = "output" + std::to_string(i);
    }
    return network;
  }

 private:
  static constexpr std::int64_t kAnchors = 64 + 16 + 4;

  static std::map<std::string, Attribute> axis(std::int64_t value) { return {{"axis", value}}; }

  ValueId reshape(ValueId x, std::vector<std::int64_t> rest) {
    if (!s_.shapes_from_batch) {
      rest.insert(rest.begin(), s_.batch == -1 ? 0 : s_.batch);
      return g_.add(OpType::kReshape, {x, g_.constant(ints(rest))});
    }
    const ValueId shape = g_.add(OpType::kShape, {images_});
    const ValueId batch = g_.add(OpType::kGather, {shape, g_.constant(scalar(0))});
    const ValueId first = g_.add(OpType::kUnsqueeze, {batch, g_.constant(ints({0}))});
    const ValueId target = g_.add(OpType::kConcat, {first, g_.constant(ints(rest))}, axis(0));
    return g_.add(OpType::kReshape, {x, target});
  }
  ValueId flat(ValueId map, std::int64_t channels) { return reshape(map, {channels, -1}); }

  std::pair<ValueId, ValueId> halves(ValueId x, std::int64_t middle, std::int64_t end) {
    if (!s_.slices) {
      const auto parts =
          g_.add_many(OpType::kSplit, {x, g_.constant(ints({middle, end - middle}))}, axis(1), 2);
      return {parts[0], parts[1]};
    }
    const auto slice = [&](std::int64_t from, std::int64_t to) {
      return g_.add(OpType::kSlice, {x, g_.constant(ints({from})), g_.constant(ints({to})),
                                     g_.constant(ints({1}))});
    };
    return {slice(0, middle), slice(middle, INT64_MAX)};
  }

  ValueId transpose(ValueId x, std::vector<std::int64_t> perm) {
    return g_.add(OpType::kTranspose, {x}, {{"perm", std::move(perm)}});
  }

  // [N, 4 * reg_max, A] to [N, 4, A]: the expectation of each side's bins.
  ValueId project(ValueId box) {
    if (s_.reg_max == 1) return box;
    std::vector<float> bins;
    for (std::int64_t i = 0; i < s_.reg_max; ++i) bins.push_back(static_cast<float>(i));
    ValueId x = reshape(box, {4, s_.reg_max, kAnchors});
    if (s_.matmul_projection) {
      x = g_.add(OpType::kSoftmax, {transpose(x, {0, 1, 3, 2})}, axis(-1));
      x = g_.add(OpType::kMatMul, {x, g_.constant(floats({s_.reg_max, 1}, bins))});
    } else {
      if (s_.softmax_last) {
        x = g_.add(OpType::kSoftmax, {transpose(x, {0, 3, 1, 2})}, axis(3));
        x = transpose(x, {0, 3, 2, 1});
      } else {
        x = g_.add(OpType::kSoftmax, {transpose(x, {0, 2, 1, 3})}, axis(1));
      }
      x = g_.add(OpType::kConv, {x, g_.constant(floats({1, s_.reg_max, 1, 1}, bins))});
    }
    return reshape(x, {4, kAnchors});
  }

  // One level's centres as [2, h * w], computed from h = w = `size`.
  ValueId level_anchors(std::int64_t size) {
    const ValueId extent = g_.constant(scalar(size));
    const ValueId steps =
        g_.add(OpType::kRange, {g_.constant(scalar(0)), extent, g_.constant(scalar(1))});
    ValueId centres =
        g_.add(OpType::kCast, {steps}, {{"to", static_cast<std::int64_t>(DataType::kFloat32)}});
    centres = g_.add(OpType::kAdd, {centres, g_.constant(floats({}, {s_.anchor_offset}))});
    const ValueId square = g_.constant(ints({size, size}));
    const ValueId line = g_.constant(ints({1, -1}));
    const ValueId xs = g_.add(OpType::kExpand, {centres, square});
    const ValueId column = g_.add(OpType::kUnsqueeze, {centres, g_.constant(ints({1}))});
    const ValueId ys = g_.add(OpType::kExpand, {column, square});
    return g_.add(OpType::kConcat,
                  {g_.add(OpType::kReshape, {xs, line}), g_.add(OpType::kReshape, {ys, line})},
                  axis(0));
  }

  ValueId anchors() {
    if (s_.computed_anchors) {
      return g_.add(OpType::kConcat, {level_anchors(8), level_anchors(4), level_anchors(2)},
                    axis(1));
    }
    Tensor tensor = Tensor::make(DataType::kFloat32, {2, kAnchors});
    std::int64_t at = 0;
    for (const std::int64_t size : {8, 4, 2}) {
      for (std::int64_t i = 0; i < size * size; ++i, ++at) {
        tensor.data<float>()[at] = static_cast<float>(i % size) + s_.anchor_offset;
        tensor.data<float>()[kAnchors + at] = static_cast<float>(i / size) + s_.anchor_offset;
      }
    }
    return g_.constant(std::move(tensor));
  }

  ValueId number(float value) { return g_.constant(floats({}, {value})); }
  ValueId strides() {
    std::vector<float> strides;
    for (const auto& [count, stride] :
         {std::pair(64, 8.0F), std::pair(16, 16.0F), std::pair(4, 32.0F)}) {
      strides.insert(strides.end(), static_cast<std::size_t>(count), stride * s_.stride_error);
    }
    return g_.constant(floats({1, kAnchors}, strides));
  }

  // What the numbers of the third maps become.
  ValueId third(ValueId x) {
    if (s_.limited) x = g_.add(OpType::kClip, {x, number(-5), number(5)});
    if (s_.third == ThirdMap::kKeypoints) return keypoints(x);
    if (s_.third != ThirdMap::kAngle || s_.as_26) return x;
    x = g_.add(OpType::kSub, {g_.add(OpType::kSigmoid, {x}), number(0.25F)});
    return g_.add(OpType::kMul, {x, number(s_.half_turn)});
  }
  ValueId keypoints(ValueId x) {
    const std::int64_t values = s_.point_values;
    x = reshape(x, {s_.third_channels / values, values, kAnchors});
    std::vector<ValueId> parts = {x};
    if (values == 3) {
      parts = g_.add_many(OpType::kSplit, {x, g_.constant(ints({2, 1}))}, axis(2), 2);
    }
    ValueId at = anchors();
    if (!s_.as_26) {
      parts[0] = g_.add(OpType::kMul, {parts[0], number(2)});
      at = g_.add(OpType::kSub, {at, number(0.5F)});
    }
    parts[0] = g_.add(OpType::kMul, {g_.add(OpType::kAdd, {parts[0], at}), strides()});
    parts[0] = g_.add(OpType::kMul, {parts[0], number(s_.point_error)});
    if (values == 3 && !s_.raw_visibility) parts[1] = g_.add(OpType::kSigmoid, {parts[1]});
    x = values == 3 ? g_.add(OpType::kConcat, parts, axis(2)) : parts[0];
    return reshape(x, {s_.third_channels, kAnchors});
  }
  ValueId prototypes() {
    const ValueId all = g_.conv(images_, 3, s_.third_channels - s_.fewer_prototypes, 4, 4);
    if (!s_.low_prototypes) return all;
    return g_.add(OpType::kSlice,
                  {all, g_.constant(ints({0})), g_.constant(ints({8})), g_.constant(ints({2}))});
  }

  ValueId turned_box(ValueId left_top, ValueId right_bottom, ValueId angle) {
    const ValueId off =
        g_.add(OpType::kDiv, {g_.add(OpType::kSub, {right_bottom, left_top}), number(2)});
    const auto axes = g_.add_many(OpType::kSplit, {off, g_.constant(ints({1, 1}))}, axis(1), 2);
    const ValueId cosine = g_.add(OpType::kCos, {angle});
    const ValueId sine = g_.add(OpType::kSin, {angle});
    const auto times = [&](ValueId a, ValueId b) { return g_.add(OpType::kMul, {a, b}); };
    const ValueId x = g_.add(OpType::kSub, {times(axes[0], cosine), times(axes[1], sine)});
    const ValueId y = g_.add(OpType::kAdd, {times(axes[0], sine), times(axes[1], cosine)});
    const ValueId centre =
        g_.add(OpType::kAdd, {g_.add(OpType::kConcat, {x, y}, axis(1)), anchors()});
    const ValueId size = g_.add(OpType::kAdd, {left_top, right_bottom});
    return g_.add(OpType::kMul, {g_.add(OpType::kConcat, {centre, size}, axis(1)), strides()});
  }

  ValueId decode(ValueId sides, ValueId angle) {
    const auto [left_top, right_bottom] = halves(sides, 2, 4);
    if (s_.third == ThirdMap::kAngle && !s_.straight_boxes) {
      return turned_box(left_top, right_bottom, angle);
    }
    const ValueId centres = anchors();
    const ValueId low = g_.add(OpType::kSub, {centres, left_top});
    const ValueId high = g_.add(OpType::kAdd, {centres, right_bottom});
    ValueId first = low;
    ValueId second = high;
    if (!s_.corners && s_.best == 0) {
      first =
          g_.add(OpType::kDiv, {g_.add(OpType::kAdd, {low, high}), g_.constant(floats({}, {2}))});
      second = g_.add(OpType::kSub, {high, low});
    }
    const ValueId box = g_.add(OpType::kConcat, {first, second}, axis(1));
    return g_.add(OpType::kMul, {box, strides()});
  }

  ValueId unsqueeze(ValueId x) { return g_.add(OpType::kUnsqueeze, {x, g_.constant(ints({-1}))}); }
  // Rows of x, [N, A, fields], by number, [N, k].
  ValueId rows(ValueId x, ValueId numbers, std::int64_t fields) {
    const ValueId wide =
        g_.add(OpType::kTile, {unsqueeze(numbers), g_.constant(ints({1, 1, fields}))});
    return g_.add(OpType::kGatherElements, {x, wide}, axis(1));
  }
  std::vector<ValueId> top(ValueId x) {
    return g_.add_many(OpType::kTopK, {x, g_.constant(ints({s_.best}))},
                       {{"largest", std::int64_t{s_.worst ? 0 : 1}}}, 2);
  }

  // The best anchors by their best class, then the best of their classes: [N, best, 6 + third].
  ValueId best_of(ValueId all) {
    const ValueId by_anchor = transpose(all, {0, 2, 1});
    std::vector<std::int64_t> sizes = {4, s_.classes};
    if (s_.third != ThirdMap::kNone) sizes.push_back(s_.third_channels);
    const auto parts =
        g_.add_many(OpType::kSplit, {by_anchor, g_.constant(ints(sizes))}, axis(2), sizes.size());
    const ValueId most = g_.add(OpType::kReduceMax, {parts[1], g_.constant(ints({-1}))},
                                {{"keepdims", std::int64_t{0}}});
    const ValueId anchors = top(most)[1];
    const ValueId scores = rows(parts[1], anchors, s_.classes);
    const ValueId boxes = rows(parts[0], anchors, 4);
    const auto as_float = [&](ValueId x) {
      return g_.add(OpType::kCast, {x}, {{"to", static_cast<std::int64_t>(DataType::kFloat32)}});
    };
    if (s_.one_class_each) {
      const ValueId best = g_.add(OpType::kReduceMax, {scores, g_.constant(ints({-1}))});
      const ValueId number = g_.add(OpType::kArgMax, {scores}, axis(-1));
      return g_.add(OpType::kConcat, {boxes, best, as_float(number)}, axis(2));
    }
    const auto chosen = top(g_.add(OpType::kFlatten, {scores}));
    const ValueId classes = g_.constant(scalar(s_.classes));
    const ValueId place = g_.add(OpType::kDiv, {chosen[1], classes});
    const ValueId number = g_.add(OpType::kMod, {chosen[1], classes});
    std::vector<ValueId> fields = {rows(boxes, place, 4), unsqueeze(chosen[0]),
                                   as_float(unsqueeze(number))};
    if (parts.size() > 2) {
      fields.push_back(rows(rows(parts[2], anchors, s_.third_channels), place, s_.third_channels));
    }
    return g_.add(OpType::kConcat, fields, axis(2));
  }

  HeadSpelling s_;
  GraphMaker g_;
  ValueId images_ = kNoValue;
};

}  // namespace fovea::engine::test
