#include "nodes/bag/recording.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <limits>
#include <mutex>
#include <thread>
#include <utility>

#include <fmt/core.h>

#include "nodes/bag/image_record.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/base/file_io.hpp"
#include "nodes/imaging/picture.hpp"

namespace fovea::bag {
namespace {

constexpr std::size_t kSpareBuffers = 8;
// How long a message may wait in memory for its chunk to fill: what a killed recorder loses.
constexpr std::int64_t kMaxChunkAgeNs = 500'000'000;
// A message of an event's last instant may still be on its way here when the event is over.
constexpr std::int64_t kEventSlackNs = 200'000'000;
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

class RecordingImpl final : public Recording {
 public:
  RecordingImpl(const RecordingOptions& options, std::vector<RecordedTopic> topics)
      : options_(options), topics_(std::move(topics)), counts_(topics_.size()) {}

  ~RecordingImpl() override {
    if (worker_.joinable()) static_cast<void>(close({}));
  }

  Result<> start() {
    if (options_.ring_ns == 0) {
      FOVEA_TRY(open_next_file());
    } else {
      FOVEA_TRY(check_writable(next_file_name()));
    }
    worker_ = std::thread([this] { work(); });
    return {};
  }

  std::vector<std::byte> buffer() override {
    const std::lock_guard lock(mutex_);
    if (spare_.empty()) return {};
    std::vector<std::byte> buffer = std::move(spare_.back());
    spare_.pop_back();
    buffer.clear();
    return buffer;
  }

  Push push(Item&& item) override {
    {
      const std::lock_guard lock(mutex_);
      if (closing_ || error_) return Push::kEnded;
      if (queued_bytes_ + item.data.size() > options_.queue_bytes) return Push::kFull;
      queued_bytes_ += item.data.size();
      queue_.push_back(std::move(item));
    }
    changed_.notify_one();
    return Push::kTaken;
  }

  void trigger() override {
    {
      const std::lock_guard lock(mutex_);
      queue_.emplace_back();
    }
    changed_.notify_one();
  }

  Result<> close(const std::map<std::string, std::string>& summary) override {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    changed_.notify_one();
    worker_.join();
    forget_ring(std::numeric_limits<std::int64_t>::max());
    note(close_file(summary));
    return error_ ? Result<>(fail(*error_)) : Result<>{};
  }

  std::vector<RecordingCounts> counts() const override {
    const std::lock_guard lock(mutex_);
    return counts_;
  }
  std::vector<std::string> files() const override {
    const std::lock_guard lock(mutex_);
    return files_;
  }
  std::uint64_t bytes() const override {
    const std::lock_guard lock(mutex_);
    return bytes_before_ + bytes_;
  }
  std::optional<Error> error() const override {
    const std::lock_guard lock(mutex_);
    return error_;
  }

 private:
  // A message as it will lie in the file.
  struct Encoded {
    std::size_t topic = 0;
    std::uint32_t sequence = 0;
    std::int64_t log_time = 0;
    std::int64_t publish_time = 0;
    std::vector<std::byte> data;
  };

  void work() {
    for (;;) {
      std::optional<Item> item;
      bool is_idle = false;
      {
        std::unique_lock lock(mutex_);
        const auto has_work = [&] { return !queue_.empty() || closing_; };
        const std::int64_t due = next_due();
        if (due == kNever) {
          changed_.wait(lock, has_work);
        } else {
          changed_.wait_for(
              lock, std::chrono::nanoseconds(std::max<std::int64_t>(0, due - monotonic_ns())),
              has_work);
        }
        is_idle = queue_.empty();
        if (is_idle && closing_) return;
        if (!is_idle) {
          item = std::move(queue_.front());
          queue_.pop_front();
          if (item) queued_bytes_ -= item->data.size();
        }
      }
      if (item) {
        take(std::move(*item));
      } else if (!is_idle && options_.ring_ns > 0) {
        note(start_event());
      }
      if (is_idle && event_is_over()) note(close_file({}));
      if (chunk_is_due()) flush();
    }
  }

  // CLOCK_MONOTONIC: when the open chunk or the event has to be closed, whatever comes.
  std::int64_t next_due() const {
    std::int64_t due = kNever;
    if (chunk_begun_ > 0) due = chunk_begun_ + kMaxChunkAgeNs;
    if (options_.ring_ns > 0 && writer_) {
      due = std::min(due, monotonic_ns() + event_end_ + kEventSlackNs - realtime_ns());
    }
    return due;
  }
  bool chunk_is_due() const {
    return chunk_begun_ > 0 && monotonic_ns() >= chunk_begun_ + kMaxChunkAgeNs;
  }
  bool event_is_over() const {
    return options_.ring_ns > 0 && writer_ && realtime_ns() >= event_end_ + kEventSlackNs;
  }

