// What calibration and verification see of a picture file, through the library that the tool opens.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <sys/stat.h>

#include "nodes/detector/accuracy/detection_pipeline.hpp"
#include "nodes/detector/accuracy/labelled_set.hpp"
#include "nodes/imaging/size_limit.hpp"
#include "tests/imaging/pictures.hpp"
#include "tests/support/build_paths.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class PictureModule : public testing::Test {
 protected:
  using Reader = void (*)(const std::string&, std::uint64_t, Result<Picture>&);

  void SetUp() override {
    std::string pattern = testing::TempDir() + "fovea-module-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    const std::string file = FOVEA_BIN_DIR "/../lib/fovea/pictures.so";
    void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(library, nullptr) << ::dlerror();
    reader_ = reinterpret_cast<Reader>(::dlsym(library, "fovea_read_picture"));
    ASSERT_NE(reader_, nullptr);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string write(const std::string& name, const imaging::File& bytes) const {
    const std::string path = folder_ / name;
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return path;
  }
  Result<Picture> read(const std::string& path,
                       std::uint64_t max_pixels = imaging::kDefaultMaxPixels) const {
    Result<Picture> picture;
    reader_(path, max_pixels, picture);
    return picture;
  }

  fs::path folder_;
  Reader reader_ = nullptr;
};

// Boxes are labelled on the picture as people see it, and the camera delivers it so.
TEST_F(PictureModule, TurnedPicturesAreMeasuredUpright) {
  const cv::Mat stored = imaging::quarters();
  for (int value = 1; value <= 8; ++value) {
    const auto picture =
        read(write("a.png", imaging::with_png_exif(imaging::encode(".png", stored),
                                                   imaging::exif_block(value, true))));
    ASSERT_TRUE(picture) << picture.error().message;
    const cv::Mat expected = imaging::as_shown(stored, value);
    ASSERT_EQ(picture->width, static_cast<std::uint32_t>(expected.cols)) << value;
    ASSERT_EQ(picture->height, static_cast<std::uint32_t>(expected.rows)) << value;
    const cv::Mat actual(expected.rows, expected.cols, CV_8UC3,
                         const_cast<std::byte*>(picture->bgr.data()));
    EXPECT_EQ(imaging::difference(actual, expected), 0) << value;
  }
}

TEST_F(PictureModule, DamagedAndHugePicturesAndFifosAreErrorsThatNameTheFile) {
  imaging::File jpeg = imaging::encode(".jpg", imaging::quarters(200, 100));
  jpeg.resize(jpeg.size() * 3 / 4);
  const auto cut = read(write("cut.jpg", jpeg));
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(cut.error().message, HasSubstr("cut.jpg: is cut off"));

  const auto huge =
      read(write("huge.png", imaging::encode(".png", imaging::quarters(200, 100))), 200 * 100 - 1);
  ASSERT_FALSE(huge);
  EXPECT_THAT(huge.error().message, HasSubstr("huge.png: is 200x100"));
  EXPECT_THAT(huge.error().message, HasSubstr("max_pixels is 19999"));

  const std::string fifo = folder_ / "fifo.png";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const auto endless = read(fifo);
  ASSERT_FALSE(endless);
  EXPECT_THAT(endless.error().message, HasSubstr("fifo.png"));
}

TEST_F(PictureModule, AFifoInTheLabelsPlaceIsAnErrorAtOnce) {
  fs::create_directories(folder_ / "images");
  fs::create_directories(folder_ / "labels");
  write("images/a.png", imaging::encode(".png", imaging::quarters()));
  std::ofstream(folder_ / "classes.txt") << "thing\n";
  ASSERT_EQ(::mkfifo((folder_ / "labels/a.txt").c_str(), 0600), 0);
  const auto set = read_labelled_set(folder_);
  ASSERT_FALSE(set);
  EXPECT_THAT(set.error().message, HasSubstr("a.txt"));
}

}  // namespace
}  // namespace fovea
