// `inspect`: what is in a model that nobody has built yet, or in an engine.
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "nodes/base/file_io.hpp"
#include "nodes/base/json.hpp"
#include "nodes/base/text.hpp"
#include "nodes/detector/engine/onnx/parser.hpp"
#include "nodes/detector/engine/onnx/summary.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "nodes/detector/engine/provider.hpp"
#include "nodes/detector/tool/engine_cli_layers.hpp"
#include "nodes/detector/tool/options.hpp"

namespace fovea::engine_cli {

namespace {

std::string dumped(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string in_megabytes(std::uint64_t bytes) {
  return bytes < 100'000 ? fmt::format("{} bytes", bytes)
                         : fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

// "a, b, c", each shown.
template <class List, class Text>
std::string joined(const List& list, Text text) {
  std::string line;
  for (const auto& one : list) line += (line.empty() ? "" : ", ") + text(one);
  return line;
}

std::string shape_of(const engine::OnnxTensorSummary& tensor) {
  if (!tensor.has_shape) return "of any shape";
  return "[" + joined(tensor.dims, [](const std::string& dim) { return shown(dim, 30); }) + "]";
}

// The model as Fovea would run it, or why it would not.
struct Lowered {
  std::optional<engine::NetworkDefinition> network;
  engine::LoweringReport report;
  Error error;          // of parsing or lowering
  std::string no_head;  // the error that only the head gave
};

struct InspectCommand {
  ModelOptions model;
  bool layers = false;
  JsonOption json;

  void line(std::string_view name, const std::string& text) const {
    say(json, fmt::format("{:<9}{}", name, text));
  }

  // Of a model: what its file says, what Fovea makes of it, what its key is made of and whether the
  // cache has it.
  Result<int> inspect_model() const {
    FOVEA_ASSIGN(const PlanRequest request, plan_request(model.request, Spelling::kFlags));
    FOVEA_ASSIGN(const engine::OnnxSummary summary, engine::summarize_onnx(request.model));
    Json described = Json::object();
    const Lowered lowered = lower(request);
    described["model"] = describe_file(request, summary);
    described["model"].update(describe_use(summary, lowered));
    FOVEA_TRY(describe_key(request, described));
    if (layers) {
      if (!lowered.network) return fail(lowered.error);
      explain_lowering(lowered, described);
    }
    FOVEA_TRY(json.write(dumped(described)));
    return kExitOk;
  }

  static Lowered lower(const PlanRequest& request) {
    Lowered lowered;
    auto parsed = engine::parse_onnx(request.model);
    if (!parsed) {
      lowered.error = parsed.error();
      return lowered;
    }
    engine::LoweringOptions options{.keep_output0 = request.config.keep_output0,
                                    .input_height = request.config.input_height,
                                    .input_width = request.config.input_width,
                                    .profile = request.config.profile,
                                    .head = request.config.head,
                                    .picture = request.config.picture,
                                    .metadata = request.config.metadata};
    auto network = engine::lower(*parsed, options, &lowered.report);
    if (!network && network.error().message.starts_with("recognise_head: ")) {
      lowered.no_head = network.error().message.substr(sizeof("recognise_head: ") - 1);
      options.head = engine::kNoHead;
      network = engine::lower(*std::move(parsed), options, &lowered.report);
    }
    if (network) {
      lowered.network = std::move(*network);
    } else {
      lowered.error = network.error().with_context(request.model.string());
    }
    return lowered;
  }

  Json describe_file(const PlanRequest& request, const engine::OnnxSummary& summary) const {
    std::error_code error;
    const std::uint64_t bytes = std::filesystem::file_size(request.model, error);
    line("model", shown(request.model.string(), 4096));
    line("size", in_megabytes(bytes));
    Json external = Json::array();
    for (const auto& file : summary.external_files) {
      external.push_back({{"file", file.location},
                          {"tensors", file.tensors},
                          {"bytes", file.bytes ? Json(*file.bytes) : Json(nullptr)}});
      line("", fmt::format("and {}: {} tensors, {}", shown(file.location), file.tensors,
                           file.bytes ? in_megabytes(*file.bytes) : "which is not there"));
    }
    const std::string by = summary.producer_name.empty() ? "unknown" : summary.producer_name;
    line("producer", fmt::format("{} {} (IR version {})", shown(by, 60),
                                 shown(summary.producer_version, 40), summary.ir_version));
    Json opsets = Json::object();
    for (const auto& opset : summary.opsets) opsets[opset.domain] = opset.version;
    line("opset", joined(summary.opsets, [](const engine::OnnxOpset& opset) {
           return fmt::format("{} {}", shown(opset.domain, 60), opset.version);
         }));
    const auto tensors = [&](const char* name, const auto& list) {
      Json result = Json::array();
      for (const engine::OnnxTensorSummary& tensor : list) {
        result.push_back({{"name", tensor.name}, {"type", tensor.type}, {"dims", tensor.dims}});
        line(name, fmt::format("{} {} {}", shown(tensor.name, 60), tensor.type, shape_of(tensor)));
      }
      return result;
    };
    Json result = {{"file", request.model.string()},
                   {"bytes", bytes},
                   {"external_data", external},
                   {"producer", summary.producer_name},
                   {"producer_version", summary.producer_version},
                   {"ir_version", summary.ir_version},
                   {"opset", opsets},
                   {"graph", summary.graph_name},
                   {"inputs", tensors("input", summary.inputs)},
                   {"outputs", tensors("output", summary.outputs)}};
    return result;
  }

  // Work, operators, head, names, metadata and what stands in the way.
  Json describe_use(const engine::OnnxSummary& summary, const Lowered& lowered) const {
    Json result = {{"parameters", summary.parameters},
                   {"parameter_bytes", summary.parameter_bytes}};
    line("weights", fmt::format("{} parameters, {}", summary.parameters,
                                in_megabytes(summary.parameter_bytes)));
    result["gflop"] = nullptr;
    if (lowered.network) {
      const engine::NetworkDefinition& network = *lowered.network;
      const engine::Dims& input = network.value(network.inputs[0]).dims;
      if (const auto gflop = gigaflops(network)) {
        result["gflop"] = *gflop;
        line("compute", fmt::format("{:.2f} GFLOP a picture{}", *gflop,
                                    input.size() == 4 && input[1] > 0 && input[2] > 0
                                        ? fmt::format(" of {}x{}", input[2], input[1])
                                        : ""));
      }
    }
    Json operators = Json::object();
    for (const auto& one : summary.operators) operators[one.op] = one.nodes;
    result["nodes"] = summary.nodes;
    result["operators"] = operators;
    line("nodes", fmt::format("{}: {}", summary.nodes,
                              joined(summary.operators, [](const engine::OnnxOperatorCount& one) {
                                return fmt::format("{} {}", shown(one.op, 60), one.nodes);
                              })));
    describe_head(lowered, result);
    result["metadata"] = summary.metadata;
    for (const auto& [key, value] : summary.metadata) {
      line("metadata", fmt::format("{} = {}", shown(key, 60), shown(value, 160)));
    }
    describe_refusals(summary, lowered, result);
    return result;
  }

  void describe_head(const Lowered& lowered, Json& result) const {
    if (!lowered.network) {
      result["head"] = nullptr;
      return line("head", "not looked for: the model does not run");
    }
    const engine::HeadInfo& head = lowered.network->head;
    const std::string note = lowered.no_head.empty() ? head.note : lowered.no_head;
    const auto& names = lowered.network->class_names;
    const Json task =
        head.known() ? Json(kTaskNames[static_cast<std::size_t>(head.spec.task())]) : Json(nullptr);
    result["head"] = {{"kind", head.known() ? head.name : "none"},
                      {"task", task},
                      {"maps", to_string(head.spec)},
                      {"basis", engine::to_string(head.basis)},
                      {"classes", head.classes()},
                      {"reg_max", head.spec.bins()},
                      {"strides", head.spec.strides()},
                      {"note", note},
                      {"warnings", head.warnings}};
    result["class_names"] = names;
    const bool known = head.known();
    line("head", known ? note : "none: " + note);
    if (known) line("task", task.get<std::string>());
    result["picture"] = to_string(lowered.network->picture);
    line("picture", to_string(lowered.network->picture));
    for (const OutputMap& map : head.spec.maps) {
      HeadSpec one;
      one.maps.push_back(map);
      line("map", to_string(one));
    }
    const bool guessed = head.basis != engine::HeadBasis::kComputed &&
                         head.name != "classify";  // whose numbers are proven
    if (known && guessed) {
      line("", "a build looks at its numbers, too");
    }
    for (const std::string& warning : head.warnings) line("warning", warning);
    if (!names.empty()) {
      line("classes",
           fmt::format("{}: {}", names.size(),
                       joined(names, [](const std::string& name) { return shown(name, 60); })));
    }
  }

  void describe_refusals(const engine::OnnxSummary& summary, const Lowered& lowered,
                         Json& result) const {
    Json refused = Json::array();
    if (!summary.refusal.empty()) line("refused", summary.refusal);
    for (const engine::OnnxRefusedNode& node : summary.refused) {
      refused.push_back({{"node", node.name}, {"op", node.op}, {"reason", node.reason}});
      line("refused", fmt::format("{} '{}': {}", shown(node.op, 60), shown(node.name, 80),
                                  one_line(node.reason)));
    }
    result["refused"] = refused;
    result["refusal"] = lowered.network && lowered.no_head.empty()
                            ? Json(nullptr)
                            : Json(lowered.network ? lowered.no_head : lowered.error.message);
    if (!lowered.network && refused.empty() && summary.refusal.empty()) {
      line("refused", one_line(lowered.error.message));
    }
    if (lowered.network && refused.empty()) line("runs", "every operator has a provider");
    const auto provider = engine::first_provider(model.request.provider);
    if (!provider || (*provider)->available == nullptr) return;
    if (const auto there = (*provider)->available(); !there) line("but", there.error().message);
  }

  Result<> describe_key(const PlanRequest& request, Json& described) const {
    const PlanCache cache = plan_cache(model.request);
    FOVEA_ASSIGN(const CacheStatus status, cache.status(request));
    Json inputs = Json::object();
    line("key", status.key);
    for (const auto& [name, value] : status.inputs) {
      inputs[name] = value;
      say(json, fmt::format("  {:<17} {}", name, value));
    }
    line("cached", status.cached ? std::string("yes")
                                 : fmt::format("no, it would be built: {}", status.reason));
    described.update({{"key", status.key},
                      {"inputs", inputs},
                      {"cached", status.cached},
                      {"reason", status.reason}});
    return {};
  }

  // What the passes make of the model, and which layers became one.
  void explain_lowering(const Lowered& lowered, Json& described) const {
    say(json, fmt::format("layers   {} in the file", lowered.report.layers_before));
    Json passes = Json::array();
    for (const engine::PassReport& pass : lowered.report.passes) {
      passes.push_back({{"pass", pass.name},
                        {"changes", pass.outcome.changes},
                        {"layers", pass.layers},
                        {"note", pass.outcome.note}});
      say(json,
          fmt::format("  {:<25} {:4} changes, {:4} layers{}{}", pass.name, pass.outcome.changes,
                      pass.layers, pass.outcome.note.empty() ? "" : ": ", pass.outcome.note));
    }
    Json fused = Json::array();
    for (const engine::Layer& layer : lowered.network->layers) {
      if (layer.fused.empty()) continue;
      fused.push_back({{"layer", layer.name}, {"fused", layer.fused}});
      say(json, fmt::format("  {} = {}", shown(layer.name),
                            one_line(fmt::format("{}", fmt::join(layer.fused, " + ")))));
    }
    described["layers_in_file"] = lowered.report.layers_before;
    described["passes"] = passes;
    described["fused"] = fused;
  }

  // With what each costs, roughly: `profile` measures for longer.
  static Result<> add_layers(const engine::Plan& plan, Json& described) {
    constexpr double kSeconds = 0.2;
    FOVEA_ASSIGN(const LayerTable table, describe_layers(plan, kSeconds));
    described["execution"] = Json::array();
    for (const LayerRow& row : table.rows) {
      described["execution"].push_back({{"layer", row.layer},
                                        {"implementation", row.implementation},
                                        {"operation", row.op},
                                        {"precision", row.precision},
                                        {"fused", row.fused},
                                        {"gflop", row.gflop},
                                        {"ms", row.ms},
                                        {"share_pct", table.share_pct(row.ms)}});
    }
    const LayerTable::Part slow = table.on_reference();
    described["reference"] = {
        {"steps", slow.layers.size()}, {"ms", slow.ms}, {"share_pct", table.share_pct(slow.ms)}};
    described["declined"] = table.declined;
    described["context_bytes"] = table.context_bytes;
    return {};
  }

  Result<int> inspect_plan() const {
    FOVEA_TRY(model.check_none_given(kBesideLoadedEngine));
    FOVEA_ASSIGN(const auto bytes, read_file(model.load_engine));
    const auto in_file = [&](const Error& error) {
      return fail(error.with_context(model.load_engine));
    };
    const auto manifest = engine::read_manifest(bytes);
    if (!manifest) return in_file(manifest.error());
    const auto plan = engine::deserialize(bytes);
    if (!plan) return in_file(plan.error());
    Json described = parse_json(*manifest);
    described["bytes"] = bytes.size();
    if (layers) {
      FOVEA_TRY(add_layers(*plan, described));
    }
    say(json, dumped(described));
    FOVEA_TRY(json.write(dumped(described)));
    return kExitOk;
  }

  int run() const {
    const auto code = model.load_engine.empty() ? inspect_model() : inspect_plan();
    return code ? *code : report(code.error());
  }
};

}  // namespace

Command add_inspect(CLI::App& app) {
  auto command = std::make_shared<InspectCommand>();
  command->model.declare_with_engine(app);
  add_flag(app, "--layers", command->layers,
           "Also every layer: how it runs, or of a model which were fused");
  command->json.declare(app);
  return [command] { return command->run(); };
}

}  // namespace fovea::engine_cli
