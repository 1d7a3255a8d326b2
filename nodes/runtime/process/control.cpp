#include "nodes/runtime/process/control.hpp"

#include <cerrno>
#include <utility>

#include <fmt/core.h>
#include <zmq.h>

#include "nodes/runtime/topics/zmq_socket.hpp"

namespace fovea {
namespace {

constexpr int kReconnectMs = 10;  // a node that is just starting is met soon after it binds

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

class ZmqControlServer : public ControlServer {
 public:
  ZmqControlServer(detail::ZmqSocket socket, detail::BoundPath path, Handler handler)
      : socket_(std::move(socket)), path_(std::move(path)), handler_(std::move(handler)) {}

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
        zmq_msg_recv(request.get(), socket_.get(), 0);  // a message is there with all its parts
      }
      const std::string reply = is_multipart ? std::string(kMultipart) : handler_(request.text());
      detail::send_now(socket_.get(), reply.data(), reply.size());  // dropped if the asker is gone
    }
  }

 private:
  static constexpr std::string_view kMultipart =
      R"({"ok":false,"error":"the request has several parts; it must have one"})";

  detail::ZmqSocket socket_;
  detail::BoundPath path_;
  Handler handler_;
};

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::create(const Domain& domain,
                                                             std::string_view node,
                                                             Handler handler) {
  FOVEA_ASSIGN(const std::string endpoint, domain.control_endpoint(node));
  FOVEA_ASSIGN(detail::ZmqSocket socket, detail::open_zmq_socket(ZMQ_REP));
  FOVEA_ASSIGN(detail::BoundPath path, detail::BoundPath::bind(domain, socket.get(), endpoint,
                                                               fmt::format("control of {}", node)));
  return std::make_unique<ZmqControlServer>(std::move(socket), std::move(path), std::move(handler));
}

Result<std::string> control_request(const Domain& domain, std::string_view node,
                                    std::string_view request, std::chrono::milliseconds timeout) {
  FOVEA_ASSIGN(const std::string endpoint, domain.control_endpoint(node));
  FOVEA_ASSIGN(const detail::ZmqSocket socket, detail::open_zmq_socket(ZMQ_REQ));
  const int timeout_ms = static_cast<int>(timeout.count());
  FOVEA_TRY(detail::set_zmq_option(socket.get(), ZMQ_RCVTIMEO, timeout_ms));
  FOVEA_TRY(detail::set_zmq_option(socket.get(), ZMQ_SNDTIMEO, timeout_ms));
  FOVEA_TRY(detail::set_zmq_option(socket.get(), ZMQ_RECONNECT_IVL, kReconnectMs));
  Message reply;
  if (zmq_connect(socket.get(), endpoint.c_str()) != 0 ||
      zmq_send(socket.get(), request.data(), request.size(), 0) < 0 ||
      zmq_msg_recv(reply.get(), socket.get(), 0) < 0) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("node '{}' of domain '{}' did not answer within {} ms", node,
                            domain.name(), timeout_ms));
  }
  return std::string(reply.text());
}

}  // namespace fovea
