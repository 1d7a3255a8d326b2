#include "nodes/detector/engine/cuda/kernels/convolution.cuh"
#include "nodes/detector/engine/cuda/kernels/variants.hpp"

FOVEA_CONVOLUTIONS_3X3(FOVEA_CONVOLUTION)
