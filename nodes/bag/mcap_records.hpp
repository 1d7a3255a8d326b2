// The MCAP format's record codes and its primitives (little endian, length-prefixed), shared by the
// writer and the reader. Internal to fovea::mcap.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::mcap {

inline constexpr std::array<unsigned char, 8> kMagic{0x89, 'M', 'C', 'A', 'P', '0', '\r', '\n'};

enum class Opcode : std::uint8_t {
  kHeader = 0x01,
  kFooter = 0x02,
  kSchema = 0x03,
  kChannel = 0x04,
  kMessage = 0x05,
  kChunk = 0x06,
  kMessageIndex = 0x07,
  kChunkIndex = 0x08,
  kStatistics = 0x0b,
  kMetadata = 0x0c,
  kMetadataIndex = 0x0d,
  kSummaryOffset = 0x0e,
  kDataEnd = 0x0f,
};

inline constexpr std::size_t kRecordHeaderBytes = 1 + 8;  // opcode, length of what follows
inline constexpr std::size_t kMessageHeaderBytes = 2 + 4 + 8 + 8;
inline constexpr std::size_t kFooterBytes = 8 + 8 + 4;

using StringMap = std::map<std::string, std::string>;

// Appends records to a buffer.
class RecordWriter {
 public:
  explicit RecordWriter(std::vector<std::byte>& out) : out_(out) {}

  // A record's content goes between begin() and end(begin()).
  std::size_t begin(Opcode opcode) {
    put(static_cast<std::uint8_t>(opcode));
    return reserve_length<std::uint64_t>();
  }
  void end(std::size_t begun) { fill_length<std::uint64_t>(begun); }

  template <std::integral T>
  void put(T value) {
    append({reinterpret_cast<const std::byte*>(&value), sizeof value});
  }
  void put(std::string_view text) {
    put(static_cast<std::uint32_t>(text.size()));
    append(std::as_bytes(std::span(text)));
  }
  void put(const StringMap& values) {
    const std::size_t begun = reserve_length<std::uint32_t>();
    for (const auto& [key, value] : values) {
      put(std::string_view(key));
      put(std::string_view(value));
    }
    fill_length<std::uint32_t>(begun);
  }
  template <std::integral K, std::integral V>
  void put(const std::map<K, V>& values) {
    put(static_cast<std::uint32_t>(values.size() * (sizeof(K) + sizeof(V))));
    for (const auto& [key, value] : values) {
      put(key);
      put(value);
    }
  }
  void append(std::span<const std::byte> bytes) {
    out_.insert(out_.end(), bytes.begin(), bytes.end());
  }

 private:
  template <class Length>
  std::size_t reserve_length() {
    put(Length{0});
    return out_.size();
  }
  template <class Length>
  void fill_length(std::size_t begun) {
    const auto length = static_cast<Length>(out_.size() - begun);
    std::memcpy(out_.data() + begun - sizeof length, &length, sizeof length);
  }

  std::vector<std::byte>& out_;
};

// Reads primitives from bytes that anybody may have written: the first failure sticks and
// everything after it is zero or empty.
class RecordReader {
 public:
  explicit RecordReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  bool at_end() const { return bytes_.empty(); }

  template <std::integral T>
  T get() {
    T value{};
    if (const auto bytes = take(sizeof value); !bytes.empty()) {
      std::memcpy(&value, bytes.data(), sizeof value);
    }
    return value;
  }
  std::string get_string() {
    const auto bytes = take(get<std::uint32_t>());
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  // The part that a length of type Length announces.
  template <std::integral Length>
  RecordReader get_part() {
    RecordReader part(take(get<Length>()));
    part.ok_ = ok_;
    return part;
  }
  StringMap get_map() {
    StringMap values;
    RecordReader part = get_part<std::uint32_t>();
    while (part.ok() && !part.at_end()) {
      std::string key = part.get_string();
      values[std::move(key)] = part.get_string();
    }
    ok_ = ok_ && part.ok();
    return values;
  }
  std::span<const std::byte> take(std::uint64_t size) {
    ok_ = ok_ && size <= bytes_.size();
    if (!ok_) return {};
    const auto taken = bytes_.first(static_cast<std::size_t>(size));
    bytes_ = bytes_.subspan(static_cast<std::size_t>(size));
    return taken;
  }
  std::span<const std::byte> rest() { return take(bytes_.size()); }

 private:
  std::span<const std::byte> bytes_;
  bool ok_ = true;
};

// "" and "zstd": how a chunk names its compression.
inline constexpr std::string_view kNoCompression = "";
inline constexpr std::string_view kZstdCompression = "zstd";

}  // namespace fovea::mcap
