// What `fovea predict` finds, where it writes it, and how it ends.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <opencv2/imgcodecs.hpp>
#include <signal.h>

#include "nodes/base/file_io.hpp"
#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/model_description.hpp"
#include "nodes/postprocess/postprocessor.hpp"
#include "nodes/preprocess/letterbox.hpp"
#include "tests/engine/yolo_zoo.hpp"
#include "tests/imaging/video_maker.hpp"
#include "tests/predict/program_fixture.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Outcome;
using testing::AllOf;
using testing::HasSubstr;

class PredictedPictures : public test::PredictProgram {
 protected:
  void expect_box(const json& detection, const std::vector<double>& box) const {
    ASSERT_EQ(detection["box"].size(), 4U);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_NEAR(detection["box"][i].get<double>(), box[i], 1e-3) << i;
    }
  }
};

// 128x64 into 64x64: half the size, 16 rows of border above.
TEST_F(PredictedPictures, BoxesAreInThePicturesOwnPixels) {
  const std::string picture = put("wide.png", imaging::quarters(128, 64));
  const Outcome outcome = predict({fixed_model(), picture, "--json", path("r.json")});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json file = results();
  ASSERT_EQ(file["pictures"].size(), 1U) << file;
  const json& found = file["pictures"][0];
  EXPECT_EQ(found["file"], picture);
  EXPECT_EQ(found["width"], 128);
  EXPECT_EQ(found["height"], 64);
  ASSERT_EQ(found["detections"].size(), 2U) << found;
  EXPECT_EQ(found["detections"][0]["class"], "dog");
  EXPECT_EQ(found["detections"][0]["class_id"], 1);
  EXPECT_NEAR(found["detections"][0]["score"].get<double>(), 0.9, 1e-4);
  expect_box(found["detections"][0], {24, 16, 56, 40});
  expect_box(found["detections"][1], {60, 8, 100, 56});
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("dog    "), HasSubstr("0.90      24.0      16.0"),
                                 HasSubstr("1 picture, 2 objects"), HasSubstr("cpu/fp32")));
}

TEST_F(PredictedPictures, ThresholdsAreThoseOfPostprocess) {
  const std::string picture = put("a.png", imaging::quarters(64, 64));
  const std::string model = fixed_model();
  ASSERT_EQ(predict({model, picture, "score_threshold:=0.6", "--json", path("r.json")}).code, 0);
  EXPECT_EQ(results()["pictures"][0]["detections"].size(), 1U);
  ASSERT_EQ(predict({model, picture, "class_thresholds:=dog=0.95", "--json", path("r.json")}).code,
            0);
  EXPECT_EQ(results()["pictures"][0]["detections"][0]["class"], "cat");
}

// A network whose answer depends on every pixel, through the parts that the live nodes are made of.
TEST_F(PredictedPictures, ANetworksBoxesAreThoseOfTheLiveParts) {
  using namespace engine::test;
  YoloOptions options;
  options.height = options.width = 128;
  options.classes = 4;
  make_yolo(YoloModel::kV8n, options).save(path("yolo.onnx"));
  cv::Mat image(120, 200, CV_8UC3);
  cv::randu(image, 0, 255);
  const std::string picture = put("noise.png", image);

  const auto plan = engine::build_plan(path("yolo.onnx"), {});
  ASSERT_TRUE(plan) << plan.error().message;
  const auto engine = engine::load_engine(*plan);
  ASSERT_TRUE(engine);
  auto context = (*engine)->create_execution_context();
  auto bindings = (*engine)->make_bindings();
  auto letterbox = Letterbox::create({.network_width = 128, .network_height = 128});
  const auto model = describe_model((*engine)->info(), 1);
  ASSERT_TRUE(context && bindings && letterbox && model);
  PostprocessOptions decoding;
  decoding.score_threshold = 0.01f;
  auto postprocessor = Postprocessor::create(*model, decoding);
  ASSERT_TRUE(postprocessor);
  const auto* pixels = reinterpret_cast<const std::byte*>(image.data);
  const auto transform =
      letterbox->run({{pixels, image.total() * 3}, 200, 120, 600}, bindings->input());
  ASSERT_TRUE(transform && (*context)->execute(bindings->batch()));
  std::vector<HeadTensor> tensors;
  const auto& outputs = (*engine)->info().outputs;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    tensors.push_back(
        {outputs[i].name, msgs::DataType::kFloat32, outputs[i].dims, bindings->output(i)});
  }
  const auto expected = std::make_unique<msgs::Detection2DArray>();
  ASSERT_TRUE(postprocessor->run(tensors, *transform, *expected));
  ASSERT_GT(expected->detections.size(), 5U);

  const Outcome outcome = predict({path("yolo.onnx"), picture, "score_threshold:=0.01",
                                   "max_detections:=300", "--json", path("r.json")});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json file = results();
  const json& found = file["pictures"][0]["detections"];
  ASSERT_EQ(found.size(), expected->detections.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const msgs::Detection2D& one = expected->detections[i];
    const auto& box = one.bbox;
    EXPECT_EQ(found[i]["class_id"], one.hypothesis.class_id);
    EXPECT_NEAR(found[i]["score"].get<double>(), one.hypothesis.score, 1e-6);
    EXPECT_NEAR(found[i]["box"][0].get<double>(), box.center_x - box.size_x / 2, 1e-4);
    EXPECT_NEAR(found[i]["box"][3].get<double>(), box.center_y + box.size_y / 2, 1e-4);
  }
}

