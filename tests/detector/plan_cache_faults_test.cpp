// Whatever state its folder is in and whoever dies while writing, the cache ends with a good plan
// served, and says what was wrong.
#include <array>
#include <csignal>
#include <cstring>
#include <functional>
#include <random>
#include <sstream>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/detector/plan_cache_fixture.hpp"

namespace fovea {
namespace {

using ::testing::HasSubstr;

constexpr uid_t kNobody = 65534;

class PlanCacheFaults : public PlanCacheFixture {
 protected:
  struct Outcome {
    bool served = false;  // a good plan
    bool hit = false;
    std::string reason;
    std::string warning;
  };

  Outcome request() const {
    const auto result = cache().get_or_build(request_);
    if (!result) return {};
    const auto expected = builder()(model(), request_.config, {});
    return {engine::serialize(result->plan) == engine::serialize(*expected), result->hit,
            result->reason, result->warning};
  }

  // request() in a child process after `prepare`, which makes it somebody or somewhere else. False
  // from prepare: this machine does not allow that.
  std::optional<Outcome> request_in_child(const std::function<bool()>& prepare) const {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe(ends.data()), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      if (!prepare()) ::_exit(2);
      const Outcome outcome = request();
      const std::string text = std::string(outcome.served ? "y" : "n") + (outcome.hit ? "y" : "n") +
                               "\n" + outcome.reason + "\n" + outcome.warning + "\n";
      ::_exit(::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0
                                                                                              : 1);
    }
    ::close(ends[1]);
    std::string text;
    std::array<char, 4096> buffer;
    for (ssize_t got; (got = ::read(ends[0], buffer.data(), buffer.size())) > 0;)
      text.append(buffer.data(), static_cast<std::size_t>(got));
    ::close(ends[0]);
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2) return std::nullopt;
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    std::istringstream lines(text);
    std::string flags;
    Outcome outcome;
    std::getline(lines, flags);
    std::getline(lines, outcome.reason);
    std::getline(lines, outcome.warning);
    outcome.served = flags.starts_with("y");
    outcome.hit = flags == "yy";
    return outcome;
  }
  // Somebody whom file modes concern: root gives up its rights.
  std::optional<Outcome> request_as_nobody() const {
    fs::permissions(folder_, fs::perms(0755));
    return request_in_child(
        [] { return ::getuid() != 0 || (::setgid(kNobody) == 0 && ::setuid(kNobody) == 0); });
  }

  // XORs one bit in the middle of byte range [first, last) of the plan.
  void flip(const std::string& key, std::size_t first, std::size_t last) const {
    const auto at = static_cast<std::streamoff>(first + (last - first) / 2);
    std::fstream plan(file(key, ".plan"), std::ios::in | std::ios::out | std::ios::binary);
    plan.seekg(at);
    const int byte = plan.get();
    plan.seekp(at);
    plan.put(static_cast<char>(byte ^ 4));
  }
  // Offset and size of section 0..2, from the table behind the 64-byte header.
  std::pair<std::size_t, std::size_t> section(const std::string& key, std::size_t index) const {
    std::ifstream plan(file(key, ".plan"), std::ios::binary);
    std::uint64_t extent[2] = {};
    plan.seekg(static_cast<std::streamoff>(64 + 64 * index + 16));
    plan.read(reinterpret_cast<char*>(extent), sizeof extent);
    return {extent[0], extent[0] + extent[1]};
  }
  std::string text_of(const fs::path& path) const {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::vector<std::string> temporary_files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(cache_folder())) {
      if (entry.path().string().find(".tmp.") != std::string::npos)
        names.push_back(entry.path().filename());
    }
    return names;
  }
};

struct Fault {
  const char* name;
  std::function<void()> cause;
  const char* reason;  // part of it
};

