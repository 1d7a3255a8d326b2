#include "bench/pubsub/report.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "nodes/base/terminal.hpp"

namespace fovea::bench {
namespace {

std::string title_of(const Cell& cell) {
  return std::string(find_transport(cell.job.transport)->title);
}

void print_suite(Suite& suite) {
  print_out("\n{}\n", suite.title);
  print_out("{:<8} {:<25} {:>26} {:>26} {:>10} {:>15} {:>12} {:>6} {:>5}\n", "frame", "transport",
             "held p50/p99/p99.9 us", "read p50/p99/p99.9 us", "msg/s", "CPU % pub + sub",
             "switches/msg", "lost", "bad");
  std::string last_size;
  for (Cell& cell : suite.cells) {
    const std::string size = size_name(cell.job.bytes);
    print_out("{:<8} {:<25} ", size == last_size ? "" : size, title_of(cell));
    last_size = size;
    if (!cell.error.empty()) {
      print_out("{}\n", cell.error);
      continue;
    }
    const auto triple = [](std::vector<std::uint32_t>& samples) {
      return fmt::format("{:.1f} / {:.1f} / {:.1f}", percentile_us(samples, .5),
                         percentile_us(samples, .99), percentile_us(samples, .999));
    };
    print_out("{:>26} {:>26} {:>10.0f} {:>15} {:>12} {:>6} {:>5}\n", triple(cell.held_ns),
               triple(cell.done_ns), cell.rate(),
               fmt::format("{:.2f} + {:.2f}", cell.cpu_source(), cell.cpu_sink()),
               fmt::format("{:.1f} + {:.1f}", cell.switches_source(), cell.switches_sink()),
               cell.sinks.lost, cell.sinks.torn + cell.sinks.disordered);
  }
}

nlohmann::json cell_json(Cell& cell) {
  nlohmann::json j{{"transport", cell.job.transport},
                   {"bytes", cell.job.bytes},
                   {"subscribers", cell.job.subscribers},
                   {"hz", cell.job.hz},
                   {"touch", cell.job.touch == Touch::kPage ? "page" : "every-byte"},
                   {"rounds", cell.rounds}};
  if (!cell.error.empty()) {
    j["error"] = cell.error;
    return j;
  }
  const auto percentiles = [](std::vector<std::uint32_t>& samples) {
    return nlohmann::json{{"p50", percentile_us(samples, .5)},
                          {"p99", percentile_us(samples, .99)},
                          {"p99.9", percentile_us(samples, .999)},
                          {"max", percentile_us(samples, 1)},
                          {"samples", samples.size()}};
  };
  j["held_us"] = percentiles(cell.held_ns);
  j["read_us"] = percentiles(cell.done_ns);
  j["messages_per_second"] = cell.rate();
  j["cpu_percent"] = {{"publisher", cell.cpu_source()}, {"subscriber", cell.cpu_sink()}};
  j["context_switches_per_message"] = {{"publisher", cell.switches_source()},
                                       {"subscriber", cell.switches_sink()}};
  j["published"] = cell.source.frames;
  j["received"] = cell.sinks.frames;
  j["lost"] = cell.sinks.lost;
  j["torn"] = cell.sinks.torn;
  j["repeated_or_backward"] = cell.sinks.disordered;
  j["not_loaned"] = cell.source.not_loaned;
  return j;
}

}  // namespace

void print_tables(std::vector<Suite>& suites, const std::vector<FirstLap>& laps) {
  for (Suite& suite : suites) print_suite(suite);
  if (!suites.empty()) {
    print_out(
        "\nheld: from the publisher's stamp until the subscriber may read; read: until it has. "
        "CPU: of one core, per process.\nbad: torn, repeated or backward frames. lost: gaps in "
        "what all subscribers received.\n");
  }
  for (const FirstLap& lap : laps) {
    print_out("\nfirst lap through {} slots of {}: ", lap.slots, size_name(lap.slot_bytes));
    if (!lap.error.empty()) {
      print_out("{}\n", lap.error);
      continue;
    }
    print_out(
        "create {:.1f} ms, open {:.1f} ms; writing a slot {:.2f} ms at first, {:.2f} ms later; "
        "touching its pages as a reader {:.3f} ms at first, {:.3f} ms later; {} page faults\n",
        lap.create_ms, lap.open_ms, lap.first_write_ms, lap.later_write_ms, lap.first_read_ms,
        lap.later_read_ms, lap.first_lap_faults);
  }
}

void print_json(std::vector<Suite>& suites, const std::vector<FirstLap>& laps) {
  nlohmann::json document;
  document["suites"] = nlohmann::json::object();
  for (Suite& suite : suites) {
    auto& cells = document["suites"][suite.name] = nlohmann::json::array();
    for (Cell& cell : suite.cells) cells.push_back(cell_json(cell));
  }
  document["first_lap"] = nlohmann::json::array();
  for (const FirstLap& lap : laps) {
    nlohmann::json j{{"slot_bytes", lap.slot_bytes}, {"slots", lap.slots}};
    if (!lap.error.empty()) {
      j["error"] = lap.error;
    } else {
      j["create_ms"] = lap.create_ms;
      j["open_ms"] = lap.open_ms;
      j["first_write_ms"] = lap.first_write_ms;
      j["later_write_ms"] = lap.later_write_ms;
      j["first_read_ms"] = lap.first_read_ms;
      j["later_read_ms"] = lap.later_read_ms;
      j["first_lap_faults"] = lap.first_lap_faults;
    }
    document["first_lap"].push_back(j);
  }
  print_out("{}\n", document.dump(2));
}

bool sound(const std::vector<Suite>& suites) {
  for (const Suite& suite : suites) {
    for (const Cell& cell : suite.cells) {
      const bool ours = cell.job.transport.starts_with("fovea");
      if (!cell.error.empty() || cell.sinks.torn + cell.sinks.disordered > 0) return false;
      if (ours && cell.job.lossless() && cell.sinks.lost > 0) return false;
    }
  }
  return true;
}

}  // namespace fovea::bench
