// Names of classes: whole where they fit, and never two alike.
#include "nodes/detector/class_names.hpp"

#include <set>

#include <gmock/gmock.h>

#include "msgs/class_name.hpp"

namespace fovea {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::StartsWith;

TEST(ClassNames, LongOnesAreWhole) {
  const std::string name(255, 'n');
  const std::string known = "traffic light, red, with an arrow to the left";
  EXPECT_THAT(distinct_class_names({name, known}, 2), ElementsAre(name, known));
  EXPECT_EQ(msgs::ClassName(name).view(), name);
}

TEST(ClassNames, OnesThatDoNotFitAreCutAtACharacterWithAMark) {
  std::string name = "x";
  while (name.size() < 300) name += "\u00e4";  // two bytes each, at odd places
  const auto shown = distinct_class_names({name}, 1);
  EXPECT_LE(shown[0].size(), msgs::ClassName::kMaxLength);
  EXPECT_THAT(shown[0], EndsWith("\u00e4..."));
}

TEST(ClassNames, TwoClassesNeverShareOne) {
  EXPECT_THAT(distinct_class_names({"cat", "dog", "cat", "cat #2", "cat"}, 5),
              ElementsAre("cat", "dog", "cat #2", "cat #2 #3", "cat #4"));
  const std::string same(400, 'n');
  const auto cut = distinct_class_names({same + "a", same + "b", same + "c"}, 3);
  EXPECT_EQ(std::set<std::string>(cut.begin(), cut.end()).size(), 3u);
  for (const std::string& name : cut) EXPECT_LE(name.size(), msgs::ClassName::kMaxLength);
  EXPECT_THAT(cut[2], EndsWith(" #2"));
}

TEST(ClassNames, ClassesWithoutANameGetTheirNumber) {
  EXPECT_THAT(distinct_class_names({"a", ""}, 4), ElementsAre("a", "class_1", "class_2", "class_3"));
  EXPECT_THAT(distinct_class_names({std::string("a\0b", 3)}, 1), ElementsAre("a"));
}

}  // namespace
}  // namespace fovea
