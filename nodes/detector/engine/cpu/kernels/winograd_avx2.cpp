// Winograd's transforms with AVX2.
#include <cstdint>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/winograd.hpp"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

#include "nodes/detector/engine/cpu/kernels/avx2_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/winograd_template.hpp"

namespace fovea::engine::kernels {

WinogradFunctions avx2_winograd(DataType source) { return functions_of(source); }

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
