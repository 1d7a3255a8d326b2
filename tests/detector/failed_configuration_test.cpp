// A detector whose configuration fails ends with the exit code of its fault, whatever its builder
// does at that moment: one that prints progress without end and cannot be asked to stop is the
// worst of them. Real processes.
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include "msgs/tensor.hpp"
#include "nodes/runtime/topics/pubsub.hpp"
#include "tests/engine/onnx_writer.hpp"
#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using test::Child;
using test::eventually;
using ::testing::HasSubstr;
using Arguments = std::vector<std::string>;

class FailedConfiguration : public ::testing::Test {
 protected:
  FailedConfiguration() {
    setenv("FOVEA_CACHE_DIR", cache().c_str(), 1);
    const fs::path file = domain_.root() / "builder";
    // Its children print as fast as they can, so a line comes at any moment. It ends with the test.
    std::ofstream(file) << "#!/bin/sh\ntrap '' TERM INT\ntouch " << called().native()
                        << "\nwhile [ -e " << called().native()
                        << " ]; do\n  yes ' 25 % tune' | head -n 1000 >&2\ndone\n";
    fs::permissions(file, fs::perms::owner_all);
    setenv("FOVEA_BUILDER", file.c_str(), 1);
  }
  ~FailedConfiguration() override {
    unsetenv("FOVEA_BUILDER");
    unsetenv("FOVEA_CACHE_DIR");
  }

  fs::path cache() const { return domain_.root() / "cache"; }
  fs::path called() const { return domain_.root() / "called"; }

  // A network that runs, and whose output no decoder knows unless `decoded`: rows of four numbers of
  // a box and two scores.
  std::string write_model(bool decoded) const {
    const std::string file = domain_.root() / "model.onnx";
    engine::test::OnnxWriter writer;
    writer.input("images", {1, 3, 32, 32});
    writer.floats("w", {6, 3, 8, 8}, std::vector<double>(6 * 3 * 8 * 8, 0.001));
    writer.node("Conv", {"images", "w"}, {"maps"}, {{"strides", std::vector<std::int64_t>{8, 8}}});
    if (decoded) {
      writer.ints("rows", {1, 6, 16}).node("Reshape", {"maps", "rows"}, {"output0"});
      writer.output("output0").metadata("names", "{0: 'a', 1: 'b'}").metadata("task", "detect");
    } else {
      writer.output("maps");
    }
    writer.save(file);
    return file;
  }
  std::unique_ptr<Child> start(Arguments more) const {
    more.insert(more.end(),
                {"--domain", "test", "--cameras", "a", "--threads", "1", "--max-batch", "1"});
    return std::make_unique<Child>(domain_.root(), FOVEA_BIN_DIR "/fovea-detector",
                                   std::move(more));
  }

  test::TestDomain domain_;
};

TEST_F(FailedConfiguration, RefusedModelEndsWithTwoAndNothingIsBuiltForIt) {
  const std::string model = write_model(/*decoded=*/false);
  const Arguments pictures = {"--calibration", domain_.root().string()};
  for (const char* build : {"auto", "wait", "beside"}) {
    for (const char* precision : {"fp32", "fp16", "int8", "best"}) {
      SCOPED_TRACE(std::string(build) + " " + precision);
      Arguments arguments = {"--model", model, "--build", build, "--precision", precision};
      arguments.insert(arguments.end(), pictures.begin(), pictures.end());
      const auto detector = start(arguments);
      EXPECT_EQ(detector->wait(), 2) << detector->err();
      EXPECT_THAT(detector->err(), HasSubstr("no head that Fovea decodes"));
      EXPECT_FALSE(fs::exists(called())) << "a builder ran for a model that is refused";
      std::error_code error;
      for (const auto& file : fs::directory_iterator(cache(), error))
        EXPECT_NE(file.path().extension(), ".plan") << file.path();
    }
  }
}

