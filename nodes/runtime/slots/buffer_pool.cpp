#include "nodes/runtime/slots/buffer_pool.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/futex.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "nodes/base/check.hpp"
#include "nodes/runtime/slots/pool_mapping.hpp"

namespace fovea {
namespace {

using detail::PoolGeometry;
using detail::PoolMapping;

constexpr int kWriterByte = 0;
constexpr int kPauses = 5000;  // of 1 ms

// A mapped pool and a descriptor of its file, as holder_numbers.hpp wants them.
struct PoolNumbers {
  static constexpr int kHolders = kMaxHolders;
  PoolMapping& mapping;
  int fd;
  int pauses = kPauses;

  std::uint32_t slot_count() const { return mapping.geometry().slot_count; }
  void drop(std::uint32_t slot, int holder) { mapping.drop(slot, holder); }
  bool try_lock(int holder) const { return try_lock_byte(fd, holder); }
  void unlock(int holder) const { unlock_byte(fd, holder); }
  std::atomic<std::uint64_t>& reserved_for(int holder) {
    return mapping.header().reserved_for[static_cast<std::size_t>(holder)];
  }
  std::atomic<std::uint32_t>& adopted() { return mapping.header().adopted; }
  bool pause() {
    usleep(1000);
    return --pauses > 0;
  }
};

std::uint64_t random_incarnation() {
  std::uint64_t value = 0;
  while (value == 0) {
    if (getrandom(&value, sizeof value, 0) != sizeof value) value = 0;
  }
  return value;
}

Result<> check_options(std::string_view topic, const PoolOptions& options) {
  if (options.slot_count < 1 || options.slot_count > kMaxPoolSlots) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("pool of {}: slot_count is {}; it must be 1..{}", topic,
                            options.slot_count, kMaxPoolSlots));
  }
  if (options.slot_bytes < 1 || options.slot_bytes > detail::kMaxSlotBytes) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("pool of {}: slot_bytes is {}; it must be 1..{}", topic,
                            options.slot_bytes, detail::kMaxSlotBytes));
  }
  return {};
}

// Removes incarnations whose writer is dead. REQUIRES: the domain's lock is held.
void remove_dead_incarnations(const Domain& domain, std::string_view topic) {
  for (const std::filesystem::path& path : domain.list_pools(topic)) {
    const auto file = open_own_file(path);
    if (file && try_lock_byte(file->get(), kWriterByte)) unlink(path.c_str());
  }
}

// Reserves the space, so that writing can never meet a full filesystem (SIGBUS).
Result<> reserve_space(int fd, std::string_view topic, const PoolOptions& options,
                       const PoolGeometry& geometry, const std::filesystem::path& path) {
  int error = EINTR;
  while (error == EINTR) error = posix_fallocate(fd, 0, static_cast<off_t>(geometry.file_bytes));
  if (error == 0) return {};
  if (error != ENOSPC && error != EFBIG && error != ENOMEM) {
    return fail(ErrorCode::kInternal,
                fmt::format("reserve {}: {}", path.native(), std::strerror(error)));
  }
  struct statvfs space {};
  fstatvfs(fd, &space);
  return fail(
      ErrorCode::kExhausted,
      fmt::format(
          "pool of {} needs {} bytes ({} slots of {}), but {} has {} free; enlarge it or lower "
          "slot_count or the frame size",
          topic, geometry.file_bytes, options.slot_count, options.slot_bytes,
          path.parent_path().native(), std::uint64_t{space.f_bavail} * space.f_frsize));
}

}  // namespace

std::size_t pool_file_bytes(const PoolOptions& options) {
  return PoolGeometry::of(options.slot_count, options.slot_bytes).file_bytes;
}

// ---- buffers

WritableBuffer::WritableBuffer(std::shared_ptr<PoolMapping> mapping, std::uint32_t slot,
                               std::uint32_t generation)
    : mapping_(std::move(mapping)), slot_(slot), generation_(generation) {}

WritableBuffer::WritableBuffer(WritableBuffer&& other) noexcept = default;

WritableBuffer& WritableBuffer::operator=(WritableBuffer&& other) noexcept {
  std::swap(mapping_, other.mapping_);
  std::swap(slot_, other.slot_);
  std::swap(generation_, other.generation_);
  return *this;
}

WritableBuffer::~WritableBuffer() {
  if (mapping_) mapping_->word(slot_).end_write();
}

std::span<std::byte> WritableBuffer::data() const {
  if (!mapping_) return {};
  return {mapping_->data(slot_), mapping_->geometry().slot_bytes};
}

ReadableBuffer::ReadableBuffer(std::shared_ptr<PoolMapping> mapping, std::uint32_t slot,
                               std::size_t bytes)
    : mapping_(std::move(mapping)), slot_(slot), bytes_(bytes) {}

