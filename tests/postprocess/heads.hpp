// Made-up models and head maps for the postprocessing tests.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "msgs/model_info.hpp"
#include "msgs/tensor.hpp"
#include "nodes/postprocess/decoder.hpp"

namespace fovea::test {

// The heads that there are decoders for.
enum class HeadKind { kDfl, kDecoded, kDecodedObjectness, kQueries };
inline constexpr std::array kHeadKinds = {HeadKind::kDfl, HeadKind::kDecoded,
                                          HeadKind::kDecodedObjectness, HeadKind::kQueries};

inline HeadSpec make_spec(HeadKind head, std::uint32_t classes) {
  constexpr std::array<std::uint32_t, 3> kStrides{8, 16, 32};
  if (head == HeadKind::kDfl) return dfl_head(classes, 16, kStrides);
  if (head == HeadKind::kQueries) return query_head(classes);
  return head == HeadKind::kDecoded ? decoded_head(classes) : objectness_head(classes);
}
inline bool is_dfl(const msgs::ModelInfo& model) { return model.head.bins() > 0; }
inline bool is_queries(const msgs::ModelInfo& model) {
  return model.head.maps[0].encoding == OutputEncoding::kNormalised;
}
inline bool is_columns(const msgs::ModelInfo& model) {
  return model.head.maps[0].anchors == AnchorAxis::kInnermost;
}

inline msgs::ModelInfo make_model(HeadKind head, std::uint32_t classes, std::uint32_t side = 160) {
  msgs::ModelInfo model;
  model.model_id = 42;
  model.head = make_spec(head, classes);
  model.network_width = side;
  model.network_height = side;
  for (std::uint32_t c = 0; c < classes; ++c) {
    model.class_names.push_back(std::string_view(fmt::format("class{}", c)));
  }
  return model;
}

// 320x240 pixels, halved into the middle of 160x160.
inline constexpr msgs::LetterboxTransform kTransform{.source_width = 320,
                                                     .source_height = 240,
                                                     .network_width = 160,
                                                     .network_height = 160,
                                                     .new_width = 160,
                                                     .new_height = 120,
                                                     .pad_left = 0,
                                                     .pad_top = 20,
                                                     .crop_left = 0,
                                                     .crop_top = 0};

// The outputs of one image, owned.
struct Head {
  struct Map {
    std::string name;
    std::vector<std::int64_t> dims;
    std::vector<float> values;
  };
  std::vector<Map> maps;

  void add(std::string name, std::vector<std::int64_t> dims) {
    std::size_t count = 1;
    for (const std::int64_t extent : dims) count *= static_cast<std::size_t>(extent);
    maps.push_back({std::move(name), std::move(dims), std::vector<float>(count)});
  }

  std::vector<HeadTensor> tensors() const {
    std::vector<HeadTensor> views;
    for (const Map& map : maps) {
      views.push_back({.name = map.name,
                       .dtype = msgs::DataType::kFloat32,
                       .dims = map.dims,
                       .bytes = std::as_bytes(std::span(map.values))});
    }
    return views;
  }
};

constexpr std::int64_t kDecodedAnchors = 525;  // and queries

// All zero, in the shapes of `model`; the maps are in no particular order, which must not matter.
inline Head make_head(const msgs::ModelInfo& model) {
  const auto classes = static_cast<std::int64_t>(model.class_names.size());
  Head head;
  std::size_t level = 0;
  for (const std::uint32_t stride : model.head.strides()) {
    const std::int64_t width = model.network_width / stride;
    const std::int64_t height = model.network_height / stride;
    head.add(fmt::format("cls{}", level), {height, width, classes});
    head.add(fmt::format("box{}", level), {height, width, 4 * std::int64_t{model.head.bins()}});
    ++level;
  }
  if (is_dfl(model)) return head;
  if (is_queries(model)) {
    head.add("logits", {kDecodedAnchors, classes});
    head.add("boxes", {kDecodedAnchors, 4});
  } else if (is_columns(model)) {
    head.add("output0", {4 + classes, kDecodedAnchors});
  } else {
    head.add("output0", {kDecodedAnchors, 5 + classes});
  }
  return head;
}

// Plausible values: mostly low scores, some high; boxes anywhere.
inline void fill(Head& head, const msgs::ModelInfo& model, std::mt19937& random) {
  std::normal_distribution<float> logit(-4, 2);
  std::normal_distribution<float> bin(0, 2);
  std::uniform_real_distribution<float> position(0, static_cast<float>(model.network_width));
  std::uniform_real_distribution<float> size(1, 60);
  std::uniform_real_distribution<float> unit(0, 1);
  const auto score = [&] { return std::pow(unit(random), 4.0f); };
  for (Head::Map& map : head.maps) {
    if (map.name == "boxes") {
      for (std::size_t i = 0; i < map.values.size(); ++i) {
        map.values[i] =
            (i % 4 < 2 ? position : size)(random) / static_cast<float>(model.network_width);
      }
    } else if (map.name.starts_with("cls") || map.name == "logits") {
      for (float& value : map.values) value = logit(random);
    } else if (map.name.starts_with("box")) {
      for (float& value : map.values) value = bin(random);
    } else {
      const bool columns = is_columns(model);
      const auto anchors = static_cast<std::size_t>(map.dims[columns ? 1 : 0]);
      const auto fields = static_cast<std::size_t>(map.dims[columns ? 0 : 1]);
      for (std::size_t a = 0; a < anchors; ++a) {
        for (std::size_t f = 0; f < fields; ++f) {
          float& value = map.values[columns ? f * anchors + a : a * fields + f];
          value = f < 2 ? position(random) : f < 4 ? size(random) : score();
        }
      }
    }
  }
}

}  // namespace fovea::test
