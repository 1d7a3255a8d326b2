// `fovea bench check`: whether comparing runs in turns tells the truth on this machine. The same
// programs are compared with themselves, as many times as asked, where every change found is a
// false alarm; and with programs of a planted slowdown, which has to be found.
//
// Thread safety: one command per process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "launch/bench/compare.hpp"
#include "launch/bench/replay_command.hpp"

namespace fovea::bench {

struct CheckOptions {
  CheckOptions();  // short runs
  CommonOptions common;
  std::uint32_t reruns = 20;
  std::string planted;  // folder with the slowed programs; empty = bin/planted of the build
};

struct CheckResult {
  std::vector<ComparisonReport> reruns;   // of the same programs
  std::vector<ComparisonReport> planted;  // against the slowed ones
  std::size_t false_alarms() const;       // reruns in which anything is better or worse
  std::size_t found() const;              // planted ones in which something is worse
};

// A round makes one run after the other: slowed, `reruns` + 1 times the same, slowed; the next one
// goes backwards. Each run is compared with the one before it, pair by pair over the rounds, so two
// neighbouring comparisons share the runs between them. `columns[i]` are the runs at place i.
// REQUIRES: three columns or more, with as many runs each. Errors: those of compare().
Result<CheckResult> judge_columns(const std::vector<std::vector<RunResult>>& columns,
                                  const Report& about);

std::string to_table(const CheckResult& result);

// Runs it and prints the table. True if no alarm was false and every slowdown was found.
Result<bool> run_check(CheckOptions& options);

}  // namespace fovea::bench
