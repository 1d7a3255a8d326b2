// Keeps a process alive whose shared memory is taken away: when another process truncates a mapped
// file, touching what is gone raises SIGBUS, which ends a process by default. In guarded memory the
// page becomes zeros of our own instead, and the guard remembers.
//
// tmpfs files cannot be sealed against truncation (only a memfd can, and that has no name to be
// found by), and looking at the size before each access would be too early. So this is the only
// protection that holds.
//
// Thread safety: all functions. Faults elsewhere go to whatever handler was there before.
#pragma once

#include <atomic>
#include <cstddef>

namespace fovea::detail {

class FaultGuard {
 public:
  FaultGuard() = default;
  // Guards [begin, begin + bytes), both whole pages. Unguarded when 4096 ranges are guarded
  // already.
  FaultGuard(void* begin, std::size_t bytes);
  FaultGuard(FaultGuard&& other) noexcept;
  FaultGuard& operator=(FaultGuard&& other) noexcept;
  ~FaultGuard();  // before the memory is unmapped

  // Something of it was gone when it was touched.
  bool tripped() const;

  struct Range;  // a row of the table that the signal handler reads

 private:
  Range* range_ = nullptr;
};

}  // namespace fovea::detail
