// What is found before a launch starts anything, and what cannot be found then.
#include "launch/supervision/preflight.hpp"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/isolated_domain.hpp"

namespace fovea::launch {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class Preflight : public ::testing::Test {
 protected:
  // A program that is no node of ours.
  NodeAction program(const std::string& name, const std::string& script) const {
    const auto file = domain_.root() / name;
    std::ofstream(file) << "#!/bin/sh\n" << script << "\n";
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
    NodeAction node;
    node.name = name;
    node.executable = file;
    node.where = "test.launch.yaml:3";
    return node;
  }
  IsolatedDomain domain_;
};

TEST_F(Preflight, AProgramThatDoesNotAnswerIsNamedAndNotWaitedForLonger) {
  const Graph graph{{program("silent", "exec sleep 1000"), program("quick", "exit 0")}, {}, {}};
  const auto unchecked = check_parameters(graph, *domain_, 100ms);
  ASSERT_TRUE(unchecked) << unchecked.error().message;
  ASSERT_THAT(*unchecked, SizeIs(1));
  EXPECT_THAT(unchecked->front(),
              AllOf(HasSubstr("test.launch.yaml:3: node `silent` did not answer --check-params"),
                    HasSubstr("0.1 s")));
}

TEST_F(Preflight, ProgramsThatAnswerLeaveNothingToSay) {
  const Graph graph{{program("a", "exit 0"), program("b", "exit 1")}, {}, {}};
  const auto unchecked = check_parameters(graph, *domain_);
  ASSERT_TRUE(unchecked) << unchecked.error().message;
  EXPECT_THAT(*unchecked, IsEmpty());
}

}  // namespace
}  // namespace fovea::launch
