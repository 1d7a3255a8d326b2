// The exporter as a scraper sees it: a real process over pages that the test writes as nodes do.
#include <filesystem>
#include <fstream>
#include <memory>
#include <regex>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include "nodes/runtime/figures/ledger.hpp"
#include "nodes/runtime/figures/metric_table.hpp"
#include "nodes/runtime/figures/metrics.hpp"
#include "tests/metrics_exporter/http_client.hpp"
#include "tests/metrics_exporter/scrape.hpp"
#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

using test::Child;
using test::eventually;
using test::Scrape;
using testing::HasSubstr;
using testing::IsEmpty;

class MetricsNode : public testing::Test {
 protected:
  MetricsNode() : page_(*MetricsPage::create(*domain_, "detector", "detector")) {}

  void start() {
    node_ = std::make_unique<Child>(domain_.root(), FOVEA_BIN_DIR "/fovea-metrics",
                                    std::vector<std::string>{"--domain", "test", "--port", "0"});
    ASSERT_TRUE(eventually([&] {
      std::smatch found;
      const std::string text = node_->err();
      if (!std::regex_search(text, found, std::regex("127\\.0\\.0\\.1:(\\d+)/metrics")))
        return false;
      port_ = static_cast<std::uint16_t>(std::stoi(found[1]));
      return true;
    })) << node_->err();
  }
  std::string scrape() const {
    return test::body_of(test::ask(port_, "GET /metrics HTTP/1.1\r\n\r\n"));
  }

  test::TestDomain domain_;
  std::unique_ptr<MetricsPage> page_;
  std::unique_ptr<Child> node_;
  std::uint16_t port_ = 0;
};

TEST_F(MetricsNode, ServesEveryFigureOfEveryNodeInBaseUnits) {
  StageLedger ledger(*page_, "cam0");
  ledger.capture();
  ledger.capture();
  ledger.drop(DropReason::kSuperseded);
  ledger.writes("cam0/heads");
  page_->set_state(msgs::LifecycleState::kActive);
  page_->counter("detections", "cam0", "traffic \"light\"\n") = 7;
  page_->counter("restart_gap_ms", "cam0") = 1500;
  page_->counter("bytes_written", "cam0") = 4096;
  page_->counter("build_progress_pct") = 50;
  page_->counter("homemade", "cam0", "x") = 3;
  page_->counter("zone_tracks", "cam0", "yard/either/or") = 4;
  page_->counter("line_crossings", "cam0", "gate/to_left/person") = 5;
  for (const std::uint64_t us : {400u, 1500u, 30000u, 20000000u})
    page_->histogram("latency_us", "cam0").record(us);
  start();
  const std::string text = scrape();
  const Scrape seen(text);
  EXPECT_THAT(seen.errors, IsEmpty()) << text;
  EXPECT_EQ(seen.value(R"(fovea_frames_in_total{node="detector",camera="cam0"})"), 2);
  EXPECT_EQ(seen.value(
                R"(fovea_frames_dropped_total{node="detector",camera="cam0",reason="superseded"})"),
            1);
  EXPECT_EQ(seen.value(R"(fovea_topic_writes{node="detector",camera="cam0",topic="cam0/heads"})"),
            1);
  EXPECT_EQ(seen.value(R"(fovea_restart_gap_seconds_total{node="detector",camera="cam0"})"), 1.5);
  EXPECT_EQ(seen.value(R"(fovea_written_bytes_total{node="detector",camera="cam0"})"), 4096);
  EXPECT_EQ(seen.value(R"(fovea_build_progress_ratio{node="detector"})"), 0.5);
  EXPECT_EQ(seen.value(R"(fovea_homemade{node="detector",camera="cam0",label="x"})"), 3);
  EXPECT_EQ(
      seen.value(
          R"(fovea_zone_tracks{node="detector",camera="cam0",zone="yard",class="either/or"})"),
      4);
  EXPECT_EQ(seen.value(R"(fovea_line_crossings_total{node="detector",camera="cam0",line="gate",)"
                       R"(direction="to_left",class="person"})"),
            5);
  EXPECT_EQ(seen.value(R"(fovea_node_up{node="detector",type="detector"})"), 1);
  EXPECT_EQ(seen.value(R"(fovea_node_active{node="detector"})"), 1);
  EXPECT_THAT(text, HasSubstr("traffic \\\"light\\\""));
  const std::string latency = R"(fovea_latency_seconds_bucket{node="detector",camera="cam0",le=)";
  EXPECT_EQ(seen.value(latency + "\"0.0005\"}"), 1);
  EXPECT_EQ(seen.value(latency + "\"0.002\"}"), 2);
  EXPECT_EQ(seen.value(latency + "\"0.05\"}"), 3);
  EXPECT_EQ(seen.value(latency + "\"10\"}"), 3);
  EXPECT_EQ(seen.value(latency + "\"+Inf\"}"), 4);
  EXPECT_NEAR(seen.value(R"(fovea_latency_seconds_sum{node="detector",camera="cam0"})"), 20.0319,
              1e-9);

  if (system("command -v promtool >/dev/null 2>&1") == 0) {
    const std::filesystem::path file = domain_.root() / "metrics.txt";
    std::ofstream(file) << text;
    const std::string command = "promtool check metrics < " + file.string();
    EXPECT_EQ(system(command.c_str()), 0) << text;
  }
  node_->send(SIGINT);
  EXPECT_EQ(node_->wait(), 0) << node_->err();
}

