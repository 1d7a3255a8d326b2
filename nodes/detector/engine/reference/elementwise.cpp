// One output element from one element of each input.
#include <algorithm>
#include <cmath>

#include "nodes/detector/engine/reference/operators.hpp"
#include "nodes/detector/engine/reference/strided.hpp"

namespace fovea::engine::reference {

namespace {

float sigmoid(float x) { return 1.0F / (1.0F + std::exp(-x)); }
float hard_sigmoid(float x, float alpha, float beta) {
  return std::clamp(alpha * x + beta, 0.0F, 1.0F);
}

template <class In, class Out, class Function>
Kernel map_elements(const Operands& operands, Function function) {
  const Tensor* x = operands.inputs[0];
  Tensor* y = operands.outputs[0];
  return [=]() -> Result<> {
    const In* in = x->data<In>();
    Out* out = y->data<Out>();
    const std::int64_t size = y->size();
    for (std::int64_t i = 0; i < size; ++i) out[i] = function(in[i]);
    return {};
  };
}

template <class Function>
Kernel map_floats(const Operands& operands, Function function) {
  return map_elements<float, float>(operands, function);
}

float gelu(float x) { return x / 2 * (1 + std::erf(x * 0.70710678F)); }
float gelu_by_tanh(float x) {
  return x / 2 * (1 + std::tanh(0.79788456F * (x + 0.044715F * x * x * x)));
}

template <class In, class Out, class Function>
Kernel combine(const Operands& operands, Function function) {
  const Tensor* a = operands.inputs[0];
  const Tensor* b = operands.inputs[1];
  Tensor* y = operands.outputs[0];
  const Axes extents = extents_of(y->dims);
  const std::array<Strided, 3> views = {dense(y->dims), dense(a->dims), dense(b->dims)};
  return [=]() -> Result<> {
    constexpr std::size_t kInner = kMaxRank - 1;
    for_each_row(extents, views, [&](const std::array<std::int64_t, 3>& offsets) {
      Out* out = y->data<Out>() + offsets[0];
      const In* left = a->data<In>() + offsets[1];
      const In* right = b->data<In>() + offsets[2];
      for (std::int64_t i = 0; i < extents[kInner]; ++i) {
        out[i] = function(left[i * views[1].strides[kInner]], right[i * views[2].strides[kInner]]);
      }
    });
    return {};
  };
}

// The inputs are both float32 or both int64.
template <class Predicate>
Kernel compare(const Operands& operands, Predicate predicate) {
  const auto as_byte = [=](auto a, auto b) { return static_cast<std::uint8_t>(predicate(a, b)); };
  return operands.inputs[0]->dtype == DataType::kInt64
             ? combine<std::int64_t, std::uint8_t>(operands, as_byte)
             : combine<float, std::uint8_t>(operands, as_byte);
}

// With the scale and zero point (0 if absent) of each element's extent along "axis".
template <class In, class Out, class Function>
Kernel map_grid(const Operands& operands, Function function) {
  const Tensor* x = operands.inputs[0];
  const Tensor* scale = operands.inputs[1];
  const Tensor* zero = operands.input(2);
  Tensor* y = operands.outputs[0];
  const std::int64_t grids = scale->size();
  const bool one_zero = zero != nullptr && zero->size() == 1;
  std::int64_t run = 1;  // elements in a row that share a grid
  if (grids != 1) {
    const auto rank = static_cast<std::int64_t>(x->dims.size());
    const std::int64_t axis = operands.layer->int_attribute("axis", 1);
    for (std::int64_t i = (axis < 0 ? axis + rank : axis) + 1; i < rank; ++i)
      run *= x->dims[static_cast<std::size_t>(i)];
  }
  return [=]() -> Result<> {
    const std::int64_t size = y->size();
    for (std::int64_t i = 0; i < size; ++i) {
      const std::int64_t grid = i / run % grids;
      y->data<Out>()[i] = function(x->data<In>()[i], scale->data<float>()[grid],
                                   zero == nullptr ? 0 : zero->data<std::int64_t>()[one_zero ? 0 : grid]);
    }
    return {};
  };
}

// Two's complement wrap-around, whatever a file asks for.
std::int64_t wrap(std::uint64_t value) { return static_cast<std::int64_t>(value); }
std::uint64_t bits(std::int64_t value) { return static_cast<std::uint64_t>(value); }

std::int64_t divide(std::int64_t a, std::int64_t b) {
  if (b == 0) return 0;
  return b == -1 ? wrap(0 - bits(a)) : a / b;
}

std::int64_t power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : 0;
  std::uint64_t result = 1;
  for (std::uint64_t factor = bits(base); exponent > 0; exponent /= 2, factor *= factor) {
    if (exponent % 2 != 0) result *= factor;
  }
  return wrap(result);
}

// Casting an out-of-range float is undefined in C++; saturate.
std::int64_t to_int(float x) {
  if (std::isnan(x)) return 0;
  if (x >= 9.2233720e18F) return INT64_MAX;
  if (x <= -9.2233720e18F) return INT64_MIN;
  return static_cast<std::int64_t>(x);
}

// The sign is that of the divisor, or with `as_c` that of the dividend.
std::int64_t modulo(std::int64_t a, std::int64_t b, bool as_c) {
  if (b == 0 || b == -1) return 0;
  const std::int64_t rest = a % b;
  return !as_c && rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

template <class In>
Kernel cast_from(const Operands& operands) {
  switch (operands.outputs[0]->dtype) {
    case DataType::kInt64:
      return map_elements<In, std::int64_t>(operands, [](In x) {
        if constexpr (std::is_same_v<In, float>) {
          return to_int(x);
        } else {
          return static_cast<std::int64_t>(x);
        }
      });
    case DataType::kBool:
      return map_elements<In, std::uint8_t>(
          operands, [](In x) { return static_cast<std::uint8_t>(x != In{0}); });
    default:
      return map_elements<In, float>(operands, [](In x) { return static_cast<float>(x); });
  }
}

template <class T>
Kernel clip(const Operands& operands) {
  const Tensor* low = operands.input(1);
  const Tensor* high = operands.input(2);
  const Tensor* x = operands.inputs[0];
  Tensor* y = operands.outputs[0];
  return [=]() -> Result<> {
    const T* in = x->data<T>();
    T* out = y->data<T>();
    for (std::int64_t i = 0; i < y->size(); ++i) {
      T value = in[i];
      if (low != nullptr) value = std::max(value, *low->data<T>());
      if (high != nullptr) value = std::min(value, *high->data<T>());
      out[i] = value;
    }
    return {};
  };
}

template <class T>
Kernel extremum(const Operands& operands, bool largest) {
  Tensor* y = operands.outputs[0];
  const Axes extents = extents_of(y->dims);
  return [=, inputs = operands.inputs]() -> Result<> {
    constexpr std::size_t kInner = kMaxRank - 1;
    for (std::size_t input = 0; input < inputs.size(); ++input) {
      const Tensor* x = inputs[input];
      const std::array<Strided, 2> views = {dense(y->dims), dense(x->dims)};
      for_each_row(extents, views, [&](const std::array<std::int64_t, 2>& offsets) {
        for (std::int64_t i = 0; i < extents[kInner]; ++i) {
          T& out = y->data<T>()[offsets[0] + i];
          const T value = x->data<T>()[offsets[1] + i * views[1].strides[kInner]];
          const bool no_number = value != value;
          if (input == 0 || no_number || (largest ? value > out : value < out)) out = value;
        }
      });
    }
    return {};
  };
}

template <class T>
Kernel where(const Operands& operands) {
  const Tensor* condition = operands.inputs[0];
  const Tensor* a = operands.inputs[1];
  const Tensor* b = operands.inputs[2];
  Tensor* y = operands.outputs[0];
  const Axes extents = extents_of(y->dims);
  const std::array<Strided, 4> views = {dense(y->dims), dense(condition->dims), dense(a->dims),
                                        dense(b->dims)};
  return [=]() -> Result<> {
    constexpr std::size_t kInner = kMaxRank - 1;
    for_each_row(extents, views, [&](const std::array<std::int64_t, 4>& offsets) {
      for (std::int64_t i = 0; i < extents[kInner]; ++i) {
        const bool first =
            condition->data<std::uint8_t>()[offsets[1] + i * views[1].strides[kInner]] != 0;
        y->data<T>()[offsets[0] + i] =
            first ? a->data<T>()[offsets[2] + i * views[2].strides[kInner]]
                  : b->data<T>()[offsets[3] + i * views[3].strides[kInner]];
      }
    });
    return {};
  };
}

}  // namespace

Result<Kernel> prepare_unary(const Operands& operands) {
  const Layer& layer = *operands.layer;
  if (operands.inputs[0]->dtype == DataType::kInt64) {  // of those that infer_layer() lets through
    using Int = std::int64_t;
    switch (layer.op) {
      case OpType::kAbs:
        return map_elements<Int, Int>(operands,
                                      [](Int x) { return x < 0 ? wrap(0 - bits(x)) : x; });
      case OpType::kSign:
        return map_elements<Int, Int>(operands, [](Int x) { return Int{x > 0} - Int{x < 0}; });
      default:
        return map_elements<Int, Int>(operands, [](Int x) { return wrap(0 - bits(x)); });
    }
  }
  if (layer.op == OpType::kNot) {
    using Byte = std::uint8_t;
    return map_elements<Byte, Byte>(operands, [](Byte x) { return static_cast<Byte>(x == 0); });
  }
  switch (layer.op) {
    case OpType::kAbs:
      return map_floats(operands, [](float x) { return std::abs(x); });
    case OpType::kCeil:
      return map_floats(operands, [](float x) { return std::ceil(x); });
    case OpType::kCos:
      return map_floats(operands, [](float x) { return std::cos(x); });
    case OpType::kErf:
      return map_floats(operands, [](float x) { return std::erf(x); });
    case OpType::kExp:
      return map_floats(operands, [](float x) { return std::exp(x); });
    case OpType::kFloor:
      return map_floats(operands, [](float x) { return std::floor(x); });
    case OpType::kGelu:
      return map_floats(
          operands, layer.string_attribute("approximate", "none") == "tanh" ? gelu_by_tanh : gelu);
    case OpType::kHardSigmoid: {
      const float alpha = layer.float_attribute("alpha", 0.2F);
      const float beta = layer.float_attribute("beta", 0.5F);
      return map_floats(operands, [=](float x) { return hard_sigmoid(x, alpha, beta); });
    }
    case OpType::kHardSwish:
      return map_floats(operands, [](float x) { return x * hard_sigmoid(x, 1.0F / 6.0F, 0.5F); });
    case OpType::kLeakyRelu: {
      const float alpha = layer.float_attribute("alpha", 0.01F);
      return map_floats(operands, [=](float x) { return x < 0 ? alpha * x : x; });
    }
    case OpType::kLog:
      return map_floats(operands, [](float x) { return std::log(x); });
    case OpType::kNeg:
      return map_floats(operands, [](float x) { return -x; });
    case OpType::kReciprocal:
      return map_floats(operands, [](float x) { return 1 / x; });
    case OpType::kRelu:
      return map_floats(operands, [](float x) { return std::max(x, 0.0F); });
    case OpType::kRound:  // ties go to the even number
      return map_floats(operands, [](float x) { return std::nearbyint(x); });
    case OpType::kSigmoid:
      return map_floats(operands, sigmoid);
    case OpType::kSign:
      return map_floats(operands, [](float x) { return x > 0 ? 1.0F : x < 0 ? -1.0F : x; });
    case OpType::kSilu:
      return map_floats(operands, [](float x) { return x * sigmoid(x); });
    case OpType::kSin:
      return map_floats(operands, [](float x) { return std::sin(x); });
    case OpType::kSqrt:
      return map_floats(operands, [](float x) { return std::sqrt(x); });
    case OpType::kTanh:
      return map_floats(operands, [](float x) { return std::tanh(x); });
    default:
      return fail(ErrorCode::kInternal, "not a unary operator");
  }
}

Result<Kernel> prepare_binary(const Operands& operands) {
  using Int = std::int64_t;
  const bool ints = operands.inputs[0]->dtype == DataType::kInt64;
  switch (operands.layer->op) {
    case OpType::kAdd:
      return ints
                 ? combine<Int, Int>(operands, [](Int a, Int b) { return wrap(bits(a) + bits(b)); })
                 : combine<float, float>(operands, [](float a, float b) { return a + b; });
    case OpType::kSub:
      return ints
                 ? combine<Int, Int>(operands, [](Int a, Int b) { return wrap(bits(a) - bits(b)); })
                 : combine<float, float>(operands, [](float a, float b) { return a - b; });
    case OpType::kMul:
      return ints
                 ? combine<Int, Int>(operands, [](Int a, Int b) { return wrap(bits(a) * bits(b)); })
                 : combine<float, float>(operands, [](float a, float b) { return a * b; });
    case OpType::kDiv:
      return ints ? combine<Int, Int>(operands, divide)
                  : combine<float, float>(operands, [](float a, float b) { return a / b; });
    case OpType::kPow:
      return ints
                 ? combine<Int, Int>(operands, power)
                 : combine<float, float>(operands, [](float a, float b) { return std::pow(a, b); });
    case OpType::kEqual:
      return compare(operands, [](auto a, auto b) { return a == b; });
    case OpType::kGreater:
      return compare(operands, [](auto a, auto b) { return a > b; });
    case OpType::kGreaterOrEqual:
      return compare(operands, [](auto a, auto b) { return a >= b; });
    case OpType::kLess:
      return compare(operands, [](auto a, auto b) { return a < b; });
    case OpType::kLessOrEqual:
      return compare(operands, [](auto a, auto b) { return a <= b; });
    case OpType::kMod: {
      const bool as_c = operands.layer->int_attribute("fmod", 0) != 0;
      return ints ? combine<Int, Int>(operands, [=](Int a, Int b) { return modulo(a, b, as_c); })
                  : combine<float, float>(operands,
                                          [](float a, float b) { return std::fmod(a, b); });
    }
    default:
      return fail(ErrorCode::kInternal, "not a binary operator");
  }
}

Result<Kernel> prepare_logic(const Operands& operands) {
  using Byte = std::uint8_t;
  const auto truth = [&](auto function) {
    return combine<Byte, Byte>(operands, [=](Byte a, Byte b) {
      return static_cast<Byte>(function(a != 0, b != 0) ? 1 : 0);
    });
  };
  switch (operands.layer->op) {
    case OpType::kAnd:
      return truth([](bool a, bool b) { return a && b; });
    case OpType::kOr:
      return truth([](bool a, bool b) { return a || b; });
    case OpType::kXor:
      return truth([](bool a, bool b) { return a != b; });
    default:
      return fail(ErrorCode::kInternal, "not a logical operator");
  }
}

Result<Kernel> prepare_extremum(const Operands& operands) {
  const bool largest = operands.layer->op == OpType::kMax;
  return operands.outputs[0]->dtype == DataType::kInt64 ? extremum<std::int64_t>(operands, largest)
                                                        : extremum<float>(operands, largest);
}

Result<Kernel> prepare_where(const Operands& operands) {
  switch (operands.outputs[0]->dtype) {
    case DataType::kFloat32:
      return where<float>(operands);
    case DataType::kInt64:
      return where<std::int64_t>(operands);
    case DataType::kBool:
      return where<std::uint8_t>(operands);
    default:
      return fail(ErrorCode::kUnsupported, "Where selects float32, int64 or bool");
  }
}

Result<Kernel> prepare_cast(const Operands& operands) {
  switch (operands.inputs[0]->dtype) {
    case DataType::kFloat32:
      return cast_from<float>(operands);
    case DataType::kInt64:
      return cast_from<std::int64_t>(operands);
    case DataType::kInt8:
      return cast_from<std::int8_t>(operands);
    case DataType::kUint8:
    case DataType::kBool:
      return cast_from<std::uint8_t>(operands);
    default:
      return fail(ErrorCode::kUnsupported, "Cast reads float32, int64, int8, uint8 or bool");
  }
}

Result<Kernel> prepare_clip(const Operands& operands) {
  return operands.inputs[0]->dtype == DataType::kInt64 ? clip<std::int64_t>(operands)
                                                       : clip<float>(operands);
}

Result<Kernel> prepare_quantize(const Operands& operands) {
  const auto low = static_cast<double>(operands.layer->int_attribute("low", 0));
  const auto high = static_cast<double>(operands.layer->int_attribute("high", UINT8_MAX));
  return map_grid<float, std::int64_t>(operands, [=](float x, float scale, std::int64_t zero) {
    // Ties go to the even code. NaN, which no code stands for, becomes the lowest.
    const double code = std::nearbyint(static_cast<double>(x / scale)) + static_cast<double>(zero);
    return static_cast<std::int64_t>(code > low ? std::min(code, high) : low);
  });
}

Result<Kernel> prepare_dequantize(const Operands& operands) {
  return map_grid<std::int64_t, float>(
      operands, [](std::int64_t code, float scale, std::int64_t zero) {
        return static_cast<float>(static_cast<double>(code) - static_cast<double>(zero)) * scale;
      });
}

Result<Kernel> prepare_batch_normalization(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  const Tensor* scale = operands.inputs[1];
  const Tensor* bias = operands.inputs[2];
  const Tensor* mean = operands.inputs[3];
  const Tensor* variance = operands.inputs[4];
  Tensor* y = operands.outputs[0];
  const float epsilon = operands.layer->float_attribute("epsilon", 1e-5F);
  const std::int64_t images = x->dims[0];
  const std::int64_t channels = x->dims[1];
  std::int64_t plane = 1;
  for (std::size_t i = 2; i < x->dims.size(); ++i) plane *= x->dims[i];
  return [=]() -> Result<> {
    for (std::int64_t i = 0; i < images * channels; ++i) {
      const std::int64_t c = i % channels;
      const float factor =
          scale->data<float>()[c] / std::sqrt(variance->data<float>()[c] + epsilon);
      const float offset = bias->data<float>()[c] - mean->data<float>()[c] * factor;
      const float* in = x->data<float>() + i * plane;
      float* out = y->data<float>() + i * plane;
      for (std::int64_t p = 0; p < plane; ++p) out[p] = in[p] * factor + offset;
    }
    return {};
  };
}

void apply_activation(Activation activation, float alpha, float* data, std::int64_t size) {
  const auto apply = [&](auto function) {
    for (std::int64_t i = 0; i < size; ++i) data[i] = function(data[i]);
  };
  switch (activation) {
    case Activation::kNone:
      return;
    case Activation::kSilu:
      return apply([](float x) { return x * sigmoid(x); });
    case Activation::kRelu:
      return apply([](float x) { return std::max(x, 0.0F); });
    case Activation::kLeakyRelu:
      return apply([=](float x) { return x < 0 ? alpha * x : x; });
    case Activation::kSigmoid:
      return apply(sigmoid);
    case Activation::kHardSwish:
      return apply([](float x) { return x * hard_sigmoid(x, 1.0F / 6.0F, 0.5F); });
  }
}

}  // namespace fovea::engine::reference
