// What calibration learnt about a network: per convolution, the observed ranges and what each rule
// makes of them. It is a small JSON file beside the model, so that a second build needs no picture;
// equal inputs give equal bytes. It holds every rule's result, because the accuracy guard tries
// several.
//
// Thread safety: plain data and pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/base/result.hpp"

namespace fovea::engine {

// How the upper end of an activation's grid is found.
enum class RangeRule : std::uint8_t {
  kPercentile,      // CalibrationOptions::percentile, the default
  kWidePercentile,  // 99.9999
  kMse,             // least squared error
  kMinMax,          // nothing is clipped
  kEntropy,         // least Kullback-Leibler divergence; loses points of mAP on SiLU networks
};
inline constexpr std::size_t kRangeRules = 5;

std::string_view to_string(RangeRule rule);  // "percentile", "wide-percentile", "mse", ...
std::optional<RangeRule> range_rule_from(std::string_view text);

// One convolution. Numbers are in the units of the network.
struct LayerRanges {
  std::string layer;
  // What its activation reads: the extremes, the ends of its s8 grid, and what the codes there
  // stand for behind the activation (LayerQuantization).
  float pre_min = 0;
  float pre_max = 0;
  float pre_low = 0;
  float pre_high = 0;
  float low_value = 0;
  float high_value = 0;
  // What it writes (with a residual: the sum): the extremes, the lower end of its u8 grid, and the
  // upper end by RangeRule.
  float out_min = 0;
  float out_max = 0;
  float low = 0;
  std::array<float, kRangeRules> high{};
  double entropy_percentile = 100;  // where kEntropy cuts

  bool operator==(const LayerRanges&) const = default;
};

struct CalibrationTable {
  std::string model_hash;
  std::string identity;  // the caller's hash of everything that it was made from, pictures included
  std::uint64_t pictures = 0;
  double percentile = 0;  // of RangeRule::kPercentile
  std::vector<LayerRanges> layers;

  bool operator==(const CalibrationTable&) const = default;
};

std::string to_json(const CalibrationTable& table);

// Errors: kCorrupt for anything but what to_json() writes (numbers finite, ends in order).
Result<CalibrationTable> calibration_from_json(std::string_view text);

// SHA-256 of to_json(), for the keys of plans.
std::string hash_of(const CalibrationTable& table);

}  // namespace fovea::engine
