#include "nodes/detector/accuracy/layer_check.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <tuple>
#include <utility>

#include <fmt/core.h>

#include "nodes/detector/accuracy/layer_marks.hpp"
#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/profile.hpp"
#include "nodes/detector/engine/reference/operators.hpp"
#include "nodes/detector/engine/reference/rounding.hpp"
#include "nodes/detector/engine/shapes/shape_inference.hpp"

namespace fovea {

namespace {

using engine::Constant;
using engine::DataType;
using engine::Dims;
using engine::kNoValue;
using engine::Layer;
using engine::NetworkDefinition;
using engine::OpType;
using engine::Precision;
using engine::ValueId;

constexpr std::size_t kChunkBytes = std::size_t{256} << 20;  // of values in one engine

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

double element(const Constant& tensor, std::size_t i) {
  switch (tensor.dtype) {
    case DataType::kFloat32:
      return static_cast<double>(tensor.data<float>()[i]);
    case DataType::kInt64:
      return static_cast<double>(tensor.data<std::int64_t>()[i]);
    case DataType::kInt32:
      return tensor.data<std::int32_t>()[i];
    default:
      return tensor.data<std::uint8_t>()[i];
  }
}

Dims position_of(std::size_t i, const Dims& dims) {
  Dims position(dims.size());
  auto rest = static_cast<std::int64_t>(i);
  for (std::size_t axis = dims.size(); axis-- > 0;) {
    position[axis] = rest % dims[axis];
    rest /= dims[axis];
  }
  return position;
}

// nullopt: within bounds. Fills in what the numbers say.
std::optional<LayerDifference> compare(const Constant& actual, const Constant& expected,
                                       const LayerBound& bound) {
  const auto count = static_cast<std::size_t>(expected.size());
  const bool exact = expected.dtype != DataType::kFloat32;
  double squares = 0;
  std::size_t finite = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double wanted = element(expected, i);
    if (!std::isfinite(wanted)) continue;
    squares += wanted * wanted;
    ++finite;
  }
  const double rms = finite > 0 ? std::sqrt(squares / static_cast<double>(finite)) : 0;
  LayerDifference found;
  double sum = 0;
  double worst = 0;  // in units of what is allowed
  std::size_t at = 0;
  double aa = 0;
  double ab = 0;
  double bb = 0;
  const auto allowed_at = [&](double wanted) {
    return exact ? 0 : bound.relative * std::max(std::abs(wanted), rms) + bound.absolute;
  };
  for (std::size_t i = 0; i < count; ++i) {
    const double got = element(actual, i);
    const double wanted = element(expected, i);
    if (std::isnan(got) && !found.not_a_number) {
      found.not_a_number = true;
      at = i;
    }
    aa += got * got;
    ab += got * wanted;
    bb += wanted * wanted;
    if (got == wanted) continue;  // infinite ones, too
    const double apart = std::abs(got - wanted);
    sum += apart;
    if (!(apart <= found.largest)) found.largest = apart;  // NaN, too
    const double allowed = allowed_at(wanted);
    double ratio = std::numeric_limits<double>::infinity();
    if (allowed > 0 && std::isfinite(apart)) ratio = apart / allowed;
    if (ratio > worst) {
      worst = ratio;
      if (!found.not_a_number) at = i;
    }
  }
  found.mean = count > 0 ? sum / static_cast<double>(count) : 0;
  found.cosine = aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : (aa == bb ? 1 : 0);
  if (std::isnan(sum)) {
    found.mean = found.largest = found.cosine = std::numeric_limits<double>::quiet_NaN();
  }
  // The mean of a few errors may be thrice theirs.
  const double few = 1 + 3 / std::sqrt(static_cast<double>(std::max<std::size_t>(count, 1)));
  const double mean_allowed = few * (bound.mean * rms + LayerBound::kMeanSteps * bound.absolute);
  if (!found.not_a_number && worst <= 1 && (exact || found.mean <= mean_allowed)) {
    return std::nullopt;
  }
  found.dims = expected.dims;
  found.position = position_of(at, expected.dims);
  found.actual = element(actual, at);
  found.expected = element(expected, at);
  found.on_average = worst <= 1 && !found.not_a_number;
  found.allowed = found.on_average ? mean_allowed : allowed_at(found.expected);
  for (std::size_t i = 0; i < count; ++i) {
    found.actual_values.push_back(static_cast<float>(element(actual, i)));
    found.expected_values.push_back(static_cast<float>(element(expected, i)));
  }
  return found;
}

class Checker {
 public:
  Checker(const engine::Plan& plan, NetworkDefinition network, std::span<const std::byte> image,
          const std::function<bool()>& cancelled)
      : plan_(plan), image_(image), cancelled_(cancelled) {
    plan_.network = std::move(network);
    plan_.artifact = {};  // it was made for the network without marks
  }

