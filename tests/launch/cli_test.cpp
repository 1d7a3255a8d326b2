// The `fovea` command as a user meets it: exit codes, messages, what is left behind. Runs the real
// executable on nodes that misbehave (fake_node.cpp).
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <signal.h>
#include <unistd.h>

#include "msgs/detection.hpp"
#include "nodes/runtime/topics/pubsub.hpp"
#include "tests/launch/cli_fixture.hpp"
#include "tests/support/build_paths.hpp"

namespace fovea::launch {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(CliTest, HelpAndVersion) {
  const Outcome help = run({"--help"});
  EXPECT_TRUE(help.status.success());
  for (const char* command : {"launch", "topic", "node", "engine"})
    EXPECT_THAT(help.output, HasSubstr(command));
  EXPECT_THAT(run({"--version"}).output, HasSubstr("fovea 0."));
}

TEST_F(CliTest, MistypedWordsAreToldWithWhatWasMeant) {
  const std::vector<std::pair<std::vector<std::string>, const char*>> cases{
      {{"lauch", "x.yaml"}, "unknown command `lauch`; did you mean `launch`?"},
      {{"topic", "lst"}, "unknown command `lst`; did you mean `list`?"},
      {{"launch", "x.yaml", "--durtion", "5"},
       "unknown option `--durtion`; did you mean `--duration`?"},
      {{"node", "list", "--jsn"}, "unknown option `--jsn`; did you mean `--json`?"},
      {{"launch", "x.yaml", "video=5"}, "`video=5` is no launch argument; write name:=value"},
      {{"launch", "x.yaml", "a:=1", "a:=2"}, "argument `a` is given twice"},
      {{"launch", "x.yaml", "--duration", "-3"}, "--duration"},
      {{"launch"}, "file is required"},
      {{"topic", "echo"}, "topic is required"},
      {{"launch", "nowhere.launch.yaml"}, "nowhere.launch.yaml: no such launch file"},
      {{"node", "list", "--domain", "Bad Name"}, "Bad Name"},
      {{}, "subcommand is required"},
  };
  for (const auto& [words, message] : cases) {
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.status.code, 2) << message;
    EXPECT_THAT(outcome.output, HasSubstr(message));
  }
}

TEST_F(CliTest, RefusesABadLaunchFileWithItsLine) {
  const Outcome outcome =
      run({"launch", launch_file("  - node: {exec: " FOVEA_FAKE_NODE ", nam: x}\n")});
  EXPECT_EQ(outcome.status.code, 2);
  EXPECT_THAT(outcome.output,
              HasSubstr("test.launch.yaml:2: unknown key `nam` in node; did you mean `name`?"));
}

TEST_F(CliTest, DryRunShowsCommandsAndStartsNothing) {
  const Outcome outcome =
      run({"launch", launch_file(fake("cam0")), "--dry-run", "--domain", "test"});
  EXPECT_TRUE(outcome.status.success());
  EXPECT_THAT(outcome.output, HasSubstr("--domain test --name cam0"));
  EXPECT_THAT(domain_.leftovers(), IsEmpty());
}

TEST_F(CliTest, ShowsTheArgumentsOfALaunchFile) {
  const Outcome outcome = run({"launch", "four_cameras", "--show-args"});
  EXPECT_TRUE(outcome.status.success());
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("video:="), HasSubstr("default synthetic://")));
}

TEST_F(CliTest, RunsForTheDurationAndLeavesOnlyItsReport) {
  const fs::path report = domain_.root() / "report.json";
  const Outcome outcome = run({"launch", launch_file(fake("a") + fake("b", ", depends_on: [a]")),
                               "--domain", "test", "--duration", "0.2", "--json", report.string()});
  EXPECT_TRUE(outcome.status.success()) << outcome.output;
  EXPECT_THAT(domain_.leftovers(), IsEmpty());
  const auto json = nlohmann::json::parse(std::ifstream(report));
  EXPECT_EQ(json["restarts"], nlohmann::json({{"a", 0}, {"b", 0}}));
}

