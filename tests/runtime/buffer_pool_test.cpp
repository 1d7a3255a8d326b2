// Slots in shared memory within one process; tests/crash kills real ones.
#include "nodes/runtime/slots/buffer_pool.hpp"

#include <atomic>
#include <cstring>
#include <fstream>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nodes/runtime/slots/pool_mapping.hpp"
#include "tests/support/allocation_guard.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

using test::eventually;
using test::TestDomain;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::string_view kTopic = "cam0/image";

PoolOptions options_of(std::size_t slot_bytes, std::uint32_t slot_count,
                       std::uint32_t retained = 1) {
  PoolOptions options;
  options.slot_bytes = slot_bytes;
  options.slot_count = slot_count;
  options.retained_depth = retained;
  return options;
}

class Pools : public testing::Test {
 protected:
  std::unique_ptr<BufferPool> create(const PoolOptions& options) {
    auto pool = BufferPool::create(*domain_, kTopic, options);
    EXPECT_TRUE(pool) << pool.error().message;
    return std::move(*pool);
  }
  std::unique_ptr<PoolReader> open(const BufferPool& pool, std::uint64_t id = 0) {
    auto reader = PoolReader::open(*domain_, kTopic, pool.incarnation(), id);
    EXPECT_TRUE(reader) << reader.error().message;
    return std::move(*reader);
  }
  // Publishes a slot filled with `value`.
  static msgs::BufferRef publish(BufferPool& pool, int value, std::size_t bytes = 100) {
    auto buffer = pool.loan();
    EXPECT_TRUE(buffer);
    std::memset(buffer->data().data(), value, buffer->data().size());
    return pool.publish(std::move(*buffer), bytes, pool.reliable_readers());
  }

  TestDomain domain_;
};

TEST_F(Pools, AReaderSeesWhatWasWritten) {
  const auto pool = create(options_of(5000, 3));
  const auto reader = open(*pool);
  EXPECT_EQ(reader->incarnation(), pool->incarnation());
  const msgs::BufferRef ref = publish(*pool, 7, 4500);
  const auto buffer = reader->hold(ref);
  ASSERT_TRUE(buffer);
  ASSERT_EQ(buffer->data().size(), 4500u);
  EXPECT_EQ(buffer->data().front(), std::byte{7});
  EXPECT_EQ(buffer->data().back(), std::byte{7});
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer->data().data()) % 4096, 0u);
}

TEST_F(Pools, SlotsAreWholePagesApartAndTheFileHasThePromisedSize) {
  const PoolOptions options = options_of(5000, 3);
  const auto pool = create(options);
  std::vector<WritableBuffer> loans;
  for (std::uint32_t i = 0; i < 3; ++i) {
    loans.push_back(std::move(*pool->loan()));
    EXPECT_EQ(loans.back().data().size(), 5000u);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(loans.back().data().data()) % 4096, 0u);
    std::memset(loans.back().data().data(), 0xff, 5000);
  }
  EXPECT_FALSE(pool->loan());
  struct stat status {};
  ASSERT_EQ(stat(pool->path().c_str(), &status), 0);
  EXPECT_EQ(static_cast<std::size_t>(status.st_size), pool_file_bytes(options));
  EXPECT_GE(static_cast<std::size_t>(status.st_blocks) * 512, pool_file_bytes(options))
      << "not reserved";
  EXPECT_EQ(status.st_mode & 07777u, 0600u);
}

TEST_F(Pools, AHeldSlotIsNeverRecycledAndAnUnheldOneExpires) {
  const auto pool = create(options_of(100, 3));
  const auto reader = open(*pool);
  const msgs::BufferRef held_ref = publish(*pool, 1);
  const auto held = reader->hold(held_ref);
  ASSERT_TRUE(held);
  const msgs::BufferRef unheld_ref = publish(*pool, 2);
  for (int i = 0; i < 20; ++i) {
    EXPECT_NE(publish(*pool, 3 + i).slot, held_ref.slot);
  }
  EXPECT_EQ(held->data().front(), std::byte{1});
  EXPECT_FALSE(reader->hold(unheld_ref));
}

