// Which files the words mean, and where copies of them go.
#include "nodes/predict/inputs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "nodes/predict/saved_pictures.hpp"
#include "tests/predict/scratch_folder.hpp"

namespace fovea::predict {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class InputFiles : public test::ScratchFolder {
 protected:
  std::vector<std::string> paths(const Inputs& inputs) const {
    std::vector<std::string> names;
    for (const Input& input : inputs.files) {
      names.push_back(fs::relative(input.path, folder_).string());
    }
    return names;
  }
  std::vector<std::string> saved(const std::vector<std::string>& files) const {
    std::vector<Input> inputs;
    for (const std::string& file : files) inputs.push_back({file, file.ends_with(".mp4")});
    std::vector<std::string> names;
    for (const fs::path& name : saved_names(inputs)) names.push_back(name.string());
    return names;
  }
};

TEST_F(InputFiles, AFoldersPicturesComeInTheOrderOfPeopleWithoutSubFoldersAndVideos) {
  for (const char* name : {"in/10.jpg", "in/9.JPG", "in/a.txt", "in/b.mp4", "in/deeper/c.jpg"}) {
    touch(name);
  }
  const std::vector<std::string> words{path("in")};
  const Inputs inputs = collect_inputs(words);
  EXPECT_THAT(paths(inputs), ElementsAre("in/9.JPG", "in/10.jpg"));
  EXPECT_TRUE(inputs.problems.empty());
}

TEST_F(InputFiles, ANamedFileIsTakenWhateverItsNameAndOnceHoweverOftenItIsNamed) {
  touch("in/a.jpg");
  touch("noname");
  touch("clip.MP4");
  fs::create_symlink(path("in/a.jpg"), path("link.jpg"));
  const std::vector<std::string> words{path("noname"), path("in/../in/a.jpg"), path("in"),
                                       path("link.jpg"), path("clip.MP4")};
  const Inputs inputs = collect_inputs(words);
  EXPECT_THAT(paths(inputs), ElementsAre("noname", "in/a.jpg", "clip.MP4"));
  EXPECT_FALSE(inputs.files[1].is_video);
  EXPECT_TRUE(inputs.files[2].is_video);
}

TEST_F(InputFiles, WhatNamesNothingIsOneProblemAndTheOthersGoOn) {
  touch("a.jpg");
  fs::create_directories(path("empty"));
  touch("videos/a.mp4");
  ASSERT_EQ(::mkfifo(path("fifo.jpg").c_str(), 0600), 0);
  const std::vector<std::string> words{path("absent.jpg"), path("empty"),  path("a.jpg"),
                                       path("fifo.jpg"),   path("videos"), "rtsp://me:key@host/x"};
  const Inputs inputs = collect_inputs(words);
  EXPECT_THAT(paths(inputs), ElementsAre("a.jpg"));
  ASSERT_EQ(inputs.problems.size(), 5U);
  EXPECT_THAT(inputs.problems[0].error.message,
              AllOf(HasSubstr("absent.jpg"), HasSubstr("No such file")));
  EXPECT_THAT(inputs.problems[1].error.message,
              AllOf(HasSubstr("empty"), HasSubstr("no pictures there"), HasSubstr(".jpg")));
  EXPECT_THAT(inputs.problems[2].error.message, HasSubstr("fifo.jpg"));
  EXPECT_THAT(inputs.problems[3].error.message, HasSubstr("its videos are read when"));
  EXPECT_THAT(inputs.problems[4].error.message,
              AllOf(HasSubstr("fovea launch"), testing::Not(HasSubstr("key"))));
}

TEST_F(InputFiles, CopiesKeepTheirNamesAndAFormatThatLosesNothingMore) {
  EXPECT_THAT(saved({"x/a.jpg", "b.JPEG", "c.png", "d.bmp", "e", "clip.mp4"}),
              ElementsAre("a.jpg", "b.JPEG", "c.png", "d.png", "e.png", "clip"));
}

TEST_F(InputFiles, CopiesOfEqualNamesStandBesideEachOther) {
  EXPECT_THAT(saved({"left/a.jpg", "right/a.jpg", "b.jpg"}),
              ElementsAre("left-a.jpg", "right-a.jpg", "b.jpg"));
  EXPECT_THAT(saved({"1/in/a.jpg", "2/in/a.jpg", "in-a.jpg"}),
              ElementsAre("in-a.jpg", "in-a-2.jpg", "in-a-3.jpg"));
  EXPECT_THAT(saved({"x/a.png", "x/a.bmp", "x/a.mp4", "y/a.mp4"}),
              ElementsAre("x-a.png", "x-a-2.png", "x-a", "y-a"));
}

TEST_F(InputFiles, APictureThatWasGivenIsNeverWrittenOver) {
  const std::string original = touch("in/a.jpg", "original");
  const std::vector<Input> inputs{{original, false}};
  ProtectedFiles given;
  given.add(original);
  const auto same = SavedPictures::create(path("in"), inputs, given);
  ASSERT_FALSE(same);
  EXPECT_THAT(same.error().message, AllOf(HasSubstr("a.jpg"), HasSubstr("another folder")));

  // Nor through a link that comes only later.
  auto saved = SavedPictures::create(path("out"), inputs, given);
  ASSERT_TRUE(saved) << saved.error().message;
  fs::create_symlink(original, path("out/a.jpg"));
  const Picture drawn{2, 2, std::vector<std::byte>(12)};
  EXPECT_FALSE(saved->save(0, {}, drawn));
  fs::remove(path("out/a.jpg"));
  EXPECT_TRUE(saved->save(0, {}, drawn));
  EXPECT_EQ(fs::file_size(original), 8U);
}

TEST_F(InputFiles, AFolderThatCannotBeMadeIsAnErrorAtOnce) {
  const std::vector<Input> inputs{{"a.jpg", false}};
  const auto saved = SavedPictures::create(touch("file") + "/inside", inputs, {});
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message, HasSubstr("inside"));
}

}  // namespace
}  // namespace fovea::predict
