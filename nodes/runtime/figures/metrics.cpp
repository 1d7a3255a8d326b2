#include "nodes/runtime/figures/metrics.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <new>

#include <fcntl.h>
#include <fmt/core.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nodes/base/clock.hpp"
#include "nodes/base/file_handle.hpp"
#include "nodes/runtime/log.hpp"

namespace fovea {
namespace detail {

constexpr std::uint64_t kPageMagic = 0x3167706165766f66;  // "foveapg1"
constexpr std::uint32_t kPageVersion = 3;

using Word = std::atomic<std::uint64_t>;
using Text24 = msgs::FixedString<24>;
using Text32 = msgs::FixedString<32>;
using Text256 = msgs::FixedString<256>;

// An entry's use is odd while it has a name and a value, and grows with every change: a reader that
// sees the same odd number before and after its copy has one whole entry. The texts are written and
// read by words (store_text(), load_text()): who sees a word of the next use sees the end of this one.
struct CounterEntry {
  Word use{0};
  Text24 name;
  Text32 camera;
  Text256 label;
  Counter value{0};
};

struct HistogramEntry {
  Word use{0};
  Text24 name;
  Text32 camera;
  Histogram histogram;
};

// The status text is words under a sequence lock: the sequence is odd while it changes.
struct PageHeader {
  Word magic{0};  // last to be written in a new page
  std::uint32_t version = 0;
  std::uint32_t bytes = 0;
  Text32 node;
  Text32 type;
  std::atomic<std::uint32_t> pid{0};
  std::atomic<std::uint32_t> starts{0};
  std::atomic<std::int64_t> last_beat{0};
  std::atomic<std::uint32_t> state{0};
  std::atomic<std::uint32_t> level{0};
  std::atomic<std::uint32_t> counter_count{0};
  std::atomic<std::uint32_t> histogram_count{0};
  Word status_sequence{0};
  std::array<Word, 32> status{};
  Counter overflow{0};
  Histogram overflow_histogram;
};

// The file, byte for byte. Entries are written before their use becomes odd (release), so a reader
// never meets one that is half registered. Memory is there for the header and, in steps,
// for the entries that are in use; the rest are holes.
struct PageLayout : PageHeader {
  std::array<CounterEntry, kCounterCapacity> counters;
  std::array<HistogramEntry, kHistogramCapacity> histograms;
};
constexpr std::size_t kReserveStep = 32 << 10;

namespace {

constexpr std::size_t kStatusBytes = sizeof(PageHeader::status);

bool usable(const PageLayout& page) {
  return page.magic.load(std::memory_order_acquire) == kPageMagic && page.version == kPageVersion &&
         page.bytes == sizeof(PageLayout) && page.counter_count.load() <= kCounterCapacity &&
         page.histogram_count.load() <= kHistogramCapacity;
}

PageLayout* map_page(int fd, int protection) {
  void* address = mmap(nullptr, sizeof(PageLayout), protection, MAP_SHARED, fd, 0);
  if (address == MAP_FAILED) return nullptr;
  // A forked child must not write here under its parent's lock.
  madvise(address, sizeof(PageLayout), MADV_DONTFORK);
  return static_cast<PageLayout*>(address);
}

constexpr int kOwnerByte = 0;

struct flock owner_lock() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = kOwnerByte;
  lock.l_len = 1;
  return lock;
}

bool is_page_file(const struct stat& status) {
  return S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
         status.st_size == static_cast<off_t>(sizeof(PageLayout));
}

// The pid in a page whose owner lives; 0 if the page does not tell (yet).
std::uint32_t owner_pid(int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0 || !is_page_file(status)) return 0;
  PageLayout* page = map_page(fd, PROT_READ);
  if (page == nullptr) return 0;
  const std::uint32_t pid = usable(*page) ? page->pid.load() : 0;
  munmap(page, sizeof(PageLayout));
  return pid;
}

template <class Entries, class Matches>
auto* find_entry(Entries& entries, std::uint32_t count, Matches matches) {
  const auto end = entries.begin() + std::min<std::size_t>(count, entries.size());
  const auto found = std::find_if(entries.begin(), end, matches);
  return found == end ? nullptr : &*found;
}

using TextWord [[gnu::may_alias]] = std::uint64_t;

template <std::size_t N>
void store_text(msgs::FixedString<N>& to, std::string_view text) {
  static_assert(N % sizeof(TextWord) == 0);
  const msgs::FixedString<N> from(text);
  auto* words = reinterpret_cast<TextWord*>(to.bytes.data());
  for (std::size_t i = 0; i < N / sizeof(TextWord); ++i) {
    TextWord word = 0;
    std::memcpy(&word, from.bytes.data() + i * sizeof(word), sizeof(word));
    __atomic_store_n(words + i, word, __ATOMIC_RELEASE);
  }
}

template <std::size_t N>
msgs::FixedString<N> load_text(const msgs::FixedString<N>& from) {
  msgs::FixedString<N> text;
  const auto* words = reinterpret_cast<const TextWord*>(from.bytes.data());
  for (std::size_t i = 0; i < N / sizeof(TextWord); ++i) {
    const TextWord word = __atomic_load_n(words + i, __ATOMIC_ACQUIRE);
    std::memcpy(text.bytes.data() + i * sizeof(word), &word, sizeof(word));
  }
  return text;
}

bool is_used(const Word& use) { return (use.load(std::memory_order_acquire) & 1) != 0; }

// Calls copy(entry) for the used ones of the first `count` entries; what was changed meanwhile is
// taken back by undo().
template <class Entries, class Copy, class Undo>
void copy_used(const Entries& entries, std::uint32_t count, Copy copy, Undo undo) {
  count = std::min(count, static_cast<std::uint32_t>(entries.size()));
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t use = entries[i].use.load(std::memory_order_acquire);
    if ((use & 1) == 0) continue;
    copy(entries[i]);
    if (entries[i].use.load(std::memory_order_relaxed) != use) undo();
  }
}

