// Figures, JSON and page of made-up runs, whose truth is known.
#include "launch/bench/report.hpp"

#include <filesystem>
#include <fstream>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "launch/bench/svg_plot.hpp"
#include "launch/bench/sweep.hpp"
#include "tests/replay/made_report.hpp"
#include "tests/support/build_paths.hpp"

namespace fovea::bench {
namespace {

using nlohmann::json;
using test::made_report;
using test::made_run;
using testing::HasSubstr;
using testing::Not;

TEST(Report, PiecesAddUpToTheLatency) {
  const Report report = made_report({made_run(2, 10, 3, 1.5)});
  EXPECT_EQ(report.latency.count, 60u);
  EXPECT_NEAR(report.latency.mean, 8 * 1.5, 1e-3);
  EXPECT_NEAR(report.latency.quantiles[4], 12, 1e-3);
  EXPECT_NEAR(report.piece_sum_ratio, 1, 1e-6);
  EXPECT_TRUE(check_piece_sum(report));
  EXPECT_NEAR(report.find("overhead_ms.p50")->mean(), 7 * 1.5, 1e-3);
  EXPECT_NEAR(report.find("piece_ms.engine.p99")->mean(), 1.5, 1e-3);
  EXPECT_NEAR(report.find("fps")->mean(), 20, 1e-9);
  EXPECT_NEAR(report.find("jitter_ms.max")->mean(), 0, 1e-3);
  // detector and cam0 took 55 % of a core for 3 s and 60 frames; the bench itself does not count.
  EXPECT_NEAR(report.find("cpu_ms_per_frame")->mean(), 27.5, 1e-6);
}

TEST(Report, ALostStampIsNoticed) {
  RunResult run = made_run(1, 10, 2, 1);
  EXPECT_TRUE(stamps_in_order(run.frames[3]));
  run.frames[3].stages[2].ended = 0;
  EXPECT_FALSE(stamps_in_order(run.frames[3]));
  FrameRecord other = run.frames[4];
  const std::vector<std::string> stages{"camera", "preprocess", "detector", "postprocess",
                                        "follow"};
  EXPECT_TRUE(passed(other, stages)) << "what comes behind the detections stamps none of them";
  EXPECT_FALSE(passed(other, {"camera", "preprocess"}));
  other.stages[2] = other.stages[3];
  other.stages.count = 3;
  EXPECT_FALSE(passed(other, stages)) << "the detector left no stamp";
  other.stages.clear();
  EXPECT_FALSE(stamps_in_order(other));
  Report report = made_report({run});
  report.piece_sum_ratio = 0.98;
  EXPECT_THAT(check_piece_sum(report).error().message, HasSubstr("98.0 %"));
}

TEST(Report, LossCountsFramesThatNobodyTook) {
  RunResult run = made_run(1, 10, 2, 1);
  run.cameras[0].offered = 25;
  EXPECT_DOUBLE_EQ(run.loss(), 0.2);
  EXPECT_DOUBLE_EQ(made_report({run}).find("loss_percent")->mean(), 20);
}

TEST(Grid, CountsTheInstantsOfAWindow) {
  EXPECT_EQ(grid_points(0, 1'000'000'000, 0, 10), 10u);
  EXPECT_EQ(grid_points(1, 1'000'000'000, 0, 10), 9u);
  EXPECT_EQ(grid_points(1, 1'000'000'001, 0, 10), 10u);
  EXPECT_EQ(grid_points(0, 1'000'000'000, 7'050'000'000, 10), 10u);
  EXPECT_EQ(grid_points(0, 1'000'000'000, -350'000'000, 3), 3u);
  EXPECT_EQ(grid_points(5, 5, 0, 3), 0u);
}

TEST(Report, JitterIsTheChangeOfTheFrameInterval) {
  RunResult run = made_run(1, 10, 1, 1);
  run.frames[5].received += 4'000'000;  // one frame 4 ms late: three intervals change by 4, 8, 4 ms
  const Report report = made_report({run});
  EXPECT_NEAR(report.find("jitter_ms.max")->mean(), 8, 1e-3);
  EXPECT_NEAR(report.find("jitter_ms.mean")->mean(), 16.0 / 8, 1e-3);
}

TEST(Report, Ros2BenchmarkFieldsAreComputedAsThere) {
  RunResult run = made_run(1, 10, 2, 1);
  run.cameras[0].offered = 22;
  run.cameras[0].delivered = 20;
  std::map<std::string, double> metrics;
  for (const auto& [name, value] : ros2_metrics({run})) metrics[name] = value;
  const auto value = [&](const char* name) {
    return metrics.at(std::string("BasicPerformanceMetrics.") + name);
  };
  EXPECT_NEAR(value("RECEIVED_DURATION"), 1900, 1e-6);
  EXPECT_NEAR(value("MEAN_FRAME_RATE"), 20 / 1.9, 1e-6);
  EXPECT_NEAR(value("NUM_MISSED_FRAMES"), 2, 0);
  EXPECT_NEAR(value("NUM_FRAMES_SENT"), 22, 0);
  EXPECT_NEAR(value("MEAN_LATENCY"), 8, 1e-6);
  EXPECT_NEAR(value("FIRST_INPUT_LATENCY"), 8, 1e-6);
  EXPECT_NEAR(metrics.at("ResourceMetrics.MEAN_OVERALL_CPU_UTILIZATION"), 0, 1e-9);
}

Report full_report() {
  Report report = made_report({made_run(2, 10, 3, 1, 0.5, 1), made_run(2, 10, 3, 1, 0.5, 2)});
  report.peak =
      Peak{0.05, {42, 43}, {84, 86}, {{{40, 0.001, true}, {50, 0.2, false}}, {{43, 0.01, true}}}};
  report.rivals = {{"opencv", "a loop", {11, 12}, {90, 91}, {99, 98}, {180, 181}, {7.5, 7.6}, ""},
                   {"onnxruntime", "a loop", {}, {}, {}, {}, {}, "is not there"}};
  report.faults = {{"kill", 2, 0.5, 12, "killed"}, {"shm", 4, -1, 100, "full"}};
  report.sweep = {{1, "fp32", "m.onnx", 0, {20}, {40}, {50}, {60}, {25, 26}, 0.1, 13.2, true},
                  {1, "int8", "m.onnx", 0, {90}, {9}, {11}, {12}, {}, 0, std::nullopt, false}};
  report.turns = "x";
  report.sustained = {{{0, 60, 6, 12, 40, 71}, {540, 57, 7, 14, 42, 0}}};
  return report;
}

// The README lists `path` fields in a table; `*` stands for names that depend on the run.
std::set<std::string> documented_fields() {
  std::ifstream file(FOVEA_SOURCE_DIR "/launch/bench/README.md");
  std::set<std::string> fields;
  std::string line;
  const std::string start = "| `";
  while (std::getline(file, line)) {
    if (!line.starts_with(start)) continue;
    const std::size_t end = line.find("` |", start.size());
    if (end != std::string::npos) fields.insert(line.substr(start.size(), end - start.size()));
  }
  return fields;
}

void list_fields(const json& value, const std::string& path, std::set<std::string>& fields) {
  static const std::set<std::string> kNamed{"figures",           "cameras",    "pieces_ms",
                                            "batches",           "drops",      "books[]",
                                            "config.parameters", "sustained[]"};
  if (value.is_object()) {
    for (const auto& [key, child] : value.items()) {
      const bool named = kNamed.contains(path) ||
                         (path.empty() && key.find("Metrics.") != std::string::npos) ||
                         path == "drops.*";
      const std::string name =
          path.empty() && key.starts_with("BasicPerformanceMetrics.") ? "BasicPerformanceMetrics.*"
          : path.empty() && key.starts_with("ResourceMetrics.")       ? "ResourceMetrics.*"
          : named                                                     ? "*"
                                                                      : key;
      list_fields(child, path.empty() ? name : path + "." + name, fields);
    }
  } else if (value.is_array() && !value.empty() && value[0].is_object()) {
    for (const json& child : value) list_fields(child, path + "[]", fields);
  } else if (value.is_array() && !value.empty() && value[0].is_array() && value[0][0].is_object()) {
    for (const json& child : value) list_fields(child[0], path + "[][]", fields);
  } else {
    fields.insert(path);
  }
}

TEST(ReportJson, HasExactlyTheDocumentedFields) {
  std::set<std::string> fields;
  Report report = full_report();
  report.config.parameters = {{"detector.threads", "1"}};
  list_fields(json::parse(to_json(report)), "", fields);
  const std::set<std::string> documented = documented_fields();
  for (const std::string& field : fields)
    EXPECT_TRUE(documented.contains(field)) << field << " is not documented";
  for (const std::string& field : documented)
    EXPECT_TRUE(fields.contains(field)) << field << " is documented and never written";
}

TEST(ReportJson, ComesBackWithWhatComparisonNeeds) {
  const Report report = full_report();
  const auto back = report_from_json(to_json(report), "a.json");
  ASSERT_TRUE(back) << back.error().message;
  ASSERT_EQ(back->figures.size(), report.figures.size());
  for (std::size_t i = 0; i < report.figures.size(); ++i) {
    EXPECT_EQ(back->find(report.figures[i].name)->runs, report.figures[i].runs);
    EXPECT_EQ(back->find(report.figures[i].name)->better, report.figures[i].better);
  }
  EXPECT_EQ(back->hashes.video, "aa");
  EXPECT_EQ(back->host.cpu, "Some CPU");
  EXPECT_EQ(back->config.cameras, 2u);
}

TEST(ReportJson, ForeignTextIsRefusedByName) {
  for (const char* text :
       {"", "[]", "{}", "{\"schema\":\"fovea-bench/1\"}", "{\"schema\":\"other\",\"figures\":{}}",
        "{\"schema\":5}",
        "{\"schema\":\"fovea-bench/1\",\"figures\":{\"x\":{\"runs\":[\"a\"]}}}"}) {
    const auto report = report_from_json(text, "a.json");
    ASSERT_FALSE(report) << text;
    EXPECT_THAT(report.error().message, HasSubstr("a.json: "));
  }
}

TEST(ReportTable, ShowsTheFiguresOfEverySection) {
  const std::string table = to_table(full_report());
  for (const char* text :
       {"end to end", "to_detector", "the books balance", "peak with less than 5 %", "42.5 ±6.4 Hz",
        "85.0 ±12.7 1/s, 2 searches", "opencv", "11.5 ±6.4", "is not there", "kill", "never",
        "int8", "13.2", "25.5 ±6.4"})
    EXPECT_THAT(table, HasSubstr(text));
}

TEST(ReportPage, StandsAlone) {
  const std::string page = to_html(full_report());
  for (const char* foreign : {"http://", "https://", "<script", "<link", "@import", "url("})
    EXPECT_THAT(page, Not(HasSubstr(foreign)));
  EXPECT_THAT(page, Not(HasSubstr("a<b>")));  // text from outside is escaped
  EXPECT_THAT(page, HasSubstr("a&lt;b&gt;"));
  EXPECT_THAT(page, Not(HasSubstr("nan")));
  EXPECT_THAT(page, HasSubstr("+16.7 %"));  // p50 of the last minute since the first
  const auto count = [&](const std::string& text) {
    std::size_t found = 0;
    for (std::size_t at = page.find(text); at != std::string::npos; at = page.find(text, at + 1))
      ++found;
    return found;
  };
  EXPECT_GE(count("<svg"), 7u);
  for (const char* tag : {"svg", "section", "table", "div", "main", "tr"})
    EXPECT_EQ(count(std::string("<") + tag + " ") + count(std::string("<") + tag + ">"),
              count(std::string("</") + tag + ">"))
        << tag;
}

SweepPoint point(double fps, double p50_ms, std::optional<double> map) {
  SweepPoint made;
  made.fps = {fps};
  made.p50_ms = {p50_ms};
  made.map_50_95 = map;
  return made;
}

TEST(Sweep, TheFrontIsWhatNothingElseBeatsInBoth) {
  std::vector<SweepPoint> points{point(20, 40, 13.2), point(90, 9, 12.7), point(80, 10, 12.0),
                                 point(90, 9, 12.7), point(10, 80, 13.2)};
  mark_front(points);
  std::vector<bool> front;
  for (const SweepPoint& each : points) front.push_back(each.on_front);
  EXPECT_EQ(front, (std::vector<bool>{true, true, false, true, false}));

  std::vector<SweepPoint> by_latency{point(20, 40, std::nullopt), point(90, 9, std::nullopt)};
  mark_front(by_latency);
  EXPECT_FALSE(by_latency[0].on_front);
  EXPECT_TRUE(by_latency[1].on_front);

  // A slower rate was asked for, but it can do more.
  by_latency[0].peak_fps = {100, 120};
  by_latency[1].peak_fps = {90, 95};
  mark_front(by_latency);
  EXPECT_TRUE(by_latency[0].on_front);
}

TEST(Sweep, WithoutAFrontTheReportSaysWhy) {
  Report report = full_report();
  report.sweep[0].on_front = false;
  EXPECT_THAT(to_table(report), HasSubstr("no front: at a fixed rate"));
  EXPECT_THAT(to_html(report), HasSubstr("What a frame costs"));
  EXPECT_THAT(to_html(report), Not(HasSubstr("Speed and accuracy")));
}

TEST(Sustained, ComparesTheLastMinuteWithTheFirst) {
  RunResult run = made_run(1, 10, 150, 1);
  for (FrameRecord& frame : run.frames) {
    if (frame.due >= run.begin_ns + 90'000'000'000) frame.received += 2'000'000;
  }
  for (Second& second : run.seconds) second.temperatures = {{"core", 50 + second.at_s / 10}};
  const Report report = made_report({run});
  ASSERT_EQ(report.sustained.size(), 1u);
  const auto& [first, last] = report.sustained.front();
  EXPECT_NEAR(first.fps, 10, 1e-9);
  EXPECT_NEAR(first.p50_ms, 8, 1e-3);
  EXPECT_NEAR(first.hottest_c, 56, 1e-9);
  EXPECT_NEAR(last.at_s, 90, 1e-9);
  EXPECT_NEAR(last.p50_ms, 10, 1e-3);
  EXPECT_NEAR(last.hottest_c, 65, 1e-9);
  EXPECT_THAT(to_table(report), HasSubstr("1.250"));
  EXPECT_TRUE(made_report({made_run(1, 10, 100, 1)}).sustained.empty());
}

TEST(Plot, TicksAreRound) {
  EXPECT_EQ(ticks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(ticks(0, 1, 5).size(), 6u);
  EXPECT_TRUE(ticks(3, 3, 5).empty());
}

TEST(Resources, StatusIsReadByField) {
  EXPECT_EQ(parse_status_kib("Name:\tx\nVmRSS:\t  1234 kB\nRssShmem:\t 10 kB\n", "VmRSS"), 1234u);
  EXPECT_EQ(parse_status_kib("Name:\tx\n", "VmRSS"), 0u);
}

TEST(Resources, OwnUsageGrows) {
  const auto before = process_usage(getpid());
  ASSERT_TRUE(before);
  // Far finer than a tick of 10 ms: reading it takes some already.
  EXPECT_GT(process_usage(getpid())->cpu_s, before->cpu_s);
  EXPECT_GT(before->rss, 0u);
  EXPECT_FALSE(process_usage(0x7ffffff0));
  EXPECT_GT(describe_host().cores, 0u);
  EXPECT_GT(machine_usage().total_s, 0);
}

}  // namespace
}  // namespace fovea::bench
