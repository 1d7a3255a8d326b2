// Floats are written as the shortest decimal that reads back as the same float, and members in a
// fixed order, so that the file can be compared, hashed and diffed.
#include "nodes/detector/engine/quantization/calibration_table.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine/plan/sha256.hpp"

namespace fovea::engine {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "fovea calibration 2";
constexpr std::array<std::string_view, kRangeRules> kRuleNames = {"percentile", "wide-percentile",
                                                                  "mse", "minmax", "entropy"};

double shortest(float value) {
  const std::string text = fmt::format("{}", value);
  double number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

tl::unexpected<Error> corrupt(const std::string& message) {
  return fail(ErrorCode::kCorrupt, "calibration table: " + message);
}

float number(const Json& json, const char* key) {
  const double value = json.at(key).get<double>();
  // Infinity for what no float holds; the caller refuses it.
  return std::abs(value) <= static_cast<double>(std::numeric_limits<float>::max())
             ? static_cast<float>(value)
             : std::numeric_limits<float>::infinity();
}

bool sensible(const LayerRanges& ranges) {
  const auto ordered = [](float low, float high) {
    return std::isfinite(low) && std::isfinite(high) && low <= high;
  };
  return ordered(ranges.pre_min, ranges.pre_max) && ordered(ranges.pre_low, ranges.pre_high) &&
         ordered(ranges.out_min, ranges.out_max) && std::isfinite(ranges.low) &&
         std::isfinite(ranges.low_value) && std::isfinite(ranges.high_value) &&
         std::all_of(ranges.high.begin(), ranges.high.end(),
                     [](float high) { return std::isfinite(high); }) &&
         std::isfinite(ranges.entropy_percentile);
}

}  // namespace

std::string_view to_string(RangeRule rule) { return kRuleNames[static_cast<std::size_t>(rule)]; }

std::optional<RangeRule> range_rule_from(std::string_view text) {
  const auto found = std::find(kRuleNames.begin(), kRuleNames.end(), text);
  if (found == kRuleNames.end()) return std::nullopt;
  return static_cast<RangeRule>(found - kRuleNames.begin());
}

std::string to_json(const CalibrationTable& table) {
  Json layers = Json::array();
  for (const LayerRanges& ranges : table.layers) {
    Json high = Json::object();
    for (std::size_t rule = 0; rule < kRangeRules; ++rule) {
      high[std::string(kRuleNames[rule])] = shortest(ranges.high[rule]);
    }
    layers.push_back({{"layer", ranges.layer},
                      {"pre_min", shortest(ranges.pre_min)},
                      {"pre_max", shortest(ranges.pre_max)},
                      {"pre_low", shortest(ranges.pre_low)},
                      {"pre_high", shortest(ranges.pre_high)},
                      {"low_value", shortest(ranges.low_value)},
                      {"high_value", shortest(ranges.high_value)},
                      {"out_min", shortest(ranges.out_min)},
                      {"out_max", shortest(ranges.out_max)},
                      {"low", shortest(ranges.low)},
                      {"high", std::move(high)},
                      {"entropy_percentile", ranges.entropy_percentile}});
  }
  const Json json = {{"format", kFormat},
                     {"model_hash", table.model_hash},
                     {"identity", table.identity},
                     {"pictures", table.pictures},
                     {"percentile", table.percentile},
                     {"layers", std::move(layers)}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<CalibrationTable> calibration_from_json(std::string_view text) {
  CalibrationTable table;
  try {
    const Json json = Json::parse(text);
    if (!json.is_object() || !json.contains("format")) {
      return corrupt("it is JSON, but no calibration table: it has no \"format\"");
    }
    if (json.at("format").get<std::string>() != kFormat) {
      return corrupt(fmt::format("its format is not '{}'", kFormat));
    }
    table.model_hash = json.at("model_hash").get<std::string>();
    table.identity = json.at("identity").get<std::string>();
    table.pictures = json.at("pictures").get<std::uint64_t>();
    table.percentile = json.at("percentile").get<double>();
    for (const Json& layer : json.at("layers")) {
      LayerRanges ranges;
      ranges.layer = layer.at("layer").get<std::string>();
      ranges.pre_min = number(layer, "pre_min");
      ranges.pre_max = number(layer, "pre_max");
      ranges.pre_low = number(layer, "pre_low");
      ranges.pre_high = number(layer, "pre_high");
      ranges.low_value = number(layer, "low_value");
      ranges.high_value = number(layer, "high_value");
      ranges.out_min = number(layer, "out_min");
      ranges.out_max = number(layer, "out_max");
      ranges.low = number(layer, "low");
      for (std::size_t rule = 0; rule < kRangeRules; ++rule) {
        ranges.high[rule] = number(layer.at("high"), std::string(kRuleNames[rule]).c_str());
      }
      ranges.entropy_percentile = layer.at("entropy_percentile").get<double>();
      if (!sensible(ranges)) {
        return corrupt(fmt::format("the ranges of '{}' make no sense", shown(ranges.layer)));
      }
      table.layers.push_back(std::move(ranges));
    }
  } catch (const Json::parse_error& error) {
    const std::string_view read = text.substr(0, error.byte);
    return corrupt(fmt::format("no JSON: line {} makes no sense; the file begins with '{}'",
                               1 + std::count(read.begin(), read.end(), '\n'), shown(text, 40)));
  } catch (const Json::exception& error) {
    return corrupt(shown(error.what()));
  }
  return table;
}

std::string hash_of(const CalibrationTable& table) {
  Sha256 hash;
  hash.add(to_json(table));
  return hash.finish();
}

}  // namespace fovea::engine
