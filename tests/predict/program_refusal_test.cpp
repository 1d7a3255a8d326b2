// Bad input: one clear line, nothing built for it, and the others go on where there are others.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/base/file_io.hpp"
#include "tests/imaging/video_maker.hpp"
#include "tests/predict/program_fixture.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Outcome;
using testing::AllOf;
using testing::HasSubstr;

class PredictRefusals : public test::PredictProgram {
 protected:
  void SetUp() override {
    PredictProgram::SetUp();
    model_ = fixed_model();
    picture_ = put("in/a.png", imaging::quarters(64, 64));
  }
  // One line that has all of `parts`, before anything is built.
  void expect_refused(const std::vector<std::string>& words, int code,
                      const std::vector<std::string>& parts) const {
    const Outcome outcome = predict(words);
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_EQ(lines(outcome.err), 1U) << outcome.err;
    for (const std::string& part : parts) EXPECT_THAT(outcome.err, HasSubstr(part));
    EXPECT_EQ(outcome.out, "");
    EXPECT_FALSE(something_was_built());
  }

  std::string model_, picture_;
};

TEST_F(PredictRefusals, AMissingModel) {
  expect_refused({path("absent.onnx"), picture_}, 2, {"absent.onnx", "No such file"});
}

TEST_F(PredictRefusals, ATextFileAsModel) {
  put("m.onnx", imaging::file_of("hello\n"));
  const Outcome outcome = predict({path("m.onnx"), picture_});
  EXPECT_NE(outcome.code, 0);
  EXPECT_EQ(lines(outcome.err), 1U) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("m.onnx"));
}

TEST_F(PredictRefusals, AnUnknownParameter) {
  expect_refused({model_, picture_, "scor_threshold:=0.5"}, 2,
                 {"scor_threshold", "did you mean 'score_threshold'?"});
}

TEST_F(PredictRefusals, AThresholdOfAClassThatTheModelLacks) {
  expect_refused({model_, picture_, "class_thresholds:=cow=0.5"}, 2, {"class_thresholds", "cow"});
}

TEST_F(PredictRefusals, AnEmptyFolder) {
  fs::create_directories(path("empty"));
  expect_refused({model_, path("empty")}, 1, {"empty", "no pictures there"});
}

TEST_F(PredictRefusals, JsonThatCannotBeWritten) {
  expect_refused({model_, picture_, "--json", path("absent/r.json")}, 1, {"--json", "absent"});
  expect_refused({model_, picture_, "--json", picture_}, 2,
                 {"--json", "a.png", "is a picture's or video's name"});
  expect_refused({model_, picture_, "--json", model_}, 2, {"--json", "one of the files"});
  expect_refused({model_, picture_, "--json", path("in")}, 2, {"--json", "in"});
}

// The file is written beside and renamed; a link to it stays, as everywhere.
TEST_F(PredictRefusals, JsonReplacesAFileAndKeepsALinkToIt) {
  put("other.json", imaging::file_of("mine\n"));
  fs::create_symlink(path("other.json"), path("r.json"));
  const Outcome outcome = predict({model_, picture_, "--json", path("r.json")});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(fs::is_symlink(path("r.json")));
  EXPECT_EQ(results()["pictures"].size(), 1U);
  EXPECT_EQ(fs::file_size(path("other.json")), fs::file_size(path("r.json")));
}

TEST_F(PredictRefusals, CopiesInTheFolderOfThePicturesThemselves) {
  expect_refused({model_, picture_, "--save", path("in")}, 2,
                 {"--save", "a.png", "another folder"});
  expect_refused({model_, picture_, "--save", picture_}, 2, {"--save", "a.png"});
}

TEST_F(PredictRefusals, AModelOfATaskThatIsNotDecoded) {
  const std::string model = write("sem.onnx", {{{1, 2, 16, 16}, std::vector<double>(512, 0.1)}},
                                  {{"task", "embed"}, {"names", "{0: 'cat', 1: 'dog'}"}});
  expect_refused({model, picture_}, 1,
                 {"sem.onnx", "its task is 'embed'", "segment, pose, obb"});
}