auto counter_matches(std::string_view name, std::string_view camera, std::string_view label) {
  return [name = Text24(name), camera = Text32(camera),
          label = Text256(label)](const CounterEntry& entry) {
    return is_used(entry.use) && load_text(entry.name) == name &&
           load_text(entry.camera) == camera && load_text(entry.label) == label;
  };
}

auto histogram_matches(std::string_view name, std::string_view camera) {
  return [name = Text24(name), camera = Text32(camera)](const HistogramEntry& entry) {
    return is_used(entry.use) && load_text(entry.name) == name && load_text(entry.camera) == camera;
  };
}

std::string index_key(std::string_view name, std::string_view camera, std::string_view label) {
  std::string key(Text24(name).view());
  key.append(1, '\0').append(Text32(camera).view());
  return key.append(1, '\0').append(Text256(label).view());
}

// Only whole code points survive the cut, so that readers get valid UTF-8 from valid UTF-8.
std::string_view cut_utf8(std::string_view text, std::size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80) --bytes;
  return text.substr(0, bytes);
}

}  // namespace
}  // namespace detail

using detail::PageLayout;

Result<std::unique_ptr<MetricsPage>> MetricsPage::create(const Domain& domain,
                                                         std::string_view node,
                                                         std::string_view type) {
  FOVEA_TRY(check_name("node", node));
  const std::string path = domain.metrics_path(node).string();
  FOVEA_ASSIGN(const FileHandle domain_lock,
               domain.lock());  // or a sweep() could pass for a live owner
  // Each round either takes the file, finds its owner alive, or meets one that is being replaced.
  for (int round = 0; round < 100; ++round) {
    FileHandle file(
        ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
    if (file.get() < 0) {
      if (errno == EMFILE || errno == ENFILE)
        return fail_errno(ErrorCode::kExhausted, "open " + path);
      const Error failed = fail_errno(ErrorCode::kInternal, "open " + path).value();
      struct stat foreign {};
      if (lstat(path.c_str(), &foreign) != 0 || foreign.st_uid == geteuid()) return fail(failed);
      if (unlink(path.c_str()) == 0) continue;  // ours is the folder, or the machine
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("{} belongs to uid {}; choose another --domain", path, foreign.st_uid));
    }
    if (!try_lock_byte(file.get(), detail::kOwnerByte)) {
      return fail(
          ErrorCode::kUnavailable,
          fmt::format(
              "node '{}' already runs in domain '{}' (pid {}); stop it or choose another --domain",
              node, domain.name(), detail::owner_pid(file.get())));
    }
    struct stat opened {
    }, present{};
    if (fstat(file.get(), &opened) != 0) return fail_errno(ErrorCode::kInternal, "stat " + path);
    const bool still_there = ::stat(path.c_str(), &present) == 0 &&
                             present.st_ino == opened.st_ino && present.st_dev == opened.st_dev;
    if (!still_there) continue;  // its owner unlinked it between our open and our lock

    const bool is_new = opened.st_size == 0;
    if (is_new) {
      int error = posix_fallocate(file.get(), 0, sizeof(detail::PageHeader));
      if (error == 0 && ftruncate(file.get(), sizeof(PageLayout)) != 0) error = errno;
      if (error != 0) {
        unlink(path.c_str());
        errno = error;
        return fail_errno(ErrorCode::kExhausted, fmt::format("{}: cannot reserve {} bytes", path,
                                                             sizeof(detail::PageHeader)));
      }
    } else if (!detail::is_page_file(opened)) {
      if (unlink(path.c_str()) != 0) return fail_errno(ErrorCode::kInternal, "unlink " + path);
      continue;
    }
    PageLayout* layout = detail::map_page(file.get(), PROT_READ | PROT_WRITE);
    if (layout == nullptr) return fail_errno(ErrorCode::kInternal, "map " + path);
    if (is_new) {
      new (static_cast<detail::PageHeader*>(layout)) detail::PageHeader;
      layout->version = detail::kPageVersion;
      layout->bytes = sizeof(PageLayout);
      layout->node = node;
      layout->type = type;
    } else if (!detail::usable(*layout) || layout->node.view() != node ||
               layout->type.view() != type) {
      munmap(layout, sizeof(PageLayout));
      if (unlink(path.c_str()) != 0) return fail_errno(ErrorCode::kInternal, "unlink " + path);
      continue;  // never rewritten in place: readers may have it mapped
    }
    layout->pid.store(static_cast<std::uint32_t>(getpid()));
    layout->starts.fetch_add(1);

    std::unique_ptr<MetricsPage> page(new MetricsPage(domain));
    page->node_ = node;
    page->type_ = type;
    page->path_ = path;
    page->fd_ = file.release();
    page->layout_ = layout;
    page->guard_ = detail::FaultGuard(layout, sizeof(PageLayout));
    for (std::uint32_t i = 0; i < layout->counter_count.load(); ++i) {
      const detail::CounterEntry& entry = layout->counters[i];
      if (!detail::is_used(entry.use)) {
        page->free_counters_.push_back(i);
        continue;
      }
      page->counter_index_.emplace(
          detail::index_key(entry.name.view(), entry.camera.view(), entry.label.view()), i);
    }
    for (std::uint32_t i = 0; i < layout->histogram_count.load(); ++i) {
      if (!detail::is_used(layout->histograms[i].use)) page->free_histograms_.push_back(i);
    }
    page->set_state(msgs::LifecycleState::kUnconfigured);
    page->set_status(msgs::DiagnosticLevel::kOk, "");
    page->beat();
    layout->magic.store(detail::kPageMagic, std::memory_order_release);
    return page;
  }
  return fail(ErrorCode::kUnavailable, path + ": other processes keep replacing it");
}

