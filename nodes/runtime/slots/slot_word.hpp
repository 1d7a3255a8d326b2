// Ownership of one shared-memory slot in one 64-bit word: high half the generation, low half one
// bit per holder, bit 0 the writer. Every state change is a single atomic operation, so a process
// may die between any two instructions and leave nothing ambiguous (nodes/runtime/README.md has the
// state table).
//
// Thread and process safety: all functions, lock-free. A generation returns after 2^32 writes of
// one slot, more than two years at 60 Hz; a reader that slept through exactly that many would be
// fooled.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

namespace fovea {

inline constexpr int kMaxHolders = 31;  // readers 1..31; 0 is the writer

// Templated over the atomic, so that the model check (tests/runtime/slot_model.hpp) runs this code
// one load, store or exchange at a time.
template <class Atomic>
class BasicSlotWord {
 public:
  // free -> being written, generation + 1. nullopt if anyone holds the slot. Returns the new
  // generation.
  std::optional<std::uint32_t> begin_write() {
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    if (holders_of(word) != 0) return std::nullopt;
    const std::uint32_t generation = generation_of(word) + 1;
    // Acquire: the last readers' loads happen before this writer's stores.
    if (!word_.compare_exchange_strong(word, pack(generation, kWriter), std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
      return std::nullopt;
    }
    return generation;
  }

  // being written -> readable, with the bits of `readers` already set (reliable delivery).
  // REQUIRES: this process is the writer.
  void end_write(std::uint32_t readers = 0) {
    const std::uint64_t word = word_.load(std::memory_order_relaxed);
    word_.store(pack(generation_of(word), readers & ~kWriter), std::memory_order_release);
  }

  // Sets holder's bit if the slot still has `generation` and is not being written.
  bool hold(std::uint32_t generation, int holder) {
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    while (generation_of(word) == generation && (word & kWriter) == 0) {
      if (word_.compare_exchange_weak(word, word | bit(holder), std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }

  // Whether holder's bit is set under `generation` (adopting a bit the publisher pre-set).
  bool held_by(std::uint32_t generation, int holder) const {
    const std::uint64_t word = word_.load(std::memory_order_acquire);
    return generation_of(word) == generation && (word & bit(holder)) != 0;
  }

  // Clears holder's bit. Sequentially consistent: a writer that announced that it waits
  // (PoolHeader) sees the bit gone, or this reader sees that it waits.
  void drop(int holder) { word_.fetch_and(~bit(holder), std::memory_order_seq_cst); }

  std::uint32_t generation() const { return generation_of(word_.load(std::memory_order_acquire)); }
  std::uint32_t holders() const { return holders_of(word_.load(std::memory_order_seq_cst)); }

 private:
  static constexpr std::uint32_t kWriter = 1;
  static constexpr std::uint64_t bit(int holder) { return std::uint64_t{1} << holder; }
  static constexpr std::uint64_t pack(std::uint32_t generation, std::uint32_t holders) {
    return std::uint64_t{generation} << 32 | holders;
  }
  static constexpr std::uint32_t generation_of(std::uint64_t word) {
    return static_cast<std::uint32_t>(word >> 32);
  }
  static constexpr std::uint32_t holders_of(std::uint64_t word) {
    return static_cast<std::uint32_t>(word);
  }

  Atomic word_{0};
};

using SlotWord = BasicSlotWord<std::atomic<std::uint64_t>>;
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

}  // namespace fovea
