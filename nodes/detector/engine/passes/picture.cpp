// Who says how a picture becomes the input.
#include "nodes/detector/engine/picture.hpp"

#include "nodes/detector/engine/passes/passes.hpp"

namespace fovea::engine {

Result<PassOutcome> settle_picture(NetworkDefinition& network, const LoweringOptions& options) {
  PassOutcome outcome;
  if (network.inputs.empty()) return outcome;
  const Value& input = network.value(network.inputs[0]);
  if (input.dims.size() != 4) return outcome;  // refused where the input is read
  FOVEA_ASSIGN(network.picture,
               settled_picture({input.name, input.dims[1], input.dtype}, network.picture,
                               network.metadata, options.picture, network.head.warnings));
  outcome.note = to_string(network.picture);
  return outcome;
}

}  // namespace fovea::engine
