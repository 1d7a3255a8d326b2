#include "nodes/runtime/topics/zmq_socket.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.hpp>

#include "nodes/runtime/executor.hpp"
#include "nodes/runtime/topics/pubsub.hpp"

namespace fovea {

void* zmq_context() {
  // Never destroyed: ending the context waits for every socket, and a process that exits from the
  // middle must not hang there.
  static auto* context = new zmq::context_t(1);
  return context->handle();
}

namespace detail {
namespace {

constexpr std::string_view kIpc = "ipc://";
constexpr int kBacklog = 128;

tl::unexpected<Error> fail_zmq(const std::string& what) {
  return fail(zmq_errno() == EMFILE ? ErrorCode::kExhausted : ErrorCode::kInternal,
              what + ": " + zmq_strerror(zmq_errno()));
}

unsigned long inode_of(const std::filesystem::path& path) {
  struct stat status {};
  return lstat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

}  // namespace

void ZmqClose::operator()(void* socket) const { zmq_close(socket); }

Result<ZmqSocket> open_zmq_socket(int type) {
  ZmqSocket socket(zmq_socket(zmq_context(), type));
  if (!socket) return fail_zmq("ZeroMQ socket");
  FOVEA_TRY(set_zmq_option(socket.get(), ZMQ_LINGER, 0));
  if (type != ZMQ_XPUB && type != ZMQ_REP) return socket;
  // ZeroMQ drops a longer message together with its connection, before it takes memory for it.
  const std::int64_t most = type == ZMQ_XPUB ? kMaxSubscriptionBytes : kMaxRequestBytes;
  if (zmq_setsockopt(socket.get(), ZMQ_MAXMSGSIZE, &most, sizeof most) != 0)
    return fail_zmq("ZeroMQ option ZMQ_MAXMSGSIZE");
  // What waits of one peer; by itself ZeroMQ takes 1000 messages.
  FOVEA_TRY(set_zmq_option(socket.get(), ZMQ_RCVHWM,
                           type == ZMQ_XPUB ? kSubscriptionQueueLength : kRequestQueueLength));
  return socket;
}

Result<> set_zmq_option(void* socket, int option, int value) {
  if (zmq_setsockopt(socket, option, &value, sizeof value) == 0) return {};
  return fail_zmq(fmt::format("ZeroMQ option {} = {}", option, value));
}

Result<BoundPath> BoundPath::bind(const Domain& domain, void* socket, const std::string& endpoint,
                                  std::string_view what) {
  BoundPath bound;
  bound.path_ = endpoint.substr(kIpc.size());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (bound.path_.native().size() >= sizeof address.sun_path) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is too long for a socket", bound.path_.native()));
  }
  std::memcpy(address.sun_path, bound.path_.c_str(), bound.path_.native().size());

  FOVEA_ASSIGN(const FileHandle locked, domain.lock());
  FOVEA_ASSIGN(const bool taken, someone_listens(bound.path_));
  if (taken) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("{} is taken in domain {}: a live process listens on {}", what,
                            domain.name(), bound.path_.native()));
  }
  unlink(bound.path_.c_str());
  // We bind, ZeroMQ serves (USE_FD): it then leaves the path alone when it closes the socket, at a
  // time of its own, when a successor may already have bound the same path.
  FileHandle listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener) return fail_errno(ErrorCode::kExhausted, "socket for " + bound.path_.native());
  // The socket's own mode is what bind() gives the file, so it is never open to others.
  fchmod(listener.get(), 0600);
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(ErrorCode::kInternal, "bind " + bound.path_.native());
  }
  bound.inode_ = inode_of(bound.path_);
  bound.domain_ = std::make_unique<Domain>(domain);
  if (listen(listener.get(), kBacklog) != 0)
    return fail_errno(ErrorCode::kInternal, "listen " + endpoint);
  FOVEA_TRY(set_zmq_option(socket, ZMQ_USE_FD, listener.get()));
  if (zmq_bind(socket, endpoint.c_str()) != 0) return fail_zmq("bind " + endpoint);
  (void)listener.release();  // ZeroMQ's from here on
  return bound;
}

BoundPath& BoundPath::operator=(BoundPath&& other) noexcept {
  std::swap(domain_, other.domain_);
  std::swap(path_, other.path_);
  std::swap(inode_, other.inode_);
  return *this;
}

BoundPath::~BoundPath() {
  if (!domain_) return;
  // Without the lock the path stays; it is stale then, and the next owner or sweep() takes it.
  if (const auto locked = domain_->lock(); locked && inode_of(path_) == inode_)
    unlink(path_.c_str());
}

int send_now(void* socket, const void* data, std::size_t size) {
  for (;;) {
    const int sent = zmq_send(socket, data, size, ZMQ_DONTWAIT);
    if (sent >= 0 || zmq_errno() != EINTR) return sent;
  }
}

int receive_now(void* socket, void* data, std::size_t capacity) {
  for (;;) {
    const int received = zmq_recv(socket, data, capacity, ZMQ_DONTWAIT);
    if (received >= 0 || zmq_errno() != EINTR) return received;
  }
}

int receive_event(void* socket, void* data, std::size_t capacity, int& connection) {
  zmq_msg_t message;
  zmq_msg_init(&message);
  int received = -1;
  do {
    received = zmq_msg_recv(&message, socket, ZMQ_DONTWAIT);
  } while (received < 0 && zmq_errno() == EINTR);
  if (received >= 0) {
    connection = zmq_msg_get(&message, ZMQ_SRCFD);
    std::memcpy(data, zmq_msg_data(&message),
                std::min(capacity, static_cast<std::size_t>(received)));
  }
  const int error = zmq_errno();
  zmq_msg_close(&message);
  errno = error;
  return received;
}

bool PeerLimit::count(int connection, bool subscribed) {
  constexpr std::size_t kMostConnections = 4096;  // dead ones included, which nobody reports
  struct stat status {};
  if (connection < 0 || ::fstat(connection, &status) != 0 || !S_ISSOCK(status.st_mode)) return true;
  if (subscriptions_.size() > kMostConnections) subscriptions_.clear();
  int& subscriptions = subscriptions_[status.st_ino];
  subscriptions += subscribed ? 1 : -1;
  if (subscriptions <= kMaxSubscriptionsOfAPeer) return true;
  subscriptions_.erase(status.st_ino);
  ::shutdown(connection, SHUT_RDWR);
  return false;
}

bool stop_signal_pending() { return Executor::stop_signalled(); }

}  // namespace detail
}  // namespace fovea