TEST_F(PredictedPictures, GreyDeepAndTransparentPicturesAreReadAndTurnedOnesStandUpright) {
  const cv::Mat colour = imaging::quarters(96, 64);
  cv::Mat grey, deep, alpha;
  cv::extractChannel(colour, grey, 0);
  colour.convertTo(deep, CV_16U, 257);
  alpha.create(64, 96, CV_8UC4);
  alpha.setTo(cv::Scalar(10, 200, 30, 0));
  put("in/1grey.png", grey);
  put("in/2deep.png", deep);
  put("in/3alpha.png", alpha);
  put("in/4turned.jpg",
      imaging::with_jpeg_exif(imaging::encode(".jpg", colour), imaging::exif_block(6, true)));
  const Outcome outcome =
      predict({fixed_model(), path("in"), "--json", path("r.json"), "--save", path("out")});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json file = results();
  const json& pictures = file["pictures"];
  ASSERT_EQ(pictures.size(), 4U) << outcome.err;
  EXPECT_EQ(pictures[0]["width"], 96);
  EXPECT_EQ(pictures[3]["width"], 64);
  EXPECT_EQ(pictures[3]["height"], 96);
  for (const json& picture : pictures) EXPECT_EQ(picture["detections"].size(), 2U);
  EXPECT_EQ(cv::imread(path("out/4turned.jpg")).rows, 96);
  EXPECT_EQ(cv::imread(path("out/2deep.png")).cols, 96);
}

TEST_F(PredictedPictures, CopiesCarryTheMarksAndWhatWasGivenStaysAsItWas) {
  const std::string left = put("left/a.png", cv::Mat(200, 300, CV_8UC3, cv::Scalar(70, 70, 70)));
  const std::string right = put("right/a.png", cv::Mat(200, 300, CV_8UC3, cv::Scalar(90, 90, 90)));
  const auto before = *read_file(left);
  const Outcome outcome = predict({fixed_model(), left, right, "--save", path("out")});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(*read_file(left), before);
  const cv::Mat drawn = cv::imread(path("out/left-a.png"));
  ASSERT_EQ(drawn.size(), cv::Size(300, 200));
  // The dog's left edge is at (12 / 64) * 300, and something stands out there.
  EXPECT_NE(drawn.at<cv::Vec3b>(105, 56), cv::Vec3b(70, 70, 70));
  EXPECT_EQ(drawn.at<cv::Vec3b>(190, 290), cv::Vec3b(70, 70, 70));
  EXPECT_EQ(cv::imread(path("out/right-a.png")).at<cv::Vec3b>(190, 290), cv::Vec3b(90, 90, 90));
}

