// Reading of mcap.hpp. Opening makes one table of all messages, from the file's index or, when it
// has none, from its chunks; reading walks that table in order of time and unpacks chunks as they
// come.
#include <algorithm>
#include <cerrno>
#include <limits>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "nodes/bag/mcap.hpp"
#include "nodes/bag/mcap_records.hpp"

namespace fovea::mcap {
namespace {

// A chunk that says it is larger unpacked is taken for damage, not for a reason to allocate.
constexpr std::uint64_t kMaxChunkBytes = std::uint64_t{1} << 30;
constexpr std::uint64_t kMaxSummaryBytes = std::uint64_t{1} << 30;
// What zstd packs best, a block of 128 KiB of one byte, takes 4 bytes.
constexpr std::uint64_t kMostPacked = 32768;

struct Entry {
  std::int64_t log_time = 0;
  std::uint64_t chunk = 0;   // where the chunk's record starts in the file; 0 = not in a chunk
  std::uint64_t offset = 0;  // of the message record in the unpacked chunk, or in the file
  std::uint16_t channel = 0;
};

struct Record {
  Opcode opcode{};
  std::span<const std::byte> content;
};

// One record off the front of `bytes`; false at the end or when it is cut short.
bool next_record(RecordReader& bytes, Record& record) {
  if (bytes.at_end()) return false;
  record.opcode = static_cast<Opcode>(bytes.get<std::uint8_t>());
  record.content = bytes.take(bytes.get<std::uint64_t>());
  return bytes.ok();
}

class FileReader final : public Reader {
 public:
  FileReader(int fd, std::string path, std::uint64_t size) : fd_(fd), path_(std::move(path)) {
    summary_.file_bytes = size;
  }
  ~FileReader() override { ::close(fd_); }

  Result<> load() {
    std::vector<std::byte> magic;
    if (!read_at(0, kMagic.size(), magic) || !is_magic(magic)) {
      return fail(ErrorCode::kCorrupt, path_ +
                                           ": is no MCAP file: it must begin with the bytes "
                                           "89 4d 43 41 50 30 0d 0a");
    }
    if (!load_index()) {
      forget();
      FOVEA_TRY(scan_file());
    }
    std::stable_sort(entries_.begin(), entries_.end(),
                     [](const Entry& a, const Entry& b) { return a.log_time < b.log_time; });
    summary_.messages = entries_.size();
    if (!entries_.empty()) {
      summary_.start_time = entries_.front().log_time;
      summary_.end_time = entries_.back().log_time;
    }
    for (const Entry& entry : entries_) ++summary_.messages_by_channel[entry.channel];
    seek(std::numeric_limits<std::int64_t>::min());
    return {};
  }

  const std::vector<Channel>& channels() const override { return channels_; }
  const Schema* find_schema(std::uint16_t id) const override {
    const auto found = schemas_.find(id);
    return found == schemas_.end() ? nullptr : &found->second;
  }
  const Summary& summary() const override { return summary_; }
  const std::map<std::string, StringMap>& metadata() const override { return metadata_; }

  void seek(std::int64_t log_time, std::span<const std::string> topics) override {
    const auto at = std::lower_bound(
        entries_.begin(), entries_.end(), log_time,
        [](const Entry& entry, std::int64_t time) { return entry.log_time < time; });
    next_ = static_cast<std::size_t>(at - entries_.begin());
    wanted_.clear();
    for (const Channel& channel : channels_) {
      const bool chosen =
          topics.empty() || std::find(topics.begin(), topics.end(), channel.topic) != topics.end();
      if (chosen) wanted_[channel.id] = &channel;
    }
  }
  void seek(std::int64_t log_time) { seek(log_time, {}); }

