// Appends launches to a program: the one place that fills in what kernels are handed.
//
// Thread safety: none; used while compiling.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "nodes/detector/engine/cuda/compiler.hpp"
#include "nodes/detector/engine/cuda/program.hpp"
#include "nodes/detector/engine/shapes/geometry.hpp"

namespace fovea::engine::cuda {

// A picture that kernels of pixels can read or write: channels side by side, rows without gaps.
bool is_picture(const Tensor& tensor);
// It can be moved in 16 bytes.
bool whole_vectors(const Tensor& tensor);

struct ConvolutionLaunch {
  const Layer* layer = nullptr;
  Window window;
  std::int64_t groups = 1;
  std::span<const float> weights;  // [outputs][inputs / groups][kh][kw]
  std::span<const float> bias;     // empty: zeros
  Tensor x;
  Tensor y;
  std::optional<Tensor> residual;
};

class Launches {
 public:
  Launches(Program& program, const CompileOptions& options)
      : program_(program), options_(options) {}

  // Where `bytes` are among the constants, for every image.
  Address constant(std::vector<std::byte> bytes);
  Tensor constant(const Constant& values);  // REQUIRES: f32

  void convolution(const ConvolutionLaunch& spec);
  // REQUIRES: pictures of one scalar.
  void pool(const Layer& layer, const Window& window, bool average, bool count_padding,
            const Tensor& x, const Tensor& y);
  void resize(const Layer& layer, const ResizeGeometry& geometry, const Tensor& x, const Tensor& y);

  // Tensors of equal extents; strides of 0 repeat.
  void map(const std::string& layer, MapOp op, const Tensor& a, const std::optional<Tensor>& b,
           const Tensor& to, float alpha = 0, float beta = 0);
  void copy(const std::string& layer, const Tensor& from, const Tensor& to) {
    map(layer, MapOp::kCopy, from, std::nullopt, to);
  }
  // Over `axes`; `to` has their strides, which matter to kSoftmax and kNormalize alone.
  void reduce(const std::string& layer, ReduceOp op, const Tensor& from, const Tensor& to,
              const std::vector<std::size_t>& axes, std::optional<Address> scale = {},
              std::optional<Address> offset = {}, float epsilon = 0);
  // The last two axes are matrices; those before have equal extents, with strides of 0 where one
  // repeats.
  void multiply(const std::string& layer, const Tensor& a, const Tensor& b, const Tensor& to);

 private:
  // The stem's and the tensor cores' kernels, if they can run it.
  bool stem(const ConvolutionLaunch& spec, Launch& launch, ConvolutionArguments& arguments);
  bool tensor_cores(const ConvolutionLaunch& spec, Launch& launch, ConvolutionArguments& arguments);
  void plain(const ConvolutionLaunch& spec, Launch& launch, ConvolutionArguments& arguments);
  void access(const Tensor& tensor, std::vector<Access>& accesses);

  Program& program_;
  const CompileOptions& options_;
};

}  // namespace fovea::engine::cuda
