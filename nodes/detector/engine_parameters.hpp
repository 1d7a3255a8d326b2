// The engine's options as parameters: one declaration for every program that takes them by the
// detector's names. Header only, so that libraries of the engine do not know the runtime.
//
// Thread safety: as ParameterSet.
#pragma once

#include <variant>

#include <fmt/format.h>

#include "nodes/detector/cache/engine_request.hpp"
#include "nodes/runtime/process/parameters.hpp"

namespace fovea {

// A row of engine_options() each. REQUIRES: `request` outlives `p`.
inline void add_engine_parameters(ParameterSet& p, EngineRequest& request) {
  for (const EngineOption& row : engine_options()) {
    if (!row.is_parameter) continue;
    const Range range = row.most > row.least ? Range{row.least, row.most} : Range{};
    const ParameterTarget target =
        std::visit([&](auto member) { return ParameterTarget(&(request.*member)); }, row.member);
    Parameter& parameter = p.add(row.name, target, row.description, range, row.unit);
    if (!row.choices.empty()) parameter.one_of(row.choices);
    if (row.names == EngineOption::Names::kFile) parameter.names_file();
    if (row.names == EngineOption::Names::kFileOrFolder) parameter.names_file_or_folder();
    if (row.name == "model") parameter.required();
  }
}

// What one parameter alone cannot tell. Errors: kInvalidArgument, in the parameters' words.
inline Result<> check_engine_parameters(const EngineRequest& request) {
  if (request.quantizes() && request.calibration.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("precision is {}; that needs `calibration`, a folder of pictures from "
                            "where the detector runs or a table made from them",
                            request.precision));
  }
  FOVEA_TRY(plan_request(request, Spelling::kParameters));
  return {};
}

}  // namespace fovea
