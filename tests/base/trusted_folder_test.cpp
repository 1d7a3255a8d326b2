#include "nodes/base/trusted_folder.hpp"

#include <filesystem>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nodes/base/file_io.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr uid_t kNobody = 65534;

class TrustedFolder : public testing::Test {
 protected:
  TrustedFolder() {
    std::string name = fs::temp_directory_path() / "fovea_trusted_XXXXXX";
    folder_ = mkdtemp(name.data());
  }
  ~TrustedFolder() override { fs::remove_all(folder_); }

  static unsigned mode_of(const fs::path& path) {
    struct stat status {};
    return ::lstat(path.c_str(), &status) == 0 ? status.st_mode & 07777u : 0;
  }
  static std::string refusal(const fs::path& path) {
    const auto trusted = check_trusted_folder(path);
    return trusted ? "" : trusted.error().message;
  }

  fs::path folder_;
};

TEST_F(TrustedFolder, WhatIsMadeIsForItsUserAlone) {
  const mode_t mask = ::umask(0);
  const auto made = make_folders(folder_ / "a/b/c/");
  ::umask(mask);
  ASSERT_TRUE(made) << made.error().message;
  for (const char* part : {"a", "a/b", "a/b/c"}) EXPECT_EQ(mode_of(folder_ / part), 0700U) << part;
  EXPECT_TRUE(make_folders(folder_ / "a/b"));
  EXPECT_EQ(refusal(folder_ / "a/b/c"), "");
}

TEST_F(TrustedFolder, FolderThatCannotBeMadeIsNamedWithErrno) {
  ASSERT_TRUE(write_file(folder_ / "file", "x"));
  const auto below = make_folders(folder_ / "file/cache");
  ASSERT_FALSE(below);
  EXPECT_THAT(below.error().message, HasSubstr("/file: Not a directory"));
  EXPECT_THAT(refusal(folder_ / "file"), HasSubstr("file: Not a directory"));
  const auto absent = check_trusted_folder(folder_ / "absent");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::kNotFound);
}

TEST_F(TrustedFolder, FolderThatOthersMayWriteToIsRefusedUnlessItIsSticky) {
  for (const unsigned mode : {0700U, 0755U, 0750U, 01777U, 01770U}) {
    ASSERT_EQ(::chmod(folder_.c_str(), mode), 0);
    EXPECT_EQ(refusal(folder_), "") << std::oct << mode;
  }
  for (const unsigned mode : {0777U, 0770U, 0720U, 0702U}) {
    ASSERT_EQ(::chmod(folder_.c_str(), mode), 0);
    EXPECT_THAT(refusal(folder_), HasSubstr("chmod go-w")) << std::oct << mode;
  }
  EXPECT_THAT(refusal(folder_), HasSubstr("has mode 702"));
}

TEST_F(TrustedFolder, AnotherUsersFolderAndLinkAreRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  ASSERT_TRUE(make_folders(folder_ / "own"));
  ASSERT_TRUE(make_folders(folder_ / "foreign"));
  ASSERT_EQ(::chown((folder_ / "foreign").c_str(), kNobody, kNobody), 0);
  EXPECT_THAT(refusal(folder_ / "foreign"), HasSubstr("belongs to user 65534 and has mode 700"));
  fs::create_symlink("own", folder_ / "link");
  EXPECT_EQ(refusal(folder_ / "link"), "");
  ASSERT_EQ(::lchown((folder_ / "link").c_str(), kNobody, kNobody), 0);
  EXPECT_THAT(refusal(folder_ / "link"), HasSubstr("symbolic link that belongs to user 65534"));
}

TEST_F(TrustedFolder, TrustedFilesAreReadThroughNoLinkAndFromNobodyElse) {
  const fs::path file = folder_ / "plan";
  ASSERT_TRUE(write_file(file, "text"));
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  EXPECT_TRUE(read_trusted_file(file));
  const auto refused = [](const fs::path& path) {
    const auto read = read_trusted_file(path);
    return read ? std::string() : read.error().message;
  };
  ASSERT_EQ(::chmod(file.c_str(), 0666), 0);
  EXPECT_THAT(refused(file), HasSubstr("has mode 666"));
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  fs::create_symlink("plan", folder_ / "link");
  EXPECT_THAT(refused(folder_ / "link"), HasSubstr("symbolic link"));
  EXPECT_THAT(refused(folder_), HasSubstr("not a regular file"));
  ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  EXPECT_THAT(refused(folder_ / "fifo"), HasSubstr("not a regular file"));
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(file.c_str(), kNobody, kNobody), 0);
    EXPECT_THAT(refused(file), HasSubstr("belongs to user 65534"));
  }
}

TEST_F(TrustedFolder, TrustedFilesReplaceALinkAndNobodyElseMayWriteToThem) {
  ASSERT_TRUE(write_file(folder_ / "victim", "mine"));
  fs::create_symlink("victim", folder_ / "plan");
  const std::string text = "plan";
  const mode_t mask = ::umask(0);
  const auto written = write_trusted_file(folder_ / "plan", std::as_bytes(std::span(text)));
  ::umask(mask);
  ASSERT_TRUE(written) << written.error().message;
  EXPECT_EQ(read_text_file(folder_ / "victim").value_or(""), "mine");
  EXPECT_FALSE(fs::is_symlink(folder_ / "plan"));
  EXPECT_EQ(mode_of(folder_ / "plan"), 0644U);
  EXPECT_FALSE(write_trusted_file("/dev/null", std::as_bytes(std::span(text))));
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

}  // namespace
}  // namespace fovea
