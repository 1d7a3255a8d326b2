// The parser reads what exporters write, and survives everything else.
#include "nodes/detector/engine/onnx/parser.hpp"

#include <fstream>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/detector/engine/onnx/metadata.hpp"
#include "nodes/detector/engine/reference/evaluate.hpp"
#include "tests/engine/onnx_writer.hpp"
#include "tests/support/build_paths.hpp"

namespace fovea::engine::test {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Ints = std::vector<std::int64_t>;

const fs::path kModels = fs::path(FOVEA_SOURCE_DIR) / "config" / "models";

Result<NetworkDefinition> parse(const OnnxWriter& writer) { return parse_onnx(writer.bytes(), {}); }

// A folder that goes away with the test.
class Folder {
 public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "fovea_onnx_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const fs::path& path() const { return path_; }
  fs::path write(const std::string& name, const std::string& contents) const {
    std::ofstream(path_ / name, std::ios::binary) << contents;
    return path_ / name;
  }

 private:
  fs::path path_;
};

// x [2] + c, so that a constant's value can be read off.
OnnxWriter adds(const OnnxTensor& tensor, std::int64_t opset = 17) {
  OnnxWriter writer(opset);
  writer.input("x", {2}).output("y").initializer(tensor).node("Add", {"x", tensor.name}, {"y"});
  return writer;
}

struct DemoModel {
  const char* file;
  std::int64_t size;
  std::int64_t anchors;
};

TEST(OnnxParser, ReadsTheDemoModels) {
  for (const DemoModel& demo : {DemoModel{"yolov8n_demo_dynamic.onnx", 640, 8400},
                                DemoModel{"yolov8p_demo_dynamic.onnx", 416, 3549}}) {
    auto network = parse_onnx(kModels / demo.file);
    ASSERT_TRUE(network) << network.error().message;
    EXPECT_EQ(network->opset, 17);
    EXPECT_EQ(network->value(network->inputs.at(0)).dims, (Dims{-1, 3, demo.size, demo.size}));
    ASSERT_EQ(network->class_names.size(), 80U);
    EXPECT_EQ(network->class_names[0], "person");
    EXPECT_EQ(network->class_names[79], "toothbrush");
    EXPECT_EQ(network->metadata.at("stride"), "32");
    EXPECT_THAT(parse_int_list(network->metadata.at("imgsz")), ElementsAre(demo.size, demo.size));
    EXPECT_EQ(std::count_if(network->layers.begin(), network->layers.end(),
                            [](const Layer& layer) { return layer.op == OpType::kConv; }),
              64);
    for (const std::int64_t batch : {1, 3}) {
      NetworkDefinition shaped = *network;
      ASSERT_TRUE(infer_shapes(shaped, batch));
      EXPECT_EQ(shaped.value(shaped.outputs.at(0)).dims, (Dims{batch, 84, demo.anchors}));
    }
  }
}

TEST(OnnxParser, ReadsEveryEncodingOfAnInitializer) {
  const std::vector<OnnxTensor> tensors = {
      {"c", OnnxType::kFloat, {2}, {1.5, -2}, Encoding::kRaw},
      {"c", OnnxType::kFloat, {2}, {1.5, -2}, Encoding::kTyped},
      {"c", OnnxType::kDouble, {2}, {1.5, -2}, Encoding::kRaw},
      {"c", OnnxType::kDouble, {2}, {1.5, -2}, Encoding::kTyped},
      {"c", OnnxType::kFloat16, {2}, {0x3E00, 0xC000}, Encoding::kRaw},
      {"c", OnnxType::kFloat16, {2}, {0x3E00, 0xC000}, Encoding::kTyped},
      {"c", OnnxType::kBfloat16, {2}, {0x3FC0, 0xC000}, Encoding::kRaw},
      {"c", OnnxType::kBfloat16, {2}, {0x3FC0, 0xC000}, Encoding::kTyped},
  };
  for (const OnnxTensor& tensor : tensors) {
    const auto network = parse(adds(tensor));
    ASSERT_TRUE(network) << network.error().message;
    const auto result = reference::evaluate(*network, {{"x", Constant::floats({2}, {0, 0})}});
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->at("y").data<float>()[0], 1.5F) << static_cast<int>(tensor.type);
    EXPECT_EQ(result->at("y").data<float>()[1], -2.0F) << static_cast<int>(tensor.type);
  }
}

