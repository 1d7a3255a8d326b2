// Serves the figures of all nodes of the domain to Prometheus: GET http://127.0.0.1:<port>/metrics.
// It reads pages in shared memory only, so it costs the other nodes nothing and shows those that
// hang or died too.
#include <array>
#include <memory>
#include <optional>
#include <string>

#include <fmt/core.h>

#include "nodes/base/clock.hpp"
#include "nodes/metrics_exporter/exposition.hpp"
#include "nodes/metrics_exporter/http_server.hpp"
#include "nodes/runtime/figures/metric_table.hpp"
#include "nodes/runtime/log.hpp"
#include "nodes/runtime/process/node.hpp"

namespace fovea {
namespace {

using exporter::Exposition;
using exporter::Labels;
using exporter::SeriesKind;

// Upper limits of the latency buckets in seconds. The page's own buckets are 1/32 wide, so a sample
// next to a limit may be counted on its other side.
constexpr std::array kBounds{0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.033, 0.05,
                             0.1,    0.2,   0.5,   1.0,   2.0,  5.0,  10.0};
constexpr std::int64_t kFreshNs = 200'000'000;  // who scrapes more often gets the same text

struct BaseUnit {
  std::string_view unit;    // in the table
  std::string_view prefix;  // of a name in the page, left out
  std::string_view suffix;  // of a name in the page, left out
  std::string_view name;    // in place of it
  double factor;
};
constexpr std::array kBaseUnits{
    BaseUnit{"us", "", "_us", "_seconds", 1e-6},  BaseUnit{"ms", "", "_ms", "_seconds", 1e-3},
    BaseUnit{"ns", "", "_ns", "_seconds", 1e-9},  BaseUnit{"s", "", "_s", "_seconds", 1},
    BaseUnit{"bytes", "bytes_", "", "_bytes", 1}, BaseUnit{"percent", "", "_pct", "_ratio", 1e-2}};
constexpr BaseUnit kCount{"", "", "", "", 1};

const BaseUnit& base_unit(std::string_view unit) {
  for (const BaseUnit& base : kBaseUnits) {
    if (base.unit == unit) return base;
  }
  return kCount;
}

// `restart_gap_ms` -> `fovea_restart_gap_seconds_total`.
std::string exported_name(std::string_view name, const BaseUnit& unit, MetricKind kind) {
  if (name.starts_with(unit.prefix)) name.remove_prefix(unit.prefix.size());
  if (name.ends_with(unit.suffix)) name.remove_suffix(unit.suffix.size());
  return fmt::format("fovea_{}{}{}", name, unit.name, kind == MetricKind::kCounter ? "_total" : "");
}

// `zone/class` and `yard/person`: {zone="yard"}, {class="person"}. What is too much is the last one's.
void add_labels(Labels& to, std::string_view names, std::string_view values) {
  for (;;) {
    const std::size_t name_end = names.find('/'), value_end = values.find('/');
    if (name_end == std::string_view::npos || value_end == std::string_view::npos) break;
    to.emplace_back(names.substr(0, name_end), values.substr(0, value_end));
    names.remove_prefix(name_end + 1);
    values.remove_prefix(value_end + 1);
  }
  to.emplace_back(names, values);
}

void add_counter(Exposition& to, std::string_view node, const MetricSample& sample) {
  const MetricInfo* info = find_metric(sample.name);
  if (info == nullptr) {
    to.add("fovea_" + sample.name, SeriesKind::kUntyped, "Not described.",
           {{"node", node}, {"camera", sample.camera}, {"label", sample.label}},
           static_cast<double>(sample.value));
    return;
  }
  if (info->kind == MetricKind::kInternal) return;
  const BaseUnit& unit = base_unit(info->unit);
  Labels labels{{"node", node}, {"camera", sample.camera}};
  add_labels(labels, info->label.empty() ? "label" : info->label, sample.label);
  to.add(exported_name(sample.name, unit, info->kind),
         info->kind == MetricKind::kCounter ? SeriesKind::kCounter : SeriesKind::kGauge,
         fmt::format("{}.", info->help), labels, static_cast<double>(sample.value) * unit.factor);
}

void add_histogram(Exposition& to, std::string_view node, const HistogramSample& sample) {
  const MetricInfo* info = find_metric(sample.name);
  const BaseUnit& unit = base_unit("us");
  std::array<std::uint64_t, kBounds.size()> bounds{};
  std::array<std::uint64_t, kBounds.size()> counts{};
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    bounds[i] = static_cast<std::uint64_t>(kBounds[i] / unit.factor + 0.5);
  }
  const double sum = static_cast<double>(sample.histogram->sum()) * unit.factor;
  const std::uint64_t total = sample.histogram->count_up_to(bounds, counts);
  to.add_histogram(exported_name(sample.name, unit, MetricKind::kHistogram),
                   info == nullptr ? "Not described." : fmt::format("{}.", info->help),
                   {{"node", node}, {"camera", sample.camera}},
                   {.bounds = kBounds, .counts = counts, .total = total, .sum = sum});
}

void add_node(Exposition& to, const MetricsReader& page) {
  const std::string node = page.node();
  const std::string type = page.type();
  const bool alive = page.alive();
  to.add("fovea_node_up", SeriesKind::kGauge, "1 while the node's process lives.",
         {{"node", node}, {"type", type}}, alive ? 1 : 0);
  to.add("fovea_node_active", SeriesKind::kGauge, "1 while the node is active.", {{"node", node}},
         alive && page.state() == msgs::LifecycleState::kActive ? 1 : 0);
  to.add("fovea_node_level", SeriesKind::kGauge, "0 ok, 1 warning, 2 error.", {{"node", node}},
         static_cast<double>(page.level()));
  to.add("fovea_node_starts_total", SeriesKind::kCounter, "Starts of the node's process.",
         {{"node", node}}, page.starts());
  to.add(
      "fovea_node_beat_age_seconds", SeriesKind::kGauge,
      "How long ago the node's event loop turned.", {{"node", node}},
      static_cast<double>(std::max<std::int64_t>(monotonic_ns() - page.last_beat_ns(), 0)) / 1e9);
  for (const MetricSample& sample : page.counters()) add_counter(to, node, sample);
  for (const HistogramSample& sample : page.histograms()) add_histogram(to, node, sample);
}

class MetricsNode final : public Node {
 public:
  MetricsNode() : Node("metrics", "Serves the figures of all nodes to Prometheus, on loopback") {}