MetricsPage::~MetricsPage() {
  if (!keep_) unlink(path_.c_str());
  guard_ = detail::FaultGuard();
  munmap(layout_, sizeof(PageLayout));
  close(fd_);  // after the unlink: who gets the lock from here on sees that the file is gone
}

// Memory for the page's next kReserveStep bytes; false when there is none.
bool MetricsPage::reserve(const void* from) const {
  const auto offset =
      static_cast<const std::byte*>(from) - reinterpret_cast<const std::byte*>(layout_);
  const auto left = static_cast<std::ptrdiff_t>(sizeof(PageLayout)) - offset;
  const auto bytes = std::min(left, static_cast<std::ptrdiff_t>(detail::kReserveStep));
  return posix_fallocate(fd_, offset, bytes) == 0;
}

void MetricsPage::warn_full(std::string_view what, std::string_view name) {
  if (std::exchange(warned_, true)) return;
  log_warning("no place for more {}: '{}' and later ones are not recorded", what, name);
}

Counter& MetricsPage::counter(std::string_view name, std::string_view camera,
                              std::string_view label) {
  const std::lock_guard lock(mutex_);
  std::string key = detail::index_key(name, camera, label);
  if (const auto known = counter_index_.find(key); known != counter_index_.end()) {
    return layout_->counters[known->second].value;
  }
  const auto index = place(layout_->counters, layout_->counter_count, free_counters_,
                           reserved_counters_, "counters", name);
  if (!index) return layout_->overflow;
  detail::CounterEntry& entry = layout_->counters[*index];
  detail::store_text(entry.name, name);
  detail::store_text(entry.camera, camera);
  detail::store_text(entry.label, label);
  entry.value.store(0, std::memory_order_release);
  entry.use.fetch_add(1, std::memory_order_release);
  counter_index_.emplace(std::move(key), *index);
  return entry.value;
}

