// Where a tensor's bytes lie and when they are there: the three words that engines and slots share,
// so that memory of a device can pass through both.
//
// Views own nothing. A fence says when the work that fills a view is done; where everything runs in
// the caller's thread on the host, it is done from the start and costs nothing.
//
// Thread safety: plain values.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "nodes/base/result.hpp"

namespace fovea {

enum class MemoryKind : std::uint8_t {
  kHost,    // plain memory of the process
  kPinned,  // the same, locked for a device's copies
  kCuda,    // of a CUDA device; the CPU cannot read it
};

inline constexpr bool is_host_readable(MemoryKind kind) { return kind != MemoryKind::kCuda; }

// `Void` is void or const void; what may be written may also be read.
template <class Void>
struct BasicMemoryView {
  Void* data = nullptr;
  std::size_t bytes = 0;
  MemoryKind kind = MemoryKind::kHost;
  std::int32_t device = 0;  // of its kind

  operator BasicMemoryView<const Void>() const  // NOLINT(google-explicit-constructor)
    requires(!std::is_const_v<Void>)
  {
    return {data, bytes, kind, device};
  }
};
using MemoryView = BasicMemoryView<void>;
using ConstMemoryView = BasicMemoryView<const void>;

// Work that was started. Whoever starts it hands a fence out; memory that the work uses is borrowed
// until wait() has returned. Destroying a fence waits, too.
class Fence {
 public:
  // REQUIRES: `event` lives as long as the fence; wait is called once with it.
  using Wait = Result<> (*)(void* event);

  Fence() = default;  // of work that is done
  Fence(Wait how, void* event) : wait_(how), event_(event) {}
  Fence(Fence&& other) noexcept
      : wait_(std::exchange(other.wait_, nullptr)), event_(other.event_) {}
  Fence& operator=(Fence&& other) noexcept {
    if (this == &other) return *this;
    (void)wait();
    wait_ = std::exchange(other.wait_, nullptr);
    event_ = other.event_;
    return *this;
  }
  ~Fence() { (void)wait(); }

  // True if wait() would return at once because nothing is left to wait for.
  bool is_done() const { return wait_ == nullptr; }
  // Returns when the work is done. Errors: the work's, once.
  Result<> wait() {
    const Wait how = std::exchange(wait_, nullptr);
    return how == nullptr ? Result<>() : how(event_);
  }

 private:
  Wait wait_ = nullptr;  // null: done
  void* event_ = nullptr;
};

// What every provider may ask of an address.
inline constexpr std::size_t kMemoryAlignment = 64;

struct HostMemoryDelete {
  void operator()(std::byte* memory) const {
    ::operator delete[](memory, std::align_val_t{kMemoryAlignment});
  }
};
using HostMemory = std::unique_ptr<std::byte[], HostMemoryDelete>;

// Not initialised. Throws std::bad_alloc.
inline HostMemory allocate_host(std::size_t bytes) {
  return HostMemory(static_cast<std::byte*>(::operator new[](
      std::max<std::size_t>(bytes, 1), std::align_val_t{kMemoryAlignment})));
}

}  // namespace fovea