TEST_F(MetricsNode, ADeadNodesFiguresAreServedAsThoseOfADeadNode) {
  page_->counter("engine_swaps") = 5;
  page_->keep();
  page_.reset();
  start();
  const Scrape seen(scrape());
  EXPECT_EQ(seen.value(R"(fovea_node_up{node="detector",type="detector"})"), 0);
  EXPECT_EQ(seen.value(R"(fovea_engine_swaps_total{node="detector"})"), 5);
}

TEST_F(MetricsNode, APortInUseEndsItWithAnErrorThatNamesIt) {
  start();
  Child second(domain_.root(), FOVEA_BIN_DIR "/fovea-metrics",
               {"--domain", "test", "--name", "other", "--port", std::to_string(port_)});
  EXPECT_EQ(second.wait(), 1);
  EXPECT_THAT(second.err(), HasSubstr("port " + std::to_string(port_) + " of 127.0.0.1"));
}

TEST(MetricsConfig, HasTheParametersThatThereAre) {
  const test::TestDomain domain;
  Child check(domain.root(), FOVEA_BIN_DIR "/fovea-metrics",
              {"--check-params", "--params-file", FOVEA_SOURCE_DIR "/config/metrics.yaml"});
  EXPECT_EQ(check.wait(), 0) << check.err();
}

// A name without a row would be exported without type, unit and help.
TEST(MetricTable, EveryFigureThatANodeRegistersHasARow) {
  const std::regex registered(
      R"re((counter|histogram)\(\s*"([a-z0-9_]+)"|\.latencies = \{|\{"([a-z0-9_]+_us)", &)re");
  std::size_t found = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(FOVEA_SOURCE_DIR "/nodes")) {
    if (entry.path().extension() != ".cpp" && entry.path().extension() != ".hpp") continue;
    std::ifstream file(entry.path());
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    for (std::sregex_iterator match(text.begin(), text.end(), registered), end; match != end;
         ++match) {
      const std::string name = (*match)[2].matched ? (*match)[2] : (*match)[3];
      if (name.empty()) continue;
      ++found;
      EXPECT_NE(find_metric(name), nullptr) << name << " in " << entry.path();
    }
  }
  EXPECT_GT(found, 15u);
}

}  // namespace
}  // namespace fovea
