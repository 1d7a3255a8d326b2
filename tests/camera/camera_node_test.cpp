// What `fovea-camera --check-params` says of sources that cannot be opened: as the source itself
// says it, and before anything starts.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/camera/frame_source.hpp"
#include "tests/support/build_paths.hpp"
#include "tests/support/child.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using test::Child;

class CameraNode : public testing::Test {
 protected:
  // Its errors, or nothing.
  std::string check(const std::string& uri, int code) {
    Child camera(domain_.root(), FOVEA_BIN_DIR "/fovea-camera",
                 {"--check-params", "-p", "uri:=" + uri});
    EXPECT_EQ(camera.wait(), code) << uri << ": " << camera.err();
    return camera.err();
  }

  test::TestDomain domain_;
};

TEST_F(CameraNode, FilesThatAreNotThereAreToldWhenTheParametersAreChecked) {
  const std::string folder = domain_.root() / "folder";
  const std::string empty = domain_.root() / "empty.avi";
  fs::create_directory(folder);
  std::ofstream{empty};
  const std::vector<std::string> uris = {"file:///missing.avi?loop=true&rate=5",
                                         "images:///missing",
                                         "images:///missing/*.png",
                                         "bag:///missing.mcap",
                                         "file://" + folder,
                                         "images://" + folder,
                                         "bag://" + folder,
                                         "file://" + empty,
                                         "file:///dev/zero"};
  for (const std::string& uri : uris) {
    const auto source = frames::make_frame_source(uri, {});
    ASSERT_TRUE(source) << source.error().message;
    const auto opened = (*source)->open();
    ASSERT_FALSE(opened) << uri;
    EXPECT_EQ(check(uri, 2), "error: -p: uri: " + opened.error().message + "\n");
  }
}

// Devices and streams may come and go, so nobody looks for them; and of a file the first frame may be
// bad.
TEST_F(CameraNode, SourcesThatCanBeOpenedLaterAreTaken) {
  const std::string file = domain_.root() / "some.avi";
  std::ofstream(file) << "not looked into";
  for (const std::string& uri :
       {std::string("synthetic://"), std::string("v4l2:///dev/video999"),
        std::string("rtsp://user:secret@192.0.2.1/stream"), "file://" + file}) {
    EXPECT_EQ(check(uri, 0), "");
  }
}

}  // namespace
}  // namespace fovea
