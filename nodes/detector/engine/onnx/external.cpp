// The location comes from the file and may try to name any file of the
// machine.
#include "nodes/detector/engine/onnx/external.hpp"

#include <charconv>
#include <fstream>

#include <fmt/core.h>

#include "nodes/base/file_io.hpp"
#include "nodes/base/text.hpp"

namespace fovea::engine {

namespace fs = std::filesystem;

Result<ExternalData> parse_external_data(const std::map<std::string, std::string>& entries) {
  ExternalData data;
  for (const auto& [key, text] : entries) {
    if (key == "location") data.location = text;
    if (key != "offset" && key != "length") continue;
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
      return fail(ErrorCode::kCorrupt, fmt::format("external data: {} is '{}'; it must be a number",
                                                   key, shown(text, 40)));
    }
    (key == "offset" ? data.offset : data.length.emplace()) = value;
  }
  return data;
}

namespace {

std::string describe(const std::string& location) {
  return fmt::format("external data '{}'", shown(location, 100));
}

}  // namespace

Result<fs::path> find_external_data(const std::string& location, const fs::path& base_dir) {
  const std::string what = describe(location);
  const auto corrupt = [&](std::string_view why) {
    return fail(ErrorCode::kCorrupt, fmt::format("{} {}", what, why));
  };
  if (base_dir.empty()) {
    return fail(ErrorCode::kUnsupported, what + " cannot be found for a model in memory");
  }
  const fs::path given(location);
  if (location.empty() || location.find('\0') != std::string::npos || given.is_absolute()) {
    return corrupt("must be a path inside the model's folder");
  }
  std::error_code error;
  const fs::path base = fs::canonical(base_dir, error);
  if (error) {
    return fail(ErrorCode::kNotFound,
                fmt::format("{}: {}: {}", what, base_dir.string(), error.message()));
  }
  // Refuse a path that climbs before looking whether anything is there.
  if (*given.lexically_normal().begin() == "..") return corrupt("lies outside the model's folder");
  const fs::path file = fs::canonical(base / given, error);
  if (error) {
    return fail(ErrorCode::kNotFound, fmt::format("{}: {}; it must lie beside the model, in {}",
                                                  what, error.message(), base.string()));
  }
  const fs::path relative = file.lexically_relative(base);
  if (relative.empty() || *relative.begin() == "..")
    return corrupt("lies outside the model's folder");
  if (auto readable = check_readable(file); !readable) {
    return fail(readable.error().with_context(what));
  }
  return file;
}

Result<std::vector<std::byte>> read_external_data(const ExternalData& data,
                                                  const fs::path& base_dir, std::size_t most) {
  const auto corrupt = [&](std::string_view why) {
    return fail(ErrorCode::kCorrupt, fmt::format("{} {}", describe(data.location), why));
  };
  FOVEA_ASSIGN(const fs::path file, find_external_data(data.location, base_dir));
  std::error_code error;
  const std::uintmax_t size = fs::file_size(file, error);
  if (error || data.offset > size || (data.length && *data.length > size - data.offset)) {
    return corrupt(fmt::format("has {} bytes; offset {} and length {} lie outside", size,
                               data.offset, data.length.value_or(0)));
  }
  const std::uint64_t count = data.length.value_or(size - data.offset);
  if (count > most)
    return corrupt(fmt::format("gives {} bytes; the tensor has {} at most", count, most));
  std::vector<std::byte> bytes(static_cast<std::size_t>(count));
  std::ifstream stream(file, std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(data.offset));
  stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!stream) return corrupt("cannot be read");
  return bytes;
}

}  // namespace fovea::engine
