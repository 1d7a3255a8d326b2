// The name of a class, the same in everything that carries it: the model's description, detections,
// metrics. 255 bytes hold every name of the models that we know; who makes a ModelInfo shortens
// longer ones so that they still differ.
#pragma once

#include "msgs/fields.hpp"

namespace fovea::msgs {

using ClassName = FixedString<256>;

}  // namespace fovea::msgs
