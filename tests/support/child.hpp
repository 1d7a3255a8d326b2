// A node under test as a child process, with its output kept. Kills it if the test forgets to.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/eventually.hpp"

namespace fovea::test {

class Child {
 public:
  // Standard output and error go to files in `directory`; other descriptors that are not
  // close-on-exec are inherited.
  Child(const std::filesystem::path& directory, const std::string& program,
        std::vector<std::string> arguments) {
    static int number = 0;
    out_ = directory / ("out" + std::to_string(++number));
    err_ = directory / ("err" + std::to_string(number));
    arguments.insert(arguments.begin(), program);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, err_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int error = posix_spawn(&pid_, program.c_str(), &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::runtime_error("cannot start " + program);
  }
  ~Child() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  void send(int signal) const { kill(pid_, signal); }

  // Exit code, or 1000 + signal; -1 if a watchdog of two minutes expires first.
  int wait() {
    int status = 0;
    const auto ended = [&] { return waitpid(pid_, &status, WNOHANG) == pid_; };
    if (!eventually(ended, std::chrono::minutes(2))) return -1;
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }

  std::string out() const { return text_of(out_); }
  std::string err() const { return text_of(err_); }

 private:
  static std::string text_of(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  pid_t pid_ = -1;
  std::filesystem::path out_, err_;
};

}  // namespace fovea::test
