// Raw tensors into and out of `fovea engine verify` and `bench`: what one run saves another run, or
// another program, can compare with.
#include <cmath>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "nodes/detector/tool/npy.hpp"
#include "tests/detector/model_folder.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Outcome;
using ::testing::HasSubstr;

class EngineCliTensors : public test::ModelFolder {
 protected:
  void SetUp() override {
    ModelFolder::SetUp();
    model_ = path("yolo.onnx");
    ASSERT_EQ(run("fovea-write-yolo", {"yolov8n", model_, "--dynamic"}).code, 0);
  }
  Outcome verify(std::vector<std::string> more) const {
    std::vector<std::string> arguments = {"verify", "--onnx", model_, "--input-size", "64"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return engine(std::move(arguments));
  }
  // u8 [64, 64, 3].
  static NpyArray image(int seed) {
    NpyArray array{"|u1", {64, 64, 3}, {}};
    for (int i = 0; i < 64 * 64 * 3; ++i) {
      array.bytes.push_back(static_cast<std::byte>((i * 7 + i / 64 * seed) % 251));
    }
    return array;
  }
  // The same picture as other runtimes take it.
  static NpyArray planes(const NpyArray& image) {
    std::vector<float> values(image.bytes.size());
    for (std::size_t p = 0; p < 64 * 64; ++p) {
      for (std::size_t c = 0; c < 3; ++c) {
        values[c * 64 * 64 + p] = static_cast<float>(image.bytes[3 * p + c]) / 255.0F;
      }
    }
    return npy_of(values, {1, 3, 64, 64});
  }

  std::string model_;
};

TEST_F(EngineCliTensors, SavedOutputsAreThoseThatALaterRunIsComparedWith) {
  ASSERT_TRUE(write_npy(path("a.npy"), image(3)));
  const Outcome saved = verify({"--load-inputs", path("a.npy"), "--save-outputs", path("out")});
  ASSERT_EQ(saved.code, 0) << saved.err;
  const auto box = read_npy(path("out/box0.npy"));
  ASSERT_TRUE(box) << box.error().message;
  EXPECT_EQ(box->dims, (std::vector<std::int64_t>{1, 8, 8, 64}));
  const Outcome same =
      verify({"--load-inputs", path("a.npy"), "--against", path("out"), "--json"});
  ASSERT_EQ(same.code, 0) << same.err;
  const json report = json::parse(same.out);
  EXPECT_EQ(report["outputs"].size(), 6U);
  for (const json& output : report["outputs"]) {
    EXPECT_EQ(output["max_difference"], 0.0);
    EXPECT_EQ(output["mean_difference"], 0.0);
    EXPECT_NEAR(output["cosine"].get<double>(), 1, 1e-12);
  }
  // Another picture gives something else, and one changed number shows in its output alone.
  ASSERT_TRUE(write_npy(path("b.npy"), image(5)));
  const Outcome other = verify({"--load-inputs", path("b.npy"), "--against", path("out")});
  EXPECT_EQ(other.code, 1) << other.out;
  std::vector<float> values = as_floats(*box);
  values[17] += 100;
  ASSERT_TRUE(write_npy(path("out/box0.npy"), npy_of(values, box->dims)));
  const Outcome changed =
      verify({"--load-inputs", path("a.npy"), "--against", path("out"), "--json"});
  EXPECT_EQ(changed.code, 1);
  const json shown = json::parse(changed.out);
  for (const json& output : shown["outputs"]) {
    EXPECT_NEAR(output["max_difference"].get<double>(), output["name"] == "box0" ? 100 : 0, 1e-4);
  }
}

TEST_F(EngineCliTensors, InputsComeAsBytesPlanesRawFilesAndMany) {
  ASSERT_TRUE(write_npy(path("a.npy"), image(3)));
  ASSERT_TRUE(write_npy(path("planes.npy"), planes(image(3))));
  const NpyArray bytes = image(3);
  std::ofstream(path("a.bin"), std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.bytes.data()),
             static_cast<std::streamsize>(bytes.bytes.size()));
  const NpyArray floats = planes(image(3));
  std::ofstream(path("planes.bin"), std::ios::binary)
      .write(reinterpret_cast<const char*>(floats.bytes.data()),
             static_cast<std::streamsize>(floats.bytes.size()));
  ASSERT_EQ(verify({"--load-inputs", path("a.npy"), "--save-outputs", path("out")}).code, 0);
  for (const char* file : {"planes.npy", "a.bin", "planes.bin"}) {
    const Outcome same = verify({"--load-inputs", path(file), "--against", path("out")});
    EXPECT_EQ(same.code, 0) << file << same.out << same.err;
    EXPECT_THAT(same.out, HasSubstr("largest difference 0 "));
  }
  ASSERT_EQ(verify({"--load-inputs", path("a.npy"), path("planes.bin"), "--save-outputs",
                    path("two")})
                .code,
            0);
  const auto cls = read_npy(path("two/cls0.npy"));
  ASSERT_TRUE(cls);
  EXPECT_EQ(cls->dims[0], 2);
}

