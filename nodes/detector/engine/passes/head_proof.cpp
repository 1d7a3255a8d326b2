#include "nodes/detector/engine/passes/head_proof.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include <fmt/core.h>

#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/head_decoding.hpp"
#include "nodes/detector/engine/passes/made_up_values.hpp"
#include "nodes/detector/engine/reference/evaluate.hpp"

namespace fovea::engine {

namespace {

using reference::Tensor;
using reference::TensorMap;

// What a model that brings its own 8 bits may have rounded in its tail, too: anchors and strides are
// constants like weights.
struct Tolerance {
  float cells = 1e-3F;  // of a box
  float share = 0;      // of a coordinate
};
Tolerance tolerance_for(const NetworkDefinition& network) {
  // An offset of half a cell, or another stride, is more than that.
  if (!network.own_grids.empty()) return {0.4F, 0.02F};
  return {};
}

// Makes inputs of the maps: what lies between them and the output remains.
Result<NetworkDefinition> tail_of(const NetworkDefinition& network, const HeadMaps& head,
                                  ValueId output) {
  NetworkDefinition tail = network;
  std::vector<ValueId> inputs;
  const auto add = [&](const char* kind, std::size_t level, ValueId id) {
    tail.value(id).name = fmt::format("{}{}", kind, level);
    inputs.push_back(id);
  };
  for (std::size_t l = 0; l < head.levels.size(); ++l) {
    add("box", l, head.levels[l].box);
    add("cls", l, head.levels[l].scores);
    if (head.levels[l].more != kNoValue) add("more", l, head.levels[l].more);
  }
  FOVEA_TRY(keep_between(tail, inputs, {output}));
  return tail;
}

// By how much a number may be off that should be `wanted`.
class Allowance {
 public:
  Allowance(const HeadMaps& head, const Reading& reading, const Tolerance& tolerance)
      : head_(head), reading_(reading), tolerance_(tolerance) {}

  // `field`: a row of decoded().
  float of(std::int64_t field, std::int64_t anchor, float wanted) const {
    if (field < 4) return pixels(anchor, wanted);
    field -= 4 + head_.classes;
    if (field < 0) return kScores;
    if (reading_.more->role != OutputRole::kKeypoints) {
      return kScores + tolerance_.share * std::abs(wanted);
    }
    return field % reading_.more->point_values < 2 ? pixels(anchor, wanted) : kScores;
  }

 private:
  static constexpr float kScores = 1e-4F;

  float pixels(std::int64_t anchor, float wanted) const {
    std::size_t l = 0;
    for (; l + 1 < head_.levels.size(); ++l) {
      const MapLevel& level = head_.levels[l];
      if (anchor < level.height * level.width) break;
      anchor -= level.height * level.width;
    }
    const auto own_cell = static_cast<float>(head_.levels[l].stride);
    const auto greatest = static_cast<float>(head_.levels.back().stride);
    return std::max(1e-3F * greatest,
                    tolerance_.cells * own_cell + tolerance_.share * std::abs(wanted));
  }

  const HeadMaps& head_;
  const Reading& reading_;
  const Tolerance& tolerance_;
};

bool are_all(const HeadMaps& head, const Allowance& allowance, const Tensor& expected,
             const Tensor& actual) {
  for (std::int64_t i = 0; i < expected.size(); ++i) {
    const float wanted = expected.data<float>()[i];
    const float allowed = allowance.of(i / head.anchors, i % head.anchors, wanted);
    if (!(std::abs(actual.data<float>()[i] - wanted) <= allowed)) return false;
  }
  return true;
}

// Scores for the proof of the best boxes: far more apart than rounding, low ones among them, several
// of one anchor, and over all runs of every class.
class BestScores {
 public:
  BestScores(const HeadMaps& head, std::int64_t rows)
      : head_(head), rows_(rows), per_anchor_(std::min<std::int64_t>(head.classes, 3)) {
    if (rows_ > per_anchor_ * head.anchors) per_anchor_ = head.classes;
    for (std::int64_t a = 0; a < head.anchors; ++a) anchors_.push_back(a);
    Noise noise;
    for (std::size_t a = anchors_.size(); a > 1; --a) {
      const auto other =
          static_cast<std::size_t>((noise.next(0.5F) + 0.5F) * static_cast<float>(a));
      std::swap(anchors_[a - 1], anchors_[std::min(other, a - 1)]);
    }
  }

  // Each of which must pass.
  std::int64_t runs() const { return (head_.classes + rows_ - 1) / rows_; }

