// One ONNX model in ONNX Runtime: any model with one input, whatever its tensors are called.
//
// Thread safety: run() and shapes() from any thread.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nodes/detector/engine/engine.hpp"
#include "nodes/detector/engine/onnxruntime/library.hpp"

namespace fovea::engine::onnxruntime {

enum class BackEnd;

// What ONNX Runtime calls it: "CUDAExecutionProvider".
std::string_view name_of(BackEnd back_end);

struct OrtOutput {
  TensorSpec spec;  // with the batch
  const void* data = nullptr;
};

class Values;  // tensors of ONNX Runtime

// Outputs in memory that ONNX Runtime allocated; it is given back with this.
class OrtOutputs {
 public:
  OrtOutputs(OrtOutputs&&) noexcept;
  OrtOutputs& operator=(OrtOutputs&&) noexcept;
  ~OrtOutputs();

  std::span<const OrtOutput> tensors() const { return tensors_; }

 private:
  friend class OrtSession;
  explicit OrtOutputs(std::unique_ptr<Values> values);

  std::unique_ptr<Values> values_;
  std::vector<OrtOutput> tensors_;
};

class OrtSession {
 public:
  // Takes the model in; `model` is not kept. Errors: kUnsupported with ONNX Runtime's message, or
  // for a model with several inputs.
  static Result<std::unique_ptr<const OrtSession>> create(const Library& library, BackEnd back_end,
                                                          std::span<const std::byte> model,
                                                          std::int32_t threads);
  // The same with a file as it is, which ONNX Runtime reads itself.
  static Result<std::unique_ptr<const OrtSession>> open(const Library& library, BackEnd back_end,
                                                        const std::filesystem::path& file,
                                                        std::int32_t threads);
  ~OrtSession();
  OrtSession(const OrtSession&) = delete;
  OrtSession& operator=(const OrtSession&) = delete;

  std::size_t outputs() const { return output_names_.size(); }

  // One picture, all in the caller's memory; `input_spec` is without the batch. `outputs` are of
  // `specs`, in the model's order. Errors: kUnsupported with ONNX Runtime's message, also for
  // outputs of another size than the specs'.
  Result<> run(const ConstMemoryView& input, const TensorSpec& input_spec,
               std::span<const MemoryView> outputs, std::span<const TensorSpec> specs) const;

  // The same where nobody knows the outputs before.
  Result<OrtOutputs> run(const ConstMemoryView& input, const TensorSpec& input_spec) const;

  // Types and extents, with the batch of 1, that the outputs have for one grey picture.
  Result<std::vector<TensorSpec>> shapes(const TensorSpec& input) const;

 private:
  OrtSession(const Library& library, Session* session) : library_(library), session_(session) {}
  static Result<std::unique_ptr<const OrtSession>> adopt(const Library& library, Session* session);
  Result<> prepare();
  Result<> run(Values& input, Values& outputs) const;

  const Library& library_;
  Session* session_;
  MemoryInfo* memory_ = nullptr;
  std::string input_name_;
  std::vector<std::string> output_texts_;
  std::vector<const char*> output_names_;
};

}  // namespace fovea::engine::onnxruntime
