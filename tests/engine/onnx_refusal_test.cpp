// Messages about models that cannot be taken: short whatever the model holds, on one line, with the
// cure where there is one.
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/onnx/parser.hpp"
#include "nodes/detector/engine/plan/model_hash.hpp"
#include "tests/engine/onnx_writer.hpp"

namespace fovea::engine::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string message_of(const OnnxWriter& writer) {
  const auto network = parse_onnx(writer.bytes(), {});
  return network ? "accepted" : network.error().message;
}

class Folder {
 public:
  Folder() {
    std::string pattern = (fs::path(testing::TempDir()) / "fovea_refusal_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

TEST(OnnxRefusal, ManyNodesOfAnOperatorAreOneEntryWithACount) {
  OnnxWriter w;
  w.input("x", {1}).output("y").node("Relu", {"x"}, {"y"});
  for (int i = 0; i < 300; ++i) {
    w.node("Hardmax", {"x"}, {fmt::format("h{}", i)}, {}, fmt::format("/model.{}/hard", i));
  }
  w.node("LRN", {"x"}, {"lrn"}, {}, "/lrn");
  const std::string message = message_of(w);
  EXPECT_THAT(message, HasSubstr("301 of 302 nodes are not supported"));
  EXPECT_THAT(message, HasSubstr("Hardmax ('/model.0/hard', '/model.1/hard' and 298 more): the "
                                 "operator is not supported"));
  EXPECT_THAT(message, HasSubstr("LRN ('/lrn')"));
  EXPECT_LT(message.size(), 300U);
}

TEST(OnnxRefusal, ManyOperatorsAreBoundedToo) {
  OnnxWriter w;
  w.input("x", {1}).output("y").node("Relu", {"x"}, {"y"});
  for (int i = 0; i < 1000; ++i) {
    w.node(fmt::format("Op{}", i) + std::string(5000, 'o'), {"x"}, {fmt::format("h{}", i)}, {},
           std::string(5000, 'n'));
  }
  const std::string message = message_of(w);
  EXPECT_THAT(message, HasSubstr("1000 of 1001 nodes"));
  EXPECT_THAT(message, HasSubstr("and 992 more"));
  EXPECT_LT(message.size(), 3000U);
}

TEST(OnnxRefusal, NamesOfAModelForgeNoLineAndDriveNoTerminal) {
  const std::string forged = "x\n[error] node camera died\x1b[31m";
  const auto expect_clean = [](const std::string& message) {
    EXPECT_THAT(message, Not(HasSubstr("accepted")));
    EXPECT_THAT(message, HasSubstr("camera died"));
    EXPECT_EQ(message.find_first_of("\n\x1b"), std::string::npos) << message;
  };
  OnnxWriter node;
  node.input("x", {1}).output("y").node("Hardmax", {"x"}, {"y"}, {}, forged);
  expect_clean(message_of(node));
  OnnxWriter op;
  op.input("x", {1}).output("y").node(forged, {"x"}, {"y"});
  expect_clean(message_of(op));
  OnnxWriter domain;
  domain.input("x", {1}).output("y").node("Relu", {"x"}, {"y"}).domain(forged);
  expect_clean(message_of(domain));
  OnnxWriter attribute;
  attribute.input("x", {1}).output("y").node("Relu", {"x"}, {"y"}, {{forged, std::int64_t{1}}});
  expect_clean(message_of(attribute));
  OnnxWriter value;
  value.input("x", {1, 1, 2, 2}).output("y").node("Resize", {"x"}, {"y"}, {{"mode", forged}});
  expect_clean(message_of(value));
  OnnxWriter equation;
  equation.input("x", {1}).output("y").node("Einsum", {"x", "x"}, {"y"}, {{"equation", forged}});
  expect_clean(message_of(equation));
  OnnxWriter unwritten;
  unwritten.input("x", {1}).output("y").node("Add", {"x", forged}, {"y"});
  expect_clean(message_of(unwritten));
  OnnxWriter output;
  output.input("x", {1}).output(forged).node("Relu", {"x"}, {"y"});
  expect_clean(message_of(output));
  OnnxWriter initializer;
  initializer.input("x", {1}).output("y").node("Relu", {"x"}, {"y"});
  initializer.initializer({forged, OnnxType::kFloat, {5}, {1}});
  expect_clean(message_of(initializer));
  OnnxWriter external;
  external.input("x", {1}).output("y").node("Relu", {"x"}, {"y"});
  external.initializer(
      {"w", OnnxType::kFloat, {1}, {}, Encoding::kExternal, {{"location", forged}}});
  expect_clean(message_of(external));
  OnnxWriter cycle;
  cycle.input("x", {1}).output("y");
  cycle.node("Add", {"x", "y"}, {"a"}, {}, forged).node("Relu", {"a"}, {"y"}, {}, forged + "b");
  expect_clean(message_of(cycle));
  OnnxWriter twice;
  twice.input("x", {1}).output("y").node("Relu", {"x"}, {"y"});
  twice.node("Relu", {"x"}, {forged}).node("Relu", {"x"}, {forged});
  expect_clean(message_of(twice));
}

TEST(OnnxRefusal, OperatorsOfAnyNumberOfInputsNeedOne) {
  const Folder folder;
  for (const char* op : {"Max", "Min", "Concat"}) {
    OnnxWriter none;
    none.input("x", {1, 3, 8, 8}).output("y").node(op, {""}, {"y"}, {}, "nothing");
    none.save(folder.path() / "model.onnx");
    const auto plan = build_plan(folder.path() / "model.onnx", {});
    ASSERT_FALSE(plan) << op;
    EXPECT_THAT(plan.error().message, HasSubstr("nothing")) << op;
  }
}

TEST(OnnxRefusal, EndToEndHeadsNameTheExportOption) {
  OnnxWriter compact;
  compact.input("x", {1, 84, 10}).output("y").ints("k", {3});
  compact.node("TopK", {"x", "k"}, {"v", "i"}).node("ScatterElements", {"x", "i", "v"}, {"y"});
  EXPECT_THAT(message_of(compact), AllOf(HasSubstr("end2end=False"), HasSubstr("nms=False")));

  OnnxWriter suppressing;
  suppressing.input("x", {1, 84, 10}).output("y");
  suppressing.node("NonMaxSuppression", {"x", "x"}, {"y"});
  EXPECT_THAT(message_of(suppressing), HasSubstr("without nms=True"));

  OnnxWriter integer;
  integer.input("x", {1, 84, 10}).output("y").node("QLinearConv", {"x"}, {"y"});
  EXPECT_THAT(message_of(integer), AllOf(HasSubstr("QOperator"), HasSubstr("QuantFormat.QDQ")));

  OnnxWriter other;
  other.input("x", {1, 84, 10}).output("y").node("Hardmax", {"x"}, {"y"});
  EXPECT_THAT(message_of(other), Not(HasSubstr("export")));
}

TEST(OnnxRefusal, AnOutputWithoutABatchAxisIsUnsupportedAndNamedNotCorrupt) {
  const Folder folder;
  OnnxWriter w;
  w.input("images", {1, 3, 8, 8}).floats("w", {4, 3, 1, 1}, std::vector<double>(12, 0.1));
  w.ints("shape", {-1, 4}).node("Conv", {"images", "w"}, {"a"});
  w.node("Reshape", {"a", "shape"}, {"rows"}).output("rows").save(folder.path() / "model.onnx");
  const auto plan = build_plan(folder.path() / "model.onnx", {});
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, ErrorCode::kUnsupported) << plan.error().message;
  EXPECT_THAT(plan.error().message,
              AllOf(HasSubstr("model.onnx"), HasSubstr("'rows' has no batch axis"),
                    HasSubstr("[64, 4]"), Not(HasSubstr("corrupt"))));
}

TEST(OnnxRefusal, AFifoAsModelOrExternalDataIsAnErrorAtOnce) {
  const Folder folder;
  ASSERT_EQ(::mkfifo((folder.path() / "pipe").c_str(), 0600), 0);
  for (const auto& result : {parse_onnx(folder.path() / "pipe")}) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(result.error().message, AllOf(HasSubstr("pipe"), HasSubstr("FIFO")));
  }
  OnnxWriter w;
  w.input("x", {1}).output("y").node("Add", {"x", "w"}, {"y"});
  w.initializer({"w", OnnxType::kFloat, {1}, {}, Encoding::kExternal, {{"location", "pipe"}}});
  w.save(folder.path() / "model.onnx");
  const auto parsed = parse_onnx(folder.path() / "model.onnx");
  ASSERT_FALSE(parsed);
  EXPECT_THAT(parsed.error().message,
              AllOf(HasSubstr("model.onnx"), HasSubstr("external data 'pipe'"), HasSubstr("FIFO")));
  const auto built = build_plan(folder.path() / "model.onnx", {});
  ASSERT_FALSE(built);
  EXPECT_THAT(built.error().message, AllOf(HasSubstr("model.onnx"), HasSubstr("FIFO")));
}

TEST(OnnxRefusal, MissingExternalDataNameTheModelAndTheFolder) {
  const Folder folder;
  OnnxWriter w;
  w.input("x", {1}).output("y").node("Add", {"x", "w"}, {"y"});
  w.initializer({"w", OnnxType::kFloat, {1}, {}, Encoding::kExternal, {{"location", "w.data"}}});
  w.save(folder.path() / "model.onnx");
  const auto hash = hash_model(folder.path() / "model.onnx");
  ASSERT_FALSE(hash);
  EXPECT_EQ(hash.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(hash.error().message,
              AllOf(HasSubstr("model.onnx: external data 'w.data'"), HasSubstr("No such file")));
  const auto parsed = parse_onnx(folder.path() / "model.onnx");
  ASSERT_FALSE(parsed);
  EXPECT_THAT(parsed.error().message,
              AllOf(HasSubstr("model.onnx: "), HasSubstr("external data 'w.data'"),
                    HasSubstr("beside the model")));
}

}  // namespace
}  // namespace fovea::engine::test
