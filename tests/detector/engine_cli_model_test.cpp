// `fovea engine` and the detector before a model that says little of itself, or is none: what is
// assumed is said once, what cannot be is refused by name, and `inspect` shows what there is.
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/detector/model_folder.hpp"
#include "tests/support/build_paths.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Outcome;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class EngineCliModel : public test::ModelFolder {
 protected:
  static std::size_t count(const std::string& text, const std::string& part) {
    std::size_t found = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
      ++found;
    }
    return found;
  }
  void expect_refused(const std::string& model, const std::string& why) const {
    const Outcome build = engine({"build", "--onnx", model});
    EXPECT_NE(build.code, 0) << model;
    EXPECT_THAT(build.err, AllOf(HasSubstr(why), HasSubstr("--head"))) << model;
    const Outcome node = detector(model);
    EXPECT_EQ(node.code, 2) << model;
    EXPECT_THAT(node.err, HasSubstr(why)) << model;
  }
};

TEST_F(EngineCliModel, AssumedHeadIsSaidOnceAndBuilt) {
  const std::string model = write("columns.onnx", {grid(3, true)});
  for (int i = 0; i < 2; ++i) {  // built, and from the cache
    const Outcome build = engine({"build", "--onnx", model});
    ASSERT_EQ(build.code, 0) << build.err;
    EXPECT_EQ(count(build.err, "warning:"), 1U) << build.err;
    EXPECT_THAT(build.err, AllOf(HasSubstr("assumed"), HasSubstr("YOLOv8"), HasSubstr("3 class"),
                                 HasSubstr("strides 8, 16, 32"), HasSubstr("RGB")));
  }
  const Outcome stated = engine({"build", "--onnx", model, "--head", "yolov8"});
  ASSERT_EQ(stated.code, 0) << stated.err;
  EXPECT_THAT(stated.err, Not(HasSubstr("assumed")));
}

TEST_F(EngineCliModel, HeadThatItsNumbersRefuteIsRefusedByName) {
  const auto undecoded = [](std::size_t anchor, std::vector<double>& row) {
    for (std::size_t i = 0; i < 4; ++i) row[i] = 0.3 + 0.01 * static_cast<double>(anchor % 9);
  };
  const auto logits = [](std::size_t, std::vector<double>& row) {
    for (std::size_t i = 4; i < row.size(); ++i) row[i] -= 6;
  };
  expect_refused(write("yolox.onnx", {grid(4, false, undecoded)}), "want decoding");
  expect_refused(write("logits.onnx", {grid(3, true, logits)}), "a sigmoid is missing");
  expect_refused(write("two.onnx", {grid(3, true), {{1, 84, 4}, std::vector<double>(336, 0.5)}}),
                 "has 2 outputs");
  expect_refused(write("rows.onnx", {{{1, 50, 6}, std::vector<double>(300, 0.5)}}), "rows of six");
}