  Result<LayerCheck> run() {
    FOVEA_ASSIGN(const auto engine, engine::load_engine(plan_));
    for (const Layer& layer : plan_.network.layers) names_.insert(layer.name);
    steps_ = steps(*engine);
    for (const engine::LayerReport& report : engine->inspect().layers) {
      implementations_.emplace(report.layer, report.implementation);
      for (const std::string& name : report.fused) {
        implementations_.emplace(name, report.implementation);
      }
    }
    check_.provider = engine->info().provider;
    check_.precision = engine->info().precision;
    FOVEA_TRY(prepare_reference());
    for (std::size_t i = 0; i < oracle_.layers.size() && !check_.first; ++i) {
      if (cancelled_ && cancelled_()) return fail(ErrorCode::kUnavailable, "interrupted");
      FOVEA_TRY(judge(i));
    }
    check_.network = std::move(plan_.network);
    return std::move(check_);
  }

 private:
  using Step = std::tuple<std::string, std::string, std::vector<std::string>>;

  // Those of layers: conversions between them come and go with what is looked at.
  std::vector<Step> steps(const engine::Engine& engine) const {
    std::vector<Step> found;
    for (const engine::LayerReport& report : engine.inspect().layers) {
      if (names_.contains(report.layer)) {
        found.emplace_back(report.layer, report.implementation, report.fused);
      }
    }
    return found;
  }

  // The same arithmetic as the engine's: none of the 8 bits that it does without on this machine.
  Result<> prepare_reference() {
    oracle_ = plan_.network;
    if (check_.precision != plan_.precision) {
      engine::unpack_weights(oracle_);
      oracle_.quantization = {};
    }
    if (!oracle_.quantization.empty()) engine::reference::round_weights(oracle_);
    FOVEA_ASSIGN(known_, engine::infer_known_values(oracle_, 1));
    tensors_.assign(known_.begin(), known_.end());
    last_reader_.assign(oracle_.values.size(), 0);
    for (std::size_t i = 0; i < oracle_.layers.size(); ++i) {
      for (const ValueId id : reads(i)) last_reader_[index(id)] = i;
    }
    const ValueId input = oracle_.inputs[0];
    auto picture = std::make_shared<Constant>(
        Constant::make(oracle_.value(input).dtype, oracle_.value(input).dims));
    std::memcpy(picture->bytes.data(), image_.data(), image_.size());
    tensors_[index(input)] = std::move(picture);
    return {};
  }

  std::vector<ValueId> reads(std::size_t layer) const {
    std::vector<ValueId> ids = oracle_.layers[layer].inputs;
    ids.push_back(oracle_.layers[layer].residual);
    ids.erase(std::remove(ids.begin(), ids.end(), kNoValue), ids.end());
    return ids;
  }

  bool is_known(std::size_t layer) const {
    return known_[index(oracle_.layers[layer].outputs[0])] != nullptr;
  }

  // The engine's numbers of the layers from `layer` on, as many as are kept at a time.
  Result<> look_ahead(std::size_t layer) {
    std::vector<ValueId> values;
    std::size_t bytes = 0;
    for (; looked_ < oracle_.layers.size(); ++looked_) {
      const Layer& next = oracle_.layers[looked_];
      if (is_known(looked_) || next.op == OpType::kImageInput) continue;
      if (bytes > kChunkBytes && looked_ > layer) break;
      for (const ValueId id : next.outputs) {
        const engine::Value& value = oracle_.value(id);
        if (!can_be_marked(oracle_, id)) continue;
        values.push_back(id);
        bytes += static_cast<std::size_t>(engine::volume(value.dims)) *
                 engine::element_size(value.dtype);
      }
    }
    return observe(values);
  }

  // Values whose marks would keep the engine from fusing what it fuses are left out.
  Result<> observe(std::span<const ValueId> values) {
    if (values.empty()) return {};
    if (cancelled_ && cancelled_()) return fail(ErrorCode::kUnavailable, "interrupted");
    MarkedNetwork marked = mark_values(plan_.network, values);
    engine::Plan plan = plan_;
    plan.network = std::move(marked.network);
    const auto engine = engine::load_engine(plan);
    if (!engine && engine.error().code != ErrorCode::kUnsupported &&
        engine.error().code != ErrorCode::kCorrupt) {
      return fail(engine.error());
    }
    if (engine && steps(**engine) == steps_) return read(**engine, values, marked.outputs);
    if (values.size() == 1) return {};
    FOVEA_TRY(observe(values.first(values.size() / 2)));
    return observe(values.subspan(values.size() / 2));
  }

