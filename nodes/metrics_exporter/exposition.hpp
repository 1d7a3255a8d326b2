// Writes Prometheus' text format, version 0.0.4: families of series, each with one HELP and one TYPE
// line, in the order in which they were first named.
//
// Names and label values may be any bytes: what the format cannot carry is replaced, and series that
// would then be the same are added up, because a scraper refuses the whole page for one double.
//
// Thread safety: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace fovea::exporter {

enum class SeriesKind { kCounter, kGauge, kHistogram, kUntyped };

using Labels =
    std::vector<std::pair<std::string_view, std::string_view>>;  // empty values are left out

// Samples up to each bound, which are upper limits in the family's unit.
struct Buckets {
  std::span<const double> bounds;
  std::span<const std::uint64_t> counts;  // cumulative, one for each bound
  std::uint64_t total = 0;
  double sum = 0;
};

class Exposition {
 public:
  void add(std::string_view name, SeriesKind kind, std::string_view help, const Labels& labels,
           double value);
  void add_histogram(std::string_view name, std::string_view help, const Labels& labels,
                     const Buckets& buckets);
  std::string text() const;

 private:
  struct Family {
    std::string name;
    SeriesKind kind;
    std::string help;
    std::vector<std::pair<std::string, double>> series;  // suffix and labels, value
    std::unordered_map<std::string, std::size_t> index;  // of series
  };
  Family* family(std::string_view name, SeriesKind kind, std::string_view help);
  static void add_series(Family& family, std::string key, double value);

  std::vector<Family> families_;
  std::map<std::string, std::size_t, std::less<>> by_name_;
};

// Letters, digits and `_`; a digit does not come first.
std::string series_name(std::string_view name);
// As one_line() shows it, with backslash and quote escaped: always valid, always one line.
std::string label_value(std::string_view value);

}  // namespace fovea::exporter
