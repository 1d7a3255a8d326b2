// Where a YOLO network stops being a network: the raw maps of its detect head.
//
// The structure only proposes: the convolutions nearest to the output are taken as maps, two per
// size. The numbers decide: the tail runs on random maps, and counts as the decoding of YOLOv8 and
// its successors if it gives what that decoding gives, whole or as the best boxes of a head without
// suppression. So exports may spell the tail in any way (Split or Slice, one concat or two, Softmax
// with transposes around it, a Conv or a MatMul as projection, any way to the best), and no other
// head passes for this one.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include <fmt/core.h>

#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/head_recognisers.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "nodes/detector/engine/reference/evaluate.hpp"

namespace fovea::engine {

namespace {

using reference::Tensor;
using reference::TensorMap;

constexpr std::size_t kMaxLevels = 8;
constexpr std::int64_t kBestFields = 6;  // left, top, right, bottom, score, class
constexpr std::int64_t kMostBest = 1000;  // exporters say 300
constexpr std::int64_t kMostProofs = 8;   // of every class among the best

struct Level {
  ValueId box = kNoValue;
  ValueId scores = kNoValue;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int32_t stride = 0;
};

struct Candidate {
  std::vector<Level> levels;  // by stride
  std::int64_t classes = 0;
  std::int64_t reg_max = 0;
  std::int64_t anchors = 0;
  // The tail keeps the best boxes, [n, 6], instead of giving all, [4 + classes, anchors].
  bool best = false;
  bool corners = false;  // all boxes are left, top, right, bottom instead of centre and size
};

// What a model that brings its own 8 bits may have rounded in its tail, too: anchors and strides are
// constants like weights.
struct Tolerance {
  float projection = 0;  // of a distance, in cells
  float cells = 1e-3F;   // of a box
  float share = 0;       // of a coordinate
};
Tolerance tolerance_for(const NetworkDefinition& network) {
  // Half a code of 7 bits, at most. An offset of half a cell, or another stride, is more than that.
  if (!network.own_grids.empty()) return {0.15F, 0.4F, 0.02F};
  return {};
}

// The projection inside the tail, [1, reg_max, 1, 1] holding 0, 1, 2, ...: not a map.
bool is_projection(const NetworkDefinition& network, const Layer& conv) {
  const Constant* weights = float_constant(network, conv.inputs[1]);
  if (weights == nullptr || weights->dims[0] != 1) return false;
  const float tolerance = tolerance_for(network).projection;
  for (std::int64_t i = 0; i < weights->size(); ++i) {
    const float error = std::abs(weights->data<float>()[i] - static_cast<float>(i));
    if (!(error <= tolerance)) return false;
  }
  return true;
}

// Outputs of the convolutions that `output` depends on with no other convolution between; empty if
// it also depends on a network input directly.
std::vector<ValueId> frontier(const NetworkDefinition& network, ValueId output) {
  const GraphIndex index(network);
  std::vector<bool> seen(network.values.size(), false);
  std::vector<ValueId> pending = {output};
  std::vector<ValueId> maps;
  while (!pending.empty()) {
    const ValueId id = pending.back();
    pending.pop_back();
    if (id == kNoValue || seen[static_cast<std::size_t>(id)]) continue;
    seen[static_cast<std::size_t>(id)] = true;
    if (network.value(id).constant != nullptr) continue;
    const auto producer = index.producer(id);
    if (!producer) return {};
    const Layer& layer = network.layers[*producer];
    if (layer.op == OpType::kConv && !is_projection(network, layer)) {
      maps.push_back(id);
    } else if (layer.op != OpType::kShape) {
      pending.insert(pending.end(), layer.inputs.begin(), layer.inputs.end());
      pending.push_back(layer.residual);
    }
  }
  return maps;
}

// Pairs the maps by size. Which one of a pair is the box map may be open (`swapped`): the check
// decides.
std::optional<Candidate> pair_maps(const NetworkDefinition& shaped, std::vector<ValueId> maps,
                                   const Dims& output, bool swapped) {
  const Dims& input = shaped.value(shaped.inputs[0]).dims;
  if (maps.empty() || maps.size() % 2 != 0 || maps.size() / 2 > kMaxLevels || output.size() != 3 ||
      input.size() != 4) {
    return std::nullopt;
  }
  std::sort(maps.begin(), maps.end());
  std::stable_sort(maps.begin(), maps.end(), [&](ValueId a, ValueId b) {
    return shaped.value(a).dims[2] > shaped.value(b).dims[2];
  });
  Candidate candidate;
  for (std::size_t i = 0; i < maps.size(); i += 2) {
    Level level{maps[i + (swapped ? 1 : 0)], maps[i + (swapped ? 0 : 1)]};
    const Dims& box = shaped.value(level.box).dims;
    const Dims& scores = shaped.value(level.scores).dims;
    level.height = box[2];
    level.width = box[3];
    if (level.height < 1 || level.width < 1 || scores[2] != box[2] || scores[3] != box[3])
      return std::nullopt;
    const std::int64_t stride = input[2] / level.height;
    if (stride * level.height != input[2] || stride * level.width != input[3]) return std::nullopt;
    level.stride = static_cast<std::int32_t>(stride);
    const std::int64_t reg_max = box[1] / 4;
    if (candidate.levels.empty()) {
      candidate.reg_max = reg_max;
      candidate.classes = scores[1];
    }
    if (scores[1] != candidate.classes || box[1] != 4 * reg_max || reg_max != candidate.reg_max ||
        reg_max < 1 || candidate.classes < 1) {
      return std::nullopt;
    }
    if (!candidate.levels.empty() && candidate.levels.back().stride >= level.stride)
      return std::nullopt;
    candidate.anchors += level.height * level.width;
    candidate.levels.push_back(level);
  }
  const bool all = output[1] == 4 + candidate.classes && output[2] == candidate.anchors;
  candidate.best = !all && !shaped.suppression_cut && output[2] == kBestFields && output[1] >= 1 &&
                   output[1] <= std::min(kMostBest, candidate.anchors * candidate.classes) &&
                   candidate.classes <= kMostProofs * output[1];
  return all || candidate.best ? std::optional(std::move(candidate)) : std::nullopt;
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
Tensor decode(const Candidate& candidate, const TensorMap& maps) {
  const std::int64_t anchors = candidate.anchors;
  Tensor decoded = Tensor::make(DataType::kFloat32, {4 + candidate.classes, anchors});
  float* out = decoded.data<float>();
  std::int64_t first = 0;
  for (std::size_t l = 0; l < candidate.levels.size(); ++l) {
    const Level& level = candidate.levels[l];
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

void make_outputs(NetworkDefinition& network, const Candidate& candidate) {
  network.outputs.clear();
  for (std::size_t l = 0; l < candidate.levels.size(); ++l) {
    network.value(candidate.levels[l].box).name = fmt::format("box{}", l);
    network.value(candidate.levels[l].scores).name = fmt::format("cls{}", l);
    network.outputs.push_back(candidate.levels[l].box);
    network.outputs.push_back(candidate.levels[l].scores);
  }
}

// Pixels by which a coordinate may be off that should be `wanted`.
float pixels_allowed(const Candidate& candidate, const Tolerance& allowed, std::int64_t anchor,
                     float wanted) {
  std::size_t l = 0;
  for (; l + 1 < candidate.levels.size(); ++l) {
    const Level& level = candidate.levels[l];
    if (anchor < level.height * level.width) break;
    anchor -= level.height * level.width;
  }
  const auto own_cell = static_cast<float>(candidate.levels[l].stride);
  const auto greatest = static_cast<float>(candidate.levels.back().stride);
  return std::max(1e-3F * greatest, allowed.cells * own_cell + allowed.share * std::abs(wanted));
}

constexpr float kScoreTolerance = 1e-4F;

bool are_all(const Candidate& candidate, const Tensor& expected, const Tensor& actual,
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
  BestScores(const Candidate& candidate, std::int64_t rows)
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

  const Candidate& candidate_;
  std::int64_t rows_;
  std::int64_t per_anchor_;
  std::vector<std::int64_t> anchors_;  // in another order
};

// Whether the rows of `actual` are the best pairs of an anchor and a class, best first.
bool are_the_best(const Candidate& candidate, const Tensor& expected, const Tensor& actual,
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

// Does the tail between the candidate's maps and `output` decode them?
Result<bool> tail_decodes(const NetworkDefinition& network, const NetworkDefinition& shaped,
                          const Candidate& candidate, ValueId output) {
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

std::string list_strides(const Candidate& candidate) {
  std::string text;
  for (const Level& level : candidate.levels)
    text += fmt::format("{}{}", text.empty() ? "" : ", ", level.stride);
  return text;
}

// The maps in front of a tail that is proven to decode them, or why there are none.
struct Proof {
  std::optional<Candidate> maps;
  std::string why_not;
};
Result<Proof> proven_maps(const HeadQuestion& question) {
  const NetworkDefinition& network = question.network;
  const NetworkDefinition& shaped = question.shaped;
  if (question.stated == kYolov5Head) return Proof{{}, "another head is stated"};
  const auto task = network.metadata.find("task");
  if (task != network.metadata.end() && task->second != "detect") {
    return Proof{{}, other_task(task->second)};
  }
  if (network.inputs.size() != 1) return Proof{{}, "the model has several inputs"};
  std::size_t last_maps = 0;
  bool paired = false;
  for (const ValueId output : network.outputs) {
    if (shaped.value(output).dtype != DataType::kFloat32) {
      return Proof{{}, no_numbers(shaped.value(output))};
    }
    const std::vector<ValueId> maps = frontier(network, output);
    if (!paired) last_maps = maps.size();
    for (const bool swapped : {false, true}) {
      auto candidate = pair_maps(shaped, maps, shaped.value(output).dims, swapped);
      if (!candidate) continue;
      paired = true;
      for (const bool corners : {false, true}) {
        // Only suppression, which was cut off, is known to read corners.
        if (corners && !network.suppression_cut) continue;
        candidate->corners = corners;
        FOVEA_ASSIGN(const bool decodes, tail_decodes(network, shaped, *candidate, output));
        if (decodes) return Proof{std::move(candidate), ""};
      }
    }
    if (!network.suppression_cut) break;
  }
  return Proof{{},
               paired ? "what follows the last convolutions computes no boxes of them"
                      : fmt::format("the last convolutions ({}) are no pairs of maps, one for "
                                    "boxes and one for classes per level",
                                    last_maps)};
}

}  // namespace

Result<std::optional<std::uint32_t>> classes_of_decoding(const HeadQuestion& question) {
  FOVEA_ASSIGN(const Proof proof, proven_maps(question));
  if (!proof.maps || proof.maps->best || question.network.suppression_cut) return std::nullopt;
  return static_cast<std::uint32_t>(proof.maps->classes);
}

Result<HeadAnswer> recognise_dfl(const HeadQuestion& question) {
  HeadAnswer answer;
  if (question.keep_output0) {
    answer.why_not = "output0 is to be kept";
    return answer;
  }
  FOVEA_ASSIGN(const Proof proof, proven_maps(question));
  answer.why_not = proof.why_not;
  if (!proof.maps) return answer;
  const Candidate& maps = *proof.maps;
  std::vector<std::uint32_t> strides;
  for (std::size_t l = 0; l < maps.levels.size(); ++l) {
    const Level& level = maps.levels[l];
    strides.push_back(static_cast<std::uint32_t>(level.stride));
    answer.outputs.insert(answer.outputs.end(), {level.box, level.scores});
    answer.names.insert(answer.names.end(), {fmt::format("box{}", l), fmt::format("cls{}", l)});
  }
  answer.head.spec =
      dfl_head(static_cast<std::uint32_t>(maps.classes), static_cast<std::uint32_t>(maps.reg_max),
               strides, maps.best ? Suppression::kNone : Suppression::kNeeded);
  answer.head.basis = HeadBasis::kComputed;
  answer.head.note =
      fmt::format("DFL head{}: {} classes, {} bins, strides {}, as the model computes it",
                  maps.best                          ? " without suppression"
                  : question.network.suppression_cut ? ", its suppression cut off"
                                                     : "",
                  maps.classes, maps.reg_max, list_strides(maps));
  return answer;
}

}  // namespace fovea::engine
