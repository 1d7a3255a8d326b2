// The searches of slot_model_test.cpp on a larger scale: a second or a third message, two reliable
// readers, and the bugs of reliable delivery, which take that long to show.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/slot_search.hpp"

namespace fovea::test::model {
namespace {

TEST(SlotModelDeep, BestEffortDeliveryWithAReaperOfItsOwn) { expect_sound({.messages = 2}); }

TEST(SlotModelDeep, ARestartedWriterAndAReaperOfItsOwn) {
  expect_sound({.messages = 1, .incarnations = 2});
}

TEST(SlotModelDeep, AReliableReaderLosesNothingAndLeaksNothing) {
  expect_sound({.messages = 2, .reliable_readers = 1, .has_reaper = false});
}

TEST(SlotModelDeep, NorDoTwoOfThem) {
  expect_sound({.messages = 1, .reliable_readers = 2, .has_reaper = false});
}

// ---- planted bugs

constexpr Setup kReliable{.messages = 3, .reliable_readers = 1, .has_reaper = false};

struct ReapThePending : Product {
  template <class P>
  static bool reap(P& pool, detail::Reservations<kNumbers>& reservations, int holder) {
    if (!pool.try_lock(holder)) return false;
    detail::clear_holder(pool, holder);
    detail::forget_reservation(pool, reservations, holder);
    pool.unlock(holder);
    return true;
  }
};

struct JoinWithWhatItCatches : Product {
  template <class W>
  static bool hold(W& word, std::uint32_t generation, int holder, bool) {
    return word.hold(generation, holder);
  }
};

TEST(PlantedBugDeep, ReapingAReliableReaderThatIsYetToComeIsFound) {
  expect_found<ReapThePending>("lost a message", kReliable);
}
TEST(PlantedBugDeep, AReliableReaderThatJoinsWithAMessageNotKeptForItIsFound) {
  expect_found<JoinWithWhatItCatches>("lost a message", kReliable);
}

}  // namespace
}  // namespace fovea::test::model
