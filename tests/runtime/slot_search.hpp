// The search through every state of slot_model.hpp, breadth first, so that what is found is found
// on the shortest way.
#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_set>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/slot_model.hpp"

namespace fovea::test::model {

struct Outcome {
  std::size_t states = 0;
  std::size_t steps = 0;
  std::string violation;           // empty: everything holds in every state
  std::vector<std::string> trace;  // the shortest way there
};

class SeenStates {
 public:
  // False if it was there, or its mirror image if `symmetric`. Two different states are taken for
  // one with a probability below 1e-20.
  template <class StateType>
  bool insert(const StateType& state, bool symmetric) {
    Key key = key_of(state);
    if (symmetric) key = std::min(key, key_of(state.mirrored()));
    return keys_.insert(key).second;
  }
  std::size_t size() const { return keys_.size(); }

 private:
  struct Key {
    std::uint64_t a = 1, b = 2;
    auto operator<=>(const Key&) const = default;
  };
  template <class StateType>
  static Key key_of(const StateType& state) {
    Key key;
    state.visit([&key](std::uint64_t value) {
      key.a = (key.a ^ value) * 0x9e3779b97f4a7c15ull;
      key.a ^= key.a >> 32;
      key.b = (key.b + value) * 0xc2b2ae3d27d4eb4full;
      key.b ^= key.b >> 29;
    });
    return key;
  }
  struct Hash {
    std::size_t operator()(const Key& key) const { return key.a; }
  };
  std::unordered_set<Key, Hash> keys_;
};

template <class Code>
class Explorer {
 public:
  explicit Explorer(const Setup& setup) : setup_(setup) {}

  Outcome run() {
    State<Code> initial;
    if (!setup_.has_reaper) initial.minds[kReaper].phase = Phase::kDead;
    seen_.insert(initial, setup_.reliable_readers == 0);
    nodes_.push_back({0, "", ""});
    queue_.push_back({initial, 0});
    while (!queue_.empty() && outcome_.violation.empty()) {
      const Pending pending = queue_.front();
      queue_.pop_front();
      for (std::uint8_t actor = 0; actor < kActors && outcome_.violation.empty(); ++actor)
        expand(pending, static_cast<Actor>(actor));
    }
    outcome_.states = seen_.size();
    return outcome_;
  }

 private:
  struct Pending {
    State<Code> state;
    std::uint32_t node;
  };
  struct Node {
    std::uint32_t parent;
    const char* actor;
    const char* what;
  };

  void expand(const Pending& from, Actor actor) {
    if (from.state.can_die(actor, setup_)) {
      State<Code> next = from.state;
      next.die(actor);
      reach(from, next, actor, "is killed");
    }
    if (!from.state.can_run(actor, setup_)) return;
    std::vector<State<Code>> ways{from.state};
    while (!ways.empty() && outcome_.violation.empty()) {
      const State<Code> next = ways.back();
      ways.pop_back();
      advance(from, next, actor, ways);
    }
  }

  // To the next step that others can see. Where there is a choice, adds a state per way to `ways`.
  void advance(const Pending& from, State<Code> next, Actor actor, std::vector<State<Code>>& ways) {
    const char* what = nullptr;
    std::string violation;
    try {
      while (what == nullptr && next.can_run(actor, setup_)) {
        Log log = next.logs[actor];
        const Execution execution(log);
        try {
          next.run(actor, setup_);
        } catch (const Suspended&) {
          next.logs[actor] = log;
        } catch (const Again&) {
          next.logs[actor].clear();
        } catch (const Choice& choice) {
          for (int way = 0; way < choice.ways; ++way) {
            ways.push_back(next);
            ways.back().logs[actor].add(static_cast<std::uint64_t>(way));
          }
          return;
        }
        what = execution.stepped();
        if (next.minds[actor].phase == Phase::kDead) break;
      }
    } catch (const Violation& found) {
      violation = found.what;
    }
    reach(from, next, actor, what == nullptr ? "stops" : what, violation);
  }

  void reach(const Pending& from, const State<Code>& next, Actor actor, const char* what,
             std::string violation = "") {
    ++outcome_.steps;
    if (violation.empty()) {
      if (!seen_.insert(next, setup_.reliable_readers == 0)) return;
      try {
        next.check_step_from(from.state);
        next.check(setup_);
      } catch (const Violation& found) {
        violation = found.what;
      }
    }
    nodes_.push_back({from.node, kActorNames[actor], what});
    const auto node = static_cast<std::uint32_t>(nodes_.size() - 1);
    if (violation.empty()) {
      queue_.push_back({next, node});
    } else {
      outcome_.violation = violation;
      for (std::uint32_t at = node; at != 0; at = nodes_[at].parent)
        outcome_.trace.push_back(fmt::format("{}: {}", nodes_[at].actor, nodes_[at].what));
      std::reverse(outcome_.trace.begin(), outcome_.trace.end());
    }
  }

  const Setup setup_;
  SeenStates seen_;
  std::vector<Node> nodes_;
  std::deque<Pending> queue_;
  Outcome outcome_;
};

// ---- what tests say

// The code that ships.
struct Product {
  template <class A>
  using Word = BasicSlotWord<A>;
  static constexpr Order kOrder = Order::kRight;
  template <class P>
  static bool reap(P& pool, detail::Reservations<kNumbers>& reservations, int holder) {
    return detail::reap_number(pool, reservations, holder);
  }
  template <class P>
  static std::optional<int> take(P& pool) {
    return detail::take_any_number(pool);
  }
  template <class W>
  static bool hold(W& word, std::uint32_t generation, int holder, bool reliable) {
    return detail::hold_slot(word, generation, holder, reliable);
  }
};

template <class Code>
Outcome search(const Setup& setup) {
  const Outcome outcome = Explorer<Code>(setup).run();
  testing::Test::RecordProperty("states", std::to_string(outcome.states));
  testing::Test::RecordProperty("steps", std::to_string(outcome.steps));
  return outcome;
}

inline std::string story(const Outcome& outcome) {
  return fmt::format("{}\n  {}", outcome.violation, fmt::join(outcome.trace, "\n  "));
}

inline void expect_sound(const Setup& setup) {
  const Outcome outcome = search<Product>(setup);
  EXPECT_EQ(outcome.violation, "") << story(outcome);
  EXPECT_GT(outcome.states, 10'000u);
}

template <class Code>
void expect_found(const char* what, const Setup& setup = {.messages = 3}) {
  const Outcome outcome = search<Code>(setup);
  EXPECT_THAT(outcome.violation, testing::ContainsRegex(what)) << story(outcome);
  EXPECT_FALSE(outcome.trace.empty());
}

}  // namespace fovea::test::model
