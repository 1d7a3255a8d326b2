// What processes that get killed report: counters in a mapped file, which survive them.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <stdexcept>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace fovea::test {

struct Board {
  std::atomic<std::uint64_t> frames{0};   // intact frames read, or frames published
  std::atomic<std::uint64_t> torn{0};     // frames whose bytes changed or did not fit their number
  std::atomic<std::uint64_t> skipped{0};  // gaps in the numbers, reliable readers only
  std::atomic<std::uint64_t> ready{0};    // processes that came up
};

// The board in `path`, made if absent. Lives as long as the process.
inline Board& open_board(const std::filesystem::path& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, sizeof(Board)) != 0) throw std::runtime_error("board");
  void* address = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (address == MAP_FAILED) throw std::runtime_error("board");
  return *static_cast<Board*>(address);  // a file of zeros is a valid board
}

}  // namespace fovea::test
