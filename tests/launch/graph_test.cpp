// The launch language: what it resolves to, and that every mistake is told with its exact place.
#include "launch/language/graph.hpp"

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch/language/substitution.hpp"
#include "launch/language/values.hpp"
#include "tests/support/build_paths.hpp"

namespace fovea::launch {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Pair;

class GraphTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "fovea_graph_XXXXXX").string();
    root_ = mkdtemp(pattern.data());
    fs::create_directories(root_ / "bin");
    for (const char* name : {"fovea-camera", "fovea-detector"}) {
      write(std::string("bin/") + name, "#!/bin/true\n");
      fs::permissions(root_ / "bin" / name, fs::perms::owner_all);
    }
    write("camera.yaml", "rate: 5\n");
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(root_ / name) << text;
  }

  Result<Graph> load(const std::string& text,
                     std::map<std::string, std::string> arguments = {}) const {
    write("main.yaml", text);
    return load_graph(root_ / "main.yaml",
                      {std::move(arguments), root_ / "bin", "/usr/share/fovea"});
  }

  fs::path root_;
};

TEST_F(GraphTest, ResolvesEveryKindOfAction) {
  write("child.yaml", R"yaml(launch:
  - arg: {name: who, default: nobody}
  - arg: {name: uri}
  - node: {exec: fovea-camera, name: "$(var who)", param: [{name: uri, value: "$(var uri)"}]}
)yaml");
  setenv("FOVEA_TEST_RATE", "7.5", 1);
  const auto graph = load(R"yaml(launch:
  - arg: {name: video, default: "synthetic://", description: "where frames come from"}
  - arg: {name: viewer, default: "false"}
  - let: {name: rate, value: "$(env FOVEA_TEST_RATE 10)"
  }
  - include: {file: child.yaml, arg: [{name: who, value: cam1}, {name: uri, value: "$(var video)"}]}
  - group:
      if: "$(var viewer)"
      children:
        - node: {exec: fovea-viewer, name: viewer}
  - group:
      - let: {name: rate, value: "99"}
  - node:
      exec: fovea-camera
      name: cam0
      param:
        - {from: "$(dirname)/camera.yaml"}
        - {name: rate, value: "$(var rate)"}
        - {name: model, value: "$(share)/x.onnx"}
        - {name: cameras, value: [cam0, "$(var video)"]}
      env: [{name: OMP_NUM_THREADS, value: "1"}]
      respawn: true
      respawn_delay: 0.5
      respawn_max_retries: -1
      shm_size: 1.5 MiB
      depends_on: [cam1, viewer]
)yaml",
                          {{"video", "file:///a b.mp4"}});
  unsetenv("FOVEA_TEST_RATE");
  ASSERT_TRUE(graph) << graph.error().message;
  ASSERT_EQ(graph->nodes.size(), 2u);
  EXPECT_EQ(graph->nodes[0].name, "cam1");
  EXPECT_THAT(graph->nodes[0].parameters, ElementsAre(Pair("uri", "file:///a b.mp4")));

  const NodeAction& cam0 = graph->nodes[1];
  EXPECT_EQ(cam0.executable, root_ / "bin/fovea-camera");
  EXPECT_THAT(cam0.parameter_files, ElementsAre(root_ / "camera.yaml"));
  EXPECT_THAT(cam0.parameters,
              ElementsAre(Pair("rate", "7.5"), Pair("model", "/usr/share/fovea/x.onnx"),
                          Pair("cameras", "[cam0, file:///a b.mp4]")));
  EXPECT_THAT(cam0.environment, ElementsAre(Pair("OMP_NUM_THREADS", "1")));
  EXPECT_TRUE(cam0.respawn);
  EXPECT_EQ(cam0.respawn_delay.count(), 0.5);
  EXPECT_EQ(cam0.respawn_max_retries, -1);
  EXPECT_EQ(cam0.shm_bytes, 1'572'864u);
  EXPECT_THAT(cam0.depends_on, ElementsAre("cam1"))
      << "a node that is switched off is not waited for";
  EXPECT_THAT(cam0.where, EndsWith("main.yaml:14"));
  EXPECT_TRUE(graph->has_dependents("cam1"));
  EXPECT_FALSE(graph->has_dependents("cam0"));
  ASSERT_EQ(graph->arguments.size(), 2u);
  EXPECT_EQ(graph->arguments[0].description, "where frames come from");

  const std::string printed = print_graph(*graph, "lab");
  EXPECT_THAT(printed, HasSubstr("--domain lab --name cam0 --params-file"));
  EXPECT_THAT(printed, HasSubstr("-p 'uri:=file:///a b.mp4'")) << "ready to paste into a shell";
}

