// Recordings in MCAP (mcap.dev, version 0 of the format): what Foxglove, rosbag2 and the MCAP tools
// read. A recording holds schemas, channels (topics) and time-stamped messages in compressed
// chunks, an index at its end, and checksums over all of it.
//
// A file that was never closed (kill -9, power loss, full disk) is read up to its last whole
// chunk; the reader says so. A damaged chunk costs its own messages and no others. Thread safety:
// one thread at a time per object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/base/result.hpp"

namespace fovea::mcap {

enum class Compression { kNone, kZstd };

struct Schema {
  std::uint16_t id = 0;  // from 1; 0 = a channel without schema
  std::string name;      // "fovea_msgs/msg/Detection2DArray"
  std::string encoding;  // "ros2msg"
  std::string data;
};

struct Channel {
  std::uint16_t id = 0;
  std::uint16_t schema_id = 0;
  std::string topic;
  std::string message_encoding;  // "cdr"
  std::map<std::string, std::string> metadata;
};

struct WriterOptions {
  Compression compression = Compression::kZstd;
  int zstd_level = 1;
  // A chunk is closed when it reaches this size, or earlier by flush(): what is lost at a crash, and
  // what a reader unpacks to get one message.
  std::size_t chunk_bytes = std::size_t{4} << 20;
  bool overwrite = false;  // an existing regular file gives way
};

class Writer {
 public:
  // Creates PATH (create_file() of base/file_io.hpp) and writes the header. Errors: those of
  // create_file(); kExhausted when the disk is full.
  static Result<std::unique_ptr<Writer>> create(const std::string& path,
                                                const WriterOptions& options = {});
  virtual ~Writer() = default;  // closes; errors go unseen, so call close()

  virtual std::uint16_t add_schema(std::string_view name, std::string_view encoding,
                                   std::string_view data) = 0;
  virtual std::uint16_t add_channel(std::string_view topic, std::uint16_t schema_id,
                                    std::string_view message_encoding,
                                    const std::map<std::string, std::string>& metadata = {}) = 0;
  // `log_time` and `publish_time` in ns since the epoch. Errors: kExhausted when the disk is full,
  // kInternal; everything up to the last whole chunk stays readable. REQUIRES: `channel` is what
  // add_channel() returned.
  virtual Result<> write(std::uint16_t channel, std::uint32_t sequence, std::int64_t log_time,
                         std::int64_t publish_time, std::span<const std::byte> data) = 0;
  // Closes the open chunk and puts it, with all schemas and channels so far, into the file: whatever
  // ends this process afterwards, they are readable. Errors: those of write().
  virtual Result<> flush() = 0;
  // Key-value pairs about the recording.
  virtual Result<> write_metadata(std::string_view name,
                                  const std::map<std::string, std::string>& values) = 0;
  // Writes the index and makes the file durable. Nothing may be written afterwards. An index that
  // does not fit the disk is taken back: the file is then one that was not closed.
  virtual Result<> close() = 0;

  // Messages of the channel that are in the file: those of the open chunk are not, and those of a
  // chunk that could not be written never will be.
  virtual std::uint64_t messages(std::uint16_t channel) const = 0;

  // What the file will hold so far, the open chunk uncompressed: for splitting by size.
  virtual std::uint64_t bytes() const = 0;
};

struct Message {
  const Channel* channel = nullptr;
  std::uint32_t sequence = 0;
  std::int64_t log_time = 0;        // ns since the epoch
  std::int64_t publish_time = 0;    // ns since the epoch
  std::span<const std::byte> data;  // valid until the next call of the reader
};

// A chunk that cannot be read.
struct DamagedChunk {
  std::uint64_t offset = 0;    // of its record in the file
  std::uint64_t bytes = 0;     // that the record takes; 0 = unknown
  std::uint64_t messages = 0;  // that its index names; 0 = the index is gone too
  std::string reason;

  // "the chunk at byte 4711 (20000 bytes) is damaged: its checksum differs; 12 messages are lost"
  std::string text() const;
};

struct Summary {
  std::uint64_t messages = 0;  // that the file names, those of damaged chunks among them
  std::uint64_t chunks = 0;
  std::int64_t start_time = 0;  // of the first message, ns since the epoch; 0 without messages
  std::int64_t end_time = 0;
  std::uint64_t file_bytes = 0;
  std::uint64_t compressed_bytes = 0;    // of all chunks
  std::uint64_t uncompressed_bytes = 0;  // of all chunks
  bool has_index = true;  // false: the file was not closed, and was read from start to end
  // What is wrong with the file as a whole ("not closed: 60 messages recovered"); empty = every byte
  // was accounted for.
  std::string damage;
  std::map<std::uint16_t, std::uint64_t> messages_by_channel;
};

class Reader {
 public:
  // Reads the index; without one, the chunks. Errors: kNotFound; kCorrupt for a file that is no
  // MCAP, or in which nothing can be read; kUnsupported for another version or compression (lz4).
  static Result<std::unique_ptr<Reader>> open(const std::string& path);
  virtual ~Reader() = default;

  virtual const std::vector<Channel>& channels() const = 0;
  virtual const Schema* find_schema(std::uint16_t id) const = 0;  // nullptr for 0 and unknown ones
  virtual const Summary& summary() const = 0;
  virtual const std::map<std::string, std::map<std::string, std::string>>& metadata() const = 0;

  // Goes to the first message at or after `log_time`; only messages of `topics` will be read
  // (empty: all).
  virtual void seek(std::int64_t log_time, std::span<const std::string> topics = {}) = 0;
  // The next message in order of log time, messages of equal time in the order of the file; nullopt
  // at the end. kCorrupt for a chunk that fails its checksum, once: its messages are skipped, and
  // the next call goes on behind it.
  virtual Result<std::optional<Message>> next() = 0;
  // Wanted messages that next() skipped since the last seek(), because they cannot be read.
  virtual std::uint64_t skipped() const = 0;

  // Reads the whole file and returns the chunks in it that cannot be read, in its order.
  virtual std::vector<DamagedChunk> find_damaged_chunks() = 0;
};

// `to - from` for instants that anybody may have written: at the ends of the range instead of
// beyond them.
constexpr std::int64_t time_between(std::int64_t from, std::int64_t to) {
  std::int64_t difference = 0;
  if (!__builtin_sub_overflow(to, from, &difference)) return difference;
  return to < from ? std::numeric_limits<std::int64_t>::min()
                   : std::numeric_limits<std::int64_t>::max();
}

}  // namespace fovea::mcap
