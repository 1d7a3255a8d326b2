#include "nodes/base/json.hpp"

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace fovea {
namespace {

TEST(ParseJson, TextThatIsNoJsonIsNeitherObjectNorError) {
  for (const std::string text : {"", "{", "{\"a\":1} x", "nan", "\xff"}) {
    EXPECT_TRUE(parse_json(text).is_discarded()) << text;
    EXPECT_FALSE(parse_json(text).is_object()) << text;
  }
}

TEST(ParseJson, MembersKeepTheirOrder) {
  EXPECT_EQ(parse_json(R"({"b": 1, "a": {"d": [], "c": null}})").dump(),
            R"({"b":1,"a":{"d":[],"c":null}})");
}

TEST(ParseJson, TextEndsWhereTheViewDoes) {
  const std::string text = R"({"a":1}garbage)";
  EXPECT_EQ(parse_json(std::string_view(text).substr(0, 7)).dump(), R"({"a":1})");
}

}  // namespace
}  // namespace fovea