TEST(OnnxParser, WidensIntegersOfEverySize) {
  for (const OnnxType type : {OnnxType::kInt64, OnnxType::kInt32, OnnxType::kInt8}) {
    for (const Encoding encoding : {Encoding::kRaw, Encoding::kTyped}) {
      OnnxWriter writer;
      writer.input("x", {1, 6}).output("y").initializer({"shape", type, {2}, {-1, 3}, encoding});
      writer.node("Reshape", {"x", "shape"}, {"y"});
      auto network = parse(writer);
      ASSERT_TRUE(network) << network.error().message;
      EXPECT_EQ(constant_ints(*network, network->layers[0].inputs[1]), (Ints{-1, 3}));
      ASSERT_TRUE(infer_shapes(*network, 1));
      EXPECT_EQ(network->value(network->outputs[0]).dims, (Dims{2, 3}));
    }
  }
}

TEST(OnnxParser, ConvertsHalfPrecisionExactlyAtItsEdges) {
  // Smallest subnormal, largest subnormal, smallest normal, largest, infinity, -0.
  const OnnxTensor tensor{
      "c", OnnxType::kFloat16, {6}, {0x0001, 0x03FF, 0x0400, 0x7BFF, 0x7C00, 0x8000}};
  OnnxWriter writer;
  writer.input("x", {6}).output("y").initializer(tensor).node("Add", {"x", "c"}, {"y"});
  const auto network = parse(writer);
  ASSERT_TRUE(network) << network.error().message;
  const Constant& constant = *network->value(network->layers[0].inputs[1]).constant;
  const float* values = constant.data<float>();
  EXPECT_EQ(values[0], 0x1p-24F);
  EXPECT_EQ(values[1], 1023 * 0x1p-24F);
  EXPECT_EQ(values[2], 0x1p-14F);
  EXPECT_EQ(values[3], 65504.0F);
  EXPECT_EQ(values[4], std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::signbit(values[5]));
}

TEST(OnnxParser, ReadsExternalDataBesideTheModel) {
  const Folder folder;
  const float values[3] = {7, 1.5F, -2};
  folder.write("weights.bin", std::string(reinterpret_cast<const char*>(values), sizeof(values)));
  adds({"c",
        OnnxType::kFloat,
        {2},
        {},
        Encoding::kExternal,
        {{"location", "weights.bin"}, {"offset", "4"}, {"length", "8"}}})
      .save(folder.path() / "model.onnx");
  const auto network = parse_onnx(folder.path() / "model.onnx");
  ASSERT_TRUE(network) << network.error().message;
  EXPECT_EQ(network->value(network->layers[0].inputs[1]).constant->data<float>()[1], -2.0F);
}

TEST(OnnxParser, ReadsNothingOutsideTheModelsFolder) {
  const Folder folder;
  fs::create_directory(folder.path() / "model");
  folder.write("secret.bin", "12345678");
  fs::create_symlink(folder.path() / "secret.bin", folder.path() / "model" / "link.bin");
  fs::create_directory(folder.path() / "model" / "sub");
  using External = std::map<std::string, std::string>;
  const std::vector<std::pair<External, std::string>> cases = {
      {{{"location", "../secret.bin"}}, "outside the model's folder"},
      {{{"location", "sub/../../secret.bin"}}, "outside the model's folder"},
      {{{"location", "link.bin"}}, "outside the model's folder"},
      {{{"location", (folder.path() / "secret.bin").string()}}, "inside the model's folder"},
      {{{"location", ""}}, "inside the model's folder"},
      {{}, "inside the model's folder"},
      {{{"location", "sub"}}, "must be a regular file"},
      {{{"location", "absent.bin"}}, "No such file"},
      {{{"location", "own.bin"}, {"offset", "9"}}, "lie outside"},
      {{{"location", "own.bin"}, {"offset", "4"}, {"length", "8"}}, "lie outside"},
      {{{"location", "own.bin"}, {"offset", "4"}, {"length", "18446744073709551615"}},
       "lie outside"},
      {{{"location", "own.bin"}, {"offset", "-4"}}, "must be a number"},
      {{{"location", "own.bin"}, {"length", "99999999999999999999"}}, "must be a number"},
      {{{"location", "own.bin"}, {"length", "4"}}, "bytes"},
      {{{"location", "huge.bin"}}, "at most"},
  };
  folder.write("model/own.bin", "12345678");
  folder.write("model/huge.bin", std::string(100, 'x'));
  for (const auto& [external, message] : cases) {
    const OnnxTensor tensor{"c", OnnxType::kFloat, {2}, {}, Encoding::kExternal, external};
    adds(tensor).save(folder.path() / "model" / "model.onnx");
    const auto network = parse_onnx(folder.path() / "model" / "model.onnx");
    ASSERT_FALSE(network) << message;
    EXPECT_THAT(network.error().message, HasSubstr(message));
    EXPECT_THAT(network.error().message, HasSubstr("model.onnx"));
    EXPECT_FALSE(parse(adds(tensor))) << "in memory there is no folder";
  }
}

