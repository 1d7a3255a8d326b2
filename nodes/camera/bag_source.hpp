// A recording (MCAP) as a camera: the frames of one image topic, raw or JPEG, in the order in which
// they were captured. What deterministic replays and benches run on.
//
// Reads what `fovea bag record` and rosbag2 write: sensor_msgs/msg/Image (bgr8, rgb8, mono8) and
// sensor_msgs/msg/CompressedImage (what imaging/picture.hpp reads). Played at the pace at which the
// frames were captured. Thread safety: as FrameSource.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/bag/image_record.hpp"
#include "nodes/bag/mcap.hpp"
#include "nodes/camera/frame_source.hpp"
#include "nodes/camera/media_timeline.hpp"
#include "nodes/imaging/picture.hpp"

namespace fovea::frames {

class BagSource final : public FrameSource {
 public:
  // `topic` may be empty if the recording has one topic with images.
  BagSource(std::string name, std::string path, std::string topic, const SourceOptions& options);

  Result<> check_files() const override;
  // The damaged chunk that the frame was in, if it was.
  std::string_view item() const override { return item_; }

 private:
  Result<SourceInfo> do_open(const std::stop_token& stop) override;
  void do_close() override;
  Result<Grab> advance(Nanoseconds timeout, const std::stop_token& stop) override;
  Result<std::size_t> convert(const ImageTarget& destination) override;

  // The channel of the topic; the errors list what the recording has.
  Result<const mcap::Channel*> find_channel() const;
  void do_rewind();
  // Reads the next message into current_ and finds its size; false at the end.
  Result<bool> load_next();

  std::string path_;
  std::string topic_;
  std::unique_ptr<mcap::Reader> reader_;
  std::vector<std::string> topics_;  // the one that is read
  bool compressed_ = false;
  std::int64_t first_time_ = 0;  // where a pass starts, ns since the epoch
  std::uint64_t next_index_ = 0;
  std::uint64_t missing_ = 0;  // frames of a damaged chunk that are still to be reported as bad
  MediaTimeline timeline_;
  std::string item_;
  std::optional<Nanoseconds> time_;  // of current_, since the epoch
  imaging::PictureInfo picture_;     // compressed: of current_
  bag::ImageRecord current_;  // its data lies in the reader until the next message
};

}  // namespace fovea::frames
