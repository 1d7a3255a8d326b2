// run_node() as users and supervisors see it: a process with a command line, signals, a metrics
// page and a control socket.
#include "nodes/runtime/process/node.hpp"

#include <array>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/base/instruction_set.hpp"
#include "nodes/runtime/figures/metrics.hpp"
#include "nodes/runtime/process/control.hpp"
#include "nodes/runtime/topics/pubsub.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

using State = msgs::LifecycleState;
using test::Child;
using test::eventually;
using testing::HasSubstr;
using testing::Not;

// The child has ended and waits to be reaped.
bool waitid_ended(pid_t pid) {
  siginfo_t info{};
  return waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == pid;
}

class NodeProcess : public testing::Test {
 protected:
  std::unique_ptr<Child> start(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--domain", "test"});
    return start_bare(std::move(arguments));
  }
  std::unique_ptr<Child> start_bare(std::vector<std::string> arguments) {
    return std::make_unique<Child>(domain_.root(), TRIVIAL_NODE, std::move(arguments));
  }
  // Runs to its end; output in `out` and `err`.
  int run(std::vector<std::string> arguments) {
    const auto child = start_bare(std::move(arguments));
    const int code = child->wait();
    out = child->out();
    err = child->err();
    return code;
  }
  std::string file(const std::string& name, const std::string& text) {
    const auto path = domain_.root() / name;
    std::ofstream(path) << text;
    return path.string();
  }
  std::unique_ptr<MetricsReader> reader(const std::string& node = "trivial") {
    auto result = MetricsReader::open(*domain_, node);
    return result ? std::move(*result) : nullptr;
  }
  bool reaches(State state, const std::string& node = "trivial") {
    return eventually([&] {
      const auto seen = reader(node);
      return seen && seen->alive() && seen->state() == state;
    });
  }
  std::string ask(const std::string& request) {
    const auto reply = control_request(*domain_, "trivial", request, std::chrono::seconds(30));
    return reply ? *reply : reply.error().message;
  }
  std::size_t files_left() const {
    std::size_t count = 0;
    for (const char* folder : {"shm", "run"}) {
      for (const auto& entry :
           std::filesystem::recursive_directory_iterator(domain_.root() / folder)) {
        const auto name = entry.path().filename().string();
        count += entry.is_socket() || name.find("metrics") != std::string::npos ? 1 : 0;
      }
    }
    return count;
  }

  test::TestDomain domain_;
  std::string out, err;
};

TEST_F(NodeProcess, HelpListsParametersInOrderWithLimitsAndDefaults) {
  EXPECT_EQ(run({"--help"}), 0);
  EXPECT_EQ(err, "");
  std::size_t at = 0;
  for (const char* text : {"Counts ticks",
                           "Usage: fovea-trivial",
                           "Parameters:",
                           "--period-ms N",
                           "Time between ticks (1..1000 ms, default 5)",
                           "--label TEXT",
                           "--quick [true|false]",
                           "--fail-in TEXT",
                           "one of nowhere, configure",
                           "--weights KEY=X,..",
                           "Options of every node:",
                           "--name TEXT",
                           "--domain TEXT",
                           "--params-file FILE",
                           "-p NAME:=VALUE",
                           "--log-level LEVEL",
                           "--no-autostart",
                           "--dump-config",
                           "--control-fd N",
                           "--keep-metrics",
                           "--version",
                           "--help"}) {
    const std::size_t found = out.find(text, at);
    ASSERT_NE(found, std::string::npos) << text << " in " << out;
    at = found;
  }
}

