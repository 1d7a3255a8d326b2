// What has to happen between two graphs, and which graphs are none.
#include "launch/supervision/graph_difference.hpp"

#include <array>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fovea::launch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

NodeAction node(const std::string& name, std::vector<std::string> depends_on = {}) {
  NodeAction action;
  action.name = name;
  action.executable = "/bin/" + name;
  action.depends_on = std::move(depends_on);
  action.where = "test.launch.yaml:" + std::to_string(name.size());
  return action;
}

Graph graph(std::vector<NodeAction> nodes) {
  Graph graph;
  graph.nodes = std::move(nodes);
  return graph;
}

// camera -> middle -> sink, as frames go.
Graph pipeline() {
  return graph({node("camera", {"middle"}), node("middle", {"sink"}), node("sink")});
}

TEST(GraphDifference, EqualGraphsDifferInNothing) {
  Graph from = pipeline();
  Graph to = pipeline();
  from.nodes[0].parameters = {{"a", "1"}, {"b", "2"}};
  to.nodes[0].parameters = {{"b", "2"}, {"a", "1"}};
  to.nodes[0].parameter_places["a"] = to.nodes[0].where = "other.launch.yaml:7";
  std::swap(to.nodes[0], to.nodes[2]);
  EXPECT_TRUE(difference(from, to).empty());
}

TEST(GraphDifference, NewNodesStartAfterWhatTheyDependOn) {
  const GraphDifference change = difference(graph({node("other")}), [] {
    Graph to = pipeline();
    to.nodes.push_back(node("other"));
    return to;
  }());
  EXPECT_THAT(change.started, ElementsAre("sink", "middle", "camera"));
  EXPECT_THAT(change.stopped, IsEmpty());
  EXPECT_THAT(change.restarted, IsEmpty());
}

TEST(GraphDifference, NodesThatAreGoneStopBeforeWhatTheyDependOn) {
  const GraphDifference change = difference(pipeline(), graph({node("sink")}));
  EXPECT_THAT(change.stopped, ElementsAre("camera", "middle"));
  EXPECT_THAT(change.started, IsEmpty());
}

TEST(GraphDifference, AnotherProgramParameterFileOrVariableRestartsTheNodeAlone) {
  const auto changes = std::to_array<void (*)(NodeAction&)>({
      [](NodeAction& n) { n.executable = "/bin/other"; },
      [](NodeAction& n) {
        n.parameters = {{"a", "2"}};
      },
      [](NodeAction& n) { n.parameters.clear(); },
      [](NodeAction& n) { n.parameters.emplace_back("b", "1"); },
      [](NodeAction& n) { n.parameter_files = {"b.yaml"}; },
      [](NodeAction& n) {
        n.environment = {{"A", "2"}};
      },
  });
  for (const auto change : changes) {
    Graph from = pipeline();
    from.nodes[1].parameters = {{"a", "1"}};
    from.nodes[1].parameter_files = {"a.yaml"};
    from.nodes[1].environment = {{"A", "1"}};
    Graph to = from;
    change(to.nodes[1]);
    const GraphDifference found = difference(from, to);
    EXPECT_THAT(found.restarted, ElementsAre("middle"));
    EXPECT_THAT(found.adjusted, IsEmpty());
    EXPECT_THAT(found.started, IsEmpty());
    EXPECT_THAT(found.stopped, IsEmpty());
  }
}

TEST(GraphDifference, OtherSupervisionRestartsNothing) {
  const auto changes = std::to_array<void (*)(NodeAction&)>({
      [](NodeAction& n) { n.respawn = true; },
      [](NodeAction& n) { n.respawn_delay = Seconds(3); },
      [](NodeAction& n) { n.respawn_max_retries = 3; },
      [](NodeAction& n) { n.start_timeout = Seconds(3); },
      [](NodeAction& n) { n.heartbeat_timeout = Seconds(3); },
      [](NodeAction& n) { n.sigterm_timeout = Seconds(3); },
      [](NodeAction& n) { n.sigkill_timeout = Seconds(3); },
      [](NodeAction& n) { n.depends_on.clear(); },
  });
  for (const auto change : changes) {
    Graph to = pipeline();
    change(to.nodes[1]);
    const GraphDifference found = difference(pipeline(), to);
    EXPECT_THAT(found.adjusted, ElementsAre("middle"));
    EXPECT_THAT(found.restarted, IsEmpty());
  }
}

TEST(GraphDifference, AGraphWithLooseOrCircularNamesIsNone) {
  const std::vector<std::pair<Graph, const char*>> cases{
      {graph({node("a", {"snik"}), node("sink")}),
       "test.launch.yaml:1: node `a` depends on `snik`, which does not exist; did you mean "
       "`sink`?"},
      {graph({node("a", {"b"}), node("b", {"a"})}), "which waits for it in turn"},
      {graph({node("a", {"a"})}), "which waits for it in turn"},
      {graph({node("a"), node("a")}), "node name `a` is already used at test.launch.yaml:1"},
  };
  for (const auto& [bad, message] : cases) {
    const auto checked = check_graph(bad);
    ASSERT_FALSE(checked) << message;
    EXPECT_THAT(checked.error().message, HasSubstr(message));
  }
  EXPECT_TRUE(check_graph(pipeline()));
  EXPECT_TRUE(check_graph({}));
}

TEST(GraphDifference, DependentsAreThoseThatNameTheNode) {
  EXPECT_THAT(dependents_of(pipeline(), "sink"), ElementsAre("middle"));
  EXPECT_THAT(dependents_of(pipeline(), "camera"), IsEmpty());
}

}  // namespace
}  // namespace fovea::launch
