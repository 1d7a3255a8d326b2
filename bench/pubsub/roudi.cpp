#include "bench/pubsub/roudi.hpp"

#include <csignal>
#include <fstream>
#include <iterator>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fovea::bench {
namespace {

// A payload's chunk also carries iceoryx's header.
constexpr const char* kConfiguration = R"([general]
version = 1

[[segment]]

[[segment.mempool]]
size = 512
count = 256

[[segment.mempool]]
size = 1048576
count = 24

[[segment.mempool]]
size = 6291456
count = 24

[[segment.mempool]]
size = 25165824
count = 24
)";

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

RouDi::RouDi(const std::filesystem::path& directory) {
  const std::filesystem::path configuration = directory / "roudi.toml";
  const std::filesystem::path output = directory / "roudi.out";
  std::ofstream(configuration) << kConfiguration;
  std::string program = "iox-roudi", c = "-c", path = configuration, m = "-m", off = "off";
  char* argv[] = {program.data(), c.data(), path.data(), m.data(), off.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  // Ours are blocked.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  const int error = posix_spawnp(&pid_, program.c_str(), &actions, &attributes, argv, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    pid_ = -1;
    error_ = "iox-roudi does not start: run bench/pubsub/install_rivals.sh";
    return;
  }
  for (int i = 0; i < 600; ++i) {
    if (text_of(output).find("RouDi is ready for clients") != std::string::npos) return;
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
      error_ = "iox-roudi ended at once (does another one run?): " + text_of(output);
      return;
    }
    usleep(50'000);
  }
  error_ = "iox-roudi is not ready after 30 s: " + text_of(output);
}

RouDi::~RouDi() {
  if (pid_ < 0) return;
  kill(pid_, SIGTERM);
  for (int i = 0; i < 200; ++i) {
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) return;
    usleep(50'000);
  }
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

}  // namespace fovea::bench