TEST_F(NodeProcess, VersionIsPrinted) {
  EXPECT_EQ(run({"--version"}), 0);
  EXPECT_THAT(out, testing::MatchesRegex("fovea-trivial [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST_F(NodeProcess, DumpedConfigurationCanBeLoaded) {
  EXPECT_EQ(run({"--dump-config", "--period-ms", "7", "--quick", "--weights", "a=0.5,b=1"}), 0);
  EXPECT_THAT(out, HasSubstr("# Time between ticks (1..1000 ms)\nperiod_ms: 7\n"));
  EXPECT_THAT(out, HasSubstr("quick: true\n"));
  EXPECT_THAT(out, HasSubstr("weights: {a: 0.5, b: 1}\n"));
  const std::string first = out;
  EXPECT_EQ(run({"--dump-config", "--params-file", file("dumped.yaml", first)}), 0);
  EXPECT_EQ(out, first);
}

TEST_F(NodeProcess, ParameterSourcesOverrideEachOtherInTheDocumentedOrder) {
  const std::string a = file("a.yaml", "period_ms: 10\nlabel: a\n"),
                    b = file("b.yaml", "period_ms: 11\n");
  EXPECT_EQ(run({"--dump-config", "--label=line", "-p", "label:=p", "-p", "fail_in:=tick",
                 "--params-file", a, "--params-file", b}),
            0);
  EXPECT_THAT(out, HasSubstr("period_ms: 11\n"));
  EXPECT_THAT(out, HasSubstr("label: line\n"));
  EXPECT_THAT(out, HasSubstr("fail_in: tick\n"));
}

TEST_F(NodeProcess, FalseForAFlag) {
  const std::string quick = file("quick.yaml", "quick: true\n");
  EXPECT_EQ(run({"--dump-config", "--params-file", quick, "--quick=false"}), 0);
  EXPECT_THAT(out, HasSubstr("quick: false\n"));
  EXPECT_EQ(run({"--dump-config", "--quick", "false"}), 0);
  EXPECT_THAT(out, HasSubstr("quick: false\n"));
}

TEST_F(NodeProcess, WrongUsageEndsWithTwoAndOneLine) {
  const std::string bad = file("bad.yaml", "label: x\nperiod: 3\n");
  const struct {
    std::vector<std::string> arguments;
    std::string error;
  } cases[] = {
      {{"--period-ms", "0"}, "error: --period-ms: period_ms is 0; it must be 1..1000\n"},
      {{"--period-ms", "-5"}, "error: --period-ms: period_ms is -5; it must be 1..1000\n"},
      {{"-p", "period_ms:=x"}, "error: -p: period_ms is 'x'; it must be a whole number, 1..1000\n"},
      {{"-p", "period_ms=3"}, "error: -p is 'period_ms=3'; it must be name:=value\n"},
      {{"-p", "perod_ms:=3"}, "error: -p: unknown key 'perod_ms'; did you mean 'period_ms'?\n"},
      {{"--params-file", bad},
       "error: " + bad +
           ":2: unknown key 'period'; valid keys are period_ms, label, quick, fail_in, wait_for, "
           "weights\n"},
      {{"--params-file", "/nonexistent"}, "error: /nonexistent: No such file or directory\n"},
      {{"--perod-ms", "3"}, "error: unknown option '--perod-ms'; did you mean '--period-ms'?\n"},
      {{"--unlike-anything=1"}, "error: unknown option '--unlike-anything'; --help lists all\n"},
      {{"surplus"}, "error: unexpected argument 'surplus' (--help lists all options)\n"},
      {{"--log-level", "loud"},
       "error: --log-level is 'loud'; it must be one of debug, info, warning, error\n"},
      {{"--control-fd", "77"}, "error: --control-fd is 77; it must be an open descriptor\n"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(run(c.arguments), 2) << c.error;
    EXPECT_EQ(err, c.error);
    EXPECT_EQ(out, "");
  }
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--name", "Not A Name"},
        {"--domain", "../x"},
        {"--period-ms"},
        {"--control-fd", "x"}}) {
    EXPECT_EQ(run(arguments), 2);
    EXPECT_THAT(err, testing::StartsWith("error: "));
  }
}

TEST_F(NodeProcess, StopsInOrderOnSignalsAndLeavesNothing) {
  signal(SIGHUP, SIG_DFL);  // ignored where the tests run under nohup
  for (const int stop : {SIGTERM, SIGINT, SIGHUP}) {
    const auto node = start({"--log-level", "debug"});
    ASSERT_TRUE(reaches(State::kActive)) << node->err();
    EXPECT_EQ(files_left(), 3u);  // page, control socket, status topic
    ASSERT_TRUE(eventually([&] { return reader()->value("ticks", "", "none") > 3; }));
    node->send(stop);
    EXPECT_EQ(node->wait(), 0);
    EXPECT_EQ(files_left(), 0u) << node->err();
    std::size_t at = 0;
    for (const char* text :
         {"configuring", "inactive", "activating", "active", "stopping", "deactivating",
          "cleaning_up", "unconfigured", "shutting_down", "finalized"}) {
      at = node->err().find(text, at);
      ASSERT_NE(at, std::string::npos) << text << " in " << node->err();
    }
    EXPECT_THAT(node->err(), HasSubstr("[trivial] [info]"));
    EXPECT_THAT(node->err(), Not(HasSubstr("\x1b")));  // no colours in a file
  }
}

TEST_F(NodeProcess, ItsSocketsAreItsOwnersOnly) {
  const auto node = start({});
  ASSERT_TRUE(reaches(State::kActive)) << node->err();
  std::size_t sockets = 0;
  for (const auto& entry : std::filesystem::directory_iterator(domain_->socket_directory())) {
    if (!entry.is_socket()) continue;
    ++sockets;
    EXPECT_EQ(entry.status().permissions(),
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write)
        << entry.path();
  }
  EXPECT_EQ(sockets, 2u);  // control and status
}

TEST_F(NodeProcess, RestartsAreCountedAsItsSupervisorDoes) {
  const auto node = start({"--restarts", "5"});
  ASSERT_TRUE(reaches(State::kActive)) << node->err();
  EXPECT_EQ(reader()->starts(), 6u);
}

TEST_F(NodeProcess, ChecksItsParametersWithoutStarting) {
  EXPECT_EQ(run({"--check-params", "--period-ms", "7"}), 0) << err;
  EXPECT_EQ(run({"--check-params", "--period-ms", "0"}), 2);
  EXPECT_THAT(err, HasSubstr("period_ms is 0; it must be 1..1000"));
  EXPECT_EQ(files_left(), 0u);
}

TEST_F(NodeProcess, ParametersThatDoNotGoTogetherAreToldTheSameWayWhenCheckedAndWhenStarted) {
  const std::string why = "label and period_ms do not go together";
  EXPECT_EQ(run({"--check-params", "--fail-in", "parameters"}), 2);
  EXPECT_EQ(err, "error: " + why + "\n");
  EXPECT_EQ(files_left(), 0u);
  EXPECT_EQ(run({"--domain", "test", "--fail-in", "parameters"}), 2);
  EXPECT_THAT(err, HasSubstr(why));
}

TEST_F(NodeProcess, AnInstructionSetThatThereIsNotIsRefusedBeforeItStarts) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--check-params"}, {"--domain", "test"}}) {
    setenv("FOVEA_ISA", "nonsense", 1);
    const int code = run(arguments);
    unsetenv("FOVEA_ISA");
    EXPECT_EQ(code, 2);
    EXPECT_EQ(err, "error: FOVEA_ISA is nonsense; it must be " + instruction_set_names() + "\n");
    EXPECT_EQ(files_left(), 0u);
  }
  for (const std::string isa : {"", "scalar"}) {
    setenv("FOVEA_ISA", isa.c_str(), 1);
    EXPECT_EQ(run({"--check-params"}), 0) << err;
    unsetenv("FOVEA_ISA");
  }
}