TEST(OnnxParser, UnderstandsOldAndNewSpellings) {
  // Opset 12: axes and split sizes are attributes.
  OnnxWriter old(12);
  old.input("x", {1, 4, 2}).output("a").output("s");
  old.node("Split", {"x"}, {"p", "q"}, {{"axis", std::int64_t{1}}, {"split", Ints{1, 3}}});
  old.node("Unsqueeze", {"q"}, {"u"}, {{"axes", Ints{0}}})
      .node("Squeeze", {"u"}, {"a"}, {{"axes", Ints{0}}});
  old.node("Softmax", {"p"}, {"s"});
  auto network = parse(old);
  ASSERT_TRUE(network) << network.error().message;
  ASSERT_TRUE(infer_shapes(*network, 1));
  EXPECT_EQ(network->value(network->outputs[0]).dims, (Dims{1, 3, 2}));
  EXPECT_EQ(network->layers.back().int_attribute("flatten", 0), 1);
  EXPECT_EQ(network->layers.back().int_attribute("axis", -1), 1);

  // Opset 18: equal parts by number; opset 13 made Softmax's axis the last one.
  OnnxWriter modern(18);
  modern.input("x", {1, 5, 2}).output("p").output("q").output("s");
  modern.node("Split", {"x"}, {"p", "q"},
              {{"axis", std::int64_t{1}}, {"num_outputs", std::int64_t{2}}});
  modern.node("Softmax", {"x"}, {"s"});
  network = parse(modern);
  ASSERT_TRUE(network) << network.error().message;
  ASSERT_TRUE(infer_shapes(*network, 1));
  EXPECT_EQ(network->value(network->outputs[0]).dims, (Dims{1, 3, 2}));
  EXPECT_EQ(network->value(network->outputs[1]).dims, (Dims{1, 2, 2}));
  EXPECT_EQ(network->layers.back().int_attribute("flatten", 0), 0);
}

TEST(OnnxParser, ReadsConstantNodesAndFillValues) {
  OnnxWriter writer;
  writer.input("x", {2, 2}).output("y");
  writer.node("Constant", {}, {"two"}, {{"value_float", 2.0F}});
  writer.node("Constant", {}, {"shape"}, {{"value_ints", Ints{2, 2}}});
  writer.node("Constant", {}, {"flat"}, {{"value_int", std::int64_t{4}}});
  writer.node_with_tensor("Constant", {}, "three", "value", {"", OnnxType::kFloat, {1}, {3}});
  writer.node_with_tensor("ConstantOfShape", {"shape"}, "fives", "value",
                          {"", OnnxType::kFloat, {1}, {5}});
  writer.node("Mul", {"x", "two"}, {"a"})
      .node("Add", {"a", "three"}, {"b"})
      .node("Add", {"b", "fives"}, {"c"});
  writer.node("Unsqueeze", {"flat", "axis"}, {"target"}).ints("axis", {0});
  writer.node("Reshape", {"c", "target"}, {"y"});
  const auto network = parse(writer);
  ASSERT_TRUE(network) << network.error().message;
  const auto result =
      reference::evaluate(*network, {{"x", Constant::floats({2, 2}, {0, 1, 2, 3})}});
  ASSERT_TRUE(result) << result.error().message;
  const Constant& y = result->at("y");
  ASSERT_EQ(y.dims, (Dims{4}));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(y.data<float>()[i], 2.0F * static_cast<float>(i) + 8);
}