TEST_F(PlanCacheFaults, DamageIsNamedAndHealed) {
  const std::string key = get().key;
  const auto flip_section = [&](std::size_t index) {
    const auto [first, last] = section(key, index);
    ASSERT_LT(first, last);
    flip(key, first, last);
  };
  const auto in_place_of = [&](const char* suffix) {
    fs::remove(file(key, suffix));
    fs::create_directories(file(key, suffix) / "x");
  };
  const std::vector<Fault> faults = {
      {"truncated", [&] { fs::resize_file(file(key, ".plan"), 1000); }, "its header says"},
      {"truncated header", [&] { fs::resize_file(file(key, ".plan"), 100); }, "header alone"},
      {"grown", [&] { std::ofstream(file(key, ".plan"), std::ios::app) << 'x'; }, "header says"},
      {"zero bytes", [&] { fs::resize_file(file(key, ".plan"), 0); }, "0 bytes"},
      {"flipped header", [&] { flip(key, 16, 24); }, "header checksum"},
      {"flipped table", [&] { flip(key, 64, 128); }, "header checksum"},
      {"flipped manifest section", [&] { flip_section(0); }, "section manifest is wrong"},
      {"flipped network", [&] { flip_section(1); }, "section network is wrong"},
      {"flipped weights", [&] { flip_section(2); }, "section weights is wrong"},
      {"wrong version", [&] { flip(key, 8, 9); }, "; this build reads "},
      {"no plan at all", [&] { write(file(key, ".plan"), "<html>"); }, "the header alone takes"},
      {"folder in place of the plan", [&] { in_place_of(".plan"); }, "not a regular file"},
      {"plan missing", [&] { fs::remove(file(key, ".plan")); }, ".plan"},
      {"empty manifest", [&] { fs::resize_file(file(key, ".json"), 0); }, "not a manifest"},
      {"manifest of another kind", [&] { write(file(key, ".json"), "[1, 2"); }, "not a manifest"},
      {"folder in place of the manifest", [&] { in_place_of(".json"); }, "not a regular file"},
      {"killed between plan and manifest", [&] { fs::remove(file(key, ".json")); }, "unfinished"},
      {"manifest of another CPU",
       [&] {
         std::string text = text_of(file(key, ".json"));
         const auto at = text.find("\"cpu_features\": \"");
         ASSERT_NE(at, std::string::npos);
         text.insert(at + 17, "riscv ");
         write(file(key, ".json"), text);
       },
       "cpu_features was riscv"},
  };
  for (const Fault& fault : faults) {
    SCOPED_TRACE(fault.name);
    fault.cause();
    const Outcome rebuilt = request();
    EXPECT_TRUE(rebuilt.served);
    EXPECT_FALSE(rebuilt.hit);
    EXPECT_THAT(rebuilt.reason, HasSubstr(fault.reason));
    EXPECT_EQ(rebuilt.warning, "");
    const Outcome healed = request();
    EXPECT_TRUE(healed.served && healed.hit) << "the rebuilt plan was not stored";
  }
}

// Files of one key under the name of another: what a careless copy between machines makes.
TEST_F(PlanCacheFaults, FilesOfAnotherKeyUnderThisNameAreRefused) {
  const std::string key = get().key;
  PlanRequest other = request_;
  other.model = folder_ / "other.onnx";
  write(other.model, "another model");
  const std::string other_key = get(other).key;
  const auto take_over = [&](const char* suffix) {
    fs::copy_file(file(other_key, suffix), file(key, suffix), fs::copy_options::overwrite_existing);
  };
  take_over(".plan");
  Outcome rebuilt = request();
  EXPECT_TRUE(rebuilt.served && !rebuilt.hit);
  EXPECT_THAT(rebuilt.reason, HasSubstr("another model"));

  take_over(".plan");
  take_over(".json");
  rebuilt = request();
  EXPECT_TRUE(rebuilt.served && !rebuilt.hit);
  EXPECT_THAT(rebuilt.reason, HasSubstr("built for another key: model was "));
  EXPECT_TRUE(request().hit);
}

TEST_F(PlanCacheFaults, UnreadableFilesServeWithAWarning) {
  const std::string key = get().key;
  fs::permissions(cache_folder(), fs::perms(0755));
  for (const char* suffix : {".plan", ".json"}) fs::permissions(file(key, suffix), fs::perms(0644));
  for (const char* suffix : {".plan", ".json"}) {
    SCOPED_TRACE(suffix);
    fs::permissions(file(key, suffix), fs::perms::none);
    const auto outcome = request_as_nobody();
    ASSERT_TRUE(outcome);
    EXPECT_TRUE(outcome->served && !outcome->hit);
    EXPECT_THAT(outcome->reason, HasSubstr("Permission denied"));
    EXPECT_THAT(outcome->reason, HasSubstr(suffix));
    fs::permissions(file(key, suffix), fs::perms(0644));
  }
}

TEST_F(PlanCacheFaults, ReadOnlyFolderServesWithAWarningAndStillHits) {
  fs::create_directories(cache_folder());
  fs::permissions(cache_folder(), fs::perms(0555));
  auto outcome = request_as_nobody();
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->served && !outcome->hit);
  EXPECT_THAT(outcome->warning, HasSubstr("not cached"));
  EXPECT_THAT(outcome->warning, HasSubstr("Permission denied"));

  fs::permissions(cache_folder(), fs::perms::owner_all);
  const std::string key = get().key;
  for (const char* suffix : {".plan", ".json"}) fs::permissions(file(key, suffix), fs::perms(0444));
  fs::permissions(cache_folder(), fs::perms(0555));
  outcome = request_as_nobody();
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->served && outcome->hit);
  EXPECT_EQ(outcome->warning, "");
  fs::permissions(cache_folder(), fs::perms::owner_all);
}

