// What the engine bench measured, as a table for people and JSON for machines.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace fovea::bench {

// Of a sample: the median and the quartiles around it.
struct Spread {
  double median = 0;
  double low = 0;
  double high = 0;
};
// REQUIRES: values.
Spread spread_of(std::vector<double> values);

// One engine on one number of threads.
struct Figures {
  std::string name;
  std::string scope;  // from what to what
  int threads = 1;
  Spread ms;
  std::optional<Spread> over_onednn;  // its time in the same round over ours: above 1 is faster
  std::optional<Spread> over_onnxruntime;  // likewise
  std::optional<Spread> over_openvino;     // likewise, of the same precision
  double first_ms = 0;                     // load to the end of the first inference, new process
  double peak_rss_mb = 0;
  std::optional<Spread> busy_ms;    // with one other busy process on the CPUs
  std::optional<Spread> slow_down;  // busy over quiet, by round
};

struct Report {
  std::string date;  // UTC
  std::string cpu;
  std::size_t cpus = 0;  // that the bench may use
  std::string model;
  std::string isa;  // what our kernels see
  std::size_t rounds = 0;
  std::size_t runs = 0;  // in a round
  std::vector<Figures> figures;
  std::vector<std::string> notices;  // engines that did not take part, and why
};

std::string to_table(const Report& report);
std::string to_json(const Report& report);
// From what to_json() wrote of several models or instruction sets: one line for each of our engines,
// with its time and OpenVINO's and ONNX Runtime's over it.
std::string to_summary(const std::vector<std::string>& reports);

}  // namespace fovea::bench
