// The command line of `fovea predict`: the nodes' parameters by their names, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/predict/predict_parameters.hpp"
#include "tests/predict/scratch_folder.hpp"

namespace fovea::predict {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class Commands : public test::ScratchFolder {
 protected:
  void SetUp() override {
    ScratchFolder::SetUp();
    model_ = touch("m.onnx");
  }
  std::string error_of(const std::vector<std::string>& words) const {
    const auto command = parse_command(words);
    return command ? "no error" : command.error().message;
  }

  std::string model_;
};

TEST_F(Commands, ModelThenPicturesAndParametersAnywhereBetween) {
  const auto command = parse_command({"score_threshold:=0.4", model_, "a.jpg", "iou_threshold:=0.7",
                                      "folder", "--json", "r.json", "threads:=1", "--save=out",
                                      "class_thresholds:=person=0.6"});
  ASSERT_TRUE(command) << command.error().message;
  EXPECT_EQ(command->predictor.engine.model, model_);
  EXPECT_THAT(command->pictures, ElementsAre("a.jpg", "folder"));
  EXPECT_EQ(command->json, "r.json");
  EXPECT_EQ(command->save, "out");
  EXPECT_EQ(command->predictor.engine.threads, 1);
  EXPECT_FLOAT_EQ(command->predictor.postprocess.score_threshold, 0.4f);
  EXPECT_FLOAT_EQ(command->predictor.postprocess.iou_threshold, 0.7f);
  EXPECT_FLOAT_EQ(command->predictor.postprocess.class_thresholds.at("person"), 0.6f);
}

TEST_F(Commands, DefaultsAreThoseOfTheNodes) {
  const auto command = parse_command({model_, "a.jpg"});
  ASSERT_TRUE(command) << command.error().message;
  const PostprocessOptions& options = command->predictor.postprocess;
  EXPECT_FLOAT_EQ(options.score_threshold, 0.25f);
  EXPECT_FLOAT_EQ(options.iou_threshold, 0.45f);
  EXPECT_EQ(options.max_detections, 100U);
  EXPECT_EQ(command->predictor.engine.resize, "auto") << "the model decides";
  EXPECT_EQ(command->predictor.engine.precision, "fp32");
}

TEST_F(Commands, HowPicturesAreResizedMayBeChosen) {
  const auto command = parse_command({model_, "a.jpg", "resize:=centre_crop"});
  ASSERT_TRUE(command) << command.error().message;
  EXPECT_EQ(command->predictor.engine.resize, "centre_crop");
  EXPECT_THAT(error_of({model_, "a.jpg", "resize:=squash"}),
              AllOf(HasSubstr("squash"), HasSubstr("letterbox"), HasSubstr("centre_crop")));
}

TEST_F(Commands, ModelMayBeAParameterAndThenEveryOtherWordIsAPicture) {
  const auto command = parse_command({"model:=" + model_, "a.jpg"});
  ASSERT_TRUE(command) << command.error().message;
  EXPECT_EQ(command->predictor.engine.model, model_);
  EXPECT_THAT(command->pictures, ElementsAre("a.jpg"));
}

TEST_F(Commands, APathWithAnAssignmentsCharactersIsAPicture) {
  const auto command = parse_command({model_, "./a:=b.jpg", "Holiday:=1.jpg"});
  ASSERT_TRUE(command) << command.error().message;
  EXPECT_THAT(command->pictures, ElementsAre("./a:=b.jpg", "Holiday:=1.jpg"));
}

TEST_F(Commands, AnUnknownParameterIsRefusedWithTheNearest) {
  EXPECT_THAT(error_of({model_, "a.jpg", "scor_threshold:=0.4"}),
              AllOf(HasSubstr("scor_threshold"), HasSubstr("did you mean 'score_threshold'?")));
  EXPECT_THAT(error_of({model_, "a.jpg", "--jsn", "x"}),
              AllOf(HasSubstr("--jsn"), HasSubstr("did you mean '--json'?")));
}

TEST_F(Commands, AValueOutOfRangeOrGivenTwiceIsRefused) {
  EXPECT_THAT(error_of({model_, "a.jpg", "iou_threshold:=1.5"}),
              AllOf(HasSubstr("1.5"), HasSubstr("0..1")));
  EXPECT_THAT(error_of({model_, "a.jpg", "precision:=fp8"}),
              AllOf(HasSubstr("fp8"), HasSubstr("fp32, fp16, int8")));
  EXPECT_THAT(error_of({model_, "a.jpg", "pad:=1", "pad:=2"}), HasSubstr("pad is given twice"));
  EXPECT_THAT(error_of({model_, "a.jpg", "precision:=int8"}), HasSubstr("`calibration`"));
}

TEST_F(Commands, WithoutModelPicturesOrAModelThatIsThereTheErrorSaysWhichIsMissing) {
  // What stands behind an option is the next word, which was meant as such.
  EXPECT_THAT(error_of({model_, "a.jpg", "--json", "score_threshold:=0.4"}),
              AllOf(HasSubstr("--json needs a FILE"), HasSubstr("score_threshold:=0.4")));
  EXPECT_THAT(error_of({model_, "a.jpg", "--save", ""}), HasSubstr("--save needs a FOLDER"));
  EXPECT_THAT(error_of({model_, "--json", "a.jpg", "b.jpg"}),
              HasSubstr("a.jpg is a picture's or video's name"));
  EXPECT_THAT(error_of({}), HasSubstr("which model?"));
  EXPECT_THAT(error_of({model_}), HasSubstr("which pictures?"));
  EXPECT_THAT(error_of({path("absent.onnx"), "a.jpg"}),
              AllOf(HasSubstr("absent.onnx"), HasSubstr("No such file")));
  EXPECT_NE(error_of({model_, "a.jpg", "--json"}), "no error");
}

TEST_F(Commands, HelpNamesEveryParameterWithItsRange) {
  const auto command = parse_command({"--help"});
  ASSERT_TRUE(command);
  EXPECT_THAT(command->help,
              AllOf(HasSubstr("--save FOLDER"), HasSubstr("numbered"), HasSubstr("score_threshold"),
                    HasSubstr("(0..1, default 0.25)"), HasSubstr("Exit status")));
  EXPECT_THAT(command->help, testing::Not(HasSubstr(" \n")));
}

}  // namespace
}  // namespace fovea::predict
