// Every convolution that may write 8 bits is taken apart again (convolution, activation, residual),
// and what lies between its parts becomes an output of the network.
#include "nodes/detector/engine/quantization/calibrator.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <optional>
#include <span>
#include <thread>

#include <fmt/core.h>

#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/quantization/calibration_ranges.hpp"

namespace fovea::engine {

namespace {

// The least value of SiLU: a lower end that every picture reaches.
constexpr float kSiluMinimum = -0.27846455F;

OpType op_of(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return OpType::kSilu;
    case Activation::kRelu:
      return OpType::kRelu;
    case Activation::kLeakyRelu:
      return OpType::kLeakyRelu;
    case Activation::kSigmoid:
      return OpType::kSigmoid;
    case Activation::kHardSwish:
      return OpType::kHardSwish;
    case Activation::kNone:
      break;
  }
  return OpType::kIdentity;
}

// A convolution with 8-bit output and the network outputs that show it: what its activation reads
// and what it writes. They are one without activation and residual.
struct Tap {
  std::string layer;
  Activation activation = Activation::kNone;
  float alpha = 0;
  bool residual = false;
  std::size_t pre = 0;
  std::size_t out = 0;
};

struct TappedNetwork {
  NetworkDefinition network;
  std::vector<Tap> taps;
};

Result<TappedNetwork> tap(const NetworkDefinition& lowered) {
  FOVEA_ASSIGN(const NetworkDefinition shaped, with_shapes(lowered));
  const std::vector<std::int32_t> shared = shared_grids(shaped);
  TappedNetwork result{lowered, {}};
  NetworkDefinition& network = result.network;
  network.quantization = {};
  network.head = {};  // outputs as they lie
  network.outputs.clear();
  network.layers.clear();
  const auto expose = [&](ValueId id) {
    network.outputs.push_back(id);
    return network.outputs.size() - 1;
  };
  for (const Layer& layer : lowered.layers) {
    network.layers.push_back(layer);
    if (layer.op != OpType::kConv ||
        shared[static_cast<std::size_t>(layer.outputs[0])] == kNoValue) {
      continue;
    }
    Tap made{layer.name, layer.activation, layer.activation_alpha, layer.residual != kNoValue, 0,
             0};
    const ValueId output = layer.outputs[0];
    const Dims dims = lowered.value(output).dims;
    ValueId last = output;
    const auto part = [&](OpType op, const char* suffix, std::vector<ValueId> inputs) {
      Layer extra;
      extra.name = layer.name + suffix;
      extra.op = op;
      extra.inputs = std::move(inputs);
      extra.outputs = {output};
      // What was last moves to a value of its own; the newest part writes the layer's output.
      network.layers.push_back(std::move(extra));
    };
    const auto move_last = [&](const char* suffix) {
      last = network.add_value({layer.name + suffix, DataType::kFloat32, dims, nullptr});
      network.layers.back().outputs = {last};
    };
    Layer& conv = network.layers.back();
    conv.activation = Activation::kNone;
    conv.residual = kNoValue;
    if (layer.activation != Activation::kNone) {
      move_last(":pre");
      made.pre = expose(last);
      part(op_of(layer.activation), ":activation", {last});
      if (layer.activation == Activation::kLeakyRelu) {
        network.layers.back().attributes["alpha"] = layer.activation_alpha;
      }
    }
    if (layer.residual != kNoValue) {
      move_last(":addend");
      part(OpType::kAdd, ":residual", {last, layer.residual});
    }
    made.out = expose(output);
    if (layer.activation == Activation::kNone) made.pre = made.out;
    result.taps.push_back(std::move(made));
  }
  if (result.taps.empty()) {
    return fail(ErrorCode::kUnsupported, "no convolution of this network can write 8 bits");
  }
  FOVEA_TRY(network.validate());
  return result;
}

struct Extremes {
  float low = INFINITY;
  float high = -INFINITY;
  bool finite = true;

  void add(const float* values, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      finite = finite && std::isfinite(values[i]);
      low = std::min(low, values[i]);
      high = std::max(high, values[i]);
    }
  }
};

// One engine with all taps, its memory, and a loop over pictures.
class TapRun {
 public:
  static Result<TapRun> create(NetworkDefinition network, const CalibrationOptions& options) {
    Plan plan;
    plan.provider = options.provider;
    plan.threads = options.threads;
    plan.network = std::move(network);
    TapRun run;
    run.threads_ = options.threads;
    FOVEA_ASSIGN(run.engine_, load_engine(plan));
    FOVEA_ASSIGN(run.context_, run.engine_->create_execution_context());
    FOVEA_ASSIGN(run.bindings_, run.engine_->make_bindings());
    return run;
  }

  std::size_t outputs() const { return engine_->info().outputs.size(); }