  Result<> read(const engine::Engine& engine, std::span<const ValueId> values,
                const std::vector<std::size_t>& outputs) {
    FOVEA_ASSIGN(const auto context, engine.create_execution_context());
    FOVEA_ASSIGN(const engine::Bindings bindings, engine.make_bindings());
    if (image_.size() != bindings.input().size()) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("the picture has {} bytes; the engine takes {}", image_.size(),
                              bindings.input().size()));
    }
    std::memcpy(bindings.input().data(), image_.data(), image_.size());
    FOVEA_TRY(context->execute(bindings.batch()));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const engine::TensorSpec& spec = engine.info().outputs[outputs[i]];
      const engine::Value& value = oracle_.value(values[i]);
      Constant tensor = Constant::make(spec.dtype, value.dims);
      const auto bytes = bindings.output(outputs[i]);
      if (spec.dtype == DataType::kFloat32 && spec.dims.size() == 3 &&
          engine.info().head.spec.channels_last(spec.name)) {
        const auto* from = reinterpret_cast<const float*>(bytes.data());
        const auto channels = static_cast<std::size_t>(spec.dims[2]);
        const auto pixels = static_cast<std::size_t>(spec.dims[0] * spec.dims[1]);
        for (std::size_t p = 0; p < pixels; ++p) {
          for (std::size_t c = 0; c < channels; ++c) {
            tensor.data<float>()[c * pixels + p] = from[p * channels + c];
          }
        }
      } else {
        std::memcpy(tensor.bytes.data(), bytes.data(), spec.bytes);
      }
      observed_[values[i]] = std::make_shared<const Constant>(std::move(tensor));
    }
    return {};
  }

  Result<std::vector<std::shared_ptr<Constant>>> evaluate(std::size_t i) const {
    const Layer& layer = oracle_.layers[i];
    const auto tensor = [&](ValueId id) {
      return id == kNoValue ? nullptr : tensors_[index(id)].get();
    };
    std::vector<std::shared_ptr<Constant>> outputs;
    engine::reference::Operands operands{&layer, {}, {}, tensor(layer.residual)};
    for (const ValueId id : layer.inputs) operands.inputs.push_back(tensor(id));
    for (const ValueId id : layer.outputs) {
      const engine::Value& value = oracle_.value(id);
      outputs.push_back(std::make_shared<Constant>(Constant::make(value.dtype, value.dims)));
      operands.outputs.push_back(outputs.back().get());
    }
    const engine::reference::Rounding rounding(oracle_, i);
    const Layer plain = rounding.splits_layer() ? rounding.plain_layer() : Layer{};
    if (rounding.splits_layer()) {
      operands.layer = &plain;
      operands.residual = nullptr;
    }
    auto kernel = engine::reference::prepare(operands);
    auto ran = kernel ? (*kernel)() : Result<>(fail(kernel.error()));
    if (!ran) return fail(ran.error().with_context(fmt::format("layer '{}'", layer.name)));
    if (rounding.any()) rounding.apply(operands.outputs, tensor(layer.residual));
    return outputs;
  }

  Result<> judge(std::size_t i) {
    if (is_known(i)) return {};
    if (i >= looked_) FOVEA_TRY(look_ahead(i));
    const Layer& layer = oracle_.layers[i];
    FOVEA_ASSIGN(const auto expected, evaluate(i));
    ++check_.judged;
    const bool fused = !computed_on_the_way(i).empty();
    bool seen = true;
    for (std::size_t k = 0; k < layer.outputs.size(); ++k) {
      const ValueId id = layer.outputs[k];
      const auto actual = observed_.extract(id);
      seen = seen && !actual.empty();
      tensors_[index(id)] = actual.empty() ? expected[k] : actual.mapped();
      if (actual.empty() || check_.first) continue;
      const LayerBound bound = layer_bound(oracle_, i, k, check_.precision, fused);
      check_.first = compare(*actual.mapped(), *expected[k], bound);
      if (check_.first) describe(i, id);
    }
    if (!seen && layer.op != OpType::kImageInput) {
      ++check_.inside;
      unseen_.insert(i);
    }
    for (const ValueId id : reads(i)) {
      if (last_reader_[index(id)] == i && known_[index(id)] == nullptr) tensors_[index(id)].reset();
    }
    return {};
  }

  // Layers between it and the last numbers of the engine's.
  std::vector<std::size_t> computed_on_the_way(std::size_t i) const {
    std::vector<std::size_t> open = {i};
    std::set<std::size_t> inside;
    while (!open.empty()) {
      const auto ids = reads(open.back());
      open.pop_back();
      for (const std::size_t other : unseen_) {
        for (const ValueId output : oracle_.layers[other].outputs) {
          const bool read = std::find(ids.begin(), ids.end(), output) != ids.end();
          if (read && inside.insert(other).second) open.push_back(other);
        }
      }
    }
    return {inside.begin(), inside.end()};
  }

  void describe(std::size_t i, ValueId id) {
    LayerDifference& first = *check_.first;
    first.layer = i;
    first.value = id;
    const auto implementation = implementations_.find(oracle_.layers[i].name);
    if (implementation != implementations_.end()) first.implementation = implementation->second;
    first.inside = computed_on_the_way(i);
    if (!first.implementation.empty()) return;
    for (const std::size_t other : first.inside) {
      const auto found = implementations_.find(oracle_.layers[other].name);
      if (found != implementations_.end()) first.implementation = found->second;
    }
  }

  engine::Plan plan_;  // of one size, without marks
  std::span<const std::byte> image_;
  const std::function<bool()>& cancelled_;
  std::set<std::string> names_;
  std::vector<Step> steps_;
  std::map<std::string, std::string> implementations_;  // by layer
  NetworkDefinition oracle_;                            // what the reference computes
  engine::KnownValues known_;
  std::vector<std::shared_ptr<const Constant>> tensors_;  // by value, until nobody reads it
  std::vector<std::size_t> last_reader_;
  std::map<ValueId, std::shared_ptr<const Constant>> observed_;
  std::set<std::size_t> unseen_;
  std::size_t looked_ = 0;
  LayerCheck check_;
};

}  // namespace

