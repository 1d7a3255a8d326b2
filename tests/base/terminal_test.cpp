#include "nodes/base/terminal.hpp"

#include <array>
#include <csignal>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fovea {
namespace {

struct Pipe {
  Pipe() { EXPECT_EQ(pipe(ends.data()), 0); }
  ~Pipe() {
    for (const int fd : ends) close(fd);
  }
  std::array<int, 2> ends{};
};

// Runs `body` in a process of its own; its exit code, or 128 + signal.
template <class Body>
int in_child(Body body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(Terminal, ALineWhoseReaderIsGoneIsDroppedAndCounted) {
  EXPECT_EQ(in_child([] {
              prepare_process();
              std::array<int, 2> ends{};
              if (pipe(ends.data()) != 0) return 1;
              close(ends[0]);
              print_line(ends[1], "nobody reads this");
              return dropped_lines() == 1 ? 0 : 2;
            }),
            0);
}

TEST(Terminal, AReaderThatTakesNothingDelaysNoLaterLine) {
  Pipe pipe;
  const std::uint64_t before = dropped_lines();
  for (int i = 0; i < 2000; ++i) print_line(pipe.ends[1], std::string(100, 'x'));
  EXPECT_GT(dropped_lines(), before + 100);
  std::array<char, 1 << 16> buffer{};
  EXPECT_GT(read(pipe.ends[0], buffer.data(), buffer.size()), 0);
  const std::uint64_t full = dropped_lines();
  print_line(pipe.ends[1], "room again");
  EXPECT_EQ(dropped_lines(), full);
}

TEST(Terminal, ClosedStandardStreamsAreTakenByDevNull) {
  EXPECT_EQ(in_child([] {
              for (const int fd : {0, 1, 2}) close(fd);
              prepare_process();
              const int next = open("/dev/zero", O_RDONLY);
              return next > 2 && fcntl(0, F_GETFD) == 0 && write(1, "x", 1) == 1 &&
                             write(2, "x", 1) == 1
                         ? 0
                         : 1;
            }),
            0);
}

TEST(Terminal, ArgumentsAreTakenAndTheirPasswordsOverwritten) {
  std::string program = "fovea", plain = "model:=/a.onnx", secret = "video:=rtsp://me:hidden@cam/1";
  char* argv[] = {program.data(), plain.data(), secret.data(), nullptr};
  const std::vector<std::string> words = take_arguments(3, argv);
  EXPECT_EQ(words,
            (std::vector<std::string>{"fovea", "model:=/a.onnx", "video:=rtsp://me:hidden@cam/1"}));
  EXPECT_EQ(plain, "model:=/a.onnx");
  EXPECT_EQ(secret.substr(0, 22), "video:=rtsp://***@cam/");
  EXPECT_EQ(secret.find("hidden"), std::string::npos);
}

TEST(Terminal, AFullStdoutIsAnErrorThatSaysSo) {
  EXPECT_EQ(in_child([] {
              dup2(open("/dev/full", O_WRONLY), 1);
              const auto written = write_stdout("text");
              return !written && written.error().code == ErrorCode::kExhausted ? 0 : 1;
            }),
            0);
}

}  // namespace
}  // namespace fovea
