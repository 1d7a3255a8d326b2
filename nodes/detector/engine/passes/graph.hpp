// Questions and edits that passes share.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

// Who writes and reads each value. A snapshot: make a new one after adding or removing layers.
class GraphIndex {
 public:
  explicit GraphIndex(const NetworkDefinition& network);

  // Index of the layer that writes `id`; nullopt for a network input or a constant.
  std::optional<std::size_t> producer(ValueId id) const;
  // Indices of the layers that read `id`, in order; twice if one reads it twice.
  const std::vector<std::size_t>& readers(ValueId id) const {
    return readers_[static_cast<std::size_t>(id)];
  }
  // The only layer that reads `id`, if it is no network output.
  std::optional<std::size_t> only_reader(ValueId id) const;
  bool is_output(ValueId id) const { return output_[static_cast<std::size_t>(id)]; }

 private:
  std::vector<std::optional<std::size_t>> producer_;
  std::vector<std::vector<std::size_t>> readers_;
  std::vector<bool> output_;
};

// Every reader of `from`, and the output list, takes `to` instead; an output keeps its name.
void replace_value(NetworkDefinition& network, ValueId from, ValueId to);

// Drops layers[i] where removed[i].
void remove_layers(NetworkDefinition& network, const std::vector<bool>& removed);

// What layers for which `stops` holds write, with no other such layer between it and `output`. Empty if
// the output also depends on a network input directly.
std::vector<ValueId> nearest_written(const NetworkDefinition& network, ValueId output,
                                     const std::function<bool(const Layer&)>& stops);

// Drops all but what lies between `inputs` and `outputs`, and makes inputs of the former, of the extents
// that they have for one image (or the fixed batch) of the optimal size. So have the values whose shape
// is asked for, which may lie in front of the inputs. Renumbers values. REQUIRES: layers write the
// inputs. Errors: infer_shapes()'s.
Result<> keep_between(NetworkDefinition& network, const std::vector<ValueId>& inputs,
                      const std::vector<ValueId>& outputs);

// A copy with shapes inferred for its fixed batch, or for `batch` images where it is open.
Result<NetworkDefinition> with_shapes(const NetworkDefinition& network, std::int64_t batch = 1);

// Two networks that differ in everything that is open: what is alike in both does not depend on it.
// The first has the batch 1 and the profile's least size, the other 2 and the greatest; a fixed
// batch stays.
struct ShapeEnds {
  NetworkDefinition least;
  NetworkDefinition greatest;
  std::int64_t least_batch = 1;
  std::int64_t greatest_batch = 2;
};
ShapeEnds ends_of(const NetworkDefinition& network);

// First extent of the first input: -1 = any batch.
std::int64_t declared_batch(const NetworkDefinition& network);

// Contents if `id` is an f32 constant, else null.
const Constant* float_constant(const NetworkDefinition& network, ValueId id);

}  // namespace fovea::engine
