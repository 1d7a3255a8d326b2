// Writes ONNX models of any kind, sound or broken, so that tests need no files made elsewhere.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine::test {

// ONNX's numbers for element types.
enum class OnnxType {
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kFloat16 = 10,
  kDouble = 11,
  kBfloat16 = 16
};

// Where a tensor's elements stand in the file.
enum class Encoding { kRaw, kTyped, kExternal };

struct OnnxTensor {
  std::string name;
  OnnxType type = OnnxType::kFloat;
  Dims dims;
  std::vector<double> values;  // f16 and bf16 as their bits
  Encoding encoding = Encoding::kRaw;
  // kExternal: written as they are; the test makes the file.
  std::map<std::string, std::string> external = {};
};

class OnnxWriter {
 public:
  explicit OnnxWriter(std::int64_t opset = 17);
  ~OnnxWriter();
  OnnxWriter(OnnxWriter&&) noexcept;

  // An extent of -1 becomes the symbol "batch".
  OnnxWriter& input(const std::string& name, const Dims& dims, OnnxType type = OnnxType::kFloat);
  OnnxWriter& output(const std::string& name);
  OnnxWriter& initializer(const OnnxTensor& tensor);
  OnnxWriter& floats(const std::string& name, const Dims& dims, const std::vector<double>& values);
  OnnxWriter& ints(const std::string& name, const std::vector<double>& values);
  OnnxWriter& node(const std::string& op, const std::vector<std::string>& inputs,
                   const std::vector<std::string>& outputs,
                   const std::map<std::string, Attribute>& attributes = {},
                   const std::string& name = "");
  // A Constant node, or another one, with a tensor attribute.
  OnnxWriter& node_with_tensor(const std::string& op, const std::vector<std::string>& inputs,
                               const std::string& output, const std::string& attribute,
                               const OnnxTensor& tensor);
  OnnxWriter& domain(const std::string& domain);  // of the last node
  OnnxWriter& metadata(const std::string& key, const std::string& value);

  std::vector<std::byte> bytes() const;
  void save(const std::filesystem::path& file) const;

 private:
  struct Model;
  std::unique_ptr<Model> model_;
};

}  // namespace fovea::engine::test
