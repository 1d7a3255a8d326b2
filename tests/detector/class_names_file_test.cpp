// Files of class names in every spelling that trainings and people use.
#include "nodes/detector/class_names_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/detector/engine/onnx/metadata.hpp"

namespace fovea {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> names(std::string_view text) {
  const auto read = class_names_of_text(text);
  EXPECT_TRUE(read) << text << ": " << (read ? "" : read.error().message);
  return read.value_or(std::vector<std::string>{});
}
std::string refusal(std::string_view text) {
  const auto read = class_names_of_text(text);
  return read ? "taken" : read.error().message;
}

TEST(ClassNamesFile, OneALine) {
  EXPECT_THAT(names("person\ntraffic light\r\n\n  hair drier  "),
              ElementsAre("person", "traffic light", "hair drier"));
  EXPECT_THAT(names("\xEF\xBB\xBFperson\nC# shop"), ElementsAre("person", "C# shop"));
  EXPECT_THAT(names("3 wheels: a car\nit's\n"), ElementsAre("3 wheels: a car", "it's"));
}

TEST(ClassNamesFile, YamlListsAndMaps) {
  EXPECT_THAT(names("- person\n- 'driver''s'\n- \"a # b\"\n- dog # barks\n"),
              ElementsAre("person", ::testing::_, "a # b", "dog"));
  EXPECT_THAT(names("1: bicycle\n0: person\n# end\n2: \"\\u4eba\"\n"),
              ElementsAre("person", "bicycle", "\xE4\xBA\xBA"));
}

TEST(ClassNamesFile, ATrainingsDataYaml) {
  constexpr std::string_view kHead = "path: ../coco\ntrain: images\nnc: 2\n";
  const std::string head(kHead);
  EXPECT_THAT(names(head + "names:\n  0: person\n  1: cat\n\ndownload: x\n"),
              ElementsAre("person", "cat"));
  EXPECT_THAT(names(head + "names:\n- person\n- cat\nroboflow:\n  a: b\n"),
              ElementsAre("person", "cat"));
  EXPECT_THAT(names(head + "names: ['person',\n  \"cat\"]\nval: y\n"),
              ElementsAre("person", "cat"));
  EXPECT_THAT(names(head + "names: {0: person, 1: cat}\n"), ElementsAre("person", "cat"));
}

TEST(ClassNamesFile, JsonAndPython) {
  EXPECT_THAT(names(R"(["person", "say \"hi\"", "caf\u00e9"])"),
              ElementsAre("person", "say \"hi\"", "caf\xC3\xA9"));
  EXPECT_THAT(names("{\n \"0\": \"person\",\n \"1\": \"cat\"\n}\n"), ElementsAre("person", "cat"));
  EXPECT_THAT(names("{'person': 0, 'cat': 1}"), ElementsAre("person", "cat"));
}

TEST(ClassNamesFile, WhatIsNoneIsRefusedWithTheLine) {
  EXPECT_THAT(refusal(""), HasSubstr("names no class"));
  EXPECT_THAT(refusal("\n  \n"), HasSubstr("names no class"));
  EXPECT_THAT(refusal("- a\nb\n"), HasSubstr("line 2: 'b' is no item"));
  EXPECT_THAT(refusal("0: a\nb\n"), HasSubstr("line 2: 'b' is no number with a name"));
  EXPECT_THAT(refusal("0: a\n2: b\n"), HasSubstr("class 1 has no name"));
  EXPECT_THAT(refusal("0: a\n0: b\n"), HasSubstr("class 0 is named twice"));
  EXPECT_THAT(refusal("- a\n-\n"), HasSubstr("the name of class 1 is empty"));
  EXPECT_THAT(refusal("['a', "), HasSubstr("in brackets cannot be read"));
  EXPECT_THAT(refusal("nc: 3\nnames:\nval: x\n"), HasSubstr("nothing stands below names:"));
  EXPECT_THAT(refusal("names: person\n"), HasSubstr("it must be a list or a map"));
  EXPECT_THAT(refusal("{0: 'a', 2: 'b'}"), HasSubstr("left out"));
}

TEST(ClassNamesFile, MetadataGiveTheSameNamesBack) {
  const std::vector<std::string> all = {"person",       "say \"hi\"", "back\\slash", "it's",
                                        "\xE4\xBA\xBA", "a, b",       "{c}",         "7"};
  EXPECT_EQ(engine::read_class_names(metadata_of(all)).names, all);
  EXPECT_EQ(engine::read_class_names(metadata_of(all)).problem, "");
}

}  // namespace
}  // namespace fovea
