// What makes a detector whose engine takes longer by a known share of its own time: 5 %, or what
// $FOVEA_BENCH_SLOWDOWN says (1.05 = 5 % more). Linked into bin/planted/fovea-detector, which is
// the product's node otherwise: the linker's --wrap puts this between the node and its engine, so
// the product carries no hook. `fovea bench check` uses it to see whether a slowdown is found.
//
// Thread safety: as EngineServer::execute().
#include <chrono>
#include <cstdlib>
#include <span>

#include "nodes/detector/serving/engine_server.hpp"

namespace fovea {
namespace {

double planted_share() {
  const char* text = std::getenv("FOVEA_BENCH_SLOWDOWN");
  return text == nullptr ? 0.05 : std::strtod(text, nullptr) - 1;
}

}  // namespace

// A member function is called like a free one with the object in front. CMakeLists.txt names the
// same symbol.
Result<> real_execute(EngineServer* server, std::span<const engine::BatchItem> batch) __asm__(
    "__real_" FOVEA_WRAPPED_EXECUTE);
Result<> slow_execute(EngineServer* server, std::span<const engine::BatchItem> batch) __asm__(
    "__wrap_" FOVEA_WRAPPED_EXECUTE);

Result<> slow_execute(EngineServer* server, std::span<const engine::BatchItem> batch) {
  using Clock = std::chrono::steady_clock;
  static const double share = planted_share();
  const Clock::time_point begin = Clock::now();
  Result<> done = real_execute(server, batch);
  const Clock::time_point end = Clock::now();
  const auto until = end + std::chrono::duration_cast<Clock::duration>(share * (end - begin));
  while (Clock::now() < until) {  // busy, as more work would be
  }
  return done;
}

}  // namespace fovea
