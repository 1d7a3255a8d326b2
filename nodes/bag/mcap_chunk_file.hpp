// A recording's bytes, and its chunks unpacked and verified: the reader's lower half. Any bytes are
// safe. Internal to fovea::mcap. Thread safety: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "nodes/bag/mcap_records.hpp"
#include "nodes/base/file_handle.hpp"
#include "nodes/base/result.hpp"

namespace fovea::mcap {

// A chunk that says it is larger unpacked is taken for damage, not for a reason to allocate.
inline constexpr std::uint64_t kMaxChunkBytes = std::uint64_t{1} << 30;

struct Record {
  Opcode opcode{};
  std::span<const std::byte> content;
};

// One record off the front of `bytes`; false at the end or when it is cut short.
bool next_record(RecordReader& bytes, Record& record);

class ChunkFile {
 public:
  ChunkFile(FileHandle file, std::uint64_t size) : file_(std::move(file)), size_(size) {}

  // False beyond the file's end.
  bool read_at(std::uint64_t offset, std::uint64_t size, std::vector<std::byte>& out) const;
  // Of the whole record that starts at `at`; 0 if the file ends before its end.
  std::uint64_t record_bytes(std::uint64_t at) const;

  // The records of the chunk whose record starts at `at`; valid until the next call. An error's
  // message begins with a verb, "is damaged: its checksum differs". Errors: kCorrupt; kUnsupported
  // for a compression that is none of ours.
  Result<std::span<const std::byte>> unpack(std::uint64_t at);
  // Where the chunk starts that unpack() returned last; 0 if it failed.
  std::uint64_t unpacked_chunk() const { return unpacked_at_; }

 private:
  FileHandle file_;
  std::uint64_t size_;
  std::vector<std::byte> packed_, unpacked_;
  std::uint64_t unpacked_at_ = 0;
};

}  // namespace fovea::mcap
