// Parts shared by all messages: who, when, and where the payload lies. Names follow std_msgs.
#pragma once

#include "msgs/fields.hpp"

namespace fovea::msgs {

// The instants a frame passed on its way, each CLOCK_MONOTONIC in ns, 0 = not reached yet. All
// stages run on one host, so differences between them need no clock synchronisation.
struct StageStamps {
  std::int64_t captured = 0;             // the frame's pixels are in the camera's slot
  std::int64_t preprocess_started = 0;   // it has travelled and waited; its letterbox begins
  std::int64_t preprocessed = 0;         // its tensor is in the preprocess slot
  std::int64_t inference_started = 0;    // it has travelled and waited; the network begins
  std::int64_t inferred = 0;             // the raw maps are in the detector's slot
  std::int64_t postprocess_started = 0;  // they have travelled and waited; decoding begins
  std::int64_t published = 0;            // its detections are published

  bool operator==(const StageStamps&) const = default;
};

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
struct Fields<StageStamps> {
  static constexpr std::string_view kName = "StageStamps";
  static constexpr auto kList =
      std::tuple(field("captured", &StageStamps::captured, "ns"),
                 field("preprocess_started", &StageStamps::preprocess_started, "ns"),
                 field("preprocessed", &StageStamps::preprocessed, "ns"),
                 field("inference_started", &StageStamps::inference_started, "ns"),
                 field("inferred", &StageStamps::inferred, "ns"),
                 field("postprocess_started", &StageStamps::postprocess_started, "ns"),
                 field("published", &StageStamps::published, "ns"));
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
