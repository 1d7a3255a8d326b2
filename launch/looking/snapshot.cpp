#include "launch/looking/snapshot.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <vector>

#include "launch/language/values.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/runtime/figures/chain.hpp"
#include "nodes/runtime/figures/metrics.hpp"

namespace fovea::launch {
namespace {

using Readers = std::vector<std::unique_ptr<MetricsReader>>;

// The camera's `source_state` counter, by value.
constexpr std::array<std::string_view, 5> kSourceStates{"reconnecting", "connected", "stalled",
                                                        "ended", "failed"};

LatencyView latency_of(const Histogram* histogram) {
  if (histogram == nullptr || histogram->count() == 0) return {};
  return {histogram->count(), histogram->quantile(0.5) / 1e3, histogram->quantile(0.99) / 1e3};
}

std::string source_of(const MetricsReader& camera, const std::string& name) {
  if (!camera.alive()) return "ended";
  if (camera.state() != msgs::LifecycleState::kActive)
    return std::string(msgs::enum_name(camera.state()));
  // Counted per camera or for the whole node.
  const std::uint64_t state =
      std::max(camera.value("source_state"), camera.value("source_state", name));
  return std::string(state < kSourceStates.size() ? kSourceStates[state] : "unknown");
}

CameraView view_camera(const CameraChain& chain, bool final) {
  CameraView view;
  view.name = chain.camera;
  view.source = source_of(*chain.stages.front().page, chain.camera);
  view.frames = account(read_chain(chain), final);
  if (chain.is_unread) {  // what its source published reached nobody
    view.frames.drops[static_cast<std::size_t>(DropReason::kLost)] += view.frames.delivered;
    view.frames.delivered = 0;
  }
  for (const auto& [page, ledger] : chain.stages) {
    view.stages.push_back(page->node());
    const RestartGaps gaps = read_restart_gaps(*page, ledger);
    if (gaps.count > 0 || gaps.frames > 0) view.gaps[page->node()] = gaps;
    // Of the last stage that has them.
    if (const auto latency = latency_of(page->histogram("latency_us", ledger)); latency.count > 0)
      view.latency = latency;
    std::map<std::string, std::uint64_t> detections;
    for (const MetricSample& sample : page->counters()) {
      if (sample.name == "detections" && sample.camera == ledger && sample.value > 0)
        detections[sample.label] += sample.value;
    }
    if (!detections.empty()) view.detections = std::move(detections);
  }
  return view;
}

DetectorView view_detector(const MetricsReader& reader) {
  DetectorView view;
  view.name = reader.node();
  view.status = reader.status();
  view.engine = latency_of(reader.histogram("engine_us"));
  for (const MetricSample& sample : reader.counters()) {
    if (sample.value == 0) continue;
    if (sample.name == "engine_info") {
      const std::size_t slash = sample.label.find('/');
      view.provider = sample.label.substr(0, slash);
      view.precision = slash == std::string::npos ? "" : sample.label.substr(slash + 1);
    } else if (sample.name == "batches") {
      if (const auto size = to_number<std::uint32_t>(sample.label))
        view.batch_sizes[*size] += sample.value;
    } else if (sample.name == "plan_build_ms") {
      view.build_seconds = static_cast<double>(sample.value) / 1e3;
    }
  }
  if (reader.value("plan_hit") > 0) view.plan = "hit";
  if (reader.value("plan_built") > 0) view.plan = "built";
  return view;
}

// Each camera's chain; without the absent nodes where a stage is left that takes its frames.
std::vector<CameraChain> chains_without(const std::set<std::string, std::less<>>& absent,
                                        std::vector<const MetricsReader*> pages) {
  std::vector<CameraChain> chains = follow_chains(pages);
  if (absent.empty()) return chains;
  std::erase_if(pages, [&](const MetricsReader* page) { return absent.contains(page->node()); });
  for (const CameraChain& rest : follow_chains(pages)) {
    if (rest.stages.size() < 2) continue;
    const auto same = std::find_if(chains.begin(), chains.end(), [&](const CameraChain& chain) {
      return chain.camera == rest.camera && chain.stages.front().page == rest.stages.front().page;
    });
    if (same != chains.end()) *same = rest;
  }
  return chains;
}

}  // namespace

std::uint64_t Snapshot::in_flight(std::string_view node) const {
  std::uint64_t sum = 0;
  for (const CameraView& camera : cameras) {
    const auto& stages = camera.stages;
    if (node.empty() || std::find(stages.begin(), stages.end(), node) != stages.end())
      sum += camera.frames.in_flight;
  }
  return sum;
}

bool Snapshot::sources_ended() const {
  return !cameras.empty() &&
         std::all_of(cameras.begin(), cameras.end(), [](const CameraView& camera) {
           return camera.source == "ended" || camera.source == "failed";
         });
}

bool Snapshot::any_source_failed() const {
  return std::any_of(cameras.begin(), cameras.end(),
                     [](const CameraView& camera) { return camera.source == "failed"; });
}

double Snapshot::bytes_copied_per_frame() const {
  std::uint64_t captured = 0;
  for (const CameraView& camera : cameras) captured += camera.frames.captured;
  return captured == 0 ? 0.0 : static_cast<double>(bytes_copied) / static_cast<double>(captured);
}

Snapshot take_snapshot(const Domain& domain, bool final,
                       const std::set<std::string, std::less<>>& absent) {
  Readers readers;
  for (const std::string& name : domain.list_nodes()) {
    if (auto reader = MetricsReader::open(domain, name)) readers.push_back(std::move(*reader));
  }
  Snapshot snapshot;
  snapshot.taken_ns = monotonic_ns();
  for (const auto& reader : readers) {
    snapshot.nodes.push_back({reader->node(), reader->type(), reader->status(), reader->alive(),
                              reader->pid(), reader->starts(), reader->state(), reader->level()});
    snapshot.bytes_copied += reader->value("bytes_copied");
    if (reader->type() == "detector") snapshot.detectors.push_back(view_detector(*reader));
  }
  std::vector<const MetricsReader*> pages;
  for (const auto& reader : readers) pages.push_back(reader.get());
  snapshot.loose_ends = loose_ends(pages);
  for (const CameraChain& chain : chains_without(absent, pages)) {
    snapshot.cameras.push_back(view_camera(chain, final));
  }
  return snapshot;
}

}  // namespace fovea::launch
