// The row functions with AVX-512. Only the functions of this file are compiled for it (the pragma
// below follows all standard headers), so nothing that other files share can leak an instruction
// that a CPU lacks.
#if defined(__x86_64__)

#include <cstdint>
#include <utility>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/half.hpp"
#include "nodes/detector/engine/cpu/kernels/rows.hpp"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")

#include "nodes/detector/engine/cpu/kernels/simd_avx512.hpp"

namespace fovea::engine::kernels {
namespace {

struct VectorGrid {
  explicit VectorGrid(const Grid& grid)
      : scale(_mm512_set1_ps(grid.scale)),
        inverse_scale(_mm512_set1_ps(1 / grid.scale)),
        zero_point(_mm512_set1_ps(static_cast<float>(grid.zero_point))),
        integer_zero_point(_mm512_set1_epi32(grid.zero_point)) {}
  __m512 scale;
  __m512 inverse_scale;
  __m512 zero_point;
  __m512i integer_zero_point;
};

template <DataType kType>
inline __m512 load(const void* data, std::int64_t index, __mmask16 lanes, const VectorGrid& grid) {
  if constexpr (kType == DataType::kUint8) {
    const __m128i codes =
        _mm_maskz_loadu_epi8(lanes, static_cast<const std::uint8_t*>(data) + index);
    const __m512i centred = _mm512_sub_epi32(_mm512_cvtepu8_epi32(codes), grid.integer_zero_point);
    return _mm512_mul_ps(_mm512_cvtepi32_ps(centred), grid.scale);
  } else if constexpr (kType == DataType::kFloat16) {
    return _mm512_cvtph_ps(
        _mm256_maskz_loadu_epi16(lanes, static_cast<const std::uint16_t*>(data) + index));
  } else {
    return _mm512_maskz_loadu_ps(lanes, static_cast<const float*>(data) + index);
  }
}

template <DataType kType>
inline void store(void* data, std::int64_t index, __mmask16 lanes, const VectorGrid& grid,
                  __m512 value) {
  if constexpr (kType == DataType::kUint8) {
    __m512 code = _mm512_fmadd_ps(value, grid.inverse_scale, grid.zero_point);
    code = _mm512_min_ps(_mm512_max_ps(code, _mm512_setzero_ps()), _mm512_set1_ps(255));
    _mm_mask_storeu_epi8(static_cast<std::uint8_t*>(data) + index, lanes,
                         _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(code)));
  } else if constexpr (kType == DataType::kFloat16) {
    _mm256_mask_storeu_epi16(static_cast<std::uint16_t*>(data) + index, lanes,
                             _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
  } else {
    _mm512_mask_storeu_ps(static_cast<float*>(data) + index, lanes, value);
  }
}

template <DataType kFrom, DataType kTo, Activation kActivation>
void pointwise_loop(const PointwiseJob& job) {
  const VectorGrid from_grid(job.from.grid);
  const VectorGrid to_grid(job.to_grid);
  const VectorGrid residual_grid(job.residual.grid);
  const __m512 alpha = _mm512_set1_ps(job.alpha);
  std::int64_t pixels = job.pixels;
  std::int64_t channels = job.channels;
  const bool dense = job.repeat == 1 && job.from.stride == channels && job.to_stride == channels &&
                     (job.residual.data == nullptr || job.residual.stride == channels);
  if (dense) channels *= std::exchange(pixels, 1);
  for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
    const std::int64_t from = pixel * job.from.stride;
    const std::int64_t residual = pixel * job.residual.stride;
    const std::int64_t to = pixel * job.repeat * job.to_stride;
    for (std::int64_t channel = 0; channel < channels; channel += 16) {
      const __mmask16 lanes = first_16(channels - channel);
      __m512 value = activate<kActivation>(
          load<kFrom>(job.from.data, from + channel, lanes, from_grid), alpha);
      if (job.residual.data != nullptr) {
        const std::int64_t at = residual + channel;
        __m512 other;
        switch (job.residual.type) {
          case DataType::kUint8:
            other = load<DataType::kUint8>(job.residual.data, at, lanes, residual_grid);
            break;
          case DataType::kFloat16:
            other = load<DataType::kFloat16>(job.residual.data, at, lanes, residual_grid);
            break;
          default:
            other = load<DataType::kFloat32>(job.residual.data, at, lanes, residual_grid);
            break;
        }
        value = _mm512_add_ps(value, other);
      }
      store<kTo>(job.to, to + channel, lanes, to_grid, value);
      if (job.repeat == 2) {
        store<kTo>(job.to, to + job.to_stride + channel, lanes, to_grid, value);
        store<kTo>(job.to, to + job.to_row_stride + channel, lanes, to_grid, value);
        store<kTo>(job.to, to + job.to_row_stride + job.to_stride + channel, lanes, to_grid, value);
      }
    }
  }
}

template <DataType kFrom, DataType kTo>
void pointwise_types(const PointwiseJob& job) {
  switch (job.activation) {
    case Activation::kNone:
      return pointwise_loop<kFrom, kTo, Activation::kNone>(job);
    case Activation::kSilu:
      return pointwise_loop<kFrom, kTo, Activation::kSilu>(job);
    case Activation::kRelu:
      return pointwise_loop<kFrom, kTo, Activation::kRelu>(job);
    case Activation::kLeakyRelu:
      return pointwise_loop<kFrom, kTo, Activation::kLeakyRelu>(job);
    case Activation::kSigmoid:
      return pointwise_loop<kFrom, kTo, Activation::kSigmoid>(job);
    case Activation::kHardSwish:
      return pointwise_loop<kFrom, kTo, Activation::kHardSwish>(job);
  }
}

template <DataType kFrom>
void pointwise_from(const PointwiseJob& job) {
  switch (job.to_type) {
    case DataType::kUint8:
      return pointwise_types<kFrom, DataType::kUint8>(job);
    case DataType::kFloat16:
      return pointwise_types<kFrom, DataType::kFloat16>(job);
    default:
      return pointwise_types<kFrom, DataType::kFloat32>(job);
  }
}

void pointwise(const PointwiseJob& job) {
  switch (job.from.type) {
    case DataType::kUint8:
      return pointwise_from<DataType::kUint8>(job);
    case DataType::kFloat16:
      return pointwise_from<DataType::kFloat16>(job);
    default:
      return pointwise_from<DataType::kFloat32>(job);
  }
}

// Loads, compares and stores one vector of each type.
struct MaximumOfBytes {
  using Element = std::uint8_t;
  static constexpr std::int64_t kLanes = 64;
  using Lanes = __mmask64;
  static Lanes lanes(std::int64_t count) { return first_64(count); }
  static __m512i load(Lanes lanes, const Element* at) { return _mm512_maskz_loadu_epi8(lanes, at); }
  static __m512i larger(__m512i a, __m512i b) { return _mm512_max_epu8(a, b); }
  static void store(Element* at, Lanes lanes, __m512i v) { _mm512_mask_storeu_epi8(at, lanes, v); }
};
struct MaximumOfFloats {
  using Element = float;
  static constexpr std::int64_t kLanes = 16;
  using Lanes = __mmask16;
  static Lanes lanes(std::int64_t count) { return first_16(count); }
  static __m512 load(Lanes lanes, const Element* at) { return _mm512_maskz_loadu_ps(lanes, at); }
  static __m512 larger(__m512 a, __m512 b) {
    return _mm512_max_ps(b, a);
  }  // a wins a tie, as in the scalar form
  static void store(Element* at, Lanes lanes, __m512 v) { _mm512_mask_storeu_ps(at, lanes, v); }
};
struct MaximumOfHalves {
  using Element = std::uint16_t;
  static constexpr std::int64_t kLanes = 16;
  using Lanes = __mmask16;
  static Lanes lanes(std::int64_t count) { return first_16(count); }
  static __m512 load(Lanes lanes, const Element* at) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes, at));
  }
  static __m512 larger(__m512 a, __m512 b) { return _mm512_max_ps(b, a); }
  static void store(Element* at, Lanes lanes, __m512 v) {
    _mm256_mask_storeu_epi16(at, lanes, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
};

template <class Type>
void maximum_of(const MaximumJob& job) {
  const auto* from = static_cast<const typename Type::Element*>(job.from);
  auto* to = static_cast<typename Type::Element*>(job.to);
  for (std::int64_t pixel = 0; pixel < job.pixels; ++pixel) {
    for (std::int64_t channel = 0; channel < job.channels; channel += Type::kLanes) {
      const auto lanes = Type::lanes(job.channels - channel);
      const auto* candidate = from + pixel * job.from_stride + channel;
      auto best = Type::load(lanes, candidate);
      for (int k = 1; k < job.count; ++k) {
        candidate += job.step;
        best = Type::larger(best, Type::load(lanes, candidate));
      }
      Type::store(to + pixel * job.to_stride + channel, lanes, best);
    }
  }
}

void maximum(const MaximumJob& job) {
  switch (job.type) {
    case DataType::kUint8:
      return maximum_of<MaximumOfBytes>(job);
    case DataType::kFloat16:
      return maximum_of<MaximumOfHalves>(job);
    default:
      return maximum_of<MaximumOfFloats>(job);
  }
}

}  // namespace
}  // namespace fovea::engine::kernels

