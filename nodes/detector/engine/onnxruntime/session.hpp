// One ONNX model in ONNX Runtime, with the bindings of an engine: input kWrittenInput, outputs
// written_output(i).
//
// Thread safety: run() and shapes() from any thread.
#pragma once

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

class OrtSession {
 public:
  // Takes the model in; `model` is not kept. Errors: kUnsupported with ONNX Runtime's message.
  static Result<std::unique_ptr<const OrtSession>> create(const Library& library, BackEnd back_end,
                                                          std::span<const std::byte> model,
                                                          std::int32_t threads);
  ~OrtSession();
  OrtSession(const OrtSession&) = delete;
  OrtSession& operator=(const OrtSession&) = delete;

  std::size_t outputs() const { return output_names_.size(); }

  // One picture, all in the caller's memory. `outputs` are of `specs`, in order. Errors:
  // kUnsupported with ONNX Runtime's message, also for outputs of another size than the specs'.
  Result<> run(const ConstMemoryView& input, const TensorSpec& input_spec,
               std::span<const MemoryView> outputs, std::span<const TensorSpec> specs) const;

  // Types and extents, with the batch of 1, that the outputs have for one grey picture.
  Result<std::vector<TensorSpec>> shapes(const TensorSpec& input) const;

 private:
  OrtSession(const Library& library, Session* session) : library_(library), session_(session) {}
  Result<> prepare();

  const Library& library_;
  Session* session_;
  MemoryInfo* memory_ = nullptr;
  std::vector<std::string> output_texts_;
  std::vector<const char*> output_names_;
};

}  // namespace fovea::engine::onnxruntime