TEST(OnnxParser, SortsNodesAndNamesTheUnnamed) {
  OnnxWriter writer;
  writer.input("x", {1}).output("c");
  writer.node("Relu", {"b"}, {"c"}, {}, "same")
      .node("Exp", {"a"}, {"b"}, {}, "same")
      .node("Tanh", {"x"}, {"a"});
  const auto network = parse(writer);
  ASSERT_TRUE(network) << network.error().message;
  std::vector<std::string> names;
  for (const Layer& layer : network->layers) names.push_back(layer.name);
  EXPECT_THAT(names, ElementsAre("Tanh_a", "same#1", "same"));
}

TEST(OnnxParser, ListsEveryUnsupportedNodeWithItsReason) {
  OnnxWriter writer;
  writer.input("x", {1, 3, 4, 4}).output("y");
  writer.node("NonMaxSuppression", {"x", "x"}, {"a"}, {}, "/nms");
  writer.node("Resize", {"x", "", "scales"}, {"b"}, {{"mode", std::string("cubic")}}, "/up");
  writer.node("Softmax", {"x"}, {"c"}, {{"axis", std::string("1")}}, "/softmax");
  writer.node("Relu", {"x"}, {"d"}, {{"slope", 1.0F}}, "/relu");
  writer.node("Gelu", {"x"}, {"e"}, {}, "/gelu").domain("com.microsoft");
  writer.node("MaxPool", {"x"}, {"f", "indices"}, {{"kernel_shape", Ints{2, 2}}}, "/pool");
  writer.node("Add", {"x"}, {"g"}, {}, "/add");
  writer.node("Relu", {"x"}, {"y"}, {}, "/fine");
  const auto network = parse(writer);
  ASSERT_FALSE(network);
  EXPECT_EQ(network.error().code, ErrorCode::kUnsupported);
  const std::string& message = network.error().message;
  EXPECT_THAT(message, HasSubstr("7 of 8 nodes"));
  EXPECT_THAT(message, HasSubstr("NonMaxSuppression ('/nms'): the operator is not supported"));
  EXPECT_THAT(message, HasSubstr("Resize ('/up'): mode is 'cubic'; it must be nearest, linear"));
  EXPECT_THAT(message, HasSubstr("Softmax ('/softmax'): attribute 'axis' must be an integer"));
  EXPECT_THAT(message, HasSubstr("Relu ('/relu'): attribute 'slope' is not supported"));
  EXPECT_THAT(message, HasSubstr("Gelu ('/gelu'): domain 'com.microsoft' is not supported"));
  EXPECT_THAT(message, HasSubstr("MaxPool ('/pool'): output 1 is not supported"));
  EXPECT_THAT(message, HasSubstr("Add ('/add'): it has 1 inputs"));
  EXPECT_THAT(message, Not(HasSubstr("/fine")));
}