Histogram& MetricsPage::histogram(std::string_view name, std::string_view camera) {
  const std::lock_guard lock(mutex_);
  const std::uint32_t count = layout_->histogram_count.load(std::memory_order_relaxed);
  if (auto* entry =
          detail::find_entry(layout_->histograms, count, detail::histogram_matches(name, camera))) {
    return entry->histogram;
  }
  const auto index = place(layout_->histograms, layout_->histogram_count, free_histograms_,
                           reserved_histograms_, "histograms", name);
  if (!index) return layout_->overflow_histogram;
  detail::HistogramEntry& entry = layout_->histograms[*index];
  detail::store_text(entry.name, name);
  detail::store_text(entry.camera, camera);
  entry.histogram.clear();
  entry.use.fetch_add(1, std::memory_order_release);
  return entry.histogram;
}

// The index of an entry that is not in use; nullopt when there is none. New ones are all zero: they
// were a hole until now.
template <class Entries>
std::optional<std::uint32_t> MetricsPage::place(Entries& entries,
                                                std::atomic<std::uint32_t>& published,
                                                std::vector<std::uint32_t>& free,
                                                std::uint64_t& reserved, std::string_view what,
                                                std::string_view name) {
  if (!free.empty()) {
    const std::uint32_t index = free.back();
    free.pop_back();
    return index;
  }
  constexpr std::size_t kSize = sizeof(typename Entries::value_type);
  const std::uint32_t count = published.load(std::memory_order_relaxed);
  if (count < entries.size() && (count + 1) * kSize > reserved && reserve(&entries[count])) {
    reserved = count * kSize + detail::kReserveStep;
  }
  if ((count + 1) * kSize > reserved || count >= entries.size()) {
    warn_full(what, name);
    return std::nullopt;
  }
  published.store(count + 1, std::memory_order_release);
  return count;
}

void MetricsPage::remove_camera(std::string_view camera) {
  const std::lock_guard lock(mutex_);
  const detail::Text32 wanted(camera);
  const auto end_use = [&](auto& entries, std::uint32_t count, std::vector<std::uint32_t>& free,
                           auto forget) {
    for (std::uint32_t i = 0; i < count; ++i) {
      auto& entry = entries[i];
      if (!detail::is_used(entry.use) || !(entry.camera == wanted)) continue;
      forget(entry);
      entry.use.fetch_add(1, std::memory_order_release);
      free.push_back(i);
    }
  };
  end_use(layout_->counters, layout_->counter_count.load(), free_counters_,
          [&](const detail::CounterEntry& entry) {
            counter_index_.erase(
                detail::index_key(entry.name.view(), entry.camera.view(), entry.label.view()));
          });
  end_use(layout_->histograms, layout_->histogram_count.load(), free_histograms_,
          [](const detail::HistogramEntry&) {});
}

void MetricsPage::set_state(msgs::LifecycleState state) {
  layout_->state.store(static_cast<std::uint32_t>(state), std::memory_order_release);
}

void MetricsPage::set_status(msgs::DiagnosticLevel level, std::string_view message) {
  std::array<char, detail::kStatusBytes> text{};
  message = detail::cut_utf8(message, text.size() - 1);
  std::copy(message.begin(), message.end(), text.begin());

  const std::lock_guard lock(mutex_);
  // Odd from here, also when a predecessor died while it was odd.
  const std::uint64_t odd = layout_->status_sequence.load(std::memory_order_relaxed) | 1;
  layout_->status_sequence.store(odd, std::memory_order_relaxed);
  layout_->level.store(static_cast<std::uint32_t>(level), std::memory_order_relaxed);
  for (std::size_t i = 0; i < layout_->status.size(); ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + i * sizeof(word), sizeof(word));
    layout_->status[i].store(word, std::memory_order_release);  // who sees it sees the odd sequence
  }
  layout_->status_sequence.store(odd + 1, std::memory_order_release);
}

void MetricsPage::beat() { layout_->last_beat.store(monotonic_ns(), std::memory_order_relaxed); }

std::uint32_t MetricsPage::starts() const { return layout_->starts.load(); }
void MetricsPage::set_starts(std::uint32_t starts) { layout_->starts.store(starts); }

