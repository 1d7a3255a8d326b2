#include <algorithm>
#include <array>
#include <string>

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "nodes/base/json.hpp"
#include "nodes/runtime/process/control.hpp"

namespace fovea {
namespace {

struct Operation {
  std::string_view name;
  bool has_transition;
  Json (*answer)(const ControlOperations& operations, Transition transition);
};

Json failure(std::string text) { return {{"ok", false}, {"error", std::move(text)}}; }

std::string state_name(const ControlOperations& operations) {
  return std::string(msgs::enum_name(operations.state()));
}

Json get_state(const ControlOperations& operations, Transition) {
  return {{"ok", true}, {"state", state_name(operations)}};
}

Json change_state(const ControlOperations& operations, Transition transition) {
  const Result<> result = operations.change_state(transition);
  Json reply = result ? Json{{"ok", true}} : failure(result.error().message);
  reply["state"] = state_name(operations);
  return reply;
}

Json get_parameters(const ControlOperations& operations, Transition) {
  return {{"ok", true}, {"parameters", parse_json(operations.parameters_json())}};
}

Json shutdown(const ControlOperations& operations, Transition) {
  operations.shutdown();
  return {{"ok", true}};
}

constexpr std::array kOperations{
    Operation{"get_state", false, get_state}, Operation{"change_state", true, change_state},
    Operation{"get_parameters", false, get_parameters}, Operation{"shutdown", false, shutdown}};

Json answer(const Json& request, const ControlOperations& operations) {
  if (request.is_discarded()) return failure("the request is no JSON");
  if (!request.is_object()) return failure("the request is no JSON object");
  const auto op = request.find("op");
  if (op == request.end() || !op->is_string())
    return failure("'op' is missing; it must be a string");
  const auto name = op->get<std::string>();
  const auto* operation =
      std::find_if(kOperations.begin(), kOperations.end(),
                   [&](const Operation& candidate) { return candidate.name == name; });
  if (operation == kOperations.end()) {
    return failure(fmt::format(
        "op is '{}'; it must be one of get_state, change_state, get_parameters, shutdown", name));
  }
  for (const auto& [key, value] : request.items()) {
    if (key != "op" && !(operation->has_transition && key == "transition")) {
      return failure(fmt::format("unknown key '{}' in {}", key, name));
    }
  }
  if (!operation->has_transition) return operation->answer(operations, Transition{});

  const auto text = request.find("transition");
  if (text == request.end() || !text->is_string())
    return failure("'transition' is missing; it must be a string");
  const auto transition = parse_transition(text->get<std::string>());
  if (!transition) {
    return failure(fmt::format(
        "transition is '{}'; it must be one of configure, activate, deactivate, cleanup, "
        "shutdown",
        text->get<std::string>()));
  }
  return operation->answer(operations, *transition);
}

}  // namespace

std::string answer_control(std::string_view request, const ControlOperations& operations) {
  const Json parsed = parse_json(request);
  return answer(parsed, operations).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace fovea