TEST_F(NodeProcess, ADumpOfItsParametersTellsNoPassword) {
  EXPECT_EQ(run({"--dump-config", "--label", "rtsp://me:hid,den@cam/1"}), 0) << err;
  EXPECT_THAT(out,
              testing::AllOf(HasSubstr("label: \"rtsp://***@cam/1\""), Not(HasSubstr("den@"))));
}

TEST_F(NodeProcess, PasswordsOnItsCommandLineCannotBeRead) {
  const auto node = start({"-p", "label:=rtsp://me:hidden@cam/1", "--label", "rtsp://x:covert@y"});
  ASSERT_TRUE(reaches(State::kActive)) << node->err();
  std::ifstream file("/proc/" + std::to_string(node->pid()) + "/cmdline");
  const std::string words{std::istreambuf_iterator<char>(file), {}};
  EXPECT_THAT(words, HasSubstr("rtsp://***@cam/1"));
  EXPECT_THAT(words, testing::AllOf(Not(HasSubstr("hidden")), Not(HasSubstr("covert"))));
}

// From too few to begin with up to enough: whatever the number, the node runs or says why not.
TEST_F(NodeProcess, WithoutDescriptorsItEndsWithAFailureThatSaysSo) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "UBSan needs descriptors of its own to judge a virtual call";
#endif
  bool ran = false;
  for (int limit = 12; !ran && limit < 100; limit += 2) {
    Child node(domain_.root(), "/bin/sh",
               {"-c", fmt::format("ulimit -n {}; exec {} --domain test", limit, TRIVIAL_NODE)});
    ASSERT_TRUE(eventually([&] {
      const auto seen = reader();
      ran = seen && seen->alive() && seen->state() == State::kActive;
      return ran || kill(node.pid(), 0) != 0 || waitid_ended(node.pid());
    })) << limit;
    if (ran) node.send(SIGTERM);
    const int code = node.wait();
    if (ran && code == 0) break;
    ran = false;
    EXPECT_NE(code, 0) << limit;
    EXPECT_THAT(node.err(), testing::AnyOf(HasSubstr("Too many open files"),
                                           HasSubstr("descriptor"), HasSubstr("shared libraries")))
        << limit;
    EXPECT_THAT(node.err(), Not(HasSubstr("a live process listens"))) << limit;
  }
  EXPECT_TRUE(ran);
}

