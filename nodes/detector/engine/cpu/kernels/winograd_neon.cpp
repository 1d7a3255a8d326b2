// Winograd's transforms with NEON.
#include <cstdint>

#include <arm_neon.h>

#include "nodes/detector/engine/cpu/kernels/winograd.hpp"

// The vectors first.
// clang-format off
#include "nodes/detector/engine/cpu/kernels/neon_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/winograd_template.hpp"
// clang-format on

namespace fovea::engine::kernels {

WinogradFunctions neon_winograd(DataType source);

WinogradFunctions neon_winograd(DataType source) { return functions_of(source); }

}  // namespace fovea::engine::kernels
