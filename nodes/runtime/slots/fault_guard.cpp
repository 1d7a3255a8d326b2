#include "nodes/runtime/slots/fault_guard.hpp"

#include <array>
#include <cstdint>
#include <mutex>
#include <utility>

#include <signal.h>
#include <sys/mman.h>

namespace fovea::detail {

// `end` is 0 in a free row and is written last and cleared first, so the handler meets whole rows.
struct FaultGuard::Range {
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};
  std::atomic<bool> taken{false};
  std::atomic<bool> tripped{false};
};

namespace {

constexpr std::uintptr_t kPage = 4096;

std::array<FaultGuard::Range, 4096> ranges;
struct sigaction previous {};

FaultGuard::Range* range_of(std::uintptr_t address) {
  for (FaultGuard::Range& range : ranges) {
    if (address < range.end.load(std::memory_order_acquire) &&
        address >= range.begin.load(std::memory_order_relaxed)) {
      return &range;
    }
  }
  return nullptr;
}

// Only atomics and system calls. The access is repeated afterwards and finds the new page.
void on_bus_error(int number, siginfo_t* info, void* context) {
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  FaultGuard::Range* range = info->si_code == BUS_ADRERR ? range_of(address) : nullptr;
  if (range != nullptr) {
    void* page = reinterpret_cast<void*>(address / kPage * kPage);
    range->tripped.store(true, std::memory_order_release);
    if (mmap(page, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
        MAP_FAILED) {
      return;
    }
  }
  if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr)
    return previous.sa_sigaction(number, info, context);
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
    return previous.sa_handler(number);
  signal(SIGBUS, SIG_DFL);  // the access is repeated, and ends the process
}

void install() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &previous);
  });
}

}  // namespace

FaultGuard::FaultGuard(void* begin, std::size_t bytes) {
  install();
  for (Range& range : ranges) {
    if (range.taken.exchange(true)) continue;
    range_ = &range;
    range.tripped.store(false, std::memory_order_relaxed);
    range.begin.store(reinterpret_cast<std::uintptr_t>(begin), std::memory_order_relaxed);
    range.end.store(reinterpret_cast<std::uintptr_t>(begin) + bytes, std::memory_order_release);
    return;
  }
}

FaultGuard::FaultGuard(FaultGuard&& other) noexcept
    : range_(std::exchange(other.range_, nullptr)) {}

FaultGuard& FaultGuard::operator=(FaultGuard&& other) noexcept {
  std::swap(range_, other.range_);
  return *this;
}

FaultGuard::~FaultGuard() {
  if (range_ == nullptr) return;
  range_->end.store(0, std::memory_order_release);
  range_->taken.store(false, std::memory_order_release);
}

bool FaultGuard::tripped() const {
  return range_ != nullptr && range_->tripped.load(std::memory_order_acquire);
}

}  // namespace fovea::detail
