// A table that stays at the bottom of a terminal while log lines scroll past above it. Each change
// is written as a whole, so it does not flicker.
//
// Thread safety: none.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fovea::launch {

class LiveView {
 public:
  // `fd` is the terminal; `width` 0 asks it at every draw.
  explicit LiveView(int fd, std::size_t width = 0) : fd_(fd), width_(width) {}
  ~LiveView() { finish(); }
  LiveView(const LiveView&) = delete;
  LiveView& operator=(const LiveView&) = delete;

  // Replaces the table. Longer lines are cut at the terminal's width.
  void draw(std::vector<std::string> lines);
  // Puts a line above the table.
  void print(std::string_view line);
  // Removes the table; the cursor stands where it began.
  void finish();

 private:
  std::string erased() const;    // control codes that remove the table
  std::string rendered() const;  // the table as text
  void emit(const std::string& text) const;
  std::size_t width() const;

  int fd_;
  std::size_t width_;
  std::vector<std::string> lines_;
};

}  // namespace fovea::launch
