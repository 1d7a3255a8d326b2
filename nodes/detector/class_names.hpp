// The names of a model's classes as every message, report and recording carries them.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace fovea {

// `classes` names: those of the model, `class_7` where it has none. A name that does not fit a
// message is cut at a character and ends in "...", and of classes with equal names all but the first
// carry their number, "cat #7", so that no two are shown as one.
std::vector<std::string> distinct_class_names(const std::vector<std::string>& names,
                                              std::size_t classes);

}  // namespace fovea
