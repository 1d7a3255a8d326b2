// Whoever connects to a launch's control socket, nothing that he sends, does not send or does not
// read harms the launch or other clients.
#include "launch/supervision/control_socket.hpp"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/launch/isolated_domain.hpp"

namespace fovea::launch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kWatchdog = std::chrono::seconds(60);

class ControlSocketTest : public ::testing::Test {
 protected:
  void SetUp() override { open(); }

  // Answers `echo <request>`, or keeps the reply for later when the request begins with "later".
  void open() {
    socket_.reset();
    socket_ = ControlSocket::create(executor_, *domain_,
                                    [this](std::string_view request, ControlSocket::Reply reply) {
                                      ++requests_;
                                      if (request.starts_with("later")) {
                                        later_.push_back(std::move(reply));
                                      } else {
                                        reply("echo " + std::string(request));
                                      }
                                    })
                  .value();
  }

  FileHandle client() const {
    FileHandle fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    control_socket_path(*domain_).native().copy(address.sun_path, sizeof address.sun_path - 1);
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      ADD_FAILURE() << std::strerror(errno);
    return fd;
  }

  // Turns the executor until `condition` holds.
  bool turn_until(const std::function<bool()>& condition) {
    bool held = condition();
    if (held) return true;
    const auto look = executor_.add_timer(std::chrono::milliseconds(1), [&] {
      held = condition();
      if (held) executor_.stop();
    });
    const auto watchdog = executor_.add_timer(kWatchdog, [&] { executor_.stop(); });
    executor_.run();
    executor_.remove(look);
    executor_.remove(watchdog);
    return held;
  }

  static bool say(const FileHandle& fd, std::string_view text) {
    return send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
           static_cast<ssize_t>(text.size());
  }

  // What the socket sends to the client until it holds a line feed or the socket closes it.
  std::string hear(const FileHandle& fd) {
    std::string text;
    turn_until([&] {
      char buffer[4096];
      const ssize_t count = recv(fd.get(), buffer, sizeof buffer, 0);
      if (count > 0) text.append(buffer, static_cast<std::size_t>(count));
      const bool closed = count == 0 || (count < 0 && errno != EAGAIN);
      return closed || text.find('\n') != std::string::npos;
    });
    return text;
  }
  bool is_closed(const FileHandle& fd) {
    return turn_until([&] {
      char byte = 0;
      const ssize_t count = recv(fd.get(), &byte, 1, 0);
      return count == 0 || (count < 0 && errno != EAGAIN);
    });
  }

  IsolatedDomain domain_;
  Executor executor_;
  std::unique_ptr<ControlSocket> socket_;
  std::deque<ControlSocket::Reply> later_;
  int requests_ = 0;
};

TEST_F(ControlSocketTest, AnswersLinesOfOneClientInTheirOrder) {
  const FileHandle fd = client();
  ASSERT_TRUE(say(fd, "one\ntwo\nth"));
  std::string heard;
  while (heard.size() < 18) heard += hear(fd);
  EXPECT_EQ(heard, "echo one\necho two\n");
  ASSERT_TRUE(say(fd, "ree\n"));
  EXPECT_EQ(hear(fd), "echo three\n");
}