TEST_F(Pools, ALoanThatIsNotPublishedGoesBack) {
  const auto pool = create(options_of(100, 1));
  for (int i = 0; i < 3; ++i) {
    const auto buffer = pool->loan();
    ASSERT_TRUE(buffer);
    EXPECT_EQ(pool->loaned_count(), 1u);
    EXPECT_FALSE(pool->loan());
  }
  EXPECT_EQ(pool->loaned_count(), 0u);
}

TEST_F(Pools, MovingABufferMovesTheHold) {
  const auto pool = create(options_of(100, 2));
  const auto reader = open(*pool);
  const msgs::BufferRef ref = publish(*pool, 1);
  ReadableBuffer outer;
  {
    auto inner = reader->hold(ref);
    ASSERT_TRUE(inner);
    outer = std::move(*inner);
  }
  EXPECT_EQ(pool->held_count(), 1u);
  EXPECT_EQ(outer.data().front(), std::byte{1});
  outer = ReadableBuffer();
  EXPECT_EQ(pool->held_count(), 0u);
}

TEST_F(Pools, TheWarmestSlotOutsideTheRetainedDepthIsLoanedFirst) {
  const auto pool = create(options_of(100, 8, 1));
  const std::uint32_t first = publish(*pool, 1).slot;
  const std::uint32_t second = publish(*pool, 2).slot;
  EXPECT_NE(first, second) << "the newest message's slot is retained";
  // Two slots carry everything when readers are quick; the other six stay cold.
  EXPECT_EQ(publish(*pool, 3).slot, first);
  EXPECT_EQ(publish(*pool, 4).slot, second);
  EXPECT_EQ(publish(*pool, 5).slot, first);
}

TEST_F(Pools, TheRetainedDepthKeepsTheNewestMessagesReadable) {
  const auto pool = create(options_of(100, 6, 3));
  const auto reader = open(*pool);
  std::vector<msgs::BufferRef> refs;
  for (int i = 0; i < 20; ++i) refs.push_back(publish(*pool, i));
  for (std::size_t i = 17; i < 20; ++i) EXPECT_TRUE(reader->hold(refs[i])) << i;
}

TEST_F(Pools, RetainedSlotsAreGivenUpOldestFirstWhenNothingElseIsFree) {
  const auto pool = create(options_of(100, 3, 3));
  const auto reader = open(*pool);
  const msgs::BufferRef a = publish(*pool, 1);
  const msgs::BufferRef b = publish(*pool, 2);
  const msgs::BufferRef c = publish(*pool, 3);
  const auto held = reader->hold(a);
  EXPECT_EQ(publish(*pool, 4).slot, b.slot);
  EXPECT_TRUE(reader->hold(c));
}

TEST_F(Pools, AnExhaustedPoolGivesNothingUntilAReaderLetsGo) {
  const auto pool = create(options_of(100, 2));
  const auto reader = open(*pool);
  auto first = reader->hold(publish(*pool, 1));
  auto second = reader->hold(publish(*pool, 2));
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(pool->loan());
  first.reset();
  EXPECT_TRUE(pool->loan());
}

TEST_F(Pools, OneGenerationIsGivenOutOncePerReader) {
  const auto pool = create(options_of(100, 2));
  const auto reader = open(*pool);
  const msgs::BufferRef ref = publish(*pool, 1);
  const auto first = reader->hold(ref);
  ASSERT_TRUE(first);
  // One bit could not count two buffers: the first to die would free the slot under the other.
  EXPECT_FALSE(reader->hold(ref));
  EXPECT_EQ(pool->held_count(), 1u);
  EXPECT_TRUE(open(*pool)->hold(ref)) << "another reader may";
}

