// Files under a model's name that are none: each is named as what it is, with what to do.
#include "nodes/detector/engine/onnx/file_kind.hpp"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "nodes/detector/engine/onnx/parser.hpp"
#include "tests/engine/onnx_writer.hpp"

namespace fovea::engine {
namespace {

using namespace std::string_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::vector<std::byte> small_model() {
  test::OnnxWriter writer;
  writer.input("x", {1, 3, 8, 8}).output("y").node("Relu", {"x"}, {"y"});
  writer.floats("w", {64}, std::vector<double>(64, 0.5));
  return writer.bytes();
}

struct Case {
  std::string name;
  std::string bytes;
  std::string what;
  std::string cure;
};

std::vector<Case> cases() {
  return {
      {"empty", "", "an empty file", "fetch or copy it again"},
      {"zeros", std::string(5000, '\0'), "a file of zeros", "again"},
      {"lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12851049\n",
       "a Git LFS pointer", "git lfs pull` fetches the model's 12851049 bytes"},
      {"lfs without size", "version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer",
       "fetches the model"},
      {"page", "<!DOCTYPE html>\n<html><body>Sign in</body></html>", "an HTML page", "raw file"},
      {"page behind a mark", "\xef\xbb\xbf\r\n <HTML lang=en>", "an HTML page", "raw file"},
      {"openvino", "<?xml version=\"1.0\"?><net name=\"m\">", "an XML file", "export"},
      {"json", "{\"message\": \"Not Found\"}", "a JSON file", "download"},
      {"text", "404: Not Found\x1b[31m", "no ONNX model", ""},
      {"words", "404: Not Found", "a text file (it begins '404: Not Found')", "download"},
      {"checkpoint", "PK\x03\x04"s + std::string(26, '\0') + "best/data.pkl" + "more",
       "a PyTorch checkpoint (.pt)", "yolo export format=onnx"},
      {"zip", "PK\x03\x04"s + std::string(26, '\0') + "readme.md", "a zip archive", "export"},
      {"zipped model", "PK\x03\x04"s + std::string(26, '\0') + "yolov8n.onnx",
       "a zip archive with an ONNX file inside", "unpack"},
      {"pickle", "\x80\x02}q\x00"s, "a Python pickle", "export"},
      {"plan", "FOVEAPLN\7\0\0\0"s, "a built Fovea engine", "--load-engine"},
      {"tflite", "\x1c\0\0\0TFL3"s, "a TensorFlow Lite model", "export"},
      {"gzip", "\x1f\x8b\x08\0"s, "a gzip archive", "unpack"},
      {"keras", "\x89HDF\r\n\x1a\n"s, "an HDF5 file", "export"},
      {"engine", "ftrt\0\0\0\0"s, "a TensorRT engine", "ONNX file that it was made from"},
  };
}

TEST(FileKind, IsNamedWithItsCureByTheParserToo) {
  const std::filesystem::path file = std::filesystem::temp_directory_path() /
                                     ("fovea-kind-" + std::to_string(::getpid()) + ".onnx");
  for (const Case& c : cases()) {
    std::ofstream(file, std::ios::binary) << c.bytes;
    const auto parsed = parse_onnx(file);
    ASSERT_FALSE(parsed) << c.name;
    EXPECT_THAT(parsed.error().message,
                AllOf(HasSubstr(file.string()), HasSubstr(c.what), HasSubstr(c.cure)))
        << c.name;
    EXPECT_EQ(parsed.error().code, ErrorCode::kCorrupt) << c.name;
    EXPECT_EQ(parsed.error().message.find('\x1b'), std::string::npos);
    EXPECT_EQ(parsed.error().message.find('\n'), std::string::npos);
  }
  std::filesystem::remove(file);
}

// Wherever a model ends early, that is what is said of it.
TEST(FileKind, ModelThatIsCutOffIsCalledThat) {
  const std::vector<std::byte> whole = small_model();
  ASSERT_TRUE(check_file_kind(whole));
  for (std::size_t size = 1; size < whole.size(); ++size) {
    const auto parsed = parse_onnx(std::span(whole).first(size), {});
    if (parsed) continue;  // only metadata behind the graph is missing
    EXPECT_THAT(parsed.error().message, HasSubstr("cut off")) << size << " of " << whole.size();
  }
  const auto half = check_file_kind(std::span(whole).first(whole.size() / 2));
  ASSERT_FALSE(half);
  EXPECT_THAT(half.error().message, AllOf(HasSubstr("is cut off"), HasSubstr("are missing")));
}

TEST(FileKind, AnyBytesAreSafe) {
  std::uint32_t state = 7;
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    const std::size_t size = (state >> 8) % 64;
    for (std::size_t k = 0; k < size; ++k) {
      state = state * 1664525U + 1013904223U;
      text += static_cast<char>(state >> 24);
    }
    state = state * 1664525U + 1013904223U;
    if (i % 2 == 0) text.insert(0, 1, '\x08');
    static_cast<void>(check_file_kind(bytes_of(text)));
  }
}

}  // namespace
}  // namespace fovea::engine