TEST_F(NodeProcess, KeepsItsPageWhenTold) {
  const auto node = start({"--keep-metrics", "--name", "other"});
  ASSERT_TRUE(reaches(State::kActive, "other"));
  node->send(SIGTERM);
  EXPECT_EQ(node->wait(), 0);
  const auto seen = reader("other");
  ASSERT_NE(seen, nullptr);
  EXPECT_FALSE(seen->alive());
  EXPECT_EQ(seen->state(), State::kFinalized);
  EXPECT_EQ(seen->type(), "trivial");
}

TEST_F(NodeProcess, SecondInstanceEndsAtOnceAndTheFirstRunsOn) {
  const auto first = start({});
  ASSERT_TRUE(reaches(State::kActive));
  const auto second = start({});
  EXPECT_EQ(second->wait(), 1);
  EXPECT_THAT(second->err(),
              HasSubstr("[error] node 'trivial' already runs in domain 'test' (pid " +
                        std::to_string(first->pid()) + "); stop it or choose another --domain"));
  EXPECT_THAT(ask(R"({"op": "get_state"})"), HasSubstr("active"));
}

TEST_F(NodeProcess, ConfigureThatCannotWorkEndsWithTwoAndItsReasonStaysInThePage) {
  const auto node = start({"--fail-in", "configure", "--keep-metrics"});
  EXPECT_EQ(node->wait(), 2);
  EXPECT_THAT(node->err(), HasSubstr("[error] configure: /dev/nothing: no such camera\n"));
  const auto seen = reader();
  ASSERT_NE(seen, nullptr);
  EXPECT_EQ(seen->level(), msgs::DiagnosticLevel::kError);
  EXPECT_EQ(seen->status(), "/dev/nothing: no such camera");
  EXPECT_EQ(seen->state(), State::kFinalized);
}

TEST_F(NodeProcess, FailureThatMayPassEndsWithOne) {
  for (const char* where : {"configure_throw", "activate", "tick", "tick_throw"}) {
    EXPECT_EQ(start({"--fail-in", where})->wait(), 1) << where;
    EXPECT_EQ(files_left(), 0u) << where;
  }
  const auto node = start({"--fail-in", "deactivate"});
  ASSERT_TRUE(reaches(State::kActive));
  node->send(SIGTERM);
  EXPECT_EQ(node->wait(), 1);
  EXPECT_EQ(files_left(), 0u);
}

TEST_F(NodeProcess, LeavingThatIsCutShortByTheStopIsNoFailure) {
  const auto node = start({"--fail-in", "deactivate_cut_short"});
  ASSERT_TRUE(reaches(State::kActive));
  node->send(SIGTERM);
  EXPECT_EQ(node->wait(), 0);
  EXPECT_THAT(node->err(), HasSubstr("[info] deactivate: cut short\n"));
  EXPECT_EQ(files_left(), 0u);
}