  void take(Item&& item) {
    Encoded message{item.topic, item.sequence, item.log_time, item.publish_time, {}};
    if (!topics_[item.topic].is_image) {
      message.data = std::move(item.data);
    } else {
      message.data = buffer();
      if (!encode(item, message.data)) {
        count(item.topic, Outcome::kFailed, 1);
        return;
      }
      give_back(std::move(item.data));
    }
    if (options_.ring_ns == 0) {
      write(message);
    } else if (writer_ && message.log_time <= event_end_) {
      write(message);
    } else {
      if (writer_) note(close_file({}));
      const std::int64_t oldest = message.log_time - options_.ring_ns;
      ring_.push_back(std::move(message));
      forget_ring(oldest);
    }
  }

  // Everything in the ring that is older than `oldest` goes.
  void forget_ring(std::int64_t oldest) {
    while (!ring_.empty() && ring_.front().log_time < oldest) {
      count(ring_.front().topic, Outcome::kForgotten, 1);
      give_back(std::move(ring_.front().data));
      ring_.pop_front();
    }
  }

  // A trigger during an event prolongs it.
  Result<> start_event() {
    const std::int64_t now = ring_.empty() ? last_written_ : ring_.back().log_time;
    event_end_ = now + options_.after_trigger_ns;
    if (!writer_) FOVEA_TRY(open_next_file());
    while (!ring_.empty()) {
      write(ring_.front());
      ring_.pop_front();
    }
    if (writer_) flush();
    return {};
  }

  // REQUIRES: as many bytes as its sizes say.
  imaging::Pixels as_rgb(const Item& item) {
    const std::size_t row = std::size_t{item.width} * 3;
    rgb_.resize(row * item.height);
    const auto* from = reinterpret_cast<const std::uint8_t*>(item.data.data());
    for (std::uint32_t y = 0; y < item.height; ++y) {
      const std::uint8_t* chroma = nullptr;
      if (item.encoding == msgs::Encoding::kNv12) {
        chroma = from + (std::size_t{item.height} + y / 2) * item.step;
      }
      convert_pixels(item.encoding, from + std::size_t{y} * item.step, chroma, item.width,
                     ChannelOrder::kRgb, reinterpret_cast<std::uint8_t*>(rgb_.data()) + y * row);
    }
    return {rgb_, item.width, item.height, row, msgs::Encoding::kRgb8};
  }

  bool encode(const Item& item, std::vector<std::byte>& out) {
    ImageRecord record{.stamp_realtime = item.publish_time,
                       .frame_id = item.frame_id,
                       .compressed = options_.image_format == ImageFormat::kJpeg,
                       .height = item.height,
                       .width = item.width,
                       .step = item.step,
                       .encoding = item.encoding,
                       .data = item.data};
    const std::uint64_t row = bytes_per_row(item.encoding, item.width);
    if (row == 0 || item.height == 0 || item.step < row ||
        std::uint64_t{item.step} * rows_of_bytes(item.encoding, item.height) > item.data.size()) {
      return false;
    }
    if (record.compressed) {
      imaging::Pixels pixels{item.data, item.width, item.height, item.step, item.encoding};
      if (msgs::channels(item.encoding) == 0) pixels = as_rgb(item);
      if (!imaging::encode_jpeg(pixels, options_.jpeg_quality, jpeg_)) return false;
      record.data = jpeg_;
    }
    to_cdr(record, out);
    return true;
  }

  void write(Encoded& message) {
    bool split = false;
    {
      const std::lock_guard lock(mutex_);
      split = options_.max_file_bytes > 0 && bytes_ >= options_.max_file_bytes && !error_;
    }
    if (split) {
      note(close_file({}));
      note(open_next_file());
    }
    if (writer_ && !error_) {  // only this thread sets error_
      ++given_[message.topic];
      if (chunk_begun_ == 0) chunk_begun_ = monotonic_ns();
      settle(writer_->write(channels_[message.topic], message.sequence, message.log_time,
                            message.publish_time, message.data));
    } else {
      count(message.topic, Outcome::kFailed, 1);
    }
    last_written_ = std::max(last_written_, message.log_time);
    give_back(std::move(message.data));
    if (writer_) {
      const std::lock_guard lock(mutex_);
      bytes_ = writer_->bytes();
    }
  }

  void flush() { settle(writer_->flush()); }

  // "run.mcap", or "run_3.mcap" where there may be several.
  std::string next_file_name() {
    if (options_.max_file_bytes == 0 && options_.ring_ns == 0) return options_.path;
    const std::filesystem::path path(options_.path);
    const auto numbered = [&] {
      return path.parent_path() /
             fmt::format("{}_{}{}", path.stem().string(), file_count_, path.extension().string());
    };
    std::error_code ignored;
    while (!options_.writer.overwrite && std::filesystem::exists(numbered(), ignored)) {
      ++file_count_;
    }
    return numbered().string();
  }

