// Winograd's transforms with AVX-512.
#include <cstdint>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/winograd.hpp"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")

#include "nodes/detector/engine/cpu/kernels/avx512_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/winograd_template.hpp"

namespace fovea::engine::kernels {

WinogradFunctions avx512_winograd(DataType source) { return functions_of(source); }

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