TEST_F(NodeProcess, WhatACallbackThrowsEndsTheNodeInOrderAndStaysInThePage) {
  const auto node = start({"--fail-in", "tick_throw", "--keep-metrics", "--log-level", "debug"});
  EXPECT_EQ(node->wait(), 1);
  EXPECT_THAT(node->err(), HasSubstr("[error] thrown in a tick\n"));
  EXPECT_THAT(node->err(), HasSubstr("cleaning_up"));
  const auto seen = reader();
  ASSERT_NE(seen, nullptr);
  EXPECT_EQ(seen->status(), "thrown in a tick");
  EXPECT_EQ(seen->level(), msgs::DiagnosticLevel::kError);
}

TEST_F(NodeProcess, StopsWhenItsSupervisorIsGone) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  fcntl(ends[0], F_SETFD, 0);  // only the read end goes to the node
  const auto node = start({"--control-fd", std::to_string(ends[0])});
  close(ends[0]);
  ASSERT_TRUE(reaches(State::kActive));
  ASSERT_EQ(write(ends[1], "x", 1), 1);  // bytes mean nothing
  ASSERT_THAT(ask(R"({"op": "get_state"})"), HasSubstr("active"));
  close(ends[1]);
  EXPECT_EQ(node->wait(), 0);
  EXPECT_THAT(node->err(), HasSubstr("the supervisor is gone"));
  EXPECT_EQ(files_left(), 0u);
}

TEST_F(NodeProcess, SignalDuringConfigureStopsAfterIt) {
  const std::string gate = (domain_.root() / "gate").string();
  const auto node = start({"--wait-for", gate});
  ASSERT_TRUE(reaches(State::kConfiguring));
  ASSERT_TRUE(eventually([&] { return reader()->status() == "waiting"; }));
  node->send(SIGTERM);
  ASSERT_TRUE(
      eventually([&] { return node->err().find("SIGTERM: stopping") != std::string::npos; }));
  const std::int64_t beat = reader()->last_beat_ns();
  EXPECT_TRUE(
      eventually([&] { return reader()->last_beat_ns() > beat; }));  // still in on_configure()
  file("gate", "");
  EXPECT_EQ(node->wait(), 0);
  EXPECT_THAT(node->err(), Not(HasSubstr("activating")));
  EXPECT_EQ(files_left(), 0u);
}

TEST_F(NodeProcess, SecondSignalEndsAtOnce) {
  const std::array<std::array<int, 2>, 2> pairs{{{SIGTERM, SIGTERM}, {SIGTERM, SIGINT}}};
  for (const auto& [first, second] : pairs) {
    const auto node = start({"--wait-for", "/nonexistent"});
    ASSERT_TRUE(reaches(State::kConfiguring));
    node->send(first);
    ASSERT_TRUE(eventually([&] { return node->err().find(": stopping") != std::string::npos; }));
    node->send(second);
    EXPECT_EQ(node->wait(), 128 + second);
    domain_->sweep();
    EXPECT_EQ(files_left(), 0u);
  }
}

TEST_F(NodeProcess, KilledNodeIsContinuedByTheNext) {
  std::uint64_t ticks = 0;
  {
    const auto node = start({});
    ASSERT_TRUE(reaches(State::kActive));
    ASSERT_TRUE(eventually([&] { return (ticks = reader()->value("ticks", "", "none")) > 0; }));
    node->send(SIGKILL);
    EXPECT_EQ(node->wait(), 1000 + SIGKILL);
  }
  EXPECT_FALSE(reader()->alive());
  const auto node = start({});
  // The page that the killed one left says that it is active.
  ASSERT_TRUE(eventually([&] { return reader()->starts() == 2; })) << node->err();
  ASSERT_TRUE(reaches(State::kActive)) << node->err();
  EXPECT_GE(reader()->value("ticks", "", "none"), ticks);
}

