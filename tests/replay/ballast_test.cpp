// Filling a tmpfs of the test's own, mounted where only a forked child sees it.
#include "launch/bench/ballast.hpp"

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fovea::bench {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr int kNoNamespaces = 77;

bool become_root_of_new_namespaces() {
  const std::string user = "0 " + std::to_string(getuid()) + " 1";
  const std::string group = "0 " + std::to_string(getgid()) + " 1";
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  const auto put = [](const char* file, const std::string& text) {
    return static_cast<bool>(std::ofstream(file) << text << std::flush);
  };
  return put("/proc/self/setgroups", "deny") && put("/proc/self/uid_map", user) &&
         put("/proc/self/gid_map", group);
}

class Tmpfs : public testing::Test {
 protected:
  Tmpfs() {
    std::string name = (fs::temp_directory_path() / "fovea-ballast.XXXXXX").string();
    folder_ = mkdtemp(name.data());
  }
  ~Tmpfs() override { fs::remove_all(folder_); }

  // What `body` says in a child that has a tmpfs of `size` there; "" = all was well.
  std::string within(const char* size, const std::function<std::string()>& body,
                     const char* type = "tmpfs") {
    int ends[2];
    if (pipe(ends) != 0) return "pipe";
    const pid_t child = fork();
    if (child == 0) {
      const std::string options = std::string("size=") + size;
      if (!become_root_of_new_namespaces() ||
          mount(type, folder_.c_str(), type, 0, options.c_str()) != 0)
        _exit(kNoNamespaces);
      const std::string said = body();
      const bool sent = write(ends[1], said.data(), said.size()) >= 0;
      _exit(sent ? 0 : 1);
    }
    close(ends[1]);
    std::string said;
    char text[1024];
    for (ssize_t count; (count = read(ends[0], text, sizeof text)) > 0;)
      said.append(text, static_cast<std::size_t>(count));
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    refused_ = WIFEXITED(status) && WEXITSTATUS(status) == kNoNamespaces;
    return refused_ || (WIFEXITED(status) && WEXITSTATUS(status) == 0) ? said : "the child died";
  }

  // Why `folder` must not be filled.
  static std::string refusal(const fs::path& folder) {
    const auto allowed = check_may_fill(folder);
    return allowed ? "allowed" : allowed.error().message;
  }

  bool can_have(std::uint64_t bytes) const {
    const FileHandle file(open((folder_ / "new").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    const bool can = file && posix_fallocate(file.get(), 0, static_cast<off_t>(bytes)) == 0;
    fs::remove(folder_ / "new");
    return can;
  }

  fs::path folder_;
  bool refused_ = false;  // the kernel gives no namespaces
};

TEST_F(Tmpfs, IsFullUntilTheBallastIsReleased) {
  const std::string wrong = within("4m", [this]() -> std::string {
    if (const auto allowed = check_may_fill(folder_); !allowed) return allowed.error().message;
    if (!can_have(1 << 20)) return "it was full before";
    Ballast ballast;
    const auto bytes = ballast.fill(folder_);
    if (!bytes) return bytes.error().message;
    if (*bytes < 3'900'000) return "took only " + std::to_string(*bytes);
    if (can_have(1 << 18)) return "it is not full";
    if (!fs::is_empty(folder_)) return "the ballast has a name that could stay behind";
    ballast.release();
    if (ballast.held() || !can_have(1 << 20)) return "it is still full";
    return "";
  });
  if (refused_) GTEST_SKIP() << "no user namespaces here";
  EXPECT_EQ(wrong, "");
}

TEST_F(Tmpfs, WhatComesFreeIsTakenToo) {
  const std::string wrong = within("4m", [this]() -> std::string {
    std::ofstream(folder_ / "pool") << std::string(1 << 20, 'x');
    Ballast ballast;
    if (!ballast.fill(folder_)) return "not filled";
    fs::remove(folder_ / "pool");
    if (!can_have(1 << 18)) return "nothing came free";
    if (!ballast.fill(folder_)) return "not filled again";
    return can_have(1 << 18) ? "what came free was left" : "";
  });
  if (refused_) GTEST_SKIP() << "no user namespaces here";
  EXPECT_EQ(wrong, "");
}

TEST_F(Tmpfs, FilesOfOthersForbidIt) {
  const std::string said = within("4m", [this]() -> std::string {
    std::ofstream(folder_ / "of_others") << "x";
    return refusal(folder_);
  });
  if (refused_) GTEST_SKIP() << "no user namespaces here";
  EXPECT_THAT(said, HasSubstr("others keep files in it (of_others)"));
}

TEST_F(Tmpfs, TheWholeMachinesMemoryIsNotFilled) {
  const std::string said = within("2g", [this] { return refusal(folder_); });
  if (refused_) GTEST_SKIP() << "no user namespaces here";
  EXPECT_THAT(said, HasSubstr("it holds 2.0 GiB"));
  EXPECT_THAT(said, HasSubstr("unshare -Urm"));
  EXPECT_THAT(within("0", [this] { return refusal(folder_); }), HasSubstr("has no limit"));
}

TEST_F(Tmpfs, ALargeOneThatIsNearlyFullIsNotFilled) {
  const std::string said = within("1100m", [this]() -> std::string {
    const FileHandle others(open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (posix_fallocate(others.get(), 0, 100 << 20) != 0) return "no space";
    return refusal(folder_);
  });
  if (refused_) GTEST_SKIP() << "no user namespaces here";
  EXPECT_THAT(said, HasSubstr("it holds 1.1 GiB"));
}

TEST_F(Tmpfs, AFolderInsideOneIsNotFilled) {
  const std::string said = within("4m", [this] {
    fs::create_directory(folder_ / "inside");
    return refusal(folder_ / "inside");
  });
  if (refused_) GTEST_SKIP() << "no user namespaces here";
  EXPECT_THAT(said, HasSubstr("part of a larger tmpfs"));
}

TEST_F(Tmpfs, AnotherFilesystemIsNotFilled) {
  const std::string said = within(
      "4m", [this] { return refusal(folder_); }, "ramfs");
  if (refused_) GTEST_SKIP() << "no user namespaces here";
  EXPECT_THAT(said, HasSubstr("it is no tmpfs"));
}

TEST_F(Tmpfs, AnAbsentFolderIsNamed) {
  const auto allowed = check_may_fill(folder_ / "absent");
  ASSERT_FALSE(allowed);
  EXPECT_EQ(allowed.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(allowed.error().message, HasSubstr("absent"));
}

}  // namespace
}  // namespace fovea::bench
