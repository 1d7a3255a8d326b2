// Operators on tensors that are no pictures: attention, the decoding of heads. Reshapes,
// transposes, splits and slices move nothing, they become further views of the memory that their
// input lies in; the rest runs on the strided kernels.
//
// Thread safety: none; used while compiling.
#pragma once

#include <map>

#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/cpu/kernels/tensor.hpp"
#include "nodes/detector/engine/cpu/native/storage.hpp"
#include "nodes/detector/engine/cpu/program/program.hpp"
#include "nodes/detector/engine/network.hpp"
#include "nodes/detector/engine/program/strides.hpp"
#include "nodes/detector/engine/shapes/shape_inference.hpp"

namespace fovea::engine::cpu::native {

// The strided kernels or views can run the layer, f32 in and out. A Reshape may still turn out to
// need a copy that is none of theirs (TensorSteps::emit).
bool is_tensor_layer(const NetworkDefinition& network, const KnownValues& known,
                     const Layer& layer);

class TensorSteps {
 public:
  // All must outlive it; steps are appended to `program`.
  TensorSteps(const NetworkDefinition& network, const KnownValues& known, Storage& storage,
              const kernels::CpuFeatures& features, Program& program)
      : network_(network),
        known_(known),
        storage_(storage),
        features_(features),
        program_(program) {}

  // REQUIRES: is_tensor_layer(). False: the layer moves elements in a way that needs the reference.
  Result<bool> emit(const Layer& layer);
  // Before anything else reads `id` at its home: copies it there if it is a view of another's.
  Result<> settle(ValueId id);

 private:
  struct View {
    Location location;
    kernels::TensorView tensor;
  };

  const Dims& dims(ValueId id) const { return network_.value(id).dims; }
  View view(ValueId id);
  View home(ValueId id);
  // As operand of a result of `extents`: axes of one element and missing ones repeat.
  Result<kernels::MapOperand> operand(ValueId id, const Dims& extents, Step& step);
  Result<> emit_copy(const std::string& name, const Dims& extents, const View& from,
                     const View& to);
  Result<> emit_map(const Layer& layer, kernels::MapOp op);
  Result<> emit_softmax(const Layer& layer);
  Result<> emit_layer_normalization(const Layer& layer);
  Result<bool> emit_grid_sample(const Layer& layer);
  Result<> emit_matmul(const Layer& layer);
  Result<> emit_gemm(const Layer& layer);
  Result<> emit_concat(const Layer& layer);
  Result<bool> emit_reshape(const Layer& layer);
  Result<> emit_transpose(const Layer& layer);
  Result<> emit_split(const Layer& layer);
  Result<> emit_slice(const Layer& layer);
  void add(Step step, std::unique_ptr<const kernels::Kernel> kernel, std::string_view what);

  const NetworkDefinition& network_;
  const KnownValues& known_;
  Storage& storage_;
  const kernels::CpuFeatures& features_;
  Program& program_;
  std::map<ValueId, View> views_;  // of what lies in another value's home
};

}  // namespace fovea::engine::cpu::native
