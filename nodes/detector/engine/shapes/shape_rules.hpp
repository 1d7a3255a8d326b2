// What the shape rules of all operators share. Internal to shape_inference.cpp and
// shape_movement.cpp.
#pragma once

#include <fmt/format.h>

#include "nodes/detector/engine/shapes/shape_inference.hpp"

namespace fovea::engine::shapes {

using Infos = std::vector<TensorInfo>;

inline tl::unexpected<Error> invalid(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

// Checked access to the inputs of one layer.
class Inputs {
 public:
  explicit Inputs(std::span<const TensorInfo* const> infos) : infos_(infos) {}

  std::size_t size() const { return infos_.size(); }
  const TensorInfo* get(std::size_t index) const {
    return index < infos_.size() ? infos_[index] : nullptr;
  }
  const TensorInfo& operator[](std::size_t index) const { return *infos_[index]; }

  Result<> require(std::size_t count) const {
    for (std::size_t i = 0; i < count; ++i) {
      if (get(i) == nullptr) return invalid(fmt::format("input {} of {} is missing", i, count));
    }
    return {};
  }
  Result<> require_type(std::size_t index, DataType dtype) const {
    const TensorInfo* info = get(index);
    if (info != nullptr && info->dtype != dtype) {
      return invalid(fmt::format("input {} is {}; it must be {}", index, to_string(info->dtype),
                                 to_string(dtype)));
    }
    return {};
  }
  Result<> require_rank(std::size_t index, std::size_t rank) const {
    const TensorInfo& info = infos_[index] != nullptr ? *infos_[index] : kEmpty;
    if (info.dims.size() != rank) {
      return invalid(
          fmt::format("input {} is {}; it must have {} axes", index, to_string(info.dims), rank));
    }
    return {};
  }
  // The contents of an i64 input that must be known; empty if it is absent.
  Result<std::vector<std::int64_t>> ints(std::size_t index) const {
    const TensorInfo* info = get(index);
    if (info == nullptr) return std::vector<std::int64_t>{};
    FOVEA_TRY(require_type(index, DataType::kInt64));
    if (info->known == nullptr) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("input {} depends on the image's contents; shapes must not", index));
    }
    const auto* data = info->known->data<std::int64_t>();
    return std::vector<std::int64_t>(data, data + info->known->size());
  }
  Result<std::vector<float>> floats(std::size_t index) const {
    const TensorInfo* info = get(index);
    if (info == nullptr) return std::vector<float>{};
    FOVEA_TRY(require_type(index, DataType::kFloat32));
    if (info->known == nullptr) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("input {} depends on the image's contents; it must not", index));
    }
    const auto* data = info->known->data<float>();
    return std::vector<float>(data, data + info->known->size());
  }

 private:
  static inline const TensorInfo kEmpty{};
  std::span<const TensorInfo* const> infos_;
};

inline Infos one(DataType dtype, Dims dims) {
  return {TensorInfo{dtype, std::move(dims), nullptr}};
}

// Rules in shape_movement.cpp: operators that move elements.
Result<Infos> infer_concat(const Layer& layer, const Inputs& in);
Result<Infos> infer_split(const Layer& layer, const Inputs& in);
Result<Infos> infer_slice(const Layer& layer, const Inputs& in);
Result<Infos> infer_reshape(const Layer& layer, const Inputs& in);
Result<Infos> infer_flatten(const Layer& layer, const Inputs& in);
Result<Infos> infer_transpose(const Layer& layer, const Inputs& in);
Result<Infos> infer_squeeze(const Layer& layer, const Inputs& in);
Result<Infos> infer_unsqueeze(const Layer& layer, const Inputs& in);
Result<Infos> infer_shape(const Layer& layer, const Inputs& in);
Result<Infos> infer_gather(const Layer& layer, const Inputs& in);
Result<Infos> infer_gather_elements(const Layer& layer, const Inputs& in);
Result<Infos> infer_gather_nd(const Layer& layer, const Inputs& in);
Result<Infos> infer_scatter_nd(const Layer& layer, const Inputs& in);
Result<Infos> infer_grid_sample(const Layer& layer, const Inputs& in);
Result<Infos> infer_tile(const Layer& layer, const Inputs& in);
Result<Infos> infer_expand(const Layer& layer, const Inputs& in);
Result<Infos> infer_constant_of_shape(const Layer& layer, const Inputs& in);
Result<Infos> infer_range(const Layer& layer, const Inputs& in);
Result<Infos> infer_pad(const Layer& layer, const Inputs& in);
Result<Infos> infer_resize(const Layer& layer, const Inputs& in);
Result<Infos> infer_image_input(const Layer& layer, const Inputs& in);

}  // namespace fovea::engine::shapes