TEST_F(Pools, BufferRefsThatDoNotFitAreRefused) {
  const auto pool = create(options_of(100, 2));
  const auto reader = open(*pool);
  const msgs::BufferRef good = publish(*pool, 1);
  const auto with = [&](auto change) {
    msgs::BufferRef ref = good;
    change(ref);
    return ref;
  };
  EXPECT_FALSE(reader->hold(with([](auto& r) { ++r.incarnation; })));
  EXPECT_FALSE(reader->hold(with([](auto& r) { r.slot = 2; })));
  EXPECT_FALSE(reader->hold(with([](auto& r) { r.slot = 0xffffffff; })));
  EXPECT_FALSE(reader->hold(with([](auto& r) { ++r.generation; })));
  EXPECT_FALSE(reader->hold(with([](auto& r) { --r.generation; })));
  EXPECT_FALSE(reader->hold(with([](auto& r) { r.bytes = 0; })));
  EXPECT_FALSE(reader->hold(with([](auto& r) { r.bytes = 101; })));
  EXPECT_FALSE(reader->hold(with([](auto& r) { r.bytes = ~0ull; })));
  EXPECT_EQ(pool->held_count(), 0u);
  EXPECT_TRUE(reader->hold(good));
}

TEST_F(Pools, ASlotThatIsBeingWrittenCannotBeHeld) {
  const auto pool = create(options_of(100, 1, 0));
  const auto reader = open(*pool);
  msgs::BufferRef ref = publish(*pool, 1);
  const auto writing = pool->loan();
  ASSERT_TRUE(writing);
  EXPECT_FALSE(reader->hold(ref));
  ++ref.generation;
  EXPECT_FALSE(reader->hold(ref));
}

TEST_F(Pools, BuffersOutliveTheirPoolAndReader) {
  auto pool = create(options_of(100, 2));
  auto reader = open(*pool);
  auto writable = pool->loan();
  const auto readable = reader->hold(publish(*pool, 9));
  ASSERT_TRUE(readable);
  pool.reset();
  reader.reset();
  EXPECT_EQ(readable->data().front(), std::byte{9});
  std::memset(writable->data().data(), 1, writable->data().size());
}

TEST_F(Pools, AReadersBitsAndNumberGoWithItsLastBuffer) {
  const auto pool = create(options_of(100, 2));
  auto reader = open(*pool);
  const int number = reader->holder();
  auto buffer = reader->hold(publish(*pool, 1));
  reader.reset();
  EXPECT_EQ(pool->reap(), 1) << "a buffer keeps its reader's number";
  EXPECT_EQ(pool->held_count(), 1u);
  buffer.reset();
  EXPECT_EQ(pool->reap(), 0);
  EXPECT_EQ(pool->held_count(), 0u);
  EXPECT_EQ(open(*pool)->holder(), number);
}

TEST_F(Pools, TheThirtySecondReaderIsRefused) {
  const auto pool = create(options_of(100, 2));
  std::vector<std::unique_ptr<PoolReader>> readers;
  for (int i = 0; i < kMaxHolders; ++i) readers.push_back(open(*pool));
  EXPECT_EQ(pool->reap(), kMaxHolders);
  const auto one_more = PoolReader::open(*domain_, kTopic, pool->incarnation());
  ASSERT_FALSE(one_more);
  EXPECT_EQ(one_more.error().code, ErrorCode::kExhausted);
  EXPECT_THAT(one_more.error().message, HasSubstr("31 readers"));
  readers.erase(readers.begin() + 4);
  EXPECT_EQ(open(*pool)->holder(), 5);
}

TEST_F(Pools, AllReadersHoldTheSameSlotAtOnce) {
  const auto pool = create(options_of(100, 2, 1));
  std::vector<std::unique_ptr<PoolReader>> readers;
  for (int i = 0; i < kMaxHolders; ++i) readers.push_back(open(*pool));
  const msgs::BufferRef ref = publish(*pool, 5);
  std::vector<ReadableBuffer> held;
  for (auto& reader : readers) held.push_back(std::move(*reader->hold(ref)));
  while (!held.empty()) {
    EXPECT_NE(publish(*pool, 6).slot, ref.slot);
    held.pop_back();
  }
}

TEST_F(Pools, ANewIncarnationRemovesOnlyThoseWhoseWriterIsDead) {
  const std::filesystem::path dead = domain_->pool_path(kTopic, 1);
  std::ofstream(dead) << "left behind";
  chmod(dead.c_str(), 0600);
  const std::filesystem::path other_topic = domain_->pool_path("cam1/image", 1);
  std::ofstream(other_topic) << "left behind";
  chmod(other_topic.c_str(), 0600);
  const auto first = create(options_of(100, 2));
  const auto second = create(options_of(100, 2));
  EXPECT_NE(first->incarnation(), second->incarnation());
  EXPECT_THAT(domain_->list_pools(kTopic), SizeIs(2));
  EXPECT_FALSE(std::filesystem::exists(dead));
  EXPECT_TRUE(std::filesystem::exists(other_topic));
}

