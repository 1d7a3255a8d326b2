// Letterbox against the usual OpenCV routes, both on one thread: resize, copyMakeBorder and
// blobFromImage; for classifiers the middle of the image, antialiased.
//
// Several source images and tensors are used in turns, so that neither side finds its pixels in the
// cache more often than a live camera would let it.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <stdexcept>
#include <vector>

#include <opencv2/core.hpp>
#include <opencv2/dnn.hpp>
#include <opencv2/imgproc.hpp>

#include "bench/compare.hpp"
#include "nodes/preprocess/letterbox.hpp"

namespace {

using fovea::ImageView;
using fovea::Letterbox;
using fovea::ResizeMode;

constexpr int kNetworkSide = 640;
constexpr int kClassifierSide = 224;
constexpr std::size_t kFrames = 4;

struct Size {
  const char* name;
  int width;
  int height;
};
constexpr std::array kSizes{
    Size{"640x480 -> 640x640", 640, 480},     Size{"768x576 -> 640x640", 768, 576},
    Size{"1280x720 -> 640x640", 1280, 720},   Size{"1920x1080 -> 640x640", 1920, 1080},
    Size{"1920x1200 -> 640x640", 1920, 1200}, Size{"3840x2160 -> 640x640", 3840, 2160}};

constexpr std::array kCrops{Size{"640x480 -> 224x224 crop", 640, 480},
                            Size{"1920x1080 -> 224x224 crop", 1920, 1080},
                            Size{"3840x2160 -> 224x224 crop", 3840, 2160}};

Letterbox make(int side, ResizeMode resize, bool force_scalar) {
  auto letterbox = Letterbox::create({.network_width = static_cast<std::uint32_t>(side),
                                      .network_height = static_cast<std::uint32_t>(side),
                                      .resize = resize,
                                      .pad = 114,
                                      .force_scalar = force_scalar});
  if (!letterbox) throw std::runtime_error(letterbox.error().message);
  return std::move(*letterbox);
}

std::vector<cv::Mat> random_frames(const Size& size) {
  std::vector<cv::Mat> frames(kFrames);
  for (cv::Mat& frame : frames) {
    frame.create(size.height, size.width, CV_8UC3);
    cv::randu(frame, 0, 256);
  }
  return frames;
}

void run(Letterbox& letterbox, const cv::Mat& frame, std::vector<std::byte>& tensor) {
  const ImageView view{
      .pixels = {reinterpret_cast<const std::byte*>(frame.data), frame.total() * frame.elemSize()},
      .width = static_cast<std::uint32_t>(frame.cols),
      .height = static_cast<std::uint32_t>(frame.rows),
      .step = static_cast<std::uint32_t>(frame.step),
      .encoding = fovea::msgs::Encoding::kBgr8};
  if (!letterbox.run(view, tensor)) std::abort();
}

std::vector<fovea::bench::Row> compare(const Size& size, int repetitions) {
  const std::vector<cv::Mat> frames = random_frames(size);
  Letterbox best = make(kNetworkSide, ResizeMode::kLetterbox, false);
  Letterbox scalar = make(kNetworkSide, ResizeMode::kLetterbox, true);
  std::vector<std::vector<std::byte>> tensors(kFrames, std::vector<std::byte>(best.output_bytes()));
  const auto transform = best.transform(static_cast<std::uint32_t>(size.width),
                                        static_cast<std::uint32_t>(size.height));
  const int right = kNetworkSide - static_cast<int>(transform.pad_left + transform.new_width);
  const int bottom = kNetworkSide - static_cast<int>(transform.pad_top + transform.new_height);

  std::array<std::size_t, 4> turn{};
  cv::Mat scaled, padded, blob;
  const auto opencv_padded = [&](std::size_t& number) {
    const cv::Mat& frame = frames[number++ % kFrames];
    const cv::Size new_size(static_cast<int>(transform.new_width),
                            static_cast<int>(transform.new_height));
    cv::resize(frame, scaled, new_size, 0, 0, cv::INTER_LINEAR);
    cv::copyMakeBorder(scaled, padded, static_cast<int>(transform.pad_top), bottom,
                       static_cast<int>(transform.pad_left), right, cv::BORDER_CONSTANT,
                       {114, 114, 114});
  };
  const auto opencv_blob = [&] {
    opencv_padded(turn[0]);
    cv::dnn::blobFromImage(padded, blob, 1 / 255.0, {}, {}, true, false);
  };
  // Ends in the same bytes as Letterbox, within 1.
  const auto opencv_u8 = [&] {
    std::vector<std::byte>& tensor = tensors[turn[3] % kFrames];
    opencv_padded(turn[3]);
    cv::Mat rgb(kNetworkSide, kNetworkSide, CV_8UC3, tensor.data());
    cv::cvtColor(padded, rgb, cv::COLOR_BGR2RGB);
  };
  const auto ours = [&](Letterbox& letterbox, std::size_t& number) {
    run(letterbox, frames[number % kFrames], tensors[number % kFrames]);
    ++number;
  };
  return fovea::bench::compare(size.name,
                               {{"OpenCV resize+border+blob (f32 NCHW)", opencv_blob},
                                {"OpenCV resize+border+cvtColor (u8 NHWC)", opencv_u8},
                                {"Letterbox", [&] { ours(best, turn[1]); }},
                                {"Letterbox scalar", [&] { ours(scalar, turn[2]); }}},
                               repetitions);
}

// OpenCV has no triangle filter; INTER_AREA, the nearest it has, averages under a box.
std::vector<fovea::bench::Row> compare_crop(const Size& size, int repetitions) {
  const std::vector<cv::Mat> frames = random_frames(size);
  Letterbox best = make(kClassifierSide, ResizeMode::kCentreCrop, false);
  Letterbox scalar = make(kClassifierSide, ResizeMode::kCentreCrop, true);
  std::vector<std::byte> tensor(best.output_bytes());
  const int side = std::min(size.width, size.height);
  const cv::Rect middle((size.width - side) / 2, (size.height - side) / 2, side, side);
  std::array<std::size_t, 3> turn{};
  cv::Mat scaled;
  const auto opencv = [&] {
    cv::Mat rgb(kClassifierSide, kClassifierSide, CV_8UC3, tensor.data());
    cv::resize(frames[turn[0]++ % kFrames](middle), scaled, rgb.size(), 0, 0, cv::INTER_AREA);
    cv::cvtColor(scaled, rgb, cv::COLOR_BGR2RGB);
  };
  return fovea::bench::compare(
      size.name,
      {{"OpenCV crop+resize (area)+cvtColor (u8 NHWC)", opencv},
       {"Letterbox", [&] { run(best, frames[turn[1]++ % kFrames], tensor); }},
       {"Letterbox scalar", [&] { run(scalar, frames[turn[2]++ % kFrames], tensor); }}},
      repetitions);
}

}  // namespace

int main(int argc, char** argv) {
  bool json = false;
  int repetitions = 201;
  if (!fovea::bench::parse_arguments(argc, argv, json, repetitions)) return 2;
  cv::setNumThreads(1);
  std::vector<fovea::bench::Row> rows;
  for (const Size& size : kSizes) {
    for (auto& row : compare(size, repetitions)) rows.push_back(std::move(row));
  }
  for (const Size& size : kCrops) {
    for (auto& row : compare_crop(size, repetitions)) rows.push_back(std::move(row));
  }
  fovea::bench::print(rows, json);
}