TEST(OnnxParser, RefusesModelsThatContradictThemselves) {
  const OnnxTensor wide{"c", OnnxType::kFloat, {INT64_MAX, INT64_MAX}, {1}};
  struct Case {
    const char* message;
    std::function<void(OnnxWriter&)> build;
  };
  const std::vector<Case> cases = {
      {"has no nodes", [](OnnxWriter&) {}},
      {"reads 'ghost', which nothing writes",
       [](OnnxWriter& w) {
         w.node("Add", {"x", "ghost"}, {"y"});
       }},
      {"output 'y' is written by no node", [](OnnxWriter& w) { w.node("Relu", {"x"}, {"z"}); }},
      {"cycle",
       [](OnnxWriter& w) {
         w.node("Add", {"x", "y"}, {"a"}, {}, "n").node("Relu", {"a"}, {"y"});
       }},
      {"cycle",
       [](OnnxWriter& w) {
         w.node("Add", {"x", "y"}, {"y"});
       }},
      {"already defined",
       [](OnnxWriter& w) { w.node("Relu", {"x"}, {"y"}).node("Exp", {"x"}, {"y"}); }},
      {"already defined", [](OnnxWriter& w) { w.node("Relu", {"x"}, {"x"}); }},
      {"already defined",
       [](OnnxWriter& w) {
         w.floats("c", {1}, {1}).floats("c", {1}, {1}).node("Relu", {"x"}, {"y"});
       }},
      {"listed twice", [](OnnxWriter& w) { w.input("x", {1}).node("Relu", {"x"}, {"y"}); }},
      {"listed twice", [](OnnxWriter& w) { w.output("y").node("Relu", {"x"}, {"y"}); }},
      {"no valid shape",
       [=](OnnxWriter& w) {
         w.initializer(wide).node("Add", {"x", "c"}, {"y"});
       }},
      {"no valid shape",
       [](OnnxWriter& w) {
         w.floats("c", {-2}, {1}).node("Add", {"x", "c"}, {"y"});
       }},
      {"no valid shape",
       [](OnnxWriter& w) {
         w.floats("c", {1, 1, 1, 1, 1, 1, 1, 1, 1}, {1}).node("Add", {"x", "c"}, {"y"});
       }},
      {"needs",
       [](OnnxWriter& w) {
         w.floats("c", {3}, {1}).node("Add", {"x", "c"}, {"y"});
       }},
      {"needs",
       [](OnnxWriter& w) {
         w.floats("c", {1}, {1, 2}).node("Add", {"x", "c"}, {"y"});
       }},
      {"needs more",
       [](OnnxWriter& w) {
         w.floats("c", {1 << 29}, {1}).node("Add", {"x", "c"}, {"y"});
       }},
      {"too few elements",
       [](OnnxWriter& w) {
         w.initializer({"c", OnnxType::kFloat, {1 << 29}, {1}, Encoding::kTyped})
             .node("Add", {"x", "c"}, {"y"});
       }},
      {"element type 8",
       [](OnnxWriter& w) {
         w.initializer({"c", OnnxType::kString, {1}, {}}).node("Add", {"x", "c"}, {"y"});
       }},
      {"has no name", [](OnnxWriter& w) { w.floats("", {1}, {1}).node("Relu", {"x"}, {"y"}); }},
      {"it has no output", [](OnnxWriter& w) { w.node("Relu", {"x"}, {}); }},
      {"has extent 0",
       [](OnnxWriter& w) {
         w.input("z", {1, 0}).node("Relu", {"x"}, {"y"});
       }},
      {"elements are supported",
       [](OnnxWriter& w) {
         w.input("z", {-1, 1 << 20, 1 << 20}).node("Relu", {"x"}, {"y"});
       }},
      {"has element type 8",
       [](OnnxWriter& w) { w.input("z", {1}, OnnxType::kString).node("Relu", {"x"}, {"y"}); }},
      {"no value that is supported",
       [](OnnxWriter& w) {
         w.node("Constant", {}, {"c"}).node("Add", {"x", "c"}, {"y"});
       }},
      {"'value' must be a tensor",
       [](OnnxWriter& w) {
         w.ints("s", {1}).node("ConstantOfShape", {"s"}, {"y"}, {{"value", 1.0F}});
       }},
      {"target type is not supported",
       [](OnnxWriter& w) {
         w.node("Cast", {"x"}, {"y"}, {{"to", std::int64_t{8}}});
       }},
  };
  for (const Case& c : cases) {
    OnnxWriter writer;
    writer.input("x", {1, 2}).output("y");
    c.build(writer);
    const auto network = parse(writer);
    ASSERT_FALSE(network) << c.message;
    EXPECT_THAT(network.error().message, HasSubstr(c.message));
  }
}

TEST(OnnxParser, RefusesOpsetsItDoesNotKnow) {
  for (const std::int64_t opset : {std::int64_t{7}, std::int64_t{27}, INT64_MIN, INT64_MAX}) {
    OnnxWriter writer(opset);
    writer.input("x", {1}).output("y").node("Relu", {"x"}, {"y"});
    const auto network = parse(writer);
    ASSERT_FALSE(network);
    EXPECT_THAT(network.error().message, HasSubstr("it must be 8..26"));
  }
}

