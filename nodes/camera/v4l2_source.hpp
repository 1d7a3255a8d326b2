// Cameras that Linux's video4linux2 drives, by its memory-mapped buffers: the driver fills a
// buffer, and the conversion to bgr8 writes straight into the destination. Unplugged or stalled
// cameras are ordinary results.
//
// Thread safety: as FrameSource.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "nodes/camera/frame_source.hpp"

namespace fovea::frames {

enum class V4l2Format { kBgr24, kYuyv, kMjpg };

// `bgr24`, `yuyv` or `mjpg`.
std::optional<V4l2Format> pixel_format_from_name(std::string_view name);

struct V4l2Options {
  std::optional<V4l2Format>
      format;  // nullopt: the first that the camera has, in the order of the enum
};

class V4l2Source final : public FrameSource {
 public:
  V4l2Source(std::string name, std::string device, const V4l2Options& v4l2,
             const SourceOptions& options);
  ~V4l2Source() override;

 private:
  struct Device;

  Result<SourceInfo> do_open(const std::stop_token& stop) override;
  void do_close() override;
  Result<Grab> advance(Nanoseconds timeout, const std::stop_token& stop) override;
  Result<std::size_t> convert(const ImageTarget& destination) override;

  Result<> check_capabilities(const Device& device) const;
  Result<> set_format(Device& device) const;
  void set_rate(Device& device) const;
  Result<> start(Device& device) const;

  std::string path_;
  V4l2Options v4l2_options_;
  std::unique_ptr<Device> device_;
};

}  // namespace fovea::frames
