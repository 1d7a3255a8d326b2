// The numbers that name readers' bits in the slots of a pool: taking one, reserving one for a
// reliable reader, and clearing what a dead reader left. Templates over the pool, so that the model
// check (tests/runtime/slot_model.hpp) runs these very lines, step by step, with a death between
// any two of them.
//
// The rule that everything here follows: who clears the bits of a number, or gives it a new
// meaning, has locked its byte of the pool's file, and a living reader never unlocks its own.
//
// Pool is what one process sees of a pool's file:
//   static constexpr int kHolders;                            // numbers 1..kHolders
//   std::uint32_t slot_count();
//   void drop(std::uint32_t slot, int holder);                // SlotWord::drop
//   bool try_lock(int holder);  void unlock(int holder);      // byte `holder` of the file
//   <atomic uint64>& reserved_for(int holder);                // id of a reliable reader, or 0
//   <atomic uint32>& adopted();                               // bit i: it has taken number i
//   bool pause();                                             // a moment; false = no more
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace fovea::detail {

template <class Pool>
void clear_holder(Pool& pool, int holder) {
  for (std::uint32_t slot = 0; slot < pool.slot_count(); ++slot) pool.drop(slot, holder);
}

// ---- the publisher's side

// Which numbers this publisher has reserved; a plain value of the publisher's own.
template <int kHolders>
struct Reservations {
  std::array<std::uint64_t, kHolders + 1> id{};  // by number; 0 = none
  std::uint32_t mask = 0;                        // bit i: number i is reserved

  bool operator==(const Reservations&) const = default;
};

template <class Pool>
void forget_reservation(Pool& pool, Reservations<Pool::kHolders>& reservations, int holder) {
  auto& id = reservations.id[static_cast<std::size_t>(holder)];
  if (id == 0) return;
  id = 0;
  reservations.mask &= ~(1u << holder);
  pool.reserved_for(holder).store(0, std::memory_order_release);
  pool.adopted().fetch_and(~(1u << holder), std::memory_order_acq_rel);
}

// Clears the number if its last owner is dead; false if it lives or is yet to come.
template <class Pool>
bool reap_number(Pool& pool, Reservations<Pool::kHolders>& reservations, int holder) {
  const bool pending = reservations.id[static_cast<std::size_t>(holder)] != 0 &&
                       (pool.adopted().load(std::memory_order_acquire) >> holder & 1) == 0;
  if (pending || !pool.try_lock(holder)) return false;
  // Its last owner is dead, and nobody can take the number until it is unlocked.
  clear_holder(pool, holder);
  forget_reservation(pool, reservations, holder);
  pool.unlock(holder);
  return true;
}

// The number kept for reader `id`, a new one if it has none; nullopt when all are taken.
template <class Pool>
std::optional<int> reserve_number(Pool& pool, Reservations<Pool::kHolders>& reservations,
                                  std::uint64_t id) {
  for (int holder = 1; holder <= Pool::kHolders; ++holder) {
    if (reservations.id[static_cast<std::size_t>(holder)] == id) return holder;
  }
  for (int holder = 1; holder <= Pool::kHolders; ++holder) {
    auto& reserved = reservations.id[static_cast<std::size_t>(holder)];
    if (reserved != 0 || !pool.try_lock(holder)) continue;
    clear_holder(pool, holder);
    pool.adopted().fetch_and(~(1u << holder), std::memory_order_acq_rel);
    pool.reserved_for(holder).store(id, std::memory_order_release);
    reserved = id;
    reservations.mask |= 1u << holder;
    pool.unlock(holder);
    return holder;
  }
  return std::nullopt;
}

// Reader `id` has left.
template <class Pool>
void release_number(Pool& pool, Reservations<Pool::kHolders>& reservations, std::uint64_t id) {
  for (int holder = 1; holder <= Pool::kHolders; ++holder) {
    if (reservations.id[static_cast<std::size_t>(holder)] != id) continue;
    // One that left but still has buffers keeps its lock; it is reaped once it lets go.
    const bool gone = pool.try_lock(holder);
    if (gone) clear_holder(pool, holder);
    forget_reservation(pool, reservations, holder);
    if (gone) pool.unlock(holder);
  }
}

// ---- a reader's side

// Locks a number that no other reader has and that is not reserved; nullopt = there is none.
template <class Pool>
std::optional<int> take_any_number(Pool& pool) {
  for (int holder = 1; holder <= Pool::kHolders; ++holder) {
    auto& reserved = pool.reserved_for(holder);
    if (reserved.load(std::memory_order_acquire) != 0 || !pool.try_lock(holder)) continue;
    if (reserved.load(std::memory_order_acquire) == 0) {
      clear_holder(pool, holder);  // what a dead predecessor left
      return holder;
    }
    pool.unlock(holder);  // reserved between our look and our lock
  }
  return std::nullopt;
}

// Locks the number that the publisher reserved for `id`. Its bits stay: they are messages for this
// reader. Only another reader that is just finding out that the number is not for it can have the
// lock, for microseconds; waits for it, because a message that is passed over now would keep its
// slot. nullopt = none is reserved, or pause() has had enough.
template <class Pool>
std::optional<int> take_reserved_number(Pool& pool, std::uint64_t id) {
  for (int holder = 1; holder <= Pool::kHolders; ++holder) {
    auto& reserved = pool.reserved_for(holder);
    while (reserved.load(std::memory_order_acquire) == id) {
      if (!pool.try_lock(holder)) {
        if (!pool.pause()) return std::nullopt;
        continue;
      }
      if (reserved.load(std::memory_order_acquire) == id) {
        pool.adopted().fetch_or(1u << holder, std::memory_order_acq_rel);
        return holder;
      }
      pool.unlock(holder);
    }
  }
  return std::nullopt;
}

// Whether the reader now holds this generation of the slot. A reliable reader takes only what the
// publisher pre-set for it: what it could catch besides, sent before the publisher knew of it,
// would make a gap to the first message that is kept for it.
template <class Word>
bool hold_slot(Word& word, std::uint32_t generation, int holder, bool reliable) {
  return (!reliable || word.held_by(generation, holder)) && word.hold(generation, holder);
}

}  // namespace fovea::detail
