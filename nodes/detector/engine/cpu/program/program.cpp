#include "nodes/detector/engine/cpu/program/program.hpp"

#include <algorithm>
#include <utility>

namespace fovea::engine::cpu {

void place_buffers(Program& program, std::vector<Buffer> buffers) {
  std::vector<StepAccess> accesses;
  for (const Step& step : program.steps) accesses.push_back({step.sources, step.destinations});
  ArenaPlan plan = plan_arena(std::move(buffers), accesses);
  program.arena = std::move(plan.arena);
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    program.steps[i].refills = std::move(plan.refills[i]);
  }
}

std::size_t scratch_bytes(const Program& program, int threads) {
  std::size_t most = 0;
  for (const Step& step : program.steps) {
    most = std::max(
        most, step.kernel ? step.kernel->scratch_bytes(threads) : step.operation->scratch_bytes());
  }
  return most;
}

}  // namespace fovea::engine::cpu
