// The operators that the kernel test checks and the kernel bench times: one table for both.
#pragma once

#include <array>
#include <cstdint>

namespace fovea::kernel_table {

struct Convolution {
  std::int64_t in_channels;
  std::int64_t in_height;
  std::int64_t in_width;
  std::int64_t out_channels;
  std::int64_t kernel;
  std::int64_t stride;
  std::int64_t pad;
  bool activation;
  std::int64_t dilation = 1;
  std::int64_t groups = 1;

  constexpr std::int64_t reach() const { return (kernel - 1) * dilation + 1; }
  constexpr std::int64_t out_height() const { return (in_height + 2 * pad - reach()) / stride + 1; }
  constexpr std::int64_t out_width() const { return (in_width + 2 * pad - reach()) / stride + 1; }
  constexpr double operations() const {
    return 2.0 * static_cast<double>(in_channels / groups * out_channels * kernel * kernel *
                                     out_height() * out_width());
  }
};

// YOLOv8n at 640 x 640, in order of execution.
inline constexpr std::array<Convolution, 63> kYolov8n = {{
    {3, 640, 640, 16, 3, 2, 1, true},  {16, 320, 320, 32, 3, 2, 1, true},
    {32, 160, 160, 32, 1, 1, 0, true}, {16, 160, 160, 16, 3, 1, 1, true},
    {16, 160, 160, 16, 3, 1, 1, true}, {48, 160, 160, 32, 1, 1, 0, true},
    {32, 160, 160, 64, 3, 2, 1, true}, {64, 80, 80, 64, 1, 1, 0, true},
    {32, 80, 80, 32, 3, 1, 1, true},   {32, 80, 80, 32, 3, 1, 1, true},
    {32, 80, 80, 32, 3, 1, 1, true},   {32, 80, 80, 32, 3, 1, 1, true},
    {128, 80, 80, 64, 1, 1, 0, true},  {64, 80, 80, 128, 3, 2, 1, true},
    {128, 40, 40, 128, 1, 1, 0, true}, {64, 40, 40, 64, 3, 1, 1, true},
    {64, 40, 40, 64, 3, 1, 1, true},   {64, 40, 40, 64, 3, 1, 1, true},
    {64, 40, 40, 64, 3, 1, 1, true},   {256, 40, 40, 128, 1, 1, 0, true},
    {128, 40, 40, 256, 3, 2, 1, true}, {256, 20, 20, 256, 1, 1, 0, true},
    {128, 20, 20, 128, 3, 1, 1, true}, {128, 20, 20, 128, 3, 1, 1, true},
    {384, 20, 20, 256, 1, 1, 0, true}, {256, 20, 20, 128, 1, 1, 0, true},
    {512, 20, 20, 256, 1, 1, 0, true}, {384, 40, 40, 128, 1, 1, 0, true},
    {64, 40, 40, 64, 3, 1, 1, true},   {64, 40, 40, 64, 3, 1, 1, true},
    {192, 40, 40, 128, 1, 1, 0, true}, {192, 80, 80, 64, 1, 1, 0, true},
    {32, 80, 80, 32, 3, 1, 1, true},   {32, 80, 80, 32, 3, 1, 1, true},
    {96, 80, 80, 64, 1, 1, 0, true},   {64, 80, 80, 64, 3, 2, 1, true},
    {192, 40, 40, 128, 1, 1, 0, true}, {64, 40, 40, 64, 3, 1, 1, true},
    {64, 40, 40, 64, 3, 1, 1, true},   {192, 40, 40, 128, 1, 1, 0, true},
    {128, 40, 40, 128, 3, 2, 1, true}, {384, 20, 20, 256, 1, 1, 0, true},
    {128, 20, 20, 128, 3, 1, 1, true}, {128, 20, 20, 128, 3, 1, 1, true},
    {384, 20, 20, 256, 1, 1, 0, true}, {64, 80, 80, 64, 3, 1, 1, true},
    {64, 80, 80, 64, 3, 1, 1, true},   {64, 80, 80, 64, 1, 1, 0, false},
    {64, 80, 80, 80, 3, 1, 1, true},   {80, 80, 80, 80, 3, 1, 1, true},
    {80, 80, 80, 80, 1, 1, 0, false},  {128, 40, 40, 64, 3, 1, 1, true},
    {64, 40, 40, 64, 3, 1, 1, true},   {64, 40, 40, 64, 1, 1, 0, false},
    {128, 40, 40, 80, 3, 1, 1, true},  {80, 40, 40, 80, 3, 1, 1, true},
    {80, 40, 40, 80, 1, 1, 0, false},  {256, 20, 20, 64, 3, 1, 1, true},
    {64, 20, 20, 64, 3, 1, 1, true},   {64, 20, 20, 64, 1, 1, 0, false},
    {256, 20, 20, 80, 3, 1, 1, true},  {80, 20, 20, 80, 3, 1, 1, true},
    {80, 20, 20, 80, 1, 1, 0, false},
}};

// YOLO11n's depthwise convolutions at 640 x 640: those of the three heads, and the attention's.
inline constexpr Convolution kDepthwise[] = {
    {64, 80, 80, 64, 3, 1, 1, true, 1, 64},     {80, 80, 80, 80, 3, 1, 1, true, 1, 80},
    {128, 40, 40, 128, 3, 1, 1, true, 1, 128},  {80, 40, 40, 80, 3, 1, 1, true, 1, 80},
    {256, 20, 20, 256, 3, 1, 1, true, 1, 256},  {80, 20, 20, 80, 3, 1, 1, true, 1, 80},
    {128, 20, 20, 128, 3, 1, 1, false, 1, 128},
};

// What models and callers may also ask for: few, odd and many channels, every narrow width, large
// kernels.
inline constexpr Convolution kOdd[] = {
    {3, 9, 11, 8, 3, 2, 1, true},         {3, 13, 13, 16, 6, 2, 2, true},
    {1, 7, 9, 5, 3, 1, 1, true},          {1, 5, 5, 3, 1, 1, 0, true},
    {2, 6, 7, 17, 5, 1, 2, true},         {5, 6, 3, 1, 3, 1, 1, false},
    {17, 5, 17, 33, 3, 1, 1, true},       {80, 4, 19, 144, 1, 1, 0, true},
    {144, 3, 7, 80, 3, 2, 1, true},       {33, 9, 9, 96, 5, 3, 2, true},
    {16, 6, 6, 48, 3, 1, 2, true, 2},     {8, 7, 7, 112, 7, 1, 3, true},
    {64, 3, 1, 64, 1, 1, 0, false},       {64, 3, 2, 64, 3, 1, 1, true},
    {64, 3, 3, 64, 3, 1, 1, true},        {31, 3, 4, 79, 3, 1, 1, true},
    {32, 3, 5, 32, 3, 1, 1, true},        {32, 3, 6, 32, 1, 1, 0, true},
    {16, 3, 8, 16, 3, 1, 1, true},        {16, 3, 12, 16, 3, 1, 1, true},
    {20, 3, 13, 20, 3, 1, 1, true},       {20, 3, 14, 81, 3, 1, 1, true},
    {24, 3, 15, 65, 3, 1, 1, true},       {24, 3, 16, 24, 3, 2, 1, true},
    {16, 3, 18, 16, 3, 1, 1, true},       {16, 2, 21, 16, 3, 1, 1, true},
    {32, 4, 6, 32, 3, 1, 1, true, 1, 32}, {17, 5, 13, 17, 3, 1, 1, true, 1, 17},
    {3, 6, 5, 3, 3, 1, 1, true, 1, 3},    {40, 9, 15, 40, 5, 2, 2, true, 1, 40},
    {48, 7, 9, 48, 3, 1, 2, true, 2, 48}, {600, 3, 10, 600, 3, 1, 1, false, 1, 600},
    {16, 8, 9, 16, 7, 1, 3, true, 1, 16}, {12, 4, 6, 8, 3, 1, 1, true, 1, 2},
    {512, 2, 2, 255, 1, 1, 0, false},     {32, 30, 31, 40, 3, 1, 1, true},
    {32, 9, 10, 40, 3, 1, 0, true},       {32, 9, 10, 40, 3, 1, 2, true},
};

}  // namespace fovea::kernel_table
