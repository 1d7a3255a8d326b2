// A cache that others could have a hand in is not used, and says why; no link in it is followed.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/detector/plan_cache_fixture.hpp"

namespace fovea {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr uid_t kNobody = 65534;

class PlanCacheTrust : public PlanCacheFixture {
 protected:
  // Of the folder as it is: a plan built, not looked up, and nothing left behind.
  void expect_unused(const std::string& why) const {
    const CachedPlan built = get();
    EXPECT_FALSE(built.hit);
    EXPECT_FALSE(built.kept);
    EXPECT_THAT(built.warning, StartsWith("the cache is not used: "));
    EXPECT_THAT(built.warning, HasSubstr(why));
    EXPECT_THAT(built.warning, HasSubstr("FOVEA_CACHE_DIR"));
    EXPECT_EQ(cache().refusal(), built.warning);
    EXPECT_EQ(cache().timing_cache(), "");
    EXPECT_EQ(cache().calibration_table(built.key), "");
    EXPECT_FALSE(cache().prune(0));
  }
};

TEST_F(PlanCacheTrust, FolderThatOthersMayWriteToIsNeitherReadNorWritten) {
  const std::string key = get().key;
  ASSERT_TRUE(get().hit);
  fs::permissions(cache_folder(), fs::perms(0777));
  expect_unused("has mode 777; nobody else may write to it (chmod go-w");
  fs::permissions(cache_folder(), fs::perms(0775));
  expect_unused("has mode 775");
  EXPECT_TRUE(fs::exists(file(key, ".plan"))) << "prune() worked on it";
  fs::permissions(cache_folder(), fs::perms(0755));
  EXPECT_TRUE(get().hit);
  fs::permissions(cache_folder(), fs::perms(01777));
  EXPECT_TRUE(get().hit) << "nobody else can replace files in a sticky folder";
}

TEST_F(PlanCacheTrust, AnotherUsersFolderOrLinkToOneOfOursIsNotUsed) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  get();
  ASSERT_EQ(::chown(cache_folder().c_str(), kNobody, kNobody), 0);
  expect_unused("belongs to user 65534 and has mode 700");
  ASSERT_EQ(::chown(cache_folder().c_str(), 0, 0), 0);
  fs::rename(cache_folder(), folder_ / "mine");
  fs::create_symlink("mine", cache_folder());
  EXPECT_TRUE(get().hit) << "our own link is as good as the folder";
  ASSERT_EQ(::lchown(cache_folder().c_str(), kNobody, kNobody), 0);
  expect_unused("is a symbolic link that belongs to user 65534");
}

TEST_F(PlanCacheTrust, FolderBelowAFileOrAFileInItsPlaceIsSaidWithErrno) {
  write(cache_folder(), "not a folder");
  for (const fs::path& folder : {cache_folder(), cache_folder() / "deeper"}) {
    const auto built = PlanCache(folder, builder()).get_or_build(request_);
    ASSERT_TRUE(built) << built.error().message;
    EXPECT_FALSE(built->kept);
    EXPECT_FALSE(built->damaged);
    EXPECT_THAT(built->warning, StartsWith("the plan is not cached in " + folder.string()));
    EXPECT_THAT(built->warning, HasSubstr(cache_folder().string() + ": Not a directory"));
  }
}

TEST_F(PlanCacheTrust, AnotherUsersFilesInAStickyFolderAreNotServed) {
  const std::string key = get().key;
  fs::permissions(cache_folder(), fs::perms(01777));
  for (const char* suffix : {".plan", ".json"}) {
    SCOPED_TRACE(suffix);
    const auto unusable = [&](const std::string& why) {
      const CachedPlan built = get();
      EXPECT_FALSE(built.hit);
      EXPECT_TRUE(built.damaged);
      EXPECT_THAT(built.reason, HasSubstr(why));
      EXPECT_TRUE(get().hit) << "it was not replaced";
    };
    fs::permissions(file(key, suffix), fs::perms(0666));
    unusable("has mode 666");
    fs::rename(file(key, suffix), folder_ / "elsewhere");
    fs::create_symlink(folder_ / "elsewhere", file(key, suffix));
    const auto before = fs::last_write_time(folder_ / "elsewhere");
    unusable("is a symbolic link");
    EXPECT_EQ(fs::last_write_time(folder_ / "elsewhere"), before) << "the link was followed";
    fs::remove(folder_ / "elsewhere");
    if (::geteuid() != 0) continue;
    ASSERT_EQ(::chown(file(key, suffix).c_str(), kNobody, kNobody), 0);
    unusable("belongs to user 65534");
  }
}

TEST_F(PlanCacheTrust, LockThatIsALinkOrAnotherUsersIsNotTaken) {
  const std::string key = get().key;
  fs::remove(file(key, ".plan"));
  fs::remove(file(key, ".lock"));
  fs::create_symlink(folder_ / "victim", file(key, ".lock"));
  const CachedPlan linked = get();
  EXPECT_THAT(linked.warning, HasSubstr(".lock"));
  EXPECT_FALSE(fs::exists(folder_ / "victim")) << "the link was followed";
  if (::geteuid() != 0) return;
  fs::remove(file(key, ".lock"));
  write(file(key, ".lock"), "");
  ASSERT_EQ(::chown(file(key, ".lock").c_str(), kNobody, kNobody), 0);
  EXPECT_THAT(get().warning, HasSubstr("belongs to user 65534"));
}

TEST_F(PlanCacheTrust, LinkInTheTimingCachesPlaceIsNotFollowed) {
  get();
  fs::create_symlink(folder_ / "victim", cache_folder() / "timing_cache.json");
  EXPECT_EQ(cache().timing_cache(), "");
  fs::remove(cache_folder() / "timing_cache.json");
  EXPECT_EQ(cache().timing_cache(), cache_folder() / "timing_cache.json");
}

TEST_F(PlanCacheTrust, WhatItMakesIsForItsUserAlone) {
  const mode_t mask = ::umask(0);
  const std::string key = get().key;
  ::umask(mask);
  struct stat status {};
  ASSERT_EQ(::stat(cache_folder().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0700U);
  ASSERT_EQ(::stat(file(key, ".plan").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0022U, 0U);
}

TEST_F(PlanCacheTrust, NoCacheByWishWarnsOfNothing) {
  const PlanCache none = PlanCache::none(builder());
  const auto built = none.get_or_build(request_);
  ASSERT_TRUE(built);
  EXPECT_FALSE(built->hit || built->kept);
  EXPECT_EQ(built->warning, "");
  EXPECT_FALSE(none.get_or_build(request_)->hit);
}

}  // namespace
}  // namespace fovea
