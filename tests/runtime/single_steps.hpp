// Code that is run one atomic operation at a time: the ground of slot_model.hpp, which says how it
// is meant. One thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace fovea::test::model {

struct Suspended {};  // thrown where a procedure waits for its next turn
struct Again {};      // thrown where it waits for others and then begins anew
struct Choice {       // thrown where it may go on in several ways
  int ways;
};
struct Violation {
  std::string what;
};

class Log {  // what the steps of a procedure yielded so far
 public:
  std::size_t size() const { return size_; }
  std::uint64_t operator[](std::size_t i) const { return values_[i]; }
  void add(std::uint64_t value) {
    if (size_ == values_.size()) throw Violation{"a procedure does not end"};
    values_[size_++] = value;
  }
  void replace_last(std::uint64_t value) { values_[size_ - 1u] = value; }
  void clear() { *this = {}; }

 private:
  std::array<std::uint64_t, 24> values_{};
  std::uint8_t size_ = 0;
};

class Execution {
 public:
  explicit Execution(Log& log) : log_(log) { current() = this; }
  ~Execution() { current() = nullptr; }
  Execution(const Execution&) = delete;
  Execution& operator=(const Execution&) = delete;

  // The result of the next step: remembered, or that of `act`, once per execution. Outside of an
  // execution `act` is just done.
  template <class Act>
  static std::uint64_t step(const char* what, Act act) {
    Execution* execution = current();
    return execution == nullptr ? act() : execution->next(what, act);
  }
  static int choose(int ways) {
    Execution& self = *current();
    if (self.at_ == self.log_.size()) throw Choice{ways};
    return static_cast<int>(self.log_[self.at_++]);
  }
  // The last step's result is `value` now, and the next step is due again at the next turn.
  [[noreturn]] static void reread(std::uint64_t value) {
    current()->log_.replace_last(value);
    throw Suspended{};
  }
  const char* stepped() const { return stepped_; }

 private:
  static Execution*& current() {
    static Execution* execution = nullptr;
    return execution;
  }
  template <class Act>
  std::uint64_t next(const char* what, Act act) {
    if (at_ < log_.size()) return log_[at_++];
    if (stepped_ != nullptr) throw Suspended{};
    stepped_ = what;
    const std::uint64_t result = act();
    log_.add(result);
    ++at_;
    return result;
  }

  Log& log_;
  std::size_t at_ = 0;
  const char* stepped_ = nullptr;
};

// std::atomic's operations, each one step.
template <class T>
class Atomic {
 public:
  Atomic(T value = 0) : value_(value) {}
  T load(std::memory_order) const {
    return static_cast<T>(Execution::step("load", [&] { return std::uint64_t{value_}; }));
  }
  void store(T value, std::memory_order) {
    Execution::step("store", [&] { return std::uint64_t{value_ = value}; });
  }
  T fetch_and(T mask, std::memory_order) {
    return static_cast<T>(Execution::step("fetch_and", [&] {
      const T before = value_;
      value_ = static_cast<T>(before & mask);
      return std::uint64_t{before};
    }));
  }
  T fetch_or(T mask, std::memory_order) {
    return static_cast<T>(Execution::step("fetch_or", [&] {
      const T before = value_;
      value_ = static_cast<T>(before | mask);
      return std::uint64_t{before};
    }));
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order, std::memory_order) {
    const auto before = static_cast<T>(Execution::step("compare_exchange", [&] {
      const T found = value_;
      if (found == expected) value_ = desired;
      return std::uint64_t{found};
    }));
    const bool done = before == expected;
    expected = before;
    return done;
  }
  // For loops: one that fails has read the word anew and stands where its load left it. So it does
  // not remember how often it failed, and a reader that never gets its way is one state.
  bool compare_exchange_weak(T& expected, T desired, std::memory_order, std::memory_order) {
    Execution::step("compare_exchange", [&] {
      if (value_ != expected) Execution::reread(value_);
      value_ = desired;
      return std::uint64_t{expected};
    });
    return true;
  }
  T peek() const { return value_; }

 private:
  T value_;
};

}  // namespace fovea::test::model
