// One cell of a table: a source and its sinks as processes of their own, started, watched and
// collected.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <sys/types.h>

#include "bench/pubsub/role.hpp"
#include "bench/pubsub/transport.hpp"

namespace fovea::bench {

// A child process of this program; killed if it is still there at the end.
class Child {
 public:
  Child(const std::string& role, const Job& job);
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  ~Child();

  pid_t pid() const { return pid_; }
  // Reads exactly `size` bytes of what it writes; false at its end, after `patience_s` and when
  // this program shall stop.
  bool read(void* data, std::size_t size, double patience_s);
  void go();  // one byte to its standard input

 private:
  pid_t pid_ = -1;
  int in_ = -1, out_ = -1;
};

// The processes of a job, ready to run.
struct Crew {
  std::vector<Child> sinks;
  std::vector<Child> sources;  // one; later ones are the caller's
};

// Starts them and waits until all are connected. False when they are not within seconds.
bool assemble(const Job& job, Crew& crew);

struct Cell {
  Job job;
  int rounds = 0;
  std::string error;                            // not measured, and why
  RoleReport source, sinks;                     // sums over rounds and sinks
  std::vector<std::uint32_t> held_ns, done_ns;  // of all sinks

  double cpu_source() const { return percent(source); }  // of one core
  double cpu_sink() const { return percent(sinks); }     // mean of the sinks
  // Messages a second that one sink received.
  double rate() const { return sinks.seconds > 0 ? double(sinks.frames) / sinks.seconds : 0; }
  double switches_source() const { return per_frame(source); }
  double switches_sink() const { return per_frame(sinks); }

 private:
  static double percent(const RoleReport& r) {
    return r.seconds > 0 ? 100 * r.cpu_seconds / r.seconds : 0;
  }
  static double per_frame(const RoleReport& r) {
    return r.frames > 0 ? double(r.context_switches) / double(r.frames) : 0;
  }
};

// Runs cell.job once and adds what it measured.
void run_round(Cell& cell);

}  // namespace fovea::bench
