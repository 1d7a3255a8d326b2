#include "nodes/detector/tool/engine_cli_tensors.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <set>

#include <fmt/core.h>

#include "nodes/base/file_io.hpp"
#include "nodes/base/text.hpp"
#include "nodes/detector/tool/npy.hpp"
#include "nodes/detector/tool/options.hpp"

namespace fovea::engine_cli {

namespace {

namespace fs = std::filesystem;
using Image = std::vector<std::byte>;

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return text;
}

std::string extension_of(const std::string& path) { return lower_case(fs::path(path).extension()); }

// A file's name for every output, each another one: what a model calls them may hold anything, and
// be longer than a file's name. What would be equal otherwise (`a/b` and `a:b`, or `A` and `a` where
// a file system takes those for one) bears a number from the second on.
std::vector<std::string> file_names(const std::vector<OutputTensor>& outputs) {
  constexpr std::size_t kLongest = 200;  // file systems allow 255
  std::vector<std::string> names;
  std::set<std::string> taken;
  for (const OutputTensor& output : outputs) {
    std::string plain;
    for (const char c : output.name.substr(0, kLongest)) {
      const bool is_plain =
          std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.';
      plain += is_plain ? c : '_';
    }
    if (plain.empty() || plain[0] == '.') plain = "_" + plain;
    std::string name = plain;
    for (int number = 2; !taken.insert(lower_case(name)).second; ++number) {
      name = fmt::format("{}-{}", plain, number);
    }
    names.push_back(name + ".npy");
  }
  return names;
}

// 0..1 as other runtimes take it, to the engine's bytes. What is no multiple of 1/255 is rounded.
Image from_planes(std::span<const float> planes, std::size_t pixels, bool& rounded) {
  Image image(3 * pixels);
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t p = 0; p < pixels; ++p) {
      const float scaled = planes[c * pixels + p] * 255.0F;
      const float whole = std::clamp(std::round(scaled), 0.0F, 255.0F);
      rounded = rounded || !(std::abs(scaled - whole) < 0.01F);
      image[3 * p + c] = static_cast<std::byte>(static_cast<std::uint8_t>(whole));
    }
  }
  return image;
}

class InputReader {
 public:
  InputReader(const engine::EngineInfo& info, std::uint64_t max_pixels)
      : info_(info),
        max_pixels_(max_pixels),
        height_(info.input.dims[0]),
        width_(info.input.dims[1]),
        pixels_(static_cast<std::size_t>(height_ * width_)) {}

  Result<> add(const std::string& file) {
    const std::string extension = extension_of(file);
    if (extension == ".npy") return add_array(file);
    if (extension == ".bin" || extension == ".raw") return add_raw(file);
    FOVEA_ASSIGN(const Picture picture, read_picture(file, max_pixels_));
    FOVEA_ASSIGN(auto letterbox, letterbox_for(info_));
    Image image(3 * pixels_);
    if (auto done = letterbox.run(view_of(picture), image); !done) {
      return fail(done.error().with_context(file));
    }
    images_.push_back(std::move(image));
    return {};
  }
  std::vector<Image> finish() {
    if (rounded_) note("warning: --load-inputs: values that are no multiple of 1/255 are rounded");
    return std::move(images_);
  }

