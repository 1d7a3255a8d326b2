// Letterbox against the usual OpenCV route (resize, copyMakeBorder, blobFromImage), both on one
// thread.
//
// Several source images and tensors are used in turns, so that neither side finds its pixels in the
// cache more often than a live camera would let it.
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

constexpr int kNetworkSide = 640;
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

Letterbox make(bool force_scalar) {
  auto letterbox = Letterbox::create({.network_width = kNetworkSide,
                                      .network_height = kNetworkSide,
                                      .pad = 114,
                                      .force_scalar = force_scalar});
  if (!letterbox) throw std::runtime_error(letterbox.error().message);
  return std::move(*letterbox);
}

std::vector<fovea::bench::Row> compare(const Size& size, int repetitions) {
  std::vector<cv::Mat> frames(kFrames);
  for (cv::Mat& frame : frames) {
    frame.create(size.height, size.width, CV_8UC3);
    cv::randu(frame, 0, 256);
  }
  Letterbox best = make(false);
  Letterbox scalar = make(true);
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
    const cv::Mat& frame = frames[number % kFrames];
    const ImageView view{.pixels = {reinterpret_cast<const std::byte*>(frame.data),
                                    frame.total() * frame.elemSize()},
                         .width = static_cast<std::uint32_t>(frame.cols),
                         .height = static_cast<std::uint32_t>(frame.rows),
                         .step = static_cast<std::uint32_t>(frame.step),
                         .encoding = fovea::msgs::Encoding::kBgr8};
    if (!letterbox.run(view, tensors[number++ % kFrames])) std::abort();
  };
  return fovea::bench::compare(size.name,
                               {{"OpenCV resize+border+blob (f32 NCHW)", opencv_blob},
                                {"OpenCV resize+border+cvtColor (u8 NHWC)", opencv_u8},
                                {"Letterbox", [&] { ours(best, turn[1]); }},
                                {"Letterbox scalar", [&] { ours(scalar, turn[2]); }}},
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
  fovea::bench::print(rows, json);
}
