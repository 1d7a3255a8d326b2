// A detector serves what was built for it where nothing can be kept: every kind of folder that takes
// nothing, every way to an engine. It says so once, with the folder, the reason and the cure. Real
// processes.
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "tests/detector/serve_fixture.hpp"
#include "tests/support/build_paths.hpp"

namespace fovea {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Arguments = std::vector<std::string>;

const Arguments kInt8 = {"--precision", "int8", "--calibration",
                         FOVEA_SOURCE_DIR "/config/models/yolov8p_demo_dynamic.calibration.json"};
const Arguments kBest = {"--precision", "best", kInt8[2], kInt8[3]};

std::size_t count(const std::string& text, const std::string& word) {
  std::size_t found = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1))
    ++found;
  return found;
}

class UnwritableCache : public ServeWhileBuilding {
 protected:
  // A file system of the test's own; false where that is not allowed.
  static bool mount_over(const fs::path& folder, const char* options, bool read_only) {
    fs::create_directories(folder);
    return ::unshare(CLONE_NEWNS) == 0 &&
           ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           ::mount("tmpfs", folder.c_str(), "tmpfs", 0, options) == 0 &&
           (!read_only ||
            ::mount(nullptr, folder.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0);
  }

  // Serves, changes over where something is built beside, and warns once, of `why`.
  void expect_served(const std::string& build, const Arguments& more, const std::string& why) {
    const bool swaps = build != "wait";
    SCOPED_TRACE(build + (more.empty() ? "" : " " + more[1]));
    const auto detector = start(build, more);
    connect();
    ASSERT_TRUE(eventually([&] { return pass(1) && metric("engine_swaps") == (swaps ? 1U : 0U); },
                           std::chrono::minutes(5)))
        << detector->err();
    expect_no_drops();
    EXPECT_THAT(status(), HasSubstr(why));
    detector->send(SIGINT);
    EXPECT_EQ(detector->wait(), 0) << detector->err();
    EXPECT_EQ(count(detector->err(), "[warning]"), 1U) << detector->err();
    EXPECT_THAT(detector->err(), AllOf(HasSubstr(why), HasSubstr("FOVEA_CACHE_DIR")));
    cameras_.clear();
  }
  void expect_all_served(const std::string& why) {
    expect_served("beside", {}, why);
    expect_served("wait", {}, why);
    expect_served("wait", kInt8, why);
    expect_served("beside", kBest, why);
  }
};

TEST_F(UnwritableCache, FileInAFoldersPlace) {
  std::ofstream(root() / "file") << "not a folder";
  setenv("FOVEA_CACHE_DIR", (root() / "file/cache").c_str(), 1);
  expect_all_served("/file: Not a directory");
}

TEST_F(UnwritableCache, ReadOnlyFileSystem) {
  if (!mount_over(root() / "ro", "", true)) GTEST_SKIP() << "no mounts here";
  setenv("FOVEA_CACHE_DIR", (root() / "ro/cache").c_str(), 1);
  expect_all_served("ro/cache: Read-only file system");
  setenv("FOVEA_CACHE_DIR", (root() / "ro").c_str(), 1);
  expect_served("beside", {}, "Read-only file system");
}

TEST_F(UnwritableCache, HomeThatCannotBeMade) {
  if (!mount_over(root() / "ro", "", true)) GTEST_SKIP() << "no mounts here";
  const std::string home = getenv("HOME") == nullptr ? "" : getenv("HOME");
  unsetenv("FOVEA_CACHE_DIR");
  unsetenv("XDG_CACHE_HOME");
  setenv("HOME", (root() / "ro/nobody").c_str(), 1);
  expect_served("beside", {}, "ro/nobody: Read-only file system");
  expect_served("wait", kInt8, "ro/nobody: Read-only file system");
  home.empty() ? unsetenv("HOME") : setenv("HOME", home.c_str(), 1);
}

TEST_F(UnwritableCache, FullFileSystem) {
  if (!mount_over(root() / "small", "size=64k", false)) GTEST_SKIP() << "no mounts here";
  setenv("FOVEA_CACHE_DIR", (root() / "small").c_str(), 1);
  expect_all_served("No space left on device");
  for (const auto& file : fs::directory_iterator(root() / "small"))
    EXPECT_EQ(file.path().string().find(".tmp."), std::string::npos) << file.path();
}

TEST_F(UnwritableCache, LimitOnFileSizesThatIsMetInTheMiddleOfABuild) {
  use_builder("ulimit -f 100\n" + real_builder_);
  expect_served("beside", {}, "File too large");
  expect_served("wait", kInt8, "File too large");
}

TEST_F(UnwritableCache, FolderThatOthersMayWriteTo) {
  fs::create_directories(cache());
  fs::permissions(cache(), fs::perms(0777));
  expect_all_served("has mode 777");
  EXPECT_TRUE(fs::is_empty(cache()));
}

TEST_F(UnwritableCache, TunedEngineServesToo) {
  level_ = "1";
  std::ofstream(root() / "file") << "not a folder";
  setenv("FOVEA_CACHE_DIR", (root() / "file/cache").c_str(), 1);
  expect_served("auto", {}, "/file: Not a directory");
}

TEST_F(UnwritableCache, DamagedPlanIsToldUntilAnotherServes) {
  {
    const auto first = start("wait");
    connect();
    first->send(SIGINT);
    EXPECT_EQ(first->wait(), 0);
    cameras_.clear();
  }
  for (const auto& file : fs::directory_iterator(cache())) {
    if (file.path().extension() == ".plan") fs::resize_file(file.path(), 5000);
  }
  const fs::path go = root() / "go";
  use_builder("while [ ! -e " + go.string() + " ]; do sleep 0.01; done\n" + real_builder_);
  const auto detector = start("beside");
  connect();
  ASSERT_TRUE(pass(3));
  EXPECT_THAT(status(), HasSubstr("cached plan is unusable"));
  std::ofstream{go};
  ASSERT_TRUE(eventually([&] { return pass(1) && metric("engine_swaps") == 1; }));
  EXPECT_TRUE(eventually([&] { return status().empty(); })) << status();
  detector->send(SIGINT);
  EXPECT_EQ(detector->wait(), 0);
}

}  // namespace
}  // namespace fovea
