// Waits for a condition that another thread, process or ZeroMQ brings about. Never a fixed sleep.
#pragma once

#include <chrono>
#include <thread>

namespace fovea::test {

// True as soon as `condition()` is; false if it is not within the watchdog's time, which only a
// failure uses up.
template <class Condition>
bool eventually(Condition condition,
                std::chrono::milliseconds watchdog = std::chrono::seconds(60)) {
  const auto deadline = std::chrono::steady_clock::now() + watchdog;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return true;
}

}  // namespace fovea::test