// `there` is in the folder that copies go to, and no copy of Fovea's.
TEST_F(PredictRefusals, CopiesInThePlaceOfSomebodysPictures) {
  const std::string there = put("out/a.png", imaging::quarters(32, 32));
  const auto before = *read_file(there);
  expect_refused({model_, picture_, "--save", path("out")}, 2,
                 {"--save", "out/a.png", "is there already", "another folder"});
  EXPECT_EQ(*read_file(there), before);
  // Through a link, too.
  const std::string elsewhere = put("elsewhere.png", imaging::quarters(32, 32));
  fs::create_directories(path("links"));
  fs::create_symlink(elsewhere, path("links/a.png"));
  expect_refused({model_, picture_, "--save", path("links")}, 2, {"--save", "links/a.png"});
}

TEST_F(PredictRefusals, FramesInThePlaceOfSomebodysPictures) {
  ASSERT_TRUE(imaging::make_video({.path = path("clip.avi"), .frames = 3}));
  put("out/clip/notes.jpg", imaging::file_of("mine\n"));  // no frame has this name
  put("out/clip/000002.jpg", imaging::quarters(32, 32));
  expect_refused({model_, path("clip.avi"), "--save", path("out")}, 2,
                 {"--save", "000002.jpg", "is there already"});
  put("other/clip", imaging::file_of("no folder\n"));
  expect_refused({model_, path("clip.avi"), "--save", path("other")}, 2,
                 {"--save", "clip", "is no folder"});
}

TEST_F(PredictRefusals, FilesThatCannotBeReadCostALineEachAndTheOthersGoOn) {
  put("in/b.jpg", imaging::file_of("I am a text\n"));
  imaging::File cut = imaging::encode(".jpg", imaging::quarters(200, 100));
  cut.resize(cut.size() / 2);
  put("in/c.jpg", cut);
  put("in/d.png", imaging::File{});
  put("in/e.png", imaging::quarters(64, 64));
  put("notes.txt", imaging::file_of("I am one, too\n"));
  put("clip.mp4", imaging::file_of("no video\n"));
  const Outcome outcome = predict({model_, path("notes.txt"), path("in"), path("clip.mp4"),
                                   path("absent.jpg"), "--json", path("r.json")});
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  for (const char* name :
       {"notes.txt: ", "b.jpg: ", "c.jpg: ", "d.png: ", "clip.mp4: ", "absent.jpg: "}) {
    EXPECT_THAT(outcome.err, HasSubstr(name));
  }
  const json file = results();
  EXPECT_EQ(file["pictures"].size(), 2U);
  EXPECT_EQ(file["unreadable"].size(), 6U);
  EXPECT_THAT(outcome.out, HasSubstr("2 pictures, 4 objects"));
  EXPECT_THAT(outcome.out, HasSubstr("6 could not be read"));
}

TEST_F(PredictRefusals, ADamagedFrameIsOneLineAndTheOthersAreThere) {
  const auto damage = [](int frame, std::vector<std::uint8_t>& bytes) {
    if (frame == 3) bytes.resize(bytes.size() / 3);
  };
  ASSERT_TRUE(imaging::make_video(
      {.path = path("clip.avi"), .codec = "mjpeg", .frames = 6, .damage = damage}));
  const Outcome outcome = predict({model_, path("clip.avi"), "--json", path("r.json")});
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("clip.avi: frame 3: "));
  const json file = results();
  EXPECT_GE(file["pictures"].size(), 5U);
  EXPECT_EQ(file["pictures"].back()["frame"], 5);
  EXPECT_EQ(file["unreadable"].size(), 1U) << file["unreadable"];
}

}  // namespace
}  // namespace fovea
