// Heads that say something about every pixel, see semantic_head() and depth_head(): the decoder checks and hands on the
// numbers, which are about no anchors and make no candidates.
#include <algorithm>
#include <array>
#include <cmath>

#include "msgs/depth_map.hpp"
#include "msgs/semantic_map.hpp"
#include "nodes/postprocess/anchor_decoder.hpp"
#include "nodes/postprocess/checks.hpp"

namespace fovea {

namespace {

constexpr std::uint32_t kMaxStride = 1024;

// Of `count` cells: those with a NaN or infinity.
std::uint32_t count_not_finite(const DenseMap& map) {
  const std::size_t cells = std::size_t{map.height} * map.width;
  // Of a number that is not finite the product is NaN, and so is the sum. All at once first: that is
  // what nearly every frame needs.
  const auto broken = [&](const float* from, std::size_t count) {
    std::array<float, 16> sums{};
    std::size_t i = 0;
    for (; i + sums.size() <= count; i += sums.size()) {
      for (std::size_t k = 0; k < sums.size(); ++k) sums[k] += 0.0f * from[i + k];
    }
    for (; i < count; ++i) sums[0] += 0.0f * from[i];
    return std::any_of(sums.begin(), sums.end(), [](float sum) { return sum != 0; });
  };
  if (!broken(map.values, cells * map.channels)) return 0;
  std::uint32_t count = 0;
  for (std::size_t cell = 0; cell < cells; ++cell) {
    count += broken(map.values + cell * map.channels, map.channels) ? 1 : 0;
  }
  return count;
}

class DenseDecoder final : public Decoder {
 public:
  // Errors: why the head is another one.
  Result<> read_head(const msgs::ModelInfo& model, OutputRole role, OutputEncoding encoding,
                     std::uint32_t max_channels) {
    FOVEA_TRY(check_roles(model.head, {role}));
    FOVEA_ASSIGN(const OutputMap* map, only_map(model.head, role));
    FOVEA_TRY(check_layout(*map, encoding, AnchorAxis::kOutermost));
    FOVEA_TRY(check_range("stride", map->stride, 1, kMaxStride));
    FOVEA_TRY(check_range("first channel", map->first_channel, 0, 0));
    FOVEA_TRY(check_range("channels of the map", map->channels, 1, max_channels));
    if (model.network_width % map->stride != 0 || model.network_height % map->stride != 0) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("stride is {}, which does not divide the network's {}x{}",
                              map->stride, model.network_width, model.network_height));
    }
    tensor_ = map->tensor.view();
    map_.stride = map->stride;
    map_.channels = map->channels;
    map_.height = model.network_height / map->stride;
    map_.width = model.network_width / map->stride;
    return {};
  }

  // Of the options nothing changes what a pixel is.
  Result<> set_options(const PostprocessOptions& /*options*/) override { return {}; }

  const DenseMap* dense_map() const override { return &map_; }
  const NotFinite& not_finite() const override { return not_finite_; }
  std::uint32_t anchor_count() const override { return map_.height * map_.width; }

 private:
  Result<> decode_frame(std::span<const HeadTensor> tensors, std::vector<Candidate>& candidates,
                        const msgs::LetterboxTransform* /*visible*/) override {
    candidates.clear();
    FOVEA_TRY(check_count(tensors, 1));
    const std::array<std::int64_t, 3> dims{map_.height, map_.width, map_.channels};
    FOVEA_ASSIGN(map_.values, find_values(tensors, tensor_, dims));
    not_finite_ = {.scores = count_not_finite(map_)};
    return {};
  }

  std::string tensor_;
  DenseMap map_;
  NotFinite not_finite_;
};

}  // namespace

Result<std::unique_ptr<Decoder>> create_semantic_decoder(const msgs::ModelInfo& model,
                                                         bool /*force_scalar*/) {
  auto decoder = std::make_unique<DenseDecoder>();
  FOVEA_TRY(decoder->read_head(model, OutputRole::kSemantic, OutputEncoding::kLogit,
                               msgs::SemanticMap::kMaxClasses));
  return decoder;
}

Result<std::unique_ptr<Decoder>> create_depth_decoder(const msgs::ModelInfo& model,
                                                      bool /*force_scalar*/) {
  auto decoder = std::make_unique<DenseDecoder>();
  FOVEA_TRY(decoder->read_head(model, OutputRole::kDepth, OutputEncoding::kDecoded, 1));
  FOVEA_TRY(
      check_range("cells of the map", decoder->anchor_count(), 1, msgs::DepthMap::kMaxValues));
  return decoder;
}

}  // namespace fovea
