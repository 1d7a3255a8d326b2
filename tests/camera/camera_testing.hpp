// What the camera tests share: a clock that only moves when told, a source that follows a script, a
// place for files, and reading whole frames.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "nodes/base/file_io.hpp"
#include "nodes/camera/frame_source.hpp"

namespace fovea::frames {

using namespace std::chrono_literals;

// Sleeping moves it; every deadline that somebody slept for is on record.
class FakeClock final : public Clock {
 public:
  Nanoseconds monotonic() const override { return now; }
  Nanoseconds realtime() const override { return now + 1000h; }
  bool sleep_until(Nanoseconds deadline, const std::stop_token& stop) override {
    if (stop.stop_requested()) return false;
    deadlines.push_back(deadline);
    now = std::max(now, deadline);
    return true;
  }

  Nanoseconds now = 100s;
  std::vector<Nanoseconds> deadlines;
};

// Opens and grabs as told; an empty script times out (and lets the clock move on as a real wait
// would).
class ScriptedSource final : public FrameSource {
 public:
  ScriptedSource(SourceInfo info, const SourceOptions& options)
      : FrameSource("scripted", options), scripted_info(info) {}

  static Grab frame(std::uint32_t width = 16, std::uint32_t height = 16) {
    Grab grab;
    grab.status = GrabStatus::kFrame;
    grab.frame.width = width;
    grab.frame.height = height;
    return grab;
  }
  static Grab status(GrabStatus status) {
    Grab grab;
    grab.status = status;
    return grab;
  }

  SourceInfo scripted_info;
  std::deque<Result<>> opens;      // empty: succeeds
  std::deque<Result<Grab>> grabs;  // empty: timeout
  Nanoseconds frame_interval{0};   // a live source's frame takes this long
  int open_count = 0;
  int close_count = 0;

 private:
  Result<SourceInfo> do_open(const std::stop_token&) override {
    ++open_count;
    if (!opens.empty()) {
      const Result<> result = opens.front();
      opens.pop_front();
      if (!result) return fail(result.error());
    }
    return scripted_info;
  }
  void do_close() override { ++close_count; }
  Result<Grab> advance(Nanoseconds timeout, const std::stop_token& stop) override {
    if (grabs.empty()) {
      clock().sleep_until(deadline_after(clock().monotonic(), timeout), stop);
      return status(GrabStatus::kTimeout);
    }
    if (frame_interval > 0ns) clock().sleep_until(clock().monotonic() + frame_interval, stop);
    Result<Grab> next = grabs.front();
    grabs.pop_front();
    return next;
  }
  Result<std::size_t> convert(const ImageTarget&) override { return std::size_t{0}; }
};

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "fovea-camera-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  std::string operator/(std::string_view name) const { return (path_ / name).string(); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// A source that must come to be, opened.
inline std::unique_ptr<FrameSource> open_source(const std::string& uri,
                                                SourceOptions options = {}) {
  auto source = make_frame_source(uri, options);
  if (!source) {
    ADD_FAILURE() << source.error().message;
    return nullptr;
  }
  const auto opened = (*source)->open();
  if (!opened) {
    ADD_FAILURE() << opened.error().message;
    return nullptr;
  }
  return *std::move(source);
}

// Where the padding behind each row stays visible: rows `padding` bytes apart, filled with 0xEE.
class Canvas {
 public:
  static constexpr std::byte kUntouched{0xee};

  explicit Canvas(const FrameInfo& frame, std::size_t padding = 64)
      : step_((std::size_t{3} * frame.width + 15) / 16 * 16 + padding),
        memory_(step_ * frame.height + 64, kUntouched),
        width_(frame.width),
        height_(frame.height) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    offset_ = (64 - address % 64) % 64;
  }
  ImageTarget view() { return {memory_.data() + offset_, width_, height_, step_}; }
  // {b, g, r} of one pixel.
  std::array<int, 3> at(std::uint32_t x, std::uint32_t y) const {
    const std::byte* pixel = data() + y * step_ + std::size_t{3} * x;
    return {std::to_integer<int>(pixel[0]), std::to_integer<int>(pixel[1]),
            std::to_integer<int>(pixel[2])};
  }
  bool padding_untouched() const {
    for (std::uint32_t y = 0; y + 1 < height_; ++y) {
      for (std::size_t i = std::size_t{3} * width_; i < step_; ++i) {
        if (data()[y * step_ + i] != kUntouched) return false;
      }
    }
    return true;
  }
  bool operator==(const Canvas& other) const {
    return std::equal(data(), data() + step_ * height_, other.data(),
                      other.data() + other.step_ * other.height_);
  }

 private:
  const std::byte* data() const { return memory_.data() + offset_; }

  std::size_t step_;
  std::vector<std::byte> memory_;
  std::uint32_t width_;
  std::uint32_t height_;
  std::size_t offset_ = 0;  // not a pointer, so that a copy refers to its own memory
};

}  // namespace fovea::frames
