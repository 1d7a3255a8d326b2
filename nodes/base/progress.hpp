// How far long work is, on stderr: a bar drawn over itself where stderr is a terminal, else a line
// now and then. What is printed meanwhile goes between clear() and the next update.
//
// Thread safety: one thread at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace fovea {

// Takes a bar off the terminal's line, so that what is printed next stands there; it is drawn again
// below. Nothing where stderr is no terminal.
void clear_progress();

// Work in stages of which the part done is known: a line per stage and tenth without a terminal.
class StageProgress {
 public:
  StageProgress();
  // `done` is of the whole, 0..1.
  void update(std::string_view stage, double done);

 private:
  bool terminal_;
  std::string last_stage_;
  int last_tenth_ = -1;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Work of `total` pieces, "pictures 12/100": a line per tenth without a terminal. 0 = nobody knows
// how many: the terminal shows those that are done.
class CountProgress {
 public:
  CountProgress(std::string label, std::size_t total);
  ~CountProgress();  // takes it off the terminal's line
  CountProgress(const CountProgress&) = delete;
  CountProgress& operator=(const CountProgress&) = delete;

  void update(std::size_t done);

 private:
  std::string label_;
  std::size_t total_;
  bool terminal_;
  std::size_t last_tenth_ = 0;
};

}  // namespace fovea
