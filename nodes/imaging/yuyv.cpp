#include "nodes/imaging/yuyv.hpp"

#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

namespace fovea::imaging {

void yuyv_to_bgr(const std::byte* pixels, std::size_t step, const ImageTarget& target) {
  const int width = static_cast<int>(target.width);
  const int height = static_cast<int>(target.height);
  cv::Mat image(height, width, CV_8UC3, target.data, target.step);
  cv::cvtColor(cv::Mat(height, width, CV_8UC2, const_cast<std::byte*>(pixels), step), image,
               cv::COLOR_YUV2BGR_YUY2);
}

}  // namespace fovea::imaging
