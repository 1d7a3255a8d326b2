#include "bench/engine/contestant.hpp"

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <random>
#include <string_view>

#include <fmt/format.h>

#include "nodes/base/terminal.hpp"

namespace fovea::bench {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// Not getrusage(): its maximum counts what the parent had before exec().
double peak_rss_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::strtod(line.c_str() + 6, nullptr) / 1024;
  }
  return 0;
}

Result<> converse(const Task& task, const MakeContestant& make) {
  const auto start = Clock::now();
  FOVEA_ASSIGN(const std::unique_ptr<Contestant> contestant, make(task));
  FOVEA_TRY(contestant->run());
  const double first_ms = milliseconds_since(start);
  std::cout << fmt::format("ready {:.3f} {:.9g}", first_ms, contestant->magnitude()) << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::size_t runs = 0;
    constexpr std::string_view kRun = "run ";
    if (!line.starts_with(kRun) ||
        std::from_chars(line.data() + kRun.size(), line.data() + line.size(), runs).ptr !=
            line.data() + line.size()) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("the command is '{}'; it must be 'run N'", line));
    }
    std::string times;
    for (std::size_t i = 0; i < runs; ++i) {
      const auto begin = Clock::now();
      FOVEA_TRY(contestant->run());
      times += fmt::format(" {:.4f}", milliseconds_since(begin));
    }
    std::cout << fmt::format("times {:.2f}{}", peak_rss_mb(), times) << std::endl;
  }
  return {};
}

}  // namespace

int serve(int argc, char** argv, const MakeContestant& make) {
  if (argc != 6) {
    print_error("usage: {} MODEL THREADS HEIGHT WIDTH PRECISION; fovea-bench-engine starts it",
                argv[0]);
    return 2;
  }
  try {
    const Task task{argv[1], std::stoi(argv[2]), std::stoul(argv[3]), std::stoul(argv[4]), argv[5]};
    const Result<> done = converse(task, make);
    if (done) return 0;
    print_error("{}: {}", argv[0], done.error().message);
  } catch (const std::exception& error) {
    print_error("{}: {}", argv[0], error.what());
  }
  return 1;
}

std::vector<std::uint8_t> picture(std::size_t height, std::size_t width) {
  constexpr std::size_t kBlock = 16;
  std::mt19937 random(1);
  std::vector<std::uint8_t> blocks(((height + kBlock - 1) / kBlock) *
                                   ((width + kBlock - 1) / kBlock) * 3);
  for (std::uint8_t& value : blocks) value = static_cast<std::uint8_t>(random() & 0xFF);
  std::vector<std::uint8_t> pixels;
  pixels.reserve(height * width * 3);
  for (std::size_t y = 0; y < height; ++y) {
    for (std::size_t x = 0; x < width; ++x) {
      const std::size_t block = (y / kBlock) * ((width + kBlock - 1) / kBlock) + x / kBlock;
      for (std::size_t c = 0; c < 3; ++c) pixels.push_back(blocks[block * 3 + c]);
    }
  }
  return pixels;
}

std::vector<float> planes(std::size_t height, std::size_t width) {
  const std::vector<std::uint8_t> pixels = picture(height, width);
  std::vector<float> result(pixels.size());
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t i = 0; i < height * width; ++i) {
      result[c * height * width + i] = static_cast<float>(pixels[i * 3 + c]) / 255;
    }
  }
  return result;
}

double magnitude_of(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += std::abs(static_cast<double>(value));
  return sum;
}

}  // namespace fovea::bench