TEST_F(EngineCliModel, StatedHeadAgainstTheShapeIsAnErrorAndAgainstTheNumbersAWarning) {
  const std::string model = write("columns.onnx", {grid(3, true)});
  const Outcome wrong = engine({"build", "--onnx", model, "--head", "yolov5"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("head is yolov5, which gives [1, anchors, 5 + classes]"));
  EXPECT_THAT(detector(model, {"--head", "yolov5"}).err, HasSubstr("head is yolov5"));
  const Outcome unknown = engine({"build", "--onnx", model, "--head", "yolov99"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("it must be auto, yolov8, yolov5, rows or none"));
  const auto logits = [](std::size_t, std::vector<double>& row) { row.back() -= 6; };
  const Outcome doubted =
      engine({"build", "--onnx", write("logits.onnx", {grid(3, true, logits)}), "--head", "yolov8"});
  EXPECT_EQ(doubted.code, 0) << doubted.err;
  EXPECT_THAT(doubted.err, HasSubstr("do not look like"));
  const Outcome raw = engine({"build", "--onnx", path("logits.onnx"), "--head", "none"});
  EXPECT_EQ(raw.code, 0) << raw.err;
  EXPECT_THAT(raw.err, Not(HasSubstr("warning")));
}

TEST_F(EngineCliModel, NamesThatDoNotFitOrCannotBeReadAreAWarningWithBothNumbers) {
  const std::string missing = write("missing.onnx", {grid(3, true)},
                                    {{"task", "detect"}, {"names", "{0: 'cat', 1: 'dog'}"}});
  const Outcome build = engine({"build", "--onnx", missing});
  EXPECT_EQ(build.code, 0) << build.err;
  EXPECT_THAT(build.err, HasSubstr("the model has 3 classes and its metadata 2 names"));
  const std::string broken =
      write("broken.onnx", {grid(3, true)}, {{"task", "detect"}, {"names", "{0: 'cat', "}});
  EXPECT_THAT(engine({"build", "--onnx", broken}).err, HasSubstr("cannot be read"));
  const std::string as_json = write("json.onnx", {grid(3, true)},
                                    {{"task", "detect"},
                                     {"names", R"({"0": "cat", "1": "d\u00f6g", "2": "cow"})"}});
  const Outcome good = engine({"inspect", "--onnx", as_json, "--json"});
  ASSERT_EQ(good.code, 0) << good.err;
  EXPECT_EQ(json::parse(good.out)["model"]["class_names"], json({"cat", "d\xc3\xb6g", "cow"}));
}

TEST_F(EngineCliModel, ControlCharactersOfAModelReachNoTerminalAndAreWholeInJson) {
  const std::string names = "{0: 'tab\\there', 1: 'new\\nline', 2: 'bell\\x07\\x1b[31m'}";
  const std::string model = write("ctrl.onnx", {grid(3, true)},
                                  {{"task", "detect"}, {"names", names}, {"au\x1bthor", "\x1b[2J"}});
  for (const Outcome& outcome :
       {engine({"inspect", "--onnx", model, "--layers"}), engine({"build", "--onnx", model}),
        engine({"bench", "--onnx", model, "--duration", "0", "--warmup", "0"})}) {
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    for (const char c : {'\x1b', '\x07'}) {
      EXPECT_EQ(outcome.out.find(c), std::string::npos) << outcome.out;
      EXPECT_EQ(outcome.err.find(c), std::string::npos) << outcome.err;
    }
  }
  const Outcome text = engine({"inspect", "--onnx", model});
  EXPECT_THAT(text.out, HasSubstr("3: tab\there, new\\x0aline, bell\\x07\\x1b[31m"));
  const Outcome whole = engine({"inspect", "--onnx", model, "--json"});
  EXPECT_EQ(json::parse(whole.out)["model"]["class_names"],
            json({"tab\there", "new\nline", "bell\x07\x1b[31m"}));
}

TEST_F(EngineCliModel, InspectShowsAModelThatNobodyHasBuilt) {
  const std::string model = path("yolo.onnx");
  ASSERT_EQ(run("fovea-write-yolo", {"yolov8n", model, "--dynamic"}).code, 0);
  const Outcome shown = engine({"inspect", "--onnx", model});
  ASSERT_EQ(shown.code, 0) << shown.err;
  for (const char* part : {"model    ", "size     ", "opset    ai.onnx", "input    images float32",
                           "output   output0 ", "parameters", "GFLOP a picture of 640x640",
                           "Conv ", "head     DFL head: 80 classes", "classes  80: class 0",
                           "metadata task = detect", "every operator has a provider", "key      ",
                           "cached   no"}) {
    EXPECT_THAT(shown.out, HasSubstr(part));
  }
  const Outcome outcome = engine({"inspect", "--onnx", model, "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json described = json::parse(outcome.out);
  const json& seen = described["model"];
  EXPECT_EQ(seen["bytes"], fs::file_size(model));
  EXPECT_EQ(seen["inputs"][0]["name"], "images");
  EXPECT_EQ(seen["inputs"][0]["dims"].size(), 4U);
  EXPECT_GT(seen["parameters"], 3'000'000);
  EXPECT_NEAR(seen["gflop"].get<double>(), 8.7, 0.3);
  EXPECT_GT(seen["operators"]["Conv"], 60);
  EXPECT_EQ(seen["head"]["kind"], "dfl");
  EXPECT_EQ(seen["head"]["basis"], "computed");
  EXPECT_EQ(seen["class_names"].size(), 80U);
  EXPECT_EQ(seen["metadata"]["task"], "detect");
  EXPECT_TRUE(seen["refused"].empty());
  EXPECT_EQ(seen["refusal"], nullptr);
  EXPECT_EQ(described["key"].get<std::string>().size(), 64U);
  EXPECT_EQ(described["inputs"]["model"].get<std::string>().size(), 64U);
  EXPECT_FALSE(described["cached"]);
  EXPECT_FALSE(fs::exists(path("cache")) && !fs::is_empty(path("cache"))) << "nothing is built";
}

TEST_F(EngineCliModel, InspectShowsAlsoWhatDoesNotRunAndWhy) {
  engine::test::OnnxWriter writer;
  writer.input("images", {1, 3, 64, 64}).output("y");
  writer.node("NonZero", {"images"}, {"y"}, {}, "/head/NonZero");
  writer.save(path("refused.onnx"));
  const Outcome shown = engine({"inspect", "--onnx", path("refused.onnx")});
  EXPECT_EQ(shown.code, 0) << shown.err;
  EXPECT_THAT(shown.out, AllOf(HasSubstr("NonZero 1"), HasSubstr("refused  NonZero '/head/NonZero'"),
                               HasSubstr("the model does not run")));
  const Outcome outcome = engine({"inspect", "--onnx", path("refused.onnx"), "--json"});
  const json seen = json::parse(outcome.out)["model"];
  EXPECT_EQ(seen["refused"][0]["op"], "NonZero");
  EXPECT_NE(seen["refusal"], nullptr);
  // A head that is refused still shows the model, with the reason.
  const std::string two =
      write("two.onnx", {grid(3, true), {{1, 84, 4}, std::vector<double>(336, 0.5)}});
  EXPECT_THAT(engine({"inspect", "--onnx", two}).out,
              AllOf(HasSubstr("head     none: "), HasSubstr("has 2 outputs")));
}

TEST_F(EngineCliModel, FilesThatAreNoModelAreNamedByInspectBuildAndDetector) {
  const struct {
    const char* bytes;
    const char* what;
  } cases[] = {
      {"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 7\n", "a Git LFS pointer"},
      {"<!DOCTYPE html><html></html>", "an HTML page"},
      {"PK\x03\x04 best/data.pkl", "a PyTorch checkpoint (.pt)"},
  };
  for (const auto& c : cases) {
    std::ofstream(path("file.onnx"), std::ios::binary) << c.bytes;
    for (const char* command : {"inspect", "build", "bench"}) {
      const Outcome outcome = engine({command, "--onnx", path("file.onnx")});
      EXPECT_NE(outcome.code, 0) << command;
      EXPECT_EQ(outcome.out, "") << command;
      EXPECT_THAT(outcome.err, HasSubstr(c.what)) << command;
    }
    const Outcome node = detector(path("file.onnx"));
    EXPECT_EQ(node.code, 2);
    EXPECT_THAT(node.err, HasSubstr(c.what));
  }
}

TEST_F(EngineCliModel, OutputsThatCannotBeWrittenEndTheRunBeforeItBegins) {
  const std::string model = write("columns.onnx", {grid(3, true)});
  std::ofstream(path("file")) << "in the way";
  const std::string nowhere = path("file/report");
  const std::vector<std::vector<std::string>> commands = {
      {"build", "--onnx", model, "--json", nowhere},
      {"build", "--onnx", model, "--save-engine", nowhere},
      {"inspect", "--onnx", model, "--json", nowhere},
      {"bench", "--onnx", model, "--json", nowhere},
      {"profile", "--onnx", model, "--json", nowhere},
      {"verify", "--onnx", model, "--against", "reference", "--json", nowhere},
      {"verify", "--onnx", model, "--save-outputs", nowhere},
      {"list", "--json", nowhere},
      {"prune", "--json", nowhere},
  };
  for (const auto& command : commands) {
    const Outcome outcome = engine(command);
    EXPECT_NE(outcome.code, 0) << command[0];
    EXPECT_THAT(outcome.err, HasSubstr(nowhere)) << command[0];
    EXPECT_THAT(outcome.err, Not(HasSubstr("%"))) << command[0] << ": something was built first";
    EXPECT_EQ(outcome.out, "") << command[0];
  }
  EXPECT_FALSE(fs::exists(path("cache")) && !fs::is_empty(path("cache")));
}

TEST_F(EngineCliModel, StdoutThatTakesNothingEndsWithCode1) {
  const std::string model = write("columns.onnx", {grid(3, true)});
  const std::string program = FOVEA_BIN_DIR "/fovea-engine";
  const std::vector<std::string> commands = {" list", " list --json",
                                             " inspect --json --onnx " + model,
                                             " inspect --onnx " + model};
  for (const std::string& arguments : commands) {
    test::Child shell(folder_, "/bin/sh", {"-c", program + arguments + " > /dev/full"});
    EXPECT_EQ(shell.wait(), 1) << arguments << shell.err();
    EXPECT_THAT(shell.err(), HasSubstr("No space left")) << arguments;
  }
}

TEST_F(EngineCliModel, ClosedAndFullStreamsHarmNothingAndAreToldByTheExitCode) {
  const std::string model = write("model.onnx", {grid(2, true)}, {{"names", "{0: 'a', 1: 'b'}"}});
  const std::string common = " --onnx " + model + " --threads 1 --builder-optimization-level 0";
  for (const std::string& words :
       {"build" + common, "inspect" + common,
        "bench --duration 0 --iterations 1 --warmup 0" + common,
        "verify --against reference" + common, std::string("list"), std::string("prune")}) {
    for (const auto& [stream, code] : {std::pair(" >/dev/null", 0),
                                       {" >/dev/full", 1},
                                       {" >&-", 0},
                                       {" <&- >&- 2>&-", 0},
                                       {" 2>/dev/full", 0}}) {
      test::Child child(folder_, "/bin/sh",
                        {"-c", "exec " FOVEA_BIN_DIR "/fovea-engine " + words + stream});
      EXPECT_EQ(child.wait(), code) << words << stream << child.err();
      EXPECT_EQ(child.err().find("write to stdout: No space") != std::string::npos, code == 1);
    }
  }
}

}  // namespace
}  // namespace fovea
