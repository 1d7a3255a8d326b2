// The engine's one intermediate representation: what the ONNX parser makes, the passes rewrite and
// the providers run. A plain directed graph in topological order; nothing here knows ONNX or a
// provider.
//
// Thread safety: plain data. A network handed to a provider is const.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "nodes/base/head_spec.hpp"
#include "nodes/base/input_spec.hpp"
#include "nodes/base/result.hpp"
#include "nodes/detector/engine/packed_forms.hpp"
#include "nodes/detector/engine/quantization/quantization.hpp"
#include "nodes/detector/engine/shared_bytes.hpp"

namespace fovea::engine {

enum class DataType : std::uint8_t {
  kFloat32,
  kFloat16,
  kInt8,
  kUint8,
  kInt32,
  kInt64,
  kBool,
  kBfloat16
};

std::size_t element_size(DataType dtype);
std::string_view to_string(DataType dtype);

// Extents, outermost first; -1 = known only at run time (the batch). Empty = scalar.
using Dims = std::vector<std::int64_t>;

// Bounds that every tensor of a network keeps; beyond them a model is refused, so that sizes and
// offsets never overflow and loops over axes need no heap.
inline constexpr std::size_t kMaxRank = 8;
inline constexpr std::int64_t kMaxElements = std::int64_t{1} << 29;  // 2 GiB of f32

// Number of elements. REQUIRES: no negative extent.
std::int64_t volume(const Dims& dims);
// The same for dims from outside: nullopt if an extent is negative or a bound above is broken.
std::optional<std::int64_t> checked_volume(const Dims& dims);
std::string to_string(const Dims& dims);  // "[1, 3, 640, 640]", -1 as "?"

// The operators of ONNX that detectors use, in the form of the newest opset that the parser reads:
// axes, split sizes and bounds are inputs, not attributes. Tensors hold f32, i64 or bool (the
// parser widens the rest). ConstantOfShape takes its fill value as a second input.
enum class OpType : std::uint8_t {
  kAbs,
  kAdd,
  kAnd,
  kArgMax,
  kAveragePool,
  kBatchNormalization,
  kCast,
  kCeil,
  kClip,
  kConcat,
  kConstantOfShape,
  kConv,
  kConvTranspose,
  kCos,
  kDequantizeLinear,
  kDiv,
  kEqual,
  kErf,
  kExp,
  kExpand,
  kFlatten,
  kFloor,
  kGather,
  kGatherElements,
  kGatherND,
  kGelu,
  kGemm,
  kGlobalAveragePool,
  kGreater,
  kGreaterOrEqual,
  kGridSample,
  kHardSigmoid,
  kHardSwish,
  kIdentity,
  kLayerNormalization,
  kLeakyRelu,
  kLess,
  kLessOrEqual,
  kLog,
  kMatMul,
  kMax,
  kMaxPool,
  kMin,
  kMod,
  kMul,
  kNeg,
  kNot,
  kOr,
  kPad,
  kPow,
  kQuantizeLinear,  // attributes low, high: the ends of the codes
  kRange,
  kReciprocal,
  kReduceL2,
  kReduceMax,
  kReduceMean,
  kReduceSum,
  kRelu,
  kReshape,
  kResize,
  kRound,
  kScatterND,
  kShape,
  kSigmoid,
  kSign,
  kSin,
  kSlice,
  kSoftmax,
  kSplit,
  kSqrt,
  kSqueeze,
  kSub,
  kTanh,
  kTile,
  kTopK,
  kTranspose,
  kUnsqueeze,
  kWhere,
  kXor,
  // Made by passes.
  kSilu,        // x * sigmoid(x)
  kImageInput,  // [N, H, W, 3] u8 RGB -> [N, 3, H, W] f32, 0..255; what follows carries the scale
                // 1/255
  kForeign,     // a whole model, which only the provider that took it over runs; attributes
                // foreign_dims(i) and foreign_type(i): what output i is for one picture
};
inline constexpr OpType kLastOpType = OpType::kForeign;
inline constexpr std::size_t kOpTypeCount = static_cast<std::size_t>(kLastOpType) + 1;

std::string foreign_dims(std::size_t output);
std::string foreign_type(std::size_t output);  // a DataType's number

std::string_view to_string(OpType op);  // ONNX's spelling: "Conv", "MaxPool"

enum class Activation : std::uint8_t { kNone, kSilu, kRelu, kLeakyRelu, kSigmoid, kHardSwish };

std::string_view to_string(Activation activation);

using Attribute =
    std::variant<std::int64_t, float, std::string, std::vector<std::int64_t>, std::vector<float>>;

// A constant's bytes, shared between networks (passes copy networks, not weights).
struct Constant {
  DataType dtype = DataType::kFloat32;  // of the bytes
  Dims dims;
  SharedBytes bytes;
  // Packed: s8 codes that stand for f32 numbers, code * scales[index on the first axis]. Only
  // kInt8 convolutions read packed weights; everybody else needs unpack_weights() first.
  std::vector<float> scales = {};
  PackedForms forms = {};  // what kernels made of it

  bool packed() const { return !scales.empty(); }
  // What the numbers are, however they are stored.
  DataType type() const { return packed() ? DataType::kFloat32 : dtype; }

