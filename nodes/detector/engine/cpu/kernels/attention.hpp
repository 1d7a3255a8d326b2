// Attention in one step: to = v . softmax(scale * k . q), for q, k and v that lie in pictures as
// convolutions left them, and a result that the next convolution reads as a picture. Neither scores
// nor probabilities reach memory beyond a core's caches, and nothing is transposed or copied
// between the pictures and the sums. Implementations: amx_bf16, avx512, avx2, neon, scalar.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/cpu/kernels/kernel.hpp"

namespace fovea::engine::kernels {

struct AttentionPicture {
  Surface surface{};  // kFloat32
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;
};
// Where one of the four begins: `pixel` counts row by row.
struct AttentionPlace {
  std::int64_t pixel = 0;
  std::int64_t channel = 0;

  bool operator==(const AttentionPlace&) const = default;
};
// One head of one area: q, k, v and to are the `positions` pixels that follow, of each the key_dim
// or value_dim channels that follow.
struct AttentionPair {
  AttentionPlace q;
  AttentionPlace k;
  AttentionPlace v;
  AttentionPlace to;

  bool operator==(const AttentionPair&) const = default;
};

// For every pair, position i and value channel d:
//   to[i][d] = sum over j of softmax_j(scale * sum over c of q[i][c] * k[j][c]) * v[j][d]
// computed in f32, with `bf16` from products of bf16 numbers where the CPU has tiles for them.
// Addresses: sources = {q, k, v}, which may be one picture; destinations = {to}.
struct AttentionSpec {
  std::int64_t positions = 0;
  std::int64_t key_dim = 0;
  std::int64_t value_dim = 0;
  float scale = 1;
  bool bf16 = false;
  AttentionPicture q{};
  AttentionPicture k{};
  AttentionPicture v{};
  AttentionPicture to{};
  std::vector<AttentionPair> pairs{};
};

// Errors: kInvalidArgument for a picture that is not f32 and for places that reach beyond theirs.
Result<std::unique_ptr<const Kernel>> create_attention(
    const AttentionSpec& spec, const CpuFeatures& features = cpu_features());

}  // namespace fovea::engine::kernels
