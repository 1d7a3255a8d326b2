// The guard's order of search, against networks that are nothing but made-up errors.
#include "nodes/detector/accuracy/accuracy_guard.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace fovea {
namespace {

using engine::QuantizableLayer;
using engine::QuantizationChoice;
using engine::RangeRule;

// stem, two layers at stride 4, three at stride 8, four at stride 16.
std::vector<QuantizableLayer> ten_layers() {
  std::vector<QuantizableLayer> layers;
  for (int i = 0; i < 10; ++i) {
    const std::int64_t stride = i == 0 ? 2 : i < 3 ? 4 : i < 6 ? 8 : 16;
    layers.push_back({"l" + std::to_string(i), 1000, stride});
  }
  return layers;
}

// Errors of single layers add as squares; loss grows with dlogit.
struct MadeUpNetwork {
  std::map<std::string, double> errors;    // dlogit of a layer alone
  std::map<RangeRule, double> rules = {};  // factor; default 1
  double exact = 1;                        // factor of exact activations
  double loss_per_dlogit = 1;
  std::vector<std::pair<QuantizationChoice, Extent>> asked = {};

  Measure measure() {
    return [this](const QuantizationChoice& choice, Extent extent) -> Result<Measurement> {
      asked.emplace_back(choice, extent);
      double squares = 0;
      for (const auto& [name, error] : errors) {
        const auto& lifted = choice.lifted;
        if (std::find(lifted.begin(), lifted.end(), name) != lifted.end()) continue;
        squares += error * error;
      }
      Measurement m;
      m.dlogit = std::sqrt(squares) * (choice.exact_activations ? exact : 1);
      if (const auto rule = rules.find(choice.rule); rule != rules.end()) m.dlogit *= rule->second;
      m.loss = loss_per_dlogit * m.dlogit;
      m.score.map50_95 = 40 - m.loss;
      m.agreement = 100 - 10 * m.dlogit;
      return m;
    };
  }
};

GuardReport searched(MadeUpNetwork& network, GuardOptions options = {}, bool labelled = true) {
  GuardReport start;
  start.labelled = labelled;
  start.pictures = 220;
  start.fp32.score.map50_95 = 40;
  auto report = search_quantization(start, ten_layers(), options, network.measure());
  EXPECT_TRUE(report) << report.error().message;
  return *report;
}

std::vector<std::string> steps(const GuardReport& report) {
  std::vector<std::string> names;
  for (const GuardTrial& trial : report.trials) names.push_back(trial.step);
  return names;
}

TEST(AccuracyGuard, TakesTheRecipeIfItIsGoodEnough) {
  MadeUpNetwork network{.errors = {{"l3", 0.3}}};
  const GuardReport report = searched(network);
  EXPECT_EQ(steps(report), (std::vector<std::string>{"recipe"}));
  ASSERT_TRUE(report.accepted);
  EXPECT_EQ(report.trials[0].choice, QuantizationChoice{});
  EXPECT_NE(report.verdict.find("loses 0.30"), std::string::npos) << report.verdict;
}

TEST(AccuracyGuard, KeepsTheRangesWithTheLeastDlogit) {
  MadeUpNetwork network{.errors = {{"l3", 0.8}},
                        .rules = {{RangeRule::kMse, 0.5}, {RangeRule::kMinMax, 0.9}}};
  const GuardReport report = searched(network);
  ASSERT_TRUE(report.accepted);
  EXPECT_EQ(report.trials[*report.accepted].choice.rule, RangeRule::kMse);
  EXPECT_EQ(report.trials[*report.accepted].extent, Extent::kAll);
  EXPECT_TRUE(std::all_of(report.trials.begin() + 1, report.trials.end() - 1,
                          [](const GuardTrial& t) { return t.extent == Extent::kRanking; }));
}

TEST(AccuracyGuard, NeverTriesEntropyUnlessAsked) {
  MadeUpNetwork network{.errors = {{"l3", 5}}};
  searched(network);
  for (const auto& [choice, extent] : network.asked) EXPECT_NE(choice.rule, RangeRule::kEntropy);
  MadeUpNetwork bad{.errors = {{"l3", 0.4}}, .rules = {{RangeRule::kEntropy, 5}}};
  GuardOptions options;
  options.rule = RangeRule::kEntropy;
  const GuardReport report = searched(bad, options);
  EXPECT_EQ(report.trials[0].choice.rule, RangeRule::kEntropy);
  ASSERT_TRUE(report.accepted);
  EXPECT_EQ(report.trials[*report.accepted].choice.rule, RangeRule::kPercentile);
}

TEST(AccuracyGuard, TriesExactActivationsBeforeLifting) {
  MadeUpNetwork network{.errors = {{"l3", 0.8}}, .exact = 0.5};
  const GuardReport report = searched(network);
  ASSERT_TRUE(report.accepted);
  EXPECT_EQ(steps(report).back(), "exact activations");
  EXPECT_TRUE(report.trials.back().choice.lifted.empty());
}

TEST(AccuracyGuard, LiftsFromTheInputFirst) {
  MadeUpNetwork network{.errors = {{"l0", 1}, {"l1", 1}, {"l2", 0.6}, {"l7", 0.2}}};
  const GuardReport report = searched(network);
  ASSERT_TRUE(report.accepted);
  const GuardTrial& trial = report.trials[*report.accepted];
  EXPECT_EQ(trial.choice.lifted, (std::vector<std::string>{"l0", "l1", "l2"}));
  EXPECT_NEAR(trial.lifted_macs, 30, 1e-9);
  // Stem; stem and the next; all before stride 8.
  const auto names = steps(report);
  EXPECT_EQ(std::vector<std::string>(names.end() - 3, names.end()),
            (std::vector<std::string>{"lift the first layer", "lift the first 2 layers",
                                      "lift the first 3 layers"}));
}

TEST(AccuracyGuard, ThenLiftsTheWorstPerMultiplication) {
  MadeUpNetwork network{.errors = {{"l4", 0.3}, {"l7", 2}, {"l8", 0.1}}};
  GuardOptions options;
  options.max_lifted_macs = 45;  // the first six would be 60 %
  const GuardReport report = searched(network, options);
  ASSERT_TRUE(report.accepted);
  const GuardTrial& trial = report.trials[*report.accepted];
  EXPECT_EQ(trial.choice.lifted, (std::vector<std::string>{"l0", "l1", "l2", "l7"}));
  EXPECT_LT(trial.measured.loss, 0.5);
}

TEST(AccuracyGuard, RefusesAndSaysWhatWasReached) {
  MadeUpNetwork network;
  for (const QuantizableLayer& layer : ten_layers()) network.errors[layer.name] = 3;
  const GuardReport report = searched(network);
  EXPECT_FALSE(report.accepted);
  EXPECT_NE(report.verdict.find("int8 refused: the best that was reached"), std::string::npos);
  EXPECT_NE(report.verdict.find("the budget is 0.5 points"), std::string::npos) << report.verdict;
  for (const GuardTrial& trial : report.trials) {
    if (trial.extent == Extent::kAll) {
      EXPECT_LE(trial.lifted_macs, 50);
    }
  }
}

TEST(AccuracyGuard, NaNIsNotWithinBudget) {
  MadeUpNetwork network{.errors = {{"l0", std::numeric_limits<double>::quiet_NaN()}, {"l9", 0.1}}};
  const GuardReport report = searched(network);
  ASSERT_TRUE(report.accepted);  // once the broken layer is in f32
  EXPECT_EQ(report.trials[*report.accepted].choice.lifted, (std::vector<std::string>{"l0"}));
}

TEST(AccuracyGuard, AcceptsByAgreementWithoutLabels) {
  MadeUpNetwork network{.errors = {{"l3", 0.3}}};
  EXPECT_TRUE(searched(network, {}, false).accepted);  // 97 of 100
  network.errors["l3"] = 0.8;                          // 92
  const GuardReport report = searched(network, {}, false);
  EXPECT_GT(report.trials.size(), 1U);
}

TEST(AccuracyGuard, PassesOnErrors) {
  const auto report =
      search_quantization({}, ten_layers(), {}, [](const auto&, Extent) -> Result<Measurement> {
        return fail(ErrorCode::kUnavailable, "interrupted");
      });
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().message, "interrupted");
}

