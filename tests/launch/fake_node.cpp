// A real node whose only work is to misbehave on request, for the supervisor's tests.
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include "nodes/runtime/figures/ledger.hpp"
#include "nodes/runtime/process/node.hpp"

extern char** environ;

namespace fovea {
namespace {

using namespace std::chrono_literals;

class FakeNode final : public Node {
 public:
  FakeNode() : Node("fake", "Misbehaves on request") {}

  void declare_parameters(ParameterSet& p) override {
    p.add("behaviour", &behaviour_, "What goes wrong")
        .one_of({"none", "fail_configure", "hang_configure", "slow_configure", "finish", "deaf",
                 "with_helper", "source"});
    p.add("address", &address_, "Where nothing comes from")
        .checked_by([](std::string_view text) -> Result<> {
          if (text.find("://") != std::string_view::npos) return {};
          return fail(ErrorCode::kInvalidArgument, "'" + std::string(text) + "' has no scheme");
        });
    p.add("model", &model_, "A file that it needs").names_file();
    p.add("crash_starts", &crash_starts_, "Starts that end in a crash on activation");
    p.add("hang_starts", &hang_starts_, "Starts that hang once active");
    p.add("event_file", &event_file_,
          "Gets a line when the node starts and one when it is told to stop");
  }

  Result<> on_configure() override {
    note("start");
    metrics().counter("joins_late") = metrics().joins_late() ? 1 : 0;
    if (behaviour_ == "fail_configure") return fail(ErrorCode::kUnavailable, "the lens cap is on");
    if (behaviour_ == "hang_configure") hang();
    if (behaviour_ == "slow_configure") {
      // Three times the deadline of the test, but with a beating heart.
      for (int i = 0; i < 300; ++i) {
        beat();
        std::this_thread::sleep_for(10ms);
      }
    }
    return {};
  }

  Result<> on_activate() override {
    if (metrics().starts() <= static_cast<std::uint32_t>(crash_starts_)) std::abort();
    if (metrics().starts() <= static_cast<std::uint32_t>(hang_starts_))
      executor().post([] { hang(); });
    if (behaviour_ == "finish") executor().post([this] { request_shutdown(0); });
    if (behaviour_ == "with_helper") start_helper();
    if (behaviour_ == "source") {
      ledger_.emplace(metrics(), name());
      ledger_->writes(name() + "/image");
    }
    // A stopped process takes no signal but SIGKILL.
    if (behaviour_ == "deaf") executor().post([] { raise(SIGSTOP); });
    return {};
  }

  Result<> on_deactivate() override {
    note("stop");
    return {};
  }

 private:
  [[noreturn]] static void hang() {
    while (true) pause();
  }

  void start_helper() {
    std::string program = "/bin/sleep";
    std::string seconds = "1000";
    char* words[] = {program.data(), seconds.data(), nullptr};
    pid_t pid = 0;
    if (posix_spawn(&pid, program.c_str(), nullptr, nullptr, words, environ) == 0) {
      metrics().counter("helper_pid") = static_cast<std::uint64_t>(pid);
    }
  }

  void note(const std::string& what) const {
    if (event_file_.empty()) return;
    const std::string line = name() + " " + what + "\n";
    const int fd = open(event_file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, line.data(), line.size()) < 0) std::abort();
    close(fd);
  }

  std::optional<StageLedger> ledger_;  // of a source, which captures nothing
  std::string behaviour_ = "none";
  std::string address_;
  std::string model_;
  std::int64_t crash_starts_ = 0;
  std::int64_t hang_starts_ = 0;
  std::string event_file_;
};

}  // namespace

std::unique_ptr<Node> make_node() { return std::make_unique<FakeNode>(); }

}  // namespace fovea