TEST(OnnxParser, NamesAMissingOrForeignFile) {
  const Folder folder;
  const auto missing = parse_onnx(folder.path() / "absent.onnx");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(missing.error().message, HasSubstr("absent.onnx"));
  const auto directory = parse_onnx(folder.path());
  ASSERT_FALSE(directory);
  EXPECT_EQ(directory.error().code, ErrorCode::kInvalidArgument);
  for (const std::string& contents : {std::string(), std::string("GIF89a"), std::string(1000, '\0'),
                                      std::string(100, '\xff'), std::string("\x08\x08", 2)}) {
    const auto network = parse_onnx(folder.write("model.onnx", contents));
    ASSERT_FALSE(network);
    EXPECT_EQ(network.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(network.error().message, HasSubstr("model.onnx"));
  }
}

// Truncations and bit flips of a model with every kind of content: a result or an error, nothing
// else.
TEST(OnnxParser, SurvivesDamagedModels) {
  OnnxWriter writer;
  writer.input("x", {-1, 3, 8, 8}).output("y").metadata("names", "{0: 'a', 1: 'b'}");
  writer.floats("w", {4, 3, 3, 3}, std::vector<double>(108, 0.5)).ints("shape", {0, -1});
  writer.node("Conv", {"x", "w"}, {"a"}, {{"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}});
  writer.node("Sigmoid", {"a"}, {"b"})
      .node("Mul", {"a", "b"}, {"c"})
      .node("Reshape", {"c", "shape"}, {"d"});
  writer.node("Softmax", {"d"}, {"y"}, {{"axis", std::int64_t{-1}}});
  const std::vector<std::byte> good = writer.bytes();
  ASSERT_TRUE(parse_onnx(good, {}));
  std::size_t accepted = 0;
  const auto attempt = [&](const std::vector<std::byte>& bytes) {
    auto network = parse_onnx(bytes, {});
    if (!network) {
      EXPECT_FALSE(network.error().message.empty());
      return;
    }
    ++accepted;
    EXPECT_TRUE(network->validate());
    const auto shaped = infer_shapes(*network, 1);
    EXPECT_TRUE(shaped || !shaped.error().message.empty());
  };
  for (std::size_t length = 0; length < good.size(); ++length) {
    attempt({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length)});
  }
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const unsigned bit : {0U, 3U, 7U}) {
      std::vector<std::byte> damaged = good;
      damaged[i] ^= static_cast<std::byte>(1U << bit);
      attempt(damaged);
    }
  }
  // Most flips hit weights, which say nothing about themselves.
  EXPECT_GT(accepted, 0U);
}

TEST(OnnxMetadata, ReadsPythonLiterals) {
  EXPECT_THAT(parse_class_names("{0: 'person', 1: 'bicycle'}"), ElementsAre("person", "bicycle"));
  EXPECT_THAT(parse_class_names(R"({1: "driver's cab", 0: 'it\'s'})"),
              ElementsAre("it's", "driver's cab"));
  EXPECT_THAT(parse_class_names("['a, b', \"c: d\", 'e}']"), ElementsAre("a, b", "c: d", "e}"));
  EXPECT_THAT(parse_class_names(R"({0: 'caf\xe9', 1: '\u4eba', 2: '\\', 3: '\U0001f600'})"),
              ElementsAre("caf\xc3\xa9", "\xe4\xba\xba", "\\", "\xf0\x9f\x98\x80"));
  EXPECT_THAT(parse_class_names(" { 0 : 'a' , } "), ElementsAre("a"));
  EXPECT_THAT(parse_class_names("{}"), IsEmpty());
  for (const char* bad :
       {"", "person", "{0: 'a'", "{0: 'a", "{0 'a'}", "{0: 'a'} x", "{0: 'a', 0: 'b'}", "{-1: 'a'}",
        "{0: '\\x4'}", "{0: '\\uZZZZ'}", "{99999999999999999999: 'a'}", "{70000: 'a'}", "['a' 'b']",
        "{0: 'a',, 1: 'b'}", "{0: '\\", "{'a': 'b'}", "{0: {1: 2}}", "[[1]]"}) {
    EXPECT_THAT(parse_class_names(bad), IsEmpty()) << bad;
    EXPECT_THAT(read_class_names(bad).problem, HasSubstr("cannot be read")) << bad;
  }
}

