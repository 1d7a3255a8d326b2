// Counts heap allocations of the calling thread, to prove that a frame path makes none.
//
// Link allocation_guard.cpp into the test: it replaces the global operator new. That covers every
// standard container and std::function, but not malloc called directly by a C library. Works under
// ASan, which still sees each block through malloc.
#pragma once

#include <cstddef>

namespace fovea::test {

//   AllocationGuard guard;
//   ... frame path ...
//   EXPECT_EQ(guard.count(), 0u);
// Thread safety: counts the thread it was created in, which must also be the one that reads it.
class AllocationGuard {
 public:
  AllocationGuard();
  // Calls of any operator new in this thread since construction.
  std::size_t count() const;
  // Blocks that operator delete took back in this thread since construction.
  std::size_t freed() const;

 private:
  std::size_t start_;
  std::size_t frees_at_start_;
};

}  // namespace fovea::test