#pragma GCC push_options
#pragma GCC target("avx512vbmi")

namespace fovea::engine::kernels {
namespace {

// The whole table in four registers: two lookups by the low seven bits, chosen by the eighth.
class RegisterTable {
 public:
  explicit RegisterTable(const std::uint8_t* table)
      : t0_(_mm512_loadu_si512(table)),
        t1_(_mm512_loadu_si512(table + 64)),
        t2_(_mm512_loadu_si512(table + 128)),
        t3_(_mm512_loadu_si512(table + 192)) {}
  __m512i operator()(__m512i index) const {
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index),
                                  _mm512_permutex2var_epi8(t0_, index, t1_),
                                  _mm512_permutex2var_epi8(t2_, index, t3_));
  }

 private:
  __m512i t0_, t1_, t2_, t3_;
};

// a + b - zero_point, exactly, in saturating steps: one of (b - zero_point) and (zero_point - b) is
// zero.
inline __m512i add_codes(__m512i a, __m512i b, __m512i zero_point) {
  return _mm512_subs_epu8(_mm512_adds_epu8(a, _mm512_subs_epu8(b, zero_point)),
                          _mm512_subs_epu8(zero_point, b));
}

void table_dense(const TableJob& job) {
  const RegisterTable table(job.table);
  const __m512i zero_point = _mm512_set1_epi8(static_cast<char>(job.residual_zero_point));
  const std::int64_t size = job.pixels * job.channels;
  for (std::int64_t i = 0; i < size; i += 64) {
    const __mmask64 lanes = first_64(size - i);
    __m512i code = table(_mm512_maskz_loadu_epi8(lanes, job.from + i));
    if (job.residual != nullptr) {
      code = add_codes(code, _mm512_maskz_loadu_epi8(lanes, job.residual + i), zero_point);
    }
    _mm512_mask_storeu_epi8(job.to + i, lanes, code);
  }
}

