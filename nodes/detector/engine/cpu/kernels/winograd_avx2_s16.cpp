// Winograd's transforms of u8 pixels in integers, and the products between them, with AVX2.
#include <cstdint>
#include <iterator>
#include <utility>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/tile.hpp"
#include "nodes/detector/engine/cpu/kernels/winograd.hpp"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

#include "nodes/detector/engine/cpu/kernels/avx2_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/tile_template.hpp"
#include "nodes/detector/engine/cpu/kernels/vector_math.hpp"

namespace fovea::engine::kernels {
namespace {

constexpr int kOut = kWinogradOut;
constexpr int kSide = kWinogradSide;

// Two channels of 16 bits a step; results are sums modulo 2^32, as they are.
struct Words256 {
  using Sum = __m256i;
  static constexpr bool kHasCodes = false;
  static constexpr bool kPrefetch = false;
  static Sum load(const std::byte* start) { return load_integers(start); }
  // One piece, for g++ 12 hoists products out of intrinsics and spills sums.
  static Sum multiply_add(Sum sum, __m256i x, __m256i w) {
    __m256i products;
    asm("vpmaddwd %3, %2, %1\n\t"
        "vpaddd %1, %0, %0"
        : "+x"(sum), "=&x"(products)
        : "x"(x), "x"(w));
    return sum;
  }
  static Floats result(Sum sum, const TileJob& /*job*/, std::int64_t /*channel*/) {
    return _mm256_castsi256_ps(sum);
  }
};

// 16 channels of 16 bits.
struct Words {
  __m256i value;
};
inline Words operator+(Words a, Words b) { return {_mm256_add_epi16(a.value, b.value)}; }
inline Words operator-(Words a, Words b) { return {_mm256_sub_epi16(a.value, b.value)}; }
inline Words times_4(Words a) { return {_mm256_slli_epi16(a.value, 2)}; }

void transform_line(const Words (&d)[kSide], Words (&to)[kSide]) {
  const Words even = d[4] - times_4(d[2]);
  const Words odd = d[3] - times_4(d[1]);
  const Words near = d[4] - d[2];
  const Words half = d[3] - d[1];
  to[0] = times_4(d[0]) + even - d[2];
  to[1] = even + odd;
  to[2] = even - odd;
  to[3] = near + half + half;
  to[4] = near - half - half;
  to[5] = times_4(d[1]) - times_4(d[3]) - d[3] + d[5];
}

void input(const WinogradInputJob& job) {
  const auto* source = static_cast<const std::byte*>(job.source);
  auto* to = static_cast<std::int16_t*>(job.to);
  for (std::int64_t channel = 0; channel < job.channels; channel += 16) {
    const std::int64_t left = job.channels - channel;
    Words columns[kSide][kSide];  // [column][transformed row]
#pragma GCC unroll 6
    for (int x = 0; x < kSide; ++x) {
      Words d[kSide];
#pragma GCC unroll 6
      for (int y = 0; y < kSide; ++y) {
        const std::byte* from = source + y * job.row_stride + x * job.pixel_stride + channel;
        d[y].value = _mm256_cvtepu8_epi16(load_some(from, left < 16 ? left : 16));
      }
      transform_line(d, columns[x]);
    }
#pragma GCC unroll 6
    for (int y = 0; y < kSide; ++y) {
      Words d[kSide];
#pragma GCC unroll 6
      for (int x = 0; x < kSide; ++x) d[x] = columns[x][y];
      Words row[kSide];
      transform_line(d, row);
#pragma GCC unroll 6
      for (int x = 0; x < kSide; ++x) {
        std::int16_t* at = to + (y * kSide + x) * job.to_plane + channel;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), row[x].value);
      }
    }
  }
}

struct Sums {
  __m256i value;
};
inline Sums operator+(Sums a, Sums b) { return {_mm256_add_epi32(a.value, b.value)}; }
inline Sums operator-(Sums a, Sums b) { return {_mm256_sub_epi32(a.value, b.value)}; }
inline Sums times_4(Sums a) { return {_mm256_slli_epi32(a.value, 2)}; }
inline Sums times_6(Sums a) { return times_4(a) + a + a; }

// Results 24, 12, 6 and 6 times too large.
void transform_line_back(const Sums (&p)[kSide], Sums (&to)[kOut]) {
  const Sums ones = p[1] + p[2];
  const Sums one_apart = p[2] - p[1];
  const Sums twos = p[3] + p[4];
  const Sums two_apart = p[3] - p[4];
  to[0] = times_6(p[0]) - times_4(ones) + twos;
  to[1] = one_apart + one_apart + two_apart;
  to[2] = twos - ones;
  to[3] = one_apart + two_apart + two_apart + times_6(p[5]);
}

// The convolution's sum of output (y, x), from one that is 576, 288, ... 36 times too large: the
// power of two goes by a shift, 9 by its inverse modulo 2^32.
template <int kShift>
__m256i exact_sum(Sums sum) {
  constexpr int kInverseOf9 = 0x38E38E39;
  return _mm256_srai_epi32(_mm256_mullo_epi32(sum.value, set_integer(kInverseOf9)), kShift);
}
constexpr int kShifts[kOut] = {3, 2, 1, 1};

template <int kX, int kY>
void finish(Sums sum, const WinogradOutputJob& job, std::int64_t channel) {
  const __m256i whole = _mm256_add_epi32(exact_sum<kShifts[kX] + kShifts[kY]>(sum),
                                         load_integers(job.start + channel));
  const Floats result = multiply_add(to_floats(whole), load_floats(job.scale + channel),
                                     load_floats(job.bias + channel));
  const std::int64_t at = kY * job.row_stride + kX * job.pixel_stride + channel;
  if (job.codes) {
    store_codes(static_cast<std::byte*>(job.to) + at, to_code(result));
  } else {
    store_floats(static_cast<float*>(job.to) + at, result);
  }
}
template <int kY>
void finish_row(const Sums (&row)[kOut], const WinogradOutputJob& job, std::int64_t channel) {
  finish<0, kY>(row[0], job, channel);
  finish<1, kY>(row[1], job, channel);
  finish<2, kY>(row[2], job, channel);
  finish<3, kY>(row[3], job, channel);
}

void output(const WinogradOutputJob& job) {
  const auto* from = static_cast<const std::int32_t*>(job.from);
  for (std::int64_t channel = 0; channel < job.channels; channel += kLanes) {
    Sums columns[kSide][kOut];
#pragma GCC unroll 6
    for (int x = 0; x < kSide; ++x) {
      Sums p[kSide];
#pragma GCC unroll 6
      for (int y = 0; y < kSide; ++y) {
        p[y].value = load_integers(from + (y * kSide + x) * job.from_plane + channel);
      }
      transform_line_back(p, columns[x]);
    }
    Sums rows[kOut][kOut];
#pragma GCC unroll 4
    for (int y = 0; y < kOut; ++y) {
      Sums p[kSide];
#pragma GCC unroll 6
      for (int x = 0; x < kSide; ++x) p[x] = columns[x][y];
      transform_line_back(p, rows[y]);
    }
    finish_row<0>(rows[0], job, channel);
    finish_row<1>(rows[1], job, channel);
    finish_row<2>(rows[2], job, channel);
    finish_row<3>(rows[3], job, channel);
  }
}

}  // namespace

WinogradFunctions avx2_winograd_s16() { return {input, output}; }

const TileSet& avx2_s16_tiles() {
  static const TileSet kSet = make_tiles<Words256>();
  return kSet;
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
