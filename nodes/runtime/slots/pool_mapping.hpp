// The file of a pool: its layout, and one process's view of it. Internal to the runtime.
//
//   page 0       PoolHeader
//   from page 1  one 64-byte PoolSlot per slot, rounded up to whole pages
//   then         the slots' bytes, each on a page boundary
//
// A reader copies the geometry once, checks it against the file's real size and never reads it
// again, so a damaged file is an error at open() and not a fault later. Where a process of the same
// user truncates the file afterwards, zeros take the place of what is gone (fault_guard.hpp).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "nodes/base/result.hpp"
#include "nodes/runtime/slots/buffer_pool.hpp"
#include "nodes/runtime/slots/fault_guard.hpp"
#include "nodes/runtime/slots/slot_word.hpp"

namespace fovea::detail {

inline constexpr std::uint64_t kPoolMagic = 0x6c6f6f7061765f46;  // "F_vapool"
inline constexpr std::uint32_t kPoolVersion = 1;
inline constexpr std::size_t kPageBytes = 4096;
inline constexpr std::size_t kMaxSlotBytes = std::size_t{1} << 40;

struct PoolHeader {
  std::atomic<std::uint64_t> magic;  // stored last: the rest is valid
  std::uint32_t version;
  std::uint32_t slot_count;
  std::uint64_t slot_bytes;
  std::uint64_t stride;
  std::uint64_t file_bytes;
  std::uint64_t incarnation;
  std::uint32_t reliable;
  // 1 while the writer sleeps on this word until a reader drops a slot (futex).
  std::atomic<std::uint32_t> writer_waits;
  // Bit i: the reader that number i is reserved for has taken it.
  std::atomic<std::uint32_t> adopted;
  std::uint32_t padding;
  // Reliable readers by number, 0 = none. Written by the publisher only.
  std::array<std::atomic<std::uint64_t>, kMaxHolders + 1> reserved_for;
};
static_assert(sizeof(PoolHeader) <= kPageBytes);

struct alignas(64) PoolSlot {
  SlotWord word;
};

struct PoolGeometry {
  std::uint32_t slot_count = 0;
  std::size_t slot_bytes = 0;
  std::size_t stride = 0;
  std::size_t data_offset = 0;
  std::size_t file_bytes = 0;

  // REQUIRES: slot_count in 1..kMaxPoolSlots, slot_bytes in 1..kMaxSlotBytes.
  static PoolGeometry of(std::uint32_t slot_count, std::size_t slot_bytes);
};

class PoolMapping {
 public:
  // Either side locks its byte of `fd` and closes it: the mapping keeps the open file description,
  // and so the lock, for exactly as long as it lives. The writer's: maps a file whose space is
  // reserved, faults it in and fills the header.
  static Result<std::shared_ptr<PoolMapping>> create(int fd, const PoolGeometry& geometry,
                                                     std::uint64_t incarnation, bool reliable,
                                                     const std::filesystem::path& path);
  // A reader's: checks the header; payload is mapped read-only. Errors: kCorrupt.
  static Result<std::shared_ptr<PoolMapping>> open(int fd, std::uint64_t incarnation,
                                                   const std::filesystem::path& path);
  PoolMapping(const PoolMapping&) = delete;
  PoolMapping& operator=(const PoolMapping&) = delete;
  // Clears what this reader still holds, then unmaps, which frees the lock.
  ~PoolMapping();

  PoolHeader& header() { return *reinterpret_cast<PoolHeader*>(control_); }
  SlotWord& word(std::uint32_t slot) { return slots()[slot].word; }
  // REQUIRES: slot < geometry().slot_count.
  std::byte* data(std::uint32_t slot) { return data_ + slot * geometry_.stride; }
  const PoolGeometry& geometry() const { return geometry_; }
  std::uint64_t incarnation() const { return incarnation_; }
  // Somebody has truncated the file, and this process has noticed.
  bool damaged() const { return control_guard_.tripped() || data_guard_.tripped(); }

  // Clears holder's bit in every slot.
  void clear_holder(int holder);
  // Clears holder's bit in one slot and wakes a waiting writer.
  void drop(std::uint32_t slot, int holder);

  // This reader's number; 0 in the writer's mapping. Set once, before the first hold.
  int holder() const { return holder_; }
  void set_holder(int holder) { holder_ = holder; }

 private:
  PoolMapping(const PoolGeometry& geometry, std::uint64_t incarnation)
      : geometry_(geometry), incarnation_(incarnation) {}
  Result<> map(int fd, int data_protection, const std::filesystem::path& path);
  PoolSlot* slots() { return reinterpret_cast<PoolSlot*>(control_ + kPageBytes); }

  PoolGeometry geometry_;
  std::uint64_t incarnation_ = 0;
  std::byte* control_ = nullptr;  // header and words
  std::byte* data_ = nullptr;
  FaultGuard control_guard_, data_guard_;
  int holder_ = 0;
};

}  // namespace fovea::detail
