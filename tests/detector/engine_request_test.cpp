// One table of options for the tool, the node and the builder process.
#include "nodes/detector/cache/engine_request.hpp"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include "nodes/base/cores.hpp"

namespace fovea {
namespace {

using testing::HasSubstr;

EngineRequest valid() {
  EngineRequest request;
  request.model = "model.onnx";
  return request;
}

std::string refusal(const EngineRequest& request, Spelling spelling = Spelling::kFlags) {
  const auto plan = plan_request(request, spelling);
  if (plan) return "taken";
  EXPECT_EQ(plan.error().code, ErrorCode::kInvalidArgument);
  return plan.error().message;
}

TEST(EngineRequest, IsTheSameAfterJson) {
  EngineRequest request = valid();
  request.precision = "best";
  request.max_batch = 7;
  request.threads = 3;
  request.keep_output0 = true;
  request.calibration = "a folder/with \"quotes\" and \xc3\xa4";
  request.max_map_loss = 0.25;
  request.max_pixels = 12345;
  const std::string text = to_json(request);
  const auto back = engine_request_from_json(text);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(to_json(*back), text);
  EXPECT_EQ(back->calibration, request.calibration);
  EXPECT_EQ(back->max_batch, 7);
  EXPECT_TRUE(back->keep_output0);
  EXPECT_EQ(back->max_map_loss, 0.25);
}

TEST(EngineRequest, EveryMemberHasOneRowOfItsOwn) {
  // A member that two rows name would not survive JSON.
  std::set<std::string> names;
  std::set<std::string> flags;
  for (const EngineOption& option : engine_options()) {
    EXPECT_TRUE(names.insert(option.name).second) << option.name;
    EXPECT_TRUE(flags.insert(option.flag).second) << option.flag;
    EngineRequest changed;
    std::visit(
        [&](auto member) {
          using Value = std::decay_t<decltype(changed.*member)>;
          if constexpr (std::is_same_v<Value, std::string>) {
            changed.*member += "x";
          } else {
            changed.*member = static_cast<Value>(!static_cast<bool>(changed.*member));
          }
        },
        option.member);
    const auto back = engine_request_from_json(to_json(changed));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(to_json(*back), to_json(changed));
    EXPECT_NE(to_json(changed), to_json(EngineRequest())) << option.name;
  }
}

TEST(EngineRequest, JsonThatIsNoneIsRefusedByName) {
  for (const auto& [text, part] :
       {std::pair("", "must be a JSON object"),
        {"[]", "must be a JSON object"},
        {R"({"precison": "int8"})", "'precison' is no option"},
        {R"({"max_batch": "4"})", R"('max_batch' of an engine's request is "4")"},
        {R"({"max_batch": 1.5})", "is 1.5, which is of another type"},
        {R"({"keep_output0": 1})", "'keep_output0'"}}) {
    const auto request = engine_request_from_json(text);
    ASSERT_FALSE(request) << text;
    EXPECT_EQ(request.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(request.error().message, HasSubstr(part));
  }
}

TEST(EngineRequest, WhatIsOutOfRangeIsNamedAsItsUserSpellsIt) {
  EngineRequest request = valid();
  request.max_batch = 65;
  EXPECT_EQ(refusal(request), "--batch is 65; it must be 0..64");
  EXPECT_EQ(refusal(request, Spelling::kParameters), "max_batch is 65; it must be 0..64");
  request = valid();
  request.precision = "int4";
  EXPECT_EQ(refusal(request), "--precision is 'int4'; it must be fp32, fp16, int8, bf16 or best");
  request = valid();
  request.calibrator = "guess";
  EXPECT_THAT(refusal(request), HasSubstr("--calibrator is 'guess'; it must be percentile"));
  request = valid();
  request.min_agreement = 101;
  EXPECT_EQ(refusal(request), "--min-agreement is 101; it must be 0..100");
  request = valid();
  request.input_size = "640y";
  EXPECT_THAT(refusal(request, Spelling::kParameters), HasSubstr("input_size is '640y'"));
  EXPECT_EQ(refusal({}), "--onnx is required");
}

TEST(EngineRequest, SaysHowPicturesAreFed) {
  EngineRequest request = valid();
  EXPECT_EQ(plan_request(request, Spelling::kFlags)->config.picture, InputChoice{});
  request.color = "bgr";
  request.value_range = "0..255";
  request.mean = "[1, 2, 3]";
  request.std = "4";
  request.resize = "letterbox_top_left";
  request.pad = 0;
  const auto plan = plan_request(request, Spelling::kFlags);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(
      to_string(plan->config.picture),
      "color bgr, value_range 0..255, mean 1 2 3, std 4 4 4, resize letterbox_top_left, pad 0");
  request.color = "grb";
  EXPECT_THAT(refusal(request), HasSubstr("--color is 'grb'; it must be auto, rgb, bgr or gray"));
  request.color = "auto";
  request.mean = "half";
  EXPECT_EQ(refusal(request, Spelling::kParameters),
            "mean is 'half'; it must be one number or three, like 0.485, 0.456, 0.406");
  request.mean.clear();
  request.std = "0";
  EXPECT_EQ(refusal(request), "--std is 0 0 0; it must be above 0");
}

TEST(EngineRequest, SaysWhatTheMetadataLeaveOut) {
  char path[] = "/tmp/fovea_names_XXXXXX";
  const int file = mkstemp(path);
  ASSERT_GE(file, 0);
  ASSERT_EQ(write(file, "a \"b\"\nc\n", 8), 8);
  close(file);
  EngineRequest request = valid();
  request.task = "classify";
  request.names = path;
  const auto plan = plan_request(request, Spelling::kFlags);
  unlink(path);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->config.metadata.at("task"), "classify");
  EXPECT_EQ(plan->config.metadata.at("names"), R"(["a \"b\"", "c"])");
  const auto gone = plan_request(request, Spelling::kFlags);
  ASSERT_FALSE(gone);
  EXPECT_THAT(gone.error().message, HasSubstr(path));
}

TEST(EngineRequest, PlanIsFilledInWithWhatTheRequestLeavesOpen) {
  const auto plan = plan_request(valid(), Spelling::kFlags);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->config.max_batch, 1);
  EXPECT_EQ(plan->config.threads, usable_cores());
  EXPECT_EQ(plan->config.tuning.thread_counts, thread_counts());
  EXPECT_FALSE(plan->config.tuning.cache.empty());
  EngineRequest named = valid();
  named.threads = 3;
  const auto fixed = plan_request(named, Spelling::kFlags);
  ASSERT_TRUE(fixed) << fixed.error().message;
  EXPECT_EQ(fixed->config.threads, 3);
  EXPECT_TRUE(fixed->config.tuning.thread_counts.empty());
}

}  // namespace
}  // namespace fovea
