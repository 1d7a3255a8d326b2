// Names, addresses, and who may remove what.
#include "nodes/runtime/domain.hpp"

#include <fstream>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "nodes/runtime/slots/buffer_pool.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

using test::TestDomain;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

FileHandle listen_on(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.native().copy(address.sun_path, sizeof address.sun_path - 1);
  FileHandle listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(listen(listener.get(), 4), 0);
  return listener;
}

FileHandle make_file(const std::filesystem::path& path, mode_t mode = 0600) {
  return FileHandle(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, mode));
}

TEST(Names, OnlyLowerCaseDigitsAndDashes) {
  EXPECT_TRUE(check_name("node", "cam0-left_2"));
  for (const char* bad :
       {"", "Cam", "a b", "a/b", "a.b", "..", "ä", "abcdefghijabcdefghijabcdefghij12"}) {
    const auto result = check_name("node", bad);
    ASSERT_FALSE(result) << bad;
    EXPECT_THAT(result.error().message, HasSubstr("node is '" + std::string(bad) + "'"));
  }
}

TEST(Names, TopicsAreSuchPartsJoinedBySlashes) {
  EXPECT_TRUE(check_topic("image"));
  EXPECT_TRUE(check_topic("cam0/image"));
  EXPECT_TRUE(check_topic("a/b/c"));
  for (const char* bad : {"", "/", "/image", "image/", "a//b", "a/../b", "a:b", "A/b"}) {
    EXPECT_FALSE(check_topic(bad)) << bad;
  }
  EXPECT_TRUE(check_topic(std::string(31, 'a') + "/" + std::string(31, 'b')));
  EXPECT_FALSE(check_topic(std::string(31, 'a') + "/" + std::string(31, 'b') + "/c"));
}

