#include "nodes/detector/tool/engine_cli_bisect.hpp"

#include <cmath>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "nodes/base/text.hpp"
#include "nodes/detector/accuracy/layer_check.hpp"
#include "nodes/detector/engine/provider.hpp"
#include "nodes/detector/tool/engine_cli_layers.hpp"

namespace fovea::engine_cli {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kReference = "reference";

std::string without_engine_step(const LayerDifference& found) {
  return found.implementation.empty() ? "no step of its own" : found.implementation;
}

std::vector<std::string> names_of(const LayerCheck& check, const std::vector<std::size_t>& layers) {
  std::vector<std::string> names;
  for (const std::size_t layer : layers) names.push_back(check.network.layers[layer].name);
  return names;
}

Json json_of(const LayerCheck& check, std::size_t input) {
  const LayerDifference& found = *check.first;
  const engine::Layer& layer = check.network.layers[found.layer];
  return {{"name", layer.name},
          {"index", found.layer},
          {"provider", check.provider},
          {"op", describe_operator(layer)},
          {"implementation", found.implementation},
          {"output", check.network.value(found.value).name},
          {"shape", found.dims},
          {"input", input},
          {"max_difference", found.largest},
          {"mean_difference", found.mean},
          {"cosine", found.cosine},
          {"position", found.position},
          {"value", found.actual},
          {"expected", found.expected},
          {"allowed", found.allowed},
          {"on_average", found.on_average},
          {"nan", found.not_a_number},
          {"may_be_in", names_of(check, found.inside)}};
}

void tell(const LayerCheck& check, const JsonOption& json) {
  const LayerDifference& found = *check.first;
  const engine::Layer& layer = check.network.layers[found.layer];
  say(json, fmt::format("layer {} of {} differs: {} ({}), {} {}, {}", found.layer + 1,
                        check.network.layers.size(), one_line(layer.name), describe_operator(layer),
                        check.provider, to_string(check.precision), without_engine_step(found)));
  for (const std::string& name : names_of(check, found.inside)) {
    say(json, fmt::format("  or {}, which has no memory of its own", one_line(name)));
  }
  say(json, fmt::format("  {} {}: cosine {:.8f}  largest difference {:.3g}  mean {:.3g}",
                        one_line(check.network.value(found.value).name),
                        engine::to_string(found.dims), found.cosine, found.largest, found.mean));
  const std::string at = engine::to_string(found.position);
  if (found.not_a_number) {
    say(json, fmt::format("  first NaN at {}; {}", at,
                          std::isnan(found.expected)
                              ? "the reference makes it, too: it is in the model"
                              : fmt::format("from the same inputs the reference makes {:.6g}",
                                            found.expected)));
  } else {
    say(json, fmt::format("  worst at {}: {:.6g}; from the same inputs the reference makes {:.6g}; "
                          "allowed is {} {:.3g}",
                          at, found.actual, found.expected,
                          found.on_average ? "a mean of" : "a difference of", found.allowed));
  }
}

Result<> save(const LayerCheck& check, const TensorOptions& tensors, const JsonOption& json) {
  if (tensors.outputs.empty()) return {};
  const LayerDifference& found = *check.first;
  const std::string& name = check.network.value(found.value).name;
  const engine::Dims each(found.dims.begin() + 1, found.dims.end());
  FOVEA_TRY(tensors.save({{name + "." + check.provider, each, found.actual_values},
                          {name + ".expected", each, found.expected_values}}));
  say(json, fmt::format("  both are in {}", tensors.outputs));
  return {};
}

}  // namespace

Result<int> bisect(const engine::Plan& plan, const engine::Dims& size, const std::string& against,
                   const std::vector<std::vector<std::byte>>& images, const TensorOptions& tensors,
                   const JsonOption& json) {
  FOVEA_TRY(engine::find_provider(against));
  std::vector<engine::Plan> sides = {plan};
  if (against != kReference && against != plan.provider) {
    sides.push_back(plan);
    sides.back().provider = against;
  }
  Json report = {{"differs", false},
                 {"precision", to_string(plan.precision)},
                 {"against", against},
                 {"inputs", images.size()}};
  for (std::size_t i = 0; i < images.size(); ++i) {
    std::optional<LayerCheck> worst;
    for (const engine::Plan& side : sides) {
      auto check = check_layers(side, size, images[i], [] { return interrupted.load(); });
      if (!check) return fail(check.error().with_context("provider " + side.provider));
      if (&side == &sides.front()) {
        report["layers"] = check->judged;
        report["seen_through_others"] = check->inside;
      }
      const bool earlier = check->first && (!worst || check->first->layer < worst->first->layer);
      if (!check->first && i + 1 == images.size()) {
        say(json,
            fmt::format("{} {}: {} layers, {} of them judged by what reads them", check->provider,
                        to_string(check->precision), check->judged, check->inside));
      }
      if (earlier) worst = std::move(*check);
    }
    if (!worst) continue;
    tell(*worst, json);
    FOVEA_TRY(save(*worst, tensors, json));
    report["differs"] = true;
    report["layer"] = json_of(*worst, i);
    break;
  }
  if (!report["differs"]) say(json, "no layer differs");
  FOVEA_TRY(json.write(report.dump(2, ' ', false, Json::error_handler_t::replace)));
  return report["differs"] ? kExitFailure : kExitOk;
}

}  // namespace fovea::engine_cli
