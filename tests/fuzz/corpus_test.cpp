// The corpus in a normal build: seeds are still taken, and what once crashed does not.
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "tests/fuzz/targets.hpp"
#include "tests/support/build_paths.hpp"

namespace fovea::fuzz {
namespace {

class Corpus : public testing::TestWithParam<Target> {};

TEST_P(Corpus, IsReadWithoutHarm) {
  const Target& target = GetParam();
  std::size_t taken = 0;
  for (const std::string& seed : make_seeds(target.name)) {
    EXPECT_TRUE(target.run(std::as_bytes(std::span(seed)))) << "a made seed is refused";
    ++taken;
  }
  const auto folder = std::filesystem::path(FOVEA_SOURCE_DIR) / "tests/fuzz/corpus" / target.name;
  std::error_code absent;  // a target whose seeds are made may have found nothing yet
  for (const auto& file : std::filesystem::directory_iterator(folder, absent)) {
    SCOPED_TRACE(file.path().string());
    std::ifstream stream(file.path(), std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(stream)), {});
    const bool accepted = target.run(std::as_bytes(std::span(text)));
    // A seed is named seed*; all others are what the fuzzer found.
    if (file.path().filename().string().starts_with("seed")) {
      EXPECT_TRUE(accepted);
    }
    taken += accepted ? 1U : 0U;
  }
  EXPECT_GT(taken, 0U) << "nothing but refusals: the corpus is stale";
  target.run({});
}

INSTANTIATE_TEST_SUITE_P(Fuzz, Corpus,
                         testing::ValuesIn(all_targets().begin(), all_targets().end()),
                         [](const auto& param) { return std::string(param.param.name); });

}  // namespace
}  // namespace fovea::fuzz