TEST_F(CliTest, QuietWithJsonOnStdoutPrintsNothingElseThere) {
  const Outcome outcome = run(
      {"launch", launch_file(fake("a")), "--domain", "test", "--duration", "0.1", "--json", "-"});
  EXPECT_THAT(outcome.output, HasSubstr("\"cameras\": {}"));
  EXPECT_THAT(outcome.output, HasSubstr("\"detector\": null"));
}

TEST_F(CliTest, CtrlCEndsItInOrder) {
  const auto launch = start(
      {"launch", launch_file(fake("a") + fake("b", ", depends_on: [a]")), "--domain", "test"});
  ASSERT_TRUE(wait_for([&] { return all_active(2); }));
  launch->signal(SIGINT);
  const Outcome outcome = finish(*launch);
  EXPECT_TRUE(outcome.status.success()) << outcome.output;
  EXPECT_THAT(domain_.leftovers(), IsEmpty());
}

TEST_F(CliTest, ATerminationSignalEndsItInOrderAndItsExitCodeSaysWhich) {
  for (const int signal : {SIGTERM, SIGHUP}) {
    const auto launch = start({"launch", launch_file(fake("a") + fake("b", ", depends_on: [a]")),
                               "--domain", "test", "--json", "-"});
    ASSERT_TRUE(wait_for([&] { return all_active(2); }));
    launch->signal(signal);
    const Outcome outcome = finish(*launch);
    EXPECT_FALSE(outcome.status.by_signal);
    EXPECT_EQ(outcome.status.code, 128 + signal) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("\"restarts\"")) << "the report is written";
    EXPECT_THAT(domain_.leftovers(), IsEmpty());
  }
}

TEST_F(CliTest, CtrlCEndsItWhileANodeHangsInItsStart) {
  const auto launch =
      start({"launch",
             launch_file(fake("a",
                              ", param: [{name: behaviour, value: hang_configure}], "
                              "sigterm_timeout: 0.1, sigkill_timeout: 0.1")),
             "--domain", "test"});
  ASSERT_TRUE(wait_for([&] { return !take_snapshot(*domain_, false).nodes.empty(); }));
  launch->signal(SIGINT);
  const Outcome outcome = finish(*launch);
  EXPECT_TRUE(outcome.status.success()) << outcome.output;
  EXPECT_THAT(domain_.leftovers(), IsEmpty());
}

TEST_F(CliTest, ANodeThatCannotStartFailsTheLaunchWithItsOwnWords) {
  const Outcome outcome =
      run({"launch", launch_file(fake("a", ", param: [{name: behaviour, value: fail_configure}]")),
           "--domain", "test"});
  EXPECT_EQ(outcome.status.code, 1);
  EXPECT_THAT(outcome.output, HasSubstr("test.launch.yaml:2: node `a` exited with code 1"));
  EXPECT_THAT(outcome.output, HasSubstr("the lens cap is on"));
  EXPECT_THAT(domain_.leftovers(), IsEmpty());
}

TEST_F(CliTest, WrongParametersAreToldWithTheirLinesBeforeAnythingStarts) {
  const std::string file = launch_file("  - node: {exec: " FOVEA_FAKE_NODE
                                       ", name: a}\n"
                                       "  - node:\n      exec: " FOVEA_FAKE_NODE
                                       "\n      name: b\n      param:\n"
                                       "        - {name: crash_starts, value: some}\n"
                                       "  - node:\n      exec: " FOVEA_FAKE_NODE
                                       "\n      name: c\n      param:\n"
                                       "        - {name: behavior, value: none}\n"
                                       "  - node:\n      exec: " FOVEA_FAKE_NODE
                                       "\n      name: d\n      param:\n"
                                       "        - name: address\n          value: me.and.you\n");
  const Outcome outcome = run({"launch", file, "--domain", "test"});
  EXPECT_EQ(outcome.status.code, 2);
  EXPECT_THAT(
      outcome.output,
      AllOf(HasSubstr("test.launch.yaml:7: crash_starts is 'some'; it must be a whole number"),
            HasSubstr("test.launch.yaml:12: unknown key 'behavior'; did you mean 'behaviour'?"),
            HasSubstr("test.launch.yaml:18: address: 'me.and.you' has no scheme")));
  EXPECT_EQ(outcome.output.find("is active"), std::string::npos);
  EXPECT_THAT(domain_.leftovers(), IsEmpty());
}

