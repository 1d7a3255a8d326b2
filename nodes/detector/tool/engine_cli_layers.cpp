// Joins what the provider reports about its steps with what the network says about the layers.
#include "nodes/detector/tool/engine_cli_layers.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/profile.hpp"

namespace fovea::engine_cli {

namespace {

using Clock = std::chrono::steady_clock;

double work_of(const engine::NetworkDefinition& network, const engine::Layer& layer) {
  if (layer.outputs.empty() || layer.inputs.size() < 2) return 0;
  const engine::Dims& weights = network.value(layer.inputs[1]).dims;
  const auto outputs = static_cast<double>(engine::volume(network.value(layer.outputs[0]).dims));
  double per_output = 0;
  if (layer.op == engine::OpType::kConv) {
    per_output = static_cast<double>(engine::volume(weights)) / static_cast<double>(weights[0]);
  } else if (layer.op == engine::OpType::kMatMul && weights.size() >= 2) {
    per_output = static_cast<double>(weights[weights.size() - 2]);
  } else if (layer.op == engine::OpType::kGemm && weights.size() == 2) {
    per_output = static_cast<double>(weights[layer.int_attribute("transB", 0) != 0 ? 1 : 0]);
  } else if (layer.op == engine::OpType::kConvTranspose && weights[0] > 0) {
    const auto inputs = static_cast<double>(engine::volume(network.value(layer.inputs[0]).dims));
    per_output = outputs > 0 ? static_cast<double>(engine::volume(weights)) /
                                   static_cast<double>(weights[0]) * inputs / outputs
                             : 0;
  }
  return 2e-9 * per_output * outputs;
}

// As executed: layers of the plan's precision run in the engine's, which may be another one here.
// Attention has none of its own in a plan: its kernel's name says what it multiplies.
std::string precision_of(const engine::NetworkDefinition& network, std::size_t index,
                         const engine::Plan& plan, const engine::EngineInfo& info,
                         const std::string& implementation) {
  if (implementation.starts_with("amx_bf16"))
    return std::string(to_string(engine::Precision::kBf16));
  const auto& layers = network.quantization.layers;
  const engine::Precision planned =
      layers.empty() ? engine::Precision::kFp32 : layers[index].precision;
  return std::string(to_string(planned == plan.precision ? info.precision : planned));
}

Result<> measure(const engine::Engine& engine, double seconds, LayerTable& table) {
  FOVEA_ASSIGN(const auto context, engine.create_execution_context());
  FOVEA_ASSIGN(const engine::Bindings bindings, engine.make_bindings());
  std::fill(bindings.input().begin(), bindings.input().end(), std::byte{114});
  FOVEA_TRY(context->execute(bindings.batch()));  // first-use costs are nobody's
  std::vector<std::chrono::nanoseconds> times(table.rows.size());
  if (!context->record_layer_times(times)) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("provider {} does not time its layers", engine.info().provider));
  }
  std::size_t runs = 0;
  const auto start = Clock::now();
  do {
    FOVEA_TRY(context->execute(bindings.batch()));
    ++runs;
  } while (!interrupted && std::chrono::duration<double>(Clock::now() - start).count() < seconds);
  for (std::size_t i = 0; i < times.size(); ++i) {
    table.rows[i].ms =
        std::chrono::duration<double, std::milli>(times[i]).count() / static_cast<double>(runs);
    table.ms += table.rows[i].ms;
  }
  return {};
}

}  // namespace

std::string describe_operator(const engine::Layer& layer) {
  std::string text(engine::to_string(layer.op));
  if (layer.activation != engine::Activation::kNone)
    text += fmt::format(" + {}", engine::to_string(layer.activation));
  if (layer.residual != engine::kNoValue) text += " + residual";
  return text;
}

LayerTable::Part LayerTable::on_reference() const {
  Part part;
  for (const LayerRow& row : rows) {
    if (!row.on_reference()) continue;
    part.layers.push_back(row.layer);
    part.ms += row.ms;
  }
  return part;
}

std::optional<double> gigaflops(const engine::NetworkDefinition& network) {
  engine::NetworkDefinition shaped = network;
  if (!engine::infer_shapes(shaped, 1)) return std::nullopt;
  double sum = 0;
  for (const engine::Layer& layer : shaped.layers) sum += work_of(shaped, layer);
  return sum;
}

Result<LayerTable> describe_layers(const engine::Plan& plan, double seconds, engine::Dims size) {
  const engine::Dims& opt = plan.network.profile.opt;
  if (size.empty() && !opt.empty()) size = {opt[2], opt[3], 3};
  FOVEA_ASSIGN(const auto engine, engine::load_engine(plan, size));
  warn_of_another_precision(plan.precision, engine->info().precision);
  engine::EngineInspection inspection = engine->inspect();
  engine::NetworkDefinition network = plan.network;
  if (!size.empty()) {
    FOVEA_ASSIGN(network, engine::at_size(plan.network, size));
  }
  FOVEA_TRY(engine::infer_shapes(network, 1));
  std::map<std::string_view, std::size_t> by_name;
  for (std::size_t i = 0; i < network.layers.size(); ++i) by_name[network.layers[i].name] = i;

  LayerTable table;
  table.precision = to_string(engine->info().precision);
  for (const engine::LayerReport& report : inspection.layers) {
    LayerRow row;
    row.layer = report.layer;
    row.implementation = report.implementation;
    if (const auto found = by_name.find(report.layer); found != by_name.end()) {
      const engine::Layer& layer = network.layers[found->second];
      row.op = describe_operator(layer);
      row.precision =
          precision_of(network, found->second, plan, engine->info(), report.implementation);
      row.fused = layer.fused;
      row.gflop = work_of(network, layer);
    }
    for (const std::string& name : report.fused) {
      row.fused.push_back(name);
      const auto found = by_name.find(name);
      if (found == by_name.end()) continue;
      const engine::Layer& layer = network.layers[found->second];
      row.op += " + " + describe_operator(layer);
      row.gflop += work_of(network, layer);
    }
    table.rows.push_back(std::move(row));
  }
  table.declined = std::move(inspection.declined);
  table.context_bytes = inspection.context_bytes;
  if (seconds > 0) FOVEA_TRY(measure(*engine, seconds, table));
  return table;
}

}  // namespace fovea::engine_cli
