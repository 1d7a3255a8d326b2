// The best assignment, against all that there are.
#include "nodes/tracker/assignment.hpp"

#include <algorithm>
#include <functional>
#include <random>
#include <set>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/allocation_guard.hpp"

namespace fovea {
namespace {

using testing::ElementsAre;
constexpr std::uint32_t kNone = Assignment::kNone;

// The greatest sum of gains: every row alone, or with any column that is free.
double brute_force(std::size_t rows, std::size_t columns,
                   const std::vector<AssignmentPair>& pairs) {
  std::vector<std::vector<double>> gains(rows, std::vector<double>(columns, 0));
  for (const AssignmentPair& pair : pairs) gains[pair.row][pair.column] = pair.gain;
  std::vector<bool> taken(columns, false);
  const std::function<double(std::size_t)> best = [&](std::size_t row) {
    if (row == rows) return 0.0;
    double most = best(row + 1);
    for (std::size_t column = 0; column < columns; ++column) {
      if (taken[column] || gains[row][column] <= 0) continue;
      taken[column] = true;
      most = std::max(most, gains[row][column] + best(row + 1));
      taken[column] = false;
    }
    return most;
  };
  return best(0);
}

// The sum that `assignment` reaches; only with pairs that are listed, each column once.
double sum_of(std::span<const std::uint32_t> column_of, const std::vector<AssignmentPair>& pairs) {
  double sum = 0;
  std::set<std::uint32_t> columns;
  for (std::uint32_t row = 0; row < column_of.size(); ++row) {
    if (column_of[row] == kNone) continue;
    EXPECT_TRUE(columns.insert(column_of[row]).second) << "column twice";
    const auto pair = std::find_if(pairs.begin(), pairs.end(), [&](const AssignmentPair& p) {
      return p.row == row && p.column == column_of[row];
    });
    EXPECT_NE(pair, pairs.end()) << "not listed";
    if (pair == pairs.end()) continue;
    EXPECT_GT(pair->gain, 0);
    sum += pair->gain;
  }
  return sum;
}

TEST(Assignment, TakesTheGreatestSumNotTheGreatestPair) {
  Assignment assignment;
  // Greedy would take 0.9 and leave row 0 alone.
  const std::vector<AssignmentPair> pairs{{0, 0, 0.8}, {1, 0, 0.9}, {1, 1, 0.7}};
  EXPECT_THAT(assignment.solve(2, 2, pairs), ElementsAre(0, 1));
}

TEST(Assignment, LeavesRowsAndColumnsAlone) {
  Assignment assignment;
  EXPECT_THAT(assignment.solve(0, 0, {}), ElementsAre());
  EXPECT_THAT(assignment.solve(2, 0, {}), ElementsAre(kNone, kNone));
  const std::vector<AssignmentPair> one{{2, 3, 0.1}};
  EXPECT_THAT(assignment.solve(3, 5, one), ElementsAre(kNone, kNone, 3));
  const std::vector<AssignmentPair> worthless{{0, 0, 0.0}, {1, 1, -1.0}};
  EXPECT_THAT(assignment.solve(2, 2, worthless), ElementsAre(kNone, kNone));
}

TEST(Assignment, IsAsGoodAsTheBestOfAllThatThereAre) {
  std::mt19937 random(1);
  Assignment assignment;
  for (int round = 0; round < 2000; ++round) {
    const std::size_t rows = random() % 7, columns = random() % 7;
    const double density = static_cast<double>(random() % 5) / 4;
    std::vector<AssignmentPair> pairs;
    for (std::uint32_t row = 0; row < rows; ++row) {
      for (std::uint32_t column = 0; column < columns; ++column) {
        if (static_cast<double>(random() % 100) / 100 >= density) continue;
        // Coarse, so that equal sums are frequent; some are worth nothing.
        pairs.push_back({row, column, static_cast<double>(random() % 12) / 10 - 0.1});
      }
    }
    std::shuffle(pairs.begin(), pairs.end(), random);
    const double sum = sum_of(assignment.solve(rows, columns, pairs), pairs);
    ASSERT_NEAR(sum, brute_force(rows, columns, pairs), 1e-9) << "round " << round;
  }
}

TEST(Assignment, SolvesAFullMatrixOfAllDetectionsWithoutAllocation) {
  constexpr std::uint32_t kRows = 512, kColumns = 300;
  std::vector<AssignmentPair> pairs;
  for (std::uint32_t row = 0; row < kRows; ++row) {
    for (std::uint32_t column = 0; column < kColumns; ++column) {
      pairs.push_back({row, column, row == column ? 1.0 : 0.5});
    }
  }
  Assignment assignment;
  assignment.solve(kRows, kColumns, pairs);
  const test::AllocationGuard guard;
  const auto found = assignment.solve(kRows, kColumns, pairs);
  EXPECT_EQ(guard.count(), 0u);
  for (std::uint32_t row = 0; row < kRows; ++row) {
    EXPECT_EQ(found[row], row < kColumns ? row : kNone);
  }
}

}  // namespace
}  // namespace fovea
