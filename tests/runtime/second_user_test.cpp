// Another user of the machine: sees the names at most. A child that gives up root for `nobody`
// tries the doors; where the test does not run as root it is skipped and says so.
#include <cerrno>
#include <cstring>
#include <functional>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nodes/runtime/process/control.hpp"
#include "tests/runtime/topics_fixture.hpp"

namespace fovea::test {
namespace {

constexpr uid_t kNobody = 65534;

class SecondUser : public Topics {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
    // What protects is what the product makes, not the folders that the test does.
    for (const char* folder : {"", "run", "shm"}) chmod((domain_.root() / folder).c_str(), 0777);
  }

  // What `attempt` returns in a process of another user: 0 or an errno.
  static int as_nobody(const std::function<int()>& attempt) {
    const pid_t pid = fork();
    if (pid == 0) {
      if (setgroups(0, nullptr) != 0 || setgid(kNobody) != 0 || setuid(kNobody) != 0) _exit(255);
      _exit(attempt());
    }
    int status = 0;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status));
    return WEXITSTATUS(status);
  }

  static int try_open(const std::filesystem::path& path, int flags) {
    return open(path.c_str(), flags | O_CLOEXEC) >= 0 ? 0 : errno;
  }
  static int try_connect(const std::string& endpoint) {
    const std::string path = endpoint.substr(std::string("ipc://").size());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size());
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0
                                                                                         : errno;
  }
};

TEST_F(SecondUser, CanNeitherSubscribeNorControlNorOpenAPool) {
  auto images = publisher();
  ASSERT_TRUE(publish(images, 1));
  auto control =
      ControlServer::create(*domain_, "cam0", [](std::string_view) { return std::string(); });
  ASSERT_TRUE(control);
  auto page = MetricsPage::create(*domain_, "cam0", "camera");
  ASSERT_TRUE(page);
  const std::string topic = *domain_->topic_endpoint(kTopic);
  const std::string door = *domain_->control_endpoint("cam0");
  const auto pools = domain_->list_pools(kTopic);
  ASSERT_EQ(pools.size(), 1u);

  for (const std::string& endpoint : {topic, door}) {
    EXPECT_EQ(try_connect(endpoint), 0) << "its owner can: " << endpoint;
    EXPECT_EQ(as_nobody([&] { return try_connect(endpoint); }), EACCES) << endpoint;
  }
  for (const auto& path : {pools[0], domain_->metrics_path("cam0")}) {
    EXPECT_EQ(try_open(path, O_RDWR), 0) << "its owner can: " << path;
    EXPECT_EQ(as_nobody([&] { return try_open(path, O_RDONLY); }), EACCES) << path;
    EXPECT_EQ(as_nobody([&] { return try_open(path, O_RDWR); }), EACCES) << path;
  }
}

TEST_F(SecondUser, CannotUseTheDomainOfAnother) {
  const int opened = as_nobody([] {
    const auto domain = Domain::open("test");
    return !domain && domain.error().message.find("owner 0") != std::string::npos ? 7 : 0;
  });
  EXPECT_EQ(opened, 7) << "Domain::open() must refuse and name the owner";
}

TEST_F(SecondUser, FilesOfItsMakingAreRefused) {
  auto images = publisher();
  ASSERT_TRUE(publish(images, 1));
  const std::filesystem::path pool = domain_->list_pools(kTopic).at(0);
  ASSERT_EQ(chown(pool.c_str(), kNobody, kNobody), 0);
  const std::uint64_t incarnation = std::stoull(pool.extension().native().substr(1), nullptr, 16);
  const auto reader = PoolReader::open(*domain_, kTopic, incarnation);
  ASSERT_FALSE(reader);
  EXPECT_EQ(reader.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(reader.error().message, testing::HasSubstr("owner 65534"));

  const auto page = domain_->metrics_path("cam7");
  EXPECT_EQ(as_nobody([&] {
              const int fd = open(page.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
              return fd >= 0 && fchmod(fd, 0666) == 0 && ftruncate(fd, 1 << 20) == 0 ? 0 : errno;
            }),
            0);
  EXPECT_FALSE(MetricsReader::open(*domain_, "cam7"));
  // The owner of the domain can still use the name: a foreign page is replaced.
  EXPECT_TRUE(MetricsPage::create(*domain_, "cam7", "camera"));
}

}  // namespace
}  // namespace fovea::test
