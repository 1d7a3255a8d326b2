// ONNX Runtime's library, found when it is asked for: never linked, not needed to build.
//
// Where it is looked for: at FOVEA_ORT_ROOT if that is set and nowhere else (the file itself, a
// folder with it or with lib/, a Python environment or its site-packages), else where the loader
// looks. A library that was loaded stays loaded.
//
// Thread safety: all functions from any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nodes/base/result.hpp"
#include "nodes/detector/engine/onnxruntime/api.hpp"

namespace fovea::engine::onnxruntime {

inline constexpr const char* kRootVariable = "FOVEA_ORT_ROOT";

struct Library {
  std::string path;     // as it was opened
  std::string version;  // "1.32.0"
  Api api;
  Environment* environment = nullptr;            // one for all sessions, as long as the process
  std::vector<std::string> execution_providers;  // "CPUExecutionProvider", ...
};

// The one of this process for the present FOVEA_ORT_ROOT. Errors, each with the place: kNotFound
// (with every place that was looked at), kUnsupported for one that is older than 1.17 or is no ONNX
// Runtime.
Result<const Library*> find_library();

// `root` as FOVEA_ORT_ROOT; empty = where the loader looks.
Result<const Library*> find_library(const std::string& root);

// OK, or the library's own message behind `what`; releases the status.
Result<> check(const Library& library, Status* status, std::string_view what);

}  // namespace fovea::engine::onnxruntime