  // Writes the class maps.
  void write(std::int64_t run, TensorMap& maps) const {
    for (std::size_t l = 0; l < head_.levels.size(); ++l) {
      Tensor& map = maps.at(fmt::format("cls{}", l));
      std::fill_n(map.data<float>(), map.size(), -12.0F);
    }
    // As many again that are not among the best.
    const std::int64_t pairs = std::min(2 * rows_, per_anchor_ * head_.anchors);
    for (std::int64_t i = 0; i < pairs; ++i) {
      std::int64_t cell = anchors_[static_cast<std::size_t>(i / per_anchor_)];
      const std::int64_t of_class = (run * rows_ + i) % head_.classes;
      std::size_t l = 0;
      const auto cells = [&] { return head_.levels[l].height * head_.levels[l].width; };
      for (; cell >= cells(); ++l) cell -= cells();
      // 0.98 down to 0.02, but not in the order of the pairs.
      const std::int64_t place = i < rows_ ? (i * kStep) % rows_ : i;
      const float score = 0.98F - 0.96F * static_cast<float>(place) / static_cast<float>(2 * rows_);
      maps.at(fmt::format("cls{}", l)).data<float>()[of_class * cells() + cell] =
          std::log(score / (1 - score));
    }
  }

 private:
  static constexpr std::int64_t kStep = 1009;  // a prime above kMostBest: every place once

  const HeadMaps& head_;
  std::int64_t rows_;
  std::int64_t per_anchor_;
  std::vector<std::int64_t> anchors_;  // in another order
};

// Whether the rows of `actual` are the best pairs of an anchor and a class, best first.
bool are_the_best(const HeadMaps& head, const Allowance& allowance, const Tensor& expected,
                  const Tensor& actual) {
  const std::int64_t anchors = head.anchors;
  const std::int64_t rows = actual.dims[1];
  const std::int64_t fields = kBestFields + head.more_channels;
  const float* numbers = expected.data<float>();
  const float* scores = numbers + 4 * anchors;  // [classes, anchors]
  std::vector<std::int64_t> order(static_cast<std::size_t>(head.classes * anchors));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::partial_sort(order.begin(), order.begin() + rows, order.end(),
                    [&](std::int64_t a, std::int64_t b) { return scores[a] > scores[b]; });
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* row = actual.data<float>() + r * fields;
    const std::int64_t pair = order[static_cast<std::size_t>(r)];
    const std::int64_t anchor = pair % anchors;
    const auto is = [&](std::int64_t column, std::int64_t field) {
      const float wanted = numbers[field * anchors + anchor];
      return std::abs(row[column] - wanted) <= allowance.of(field, anchor, wanted);
    };
    if (!is(4, 4 + pair / anchors)) return false;
    if (row[5] != static_cast<float>(pair / anchors)) return false;
    for (std::int64_t side = 0; side < 4; ++side) {
      if (!is(side, side)) return false;
    }
    for (std::int64_t c = 0; c < head.more_channels; ++c) {
      if (!is(kBestFields + c, 4 + head.classes + c)) return false;
    }
  }
  return true;
}

}  // namespace

Result<std::optional<Reading>> proven_reading(const NetworkDefinition& network,
                                              const NetworkDefinition& shaped, const HeadMaps& head,
                                              ValueId output) {
  FOVEA_ASSIGN(const NetworkDefinition tail, tail_of(network, head, output));
  const Tolerance tolerance = tolerance_for(network);
  std::vector<Reading> readings = possible_readings(head, network.suppression_cut);
  const BestScores scores(head, shaped.value(output).dims[1]);
  const std::int64_t runs = head.best ? scores.runs() : 1;
  // What is usual, and far more: a tail that limits its numbers is another one. A model's own 8 bits
  // limit them, too.
  for (const float range : {5.0F, 30.0F}) {
    if (range > 5 && !network.own_grids.empty()) break;
    TensorMap maps = made_up_inputs(tail, range);
    for (std::int64_t run = 0; run < runs && !readings.empty(); ++run) {
      if (head.best) scores.write(run, maps);
      // One image is enough: a reshape that mixes images would not keep the shapes.
      const auto outputs = reference::evaluate(tail, maps);
      if (!outputs) return std::nullopt;
      std::erase_if(readings, [&](const Reading& reading) {
        const Allowance allowance(head, reading, tolerance);
        const auto compare = head.best ? are_the_best : are_all;
        return !compare(head, allowance, decoded(head, reading, maps), outputs->begin()->second);
      });
    }
  }
  return readings.empty() ? std::nullopt : std::optional(readings.front());
}

}  // namespace fovea::engine
