#include "nodes/tracker/assignment.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

namespace fovea {

std::uint32_t Assignment::root_of(std::uint32_t node) {
  while (parents_[node] != node) node = parents_[node] = parents_[parents_[node]];
  return node;
}

std::span<const std::uint32_t> Assignment::solve(std::size_t rows, std::size_t columns,
                                                 std::span<const AssignmentPair> pairs) {
  column_of_.assign(rows, kNone);
  row_place_.assign(rows, kNone);
  column_place_.assign(columns, kNone);
  parents_.resize(rows + columns);
  std::iota(parents_.begin(), parents_.end(), 0u);
  const auto first_column = static_cast<std::uint32_t>(rows);
  for (const AssignmentPair& pair : pairs) {
    if (pair.gain > 0) parents_[root_of(pair.row)] = root_of(first_column + pair.column);
  }
  parts_.clear();
  for (const AssignmentPair& pair : pairs) {
    if (pair.gain > 0) parts_.push_back({root_of(pair.row), pair});
  }
  // The order within a part decides between equal sums, so that the result is always the same.
  std::sort(parts_.begin(), parts_.end(), [](const Part& a, const Part& b) {
    if (a.root != b.root) return a.root < b.root;
    return a.pair.row != b.pair.row ? a.pair.row < b.pair.row : a.pair.column < b.pair.column;
  });
  for (std::size_t begin = 0; begin < parts_.size();) {
    std::size_t end = begin + 1;
    while (end < parts_.size() && parts_[end].root == parts_[begin].root) ++end;
    solve_part(std::span(parts_).subspan(begin, end - begin));
    begin = end;
  }
  return column_of_;
}

void Assignment::solve_part(std::span<const Part> part) {
  if (part.size() == 1) {
    column_of_[part[0].pair.row] = part[0].pair.column;
    return;
  }
  rows_.clear();
  columns_.clear();
  const auto place = [](std::uint32_t outside, std::vector<std::uint32_t>& places,
                        std::vector<std::uint32_t>& inside) {
    if (places[outside] == kNone) {
      places[outside] = static_cast<std::uint32_t>(inside.size());
      inside.push_back(outside);
    }
  };
  for (const auto& [root, pair] : part) {
    place(pair.row, row_place_, rows_);
    place(pair.column, column_place_, columns_);
  }
  const bool rows_are_short = rows_.size() <= columns_.size();
  const std::size_t short_side = std::min(rows_.size(), columns_.size());
  const std::size_t long_side = std::max(rows_.size(), columns_.size());
  gains_.assign(short_side * long_side, 0);
  const auto at = [&](std::size_t row, std::size_t column) -> double& {
    return rows_are_short ? gains_[row * long_side + column] : gains_[column * long_side + row];
  };
  for (const auto& [root, pair] : part) {
    at(row_place_[pair.row], column_place_[pair.column]) = pair.gain;
  }
  solve_dense(short_side, long_side);
  for (std::size_t j = 1; j <= long_side; ++j) {
    if (partner_[j] == 0) continue;
    const std::size_t row = rows_are_short ? partner_[j] - 1 : j - 1;
    const std::size_t column = rows_are_short ? j - 1 : partner_[j] - 1;
    // What was not listed gains nothing and stands for "alone".
    if (at(row, column) > 0) column_of_[rows_[row]] = columns_[column];
  }
}

// Gives each of the short side a partner of its own, at least cost (the gain's opposite). Both sides
// count from 1; 0 is nobody, and on the long side the one who looks for a partner.
void Assignment::solve_dense(std::size_t short_side, std::size_t long_side) {
  constexpr double kFar = std::numeric_limits<double>::infinity();
  short_potential_.assign(short_side + 1, 0);
  long_potential_.assign(long_side + 1, 0);
  partner_.assign(long_side + 1, 0);
  before_.assign(long_side + 1, 0);
  for (std::size_t seeker = 1; seeker <= short_side; ++seeker) {
    partner_[0] = static_cast<std::uint32_t>(seeker);
    distance_.assign(long_side + 1, kFar);
    is_done_.assign(long_side + 1, 0);
    std::size_t here = 0;
    do {
      is_done_[here] = 1;
      const std::size_t i = partner_[here];
      const double* const gains = &gains_[(i - 1) * long_side];
      double least = kFar;
      std::size_t next = 0;
      for (std::size_t j = 1; j <= long_side; ++j) {
        if (is_done_[j]) continue;
        const double reduced = -gains[j - 1] - short_potential_[i] - long_potential_[j];
        if (reduced < distance_[j]) {
          distance_[j] = reduced;
          before_[j] = static_cast<std::uint32_t>(here);
        }
        if (distance_[j] < least) {
          least = distance_[j];
          next = j;
        }
      }
      for (std::size_t j = 0; j <= long_side; ++j) {
        if (is_done_[j]) {
          short_potential_[partner_[j]] += least;
          long_potential_[j] -= least;
        } else {
          distance_[j] -= least;
        }
      }
      here = next;
    } while (partner_[here] != 0);
    while (here != 0) {  // along the path, everybody takes the partner of the one before
      partner_[here] = partner_[before_[here]];
      here = before_[here];
    }
  }
}

}  // namespace fovea