TEST_F(CliTest, AMissingFileOfANodeIsToldWithItsLineBeforeAnythingStarts) {
  const std::string file = launch_file(fake("a") + "  - node:\n      exec: " FOVEA_FAKE_NODE
                                                   "\n      name: b\n      param:\n"
                                                   "        - {name: model, value: /no/such.onnx}\n");
  const Outcome outcome = run({"launch", file, "--domain", "test"});
  EXPECT_EQ(outcome.status.code, 2);
  EXPECT_THAT(outcome.output, HasSubstr("node `b`: "));
  EXPECT_THAT(outcome.output,
              HasSubstr("test.launch.yaml:7: model: /no/such.onnx: No such file or directory"));
  EXPECT_EQ(outcome.output.find("is active"), std::string::npos);
}

TEST_F(CliTest, APasswordIsInNoCommandLineAndNoOutput) {
  const std::string secret = "address:=rtsp://me:hidden@cam/1";
  const std::string file =
      launch_file("  - arg: {name: address}\n" +
                  fake("a", ", param: [{name: address, value: $(var address)}]"));
  const auto launch = start({"launch", file, "--domain", "test", secret});
  ASSERT_TRUE(wait_for([&] { return all_active(1); }));
  std::vector<std::uint32_t> pids{static_cast<std::uint32_t>(launch->pid())};
  for (const NodeView& node : take_snapshot(*domain_, false).nodes) pids.push_back(node.pid);
  ASSERT_EQ(pids.size(), 2u);
  for (const std::uint32_t pid : pids) {
    std::ifstream words("/proc/" + std::to_string(pid) + "/cmdline");
    const std::string text{std::istreambuf_iterator<char>(words), {}};
    EXPECT_FALSE(text.empty());
    EXPECT_EQ(text.find("hidden"), std::string::npos) << text;
  }
  launch->signal(SIGINT);
  EXPECT_EQ(finish(*launch).output.find("hidden"), std::string::npos);
  for (const char* word : {"--dry-run", "--nonsense", "rtsp://me:hidden@cam/2"}) {
    const Outcome outcome = run({"launch", file, secret, word});
    EXPECT_EQ(outcome.output.find("hidden"), std::string::npos) << outcome.output;
  }
}

TEST_F(CliTest, AReportThatCannotBeWrittenIsToldBeforeAnythingStarts) {
  const Outcome outcome = run(
      {"launch", launch_file(fake("a")), "--domain", "test", "--json", "/nonexistent/report.json"});
  EXPECT_EQ(outcome.status.code, 2);
  EXPECT_THAT(outcome.output, HasSubstr("/nonexistent/report.json"));
  EXPECT_EQ(outcome.output.find("is active"), std::string::npos);
  EXPECT_THAT(domain_.leftovers(), IsEmpty());
}

TEST_F(CliTest, TooFewDescriptorsAreToldWithTheNumbersBeforeAnythingStarts) {
  const std::string line = "ulimit -n 30; exec " FOVEA_BIN_DIR "/fovea launch " +
                           launch_file(fake("a")) + " --domain test";
  auto shell = ChildProcess::spawn({"/bin/sh", "-c", line}, {}).value();
  const Outcome outcome = finish(*shell);
  EXPECT_EQ(outcome.status.code, 2);
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("a process may open 30 files"), HasSubstr("ulimit")));
}

