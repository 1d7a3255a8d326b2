#include "nodes/base/cores.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <sched.h>

namespace fovea {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

// A root with what the kernel would tell in /sys and /proc.
class CoresTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "cores-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
  }
  void TearDown() override { fs::remove_all(root_); }
  void tell(const std::string& file, const std::string& text) const {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  fs::path root_;
};

Cpu cpu(int number, int core, double speed) {
  return {.number = number, .core = core, .speed = speed};
}

TEST(UsableCores, FollowTheAffinityMask) {
  cpu_set_t before;
  ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
  const auto all = static_cast<std::size_t>(CPU_COUNT(&before));
  EXPECT_EQ(usable_cpus().size(), all);
  EXPECT_LE(usable_cores(), static_cast<std::int32_t>(all));
  const int last = usable_cpus().back().number;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(last), &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(usable_cores(), 1);
  EXPECT_EQ(usable_cpus().at(0).number, last);
  ASSERT_EQ(::sched_setaffinity(0, sizeof before, &before), 0);
}

TEST_F(CoresTest, CpusOfWhichNothingIsToldAreAlike) {
  for (const Cpu& cpu : usable_cpus(root_)) {
    EXPECT_EQ(cpu.core, cpu.number);
    EXPECT_EQ(cpu.speed, 1);
  }
}

TEST_F(CoresTest, LittleCoresAreKnownByCapacityFrequencyOrList) {
  const std::vector<Cpu> here = usable_cpus(root_);
  if (here.size() < 2) GTEST_SKIP() << "needs two CPUs";
  const std::string first = "sys/devices/system/cpu/cpu" + std::to_string(here[0].number) + "/";
  const std::string second = "sys/devices/system/cpu/cpu" + std::to_string(here[1].number) + "/";
  tell(first + "cpufreq/cpuinfo_max_freq", "5200000\n");
  tell(second + "cpufreq/cpuinfo_max_freq", "2600000\n");
  EXPECT_DOUBLE_EQ(usable_cpus(root_)[1].speed, 0.5);
  tell(first + "cpu_capacity", "446\n");
  tell(second + "cpu_capacity", "1024\n");
  EXPECT_DOUBLE_EQ(usable_cpus(root_)[0].speed, 446.0 / 1024);
  EXPECT_DOUBLE_EQ(usable_cpus(root_)[1].speed, 1);
  fs::remove_all(root_ / "sys");
  tell("sys/devices/cpu_atom/cpus", "900-910," + std::to_string(here[1].number) + "\n");
  EXPECT_EQ(usable_cpus(root_)[0].speed, 1);
  EXPECT_LT(usable_cpus(root_)[1].speed, 0.8);
}

TEST_F(CoresTest, ThreadsOfOneCoreAreKnown) {
  const std::vector<Cpu> here = usable_cpus(root_);
  for (const Cpu& cpu : here) {
    const std::string folder = "sys/devices/system/cpu/cpu" + std::to_string(cpu.number);
    tell(folder + "/topology/thread_siblings_list",
         std::to_string(here[0].number) + "-" + std::to_string(here.back().number) + "\n");
  }
  for (const Cpu& cpu : usable_cpus(root_)) EXPECT_EQ(cpu.core, here[0].number);
}