TEST(DomainOpen, MakesAPrivateDirectory) {
  TestDomain domain;
  struct stat status {};
  ASSERT_EQ(stat(domain->socket_directory().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777u, 0700u);
  EXPECT_EQ(domain->name(), "test");
}

TEST(DomainOpen, RefusesADirectoryThatOthersMayEnter) {
  TestDomain domain;
  chmod(domain->socket_directory().c_str(), 0755);
  const auto again = Domain::open("test");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(again.error().message, HasSubstr("mode 755"));
}

TEST(DomainOpen, RefusesASymbolicLinkInItsPlace) {
  TestDomain domain;
  std::filesystem::create_directory_symlink(domain->socket_directory(),
                                            domain->socket_directory().parent_path() / "other");
  EXPECT_FALSE(Domain::open("other"));
}

TEST(DomainOpen, NamesWhatIsWrongWithTheEnvironment) {
  TestDomain domain;
  EXPECT_FALSE(Domain::open("Bad Name"));
  setenv("FOVEA_DOMAIN", "from-env", 1);
  EXPECT_EQ(Domain::open()->name(), "from-env");
  unsetenv("FOVEA_DOMAIN");
  EXPECT_EQ(Domain::open()->name(), "default");
  setenv("FOVEA_SHM_DIR", "/nowhere", 1);
  EXPECT_THAT(Domain::open("x").error().message, HasSubstr("FOVEA_SHM_DIR is /nowhere"));
  setenv("XDG_RUNTIME_DIR", "/nowhere", 1);
  EXPECT_THAT(Domain::open("x").error().message, HasSubstr("XDG_RUNTIME_DIR is /nowhere"));
}

TEST(DomainAddresses, AreComputed) {
  TestDomain domain;
  EXPECT_EQ(domain->topic_endpoint("cam0/image").value(),
            "ipc://" + (domain->socket_directory() / "cam0:image.topic").string());
  EXPECT_EQ(domain->control_endpoint("cam0").value(),
            "ipc://" + (domain->socket_directory() / "cam0.control").string());
  EXPECT_EQ(domain->pool_path("cam0/image", 0xabc),
            domain->shm_directory() / "fovea.test.cam0:image.0000000000000abc");
  EXPECT_EQ(domain->metrics_path("cam0"), domain->shm_directory() / "fovea.test.cam0.metrics");
  EXPECT_FALSE(domain->topic_endpoint("../escape"));
  EXPECT_FALSE(domain->control_endpoint("cam0/image"));
}

TEST(DomainAddresses, ASocketPathBeyondTheLimitIsRefusedByName) {
  TestDomain domain;
  const std::filesystem::path deep = domain.root() / "run" / std::string(80, 'd');
  std::filesystem::create_directory(deep);
  setenv("XDG_RUNTIME_DIR", deep.c_str(), 1);
  const auto long_domain = Domain::open("test");
  ASSERT_TRUE(long_domain);
  const auto endpoint = long_domain->topic_endpoint("cam0/image");
  ASSERT_FALSE(endpoint);
  const std::string path = (long_domain->socket_directory() / "cam0:image.topic").string();
  EXPECT_THAT(endpoint.error().message, HasSubstr(path));
  EXPECT_THAT(endpoint.error().message, HasSubstr(std::to_string(path.size()) + " bytes"));
  EXPECT_THAT(endpoint.error().message, HasSubstr("at most 107: shorten XDG_RUNTIME_DIR by " +
                                                  std::to_string(path.size() - 107)));
}

TEST(DomainLists, NameWhatLiesOnDisk) {
  TestDomain domain;
  for (const char* file : {"b:image.topic", "a.topic", "n1.control", "note.txt"}) {
    std::ofstream(domain->socket_directory() / file) << "";
  }
  make_file(domain->metrics_path("n2"));
  make_file(domain->pool_path("b/image", 2));
  make_file(domain->pool_path("b/image", 1));
  make_file(domain->pool_path("b", 1));
  make_file(domain->shm_directory() / "fovea.test2.b:image.1");
  EXPECT_THAT(domain->list_topics(), ElementsAre("a", "b/image"));
  EXPECT_THAT(domain->list_nodes(), ElementsAre("n1", "n2"));
  EXPECT_THAT(domain->list_pools("b/image"),
              ElementsAre(domain->pool_path("b/image", 1), domain->pool_path("b/image", 2)));
}

TEST(Domain, WithoutADescriptorNobodyIsSaidToListen) {
  TestDomain domain;
  const auto path = domain->socket_directory() / "nobody.topic";
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto listens = someone_listens(path);
  setrlimit(RLIMIT_NOFILE, &before);
  ASSERT_FALSE(listens);
  EXPECT_EQ(listens.error().code, ErrorCode::kExhausted);
  EXPECT_THAT(listens.error().message, HasSubstr("Too many open files"));
  EXPECT_FALSE(someone_listens(path).value());
}

TEST(DomainSweep, RemovesSocketsThatNobodyListensOn) {
  TestDomain domain;
  const auto dead = domain->socket_directory() / "dead.topic";
  const auto live = domain->socket_directory() / "live.control";
  const auto plain = domain->socket_directory() / "plain.topic";
  { const FileHandle closed = listen_on(dead); }
  const FileHandle listener = listen_on(live);
  std::ofstream(plain) << "not a socket";
  EXPECT_FALSE(domain->topic_alive("dead"));
  EXPECT_TRUE(domain->control_alive("live"));
  EXPECT_THAT(domain->sweep(), ElementsAre(dead));
  EXPECT_FALSE(std::filesystem::exists(dead));
  EXPECT_TRUE(std::filesystem::exists(live));
  EXPECT_TRUE(std::filesystem::exists(plain));
}

TEST(DomainSweep, RemovesSharedMemoryWhoseOwnerLockIsFree) {
  TestDomain domain;
  const FileHandle live = make_file(domain->metrics_path("live"));
  ASSERT_TRUE(try_lock_byte(live.get(), 0));
  make_file(domain->metrics_path("dead"));
  make_file(domain->pool_path("dead", 1));
  const auto others = domain->shm_directory() / "fovea.test2.dead.metrics";
  make_file(others);
  const auto link = domain->shm_directory() / "fovea.test.link.metrics";
  std::filesystem::create_symlink(others, link);
  EXPECT_THAT(domain->sweep(),
              ElementsAre(domain->pool_path("dead", 1), domain->metrics_path("dead")));
  EXPECT_TRUE(std::filesystem::exists(domain->metrics_path("live")));
  EXPECT_TRUE(std::filesystem::exists(others)) << "another domain's";
  EXPECT_TRUE(std::filesystem::is_symlink(link)) << "followed or removed a symbolic link";
}

TEST(DomainSweep, LeavesAPoolWhosePublisherLives) {
  TestDomain domain;
  PoolOptions options;
  options.slot_bytes = 100;
  auto pool = BufferPool::create(*domain, "image", options);
  ASSERT_TRUE(pool);
  EXPECT_THAT(domain->sweep(), IsEmpty());
  EXPECT_EQ(domain->list_pools("image").size(), 1u);
  pool->reset();
  EXPECT_THAT(domain->list_pools("image"), IsEmpty());
}

TEST(OwnFiles, ForeignKindsModesAndLinksAreRefused) {
  TestDomain domain;
  const auto path = [&](const char* name) { return domain.root() / name; };
  EXPECT_EQ(open_own_file(path("absent")).error().code, ErrorCode::kNotFound);
  make_file(path("open"));
  chmod(path("open").c_str(), 0644);
  EXPECT_EQ(open_own_file(path("open")).error().code, ErrorCode::kCorrupt);
  make_file(path("good"));
  EXPECT_TRUE(open_own_file(path("good")));
  std::filesystem::create_symlink(path("good"), path("link"));
  EXPECT_EQ(open_own_file(path("link")).error().code, ErrorCode::kCorrupt);
  std::filesystem::create_directory(path("directory"));
  EXPECT_EQ(open_own_file(path("directory")).error().code, ErrorCode::kCorrupt);
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
  EXPECT_EQ(open_own_file(path("fifo")).error().code, ErrorCode::kCorrupt);
}

TEST(ByteLocks, ExcludeOtherOpenFileDescriptionsOfTheSameProcess) {
  TestDomain domain;
  const auto path = domain.root() / "file";
  FileHandle first = make_file(path);
  const FileHandle second = make_file(path);
  EXPECT_TRUE(try_lock_byte(first.get(), 3));
  EXPECT_FALSE(try_lock_byte(second.get(), 3));
  EXPECT_TRUE(try_lock_byte(second.get(), 4));
  unlock_byte(first.get(), 3);
  EXPECT_TRUE(try_lock_byte(second.get(), 3));
  unlock_byte(second.get(), 3);
  EXPECT_TRUE(try_lock_byte(first.get(), 3));
  first = FileHandle();
  EXPECT_TRUE(try_lock_byte(second.get(), 3)) << "closing frees the lock";
}

}  // namespace
}  // namespace fovea
