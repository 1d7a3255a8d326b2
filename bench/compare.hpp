// Several ways of doing the same work, timed in turns within one run, so that a busy machine slows
// all of them and the ratio stays honest. Single-threaded; prints a table or JSON.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "nodes/base/terminal.hpp"

namespace fovea::bench {

struct Contender {
  std::string name;
  std::function<void()> run;
};

struct Row {
  std::string work;
  std::string name;
  double median_us = 0;
  double ratio = 0;  // first contender's median over this one's: above 1 is faster than the first
};

// REQUIRES: repetitions >= 1. The first contender is the one that the others are compared with.
inline std::vector<Row> compare(const std::string& work, const std::vector<Contender>& contenders,
                                int repetitions) {
  using Clock = std::chrono::steady_clock;
  constexpr int kWarmUp = 5;
  std::vector<std::vector<double>> times(contenders.size());
  for (int repetition = -kWarmUp; repetition < repetitions; ++repetition) {
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      const auto start = Clock::now();
      contenders[i].run();
      const std::chrono::duration<double, std::micro> elapsed = Clock::now() - start;
      if (repetition >= 0) times[i].push_back(elapsed.count());
    }
  }
  std::vector<Row> rows;
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    const auto middle = times[i].begin() + static_cast<std::ptrdiff_t>(times[i].size() / 2);
    std::nth_element(times[i].begin(), middle, times[i].end());
    rows.push_back({work, contenders[i].name, *middle, 0});
    rows.back().ratio = rows.front().median_us / *middle;
  }
  return rows;
}

inline void print(const std::vector<Row>& rows, bool json) {
  if (json) {
    print_out("[\n");
    for (std::size_t i = 0; i < rows.size(); ++i) {
      print_out(R"(  {{"work": "{}", "name": "{}", "median_us": {:.2f}, "ratio": {:.3f}}}{})"
                 "\n",
                 rows[i].work, rows[i].name, rows[i].median_us, rows[i].ratio,
                 i + 1 < rows.size() ? "," : "");
    }
    print_out("]\n");
    return;
  }
  print_out("{:<34} {:<42} {:>12} {:>8}\n", "work", "how", "median us", "ratio");
  for (const Row& row : rows) {
    print_out("{:<34} {:<42} {:>12.1f} {:>7.2f}x\n", row.work, row.name, row.median_us, row.ratio);
  }
}

// `--json` and `--repetitions N`; anything else prints the usage and returns false.
inline bool parse_arguments(int argc, char** argv, bool& json, int& repetitions) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--json") {
      json = true;
    } else if (argument == "--repetitions" && i + 1 < argc && std::atoi(argv[i + 1]) > 0) {
      repetitions = std::atoi(argv[++i]);
    } else {
      print_error("usage: {} [--json] [--repetitions N]", argv[0]);
      return false;
    }
  }
  return true;
}

}  // namespace fovea::bench
