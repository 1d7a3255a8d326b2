// Winograd's transforms over vectors of any width: the same sums over columns, then over rows; a lane
// is a channel throughout. Included by the winograd_*.cpp files inside their target pragma, after
// the vectors.
#pragma once

namespace fovea::engine::kernels {
namespace {

// factor * x + y
inline Floats add_times(Floats y, float factor, Floats x) {
  return multiply_add(set(factor), x, y);
}

constexpr int kOut = kWinogradOut;
constexpr int kSide = kWinogradSide;

void transform_line(const Floats (&d)[kSide], Floats (&to)[kSide]) {
  const Floats even = add_times(d[4], -4, d[2]);
  const Floats odd = add_times(d[3], -4, d[1]);
  const Floats near = d[4] - d[2];
  const Floats twice = set(2) * (d[3] - d[1]);
  to[0] = add_times(add_times(d[4], -5, d[2]), 4, d[0]);
  to[1] = even + odd;
  to[2] = even - odd;
  to[3] = near + twice;
  to[4] = near - twice;
  to[5] = add_times(add_times(d[5], -5, d[3]), 4, d[1]);
}

void transform_line_back(const Floats (&p)[kSide], Floats (&to)[kOut]) {
  const Floats ones = p[1] + p[2];
  const Floats one_apart = p[1] - p[2];
  const Floats twos = p[3] + p[4];
  const Floats two_apart = p[3] - p[4];
  to[0] = p[0] + ones + twos;
  to[1] = add_times(one_apart, 2, two_apart);
  to[2] = add_times(ones, 4, twos);
  to[3] = add_times(one_apart, 8, two_apart) + p[5];
}

template <DataType kSource>
Floats load(const void* source, std::int64_t index, Lanes lanes) {
  if constexpr (kSource == DataType::kFloat16) {
    return load_halves(static_cast<const std::uint16_t*>(source) + index, lanes);
  } else {
    return load_floats(static_cast<const float*>(source) + index, lanes);
  }
}

template <DataType kSource>
void input(const WinogradInputJob& job) {
  for (std::int64_t channel = 0; channel < job.channels; channel += kLanes) {
    const Lanes lanes = first_lanes(job.channels - channel);
    Floats columns[kSide][kSide];  // [column][transformed row]
#pragma GCC unroll 6
    for (int x = 0; x < kSide; ++x) {
      Floats d[kSide];
#pragma GCC unroll 6
      for (int y = 0; y < kSide; ++y) {
        d[y] =
            load<kSource>(job.source, y * job.row_stride + x * job.pixel_stride + channel, lanes);
      }
      transform_line(d, columns[x]);
    }
#pragma GCC unroll 6
    for (int y = 0; y < kSide; ++y) {
      Floats d[kSide];
#pragma GCC unroll 6
      for (int x = 0; x < kSide; ++x) d[x] = columns[x][y];
      Floats row[kSide];
      transform_line(d, row);
#pragma GCC unroll 6
      for (int x = 0; x < kSide; ++x) {
        store_floats(static_cast<float*>(job.to) + (y * kSide + x) * job.to_plane + channel,
                     row[x]);
      }
    }
  }
}

void output(const WinogradOutputJob& job) {
  for (std::int64_t channel = 0; channel < job.channels; channel += kLanes) {
    const Floats bias = load_floats(job.bias + channel);
    Floats columns[kSide][kOut];
#pragma GCC unroll 6
    for (int x = 0; x < kSide; ++x) {
      Floats p[kSide];
#pragma GCC unroll 6
      for (int y = 0; y < kSide; ++y) {
        p[y] = load_floats(static_cast<const float*>(job.from) + (y * kSide + x) * job.from_plane +
                           channel);
      }
      transform_line_back(p, columns[x]);
    }
#pragma GCC unroll 4
    for (int y = 0; y < kOut; ++y) {
      Floats p[kSide];
#pragma GCC unroll 6
      for (int x = 0; x < kSide; ++x) p[x] = columns[x][y];
      Floats row[kOut];
      transform_line_back(p, row);
#pragma GCC unroll 4
      for (int x = 0; x < kOut; ++x) {
        store_floats(
            static_cast<float*>(job.to) + y * job.row_stride + x * job.pixel_stride + channel,
            row[x] + bias);
      }
    }
  }
}

WinogradFunctions functions_of(DataType source) {
  return {source == DataType::kFloat16 ? input<DataType::kFloat16> : input<DataType::kFloat32>,
          output};
}

}  // namespace
}  // namespace fovea::engine::kernels
