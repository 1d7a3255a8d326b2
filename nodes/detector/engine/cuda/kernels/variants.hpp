// The convolutions that are compiled, one row each; the host's table and the kernels come from the
// same list. See convolution.cuh for the numbers of a row.
//
//   X(kernel, stride, tile height, tile width, channel bytes, rows, blocks, warps m, warps n, warps k, stages)
#pragma once

// clang-format off
#define FOVEA_CONVOLUTIONS_3X3(X) \
  X(3, 1, 8, 8, 32, 1, 1, 4, 1, 1, 1) X(3, 1, 8, 8, 32, 1, 2, 4, 1, 1, 1) \
  X(3, 1, 8, 16, 32, 2, 1, 4, 1, 1, 1) X(3, 1, 8, 16, 32, 2, 2, 4, 1, 1, 1) \
  X(3, 1, 8, 8, 64, 1, 1, 4, 1, 1, 2) X(3, 1, 8, 8, 64, 1, 2, 4, 1, 1, 2) X(3, 1, 4, 20, 64, 1, 2, 5, 1, 1, 2) \
  X(3, 1, 8, 16, 64, 2, 2, 4, 1, 1, 2) X(3, 1, 8, 16, 64, 2, 4, 4, 1, 1, 2) \
  X(3, 1, 4, 8, 128, 1, 2, 2, 1, 2, 2) X(3, 1, 4, 4, 128, 1, 2, 1, 1, 4, 2) X(3, 1, 4, 4, 128, 1, 1, 1, 1, 4, 2) \
  X(3, 1, 8, 8, 128, 1, 1, 4, 1, 1, 2) X(3, 1, 8, 8, 128, 2, 2, 2, 2, 2, 2)
#define FOVEA_CONVOLUTIONS_3X3_STRIDE2(X) \
  X(3, 2, 8, 8, 32, 1, 2, 4, 1, 1, 1) X(3, 2, 4, 20, 32, 1, 2, 5, 1, 1, 1) \
  X(3, 2, 8, 8, 64, 1, 1, 4, 1, 1, 2) X(3, 2, 4, 8, 64, 1, 2, 2, 1, 2, 2) X(3, 2, 4, 20, 64, 1, 4, 5, 1, 1, 2) \
  X(3, 2, 4, 4, 128, 1, 2, 1, 1, 4, 2) X(3, 2, 4, 4, 128, 1, 1, 1, 1, 4, 2) X(3, 2, 8, 8, 128, 1, 4, 4, 1, 1, 1)
#define FOVEA_CONVOLUTIONS_1X1(X) \
  X(1, 1, 1, 64, 32, 1, 1, 4, 1, 1, 2) X(1, 1, 1, 64, 64, 1, 2, 4, 1, 1, 3) X(1, 1, 1, 64, 128, 1, 1, 4, 1, 1, 3) \
  X(1, 1, 1, 64, 128, 1, 2, 4, 1, 1, 3) X(1, 1, 1, 64, 128, 1, 4, 4, 1, 1, 3) X(1, 1, 1, 128, 64, 2, 2, 4, 1, 1, 3) \
  X(1, 1, 1, 128, 128, 2, 2, 4, 1, 1, 3) X(1, 1, 1, 128, 128, 2, 4, 4, 1, 1, 3) X(1, 1, 1, 32, 128, 1, 1, 2, 1, 2, 3) \
  X(1, 1, 1, 32, 128, 1, 2, 2, 1, 2, 3) X(1, 1, 1, 16, 128, 1, 1, 1, 1, 4, 3) X(1, 1, 1, 16, 128, 1, 2, 1, 1, 4, 3) \
  X(1, 1, 1, 64, 160, 1, 5, 4, 1, 1, 1) X(1, 1, 1, 64, 128, 2, 2, 2, 2, 2, 3)
// clang-format on
#define FOVEA_CONVOLUTIONS(X) \
  FOVEA_CONVOLUTIONS_3X3(X) FOVEA_CONVOLUTIONS_3X3_STRIDE2(X) FOVEA_CONVOLUTIONS_1X1(X)

#define FOVEA_CONVOLUTION_NAME(kernel, stride, th, tw, bytes, rows, blocks, wm, wn, wk, stages) \
  convolution_##kernel##_##stride##_##th##x##tw##_##bytes##_##rows##x##blocks##_##wm##x##wn##x##wk##_##stages
