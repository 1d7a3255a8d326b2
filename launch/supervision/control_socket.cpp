#include "launch/supervision/control_socket.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "nodes/base/clock.hpp"

namespace fovea::launch {
namespace {

// Replies that were not taken at once, further requests of one client, a listener out of
// descriptors: all of them can wait for so long.
constexpr auto kTurn = std::chrono::milliseconds(10);
constexpr std::int64_t kTakesNothing = 5'000'000'000;
constexpr std::size_t kReadBytes = std::size_t{16} << 10;

constexpr std::string_view kTooLong =
    R"({"version":1,"ok":false,"error":"the request is longer than 65536 bytes"})"
    "\n";
constexpr std::string_view kBusy =
    R"({"version":1,"ok":false,"error":"the launch is busy with other requests; try again"})"
    "\n";
static_assert(kMaxRequestBytes == 65536);

bool is_own(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == geteuid() || peer.uid == 0);
}

}  // namespace

std::filesystem::path control_socket_path(const Domain& domain) {
  return domain.socket_directory() / "launch.socket";
}

Result<std::unique_ptr<ControlSocket>> ControlSocket::create(Executor& executor,
                                                             const Domain& domain,
                                                             Handler handler) {
  const std::filesystem::path path = control_socket_path(domain);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.native().size() >= sizeof address.sun_path) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} has {} characters; a socket's path has at most {}", path.native(),
                            path.native().size(), sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, path.c_str(), path.native().size());
  FileHandle listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener) return fail_errno(ErrorCode::kExhausted, "socket");
  // Between bind() and listen() it looks dead to whoever sweeps the domain.
  FOVEA_ASSIGN(const FileHandle lock, domain.lock());
  unlink(path.c_str());
  // The file gets the mode that the socket has when it is bound.
  if (fchmod(listener.get(), 0600) != 0 ||
      bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener.get(), static_cast<int>(kMaxControlClients)) != 0) {
    return fail_errno(ErrorCode::kInternal, path.native());
  }
  return std::unique_ptr<ControlSocket>(
      new ControlSocket(executor, path, std::move(listener), std::move(handler)));
}

ControlSocket::ControlSocket(Executor& executor, std::filesystem::path path, FileHandle listener,
                             Handler handler)
    : executor_(executor),
      path_(std::move(path)),
      listener_(std::move(listener)),
      handler_(std::move(handler)) {
  listen();
}

ControlSocket::~ControlSocket() {
  for (const auto& client : clients_) executor_.remove(client->watch);
  executor_.remove(listening_);
  executor_.remove(timer_);
  unlink(path_.c_str());
}

std::size_t ControlSocket::buffered_bytes() const {
  std::size_t sum = 0;
  for (const auto& client : clients_) sum += client->in.capacity() + client->out.capacity();
  return sum;
}

void ControlSocket::listen() {
  listening_ = executor_.add_fd(listener_.get(), [this] { welcome(); });
}

void ControlSocket::welcome() {
  FileHandle fd(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd) {
    if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) return;
    // Whoever waits to be let in would keep us turning; turn() listens again.
    executor_.remove(std::exchange(listening_, 0));
    if (timer_ == 0) timer_ = executor_.add_timer(kTurn, [this] { turn(); });
    return;
  }
  if (!is_own(fd.get())) return;
  if (clients_.size() >= kMaxControlClients && !make_room()) {
    send(fd.get(), kBusy.data(), kBusy.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return;
  }
  auto client = std::make_unique<Client>();
  client->fd = std::move(fd);
  client->number = next_number_++;
  client->moved_ns = monotonic_ns();
  clients_.push_back(std::move(client));
  wait_for_more(*clients_.back());
}

// Closes the client that has been silent for longest; false when all wait for an answer.
bool ControlSocket::make_room() {
  const Client* quietest = nullptr;
  for (const auto& client : clients_) {
    if (client->in_work) continue;
    if (quietest == nullptr || client->moved_ns < quietest->moved_ns) quietest = client.get();
  }
  if (quietest == nullptr) return false;
  close(quietest->number);
  return true;
}