TEST_F(GraphTest, ScopedGroupsForgetTheirVariablesAndOthersDoNot) {
  const auto graph = load(R"yaml(launch:
  - let: {name: a, value: outer}
  - group:
      scoped: false
      children:
        - let: {name: a, value: leaked}
  - group:
      children:
        - let: {name: a, value: hidden}
        - node: {exec: fovea-camera, name: inner, param: [{name: a, value: "$(var a)"}]
}
  - node: {exec: fovea-camera, name: outer, param: [{name: a, value: "$(var a)"}]}
)yaml");
  ASSERT_TRUE(graph) << graph.error().message;
  EXPECT_THAT(graph->find("inner")->parameters, ElementsAre(Pair("a", "hidden")));
  EXPECT_THAT(graph->find("outer")->parameters, ElementsAre(Pair("a", "leaked")));
}

TEST_F(GraphTest, WhatIsSwitchedOffMayReferToWhatIsNotSet) {
  const auto graph = load(R"yaml(launch:
  - arg: {name: rtsp, default: "false"}
  - node: {exec: fovea-camera, unless: "$(var rtsp)"}
  - node: {
exec:
  fovea - camera,
      if : "$(var rtsp)", name : cam1, param : [ {name : uri, value : "$(env FOVEA_TEST_UNSET)"} ]
}
)yaml");
  ASSERT_TRUE(graph) << graph.error().message;
  ASSERT_EQ(graph->nodes.size(), 1u);
  EXPECT_EQ(graph->nodes[0].name, "camera") << "named after its executable";
}

TEST_F(GraphTest, ForRunsItsChildrenOnceForEachItem) {
  const auto graph = load(R"yaml(launch:
  - let: {name: uri, value: "synthetic://"}
  - for:
      each:
        - {camera: cam0, uri: "$(var uri)?seed=1"}
        - {camera: cam1, uri: "file:///a b.mp4"}
      children:
        - let: {name: label, value: "of $(var camera)"}
        - node:
            exec: fovea-camera
            name: "$(var camera)"
            param: [{name: uri, value: "$(var uri)"}, {name: label, value: "$(var label)"}]
  - for: {each: [], children: [{node: {exec: fovea-camera}}]}
  - for:
      if: false
      each: [{camera: cam9}]
      children: [{node: {exec: fovea-camera, name: "$(var camera)"}}]
  - node: {exec: fovea-camera, name: last, param: [{name: uri, value: "$(var uri)"}]}
)yaml");
  ASSERT_TRUE(graph) << graph.error().message;
  ASSERT_EQ(graph->nodes.size(), 3u);
  EXPECT_EQ(graph->nodes[0].name, "cam0");
  EXPECT_THAT(graph->nodes[0].parameters,
              ElementsAre(Pair("uri", "synthetic://?seed=1"), Pair("label", "of cam0")));
  EXPECT_EQ(graph->nodes[1].name, "cam1");
  EXPECT_THAT(graph->nodes[1].parameters,
              ElementsAre(Pair("uri", "file:///a b.mp4"), Pair("label", "of cam1")));
  EXPECT_THAT(graph->nodes[2].parameters, ElementsAre(Pair("uri", "synthetic://")));
}

