// The pipeline's stages called one after the other in one process, from plain memory: no topics, no
// slots, no metrics. This executable does not even link them.
#include <cstring>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "nodes/postprocess/decode_stage.hpp"
#include "nodes/preprocess/letterbox_stage.hpp"

namespace fovea {
namespace {

constexpr std::uint32_t kSide = 64;

TEST(StageChain, FromAPictureToItsDetectionsWithoutTransport) {
  std::optional<Letterbox> letterbox =
      *Letterbox::create({.network_width = kSide, .network_height = kSide});
  LetterboxStage preprocess(letterbox);
  std::optional<Postprocessor> postprocessor;
  DecodeStage postprocess(postprocessor);

  // A picture of twice the network's size, so that boxes come back twice as large.
  msgs::Image image;
  image.width = image.height = 2 * kSide;
  image.step = 3 * image.width;
  const std::vector<std::byte> pixels(std::size_t{image.step} * image.height);
  msgs::Tensor tensor;
  std::vector<std::byte> input(preprocess.payload_bytes(image));
  StageOut<msgs::Tensor> to_detector{tensor, input, {}};
  ASSERT_TRUE(preprocess.process({image, pixels}, to_detector));

  // The network finds one object: a row of cx, cy, w, h, objectness, one class.
  const std::vector<float> row{32, 16, 8, 4, 1, 1};
  std::vector<float> rows;
  for (int i = 0; i < 8; ++i) rows.insert(rows.end(), row.begin(), row.end());
  msgs::TensorArray heads;
  heads.model_id = 42;
  heads.letterbox = tensor.letterbox;
  msgs::TensorView view;
  view.name = "output0";
  view.rank = 2;
  view.dims[0] = 8;
  view.dims[1] = 6;
  view.bytes = rows.size() * sizeof(float);
  heads.tensors.push_back(view);

  msgs::Detection2DArray found;
  StageOut<msgs::Detection2DArray> out{found, {}, {}};
  const StageIn<msgs::TensorArray> in{heads, std::as_bytes(std::span(rows))};
  const auto early = postprocess.process(in, out);
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().code, ErrorCode::kUnavailable);

  msgs::ModelInfo info;
  info.model_id = 42;
  info.head = objectness_head(1);
  info.network_width = info.network_height = kSide;
  info.class_names.push_back(std::string_view("gate"));
  postprocessor.emplace(*Postprocessor::create(info));
  const auto done = postprocess.process(in, out);
  ASSERT_TRUE(done) << done.error().message;
  ASSERT_EQ(found.detections.size(), 1u);
  EXPECT_FLOAT_EQ(found.detections[0].bbox.center_x, 64);
  EXPECT_FLOAT_EQ(found.detections[0].bbox.size_x, 16);
}

}  // namespace
}  // namespace fovea
