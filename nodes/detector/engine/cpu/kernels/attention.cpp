// Queries are cut into tasks. A task packs the keys and values of each pair that it meets, which
// takes a few percent of its time, and then goes through its queries in blocks.
#include "nodes/detector/engine/cpu/kernels/attention.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/core.h>

#include "nodes/detector/engine/cpu/kernels/attention_rows.hpp"

namespace fovea::engine::kernels {
namespace {

std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

Result<> check_picture(std::string_view what, const AttentionPicture& picture) {
  FOVEA_TRY(check_surface(what, picture.surface, picture.channels));
  if (picture.surface.type != DataType::kFloat32) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}.type must be f32", what));
  }
  if (picture.height < 1 || picture.width < 1 || picture.channels < 1) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is {} x {} with {} channels", what, picture.width, picture.height,
                            picture.channels));
  }
  return {};
}
Result<> check_place(std::string_view what, const AttentionPicture& picture,
                     const AttentionPlace& place, std::int64_t positions, std::int64_t depth) {
  if (place.pixel >= 0 && place.channel >= 0 &&
      place.pixel <= picture.height * picture.width - positions &&
      place.channel <= picture.channels - depth) {
    return {};
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{} reaches from pixel {} and channel {} beyond its picture, {} x {} with "
                          "{} channels",
                          what, place.pixel, place.channel, picture.width, picture.height,
                          picture.channels));
}

// All pixels of the picture are equally far apart.
bool is_dense(const AttentionPicture& picture) {
  return picture.height == 1 ||
         picture.surface.row_stride == picture.width * picture.surface.pixel_stride;
}
// In floats, from the picture's first.
std::int64_t offset(const AttentionPicture& picture, std::int64_t pixel, std::int64_t channel) {
  return pixel / picture.width * picture.surface.row_stride +
         pixel % picture.width * picture.surface.pixel_stride + channel;
}

// visit(first position, how many) for each run of positions in one row of the picture; one run for
// a dense one.
template <class Visit>
void for_runs(const AttentionPicture& picture, std::int64_t pixel, std::int64_t positions,
              const Visit& visit) {
  for (std::int64_t at = 0; at < positions;) {
    const std::int64_t in_row = picture.width - (pixel + at) % picture.width;
    const std::int64_t count = is_dense(picture) ? positions : std::min(positions - at, in_row);
    visit(at, count);
    at += count;
  }
}

class Attention final : public Kernel {
 public:
  Attention(const AttentionSpec& spec, const AttentionFunctions& functions)
      : spec_(spec), functions_(functions), padded_(round_up(spec.value_dim, functions.lanes)) {
    const std::int64_t keys = round_up(spec.positions, functions.lanes);
    const std::array<std::int64_t, kParts> sizes = {
        keys * spec.key_dim,
        spec.positions * padded_,
        functions.rows * score_stride(spec.positions, functions.lanes),
        functions.rows * spec.key_dim,
        functions.rows * padded_,
        is_dense(spec.k) ? 0 : spec.positions * spec.key_dim};
    for (std::size_t i = 0; i < kParts; ++i) {
      constexpr std::int64_t kLineFloats = 16;
      starts_[i + 1] = starts_[i] + round_up(sizes[i], kLineFloats);
    }
  }

  std::string_view implementation() const override { return functions_.name; }
  std::size_t scratch_bytes(int threads) const override {
    return static_cast<std::size_t>(threads * starts_.back()) * sizeof(float);
  }

  void run(const Arguments& arguments, cpu::ThreadPool& pool) const override {
    const auto pairs = static_cast<std::int64_t>(spec_.pairs.size());
    const std::int64_t blocks = round_up(spec_.positions, functions_.rows) / functions_.rows;
    const std::int64_t tasks = std::min(round_up(pairs, pool.threads()), pairs * blocks);
    pool.parallel_for(tasks, [&](std::int64_t task, int worker) {
      auto* scratch = reinterpret_cast<float*>(arguments.scratch) + worker * starts_.back();
      const std::int64_t end = (task + 1) * pairs * blocks / tasks;
      for (std::int64_t first = task * pairs * blocks / tasks; first < end;) {
        const std::int64_t pair = first / blocks;
        const std::int64_t last = std::min(end, (pair + 1) * blocks);
        run_pair(arguments, spec_.pairs[static_cast<std::size_t>(pair)],
                 (first - pair * blocks) * functions_.rows,
                 std::min((last - pair * blocks) * functions_.rows, spec_.positions), scratch);
        first = last;
      }
    });
  }

 private:
  enum Part : std::size_t { kKeys, kValues, kScores, kQueries, kResults, kGathered, kParts };

  const float* source(const Arguments& arguments, std::size_t index) const {
    return static_cast<const float*>(arguments.sources[index]);
  }

