// What the host hands to the kernels: plain structs that both compilers lay out alike. Pictures are
// [image, y, x, channel]; strides are in bytes where their name says so, else in elements.
#pragma once

#include <cstdint>

namespace fovea::engine::cuda {

// Of memory that kernels read and write.
enum class Scalar : std::int32_t { kHalf, kFloat, kByte };

// The numbers of engine::Activation.
enum class Epilogue : std::int32_t { kNone, kSilu, kRelu, kLeakyRelu, kSigmoid, kHardSwish };

// y = activation(x * w + bias) + residual. Grids: x = tiles of pixels, y = blocks of output channels,
// z = images.
struct ConvolutionArguments {
  const void* x;
  const void* weights;   // as the kernel wants them: see convolution.hpp
  const float* bias;     // padded with zeros to whole blocks of channels
  const float* scales;   // of the sums, per output channel; null: 1
  const void* residual;  // null: none
  void* y;
  std::int64_t x_image, y_image, residual_image;  // bytes from one image to the next
  std::int32_t x_pixel, y_pixel, residual_pixel;  // bytes from one pixel to the next
  std::int32_t height, width, channels;
  std::int32_t out_height, out_width, out_channels;
  std::int32_t kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x;
  std::int32_t pad_top, pad_left;
  std::int32_t groups;
  std::int32_t tiles_x;  // tiles of pixels side by side
  Epilogue activation;
  float alpha;  // kLeakyRelu's slope
  Scalar x_scalar, y_scalar, residual_scalar;
  std::int32_t vectors;  // y and residual may be moved in 16 bytes
};

struct PoolArguments {
  const void* x;
  void* y;
  std::int64_t x_image, y_image;
  std::int32_t x_pixel, y_pixel;
  std::int32_t height, width, channels, out_height, out_width;
  std::int32_t kernel_height, kernel_width, stride_y, stride_x, pad_top, pad_left;
  std::int32_t average;        // else the maximum
  std::int32_t count_padding;  // of an average
  Scalar scalar;
};

inline constexpr int kMaxAxes = 8;

// One operand of a map: where index 0 of an image lies, and how far apart indices are; 0 repeats.
struct MapOperand {
  void* data;
  std::int64_t image;  // bytes; 0: the same for every image
  Scalar scalar;
  std::int32_t strides[kMaxAxes];
};

enum class MapOp : std::int32_t {
  kCopy,
  kSigmoid,
  kSilu,
  kRelu,
  kLeakyRelu,
  kHardSwish,
  kHardSigmoid,
  kExp,
  kLog,
  kSqrt,
  kNeg,
  kFloor,
  kErf,
  kGelu,
  kTanh,
  kSin,
  kCos,
  kClip,
  kAdd,
  kSub,
  kMul,
  kDiv,
  kPow,
  kMin,
  kMax,
};

// Element by element: to = op(a, b). Axes outermost first.
struct MapArguments {
  MapOperand a, b, to;
  MapOp op;
  std::int32_t axes;
  std::int32_t extents[kMaxAxes];
  std::int64_t elements;  // of one image
  float alpha, beta;      // kLeakyRelu: slope; kHardSigmoid: slope, offset; kClip: ends
};

enum class ReduceOp : std::int32_t { kSum, kMean, kMax, kL2, kSoftmax, kNormalize };

// Over the last `reduced` axes: one number per row; kSoftmax and kNormalize: a row per row.
struct ReduceArguments {
  MapOperand from, to;
  const float* scale;  // kNormalize: by index in the row, null: 1 and 0
  const float* offset;
  ReduceOp op;
  std::int32_t outer_axes, reduced;
  std::int32_t extents[kMaxAxes];
  std::int32_t rows, row;  // of one image; elements of a row
  float epsilon;
};

// to[batch][m][n] = sum over k of a[batch][m][k] * b[batch][k][n].
struct MatMulArguments {
  MapOperand a, b, to;  // strides: the batch's axes, then the two of the matrix
  std::int32_t batch_axes;
  std::int32_t batch_extents[kMaxAxes];
  std::int32_t batches, m, n, k;
};

// Pictures; `linear`: by the mean of four neighbours, else the nearest.
struct ResizeArguments {
  const void* x;
  void* y;
  std::int64_t x_image, y_image;
  std::int32_t x_pixel, y_pixel;
  std::int32_t height, width, channels, out_height, out_width;
  std::int32_t linear;
  std::int32_t whole;   // nearest by a whole factor of this much; 0: by the tables
  const void* rows;     // per output y, where in the input it lies: i32, or f32 if linear
  const void* columns;  // the same of x
  Scalar scalar;
};

}  // namespace fovea::engine::cuda
