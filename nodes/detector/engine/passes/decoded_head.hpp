// Heads that are not cut off: one output of rows or columns, which the decoder reads as it is. What
// such an output means its numbers cannot prove, so the user, the class names and the shape are
// asked, in this order, and the answer says which of them it comes from.
#pragma once

#include <string_view>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

// `shaped` is `network` with dims; `stated` is one of kHeadChoices. kUnknown with a note for what
// is no detector's output. Errors: kInvalidArgument for a stated head that contradicts the shape,
// kUnsupported if the shape alone would say what further outputs or the grid contradict.
Result<HeadInfo> decoded_head(const NetworkDefinition& network, const NetworkDefinition& shaped,
                              std::string_view stated);

// What is wrong with the names in the metadata becomes a warning of network.head.
void warn_of_class_names(NetworkDefinition& network);

}  // namespace fovea::engine
