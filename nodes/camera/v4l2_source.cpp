// The ioctl conversation of v4l2_source.hpp.
#include "nodes/camera/v4l2_source.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nodes/imaging/picture.hpp"
#include "nodes/imaging/yuyv.hpp"

namespace fovea::frames {

namespace {

constexpr std::uint32_t kBufferCount = 4;

struct KnownFormat {
  V4l2Format format;
  std::string_view name;
  std::uint32_t fourcc;
};
// In order of preference: least work first.
constexpr std::array kKnownFormats{
    KnownFormat{V4l2Format::kBgr24, "bgr24", V4L2_PIX_FMT_BGR24},
    KnownFormat{V4l2Format::kYuyv, "yuyv", V4L2_PIX_FMT_YUYV},
    KnownFormat{V4l2Format::kMjpg, "mjpg", V4L2_PIX_FMT_MJPEG},
};

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

template <class Argument>
int retry_ioctl(int fd, unsigned long request, Argument* argument) {
  int result = 0;
  do {
    result = ::ioctl(fd, request, argument);
  } while (result < 0 && errno == EINTR);
  return result;
}

v4l2_buffer make_buffer(std::uint32_t index = 0) {
  v4l2_buffer buffer{};
  buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  buffer.memory = V4L2_MEMORY_MMAP;
  buffer.index = index;
  return buffer;
}

}  // namespace

std::optional<V4l2Format> pixel_format_from_name(std::string_view name) {
  for (const KnownFormat& known : kKnownFormats) {
    if (known.name == name) return known.format;
  }
  return std::nullopt;
}

struct V4l2Source::Device {
  explicit Device(int camera_fd)
      : camera(camera_fd), wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~Device() {
    int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    if (streaming) retry_ioctl(camera.get(), VIDIOC_STREAMOFF, &type);
    for (const auto& memory : buffers) ::munmap(memory.data, memory.size);
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // Gives the frame that retrieve() might have wanted back to the driver.
  void release_current() {
    if (!current) return;
    v4l2_buffer buffer = make_buffer(current->index);
    retry_ioctl(camera.get(), VIDIOC_QBUF, &buffer);
    current.reset();
  }

  struct Mapping {
    void* data;
    std::size_t size;
  };
  FileDescriptor camera;
  FileDescriptor wake;  // readable once a stop is requested
  std::vector<Mapping> buffers;
  bool streaming = false;
  V4l2Format format = V4l2Format::kYuyv;
  v4l2_pix_format mode{};
  double fps = 0;
  std::optional<v4l2_buffer> current;
  std::uint64_t next_index = 0;
};

V4l2Source::V4l2Source(std::string name, std::string device, const V4l2Options& v4l2,
                       const SourceOptions& options)
    : FrameSource(std::move(name), options), path_(std::move(device)), v4l2_options_(v4l2) {}

V4l2Source::~V4l2Source() = default;

void V4l2Source::do_close() { device_.reset(); }

Result<> V4l2Source::check_capabilities(const Device& device) const {
  v4l2_capability capability{};
  if (retry_ioctl(device.camera.get(), VIDIOC_QUERYCAP, &capability) < 0) {
    return fail_here(ErrorCode::kInvalidArgument, "is no video4linux2 device");
  }
  const std::uint32_t have = (capability.capabilities & V4L2_CAP_DEVICE_CAPS) != 0
                                 ? capability.device_caps
                                 : capability.capabilities;
  if ((have & V4L2_CAP_VIDEO_CAPTURE) == 0 || (have & V4L2_CAP_STREAMING) == 0) {
    return fail_here(ErrorCode::kUnsupported,
                     "cannot capture by streaming (a camera has several nodes; try another one)");
  }
  return {};
}

Result<> V4l2Source::set_format(Device& device) const {
  std::vector<std::string> offered;
  const KnownFormat* chosen = nullptr;
  v4l2_fmtdesc description{};
  description.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  for (; retry_ioctl(device.camera.get(), VIDIOC_ENUM_FMT, &description) == 0;
       ++description.index) {
    offered.emplace_back(reinterpret_cast<const char*>(description.description));
    for (const KnownFormat& known : kKnownFormats) {
      const bool is_wanted = !v4l2_options_.format || *v4l2_options_.format == known.format;
      if (known.fourcc == description.pixelformat && is_wanted &&
          (chosen == nullptr || known.format < chosen->format)) {
        chosen = &known;
      }
    }
  }
  if (chosen == nullptr) {
    std::string list;
    for (const std::string& name : offered) list += (list.empty() ? "" : ", ") + name;
    return fail_here(ErrorCode::kUnsupported,
                     fmt::format("offers no usable format; it has: {}", list));
  }
  v4l2_format format{};
  format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  if (retry_ioctl(device.camera.get(), VIDIOC_G_FMT, &format) < 0) {
    return fail_here(ErrorCode::kInternal, fmt::format("VIDIOC_G_FMT: {}", std::strerror(errno)));
  }
  if (options().width > 0) format.fmt.pix.width = options().width;
  if (options().height > 0) format.fmt.pix.height = options().height;
  format.fmt.pix.pixelformat = chosen->fourcc;
  format.fmt.pix.field = V4L2_FIELD_NONE;
  format.fmt.pix.bytesperline = 0;
  if (retry_ioctl(device.camera.get(), VIDIOC_S_FMT, &format) < 0) {
    const ErrorCode code = errno == EBUSY ? ErrorCode::kUnavailable : ErrorCode::kUnsupported;
    return fail_here(code, fmt::format("format {}: {}", chosen->name, std::strerror(errno)));
  }
  device.mode = format.fmt.pix;
  device.format = chosen->format;
  if (device.mode.pixelformat != chosen->fourcc || device.mode.width == 0 ||
      device.mode.height == 0) {
    return fail_here(ErrorCode::kUnsupported, fmt::format("does not accept {}", chosen->name));
  }
  return {};
}

// A driver without adjustable rate keeps its own; the value it reports is the nominal rate.
void V4l2Source::set_rate(Device& device) const {
  v4l2_streamparm parameters{};
  parameters.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  if (retry_ioctl(device.camera.get(), VIDIOC_G_PARM, &parameters) < 0) return;
  v4l2_fract& interval = parameters.parm.capture.timeperframe;
  if (options().fps > 0 && (parameters.parm.capture.capability & V4L2_CAP_TIMEPERFRAME) != 0) {
    interval.numerator = 1000;
    interval.denominator = static_cast<std::uint32_t>(std::lround(options().fps * 1000));
    retry_ioctl(device.camera.get(), VIDIOC_S_PARM, &parameters);
  }
  if (interval.numerator > 0) {
    device.fps = static_cast<double>(interval.denominator) / interval.numerator;
  }
}

Result<> V4l2Source::start(Device& device) const {
  const auto failed = [&](std::string_view step) {
    const ErrorCode code = errno == EBUSY ? ErrorCode::kUnavailable : ErrorCode::kInternal;
    return fail_here(code, fmt::format("{}: {}", step, std::strerror(errno)));
  };
  v4l2_requestbuffers request{};
  request.count = kBufferCount;
  request.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  request.memory = V4L2_MEMORY_MMAP;
  if (retry_ioctl(device.camera.get(), VIDIOC_REQBUFS, &request) < 0)
    return failed("VIDIOC_REQBUFS");
  for (std::uint32_t i = 0; i < request.count; ++i) {
    v4l2_buffer buffer = make_buffer(i);
    if (retry_ioctl(device.camera.get(), VIDIOC_QUERYBUF, &buffer) < 0) {
      return failed("VIDIOC_QUERYBUF");
    }
    void* data = ::mmap(nullptr, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED,
                        device.camera.get(), buffer.m.offset);
    if (data == MAP_FAILED) return failed("mapping its buffers");
    device.buffers.push_back({data, buffer.length});
    if (retry_ioctl(device.camera.get(), VIDIOC_QBUF, &buffer) < 0) return failed("VIDIOC_QBUF");
  }
  if (device.buffers.empty()) return fail_here(ErrorCode::kExhausted, "its driver has no buffers");
  int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  if (retry_ioctl(device.camera.get(), VIDIOC_STREAMON, &type) < 0)
    return failed("VIDIOC_STREAMON");
  device.streaming = true;
  return {};
}

Result<SourceInfo> V4l2Source::do_open(const std::stop_token&) {
  const int fd = ::open(path_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) {
    const ErrorCode code = errno == ENOENT || errno == ENODEV || errno == ENXIO
                               ? ErrorCode::kNotFound
                               : ErrorCode::kUnavailable;
    return fail_here(code, std::strerror(errno));
  }
  auto device = std::make_unique<Device>(fd);
  if (device->wake.get() < 0) return fail_here(ErrorCode::kExhausted, std::strerror(errno));
  FOVEA_TRY(check_capabilities(*device));
  FOVEA_TRY(set_format(*device));
  set_rate(*device);
  FOVEA_TRY(start(*device));
  SourceInfo info;
  info.width = device->mode.width;
  info.height = device->mode.height;
  info.fps = device->fps;
  info.is_live = true;
  device_ = std::move(device);
  return info;
}

Result<Grab> V4l2Source::advance(Nanoseconds timeout, const std::stop_token& stop) {
  Device& device = *device_;
  device.release_current();
  std::uint64_t earlier_stop = 0;
  [[maybe_unused]] const auto drained =
      ::read(device.wake.get(), &earlier_stop, sizeof earlier_stop);
  const std::stop_callback wake_up(stop, [&device] {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(device.wake.get(), &one, sizeof one);
  });
  const Nanoseconds deadline = deadline_after(clock().monotonic(), timeout);
  Grab grab;
  while (true) {
    if (stop.stop_requested()) {
      grab.status = GrabStatus::kStopped;
      return grab;
    }
    v4l2_buffer buffer = make_buffer();
    if (retry_ioctl(device.camera.get(), VIDIOC_DQBUF, &buffer) == 0) {
      if (buffer.index >= device.buffers.size()) {
        return fail_here(ErrorCode::kInternal, "its driver returned an unknown buffer");
      }
      device.current = buffer;
      grab.frame.index = device.next_index++;
      if ((buffer.flags & V4L2_BUF_FLAG_ERROR) != 0) {
        grab.status = GrabStatus::kBadFrame;
        grab.detail = "the driver marked the frame as damaged";
        return grab;
      }
      grab.status = GrabStatus::kFrame;
      grab.frame.width = device.mode.width;
      grab.frame.height = device.mode.height;
      if ((buffer.flags & V4L2_BUF_FLAG_TIMESTAMP_MASK) == V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC) {
        grab.frame.stamp_monotonic =
            std::int64_t{buffer.timestamp.tv_sec} * 1'000'000'000 + buffer.timestamp.tv_usec * 1000;
        const std::int64_t age = clock().monotonic().count() - grab.frame.stamp_monotonic;
        grab.frame.stamp_realtime = clock().realtime().count() - age;
      }
      return grab;
    }
    if (errno != EAGAIN) {
      return fail_here(ErrorCode::kUnavailable,
                       fmt::format("the camera is lost: {}", std::strerror(errno)));
    }
    const Nanoseconds left = deadline - clock().monotonic();
    if (left <= Nanoseconds(0)) return grab;
    const timespec wait{left.count() / 1'000'000'000, left.count() % 1'000'000'000};
    std::array<pollfd, 2> events{
        {{device.camera.get(), POLLIN, 0}, {device.wake.get(), POLLIN, 0}}};
    const int ready = ::ppoll(events.data(), events.size(), &wait, nullptr);
    if (ready > 0 && (events[0].revents & (POLLERR | POLLHUP)) != 0) {
      return fail_here(ErrorCode::kUnavailable, "the camera is lost");
    }
  }
}

Result<std::size_t> V4l2Source::convert(const ImageTarget& destination) {
  const Device& device = *device_;
  const v4l2_buffer& buffer = *device.current;
  const auto& memory = device.buffers[buffer.index];
  const std::size_t bytes_per_pixel = device.format == V4l2Format::kYuyv ? 2 : 3;
  const std::size_t row_bytes = bytes_per_pixel * destination.width;
  const std::size_t step = std::max<std::size_t>(device.mode.bytesperline, row_bytes);
  const bool is_raw = device.format != V4l2Format::kMjpg;
  const std::size_t used = std::min<std::size_t>(buffer.bytesused, memory.size);
  if (used == 0 || (is_raw && used < step * (destination.height - 1) + row_bytes)) {
    return fail_here(ErrorCode::kCorrupt, fmt::format("the frame has only {} bytes", used));
  }
  const auto* pixels = static_cast<const std::byte*>(memory.data);
  switch (device.format) {
    case V4l2Format::kBgr24:
      imaging::place_upright(pixels, step, imaging::Orientation::kUpright, destination);
      return std::size_t{0};
    case V4l2Format::kYuyv:
      imaging::yuyv_to_bgr(pixels, step, destination);
      return std::size_t{0};
    case V4l2Format::kMjpg:
      break;
  }
  const std::span<const std::byte> jpeg(pixels, used);
  const imaging::PictureOptions picture_options{.max_pixels = options().max_pixels,
                                                .needs_end_marker = false};
  const auto picture = imaging::inspect_picture(jpeg, picture_options);
  if (!picture) return fail(picture.error().with_context("the frame"));
  if (picture->width != destination.width || picture->height != destination.height) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("the frame is {}x{}; the camera said {}x{}", picture->width,
                            picture->height, destination.width, destination.height));
  }
  auto copied = imaging::decode_picture(jpeg, *picture, destination, picture_options);
  if (!copied) return fail(copied.error().with_context("the frame"));
  return copied;
}

}  // namespace fovea::frames
