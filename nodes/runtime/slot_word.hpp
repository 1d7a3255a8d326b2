// Ownership of one shared-memory slot in one 64-bit word: high half the generation, low half one bit per
// holder, bit 0 the writer. Every state change is a single atomic operation, so a process may die between
// any two instructions and leave nothing ambiguous (nodes/runtime/README.md has the state table).
//
// Thread and process safety: all functions, lock-free.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

namespace fovea {

inline constexpr int kMaxHolders = 31;  // readers 1..31; 0 is the writer

class SlotWord {
 public:
  // free -> being written, generation + 1. nullopt if anyone holds the slot. Returns the new generation.
  std::optional<std::uint32_t> begin_write();

  // being written -> readable, with the bits of `readers` already set (reliable delivery).
  void end_write(std::uint32_t readers = 0);

  // Sets holder's bit if the slot still has `generation` and is not being written.
  bool hold(std::uint32_t generation, int holder);

  // Whether holder's bit is set under `generation` (adopting a bit the publisher pre-set).
  bool held_by(std::uint32_t generation, int holder) const;

  // Clears holder's bit.
  void drop(int holder);

  std::uint32_t generation() const;
  std::uint32_t holders() const;

 private:
  std::atomic<std::uint64_t> word_{0};
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
};

}  // namespace fovea
