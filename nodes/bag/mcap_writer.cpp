// Writing of mcap.hpp: messages collect in a chunk, a full chunk is compressed and appended, and
// close() appends the index.
#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include <fmt/core.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "nodes/bag/mcap.hpp"
#include "nodes/bag/mcap_records.hpp"
#include "nodes/base/file_io.hpp"

namespace fovea::mcap {
namespace {

std::uint32_t crc_of(std::span<const std::byte> bytes, std::uint32_t crc = 0) {
  return static_cast<std::uint32_t>(
      crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

class FileWriter final : public Writer {
 public:
  FileWriter(FileHandle file, std::string path, const WriterOptions& options)
      : fd_(file.release()), path_(std::move(path)), options_(options) {
    chunk_.reserve(options_.chunk_bytes + options_.chunk_bytes / 4);
    RecordWriter record(pending_);
    record.append(std::as_bytes(std::span(kMagic)));
    const std::size_t header = record.begin(Opcode::kHeader);
    record.put(std::string_view("ros2"));
    record.put(std::string_view("fovea"));
    record.end(header);
  }

  ~FileWriter() override {
    if (fd_ >= 0) static_cast<void>(close());
  }

  std::uint16_t add_schema(std::string_view name, std::string_view encoding,
                           std::string_view data) override {
    const auto id = static_cast<std::uint16_t>(++schemas_);
    RecordWriter record(definitions_);
    const std::size_t begun = record.begin(Opcode::kSchema);
    record.put(id);
    record.put(name);
    record.put(encoding);
    record.put(data);
    record.end(begun);
    return id;
  }

  std::uint16_t add_channel(std::string_view topic, std::uint16_t schema_id,
                            std::string_view message_encoding, const StringMap& metadata) override {
    const auto id = static_cast<std::uint16_t>(++channels_);
    RecordWriter record(definitions_);
    const std::size_t begun = record.begin(Opcode::kChannel);
    record.put(id);
    record.put(schema_id);
    record.put(topic);
    record.put(message_encoding);
    record.put(metadata);
    record.end(begun);
    return id;
  }

  Result<> write(std::uint16_t channel, std::uint32_t sequence, std::int64_t log_time,
                 std::int64_t publish_time, std::span<const std::byte> data) override {
    if (chunk_.empty()) {
      chunk_start_ = chunk_end_ = log_time;
    } else {
      chunk_start_ = std::min(chunk_start_, log_time);
      chunk_end_ = std::max(chunk_end_, log_time);
    }
    chunk_index_[channel].emplace_back(log_time, chunk_.size());
    RecordWriter record(chunk_);
    record.put(static_cast<std::uint8_t>(Opcode::kMessage));
    record.put(static_cast<std::uint64_t>(kMessageHeaderBytes + data.size()));
    record.put(channel);
    record.put(sequence);
    record.put(log_time);
    record.put(publish_time);
    record.append(data);
    return chunk_.size() >= options_.chunk_bytes ? finish_chunk() : Result<>{};
  }

  Result<> flush() override { return finish_chunk(); }

  Result<> write_metadata(std::string_view name, const StringMap& values) override {
    FOVEA_TRY(finish_chunk());
    metadata_.push_back({written_ + pending_.size(), 0, std::string(name)});
    const std::size_t before = pending_.size();
    RecordWriter record(pending_);
    const std::size_t begun = record.begin(Opcode::kMetadata);
    record.put(name);
    record.put(values);
    record.end(begun);
    metadata_.back().length = pending_.size() - before;
    return write_pending();
  }

  Result<> close() override {
    Result<> result = finish();
    if (fd_ >= 0 && ::close(std::exchange(fd_, -1)) != 0 && result) {
      result = fail_errno(ErrorCode::kInternal, "close " + path_);
    }
    return result;
  }

  std::uint64_t messages(std::uint16_t channel) const override {
    const auto found = count_by_channel_.find(channel);
    return found == count_by_channel_.end() ? 0 : found->second;
  }

  std::uint64_t bytes() const override {
    return written_ + pending_.size() + definitions_.size() + chunk_.size();
  }

 private:
  struct ChunkIndex {
    std::int64_t start, end;
    std::uint64_t offset, length;
    std::map<std::uint16_t, std::uint64_t> message_index_offsets;
    std::uint64_t message_index_length, compressed_size, uncompressed_size;
  };
  struct MetadataIndex {
    std::uint64_t offset, length;
    std::string name;
  };

  std::string_view compression() const {
    return options_.compression == Compression::kZstd ? kZstdCompression : kNoCompression;
  }

  // Moves definitions that messages of the next chunk may need in front of it.
  void place_definitions() {
    RecordWriter(pending_).append(std::span(definitions_).subspan(definitions_placed_));
    definitions_placed_ = definitions_.size();
  }

  // A chunk that does not fit the disk is taken back whole, so that the file stays readable to its
  // end.
  Result<> finish_chunk() {
    place_definitions();
    if (chunk_.empty()) return write_pending();
    FOVEA_TRY(write_pending());
    const std::uint64_t before = written_;
    Result<> result = append_chunk();
    chunk_.clear();
    if (!result) {
      for (auto& [channel, entries] : chunk_index_) entries.clear();
      take_back(before);
    }
    return result;
  }

  void take_back(std::uint64_t size) {
    pending_.clear();
    if (ftruncate(fd_, static_cast<off_t>(size)) == 0 &&
        lseek(fd_, static_cast<off_t>(size), SEEK_SET) >= 0) {
      written_ = size;
    }
  }

  Result<> append_chunk() {
    std::span<const std::byte> records = chunk_;
    if (options_.compression == Compression::kZstd) {
      compressed_.resize(ZSTD_compressBound(chunk_.size()));
      const std::size_t size =
          ZSTD_compressCCtx(zstd_.get(), compressed_.data(), compressed_.size(), chunk_.data(),
                            chunk_.size(), options_.zstd_level);
      if (ZSTD_isError(size)) {
        return fail(ErrorCode::kInternal, fmt::format("zstd: {}", ZSTD_getErrorName(size)));
      }
      records = std::span(compressed_).first(size);
    }
    ChunkIndex index{chunk_start_, chunk_end_, written_, 0, {}, 0, records.size(), chunk_.size()};
    RecordWriter record(pending_);
    record.put(static_cast<std::uint8_t>(Opcode::kChunk));
    record.put(
        static_cast<std::uint64_t>(8 + 8 + 8 + 4 + 4 + compression().size() + 8 + records.size()));
    record.put(chunk_start_);
    record.put(chunk_end_);
    record.put(static_cast<std::uint64_t>(chunk_.size()));
    record.put(crc_of(chunk_));
    record.put(compression());
    record.put(static_cast<std::uint64_t>(records.size()));
    FOVEA_TRY(write_pending());
    FOVEA_TRY(append_to_file(records));
    index.length = written_ - index.offset;
    const std::uint64_t index_start = written_;
    for (const auto& [channel, entries] : chunk_index_) {
      if (entries.empty()) continue;
      index.message_index_offsets[channel] = index_start + pending_.size();
      const std::size_t begun = record.begin(Opcode::kMessageIndex);
      record.put(channel);
      record.put(static_cast<std::uint32_t>(entries.size() * 16));
      for (const auto& [time, offset] : entries) {
        record.put(time);
        record.put(offset);
      }
      record.end(begun);
    }
    index.message_index_length = pending_.size();
    FOVEA_TRY(write_pending());
    for (auto& [channel, entries] : chunk_index_) {
      if (entries.empty()) continue;
      count_by_channel_[channel] += entries.size();
      count_ += entries.size();
      entries.clear();
    }
    start_ = chunks_.empty() ? chunk_start_ : std::min(start_, chunk_start_);
    end_ = chunks_.empty() ? chunk_end_ : std::max(end_, chunk_end_);
    chunks_.push_back(std::move(index));
    return {};
  }

  Result<> finish() {
    if (fd_ < 0) return {};
    FOVEA_TRY(finish_chunk());
    const std::uint64_t before = written_;
    const Result<> result = append_index();
    if (!result) take_back(before);
    return result;
  }

  Result<> append_index() {
    RecordWriter record(pending_);
    const std::size_t data_end = record.begin(Opcode::kDataEnd);
    record.put(std::uint32_t{0});  // no checksum over all: every chunk has its own
    record.end(data_end);
    FOVEA_TRY(write_pending());
    write_summary(record);
    FOVEA_TRY(write_pending());
    if (fsync(fd_) != 0) return fail_errno(ErrorCode::kInternal, "fsync " + path_);
    return {};
  }

  // REQUIRES: nothing is pending.
  void write_summary(RecordWriter& record) {
    const std::uint64_t summary_start = written_;
    struct Group {
      Opcode opcode;
      std::uint64_t start, length;
    };
    std::vector<Group> groups;
    const auto group = [&](Opcode opcode, auto write_group) {
      const std::size_t before = pending_.size();
      write_group();
      if (pending_.size() > before) {
        groups.push_back({opcode, summary_start + before, pending_.size() - before});
      }
    };
    // Schemas and channels lie mixed: repeat them kind by kind.
    for (const Opcode wanted : {Opcode::kSchema, Opcode::kChannel}) {
      group(wanted, [&] {
        RecordReader all(definitions_);
        while (!all.at_end()) {
          const auto opcode = static_cast<Opcode>(all.get<std::uint8_t>());
          const auto content = all.take(all.get<std::uint64_t>());
          if (opcode != wanted) continue;
          const std::size_t begun = record.begin(opcode);
          record.append(content);
          record.end(begun);
        }
      });
    }
    group(Opcode::kChunkIndex, [&] {
      for (const ChunkIndex& chunk : chunks_) write_chunk_index(record, chunk);
    });
    group(Opcode::kMetadataIndex, [&] {
      for (const MetadataIndex& metadata : metadata_) {
        const std::size_t begun = record.begin(Opcode::kMetadataIndex);
        record.put(metadata.offset);
        record.put(metadata.length);
        record.put(std::string_view(metadata.name));
        record.end(begun);
      }
    });
    group(Opcode::kStatistics, [&] { write_statistics(record); });
    const std::uint64_t summary_offset_start = summary_start + pending_.size();
    for (const Group& g : groups) {
      const std::size_t begun = record.begin(Opcode::kSummaryOffset);
      record.put(static_cast<std::uint8_t>(g.opcode));
      record.put(g.start);
      record.put(g.length);
      record.end(begun);
    }
    record.put(static_cast<std::uint8_t>(Opcode::kFooter));
    record.put(static_cast<std::uint64_t>(kFooterBytes));
    record.put(summary_start);
    record.put(summary_offset_start);
    record.put(crc_of(pending_));
    record.append(std::as_bytes(std::span(kMagic)));
  }

  void write_chunk_index(RecordWriter& record, const ChunkIndex& chunk) {
    const std::size_t begun = record.begin(Opcode::kChunkIndex);
    record.put(chunk.start);
    record.put(chunk.end);
    record.put(chunk.offset);
    record.put(chunk.length);
    record.put(chunk.message_index_offsets);
    record.put(chunk.message_index_length);
    record.put(compression());
    record.put(chunk.compressed_size);
    record.put(chunk.uncompressed_size);
    record.end(begun);
  }

  void write_statistics(RecordWriter& record) {
    const std::size_t begun = record.begin(Opcode::kStatistics);
    record.put(count_);
    record.put(static_cast<std::uint16_t>(schemas_));
    record.put(static_cast<std::uint32_t>(channels_));
    record.put(std::uint32_t{0});  // attachments
    record.put(static_cast<std::uint32_t>(metadata_.size()));
    record.put(static_cast<std::uint32_t>(chunks_.size()));
    record.put(start_);
    record.put(end_);
    record.put(count_by_channel_);
    record.end(begun);
  }

  Result<> write_pending() {
    const Result<> result = append_to_file(pending_);
    pending_.clear();
    return result;
  }

  Result<> append_to_file(std::span<const std::byte> bytes) {
    if (fd_ < 0) return fail(ErrorCode::kInternal, path_ + ": is closed");
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        const bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
        return fail_errno(full ? ErrorCode::kExhausted : ErrorCode::kInternal, "write " + path_);
      }
      written_ += static_cast<std::uint64_t>(n);
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
    return {};
  }

  struct FreeZstd {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };

  int fd_;
  std::string path_;
  WriterOptions options_;
  std::unique_ptr<ZSTD_CCtx, FreeZstd> zstd_{ZSTD_createCCtx()};
  std::uint64_t written_ = 0;
  std::vector<std::byte> pending_;      // records that go to the file next
  std::vector<std::byte> definitions_;  // all schemas and channels
  std::size_t definitions_placed_ = 0;
  std::vector<std::byte> chunk_, compressed_;
  std::map<std::uint16_t, std::vector<std::pair<std::int64_t, std::uint64_t>>> chunk_index_;
  std::int64_t chunk_start_ = 0, chunk_end_ = 0;
  std::vector<ChunkIndex> chunks_;
  std::vector<MetadataIndex> metadata_;
  std::size_t schemas_ = 0, channels_ = 0;
  std::uint64_t count_ = 0;
  std::map<std::uint16_t, std::uint64_t> count_by_channel_;
  std::int64_t start_ = 0, end_ = 0;
};

}  // namespace

Result<std::unique_ptr<Writer>> Writer::create(const std::string& path,
                                               const WriterOptions& options) {
  FOVEA_ASSIGN(FileHandle file,
               create_file(path, options.overwrite ? IfExists::kReplace : IfExists::kRefuse));
  auto writer = std::make_unique<FileWriter>(std::move(file), path, options);
  if (const Result<> begun = writer->flush(); !begun) {
    std::error_code ignored;  // an empty file would stand in the way of the next attempt
    std::filesystem::remove(std::filesystem::canonical(path, ignored), ignored);
    return fail(begun.error());
  }
  return writer;
}

}  // namespace fovea::mcap
