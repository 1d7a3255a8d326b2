// The parameter that every stage has: the cameras whose frames pass it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/process/parameters.hpp"

namespace fovea {

inline void add_cameras(ParameterSet& parameters, std::vector<std::string>* cameras) {
  parameters.add("cameras", cameras, "Names of the cameras to serve")
      .required()
      .distinct()
      .checked_by([](std::string_view name) { return check_name("camera", name); });
}

}  // namespace fovea
