#include "nodes/detector/engine/program/arena.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "nodes/detector/engine/program/memory_plan.hpp"

namespace fovea::engine {

namespace {

bool share_memory(const Arena& arena, const std::vector<BufferRequest>& requests, std::size_t a,
                  std::size_t b) {
  return requests[a].bytes > 0 && requests[b].bytes > 0 &&
         arena.offsets[a] < arena.offsets[b] + requests[b].bytes &&
         arena.offsets[b] < arena.offsets[a] + requests[a].bytes;
}

std::vector<BufferRequest> request_buffers(const std::vector<Buffer>& buffers,
                                           std::span<const StepAccess> steps) {
  constexpr Lifetime kNever{1, 0};
  std::vector<BufferRequest> requests;
  for (const Buffer& buffer : buffers) {
    requests.push_back({static_cast<std::size_t>(buffer.bytes), kNever});
  }
  for (std::size_t step = 0; step < steps.size(); ++step) {
    for (const auto& ends : {steps[step].sources, steps[step].destinations}) {
      for (const Location& location : ends) {
        if (location.where != Location::Where::kArena) continue;
        Lifetime& life = requests[static_cast<std::size_t>(location.index)].lifetime;
        if (life.first > life.last) life.first = step;  // steps come in order
        life.last = step;
      }
    }
  }
  for (BufferRequest& request : requests) {
    if (request.lifetime.first > request.lifetime.last) request.bytes = 0;
  }
  return requests;
}

}  // namespace

void fill_border(const Buffer& buffer, std::byte* memory) {
  if (buffer.rows == 0) return;
  const auto fill = [&](std::int64_t from, std::int64_t end) {
    std::memset(memory + from, buffer.border, static_cast<std::size_t>(end - from));
  };
  fill(0, buffer.first_row);
  if (buffer.row_bytes < buffer.row_stride) {
    for (std::int64_t y = 0; y < buffer.rows; ++y) {
      const std::int64_t row = buffer.first_row + y * buffer.row_stride;
      fill(row + buffer.row_bytes, row + buffer.row_stride);
    }
  }
  fill(buffer.first_row + buffer.rows * buffer.row_stride, buffer.bytes);
}

ArenaPlan plan_arena(std::vector<Buffer> buffers, std::span<const StepAccess> steps) {
  const std::vector<BufferRequest> requests = request_buffers(buffers, steps);
  MemoryPlan memory = plan_memory(requests);
  ArenaPlan plan;
  plan.arena = {std::move(buffers), std::move(memory.offsets), {}, memory.total};
  plan.refills.resize(steps.size());
  for (std::size_t a = 0; a < requests.size(); ++a) {
    if (requests[a].bytes == 0 || plan.arena.buffers[a].rows == 0) continue;
    bool shared = false;
    for (std::size_t b = 0; b < requests.size() && !shared; ++b) {
      shared = a != b && share_memory(plan.arena, requests, a, b);
    }
    const auto buffer = static_cast<std::int32_t>(a);
    // A border that shares its memory has to be written on every run.
    (shared ? plan.refills[requests[a].lifetime.first] : plan.arena.borders).push_back(buffer);
  }
  return plan;
}

}  // namespace fovea::engine
