#include "nodes/base/progress.hpp"

#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "nodes/base/terminal.hpp"

namespace fovea {

namespace {

bool is_terminal() { return ::isatty(STDERR_FILENO) != 0; }

}  // namespace

void clear_progress() {
  if (is_terminal()) print_text(STDERR_FILENO, "\r\x1b[K");
}

StageProgress::StageProgress() : terminal_(is_terminal()) {}

void StageProgress::update(std::string_view stage, double done) {
  if (!terminal_) {
    const int tenth = static_cast<int>(10 * done);
    if (stage == last_stage_ && tenth == last_tenth_) return;
    last_stage_ = stage;
    last_tenth_ = tenth;
    print_error("{:3.0f} % {}", 100 * done, stage);
    return;
  }
  constexpr int kWidth = 30;
  const int filled = static_cast<int>(done * kWidth);
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
  const std::string eta = done > 0 && done < 1 && spent.count() > 1
                              ? fmt::format("{:.0f} s left", spent.count() * (1 - done) / done)
                              : "";
  print_text(STDERR_FILENO,
             fmt::format("\r[{:#<{}}{:.<{}}] {:3.0f} % {:<16} {:<12}\x1b[K{}", "", filled, "",
                         kWidth - filled, 100 * done, stage, eta, done >= 1 ? "\n" : ""));
}

CountProgress::CountProgress(std::string label, std::size_t total)
    : label_(std::move(label)), total_(total), terminal_(is_terminal()) {}

void CountProgress::update(std::size_t done) {
  if (terminal_) {
    const std::string of = total_ == 0 ? "" : fmt::format("/{}", total_);
    print_text(STDERR_FILENO, fmt::format("\r{} {}{} ", label_, done, of));
    return;
  }
  const std::size_t tenth = total_ == 0 ? 0 : 10 * done / total_;
  if (tenth != last_tenth_) print_error("{} {}/{}", label_, done, total_);
  last_tenth_ = tenth;
}

CountProgress::~CountProgress() {
  if (terminal_) clear_progress();
}

}  // namespace fovea
