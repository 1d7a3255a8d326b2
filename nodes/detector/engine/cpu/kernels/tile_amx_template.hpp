// The loop over AMX tiles as a template over arithmetic and epilogue. Included by the files of AMX
// tiles only, inside their target pragma.
//
// Eight tiles: sums in 0..3, pixels in 4 and 5, weights in 6 and 7. A block of sums is finished
// while the next one is made: what a tile stores cannot be forwarded to a vector load, and the
// epilogue's instructions fill the cycles that products take.
#pragma once

namespace fovea::engine::kernels {
namespace {

// The clobber keeps ordinary stores on their side of the instruction.
template <int kTile>
inline __attribute__((always_inline)) void load_tile(const void* from, std::int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
inline __attribute__((always_inline)) void store_tile(void* to, std::int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(kTile) : "memory");
}

template <int kCount, class Function>
inline __attribute__((always_inline)) void unrolled(Function function) {
  [&]<std::size_t... kIndex>(std::index_sequence<kIndex...>) __attribute__((always_inline)) {
    (function(std::integral_constant<int, static_cast<int>(kIndex)>{}), ...);
  }
  (std::make_index_sequence<kCount>{});
}

// Where the pixels of a block of sums are stored, and where their residuals lie.
struct Places {
  std::byte* to[kAmxJobPixels];
  const std::byte* residual[kAmxJobPixels];
};

// The places of 16 pixels from `first` on. Those that do not count go to `dump`.
inline void place_tile(const AmxJob& job, std::int64_t first, std::int64_t skipped, std::byte* dump,
                       std::byte** to, const std::byte** residual) {
  const auto at = static_cast<std::uint32_t>(job.column + first);
  const auto pitch = static_cast<std::uint32_t>(job.pitch);
  const std::int64_t row = at / pitch;
  std::int64_t column = at % pitch;
  std::byte* place = job.to + row * job.to_row_stride + column * job.to_stride;
  const std::byte* other = job.residual;
  if (other != nullptr) other += row * job.residual_row_stride + column * job.residual_stride;
  if (skipped <= 0 && column + kAmxPixels <= job.columns) {
    for (int i = 0; i < kAmxPixels; ++i) to[i] = place + i * job.to_stride;
    if (other == nullptr) return;
    for (int i = 0; i < kAmxPixels; ++i) residual[i] = other + i * job.residual_stride;
    return;
  }
  for (int i = 0; i < kAmxPixels; ++i) {
    const bool counts = i >= skipped && column < job.columns;
    to[i] = counts ? place : dump;
    residual[i] = counts && other != nullptr ? other : dump;
    place += job.to_stride;
    if (other != nullptr) other += job.residual_stride;
    if (++column < job.pitch) continue;
    column = 0;
    place += job.to_row_stride - job.pitch * job.to_stride;
    if (other != nullptr) other += job.residual_row_stride - job.pitch * job.residual_stride;
  }
}

// Asks for the lines of 16 pixels' results, a block before they are stored.
template <int kBlocks>
inline void fetch(std::byte* const* to) {
  for (int i = 0; i < kAmxPixels; ++i) {
    for (int line = 0; line < kBlocks; ++line) {
      asm volatile("prefetchw %0" ::"m"(to[i][line * kAmxRowBytes]));
    }
  }
}

// Stores results as they are.
struct FloatSink {
  static constexpr bool kSkips = true;
  static constexpr bool kFetches = true;
  explicit FloatSink(const AmxJob& /*job*/) {}
  template <int kBlocks>
  inline __attribute__((always_inline)) void put(__m512 a, __m512 b, __m512 c, __m512 d,
                                                 std::byte* const* to,
                                                 const std::byte* const* /*residual*/) const {
    _mm512_storeu_ps(to[0], a);
    _mm512_storeu_ps(kBlocks == 2 ? to[0] + 64 : to[1], b);
    _mm512_storeu_ps(kBlocks == 2 ? to[1] : to[2], c);
    _mm512_storeu_ps(kBlocks == 2 ? to[1] + 64 : to[3], d);
  }
};

// Turns sums into results, 64 at a time: 4 / kBlocks pixels. Sink: kSkips, whether pixels that do
// not count must be left out; kFetches, whether stores would wait for their lines, which f32's four
// bytes a result push out of L2; put(4 results, places).
template <class Math, class Sink, int kBlocks>
class Finish {
 public:
  explicit Finish(const AmxJob& job) : sink_(job) {
    for (int b = 0; b < kBlocks; ++b) {
      scale_[b] = _mm512_loadu_ps(job.scale + b * 16);
      bias_[b] = _mm512_loadu_ps(job.bias + b * 16);
    }
  }

  int waiting() const { return waiting_; }
  inline __attribute__((always_inline)) void begin(const std::int32_t* sums, const Places& places,
                                                   int tiles) {
    sums_ = sums;
    to_ = places.to;
    residual_ = places.residual;
    waiting_ = tiles * 4 * kBlocks;
  }
  inline __attribute__((always_inline)) void slice() {
    constexpr int kPixels = 4 / kBlocks;
    sink_.template put<kBlocks>(result(0), result(1), result(2), result(3), to_, residual_);
    sums_ += 64;
    to_ += kPixels;
    residual_ += kPixels;
    --waiting_;
  }
  inline __attribute__((always_inline)) void rest() {
    while (waiting_ > 0) slice();
  }