 private:
  tl::unexpected<Error> refused(const std::string& file, const std::string& what) const {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: {}; it must be u8 [{}, {}, 3] RGB, f32 [3, {}, {}] RGB of 0..1, or "
                    "a number of either",
                    file, what, height_, width_, height_, width_));
  }
  Result<> add_array(const std::string& file) {
    FOVEA_ASSIGN(const NpyArray array, read_npy(file));
    engine::Dims dims = array.dims;
    std::size_t count = 1;
    if (dims.size() == 4) {
      count = static_cast<std::size_t>(dims[0]);
      dims.erase(dims.begin());
    }
    const bool bytes = array.dtype.ends_with("u1");
    const engine::Dims wanted =
        bytes ? engine::Dims{height_, width_, 3} : engine::Dims{3, height_, width_};
    if (dims != wanted || count == 0) {
      return refused(file,
                     fmt::format("it holds {} {}", array.dtype, engine::to_string(array.dims)));
    }
    if (bytes) {
      add_bytes(array.bytes);
      return {};
    }
    return add_planes(file, as_floats(array));
  }
  Result<> add_raw(const std::string& file) {
    FOVEA_ASSIGN(const auto bytes, read_file(file));
    const std::size_t image = 3 * pixels_;
    if (!bytes.empty() && bytes.size() % (image * sizeof(float)) == 0) {
      std::vector<float> values(bytes.size() / sizeof(float));
      std::memcpy(values.data(), bytes.data(), bytes.size());
      // Four images of bytes have the size of one of floats, and make odd numbers as such.
      const bool plausible = std::all_of(values.begin(), values.end(), in_unit);
      if (plausible) return add_planes(file, values);
    }
    if (bytes.empty() || bytes.size() % image != 0) {
      return refused(file, fmt::format("it has {} bytes", bytes.size()));
    }
    add_bytes(bytes);
    return {};
  }
  void add_bytes(std::span<const std::byte> bytes) {
    const std::size_t image = 3 * pixels_;
    for (std::size_t i = 0; i < bytes.size(); i += image) {
      images_.emplace_back(bytes.begin() + static_cast<std::ptrdiff_t>(i),
                           bytes.begin() + static_cast<std::ptrdiff_t>(i + image));
    }
  }
  Result<> add_planes(const std::string& file, std::span<const float> values) {
    const auto beyond = std::find_if_not(values.begin(), values.end(), in_unit);
    if (beyond != values.end()) return refused(file, fmt::format("it holds {}", *beyond));
    for (std::size_t i = 0; i < values.size(); i += 3 * pixels_) {
      images_.push_back(from_planes(values.subspan(i, 3 * pixels_), pixels_, rounded_));
    }
    return {};
  }
  static bool in_unit(float value) { return value > -1e-3F && value < 1 + 1e-3F; }

  const engine::EngineInfo& info_;
  std::uint64_t max_pixels_;
  std::int64_t height_;
  std::int64_t width_;
  std::size_t pixels_;
  std::vector<Image> images_;
  bool rounded_ = false;
};

}  // namespace

Difference difference(std::span<const float> a, std::span<const float> b) {
  double ab = 0;
  double aa = 0;
  double bb = 0;
  double sum = 0;
  Difference result;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = static_cast<double>(a[i]);
    const double y = static_cast<double>(b[i]);
    ab += x * y;
    aa += x * x;
    bb += y * y;
    const double apart = std::abs(x - y);
    sum += apart;
    if (!(apart <= result.largest)) result.largest = apart;
  }
  result.mean = a.empty() ? 0 : sum / static_cast<double>(a.size());
  if (std::isnan(sum)) result.largest = sum;
  const bool comparable = aa > 0 && bb > 0;
  result.cosine = std::isnan(aa + bb) ? std::nan("")
                  : comparable        ? ab / std::sqrt(aa * bb)
                                      : (aa == bb ? 1 : 0);
  return result;
}

void TensorOptions::declare(CLI::App& app) {
  add_option(app, "--load-inputs", inputs,
             "What the network sees, one file or several: .npy or .bin with u8 [height, width, "
             "3] RGB or f32 [3, height, width] of 0..1, or pictures");
  add_option(app, "--save-outputs,--dump", outputs,
             "Write every output as FOLDER/<output>.npy, f32 with the inputs as first axis; a "
             "network with one output also into FILE.npy. --dump is the same");
}

bool TensorOptions::one_file() const { return extension_of(outputs) == ".npy"; }