// 16 (32) channels that lie side by side in the strip: one lookup serves four (two) pixels.
template <int kChannels>
struct Narrow {
  static constexpr std::int64_t kPixels = 64 / kChannels;

  static __m512i load(const std::uint8_t* from, std::int64_t stride, std::int64_t count) {
    __m512i all = _mm512_setzero_si512();
    if constexpr (kChannels == 16) {
      const auto pixel = [&](std::int64_t i) __attribute__((target("avx512f,avx512bw,avx512vl"))) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i * stride));
      };
      all = _mm512_castsi128_si512(pixel(0));
      if (count > 1) all = _mm512_inserti32x4(all, pixel(1), 1);
      if (count > 2) all = _mm512_inserti32x4(all, pixel(2), 2);
      if (count > 3) all = _mm512_inserti32x4(all, pixel(3), 3);
    } else {
      const auto pixel = [&](std::int64_t i) __attribute__((target("avx512f,avx512bw,avx512vl"))) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i * stride));
      };
      all = _mm512_castsi256_si512(pixel(0));
      if (count > 1) all = _mm512_inserti64x4(all, pixel(1), 1);
    }
    return all;
  }

  static void store(std::uint8_t* to, std::int64_t stride, std::int64_t count, __m512i all) {
    const auto put = [&](auto part, std::int64_t i)
        __attribute__((target("avx512f,avx512bw,avx512vl"))) {
      if (i >= count) return;
      if constexpr (sizeof(part) == 16) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i * stride), part);
      } else {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i * stride), part);
      }
    };
    if constexpr (kChannels == 16) {
      put(_mm512_castsi512_si128(all), 0);
      put(_mm512_extracti32x4_epi32(all, 1), 1);
      put(_mm512_extracti32x4_epi32(all, 2), 2);
      put(_mm512_extracti32x4_epi32(all, 3), 3);
    } else {
      put(_mm512_castsi512_si256(all), 0);
      put(_mm512_extracti64x4_epi64(all, 1), 1);
    }
  }
};

