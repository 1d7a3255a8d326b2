// Parts shared by all messages: who, when, and where the payload lies. Names follow std_msgs.
#pragma once

#include "msgs/fields.hpp"

namespace fovea::msgs {

// A stage that a frame passed: CLOCK_MONOTONIC in ns. All stages run on one host, so differences
// between them need no clock synchronisation.
struct StageStamp {
  FixedString<16> stage;     // the node's type: "camera", "preprocess", "detector"
  std::int64_t started = 0;  // the frame has travelled and waited; a source: it was due or captured
  std::int64_t ended = 0;    // what the stage made of it is in the stage's slot or message

  bool operator==(const StageStamp&) const = default;
};

// The way of a frame so far, its source first. A frame that passes more stages keeps the first ones.
using StageStamps = BoundedArray<StageStamp, 8>;

// When the source had the frame, and when the stage before had done its part; 0 = not known.
constexpr std::int64_t captured(const StageStamps& stages) {
  return stages.empty() ? 0 : stages[0].ended;
}
constexpr std::int64_t last_ended(const StageStamps& stages) {
  return stages.empty() ? 0 : stages[stages.size() - 1].ended;
}

struct Header {
  // The instant of capture, CLOCK_MONOTONIC and CLOCK_REALTIME. Of a recording that is played at a
  // rate: when the frame was due, so that a late player cannot hide its delay.
  std::int64_t stamp_monotonic = 0;
  std::int64_t stamp_realtime = 0;
  std::uint64_t seq = 0;        // camera's frame number, from 1; survives a restart of the camera
  std::uint64_t topic_seq = 0;  // number of this message on its topic, from 1; set by the Publisher
  FixedString<32> frame_id;     // the camera's name
  StageStamps stages;

  bool operator==(const Header&) const = default;
};

// Where a payload lies: pool file `fovea.<domain>.<topic>.<incarnation>`, slot number and the
// generation that the slot must still have. bytes = 0 means that the message has no payload.
struct BufferRef {
  std::uint64_t incarnation = 0;
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  std::uint64_t bytes = 0;

  bool operator==(const BufferRef&) const = default;
};

template <>
struct Fields<StageStamp> {
  static constexpr std::string_view kName = "StageStamp";
  static constexpr auto kList =
      std::tuple(field("stage", &StageStamp::stage), field("started", &StageStamp::started, "ns"),
                 field("ended", &StageStamp::ended, "ns"));
};

template <>
struct Fields<Header> {
  static constexpr std::string_view kName = "Header";
  static constexpr auto kList =
      std::tuple(field("stamp_monotonic", &Header::stamp_monotonic, "ns"),
                 field("stamp_realtime", &Header::stamp_realtime, "ns"), field("seq", &Header::seq),
                 field("topic_seq", &Header::topic_seq), field("frame_id", &Header::frame_id),
                 field("stages", &Header::stages));
};

template <>
struct Fields<BufferRef> {
  static constexpr std::string_view kName = "BufferRef";
  static constexpr auto kList = std::tuple(
      field("incarnation", &BufferRef::incarnation), field("slot", &BufferRef::slot),
      field("generation", &BufferRef::generation), field("bytes", &BufferRef::bytes, "bytes"));
};

}  // namespace fovea::msgs
