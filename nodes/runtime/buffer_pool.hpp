// Shared-memory slots of one topic: the publisher's side (BufferPool) and a subscriber's (PoolReader).
//
// `kill -9` is a normal event. Who holds a slot is one bit in its SlotWord; who lives is known from
// open-file-description locks on the pool file, which the kernel drops at death. See README.md.
//
// Thread safety: BufferPool and PoolReader belong to one thread; the buffers they give out may be moved to
// and destroyed on any thread, and keep the mapping alive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "msgs/header.hpp"
#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/result.hpp"

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

  // The whole slot, 64-byte aligned; at least as large as asked for. Contents are left over from before.
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

  std::span<const std::byte> data() const;  // BufferRef::bytes long
  explicit operator bool() const { return mapping_ != nullptr; }

 private:
  friend class PoolReader;
  ReadableBuffer(std::shared_ptr<detail::PoolMapping> mapping, std::uint32_t slot, int holder,
                 std::size_t bytes);
  std::shared_ptr<detail::PoolMapping> mapping_;
  std::uint32_t slot_ = 0;
  int holder_ = 0;
  std::size_t bytes_ = 0;
};

struct PoolOptions {
  std::size_t slot_bytes = 0;
  // Slots = 1 being written + retained + what the readers hold at most. Turn it up when `pool_exhausted`
  // drops appear although readers keep up; costs slot_bytes of memory each.
  std::uint32_t slot_count = 4;
  // Newest published slots that are not reused while others are free, so that late readers still find
  // them: keep-last's depth.
  std::uint32_t retained_depth = 1;
};

// Bytes that create() reserves, for the launcher's preflight of /dev/shm.
std::size_t pool_file_bytes(const PoolOptions& options);

class BufferPool {
 public:
  // A new incarnation: a new file (O_EXCL, 0600), space reserved and faulted in. Unlinks earlier
  // incarnations of the topic whose writer is dead.
  // Errors: kExhausted when the shared-memory filesystem is too small; names what is needed and free.
  static Result<std::unique_ptr<BufferPool>> create(const Domain& domain, std::string_view topic,
                                                    const PoolOptions& options);
  ~BufferPool();  // unlinks the file; readers keep their mapping

  // A free slot, the most recently freed one first; reaps dead readers when there is none and tries once
  // more. Never blocks. nullopt = every slot is held or retained.
  std::optional<WritableBuffer> loan();

  // Makes the buffer readable; `reliable_readers` get their bits pre-set. Returns what the message carries.
  msgs::BufferRef publish(WritableBuffer&& buffer, std::size_t bytes, std::uint32_t reliable_readers = 0);

  // Clears the bits of dead readers; returns how many readers live. Call once a second.
  int reap();

  const PoolOptions& options() const { return options_; }
  std::uint64_t incarnation() const;
  // Bits of readers that registered for reliable delivery and live (as of the last reap).
  std::uint32_t reliable_readers() const;

 private:
  explicit BufferPool(PoolOptions options) : options_(options) {}
  PoolOptions options_;
  std::shared_ptr<detail::PoolMapping> mapping_;
};

class PoolReader {
 public:
  // Maps an incarnation and takes a holder number. Errors: kNotFound (publisher gone or restarted),
  // kExhausted (31 readers already), kCorrupt (not a pool, foreign owner or mode, wrong size).
  static Result<std::unique_ptr<PoolReader>> open(const Domain& domain, std::string_view topic,
                                                  std::uint64_t incarnation, bool reliable = false);
  ~PoolReader();

  // Holds the slot that `ref` names, or nullopt if it has been recycled since (expired) or `ref` does not
  // fit this pool (any bytes are safe).
  std::optional<ReadableBuffer> hold(const msgs::BufferRef& ref);

  std::uint64_t incarnation() const;
  int holder() const;

 private:
  PoolReader() = default;
  std::shared_ptr<detail::PoolMapping> mapping_;
};

}  // namespace fovea
