#include "nodes/runtime/figures/metrics.hpp"

#include <array>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nodes/base/clock.hpp"
#include "nodes/runtime/figures/ledger.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

using State = msgs::LifecycleState;
using Level = msgs::DiagnosticLevel;

class Metrics : public testing::Test {
 protected:
  std::unique_ptr<MetricsPage> page(std::string_view node = "cam0",
                                    std::string_view type = "camera") {
    auto result = MetricsPage::create(*domain_, node, type);
    EXPECT_TRUE(result) << result.error().message;
    return result ? std::move(*result) : nullptr;
  }
  std::unique_ptr<MetricsReader> reader(std::string_view node = "cam0") {
    auto result = MetricsReader::open(*domain_, node);
    EXPECT_TRUE(result) << result.error().message;
    return result ? std::move(*result) : nullptr;
  }
  std::string path() const { return domain_->metrics_path("cam0").string(); }
  // A page of a node that ended and kept it.
  void leave_page() {
    const auto owner = page();
    owner->counter("frames_in", "cam0").store(42);
    owner->keep();
  }

  test::TestDomain domain_;
};

TEST_F(Metrics, ReaderSeesWhatTheOwnerWrites) {
  const auto owner = page();
  const std::int64_t before = monotonic_ns();
  owner->counter("frames_in", "cam0").fetch_add(3);
  owner->counter("frames_dropped", "cam0", "lost").fetch_add(2);
  owner->histogram("latency_us", "cam0").record(100);
  owner->set_state(State::kActive);
  owner->set_status(Level::kWarn, "stalled");
  owner->beat();

  const auto seen = reader();
  EXPECT_TRUE(seen->alive());
  EXPECT_EQ(seen->node(), "cam0");
  EXPECT_EQ(seen->type(), "camera");
  EXPECT_EQ(seen->pid(), static_cast<std::uint32_t>(getpid()));
  EXPECT_EQ(seen->starts(), 1u);
  EXPECT_EQ(seen->state(), State::kActive);
  EXPECT_EQ(seen->level(), Level::kWarn);
  EXPECT_EQ(seen->status(), "stalled");
  EXPECT_GE(seen->last_beat_ns(), before);
  EXPECT_EQ(seen->value("frames_in", "cam0"), 3u);
  EXPECT_EQ(seen->value("frames_in", "cam1"), 0u);
  EXPECT_EQ(seen->value("frames_dropped", "cam0", "lost"), 2u);
  ASSERT_NE(seen->histogram("latency_us", "cam0"), nullptr);
  EXPECT_EQ(seen->histogram("latency_us", "cam0")->count(), 1u);
  EXPECT_EQ(seen->histogram("latency_us"), nullptr);
  ASSERT_EQ(seen->counters().size(), 2u);
  EXPECT_EQ(seen->counters()[1].label, "lost");
  ASSERT_EQ(seen->histograms().size(), 1u);
  EXPECT_EQ(seen->histograms()[0].name, "latency_us");
}

TEST_F(Metrics, SameNameAndLabelsGiveTheSameCounter) {
  const auto owner = page();
  Counter& counter = owner->counter("a", "b", "c");
  EXPECT_EQ(&counter, &owner->counter("a", "b", "c"));
  EXPECT_NE(&counter, &owner->counter("a", "b"));
  EXPECT_NE(&counter, &owner->counter("a", "", "c"));
  EXPECT_EQ(&owner->histogram("a", "b"), &owner->histogram("a", "b"));
  EXPECT_NE(&owner->histogram("a", "b"), &owner->histogram("a"));
}

