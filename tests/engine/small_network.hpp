// Builds small lowered networks in code, so that provider and plan tests need no model file.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine::test {

class SmallNetwork {
 public:
  // Input "images" u8 [1, height, width, 3]; x() is the f32 picture, values 0..255.
  SmallNetwork(std::int64_t height, std::int64_t width, unsigned seed = 1) : random_(seed) {
    const ValueId image =
        network_.add_value({"images", DataType::kUint8, {1, height, width, 3}, nullptr});
    network_.inputs = {image};
    image_ = add(OpType::kImageInput, {image});
  }

  ValueId x() const { return image_; }
  NetworkDefinition& network() { return network_; }

  ValueId add(OpType op, std::vector<ValueId> inputs,
              std::map<std::string, Attribute> attributes = {}) {
    return add_layer(op, std::move(inputs), std::move(attributes), 1).outputs[0];
  }

  // A copy would dangle when layers are added; use at once.
  Layer& add_layer(OpType op, std::vector<ValueId> inputs,
                   std::map<std::string, Attribute> attributes, std::size_t outputs) {
    Layer layer;
    layer.op = op;
    layer.name = std::string(to_string(op)) + "_" + std::to_string(network_.layers.size());
    layer.inputs = std::move(inputs);
    layer.attributes = std::move(attributes);
    for (std::size_t i = 0; i < outputs; ++i) {
      const std::string name = layer.name + ":" + std::to_string(i);
      layer.outputs.push_back(network_.add_value({name, DataType::kFloat32, {}, nullptr}));
    }
    network_.layers.push_back(std::move(layer));
    return network_.layers.back();
  }

  struct Conv {
    std::int64_t in = 0;
    std::int64_t out = 0;
    std::int64_t kernel = 1;
    std::int64_t stride = 1;
    Activation activation = Activation::kSilu;
    ValueId residual = kNoValue;
    std::int64_t groups = 1;
    float scale = 1;  // of the weights, on top of 1 / sqrt(fan in)
  };
  ValueId conv(ValueId x, const Conv& conv) {
    const std::int64_t pad = conv.kernel / 2;
    const std::int64_t fan_in = conv.in / conv.groups * conv.kernel * conv.kernel;
    const ValueId weights = constant({conv.out, conv.in / conv.groups, conv.kernel, conv.kernel},
                                     conv.scale * 1.7F / std::sqrt(static_cast<float>(fan_in)));
    const ValueId bias = constant({conv.out}, 0.5F);
    Layer& layer = add_layer(OpType::kConv, {x, weights, bias},
                             {{"strides", std::vector<std::int64_t>{conv.stride, conv.stride}},
                              {"pads", std::vector<std::int64_t>{pad, pad, pad, pad}},
                              {"kernel_shape", std::vector<std::int64_t>{conv.kernel, conv.kernel}},
                              {"group", conv.groups}},
                             1);
    layer.activation = conv.activation;
    layer.activation_alpha = 0.1F;
    layer.residual = conv.residual;
    return layer.outputs[0];
  }
  // First convolution: brings 0..255 down to about 1.
  ValueId stem(std::int64_t out, std::int64_t stride = 2) {
    return conv(x(), {.in = 3, .out = out, .kernel = 3, .stride = stride, .scale = 1 / 128.0F});
  }

  std::vector<ValueId> split(ValueId x, const std::vector<std::int64_t>& sizes) {
    const ValueId lengths =
        network_.add_constant("sizes", std::make_shared<const Constant>(Constant::ints(sizes)));
    return add_layer(OpType::kSplit, {x, lengths}, {{"axis", std::int64_t{1}}}, sizes.size())
        .outputs;
  }
  ValueId concat(std::vector<ValueId> parts) {
    return add(OpType::kConcat, std::move(parts), {{"axis", std::int64_t{1}}});
  }
  ValueId max_pool(ValueId x, std::int64_t kernel, std::int64_t stride = 1) {
    const std::int64_t pad = kernel / 2;
    return add(OpType::kMaxPool, {x},
               {{"kernel_shape", std::vector<std::int64_t>{kernel, kernel}},
                {"strides", std::vector<std::int64_t>{stride, stride}},
                {"pads", std::vector<std::int64_t>{pad, pad, pad, pad}}});
  }
  ValueId average_pool(ValueId x, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                       bool count_padding) {
    return add(OpType::kAveragePool, {x},
               {{"kernel_shape", std::vector<std::int64_t>{kernel, kernel}},
                {"strides", std::vector<std::int64_t>{stride, stride}},
                {"pads", std::vector<std::int64_t>{pad, pad, pad, pad}},
                {"count_include_pad", std::int64_t{count_padding ? 1 : 0}}});
  }
  ValueId upsample(ValueId x, float factor = 2) {
    const ValueId scales = network_.add_constant(
        "scales", std::make_shared<const Constant>(Constant::floats({4}, {1, 1, factor, factor})));
    return add(OpType::kResize, {x, kNoValue, scales},
               {{"mode", std::string("nearest")},
                {"coordinate_transformation_mode", std::string("asymmetric")},
                {"nearest_mode", std::string("floor")}});
  }
  // YOLOv8's C2f with one bottleneck: conv, split, bottleneck with residual, concat, conv.
  ValueId c2f(ValueId x, std::int64_t channels, std::int64_t half) {
    const ValueId both = conv(x, {.in = channels, .out = 2 * half});
    const auto parts = split(both, {half, half});
    const ValueId inner = conv(parts[1], {.in = half, .out = half, .kernel = 3});
    const ValueId sum = conv(inner, {.in = half, .out = half, .kernel = 3, .residual = parts[1]});
    return conv(concat({parts[0], parts[1], sum}), {.in = 3 * half, .out = channels});
  }

  ValueId constant(Dims dims, float scale) {
    std::uniform_real_distribution<float> uniform(-scale, scale);
    std::vector<float> values(static_cast<std::size_t>(volume(dims)));
    for (float& value : values) value = uniform(random_);
    return network_.add_constant(
        "constant", std::make_shared<const Constant>(Constant::floats(std::move(dims), values)));
  }

  // Marks the outputs; `dfl` makes them maps of a detect head, which leave as [H, W, C].
  NetworkDefinition finish(std::vector<ValueId> outputs, bool dfl = true) {
    network_.outputs = std::move(outputs);
    for (std::size_t i = 0; i < network_.outputs.size(); ++i) {
      network_.value(network_.outputs[i]).name = "output" + std::to_string(i);
    }
    network_.head = dfl ? raw_maps(network_) : HeadInfo{};
    return network_;
  }

  // A head whose maps are the network's outputs, as they are called by now: a decoder could not read
  // it, but an engine writes them as [H, W, C].
  static HeadInfo raw_maps(const NetworkDefinition& network) {
    HeadInfo head;
    head.name = "dfl";
    for (const ValueId id : network.outputs) {
      OutputMap map;
      map.tensor = std::string_view(network.value(id).name);
      map.role = OutputRole::kEmbedding;
      map.anchors = AnchorAxis::kOutermost;
      map.stride = 8;
      map.channels = 1;
      head.spec.maps.push_back(map);
    }
    return head;
  }

  // Pixels of one item, dense [height, width, 3].
  static std::vector<std::uint8_t> picture(std::int64_t height, std::int64_t width, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(3 * height * width));
    for (auto& pixel : pixels) pixel = static_cast<std::uint8_t>(random() & 0xFF);
    return pixels;
  }

 private:
  NetworkDefinition network_;
  ValueId image_ = kNoValue;
  std::mt19937 random_;
};

}  // namespace fovea::engine::test