TEST_F(NodeProcess, ControlSocketDrivesTheLifecycle) {
  const auto node = start({"--no-autostart"});
  const auto change = [&](const std::string& transition) {
    return ask(R"({"op": "change_state", "transition": ")" + transition + "\"}");
  };
  EXPECT_EQ(ask(R"({"op": "get_state"})"), R"({"ok":true,"state":"unconfigured"})");
  EXPECT_EQ(
      change("activate"),
      R"({"ok":false,"error":"cannot activate: the node is unconfigured; it must be inactive",)"
      R"("state":"unconfigured"})");
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(change("configure"), R"({"ok":true,"state":"inactive"})");
    EXPECT_EQ(change("activate"), R"({"ok":true,"state":"active"})");
    const std::uint64_t before = reader()->value("ticks", "", "none");
    EXPECT_TRUE(eventually([&] { return reader()->value("ticks", "", "none") > before; }));
    EXPECT_EQ(change("deactivate"), R"({"ok":true,"state":"inactive"})");
    EXPECT_EQ(reader()->state(), State::kInactive);
    EXPECT_EQ(change("cleanup"), R"({"ok":true,"state":"unconfigured"})");
  }
  EXPECT_EQ(change("shutdown"), R"({"ok":true,"state":"finalized"})");
  EXPECT_EQ(node->wait(), 0);
  EXPECT_EQ(files_left(), 0u);
}

TEST_F(NodeProcess, FailedTransitionByControlLeavesTheNodeRunning) {
  const auto node = start({"--no-autostart", "--fail-in", "configure"});
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(ask(R"({"op": "change_state", "transition": "configure"})"),
              R"({"ok":false,"error":"/dev/nothing: no such camera","state":"unconfigured"})");
  }
  EXPECT_EQ(ask(R"({"op": "shutdown"})"), R"({"ok":true})");
  EXPECT_EQ(node->wait(), 0);
}

TEST_F(NodeProcess, ControlSocketTellsTheParameters) {
  const auto node = start({"--label", "x"});
  EXPECT_EQ(
      ask(R"({"op": "get_parameters"})"),
      R"({"ok":true,"parameters":{"period_ms":5,"label":"x","quick":false,"fail_in":"nowhere","wait_for":"",)"
      R"("weights":{}}})");
}

TEST_F(NodeProcess, GarbageOnTheControlSocketDoesNotEndTheNode) {
  const auto node = start({});
  for (const std::string& request : {std::string("{"), std::string(), std::string("\0\xff\xfe", 3),
                                     std::string(200'000, '['), std::string("[1, 2]")}) {
    EXPECT_THAT(ask(request),
                testing::StartsWith(R"({"ok":false,"error":"the request is no JSON)"));
  }
  EXPECT_THAT(ask(R"({"op": "get_state"})"), HasSubstr(R"("ok":true)"));
}

TEST_F(NodeProcess, RequestToNobodyIsUnavailable) {
  const auto reply = control_request(*domain_, "nobody", "{}", std::chrono::milliseconds(20));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(reply.error().message, "node 'nobody' of domain 'test' did not answer within 20 ms");
}

TEST_F(NodeProcess, HeartbeatIsPublishedAndInThePage) {
  const auto node = start({"--name", "beating"});
  ASSERT_TRUE(reaches(State::kActive, "beating"));
  const std::int64_t beat = reader("beating")->last_beat_ns();
  QoS latched;
  latched.durability = Durability::kTransientLocal;
  auto subscription = Subscription<msgs::NodeStatus>::create(*domain_, "beating/status", latched);
  ASSERT_TRUE(subscription) << subscription.error().message;
  std::vector<msgs::NodeStatus> received;
  ASSERT_TRUE(eventually([&] {
    subscription->drain();
    while (auto message = subscription->take()) received.push_back(message->message);
    return received.size() >= 2;
  }));
  const msgs::NodeStatus& status = received.back();
  EXPECT_EQ(status.node.view(), "beating");
  EXPECT_EQ(status.type.view(), "trivial");
  EXPECT_EQ(status.pid, static_cast<std::uint32_t>(node->pid()));
  EXPECT_EQ(status.state, State::kActive);
  EXPECT_EQ(status.level, msgs::DiagnosticLevel::kOk);
  EXPECT_TRUE(eventually([&] { return reader("beating")->last_beat_ns() > beat; }));
}

}  // namespace
}  // namespace fovea