TEST_F(CoresTest, NonsenseIsAsGoodAsNothing) {
  tell("sys/devices/cpu_atom/cpus", "-,3-,x,9999999999999999999999-1,,\n");
  tell("proc/self/cgroup", "0::\n:::\n\n0:cpu:\nnonsense\n4:cpu:/../../../x\n0::/../../y\n");
  tell("sys/fs/cgroup/cpu.max", "many few\n");
  tell("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "99999999999999999999\n");
  for (const Cpu& cpu : usable_cpus(root_)) {
    const std::string folder = "sys/devices/system/cpu/cpu" + std::to_string(cpu.number);
    tell(folder + "/cpu_capacity", "-5\n");
    tell(folder + "/cpufreq/cpuinfo_max_freq", "0\n");
    tell(folder + "/topology/thread_siblings_list", "99999-,\n");
  }
  for (const Cpu& cpu : usable_cpus(root_)) {
    EXPECT_EQ(cpu.core, cpu.number);
    EXPECT_EQ(cpu.speed, 1);
  }
  EXPECT_FALSE(cpu_quota(root_));
}

TEST_F(CoresTest, QuotaIsTheLeastOfAllGroupsAround) {
  EXPECT_FALSE(cpu_quota(root_));
  tell("proc/self/cgroup", "0::/robot.slice/fovea.service\n");
  tell("sys/fs/cgroup/robot.slice/fovea.service/cpu.max", "max 100000\n");
  EXPECT_FALSE(cpu_quota(root_));
  tell("sys/fs/cgroup/robot.slice/cpu.max", "250000 100000\n");
  EXPECT_EQ(cpu_quota(root_), 2.5);
  tell("sys/fs/cgroup/robot.slice/fovea.service/cpu.max", "50000 100000\n");
  EXPECT_EQ(cpu_quota(root_), 0.5);
}

TEST_F(CoresTest, QuotaOfAContainerIsFoundWhereItsPathIsTheHosts) {
  tell("proc/self/cgroup", "0::/system.slice/docker-1f2e.scope\n");
  tell("sys/fs/cgroup/cpu.max", "150000 100000\n");
  EXPECT_EQ(cpu_quota(root_), 1.5);
}

TEST_F(CoresTest, QuotaOfTheFirstVersionOfControlGroups) {
  tell("proc/self/cgroup", "5:memory:/a\n4:cpu,cpuacct:/docker/1f2e\n");
  tell("sys/fs/cgroup/cpu/docker/1f2e/cpu.cfs_quota_us", "-1\n");
  tell("sys/fs/cgroup/cpu/docker/1f2e/cpu.cfs_period_us", "100000\n");
  EXPECT_FALSE(cpu_quota(root_));
  tell("sys/fs/cgroup/cpu/docker/1f2e/cpu.cfs_quota_us", "300000\n");
  EXPECT_EQ(cpu_quota(root_), 3);
}

TEST(ThreadCounts, AreOneWhereAllCpusAreAlikeAndFew) {
  EXPECT_THAT(thread_counts({cpu(0, 0, 1), cpu(1, 1, 1)}, {}), ElementsAre(2));
  EXPECT_THAT(thread_counts({cpu(5, 5, 1)}, {}), ElementsAre(1));
}

TEST(ThreadCounts, AreWithAndWithoutSecondThreadsAndLittleCores) {
  // Four threads of two cores.
  EXPECT_THAT(thread_counts({cpu(0, 0, 1), cpu(1, 1, 1), cpu(2, 0, 1), cpu(3, 1, 1)}, {}),
              ElementsAre(2, 4));
  // Two P cores of two threads, four E cores.
  std::vector<Cpu> hybrid = {cpu(0, 0, 1), cpu(1, 0, 1), cpu(2, 2, 1), cpu(3, 2, 1)};
  for (int i = 4; i < 8; ++i) hybrid.push_back(cpu(i, i, 0.6));
  EXPECT_THAT(thread_counts(hybrid, {}), ElementsAre(2, 4, 6, 8));
  EXPECT_THAT(thread_counts(hybrid, 3.5), ElementsAre(2, 4));
  EXPECT_THAT(thread_counts(hybrid, 0.5), ElementsAre(1));
}

TEST(ThreadCounts, OfManyCoresAreHalvedDownToFew) {
  std::vector<Cpu> many;
  for (int i = 0; i < 64; ++i) many.push_back(cpu(i, i, 1));
  EXPECT_THAT(thread_counts(many, {}), ElementsAre(4, 8, 16, 32, 64));
}

TEST(ThreadCounts, OfManyKindsOfCoresAreHalvedFromAll) {
  std::vector<Cpu> phone = {cpu(0, 0, 1)};
  for (int i = 1; i < 4; ++i) phone.push_back(cpu(i, i, 0.76));
  for (int i = 4; i < 8; ++i) phone.push_back(cpu(i, i, 0.3));
  EXPECT_THAT(thread_counts(phone, {}), ElementsAre(1, 4, 8));
}

TEST(ThreadCounts, FewThreadsGoToTheFastCpus) {
  const std::vector<Cpu> cpus = {cpu(0, 0, 0.4), cpu(1, 1, 0.4), cpu(2, 2, 1), cpu(3, 3, 0.95)};
  EXPECT_THAT(cpus_for(1, cpus), ElementsAre(2, 3));
  EXPECT_THAT(cpus_for(2, cpus), ElementsAre(2, 3));
  EXPECT_THAT(cpus_for(3, cpus), IsEmpty());
  EXPECT_THAT(cpus_for(1, {cpu(0, 0, 1), cpu(1, 1, 1)}), IsEmpty());
}

}  // namespace
}  // namespace fovea