  // REQUIRES: T is dtype's type (kBool: std::uint8_t, 0 or 1).
  template <class T>
  const T* data() const {
    return reinterpret_cast<const T*>(bytes.data());
  }
  template <class T>
  T* data() {
    return reinterpret_cast<T*>(bytes.data());
  }
  std::int64_t size() const { return volume(dims); }

  // Zeroed. REQUIRES: checked_volume(dims).
  static Constant make(DataType dtype, Dims dims);
  static Constant floats(Dims dims, const std::vector<float>& values);
  static Constant ints(const std::vector<std::int64_t>& values);  // one axis
};

using ValueId = std::int32_t;
inline constexpr ValueId kNoValue = -1;  // an optional input that is absent

// An edge. Written by one layer, or a network input, or a constant.
struct Value {
  std::string name;
  DataType dtype = DataType::kFloat32;
  Dims dims;  // logical, NCHW for images whatever layout a provider stores
  std::shared_ptr<const Constant> constant;  // null unless constant
};

// A vertex. Conv inputs are x, weights, [bias]; after fusion it may carry an activation and,
// applied after the activation, a residual: y = activation(conv(x)) + residual.
struct Layer {
  std::string name;  // the ONNX node's, unique
  OpType op = OpType::kIdentity;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  std::map<std::string, Attribute> attributes;  // ONNX names: "strides", "pads", "axis", ...
  Activation activation = Activation::kNone;
  float activation_alpha = 0;  // kLeakyRelu's slope
  ValueId residual = kNoValue;
  std::vector<std::string> fused;  // names of the layers that were folded into this one, in order

  std::int64_t int_attribute(const std::string& name, std::int64_t fallback) const;
  float float_attribute(const std::string& name, float fallback) const;
  std::string string_attribute(const std::string& name, const std::string& fallback) const;
  std::vector<std::int64_t> ints_attribute(const std::string& name,
                                           std::vector<std::int64_t> fallback) const;
};

// What a head was recognised by, from proof to guess.
enum class HeadBasis : std::uint8_t {
  kNone,      // no head
  kComputed,  // the model's tail computes the decoding, on random maps
  kStated,    // the user says so
  kMetadata,  // as many class names as the output has room for
  kAssumed,   // the output's shape alone
};

std::string_view to_string(HeadBasis basis);  // "none", "computed", "stated", ...

// What the outputs mean to a decoder, and how that is known.
struct HeadInfo {
  std::string name = {};  // the recogniser's: "dfl", "decoded", ...; empty: no head
  HeadSpec spec = {};     // by the names of the outputs; empty: no head
  HeadBasis basis = HeadBasis::kNone;
  std::string note = {};                    // how it was recognised, or why there is none
  std::vector<std::string> warnings = {};  // what its user should know, a line each

  bool known() const { return !spec.empty(); }
  std::size_t classes() const { return spec.classes(); }
};

// Sizes that the input may have, [batch, 3, height, width] whatever its layout; see profile.hpp.
struct OptimizationProfile {
  std::string input;  // its name, if somebody gave it
  Dims min;
  Dims opt;
  Dims max;

  bool empty() const { return opt.empty(); }
  bool operator==(const OptimizationProfile&) const = default;
};

struct NetworkDefinition {
  std::vector<Value> values;
  std::vector<Layer> layers;  // topological order
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;

  // From the ONNX file.
  std::string producer;
  std::int64_t opset = 0;
  std::map<std::string, std::string> metadata;  // metadata_props verbatim
  std::vector<std::string> class_names;  // from metadata "names"; lowered: one per class of head
  HeadInfo head;
  // How a picture becomes its input; settled by lower().
  InputSpec picture;
  // The file suppresses boxes itself, which was cut off; the outputs are what that read, the last
  // first, and one of them must turn out to be a head.
  bool suppression_cut = false;

  // Empty unless the input's height or width is open. Wherever one size is needed, it is opt.
  OptimizationProfile profile;

  // u8 grids that the model itself asks for, by value name: what adopt_quantization() found. Values
  // that passes removed since may be among them.
  std::map<std::string, QuantizationGrid> own_grids;

  // Empty until a lowered network is given 8 bits; passes that run later must not renumber.
  Quantization quantization;

  // Appends a value and returns its id. Invalidates references into `values`.
  ValueId add_value(Value value);
  ValueId add_constant(std::string name, std::shared_ptr<const Constant> constant);

  Value& value(ValueId id) { return values[static_cast<std::size_t>(id)]; }
  const Value& value(ValueId id) const { return values[static_cast<std::size_t>(id)]; }

  // Puts `layers` into topological order, keeping their order where it is one. Errors: kCorrupt for
  // a cycle.
  Result<> sort_layers();

  // Every id in range, every value written once and before it is read, names of layers unique,
  // constants as large as their dims say, outputs written. The parser and every pass keep this
  // true.
  Result<> validate() const;
};

// The values of an i64 constant, for axes and shapes; nullopt for an absent, computed or other
// value.
std::optional<std::vector<std::int64_t>> constant_ints(const NetworkDefinition& network,
                                                       ValueId id);

// Computes the dims and dtype of every value for `batch` images: a first extent of -1 in a network
// input becomes `batch`, an open height or width the profile's opt. Follows shape arithmetic
// (Shape, Gather, Concat, ...) through constants. Errors: kInvalidArgument or kUnsupported, naming
// the layer and the offending extents.
Result<> infer_shapes(NetworkDefinition& network, std::int64_t batch);

}  // namespace fovea::engine
