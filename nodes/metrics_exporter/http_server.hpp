// Serves one text at GET /metrics, on loopback only. One thread, which never waits for a client: who
// is slow to ask or to read loses its connection after a while, or at once when all places are taken
// and somebody new comes.
//
// Bounds: 16 connections, 8 KiB of request, 10 s from connection to end. No TLS and no passwords: who
// may open a socket on this host may read the figures.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "nodes/base/file_handle.hpp"
#include "nodes/base/result.hpp"

namespace fovea::exporter {

class HttpServer {
 public:
  static constexpr std::size_t kMaxConnections = 16;
  static constexpr std::size_t kMaxRequest = 8192;
  static constexpr std::int64_t kPatienceNs = 10'000'000'000;

  // What is served; called on the server's thread, once for each request.
  using Body = std::function<std::shared_ptr<const std::string>()>;

  // Listens on 127.0.0.1; port 0 takes a free one. Errors: kUnavailable when the port is in use or
  // may not be had; kExhausted without descriptors.
  static Result<std::unique_ptr<HttpServer>> start(std::uint16_t port, Body body);
  // Ends all connections.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::uint16_t port() const { return port_; }

 private:
  struct Connection {
    FileHandle socket;
    std::int64_t deadline = 0;
    std::string request;
    std::string head;  // of the answer; empty while the request is not whole
    std::shared_ptr<const std::string> body;
    std::size_t sent = 0;      // of head and body
    bool is_answered = false;  // all is sent; what the client still says is thrown away
  };

  HttpServer() = default;
  void run();
  void accept_one();
  // False when the connection is at its end.
  bool serve(Connection& connection);
  bool receive(Connection& connection);
  bool send(Connection& connection);
  void answer(Connection& connection);

  Body body_;
  std::uint16_t port_ = 0;
  FileHandle listener_;
  FileHandle stop_;
  std::vector<std::unique_ptr<Connection>> connections_;  // the oldest first
  std::thread thread_;
};

}  // namespace fovea::exporter