template <int kChannels>
void table_narrow(const TableJob& job) {
  using Pixels = Narrow<kChannels>;
  const RegisterTable table(job.table);
  const __m512i zero_point = _mm512_set1_epi8(static_cast<char>(job.residual_zero_point));
  for (std::int64_t pixel = 0; pixel < job.pixels; pixel += Pixels::kPixels) {
    const std::int64_t left = job.pixels - pixel;
    const std::int64_t count = left < Pixels::kPixels ? left : Pixels::kPixels;
    __m512i code =
        table(_mm512_maskz_loadu_epi8(first_64(count * kChannels), job.from + pixel * kChannels));
    if (job.residual != nullptr) {
      const std::uint8_t* residual = job.residual + pixel * job.residual_stride;
      code = add_codes(code, Pixels::load(residual, job.residual_stride, count), zero_point);
    }
    Pixels::store(job.to + pixel * job.to_stride, job.to_stride, count, code);
  }
}

void table_vbmi(const TableJob& job) {
  if (job.repeat == 1 && job.from_stride == job.channels) {
    if (job.to_stride == job.channels &&
        (job.residual == nullptr || job.residual_stride == job.channels)) {
      return table_dense(job);
    }
    if (job.channels == 16) return table_narrow<16>(job);
    if (job.channels == 32) return table_narrow<32>(job);
  }
  const RegisterTable table(job.table);
  const __m512i zero_point = _mm512_set1_epi8(static_cast<char>(job.residual_zero_point));
  for (std::int64_t pixel = 0; pixel < job.pixels; ++pixel) {
    const std::uint8_t* from = job.from + pixel * job.from_stride;
    const std::uint8_t* residual = job.residual + pixel * job.residual_stride;
    std::uint8_t* to = job.to + pixel * job.repeat * job.to_stride;
    for (std::int64_t channel = 0; channel < job.channels; channel += 64) {
      const __mmask64 lanes = first_64(job.channels - channel);
      __m512i code = table(_mm512_maskz_loadu_epi8(lanes, from + channel));
      if (job.residual != nullptr) {
        code = add_codes(code, _mm512_maskz_loadu_epi8(lanes, residual + channel), zero_point);
      }
      _mm512_mask_storeu_epi8(to + channel, lanes, code);
      if (job.repeat == 2) {
        _mm512_mask_storeu_epi8(to + job.to_stride + channel, lanes, code);
        _mm512_mask_storeu_epi8(to + job.to_row_stride + channel, lanes, code);
        _mm512_mask_storeu_epi8(to + job.to_row_stride + job.to_stride + channel, lanes, code);
      }
    }
  }
}

}  // namespace
}  // namespace fovea::engine::kernels

#pragma GCC pop_options
#pragma GCC pop_options

namespace fovea::engine::kernels {

const RowFunctions& avx512_rows(bool vbmi) {
  static const RowFunctions kVbmi{"avx512_vbmi", pointwise, table_vbmi, maximum};
  static const RowFunctions kPlain{"avx512", pointwise, scalar_rows().table, maximum};
  return vbmi ? kVbmi : kPlain;
}

}  // namespace fovea::engine::kernels

#endif
