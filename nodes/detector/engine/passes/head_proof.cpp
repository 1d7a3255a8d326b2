#include "nodes/detector/engine/passes/head_proof.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include <fmt/core.h>

#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
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

// Uniform in -range..range; the same on every run, so that a model is always recognised or never.
class Noise {
 public:
  float next(float range) {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return (static_cast<float>(state_ >> 40) / static_cast<float>(1 << 23) - 1.0F) * range;
  }

 private:
  std::uint64_t state_ = 1;
};

// What the tail must compute (dfl_head() to decoded_head()) for image 0 of `maps`.
Tensor decode(const HeadMaps& candidate, const TensorMap& maps) {
  const std::int64_t anchors = candidate.anchors;
  Tensor decoded = Tensor::make(DataType::kFloat32, {4 + candidate.classes, anchors});
  float* out = decoded.data<float>();
  std::int64_t first = 0;
  for (std::size_t l = 0; l < candidate.levels.size(); ++l) {
    const MapLevel& level = candidate.levels[l];
    const std::int64_t plane = level.height * level.width;
    const float* box = maps.at(fmt::format("box{}", l)).data<float>();
    const float* scores = maps.at(fmt::format("cls{}", l)).data<float>();
    const auto stride = static_cast<float>(level.stride);
    for (std::int64_t p = 0; p < plane; ++p) {
      float side[4];
      for (std::int64_t s = 0; s < 4; ++s) {
        float sum = 0;
        float weighted = 0;
        for (std::int64_t bin = 0; bin < candidate.reg_max; ++bin) {
          const float e = std::exp(box[(s * candidate.reg_max + bin) * plane + p]);
          sum += e;
          weighted += e * static_cast<float>(bin);
        }
        side[s] = candidate.reg_max == 1 ? box[s * plane + p] : weighted / sum;
      }
      const float x = static_cast<float>(p % level.width) + 0.5F;
      const float y = static_cast<float>(p / level.width) + 0.5F;
      const float corners[4] = {x - side[0], y - side[1], x + side[2], y + side[3]};
      for (std::int64_t k = 0; k < 2; ++k) {
        const float low = corners[k] * stride;
        const float high = corners[2 + k] * stride;
        out[k * anchors + first + p] = candidate.corners ? low : (low + high) / 2;
        out[(2 + k) * anchors + first + p] = candidate.corners ? high : high - low;
      }
      for (std::int64_t c = 0; c < candidate.classes; ++c) {
        out[(4 + c) * anchors + first + p] = 1.0F / (1.0F + std::exp(-scores[c * plane + p]));
      }
    }
    first += plane;
  }
  return decoded;
}

void make_outputs(NetworkDefinition& network, const HeadMaps& candidate) {
  network.outputs.clear();
  for (std::size_t l = 0; l < candidate.levels.size(); ++l) {
    network.value(candidate.levels[l].box).name = fmt::format("box{}", l);
    network.value(candidate.levels[l].scores).name = fmt::format("cls{}", l);
    network.outputs.push_back(candidate.levels[l].box);
    network.outputs.push_back(candidate.levels[l].scores);
  }
}

// Pixels by which a coordinate may be off that should be `wanted`.
float pixels_allowed(const HeadMaps& candidate, const Tolerance& allowed, std::int64_t anchor,
                     float wanted) {
  std::size_t l = 0;
  for (; l + 1 < candidate.levels.size(); ++l) {
    const MapLevel& level = candidate.levels[l];
    if (anchor < level.height * level.width) break;
    anchor -= level.height * level.width;
  }
  const auto own_cell = static_cast<float>(candidate.levels[l].stride);
  const auto greatest = static_cast<float>(candidate.levels.back().stride);
  return std::max(1e-3F * greatest, allowed.cells * own_cell + allowed.share * std::abs(wanted));
}

constexpr float kScoreTolerance = 1e-4F;

bool are_all(const HeadMaps& candidate, const Tensor& expected, const Tensor& actual,
             const Tolerance& allowed) {
  for (std::int64_t i = 0; i < expected.size(); ++i) {
    const float wanted = expected.data<float>()[i];
    const float tolerance = i < 4 * candidate.anchors
                                ? pixels_allowed(candidate, allowed, i % candidate.anchors, wanted)
                                : kScoreTolerance;
    if (!(std::abs(actual.data<float>()[i] - wanted) <= tolerance)) return false;
  }
  return true;
}

