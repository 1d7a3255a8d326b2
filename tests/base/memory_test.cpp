// Views, fences and host memory.
#include "nodes/base/memory.hpp"

#include <cstdint>
#include <utility>

#include <gtest/gtest.h>

namespace fovea {
namespace {

struct Event {
  int waited = 0;
  bool fails = false;
};

Result<> wait_for(void* event) {
  auto& made = *static_cast<Event*>(event);
  ++made.waited;
  if (made.fails) return fail(ErrorCode::kInternal, "the device is gone");
  return {};
}

TEST(Fence, OfHostWorkIsDone) {
  Fence fence;
  EXPECT_TRUE(fence.is_done());
  EXPECT_TRUE(fence.wait());
}

TEST(Fence, WaitsOnceAndGivesTheErrorOnce) {
  Event event{.fails = true};
  Fence fence(wait_for, &event);
  EXPECT_FALSE(fence.is_done());
  EXPECT_EQ(event.waited, 0);
  const auto done = fence.wait();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message, "the device is gone");
  EXPECT_TRUE(fence.is_done());
  EXPECT_TRUE(fence.wait());
  EXPECT_EQ(event.waited, 1);
}

TEST(Fence, DestroyedOrReplacedWaitsSoThatNobodyWritesToFreedMemory) {
  Event first;
  Event second;
  {
    Fence fence(wait_for, &first);
    Fence moved(std::move(fence));
    EXPECT_EQ(first.waited, 0);
    moved = Fence(wait_for, &second);
    EXPECT_EQ(first.waited, 1);
    EXPECT_EQ(second.waited, 0);
  }
  EXPECT_EQ(first.waited, 1);
  EXPECT_EQ(second.waited, 1);
}

TEST(HostMemory, IsAlignedWhateverItsSize) {
  for (const std::size_t bytes : {0, 1, 63, 64, 65, 4097}) {
    const HostMemory memory = allocate_host(bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.get()) % kMemoryAlignment, 0U) << bytes;
  }
}

TEST(MemoryView, WritableMemoryMayBeRead) {
  int value = 7;
  const MemoryView view{&value, sizeof value, MemoryKind::kPinned, 2};
  const ConstMemoryView read = view;
  EXPECT_EQ(read.data, &value);
  EXPECT_EQ(read.bytes, sizeof value);
  EXPECT_EQ(read.kind, MemoryKind::kPinned);
  EXPECT_EQ(read.device, 2);
  EXPECT_TRUE(is_host_readable(read.kind));
  EXPECT_FALSE(is_host_readable(MemoryKind::kCuda));
}

}  // namespace
}  // namespace fovea
