#include "nodes/detector/engine/cuda/kernels/convolution.cuh"
#include "nodes/detector/engine/cuda/kernels/variants.hpp"

FOVEA_CONVOLUTIONS_1X1(FOVEA_CONVOLUTION)