TEST(AccuracyGuard, SummaryNamesAccuracyLossAndWhatWasLifted) {
  GuardReport report;
  report.labelled = true;
  report.pictures = 220;
  report.fp32.score.map50_95 = 13.19;
  report.fp32.seconds = 0.025;
  GuardTrial trial;
  trial.step = "recipe";
  trial.measured.score.map50_95 = 12.2;
  trial.measured.loss = 0.99;
  report.trials.push_back(trial);
  trial.step = "lift the first 2 layers";
  trial.choice.lifted = {"stem", "d2"};
  trial.lifted_macs = 7.9;
  trial.measured.score.map50_95 = 13.05;
  trial.measured.loss = 0.14;
  trial.measured.half_width = 0.3;
  trial.measured.seconds = 0.0071;
  report.trials.push_back(trial);
  report.accepted = 1;
  std::string text;
  for (const std::string& line : summary(report)) text += line + "\n";
  for (const char* part : {"220 labelled pictures", "fp32  mAP50-95 13.19", "25.00 ms",
                           "int8  mAP50-95 12.20", "recipe", "int8  mAP50-95 13.05", "7.10 ms",
                           "lifted to fp32, 7.9 % of the work", "stem, d2"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in\n" << text;
  }
  report.trials.pop_back();
  report.trials[0].choice = {};
  report.accepted = 0;
  EXPECT_EQ(summary(report).back(), "lifted to fp32: nothing");
}

TEST(AccuracyGuard, ReportIsJson) {
  MadeUpNetwork network{.errors = {{"l0", 1}}};
  const GuardReport report = searched(network);
  const auto json = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(json["trials"].size(), report.trials.size());
  EXPECT_EQ(json["accepted"], *report.accepted);
  EXPECT_EQ(json["fp32_map50_95"], 40);
  EXPECT_EQ(json["max_map_loss"], 0.5);
  EXPECT_EQ(json["verdict"], report.verdict);
}

}  // namespace
}  // namespace fovea
