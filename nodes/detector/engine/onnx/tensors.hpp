// The tensors of an ONNX file as constants of the engine. Internal to this folder.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>

#include "nodes/detector/engine/network.hpp"

namespace onnx {
class TensorProto;
}

namespace fovea::engine {

// What an ONNX element type becomes; nullopt for one that is not supported.
std::optional<DataType> widened_type(int onnx_type);

// Bytes of one element in the file, external data and raw ones; 0 for a type that has no fixed size.
std::size_t stored_size(int onnx_type);

// Reads the tensors of one model, in every encoding, and bounds what they need together. One
// thread.
class TensorReader {
 public:
  // External data are looked up below `base_dir`; an empty one refuses them.
  explicit TensorReader(std::filesystem::path base_dir) : base_dir_(std::move(base_dir)) {}

  // Errors: kCorrupt for a tensor that contradicts itself, kUnsupported, those of
  // read_external_data(). They do not name the tensor.
  Result<Constant> read(const onnx::TensorProto& tensor);

 private:
  std::filesystem::path base_dir_;
  std::size_t constant_bytes_ = 0;
};

}  // namespace fovea::engine
