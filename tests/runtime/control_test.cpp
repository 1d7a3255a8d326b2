#include "nodes/runtime/process/control.hpp"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fovea {
namespace {

using State = msgs::LifecycleState;

class Control : public testing::Test {
 protected:
  std::string ask(std::string_view request) {
    ControlOperations operations;
    operations.state = [this] { return lifecycle_.state(); };
    operations.change_state = [this](Transition transition) -> Result<> {
      calls_.emplace_back(to_string(transition));
      FOVEA_TRY(lifecycle_.begin(transition));
      lifecycle_.finish(Outcome::kSuccess);
      return {};
    };
    operations.parameters_json = [] { return std::string(R"({"max_batch":8})"); };
    operations.shutdown = [this] { calls_.emplace_back("end"); };
    return answer_control(request, operations);
  }

  Lifecycle lifecycle_;
  std::vector<std::string> calls_;
};

TEST_F(Control, EveryOperationAnswers) {
  EXPECT_EQ(ask(R"({"op":"get_state"})"), R"({"ok":true,"state":"unconfigured"})");
  EXPECT_EQ(ask(R"({"op":"change_state","transition":"configure"})"),
            R"({"ok":true,"state":"inactive"})");
  EXPECT_EQ(ask(R"({"op":"get_parameters"})"), R"({"ok":true,"parameters":{"max_batch":8}})");
  EXPECT_EQ(ask(R"({"op":"shutdown"})"), R"({"ok":true})");
  EXPECT_EQ(calls_, (std::vector<std::string>{"configure", "end"}));
}

TEST_F(Control, RefusedTransitionTellsTheState) {
  EXPECT_EQ(
      ask(R"({"op":"change_state","transition":"cleanup"})"),
      R"({"ok":false,"error":"cannot cleanup: the node is unconfigured; it must be inactive",)"
      R"("state":"unconfigured"})");
}

TEST_F(Control, MalformedRequestsChangeNothing) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "the request is no JSON"},
      {"{", "the request is no JSON"},
      {"{} x", "the request is no JSON"},
      {std::string("\0", 1), "the request is no JSON"},
      {"{\"op\": \"\xff\"}", "the request is no JSON"},
      {std::string(100'000, '['), "the request is no JSON"},
      {"[]", "the request is no JSON object"},
      {"null", "the request is no JSON object"},
      {"3", "the request is no JSON object"},
      {"{}", "'op' is missing; it must be a string"},
      {R"({"op":1})", "'op' is missing; it must be a string"},
      {R"({"op":null})", "'op' is missing; it must be a string"},
      {R"({"op":""})",
       "op is ''; it must be one of get_state, change_state, get_parameters, shutdown"},
      {R"({"op":"GET_STATE"})",
       "op is 'GET_STATE'; it must be one of get_state, change_state, get_parameters, shutdown"},
      {R"({"op":"get_state","x":1})", "unknown key 'x' in get_state"},
      {R"({"op":"shutdown","transition":"configure"})", "unknown key 'transition' in shutdown"},
      {R"({"op":"change_state"})", "'transition' is missing; it must be a string"},
      {R"({"op":"change_state","transition":7})", "'transition' is missing; it must be a string"},
      {R"({"op":"change_state","transition":"explode"})",
       "transition is 'explode'; it must be one of configure, activate, deactivate, cleanup, "
       "shutdown"}};
  for (const auto& [request, error] : cases) {
    EXPECT_EQ(ask(request), R"({"ok":false,"error":")" + error + "\"}") << request;
  }
  EXPECT_TRUE(calls_.empty());
  EXPECT_EQ(lifecycle_.state(), State::kUnconfigured);
}

TEST_F(Control, DeepNestingInsideAnObjectIsSafe) {
  const std::string deep(50'000, '['), close(50'000, ']');
  EXPECT_THAT(ask(R"({"op":"get_state","x":)" + deep + close + "}"),
              testing::HasSubstr("unknown key 'x'"));
}

}  // namespace
}  // namespace fovea
