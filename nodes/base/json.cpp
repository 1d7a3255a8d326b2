#include "nodes/base/json.hpp"

#include <nlohmann/json.hpp>

namespace fovea {

Json parse_json(std::string_view text) {
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace fovea