  Result<std::optional<Message>> next() override {
    while (next_ < entries_.size()) {
      const Entry& entry = entries_[next_++];
      const auto channel = wanted_.find(entry.channel);
      if (channel == wanted_.end() || (entry.chunk != 0 && bad_chunks_.contains(entry.chunk))) {
        continue;
      }
      auto record = entry.chunk == 0 ? record_in_file(entry.offset) : record_in_chunk(entry);
      if (!record) {
        if (entry.chunk != 0) bad_chunks_.insert(entry.chunk);
        return fail(std::move(record).error());
      }
      RecordReader content(record->content);
      Message message;
      const bool same_channel = content.get<std::uint16_t>() == entry.channel;
      message.channel = channel->second;
      message.sequence = content.get<std::uint32_t>();
      message.log_time = content.get<std::int64_t>();
      message.publish_time = content.get<std::int64_t>();
      if (record->opcode != Opcode::kMessage || !content.ok() || !same_channel ||
          message.log_time != entry.log_time) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("{}: the index points at {} of the chunk at {}, where no message "
                                "of its channel and time is",
                                path_, entry.offset, entry.chunk));
      }
      message.data = content.rest();
      return std::optional(message);
    }
    return std::optional<Message>();
  }

 private:
  static bool is_magic(std::span<const std::byte> bytes) {
    return bytes.size() == kMagic.size() &&
           std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
  }

  bool read_at(std::uint64_t offset, std::uint64_t size, std::vector<std::byte>& out) const {
    if (offset > summary_.file_bytes || size > summary_.file_bytes - offset) return false;
    out.resize(static_cast<std::size_t>(size));
    for (std::size_t done = 0; done < out.size();) {
      const ssize_t n =
          pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      done += static_cast<std::size_t>(n);
    }
    return true;
  }

  void forget() {
    entries_.clear();
    channels_.clear();
    schemas_.clear();
    metadata_.clear();
    const std::uint64_t bytes = summary_.file_bytes;
    summary_ = {};
    summary_.file_bytes = bytes;
  }

  void add_schema(std::span<const std::byte> content) {
    RecordReader in(content);
    Schema schema;
    schema.id = in.get<std::uint16_t>();
    schema.name = in.get_string();
    schema.encoding = in.get_string();
    schema.data = in.get_string();
    if (in.ok() && schema.id != 0) schemas_[schema.id] = std::move(schema);
  }

  void add_channel(std::span<const std::byte> content) {
    RecordReader in(content);
    Channel channel;
    channel.id = in.get<std::uint16_t>();
    channel.schema_id = in.get<std::uint16_t>();
    channel.topic = in.get_string();
    channel.message_encoding = in.get_string();
    channel.metadata = in.get_map();
    const bool known = std::any_of(channels_.begin(), channels_.end(),
                                   [&](const Channel& other) { return other.id == channel.id; });
    if (in.ok() && !known) channels_.push_back(std::move(channel));
  }

  void add_metadata(std::span<const std::byte> content) {
    RecordReader in(content);
    std::string name = in.get_string();
    StringMap values = in.get_map();
    if (in.ok()) metadata_[std::move(name)] = std::move(values);
  }

  // False if the file has no index that covers all its messages.
  bool load_index() {
    const std::uint64_t tail = kRecordHeaderBytes + kFooterBytes + kMagic.size();
    if (summary_.file_bytes < kMagic.size() + tail) return false;
    const std::uint64_t footer_at = summary_.file_bytes - tail;
    std::vector<std::byte> footer;
    if (!read_at(footer_at, tail, footer) || !is_magic(std::span(footer).last(kMagic.size())) ||
        static_cast<Opcode>(footer[0]) != Opcode::kFooter) {
      return false;
    }
    RecordReader in(std::span<const std::byte>(footer).subspan(kRecordHeaderBytes));
    const auto start = in.get<std::uint64_t>();
    in.get<std::uint64_t>();  // where the summary's own directory starts
    const auto crc = in.get<std::uint32_t>();
    if (start == 0 || start > footer_at || footer_at - start > kMaxSummaryBytes) return false;
    std::vector<std::byte> summary;
    const std::uint64_t covered = footer_at + kRecordHeaderBytes + 8 + 8 - start;
    if (!read_at(start, covered, summary)) return false;
    if (crc != 0 &&
        crc32_z(0, reinterpret_cast<const Bytef*>(summary.data()), summary.size()) != crc) {
      return false;
    }
    std::uint64_t expected = 0;
    RecordReader records(std::span<const std::byte>(summary).first(footer_at - start));
    for (Record record; next_record(records, record);) {
      switch (record.opcode) {
        case Opcode::kSchema:
          add_schema(record.content);
          break;
        case Opcode::kChannel:
          add_channel(record.content);
          break;
        case Opcode::kChunkIndex:
          if (!add_chunk(record.content)) return false;
          break;
        case Opcode::kMetadataIndex:
          load_metadata(record.content);
          break;
        case Opcode::kStatistics:
          expected = RecordReader(record.content).get<std::uint64_t>();
          break;
        default:
          break;
      }
    }
    return records.ok() && entries_.size() == expected;
  }

