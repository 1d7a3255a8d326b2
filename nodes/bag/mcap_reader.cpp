// Reading of mcap.hpp. Opening makes one table of all messages, from the file's index or, when it
// has none, from its chunks; reading walks that table in order of time and unpacks chunks as they
// come.
#include <algorithm>
#include <limits>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <zlib.h>

#include "nodes/bag/mcap.hpp"
#include "nodes/bag/mcap_chunk_file.hpp"
#include "nodes/bag/mcap_records.hpp"
#include "nodes/base/file_io.hpp"

namespace fovea::mcap {
namespace {

constexpr std::uint64_t kMaxSummaryBytes = std::uint64_t{1} << 30;
struct Entry {
  std::int64_t log_time = 0;
  std::uint64_t chunk = 0;   // where the chunk's record starts in the file; 0 = not in a chunk
  std::uint64_t offset = 0;  // of the message record in the unpacked chunk, or in the file
  std::uint16_t channel = 0;
};

class FileReader final : public Reader {
 public:
  FileReader(FileHandle file, std::string path, std::uint64_t size)
      : file_(std::move(file), size), path_(std::move(path)) {
    summary_.file_bytes = size;
  }

  Result<> load() {
    std::vector<std::byte> magic;
    if (!file_.read_at(0, kMagic.size(), magic) || !is_magic(magic)) {
      return fail(ErrorCode::kCorrupt, path_ +
                                           ": is no MCAP file: it must begin with the bytes "
                                           "89 4d 43 41 50 30 0d 0a");
    }
    if (const IndexState state = load_index(); state != IndexState::kWhole) {
      forget();
      FOVEA_TRY(scan_file());
      if (summary_.damage.empty() && state == IndexState::kDamaged) {
        summary_.damage = "its index is damaged: the chunks were read instead";
      }
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
    skipped_ = 0;
    bad_chunks_.clear();
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
      if (!record && entry.chunk != 0 && file_.unpacked_chunk() != entry.chunk) {
        bad_chunks_.insert(entry.chunk);
        skipped_ += wanted_in_chunk(entry.chunk);
        return fail(record.error().code,
                    fmt::format("{}: {}", path_,
                                describe_damage(entry.chunk, record.error().message).text()));
      }
      if (!record) {
        ++skipped_;
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
        ++skipped_;
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

  std::uint64_t skipped() const override { return skipped_; }

  std::vector<DamagedChunk> find_damaged_chunks() override {
    std::vector<Entry> by_chunk = entries_;
    std::stable_sort(by_chunk.begin(), by_chunk.end(),
                     [](const Entry& a, const Entry& b) { return a.chunk < b.chunk; });
    std::vector<DamagedChunk> damaged;
    for (const std::uint64_t chunk : chunks_) {
      const auto [first, last] =
          std::equal_range(by_chunk.begin(), by_chunk.end(), Entry{.chunk = chunk},
                           [](const Entry& a, const Entry& b) { return a.chunk < b.chunk; });
      const std::span<const Entry> named(first, last);
      DamagedChunk found{chunk, file_.record_bytes(chunk), named.size(), ""};
      if (const auto unpacked = file_.unpack(chunk); !unpacked) {
        found.reason = unpacked.error().message;
      } else {
        found.messages = count_misplaced(named, *unpacked);
        if (found.messages > 0) found.reason = "holds other messages than its index says";
      }
      if (!found.reason.empty()) damaged.push_back(std::move(found));
    }
    return damaged;
  }

 private:
  enum class IndexState { kWhole, kAbsent, kDamaged };

  static bool is_magic(std::span<const std::byte> bytes) {
    return bytes.size() == kMagic.size() &&
           std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
  }

  void forget() {
    entries_.clear();
    chunks_.clear();
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

  IndexState load_index() {
    const std::uint64_t tail = kRecordHeaderBytes + kFooterBytes + kMagic.size();
    if (summary_.file_bytes < kMagic.size() + tail) return IndexState::kAbsent;
    const std::uint64_t footer_at = summary_.file_bytes - tail;
    std::vector<std::byte> footer;
    if (!file_.read_at(footer_at, tail, footer) ||
        !is_magic(std::span(footer).last(kMagic.size())) ||
        static_cast<Opcode>(footer[0]) != Opcode::kFooter) {
      return IndexState::kAbsent;
    }
    RecordReader in(std::span<const std::byte>(footer).subspan(kRecordHeaderBytes));
    const auto start = in.get<std::uint64_t>();
    in.get<std::uint64_t>();  // where the summary's own directory starts
    const auto crc = in.get<std::uint32_t>();
    if (start == 0) return IndexState::kAbsent;
    if (start > footer_at || footer_at - start > kMaxSummaryBytes) return IndexState::kDamaged;
    std::vector<std::byte> summary;
    const std::uint64_t covered = footer_at + kRecordHeaderBytes + 8 + 8 - start;
    if (!file_.read_at(start, covered, summary)) return IndexState::kDamaged;
    if (crc != 0 &&
        crc32_z(0, reinterpret_cast<const Bytef*>(summary.data()), summary.size()) != crc) {
      return IndexState::kDamaged;
    }
    bool has_statistics = false;  // they and the chunk indexes are optional in the format
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
          if (!add_chunk(record.content)) return IndexState::kDamaged;
          break;
        case Opcode::kMetadataIndex:
          load_metadata(record.content);
          break;
        case Opcode::kStatistics:
          has_statistics = true;
          expected = RecordReader(record.content).get<std::uint64_t>();
          break;
        default:
          break;
      }
    }
    if (records.ok() && !has_statistics) return IndexState::kAbsent;
    if (records.ok() && entries_.size() == expected) return IndexState::kWhole;
    // Messages outside of chunks have no index.
    return records.ok() && chunks_.empty() ? IndexState::kAbsent : IndexState::kDamaged;
  }

  void load_metadata(std::span<const std::byte> content) {
    RecordReader in(content);
    const auto offset = in.get<std::uint64_t>();
    const auto length = in.get<std::uint64_t>();
    std::vector<std::byte> bytes;
    if (!in.ok() || length > kMaxSummaryBytes || !file_.read_at(offset, length, bytes)) return;
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
    chunks_.push_back(offset);
    summary_.compressed_bytes += compressed;
    summary_.uncompressed_bytes += uncompressed;
    if (index_length == 0) {
      static_cast<void>(scan_chunk(offset));  // a damaged one is told by find_damaged_chunks()
      return true;
    }
    std::vector<std::byte> indexes;
    if (index_length > kMaxSummaryBytes || !file_.read_at(offset + length, index_length, indexes)) {
      return false;
    }
    // Chunks that share an index could make us remember any number of messages.
    index_bytes_ += index_length;
    if (index_bytes_ > summary_.file_bytes) return false;
    RecordReader records(indexes);
    for (Record record; next_record(records, record);) {
      if (record.opcode == Opcode::kMessageIndex && !add_message_index(record.content, offset)) {
        return false;
      }
    }
    return records.ok();
  }

  // Enters the messages of the chunk at `chunk` that a MessageIndex record names.
  bool add_message_index(std::span<const std::byte> content, std::uint64_t chunk) {
    RecordReader index(content);
    const auto channel = index.get<std::uint16_t>();
    RecordReader pairs = index.get_part<std::uint32_t>();
    while (pairs.ok() && !pairs.at_end()) {
      const auto time = pairs.get<std::int64_t>();
      const auto at = pairs.get<std::uint64_t>();
      if (pairs.ok()) entries_.push_back({time, chunk, at, channel});
    }
    return index.ok() && pairs.ok();
  }

  // Enters the messages of a file without an index, up to where it is cut or damaged.
  Result<> scan_file() {
    summary_.has_index = false;
    std::uint64_t at = kMagic.size();
    std::vector<std::byte> bytes;
    std::uint64_t damaged_chunk = 0;  // the chunk whose message indexes come now, if it is damaged
    bool ended = false;
    std::string stopped;  // why the file was not read to its end
    while (!ended && at < summary_.file_bytes) {
      std::vector<std::byte> header;
      const bool has_header = file_.read_at(at, kRecordHeaderBytes, header);
      RecordReader in(header);
      const auto opcode = static_cast<Opcode>(in.get<std::uint8_t>());
      const auto length = in.get<std::uint64_t>();
      if (!has_header || length > summary_.file_bytes - at - kRecordHeaderBytes) {
        stopped = fmt::format("the file ends inside a record at byte {}", at);
        break;
      }
      if (opcode == Opcode{0}) {  // the format has none; a disk that lost power leaves zeros
        stopped = fmt::format("there is no record at byte {}", at);
        break;
      }
      const std::uint64_t content_at = at + kRecordHeaderBytes;
      switch (opcode) {
        case Opcode::kSchema:
        case Opcode::kChannel:
        case Opcode::kMetadata:
        case Opcode::kMessageIndex:
          if (opcode == Opcode::kMessageIndex && damaged_chunk == 0) break;
          if (length > kMaxChunkBytes || !file_.read_at(content_at, length, bytes)) break;
          if (opcode == Opcode::kSchema) add_schema(bytes);
          if (opcode == Opcode::kChannel) add_channel(bytes);
          if (opcode == Opcode::kMetadata) add_metadata(bytes);
          if (opcode == Opcode::kMessageIndex) add_message_index(bytes, damaged_chunk);
          break;
        case Opcode::kMessage:
          if (length >= kMessageHeaderBytes &&
              file_.read_at(content_at, kMessageHeaderBytes, bytes)) {
            add_message(bytes, 0, at);
          }
          break;
        case Opcode::kChunk: {
          ++summary_.chunks;
          chunks_.push_back(at);
          const auto scanned = scan_chunk(at);
          damaged_chunk = scanned ? 0 : at;
          if (scanned) {
            summary_.compressed_bytes += length;
            summary_.uncompressed_bytes += *scanned;
          } else {
            broken_chunks_.insert(at);
          }
          break;
        }
        case Opcode::kDataEnd:
        case Opcode::kFooter:
          ended = true;
          break;
        default:
          break;  // attachments and whatever a later version adds
      }
      at = content_at + length;
    }
    if (!ended) {
      summary_.damage = fmt::format("not closed: {} messages recovered{}{}", readable_entries(),
                                    stopped.empty() ? "" : "; ", stopped);
    }
    if (entries_.empty() && channels_.empty() && !ended) {
      return fail(ErrorCode::kCorrupt,
                  fmt::format("{}: nothing in it can be read: {}", path_, summary_.damage));
    }
    return {};
  }

  std::ptrdiff_t readable_entries() const {
    return std::count_if(entries_.begin(), entries_.end(), [this](const Entry& entry) {
      return !broken_chunks_.contains(entry.chunk);
    });
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
    FOVEA_ASSIGN(const std::span<const std::byte> chunk, file_.unpack(at));
    RecordReader records(chunk);
    std::uint64_t offset = 0;
    for (Record record; next_record(records, record);) {
      if (record.opcode == Opcode::kSchema) add_schema(record.content);
      if (record.opcode == Opcode::kChannel) add_channel(record.content);
      if (record.opcode == Opcode::kMessage) add_message(record.content, at, offset);
      offset += kRecordHeaderBytes + record.content.size();
    }
    if (!records.ok()) return fail(ErrorCode::kCorrupt, "is damaged: a record in it is cut short");
    return static_cast<std::uint64_t>(chunk.size());
  }

  DamagedChunk describe_damage(std::uint64_t chunk, std::string reason) const {
    const auto messages = std::count_if(entries_.begin(), entries_.end(),
                                        [&](const Entry& entry) { return entry.chunk == chunk; });
    return {chunk, file_.record_bytes(chunk), static_cast<std::uint64_t>(messages),
            std::move(reason)};
  }

  std::uint64_t wanted_in_chunk(std::uint64_t chunk) const {
    return static_cast<std::uint64_t>(
        std::count_if(entries_.begin() + static_cast<std::ptrdiff_t>(next_) - 1, entries_.end(),
                      [&](const Entry& entry) {
                        return entry.chunk == chunk && wanted_.contains(entry.channel);
                      }));
  }

  // Messages in the unpacked `chunk` that `named`, its index, does not find, or the other way round.
  static std::uint64_t count_misplaced(std::span<const Entry> named,
                                       std::span<const std::byte> chunk) {
    std::unordered_map<std::uint64_t, Entry> found;  // by offset
    RecordReader records(chunk);
    std::uint64_t offset = 0;
    for (Record record; next_record(records, record);) {
      if (record.opcode == Opcode::kMessage) {
        RecordReader in(record.content);
        const auto channel = in.get<std::uint16_t>();
        in.get<std::uint32_t>();
        found[offset] = {in.get<std::int64_t>(), 0, offset, channel};
      }
      offset += kRecordHeaderBytes + record.content.size();
    }
    const auto right = std::count_if(named.begin(), named.end(), [&](const Entry& entry) {
      const auto at = found.find(entry.offset);
      return at != found.end() && at->second.log_time == entry.log_time &&
             at->second.channel == entry.channel;
    });
    return std::max(found.size(), named.size()) - static_cast<std::size_t>(right);
  }

  Result<Record> record_in_chunk(const Entry& entry) {
    FOVEA_ASSIGN(const std::span<const std::byte> chunk, file_.unpack(entry.chunk));
    Record record;
    if (entry.offset < chunk.size()) {
      RecordReader in(chunk.subspan(static_cast<std::size_t>(entry.offset)));
      if (next_record(in, record)) return record;
    }
    return fail(ErrorCode::kCorrupt, fmt::format("{}: the chunk at byte {} has no record at {}",
                                                 path_, entry.chunk, entry.offset));
  }

  Result<Record> record_in_file(std::uint64_t offset) {
    std::vector<std::byte> header;
    if (file_.read_at(offset, kRecordHeaderBytes, header)) {
      RecordReader in(header);
      Record record;
      record.opcode = static_cast<Opcode>(in.get<std::uint8_t>());
      if (file_.read_at(offset + kRecordHeaderBytes, in.get<std::uint64_t>(), record_)) {
        record.content = record_;
        return record;
      }
    }
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: the record at byte {} is gone", path_, offset));
  }

  ChunkFile file_;
  std::string path_;
  Summary summary_;
  std::vector<Channel> channels_;
  std::map<std::uint16_t, Schema> schemas_;
  std::map<std::string, StringMap> metadata_;
  std::vector<Entry> entries_;  // in order of log time
  std::size_t next_ = 0;
  std::unordered_map<std::uint16_t, const Channel*> wanted_;
  std::vector<std::uint64_t> chunks_;                // where they start
  std::unordered_set<std::uint64_t> broken_chunks_;  // that were found so without an index
  std::unordered_set<std::uint64_t> bad_chunks_;     // that next() has told of
  std::uint64_t skipped_ = 0;
  std::unordered_set<std::uint64_t> indexed_chunks_;
  std::uint64_t index_bytes_ = 0;  // of all message indexes
  std::vector<std::byte> record_;  // outside of chunks
};

}  // namespace

std::string DamagedChunk::text() const {
  const std::string size = bytes > 0 ? fmt::format(" ({} bytes)", bytes) : "";
  const std::string loss =
      messages > 0 ? fmt::format("; {} message{} lost", messages, messages == 1 ? " is" : "s are")
                   : "";
  return fmt::format("the chunk at byte {}{} {}{}", offset, size, reason, loss);
}

Result<std::unique_ptr<Reader>> Reader::open(const std::string& path) {
  FOVEA_TRY(check_readable(path));
  FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status {};
  if (!file || fstat(file.get(), &status) != 0) {
    return fail_errno(ErrorCode::kNotFound, "open " + path);
  }
  auto reader = std::make_unique<FileReader>(std::move(file), path,
                                             static_cast<std::uint64_t>(status.st_size));
  FOVEA_TRY(reader->load());
  return reader;
}

}  // namespace fovea::mcap
