#include "nodes/postprocess/decode_kernels.hpp"
namespace fovea::decode_kernels {
const Kernels& best_kernels() { return scalar_kernels(); }
}  // namespace fovea::decode_kernels
