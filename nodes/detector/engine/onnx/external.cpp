// See external.hpp. The location comes from the file and may try to name any file of the
// machine.
#include "nodes/detector/engine/onnx/external.hpp"

#include <charconv>
#include <fstream>

#include <fmt/format.h>

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
      return fail(ErrorCode::kCorrupt,
                  fmt::format("external data: {} is '{}'; it must be a number", key, text));
    }
    (key == "offset" ? data.offset : data.length.emplace()) = value;
  }
  return data;
}

Result<std::vector<std::byte>> read_external_data(const ExternalData& data,
                                                  const fs::path& base_dir, std::size_t most) {
  const std::string what = fmt::format("external data '{}'", data.location);
  const auto corrupt = [&](std::string_view why) {
    return fail(ErrorCode::kCorrupt, fmt::format("{} {}", what, why));
  };
  if (base_dir.empty()) {
    return fail(ErrorCode::kUnsupported, what + " cannot be found for a model in memory");
  }
  const fs::path given(data.location);
  if (data.location.empty() || data.location.find('\0') != std::string::npos ||
      given.is_absolute()) {
    return corrupt("must be a path inside the model's folder");
  }
  std::error_code error;
  const fs::path base = fs::canonical(base_dir, error);
  if (error)
    return fail(ErrorCode::kNotFound,
                fmt::format("{}: {}: {}", what, base_dir.string(), error.message()));
  // Refuse a path that climbs before looking whether anything is there.
  if (*given.lexically_normal().begin() == "..") return corrupt("lies outside the model's folder");
  const fs::path file = fs::canonical(base / given, error);
  if (error) return fail(ErrorCode::kNotFound, fmt::format("{}: {}", what, error.message()));
  const fs::path relative = file.lexically_relative(base);
  if (relative.empty() || *relative.begin() == "..")
    return corrupt("lies outside the model's folder");
  if (!fs::is_regular_file(file, error)) return corrupt("is no regular file");
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
