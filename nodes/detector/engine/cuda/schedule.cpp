#include "nodes/detector/engine/cuda/schedule.hpp"

#include <algorithm>
#include <initializer_list>

#include "nodes/detector/engine/program/memory_plan.hpp"

namespace fovea::engine::cuda {

namespace {

constexpr std::size_t kAlignment = 256;

std::vector<BufferRequest> requests(const Program& program, std::int64_t images) {
  constexpr Lifetime kNever{1, 0};
  std::vector<BufferRequest> result;
  for (const std::int64_t bytes : program.buffers) {
    result.push_back({static_cast<std::size_t>(bytes * images), kNever});
  }
  for (std::size_t i = 0; i < program.launches.size(); ++i) {
    for (const auto* accesses : {&program.launches[i].reads, &program.launches[i].writes}) {
      for (const Access& access : *accesses) {
        Lifetime& life = result[static_cast<std::size_t>(access.buffer)].lifetime;
        if (life.first > life.last) life.first = i;
        life.last = i;
      }
    }
  }
  for (BufferRequest& request : result) {
    if (request.lifetime.first > request.lifetime.last) request.bytes = 0;
  }
  return result;
}

class Hazards {
 public:
  Hazards(const Schedule& schedule, const std::vector<BufferRequest>& requests)
      : schedule_(schedule), requests_(requests) {}

  bool between(const Launch& before, const Launch& after) const {
    return any(before.writes, after.reads) || any(before.writes, after.writes) ||
           any(before.reads, after.writes);
  }

 private:
  bool any(const std::vector<Access>& a, const std::vector<Access>& b) const {
    return std::any_of(a.begin(), a.end(), [&](const Access& left) {
      return std::any_of(b.begin(), b.end(),
                         [&](const Access& right) { return touch(left, right); });
    });
  }
  bool touch(const Access& a, const Access& b) const {
    if (a.buffer == b.buffer) return a.first_lane < b.end_lane && b.first_lane < a.end_lane;
    const auto left = static_cast<std::size_t>(a.buffer);
    const auto right = static_cast<std::size_t>(b.buffer);
    return schedule_.offsets[left] < schedule_.offsets[right] + requests_[right].bytes &&
           schedule_.offsets[right] < schedule_.offsets[left] + requests_[left].bytes;
  }

  const Schedule& schedule_;
  const std::vector<BufferRequest>& requests_;
};

}  // namespace

Schedule make_schedule(const Program& program, std::int64_t images) {
  const std::vector<BufferRequest> wanted = requests(program, images);
  MemoryPlan memory = plan_memory(wanted, kAlignment);
  Schedule schedule;
  schedule.offsets = std::move(memory.offsets);
  schedule.arena_bytes = memory.total;
  const Hazards hazards(schedule, wanted);
  const std::size_t launches = program.launches.size();
  std::vector<std::vector<bool>> waits(launches, std::vector<bool>(launches, false));
  schedule.dependencies.resize(launches);
  for (std::size_t i = 0; i < launches; ++i) {
    for (std::size_t before = i; before-- > 0;) {
      if (waits[i][before] || !hazards.between(program.launches[before], program.launches[i]))
        continue;
      schedule.dependencies[i].push_back(static_cast<std::uint32_t>(before));
      waits[i][before] = true;
      for (std::size_t k = 0; k < before; ++k) {
        if (waits[before][k]) waits[i][k] = true;
      }
    }
  }
  return schedule;
}

}  // namespace fovea::engine::cuda
