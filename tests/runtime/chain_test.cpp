// Chains followed from what pages say of their topics.
#include "nodes/runtime/figures/chain.hpp"

#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "msgs/image.hpp"
#include "nodes/runtime/topics/pubsub.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Chains : public testing::Test {
 protected:
  // A node with one ledger, which reads and writes these topics.
  void node(const std::string& name, const std::vector<std::string>& reads,
            const std::vector<std::string>& writes, const std::string& camera = "cam0") {
    pages_.push_back(*MetricsPage::create(*domain_, name, name));
    StageLedger ledger(*pages_.back(), camera);
    for (const std::string& topic : reads) ledger.reads(topic);
    for (const std::string& topic : writes) ledger.writes(topic);
  }
  std::vector<const MetricsReader*> pages() {
    readers_.clear();
    std::vector<const MetricsReader*> pages;
    for (const auto& page : pages_) {
      readers_.push_back(*MetricsReader::open(*domain_, page->node()));
      pages.push_back(readers_.back().get());
    }
    return pages;
  }
  std::vector<CameraChain> follow() { return follow_chains(pages()); }
  static std::vector<std::string> names(const CameraChain& chain) {
    std::vector<std::string> nodes;
    for (const ChainStage& stage : chain.stages) nodes.push_back(stage.page->node());
    return nodes;
  }

  TestDomain domain_;
  std::vector<std::unique_ptr<MetricsPage>> pages_;
  std::vector<std::unique_ptr<MetricsReader>> readers_;
};

TEST_F(Chains, ASourceThatIsMissingInAListOfCamerasIsUnreadAndTold) {
  node("left", {}, {"left/image"}, "left");
  node("right", {}, {"right/image"}, "right");
  node("preprocess", {"left/image", "rihgt/image"}, {"left/tensor", "rihgt/tensor"}, "left");
  const auto chains = follow();
  ASSERT_EQ(chains.size(), 2u);
  EXPECT_FALSE(chains[0].is_unread);
  EXPECT_TRUE(chains[1].is_unread);
  EXPECT_THAT(loose_ends(pages()),
              ElementsAre("nobody reads right/image, which right writes",
                          "nobody writes rihgt/image, which preprocess reads"));
}

TEST_F(Chains, ASourceThatIsOnlyRecordedIsReadAndAloneItLacksNobody) {
  node("left", {}, {"left/image"}, "left");
  node("right", {}, {"right/image"}, "right");
  EXPECT_FALSE(follow()[0].is_unread) << "cameras alone";
  EXPECT_THAT(loose_ends(pages()), IsEmpty());
  node("preprocess", {"left/image"}, {"left/tensor"}, "left");
  node("recorder", {"right/image"}, {}, "right");
  EXPECT_FALSE(follow()[1].is_unread);
  EXPECT_THAT(loose_ends(pages()), IsEmpty());
}

TEST_F(Chains, TheLongestWayIsTakenAndReadersThatWriteNothingAreNone) {
  node("viewer", {"a", "c"}, {});
  node("last", {"b"}, {"c"});
  node("short", {"a"}, {"x"});
  node("camera", {}, {"a"});
  node("middle", {"a"}, {"b", "debug"});
  const auto chains = follow();
  ASSERT_EQ(chains.size(), 1u);
  EXPECT_EQ(chains[0].camera, "cam0");
  EXPECT_THAT(names(chains[0]), ElementsAre("camera", "middle", "last"));
  EXPECT_THAT(stage_types(chains), ElementsAre("camera", "middle", "last"));
}

TEST_F(Chains, PagesThatTellOfACircleEndInAChain) {
  node("camera", {}, {"a"});
  node("one", {"a", "c"}, {"b"});
  node("two", {"b"}, {"c"});
  node("self", {"a", "s"}, {"s"});
  const auto chains = follow();
  ASSERT_EQ(chains.size(), 1u);
  EXPECT_THAT(names(chains[0]), ElementsAre("camera", "one", "two"));
}

TEST_F(Chains, StagesOfOneCameraOnlyStandInTheirPlaceAmongTheTypes) {
  node("cam0", {}, {"cam0/image"}, "cam0");
  node("cam1", {}, {"cam1/image"}, "cam1");
  node("blur", {"cam1/image"}, {"cam1/blurred"}, "cam1");
  node("net", {"cam0/image"}, {"cam0/boxes"}, "cam0");
  StageLedger second(*pages_.back(), "cam1");
  second.reads("cam1/blurred");
  second.writes("cam1/boxes");
  const auto chains = follow();
  ASSERT_EQ(chains.size(), 2u);
  EXPECT_THAT(names(chains[0]), ElementsAre("cam0", "net"));
  EXPECT_THAT(names(chains[1]), ElementsAre("cam1", "blur", "net"));
}

TEST_F(Chains, PublisherAndSubscriptionSayOfThemselvesWhatTheyReadAndWrite) {
  pages_.push_back(*MetricsPage::create(*domain_, "stage", "stage"));
  StageLedger ledger(*pages_.back(), "cam0");
  EXPECT_THAT(follow(), IsEmpty());
  const auto out = Publisher<msgs::Image>::create(*domain_, "cam0/out", {}, {}, &ledger);
  EXPECT_EQ(follow().size(), 1u) << "a source";
  const auto in = Subscription<msgs::Image>::create(*domain_, "cam0/in", {}, &ledger);
  EXPECT_THAT(follow(), IsEmpty());
  EXPECT_EQ(readers_.back()->value(kTopicReads, "cam0", "cam0/in"), 1u);
  EXPECT_EQ(readers_.back()->value(kTopicWrites, "cam0", "cam0/out"), 1u);
}

}  // namespace
}  // namespace fovea::test
