// The cache hits only what is unchanged, says why it does not, and never costs the caller a plan,
// whatever state its folder is in and whoever dies while writing.
#include "nodes/detector/cache/plan_cache.hpp"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <latch>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/detector/plan_cache_fixture.hpp"

namespace fovea {
namespace {

using PlanCacheTest = PlanCacheFixture;

TEST_F(PlanCacheTest, SecondRequestIsAHit) {
  const CachedPlan first = get();
  EXPECT_FALSE(first.hit);
  EXPECT_EQ(first.reason, "no plan of this model yet");
  EXPECT_EQ(first.warning, "");
  const CachedPlan second = get();
  EXPECT_TRUE(second.hit);
  EXPECT_EQ(second.reason, "");
  EXPECT_EQ(builds(), 1U);
  EXPECT_EQ(engine::serialize(second.plan), engine::serialize(first.plan));
}

TEST_F(PlanCacheTest, EveryInputOfTheKeyCausesARebuildThatNamesIt) {
  const std::vector<std::pair<std::string, std::function<void(PlanRequest&)>>> changes = {
      {"provider was cpu, is reference", [](PlanRequest& r) { r.config.provider = "reference"; }},
      {"max_batch was 1, is 8", [](PlanRequest& r) { r.config.max_batch = 8; }},
      {"threads was 2, is 3", [](PlanRequest& r) { r.config.threads = 3; }},
      {"is the fastest of 2, 4",
       [](PlanRequest& r) {
         r.config.tuning.level = 1;
         r.config.tuning.thread_counts = {2, 4};
       }},
      {"keep_output0 was false, is true", [](PlanRequest& r) { r.config.keep_output0 = true; }},
      {"input_size was 0x0, is 320x0", [](PlanRequest& r) { r.config.input_width = 320; }},
      {"is 0x320", [](PlanRequest& r) { r.config.input_height = 320; }},
      {"precision was fp32, is int8",
       [](PlanRequest& r) { r.config.precision = engine::Precision::kInt8; }},
      {"preprocessing was none, is gamma", [](PlanRequest& r) { r.preprocessing = "gamma"; }},
  };
  const CachedPlan original = get();
  for (const auto& [reason, change] : changes) {
    PlanRequest changed = request_;
    change(changed);
    const auto status = cache().status(changed);
    ASSERT_TRUE(status);
    EXPECT_FALSE(status->cached);
    EXPECT_NE(status->reason.find(reason), std::string::npos) << status->reason;
    const CachedPlan rebuilt = get(changed);
    EXPECT_FALSE(rebuilt.hit) << reason;
    EXPECT_NE(rebuilt.reason.find(reason), std::string::npos) << rebuilt.reason;
    EXPECT_NE(rebuilt.key, original.key);
  }
  EXPECT_TRUE(get().hit);
}

// What depends on the machine and the build is in the key, too; its names are what the manifest
// shows.
TEST_F(PlanCacheTest, KeyCoversMachineAndVersions) {
  const auto inputs = key_inputs(request_);
  ASSERT_TRUE(inputs);
  for (std::size_t i = 0; i < inputs->size(); ++i) {
    auto changed = *inputs;
    changed[i].second += "x";
    EXPECT_NE(plan_key(changed), plan_key(*inputs)) << changed[i].first;
  }
  const auto has = [&](std::string_view name) {
    for (const auto& [key, value] : *inputs) {
      if (key == name) return !value.empty();
    }
    return false;
  };
  for (const char* name :
       {"model", "provider_version", "engine_version", "cpu_features", "preprocessing"}) {
    EXPECT_TRUE(has(name)) << name;
  }
}

TEST_F(PlanCacheTest, ChangedModelIsRebuilt) {
  get();
  write(model(), "model two");
  const CachedPlan second = get();
  EXPECT_FALSE(second.hit);
  EXPECT_NE(second.reason.find("model was "), std::string::npos) << second.reason;
}

TEST_F(PlanCacheTest, FolderThatCannotBeCreatedStillServes) {
  write(cache_folder(), "a file where the folder should be");
  const CachedPlan built = get();
  EXPECT_FALSE(built.hit);
  EXPECT_NE(built.warning.find("not cached"), std::string::npos) << built.warning;
  EXPECT_EQ(built.plan.threads, 2);
}

TEST_F(PlanCacheTest, ErrorsOfModelAndBuilderReachTheCaller) {
  PlanRequest absent = request_;
  absent.model = folder_ / "absent.onnx";
  const auto missing = cache().get_or_build(absent);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  const PlanCache broken(cache_folder(), [](auto&&...) -> Result<engine::Plan> {
    return fail(ErrorCode::kUnsupported, "layer x");
  });
  const auto refused = broken.get_or_build(request_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "layer x");
}

TEST_F(PlanCacheTest, ThreadsThatStartTogetherBuildOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> served = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] { served += cache().get_or_build(request_).has_value() ? 1 : 0; });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(served, 8);
  EXPECT_EQ(builds(), 1U);
}