TEST_F(Metrics, FileIsPrivateAndGoesWithItsOwner) {
  const auto owner = page();
  struct stat status {};
  ASSERT_EQ(stat(path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  EXPECT_GT(status.st_blocks, 0);  // reserved: no SIGBUS on a full filesystem later
}

TEST_F(Metrics, PageIsRemovedUnlessKept) {
  page().reset();
  EXPECT_FALSE(std::filesystem::exists(path()));
  leave_page();
  EXPECT_TRUE(std::filesystem::exists(path()));
  const auto seen = reader();
  EXPECT_FALSE(seen->alive());
  EXPECT_EQ(seen->value("frames_in", "cam0"), 42u);
}

TEST_F(Metrics, SuccessorContinuesTheCounters) {
  leave_page();
  const auto owner = page();
  EXPECT_EQ(owner->starts(), 2u);
  EXPECT_EQ(owner->counter("frames_in", "cam0").load(), 42u);
  EXPECT_EQ(reader()->counters().size(), 1u);
}

TEST_F(Metrics, SuccessorOfAnotherTypeBeginsAnew) {
  leave_page();
  const auto owner = page("cam0", "detector");
  EXPECT_EQ(owner->starts(), 1u);
  EXPECT_EQ(owner->counter("frames_in", "cam0").load(), 0u);
}

TEST_F(Metrics, SecondInstanceIsRefusedByName) {
  const auto owner = page();
  const auto second = MetricsPage::create(*domain_, "cam0", "camera");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(second.error().message, "node 'cam0' already runs in domain 'test' (pid " +
                                        std::to_string(getpid()) +
                                        "); stop it or choose another --domain");
  EXPECT_TRUE(reader()->alive());
  EXPECT_TRUE(page("cam1"));
}

TEST_F(Metrics, KilledOwnerIsKnownToBeDeadAndIsContinued) {
  std::array<int, 2> ready{};
  ASSERT_EQ(pipe(ready.data()), 0);
  const pid_t child = fork();
  if (child == 0) {
    auto owner = MetricsPage::create(*domain_, "cam0", "camera");
    if (!owner) _exit(1);
    (*owner)->counter("frames_in").store(7);
    [[maybe_unused]] const ssize_t n = write(ready[1], "x", 1);
    for (;;) pause();
  }
  char c = 0;
  ASSERT_EQ(read(ready[0], &c, 1), 1);
  const auto seen = reader();
  EXPECT_TRUE(seen->alive());
  EXPECT_EQ(seen->pid(), static_cast<std::uint32_t>(child));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_FALSE(seen->alive());
  const auto owner = page();
  EXPECT_EQ(owner->counter("frames_in").load(), 7u);
  EXPECT_TRUE(seen->alive());  // the same file
  close(ready[0]);
  close(ready[1]);
}

TEST_F(Metrics, ReaderOfAReplacedPageKeepsItsOwn) {
  leave_page();
  const auto old = reader();
  const auto owner = page("cam0", "detector");
  EXPECT_EQ(old->value("frames_in", "cam0"), 42u);  // no SIGBUS, no mixture
  EXPECT_FALSE(old->alive());
}

TEST_F(Metrics, LongNamesAreCutTheSameWayEveryTime) {
  const auto owner = page();
  const std::string name(100, 'n'), camera(100, 'c'), label(100, 'l');
  owner->counter(name, camera, label).store(5);
  EXPECT_EQ(owner->counter(name, camera, label).load(), 5u);
  EXPECT_EQ(reader()->value(name, camera, label), 5u);
  EXPECT_EQ(reader()->counters()[0].name, std::string(23, 'n'));
}

TEST_F(Metrics, FullPageGivesTheOverflowCounter) {
  const auto owner = page();
  for (std::uint32_t i = 0; i < kCounterCapacity; ++i)
    owner->counter("c", std::to_string(i)).store(i);
  Counter& overflow = owner->counter("one_too_many");
  EXPECT_EQ(&overflow, &owner->counter("another"));
  overflow.fetch_add(1);
  EXPECT_EQ(owner->counter("c", "7").load(), 7u);
  EXPECT_EQ(reader()->counters().size(), kCounterCapacity);
  for (std::uint32_t i = 0; i < kHistogramCapacity; ++i)
    owner->histogram("h", std::to_string(i)).record(i);
  EXPECT_EQ(&owner->histogram("one_too_many"), &owner->histogram("another"));
}

// What postprocess registers when every camera has shown every class.
void register_cameras(MetricsPage& owner, int cameras, int classes) {
  for (int camera = 0; camera < cameras; ++camera) {
    const std::string name = "cam" + std::to_string(camera);
    const StageLedger ledger(owner, name);
    owner.histogram("latency_us", name).record(1);
    owner.histogram("postprocess_us", name).record(1);
    for (int c = 0; c < classes; ++c) {
      owner.counter("detections", name, "class " + std::to_string(c)).fetch_add(1);
    }
  }
}

TEST_F(Metrics, ManyCamerasAndClassesFit) {
  for (const auto& [cameras, classes] : {std::pair{64, 80}, std::pair{2, 1024}}) {
    const auto owner = page();
    register_cameras(*owner, cameras, classes);
    const auto seen = reader();
    const std::string last = "cam" + std::to_string(cameras - 1);
    EXPECT_EQ(seen->value("detections", last, "class " + std::to_string(classes - 1)), 1u);
    ASSERT_NE(seen->histogram("postprocess_us", last), nullptr);
    EXPECT_EQ(seen->histogram("postprocess_us", last)->count(), 1u);
    EXPECT_EQ(ledger_cameras(*seen).size(), static_cast<std::size_t>(cameras));
  }
}

TEST_F(Metrics, APageTakesMemoryForWhatIsRegistered) {
  const auto bytes = [&] {
    struct stat status {};
    EXPECT_EQ(stat(path().c_str(), &status), 0);
    return status.st_blocks * 512;
  };
  const auto owner = page();
  owner->counter("frames_in", "cam0");
  EXPECT_LT(bytes(), 200'000);
  register_cameras(*owner, 16, 80);
  EXPECT_LT(bytes(), 2'000'000);
}

TEST_F(Metrics, LabelsAreAsLongAsClassNames) {
  const auto owner = page();
  const std::string a(254, 'n');
  owner->counter("detections", "cam0", a + "a").store(1);
  owner->counter("detections", "cam0", a + "b").store(2);
  EXPECT_EQ(reader()->value("detections", "cam0", a + "a"), 1u);
  EXPECT_EQ(reader()->value("detections", "cam0", a + "b"), 2u);
}

TEST_F(Metrics, StatusIsCutAtAWholeCharacter) {
  const auto owner = page();
  std::string text(254, 'x');
  owner->set_status(Level::kOk, text + "ü");
  EXPECT_EQ(reader()->status(), text);
  owner->set_status(Level::kOk, text + "yz");
  EXPECT_EQ(reader()->status(), text + "y");
}

TEST_F(Metrics, StatusIsNeverSeenHalfChanged) {
  const auto owner = page();
  const std::string a(200, 'a'), b(150, 'b');
  owner->set_status(Level::kOk, a);
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (int i = 0; i < 20'000; ++i) owner->set_status(Level::kOk, i % 2 == 0 ? b : a);
    done = true;
  });
  const auto seen = reader();
  while (!done) {
    const std::string text = seen->status();
    ASSERT_TRUE(text == a || text == b) << text;
  }
  writer.join();
}

TEST_F(Metrics, ReaderNeverMeetsAHalfRegisteredCounter) {
  const auto owner = page();
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (int i = 0; i < 1000; ++i)
      owner->counter("frames_in", "camera" + std::to_string(i), "x").store(1);
    done = true;
  });
  const auto seen = reader();
  while (!done) {
    int i = 0;
    for (const MetricSample& sample : seen->counters()) {
      ASSERT_EQ(sample.name, "frames_in");
      ASSERT_EQ(sample.camera, "camera" + std::to_string(i++));
      ASSERT_EQ(sample.label, "x");
    }
  }
  writer.join();
}