TEST_F(ControlSocketTest, IsThisUsersAloneAndGoesWithItsOwner) {
  struct stat status {};
  ASSERT_EQ(stat(control_socket_path(*domain_).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  socket_.reset();
  EXPECT_THAT(domain_.leftovers(), IsEmpty());
}

TEST_F(ControlSocketTest, AStaleSocketIsReplaced) {
  socket_.reset();
  const FileHandle stale(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  control_socket_path(*domain_).native().copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(stale.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  open();
  const FileHandle fd = client();
  ASSERT_TRUE(say(fd, "here\n"));
  EXPECT_EQ(hear(fd), "echo here\n");
}

TEST_F(ControlSocketTest, ASweepOfTheDomainTakesADeadSocketAndLeavesALivingOne) {
  EXPECT_THAT(domain_->sweep(), IsEmpty());
  const auto moved = domain_.root() / "moved";  // so that its end does not remove it
  std::filesystem::rename(control_socket_path(*domain_), moved);
  socket_.reset();
  std::filesystem::rename(moved, control_socket_path(*domain_));
  EXPECT_THAT(domain_->sweep(), ElementsAre(control_socket_path(*domain_)));
}

TEST_F(ControlSocketTest, ARequestWithoutEndIsRefusedAndTakesNoMoreThanItsBound) {
  const FileHandle fd = client();
  const std::string flood(std::size_t{1} << 20, 'x');
  std::size_t sent = 0;
  std::size_t most = 0;
  std::string heard;
  EXPECT_TRUE(turn_until([&] {
    const ssize_t count = send(fd.get(), flood.data(), flood.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count > 0) sent += static_cast<std::size_t>(count);
    most = std::max(most, socket_->buffered_bytes());
    return socket_->clients() == 0 && requests_ == 0 && sent > kMaxRequestBytes;
  }));
  EXPECT_LE(most, 2 * (kMaxRequestBytes + 1)) << "of what a string reserves";
  EXPECT_THAT(hear(fd), HasSubstr("longer than 65536 bytes"));
}

TEST_F(ControlSocketTest, ALongestRequestIsTaken) {
  const FileHandle fd = client();
  std::string longest(kMaxRequestBytes, 'y');
  longest += '\n';
  std::string_view rest = longest;
  EXPECT_TRUE(turn_until([&] {
    const ssize_t count = send(fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count > 0) rest.remove_prefix(static_cast<std::size_t>(count));
    return requests_ == 1;
  }));
}

TEST_F(ControlSocketTest, SilentClientsMakeRoomAndTheirMemoryIsBounded) {
  std::vector<FileHandle> silent;
  for (std::size_t i = 0; i < 3 * kMaxControlClients; ++i) {
    silent.push_back(client());
    ASSERT_TRUE(say(silent.back(), "hello\nhalf a request"));
    ASSERT_EQ(hear(silent.back()), "echo hello\n");
    EXPECT_LE(socket_->clients(), kMaxControlClients);
  }
  const FileHandle fd = client();
  ASSERT_TRUE(say(fd, "hello\n"));
  EXPECT_EQ(hear(fd), "echo hello\n");
  EXPECT_LE(socket_->clients(), kMaxControlClients);
  EXPECT_LE(socket_->buffered_bytes(), kMaxControlClients * 1024);
}

TEST_F(ControlSocketTest, AClientThatWaitsForItsAnswerIsNotPutOutForOthers) {
  std::vector<FileHandle> waiting;
  for (std::size_t i = 0; i < kMaxControlClients; ++i) {
    waiting.push_back(client());
    ASSERT_TRUE(say(waiting.back(), "later\n"));
    ASSERT_TRUE(turn_until([&] { return later_.size() == i + 1; }));
  }
  const FileHandle late = client();
  EXPECT_THAT(hear(late), HasSubstr("busy"));
  EXPECT_TRUE(is_closed(late));
  for (std::size_t i = 0; i < kMaxControlClients; ++i) {
    later_[i]("done " + std::to_string(i));
    EXPECT_EQ(hear(waiting[i]), "done " + std::to_string(i) + "\n");
  }
}

TEST_F(ControlSocketTest, AClientHasOneRequestInWork) {
  const FileHandle fd = client();
  ASSERT_TRUE(say(fd, "later 1\nlater 2\nnow\n"));
  ASSERT_TRUE(turn_until([&] { return later_.size() == 1; }));
  const FileHandle other = client();  // served meanwhile
  ASSERT_TRUE(say(other, "now\n"));
  EXPECT_EQ(hear(other), "echo now\n");
  EXPECT_EQ(later_.size(), 1u);
  later_[0]("first");
  EXPECT_EQ(hear(fd), "first\n");
  ASSERT_TRUE(turn_until([&] { return later_.size() == 2; }));
}

TEST_F(ControlSocketTest, AClientThatLeavesBeforeItsAnswerCostsNothing) {
  {
    const FileHandle fd = client();
    ASSERT_TRUE(say(fd, "later\n"));
    ASSERT_TRUE(turn_until([&] { return later_.size() == 1; }));
  }
  later_[0]("nobody hears");
  EXPECT_TRUE(turn_until([&] { return socket_->clients() == 0; }));
  later_[0]("and nobody hears it twice");
}

TEST_F(ControlSocketTest, AClientThatReadsNothingIsClosedAndOthersAreServed) {
  const FileHandle deaf = client();
  std::size_t most = 0;
  // Replies fill its socket; then a reply stays behind and nothing more is read from it.
  const auto flood_until = [&](const std::function<bool()>& condition) {
    std::string request(60'000, 'z');
    request += '\n';
    return turn_until([&] {
      send(deaf.get(), request.data(), request.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      most = std::max(most, socket_->buffered_bytes());
      return condition();
    });
  };
  EXPECT_TRUE(flood_until([&] { return requests_ > 2; }));
  const FileHandle fd = client();
  ASSERT_TRUE(say(fd, "hello\n"));
  EXPECT_EQ(hear(fd), "echo hello\n");
  EXPECT_TRUE(flood_until([&] { return socket_->clients() == 1; })) << "given up in the end";
  EXPECT_LE(most, 6 * kMaxRequestBytes) << "of what strings reserve";
}

TEST_F(ControlSocketTest, AnAnswerAfterHalfACloseArrives) {
  const FileHandle fd = client();
  ASSERT_TRUE(say(fd, "bye\n"));
  shutdown(fd.get(), SHUT_WR);
  EXPECT_EQ(hear(fd), "echo bye\n");
  EXPECT_TRUE(is_closed(fd));
  EXPECT_TRUE(turn_until([&] { return socket_->clients() == 0; }));
}

TEST_F(ControlSocketTest, BytesOfAnyKindAreALine) {
  const FileHandle fd = client();
  ASSERT_TRUE(say(fd, std::string("\0\xff\xfe\r\x1b[2J\n", 9)));
  EXPECT_EQ(hear(fd), std::string("echo \0\xff\xfe\r\x1b[2J\n", 14));
}

}  // namespace
}  // namespace fovea::launch
