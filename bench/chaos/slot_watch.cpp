#include "bench/chaos/slot_watch.hpp"

#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "nodes/base/clock.hpp"
#include "nodes/base/file_handle.hpp"
#include "nodes/runtime/slots/pool_mapping.hpp"

namespace fovea::bench {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

bool is_locked(int fd, int byte) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

}  // namespace

void SlotWatch::look() {
  const std::int64_t now = monotonic_ns();
  ++looks_;
  held_by_the_dead_ = 0;
  for (const auto& entry : domain_.list_topics()) {
    for (const auto& path : domain_.list_pools(entry)) look_at(path.native(), now);
  }
  std::erase_if(holds_, [this](const auto& hold) { return hold.second.seen_in != looks_; });
}

void SlotWatch::look_at(const std::string& path, std::int64_t now) {
  const auto file = open_own_file(path);
  if (!file || !is_locked(file->get(), 0))
    return;  // its publisher is dead: the file goes as a whole
  std::uint32_t slots = 0;
  if (pread(file->get(), &slots, sizeof slots, offsetof(detail::PoolHeader, slot_count)) !=
          sizeof slots ||
      slots > kMaxPoolSlots) {
    return;
  }
  Loans& loans = loans_[path];
  std::uint64_t generations = 0;
  for (std::uint32_t slot = 0; slot < slots; ++slot) {
    std::uint64_t word = 0;
    const auto offset = static_cast<off_t>(detail::kPageBytes + slot * sizeof(detail::PoolSlot));
    if (pread(file->get(), &word, sizeof word, offset) != sizeof word) return;
    generations += word >> 32;
    for (int holder = 1; holder <= kMaxHolders; ++holder) {
      if ((word >> holder & 1) == 0 || is_locked(file->get(), holder)) continue;
      // A reader that lives clears its bits before it gives up its lock; look again.
      std::uint64_t again = 0;
      if (pread(file->get(), &again, sizeof again, offset) != sizeof again ||
          again >> 32 != word >> 32 || (again >> holder & 1) == 0) {
        continue;
      }
      ++held_by_the_dead_;
      Hold& hold = holds_[fmt::format("{} {} {} {}", path, slot, word >> 32, holder)];
      if (hold.since_ns == 0) {
        hold.since_ns = now;
        ++cases_;
      }
      hold.seen_in = looks_;
      if (!hold.counted && loans.last_ns > hold.since_ns + kSecondNs) {
        hold.counted = true;
        ++leaked_;
      }
    }
  }
  if (generations != loans.generations) {
    loans.generations = generations;
    loans.last_ns = now;
  }
}

}  // namespace fovea::bench
