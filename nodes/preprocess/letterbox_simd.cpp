#include "nodes/preprocess/letterbox_kernels.hpp"
namespace fovea::letterbox_kernels {
const Kernels& best_kernels() { return scalar_kernels(); }
}  // namespace fovea::letterbox_kernels
