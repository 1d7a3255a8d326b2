// What a robot without shared memory does: the pixels are part of the ZeroMQ message. Filled in
// place they are copied twice on their way (into the kernel and out of it), else once more.
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <zmq.h>

#include "bench/pubsub/transport.hpp"

namespace fovea::bench {
namespace {

constexpr int kQueue = 4;
constexpr int kLingerMs = 300;

std::string endpoint() {
  const char* directory = std::getenv("XDG_RUNTIME_DIR");
  return fmt::format("ipc://{}/bench.zmq", directory == nullptr ? "/tmp" : directory);
}

void set(void* socket, int option, int value) {
  if (zmq_setsockopt(socket, option, &value, sizeof value) != 0)
    give_up(fmt::format("ZeroMQ option {}: {}", option, zmq_strerror(zmq_errno())));
}

class ZmqSource final : public Source {
 public:
  explicit ZmqSource(const Job& job)
      : bytes_(job.bytes),
        in_place_(job.transport == "zmq-inplace"),
        socket_(zmq_socket(zmq_ctx_new(), ZMQ_XPUB)) {
    set(socket_, ZMQ_XPUB_VERBOSE, 1);
    set(socket_, ZMQ_SNDHWM, kQueue);
    set(socket_, ZMQ_LINGER, kLingerMs);
    if (job.lossless()) set(socket_, ZMQ_XPUB_NODROP, 1);
    if (zmq_bind(socket_, endpoint().c_str()) != 0)
      give_up(fmt::format("bind {}: {}", endpoint(), zmq_strerror(zmq_errno())));
    if (!in_place_) own_.resize(bytes_);
  }
  ~ZmqSource() override { zmq_close(socket_); }
  bool joined(int count) override {
    char event[8];
    while (zmq_recv(socket_, event, sizeof event, ZMQ_DONTWAIT) > 0) ++joined_;
    return joined_ >= count;
  }
  std::span<std::byte> loan() override {
    if (!in_place_) return own_;
    zmq_msg_init_size(&message_, bytes_);
    return {static_cast<std::byte*>(zmq_msg_data(&message_)), bytes_};
  }
  void publish() override {
    if (!in_place_) {
      zmq_msg_init_size(&message_, bytes_);
      std::memcpy(zmq_msg_data(&message_), own_.data(), bytes_);
    }
    if (zmq_msg_send(&message_, socket_, 0) < 0) zmq_msg_close(&message_);
  }

 private:
  std::size_t bytes_;
  bool in_place_;
  void* socket_;
  int joined_ = 0;
  zmq_msg_t message_{};
  std::vector<std::byte> own_;
};

class ZmqSink final : public Sink {
 public:
  ZmqSink() : socket_(zmq_socket(zmq_ctx_new(), ZMQ_SUB)) {
    set(socket_, ZMQ_RCVHWM, kQueue);
    set(socket_, ZMQ_RECONNECT_IVL, 10);
    zmq_setsockopt(socket_, ZMQ_SUBSCRIBE, "", 0);
    zmq_connect(socket_, endpoint().c_str());
    zmq_msg_init(&message_);
  }
  ~ZmqSink() override { zmq_close(socket_); }
  std::span<const std::byte> receive(int timeout_ms) override {
    zmq_pollitem_t item{socket_, 0, ZMQ_POLLIN, 0};
    if (zmq_poll(&item, 1, timeout_ms) <= 0) return {};
    if (zmq_msg_recv(&message_, socket_, ZMQ_DONTWAIT) < 0) return {};
    return {static_cast<const std::byte*>(zmq_msg_data(&message_)), zmq_msg_size(&message_)};
  }
  void release() override {
    zmq_msg_close(&message_);
    zmq_msg_init(&message_);
  }

 private:
  void* socket_;
  zmq_msg_t message_{};
};

}  // namespace

std::unique_ptr<Source> make_zmq_source(const Job& job) { return std::make_unique<ZmqSource>(job); }
std::unique_ptr<Sink> make_zmq_sink(const Job&) { return std::make_unique<ZmqSink>(); }

}  // namespace fovea::bench