TEST_F(PlanCacheFaults, FullDiskServesWithAWarningAndLeavesNoPartOfAFile) {
  fs::create_directories(cache_folder());
  const auto outcome = request_in_child([&] {
    // A private mount needs rights that a container may not have; a limit on file sizes fails in
    // the same place, with another number.
    if (::unshare(CLONE_NEWNS) == 0 &&
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
        ::mount("tmpfs", cache_folder().c_str(), "tmpfs", 0, "size=4k") == 0) {
      return true;
    }
    const rlimit limit{4096, 4096};
    return std::signal(SIGXFSZ, SIG_IGN) != SIG_ERR && ::setrlimit(RLIMIT_FSIZE, &limit) == 0;
  });
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->served && !outcome->hit);
  EXPECT_THAT(outcome->warning, HasSubstr("not cached"));
  EXPECT_THAT(outcome->warning,
              ::testing::AnyOf(HasSubstr("No space left"), HasSubstr("File too large")));
  EXPECT_THAT(temporary_files(), ::testing::IsEmpty());
  EXPECT_FALSE(request().hit);
  EXPECT_TRUE(request().hit);
}

TEST_F(PlanCacheFaults, StaleLockAndHalfWrittenFilesOfADeadWriterDoNotMatter) {
  const auto status = cache().status(request_);
  ASSERT_TRUE(status);
  fs::create_directories(cache_folder());
  write(file(status->key, ".lock"), "pid 12345");
  write(cache_folder() / ("." + status->key + ".plan.tmp.AbCdEf"), "FOVEAPLN");
  write(cache_folder() / ("." + status->key + ".json.tmp.AbCdEf"), "{");
  const Outcome built = request();
  EXPECT_TRUE(built.served && !built.hit);
  EXPECT_EQ(built.warning, "");
  EXPECT_THAT(temporary_files(), ::testing::IsEmpty());
  EXPECT_TRUE(request().hit);

  fs::remove(file(status->key, ".plan"));
  fs::remove(file(status->key, ".lock"));
  fs::create_directories(file(status->key, ".lock"));
  const Outcome unlocked = request();
  EXPECT_TRUE(unlocked.served && !unlocked.hit);
  EXPECT_THAT(unlocked.warning, HasSubstr(".lock"));
}

