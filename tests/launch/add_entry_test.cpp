// One entry of the launch language that is added to a graph: it means what it would mean at the end
// of the launch file, and every mistake is told with its line.
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "launch/language/graph.hpp"

namespace fovea::launch {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class AddEntry : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "fovea_entry_XXXXXX").string();
    root_ = mkdtemp(pattern.data());
    write("fovea-camera", "#!/bin/true\n");
    fs::permissions(root_ / "fovea-camera", fs::perms::owner_all);
    write("camera.yaml", "rate: 5\n");
    write("main.yaml", R"yaml(launch:
  - arg: {name: video, default: "synthetic://"}
  - let: {name: fps, value: "7"}
  - node: {exec: fovea-camera, name: sink}
)yaml");
    running_ = load_graph(root_ / "main.yaml", options()).value();
  }
  void TearDown() override { fs::remove_all(root_); }

  LoadOptions options() const { return {{}, root_, "/usr/share/fovea"}; }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(root_ / name) << text;
  }
  Result<Graph> add(const std::string& text) const {
    return add_entry(running_, text, {"cam4.yaml", root_}, options());
  }

  fs::path root_;
  Graph running_;
};

TEST_F(AddEntry, AListThatAliasesMakeLongIsRefused) {
  std::string entry = "- node: {exec: fovea-camera, param: [{name: uri, value: [&a \"";
  entry += std::string(1000, 'x') + '"';
  for (int i = 0; i < 5000; ++i) entry += ", *a";
  const auto graph = add(entry + "]}]}");
  ASSERT_FALSE(graph);
  EXPECT_THAT(graph.error().message, HasSubstr("node.param.value is longer than 64 KiB"));
}

TEST_F(AddEntry, MeansWhatItWouldMeanAtTheEndOfTheLaunchFile) {
  const auto graph = add(R"yaml(- node:
    exec: fovea-camera
    name: cam4
    param:
      - {from: camera.yaml}
      - {name: uri, value: "$(var video)?fps=$(var fps)"}
      - {name: here, value: "$(dirname) $(share)"}
    depends_on: [sink]
    respawn: true
)yaml");
  ASSERT_TRUE(graph) << graph.error().message;
  ASSERT_EQ(graph->nodes.size(), 2u);
  const NodeAction& node = graph->nodes[1];
  EXPECT_EQ(node.name, "cam4");
  EXPECT_EQ(node.parameters[0].second, "synthetic://?fps=7");
  EXPECT_EQ(node.parameters[1].second, root_.string() + " /usr/share/fovea");
  EXPECT_THAT(node.parameter_files, ElementsAre(root_ / "camera.yaml"));
  EXPECT_THAT(node.depends_on, ElementsAre("sink"));
  EXPECT_TRUE(node.respawn);
  EXPECT_EQ(node.where, "cam4.yaml:2");
  EXPECT_EQ(graph->variables, running_.variables);
}

TEST_F(AddEntry, MayStandAloneOrBeJson) {
  for (const char* text : {"node: {exec: fovea-camera, name: cam4}",
                           R"({"node": {"exec": "fovea-camera", "name": "cam4"}})",
                           R"([{"node": {"exec": "fovea-camera", "name": "cam4"}}])"}) {
    const auto graph = add(text);
    ASSERT_TRUE(graph) << graph.error().message;
    EXPECT_EQ(graph->nodes[1].name, "cam4");
  }
}

TEST_F(AddEntry, EveryMistakeIsToldWithItsLine) {
  const std::vector<std::pair<std::string, const char*>> cases{
      {"", "cam4.yaml:1: a launch file holds one YAML document"},
      {"- node: {exec: fovea-camera, nam: x}", "cam4.yaml:1: unknown key `nam` in node"},
      {"- node:\n    exec: fovea-camer", "`fovea-camer`; no such executable"},
      {"- node: {exec: fovea-camera, name: sink}", "node name `sink` is already used at"},
      {"- node: {exec: fovea-camera, name: c, depends_on: [snik]}",
       "depends on `snik`, which does not exist; did you mean `sink`?"},
      {"- node: {exec: fovea-camera, name: c, depends_on: [c]}", "waits for it in turn"},
      {"- node: {exec: fovea-camera, name: \"$(var nmae)\"}", "undefined variable `nmae`"},
      {"- node: {exec: fovea-camera, name: c, if: \"false\"}", "switched off by its own `if`"},
      {"- include: {file: main.yaml}", "the entry is a `include`; it must be a `node`"},
      {"[]", "the list holds 0 entries; it must hold one `node`"},
      {"- node: {exec: fovea-camera}\n- node: {exec: fovea-camera}", "the list holds 2 entries"},
      {"just text", "a launch entry is `just text`; it must be a map"},
      {"{node: [1, 2", "cam4.yaml:1"},
      {std::string(60'000, '['), "cam4.yaml"},
  };
  for (const auto& [text, message] : cases) {
    const auto graph = add(text);
    ASSERT_FALSE(graph) << message;
    EXPECT_THAT(graph.error().message, HasSubstr(message));
  }
}

}  // namespace
}  // namespace fovea::launch
