// Reading JSON text. The library's parser costs two seconds in every file that calls it; here it is
// compiled once. Pure functions.
#pragma once

#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace fovea {

using Json = nlohmann::ordered_json;  // members keep their order

// Discarded (is_discarded()), and so neither object nor list, where `text` is no JSON.
Json parse_json(std::string_view text);

}  // namespace fovea