TEST_F(PredictedPictures, CopiesTakeThePlaceOfThoseOfARunBeforeAndOfLinks) {
  const std::string picture = put("a.png", cv::Mat(200, 300, CV_8UC3, cv::Scalar(70, 70, 70)));
  const std::string other = put("b.jpg", cv::Mat(200, 300, CV_8UC3, cv::Scalar(70, 70, 70)));
  const std::string model = fixed_model();
  const std::vector<std::string> words{model, picture, other, "--save", path("out")};
  ASSERT_EQ(predict(words).code, 0);
  const auto first = *read_file(path("out/a.png"));
  fs::rename(path("out/a.png"), path("kept.png"));
  fs::create_symlink("../kept.png", path("out/a.png"));  // to a copy of Fovea's
  fs::remove(path("out/b.jpg"));
  fs::create_symlink("../nowhere.jpg", path("out/b.jpg"));
  std::vector<std::string> again = words;
  again.push_back("score_threshold:=0.95");  // nothing is found
  const Outcome outcome = predict(again);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(*read_file(path("kept.png")), first);
  EXPECT_FALSE(fs::is_symlink(path("out/a.png")));
  EXPECT_FALSE(fs::is_symlink(path("out/b.jpg")));
  EXPECT_FALSE(fs::exists(path("nowhere.jpg")));
  EXPECT_EQ(cv::imread(path("out/a.png")).at<cv::Vec3b>(105, 56), cv::Vec3b(70, 70, 70));
}

TEST_F(PredictedPictures, JsonOnStdoutIsAllThatIsThere) {
  const std::string picture = put("a.png", imaging::quarters(64, 64));
  const Outcome outcome =
      predict({fixed_model(), picture, picture, path("absent.png"), "--json", "-"});
  EXPECT_EQ(outcome.code, 1);
  const json file = json::parse(outcome.out, nullptr, false);
  ASSERT_TRUE(file.is_object()) << outcome.out;
  EXPECT_EQ(file["pictures"].size(), 1U);  // named twice
  EXPECT_EQ(file["unreadable"][0]["file"], path("absent.png"));
  EXPECT_THAT(outcome.err, HasSubstr("1 picture, 2 objects"));
}

TEST_F(PredictedPictures, EachFrameOfAVideoIsAnEntryAndANumberedPicture) {
  ASSERT_TRUE(imaging::make_video({.path = path("clip.avi"), .frames = 7, .fps = 10}));
  const Outcome outcome =
      predict({fixed_model(), path("clip.avi"), "--json", path("r.json"), "--save", path("out")});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json file = results();
  ASSERT_EQ(file["pictures"].size(), 7U);
  EXPECT_EQ(file["pictures"][6]["file"], path("clip.avi"));
  EXPECT_EQ(file["pictures"][6]["frame"], 6);
  EXPECT_NEAR(file["pictures"][6]["seconds"].get<double>(), 0.6, 1e-3);
  EXPECT_EQ(file["pictures"][6]["detections"].size(), 2U);
  EXPECT_EQ(cv::imread(path("out/clip/000006.jpg")).size(), cv::Size(64, 48));
  EXPECT_THAT(outcome.out, HasSubstr("clip.avi #6"));
}

TEST_F(PredictedPictures, CtrlCLeavesTheResultsOfWhatWasFinished) {
  const std::string first = put("in/0.png", imaging::quarters(640, 480));
  for (int i = 1; i < 3000; ++i) {
    fs::create_hard_link(first, folder_ / "in" / (std::to_string(i) + ".png"));
  }
  const std::string model = fixed_model();
  test::Child child(folder_, FOVEA_BIN_DIR "/fovea-predict",
                    untuned({model, path("in"), "--json", path("r.json"), "--save", path("out")}));
  ASSERT_TRUE(test::eventually([&] { return lines(child.out()) > 10; })) << child.err();
  child.send(SIGINT);
  EXPECT_EQ(child.wait(), 130);
  const json file = results();
  ASSERT_TRUE(file.is_object());
  EXPECT_GE(file["pictures"].size(), 4U);
  EXPECT_LT(file["pictures"].size(), 3000U);
  EXPECT_EQ(file["interrupted"], true);
  EXPECT_TRUE(fs::exists(file["pictures"].back()["saved"].get<std::string>()));
}

TEST_F(PredictedPictures, TheEngineIsBuiltOnceAndThenComesFromTheCache) {
  const std::string picture = put("a.png", imaging::quarters(64, 64));
  const std::string model = fixed_model();
  EXPECT_THAT(predict({model, picture}).err, HasSubstr("building the engine of"));
  const Outcome again = predict({model, picture});
  EXPECT_EQ(again.code, 0);
  EXPECT_EQ(again.err, "");
}

TEST_F(PredictedPictures, FoveaFindsTheProgram) {
  const Outcome help = run("fovea", {"predict", "--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, HasSubstr("fovea predict MODEL PICTURES..."));
}

}  // namespace
}  // namespace fovea