// Scores for the proof of the best boxes: far more apart than rounding, low ones among them, several
// of one anchor, and over all runs of every class.
class BestScores {
 public:
  BestScores(const HeadMaps& candidate, std::int64_t rows)
      : candidate_(candidate),
        rows_(rows),
        per_anchor_(std::min<std::int64_t>(candidate.classes, 3)) {
    if (rows_ > per_anchor_ * candidate.anchors) per_anchor_ = candidate.classes;
    for (std::int64_t a = 0; a < candidate.anchors; ++a) anchors_.push_back(a);
    Noise noise;
    for (std::size_t a = anchors_.size(); a > 1; --a) {
      const auto other =
          static_cast<std::size_t>((noise.next(0.5F) + 0.5F) * static_cast<float>(a));
      std::swap(anchors_[a - 1], anchors_[std::min(other, a - 1)]);
    }
  }

  // Each of which must pass.
  std::int64_t runs() const { return (candidate_.classes + rows_ - 1) / rows_; }

  // Writes the class maps.
  void write(std::int64_t run, TensorMap& maps) const {
    for (std::size_t l = 0; l < candidate_.levels.size(); ++l) {
      Tensor& map = maps.at(fmt::format("cls{}", l));
      std::fill_n(map.data<float>(), map.size(), -12.0F);
    }
    // As many again that are not among the best.
    const std::int64_t pairs = std::min(2 * rows_, per_anchor_ * candidate_.anchors);
    for (std::int64_t i = 0; i < pairs; ++i) {
      std::int64_t cell = anchors_[static_cast<std::size_t>(i / per_anchor_)];
      const std::int64_t of_class = (run * rows_ + i) % candidate_.classes;
      std::size_t l = 0;
      const auto cells = [&] { return candidate_.levels[l].height * candidate_.levels[l].width; };
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

  const HeadMaps& candidate_;
  std::int64_t rows_;
  std::int64_t per_anchor_;
  std::vector<std::int64_t> anchors_;  // in another order
};

// Whether the rows of `actual` are the best pairs of an anchor and a class, best first.
bool are_the_best(const HeadMaps& candidate, const Tensor& expected, const Tensor& actual,
                  const Tolerance& allowed) {
  const std::int64_t anchors = candidate.anchors;
  const std::int64_t rows = actual.dims[1];
  const float* numbers = expected.data<float>();
  const float* scores = numbers + 4 * anchors;  // [classes, anchors]
  std::vector<std::int64_t> order(static_cast<std::size_t>(candidate.classes * anchors));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::partial_sort(order.begin(), order.begin() + rows, order.end(),
                    [&](std::int64_t a, std::int64_t b) { return scores[a] > scores[b]; });
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* row = actual.data<float>() + r * kBestFields;
    const std::int64_t pair = order[static_cast<std::size_t>(r)];
    const std::int64_t anchor = pair % anchors;
    if (!(std::abs(row[4] - scores[pair]) <= kScoreTolerance)) return false;
    if (row[5] != static_cast<float>(pair / anchors)) return false;
    for (std::int64_t side = 0; side < 4; ++side) {
      const float centre = numbers[side % 2 * anchors + anchor];
      const float extent = numbers[(2 + side % 2) * anchors + anchor];
      const float wanted = centre + (side < 2 ? -extent : extent) / 2;
      const float tolerance = pixels_allowed(candidate, allowed, anchor, wanted);
      if (!(std::abs(row[side] - wanted) <= tolerance)) return false;
    }
  }
  return true;
}

}  // namespace

Result<bool> tail_decodes(const NetworkDefinition& network, const NetworkDefinition& shaped,
                          const HeadMaps& candidate, ValueId output) {
  NetworkDefinition tail = network;
  make_outputs(tail, candidate);
  tail.inputs = tail.outputs;
  tail.outputs = {output};
  std::vector<bool> cut(tail.layers.size(), false);
  const GraphIndex index(tail);
  for (const ValueId id : tail.inputs) {
    tail.value(id).dims = shaped.value(id).dims;
    cut[*index.producer(id)] = true;
  }
  remove_layers(tail, cut);
  FOVEA_TRY(remove_dead_layers(tail));

  TensorMap maps;
  Noise noise;
  for (const ValueId id : tail.inputs) {
    const Value& value = tail.value(id);
    Tensor map = Tensor::make(DataType::kFloat32, value.dims);
    for (std::int64_t i = 0; i < map.size(); ++i) map.data<float>()[i] = noise.next(5.0F);
    maps.emplace(value.name, std::move(map));
  }
  const Tolerance allowed = tolerance_for(network);
  // One image is enough: a reshape that mixes images would not keep the shapes.
  const auto passes = [&](auto compare) {
    const auto outputs = reference::evaluate(tail, maps);
    return outputs &&
           compare(candidate, decode(candidate, maps), outputs->begin()->second, allowed);
  };
  if (!candidate.best) return passes(are_all);
  const BestScores scores(candidate, shaped.value(output).dims[1]);
  for (std::int64_t run = 0; run < scores.runs(); ++run) {
    scores.write(run, maps);
    if (!passes(are_the_best)) return false;
  }
  return true;
}

}  // namespace fovea::engine