ReadableBuffer::ReadableBuffer(ReadableBuffer&& other) noexcept = default;

ReadableBuffer& ReadableBuffer::operator=(ReadableBuffer&& other) noexcept {
  std::swap(mapping_, other.mapping_);
  std::swap(slot_, other.slot_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

ReadableBuffer::~ReadableBuffer() {
  if (mapping_) mapping_->drop(slot_, mapping_->holder());
}

std::span<const std::byte> ReadableBuffer::data() const {
  if (!mapping_) return {};
  return {mapping_->data(slot_), bytes_};
}

// ---- the publisher's side

Result<std::unique_ptr<BufferPool>> BufferPool::create(const Domain& domain, std::string_view topic,
                                                       const PoolOptions& options) {
  FOVEA_TRY(check_topic(topic));
  FOVEA_TRY(check_options(topic, options));
  std::unique_ptr<BufferPool> pool(new BufferPool(options));
  const std::uint64_t incarnation = random_incarnation();
  FileHandle file;
  {
    FOVEA_ASSIGN(const FileHandle locked, domain.lock());
    remove_dead_incarnations(domain, topic);
    const std::filesystem::path path = domain.pool_path(topic, incarnation);
    file = FileHandle(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file) return fail_errno(ErrorCode::kInternal, "create " + path.native());
    pool->path_ = path;  // from here on the destructor unlinks it
    if (!try_lock_byte(file.get(), kWriterByte))
      return fail_errno(ErrorCode::kInternal, "lock " + path.native());
  }
  const PoolGeometry geometry = PoolGeometry::of(options.slot_count, options.slot_bytes);
  FOVEA_TRY(reserve_space(file.get(), topic, options, geometry, pool->path_));
  FOVEA_ASSIGN(pool->mapping_, PoolMapping::create(file.get(), geometry, incarnation,
                                                   options.reliable, pool->path_));
  FOVEA_ASSIGN(pool->reaper_, open_own_file(pool->path_));
  pool->published_at_.resize(options.slot_count);
  return pool;
}

BufferPool::~BufferPool() {
  if (!path_.empty()) unlink(path_.c_str());
}

bool BufferPool::damaged() const { return mapping_->damaged(); }

std::uint64_t BufferPool::incarnation() const { return mapping_->incarnation(); }

bool BufferPool::retained(std::uint32_t slot) const {
  return published_at_[slot] != 0 && published_at_[slot] + options_.retained_depth > publish_count_;
}

bool BufferPool::better(std::uint32_t slot, std::uint32_t than) const {
  if (retained(slot) != retained(than)) return retained(than);
  return retained(slot) ? published_at_[slot] < published_at_[than]
                        : published_at_[slot] > published_at_[than];
}

std::optional<WritableBuffer> BufferPool::try_loan() {
  for (;;) {
    std::optional<std::uint32_t> best;
    for (std::uint32_t slot = 0; slot < options_.slot_count; ++slot) {
      if (mapping_->word(slot).holders() != 0) continue;
      if (!best || better(slot, *best)) best = slot;
    }
    if (!best) return std::nullopt;
    // Fails only if a reader has just taken that slot; then another is the best.
    if (const auto generation = mapping_->word(*best).begin_write()) {
      return WritableBuffer(mapping_, *best, *generation);
    }
  }
}

std::optional<WritableBuffer> BufferPool::loan() {
  if (auto buffer = try_loan()) return buffer;
  reap();
  return try_loan();
}

msgs::BufferRef BufferPool::publish(WritableBuffer&& buffer, std::size_t bytes,
                                    std::uint32_t reliable_readers) {
  FOVEA_CHECK(buffer && bytes <= buffer.data().size());
  // Taking the mapping out of the buffer is what consumes it: its destructor does nothing any more.
  const std::shared_ptr<PoolMapping> mapping = std::move(buffer.mapping_);
  const msgs::BufferRef ref{mapping->incarnation(), buffer.slot_, buffer.generation_, bytes};
  if (mapping == mapping_) {
    published_at_[ref.slot] = ++publish_count_;
  } else {
    reliable_readers = 0;  // numbers of this pool, not of that one
  }
  mapping->word(ref.slot).end_write(reliable_readers);
  return ref;
}

int BufferPool::reap() {
  PoolNumbers numbers{*mapping_, reaper_.get()};
  int living = 0;
  for (int holder = 1; holder <= kMaxHolders; ++holder) {
    if (!detail::reap_number(numbers, reservations_, holder)) ++living;
  }
  return living;
}

void BufferPool::wait_for_release(std::chrono::milliseconds timeout) {
  std::atomic<std::uint32_t>& waits = mapping_->header().writer_waits;
  // A reader that drops a slot from here on sees the 1 and wakes us, or we see its bit gone.
  waits.store(1, std::memory_order_seq_cst);
  const auto held = [&](std::uint32_t slot) { return mapping_->word(slot).holders() != 0; };
  bool all_held = true;
  for (std::uint32_t slot = 0; slot < options_.slot_count && all_held; ++slot)
    all_held = held(slot);
  if (all_held) {
    const timespec limit{timeout.count() / 1000, timeout.count() % 1000 * 1'000'000};
    syscall(SYS_futex, &waits, FUTEX_WAIT, 1, &limit, nullptr, 0);
  }
  waits.store(0, std::memory_order_relaxed);
}

std::optional<int> BufferPool::reserve(std::uint64_t reader_id) {
  PoolNumbers numbers{*mapping_, reaper_.get()};
  return detail::reserve_number(numbers, reservations_, reader_id);
}

void BufferPool::release_reserved(std::uint64_t reader_id) {
  PoolNumbers numbers{*mapping_, reaper_.get()};
  detail::release_number(numbers, reservations_, reader_id);
}

std::uint32_t BufferPool::held_count() const {
  std::uint32_t count = 0;
  for (std::uint32_t slot = 0; slot < options_.slot_count; ++slot) {
    if ((mapping_->word(slot).holders() & ~1u) != 0) ++count;
  }
  return count;
}

std::uint32_t BufferPool::loaned_count() const {
  std::uint32_t count = 0;
  for (std::uint32_t slot = 0; slot < options_.slot_count; ++slot) {
    if ((mapping_->word(slot).holders() & 1u) != 0) ++count;
  }
  return count;
}

bool BufferPool::reliable_pending() const {
  for (std::uint32_t slot = 0; slot < options_.slot_count; ++slot) {
    if ((mapping_->word(slot).holders() & reservations_.mask) != 0) return true;
  }
  return false;
}

// ---- a subscriber's side

namespace {

bool any_number_free(PoolMapping& mapping, int fd) {
  for (int holder = 1; holder <= kMaxHolders; ++holder) {
    if (mapping.header().reserved_for[static_cast<std::size_t>(holder)].load() != 0) continue;
    if (!try_lock_byte(fd, holder)) continue;
    unlock_byte(fd, holder);
    return true;
  }
  return false;
}

Result<int> take_number(PoolMapping& mapping, int fd, std::uint64_t reliable_id,
                        const std::filesystem::path& path) {
  PoolNumbers numbers{mapping, fd};
  const std::optional<int> holder = reliable_id == 0
                                        ? detail::take_any_number(numbers)
                                        : detail::take_reserved_number(numbers, reliable_id);
  if (holder) return *holder;
  if (reliable_id == 0 || !any_number_free(mapping, fd)) {
    return fail(ErrorCode::kExhausted, fmt::format("{} has {} readers already; it takes no more",
                                                   path.native(), kMaxHolders));
  }
  return fail(ErrorCode::kUnavailable,
              path.native() + " has no number reserved for this reader yet");
}

}  // namespace

Result<std::unique_ptr<PoolReader>> PoolReader::open(const Domain& domain, std::string_view topic,
                                                     std::uint64_t incarnation,
                                                     std::uint64_t reliable_id) {
  FOVEA_TRY(check_topic(topic));
  const std::filesystem::path path = domain.pool_path(topic, incarnation);
  FOVEA_ASSIGN(const FileHandle file, open_own_file(path));
  std::unique_ptr<PoolReader> reader(new PoolReader());
  FOVEA_ASSIGN(reader->mapping_, PoolMapping::open(file.get(), incarnation, path));
  PoolMapping& mapping = *reader->mapping_;
  reader->reliable_ = reliable_id != 0 && mapping.header().reliable != 0;
  FOVEA_ASSIGN(const int holder,
               take_number(mapping, file.get(), reader->reliable_ ? reliable_id : 0, path));
  mapping.set_holder(holder);
  reader->given_out_.resize(mapping.geometry().slot_count);
  return reader;
}

PoolReader::~PoolReader() = default;

std::optional<ReadableBuffer> PoolReader::hold(const msgs::BufferRef& ref) {
  const PoolGeometry& geometry = mapping_->geometry();
  if (mapping_->damaged() || ref.incarnation != mapping_->incarnation() ||
      ref.slot >= geometry.slot_count || ref.bytes == 0 || ref.bytes > geometry.slot_bytes) {
    return std::nullopt;
  }
  const std::uint64_t marker = std::uint64_t{1} << 32 | ref.generation;
  if (given_out_[ref.slot] == marker ||
      !detail::hold_slot(mapping_->word(ref.slot), ref.generation, mapping_->holder(), reliable_)) {
    return std::nullopt;
  }
  given_out_[ref.slot] = marker;
  return ReadableBuffer(mapping_, ref.slot, ref.bytes);
}

std::uint64_t PoolReader::incarnation() const { return mapping_->incarnation(); }
int PoolReader::holder() const { return mapping_->holder(); }

}  // namespace fovea