  void load_metadata(std::span<const std::byte> content) {
    RecordReader in(content);
    const auto offset = in.get<std::uint64_t>();
    const auto length = in.get<std::uint64_t>();
    std::vector<std::byte> bytes;
    if (!in.ok() || length > kMaxSummaryBytes || !read_at(offset, length, bytes)) return;
    RecordReader records(bytes);
    if (Record record; next_record(records, record) && record.opcode == Opcode::kMetadata) {
      add_metadata(record.content);
    }
  }

  // Enters the messages of the chunk that a ChunkIndex record describes.
  bool add_chunk(std::span<const std::byte> content) {
    RecordReader in(content);
    in.get<std::int64_t>();
    in.get<std::int64_t>();
    const auto offset = in.get<std::uint64_t>();
    const auto length = in.get<std::uint64_t>();
    in.get_part<std::uint32_t>();  // where each channel's index lies: they are read in one go
    const auto index_length = in.get<std::uint64_t>();
    const std::string compression = in.get_string();
    const auto compressed = in.get<std::uint64_t>();
    const auto uncompressed = in.get<std::uint64_t>();
    if (!in.ok() || offset == 0 || length > summary_.file_bytes ||
        offset > summary_.file_bytes - length || !indexed_chunks_.insert(offset).second) {
      return false;
    }
    ++summary_.chunks;
    summary_.compressed_bytes += compressed;
    summary_.uncompressed_bytes += uncompressed;
    if (index_length == 0) return scan_chunk(offset).has_value();
    std::vector<std::byte> indexes;
    if (index_length > kMaxSummaryBytes || !read_at(offset + length, index_length, indexes)) {
      return false;
    }
    // Chunks that share an index could make us remember any number of messages.
    index_bytes_ += index_length;
    if (index_bytes_ > summary_.file_bytes) return false;
    RecordReader records(indexes);
    for (Record record; next_record(records, record);) {
      if (record.opcode != Opcode::kMessageIndex) continue;
      RecordReader index(record.content);
      const auto channel = index.get<std::uint16_t>();
      RecordReader pairs = index.get_part<std::uint32_t>();
      while (pairs.ok() && !pairs.at_end()) {
        const auto time = pairs.get<std::int64_t>();
        const auto at = pairs.get<std::uint64_t>();
        if (pairs.ok()) entries_.push_back({time, offset, at, channel});
      }
      if (!index.ok() || !pairs.ok()) return false;
    }
    return records.ok();
  }

