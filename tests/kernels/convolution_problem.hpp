// One convolution of the table with buffers, weights and a layout: everything that a kernel needs
// to run.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "nodes/detector/engine/cpu/kernels/convolution.hpp"
#include "tests/kernels/operator_table.hpp"
#include "tests/kernels/picture.hpp"

namespace fovea::kernel_test {

using engine::Activation;
using engine::cpu::ThreadPool;
using engine::kernels::Arguments;
using engine::kernels::ConvolutionSpec;
using engine::kernels::Kernel;

enum class Layout {
  kDense,     // one destination, no gaps
  kScatter,   // two channel ranges into wide buffers, the first also into a 2x upsampled one
  kResidual,  // one destination in a wide buffer, plus a residual
};

struct Variant {
  DataType compute = DataType::kFloat32;
  DataType to = DataType::kFloat32;
  Layout layout = Layout::kDense;
  bool table = false;                         // kUint8: the table epilogue
  Activation activation = Activation::kSilu;  // for convolutions with one
  DataType source = DataType::kFloat32;
  bool physically_padded = true;
  bool source_gap = false;

  std::string name() const;
};

class ConvolutionProblem {
 public:
  ConvolutionProblem(const kernel_table::Convolution& shape, const Variant& variant, unsigned seed);

  const ConvolutionSpec& spec() const { return spec_; }
  void run(const Kernel& kernel, ThreadPool& pool);
  void poison_outputs();
  std::deque<Picture>& outputs() { return outputs_; }
  Picture& source() { return *source_; }

 private:
  void add_destination(std::int64_t first, std::int64_t channels, int repeat, std::int64_t gap,
                       bool residual);

  Variant variant_;
  std::mt19937 random_;
  ConvolutionSpec spec_;
  std::vector<float> weights_;
  std::vector<std::int8_t> s8_weights_;
  std::vector<float> weight_scales_;
  std::vector<float> bias_;
  std::unique_ptr<Picture> source_;
  std::deque<Picture> outputs_;
  std::deque<Picture> residuals_;
  std::vector<const void*> source_addresses_;
  std::vector<void*> destination_addresses_;
  std::vector<std::byte> scratch_;
};

}  // namespace fovea::kernel_test