TEST_F(CliTest, ClosedStandardStreamsHarmNothing) {
  const std::string report = domain_.root() / "report.json";
  const std::string launch =
      " launch " + launch_file(fake("a")) + " --domain test --duration 0.1 --json " + report;
  for (const char* closed : {"<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"}) {
    auto shell = ChildProcess::spawn(
                     {"/bin/sh", "-c", "exec " FOVEA_BIN_DIR "/fovea" + launch + " " + closed}, {})
                     .value();
    const Outcome outcome = finish(*shell);
    EXPECT_TRUE(outcome.status.success()) << closed << " " << outcome.output;
    EXPECT_TRUE(fs::remove(report)) << closed;
    EXPECT_THAT(domain_.leftovers(), IsEmpty()) << closed;
    auto node =
        ChildProcess::spawn(
            {"/bin/sh", "-c", std::string("exec " FOVEA_FAKE_NODE " --check-params ") + closed}, {})
            .value();
    EXPECT_TRUE(finish(*node).status.success()) << closed;
  }
}

TEST_F(CliTest, WhatPrintsWithoutEndStopsWhenItsReaderLeaves) {
  auto publisher = Publisher<msgs::Detection2DArray>::create(*domain_, "cam0/detections").value();
  const std::string fovea = FOVEA_BIN_DIR "/fovea topic ";
  for (const char* command : {"echo", "hz"}) {
    SCOPED_TRACE(command);
    const std::string line =
        fovea + command + " cam0/detections --domain test | head -n 1; echo over";
    auto shell = ChildProcess::spawn({"/bin/sh", "-c", line}, {}).value();
    std::jthread feeding([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        msgs::Detection2DArray message;
        publisher.publish(message);
        std::this_thread::sleep_for(1ms);
      }
    });
    EXPECT_THAT(finish(*shell).output, HasSubstr("over"));
  }
}

TEST_F(CliTest, AFullStdoutIsTheExitCodeOfWhatItWasToGet) {
  const std::string fovea = FOVEA_BIN_DIR "/fovea ";
  const std::string file = launch_file("  - arg: {name: x, default: a}\n" + fake("a"));
  for (const std::string& words :
       {std::string("node list --json"), std::string("topic list --json"),
        "launch --show-args " + file, "launch --print " + file}) {
    SCOPED_TRACE(words);
    for (const auto& [stream, code] :
         {std::pair(" >/dev/full", 1), {" >/dev/null", 0}, {" >&-", 0}, {" >&- 2>/dev/full", 0}}) {
      auto shell =
          ChildProcess::spawn({"/bin/sh", "-c", fovea + words + stream}, {{"FOVEA_DOMAIN", "test"}})
              .value();
      const Outcome outcome = finish(*shell);
      EXPECT_FALSE(outcome.status.by_signal);
      EXPECT_EQ(outcome.status.code, code) << stream << outcome.output;
      EXPECT_EQ(outcome.output.find("No space left on device") != std::string::npos, code == 1);
    }
  }
}

TEST_F(CliTest, ASecondLaunchInTheDomainIsRefused) {
  const std::string file = launch_file(fake("a"));
  const auto first = start({"launch", file, "--domain", "test"});
  ASSERT_TRUE(wait_for([&] { return all_active(1); }));
  const std::string before = std::exchange(output_, {});
  const Outcome second = run({"launch", file, "--domain", "test"});
  EXPECT_EQ(second.status.code, 2);
  EXPECT_THAT(second.output,
              HasSubstr("already runs a launch (pid " + std::to_string(first->pid()) + ")"));
  EXPECT_TRUE(all_active(1));
  first->signal(SIGINT);
  EXPECT_TRUE(finish(*first).status.success());
}

