// What is said over the control socket, and what is refused with a reason.
#include "launch/supervision/control_messages.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/supervision/control_requests.hpp"

namespace fovea::launch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Operation = ControlRequest::Operation;

TEST(ControlMessages, RequestsSurviveTheirWayAsText) {
  ControlRequest add;
  add.operation = Operation::kAddNode;
  add.entry = "- node:\n    exec: \"fovea-camera\"\n";
  add.source = "cam4.yaml";
  add.directory = "/tmp";
  const auto read = parse_request(to_json(add));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(to_json(add).find('\n'), std::string::npos);
  EXPECT_EQ(read->operation, Operation::kAddNode);
  EXPECT_EQ(read->entry, add.entry);
  EXPECT_EQ(read->source, add.source);
  EXPECT_EQ(read->directory, add.directory);

  ControlRequest set;
  set.operation = Operation::kSetParameter;
  set.node = "detector";
  set.parameter = "confidence";
  set.value = "0.4";
  EXPECT_EQ(parse_request(to_json(set))->value, "0.4");
}

TEST(ControlMessages, ValuesBecomeTheTextOfALaunchFile) {
  for (const auto& [json, text] : std::vector<std::pair<std::string, std::string>>{
           {"0.4", "0.4"},
           {"true", "true"},
           {"\"a b\"", "a b"},
           {"[\"cam0\",\"cam1\"]", "[\"cam0\",\"cam1\"]"},
           {"{\"person\":0.5}", "{\"person\":0.5}"}}) {
    const auto request = parse_request(
        R"({"version":1,"op":"set_parameter","node":"n","parameter":"p","value":)" + json + "}");
    ASSERT_TRUE(request) << request.error().message;
    EXPECT_EQ(request->value, text);
  }
}

TEST(ControlMessages, WhatIsNoRequestIsRefusedWithItsReason) {
  const std::vector<std::pair<std::string, const char*>> cases{
      {"", "no JSON object"},
      {"\xff\x00\x01", "no JSON object"},
      {std::string(60'000, '['), "no JSON object"},
      {"[1]", "no JSON object"},
      {R"({"op":"list"})", "lacks `version`"},
      {R"({"version":2,"op":"list"})", "version is 2; this launch speaks version 1"},
      {R"({"version":)" + std::string(30000, '[') + std::string(30000, ']') + "}",
       "version is a list or map"},
      {R"({"version":1})", "lacks `op`"},
      {R"({"version":1,"op":5})", "`op` is no text"},
      {R"({"version":1,"op":"add_nod"})", "did you mean `add_node`?"},
      {R"({"version":1,"op":"list","nodes":["a"]})", "unknown key `nodes` in list"},
      {R"({"version":1,"op":"add_node"})", "lacks `entry`"},
      {R"({"version":1,"op":"add_node","entry":"a\u0000b"})", "`entry` holds a NUL"},
      {R"({"version":1,"op":"remove_node","nodes":[]})", "`nodes` is no list of names"},
      {R"({"version":1,"op":"remove_node","node":"a"})", "did you mean `nodes`?"},
      {R"({"version":1,"op":"set_parameter","node":"a","parameter":"b","value":null})",
       "`value` must be text"},
      {R"({"version":1,"op":"set_parameter","node":"a","parameter":"b","value":)" +
           std::string(5000, '[') + std::string(5000, ']') + "}",
       "`value` must be text"},
  };
  for (const auto& [line, message] : cases) {
    const auto request = parse_request(line);
    ASSERT_FALSE(request) << message;
    EXPECT_THAT(request.error().message, HasSubstr(message));
    const std::string reply = to_json(ControlReply{request.error().message, {}, {}, {}, {}, 0, {}});
    EXPECT_EQ(parse_reply(reply)->error, request.error().message);
  }
}

TEST(ControlMessages, RepliesSurviveTheirWayAsText) {
  ControlReply change;
  change.started = {"a"};
  change.stopped = {"b", "c"};
  change.restarted = {"d"};
  change.warnings = {"e"};
  const auto read = parse_reply(to_json(change));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_THAT(read->started, ElementsAre("a"));
  EXPECT_THAT(read->stopped, ElementsAre("b", "c"));
  EXPECT_THAT(read->restarted, ElementsAre("d"));
  EXPECT_THAT(read->warnings, ElementsAre("e"));

  ControlReply list;
  list.pid = 7;
  list.nodes = {{"a", Phase::kBackoff, 0, 3}};
  const auto nodes = parse_reply(to_json(list));
  ASSERT_TRUE(nodes) << nodes.error().message;
  EXPECT_EQ(nodes->pid, 7);
  ASSERT_EQ(nodes->nodes.size(), 1u);
  EXPECT_EQ(nodes->nodes[0].phase, Phase::kBackoff);
  EXPECT_EQ(nodes->nodes[0].restarts, 3u);
}

TEST(ControlMessages, WhatIsNoReplyIsToldSo) {
  for (const char* line : {"", "x", "{}", R"({"version":1})", R"({"version":1,"ok":false})",
                           R"({"version":2,"ok":true})", R"({"version":1,"ok":true,"pid":"x"})",
                           R"({"version":1,"ok":true,"pid":1,"nodes":[{"name":"a"}]})"}) {
    EXPECT_FALSE(parse_reply(line)) << line;
  }
}

Graph pipeline() {
  Graph graph;
  for (const auto& [name, on] : std::vector<std::pair<std::string, std::vector<std::string>>>{
           {"cam0", {"sink"}}, {"cam1", {"sink"}}, {"sink", {}}}) {
    NodeAction node;
    node.name = name;
    node.depends_on = on;
    graph.nodes.push_back(node);
  }
  return graph;
}

TEST(ControlRequests, ANodeThatOthersDependOnIsRemovedWithThemOnly) {
  const auto alone = without_nodes(pipeline(), {"sink"});
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.error().message, "cam0, cam1 depend on node `sink`; remove them with it");
  const auto two = without_nodes(pipeline(), {"sink", "cam1"});
  ASSERT_FALSE(two);
  EXPECT_EQ(two.error().message, "cam0 depends on node `sink`; remove it with it");
  EXPECT_TRUE(without_nodes(pipeline(), {"sink", "cam1", "cam0"})->nodes.empty());
  EXPECT_EQ(without_nodes(pipeline(), {"cam1"})->nodes.size(), 2u);
}

TEST(ControlRequests, AnUnknownNodeIsToldWithTheNearest) {
  EXPECT_EQ(without_nodes(pipeline(), {"snik"}).error().message,
            "no node `snik` in this launch; did you mean `sink`?");
  EXPECT_THAT(with_parameter(pipeline(), "cam", "a", "b").error().message,
              HasSubstr("no node `cam` in this launch"));
}

TEST(ControlRequests, AParameterIsReplacedOrAddedWithItsPlace) {
  Graph graph = pipeline();
  graph.nodes[0].parameters = {{"uri", "a"}, {"fps", "10"}};
  graph.nodes[0].parameter_places = {{"uri", "x.yaml:3"}, {"fps", "x.yaml:4"}};
  const Graph replaced = with_parameter(graph, "cam0", "uri", "b").value();
  EXPECT_THAT(replaced.nodes[0].parameters,
              ElementsAre(NameValue{"uri", "b"}, NameValue{"fps", "10"}));
  EXPECT_EQ(replaced.nodes[0].parameter_places.at("uri"), "set_parameter");
  const Graph added = with_parameter(graph, "cam1", "uri", "b").value();
  EXPECT_THAT(added.nodes[1].parameters, ElementsAre(NameValue{"uri", "b"}));
}

}  // namespace
}  // namespace fovea::launch
