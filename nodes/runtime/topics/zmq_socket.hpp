// What the topics' two halves share of ZeroMQ: owned sockets, and binding to a Unix socket without
// stealing it from a live process, which libzmq's own bind() would do (it unlinks the path first).
//
// Internal to the runtime. Thread safety: a socket belongs to one thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "nodes/base/result.hpp"
#include "nodes/runtime/domain.hpp"

namespace fovea::detail {

struct ZmqClose {
  void operator()(void* socket) const;
};
using ZmqSocket = std::unique_ptr<void, ZmqClose>;

// What peers may send to a socket that listens. The longest subscription is a SubscriptionRequest;
// with much less than this ZeroMQ's own handshake would not pass either.
inline constexpr std::int64_t kMaxSubscriptionBytes = 256;
// A subscriber of ours makes two; a program that forwards topics some more.
inline constexpr int kMaxSubscriptionsOfAPeer = 256;
inline constexpr std::int64_t kMaxRequestBytes = 256 << 10;  // to a node's control socket
// What ZeroMQ may have read of a peer before we look. With more, a peer that never stops would be
// read for ever by the call that wanted to know who subscribes.
inline constexpr int kSubscriptionQueueLength = 16;
inline constexpr int kRequestQueueLength = 4;  // of each peer of a control socket

// A socket of the process's context with LINGER 0, which closing never lets wait for an absent peer,
// and with the bounds above.
Result<ZmqSocket> open_zmq_socket(int type);
Result<> set_zmq_option(void* socket, int option, int value);

// A bound path; removes it when destroyed, if it is still ours.
class BoundPath {
 public:
  // Takes over a socket file that nobody listens on. `what` names the owner in errors ("topic
  // cam0/image"). Errors: kUnavailable when a live process listens there.
  static Result<BoundPath> bind(const Domain& domain, void* socket, const std::string& endpoint,
                                std::string_view what);
  BoundPath() = default;
  BoundPath(BoundPath&&) noexcept = default;
  BoundPath& operator=(BoundPath&& other) noexcept;
  ~BoundPath();

 private:
  std::unique_ptr<Domain> domain_;
  std::filesystem::path path_;
  unsigned long inode_ = 0;
};

// What a subscription wants of its publisher, as a string that it subscribes to: messages at its
// doorbell instead of through ZeroMQ, guaranteed delivery, or both. No message starts like it.
// ZeroMQ delivers it (after the subscription to everything, if there is one) and takes it back when
// the peer is gone, so both ends know exactly from which message on it holds.
struct SubscriptionRequest {
  std::array<char, 16> magic{'f', 'o', 'v', 'e', 'a', '.', 'r', 'e',
                             'q', 'u', 'e', 's', 't', '.', '1', 0};
  std::uint64_t layout_hash = 0;  // a reader that would refuse every message must not be waited for
  std::uint64_t reliable_id = 0;  // random; 0 = best effort
  std::uint64_t doorbell_id = 0;  // 0 = messages come through ZeroMQ
};
static_assert(sizeof(SubscriptionRequest) == 40);

// Messages that wait in ZeroMQ for one subscriber on each side: a second of video. Descriptors are
// small, and what a subscriber finds when it wakes up goes through the keep-last queue, so this is
// no delivery promise.
inline constexpr int kQueueLength = 128;

// zmq_send / zmq_recv without waiting, repeated when a signal interrupts. -1 with errno EAGAIN =
// not now.
int send_now(void* socket, const void* data, std::size_t size);
int receive_now(void* socket, void* data, std::size_t capacity);

// The same for what an XPUB socket tells. `connection` is the descriptor through which it came; -1 =
// none any more.
int receive_event(void* socket, void* data, std::size_t capacity, int& connection);

// Counts the subscriptions of every connection, which ZeroMQ would keep without limit, and closes
// one that has more than kMaxSubscriptionsOfAPeer. ZeroMQ then forgets them; an honest peer connects
// again.
class PeerLimit {
 public:
  // An event that came through the descriptor; false if its connection was closed for it.
  bool count(int connection, bool subscribed);

 private:
  // By the number of the socket's inode, which no later connection gets.
  std::unordered_map<std::uint64_t, int> subscriptions_;
};

// SIGINT or SIGTERM came, whether or not someone has taken it yet. Executor::block_signals() keeps
// them from interrupting anything, so a loop that blocks the executor's thread must look for
// itself.
bool stop_signal_pending();

}  // namespace fovea::detail
