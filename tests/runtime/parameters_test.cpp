#include "nodes/runtime/process/parameters.hpp"

#include <chrono>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nodes/runtime/process/parameter_stream.hpp"

namespace fovea {
namespace {

// One variable of every kind, declared like a node's.
struct Settings {
  bool quick = false;
  std::int64_t max_batch = 8;
  std::int64_t offset = -3;
  double confidence = 0.25;
  double gain = 1.5;
  std::string precision = "int8";
  std::string uri;
  std::vector<std::string> cameras{"cam0"};
  std::map<std::string, double> class_thresholds{{"person", 0.5}};
  ParameterSet set;

  Settings() {
    set.add("quick", &quick, "Skip the slow part");
    set.add("max_batch", &max_batch, "Most frames in one inference", Range{1, 64}, "frames");
    set.add("offset", &offset, "Any whole number");
    set.add("confidence", &confidence, "Least score", Range{0, 1});
    set.add("gain", &gain, "Amplification", Range{.min = 0}, "dB");
    set.add("precision", &precision, "Arithmetic").one_of({"fp32", "fp16", "int8", "best"});
    set.add("uri", &uri, "Where frames come from").required();
    set.add("cameras", &cameras, "Cameras to read");
    set.add("class_thresholds", &class_thresholds, "Least score by class", Range{0, 1});
  }
};

std::string error_of(const Result<>& result) {
  return result ? "no error" : result.error().message;
}

struct BadYaml {
  const char* name;
  const char* text;
  const char* error;
};

class BadYamlTest : public testing::TestWithParam<BadYaml> {};

TEST_P(BadYamlTest, IsRefusedInFullWithItsLine) {
  Settings settings;
  const std::string before = settings.set.dump_yaml();
  EXPECT_EQ(error_of(settings.set.load_yaml_text(GetParam().text, "config/x.yaml")),
            GetParam().error);
  EXPECT_EQ(settings.set.dump_yaml(), before);  // all or nothing
}

INSTANTIATE_TEST_SUITE_P(
    Parameters, BadYamlTest,
    testing::Values(
        BadYaml{"below", "offset: 1\n\nmax_batch: 0\n",
                "config/x.yaml:3: max_batch is 0; it must be 1..64"},
        BadYaml{"above", "max_batch: 65\n", "config/x.yaml:1: max_batch is 65; it must be 1..64"},
        BadYaml{"word_for_number", "max_batch: many\n",
                "config/x.yaml:1: max_batch is 'many'; it must be a whole number, 1..64"},
        BadYaml{"fraction_for_whole", "max_batch: 1.5\n",
                "config/x.yaml:1: max_batch is '1.5'; it must be a whole number, 1..64"},
        BadYaml{"hexadecimal", "offset: 0x10\n",
                "config/x.yaml:1: offset is '0x10'; it must be a whole number"},
        BadYaml{"beyond_64_bits", "offset: 9223372036854775808\n",
                "config/x.yaml:1: offset is '9223372036854775808'; it must be a whole number"},
        BadYaml{"quoted_number", "max_batch: \"8\"\n",
                "config/x.yaml:1: max_batch is the text \"8\"; it must be a whole number, 1..64"},
        BadYaml{"list_for_number", "max_batch: [1]\n",
                "config/x.yaml:1: max_batch is a list; it must be a whole number, 1..64"},
        BadYaml{"map_for_number", "max_batch: {a: 1}\n",
                "config/x.yaml:1: max_batch is a map; it must be a whole number, 1..64"},
        BadYaml{"nothing_for_number", "max_batch:\n",
                "config/x.yaml:1: max_batch is empty; it must be a whole number, 1..64"},
        BadYaml{"near_key", "# comment\n\nmax_bach: 4\n",
                "config/x.yaml:3: unknown key 'max_bach'; did you mean 'max_batch'?"},
        BadYaml{"far_key", "zzz: 4\n",
                "config/x.yaml:1: unknown key 'zzz'; valid keys are quick, max_batch, offset, "
                "confidence, gain, "
                "precision, uri, cameras, class_thresholds"},
        BadYaml{"merge_key", "<<: 4\n",
                "config/x.yaml:1: unknown key '<<'; valid keys are quick, max_batch, offset, "
                "confidence, gain, "
                "precision, uri, cameras, class_thresholds"},
        BadYaml{"twice", "max_batch: 1\nmax_batch: 2\n",
                "config/x.yaml:2: max_batch is given twice"},
        BadYaml{"yes_for_true", "quick: yes\n",
                "config/x.yaml:1: quick is 'yes'; it must be true or false"},
        BadYaml{"one_for_true", "quick: 1\n",
                "config/x.yaml:1: quick is '1'; it must be true or false"},
        BadYaml{"quoted_true", "quick: 'true'\n",
                "config/x.yaml:1: quick is the text \"true\"; it must be true or false"},
        BadYaml{"real_above", "confidence: 1.5\n",
                "config/x.yaml:1: confidence is 1.5; it must be 0..1"},
        BadYaml{"real_below", "gain: -0.1\n",
                "config/x.yaml:1: gain is -0.1; it must be at least 0"},
        BadYaml{"not_a_number", "confidence: nan\n",
                "config/x.yaml:1: confidence is 'nan'; it must be a number, 0..1"},
        BadYaml{"infinite", "gain: inf\n",
                "config/x.yaml:1: gain is 'inf'; it must be a number, at least 0"},
        BadYaml{"with_unit", "gain: 3dB\n",
                "config/x.yaml:1: gain is '3dB'; it must be a number, at least 0"},
        BadYaml{"no_such_choice", "precision: int4\n",
                "config/x.yaml:1: precision is 'int4'; it must be one of fp32, fp16, int8, best"},
        BadYaml{"empty_text", "uri: ~\n", "config/x.yaml:1: uri is empty; it must be a text"},
        BadYaml{"list_for_text", "uri:\n  - a\n",
                "config/x.yaml:1: uri is a list; it must be a text"},
        BadYaml{"text_for_list", "cameras: cam0\n",
                "config/x.yaml:1: cameras is 'cam0'; it must be a list, such as [a, b]"},
        BadYaml{"map_for_list", "cameras: {a: 1}\n",
                "config/x.yaml:1: cameras is a map; it must be a list, such as [a, b]"},
        BadYaml{"list_in_list", "cameras:\n  - cam0\n  - [a]\n",
                "config/x.yaml:3: cameras[1] is a list; it must be a text"},
        BadYaml{"list_for_map", "class_thresholds: [1]\n",
                "config/x.yaml:1: class_thresholds is a list; it must be a map, such as {person: "
                "0.5}, 0..1"},
        BadYaml{"map_value_above", "class_thresholds:\n  car: 0.3\n  person: 1.5\n",
                "config/x.yaml:3: class_thresholds.person is 1.5; it must be 0..1"},
        BadYaml{"map_value_word", "class_thresholds:\n  person: high\n",
                "config/x.yaml:2: class_thresholds.person is 'high'; it must be a number, 0..1"},
        BadYaml{"map_key_twice", "class_thresholds:\n  car: 0.3\n  car: 0.4\n",
                "config/x.yaml:3: class_thresholds.car is given twice"},
        BadYaml{"list_as_file", "- a\n",
                "config/x.yaml:1: the file holds a list; it must be a map of parameters, `name: "
                "value`"},
        BadYaml{"text_as_file", "hello\n",
                "config/x.yaml:1: the file holds a text; it must be a map of parameters, `name: "
                "value`"},
        BadYaml{"two_documents", "max_batch: 1\n---\nmax_batch: 2\n",
                "config/x.yaml:3: the file holds 2 documents; it must hold one"},
        BadYaml{"list_as_key", "[a]: 1\n",
                "config/x.yaml:1: a key is a list; it must be the name of a parameter"},
        BadYaml{"open_bracket", "max_batch: 1\ncameras: [a, b\n",
                "config/x.yaml:3: bad YAML: end of sequence flow not found"},
        BadYaml{"tab_indent", "class_thresholds:\n\tcar: 1\n",
                "config/x.yaml:2: line 2 is indented with a tab; YAML takes blanks"},
        BadYaml{"unknown_anchor", "max_batch: *nowhere\n",
                "config/x.yaml:1: bad YAML: the referenced anchor is not defined"},
        BadYaml{"first_of_two", "offset: x\nmax_batch: 0\n",
                "config/x.yaml:1: offset is 'x'; it must be a whole number"}),
    [](const auto& bad) { return std::string(bad.param.name); });

struct BadText {
  const char* name;
  const char* parameter;
  const char* value;
  const char* error;
};

class BadTextTest : public testing::TestWithParam<BadText> {};

TEST_P(BadTextTest, IsRefusedWithTheOptionsName) {
  Settings settings;
  const std::string before = settings.set.dump_yaml();
  EXPECT_EQ(error_of(settings.set.set(GetParam().parameter, GetParam().value, "--option")),
            GetParam().error);
  EXPECT_EQ(settings.set.dump_yaml(), before);
}

INSTANTIATE_TEST_SUITE_P(
    Parameters, BadTextTest,
    testing::Values(
        BadText{"range", "max_batch", "0", "--option: max_batch is 0; it must be 1..64"},
        BadText{"empty", "max_batch", "",
                "--option: max_batch is ''; it must be a whole number, 1..64"},
        BadText{"space", "max_batch", " 4",
                "--option: max_batch is ' 4'; it must be a whole number, 1..64"},
        BadText{"boolean", "quick", "TRUE", "--option: quick is 'TRUE'; it must be true or false"},
        BadText{"unknown", "max_batsh", "1",
                "--option: unknown key 'max_batsh'; did you mean 'max_batch'?"},
        BadText{"map_without_value", "class_thresholds", "person",
                "--option: class_thresholds is 'person'; it must be a map, such as {person: 0.5}"},
        BadText{"map_value", "class_thresholds", "person=2",
                "--option: class_thresholds.person is 2; it must be 0..1"},
        BadText{"map_twice", "class_thresholds", "a=0.1,a=0.2",
                "--option: class_thresholds.a is given twice"},
        BadText{"list_syntax", "cameras", "[a",
                "--option: cameras: bad YAML: end of sequence flow not found"}),
    [](const auto& bad) { return std::string(bad.param.name); });

TEST(Parameters, FilesThatAreNotThereAreToldWithTheirPlace) {
  const std::string folder = testing::TempDir();
  const std::string absent = folder + "fovea_no_such_file";
  std::string model, pictures;
  ParameterSet set;
  set.add("model", &model, "ONNX file").names_file();
  set.add("pictures", &pictures, "Folder or table").names_file_or_folder();
  EXPECT_TRUE(set.check_files()) << "none is named";
  ASSERT_TRUE(set.set("model", absent, "robot.launch.yaml:7"));
  EXPECT_EQ(error_of(set.check_files()),
            "robot.launch.yaml:7: model: " + absent + ": No such file or directory");
  ASSERT_TRUE(set.set("model", folder, "-p"));
  EXPECT_THAT(error_of(set.check_files()), testing::HasSubstr("must be a regular file"));
  ASSERT_TRUE(set.set("model", "/proc/self/exe", "-p"));
  ASSERT_TRUE(set.load_yaml_text("\npictures: " + folder + "\n", "a.yaml"));
  EXPECT_TRUE(set.check_files());
  ASSERT_TRUE(set.load_yaml_text("\npictures: " + absent + "\n", "a.yaml"));
  EXPECT_THAT(error_of(set.check_files()), testing::StartsWith("a.yaml:2: pictures: "));
}

TEST(Parameters, WhatATextNamesBesideAPathIsLookedForToo) {
  std::string uri;
  ParameterSet set;
  set.add("uri", &uri, "Source").names_what([](std::string_view text) -> Result<> {
    if (text == "file:///there") return {};
    return fail(ErrorCode::kNotFound, std::string(text) + ": no such file");
  });
  EXPECT_TRUE(set.check_files()) << "none is named";
  ASSERT_TRUE(set.set("uri", "file:///gone", "robot.launch.yaml:7"))
      << "only looked for when asked";
  EXPECT_EQ(error_of(set.check_files()), "robot.launch.yaml:7: uri: file:///gone: no such file");
  ASSERT_TRUE(set.set("uri", "file:///there", "-p"));
  EXPECT_TRUE(set.check_files());
}

TEST(Parameters, GoodFileSetsEveryKind) {
  Settings settings;
  const auto result = settings.set.load_yaml_text(
      "quick: true\nmax_batch: 64\noffset: -12\nconfidence: 1\ngain: 2.5e1\nprecision: best\nuri: "
      "123\n"
      "cameras: [front, 7, 'a b']\nclass_thresholds: {car: 0.25, traffic light: 1}\n",
      "x.yaml");
  EXPECT_EQ(error_of(result), "no error");
  EXPECT_TRUE(settings.quick);
  EXPECT_EQ(settings.max_batch, 64);
  EXPECT_EQ(settings.offset, -12);
  EXPECT_EQ(settings.confidence, 1.0);
  EXPECT_EQ(settings.gain, 25.0);
  EXPECT_EQ(settings.precision, "best");
  EXPECT_EQ(settings.uri, "123");
  EXPECT_EQ(settings.cameras, (std::vector<std::string>{"front", "7", "a b"}));
  EXPECT_EQ(settings.class_thresholds,
            (std::map<std::string, double>{{"car", 0.25}, {"traffic light", 1.0}}));
  EXPECT_EQ(error_of(settings.set.check()), "no error");
}

TEST(Parameters, CommandLineTextSetsEveryKind) {
  Settings settings;
  const std::vector<std::pair<std::string, std::string>> values{
      {"quick", "true"},         {"max_batch", "+4"},
      {"offset", "-9"},          {"confidence", "0.5"},
      {"precision", "fp32"},     {"uri", ""},
      {"cameras", "left,right"}, {"class_thresholds", "a=0.5,b=1"}};
  for (const auto& [name, value] : values)
    EXPECT_EQ(error_of(settings.set.set(name, value, "-p")), "no error");
  EXPECT_TRUE(settings.quick);
  EXPECT_EQ(settings.max_batch, 4);
  EXPECT_EQ(settings.offset, -9);
  EXPECT_EQ(settings.cameras, (std::vector<std::string>{"left", "right"}));
  EXPECT_EQ(settings.class_thresholds, (std::map<std::string, double>{{"a", 0.5}, {"b", 1.0}}));
  EXPECT_EQ(error_of(settings.set.set("cameras", "[x, y]", "-p")), "no error");
  EXPECT_EQ(settings.cameras, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(error_of(settings.set.set("class_thresholds", "{x: 0.75}", "-p")), "no error");
  EXPECT_EQ(settings.class_thresholds, (std::map<std::string, double>{{"x", 0.75}}));
  EXPECT_EQ(error_of(settings.set.set("cameras", "", "-p")), "no error");
  EXPECT_TRUE(settings.cameras.empty());
}

TEST(Parameters, EmptyFilesSetNothing) {
  for (const char* text : {"", "\n", "# only a comment\n", "---\n", "{}\n"}) {
    Settings settings;
    const std::string before = settings.set.dump_yaml();
    EXPECT_EQ(error_of(settings.set.load_yaml_text(text, "x.yaml")), "no error") << text;
    EXPECT_EQ(settings.set.dump_yaml(), before);
  }
}

TEST(Parameters, MissingFileIsNamed) {
  Settings settings;
  const Result<> result = settings.set.load_yaml("/nonexistent/x.yaml");
  EXPECT_EQ(error_of(result), "/nonexistent/x.yaml: No such file or directory");
  EXPECT_EQ(result.error().code, ErrorCode::kNotFound);
}

TEST(Parameters, DirectoryInsteadOfFileIsAnError) {
  Settings settings;
  EXPECT_EQ(error_of(settings.set.load_yaml("/")), "/ is a folder; it must be a regular file");
}

TEST(Parameters, APipeInsteadOfAFileIsAnErrorAtOnce) {
  const std::string path = testing::TempDir() + "/fovea-parameters-fifo";
  unlink(path.c_str());
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  Settings settings;
  EXPECT_THAT(error_of(settings.set.load_yaml(path)), testing::HasSubstr(path));
  unlink(path.c_str());
}

TEST(Parameters, ErrorsQuoteOneBoundedLineWithoutPasswords) {
  Settings settings;
  const std::string attack =
      "a\n[00:00:00.000] [cam0] [info] forged \x1b[2J " + std::string(5000, 'x');
  for (const Result<>& result :
       {settings.set.set("precision", attack, "-p"), settings.set.set(attack, "1", "-p"),
        settings.set.set("max_batch", attack, "-p"),
        settings.set.load_yaml_text("precision: \"a\\nb" + std::string(5000, 'x') + "\"\n",
                                    "x.yaml"),
        settings.set.load_yaml_text("class_thresholds: {" + std::string(5000, 'x') + ": 2}",
                                    "x.yaml")}) {
    const std::string error = error_of(result);
    EXPECT_LT(error.size(), 800u);
    EXPECT_EQ(error.find_first_of("\n\x1b"), std::string::npos) << error;
  }
  const std::string secret =
      error_of(settings.set.set("precision", "rtsp://me:hidden@cam/1", "-p"));
  EXPECT_THAT(secret, testing::AllOf(testing::HasSubstr("rtsp://***@cam/1"),
                                     testing::Not(testing::HasSubstr("hidden"))));
}

TEST(Parameters, AsJsonTheyDoNotTellPasswords) {
  Settings settings;
  settings.uri = "rtsp://me:hidden@cam/1";
  settings.cameras = {"rtsp://me:hidden@cam/2"};
  EXPECT_THAT(settings.set.to_json(), testing::AllOf(testing::HasSubstr("rtsp://***@cam/1"),
                                                     testing::HasSubstr("rtsp://***@cam/2"),
                                                     testing::Not(testing::HasSubstr("hidden"))));
}

TEST(Parameters, ATextMayHaveACheckOfItsOwn) {
  std::string uri;
  ParameterSet set;
  set.add("uri", &uri, "Where from").checked_by([](std::string_view text) -> Result<> {
    if (text.starts_with("file://")) return {};
    return fail(ErrorCode::kInvalidArgument, "it must start with file://");
  });
  EXPECT_EQ(error_of(set.set("uri", "fil:///x", "a.launch.yaml:7")),
            "a.launch.yaml:7: uri: it must start with file://");
  EXPECT_EQ(error_of(set.load_yaml_text("\nuri: fil:///x\n", "x.yaml")),
            "x.yaml:2: uri: it must start with file://");
  EXPECT_EQ(error_of(set.set("uri", "file:///x", "-p")), "no error");
}

TEST(Parameters, AListMayHaveToBeDistinct) {
  std::vector<std::string> cameras;
  ParameterSet set;
  set.add("cameras", &cameras, "Whose").distinct();
  EXPECT_EQ(error_of(set.set("cameras", "[a, b, a]", "a.launch.yaml:7")),
            "a.launch.yaml:7: cameras: 'a' is given twice");
  EXPECT_EQ(error_of(set.load_yaml_text("\ncameras: [a, a]\n", "x.yaml")),
            "x.yaml:2: cameras: 'a' is given twice");
  EXPECT_EQ(error_of(set.set("cameras", "a,b", "-p")), "no error");
}

TEST(Parameters, TravelByDescriptorWithTheirPlaces) {
  const std::vector<ParameterAssignment> sent{{"a.yaml:3", "uri", "rtsp://me:hidden@cam/1"},
                                              {"a.yaml:4", "label", ""},
                                              {"a.yaml:5", "text", "two\nlines"}};
  const auto file = write_assignments(sent);
  ASSERT_TRUE(file);
  for (int reading = 0; reading < 2; ++reading) {
    const auto got = read_assignments(file->get());
    ASSERT_TRUE(got) << got.error().message;
    ASSERT_EQ(got->size(), sent.size());
    for (std::size_t i = 0; i < sent.size(); ++i) {
      EXPECT_EQ((*got)[i].where, sent[i].where);
      EXPECT_EQ((*got)[i].name, sent[i].name);
      EXPECT_EQ((*got)[i].value, sent[i].value);
    }
  }
  EXPECT_TRUE(write_assignments({}).and_then(
      [](const FileHandle& empty) { return read_assignments(empty.get()); }));
  ASSERT_EQ(write(file->get(), "x", 1), 1);
  EXPECT_FALSE(read_assignments(file->get())) << "cut off";
}

TEST(Parameters, DeepNestingIsRefusedNotOverflowed) {
  Settings settings;
  const Result<> result = settings.set.load_yaml_text(std::string(100'000, '['), "x.yaml");
  ASSERT_FALSE(result);
  EXPECT_TRUE(result.error().message.starts_with("x.yaml:1: bad YAML: ")) << result.error().message;
}

TEST(Parameters, RequiredOneMustBeGiven) {
  Settings settings;
  EXPECT_EQ(error_of(settings.set.check()),
            "uri is required; give --uri VALUE, -p uri:=VALUE or a --params-file with it");
  EXPECT_TRUE(settings.set.set("uri", "file:///x", "--uri"));
  EXPECT_EQ(error_of(settings.set.check()), "no error");
}

TEST(Parameters, DefaultsOutOfRangeAreFound) {
  std::int64_t depth = 0;
  ParameterSet set;
  set.add("depth", &depth, "Depth", Range{1, 8});
  EXPECT_EQ(error_of(set.check()), "parameters: depth is 0; it must be 1..8");
}

TEST(Parameters, DumpLoadsBackToTheSameValues) {
  Settings source;
  source.quick = true;
  source.offset = std::numeric_limits<std::int64_t>::min();
  source.confidence = 0.1 + 0.2;
  source.gain = 1e300;
  source.uri = "rtsp://user:p#w@host/a b\t\"quoted\" \\ \n \x01 ü";
  source.cameras = {"", "null", "~", "true", "- x", "a,b", "[c]", "'", "123", " lead"};
  source.class_thresholds = {{"traffic light", 1.0 / 3}, {"a: b", 0}, {"null", 1}};
  const std::string text = source.set.dump_yaml();

  Settings copy;
  ASSERT_EQ(error_of(copy.set.load_yaml_text(text, "dump")), "no error") << text;
  EXPECT_EQ(copy.quick, source.quick);
  EXPECT_EQ(copy.offset, source.offset);
  EXPECT_EQ(copy.confidence, source.confidence);
  EXPECT_EQ(copy.gain, source.gain);
  EXPECT_EQ(copy.uri, source.uri);
  EXPECT_EQ(copy.cameras, source.cameras);
  EXPECT_EQ(copy.class_thresholds, source.class_thresholds);
  EXPECT_EQ(copy.set.dump_yaml(), text);
}

TEST(Parameters, DumpOfEmptyListAndMapLoads) {
  Settings source;
  source.cameras.clear();
  source.class_thresholds.clear();
  Settings copy;
  ASSERT_EQ(error_of(copy.set.load_yaml_text(source.set.dump_yaml(), "dump")), "no error");
  EXPECT_TRUE(copy.cameras.empty());
  EXPECT_TRUE(copy.class_thresholds.empty());
}

TEST(Parameters, TextFormsAreExact) {
  Settings settings;
  const auto& all = settings.set.all();
  EXPECT_EQ(describe(all[1]), "Most frames in one inference (1..64 frames, default 8)");
  EXPECT_EQ(describe(all[2]), "Any whole number (default -3)");
  EXPECT_EQ(describe(all[4]), "Amplification (at least 0 dB, default 1.5)");
  EXPECT_EQ(describe(all[5]), "Arithmetic (one of fp32, fp16, int8, best, default int8)");
  EXPECT_EQ(describe(all[6]), "Where frames come from (required)");
  EXPECT_EQ(option_name(all[8]), "--class-thresholds");
  EXPECT_EQ(settings.set.dump_yaml().substr(0, 106),
            "# Skip the slow part\nquick: false\n\n# Most frames in one inference (1..64 "
            "frames)\nmax_batch: 8\n\n"
            "# Any whole");
  EXPECT_EQ(
      settings.set.to_json(),
      R"({"quick":false,"max_batch":8,"offset":-3,"confidence":0.25,"gain":1.5,"precision":"int8","uri":"",)"
      R"("cameras":["cam0"],"class_thresholds":{"person":0.5}})");
}

TEST(Parameters, NearestFindsTyposAndNothingElse) {
  const std::vector<std::string> names{"max_batch", "min_batch", "uri"};
  EXPECT_EQ(nearest("max_bach", names), "max_batch");
  EXPECT_EQ(nearest("ury", names), "uri");
  EXPECT_EQ(nearest("uir", names), "uri");
  EXPECT_EQ(nearest("confidence", names), "");
  EXPECT_EQ(nearest("", names), "");
  EXPECT_EQ(nearest("x", {}), "");
}

// Variables of the types that a node works with.
class TypedParameters : public testing::Test {
 protected:
  enum class Mode { kAuto, kWait };

  TypedParameters() {
    set_.add("delay_ms", &delay_, "How long it waits", Range{0, 1000}, "ms");
    set_.add("timeout", &timeout_, "How long it is patient", Range{0.01, 3600}, "s");
    set_.add("mode", choice(&mode_, {{"auto", Mode::kAuto}, {"wait", Mode::kWait}}), "What if");
  }
  std::string refusal(std::string_view text) {
    const auto loaded = set_.load_yaml_text(text, "x.yaml");
    return loaded ? "" : loaded.error().message;
  }

  std::chrono::nanoseconds delay_{0};
  std::chrono::nanoseconds timeout_ = std::chrono::seconds(2);
  Mode mode_ = Mode::kAuto;
  ParameterSet set_;
};

TEST_F(TypedParameters, ADurationIsANumberOfItsUnitAndAChoiceAWord) {
  EXPECT_EQ(refusal("delay_ms: 1.5\ntimeout: 0.01\nmode: wait\n"), "");
  EXPECT_EQ(delay_, std::chrono::microseconds(1500));
  EXPECT_EQ(timeout_, std::chrono::milliseconds(10));
  EXPECT_EQ(mode_, Mode::kWait);
  EXPECT_TRUE(set_.set("mode", "auto", "-p"));
  EXPECT_TRUE(set_.set("timeout", "3600", "-p"));
  EXPECT_TRUE(set_.check());
  EXPECT_EQ(mode_, Mode::kAuto);
  EXPECT_EQ(timeout_, std::chrono::hours(1));
}

TEST_F(TypedParameters, AreDumpedAsTheyAreWritten) {
  EXPECT_EQ(describe(set_.all()[0]), "How long it waits (0..1000 ms, default 0)");
  EXPECT_EQ(describe(set_.all()[1]), "How long it is patient (0.01..3600 s, default 2)");
  EXPECT_EQ(describe(set_.all()[2]), "What if (one of auto, wait, default auto)");
  for (const double seconds : {0.01, 0.1, 0.3, 1.7, 59.999}) {
    ASSERT_TRUE(set_.set("timeout", fmt::format("{}", seconds), "-p"));
    EXPECT_EQ(duration_count(set_.all()[1]), seconds);
  }
  ASSERT_EQ(refusal("delay_ms: 0.3\nmode: wait\n"), "");
  EXPECT_EQ(set_.to_json(), R"({"delay_ms":0.3,"timeout":59.999,"mode":"wait"})");
  const std::string dump = set_.dump_yaml();
  delay_ = timeout_ = std::chrono::seconds(0);
  mode_ = Mode::kAuto;
  EXPECT_EQ(refusal(dump), "");
  EXPECT_EQ(set_.dump_yaml(), dump);
  EXPECT_EQ(mode_, Mode::kWait);
}

TEST_F(TypedParameters, WhatIsWrongIsToldAsOfNumbersAndTexts) {
  EXPECT_EQ(refusal("\ndelay_ms: 1001\n"), "x.yaml:2: delay_ms is 1001; it must be 0..1000");
  EXPECT_EQ(refusal("delay_ms: 5ms\n"),
            "x.yaml:1: delay_ms is '5ms'; it must be a number, 0..1000");
  EXPECT_EQ(refusal("timeout: [1]\n"),
            "x.yaml:1: timeout is a list; it must be a number, 0.01..3600");
  EXPECT_EQ(refusal("mode: fast\n"), "x.yaml:1: mode is 'fast'; it must be one of auto, wait");
  EXPECT_EQ(refusal("mode: {}\n"), "x.yaml:1: mode is a map; it must be a text");
  EXPECT_EQ(delay_.count(), 0);
  timeout_ = std::chrono::nanoseconds(0);  // a default out of range
  EXPECT_FALSE(set_.check());
}

// Each of the type that its user takes.
class IntegerParameters : public testing::Test {
 protected:
  IntegerParameters() {
    set_.add("pad", &pad_, "Value of a pixel", Range{0, 255});
    set_.add("port", &port_, "Where it listens", Range{1, 65535});
    set_.add("offset", &offset_, "What is added", Range{-100, INT32_MAX});
    set_.add("slots", &slots_, "Shared-memory slots", Range{0, UINT32_MAX});
    set_.add("seed", &seed_, "Seed of a scene", Range{0, 9e15});
  }
  std::string refusal(std::string_view text) {
    const auto loaded = set_.load_yaml_text(text, "x.yaml");
    return loaded ? "" : loaded.error().message;
  }

  std::uint8_t pad_ = 65;
  std::uint16_t port_ = 9464;
  std::int32_t offset_ = -1;
  std::uint32_t slots_ = 4;
  std::uint64_t seed_ = 1;
  ParameterSet set_;
};

TEST_F(IntegerParameters, HoldWhatTheirRangesAllow) {
  EXPECT_EQ(refusal("pad: 255\nport: 65535\noffset: 2147483647\nslots: 4294967295\n"
                    "seed: 9000000000000000\n"),
            "");
  EXPECT_EQ(pad_, 255);
  EXPECT_EQ(port_, 65535);
  EXPECT_EQ(offset_, INT32_MAX);
  EXPECT_EQ(slots_, UINT32_MAX);
  EXPECT_EQ(seed_, 9'000'000'000'000'000u);
  EXPECT_TRUE(set_.check());
  EXPECT_TRUE(set_.set("offset", "-100", "-p"));
  EXPECT_EQ(offset_, -100);
}

TEST_F(IntegerParameters, NeverWrapAround) {
  EXPECT_EQ(refusal("pad: 256\n"), "x.yaml:1: pad is 256; it must be 0..255");
  EXPECT_EQ(refusal("port: 65537\n"), "x.yaml:1: port is 65537; it must be 1..65535");
  EXPECT_EQ(refusal("slots: -1\n"), "x.yaml:1: slots is -1; it must be 0..4294967295");
  EXPECT_EQ(refusal("slots: 4294967296\n"),
            "x.yaml:1: slots is 4294967296; it must be 0..4294967295");
  EXPECT_EQ(refusal("pad: 18446744073709551616\n"),
            "x.yaml:1: pad is '18446744073709551616'; it must be a whole number, 0..255");
  port_ = 0;  // a default out of range
  EXPECT_FALSE(set_.check());
  EXPECT_EQ(pad_, 65);
  EXPECT_EQ(slots_, 4u);
}

TEST_F(IntegerParameters, AreDumpedAsNumbers) {
  EXPECT_EQ(describe(set_.all()[0]), "Value of a pixel (0..255, default 65)");
  EXPECT_EQ(set_.to_json(), R"({"pad":65,"port":9464,"offset":-1,"slots":4,"seed":1})");
  const std::string dump = set_.dump_yaml();
  ASSERT_EQ(refusal("pad: 7\nseed: 8\n"), "");
  EXPECT_EQ(refusal(dump), "");
  EXPECT_EQ(pad_, 65);
  EXPECT_EQ(seed_, 1u);
}

TEST_F(IntegerParameters, NeedARangeThatTheirTypeHolds) {
  ParameterSet set;
  EXPECT_DEATH(set.add("pad", &pad_, "Value of a pixel", Range{0, 256}), "does not hold");
  EXPECT_DEATH(set.add("slots", &slots_, "Shared-memory slots", Range{-1, 4}), "does not hold");
  EXPECT_DEATH(set.add("slots", &slots_, "Shared-memory slots"), "does not hold");
}

}  // namespace
}  // namespace fovea
