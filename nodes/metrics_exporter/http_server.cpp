#include "nodes/metrics_exporter/http_server.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nodes/base/clock.hpp"

namespace fovea::exporter {
namespace {

constexpr std::string_view kTextFormat = "text/plain; version=0.0.4; charset=utf-8";

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

std::string head_of(std::string_view status, std::string_view type, std::size_t bytes,
                    std::string_view more = "") {
  return fmt::format(
      "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{}X-Content-Type-Options: "
      "nosniff\r\n"
      "Connection: close\r\n\r\n",
      status, type, bytes, more);
}

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::start(std::uint16_t port, Body body) {
  std::unique_ptr<HttpServer> server(new HttpServer);
  server->body_ = std::move(body);
  server->connections_.reserve(kMaxConnections);
  server->stop_ = FileHandle(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  server->listener_ = FileHandle(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!server->stop_ || !server->listener_) return fail_errno(ErrorCode::kExhausted, "socket");
  const int fd = server->listener_.get();
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), size) != 0 || listen(fd, 16) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return fail_errno(ErrorCode::kUnavailable, fmt::format("port {} of 127.0.0.1", port));
  }
  server->port_ = ntohs(address.sin_port);
  server->thread_ = std::thread([s = server.get()] { s->run(); });
  return server;
}

HttpServer::~HttpServer() {
  if (!thread_.joinable()) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(stop_.get(), &one, sizeof(one));
  thread_.join();
}

void HttpServer::run() {
  std::vector<pollfd> items;
  for (;;) {
    items.assign({{stop_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}});
    std::int64_t next = -1;
    for (const auto& connection : connections_) {
      const bool writes = !connection->head.empty() && !connection->is_answered;
      items.push_back({connection->socket.get(), static_cast<short>(writes ? POLLOUT : POLLIN), 0});
      next = next < 0 ? connection->deadline : std::min(next, connection->deadline);
    }
    const std::int64_t wait_ms =
        next < 0 ? -1 : std::max<std::int64_t>((next - monotonic_ns()) / 1'000'000 + 1, 0);
    if (poll(items.data(), items.size(), static_cast<int>(wait_ms)) < 0 && errno != EINTR) return;
    if (items[0].revents != 0) return;
    const std::int64_t now = monotonic_ns();
    std::size_t i = 2;
    std::erase_if(connections_, [&](const auto& connection) {
      const bool is_ready = items[i++].revents != 0;
      return (is_ready && !serve(*connection)) || now >= connection->deadline;
    });
    if ((items[1].revents & POLLIN) != 0) accept_one();
  }
}

void HttpServer::accept_one() {
  FileHandle socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket) {
    if (errno != EMFILE && errno != ENFILE) return;
    // The listener would be readable for ever; somebody else must give a descriptor back first.
    if (connections_.empty()) usleep(10'000);
    if (!connections_.empty()) connections_.erase(connections_.begin());
    return;
  }
  if (connections_.size() == kMaxConnections) connections_.erase(connections_.begin());
  auto connection = std::make_unique<Connection>();
  connection->socket = std::move(socket);
  connection->deadline = monotonic_ns() + kPatienceNs;
  connections_.push_back(std::move(connection));
}

bool HttpServer::serve(Connection& connection) {
  if (connection.head.empty() || connection.is_answered) return receive(connection);
  return send(connection);
}

bool HttpServer::receive(Connection& connection) {
  std::array<char, 4096> buffer;
  const ssize_t got = recv(connection.socket.get(), buffer.data(), buffer.size(), 0);
  if (got < 0) return would_block();
  if (got == 0) return false;
  if (connection.is_answered) return true;
  connection.request.append(buffer.data(), static_cast<std::size_t>(got));
  const bool is_whole = connection.request.find("\r\n\r\n") != std::string::npos;
  if (!is_whole && connection.request.size() < kMaxRequest) return true;
  answer(connection);
  return send(connection);
}

void HttpServer::answer(Connection& connection) {
  const std::string_view request = connection.request;
  const auto refuse = [&](std::string_view status, std::string_view more = "") {
    connection.body = std::make_shared<const std::string>(fmt::format("{}\n", status));
    connection.head = head_of(status, "text/plain; charset=utf-8", connection.body->size(), more);
  };
  if (request.size() >= kMaxRequest) return refuse("431 Request Header Fields Too Large");
  const std::string_view line = request.substr(0, request.find("\r\n"));
  const std::size_t first = line.find(' ');
  const std::size_t second = line.find(' ', first == std::string_view::npos ? first : first + 1);
  if (second == std::string_view::npos || !line.substr(second + 1).starts_with("HTTP/1.")) {
    return refuse("400 Bad Request");
  }
  const std::string_view method = line.substr(0, first);
  std::string_view target = line.substr(first + 1, second - first - 1);
  target = target.substr(0, target.find('?'));
  if (method != "GET" && method != "HEAD") {
    return refuse("405 Method Not Allowed", "Allow: GET, HEAD\r\n");
  }
  if (target != "/metrics") return refuse("404 Not Found");
  connection.body = body_();
  connection.head = head_of("200 OK", kTextFormat, connection.body->size());
  if (method == "HEAD") connection.body = std::make_shared<const std::string>();
}

bool HttpServer::send(Connection& connection) {
  const std::string& head = connection.head;
  const std::string& body = *connection.body;
  while (connection.sent < head.size() + body.size()) {
    const std::string_view rest =
        connection.sent < head.size()
            ? std::string_view(head).substr(connection.sent)
            : std::string_view(body).substr(connection.sent - head.size());
    const ssize_t put = ::send(connection.socket.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (put < 0) return would_block();
    connection.sent += static_cast<std::size_t>(put);
  }
  // Closing while the client still talks would reset the connection under the answer.
  connection.is_answered = true;
  connection.body.reset();
  return shutdown(connection.socket.get(), SHUT_WR) == 0;
}

}  // namespace fovea::exporter
