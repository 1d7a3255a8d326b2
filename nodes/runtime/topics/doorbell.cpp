#include "nodes/runtime/topics/doorbell.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/core.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "nodes/runtime/log.hpp"

namespace fovea::detail {
namespace {

// A restarting publisher's lines overlap for an instant; more than a few are not publishers.
constexpr std::size_t kMaxLines = 4;
// What one subscriber may leave unread, in the kernel's counting, which includes about a kilobyte
// per packet: some hundred descriptors. The kernel doubles it and allows at most
// net.core.wmem_max (416 KiB after doubling where Debian's default stands).
constexpr int kSendBufferBytes = 256 << 10;
constexpr int kWaitMs = 5;

Result<sockaddr_un> address_of(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.native().size() >= sizeof address.sun_path) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is too long for a socket", path.native()));
  }
  std::memcpy(address.sun_path, path.c_str(), path.native().size());
  return address;
}

FileHandle packet_socket() {
  return FileHandle(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

std::uint64_t random_id() {
  std::uint64_t id = 0;
  while (id == 0) {
    if (getrandom(&id, sizeof id, 0) != sizeof id) id = 0;
  }
  return id;
}

bool watch(int epoll_fd, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

enum class Sent { kYes, kFull, kGone };

Sent send_packet(int socket, std::span<const std::byte> packet) {
  for (;;) {
    if (::send(socket, packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
      return Sent::kYes;
    if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) return Sent::kFull;
    if (errno != EINTR) return Sent::kGone;
  }
}

}  // namespace

// ---- the subscriber's end

Result<Doorbell> Doorbell::open(const Domain& domain, int epoll_fd) {
  const std::uint64_t id = random_id();
  const std::filesystem::path path = domain.doorbell_path(id);
  FOVEA_ASSIGN(const sockaddr_un address, address_of(path));
  FileHandle listener = packet_socket();
  if (!listener) return fail_errno(ErrorCode::kExhausted, "socket");
  // The socket's own mode is what bind() gives the file, so it is never open to others.
  fchmod(listener.get(), 0600);
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail_errno(ErrorCode::kInternal, "bind " + path.native());
  Doorbell doorbell(std::move(listener), path, id, epoll_fd);
  if (listen(doorbell.listener_.get(), kMaxLines) != 0 ||
      !watch(epoll_fd, doorbell.listener_.get())) {
    return fail_errno(ErrorCode::kInternal, "listen " + path.native());
  }
  return doorbell;
}

Doorbell::Doorbell(FileHandle listener, std::filesystem::path path, std::uint64_t id, int epoll_fd)
    : listener_(std::move(listener)), path_(std::move(path)), id_(id), epoll_fd_(epoll_fd) {
  lines_.reserve(kMaxLines);
}

Doorbell::~Doorbell() {
  if (listener_) unlink(path_.c_str());
}

std::optional<std::size_t> Doorbell::receive(std::span<std::byte> buffer) {
  for (std::size_t i = 0; i < lines_.size();) {
    const ssize_t size =
        recv(lines_[i].get(), buffer.data(), buffer.size(), MSG_DONTWAIT | MSG_TRUNC);
    if (size > 0) return static_cast<std::size_t>(size);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) {
      ++i;
    } else {
      lines_.erase(lines_.begin() + static_cast<std::ptrdiff_t>(i));  // the publisher is gone
    }
  }
  return std::nullopt;
}

void Doorbell::accept() {
  for (;;) {
    FileHandle line(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!line) return;
    // One too many is closed again.
    if (lines_.size() < kMaxLines && watch(epoll_fd_, line.get()))
      lines_.push_back(std::move(line));
  }
}

// ---- the publisher's end

bool DoorbellLines::add(std::uint64_t id, bool waits) {
  std::erase_if(lines_, [id](const Line& line) { return line.id == id; });
  if (lines_.size() >= kMaxSubscribers) {
    if (!std::exchange(refused_one_, true))
      log_warning("a subscriber gets no messages: {} are there already", kMaxSubscribers);
    return false;
  }
  const auto address = address_of(domain_.doorbell_path(id));
  FileHandle socket = packet_socket();
  if (!address || !socket) {
    log_warning("a subscriber gets no messages: {}",
                socket ? address.error().message : std::strerror(errno));
    return false;
  }
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &kSendBufferBytes, sizeof kSendBufferBytes);
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    if (errno != ENOENT && errno != ECONNREFUSED)
      log_warning("a subscriber gets no messages: connect: {}", std::strerror(errno));
    return false;
  }
  lines_.push_back({id, waits, std::move(socket)});
  return true;
}

void DoorbellLines::remove(std::uint64_t id) {
  std::erase_if(lines_, [id](const Line& line) { return line.id == id; });
  const std::filesystem::path path = domain_.doorbell_path(id);
  if (!someone_listens(path).value_or(true)) unlink(path.c_str());
}

void DoorbellLines::send(std::span<const std::byte> packet, const std::function<bool()>& stopped) {
  bool any_gone = false;
  for (Line& line : lines_) {
    Sent sent = send_packet(line.socket.get(), packet);
    while (sent == Sent::kFull && line.waits && !stopped()) {
      pollfd room{line.socket.get(), POLLOUT, 0};
      poll(&room, 1, kWaitMs);
      sent = send_packet(line.socket.get(), packet);
    }
    if (sent == Sent::kGone) {
      line.socket = FileHandle();
      any_gone = true;
    }
  }
  if (any_gone) std::erase_if(lines_, [](const Line& line) { return !line.socket; });
}

void DoorbellLines::send_to_newest(std::span<const std::byte> packet) {
  if (!lines_.empty()) send_packet(lines_.back().socket.get(), packet);
}

}  // namespace fovea::detail