// A builder that is killed in the middle of building holds the lock.
TEST_F(PlanCacheFaults, KilledBuilderGivesItsLockBack) {
  std::array<int, 2> ready{};
  ASSERT_EQ(::pipe(ready.data()), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const PlanCache hanging(cache_folder(), [&](auto&&...) -> Result<engine::Plan> {
      const char byte = 'r';
      (void)!::write(ready[1], &byte, 1);
      for (;;) ::pause();
    });
    (void)hanging.get_or_build(request_);
    ::_exit(1);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ::kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ::close(ready[0]);
  ::close(ready[1]);
  EXPECT_FALSE(get().hit);
  EXPECT_TRUE(get().hit);
}

TEST_F(PlanCacheFaults, WriterKilledAtAnyMomentLeavesNothingBad) {
  const std::string key = get().key;
  std::mt19937 random(1);
  std::size_t unfinished = 0;
  for (int round = 0; round < 60; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {  // rebuilds for ever
      for (;;) {
        fs::remove(file(key, ".json"));
        (void)cache().get_or_build(request_);
      }
    }
    ::usleep(static_cast<useconds_t>(random() % 8000));  // the moment is the point, not its length
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    unfinished += fs::exists(file(key, ".json")) && temporary_files().empty() ? 0 : 1;
    const Outcome outcome = request();
    ASSERT_TRUE(outcome.served) << round;
    EXPECT_EQ(outcome.warning, "");
    EXPECT_TRUE(request().hit);
  }
  EXPECT_GT(unfinished, 0U) << "no kill met a writer";
  fs::remove(file(key, ".json"));
  request();
  EXPECT_THAT(temporary_files(), ::testing::IsEmpty());
}

class PlanCachePrune : public PlanCacheFixture {
 protected:
  // Builds plans of four batch sizes, the first one used last.
  void SetUp() override {
    PlanCacheFixture::SetUp();
    for (std::int32_t batch = 1; batch <= 4; ++batch) {
      PlanRequest request = request_;
      request.config.max_batch = batch;
      keys_.push_back(get(request).key);
      fs::last_write_time(file(keys_.back(), ".plan"),
                          fs::file_time_type::clock::now() - std::chrono::hours(10 - batch));
    }
    EXPECT_TRUE(get().hit);
    bytes_ = fs::file_size(file(keys_[0], ".plan"));
  }
  std::vector<std::string> left() const {
    std::vector<std::string> keys;
    for (const CacheEntry& entry : cache().list()) keys.push_back(entry.key);
    return keys;
  }

  std::vector<std::string> keys_;
  std::uint64_t bytes_ = 0;
};

TEST_F(PlanCachePrune, RemovesTheLeastRecentlyUsed) {
  const auto nothing = cache().prune(5 * bytes_);
  ASSERT_TRUE(nothing);
  EXPECT_EQ(nothing->files, 0U);
  const auto preview = cache().prune(2 * bytes_ + bytes_ / 2, /*dry_run=*/true);
  ASSERT_TRUE(preview);
  EXPECT_EQ(preview->removed.size(), 2U);
  EXPECT_EQ(left().size(), 4U);
  const auto pruned = cache().prune(2 * bytes_ + bytes_ / 2);
  ASSERT_TRUE(pruned);
  EXPECT_EQ(pruned->removed.size(), 2U);
  EXPECT_EQ(pruned->files, preview->files);
  EXPECT_EQ(pruned->freed_bytes, preview->freed_bytes);
  EXPECT_THAT(left(), ::testing::UnorderedElementsAre(keys_[0], keys_[3]));
  EXPECT_TRUE(get().hit);
  ASSERT_TRUE(cache().prune(0));
  EXPECT_THAT(left(), ::testing::IsEmpty());
  EXPECT_FALSE(get().hit);
}

TEST_F(PlanCachePrune, RemovesWreckageButNothingThatIsNotItsOwn) {
  write(file(keys_[1], ".json"), "damaged");
  write(cache_folder() / ("." + keys_[0] + ".plan.tmp.AbCdEf"), "half");
  write(cache_folder() / "notes.json", "mine");
  const auto pruned = cache().prune(100 * bytes_);
  ASSERT_TRUE(pruned);
  EXPECT_EQ(pruned->removed.size(), 0U);
  EXPECT_EQ(pruned->files, 3U);
  EXPECT_FALSE(fs::exists(file(keys_[1], ".plan")));
  EXPECT_FALSE(fs::exists(cache_folder() / ("." + keys_[0] + ".plan.tmp.AbCdEf")));
  EXPECT_TRUE(fs::exists(cache_folder() / "notes.json"));
  EXPECT_EQ(left().size(), 3U);
}

TEST_F(PlanCachePrune, ClearsWhatKilledWritersLeftOfTheTimingCacheAndTheTables) {
  fs::create_directory(cache_folder() / "calibration");
  const fs::path timing = cache_folder() / ".timing_cache.json.tmp.AbCdEf";
  const fs::path table = cache_folder() / "calibration" / ("." + keys_[0] + ".json.tmp.AbCdEf");
  write(timing, "half");
  write(table, "half");
  const auto preview = cache().prune(100 * bytes_, /*dry_run=*/true);
  ASSERT_TRUE(preview);
  EXPECT_EQ(preview->files, 2U);
  EXPECT_TRUE(fs::exists(timing));
  const auto pruned = cache().prune(100 * bytes_);
  ASSERT_TRUE(pruned);
  EXPECT_EQ(pruned->files, 2U);
  EXPECT_EQ(pruned->freed_bytes, preview->freed_bytes);
  EXPECT_FALSE(fs::exists(timing));
  EXPECT_FALSE(fs::exists(table));
}

TEST_F(PlanCachePrune, LeavesAKeyThatIsBeingBuilt) {
  const PlanCache slow(
      cache_folder(),
      [this](const auto& model, const auto& config, const auto& progress) -> Result<engine::Plan> {
        write(cache_folder() / ("." + keys_[2] + ".plan.tmp.AbCdEf"), "half");
        const auto pruned = cache().prune(0);
        EXPECT_TRUE(pruned && pruned->busy.contains(keys_[2]));
        EXPECT_TRUE(fs::exists(cache_folder() / ("." + keys_[2] + ".plan.tmp.AbCdEf")));
        return builder()(model, config, progress);
      });
  fs::remove(file(keys_[2], ".json"));
  PlanRequest third = request_;
  third.config.max_batch = 3;
  ASSERT_TRUE(slow.get_or_build(third));
  EXPECT_THAT(left(), ::testing::ElementsAre(keys_[2]));
}

}  // namespace
}  // namespace fovea