 private:
  inline __attribute__((always_inline)) __m512 result(int i) const {
    return Math::result(sums_ + i * 16, scale_[i % kBlocks], bias_[i % kBlocks]);
  }

  Sink sink_;
  __m512 scale_[kBlocks];
  __m512 bias_[kBlocks];
  const std::int32_t* sums_ = nullptr;
  std::byte* const* to_ = nullptr;
  const std::byte* const* residual_ = nullptr;
  int waiting_ = 0;  // slices
};

// The sums of kTiles * 16 pixels by kBlocks * 16 channels, with as much of the last block's
// epilogue between them as is waiting.
template <class Math, int kBlocks, int kTiles, class Finish>
inline __attribute__((always_inline)) void sum(const AmxJob& job, const std::byte* const* pixels,
                                               std::int32_t* sums, Finish& finish) {
  constexpr std::int64_t kRow = kBlocks * 64;
  unrolled<kTiles * kBlocks>([&](auto i) __attribute__((always_inline)) {
    load_tile<i>(job.start + i % kBlocks * 64, kRow);
  });
  const std::byte* weights = job.weights;
  const std::int64_t pixel_stride = job.pixel_stride;
  const int taps = job.taps;
  const int chunks = job.chunks;
  const std::int64_t chunk_bytes = job.chunk_bytes;
  const std::int64_t weight_step = chunk_bytes / 4 * kRow;
  const int steps = job.kernel_rows * taps * chunks;
  const int slices = finish.waiting();
  int due = 0;
  for (int ky = 0; ky < job.kernel_rows; ++ky) {
    for (int tap = 0; tap < taps; ++tap) {
      std::int64_t at = ky * job.kernel_row_stride + tap * job.tap_stride;
      for (int chunk = 0; chunk < chunks; ++chunk) {
        unrolled<kBlocks>([&](auto b) __attribute__((always_inline)) {
          load_tile<6 + b>(weights + b * 64, kRow);
        });
        unrolled<kTiles>([&](auto t) __attribute__((always_inline)) {
          load_tile<4 + t % 2>(pixels[t] + at, pixel_stride);
          unrolled<kBlocks>([&](auto b) __attribute__((always_inline)) {
            Math::template multiply_add<t * kBlocks + b, 4 + t % 2, 6 + b>();
          });
        });
        at += chunk_bytes;
        weights += weight_step;
        for (due += slices; due >= steps; due -= steps) finish.slice();
      }
    }
  }
  unrolled<kTiles * kBlocks>([&](auto i) __attribute__((always_inline)) {
    store_tile<i>(sums + i / kBlocks * (kAmxPixels * 16 * kBlocks) + i % kBlocks * 16, kRow);
  });
}

template <class Math, class Sink, int kBlocks>
__attribute__((noinline)) void amx_tiles(const AmxJob& job) {
  constexpr int kTiles = 4 / kBlocks;
  constexpr std::int64_t kPixels = kTiles * kAmxPixels;
  alignas(64) std::int32_t sums[2][kPixels * 16 * kBlocks];
  alignas(64) std::byte dump[128] = {};
  Places places[2];
  Finish<Math, Sink, kBlocks> finish(job);
  int turn = 0;
  for (std::int64_t pixel = 0; pixel < job.pixels; pixel += kPixels, turn ^= 1) {
    const int tiles = static_cast<int>(
        std::min<std::int64_t>(kTiles, (job.pixels - pixel + kAmxPixels - 1) / kAmxPixels));
    const std::byte* pixels[kTiles];
    for (int t = 0; t < tiles; ++t) {
      // The last tile is moved back to end with the pixels; what it repeats does not count.
      const std::int64_t first = pixel + t * kAmxPixels;
      const std::int64_t at = std::min(first, job.pixels - kAmxPixels);
      pixels[t] = job.source + at * job.pixel_stride;
      const std::int64_t skipped = Sink::kSkips ? std::max(first, job.skipped) - at : 0;
      place_tile(job, at, skipped, dump, places[turn].to + t * kAmxPixels,
                 places[turn].residual + t * kAmxPixels);
      if constexpr (Sink::kFetches) fetch<kBlocks>(places[turn].to + t * kAmxPixels);
    }
    if (tiles == kTiles) {
      sum<Math, kBlocks, kTiles>(job, pixels, sums[turn], finish);
    } else {
      for (int t = 0; t < tiles; ++t) {
        sum<Math, kBlocks, 1>(job, pixels + t, sums[turn] + t * (kAmxPixels * 16 * kBlocks),
                              finish);
      }
    }
    finish.rest();
    finish.begin(sums[turn], places[turn], tiles);
  }
  finish.rest();
}

}  // namespace
}  // namespace fovea::engine::kernels