Result<> TensorOptions::check() const {
  for (const std::string& file : inputs) {
    if (auto readable = check_readable(file); !readable) {
      return fail(readable.error().with_context("--load-inputs"));
    }
  }
  if (outputs.empty()) return {};
  fs::path tried = outputs;
  if (!one_file()) {
    std::error_code error;
    fs::create_directories(outputs, error);
    tried /= "output0.npy";
  }
  if (auto writable = check_writable(tried); !writable) {
    return fail(writable.error().with_context("--save-outputs"));
  }
  return {};
}

Result<std::vector<Image>> TensorOptions::load(const engine::EngineInfo& info,
                                               std::uint64_t max_pixels) const {
  InputReader reader(info, max_pixels);
  for (const std::string& file : inputs) FOVEA_TRY(reader.add(file));
  return reader.finish();
}

Result<> TensorOptions::save(const std::vector<OutputTensor>& tensors) const {
  if (outputs.empty()) return {};
  if (one_file() && tensors.size() != 1) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("--save-outputs {} is one file; the engine has {} outputs: name a folder",
                    outputs, tensors.size()));
  }
  const std::vector<std::string> names = file_names(tensors);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const OutputTensor& tensor = tensors[i];
    const std::int64_t each = engine::volume(tensor.dims);
    engine::Dims dims = tensor.dims;
    dims.insert(dims.begin(), static_cast<std::int64_t>(tensor.values.size()) / each);
    const fs::path file = one_file() ? fs::path(outputs) : fs::path(outputs) / names[i];
    FOVEA_TRY(write_npy(file, npy_of(tensor.values, std::move(dims))));
  }
  return {};
}

Result<std::vector<OutputTensor>> run_images(const engine::Engine& engine,
                                             const std::vector<Image>& images) {
  const engine::EngineInfo& info = engine.info();
  FOVEA_ASSIGN(const auto context, engine.create_execution_context());
  FOVEA_ASSIGN(const engine::Bindings bindings, engine.make_bindings());
  std::vector<OutputTensor> tensors;
  for (const engine::TensorSpec& output : info.outputs) {
    if (output.dtype != engine::DataType::kFloat32) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("output '{}' is {}; only float32 is compared and saved",
                              shown(output.name, 60), engine::to_string(output.dtype)));
    }
    tensors.push_back({output.name, output.dims, {}});
  }
  for (const Image& image : images) {
    if (interrupted) return fail(ErrorCode::kUnavailable, "interrupted");
    std::memcpy(bindings.input().data(), image.data(), image.size());
    FOVEA_TRY(context->execute(bindings.batch()));
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const auto bytes = bindings.output(i);
      const auto* values = reinterpret_cast<const float*>(bytes.data());
      tensors[i].values.insert(tensors[i].values.end(), values,
                               values + bytes.size() / sizeof(float));
    }
  }
  return tensors;
}

Result<std::vector<OutputTensor>> read_outputs(const std::string& path,
                                               const std::vector<OutputTensor>& like) {
  std::error_code error;
  const bool folder = fs::is_directory(path, error);
  if (!folder && like.size() != 1) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("--against {} is one file; the engine has {} outputs: name a folder with "
                    "one .npy for each",
                    path, like.size()));
  }
  const std::vector<std::string> names = file_names(like);
  std::vector<OutputTensor> tensors;
  for (std::size_t i = 0; i < like.size(); ++i) {
    const OutputTensor& wanted = like[i];
    const fs::path file = folder ? fs::path(path) / names[i] : fs::path(path);
    FOVEA_ASSIGN(const NpyArray array, read_npy(file));
    const std::int64_t each = engine::volume(wanted.dims);
    engine::Dims stacked = wanted.dims;
    stacked.insert(stacked.begin(), static_cast<std::int64_t>(wanted.values.size()) / each);
    const bool single = array.dims == wanted.dims && stacked[0] == 1;
    if (array.dims != stacked && !single) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: it holds {}; output '{}' of the engine is {}", file.string(),
                              engine::to_string(array.dims), shown(wanted.name, 60),
                              engine::to_string(stacked)));
    }
    tensors.push_back({wanted.name, wanted.dims, as_floats(array)});
  }
  return tensors;
}

}  // namespace fovea::engine_cli
