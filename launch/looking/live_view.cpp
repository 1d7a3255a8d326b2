#include "launch/looking/live_view.hpp"

#include <fmt/core.h>
#include <sys/ioctl.h>

#include "nodes/base/terminal.hpp"

namespace fovea::launch {
namespace {

// At most `columns` characters of UTF-8 text; control characters become blanks.
std::string fit(std::string_view line, std::size_t columns) {
  std::string out;
  std::size_t used = 0;
  for (const char c : line) {
    const auto byte = static_cast<unsigned char>(c);
    const bool begins_character = (byte & 0xc0) != 0x80;
    if (begins_character && used++ == columns) break;
    out += byte < 0x20 || byte == 0x7f ? ' ' : c;
  }
  return out;
}

}  // namespace

void LiveView::draw(std::vector<std::string> lines) {
  std::string text = erased();
  lines_ = std::move(lines);
  for (std::string& line : lines_) line = fit(line, width());
  emit(text + rendered());
}

void LiveView::print(std::string_view line) {
  emit(erased() + std::string(line) + "\n" + rendered());
}

void LiveView::finish() {
  if (lines_.empty()) return;
  emit(erased());
  lines_.clear();
}

std::string LiveView::erased() const {
  return lines_.empty() ? std::string() : fmt::format("\x1b[{}F\x1b[J", lines_.size());
}

std::string LiveView::rendered() const {
  std::string text;
  for (const std::string& line : lines_) text += line + "\n";
  return text;
}

// A terminal that is gone or was halted (Ctrl-S) costs the table, never the launch.
void LiveView::emit(const std::string& text) const { print_text(fd_, text); }

std::size_t LiveView::width() const {
  winsize size{};
  if (width_ > 0) return width_;
  return ioctl(fd_, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace fovea::launch
