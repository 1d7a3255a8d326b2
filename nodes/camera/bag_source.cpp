#include "nodes/camera/bag_source.hpp"

#include <cmath>
#include <cstring>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/base/file_io.hpp"

namespace fovea::frames {
namespace {

constexpr double kDefaultFps = 10;  // of a recording with a single frame

bool is_image_schema(const mcap::Schema* schema) {
  return schema != nullptr &&
         (schema->name == bag::kImageSchemaName || schema->name == bag::kCompressedImageSchemaName);
}

}  // namespace

BagSource::BagSource(std::string name, std::string path, std::string topic,
                     const SourceOptions& options)
    : FrameSource(std::move(name), options), path_(std::move(path)), topic_(std::move(topic)) {}

Result<const mcap::Channel*> BagSource::find_channel() const {
  std::vector<std::string> available;
  const mcap::Channel* found = nullptr;
  for (const mcap::Channel& channel : reader_->channels()) {
    if (!is_image_schema(reader_->find_schema(channel.schema_id))) continue;
    available.push_back(channel.topic);
    if (topic_.empty() || channel.topic == topic_) found = &channel;
  }
  if (available.empty()) {
    return fail_here(ErrorCode::kUnsupported,
                     "has no topic with images (sensor_msgs/msg/Image or CompressedImage)");
  }
  if (found == nullptr || (topic_.empty() && available.size() > 1)) {
    return fail_here(ErrorCode::kInvalidArgument, fmt::format("topic is '{}'; it must be one of {}",
                                                              topic_, fmt::join(available, ", ")));
  }
  return found;
}

Result<> BagSource::check_files() const {
  if (const auto readable = check_readable(path_); !readable) {
    return fail_here(readable.error().code, readable.error().message);
  }
  return {};
}

Result<SourceInfo> BagSource::do_open(const std::stop_token&) {
  auto opened = mcap::Reader::open(path_);
  if (!opened) return fail_here(opened.error().code, opened.error().message);
  reader_ = std::move(*opened);
  FOVEA_ASSIGN(const mcap::Channel* channel, find_channel());
  topics_ = {channel->topic};
  compressed_ = reader_->find_schema(channel->schema_id)->name == bag::kCompressedImageSchemaName;

  const mcap::Summary& summary = reader_->summary();
  const auto counted = summary.messages_by_channel.find(channel->id);
  if (counted == summary.messages_by_channel.end()) {
    return fail_here(ErrorCode::kCorrupt, fmt::format("has no message of {}", channel->topic));
  }
  SourceInfo info;
  info.frame_count = counted->second;
  info.loops = options().loop;
  info.warning = summary.damage;
  const std::int64_t offset = std::llround(options().start_offset * 1e9);
  if (__builtin_add_overflow(summary.start_time, offset, &first_time_)) {
    first_time_ = std::numeric_limits<std::int64_t>::max();
  }
  reader_->seek(first_time_, topics_);
  // The first readable frame tells the size; one that cannot be read is reported when its turn
  // comes.
  auto first = load_next();
  while (!first) first = load_next();
  const bool any = *first;
  if (!any) {
    return fail_here(ErrorCode::kInvalidArgument,
                     fmt::format("start is {} s; no frame of {} comes after it",
                                 options().start_offset, channel->topic));
  }
  info.width = current_.width;
  info.height = current_.height;
  const double seconds =
      static_cast<double>(mcap::time_between(summary.start_time, summary.end_time)) / 1e9;
  info.fps = seconds > 0 && counted->second > 1 ? static_cast<double>(counted->second - 1) / seconds
                                                : kDefaultFps;
  info.duration = static_cast<double>(counted->second) / info.fps;
  timeline_ = MediaTimeline(Nanoseconds(std::llround(1e9 / info.fps)));
  do_rewind();
  return info;
}

void BagSource::do_rewind() {
  reader_->seek(first_time_, topics_);
  next_index_ = 0;
  missing_ = 0;
}

void BagSource::do_close() {
  current_ = {};
  reader_.reset();
}

Result<bool> BagSource::load_next() {
  const std::uint64_t skipped_before = reader_->skipped();
  time_.reset();
  item_.clear();
  auto message = reader_->next();
  if (!message) {
    item_ = message.error().message;
    missing_ = reader_->skipped() - skipped_before - 1;
    return fail(std::move(message).error());
  }
  if (!*message) return false;
  std::string why;
  if (!bag::from_cdr((*message)->data, compressed_, current_, &why)) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("message {} is no image that can be read{}{}", (*message)->sequence,
                            why.empty() ? "" : ": ", why));
  }
  const auto of_message = [&](const Error& error) {
    return fail(error.with_context(fmt::format("message {}", (*message)->sequence)));
  };
  if (compressed_) {
    const auto picture =
        imaging::inspect_picture(current_.data, {.max_pixels = options().max_pixels});
    if (!picture) return of_message(picture.error());
    picture_ = *picture;
    current_.width = picture->width;
    current_.height = picture->height;
  }
  time_ = Nanoseconds((*message)->publish_time);
  return true;
}

Result<Grab> BagSource::advance(Nanoseconds, const std::stop_token&) {
  Grab grab;
  if (missing_ > 0) {  // why was said with the first one of the damaged chunk
    --missing_;
    grab.status = GrabStatus::kBadFrame;
    grab.frame.index = next_index_++;
    grab.media_time = timeline_.last();
    return grab;
  }
  auto loaded = load_next();
  if (loaded && !*loaded) {
    if (!options().loop || next_index_ == 0) return Grab{.status = GrabStatus::kEndOfStream};
    do_rewind();
    timeline_.start_pass();
    loaded = load_next();
  }
  grab.frame.index = next_index_++;
  grab.media_time = time_ ? timeline_.next(time_) : timeline_.last();
  if (!timeline_.trouble().empty()) warn(timeline_.trouble());
  if (!loaded) {
    grab.status = GrabStatus::kBadFrame;
    grab.detail = loaded.error().message;
    return grab;
  }
  grab.status = *loaded ? GrabStatus::kFrame : GrabStatus::kEndOfStream;
  grab.frame.width = current_.width;
  grab.frame.height = current_.height;
  return grab;
}

Result<std::size_t> BagSource::convert(const ImageTarget& destination) {
  if (compressed_) return imaging::decode_picture(current_.data, picture_, destination);
  const std::byte* from = current_.data.data();
  std::byte* to = destination.data;
  for (std::uint32_t y = 0; y < destination.height; ++y) {
    if (current_.encoding == msgs::Encoding::kBgr8) {
      std::memcpy(to, from, std::size_t{3} * destination.width);
    } else {
      const std::byte* chroma = nullptr;
      if (current_.encoding == msgs::Encoding::kNv12) {
        chroma = current_.data.data() + (std::size_t{destination.height} + y / 2) * current_.step;
      }
      convert_pixels(current_.encoding, reinterpret_cast<const std::uint8_t*>(from),
                     reinterpret_cast<const std::uint8_t*>(chroma), destination.width,
                     ChannelOrder::kBgr, reinterpret_cast<std::uint8_t*>(to));
    }
    from += current_.step;
    to += destination.step;
  }
  return std::size_t{0};
}

}  // namespace fovea::frames
