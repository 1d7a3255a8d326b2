// Shared-memory slots of one topic: the publisher's side (BufferPool) and a subscriber's
// (PoolReader).
//
// `kill -9` is a normal event. Who holds a slot is one bit in its SlotWord; who lives is known from
// open-file-description locks on the pool file, which the kernel drops at death. See README.md.
//
// Thread safety: BufferPool and PoolReader belong to one thread; the buffers they give out may be
// moved to and destroyed on any thread, and keep the mapping alive.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "msgs/header.hpp"
#include "nodes/base/result.hpp"
#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/slots/holder_numbers.hpp"
#include "nodes/runtime/slots/slot_word.hpp"

namespace fovea {

namespace detail {
class PoolMapping;
}

// A loaned slot. Publishing consumes it; destroying it unpublished gives the slot back.
class WritableBuffer {
 public:
  WritableBuffer() = default;
  WritableBuffer(WritableBuffer&& other) noexcept;
  WritableBuffer& operator=(WritableBuffer&& other) noexcept;
  ~WritableBuffer();

  // The whole slot, 4096-byte aligned; at least as large as asked for. Contents are left over from
  // before.
  std::span<std::byte> data() const;
  explicit operator bool() const { return mapping_ != nullptr; }

 private:
  friend class BufferPool;
  WritableBuffer(std::shared_ptr<detail::PoolMapping> mapping, std::uint32_t slot,
                 std::uint32_t generation);
  std::shared_ptr<detail::PoolMapping> mapping_;
  std::uint32_t slot_ = 0;
  std::uint32_t generation_ = 0;
};

// A held slot: nobody writes to it until this object dies. Read-only.
class ReadableBuffer {
 public:
  ReadableBuffer() = default;
  ReadableBuffer(ReadableBuffer&& other) noexcept;
  ReadableBuffer& operator=(ReadableBuffer&& other) noexcept;
  ~ReadableBuffer();

  std::span<const std::byte> data() const;  // BufferRef::bytes long, 4096-byte aligned
  explicit operator bool() const { return mapping_ != nullptr; }

 private:
  friend class PoolReader;
  ReadableBuffer(std::shared_ptr<detail::PoolMapping> mapping, std::uint32_t slot,
                 std::size_t bytes);
  std::shared_ptr<detail::PoolMapping> mapping_;
  std::uint32_t slot_ = 0;
  std::size_t bytes_ = 0;
};

inline constexpr std::uint32_t kMaxPoolSlots = 1024;

struct PoolOptions {
  // A Publisher takes the larger of this and the first loan.
  std::size_t slot_bytes = 0;
  // Slots = 1 being written + retained + what the readers hold at most: for each subscription its
  // queue's depth and what it works on; 1..1024. Turn it up when `pool_exhausted` drops appear
  // although readers keep up; costs slot_bytes of memory each.
  std::uint32_t slot_count = 4;
  // Newest published slots that are not reused while others are free, so that late readers still
  // find them: keep-last's depth.
  std::uint32_t retained_depth = 1;
  // Readers may reserve() numbers; set by a Publisher with Reliability::kReliable.
  bool reliable = false;
};

// Bytes that create() reserves, for the launcher's preflight of /dev/shm.
std::size_t pool_file_bytes(const PoolOptions& options);

class BufferPool {
 public:
  // A new incarnation: a new file (O_EXCL, 0600), space reserved and faulted in. Unlinks earlier
  // incarnations of the topic whose writer is dead.
  // Errors: kInvalidArgument for sizes out of range; kExhausted when the shared-memory filesystem
  // is too small, naming what is needed and free.
  static Result<std::unique_ptr<BufferPool>> create(const Domain& domain, std::string_view topic,
                                                    const PoolOptions& options);
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  ~BufferPool();  // unlinks the file; readers keep their mapping

  // A free slot: the most recently written one outside the retained depth, whose lines are still in
  // cache, else the oldest retained one. Reaps dead readers when there is none and tries once more.
  // Never blocks. nullopt = every slot is held.
  std::optional<WritableBuffer> loan();
  // The same without reaping.
  std::optional<WritableBuffer> try_loan();

  // Makes the buffer readable; `reliable_readers` get their bits pre-set. Returns what the message
  // carries. REQUIRES: a buffer of this or an earlier pool of the topic, bytes <=
  // buffer.data().size().
  msgs::BufferRef publish(WritableBuffer&& buffer, std::size_t bytes,
                          std::uint32_t reliable_readers = 0);

  // Clears the bits of dead readers; returns how many readers live. Call once a second.
  int reap();

  // Sleeps until a reader drops a slot, at most `timeout`; returns at once if one is free.
  void wait_for_release(std::chrono::milliseconds timeout);

  // Reliable delivery. A reader asks under an id of its own; the number reserved for it counts as
  // alive until it opens the pool and takes it, or release_reserved(). nullopt = 31 readers
  // already.
  std::optional<int> reserve(std::uint64_t reader_id);
  void release_reserved(std::uint64_t reader_id);
  // Bits of the readers with a reserved number.
  std::uint32_t reliable_readers() const { return reservations_.mask; }

  // Slots that somebody reads / that are loaned by this publisher.
  std::uint32_t held_count() const;
  std::uint32_t loaned_count() const;
  // Some slot is held by a reliable reader, or waits for one.
  bool reliable_pending() const;

  // Another process has truncated the file: nothing published in it arrives any more.
  bool damaged() const;

  const PoolOptions& options() const { return options_; }
  std::uint64_t incarnation() const;
  const std::filesystem::path& path() const { return path_; }

 private:
  explicit BufferPool(const PoolOptions& options) : options_(options) {}
  bool retained(std::uint32_t slot) const;
  bool better(std::uint32_t slot, std::uint32_t than) const;

  PoolOptions options_;
  std::filesystem::path path_;
  std::shared_ptr<detail::PoolMapping> mapping_;
  FileHandle reaper_;  // an open file description of its own: tries the readers' locks
  std::vector<std::uint64_t> published_at_;  // per slot, the number of its last publish; 0 = never
  std::uint64_t publish_count_ = 0;
  detail::Reservations<kMaxHolders> reservations_;
};

class PoolReader {
 public:
  // Maps an incarnation and takes a holder number. With a `reliable_id` it takes the number that
  // the publisher reserved for that id, and what was published since is already held for it; in a
  // pool that is not reliable the id is ignored. Errors: kNotFound (publisher gone or restarted),
  // kExhausted (31 readers already), kUnavailable (no number is reserved for the id: what was
  // published so far is not for this reader), kCorrupt (not a pool, foreign owner or mode, wrong
  // size).
  static Result<std::unique_ptr<PoolReader>> open(const Domain& domain, std::string_view topic,
                                                  std::uint64_t incarnation,
                                                  std::uint64_t reliable_id = 0);
  PoolReader(const PoolReader&) = delete;
  PoolReader& operator=(const PoolReader&) = delete;
  ~PoolReader();

  // Holds the slot that `ref` names, or nullopt if it has been recycled since (expired), if `ref`
  // does not fit this pool (any bytes are safe), if this reader had this generation of the slot
  // already, or if the file was truncated.
  std::optional<ReadableBuffer> hold(const msgs::BufferRef& ref);

  std::uint64_t incarnation() const;
  int holder() const;
  bool reliable() const { return reliable_; }  // has a reserved number

 private:
  PoolReader() = default;
  std::shared_ptr<detail::PoolMapping> mapping_;
  // Per slot, the last generation that was given out. One bit cannot count two buffers of the same
  // slot.
  std::vector<std::uint64_t> given_out_;
  bool reliable_ = false;
};

}  // namespace fovea
