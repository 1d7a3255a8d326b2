// A cache in a folder of the test's own, and a builder that counts how often it is called.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <stdlib.h>

#include "nodes/detector/cache/plan_cache.hpp"
#include "nodes/detector/engine/plan/model_hash.hpp"
#include "tests/engine/small_network.hpp"

namespace fovea {

namespace fs = std::filesystem;

class PlanCacheFixture : public ::testing::Test {
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

}  // namespace fovea