  void run_pair(const Arguments& arguments, const AttentionPair& pair, std::int64_t first,
                std::int64_t end, float* scratch) const {
    pack(arguments, pair, scratch);
    const bool queries_lie = is_dense(spec_.q);
    const bool results_lie = is_dense(spec_.to) && padded_ == spec_.value_dim;
    auto* to = static_cast<float*>(arguments.destinations[0]);
    AttentionBlock block;
    block.keys = spec_.positions;
    block.key_dim = spec_.key_dim;
    block.value_dim = padded_;
    block.packed_keys = scratch + starts_[kKeys];
    block.packed_values = scratch + starts_[kValues];
    block.scores = scratch + starts_[kScores];
    block.query_stride = queries_lie ? spec_.q.surface.pixel_stride : spec_.key_dim;
    block.to_stride = results_lie ? spec_.to.surface.pixel_stride : padded_;
    for (std::int64_t at = first; at < end; at += functions_.rows) {
      block.rows = std::min(functions_.rows, end - at);
      if (queries_lie) {
        block.queries =
            source(arguments, 0) + offset(spec_.q, pair.q.pixel + at, pair.q.channel);
      } else {
        block.queries = gather(source(arguments, 0), spec_.q, pair.q, at, block.rows,
                               scratch + starts_[kQueries]);
      }
      block.to = results_lie ? to + offset(spec_.to, pair.to.pixel + at, pair.to.channel)
                             : scratch + starts_[kResults];
      functions_.attend(block);
      for (std::int64_t r = 0; !results_lie && r < block.rows; ++r) {
        std::copy_n(block.to + r * padded_, spec_.value_dim,
                    to + offset(spec_.to, pair.to.pixel + at + r, pair.to.channel));
      }
    }
  }

  void pack(const Arguments& arguments, const AttentionPair& pair, float* scratch) const {
    const float* keys = source(arguments, 1) + offset(spec_.k, pair.k.pixel, pair.k.channel);
    std::int64_t stride = spec_.k.surface.pixel_stride;
    if (!is_dense(spec_.k)) {
      keys = gather(source(arguments, 1), spec_.k, pair.k, 0, spec_.positions,
                    scratch + starts_[kGathered]);
      stride = spec_.key_dim;
    }
    functions_.pack_keys(keys, stride, spec_.positions, spec_.key_dim, spec_.scale,
                         scratch + starts_[kKeys]);
    for_runs(spec_.v, pair.v.pixel, spec_.positions, [&](std::int64_t at, std::int64_t count) {
      functions_.pack_values(
          source(arguments, 2) + offset(spec_.v, pair.v.pixel + at, pair.v.channel),
          spec_.v.surface.pixel_stride, count, spec_.value_dim, padded_,
          scratch + starts_[kValues] + at * padded_);
    });
  }

  // `count` positions from `first` on, key_dim floats each, side by side.
  float* gather(const float* picture, const AttentionPicture& layout, const AttentionPlace& place,
                std::int64_t first, std::int64_t count, float* to) const {
    for (std::int64_t i = 0; i < count; ++i) {
      std::copy_n(picture + offset(layout, place.pixel + first + i, place.channel), spec_.key_dim,
                  to + i * spec_.key_dim);
    }
    return to;
  }

  AttentionSpec spec_;
  const AttentionFunctions& functions_;
  std::int64_t padded_;  // value_dim as packed
  std::array<std::int64_t, kParts + 1> starts_{};  // of the parts of a worker's scratch, in floats
};

}  // namespace

Result<std::unique_ptr<const Kernel>> create_attention(const AttentionSpec& spec,
                                                       const AttentionFunctions& functions) {
  FOVEA_TRY(check_picture("q", spec.q));
  FOVEA_TRY(check_picture("k", spec.k));
  FOVEA_TRY(check_picture("v", spec.v));
  FOVEA_TRY(check_picture("to", spec.to));
  if (spec.positions < 1 || spec.key_dim < 1 || spec.value_dim < 1 || spec.pairs.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("attention over {} positions, {} key and {} value channels, {} pairs; "
                            "all must be positive",
                            spec.positions, spec.key_dim, spec.value_dim, spec.pairs.size()));
  }
  for (const AttentionPair& pair : spec.pairs) {
    FOVEA_TRY(check_place("q", spec.q, pair.q, spec.positions, spec.key_dim));
    FOVEA_TRY(check_place("k", spec.k, pair.k, spec.positions, spec.key_dim));
    FOVEA_TRY(check_place("v", spec.v, pair.v, spec.positions, spec.value_dim));
    FOVEA_TRY(check_place("to", spec.to, pair.to, spec.positions, spec.value_dim));
  }
  return std::make_unique<Attention>(spec, functions);
}

Result<std::unique_ptr<const Kernel>> create_attention(const AttentionSpec& spec,
                                                       const CpuFeatures& features) {
  const AttentionFunctions* tiles = spec.bf16 ? bf16_attention(features) : nullptr;
  const bool fits = spec.key_dim % kBf16Step == 0 && spec.key_dim <= kBf16MostKeyDim &&
                    spec.positions >= kBf16Step && is_dense(spec.v);
  return create_attention(spec, tiles != nullptr && fits ? *tiles : best_attention(features));
}

}  // namespace fovea::engine::kernels