TEST_F(EngineCliTensors, BisectFindsNoWrongLayerAndTakesWhatMeansSomethingToIt) {
  for (const char* precision : {"fp32", "fp16"}) {
    const Outcome right = verify({"--precision", precision, "--bisect", "--json"});
    ASSERT_EQ(right.code, 0) << right.err;
    const json report = json::parse(right.out);
    EXPECT_EQ(report["differs"], false);
    EXPECT_GT(report["layers"], 50);
    EXPECT_FALSE(report.contains("layer"));
  }
  const Outcome two = verify({"--bisect", "--against", "onednn"});
  EXPECT_TRUE(two.code == 0 || two.err.find("no oneDNN") != std::string::npos) << two.err;
  const auto refused = [&](std::vector<std::string> more, const std::string& text) {
    more.emplace_back("--bisect");
    const Outcome outcome = verify(std::move(more));
    EXPECT_EQ(outcome.code, 2) << text;
    EXPECT_THAT(outcome.err, HasSubstr(text));
  };
  refused({"--data", path("")}, "--data means nothing beside --bisect");
  refused({"--min-cosine", "0.5"}, "--min-cosine means nothing beside --bisect");
  refused({"--dump", path("one.npy")}, "name a folder");
  refused({"--against", path("out")}, "must be a provider, one of cpu");
}

TEST_F(EngineCliTensors, BisectNamesTheLayerThatMakesANanAndDumpsBothTensors) {
  Output output{{1, 4}, {1, 2, std::nan(""), 4}};
  const std::string model = write("nan.onnx", {output});
  const Outcome found = engine(
      {"verify", "--onnx", model, "--head", "none", "--bisect", "--dump", path("apart"), "--json"});
  ASSERT_EQ(found.code, 1) << found.err;
  const json layer = json::parse(found.out)["layer"];
  EXPECT_EQ(layer["op"], "Add");
  EXPECT_EQ(layer["output"], "output0");
  EXPECT_EQ(layer["position"], (std::vector<int>{0, 2}));
  EXPECT_EQ(layer["nan"], true);
  for (const char* file : {"apart/output0.cpu.npy", "apart/output0.expected.npy"}) {
    const auto tensor = read_npy(path(file));
    ASSERT_TRUE(tensor) << tensor.error().message;
    EXPECT_EQ(tensor->dims, (std::vector<std::int64_t>{1, 4}));
  }
}

TEST_F(EngineCliTensors, DumpIsAnotherNameOfSaveOutputs) {
  ASSERT_EQ(verify({"--dump", path("dumped")}).code, 0);
  EXPECT_EQ(verify({"--against", path("dumped")}).code, 0);
}

