// What a recorder does with messages once they are out of their slots: encode pictures, keep the
// last seconds in memory until something happens, write files, start new ones when they are full.
//
// A worker thread does all of it, behind a queue of bounded bytes: a disk that is too slow costs
// messages of the recording, which are counted, and never holds a camera's slot. What was taken from
// the queue is in the file half a second later, also when nothing follows it, so that is what a
// killed recorder loses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "msgs/image.hpp"
#include "nodes/bag/mcap.hpp"
#include "nodes/base/result.hpp"

namespace fovea::bag {

enum class ImageFormat { kRaw, kJpeg };

// What became of messages that the recording took.
enum class Outcome { kWritten, kForgotten, kFailed };

struct RecordingOptions {
  // "run.mcap"; with max_file_bytes or a ring "run_0.mcap", "run_1.mcap", ..., beginning behind
  // those that exist.
  std::string path;
  mcap::WriterOptions writer;
  ImageFormat image_format = ImageFormat::kJpeg;
  int jpeg_quality = 95;             // 1..100
  std::uint64_t max_file_bytes = 0;  // 0 = one file
  std::size_t queue_bytes = std::size_t{256} << 20;
  // Above 0: nothing is written before trigger(); then the messages of so many ns before it are,
  // and those of the next after_trigger_ns.
  std::int64_t ring_ns = 0;
  std::int64_t after_trigger_ns = 0;
  // Called on the worker's thread: `count` more messages of the topic met their end; writing ended
  // for good. May be empty.
  std::function<void(std::size_t topic, Outcome outcome, std::uint64_t count)> on_outcome;
  std::function<void()> on_error;
};

// A topic as it appears in the file.
struct RecordedTopic {
  std::string topic;
  std::string schema_name;
  std::string schema;
  bool is_image = false;  // its items carry pixels, which the recording encodes
};

// One message on its way. `data` is CDR, or pixels for a topic of images.
struct Item {
  std::size_t topic = 0;  // index into the topics
  std::uint32_t sequence = 0;
  std::int64_t log_time = 0;      // ns since the epoch
  std::int64_t publish_time = 0;  // ns since the epoch
  std::vector<std::byte> data;
  // Images only.
  std::uint32_t height = 0;
  std::uint32_t width = 0;
  std::uint32_t step = 0;
  msgs::Encoding encoding = msgs::Encoding::kBgr8;
  std::string frame_id;
};

struct RecordingCounts {
  std::uint64_t written = 0;    // messages in files, those of the open chunk not yet among them
  std::uint64_t forgotten = 0;  // left the ring without a trigger
  std::uint64_t failed = 0;     // could not be encoded or written
};

enum class Push { kTaken, kFull, kEnded };

class Recording {
 public:
  // Creates the first file, or finds out whether one can be if a ring is kept, and starts the worker.
  // Errors: those of mcap::Writer::create(); kInvalidArgument for options out of range.
  static Result<std::unique_ptr<Recording>> create(const RecordingOptions& options,
                                                   std::vector<RecordedTopic> topics);
  virtual ~Recording() = default;

  // An empty buffer to fill, with the capacity of one that was used before. Thread safety: any.
  virtual std::vector<std::byte> buffer() = 0;
  // Queues a message; nothing is kept unless the answer is kTaken. Thread safety: any.
  virtual Push push(Item&& item) = 0;
  // Ring: what is in memory, and what comes in the time after, goes to a file of its own.
  // Thread safety: any.
  virtual void trigger() = 0;
  // Works off the queue and closes the file. The first error that writing met; what was written
  // before it is readable.
  virtual Result<> close(const std::map<std::string, std::string>& summary) = 0;

  // By topic. Thread safety: any.
  virtual std::vector<RecordingCounts> counts() const = 0;
  virtual std::vector<std::string> files() const = 0;
  virtual std::uint64_t bytes() const = 0;  // in files
  // The error that ended writing, if one did.
  virtual std::optional<Error> error() const = 0;
};

}  // namespace fovea::bag
