#include "nodes/detector/engine/onnx/file_kind.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "nodes/base/text.hpp"

namespace fovea::engine {

namespace {

using namespace std::string_view_literals;

struct Format {
  std::size_t offset;
  std::string_view magic;
  std::string_view what;
  std::string_view cure;
};

constexpr std::string_view kExport =
    "export the model as ONNX (Ultralytics: yolo export format=onnx)";
constexpr std::string_view kDownload = "download the model itself";

constexpr std::array kFormats = {
    Format{0, "FOVEAPLN"sv, "a built Fovea engine",
           "--load-engine takes it, or name the ONNX file"},
    Format{0, "\x80\x02"sv, "a Python pickle (an old PyTorch checkpoint)", kExport},
    Format{4, "TFL3"sv, "a TensorFlow Lite model", kExport},
    Format{4, "ORTM"sv, "an ONNX Runtime model (.ort)",
           "name the .onnx file that it was made from"},
    Format{0, "\x89HDF\r\n"sv, "an HDF5 file (Keras weights)", kExport},
    Format{0, "ftrt"sv, "a TensorRT engine", "name the ONNX file that it was made from"},
    Format{0, "GGUF"sv, "a GGUF file", kExport},
    Format{0, "RKNN"sv, "an RKNN model", "name the ONNX file that it was made from"},
    Format{0, "7767517"sv, "an ncnn parameter file", kExport},
    Format{0, "\x1f\x8b"sv, "a gzip archive", "unpack it first"},
    Format{0, "BZh"sv, "a bzip2 archive", "unpack it first"},
    Format{0,
           "\xfd"
           "7zXZ\0"sv,
           "an xz archive", "unpack it first"},
    Format{0, "\x28\xb5\x2f\xfd"sv, "a zstd archive", "unpack it first"},
    Format{0, "7z\xbc\xaf\x27\x1c"sv, "a 7-Zip archive", "unpack it first"},
    Format{257, "ustar"sv, "a tar archive", "unpack it first"},
    Format{0, "\x89PNG"sv, "a picture (PNG)", kDownload},
    Format{0, "\xff\xd8\xff"sv, "a picture (JPEG)", kDownload},
    Format{0,
           "\x7f"
           "ELF"sv,
           "a program or library (ELF)", kDownload},
    Format{0, "%PDF"sv, "a PDF document", kDownload},
};

tl::unexpected<Error> is(std::string_view what, std::string_view cure) {
  return fail(ErrorCode::kCorrupt, fmt::format("this is {}, no ONNX model; {}", what, cure));
}

bool begins_ignoring_case(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() &&
         std::equal(lower.begin(), lower.end(), text.begin(),
                    [](unsigned char a, unsigned char b) { return a == std::tolower(b); });
}

// Pages, pointers and other text, where a model begins with a number of its own.
Result<> check_text(std::string_view text) {
  if (text.starts_with("version https://git-lfs.github.com/spec/") ||
      text.starts_with("version https://hawser.github.com/spec/")) {
    const std::size_t size = text.find("\nsize ");
    const std::string bytes =
        size == std::string_view::npos
            ? "the model"
            : fmt::format("the model's {} bytes",
                          shown(text.substr(size + 6, text.find('\n', size + 6) - size - 6), 20));
    return is("a Git LFS pointer",
              fmt::format("`git lfs install; git lfs pull` fetches {}", bytes));
  }
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  const std::size_t start = text.find_first_not_of(" \t\r\n");
  if (start != std::string_view::npos) text.remove_prefix(start);
  if (begins_ignoring_case(text, "<!doctype html") || begins_ignoring_case(text, "<html") ||
      begins_ignoring_case(text, "<head") || begins_ignoring_case(text, "<!--")) {
    return is("an HTML page",
              "the download gave a login, error or preview page; fetch the raw file");
  }
  if (begins_ignoring_case(text, "<?xml") || text.starts_with("<")) {
    return is("an XML file (OpenVINO IR, or an error page)", kExport);
  }
  if (text.starts_with("{") || text.starts_with("[")) {
    return is("a JSON file", kDownload);
  }
  constexpr std::size_t kLooked = 256;
  const std::string_view beginning = text.substr(0, kLooked);
  const bool printable = std::all_of(beginning.begin(), beginning.end(), [](unsigned char c) {
    return std::isprint(c) != 0 || c == '\n' || c == '\r' || c == '\t' || c >= 0x80;
  });
  if (printable) {
    return is(fmt::format("a text file (it begins '{}')", shown(beginning, 40)), kDownload);
  }
  return {};
}

Result<> check_zip(std::string_view text) {
  if (!text.starts_with("PK\x03\x04")) return {};
  const std::string_view front = text.substr(0, 4096);
  if (front.find("data.pkl") != std::string_view::npos ||
      front.find("/version") != std::string_view::npos) {
    return is("a PyTorch checkpoint (.pt)", kExport);
  }
  if (front.find(".onnx") != std::string_view::npos) {
    return is("a zip archive with an ONNX file inside", "unpack it first");
  }
  if (front.find(".npy") != std::string_view::npos) {
    return is("a NumPy archive (.npz)", kExport);
  }
  return is("a zip archive (a PyTorch checkpoint or a Core ML package)", kExport);
}

std::optional<std::uint64_t> varint(std::span<const std::byte> bytes, std::size_t& at) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (at == bytes.size()) return std::nullopt;
    const auto byte = static_cast<std::uint64_t>(bytes[at++]);
    value |= (byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return std::nullopt;
}

// The outermost fields of a protobuf message: whole, or cut off within one that begins well. What
// makes no sense otherwise is for the parser to say.
Result<> check_whole(std::span<const std::byte> bytes) {
  constexpr std::uint64_t kIrVersion = 1 << 3;  // field 1, a number: what exporters write first
  constexpr std::uint64_t kMostFields = 32;     // ModelProto has 26
  std::size_t at = 0;
  bool graph = false;
  bool opset = false;
  while (at < bytes.size()) {
    const std::size_t start = at;
    const auto key = varint(bytes, at);
    if (start == 0 && key != kIrVersion) return {};
    const std::uint64_t field = key.value_or(1 << 3) >> 3;
    const std::uint64_t wire = key.value_or(0) & 7;
    if (field < 1 || field > kMostFields) return {};
    std::optional<std::uint64_t> size = key;
    if (wire == 0 || wire == 2) size = size ? varint(bytes, at) : size;
    if (wire == 1 || wire == 5) size = wire == 1 ? 8 : 4;
    if (wire == 3 || wire == 4 || wire > 5) return {};
    const std::uint64_t left = bytes.size() - at;
    const std::uint64_t needed = wire == 0 ? 0 : size.value_or(0);
    if (!key || !size || needed > left) {
      return fail(
          ErrorCode::kCorrupt,
          needed > left
              ? fmt::format("the ONNX model is cut off: {} bytes are here, {} are missing; "
                            "fetch or copy it again",
                            bytes.size(), needed - left)
              : fmt::format("the ONNX model is cut off after {} bytes; fetch or copy it again",
                            bytes.size()));
    }
    at += needed;
    graph = graph || field == 7;
    opset = opset || field == 8;
  }
  if (!graph || !opset) {
    return fail(
        ErrorCode::kCorrupt,
        fmt::format("the ONNX model has no {} ({} bytes): it is cut off, or no model; fetch "
                    "or copy it again",
                    graph ? "opset" : "graph", bytes.size()));
  }
  return {};
}

}  // namespace

Result<> check_file_kind(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.empty()) return is("an empty file", "fetch or copy it again");
  if (std::all_of(
          text.begin(),
          text.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(text.size(), 4096)),
          [](char c) { return c == '\0'; })) {
    return is("a file of zeros", "fetch or copy it again");
  }
  for (const Format& format : kFormats) {
    if (text.size() > format.offset && text.substr(format.offset).starts_with(format.magic)) {
      return is(format.what, format.cure);
    }
  }
  FOVEA_TRY(check_zip(text));
  if (text[0] != '\x08') FOVEA_TRY(check_text(text));
  return check_whole(bytes);
}

}  // namespace fovea::engine
