// Every change of a slot's word, and that a dead or late party can do no harm with it.
#include "nodes/runtime/slots/slot_word.hpp"

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace fovea {
namespace {

TEST(SlotWord, StartsFreeAtGenerationZero) {
  const SlotWord word;
  EXPECT_EQ(word.generation(), 0u);
  EXPECT_EQ(word.holders(), 0u);
}

TEST(SlotWord, WritingTakesTheNextGenerationAndExcludesEverybody) {
  SlotWord word;
  EXPECT_EQ(word.begin_write(), 1u);
  EXPECT_EQ(word.holders(), 1u);
  EXPECT_EQ(word.begin_write(), std::nullopt);
  EXPECT_FALSE(word.hold(1, 3));
  EXPECT_FALSE(word.hold(0, 3));
  word.end_write();
  EXPECT_EQ(word.generation(), 1u);
  EXPECT_EQ(word.holders(), 0u);
}

TEST(SlotWord, HoldersSetAndClearOnlyTheirOwnBit) {
  SlotWord word;
  word.begin_write();
  word.end_write();
  EXPECT_TRUE(word.hold(1, 1));
  EXPECT_TRUE(word.hold(1, kMaxHolders));
  EXPECT_EQ(word.holders(), 1u << 1 | 1u << kMaxHolders);
  word.drop(1);
  EXPECT_EQ(word.holders(), 1u << kMaxHolders);
  word.drop(1);  // twice is harmless
  word.drop(5);  // as is one that never held
  EXPECT_EQ(word.holders(), 1u << kMaxHolders);
  EXPECT_EQ(word.begin_write(), std::nullopt);
  word.drop(kMaxHolders);
  EXPECT_EQ(word.begin_write(), 2u);
}

TEST(SlotWord, ALateReaderFindsAnotherGeneration) {
  SlotWord word;
  word.begin_write();
  word.end_write();
  word.begin_write();
  word.end_write();
  EXPECT_FALSE(word.hold(1, 1));
  EXPECT_TRUE(word.hold(2, 1));
  EXPECT_FALSE(word.hold(3, 2));
}

TEST(SlotWord, PresetBitsHoldTheSlotUntilTheirReadersDropThem) {
  SlotWord word;
  word.begin_write();
  word.end_write(1u << 2 | 1u << 7);
  EXPECT_TRUE(word.held_by(1, 2));
  EXPECT_TRUE(word.held_by(1, 7));
  EXPECT_FALSE(word.held_by(1, 3));
  EXPECT_FALSE(word.held_by(2, 2));
  EXPECT_TRUE(word.hold(1, 2));  // adopting a pre-set bit
  EXPECT_EQ(word.begin_write(), std::nullopt);
  word.drop(2);
  word.drop(7);
  EXPECT_EQ(word.begin_write(), 2u);
}

TEST(SlotWord, EndOfWriteNeverSetsTheWriterBit) {
  SlotWord word;
  word.begin_write();
  word.end_write(0xffffffffu);
  EXPECT_EQ(word.holders(), 0xfffffffeu);
}

// The payload is written without atomics: TSan and the comparison see any overlap of writer and
// reader.
TEST(SlotWord, NoReaderSeesASlotThatIsBeingWritten) {
  constexpr int kReaders = 3;
  constexpr std::uint32_t kWrites = 20000;
  SlotWord word;
  std::uint64_t payload[2] = {0, 0};
  std::atomic<std::uint32_t> published{0};
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> held{0}, torn{0};
  std::vector<std::thread> readers;
  for (int holder = 1; holder <= kReaders; ++holder) {
    readers.emplace_back([&, holder] {
      while (!done) {
        const std::uint32_t generation = published;
        if (generation == 0 || !word.hold(generation, holder)) continue;
        if (payload[0] != generation || payload[1] != generation) ++torn;
        ++held;
        word.drop(holder);
        std::this_thread::yield();
      }
    });
  }
  std::uint32_t writes = 0;
  while (writes < kWrites || held < 100) {
    const auto generation = word.begin_write();
    if (!generation) {
      std::this_thread::yield();
      continue;
    }
    payload[0] = *generation;
    payload[1] = *generation;
    word.end_write();
    published = *generation;
    ++writes;
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(torn, 0u);
  EXPECT_GE(held, 100u);
  EXPECT_EQ(word.holders(), 0u);
}

}  // namespace
}  // namespace fovea
