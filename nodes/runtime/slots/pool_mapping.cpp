#include "nodes/runtime/slots/pool_mapping.hpp"

#include <climits>
#include <new>

#include <fmt/core.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace fovea::detail {
namespace {

constexpr std::size_t round_up(std::size_t bytes) {
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

// Faulted in at once, so that the first lap through the pool costs no page faults, and absent in
// forked children, because an inherited mapping would keep the lock of a dead owner.
std::byte* map_range(int fd, std::size_t offset, std::size_t bytes, int protection) {
  void* address =
      mmap(nullptr, bytes, protection, MAP_SHARED | MAP_POPULATE, fd, static_cast<off_t>(offset));
  if (address == MAP_FAILED) return nullptr;
  madvise(address, bytes, MADV_DONTFORK);
  return static_cast<std::byte*>(address);
}

}  // namespace

PoolGeometry PoolGeometry::of(std::uint32_t slot_count, std::size_t slot_bytes) {
  PoolGeometry geometry;
  geometry.slot_count = slot_count;
  geometry.slot_bytes = slot_bytes;
  geometry.stride = round_up(slot_bytes);
  geometry.data_offset = kPageBytes + round_up(slot_count * sizeof(PoolSlot));
  geometry.file_bytes = geometry.data_offset + slot_count * geometry.stride;
  return geometry;
}

Result<> PoolMapping::map(int fd, int data_protection, const std::filesystem::path& path) {
  control_ = map_range(fd, 0, geometry_.data_offset, PROT_READ | PROT_WRITE);
  if (control_ != nullptr) {
    data_ = map_range(fd, geometry_.data_offset, geometry_.file_bytes - geometry_.data_offset,
                      data_protection);
  }
  if (data_ == nullptr) return fail_errno(ErrorCode::kExhausted, "map " + path.native());
  control_guard_ = FaultGuard(control_, geometry_.data_offset);
  data_guard_ = FaultGuard(data_, geometry_.file_bytes - geometry_.data_offset);
  return {};
}

Result<std::shared_ptr<PoolMapping>> PoolMapping::create(int fd, const PoolGeometry& geometry,
                                                         std::uint64_t incarnation, bool reliable,
                                                         const std::filesystem::path& path) {
  std::shared_ptr<PoolMapping> mapping(new PoolMapping(geometry, incarnation));
  FOVEA_TRY(mapping->map(fd, PROT_READ | PROT_WRITE, path));
  auto* header = new (mapping->control_) PoolHeader{};
  for (std::uint32_t slot = 0; slot < geometry.slot_count; ++slot)
    new (&mapping->slots()[slot]) PoolSlot{};
  header->version = kPoolVersion;
  header->slot_count = geometry.slot_count;
  header->slot_bytes = geometry.slot_bytes;
  header->stride = geometry.stride;
  header->file_bytes = geometry.file_bytes;
  header->incarnation = incarnation;
  header->reliable = reliable ? 1 : 0;
  header->magic.store(kPoolMagic, std::memory_order_release);
  return mapping;
}

Result<std::shared_ptr<PoolMapping>> PoolMapping::open(int fd, std::uint64_t incarnation,
                                                       const std::filesystem::path& path) {
  const auto corrupt = [&](const std::string& what) {
    return fail(ErrorCode::kCorrupt, fmt::format("{} is no pool: {}", path.native(), what));
  };
  struct stat status {};
  if (fstat(fd, &status) != 0) return fail_errno(ErrorCode::kInternal, "stat " + path.native());
  const auto actual_bytes = static_cast<std::uint64_t>(status.st_size);
  if (actual_bytes < kPageBytes) return corrupt(fmt::format("it has {} bytes", actual_bytes));

  // Read with pread(), which cannot fault, and judged as a whole.
  alignas(PoolHeader) std::array<std::byte, sizeof(PoolHeader)> bytes;
  if (pread(fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return corrupt("its header cannot be read");
  }
  const auto& header = *reinterpret_cast<const PoolHeader*>(bytes.data());
  if (header.magic.load(std::memory_order_relaxed) != kPoolMagic)
    return corrupt("wrong magic number");
  if (header.version != kPoolVersion) {
    return corrupt(fmt::format("version {}, this build reads {}", header.version, kPoolVersion));
  }
  if (header.slot_count < 1 || header.slot_count > kMaxPoolSlots || header.slot_bytes < 1 ||
      header.slot_bytes > kMaxSlotBytes) {
    return corrupt(fmt::format("{} slots of {} bytes", header.slot_count, header.slot_bytes));
  }
  const PoolGeometry geometry = PoolGeometry::of(header.slot_count, header.slot_bytes);
  if (header.stride != geometry.stride || header.file_bytes != geometry.file_bytes ||
      actual_bytes != geometry.file_bytes || header.incarnation != incarnation) {
    return corrupt(fmt::format("{} bytes, header says {}, {} slots of {} bytes take {}",
                               actual_bytes, header.file_bytes, header.slot_count,
                               header.slot_bytes, geometry.file_bytes));
  }
  std::shared_ptr<PoolMapping> mapping(new PoolMapping(geometry, incarnation));
  FOVEA_TRY(mapping->map(fd, PROT_READ, path));
  return mapping;
}

PoolMapping::~PoolMapping() {
  if (control_ != nullptr && data_ != nullptr && holder_ > 0) clear_holder(holder_);
  control_guard_ = FaultGuard();
  data_guard_ = FaultGuard();
  if (data_ != nullptr) munmap(data_, geometry_.file_bytes - geometry_.data_offset);
  if (control_ != nullptr) munmap(control_, geometry_.data_offset);
}

void PoolMapping::clear_holder(int holder) {
  for (std::uint32_t slot = 0; slot < geometry_.slot_count; ++slot) drop(slot, holder);
}

void PoolMapping::drop(std::uint32_t slot, int holder) {
  word(slot).drop(holder);
  std::atomic<std::uint32_t>& waits = header().writer_waits;
  if (waits.load(std::memory_order_seq_cst) == 0) return;
  waits.store(0, std::memory_order_seq_cst);
  syscall(SYS_futex, &waits, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace fovea::detail
