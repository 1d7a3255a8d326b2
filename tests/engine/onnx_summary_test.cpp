// What a person is told of a model before it is built.
#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>

#include "nodes/detector/engine/onnx/summary.hpp"
#include "tests/engine/onnx_writer.hpp"

namespace fovea::engine::test {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(OnnxSummary, ShowsWhatTheFileSaysAndNeedsNoSupport) {
  OnnxWriter w(99);
  w.input("images", {-1, 3, 8, 8}).output("y").output("z");
  w.metadata("stride", "32").metadata("names", "{0: 'a'}");
  w.floats("w", {2, 3, 1, 1}, {1, 2, 3, 4, 5, 6})
      .initializer({"codes", OnnxType::kInt8, {4}, {1, 2, 3, 4}});
  w.node_with_tensor("Constant", {}, "half", "value", {"", OnnxType::kFloat16, {2}, {0, 0}});
  w.node("Conv", {"images", "w"}, {"a"}, {}, "/conv").node("Relu", {"a"}, {"b"});
  w.node("Relu", {"b"}, {"y"}).node("Hardmax", {"b"}, {"z"}, {}, "/hard");
  w.node("Gelu", {"b"}, {"c"}).domain("com.microsoft");
  const auto summary = summarize_onnx(w.bytes(), {});
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->ir_version, 8);
  ASSERT_EQ(summary->opsets.size(), 1U);
  EXPECT_EQ(summary->opsets[0].domain, "ai.onnx");
  EXPECT_EQ(summary->opsets[0].version, 99);
  EXPECT_EQ(summary->producer_name, "onnx_writer");
  EXPECT_EQ(summary->graph_name, "graph");
  ASSERT_EQ(summary->inputs.size(), 1U);
  EXPECT_EQ(summary->inputs[0].name, "images");
  EXPECT_EQ(summary->inputs[0].type, "float32");
  EXPECT_TRUE(summary->inputs[0].has_shape);
  EXPECT_THAT(summary->inputs[0].dims, ElementsAre("batch", "3", "8", "8"));
  EXPECT_THAT(summary->outputs, ElementsAre(Field(&OnnxTensorSummary::name, "y"),
                                            Field(&OnnxTensorSummary::name, "z")));
  EXPECT_FALSE(summary->outputs[0].has_shape);
  EXPECT_THAT(summary->metadata, ElementsAre(Pair("names", "{0: 'a'}"), Pair("stride", "32")));
  EXPECT_EQ(summary->nodes, 6U);
  EXPECT_THAT(
      summary->operators,
      ElementsAre(Field(&OnnxOperatorCount::op, "Relu"), Field(&OnnxOperatorCount::op, "Constant"),
                  Field(&OnnxOperatorCount::op, "Conv"), Field(&OnnxOperatorCount::op, "Hardmax"),
                  Field(&OnnxOperatorCount::op, "com.microsoft.Gelu")));
  EXPECT_EQ(summary->operators[0].nodes, 2U);
  EXPECT_EQ(summary->parameters, 6U + 4U + 2U);
  EXPECT_EQ(summary->parameter_bytes, 6U * 4 + 4U + 2U * 2);
  EXPECT_THAT(summary->external_files, IsEmpty());
  EXPECT_THAT(summary->refusal, HasSubstr("the opset is 99"));
  ASSERT_EQ(summary->refused.size(), 2U);
  EXPECT_EQ(summary->refused[0].name, "/hard");
  EXPECT_EQ(summary->refused[0].op, "Hardmax");
  EXPECT_EQ(summary->refused[0].reason, "the operator is not supported");
  EXPECT_EQ(summary->refused[1].name, "c") << "its output's, for it has none";
}

TEST(OnnxSummary, SizesExternalFilesAndReadsNothingOutsideTheModelsFolder) {
  std::string pattern = (fs::path(testing::TempDir()) / "fovea_summary_XXXXXX").string();
  const fs::path folder = ::mkdtemp(pattern.data());
  std::ofstream(folder / "weights.data", std::ios::binary) << std::string(100, 'x');
  OnnxWriter w;
  w.input("x", {2}).output("y");
  const auto external = [&](const char* name, const char* location) {
    w.initializer({name, OnnxType::kFloat, {2}, {}, Encoding::kExternal, {{"location", location}}});
  };
  external("a", "weights.data");
  external("b", "weights.data");
  external("c", "absent.data");
  external("d", "../../etc/passwd");
  w.node("Add", {"x", "a"}, {"y"});
  w.save(folder / "model.onnx");
  const auto summary = summarize_onnx(folder / "model.onnx");
  fs::remove_all(folder);
  ASSERT_TRUE(summary) << summary.error().message;
  ASSERT_EQ(summary->external_files.size(), 3U);
  EXPECT_EQ(summary->external_files[0].location, "weights.data");
  EXPECT_EQ(summary->external_files[0].tensors, 2U);
  EXPECT_EQ(summary->external_files[0].bytes, 100U);
  EXPECT_FALSE(summary->external_files[1].bytes);
  EXPECT_FALSE(summary->external_files[2].bytes);
  EXPECT_EQ(summary->parameters, 8U);
  EXPECT_EQ(summary->parameter_bytes, 32U);
}

TEST(OnnxSummary, ClaimsOfAFileDoNotOverflow) {
  OnnxWriter w;
  w.input("x", {2}).output("y").node("Relu", {"x"}, {"y"});
  w.initializer({"huge", OnnxType::kFloat, {INT64_MAX, INT64_MAX}, {}});
  w.initializer({"negative", OnnxType::kFloat, {-5}, {}});
  const auto summary = summarize_onnx(w.bytes(), {});
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->parameters, 0U);
}

TEST(OnnxSummary, RefusesWhatIsNoModelByName) {
  const fs::path file = fs::path(testing::TempDir()) / "no_model.onnx";
  std::ofstream(file) << "GIF89a";
  const auto foreign = summarize_onnx(file);
  fs::remove(file);
  ASSERT_FALSE(foreign);
  EXPECT_EQ(foreign.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(foreign.error().message, HasSubstr("no_model.onnx"));
  const auto missing = summarize_onnx(file);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace fovea::engine::test
