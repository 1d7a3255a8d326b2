// Runs the real `fovea` on nodes that misbehave (fake_node.cpp), in a domain of its own.
#pragma once

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "launch/looking/snapshot.hpp"
#include "launch/supervision/child_process.hpp"
#include "tests/launch/isolated_domain.hpp"
#include "tests/support/build_paths.hpp"

namespace fovea::launch {

inline constexpr auto kWatchdog = std::chrono::seconds(60);

struct Outcome {
  ExitStatus status;
  std::string output;
};

class CliTest : public ::testing::Test {
 protected:
  std::unique_ptr<ChildProcess> start(std::vector<std::string> words) {
    words.insert(words.begin(), std::string(FOVEA_BIN_DIR) + "/fovea");
    return ChildProcess::spawn(words, {}).value();
  }

  // Reads on until the process has ended.
  Outcome finish(ChildProcess& process) {
    Outcome outcome;
    const bool ended = wait_for([&] {
      read_more(process);
      const auto status = process.reap();
      if (status) outcome.status = *status;
      return status.has_value();
    });
    EXPECT_TRUE(ended) << "the command did not end";
    read_more(process);
    outcome.output = std::exchange(output_, {});
    return outcome;
  }

  Outcome run(std::vector<std::string> words) { return finish(*start(std::move(words))); }

  void read_more(ChildProcess& process) {
    process.read_output([this](std::string_view line) { (output_ += line) += '\n'; });
  }

  static bool wait_for(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + kWatchdog;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }

  // A launch file of fake nodes; returns its path.
  std::string launch_file(const std::string& nodes) {
    const std::filesystem::path file = domain_.root() / "test.launch.yaml";
    std::ofstream(file) << "launch:\n" << nodes;
    return file;
  }

  static std::string fake(const std::string& name, const std::string& more = "") {
    return "  - node: {exec: " FOVEA_FAKE_NODE ", name: " + name + more + "}\n";
  }

  bool all_active(std::size_t count) const {
    const Snapshot snapshot = take_snapshot(*domain_, false);
    std::size_t active = 0;
    for (const NodeView& node : snapshot.nodes) {
      active += node.alive && node.state == msgs::LifecycleState::kActive;
    }
    return active == count;
  }

  IsolatedDomain domain_;
  std::string output_;
};

}  // namespace fovea::launch