  Result<> open_next_file() {
    const std::string path = next_file_name();
    ++file_count_;
    FOVEA_ASSIGN(writer_, mcap::Writer::create(path, options_.writer));
    channels_.clear();
    given_.assign(topics_.size(), 0);
    settled_.assign(topics_.size(), 0);
    for (const RecordedTopic& topic : topics_) {
      const bool jpeg = options_.image_format == ImageFormat::kJpeg;
      const auto schema = !topic.is_image
                              ? writer_->add_schema(topic.schema_name, "ros2msg", topic.schema)
                          : jpeg ? writer_->add_schema(kCompressedImageSchemaName, "ros2msg",
                                                       compressed_image_schema())
                                 : writer_->add_schema(kImageSchemaName, "ros2msg", image_schema());
      channels_.push_back(writer_->add_channel(topic.topic, schema, "cdr"));
    }
    FOVEA_TRY(writer_->flush());
    const std::lock_guard lock(mutex_);
    files_.push_back(path);
    return {};
  }

  Result<> close_file(const std::map<std::string, std::string>& summary) {
    if (!writer_) return {};
    settle(writer_->flush());
    Result<> result = summary.empty() ? Result<>{} : writer_->write_metadata("fovea", summary);
    if (const Result<> closed = writer_->close(); result) result = closed;
    const std::lock_guard lock(mutex_);
    bytes_before_ += writer_->bytes();
    bytes_ = 0;
    writer_.reset();
    return result;
  }

  // After each step of the writer: messages that are in the file since, and, if the step failed,
  // those that were given to it and never will be.
  void settle(const Result<>& step) {
    for (std::size_t topic = 0; topic < topics_.size(); ++topic) {
      const std::uint64_t written = writer_->messages(channels_[topic]);
      if (written > settled_[topic]) {
        count(topic, Outcome::kWritten, written - settled_[topic]);
        chunk_begun_ = 0;
      }
      if (!step && given_[topic] > written) {
        count(topic, Outcome::kFailed, given_[topic] - written);
        given_[topic] = written;
        chunk_begun_ = 0;
      }
      settled_[topic] = written;
    }
    note(step);
  }

  void note(const Result<>& result) {
    {
      const std::lock_guard lock(mutex_);
      if (result || error_) return;
      error_ = result.error();
    }
    if (options_.on_error) options_.on_error();
  }

  void count(std::size_t topic, Outcome outcome, std::uint64_t messages) {
    {
      const std::lock_guard lock(mutex_);
      RecordingCounts& counts = counts_[topic];
      (outcome == Outcome::kWritten     ? counts.written
       : outcome == Outcome::kForgotten ? counts.forgotten
                                        : counts.failed) += messages;
    }
    if (options_.on_outcome) options_.on_outcome(topic, outcome, messages);
  }

  void give_back(std::vector<std::byte>&& buffer) {
    const std::lock_guard lock(mutex_);
    if (spare_.size() < kSpareBuffers) spare_.push_back(std::move(buffer));
  }

  const RecordingOptions options_;
  const std::vector<RecordedTopic> topics_;

  mutable std::mutex mutex_;  // guards the following
  std::condition_variable changed_;
  std::deque<std::optional<Item>> queue_;  // empty: a trigger, in its turn
  std::size_t queued_bytes_ = 0;
  bool closing_ = false;
  std::vector<RecordingCounts> counts_;
  std::vector<std::vector<std::byte>> spare_;
  std::vector<std::string> files_;
  std::uint64_t bytes_before_ = 0;  // of closed files
  std::uint64_t bytes_ = 0;         // of the open one
  std::optional<Error> error_;

  // The worker's own.
  std::unique_ptr<mcap::Writer> writer_;
  std::vector<std::uint16_t> channels_;  // by topic
  std::vector<std::uint64_t> given_;     // by topic: messages given to the open file
  std::vector<std::uint64_t> settled_;   // by topic: those that were counted as written
  std::int64_t chunk_begun_ = 0;         // CLOCK_MONOTONIC; 0 = no chunk is open
  std::size_t file_count_ = 0;
  std::deque<Encoded> ring_;
  std::int64_t event_end_ = 0;
  std::int64_t last_written_ = 0;
  std::vector<std::byte> jpeg_;
  std::vector<std::byte> rgb_;  // of encodings that no JPEG takes
  std::thread worker_;  // the last member: it uses all others
};

}  // namespace

Result<std::unique_ptr<Recording>> Recording::create(const RecordingOptions& options,
                                                     std::vector<RecordedTopic> topics) {
  if (topics.empty()) return fail(ErrorCode::kInvalidArgument, "there is no topic to record");
  auto recording = std::make_unique<RecordingImpl>(options, std::move(topics));
  FOVEA_TRY(recording->start());
  return recording;
}

}  // namespace fovea::bag