  // Enters the messages of a file without an index, up to where it is cut or damaged.
  Result<> scan_file() {
    summary_.has_index = false;
    std::uint64_t at = kMagic.size();
    std::vector<std::byte> bytes;
    bool ended = false;
    while (!ended && at < summary_.file_bytes && summary_.damage.empty()) {
      std::vector<std::byte> header;
      if (!read_at(at, kRecordHeaderBytes, header)) {
        summary_.damage = fmt::format("the file ends inside a record at byte {}", at);
        break;
      }
      RecordReader in(header);
      const auto opcode = static_cast<Opcode>(in.get<std::uint8_t>());
      const auto length = in.get<std::uint64_t>();
      if (length > summary_.file_bytes - at - kRecordHeaderBytes) {
        summary_.damage = fmt::format("the file ends inside a record at byte {}", at);
        break;
      }
      const std::uint64_t content_at = at + kRecordHeaderBytes;
      switch (opcode) {
        case Opcode::kSchema:
        case Opcode::kChannel:
        case Opcode::kMetadata:
          if (length > kMaxChunkBytes || !read_at(content_at, length, bytes)) break;
          if (opcode == Opcode::kSchema) add_schema(bytes);
          if (opcode == Opcode::kChannel) add_channel(bytes);
          if (opcode == Opcode::kMetadata) add_metadata(bytes);
          break;
        case Opcode::kMessage:
          if (length >= kMessageHeaderBytes && read_at(content_at, kMessageHeaderBytes, bytes)) {
            add_message(bytes, 0, at);
          }
          break;
        case Opcode::kChunk: {
          ++summary_.chunks;
          if (auto scanned = scan_chunk(at); !scanned) {
            summary_.damage = scanned.error().message;
          } else {
            summary_.compressed_bytes += length;
            summary_.uncompressed_bytes += *scanned;
          }
          break;
        }
        case Opcode::kDataEnd:
        case Opcode::kFooter:
          ended = true;
          break;
        default:
          break;  // indexes, attachments and whatever a later version adds
      }
      at = content_at + length;
    }
    if (!ended && summary_.damage.empty()) summary_.damage = "the file was not closed";
    if (entries_.empty() && channels_.empty() && !ended) {
      return fail(ErrorCode::kCorrupt,
                  fmt::format("{}: nothing in it can be read: {}", path_, summary_.damage));
    }
    return {};
  }

  void add_message(std::span<const std::byte> content, std::uint64_t chunk, std::uint64_t offset) {
    RecordReader in(content);
    const auto channel = in.get<std::uint16_t>();
    in.get<std::uint32_t>();
    const auto log_time = in.get<std::int64_t>();
    if (in.ok()) entries_.push_back({log_time, chunk, offset, channel});
  }

  // Enters everything in the chunk whose record starts at `at`; returns its unpacked size.
  Result<std::uint64_t> scan_chunk(std::uint64_t at) {
    FOVEA_ASSIGN(const std::vector<std::byte>* chunk, unpack(at));
    RecordReader records(*chunk);
    std::uint64_t offset = 0;
    for (Record record; next_record(records, record);) {
      if (record.opcode == Opcode::kSchema) add_schema(record.content);
      if (record.opcode == Opcode::kChannel) add_channel(record.content);
      if (record.opcode == Opcode::kMessage) add_message(record.content, at, offset);
      offset += kRecordHeaderBytes + record.content.size();
    }
    if (!records.ok()) return damaged(at, "a record in it is cut short");
    return static_cast<std::uint64_t>(chunk->size());
  }

  tl::unexpected<Error> damaged(std::uint64_t at, std::string_view what) const {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: the chunk at byte {} is damaged: {}", path_, at, what));
  }