TEST_F(Pools, OptionsOutOfRangeAreRefused) {
  for (const PoolOptions& bad :
       {options_of(0, 2), options_of(100, 0), options_of(100, kMaxPoolSlots + 1),
        options_of(~std::size_t{0}, 2)}) {
    const auto pool = BufferPool::create(*domain_, kTopic, bad);
    ASSERT_FALSE(pool);
    EXPECT_EQ(pool.error().code, ErrorCode::kInvalidArgument);
  }
  EXPECT_FALSE(BufferPool::create(*domain_, "../bad", options_of(100, 2)));
  EXPECT_THAT(domain_->list_pools(kTopic), IsEmpty());
}

TEST(FullSharedMemory, IsRefusedAtOnceWithWhatIsNeededAndFree) {
  TestDomain environment;
  setenv("FOVEA_SHM_DIR", "/dev/shm", 1);
  const auto domain = Domain::open("test-full-shm");
  ASSERT_TRUE(domain);
  const PoolOptions options = options_of(detail::kMaxSlotBytes, 4);
  const auto pool = BufferPool::create(*domain, kTopic, options);
  ASSERT_FALSE(pool);
  EXPECT_EQ(pool.error().code, ErrorCode::kExhausted);
  EXPECT_THAT(pool.error().message,
              HasSubstr("needs " + std::to_string(pool_file_bytes(options)) + " bytes"));
  EXPECT_THAT(pool.error().message, HasSubstr("/dev/shm has"));
  EXPECT_THAT(domain->list_pools(kTopic), IsEmpty()) << "left a file behind";
}

// ---- reliable delivery

PoolOptions reliable_options(std::uint32_t slot_count) {
  PoolOptions options = options_of(100, slot_count);
  options.reliable = true;
  return options;
}

TEST_F(Pools, AReservedReaderFindsEverythingPublishedSinceHeldForIt) {
  const auto pool = create(reliable_options(3));
  const auto number = pool->reserve(0xabc);
  ASSERT_TRUE(number);
  EXPECT_EQ(pool->reserve(0xabc), number) << "asking twice is the same";
  std::vector<msgs::BufferRef> refs;
  for (int i = 1; i <= 3; ++i) refs.push_back(publish(*pool, i));
  EXPECT_FALSE(pool->loan()) << "reaping must spare a reader that has yet to open the pool";
  const auto reader = open(*pool, 0xabc);
  EXPECT_TRUE(reader->reliable());
  EXPECT_EQ(reader->holder(), *number);
  EXPECT_EQ(pool->reap(), 1);
  for (int i = 0; i < 3; ++i) {
    const auto buffer = reader->hold(refs[static_cast<std::size_t>(i)]);
    ASSERT_TRUE(buffer);
    EXPECT_EQ(buffer->data().front(), std::byte(i + 1));
  }
  EXPECT_FALSE(pool->reliable_pending());
}

TEST_F(Pools, AReservedNumberIsNotGivenToOthers) {
  const auto pool = create(reliable_options(2));
  EXPECT_EQ(pool->reserve(0xabc), 1);
  EXPECT_EQ(open(*pool)->holder(), 2);
  const auto stranger = PoolReader::open(*domain_, kTopic, pool->incarnation(), 0xdef);
  ASSERT_FALSE(stranger);
  EXPECT_EQ(stranger.error().code, ErrorCode::kUnavailable);
}

TEST_F(Pools, ReleasingAReservationFreesItsSlots) {
  const auto pool = create(reliable_options(2));
  pool->reserve(0xabc);
  publish(*pool, 1);
  publish(*pool, 2);
  EXPECT_FALSE(pool->loan());
  pool->release_reserved(0xabc);
  EXPECT_EQ(pool->reliable_readers(), 0u);
  EXPECT_TRUE(pool->loan());
  EXPECT_EQ(pool->reap(), 0);
}