TEST_F(FailedConfiguration, MissingFilesAreToldWhenTheParametersAreChecked) {
  const std::string model = write_model(/*decoded=*/true);
  const std::string absent = domain_.root() / "absent";
  const auto good = start({"--check-params", "--model", model});
  EXPECT_EQ(good->wait(), 0) << good->err();
  for (const Arguments& wrong :
       {Arguments{"--model", absent}, Arguments{"--model", domain_.root().string()},
        Arguments{"--model", model, "--calibration", absent},
        Arguments{"--model", model, "--verify", absent}}) {
    Arguments arguments = wrong;
    arguments.emplace_back("--check-params");
    const auto refused = start(arguments);
    EXPECT_EQ(refused->wait(), 2);
    EXPECT_THAT(refused->err(), HasSubstr("error: " + wrong[wrong.size() - 2]));
    EXPECT_THAT(refused->err(), HasSubstr(wrong.back()));
  }
}

TEST_F(FailedConfiguration, WhatItCannotBeConfiguredWithIsToldWhenTheParametersAreChecked) {
  const std::string model = write_model(/*decoded=*/true);
  for (const auto& [wrong, why] :
       {std::pair(Arguments{"--precision", "int8"},
                  "precision is int8; that needs `calibration`, a folder of pictures"),
        {Arguments{"--precision", "best"}, "precision is best; that needs `calibration`"},
        {Arguments{"--input-size", "64y"}, "input_size is '64y'"}}) {
    Arguments arguments = wrong;
    arguments.insert(arguments.end(), {"--model", model});
    const auto started = start(arguments);
    EXPECT_EQ(started->wait(), 2);
    EXPECT_THAT(started->err(), HasSubstr(why));
    arguments.emplace_back("--check-params");
    const auto checked = start(arguments);
    EXPECT_EQ(checked->wait(), 2);
    EXPECT_THAT(checked->err(), testing::StartsWith(std::string("error: ") + why));
  }
  const auto good = start({"--check-params", "--model", model, "--precision", "int8",
                           "--calibration", domain_.root().string()});
  EXPECT_EQ(good->wait(), 0) << good->err();
}

TEST_F(FailedConfiguration, TheBuilderIsToldHowLargeAPictureMayBe) {
  const std::string model = write_model(/*decoded=*/true);
  const fs::path file = domain_.root() / "told";
  std::ofstream(file) << "#!/bin/sh\necho \"$@\" > " << called().native() << "\nexit 1\n";
  fs::permissions(file, fs::perms::owner_all);
  setenv("FOVEA_BUILDER", file.c_str(), 1);
  const auto detector = start({"--model", model, "--build", "wait", "--precision", "int8",
                               "--calibration", domain_.root().string(), "--max-pixels", "12345"});
  EXPECT_NE(detector->wait(), 0);
  std::ifstream stream(called());
  const std::string words{std::istreambuf_iterator<char>(stream), {}};
  EXPECT_THAT(words, HasSubstr("\"max_pixels\":12345"));
}

TEST_F(FailedConfiguration, FaultAfterTheBuilderHasStartedEndsWithItsOwnCode) {
  const std::string model = write_model(/*decoded=*/true);
  // Takes the name of what the detector publishes last.
  const auto taken = Publisher<msgs::TensorArray>::create(*domain_, "a/heads");
  ASSERT_TRUE(taken) << taken.error().message;
  for (int round = 0; round < 8; ++round) {
    const auto detector = start({"--model", model, "--build", "beside"});
    EXPECT_EQ(detector->wait(), 1) << detector->err();
    EXPECT_THAT(detector->err(), HasSubstr("until the fp32 one is ready")) << "it failed earlier";
    EXPECT_THAT(detector->err(), HasSubstr("a/heads"));
  }
}

TEST_F(FailedConfiguration, StopWhileTheBuilderPrintsWithoutEndEndsInOrder) {
  const std::string model = write_model(/*decoded=*/true);
  const auto detector = start({"--model", model, "--build", "beside"});
  ASSERT_TRUE(eventually([&] { return detector->err().find("tune (25 %") != std::string::npos; }))
      << detector->err();
  detector->send(SIGTERM);
  EXPECT_EQ(detector->wait(), 0) << detector->err();
}

}  // namespace
}  // namespace fovea
