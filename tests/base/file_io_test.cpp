#include "nodes/base/file_io.hpp"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fovea {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class FileIoTest : public testing::Test {
 protected:
  FileIoTest() {
    std::string name = fs::temp_directory_path() / "fovea_file_io_XXXXXX";
    folder_ = mkdtemp(name.data());
  }
  ~FileIoTest() override { fs::remove_all(folder_); }

  std::string text_of(const fs::path& path) {
    return read_text_file(path).value_or("cannot be read");
  }
  std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

TEST_F(FileIoTest, WritesAndReplacesARegularFileAndLeavesNothingBeside) {
  const fs::path path = folder_ / "a.json";
  ASSERT_TRUE(write_file(path, "one"));
  ASSERT_TRUE(write_file(path, "two"));
  EXPECT_EQ(text_of(path), "two");
  EXPECT_EQ(files(), 1u);
}

TEST_F(FileIoTest, WhatAKilledWriterLeftGoesWithTheNextWriteAndNothingElseDoes) {
  const fs::path path = folder_ / "a.json";
  const auto plant = [&](const char* name) {
    const fs::path planted = folder_ / name;
    std::ofstream(planted) << "half";
    return planted;
  };
  const fs::path left = plant(".a.json.tmp.AbCdEf");
  const fs::path others = plant(".b.json.tmp.AbCdEf");
  const fs::path longer = plant(".a.json.tmp.AbCdEfG");
  // As a writer holds it that is still at work.
  const fs::path in_hand = plant(".a.json.tmp.GhIjKl");
  const FileHandle writer(open(in_hand.c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_EQ(flock(writer.get(), LOCK_EX), 0);
  ASSERT_TRUE(write_file(path, "one"));
  EXPECT_FALSE(fs::exists(left));
  EXPECT_TRUE(fs::exists(others));
  EXPECT_TRUE(fs::exists(longer));
  EXPECT_TRUE(fs::exists(in_hand));
  EXPECT_EQ(remove_leftovers(folder_, "", /*dry_run=*/true).files, 1u);
  EXPECT_TRUE(fs::exists(others));
  EXPECT_EQ(remove_leftovers(folder_).bytes, 4u);
  EXPECT_FALSE(fs::exists(others));
  EXPECT_EQ(files(), 3u);
}

TEST_F(FileIoTest, AWriterThatIsKilledWhileItWritesLeavesNothingForEver) {
  const fs::path path = folder_ / "a.json";
  const pid_t child = fork();
  if (child == 0) {
    // The kernel kills it in the middle of its write.
    const rlimit limit{4096, 4096};
    setrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, SIG_DFL);
    (void)write_file(path, std::string(100'000, 'x'));
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(files(), 1u) << "it left nothing to clear";
  ASSERT_TRUE(write_file(path, "whole"));
  EXPECT_EQ(files(), 1u);
  EXPECT_EQ(text_of(path), "whole");
}

TEST_F(FileIoTest, FilesThatSayNoSizeAreReadToTheirEnd) {
  std::ifstream stream("/proc/self/smaps");  // grows beyond one read
  const std::string all((std::istreambuf_iterator<char>(stream)), {});
  ASSERT_GT(all.size(), 5000U);
  const auto text = read_text_file("/proc/self/smaps");
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_GT(text->size(), all.size() / 2);
  EXPECT_EQ(text->back(), '\n');
  const auto refused = read_text_file("/proc/self/smaps", 100);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "/proc/self/smaps has more than 100 bytes");
}

TEST_F(FileIoTest, ADeviceIsWrittenIntoAndNeverReplaced) {
  const fs::path device = folder_ / "null";
  if (mknod(device.c_str(), S_IFCHR | 0666, makedev(1, 3)) != 0)
    GTEST_SKIP() << "making a device needs root";
  const auto written = write_file(device, "text");
  struct stat status {};
  ASSERT_EQ(lstat(device.c_str(), &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
  EXPECT_EQ(files(), 1u);
  if (!written) {
    EXPECT_THAT(written.error().message, HasSubstr("denied"));  // a nodev mount
  }
}

TEST_F(FileIoTest, DevNullTakesEverything) {
  ASSERT_TRUE(check_writable("/dev/null"));
  ASSERT_TRUE(write_file("/dev/null", "text"));
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST_F(FileIoTest, AFullDeviceIsAnError) {
  const auto written = write_file("/dev/full", "text");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::kExhausted);
  EXPECT_THAT(written.error().message, HasSubstr("/dev/full"));
}

TEST_F(FileIoTest, AFifoStaysAndItsReaderGetsTheBytes) {
  const fs::path fifo = folder_ / "fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  std::string got;
  std::thread reader([&] {
    const int fd = open(fifo.c_str(), O_RDONLY);
    char buffer[4096];
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;)
      got.append(buffer, static_cast<std::size_t>(n));
    close(fd);
  });
  const std::string text(200'000, 'x');  // more than a pipe holds
  ASSERT_TRUE(check_writable(fifo));
  EXPECT_TRUE(write_file(fifo, text));
  reader.join();
  EXPECT_EQ(got, text);
  EXPECT_TRUE(fs::is_fifo(fifo));
}

TEST_F(FileIoTest, ASymbolicLinkStaysAndItsTargetIsReplaced) {
  fs::create_directory(folder_ / "real");
  ASSERT_TRUE(write_file(folder_ / "real/file", "old"));
  fs::create_symlink("real/file", folder_ / "link");
  fs::create_symlink("link", folder_ / "link2");
  ASSERT_TRUE(write_file(folder_ / "link2", "new"));
  EXPECT_TRUE(fs::is_symlink(folder_ / "link2"));
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_EQ(text_of(folder_ / "real/file"), "new");
}

TEST_F(FileIoTest, ALinkToNothingMakesItsTargetAndALinkToItselfIsAnError) {
  fs::create_symlink("made", folder_ / "link");
  ASSERT_TRUE(write_file(folder_ / "link", "new"));
  EXPECT_EQ(text_of(folder_ / "made"), "new");
  fs::create_symlink("loop", folder_ / "loop");
  ASSERT_FALSE(write_file(folder_ / "loop", "x"));
}

TEST_F(FileIoTest, ALinkToADeviceWritesIntoTheDevice) {
  fs::create_symlink("/dev/null", folder_ / "link");
  ASSERT_TRUE(write_file(folder_ / "link", "x"));
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST_F(FileIoTest, ADescriptorIsWrittenInto) {
  const fs::path path = folder_ / "log";
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ASSERT_EQ(write(fd, "a", 1), 1);
  ASSERT_TRUE(write_file("/proc/self/fd/" + std::to_string(fd), "b"));
  ASSERT_EQ(write(fd, "c", 1), 1);
  close(fd);
  EXPECT_EQ(text_of(path), "abc");
}

TEST_F(FileIoTest, ModeIsKept) {
  const fs::path path = folder_ / "a";
  ASSERT_TRUE(write_file(path, "one"));
  ASSERT_EQ(chmod(path.c_str(), 0640), 0);
  ASSERT_TRUE(write_file(path, "two"));
  struct stat status {};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0640u);
}

TEST_F(FileIoTest, AFolderAnAbsentFolderAndAnEmptyNameAreErrorsBeforeAnythingRuns) {
  EXPECT_THAT(check_writable(folder_).error().message, HasSubstr("is a folder"));
  EXPECT_THAT(check_writable(folder_ / "no/file").error().message, HasSubstr("No such file"));
  EXPECT_FALSE(check_writable(""));
  EXPECT_TRUE(check_writable(folder_ / "new"));
  EXPECT_EQ(files(), 0u);
}

TEST_F(FileIoTest, AFileThatNoLongerFitsLeavesTheOldOne) {
  const fs::path path = folder_ / "a";
  ASSERT_TRUE(write_file(path, "old"));
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit small = before;
  small.rlim_cur = 1000;
  setrlimit(RLIMIT_FSIZE, &small);
  const auto written = write_file(path, std::string(5000, 'x'));
  setrlimit(RLIMIT_FSIZE, &before);
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message, HasSubstr(path.native()));
  EXPECT_EQ(text_of(path), "old");
  EXPECT_EQ(files(), 1u);
}

TEST_F(FileIoTest, ReadingAFifoAFolderOrADeviceIsAnErrorAtOnce) {
  const fs::path fifo = folder_ / "fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THAT(read_file(fifo).error().message, HasSubstr("is a FIFO"));
  EXPECT_THAT(read_file(folder_).error().message, HasSubstr("is a folder"));
  EXPECT_THAT(read_file("/dev/zero").error().message, HasSubstr("is a device"));
  EXPECT_EQ(read_file(folder_ / "none").error().code, ErrorCode::kNotFound);
}

TEST_F(FileIoTest, ReadingStopsAtALimit) {
  const fs::path path = folder_ / "a";
  ASSERT_TRUE(write_file(path, "12345"));
  EXPECT_TRUE(read_file(path, 5));
  EXPECT_THAT(read_file(path, 4).error().message, HasSubstr("5 bytes; at most 4"));
}

TEST_F(FileIoTest, ANewFileReplacesNothingUnasked) {
  const fs::path path = folder_ / "run.mcap";
  ASSERT_TRUE(create_file(path, IfExists::kRefuse));
  const auto again = create_file(path, IfExists::kRefuse);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(again.error().message, HasSubstr("File exists"));
  ASSERT_TRUE(write_file(path, "old"));
  ASSERT_TRUE(create_file(path, IfExists::kReplace));
  EXPECT_EQ(text_of(path), "");
}

TEST_F(FileIoTest, ANewFileIsMadeWhereALinkPoints) {
  fs::create_symlink("target", folder_ / "link");
  ASSERT_TRUE(create_file(folder_ / "link", IfExists::kRefuse));
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_TRUE(fs::is_regular_file(folder_ / "target"));
  EXPECT_FALSE(create_file(folder_ / "link", IfExists::kRefuse));
  ASSERT_TRUE(create_file(folder_ / "link", IfExists::kReplace));
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
}

TEST_F(FileIoTest, ANewFileTakesNoPlaceOfWhatIsNoFile) {
  ASSERT_EQ(mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  for (const IfExists if_exists : {IfExists::kRefuse, IfExists::kReplace}) {
    const auto refusal = [&](const fs::path& path) {
      const auto file = create_file(path, if_exists);
      return file ? "none" : file.error().message;
    };
    EXPECT_THAT(refusal(folder_ / "fifo"), HasSubstr("is a FIFO; it must be"));
    EXPECT_THAT(refusal(folder_), HasSubstr("is a folder"));
    EXPECT_THAT(refusal("/dev/null"), HasSubstr("is a device"));
    EXPECT_THAT(refusal("/dev/stdout"), HasSubstr("it must be"));
    EXPECT_THAT(refusal(folder_ / "absent" / "run.mcap"), HasSubstr("No such file"));
  }
  EXPECT_EQ(files(), 1u);
  struct stat status {};
  ASSERT_EQ(lstat("/dev/null", &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
  ASSERT_EQ(lstat("/dev/stdout", &status), 0);
  EXPECT_TRUE(S_ISLNK(status.st_mode));
}

}  // namespace
}  // namespace fovea