TEST_F(Pools, AReliableReaderThatIsGoneIsReaped) {
  const auto pool = create(reliable_options(2));
  pool->reserve(0xabc);
  auto reader = open(*pool, 0xabc);
  publish(*pool, 1);
  reader.reset();
  publish(*pool, 2);
  publish(*pool, 3);
  EXPECT_EQ(pool->held_count(), 2u) << "held for a reader that the publisher still believes in";
  EXPECT_TRUE(pool->loan());
  EXPECT_EQ(pool->reliable_readers(), 0u);
}

TEST_F(Pools, AReliableReaderBeyondTheThirtyFirstIsRefused) {
  const auto pool = create(reliable_options(2));
  for (std::uint64_t id = 1; id <= kMaxHolders; ++id) EXPECT_TRUE(pool->reserve(id));
  EXPECT_FALSE(pool->reserve(100));
  EXPECT_EQ(PoolReader::open(*domain_, kTopic, pool->incarnation(), 100).error().code,
            ErrorCode::kExhausted);
  EXPECT_EQ(PoolReader::open(*domain_, kTopic, pool->incarnation()).error().code,
            ErrorCode::kExhausted);
}

TEST_F(Pools, TheIdIsIgnoredByABestEffortPool) {
  const auto pool = create(options_of(100, 2));
  const auto reader = open(*pool, 0xabc);
  EXPECT_FALSE(reader->reliable());
  EXPECT_TRUE(reader->hold(publish(*pool, 1)));
}

TEST_F(Pools, AWaitingWriterIsWokenByADrop) {
  const auto pool = create(options_of(100, 1, 0));
  const auto reader = open(*pool);
  std::optional<ReadableBuffer> buffer = reader->hold(publish(*pool, 1));
  std::atomic<bool> waiting{false};
  std::thread dropper([&] {
    ASSERT_TRUE(eventually([&] { return waiting.load(); }));
    buffer.reset();
  });
  std::optional<WritableBuffer> loan;
  waiting = true;
  EXPECT_TRUE(eventually([&] {
    pool->wait_for_release(std::chrono::seconds(5));
    loan = pool->try_loan();
    return loan.has_value();
  }));
  dropper.join();
}

// ---- files of other origin

class ForeignFiles : public Pools {
 protected:
  // A pool's bytes, changed by `change`, under incarnation 99.
  Result<std::unique_ptr<PoolReader>> open_changed(
      const std::function<void(std::string&)>& change) {
    const auto pool = create(options_of(100, 2));
    std::ifstream in(pool->path(), std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), {}};
    const std::uint64_t incarnation = 99;
    std::memcpy(bytes.data() + offsetof(detail::PoolHeader, incarnation), &incarnation,
                sizeof incarnation);
    change(bytes);
    const std::filesystem::path path = domain_->pool_path(kTopic, incarnation);
    std::ofstream(path, std::ios::binary) << bytes;
    chmod(path.c_str(), 0600);
    return PoolReader::open(*domain_, kTopic, incarnation);
  }
  template <class T>
  Result<std::unique_ptr<PoolReader>> open_with(std::size_t offset, T value) {
    return open_changed(
        [&](std::string& bytes) { std::memcpy(bytes.data() + offset, &value, sizeof value); });
  }
};

TEST_F(ForeignFiles, AnUnchangedCopyOpens) {
  EXPECT_TRUE(open_changed([](std::string&) {}));
}

TEST_F(ForeignFiles, EveryDamageOfTheHeaderIsAnError) {
  using Header = detail::PoolHeader;
  const auto expect_corrupt = [](const Result<std::unique_ptr<PoolReader>>& reader) {
    ASSERT_FALSE(reader);
    EXPECT_EQ(reader.error().code, ErrorCode::kCorrupt) << reader.error().message;
  };
  expect_corrupt(open_with(0, std::uint64_t{1}));
  expect_corrupt(open_with(offsetof(Header, version), 2u));
  expect_corrupt(open_with(offsetof(Header, slot_count), 0u));
  expect_corrupt(open_with(offsetof(Header, slot_count), 3u));
  expect_corrupt(open_with(offsetof(Header, slot_count), 0xffffffffu));
  expect_corrupt(open_with(offsetof(Header, slot_bytes), std::uint64_t{0}));
  expect_corrupt(open_with(offsetof(Header, slot_bytes), std::uint64_t{5000}));
  expect_corrupt(open_with(offsetof(Header, slot_bytes), ~std::uint64_t{0}));
  expect_corrupt(open_with(offsetof(Header, stride), std::uint64_t{64}));
  expect_corrupt(open_with(offsetof(Header, file_bytes), std::uint64_t{1} << 50));
  expect_corrupt(open_with(offsetof(Header, incarnation), std::uint64_t{98}));
}