TEST_F(GraphTest, ShippedLaunchFilesAreValid) {
  for (const char* name : {"one_camera", "four_cameras", "replay"}) {
    for (const char* node : {"fovea-preprocess", "fovea-postprocess"}) {
      write(std::string("bin/") + node, "#!/bin/true\n");
      fs::permissions(root_ / "bin" / node, fs::perms::owner_all);
    }
    const fs::path file =
        fs::path(FOVEA_SOURCE_DIR) / "launch" / (std::string(name) + ".launch.yaml");
    const auto graph =
        load_graph(file, {{{"video", "file:///x"}}, root_ / "bin", FOVEA_SOURCE_DIR});
    ASSERT_TRUE(graph) << graph.error().message;
    EXPECT_GE(graph->nodes.size(), 4u);
    for (const NodeAction& node : graph->nodes) {
      EXPECT_TRUE(node.respawn) << file << ": " << node.name;
    }
  }
}

TEST(Substitution, Nests) {
  setenv("FOVEA_TEST_NAME", "rate", 1);
  const SubstitutionContext context{{{"rate", "5"}, {"x", "a b"}}, "/d", "/s"};
  EXPECT_EQ(expand("$(var $(env FOVEA_TEST_NAME)) $ ( $(dirname)/$(share)", context).value(),
            "5 $ ( /d//s");
  EXPECT_EQ(expand("$(env FOVEA_TEST_UNSET $(var x) c)", context).value(), "a b c");
  unsetenv("FOVEA_TEST_NAME");
}

