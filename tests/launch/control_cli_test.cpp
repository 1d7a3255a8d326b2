// A running launch that is changed from the command line, as a user meets it: what changes, what is
// refused, and what the other nodes notice of it.
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "launch/supervision/control_client.hpp"
#include "launch/supervision/control_socket.hpp"
#include "nodes/base/file_handle.hpp"
#include "tests/launch/cli_fixture.hpp"
#include "tests/support/build_paths.hpp"

namespace fovea::launch {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ControlCliTest : public CliTest {
 protected:
  std::unique_ptr<ChildProcess> launch(const std::string& nodes, std::size_t count) {
    auto process = start({"launch", launch_file(nodes), "--domain", "test"});
    EXPECT_TRUE(wait_for([&] {
      read_more(*process);
      return all_active(count);
    })) << output_;
    launch_output_ += std::exchange(output_, {});
    return process;
  }
  Outcome ask(std::vector<std::string> words) {
    words.insert(words.end(), {"--domain", "test"});
    return run(std::move(words));
  }
  std::string entry_file(const std::string& text) {
    const auto file = domain_.root() / "entry.yaml";
    std::ofstream(file) << text;
    return file;
  }
  static std::string entry(const std::string& name, const std::string& more = "") {
    return "- node: {exec: " FOVEA_FAKE_NODE ", name: " + name + more + "}\n";
  }
  // Pids of living nodes by name.
  std::map<std::string, std::uint32_t> pids() const {
    std::map<std::string, std::uint32_t> found;
    for (const NodeView& node : take_snapshot(*domain_, false).nodes) {
      if (node.alive) found[node.name] = node.pid;
    }
    return found;
  }
  ControlReply list() const { return ask_launch(*domain_, {}).value(); }
  void expect_ends_well(ChildProcess& process) {
    process.signal(SIGINT);
    const Outcome outcome = finish(process);
    EXPECT_TRUE(outcome.status.success()) << outcome.output;
    EXPECT_THAT(domain_.leftovers(), IsEmpty());
  }

  std::string launch_output_;
};

TEST_F(ControlCliTest, ANodeIsAddedToARunningLaunchAndRemovedAgain) {
  const auto process = launch(fake("sink"), 1);
  const auto before = pids();
  const Outcome added = ask({"node", "add", entry_file(entry("cam4", ", depends_on: [sink]"))});
  EXPECT_TRUE(added.status.success()) << added.output;
  EXPECT_EQ(added.output, "starting cam4\n");
  ASSERT_TRUE(wait_for([&] { return all_active(2); }));

  const Outcome needed = ask({"node", "remove", "sink"});
  EXPECT_EQ(needed.status.code, 1);
  EXPECT_THAT(needed.output, HasSubstr("cam4 depends on node `sink`; remove it with it"));

  const Outcome removed = ask({"node", "remove", "cam4"});
  EXPECT_TRUE(removed.status.success()) << removed.output;
  EXPECT_EQ(removed.output, "stopping cam4\n");
  ASSERT_TRUE(wait_for([&] { return list().nodes.size() == 1; }));
  EXPECT_EQ(pids(), before) << "nobody else noticed";
  expect_ends_well(*process);
}

TEST_F(ControlCliTest, AnEntryFromStdinKnowsTheVariablesOfTheLaunch) {
  const auto process = launch("  - arg: {name: address, default: \"a://b\"}\n" + fake("a"), 1);
  auto shell = ChildProcess::spawn(
                   {"/bin/sh", "-c",
                    "echo '" + entry("b", ", param: [{name: address, value: $(var address)}]") +
                        "' | " FOVEA_BIN_DIR "/fovea node add - --domain test"},
                   {})
                   .value();
  const Outcome added = finish(*shell);
  EXPECT_TRUE(added.status.success()) << added.output;
  EXPECT_TRUE(wait_for([&] { return all_active(2); }));
  expect_ends_well(*process);
}

TEST_F(ControlCliTest, AParameterIsSetAndItsNodeAloneRestarts) {
  const auto process = launch(fake("a", ", depends_on: [b]") + fake("b"), 2);
  const auto before = pids();
  const std::string file = domain_.root() / "events";
  const Outcome outcome = ask({"param", "set", "b", "event_file", file});
  EXPECT_TRUE(outcome.status.success()) << outcome.output;
  EXPECT_EQ(outcome.output, "restarting b\n");
  ASSERT_TRUE(wait_for([&] {
    const auto now = pids();
    return all_active(2) && now.contains("b") && now.at("b") != before.at("b");
  }));
  EXPECT_EQ(pids().at("a"), before.at("a"));
  std::string line;
  std::ifstream stream(file);
  std::getline(stream, line);
  EXPECT_EQ(line, "b start");
  EXPECT_EQ(ask({"param", "set", "b", "event_file", file}).output, "nothing to change\n");
  expect_ends_well(*process);
}

TEST_F(ControlCliTest, WhatIsRefusedChangesNothing) {
  const auto process = launch(fake("a", ", depends_on: [b]") + fake("b"), 2);
  const auto before = pids();
  const std::string file = domain_.root() / "entry.yaml";
  const std::vector<std::tuple<std::string, std::vector<std::string>, const char*>> cases{
      {entry("c", ", nam: x"), {"node", "add", file}, "entry.yaml:1: unknown key `nam` in node"},
      {entry("b"), {"node", "add", file}, "node name `b` is already used at"},
      {entry("c", ", depends_on: [d]"), {"node", "add", file}, "depends on `d`, which does not"},
      {entry("c", ", param: [{name: crash_starts, value: some}]"),
       {"node", "add", file},
       "entry.yaml:1: crash_starts is 'some'; it must be a whole number"},
      {entry("c", ", param: [{name: model, value: /no/such.onnx}]"),
       {"node", "add", file},
       "model: /no/such.onnx: No such file or directory"},
      {"", {"node", "remove", "b"}, "a depends on node `b`; remove it with it"},
      {"", {"node", "remove", "cc"}, "no node `cc` in this launch"},
      {"",
       {"param", "set", "b", "crash_starts", "some"},
       "node `b`: set_parameter: crash_starts is 'some'; it must be a whole number"},
      {"", {"param", "set", "b", "behavior", "none"}, "did you mean 'behaviour'?"},
      {"", {"param", "set", "bb", "behaviour", "none"}, "no node `bb` in this launch"},
  };
  for (const auto& [text, words, message] : cases) {
    entry_file(text);
    const Outcome outcome = ask(words);
    EXPECT_EQ(outcome.status.code, 1) << message;
    EXPECT_THAT(outcome.output, HasSubstr(message));
    EXPECT_EQ(pids(), before);
  }
  const Outcome absent = ask({"node", "add", "/no/such/entry.yaml"});
  EXPECT_EQ(absent.status.code, 2);
  EXPECT_THAT(absent.output, HasSubstr("/no/such/entry.yaml"));
  EXPECT_EQ(list().nodes.size(), 2u);
  expect_ends_well(*process);
}

TEST_F(ControlCliTest, WithoutALaunchTheCommandsSaySo) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"node", "add", entry_file(entry("a"))},
        {"node", "remove", "a"},
        {"param", "set", "a", "b", "c"}}) {
    const Outcome outcome = ask(words);
    EXPECT_EQ(outcome.status.code, 1);
    EXPECT_THAT(outcome.output, HasSubstr("no launch runs in domain `test`"));
  }
}

