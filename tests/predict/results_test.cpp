// What was found, for people and for programs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "nodes/base/file_io.hpp"
#include "nodes/predict/annotate.hpp"
#include "nodes/predict/result_file.hpp"
#include "nodes/predict/result_table.hpp"
#include "tests/predict/scratch_folder.hpp"

namespace fovea::predict {
namespace {

using nlohmann::json;
using testing::HasSubstr;

Prediction two_objects() {
  Prediction prediction;
  prediction.file = "in/a.jpg";
  prediction.width = 640;
  prediction.height = 480;
  prediction.objects = {{0, "person", 0.93f, {1.5f, 2, 30.25f, 40}},
                        {2, "car", 0.5f, {0, 0, 9, 9}}};
  return prediction;
}

class Results : public test::ScratchFolder {
 protected:
  json written(const std::vector<Prediction>& predictions, const Summary& summary) const {
    ResultFile file(path("r.json"), "m.onnx",
                    predictions.empty() ? Task::kDetect : predictions.front().task);
    for (const Prediction& prediction : predictions) EXPECT_TRUE(file.add(prediction));
    EXPECT_TRUE(file.finish(summary));
    return json::parse(*read_text_file(path("r.json")), nullptr, false);
  }
};

TEST_F(Results, FileHasTheFormThatIsDocumented) {
  Summary summary{.provider = "cpu", .precision = "int8", .instruction_set = "avx2", .threads = 2};
  summary.failures = {{"b.jpg", "b.jpg: is empty"}};
  const json file = written({two_objects()}, summary);
  ASSERT_TRUE(file.is_object());
  EXPECT_EQ(file["task"], "detect");
  EXPECT_EQ(file["model"], "m.onnx");
  const json& picture = file["pictures"].at(0);
  EXPECT_EQ(picture["file"], "in/a.jpg");
  EXPECT_EQ(picture["width"], 640);
  EXPECT_EQ(picture["height"], 480);
  EXPECT_FALSE(picture.contains("frame"));
  EXPECT_EQ(
      picture["detections"].at(0),
      json({{"class_id", 0}, {"class", "person"}, {"score", 0.93}, {"box", {1.5, 2, 30.25, 40}}}));
  EXPECT_EQ(file["unreadable"].at(0)["file"], "b.jpg");
  EXPECT_EQ(file["engine"]["precision"], "int8");
}

TEST_F(Results, FilesOfNoAndOfManyPicturesAreValid) {
  EXPECT_EQ(written({}, {})["pictures"].size(), 0U);
  Prediction frame = two_objects();
  frame.frame = 7;
  frame.seconds = 0.28;
  const json file = written({two_objects(), frame, frame}, {});
  ASSERT_EQ(file["pictures"].size(), 3U);
  EXPECT_EQ(file["pictures"][2]["frame"], 7);
  EXPECT_EQ(file["pictures"][2]["seconds"], 0.28);
}

TEST_F(Results, NamesOfAnyBytesKeepTheFileValid) {
  Prediction prediction = two_objects();
  prediction.file = "a\"b\\c\n\xff.jpg";
  prediction.objects[0].class_name = "\xc3\x28";
  const json file = written({prediction}, {});
  ASSERT_TRUE(file.is_object());
  EXPECT_EQ(file["pictures"].size(), 1U);
}

TEST_F(Results, TableHasAPicturesNameInItsFirstRow) {
  const std::vector<Input> inputs{{"in/a.jpg", false}};
  const std::vector<std::string> names{"person", "car"};
  const ResultTable table(inputs, names);
  EXPECT_EQ(table.head(), "picture   class     score        x1        y1        x2        y2\n");
  EXPECT_EQ(table.rows(two_objects()),
            "in/a.jpg  person     0.93       1.5       2.0      30.2      40.0\n"
            "          car        0.50       0.0       0.0       9.0       9.0\n");
  Prediction nothing = two_objects();
  nothing.objects.clear();
  EXPECT_EQ(table.rows(nothing), "in/a.jpg  -\n");
}

TEST_F(Results, TableOfLongAndForeignNamesKeepsItsColumns) {
  const std::string long_name = std::string(100, 'x') + "/end\x1b[2J.jpg";
  const std::vector<Input> inputs{{long_name, false},
                                  {"stra\xc3\x9f"
                                   "e.jpg",
                                   false}};
  const ResultTable table(inputs, std::vector<std::string>{"person"});
  Prediction prediction = two_objects();
  prediction.file = long_name;
  const std::string far = table.rows(prediction);
  EXPECT_THAT(far, HasSubstr("/end\\x1b[2J.jpg"));
  EXPECT_EQ(far.find('\x1b'), std::string::npos);
  prediction.file = inputs[1].path;
  const std::string near = table.rows(prediction);
  EXPECT_EQ(far.find("person"), near.find("person") - 1);  // a letter of two bytes
}

TEST_F(Results, SummaryCountsAndSaysWhatRan) {
  Summary summary{.provider = "cpu",
                  .precision = "int8",
                  .instruction_set = "avx512_vnni",
                  .threads = 2,
                  .pictures = 3,
                  .objects = 5,
                  .mean = {0.5, 10, 0.25}};
  summary.failures = {{"b.jpg", ""}};
  const std::string text = summary_text(summary, {{"car", 1}, {"person", 4}}, 1.25);
  EXPECT_THAT(text,
              HasSubstr("3 pictures, 5 objects (person 4, car 1) in 1.2 s, 1 could not be read"));
  EXPECT_THAT(text, HasSubstr("preprocess 0.5, inference 10.0, postprocess 0.2; cpu/int8, "
                              "avx512_vnni, 2 threads"));
}

TEST_F(Results, EachObjectIsDrawnInItsPicture) {
  Picture picture{200, 100, std::vector<std::byte>(200 * 100 * 3)};
  Prediction prediction;
  prediction.objects = {{1, "\xe8\xbd\xa6", 0.5f, {50, 40, 150, 90}}};
  annotate(picture, prediction);
  const auto is_dark = [&](std::size_t x, std::size_t y) {
    const std::byte* pixel = picture.bgr.data() + (y * 200 + x) * 3;
    return pixel[0] == std::byte{0} && pixel[1] == std::byte{0} && pixel[2] == std::byte{0};
  };
  EXPECT_FALSE(is_dark(50, 70));  // an edge
  EXPECT_FALSE(is_dark(60, 35));  // the label above
  EXPECT_TRUE(is_dark(100, 65));  // inside
  EXPECT_TRUE(is_dark(180, 20));  // outside
}

}  // namespace
}  // namespace fovea::predict
