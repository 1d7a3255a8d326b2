// RT-DETR's deployed form, and that of its successors, takes the picture's size as a second input, to
// scale its boxes by. Everybody else here scales boxes from network pixels, so it is told those.
#include <algorithm>
#include <array>
#include <memory>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/passes.hpp"

namespace fovea::engine {

namespace {

// Width before height. Paddle's `im_shape` and `scale_factor` mean something else.
constexpr std::array<std::string_view, 3> kNames = {"orig_target_sizes", "orig_target_size",
                                                    "orig_sizes"};

std::string described(const Value& input) {
  return fmt::format("'{}' {} {}", shown(input.name, 60), to_string(input.dtype),
                     to_string(input.dims));
}

bool asks_for_size(const Value& input, std::int64_t batch) {
  const bool named = std::find(kNames.begin(), kNames.end(), input.name) != kNames.end();
  const bool of_batch = input.dims.size() == 2 && input.dims[1] == 2 &&
                        (input.dims[0] == -1 || input.dims[0] == batch || batch == -1);
  return named && of_batch &&
         (input.dtype == DataType::kInt64 || input.dtype == DataType::kFloat32);
}

}  // namespace

Result<PassOutcome> fold_size_input(NetworkDefinition& network, const LoweringOptions&) {
  PassOutcome outcome;
  if (network.inputs.size() < 2) return outcome;
  const auto is_picture = [&](ValueId id) { return network.value(id).dims.size() == 4; };
  const auto picture = std::find_if(network.inputs.begin(), network.inputs.end(), is_picture);
  if (picture == network.inputs.end()) return outcome;  // refused where the input is read
  const Dims image = network.value(*picture).dims;
  for (const ValueId id : network.inputs) {
    if (id == *picture || asks_for_size(network.value(id), image[0])) continue;
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("the model has {} inputs, and {} is neither the picture nor its size "
                    "({} int64 [batch, 2]); export it with the picture as its one input",
                    network.inputs.size(), described(network.value(id)), fmt::join(kNames, ", ")));
  }
  if (image[2] < 1 || image[3] < 1) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("'{}' takes the size of the picture, and a profile leaves that open: "
                    "give one size (--input-size)",
                    network.value(network.inputs[network.inputs[0] == *picture ? 1 : 0]).name));
  }
  const ValueId kept = *picture;
  for (const ValueId id : network.inputs) {
    if (id == kept) continue;
    Value& size = network.value(id);
    Constant pixels =
        size.dtype == DataType::kInt64
            ? Constant::ints({image[3], image[2]})
            : Constant::floats({2}, {static_cast<float>(image[3]), static_cast<float>(image[2])});
    pixels.dims = {1, 2};
    size.dims = pixels.dims;
    size.constant = std::make_shared<const Constant>(std::move(pixels));
    ++outcome.changes;
    outcome.note = fmt::format("'{}' is the network's own size, {} x {}: boxes are in its pixels",
                               shown(size.name, 60), image[3], image[2]);
  }
  network.inputs = {kept};
  return outcome;
}

}  // namespace fovea::engine