TEST(Values, TakeTheWholeTextOrNothing) {
  EXPECT_EQ(to_bytes("32MiB"), 33'554'432u);
  EXPECT_EQ(to_bytes("1 GB"), 1'000'000'000u);
  EXPECT_EQ(to_bytes("12"), 12u);
  for (const char* bad :
       {"", "MiB", "1 mib", "-1", "1e300GiB", "nan", "1.2.3", "99999999999999999999"}) {
    EXPECT_EQ(to_bytes(bad), std::nullopt) << bad;
  }
  EXPECT_EQ(to_bool("True"), true);
  EXPECT_EQ(to_bool("yes"), std::nullopt);
}

struct BadCase {
  const char* name;
  const char* text;
  int line;  // where the error must point
  const char* message;
};

void PrintTo(const BadCase& bad, std::ostream* out) { *out << bad.name; }

class BadGraph : public GraphTest, public ::testing::WithParamInterface<BadCase> {};

TEST_P(BadGraph, IsRefusedAtItsLine) {
  write("child.yaml",
        "launch:\n  - arg: {name: uri}\n  - node: {exec: fovea-camera, name: child}\n");
  write("self.yaml", "launch:\n  - include: {file: self.yaml}\n");
  write("broken.yaml", "launch:\n  - node: {exec: fovea-camera, nme: x}\n");
  ASSERT_EQ(mkfifo((root_ / "fifo").c_str(), 0600), 0);
  const auto graph = load(GetParam().text);
  ASSERT_FALSE(graph);
  const std::string place =
      (root_ / "main.yaml").string() + ":" + std::to_string(GetParam().line) + ": ";
  const std::string& message = graph.error().message;
  EXPECT_TRUE(message.starts_with(place)) << message << "\nexpected at " << place;
  EXPECT_THAT(message, HasSubstr(GetParam().message));
  EXPECT_EQ(message.find('\n'), std::string::npos) << "one line";
}

const BadCase kBadCases[] = {
    {"empty", "", 1, "holds 0"},
    {"two_documents", "launch: []\n---\nlaunch: []\n", 1, "holds 2"},
    {"syntax", "launch:\n  - node: {exec: a\n  - b\n", 4, ""},
    {"tab", "launch:\n\t- node: {exec: a}\n", 2,
     "line 2 is indented with a tab; YAML takes blanks"},
    {"tab_deep", "launch:\n  - node:\n      exec: fovea-camera\n     \tname: a\n", 4,
     "line 4 is indented with a tab"},
    {"exec_folder", "launch:\n  - node: {exec: /usr/bin/, name: a}\n", 2, "`/usr/bin/`, a folder"},
    {"exec_device", "launch:\n  - node: {exec: /dev/null}\n", 2, "`/dev/null`, no file"},
    {"exec_not_executable", "launch:\n  - node: {exec: /etc/passwd}\n", 2, "which may not be run"},
    {"env_empty_name",
     "launch:\n  - node:\n      exec: fovea-camera\n      env:\n        - {name: \"\", value: x}\n",
     5, "node.env.name is ``; it must be the name of an environment variable"},
    {"env_name_with_equals",
     "launch:\n  - node:\n      exec: fovea-camera\n      env:\n        - {name: A=B, value: x}\n",
     5, "node.env.name is `A=B`"},
    {"nul_in_value",
     "launch:\n  - node:\n      exec: fovea-camera\n      param:\n        - {name: uri, value: "
     "\"a\\0b\"}\n",
     5, "node.param.value holds a NUL character"},
    {"nul_in_env",
     "launch:\n  - node:\n      exec: fovea-camera\n      env:\n        - {name: A, value: "
     "\"a\\0b\"}\n",
     5, "node.env.value holds a NUL character"},
    {"from_folder",
     "launch:\n  - node:\n      exec: fovea-camera\n      param:\n        - {from: bin}\n", 5,
     "main"},
    {"from_fifo",
     "launch:\n  - node:\n      exec: fovea-camera\n      param:\n        - {from: fifo}\n", 5,
     "fifo"},
    {"top_is_list", "- node: {exec: fovea-camera}\n", 1, "must be a map"},
    {"top_is_text", "hello\n", 1, "a launch file is `hello`"},
    {"top_key", "\nlanch:\n  - node: {exec: fovea-camera}\n", 2,
     "unknown key `lanch` in a launch file; did you mean `launch`?"},
    {"launch_missing", "{}\n", 1, "lacks the key `launch`"},
    {"launch_is_map", "launch:\n  node: {exec: fovea-camera}\n", 2,
     "launch is a map; it must be a list"},
    {"launch_is_empty", "launch: []\n", 1, "no node to start"},
    {"launch_is_null", "launch:\n", 2, "launch is empty; it must be a list"},
    {"entry_is_text", "launch:\n  - node\n", 2, "a launch entry is `node`"},
    {"unknown_action", "launch:\n  - nod: {exec: fovea-camera}\n", 2,
     "unknown key `nod` in a launch entry; did you mean `node`?"},
    {"two_actions", "launch:\n  - node: {exec: fovea-camera}\n    let: {name: a, value: b}\n", 2,
     "holds 2 actions"},
    {"node_is_text", "launch:\n  - node: fovea-camera\n", 2,
     "node is `fovea-camera`; it must be a map"},
    {"node_key", "launch:\n  - node:\n      exec: fovea-camera\n      nam: cam0\n", 4,
     "did you mean `name`?"},
    {"node_key_twice", "launch:\n  - node:\n      exec: fovea-camera\n      exec: fovea-camera\n",
     4, "`exec` occurs twice"},
    {"exec_missing", "launch:\n  - node: {name: cam0}\n", 2, "node lacks the key `exec`"},
    {"exec_unknown", "launch:\n  - node:\n      exec: fovea-camra\n", 3,
     "did you mean `fovea-camera`?"},
    {"exec_path_unknown", "launch:\n  - node: {exec: /no/such/program}\n", 2,
     "node.exec is `/no/such/program`; no such executable"},
    {"exec_is_list", "launch:\n  - node: {exec: [fovea-camera]}\n", 2,
     "node.exec is a list; it must be text"},
    {"exec_empty", "launch:\n  - node: {exec: \"\", name: x}\n", 2, "no such executable"},
    {"name_bad", "launch:\n  - node:\n      exec: fovea-camera\n      name: Cam/0\n", 4, "Cam/0"},
    {"name_empty", "launch:\n  - node:\n      exec: fovea-camera\n      name: \"\"\n", 4,
     "node.name"},
    {"name_twice",
     "launch:\n  - node: {exec: fovea-camera, name: cam0}\n  - node: {exec: fovea-camera, name: "
     "cam0}\n",
     3, "already used at"},
    {"respawn_bad", "launch:\n  - node:\n      exec: fovea-camera\n      respawn: maybe\n", 4,
     "node.respawn is `maybe`; it must be true or false"},
    {"respawn_delay_bad", "launch:\n  - node:\n      exec: fovea-camera\n      respawn_delay: -1\n",
     4, "node.respawn_delay is `-1`"},
    {"respawn_delay_nan",
     "launch:\n  - node:\n      exec: fovea-camera\n      respawn_delay: nan\n", 4,
     "node.respawn_delay is `nan`"},
    {"timeout_text", "launch:\n  - node:\n      exec: fovea-camera\n      sigterm_timeout: 5s\n", 4,
     "node.sigterm_timeout is `5s`"},
    {"start_timeout_zero", "launch:\n  - node:\n      exec: fovea-camera\n      start_timeout: 0\n",
     4, "node.start_timeout is `0`"},
    {"retries_bad",
     "launch:\n  - node:\n      exec: fovea-camera\n      respawn_max_retries: 1.5\n", 4,
     "must be -1 (no limit) or more"},
    {"shm_bad", "launch:\n  - node:\n      exec: fovea-camera\n      shm_size: 32 megs\n", 4,
     "a size such as 32MiB"},
    {"env_is_map", "launch:\n  - node:\n      exec: fovea-camera\n      env: {A: b}\n", 4,
     "node.env is a map; it must be a list"},
    {"env_no_value",
     "launch:\n  - node:\n      exec: fovea-camera\n      env:\n        - {name: A}\n", 5,
     "node.env lacks the key `value`"},
    {"param_is_text", "launch:\n  - node:\n      exec: fovea-camera\n      param: camera.yaml\n", 4,
     "node.param is `camera.yaml`; it must be a list"},
    {"param_key",
     "launch:\n  - node:\n      exec: fovea-camera\n      param:\n        - {nam: rate, value: "
     "5}\n",
     5, "unknown key `nam` in node.param; did you mean `name`?"},
    {"param_no_value",
     "launch:\n  - node:\n      exec: fovea-camera\n      param:\n        - {name: rate}\n", 5,
     "node.param lacks the key `value`"},
    {"param_null",
     "launch:\n  - node:\n      exec: fovea-camera\n      param:\n        - {name: rate, value: "
     "}\n",
     5, "node.param.value is empty"},
    {"param_nested",
     "launch:\n  - node:\n      exec: fovea-camera\n      param:\n        - {name: rate, value: "
     "[[1]]}\n",
     5, "an item of node.param.value is a list"},
    {"param_twice",
     "launch:\n  - node:\n      exec: fovea-camera\n      param:\n        - {name: rate, value: "
     "1}\n        - {name: rate, value: 2}\n",
     6, "gives `rate` twice"},
    {"from_missing",
     "launch:\n  - node:\n      exec: fovea-camera\n      param:\n        - {from: no.yaml}\n", 5,
     "no.yaml; no such file"},
    {"from_and_name",
     "launch:\n  - node:\n      exec: fovea-camera\n      param:\n        - {from: camera.yaml, "
     "name: x}\n",
     5, "use two entries"},
    {"depends_text", "launch:\n  - node:\n      exec: fovea-camera\n      depends_on: cam1\n", 4,
     "node.depends_on is `cam1`; it must be a list"},
    {"depends_unknown",
     "launch:\n  - node: {exec: fovea-camera, name: cam0}\n  - node:\n      exec: fovea-camera\n   "
     "   name: b\n      depends_on:\n        - cm0\n",
     7, "did you mean `cam0`?"},
    {"depends_on_itself",
     "launch:\n  - node:\n      exec: fovea-camera\n      depends_on: [camera]\n", 4,
     "waits for it in turn"},
    {"depends_circle",
     "launch:\n  - node: {exec: fovea-camera, name: a, depends_on: [b]}\n  - node: {exec: "
     "fovea-camera, name: b, depends_on: [a]}\n",
     2, "waits for it in turn"},
    {"var_undefined",
     "launch:\n  - let: {name: video, value: x}\n  - node:\n      exec: fovea-camera\n      name: "
     "$(var vdeo)\n",
     5, "undefined variable `vdeo` in $(var vdeo); did you mean `video`?"},
    {"var_no_name", "launch:\n  - node: {exec: $(var)}\n", 2, "must be written as $(var NAME)"},
    {"env_unset",
     "launch:\n  - node:\n      exec: fovea-camera\n      name: $(env FOVEA_TEST_UNSET)\n", 4,
     "FOVEA_TEST_UNSET is not set"},
    {"substitution_unknown", "launch:\n  - node:\n      exec: $(dirnam)/x\n", 3,
     "unknown substitution $(dirnam); did you mean `dirname`?"},
    {"substitution_open", "launch:\n  - node:\n      exec: \"$(var x\"\n", 3,
     "lacks the closing parenthesis"},
    {"substitution_empty", "launch:\n  - node: {exec: $()}\n", 2, "empty substitution"},
    {"arg_no_value", "launch:\n  - let: {name: a, value: b}\n  - arg: {name: video}\n", 3,
     "argument `video` has no value; give video:=VALUE"},
    {"arg_key", "launch:\n  - arg: {name: video, defualt: x}\n", 2, "did you mean `default`?"},
    {"arg_no_name", "launch:\n  - arg: {default: x}\n", 2, "arg lacks the key `name`"},
    {"arg_twice", "launch:\n  - arg: {name: a, default: x}\n  - arg: {name: a, default: y}\n", 3,
     "arg `a` is declared twice"},
    {"arg_in_group", "launch:\n  - group:\n      - arg: {name: a, default: x}\n", 3,
     "arg must stand at the top level"},
    {"arg_default_list", "launch:\n  - arg:\n      name: a\n      default: [1]\n", 4,
     "arg.default is a list"},
    {"let_no_value", "launch:\n  - let: {name: a}\n", 2, "let lacks the key `value`"},
    {"let_value_list", "launch:\n  - let: {name: a, value: [1]}\n", 2, "let.value is a list"},
    {"if_and_unless", "launch:\n  - node: {exec: fovea-camera, if: true, unless: false}\n", 2,
     "both `if` and `unless`"},
    {"if_bad", "launch:\n  - node:\n      exec: fovea-camera\n      if: perhaps\n", 4,
     "node.if is `perhaps`"},
    {"group_no_children", "launch:\n  - group: {scoped: true}\n", 2,
     "group lacks the key `children`"},
    {"group_text", "launch:\n  - group: hello\n", 2, "group is `hello`; it must be a list"},
    {"group_key", "launch:\n  - group:\n      chidlren: []\n", 3, "did you mean `children`?"},
    {"group_scoped_bad", "launch:\n  - group:\n      scoped: 2\n      children: []\n", 3,
     "group.scoped is `2`"},
    {"bad_key_where_switched_off",
     "launch:\n  - group:\n      if: false\n      children:\n        - node: {exec: fovea-camera, "
     "nam: x}\n",
     5, "did you mean `name`?"},
    {"group_in_itself", "launch: &all\n  - group: *all\n", 1, "nested more than"},
    {"for_no_list", "launch:\n  - for: {each: cam0, children: []}\n", 2, "for.each is `cam0`"},
    {"for_of_texts", "launch:\n  - for:\n      each: [cam0]\n      children: []\n", 3,
     "an item of for.each is `cam0`; it must be a map of variables"},
    {"for_empty_item", "launch:\n  - for:\n      each: [{}]\n      children: []\n", 3, "is empty"},
    {"for_key_missing",
     "launch:\n  - for:\n      each:\n        - {a: x, b: y}\n        - {a: x}\n      children: "
     "[]\n",
     5, "an item of for.each lacks the key `b`"},
    {"for_other_key",
     "launch:\n  - for:\n      each:\n        - {uri: x}\n        - {ury: x}\n      children: []\n",
     5, "unknown key `ury` in an item of for.each; did you mean `uri`?"},
    {"for_undefined", "launch:\n  - for:\n      each: [{a: $(var b)}]\n      children: []\n", 3,
     "for.each.a"},
    {"for_no_children", "launch:\n  - for: {each: [{a: x}]}\n", 2, "lacks the key `children`"},
    {"for_same_name",
     "launch:\n  - for:\n      each: [{a: x}, {a: y}]\n      children:\n        - node: {exec: "
     "fovea-camera, name: cam0}\n",
     5, "node name `cam0` is already used"},
    {"for_in_itself", "launch: &all\n  - for: {each: [{a: x}, {a: y}], children: *all}\n", 2,
     "more than"},
    {"include_missing", "launch:\n  - include: {file: nowhere.yaml}\n", 2,
     "nowhere.yaml: no such launch file"},
    {"include_folder", "launch:\n  - include: {file: bin}\n", 2, "no such launch file"},
    {"include_itself", "launch:\n  - include: {file: main.yaml}\n", 2, "goes in a circle"},
    {"include_unknown_arg",
     "launch:\n  - include:\n      file: child.yaml\n      arg:\n        - {name: ury, value: x}\n",
     5, "child.yaml has no argument `ury`; did you mean `uri`?"},
    {"include_arg_twice",
     "launch:\n  - include:\n      file: child.yaml\n      arg:\n        - {name: uri, value: x}\n "
     "       - {name: uri, value: y}\n",
     6, "gives `uri` twice"},
    {"include_no_file", "launch:\n  - include: {arg: []}\n", 2, "include lacks the key `file`"},
    {"include_same_node",
     "launch:\n  - node: {exec: fovea-camera, name: cam0}\n  - group:\n      - node:\n          "
     "exec: fovea-camera\n          name: cam0\n",
     6, "already used at"},
};

INSTANTIATE_TEST_SUITE_P(Cases, BadGraph, ::testing::ValuesIn(kBadCases),
                         [](const auto& bad) { return std::string(bad.param.name); });

TEST_F(GraphTest, APipeInsteadOfALaunchFileIsAnErrorAtOnce) {
  ASSERT_EQ(mkfifo((root_ / "fifo").c_str(), 0600), 0);
  for (const fs::path& path : {root_ / "fifo", fs::path("/dev/zero")}) {
    const auto graph = load_graph(path, {});
    ASSERT_FALSE(graph);
    EXPECT_THAT(graph.error().message, HasSubstr(path.string()));
  }
  const auto included = load("launch:\n  - include: {file: fifo}\n");
  ASSERT_FALSE(included);
  EXPECT_THAT(included.error().message, HasSubstr("fifo"));
}

// A file that is none of ours may be secret; its text may drive a terminal.
TEST_F(GraphTest, WhatIsNoLaunchFileIsNotPrinted) {
  const std::string secret =
      "root:x:0:0:root:/root:/bin/bash\n" + std::string(5000, 'y') + "hidden\n";
  for (const std::string& text :
       {secret, "launch:\n" + secret, "launch:\n  - " + secret, "? |\n  " + secret,
        "launch:\n  - node: {exec: \"\x1b[2J" + std::string(5000, 'y') + "\"}\n",
        "\"a\\nb\\x1b[2J" + std::string(5000, 'y') + "\": 1\n",
        "launch:\n  - node: {exec: fovea-camera, name: \"$(var " + std::string(5000, 'y') +
            ")\"}\n"}) {
    const auto graph = load(text);
    ASSERT_FALSE(graph);
    const std::string& message = graph.error().message;
    EXPECT_LT(message.size(), 600u) << message;
    EXPECT_EQ(message.find("hidden"), std::string::npos) << message;
    EXPECT_EQ(message.find_first_of("\n\x1b"), std::string::npos) << message;
  }
}

TEST_F(GraphTest, VariablesThatMultiplyEndAtALimitThatIsNamed) {
  std::string text = "launch:\n  - let: {name: v0, value: 0123456789}\n";
  for (int i = 1; i <= 12; ++i) {
    text += "  - let: {name: v" + std::to_string(i) + ", value: \"";
    for (int n = 0; n < 10; ++n) text += "$(var v" + std::to_string(i - 1) + ")";
    text += "\"}\n";
  }
  const auto graph = load(text + "  - node: {exec: fovea-camera, name: \"$(var v12)\"}\n");
  ASSERT_FALSE(graph);
  EXPECT_THAT(graph.error().message, HasSubstr("let.value: the value is longer than 64 KiB"));
}

TEST_F(GraphTest, EntriesThatMultiplyEndAtALimitThatIsNamed) {
  std::string aliases = "launch:\n  - group: &a0 [{let: {name: x, value: y}}]\n";
  for (int i = 1; i <= 9; ++i) {
    aliases += "  - group: &a" + std::to_string(i) + " [";
    for (int n = 0; n < 10; ++n) aliases += "{group: *a" + std::to_string(i - 1) + "},";
    aliases += "]\n";
  }
  const auto bomb = load(aliases);
  ASSERT_FALSE(bomb);
  EXPECT_THAT(bomb.error().message, HasSubstr("more than 10000 entries"));

  std::string nested = "a";
  for (int i = 0; i < 5000; ++i) nested = "$(env X " + nested + ")";
  const auto deep = load("launch:\n  - let: {name: a, value: \"" + nested + "\"}\n");
  ASSERT_FALSE(deep);
  EXPECT_THAT(deep.error().message, HasSubstr("nested more than 32 deep"));
}

TEST_F(GraphTest, CommandLinesForPeopleShowNoPasswordAndThoseOfNodesNoParameters) {
  const auto graph = load(
      "launch:\n  - node:\n      exec: fovea-camera\n      param:\n"
      "        - {name: uri, value: \"rtsp://me:hidden@cam/1\"}\n"
      "      env: [{name: CAM, value: \"rtsp://me:hidden@cam/1\"}]\n");
  ASSERT_TRUE(graph) << graph.error().message;
  const std::string printed = print_graph(*graph, "d");
  EXPECT_THAT(printed, HasSubstr("uri:=rtsp://***@cam/1"));
  EXPECT_EQ(printed.find("hidden"), std::string::npos) << printed;
  for (const std::string& word : command_line(graph->nodes[0], "d", true))
    EXPECT_EQ(word.find("rtsp"), std::string::npos) << word;
  const auto sent = assignments(graph->nodes[0]);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].value, "rtsp://me:hidden@cam/1");
  EXPECT_EQ(sent[0].where, (root_ / "main.yaml").string() + ":5");
}

TEST_F(GraphTest, ErrorsInAnIncludedFilePointThere) {
  write("broken.yaml", "launch:\n  - node:\n      exec: fovea-camera\n      nme: x\n");
  const auto graph = load("launch:\n  - include: {file: broken.yaml}\n");
  ASSERT_FALSE(graph);
  EXPECT_THAT(graph.error().message, HasSubstr("broken.yaml:4: unknown key `nme`"));
  write("loop.yaml", "launch:\n  - include: {file: main.yaml}\n");
  const auto circle = load("launch:\n  - include: {file: loop.yaml}\n");
  ASSERT_FALSE(circle);
  EXPECT_THAT(circle.error().message, HasSubstr("loop.yaml:2: include of"));
}

TEST_F(GraphTest, ErrorsOfTheCommandLineNameTheArgument) {
  const auto graph = load("launch:\n  - arg: {name: video, default: x}\n", {{"vido", "y"}});
  ASSERT_FALSE(graph);
  EXPECT_THAT(graph.error().message, HasSubstr("unknown argument `vido`; did you mean `video`?"));
  const auto missing = load_graph(root_ / "none.yaml", {});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(missing.error().message, HasSubstr("none.yaml: no such launch file"));
}

}  // namespace
}  // namespace fovea::launch
