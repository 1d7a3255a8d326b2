// Which rows and columns belong together so that the sum of their gains is greatest (the assignment
// problem on a sparse graph; each row and each column at most once, and a pair that is not listed
// never). Rows and columns that pairs do not connect are solved apart, each by shortest augmenting
// paths with potentials (Jonker and Volgenant 1987).
//
// Thread safety: one thread at a time. Allocates only to make room for more than ever before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fovea {

struct AssignmentPair {
  std::uint32_t row;
  std::uint32_t column;
  double gain;  // 0 and less: as if it were not listed
};

class Assignment {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  // The column of each row, or kNone; valid until the next call. Costs a sort of the pairs, and for a
  // connected part of n x m (n <= m) up to n * n * m steps. REQUIRES: pairs within rows and columns,
  // each one once, gains finite.
  std::span<const std::uint32_t> solve(std::size_t rows, std::size_t columns,
                                       std::span<const AssignmentPair> pairs);

 private:
  struct Part {
    std::uint32_t root;
    AssignmentPair pair;
  };

  std::uint32_t root_of(std::uint32_t node);
  void solve_part(std::span<const Part> part);
  void solve_dense(std::size_t short_side, std::size_t long_side);

  std::vector<std::uint32_t> column_of_;  // the result
  std::vector<std::uint32_t> parents_;    // of rows, then of columns: which part they are in
  std::vector<Part> parts_;
  // Of the part in hand.
  std::vector<std::uint32_t> rows_, columns_;            // their numbers outside
  std::vector<std::uint32_t> row_place_, column_place_;  // and the way back
  std::vector<double> gains_;                            // [short side, long side]
  std::vector<double> short_potential_, long_potential_, distance_;
  std::vector<std::uint32_t> partner_, before_;  // by the long side, from 1
  std::vector<char> is_done_;
};

}  // namespace fovea