TEST_F(Metrics, MissingPageIsNotFound) {
  EXPECT_EQ(MetricsReader::open(*domain_, "nobody").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(MetricsReader::open(*domain_, "../etc").error().code, ErrorCode::kInvalidArgument);
  EXPECT_FALSE(MetricsPage::create(*domain_, "No Name", "camera"));
}

TEST_F(Metrics, TruncatedPageIsRefusedByReadersAndReplacedByOwners) {
  for (const off_t size : {off_t{0}, off_t{1}, off_t{4096}, off_t{100'000}}) {
    leave_page();
    ASSERT_EQ(truncate(path().c_str(), size), 0);
    const auto refused = MetricsReader::open(*domain_, "cam0");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt);
    const auto owner = page();
    EXPECT_EQ(owner->starts(), 1u);
    EXPECT_EQ(owner->counter("frames_in", "cam0").load(), 0u);
  }
}

TEST_F(Metrics, OtherKindsOfFilesAreRefused) {
  ASSERT_EQ(mkfifo(path().c_str(), 0600), 0);
  EXPECT_FALSE(MetricsReader::open(*domain_, "cam0"));  // and does not wait for a writer
  std::filesystem::remove(path());
  std::filesystem::create_symlink("/etc/passwd", path());
  EXPECT_FALSE(MetricsReader::open(*domain_, "cam0"));
  EXPECT_FALSE(MetricsPage::create(*domain_, "cam0", "camera"));
  std::filesystem::remove(path());
  std::filesystem::create_directory(path());
  EXPECT_FALSE(MetricsReader::open(*domain_, "cam0"));
  EXPECT_FALSE(MetricsPage::create(*domain_, "cam0", "camera"));
}

// Calls everything a reader can do.
void read_all(const MetricsReader& reader) {
  std::size_t sum =
      reader.node().size() + reader.type().size() + reader.status().size() + reader.pid();
  for (const MetricSample& sample : reader.counters())
    sum += sample.name.size() + sample.label.size();
  for (const HistogramSample& sample : reader.histograms()) {
    sum += static_cast<std::size_t>(sample.histogram->count() % 7);
    EXPECT_FALSE(std::isnan(sample.histogram->quantile(0.99)));
  }
  sum += msgs::enum_name(reader.state()).size() + msgs::enum_name(reader.level()).size();
  EXPECT_GT(sum + reader.value("frames_in", "cam0") + 1, 0u);
}

TEST_F(Metrics, AnyBytesAreSafe) {
  leave_page();
  std::string good;
  {
    std::ifstream file(path(), std::ios::binary);
    good.assign(std::istreambuf_iterator<char>(file), {});
  }
  std::mt19937 random(3);
  int opened = 0;
  for (int round = 0; round < 60; ++round) {
    std::string bytes = good;
    // Rounds 0..19 spoil the header, 20..39 everything but magic, version and size, 40..59
    // everything.
    const std::size_t begin = round < 20   ? 0
                              : round < 40 ? 16
                                           : 0,
                      end = round < 20 ? 512 : bytes.size();
    const std::size_t step = round < 20 ? 1 + random() % 200 : 1 + random() % 3;
    constexpr std::size_t kDense = 64 << 10;  // behind it lies the same again and again
    for (std::size_t i = begin; i < end; i += i < kDense ? step : 128 * step) bytes[i] = static_cast<char>(random());
    std::ofstream(path(), std::ios::binary) << bytes;
    if (const auto seen = MetricsReader::open(*domain_, "cam0")) {
      ++opened;
      read_all(**seen);
    }
    const auto owner = page();
    ASSERT_NE(owner, nullptr);
    owner->counter("frames_in", "cam0").fetch_add(1);
    owner->set_status(Level::kOk, "fine");
    EXPECT_EQ(reader()->status(), "fine");
  }
  // Counts within capacity and an intact start are accepted: some rounds must have got that far.
  std::string bytes = good;
  for (std::size_t i = 600; i < bytes.size(); ++i) bytes[i] = '\xff';
  std::ofstream(path(), std::ios::binary) << bytes;
  if (const auto seen = MetricsReader::open(*domain_, "cam0")) {
    ++opened;
    read_all(**seen);
  }
  EXPECT_GT(opened, 0);
}

TEST_F(Metrics, NoSpaceIsReportedWithTheSizeNeeded) {
  // A file-size limit refuses the reservation as a full filesystem does; in a child, limits are for
  // ever.
  EXPECT_EXIT(
      {
        signal(SIGXFSZ, SIG_IGN);
        rlimit limit{};
        limit.rlim_cur = limit.rlim_max = 4096;
        setrlimit(RLIMIT_FSIZE, &limit);
        const auto refused = MetricsPage::create(*domain_, "cam0", "camera");
        const bool as_expected =
            !refused && refused.error().code == ErrorCode::kExhausted &&
            refused.error().message.find("cannot reserve") != std::string::npos &&
            !std::filesystem::exists(path());
        _exit(as_expected ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(Metrics, PlacesOfACameraThatIsRemovedAreUsedAgain) {
  auto owner = page();
  owner->counter("kept").store(7);
  owner->histogram("kept_us").record(7);
  const auto size = [&] { return reader()->counters().size() + reader()->histograms().size(); };
  for (int round = 0; round < 200; ++round) {  // far more cameras than there are histograms
    const std::string camera = "cam" + std::to_string(round);
    for (int i = 0; i < 10; ++i) {
      const std::string name = "x" + std::to_string(i);
      EXPECT_EQ(owner->counter(name, camera).fetch_add(1), 0u);
      EXPECT_EQ(owner->histogram(name, camera).count(), 0u);
      owner->histogram(name, camera).record(5);
    }
    EXPECT_EQ(size(), 22u);
    owner->remove_camera(camera);
    EXPECT_EQ(size(), 2u);
    EXPECT_EQ(reader()->value("x0", camera), 0u);
    EXPECT_EQ(reader()->histogram("x0", camera), nullptr);
    if (round % 50 == 0) {  // a successor knows the free places
      owner->keep();
      owner.reset();
      owner = page();
    }
  }
  EXPECT_EQ(reader()->value("kept"), 7u);
  EXPECT_EQ(reader()->histogram("kept_us")->count(), 1u);
}

TEST_F(Metrics, WhoReadsWhileCamerasComeAndGoMeetsWholeEntriesOnly) {
  const auto owner = page();
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (int round = 0; round < 3000; ++round) {
      const std::string camera = "cam" + std::to_string(round);
      owner->counter("of_" + camera, camera).store(1);
      owner->remove_camera(camera);
    }
    done = true;
  });
  const auto seen = reader();
  while (!done) {
    for (const MetricSample& sample : seen->counters())
      EXPECT_EQ(sample.name, "of_" + sample.camera);
  }
  writer.join();
}

}  // namespace
}  // namespace fovea