TEST_F(PlanCacheTest, WaitingForAnotherBuildIsToldAndCanBeEnded) {
  std::latch building(1);
  std::latch go_on(1);
  const PlanCache slow(cache_folder(), [&](auto&&...) -> Result<engine::Plan> {
    building.count_down();
    go_on.wait();
    return fail(ErrorCode::kUnsupported, "layer x");
  });
  std::thread other([&] { EXPECT_FALSE(slow.get_or_build(request_)); });
  building.wait();
  PlanRequest waiting = request_;
  int asked = 0;
  std::string stage;
  waiting.config.tuning.keep_going = [&] { return ++asked < 3; };
  const auto ended = cache().get_or_build(
      waiting, [&](std::string_view now, double /*done*/) { stage = now; });
  go_on.count_down();
  other.join();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(stage, "wait for another build");
  EXPECT_EQ(builds(), 0U);
}

TEST_F(PlanCacheTest, ProcessesThatStartTogetherBuildOnce) {
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) ::_exit(cache().get_or_build(request_).has_value() ? 0 : 1);
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  EXPECT_EQ(builds(), 1U);
  EXPECT_TRUE(get().hit);
}

TEST_F(PlanCacheTest, ListShowsWhatIsThere) {
  EXPECT_TRUE(cache().list().empty());
  const CachedPlan built = get();
  write(cache_folder() / "stray.json", "{}");
  const auto entries = cache().list();
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].key, built.key);
  EXPECT_EQ(entries[0].bytes, fs::file_size(file(built.key, ".plan")));
  EXPECT_EQ(entries[0].model, fs::canonical(model()).string());
}

TEST(PlanCacheFolder, FollowsTheEnvironment) {
  const auto saved = [](const char* name) {
    const char* value = std::getenv(name);
    return std::pair(value != nullptr, std::string(value == nullptr ? "" : value));
  };
  const auto restore = [](const char* name, const std::pair<bool, std::string>& value) {
    value.first ? ::setenv(name, value.second.c_str(), 1) : ::unsetenv(name);
  };
  const auto cache_dir = saved("FOVEA_CACHE_DIR");
  const auto xdg = saved("XDG_CACHE_HOME");
  const auto home = saved("HOME");
  ::setenv("FOVEA_CACHE_DIR", "/a/b", 1);
  ::setenv("XDG_CACHE_HOME", "/xdg", 1);
  ::setenv("HOME", "/home/user", 1);
  EXPECT_EQ(PlanCache::default_folder(), "/a/b");
  ::unsetenv("FOVEA_CACHE_DIR");
  EXPECT_EQ(PlanCache::default_folder(), "/xdg/fovea");
  ::setenv("XDG_CACHE_HOME", "relative", 1);
  EXPECT_EQ(PlanCache::default_folder(), "/home/user/.cache/fovea");
  ::unsetenv("HOME");
  EXPECT_TRUE(PlanCache::default_folder().is_absolute());
  restore("FOVEA_CACHE_DIR", cache_dir);
  restore("XDG_CACHE_HOME", xdg);
  restore("HOME", home);
}

}  // namespace
}  // namespace fovea