TEST_F(ForeignFiles, ATruncatedOrGrownFileIsAnErrorAndNotAFault) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{100}, std::size_t{4096},
                                 std::size_t{8192}, std::size_t{12288}, std::size_t{1} << 20}) {
    const auto reader = open_changed([&](std::string& bytes) { bytes.resize(size); });
    ASSERT_FALSE(reader) << size;
    EXPECT_EQ(reader.error().code, ErrorCode::kCorrupt);
  }
}

TEST_F(ForeignFiles, AbsentReadableByOthersOrLinkedPoolsAreErrors) {
  EXPECT_EQ(PoolReader::open(*domain_, kTopic, 12345).error().code, ErrorCode::kNotFound);
  const auto pool = create(options_of(100, 2));
  std::filesystem::create_symlink(pool->path(), domain_->pool_path(kTopic, 7));
  EXPECT_EQ(PoolReader::open(*domain_, kTopic, 7).error().code, ErrorCode::kCorrupt);
  chmod(pool->path().c_str(), 0666);
  EXPECT_EQ(PoolReader::open(*domain_, kTopic, pool->incarnation()).error().code,
            ErrorCode::kCorrupt);
}

// ---- together

// Writer and readers in one process, each with its own open file description and mapping.
TEST_F(Pools, ConcurrentReadersNeverSeeATornSlot) {
  constexpr int kReaders = 3;
  constexpr std::size_t kWords = 512;
  const auto pool = create(options_of(kWords * 8, kReaders + 2));
  std::atomic<std::uint64_t> packed{0};  // generation << 32 | slot + 1
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> read{0}, torn{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kReaders; ++i) {
    threads.emplace_back([&] {
      const auto reader = open(*pool);
      while (!done) {
        const std::uint64_t now = packed;
        if (now == 0) continue;
        msgs::BufferRef ref;
        ref.incarnation = pool->incarnation();
        ref.slot = static_cast<std::uint32_t>(now) - 1;
        ref.generation = static_cast<std::uint32_t>(now >> 32);
        ref.bytes = kWords * 8;
        const auto buffer = reader->hold(ref);
        if (!buffer) continue;
        const auto* words = reinterpret_cast<const std::uint64_t*>(buffer->data().data());
        for (std::size_t w = 0; w < kWords; ++w) torn += words[w] != words[0] ? 1 : 0;
        ++read;
      }
    });
  }
  std::uint64_t value = 0;
  while (read < 3000) {
    auto buffer = pool->loan();
    if (!buffer) continue;
    ++value;
    auto* words = reinterpret_cast<std::uint64_t*>(buffer->data().data());
    for (std::size_t w = 0; w < kWords; ++w) words[w] = value;
    const msgs::BufferRef ref = pool->publish(std::move(*buffer), kWords * 8);
    packed = std::uint64_t{ref.generation} << 32 | (ref.slot + 1);
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(torn, 0u);
  EXPECT_EQ(pool->reap(), 0);
  EXPECT_EQ(pool->held_count(), 0u);
}

TEST_F(Pools, TheFramePathAllocatesNothing) {
  const auto pool = create(options_of(100, 4));
  const auto reader = open(*pool);
  const test::AllocationGuard guard;
  for (int i = 0; i < 100; ++i) {
    auto buffer = pool->loan();
    const msgs::BufferRef ref = pool->publish(std::move(*buffer), 100);
    const auto held = reader->hold(ref);
    pool->reap();
  }
  EXPECT_EQ(guard.count(), 0u);
}

}  // namespace
}  // namespace fovea