  // Calls visit(output, values, count) for every output of a picture, several at the same time.
  template <class Visit>
  Result<> picture(std::size_t index, const PictureSource& source, const Visit& visit) {
    FOVEA_TRY(source(index, bindings_->input()));
    FOVEA_TRY(context_->execute(bindings_->batch()));
    std::atomic<std::size_t> next = 0;
    const auto work = [&] {
      for (std::size_t i = next++; i < outputs(); i = next++) {
        const std::span<std::byte> output = bindings_->output(i);
        visit(i, reinterpret_cast<const float*>(output.data()), output.size() / sizeof(float));
      }
    };
    std::vector<std::jthread> helpers;
    for (std::int32_t t = 1; t < threads_; ++t) helpers.emplace_back(work);
    work();
    return {};
  }

 private:
  std::int32_t threads_ = 1;
  std::shared_ptr<const Engine> engine_;
  std::unique_ptr<ExecutionContext> context_;
  std::optional<Bindings> bindings_;
};

LayerRanges ranges_of(const Tap& tap, const Histogram& pre, const Histogram& out,
                      const Extremes& pre_extremes, const Extremes& out_extremes, double percent) {
  LayerRanges ranges;
  ranges.layer = tap.layer;
  ranges.pre_min = pre_extremes.low;
  ranges.pre_max = pre_extremes.high;
  const Ends ends = least_squares_ends(pre, tap.activation, tap.alpha);
  ranges.pre_low = ends.low;
  ranges.pre_high = ends.high;
  ranges.low_value = ends.low_value;
  ranges.high_value = ends.high_value;
  ranges.out_min = out_extremes.low;
  ranges.out_max = out_extremes.high;
  const bool plain_silu = tap.activation == Activation::kSilu && !tap.residual;
  ranges.low = plain_silu ? std::max(kSiluMinimum, ranges.out_min) : ranges.out_min;
  const auto high = [&](RangeRule rule) -> float& {
    return ranges.high[static_cast<std::size_t>(rule)];
  };
  high(RangeRule::kPercentile) = percentile(out, percent);
  high(RangeRule::kWidePercentile) = percentile(out, 99.9999);
  high(RangeRule::kMse) = least_squares_high(out, ranges.low);
  high(RangeRule::kMinMax) = ranges.out_max;
  high(RangeRule::kEntropy) = entropy_high(out, ranges.low);
  ranges.entropy_percentile = percentile_of(out, high(RangeRule::kEntropy));
  return ranges;
}

Result<> check(std::size_t pictures, const CalibrationOptions& options) {
  if (pictures < kLeastCalibrationPictures) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("calibration has {} pictures; it needs at least {}, better {} or more "
                            "from where the detector will run",
                            pictures, kLeastCalibrationPictures, kEnoughCalibrationPictures));
  }
  if (!(options.percentile > 99 && options.percentile <= 100)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("calibration percentile is {}; it must be above 99 and at most 100",
                            options.percentile));
  }
  if (options.threads < 1 || options.threads > kMaxThreads) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("threads is {}; it must be 1..{}", options.threads, kMaxThreads));
  }
  return {};
}

}  // namespace

Result<CalibrationTable> calibrate(const NetworkDefinition& lowered, std::size_t pictures,
                                   const PictureSource& source, const CalibrationOptions& options,
                                   const Progress& progress) {
  FOVEA_TRY(check(pictures, options));
  FOVEA_ASSIGN(TappedNetwork tapped, tap(lowered));
  const std::vector<Tap> taps = std::move(tapped.taps);
  FOVEA_ASSIGN(TapRun run, TapRun::create(std::move(tapped.network), options));
  const double steps = static_cast<double>(2 * pictures + 1);
  const auto report = [&](std::size_t done) {
    if (progress) progress("calibrate", static_cast<double>(done) / steps);
  };

  std::vector<Extremes> extremes(run.outputs());
  for (std::size_t i = 0; i < pictures; ++i) {
    report(i);
    FOVEA_TRY(run.picture(i, source, [&](std::size_t output, const float* values, std::size_t n) {
      extremes[output].add(values, n);
    }));
    for (const Tap& tap : taps) {
      if (extremes[tap.pre].finite && extremes[tap.out].finite) continue;
      return fail(ErrorCode::kUnsupported,
                  fmt::format("'{}' is not finite on calibration picture {}; int8 needs a network "
                              "that stays finite",
                              tap.layer, i));
    }
  }
  std::vector<Histogram> histograms;
  for (const Extremes& one : extremes) histograms.emplace_back(one.low, one.high);
  for (std::size_t i = 0; i < pictures; ++i) {
    report(pictures + i);
    FOVEA_TRY(run.picture(i, source, [&](std::size_t output, const float* values, std::size_t n) {
      histograms[output].add(values, n);
    }));
  }
  report(2 * pictures);
  CalibrationTable table{options.model_hash, options.identity, pictures, options.percentile, {}};
  for (const Tap& tap : taps) {
    table.layers.push_back(ranges_of(tap, histograms[tap.pre], histograms[tap.out],
                                     extremes[tap.pre], extremes[tap.out], options.percentile));
  }
  if (progress) progress("calibrate", 1);
  return table;
}

}  // namespace fovea::engine