LayerBound layer_bound(const NetworkDefinition& network, std::size_t layer, std::size_t output,
                       Precision precision, bool fused) {
  // A sum of n products in another order is off by some sqrt(n) * 2^-24 of its terms, which may
  // cancel; Winograd's transforms make that up to 30 times as much. The figures beside the bounds are
  // the most that our kernels are off by on YOLOv8, v10, 11 and 26 of every task.
  constexpr LayerBound kFp32{2e-4, 5e-6};  // 5e-5, 9e-7
  // Factors, partial sums and the result are rounded to 11 bits: sqrt(n) * 2^-12 of the sum, 1e-2,
  // for n = 1000. The greatest of a million such errors is five standard deviations out.
  constexpr LayerBound kFp16{0.1, 5e-3};  // 4e-2, 2e-3
  // Factors and the result are rounded to 8 bits; sums are f32.
  constexpr LayerBound kBf16{0.1, 8e-3};  // 4e-2, 3e-3
  // Softmax of scores of 8 bits: an error e of a score is a factor exp(e) of its weight.
  constexpr LayerBound kBf16Attention{0.6, 2e-2};  // 0.24, 4e-3
  const Layer& of = network.layers[layer];
  const engine::Quantization& quantization = network.quantization;
  if (quantization.empty()) return kFp32;
  LayerBound bound = kFp32;
  const Precision own = quantization.layers[layer].precision;
  if (own == Precision::kFp16) bound = kFp16;
  if (own == Precision::kBf16) bound = kBf16;
  if (of.op != OpType::kConv && precision == Precision::kBf16 && fused) bound = kBf16Attention;
  // Codes are exact sums, rounded: where a number lies between two codes either is right, once for
  // the sum and once for what is stored; 1.1 is the steepest that an activation is.
  const engine::QuantizationGrid& stored = quantization.values[index(of.outputs[output])];
  const engine::QuantizationGrid& sums = quantization.layers[layer].pre_activation;
  if (stored) bound.absolute = 1.01 * static_cast<double>(stored.scale);
  if (sums)
    bound.absolute += 1.1 * static_cast<double>(sums.scale) + static_cast<double>(stored.scale);
  return bound;
}

Result<LayerCheck> check_layers(const engine::Plan& plan, const Dims& size,
                                std::span<const std::byte> image,
                                const std::function<bool()>& cancelled) {
  for (const Layer& layer : plan.network.layers) {
    if (layer.op == OpType::kForeign) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("provider {} runs this model as a whole: it has no layers to look at",
                              plan.provider));
    }
  }
  Dims wanted = size;
  const Dims& opt = plan.network.profile.opt;
  if (wanted.empty() && !opt.empty()) wanted = {opt[2], opt[3], 3};
  NetworkDefinition network = plan.network;
  if (!wanted.empty()) {
    FOVEA_ASSIGN(network, engine::at_size(plan.network, wanted));
  }
  FOVEA_TRY(engine::infer_shapes(network, 1));
  return Checker(plan, std::move(network), image, cancelled).run();
}

}  // namespace fovea
