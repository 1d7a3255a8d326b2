// A client that can be as slow or as rude as a test needs.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "nodes/base/file_handle.hpp"

namespace fovea::test {

inline FileHandle connect_to(std::uint16_t port) {
  FileHandle socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval patience{60, 0};  // a watchdog
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return {};
  return socket;
}

inline void say(const FileHandle& socket, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (put <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(put));
  }
}

// Until the other side closes.
inline std::string hear(const FileHandle& socket) {
  std::string answer;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t got = recv(socket.get(), buffer.data(), buffer.size(), 0);
    if (got <= 0) return answer;
    answer.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

inline std::string ask(std::uint16_t port, std::string_view request) {
  const FileHandle socket = connect_to(port);
  say(socket, request);
  return hear(socket);
}

inline std::string body_of(const std::string& answer) {
  const std::size_t end = answer.find("\r\n\r\n");
  return end == std::string::npos ? "" : answer.substr(end + 4);
}

}  // namespace fovea::test
