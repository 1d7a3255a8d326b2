// How a message reaches a subscriber of this host in one wake-up instead of ZeroMQ's three: packets
// on a Unix socket of the subscriber's own. ZeroMQ still tells who subscribes and who is gone.
//
// A subscriber listens on a path with a random number and asks for packets there by subscribing to
// a SubscriptionRequest; the publisher connects. SOCK_SEQPACKET keeps messages apart and in order
// as datagrams do, but its queue is bounded by bytes (some hundred descriptors) instead of
// net.unix.max_dgram_qlen's 10, and both ends learn from the kernel when the other is dead.
//
// Internal to the runtime. Thread safety: each object belongs to one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "nodes/base/file_handle.hpp"
#include "nodes/base/result.hpp"
#include "nodes/runtime/domain.hpp"

namespace fovea::detail {

// A subscriber's end.
class Doorbell {
 public:
  // Listens under a number of its own (mode 0600). `epoll_fd` gets everything that may become
  // readable and must outlive the doorbell. Errors: those of Domain::doorbell_path().
  static Result<Doorbell> open(const Domain& domain, int epoll_fd);
  Doorbell(Doorbell&&) noexcept = default;
  Doorbell& operator=(Doorbell&&) = delete;
  ~Doorbell();

  std::uint64_t id() const { return id_; }

  // The next packet's size, or nullopt when none waits. The first buffer.size() bytes of it are in
  // `buffer`. What a publisher sent before it died still comes, and before its successor's.
  std::optional<std::size_t> receive(std::span<std::byte> buffer);

  // Lets in the publishers that connected.
  void accept();

 private:
  Doorbell(FileHandle listener, std::filesystem::path path, std::uint64_t id, int epoll_fd);

  FileHandle listener_;
  std::filesystem::path path_;
  std::uint64_t id_ = 0;
  int epoll_fd_ = -1;
  std::vector<FileHandle> lines_;  // connected publishers, the oldest first
};

// Above the 31 readers that a pool has; each costs a descriptor.
inline constexpr std::size_t kMaxSubscribers = 256;

// A publisher's end: the subscribers that asked for packets.
class DoorbellLines {
 public:
  explicit DoorbellLines(const Domain& domain) : domain_(domain) {}

  // Connects to the subscriber that listens under `id`; false if nobody does (logged if that is
  // not because it is gone) or kMaxSubscribers are there. Packets to one that `waits` are not dropped.
  bool add(std::uint64_t id, bool waits);
  // Its subscription ended. Removes its socket file if it died without doing so.
  void remove(std::uint64_t id);
  int count() const { return static_cast<int>(lines_.size()); }

  // To all. A subscriber whose queue is full loses the packet, unless it waits: then sending goes
  // on when there is room, the subscriber dies or `stopped()` is true. Subscribers that are gone
  // leave the lines.
  void send(std::span<const std::byte> packet, const std::function<bool()>& stopped);
  // To the one that was added last.
  void send_to_newest(std::span<const std::byte> packet);

 private:
  struct Line {
    std::uint64_t id = 0;
    bool waits = false;
    FileHandle socket;
  };
  Domain domain_;
  std::vector<Line> lines_;
  bool refused_one_ = false;
};

}  // namespace fovea::detail