TEST_F(EngineCliTensors, InputsAndExpectationsOfAnotherShapeAreRefusedWithBoth) {
  const auto refused = [&](std::vector<std::string> more, const std::string& text) {
    const Outcome outcome = verify(std::move(more));
    EXPECT_EQ(outcome.code, 2) << text;
    EXPECT_THAT(outcome.err, HasSubstr(text));
  };
  ASSERT_TRUE(write_npy(path("wide.npy"), {"|u1", {64, 65, 3}, std::vector<std::byte>(12480)}));
  refused({"--load-inputs", path("wide.npy"), "--against", "reference"},
          "it holds |u1 [64, 65, 3]; it must be u8 [64, 64, 3] RGB");
  std::ofstream(path("short.bin")) << "abc";
  refused({"--load-inputs", path("short.bin"), "--against", "reference"}, "it has 3 bytes");
  ASSERT_TRUE(
      write_npy(path("big.npy"), npy_of(std::vector<float>(64 * 64 * 3, 255), {3, 64, 64})));
  refused({"--load-inputs", path("big.npy"), "--against", "reference"}, "it holds 255");
  ASSERT_TRUE(write_npy(path("a.npy"), image(3)));
  refused({"--load-inputs", path("a.npy"), "--save-outputs", path("one.npy")},
          "the engine has 6 outputs: name a folder");
  refused({"--load-inputs", path("a.npy"), "--against", path("a.npy")}, "6 outputs");
  refused({}, "give either --data DIR, or --against");
}

TEST_F(EngineCliTensors, OneOutputGoesIntoOneFileAndAgreesWithTheReference) {
  ASSERT_TRUE(write_npy(path("a.npy"), image(3)));
  const Outcome saved = verify({"--keep-output0", "--load-inputs", path("a.npy"), "--save-outputs",
                                path("o.npy"), "--against", "reference"});
  ASSERT_EQ(saved.code, 0) << saved.out << saved.err;
  EXPECT_THAT(saved.out, HasSubstr("the engine agrees with the reference"));
  const auto output = read_npy(path("o.npy"));
  ASSERT_TRUE(output) << output.error().message;
  EXPECT_EQ(output->dims, (std::vector<std::int64_t>{1, 84, 84}));
  EXPECT_EQ(verify({"--keep-output0", "--load-inputs", path("a.npy"), "--against", path("o.npy")})
                .code,
            0);
}

TEST_F(EngineCliTensors, OutputsWhoseNamesDifferInSpecialCharactersOnlyGetAFileEach) {
  engine::test::OnnxWriter writer;
  writer.input("images", {1, 3, 64, 64});
  writer.floats("w", {1, 3, 8, 8}, std::vector<double>(192, 0.01));
  writer.node("Conv", {"images", "w"}, {"cells"}, {{"strides", std::vector<std::int64_t>{8, 8}}});
  const std::vector<std::string> names = {"a/b", "a:b", "a_b", "A_b", std::string(300, 'x')};
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string number = std::to_string(i);
    writer.floats("bias" + number, {1}, {100.0 * static_cast<double>(i)});
    writer.node("Add", {"cells", "bias" + number}, {names[i]}).output(names[i]);
  }
  writer.save(path("names.onnx"));
  ASSERT_TRUE(write_npy(path("a.npy"), image(3)));
  const std::vector<std::string> common = {"verify", "--onnx", path("names.onnx"), "--load-inputs",
                                           path("a.npy")};
  auto arguments = common;
  arguments.insert(arguments.end(), {"--save-outputs", path("out")});
  const Outcome saved = engine(arguments);
  ASSERT_EQ(saved.code, 0) << saved.err;
  const auto files = std::distance(fs::directory_iterator(path("out")), fs::directory_iterator{});
  EXPECT_EQ(static_cast<std::size_t>(files), names.size());
  arguments = common;
  arguments.insert(arguments.end(), {"--against", path("out")});
  const Outcome compared = engine(arguments);
  EXPECT_EQ(compared.code, 0) << compared.out << compared.err;
}

TEST_F(EngineCliTensors, BenchLoadsAndSavesThemToo) {
  ASSERT_TRUE(write_npy(path("a.npy"), image(3)));
  const Outcome bench = engine({"bench", "--onnx", model_, "--input-size", "64", "--duration", "0",
                                "--warmup", "0", "--iterations", "1", "--load-inputs",
                                path("a.npy"), "--save-outputs", path("out")});
  ASSERT_EQ(bench.code, 0) << bench.err;
  EXPECT_EQ(verify({"--load-inputs", path("a.npy"), "--against", path("out")}).code, 0);
}

}  // namespace
}  // namespace fovea
