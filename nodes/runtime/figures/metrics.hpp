// A node's counters, gauges, histograms and state in one page of shared memory: updating one is a
// relaxed atomic add, reading them needs nothing of the node, and they outlive it. The launcher,
// `fovea top` and `fovea node list` read pages; a restarted node continues its predecessor's.
//
// Names follow Prometheus (`frames_in`, `bytes_copied`, `latency_us`); `camera` and `label` are the
// labels. Names of metrics have at most 23 bytes, cameras 31, labels 255 (a class's name is one).
//
// What the names mean is in metric_table.hpp.
//
// The page is a sparse file: it takes memory for what is registered, not for what would fit.
//
// Whether the owner lives is told by its open-file-description lock on byte 0 of the page's file.
// Thread safety: MetricsPage and MetricsReader, all functions.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "msgs/node_status.hpp"
#include "nodes/base/result.hpp"
#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/figures/histogram.hpp"
#include "nodes/runtime/slots/fault_guard.hpp"

namespace fovea {

namespace detail {
struct PageLayout;
}

using Counter = std::atomic<std::uint64_t>;

// The counter that is 1 in the page of a node that has ended because its work is done.
inline constexpr std::string_view kFinishedCounter = "finished";

inline constexpr std::uint32_t kCounterCapacity = 32768;
inline constexpr std::uint32_t kHistogramCapacity = 1024;

// The owner's side.
class MetricsPage {
 public:
  // Creates or continues the node's page and locks it for as long as this process lives.
  // A page that is damaged, of another layout or of another node type is replaced.
  // Errors: kUnavailable when a live process of that name holds it ("node 'cam0' already runs in
  // domain 'default' (pid 123); stop it or choose another --domain"); kExhausted when shared memory
  // is full.
  static Result<std::unique_ptr<MetricsPage>> create(const Domain& domain, std::string_view node,
                                                     std::string_view type);
  // Unlinks the page unless keep() was called (a supervisor reads the totals and unlinks).
  ~MetricsPage();
  MetricsPage(const MetricsPage&) = delete;
  MetricsPage& operator=(const MetricsPage&) = delete;
  void keep() { keep_ = true; }

  // This process was added to a running graph: a ledger that is made meanwhile counts what goes out
  // on its topic from then on (ledger.hpp). The thread that makes the ledgers.
  void set_joins_late(bool joins_late) { joins_late_ = joins_late; }
  bool joins_late() const { return joins_late_; }

  // The same name and labels give the same counter. Keep the reference, which is valid as long as
  // the page. When the page or shared memory is full a shared overflow counter is returned, whose
  // value nobody is shown, and a warning is logged once.
  Counter& counter(std::string_view name, std::string_view camera = "",
                   std::string_view label = "");
  Histogram& histogram(std::string_view name, std::string_view camera = "");

  // The camera's counters and histograms are no more, and their places free for others. REQUIRES:
  // nobody uses a reference to one of them any more.
  void remove_camera(std::string_view camera);

  void set_state(msgs::LifecycleState state);
  void set_status(msgs::DiagnosticLevel level, std::string_view message);
  void beat();  // the node's event loop turns

  const std::string& node() const { return node_; }
  const std::string& type() const { return type_; }
  const Domain& domain() const { return domain_; }
  std::uint32_t starts() const;  // 1 at the first start, 2 after one restart, ...
  // For a supervisor's count: a process that died before it had this page was a start too.
  void set_starts(std::uint32_t starts);

 private:
  explicit MetricsPage(const Domain& domain) : domain_(domain) {}
  bool reserve(const void* from) const;
  void warn_full(std::string_view what, std::string_view name);
  template <class Entries>
  std::optional<std::uint32_t> place(Entries& entries, std::atomic<std::uint32_t>& published,
                                     std::vector<std::uint32_t>& free, std::uint64_t& reserved,
                                     std::string_view what, std::string_view name);
  const Domain domain_;
  std::string node_, type_;
  std::string path_;
  int fd_ = -1;
  detail::PageLayout* layout_ = nullptr;
  detail::FaultGuard guard_;
  bool keep_ = false;
  bool joins_late_ = false;
  std::mutex mutex_;  // registering and the status text; guards the following
  bool warned_ = false;
  std::unordered_map<std::string, std::uint32_t> counter_index_;  // by name and labels
  std::vector<std::uint32_t> free_counters_, free_histograms_;    // were in use before
  std::uint64_t reserved_counters_ = 0, reserved_histograms_ = 0;
};

// Anyone's side. Safe on any bytes.
struct MetricSample {
  std::string name, camera, label;
  std::uint64_t value = 0;
};

struct HistogramSample {
  std::string name, camera;
  const Histogram* histogram = nullptr;  // valid as long as the reader
};

class MetricsReader {
 public:
  // Errors: kNotFound when there is no page; kCorrupt when the file is none of this build's pages.
  static Result<std::unique_ptr<MetricsReader>> open(const Domain& domain, std::string_view node);
  ~MetricsReader();
  MetricsReader(const MetricsReader&) = delete;
  MetricsReader& operator=(const MetricsReader&) = delete;

  bool alive() const;  // the owner's lock is held
  std::string node() const;
  std::string type() const;
  std::uint32_t pid() const;
  std::uint32_t starts() const;
  msgs::LifecycleState state() const;
  msgs::DiagnosticLevel level() const;
  std::string status() const;
  std::int64_t last_beat_ns() const;  // CLOCK_MONOTONIC

  std::vector<MetricSample> counters() const;
  std::vector<HistogramSample> histograms() const;
  // 0 when there is no such counter.
  std::uint64_t value(std::string_view name, std::string_view camera = "",
                      std::string_view label = "") const;
  // Null when there is none.
  const Histogram* histogram(std::string_view name, std::string_view camera = "") const;

 private:
  MetricsReader() = default;
  int fd_ = -1;
  const detail::PageLayout* layout_ = nullptr;
  detail::FaultGuard guard_;
};

}  // namespace fovea
