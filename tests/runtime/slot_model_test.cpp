// Every interleaving of a writer, two readers and a reaper on two slots, with a death between any
// two steps (slot_model.hpp); and that the search finds the bugs that one could make here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/slot_search.hpp"

namespace fovea::test::model {
namespace {

TEST(SlotModel, NoInterleavingAndNoDeathBreaksBestEffortDelivery) {
  expect_sound({.messages = 2, .has_reaper = false});
}

TEST(SlotModel, NorDoesAReaperOfItsOwn) { expect_sound({.messages = 1}); }

TEST(SlotModel, NorDoesARestartedWriter) {
  expect_sound({.messages = 1, .incarnations = 2, .has_reaper = false});
}

TEST(SlotModel, NorDoesAReliableReader) {
  expect_sound({.messages = 1, .reliable_readers = 1, .has_reaper = false});
}

// ---- planted bugs

template <class A>
struct HoldsWhateverIsThere : BasicSlotWord<A> {
  bool hold(std::uint32_t, int holder) {
    return BasicSlotWord<A>::hold(this->generation(), holder);
  }
};
struct HoldWithoutGeneration : Product {
  template <class A>
  using Word = HoldsWhateverIsThere<A>;
};

template <class A>
struct LooksThenHolds : BasicSlotWord<A> {
  bool hold(std::uint32_t generation, int holder) {
    return this->generation() == generation && BasicSlotWord<A>::hold(this->generation(), holder);
  }
};
struct HoldInTwoSteps : Product {
  template <class A>
  using Word = LooksThenHolds<A>;
};

template <class A>
struct OneBitForAll : BasicSlotWord<A> {
  bool hold(std::uint32_t generation, int) { return BasicSlotWord<A>::hold(generation, 1); }
  void drop(int) { BasicSlotWord<A>::drop(1); }
};
struct SharedReaderBit : Product {
  template <class A>
  using Word = OneBitForAll<A>;
};

template <class A>
struct PushesReadersOut : BasicSlotWord<A> {
  std::optional<std::uint32_t> begin_write() {
    for (int holder = 1; holder <= kNumbers; ++holder) this->drop(holder);
    return BasicSlotWord<A>::begin_write();
  }
};
struct WriteOverReaders : Product {
  template <class A>
  using Word = PushesReadersOut<A>;
};

struct ReapWithoutLock : Product {
  template <class P>
  static bool reap(P& pool, detail::Reservations<kNumbers>&, int holder) {
    detail::clear_holder(pool, holder);
    return true;
  }
};

struct UnlockBeforeClearing : Product {
  template <class P>
  static bool reap(P& pool, detail::Reservations<kNumbers>&, int holder) {
    if (!pool.try_lock(holder)) return false;
    pool.unlock(holder);
    detail::clear_holder(pool, holder);
    return true;
  }
};

struct NeverReap : Product {
  template <class P>
  static bool reap(P& pool, detail::Reservations<kNumbers>&, int holder) {
    const bool locked = pool.try_lock(holder);
    if (locked) pool.unlock(holder);
    return locked;
  }
};

struct TakeNumberUncleared : Product {
  template <class P>
  static std::optional<int> take(P& pool) {
    for (int holder = 1; holder <= kNumbers; ++holder) {
      if (pool.try_lock(holder)) return holder;
    }
    return std::nullopt;
  }
};

struct WriteBeforeOwning : Product {
  static constexpr Order kOrder = Order::kWriteBeforeOwning;
};
struct SendBeforeWriting : Product {
  static constexpr Order kOrder = Order::kSendBeforeWriting;
};

TEST(PlantedBug, AHoldThatDoesNotCheckTheGenerationIsFound) {
  expect_found<HoldWithoutGeneration>("was recycled");
}
TEST(PlantedBug, AHoldThatChecksInOneStepAndSetsInAnotherIsFound) {
  expect_found<HoldInTwoSteps>("was recycled");
}
TEST(PlantedBug, ABitThatReadersShareIsFound) {
  expect_found<SharedReaderBit>("which lives, is gone|will never give");
}
TEST(PlantedBug, AWriterThatPushesReadersOutIsFound) {
  expect_found<WriteOverReaders>("is being written|which lives, is gone");
}
TEST(PlantedBug, ReapingWithoutTheLockIsFound) {
  expect_found<ReapWithoutLock>("which lives, is gone");
}
TEST(PlantedBug, UnlockingBeforeClearingIsFound) {
  expect_found<UnlockBeforeClearing>("which lives, is gone");
}
TEST(PlantedBug, DeadReadersThatAreNeverReapedAreFound) {
  expect_found<NeverReap>("held by the dead for ever");
}
TEST(PlantedBug, TakingANumberWithWhatItsPredecessorHeldIsFound) {
  expect_found<TakeNumberUncleared>("will never give slot");
}
TEST(PlantedBug, WritingBeforeOwningIsFound) { expect_found<WriteBeforeOwning>("torn"); }
TEST(PlantedBug, SendingBeforeWritingIsFound) { expect_found<SendBeforeWriting>("torn"); }

}  // namespace
}  // namespace fovea::test::model
