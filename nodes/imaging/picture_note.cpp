#include "nodes/imaging/picture_note.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include <zlib.h>

#include "nodes/imaging/picture_header.hpp"

namespace fovea::imaging {

namespace {

using namespace std::string_view_literals;

constexpr std::string_view kJpeg = "\xff\xd8\xff\xe0"sv;  // and the JFIF header begins
constexpr std::string_view kPng = "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"sv;
constexpr std::size_t kPngHeader = 8 + 12 + 13;  // signature; length, name and checksum; IHDR

std::string big_endian(std::uint32_t number, int bytes) {
  std::string text;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    text += static_cast<char>((number >> shift) & 0xff);
  }
  return text;
}

struct Note {
  std::size_t at = 0;
  std::string bytes;
};

// What stands, or would stand, where; nullopt for files of others.
std::optional<Note> note_for(std::span<const std::byte> file, std::string_view note) {
  const Bytes bytes(file);
  if (bytes.starts(0, kJpeg)) {
    const auto size = static_cast<std::uint32_t>(note.size() + 2);
    return Note{4 + std::size_t{bytes.u16(4)},
                "\xff\xfe" + big_endian(size, 2) + std::string(note)};
  }
  if (bytes.starts(0, kPng)) {
    const std::string body = "tEXtSoftware" + std::string(1, '\0') + std::string(note);
    const auto checksum = static_cast<std::uint32_t>(
        ::crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size())));
    const auto size = static_cast<std::uint32_t>(body.size() - 4);  // without the name
    return Note{kPngHeader, big_endian(size, 4) + body + big_endian(checksum, 4)};
  }
  return std::nullopt;
}

}  // namespace

void add_note(std::vector<std::byte>& file, std::string_view note) {
  const auto found = note_for(file, note);
  if (!found || found->at > file.size()) return;
  const auto* first = reinterpret_cast<const std::byte*>(found->bytes.data());
  file.insert(file.begin() + static_cast<std::ptrdiff_t>(found->at), first,
              first + found->bytes.size());
}

bool has_note(std::span<const std::byte> file, std::string_view note) {
  const auto found = note_for(file, note);
  return found && Bytes(file).starts(found->at, found->bytes);
}

}  // namespace fovea::imaging