Result<std::unique_ptr<MetricsReader>> MetricsReader::open(const Domain& domain,
                                                           std::string_view node) {
  FOVEA_TRY(check_name("node", node));
  const std::string path = domain.metrics_path(node).string();
  FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (file.get() < 0) {
    return fail_errno(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kInternal,
                      "open " + path);
  }
  struct stat status {};
  if (fstat(file.get(), &status) != 0) return fail_errno(ErrorCode::kInternal, "stat " + path);
  if (!detail::is_page_file(status)) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{} is no metrics page of this build: it has {} bytes; it must "
                            "be a file of {} bytes owned by uid {}",
                            path, status.st_size, sizeof(PageLayout), geteuid()));
  }
  const PageLayout* layout = detail::map_page(file.get(), PROT_READ);
  if (layout == nullptr) return fail_errno(ErrorCode::kInternal, "map " + path);
  std::unique_ptr<MetricsReader> reader(new MetricsReader);
  reader->fd_ = file.release();
  reader->layout_ = layout;
  reader->guard_ = detail::FaultGuard(const_cast<PageLayout*>(layout), sizeof(PageLayout));
  if (!detail::usable(*layout)) {
    return fail(ErrorCode::kCorrupt, path + " is no metrics page of this build");
  }
  return reader;
}

MetricsReader::~MetricsReader() {
  guard_ = detail::FaultGuard();
  munmap(const_cast<PageLayout*>(layout_), sizeof(PageLayout));
  close(fd_);
}

bool MetricsReader::alive() const {
  struct flock lock = detail::owner_lock();
  return fcntl(fd_, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

std::string MetricsReader::node() const { return std::string(layout_->node.view()); }
std::string MetricsReader::type() const { return std::string(layout_->type.view()); }
std::uint32_t MetricsReader::pid() const { return layout_->pid.load(); }
std::uint32_t MetricsReader::starts() const { return layout_->starts.load(); }

msgs::LifecycleState MetricsReader::state() const {
  return static_cast<msgs::LifecycleState>(layout_->state.load(std::memory_order_acquire));
}

msgs::DiagnosticLevel MetricsReader::level() const {
  return static_cast<msgs::DiagnosticLevel>(layout_->level.load());
}

std::string MetricsReader::status() const {
  std::array<char, detail::kStatusBytes> text{};
  // An owner that died while it wrote leaves the sequence odd; then the mixture has to do. One that
  // is only off its core will go on, but who forges a page gets no endless loop from us.
  const std::int64_t give_up = monotonic_ns() + 1'000'000'000;
  for (;;) {
    const std::uint64_t before = layout_->status_sequence.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < layout_->status.size(); ++i) {
      const std::uint64_t word = layout_->status[i].load(std::memory_order_acquire);
      std::memcpy(text.data() + i * sizeof(word), &word, sizeof(word));
    }
    const std::uint64_t after = layout_->status_sequence.load(std::memory_order_relaxed);
    if ((before & 1) == 0 && after == before) break;
    if (!alive() || monotonic_ns() > give_up) break;
    sched_yield();
  }
  return std::string(text.data(), strnlen(text.data(), text.size()));
}

std::int64_t MetricsReader::last_beat_ns() const {
  return layout_->last_beat.load(std::memory_order_relaxed);
}

namespace {

template <std::size_t N>
std::string text(const msgs::FixedString<N>& field) {
  return std::string(detail::load_text(field).view());
}

}  // namespace

std::vector<MetricSample> MetricsReader::counters() const {
  const std::uint32_t count = layout_->counter_count.load(std::memory_order_acquire);
  std::vector<MetricSample> samples;
  samples.reserve(std::min(count, kCounterCapacity));
  detail::copy_used(
      layout_->counters, count,
      [&](const detail::CounterEntry& entry) {
        samples.push_back({text(entry.name), text(entry.camera), text(entry.label),
                           entry.value.load(std::memory_order_acquire)});
      },
      [&] { samples.pop_back(); });
  return samples;
}

std::vector<HistogramSample> MetricsReader::histograms() const {
  const std::uint32_t count = layout_->histogram_count.load(std::memory_order_acquire);
  std::vector<HistogramSample> samples;
  samples.reserve(std::min(count, kHistogramCapacity));
  detail::copy_used(
      layout_->histograms, count,
      [&](const detail::HistogramEntry& entry) {
        samples.push_back({text(entry.name), text(entry.camera), &entry.histogram});
      },
      [&] { samples.pop_back(); });
  return samples;
}

std::uint64_t MetricsReader::value(std::string_view name, std::string_view camera,
                                   std::string_view label) const {
  const auto* entry =
      detail::find_entry(layout_->counters, layout_->counter_count.load(std::memory_order_acquire),
                         detail::counter_matches(name, camera, label));
  return entry == nullptr ? 0 : entry->value.load(std::memory_order_acquire);
}

const Histogram* MetricsReader::histogram(std::string_view name, std::string_view camera) const {
  const auto* entry = detail::find_entry(layout_->histograms,
                                         layout_->histogram_count.load(std::memory_order_acquire),
                                         detail::histogram_matches(name, camera));
  return entry == nullptr ? nullptr : &entry->histogram;
}

}  // namespace fovea