void ControlSocket::receive(std::uint64_t number) {
  Client* client = find(number);
  if (client == nullptr) return;
  std::array<char, kReadBytes> buffer;
  const std::size_t room = kMaxRequestBytes + 1 - client->in.size();
  const ssize_t count =
      recv(client->fd.get(), buffer.data(), std::min(buffer.size(), room), MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) return close(number);
  client->in.append(buffer.data(), static_cast<std::size_t>(count));
  client->moved_ns = monotonic_ns();
  next_request(*client);
}

// REQUIRES: none is in work and all of the last reply has been taken. May close the client.
void ControlSocket::next_request(Client& client) {
  const std::size_t end = client.in.find('\n');
  if (end == std::string::npos && client.in.size() <= kMaxRequestBytes)
    return wait_for_more(client);
  executor_.remove(std::exchange(client.watch, 0));
  if (end == std::string::npos) {
    client.in = {};
    client.out = kTooLong;
    client.closing = true;
    send_rest(client);
    return;
  }
  const std::string line = client.in.substr(0, end);
  client.in.erase(0, end + 1);
  if (client.in.empty()) client.in = {};  // a silent client keeps no memory
  client.in_work = true;
  handler_(line,
           [this, number = client.number](const std::string& reply) { answer(number, reply); });
}

void ControlSocket::answer(std::uint64_t number, const std::string& line) {
  Client* client = find(number);
  if (client == nullptr || !client->in_work) return;
  client->in_work = false;
  client->out = line + "\n";
  client->moved_ns = monotonic_ns();
  if (send_rest(*client)) wait_for_more(*client);
}

// True when all has been taken and the client stays; else turn() goes on, or it is closed.
bool ControlSocket::send_rest(Client& client) {
  const ssize_t count =
      send(client.fd.get(), client.out.data(), client.out.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (count < 0 && errno != EAGAIN && errno != EINTR) {
    close(client.number);
    return false;
  }
  if (count > 0) {
    client.out.erase(0, static_cast<std::size_t>(count));
    client.moved_ns = monotonic_ns();
  }
  if (client.out.empty()) client.out = {};
  if (client.out.empty() && client.closing) {
    close(client.number);
    return false;
  }
  if (!client.out.empty() && timer_ == 0) timer_ = executor_.add_timer(kTurn, [this] { turn(); });
  return client.out.empty();
}

// For what follows the last request: if it is here already turn() takes it, so that a client with
// thousands of requests has them answered one a turn.
void ControlSocket::wait_for_more(Client& client) {
  if (client.in.find('\n') != std::string::npos) {
    if (timer_ == 0) timer_ = executor_.add_timer(kTurn, [this] { turn(); });
  } else if (client.watch == 0) {
    client.watch =
        executor_.add_fd(client.fd.get(), [this, number = client.number] { receive(number); });
  }
}

void ControlSocket::turn() {
  if (listening_ == 0) listen();
  std::vector<std::uint64_t> numbers;
  for (const auto& client : clients_) numbers.push_back(client->number);
  for (const std::uint64_t number : numbers) {
    Client* client = find(number);
    if (client == nullptr || client->in_work) continue;
    if (client->out.empty()) {
      if (client->watch == 0) next_request(*client);
    } else if (monotonic_ns() - client->moved_ns > kTakesNothing) {
      close(number);
    } else if (send_rest(*client)) {
      wait_for_more(*client);
    }
  }
  if (!needs_turn()) executor_.remove(std::exchange(timer_, 0));
}

bool ControlSocket::needs_turn() const {
  return listening_ == 0 || std::any_of(clients_.begin(), clients_.end(), [](const auto& client) {
           return !client->in_work && client->watch == 0;
         });
}

void ControlSocket::close(std::uint64_t number) {
  const auto found = std::find_if(clients_.begin(), clients_.end(),
                                  [&](const auto& client) { return client->number == number; });
  if (found == clients_.end()) return;
  executor_.remove((*found)->watch);
  clients_.erase(found);
}

ControlSocket::Client* ControlSocket::find(std::uint64_t number) {
  const auto found = std::find_if(clients_.begin(), clients_.end(),
                                  [&](const auto& client) { return client->number == number; });
  return found == clients_.end() ? nullptr : found->get();
}

}  // namespace fovea::launch
