// Looks into the pools of a domain from outside: which slots do the dead hold, and for how long?
//
// Reads with pread() and asks the kernel who has which lock (F_OFD_GETLK); takes no lock, so it
// disturbs nobody. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "nodes/runtime/domain.hpp"

namespace fovea::bench {

class SlotWatch {
 public:
  explicit SlotWatch(const Domain& domain) : domain_(domain) {}

  // One look at all pools with a living publisher; call it many times a second.
  void look();

  // Slots that somebody dead held although their publisher had loaned one later than a second after
  // the death was seen.
  std::uint64_t leaked() const { return leaked_; }
  // Slots of living publishers that somebody dead holds as of the last look.
  std::size_t held_by_the_dead() const { return held_by_the_dead_; }
  std::uint64_t looks() const { return looks_; }
  // How many times a slot was seen in the hands of the dead at all.
  std::uint64_t cases() const { return cases_; }

 private:
  struct Hold {
    std::int64_t since_ns = 0;
    bool counted = false;
    std::uint64_t seen_in = 0;
  };
  struct Loans {  // of one pool
    std::uint64_t generations = 0;
    std::int64_t last_ns = 0;
  };

  void look_at(const std::string& path, std::int64_t now);

  const Domain domain_;
  std::map<std::string, Hold> holds_;  // "path slot generation holder"
  std::map<std::string, Loans> loans_;
  std::uint64_t leaked_ = 0, looks_ = 0, cases_ = 0;
  std::size_t held_by_the_dead_ = 0;
};

}  // namespace fovea::bench
