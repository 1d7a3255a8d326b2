// Opens the library that reads picture files (picture_module.cpp) when the first one is read.
#include <filesystem>
#include <string>

#include <dlfcn.h>

#include "nodes/detector/tool/engine_cli.hpp"
#include "nodes/detector/tool/options.hpp"

namespace fovea::engine_cli {

namespace {

using Reader = void (*)(const std::string& path, std::uint64_t max_pixels,
                        Result<Picture>& picture);

// From bin/ to lib/, built or installed. It stays open: libraries below it do not survive closing.
Result<Reader> open_reader() {
  std::error_code error;
  const auto folder = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  const std::string file = folder / "../lib/fovea/pictures.so";
  void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* symbol = library == nullptr ? nullptr : ::dlsym(library, "fovea_read_picture");
  if (symbol == nullptr) {
    const char* reason = ::dlerror();
    return fail(ErrorCode::kUnavailable,
                std::string("cannot read pictures: ") + (reason == nullptr ? file : reason));
  }
  return reinterpret_cast<Reader>(symbol);
}

}  // namespace

Result<Picture> read_picture(const std::string& path, std::uint64_t max_pixels) {
  static const Result<Reader> kReader = open_reader();
  if (!kReader) return fail(kReader.error());
  Result<Picture> picture;
  (*kReader)(path, max_pixels, picture);
  return picture;
}

void declare_max_pixels(CLI::App& app, std::uint64_t& max_pixels) {
  add_option(app, "--max-pixels", max_pixels,
             "Pictures with more pixels than this are refused before they are decoded")
      .range(std::uint64_t{1}, std::uint64_t{1} << 30)
      .shows_default();
}

}  // namespace fovea::engine_cli
