// What the counters, gauges and histograms of the pages mean: one row each, for whoever shows them.
// A page holds numbers and names only; a name that has no row here is still shown, as it is.
//
// Thread safety: constant data.
#pragma once

#include <span>
#include <string_view>

namespace fovea {

enum class MetricKind {
  kCounter,    // only grows, also over restarts of its node
  kGauge,      // now
  kHistogram,  // of µs
  kInternal,   // bookkeeping of the ledger, of no use to a reader
};

struct MetricInfo {
  std::string_view name;  // in the page
  MetricKind kind = MetricKind::kGauge;
  std::string_view unit;   // us, ms, s, ns, bytes, percent; empty: a count
  // What the label says: reason, class, ...; `zone/class`: several, separated alike in the label;
  // empty: there is none.
  std::string_view label;
  std::string_view help;
};

std::span<const MetricInfo> all_metrics();
// Null for a name without a row.
const MetricInfo* find_metric(std::string_view name);

}  // namespace fovea
