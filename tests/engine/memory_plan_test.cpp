// Buffers that share memory: never two that live together.
#include "nodes/detector/engine/program/memory_plan.hpp"

#include <gtest/gtest.h>

#include "tests/engine/graph_maker.hpp"

namespace fovea::engine::test {
namespace {

TEST(MemoryPlan, NeverOverlapsBuffersThatLiveTogether) {
  // Every pair of requests from a pseudo-random set, many sets.
  std::uint64_t state = 1;
  const auto next = [&](std::uint64_t limit) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state >> 33) % limit;
  };
  for (int round = 0; round < 200; ++round) {
    std::vector<BufferRequest> requests;
    std::size_t sum = 0;
    for (std::uint64_t i = 0; i < 2 + next(30); ++i) {
      const std::size_t first = next(20);
      requests.push_back({next(5) == 0 ? 0 : next(5000), {first, first + next(6)}});
      sum += (requests.back().bytes + 63) / 64 * 64;
    }
    const MemoryPlan plan = plan_memory(requests);
    EXPECT_LE(plan.total, sum);
    for (std::size_t a = 0; a < requests.size(); ++a) {
      EXPECT_EQ(plan.offsets[a] % 64, 0U);
      EXPECT_LE(plan.offsets[a] + requests[a].bytes, plan.total);
      for (std::size_t b = 0; b < a; ++b) {
        if (!requests[a].lifetime.overlaps(requests[b].lifetime)) continue;
        if (requests[a].bytes == 0 || requests[b].bytes == 0) continue;
        EXPECT_TRUE(plan.offsets[a] + requests[a].bytes <= plan.offsets[b] ||
                    plan.offsets[b] + requests[b].bytes <= plan.offsets[a]);
      }
    }
  }
}

TEST(MemoryPlan, SharesMemoryAlongAChain) {
  GraphMaker g;
  ValueId y = g.input("x", {1, 16});
  const ValueId kept = y;
  for (int i = 0; i < 10; ++i) y = g.add(OpType::kRelu, {y});
  NetworkDefinition network = g.finish({g.add(OpType::kAdd, {y, kept})});
  ASSERT_TRUE(infer_shapes(network, 1));
  const std::vector<Lifetime> lifetimes = value_lifetimes(network);
  EXPECT_EQ(lifetimes[static_cast<std::size_t>(kept)].last, 10U);
  EXPECT_EQ(lifetimes[static_cast<std::size_t>(network.outputs[0])].last, 11U);
  // The kept input and two buffers that take turns.
  EXPECT_EQ(plan_memory(network).total, 3U * 64);
}

}  // namespace
}  // namespace fovea::engine::test