TEST_F(ControlCliTest, AClientThatSendsGarbageHarmsNothing) {
  const auto process = launch(fake("a"), 1);
  const auto before = pids();
  std::vector<FileHandle> clients;
  for (const std::string& text :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(200'000, '{'),
        std::string("\0\xff\n", 3),
        std::string("{\"version\":1,\"op\":\"add_node\",\"entry\":\"node: [&a [*a\"}\n"),
        std::string("{\"version\":1,")}) {
    FileHandle fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    control_socket_path(*domain_).native().copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    clients.push_back(std::move(fd));
    EXPECT_EQ(list().nodes.size(), 1u);
  }
  EXPECT_EQ(pids(), before);
  expect_ends_well(*process);
}

TEST_F(ControlCliTest, ALaunchAfterOneThatWasKilledCanBeSpokenTo) {
  const auto killed = launch(fake("a"), 1);
  killed->signal(SIGKILL);
  finish(*killed);
  EXPECT_EQ(ask({"node", "remove", "a"}).status.code, 1);
  EXPECT_TRUE(std::filesystem::exists(control_socket_path(*domain_)));
  ASSERT_TRUE(wait_for([&] { return pids().empty(); }));
  const auto process = launch(fake("a"), 1);
  EXPECT_EQ(ask({"param", "set", "a", "address", "a://b"}).output, "restarting a\n");
  ASSERT_TRUE(wait_for([&] { return all_active(1); }));
  expect_ends_well(*process);
}

TEST_F(ControlCliTest, ATerminationSignalDuringAChangeEndsAllInOrder) {
  const auto process =
      launch(fake("deaf",
                  ", param: [{name: behaviour, value: deaf}], depends_on: [b], "
                  "heartbeat_timeout: 3600, sigterm_timeout: 0.2, sigkill_timeout: 0.2") +
                 fake("b", ", depends_on: [c]") + fake("c"),
             3);
  EXPECT_EQ(ask({"node", "remove", "deaf", "b"}).output, "stopping deaf, b\n");
  process->signal(SIGTERM);
  const Outcome outcome = finish(*process);
  EXPECT_EQ(outcome.status.code, 128 + SIGTERM) << outcome.output;
  EXPECT_FALSE(outcome.status.by_signal);
  EXPECT_THAT(domain_.leftovers(), IsEmpty());
}

TEST_F(ControlCliTest, ATerminationSignalWhileAProgramIsAskedEndsAllAtOnce) {
  const auto process = launch(fake("a"), 1);
  const std::filesystem::path asked = domain_.root() / "asked";
  const std::filesystem::path silent = domain_.root() / "silent";
  std::ofstream(silent) << "#!/bin/sh\necho $$ > " << asked.string() << "\nexec sleep 1000\n";
  std::filesystem::permissions(silent, std::filesystem::perms::owner_all);
  const auto add = start(
      {"node", "add", entry_file("- node: {exec: " + silent.string() + "}"), "--domain", "test"});
  pid_t pid = 0;
  ASSERT_TRUE(wait_for([&] { return bool(std::ifstream(asked) >> pid); }));
  process->signal(SIGTERM);
  const Outcome outcome = finish(*process);
  EXPECT_EQ(outcome.status.code, 128 + SIGTERM) << outcome.output;
  EXPECT_THAT(domain_.leftovers(), IsEmpty());
  const Outcome unanswered = finish(*add);
  EXPECT_EQ(unanswered.status.code, 1);
  EXPECT_THAT(unanswered.output, testing::AnyOf(HasSubstr("ended before it answered"),
                                                HasSubstr("the launch is ending")));
  EXPECT_NE(kill(pid, 0), 0) << "the program that was asked is gone";
}

TEST_F(ControlCliTest, ALaunchWhoseOnlySourceIsRemovedWaitsForAnother) {
  const std::string source = ", param: [{name: behaviour, value: source}], depends_on: [sink]";
  const auto process = launch(fake("cam0", source) + fake("sink"), 2);
  EXPECT_TRUE(ask({"node", "remove", "cam0"}).status.success());
  ASSERT_TRUE(wait_for([&] {
    read_more(*process);
    return output_.find("cam0 ended") != std::string::npos;  // its summary has looked at it
  })) << output_;
  EXPECT_EQ(output_.find("all sources have ended"), std::string::npos);
  EXPECT_TRUE(ask({"node", "add", entry_file(entry("cam0", source))}).status.success());
  EXPECT_TRUE(wait_for([&] { return all_active(2); }));
  expect_ends_well(*process);
}

TEST_F(ControlCliTest, ALaunchWhoseOnlySourceFailsOnceItIsChangedWaitsForAnotherChange) {
  const std::string source = ", param: [{name: behaviour, value: source}], depends_on: [sink]";
  const auto process = launch(fake("cam0", source) + fake("sink"), 2);
  EXPECT_TRUE(ask({"param", "set", "cam0", "behaviour", "fail_configure"}).status.success());
  ASSERT_TRUE(wait_for([&] {
    read_more(*process);
    return output_.find("cam0 ended") != std::string::npos;  // its summary has looked at it
  })) << output_;
  EXPECT_EQ(output_.find("all sources have ended"), std::string::npos);
  EXPECT_TRUE(ask({"param", "set", "cam0", "behaviour", "source"}).status.success());
  EXPECT_TRUE(wait_for([&] { return all_active(2); }));
  expect_ends_well(*process);
}

TEST_F(ControlCliTest, TheLaunchEndsWhenItsLastNodeIsRemoved) {
  const auto process = launch(fake("a") + fake("b"), 2);
  EXPECT_TRUE(ask({"node", "remove", "a", "b"}).status.success());
  const Outcome outcome = finish(*process);
  EXPECT_TRUE(outcome.status.success()) << outcome.output;
  EXPECT_THAT(domain_.leftovers(), IsEmpty());
}

TEST_F(ControlCliTest, APasswordInANewValueIsShownNowhere) {
  const auto process = launch(fake("a"), 1);
  const std::string secret = "rtsp://me:hidden@cam/1";
  EXPECT_TRUE(ask({"param", "set", "a", "address", secret}).status.success());
  const Outcome wrong = ask({"param", "set", "a", "behaviour", secret});
  EXPECT_EQ(wrong.status.code, 1);
  EXPECT_EQ(wrong.output.find("hidden"), std::string::npos) << wrong.output;
  ASSERT_TRUE(wait_for([&] { return all_active(1); }));
  process->signal(SIGINT);
  const Outcome outcome = finish(*process);
  EXPECT_TRUE(outcome.status.success()) << outcome.output;
  EXPECT_EQ(outcome.output.find("hidden"), std::string::npos) << outcome.output;
}

}  // namespace
}  // namespace fovea::launch
