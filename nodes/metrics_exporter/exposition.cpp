#include "nodes/metrics_exporter/exposition.hpp"

#include <cmath>
#include <iterator>

#include <fmt/core.h>

#include "nodes/base/text.hpp"

namespace fovea::exporter {
namespace {

std::string_view type_name(SeriesKind kind) {
  switch (kind) {
    case SeriesKind::kCounter:
      return "counter";
    case SeriesKind::kGauge:
      return "gauge";
    case SeriesKind::kHistogram:
      return "histogram";
    case SeriesKind::kUntyped:
      break;
  }
  return "untyped";
}

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

// {camera="cam0",node="detector"}; empty without labels.
std::string braces(const Labels& labels, std::string_view le = {}) {
  std::string text;
  const auto append = [&](std::string_view name, std::string_view value) {
    text +=
        fmt::format("{}{}=\"{}\"", text.empty() ? '{' : ',', series_name(name), label_value(value));
  };
  for (const auto& [name, value] : labels) {
    if (!value.empty()) append(name, value);
  }
  if (!le.empty()) append("le", le);
  return text.empty() ? text : text + "}";
}

}  // namespace

std::string series_name(std::string_view name) {
  std::string safe;
  for (const char c : name) {
    const bool is_digit = c >= '0' && c <= '9';
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (is_digit && safe.empty()) safe += '_';
    safe += is_digit || is_letter ? c : '_';
  }
  return safe.empty() ? "_" : safe;
}

std::string label_value(std::string_view value) {
  std::string safe;
  for (const char c : one_line(value)) {
    if (c == '\\' || c == '"') safe += '\\';
    safe += c;
  }
  return safe;
}

Exposition::Family* Exposition::family(std::string_view name, SeriesKind kind,
                                       std::string_view help) {
  std::string safe = series_name(name);
  const auto [found, is_new] = by_name_.try_emplace(safe, families_.size());
  if (is_new) families_.push_back({std::move(safe), kind, std::string(help), {}, {}});
  Family& family = families_[found->second];
  return family.kind == kind ? &family : nullptr;  // a family has one type
}

void Exposition::add_series(Family& family, std::string key, double value) {
  const auto [found, is_new] = family.index.try_emplace(key, family.series.size());
  if (is_new) {
    family.series.emplace_back(std::move(key), value);
  } else {
    family.series[found->second].second += value;
  }
}

void Exposition::add(std::string_view name, SeriesKind kind, std::string_view help,
                     const Labels& labels, double value) {
  if (Family* to = family(name, kind, help)) add_series(*to, braces(labels), value);
}

void Exposition::add_histogram(std::string_view name, std::string_view help, const Labels& labels,
                               const Buckets& buckets) {
  Family* to = family(name, SeriesKind::kHistogram, help);
  if (to == nullptr) return;
  for (std::size_t i = 0; i < buckets.bounds.size(); ++i) {
    add_series(*to, "_bucket" + braces(labels, number(buckets.bounds[i])),
               static_cast<double>(buckets.counts[i]));
  }
  add_series(*to, "_bucket" + braces(labels, "+Inf"), static_cast<double>(buckets.total));
  add_series(*to, "_sum" + braces(labels), buckets.sum);
  add_series(*to, "_count" + braces(labels), static_cast<double>(buckets.total));
}

std::string Exposition::text() const {
  std::string text;
  for (const Family& family : families_) {
    std::string help;
    for (const char c : one_line(family.help)) help += c == '\\' ? "\\\\" : std::string(1, c);
    fmt::format_to(std::back_inserter(text), "# HELP {0} {1}\n# TYPE {0} {2}\n", family.name, help,
                   type_name(family.kind));
    for (const auto& [key, value] : family.series) {
      fmt::format_to(std::back_inserter(text), "{}{} {}\n", family.name, key, number(value));
    }
  }
  return text;
}

}  // namespace fovea::exporter
