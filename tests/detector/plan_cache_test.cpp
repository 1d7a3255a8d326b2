// The cache hits only what is unchanged, says why it does not, and never costs the caller a plan,
// whatever state its folder is in and whoever dies while writing.
#include "nodes/detector/plan_cache.hpp"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nodes/detector/engine/model_hash.hpp"
#include "tests/engine/small_network.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

class PlanCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "fovea-cache-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    write(model(), "model one");
    request_.model = model();
    request_.config.threads = 2;
  }
  void TearDown() override {
    fs::permissions(folder_, fs::perms::owner_all);
    fs::remove_all(folder_);
  }

  fs::path model() const { return folder_ / "model.onnx"; }
  fs::path cache_folder() const { return folder_ / "cache"; }
  static void write(const fs::path& file, const std::string& text) {
    std::ofstream(file, std::ios::binary) << text;
  }
  fs::path file(const std::string& key, const char* suffix) const {
    return cache_folder() / (key + suffix);
  }

  // Builds a small plan without looking into the model file; every call adds a byte to the file
  // "builds".
  PlanCache::Builder builder() const {
    return [log = folder_ / "builds"](const fs::path& path, const engine::BuilderConfig& config,
                                      const engine::Progress&) -> Result<engine::Plan> {
      std::ofstream(log, std::ios::app) << 'x';
      engine::test::SmallNetwork n(16, 16);
      engine::Plan plan;
      plan.provider = config.provider;
      plan.max_batch = config.max_batch;
      plan.threads = config.threads;
      FOVEA_ASSIGN(plan.model_hash, engine::hash_model(path));
      plan.network = n.finish({n.stem(16)});
      return plan;
    };
  }
  PlanCache cache() const { return PlanCache(cache_folder(), builder()); }
  std::size_t builds() const {
    std::error_code error;
    const auto size = fs::file_size(folder_ / "builds", error);
    return error ? 0 : size;
  }
  CachedPlan get() const { return get(request_); }
  CachedPlan get(const PlanRequest& request) const {
    auto result = cache().get_or_build(request);
    EXPECT_TRUE(result) << result.error().message;
    return result ? *result : CachedPlan{};
  }

  fs::path folder_;
  PlanRequest request_;
};

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
      {"keep_output0 was false, is true", [](PlanRequest& r) { r.config.keep_output0 = true; }},
      {"input_size was 0x0, is 320x0", [](PlanRequest& r) { r.config.input_width = 320; }},
      {"is 0x320", [](PlanRequest& r) { r.config.input_height = 320; }},
      {"precision was fp32, is int8", [](PlanRequest& r) { r.config.precision = "int8"; }},
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

TEST_F(PlanCacheTest, DamageIsRebuiltAndSaysWhy) {
  const std::string key = get().key;
  const std::vector<std::pair<std::string, std::function<void()>>> faults = {
      {"flipped byte",
       [&] {
         std::fstream plan(file(key, ".plan"), std::ios::in | std::ios::out | std::ios::binary);
         plan.seekg(500);
         const int byte = plan.get();
         plan.seekp(500);
         plan.put(static_cast<char>(byte ^ 4));
       }},
      {"truncated", [&] { fs::resize_file(file(key, ".plan"), 1000); }},
      {"empty plan", [&] { fs::resize_file(file(key, ".plan"), 0); }},
      {"empty manifest", [&] { fs::resize_file(file(key, ".json"), 0); }},
      {"manifest of another kind", [&] { write(file(key, ".json"), "[1, 2"); }},
      {"manifest with other inputs",
       [&] {
         std::ifstream in(file(key, ".json"));
         std::string text((std::istreambuf_iterator<char>(in)), {});
         const auto at = text.find("\"threads\": \"2\"");
         ASSERT_NE(at, std::string::npos);
         text.replace(at, 14, "\"threads\": \"4\"");
         write(file(key, ".json"), text);
       }},
      {"plan missing", [&] { fs::remove(file(key, ".plan")); }},
      {"folder in place of the plan",
       [&] {
         fs::remove(file(key, ".plan"));
         fs::create_directories(file(key, ".plan") / "x");
       }},
      {"folder in place of the manifest",
       [&] {
         fs::remove(file(key, ".json"));
         fs::create_directories(file(key, ".json"));
       }},
  };
  for (const auto& [name, cause] : faults) {
    SCOPED_TRACE(name);
    cause();
    const CachedPlan rebuilt = get();
    EXPECT_FALSE(rebuilt.hit);
    EXPECT_NE(rebuilt.reason, "");
    EXPECT_EQ(rebuilt.warning, "");
    EXPECT_TRUE(get().hit) << "the rebuilt plan was not stored";
  }
}

TEST_F(PlanCacheTest, PlanOfAnotherModelUnderThisKeyIsRefused) {
  const std::string key = get().key;
  PlanRequest other = request_;
  other.model = folder_ / "other.onnx";
  write(other.model, "another model");
  const std::string other_key = get(other).key;
  fs::copy_file(file(other_key, ".plan"), file(key, ".plan"), fs::copy_options::overwrite_existing);
  const CachedPlan rebuilt = get();
  EXPECT_FALSE(rebuilt.hit);
  EXPECT_NE(rebuilt.reason.find("another model"), std::string::npos) << rebuilt.reason;
}

TEST_F(PlanCacheTest, FolderThatCannotBeCreatedStillServes) {
  write(cache_folder(), "a file where the folder should be");
  const CachedPlan built = get();
  EXPECT_FALSE(built.hit);
  EXPECT_NE(built.warning.find("not cached"), std::string::npos) << built.warning;
  EXPECT_EQ(built.plan.threads, 2);
}

TEST_F(PlanCacheTest, ReadOnlyFolderStillServes) {
  if (::getuid() == 0) GTEST_SKIP() << "root may write everywhere";
  fs::create_directories(cache_folder());
  fs::permissions(cache_folder(), fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_NE(get().warning, "");
  fs::permissions(cache_folder(), fs::perms::owner_all);
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

// A builder that is killed in the middle holds the lock and may leave a temporary file; neither may
// matter.
TEST_F(PlanCacheTest, KilledBuilderLeavesNothingBad) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
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
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);  // it holds the lock and is building
  ::kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ::close(ready[0]);
  ::close(ready[1]);

  const auto request_status = cache().status(request_);
  ASSERT_TRUE(request_status);
  // What a writer killed between creating and renaming leaves: half of each file.
  write(file(request_status->key, ".plan.tmp.AbCdEf"), "FOVEAPLN");
  write(file(request_status->key, ".json.tmp.AbCdEf"), "{");
  EXPECT_FALSE(get().hit);
  EXPECT_TRUE(get().hit);
  for (const auto& entry : fs::directory_iterator(cache_folder())) {
    EXPECT_EQ(entry.path().string().find(".tmp."), std::string::npos) << entry.path();
  }
}

// Killed between the two files: a plan without its manifest is an unfinished entry.
TEST_F(PlanCacheTest, PlanWithoutManifestIsRebuilt) {
  const std::string key = get().key;
  fs::remove(file(key, ".json"));
  EXPECT_FALSE(get().hit);
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