TEST(OnnxMetadata, ReadsNamesAsJsonAndCarelessExportersWriteThem) {
  const auto read = [](std::string_view text) {
    const ClassNames names = read_class_names(text);
    EXPECT_EQ(names.problem, "") << text;
    return names.names;
  };
  EXPECT_THAT(read(R"({"0": "cat", "1": "dog", "2": "cow"})"), ElementsAre("cat", "dog", "cow"));
  EXPECT_THAT(read(R"(["cat", "d\u00f6g", "\ud83d\ude00", "a\/b"])"),
              ElementsAre("cat", "d\xc3\xb6g", "\xf0\x9f\x98\x80", "a/b"));
  EXPECT_THAT(read(R"(["\ud83d", "\ud83d\u0041", "\ude00"])"), ElementsAre("\xef\xbf\xbd",
                                                                           "\xef\xbf\xbd"
                                                                           "A",
                                                                           "\xef\xbf\xbd"));
  EXPECT_THAT(read("{0: 7, 1: 8.5, 2: true}"), ElementsAre("7", "8.5", "true"));
  EXPECT_THAT(read("[0, 1, 2]"), ElementsAre("0", "1", "2"));
  EXPECT_THAT(read(R"({"cat": 0, "dog": 1})"), ElementsAre("cat", "dog"));
  EXPECT_THAT(read("{0: traffic light, 1: car }"), ElementsAre("traffic light", "car"));
  EXPECT_THAT(read("('a', 'b')"), ElementsAre("a", "b"));
  EXPECT_THAT(read("{0: u'a', 1: u\"b\"}"), ElementsAre("a", "b"));
  EXPECT_THAT(read("{0: 'bell\\x07\\x1b[31m', 1: '\\a\\b'}"),
              ElementsAre("bell\x07\x1b[31m", "\a\b"));
}

TEST(OnnxMetadata, NumbersWithoutANameAreCalledByTheirNumberAndThatIsSaid) {
  const ClassNames gaps = read_class_names("{0: 'a', 3: 'b'}");
  EXPECT_THAT(gaps.names, ElementsAre("a", "class_1", "class_2", "b"));
  EXPECT_THAT(gaps.problem, HasSubstr("leave out 2 of the numbers 0 to 3"));
  EXPECT_THAT(read_class_names("{1: 'a'}").names, ElementsAre("class_0", "a"));
}

TEST(OnnxMetadata, TextThatIsNoListIsShownWithoutDrivingTheTerminal) {
  const std::string problem = read_class_names("\x1b[31mred\n" + std::string(5000, 'x')).problem;
  EXPECT_EQ(problem.find('\x1b'), std::string::npos);
  EXPECT_EQ(problem.find('\n'), std::string::npos);
  EXPECT_LT(problem.size(), 400U);
}

TEST(OnnxMetadata, ReadsIntegersAndListsOfThem) {
  EXPECT_THAT(parse_int_list("32"), ElementsAre(32));
  EXPECT_THAT(parse_int_list("[640, 480]"), ElementsAre(640, 480));
  EXPECT_THAT(parse_int_list("(640, 480,)"), ElementsAre(640, 480));
  for (const char* bad :
       {"", "x", "[640", "[640)", "640 480", "[640; 480]", "99999999999999999999"}) {
    EXPECT_THAT(parse_int_list(bad), IsEmpty()) << bad;
  }
}

TEST(OnnxParser, DropoutPassesThroughUnlessItWantsToTrain) {
  const auto parse_dropout = [](const std::vector<std::string>& inputs) {
    test::OnnxWriter w;
    w.input("x", {1, 3, 4, 4})
        .floats("ratio", {}, {0.5})
        .node("Dropout", inputs, {"y"})
        .output("y");
    return parse(w);
  };
  const auto network = parse_dropout({"x", "ratio"});
  ASSERT_TRUE(network) << network.error().message;
  ASSERT_EQ(network->layers.size(), 1U);
  EXPECT_EQ(network->layers[0].op, OpType::kIdentity);
  EXPECT_EQ(network->layers[0].inputs.size(), 1U);
  EXPECT_FALSE(parse_dropout({"x", "ratio", "training"}));
}

}  // namespace
}  // namespace fovea::engine::test
