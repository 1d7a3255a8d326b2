// Raw tensors in and out: --load-inputs and --save-outputs of `verify` and `bench`, and what
// `verify --against` compares. Internal to engine_cli*.cpp.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "nodes/detector/tool/engine_cli.hpp"

namespace fovea::engine_cli {

// Of one network output, over all inputs.
struct OutputTensor {
  std::string name;
  engine::Dims dims;  // of one input, as the engine has it
  std::vector<float> values;
};

// How far two outputs are from each other.
struct Difference {
  double cosine = 1;
  double largest = 0;
  double mean = 0;
};
// REQUIRES: equal sizes. NaN on either side makes all three NaN.
Difference difference(std::span<const float> a, std::span<const float> b);

struct TensorOptions {
  std::vector<std::string> inputs;  // files; none: the command's own picture
  std::string outputs;              // folder, or a .npy file for a network with one output

  void declare(CLI::App& app);
  bool one_file() const;
  // Before anything long: that the inputs are files and the outputs can be written; makes the
  // folder.
  Result<> check() const;
  // The inputs as the engine takes them, u8 [height, width, 3] RGB each. Errors: kInvalidArgument
  // for another shape, naming both; those of the readers.
  Result<std::vector<std::vector<std::byte>>> load(
      const engine::EngineInfo& info, std::uint64_t max_pixels = imaging::kDefaultMaxPixels) const;
  // Writes FOLDER/<output>.npy, f32 [inputs, ...], or the one file.
  Result<> save(const std::vector<OutputTensor>& tensors) const;
};

// Runs the engine over `images`, one after the other.
Result<std::vector<OutputTensor>> run_images(const engine::Engine& engine,
                                             const std::vector<std::vector<std::byte>>& images);

// What --save-outputs wrote, or another program: a .npy file, or a folder with one per output, found
// by name. In the order of `like`; errors name what is missing or of another shape.
Result<std::vector<OutputTensor>> read_outputs(const std::string& path,
                                               const std::vector<OutputTensor>& like);

}  // namespace fovea::engine_cli