  void declare_parameters(ParameterSet& p) override {
    p.add("port", &port_, "TCP port of 127.0.0.1; 0 = a free one, which the log names",
          Range{0, 65535});
  }

  Result<> on_configure() override {
    auto configured = std::make_unique<Configured>();
    FOVEA_ASSIGN(configured->server,
                 exporter::HttpServer::start(
                     port_, [this, page = &configured->page] { return text(*page); }));
    log_info("serving http://127.0.0.1:{}/metrics", configured->server->port());
    configured_ = std::move(configured);
    return {};
  }

  Result<> on_cleanup() override {
    configured_.reset();
    return {};
  }

 private:
  // The text of a moment.
  struct Page {
    std::int64_t made_ns = 0;
    std::shared_ptr<const std::string> text;
  };

  struct Configured {
    Page page;  // the server's thread's
    std::unique_ptr<exporter::HttpServer> server;
  };

  // The server's thread.
  std::shared_ptr<const std::string> text(Page& last) const {
    const std::int64_t now = monotonic_ns();
    if (last.text && now - last.made_ns < kFreshNs) return last.text;
    Exposition exposition;
    for (const std::string& name : domain().list_nodes()) {
      if (const auto page = MetricsReader::open(domain(), name)) add_node(exposition, **page);
    }
    last = {now, std::make_shared<const std::string>(exposition.text())};
    return last.text;
  }

  std::uint16_t port_ = 9464;
  std::unique_ptr<Configured> configured_;
};

}  // namespace

std::unique_ptr<Node> make_node() { return std::make_unique<MetricsNode>(); }

}  // namespace fovea
