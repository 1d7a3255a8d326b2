#include "nodes/detector/engine/passes/head_maps.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "nodes/detector/engine/passes/graph.hpp"

namespace fovea::engine {

namespace {

constexpr std::size_t kMaxLevels = 8;
constexpr std::int64_t kMostBest = 1000;  // exporters say 300
constexpr std::int64_t kMostProofs = 8;   // of every class among the best

// The projection inside the tail, [1, reg_max, 1, 1] holding 0, 1, 2, ...: not a map.
bool is_projection(const NetworkDefinition& network, const Layer& conv) {
  const Constant* weights = float_constant(network, conv.inputs[1]);
  if (weights == nullptr || weights->dims[0] != 1) return false;
  const float tolerance = projection_tolerance(network);
  for (std::int64_t i = 0; i < weights->size(); ++i) {
    const float error = std::abs(weights->data<float>()[i] - static_cast<float>(i));
    if (!(error <= tolerance)) return false;
  }
  return true;
}

}  // namespace

float projection_tolerance(const NetworkDefinition& network) {
  // Half a code of 7 bits.
  return network.own_grids.empty() ? 0.0F : 0.15F;
}

std::vector<ValueId> last_convolutions(const NetworkDefinition& network, ValueId output) {
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

std::optional<HeadMaps> pair_maps(const NetworkDefinition& shaped, std::vector<ValueId> maps,
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
  HeadMaps candidate;
  for (std::size_t i = 0; i < maps.size(); i += 2) {
    MapLevel level{maps[i + (swapped ? 1 : 0)], maps[i + (swapped ? 0 : 1)]};
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

}  // namespace fovea::engine
