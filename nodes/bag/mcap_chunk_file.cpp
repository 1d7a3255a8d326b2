#include "nodes/bag/mcap_chunk_file.hpp"

#include <cerrno>
#include <string>

#include <fmt/core.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "nodes/base/text.hpp"

namespace fovea::mcap {
namespace {

// What zstd packs best, a block of 128 KiB of one byte, takes 4 bytes.
constexpr std::uint64_t kMostPacked = 32768;

tl::unexpected<Error> damaged(std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("is damaged: {}", what));
}

}  // namespace

bool next_record(RecordReader& bytes, Record& record) {
  if (bytes.at_end()) return false;
  record.opcode = static_cast<Opcode>(bytes.get<std::uint8_t>());
  record.content = bytes.take(bytes.get<std::uint64_t>());
  return bytes.ok();
}

bool ChunkFile::read_at(std::uint64_t offset, std::uint64_t size,
                        std::vector<std::byte>& out) const {
  if (offset > size_ || size > size_ - offset) return false;
  out.resize(static_cast<std::size_t>(size));
  for (std::size_t done = 0; done < out.size();) {
    const ssize_t n =
        pread(file_.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<std::size_t>(n);
  }
  return true;
}

std::uint64_t ChunkFile::record_bytes(std::uint64_t at) const {
  std::vector<std::byte> header;
  if (!read_at(at, kRecordHeaderBytes, header)) return 0;
  RecordReader in(header);
  in.get<std::uint8_t>();
  const auto length = in.get<std::uint64_t>();
  return length > size_ - at - kRecordHeaderBytes ? 0 : kRecordHeaderBytes + length;
}

Result<std::span<const std::byte>> ChunkFile::unpack(std::uint64_t at) {
  if (at == unpacked_at_) return std::span<const std::byte>(unpacked_);
  unpacked_at_ = 0;
  std::vector<std::byte> header;
  if (!read_at(at, kRecordHeaderBytes, header)) return damaged("the file ends before it");
  RecordReader head(header);
  const auto opcode = static_cast<Opcode>(head.get<std::uint8_t>());
  const auto length = head.get<std::uint64_t>();
  if (opcode != Opcode::kChunk) return damaged("no chunk starts there");
  if (length > kMaxChunkBytes || !read_at(at + kRecordHeaderBytes, length, packed_)) {
    return damaged(fmt::format("its length is {}", length));
  }
  RecordReader in(packed_);
  in.get<std::int64_t>();
  in.get<std::int64_t>();
  const auto size = in.get<std::uint64_t>();
  const auto crc = in.get<std::uint32_t>();
  const std::string compression = in.get_string();
  const auto records = in.take(in.get<std::uint64_t>());
  if (!in.ok() || size > kMaxChunkBytes || size / kMostPacked > records.size()) {
    return damaged(fmt::format("its size is {}", size));
  }
  if (compression == kZstdCompression) {
    const auto announced = ZSTD_getFrameContentSize(records.data(), records.size());
    if (announced != ZSTD_CONTENTSIZE_UNKNOWN && announced != size) {
      return damaged(fmt::format("its size is {}, but not by its compression", size));
    }
    unpacked_.resize(static_cast<std::size_t>(size));
    const std::size_t got =
        ZSTD_decompress(unpacked_.data(), unpacked_.size(), records.data(), records.size());
    if (ZSTD_isError(got)) return damaged(ZSTD_getErrorName(got));
    if (got != size) return damaged(fmt::format("it unpacks to {} of {} bytes", got, size));
  } else if (compression == kNoCompression) {
    unpacked_.assign(records.begin(), records.end());
  } else {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("is compressed with '{}'; it must be zstd or none", shown(compression, 20)));
  }
  if (crc != 0 &&
      crc32_z(0, reinterpret_cast<const Bytef*>(unpacked_.data()), unpacked_.size()) != crc) {
    return damaged("its checksum differs");
  }
  unpacked_at_ = at;
  return std::span<const std::byte>(unpacked_);
}

}  // namespace fovea::mcap
