// The timing cache stays small, whatever was tuned on a machine over the years.
#include "nodes/detector/engine/plan/timing_cache.hpp"

#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/detector/engine/plan/crc32c.hpp"

namespace fovea::engine {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TimingCacheFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "fovea-timing-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path file() const { return folder_ / "timing.json"; }
  void add(const std::string& environment, const std::vector<std::string>& layers,
           const std::vector<std::string>& networks, const TimingLimits& limits) const {
    TimingTable table;
    for (const std::string& layer : layers) table.layers[layer] = {{"avx512/1x16", 2.5}};
    for (const std::string& network : networks) table.networks[network] = {{{"a", "b"}}, 3, 2};
    const auto merged = merge_into_file({{environment, table}}, file(), limits);
    ASSERT_TRUE(merged) << merged.error().message;
  }
  TimingCache read() const {
    auto cache = read_timing_cache(file());
    EXPECT_TRUE(cache) << cache.error().message;
    return cache.value_or(TimingCache());
  }
  std::vector<std::string> layers(const std::string& environment) const {
    TimingCache cache = read();
    std::vector<std::string> names;
    for (const auto& [name, tactics] : cache[environment].layers) names.push_back(name);
    return names;
  }

  // With the right checksum if `entries` are as nlohmann dumps them with an indent of 1.
  void write_by_hand(std::string_view entries) const {
    std::ofstream(file()) << fmt::format(
        R"({{"format": "fovea timing cache 1", "crc32c": "{:08x}", "entries": {}}})",
        crc32c(std::as_bytes(std::span(entries))), entries);
  }

  fs::path folder_;
};

TEST_F(TimingCacheFile, ForgetsTheEntriesThatWereWrittenLongestAgo) {
  const TimingLimits limits{.layers = 4, .networks = 2};
  add("x", {"a", "b"}, {"one"}, limits);
  add("x", {"c", "d"}, {"two"}, limits);
  EXPECT_THAT(layers("x"), ElementsAre("a", "b", "c", "d"));
  add("x", {"a", "e"}, {"three"}, limits);  // a is as good as new
  EXPECT_THAT(layers("x"), ElementsAre("a", "c", "d", "e"));
  EXPECT_EQ(read()["x"].networks.size(), 2U);
  EXPECT_FALSE(read()["x"].networks.contains("one"));
}

TEST_F(TimingCacheFile, ForgetsTheEnvironmentFirstThatWasWrittenLongestAgo) {
  const TimingLimits limits{.layers = 4, .networks = 2};
  add("old version", {"a", "b"}, {"one"}, limits);
  add("new version", {"a"}, {}, limits);
  add("new version", {"c", "d"}, {"two"}, limits);
  EXPECT_THAT(layers("old version"), ElementsAre("b"));
  EXPECT_THAT(layers("new version"), ElementsAre("a", "c", "d"));
  add("new version", {"e"}, {"three"}, limits);
  const TimingCache left = read();
  ASSERT_EQ(left.size(), 1U) << "an empty environment is kept";
  EXPECT_EQ(left.begin()->first, "new version");
}

TEST_F(TimingCacheFile, StaysWithinItsLimitsOverManyModels) {
  const TimingLimits limits{.layers = 256, .networks = 128};
  for (int model = 0; model < 60; ++model) {
    std::vector<std::string> names(8);
    for (std::size_t i = 0; i < names.size(); ++i) {
      names[i] = std::to_string(model) + "." + std::to_string(i);
    }
    add("x", names, {std::to_string(2 * model), std::to_string(2 * model + 1)}, limits);
  }
  const TimingCache cache = read();
  const TimingTable& table = cache.begin()->second;
  EXPECT_EQ(table.layers.size(), limits.layers);
  EXPECT_EQ(table.networks.size(), 120U);
  EXPECT_TRUE(table.layers.contains("59.7") && table.layers.contains("28.0"));
  EXPECT_FALSE(table.layers.contains("27.7"));
}

TEST_F(TimingCacheFile, OneThatGrewWithoutBoundIsNotRead) {
  std::ofstream(file()) << "{}";
  fs::resize_file(file(), std::uintmax_t{1} << 33);  // sparse
  const auto refused = read_timing_cache(file());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(refused.error().message, HasSubstr("8589934592 bytes; it must have 67108864"));
  add("x", {"a"}, {}, {});
  EXPECT_THAT(layers("x"), ElementsAre("a"));
}

TEST_F(TimingCacheFile, OneWithTheRightChecksumAndTheWrongTypesIsBegunAnew) {
  write_by_hand("{\n \"x\": {\n  \"layers\": {},\n  \"networks\": {}\n }\n}");
  EXPECT_TRUE(read_timing_cache(file())) << "the checksum by hand is wrong";
  for (const char* entries :
       {"null", "[]", "7", "{\n \"x\": null\n}", "{\n \"x\": []\n}",
        "{\n \"x\": {\n  \"layers\": null,\n  \"networks\": {}\n }\n}",
        "{\n \"x\": {\n  \"layers\": [],\n  \"networks\": {}\n }\n}",
        "{\n \"x\": {\n  \"layers\": {\n   \"a\": null\n  },\n  \"networks\": {}\n }\n}",
        "{\n \"x\": {\n  \"layers\": {},\n  \"networks\": null\n }\n}",
        "{\n \"x\": {\n  \"layers\": {},\n  \"networks\": []\n }\n}"}) {
    SCOPED_TRACE(entries);
    write_by_hand(entries);
    const auto refused = read_timing_cache(file());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(refused.error().message, HasSubstr("is not a timing cache"));
    add("x", {"b"}, {"one"}, {});
    EXPECT_THAT(layers("x"), ElementsAre("b"));
  }
}

TEST_F(TimingCacheFile, OneThatIsNestedWithoutBoundIsBegunAnew) {
  constexpr std::size_t kDepth = 2'000'000;
  write_by_hand(std::string(kDepth, '[') + std::string(kDepth, ']'));
  const auto refused = read_timing_cache(file());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt);
  add("x", {"a"}, {}, {});
  EXPECT_THAT(layers("x"), ElementsAre("a"));
}

}  // namespace
}  // namespace fovea::engine
