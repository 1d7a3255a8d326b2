// What the bench needs of a transport: a source of frames and a sink for them, each in a process of
// its own. One implementation per transport, chosen by name.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/pubsub/frame.hpp"

namespace fovea::bench {

// One way of sending one size of frame; what both processes are told.
struct Job {
  std::string transport;
  std::size_t bytes = 64;
  int subscribers = 1;
  double hz = 0;  // 0 = as fast as possible, without losing any where the transport can
  double seconds = 1;
  Touch touch = Touch::kPage;
  double hold_ms = 0;         // a sink that keeps each frame this long
  double report_seconds = 0;  // a sink that reports in steps (soak)

  bool lossless() const { return hz == 0; }
};

class Source {
 public:
  virtual ~Source() = default;
  // Whether `count` subscribers are there, as far as the transport can tell.
  virtual bool joined(int count) = 0;
  // Room for the next frame, 8-byte aligned; empty = none free at the moment.
  virtual std::span<std::byte> loan() = 0;
  // Hands over what loan() gave.
  virtual void publish() = 0;
  // Waits until what was published has left, if the transport can.
  virtual void finish() {}
};

class Sink {
 public:
  virtual ~Sink() = default;
  // Whether a publisher is connected, as far as the transport can tell.
  virtual bool joined() { return true; }
  // The next frame, valid until release(); empty = none came within `timeout_ms`.
  virtual std::span<const std::byte> receive(int timeout_ms) = 0;
  virtual void release() = 0;
};

struct Transport {
  std::string_view name;   // "fovea"
  std::string_view title;  // for the table
  bool present = false;    // in this build
  std::unique_ptr<Source> (*source)(const Job&) = nullptr;
  std::unique_ptr<Sink> (*sink)(const Job&) = nullptr;
};

// In the order of the tables. The first is ours.
std::span<const Transport> transports();
const Transport* find_transport(std::string_view name);

std::unique_ptr<Source> make_fovea_source(const Job& job);
std::unique_ptr<Sink> make_fovea_sink(const Job& job);  // "fovea" or "fovea-zmq"
std::unique_ptr<Source> make_zmq_source(const Job& job);
std::unique_ptr<Sink> make_zmq_sink(const Job& job);
std::unique_ptr<Source> make_iceoryx_source(const Job& job);
std::unique_ptr<Sink> make_iceoryx_sink(const Job& job);

// Ends this process: a transport that cannot be set up measures nothing.
[[noreturn]] void give_up(const std::string& why);

}  // namespace fovea::bench