  // The records of the chunk at `at`, verified; valid until the next call.
  Result<const std::vector<std::byte>*> unpack(std::uint64_t at) {
    if (at == unpacked_at_) return &unpacked_;
    unpacked_at_ = 0;
    std::vector<std::byte> header;
    if (!read_at(at, kRecordHeaderBytes, header)) return damaged(at, "the file ends before it");
    RecordReader head(header);
    const auto opcode = static_cast<Opcode>(head.get<std::uint8_t>());
    const auto length = head.get<std::uint64_t>();
    if (opcode != Opcode::kChunk) return damaged(at, "no chunk starts there");
    if (length > kMaxChunkBytes || !read_at(at + kRecordHeaderBytes, length, packed_)) {
      return damaged(at, fmt::format("its length is {}", length));
    }
    RecordReader in(packed_);
    in.get<std::int64_t>();
    in.get<std::int64_t>();
    const auto size = in.get<std::uint64_t>();
    const auto crc = in.get<std::uint32_t>();
    const std::string compression = in.get_string();
    const auto records = in.take(in.get<std::uint64_t>());
    if (!in.ok() || size > kMaxChunkBytes || size / kMostPacked > records.size()) {
      return damaged(at, fmt::format("its size is {}", size));
    }
    if (compression == kZstdCompression) {
      const auto announced = ZSTD_getFrameContentSize(records.data(), records.size());
      if (announced != ZSTD_CONTENTSIZE_UNKNOWN && announced != size) {
        return damaged(at, fmt::format("its size is {}, but not by its compression", size));
      }
      unpacked_.resize(static_cast<std::size_t>(size));
      const std::size_t got =
          ZSTD_decompress(unpacked_.data(), unpacked_.size(), records.data(), records.size());
      if (ZSTD_isError(got)) return damaged(at, ZSTD_getErrorName(got));
      if (got != size) return damaged(at, fmt::format("it unpacks to {} of {} bytes", got, size));
    } else if (compression == kNoCompression) {
      unpacked_.assign(records.begin(), records.end());
    } else {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("{}: the chunk at byte {} is compressed with '{}'; it must be zstd "
                              "or none",
                              path_, at, compression));
    }
    if (crc != 0 &&
        crc32_z(0, reinterpret_cast<const Bytef*>(unpacked_.data()), unpacked_.size()) != crc) {
      return damaged(at, "its checksum differs");
    }
    unpacked_at_ = at;
    return &unpacked_;
  }

  Result<Record> record_in_chunk(const Entry& entry) {
    FOVEA_ASSIGN(const std::vector<std::byte>* chunk, unpack(entry.chunk));
    Record record;
    if (entry.offset < chunk->size()) {
      RecordReader in(
          std::span<const std::byte>(*chunk).subspan(static_cast<std::size_t>(entry.offset)));
      if (next_record(in, record)) return record;
    }
    return damaged(entry.chunk, fmt::format("it has no record at {}", entry.offset));
  }

  Result<Record> record_in_file(std::uint64_t offset) {
    std::vector<std::byte> header;
    if (read_at(offset, kRecordHeaderBytes, header)) {
      RecordReader in(header);
      Record record;
      record.opcode = static_cast<Opcode>(in.get<std::uint8_t>());
      if (read_at(offset + kRecordHeaderBytes, in.get<std::uint64_t>(), packed_)) {
        record.content = packed_;
        return record;
      }
    }
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: the record at byte {} is gone", path_, offset));
  }

  int fd_;
  std::string path_;
  Summary summary_;
  std::vector<Channel> channels_;
  std::map<std::uint16_t, Schema> schemas_;
  std::map<std::string, StringMap> metadata_;
  std::vector<Entry> entries_;  // in order of log time
  std::size_t next_ = 0;
  std::unordered_map<std::uint16_t, const Channel*> wanted_;
  std::unordered_set<std::uint64_t> bad_chunks_;
  std::unordered_set<std::uint64_t> indexed_chunks_;
  std::uint64_t index_bytes_ = 0;  // of all message indexes
  std::vector<std::byte> packed_, unpacked_;
  std::uint64_t unpacked_at_ = 0;
};

}  // namespace

Result<std::unique_ptr<Reader>> Reader::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail_errno(ErrorCode::kNotFound, "open " + path);
  struct stat status {};
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(fd);
    return fail(ErrorCode::kInvalidArgument, path + ": is no regular file");
  }
  auto reader = std::make_unique<FileReader>(fd, path, static_cast<std::uint64_t>(status.st_size));
  FOVEA_TRY(reader->load());
  return reader;
}

}  // namespace fovea::mcap
