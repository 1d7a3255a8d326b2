// From an operator to the function that implements it, and what is common to all of them.
#include "nodes/detector/engine/reference/operators.hpp"

namespace fovea::engine::reference {

namespace {

Result<Kernel> prepare_operator(const Operands& operands) {
  switch (operands.layer->op) {
    case OpType::kAdd:
    case OpType::kDiv:
    case OpType::kEqual:
    case OpType::kGreater:
    case OpType::kGreaterOrEqual:
    case OpType::kLess:
    case OpType::kLessOrEqual:
    case OpType::kMod:
    case OpType::kMul:
    case OpType::kPow:
    case OpType::kSub:
      return prepare_binary(operands);
    case OpType::kAbs:
    case OpType::kCeil:
    case OpType::kCos:
    case OpType::kErf:
    case OpType::kExp:
    case OpType::kFloor:
    case OpType::kGelu:
    case OpType::kHardSigmoid:
    case OpType::kHardSwish:
    case OpType::kLeakyRelu:
    case OpType::kLog:
    case OpType::kNeg:
    case OpType::kNot:
    case OpType::kReciprocal:
    case OpType::kRelu:
    case OpType::kRound:
    case OpType::kSigmoid:
    case OpType::kSign:
    case OpType::kSilu:
    case OpType::kSin:
    case OpType::kSqrt:
    case OpType::kTanh:
      return prepare_unary(operands);
    case OpType::kAnd:
    case OpType::kOr:
    case OpType::kXor:
      return prepare_logic(operands);
    case OpType::kFlatten:
    case OpType::kIdentity:
    case OpType::kReshape:
    case OpType::kSqueeze:
    case OpType::kUnsqueeze:
      return prepare_copy(operands);
    case OpType::kArgMax:
      return prepare_arg_max(operands);
    case OpType::kAveragePool:
    case OpType::kMaxPool:
      return prepare_pool(operands);
    case OpType::kBatchNormalization:
      return prepare_batch_normalization(operands);
    case OpType::kCast:
      return prepare_cast(operands);
    case OpType::kClip:
      return prepare_clip(operands);
    case OpType::kConcat:
      return prepare_concat(operands);
    case OpType::kConstantOfShape:
      return prepare_constant_of_shape(operands);
    case OpType::kConv:
      return prepare_convolution(operands);
    case OpType::kConvTranspose:
      return prepare_transposed_convolution(operands);
    case OpType::kDequantizeLinear:
      return prepare_dequantize(operands);
    case OpType::kExpand:
      return prepare_broadcast(operands);
    case OpType::kGather:
      return prepare_gather(operands);
    case OpType::kGatherElements:
      return prepare_gather_elements(operands);
    case OpType::kGatherND:
      return prepare_gather_nd(operands);
    case OpType::kGemm:
      return prepare_gemm(operands);
    case OpType::kGlobalAveragePool:
      return prepare_global_pool(operands);
    case OpType::kGridSample:
      return prepare_grid_sample(operands);
    case OpType::kLayerNormalization:
      return prepare_layer_normalization(operands);
    case OpType::kMatMul:
      return prepare_matmul(operands);
    case OpType::kMax:
    case OpType::kMin:
      return prepare_extremum(operands);
    case OpType::kPad:
      return prepare_pad(operands);
    case OpType::kQuantizeLinear:
      return prepare_quantize(operands);
    case OpType::kRange:
      return prepare_range(operands);
    case OpType::kReduceL2:
    case OpType::kReduceMax:
    case OpType::kReduceMean:
    case OpType::kReduceSum:
      return prepare_reduce(operands);
    case OpType::kResize:
      return prepare_resize(operands);
    case OpType::kScatterND:
      return prepare_scatter_nd(operands);
    case OpType::kShape:
      return prepare_shape(operands);
    case OpType::kSlice:
      return prepare_slice(operands);
    case OpType::kSoftmax:
      return prepare_softmax(operands);
    case OpType::kSplit:
      return prepare_split(operands);
    case OpType::kTile:
      return prepare_tile(operands);
    case OpType::kTopK:
      return prepare_top_k(operands);
    case OpType::kTranspose:
      return prepare_transpose(operands);
    case OpType::kWhere:
      return prepare_where(operands);
    case OpType::kImageInput:
      return prepare_image_input(operands);
    case OpType::kForeign:
      return fail(ErrorCode::kUnsupported, "only the provider that took the model over runs it");
  }
  return fail(ErrorCode::kInternal, "unknown operator");
}

}  // namespace

Result<Kernel> prepare(const Operands& operands) {
  FOVEA_ASSIGN(Kernel kernel, prepare_operator(operands));
  const Activation activation = operands.layer->activation;
  const Tensor* residual = operands.residual;
  if (activation == Activation::kNone && residual == nullptr) return kernel;
  Tensor* y = operands.outputs[0];
  const float alpha = operands.layer->activation_alpha;
  return Kernel([=, kernel = std::move(kernel)]() -> Result<> {
    FOVEA_TRY(kernel());
    float* out = y->data<float>();
    apply_activation(activation, alpha, out, y->size());
    if (residual != nullptr) {
      for (std::int64_t i = 0; i < y->size(); ++i) out[i] += residual->data<float>()[i];
    }
    return {};
  });
}

}  // namespace fovea::engine::reference
