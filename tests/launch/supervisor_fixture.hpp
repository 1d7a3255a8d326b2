// A supervisor of real processes (fake_node.cpp) in a domain of its own, with a watchdog.
#pragma once

#include <chrono>
#include <fstream>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/supervision/supervisor.hpp"
#include "tests/launch/isolated_domain.hpp"

namespace fovea::launch {

inline constexpr auto kWatchdog = std::chrono::seconds(60);

inline NodeAction fake(const std::string& name, std::vector<NameValue> parameters = {},
                       std::vector<std::string> depends_on = {}) {
  NodeAction action;
  action.name = name;
  action.executable = FOVEA_FAKE_NODE;
  action.parameters = std::move(parameters);
  action.depends_on = std::move(depends_on);
  action.respawn_delay = Seconds(0.01);
  action.where = "test.yaml:1";
  return action;
}

class SupervisorTest : public ::testing::Test {
 protected:
  // Runs until the launch has ended; `step` is called often and may stop() or kill.
  void run(
      std::vector<NodeAction> nodes, const std::function<void()>& step = [] {}) {
    Graph graph;
    graph.nodes = std::move(nodes);
    supervisor_ = std::make_unique<Supervisor>(
        executor_, *domain_, std::move(graph),
        Supervisor::Callbacks{
            [this](std::string_view line) { output_.emplace_back(line); },
            [this](LogLevel, std::string_view text) { events_.emplace_back(text); },
            [this] { executor_.stop(); }, [this](std::string_view) { return in_flight_(); }});
    const auto id = executor_.add_timer(std::chrono::milliseconds(5), step);
    const auto watchdog = executor_.add_timer(kWatchdog, [this] {
      ADD_FAILURE() << "the launch did not end";
      executor_.stop();
    });
    supervisor_->start();
    executor_.run();
    executor_.remove(id);
    executor_.remove(watchdog);
    ended_ = supervisor_->report();
    error_ = supervisor_->error();
    supervisor_.reset();
    domain_->sweep();
    EXPECT_THAT(domain_.leftovers(), ::testing::IsEmpty());
  }

  void stop_when_active() {
    if (supervisor_->all_active() && !supervisor_->stopping()) supervisor_->stop();
  }
  const NodeReport& node(const std::string& name) const {
    for (const NodeReport& report : ended_) {
      if (report.name == name) return report;
    }
    throw std::out_of_range(name);
  }
  std::vector<std::string> lines_of(const std::filesystem::path& file) const {
    std::ifstream stream(file);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
  }

  IsolatedDomain domain_;
  Executor executor_;
  std::function<std::uint64_t()> in_flight_ = [] { return std::uint64_t{0}; };
  std::unique_ptr<Supervisor> supervisor_;
  std::vector<std::string> output_, events_;
  std::vector<NodeReport> ended_;
  std::string error_;
};

}  // namespace fovea::launch
