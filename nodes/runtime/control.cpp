#include "nodes/runtime/control.hpp"

#include <array>
#include <cstring>
#include <filesystem>
#include <utility>

#include <fmt/core.h>
#include <zmq.h>

#include "nodes/runtime/pubsub.hpp"

namespace fovea {
namespace {

// Far beyond any request; what is longer, ZeroMQ drops together with its connection.
constexpr std::int64_t kMaxRequestBytes = 1 << 20;

class Socket {
 public:
  explicit Socket(int type) : socket_(zmq_socket(zmq_context(), type)) {
    const int linger = 0;
    if (socket_ != nullptr) zmq_setsockopt(socket_, ZMQ_LINGER, &linger, sizeof(linger));
  }
  ~Socket() {
    if (socket_ != nullptr) zmq_close(socket_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  void* get() const { return socket_; }

 private:
  void* socket_;
};

class Message {
 public:
  Message() { zmq_msg_init(&message_); }
  ~Message() { zmq_msg_close(&message_); }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  zmq_msg_t* get() { return &message_; }
  std::string_view text() {
    return {static_cast<const char*>(zmq_msg_data(&message_)), zmq_msg_size(&message_)};
  }

 private:
  zmq_msg_t message_;
};

tl::unexpected<Error> fail_zmq(const std::string& what) {
  const int error = zmq_errno();
  return fail(error == EMFILE || error == ENOMEM ? ErrorCode::kExhausted : ErrorCode::kInternal,
              what + ": " + zmq_strerror(error));
}

class ZmqControlServer : public ControlServer {
 public:
  ZmqControlServer(std::string endpoint, Handler handler)
      : endpoint_(std::move(endpoint)), handler_(std::move(handler)), socket_(ZMQ_REP) {}

  ~ZmqControlServer() override {
    if (!is_bound_) return;
    // ZeroMQ's I/O thread removes the file some time later, or never if the process ends first.
    std::error_code ignored;
    std::filesystem::remove(endpoint_.substr(std::strlen("ipc://")), ignored);
  }

  Result<> bind() {
    if (socket_.get() == nullptr) return fail_zmq("control socket");
    zmq_setsockopt(socket_.get(), ZMQ_MAXMSGSIZE, &kMaxRequestBytes, sizeof(kMaxRequestBytes));
    if (zmq_bind(socket_.get(), endpoint_.c_str()) != 0) return fail_zmq("bind " + endpoint_);
    is_bound_ = true;
    return {};
  }

  void* socket() override { return socket_.get(); }

  void serve() override {
    for (;;) {
      Message request;
      if (zmq_msg_recv(request.get(), socket_.get(), ZMQ_DONTWAIT) < 0) {
        if (zmq_errno() == EINTR) continue;
        return;
      }
      bool is_multipart = false;
      while (zmq_msg_more(request.get()) != 0) {
        is_multipart = true;
        zmq_msg_recv(request.get(), socket_.get(),
                     0);  // the rest of a message is there with its first part
      }
      const std::string reply =
          is_multipart
              ? R"({"ok": false, "error": "the request has several parts; it must have one"})"
              : handler_(request.text());
      zmq_send(socket_.get(), reply.data(), reply.size(),
               ZMQ_DONTWAIT);  // dropped if the asker is gone
    }
  }

 private:
  std::string endpoint_;
  Handler handler_;
  Socket socket_;
  bool is_bound_ = false;
};

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::create(const Domain& domain,
                                                             std::string_view node,
                                                             Handler handler) {
  FOVEA_ASSIGN(std::string endpoint, domain.control_endpoint(node));
  auto server = std::make_unique<ZmqControlServer>(std::move(endpoint), std::move(handler));
  FOVEA_TRY(server->bind());
  return std::unique_ptr<ControlServer>(std::move(server));
}

Result<std::string> control_request(const Domain& domain, std::string_view node,
                                    std::string_view request, std::chrono::milliseconds timeout) {
  FOVEA_ASSIGN(const std::string endpoint, domain.control_endpoint(node));
  Socket socket(ZMQ_REQ);
  if (socket.get() == nullptr) return fail_zmq("control socket");
  const int timeout_ms = static_cast<int>(timeout.count()), reconnect_ms = 10;
  zmq_setsockopt(socket.get(), ZMQ_RCVTIMEO, &timeout_ms, sizeof(timeout_ms));
  zmq_setsockopt(socket.get(), ZMQ_SNDTIMEO, &timeout_ms, sizeof(timeout_ms));
  zmq_setsockopt(socket.get(), ZMQ_RECONNECT_IVL, &reconnect_ms, sizeof(reconnect_ms));
  if (zmq_connect(socket.get(), endpoint.c_str()) != 0) return fail_zmq("connect " + endpoint);
  const auto unavailable = [&] {
    return fail(ErrorCode::kUnavailable,
                fmt::format("node '{}' of domain '{}' did not answer within {} ms", node,
                            domain.name(), timeout_ms));
  };
  if (zmq_send(socket.get(), request.data(), request.size(), 0) < 0) return unavailable();
  Message reply;
  if (zmq_msg_recv(reply.get(), socket.get(), 0) < 0) return unavailable();
  return std::string(reply.text());
}

}  // namespace fovea
