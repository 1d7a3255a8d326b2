// What of an object stands behind its class and score in the table, by task.
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "nodes/predict/prediction.hpp"

namespace fovea::predict {

// Headings, each column with the space before it. Empty for classes of pictures.
std::string_view object_head(Task task);
// A row, as wide.
std::string object_columns(const Object& object, Task task);

}  // namespace fovea::predict