TEST_F(CliTest, NodesEndWhenTheirSupervisorIsKilledAndTheNextLaunchCleansUp) {
  const std::string file = launch_file(fake("a") + fake("b"));
  const auto launch = start({"launch", file, "--domain", "test"});
  ASSERT_TRUE(wait_for([&] { return all_active(2); }));
  launch->signal(SIGKILL);
  finish(*launch);
  EXPECT_TRUE(wait_for([&] {
    const Snapshot snapshot = take_snapshot(*domain_, false);
    for (const NodeView& node : snapshot.nodes) {
      if (node.alive) return false;
    }
    return true;
  })) << "a node outlived its supervisor";

  const Outcome next = run({"launch", file, "--domain", "test", "--duration", "0.1"});
  EXPECT_TRUE(next.status.success()) << next.output;
  EXPECT_THAT(next.output, HasSubstr("that an earlier run left in domain `test`"));
  EXPECT_THAT(domain_.leftovers(), IsEmpty());
}

TEST_F(CliTest, NodeListShowsWhatRuns) {
  const auto launch = start({"launch", launch_file(fake("a")), "--domain", "test"});
  ASSERT_TRUE(wait_for([&] { return all_active(1); }));
  output_.clear();
  const auto list =
      nlohmann::json::parse(run({"node", "list", "--domain", "test", "--json"}).output);
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0]["name"], "a");
  EXPECT_EQ(list[0]["type"], "fake");
  EXPECT_EQ(list[0]["state"], "active");
  EXPECT_THAT(run({"node", "list", "--domain", "test"}).output, HasSubstr("active"));
  launch->signal(SIGINT);
  finish(*launch);
}

TEST_F(CliTest, TopicCommandsShowAnyMessage) {
  auto publisher = Publisher<msgs::Detection2DArray>::create(*domain_, "cam0/detections").value();
  std::jthread sender([&](const std::stop_token& stop) {
    msgs::Detection2DArray message;
    message.source_width = 640;
    msgs::Detection2D detection;
    detection.class_name = "person";
    message.detections.push_back(detection);
    while (!stop.stop_requested()) {
      publisher.subscription_count();
      publisher.publish(message);
      std::this_thread::sleep_for(5ms);
    }
  });
  const Outcome echo = run({"topic", "echo", "cam0/detections", "--once", "--domain", "test"});
  EXPECT_TRUE(echo.status.success());
  const auto message = nlohmann::json::parse(echo.output);
  EXPECT_EQ(message["source_width"], 640);
  EXPECT_EQ(message["detections"][0]["class_name"], "person");

  EXPECT_THAT(run({"topic", "hz", "cam0/detections", "--count", "20", "--domain", "test"}).output,
              AllOf(HasSubstr("average rate: "), HasSubstr("window: 19")));
  const auto list = nlohmann::json::parse(
      run({"topic", "list", "--show-types", "--json", "--domain", "test"}).output);
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0]["name"], "cam0/detections");
  EXPECT_EQ(list[0]["alive"], true);
  EXPECT_EQ(list[0]["type"], "Detection2DArray");
  EXPECT_THAT(run({"topic", "list", "--domain", "test"}).output,
              HasSubstr("cam0/detections  alive"));
}

TEST_F(CliTest, EchoOfATopicThatNobodyPublishesSaysSoAndWaits) {
  auto publisher = Publisher<msgs::Detection2DArray>::create(*domain_, "cam0/detections").value();
  const auto echo = start({"topic", "echo", "cam0/detection", "--domain", "test"});
  EXPECT_TRUE(wait_for([&] {
    read_more(*echo);
    return output_.find("did you mean `cam0/detections`?") != std::string::npos;
  })) << output_;
  echo->signal(SIGKILL);
  finish(*echo);
}

TEST_F(CliTest, EngineIsPassedOnWithItsArguments) {
  const Outcome outcome = run({"engine", "--help"});
  // Either the engine tool answers, or its absence is told by name.
  if (access((std::string(FOVEA_BIN_DIR) + "/fovea-engine").c_str(), X_OK) == 0) {
    EXPECT_TRUE(outcome.status.success());
  } else {
    EXPECT_EQ(outcome.status.code, 2);
    EXPECT_THAT(outcome.output, HasSubstr("fovea-engine: No such file"));
  }
}

}  // namespace
}  // namespace fovea::launch
