// Another process of the same user truncates shared memory under us: nobody dies of SIGBUS, and the
// topic goes on.
#include <cstring>
#include <filesystem>
#include <numeric>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nodes/runtime/slots/fault_guard.hpp"
#include "tests/runtime/topics_fixture.hpp"

namespace fovea::test {
namespace {

class TruncatedFiles : public Topics {
 protected:
  // Publishes until a frame of another pool arrives; all its bytes must be right.
  void expect_the_topic_goes_on(Publisher<Image>& images, Subscription<Image>& sub,
                                std::uint64_t old_incarnation) {
    std::uint64_t seq = 100;
    std::optional<Received<Image>> received;
    ASSERT_TRUE(eventually([&] {
      publish(images, ++seq);
      sub.drain();
      received = sub.take();
      return received && received->message.data.incarnation != old_incarnation;
    }));
    expect_intact(*received);
  }
};

TEST_F(TruncatedFiles, APoolThatShrinksUnderItsReaderAndWriterKillsNeither) {
  for (const std::uintmax_t left : {0, 4096, 8192}) {
    auto images = publisher();
    auto sub = subscription();
    ASSERT_TRUE(joined(images));
    ASSERT_TRUE(publish(images, 7));
    auto held = next(sub);
    ASSERT_TRUE(held);
    std::filesystem::resize_file(domain_->list_pools(kTopic).at(0), left);
    const auto bytes = held->buffer.data();
    int sum = 0;
    for (const std::byte b : bytes) sum += static_cast<int>(b);
    EXPECT_EQ(sum, 0) << "what is gone reads as zeros";
    const std::uint64_t old = held->message.data.incarnation;
    held.reset();  // clears a bit in a word that may be gone
    expect_the_topic_goes_on(images, sub, old);
  }
}

TEST_F(TruncatedFiles, APoolReplacedUnderItsReaderStaysReadable) {
  auto images = publisher();
  auto sub = subscription();
  ASSERT_TRUE(joined(images));
  ASSERT_TRUE(publish(images, 7));
  auto held = next(sub);
  ASSERT_TRUE(held);
  const std::filesystem::path pool = domain_->list_pools(kTopic).at(0);
  std::filesystem::rename(pool, pool.native() + ".old");
  std::filesystem::copy_file(pool.native() + ".old", pool);
  expect_intact(*held);
  ASSERT_TRUE(publish(images, 8));
  auto after = next(sub);
  ASSERT_TRUE(after);
  expect_intact(*after);
}

TEST_F(TruncatedFiles, AMetricsPageThatShrinksKillsNeitherItsOwnerNorItsReaders) {
  auto page = MetricsPage::create(*domain_, "cam0", "camera");
  ASSERT_TRUE(page);
  Counter& counter = (*page)->counter("frames_in", "cam0");
  counter = 5;
  const auto reader = MetricsReader::open(*domain_, "cam0");
  ASSERT_TRUE(reader);
  EXPECT_EQ((*reader)->value("frames_in", "cam0"), 5u);
  std::filesystem::resize_file(domain_->metrics_path("cam0"), 0);
  ++counter;
  EXPECT_EQ(counter, 1u) << "on a page of its own now";
  EXPECT_EQ((*reader)->value("frames_in", "cam0"), 0u);
  EXPECT_EQ((*reader)->status(), "");
}

TEST(FaultGuardDeathTest, AFaultInUnguardedMemoryStillEndsTheProcess) {
  const auto touch = [] {
    void* guarded = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const detail::FaultGuard guard(guarded, 4096);
    std::FILE* file = std::tmpfile();
    if (ftruncate(fileno(file), 4096) != 0) _exit(3);
    auto* bytes =
        static_cast<volatile char*>(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fileno(file), 0));
    if (ftruncate(fileno(file), 0) != 0) _exit(3);
    _exit(bytes[0] == 0 ? 0 : 3);
  };
  // By the signal, or by a sanitizer that reports it and exits with a code of its own.
  const auto ended_by_the_fault = [](int status) {
    return !WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 3);
  };
  EXPECT_EXIT(touch(), ended_by_the_fault, "");
}

}  // namespace
}  // namespace fovea::test
