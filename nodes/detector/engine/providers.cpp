// The list of providers: a new one is a folder of its own and one row here.
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine/cpu/cpu_engine.hpp"
#include "nodes/detector/engine/onnxruntime/onnxruntime_engine.hpp"
#include "nodes/detector/engine/provider.hpp"
#include "nodes/detector/engine/reference/reference_engine.hpp"

namespace fovea::engine {

namespace {

constexpr std::array kProviders = {kCpuProvider,
                                   kOnednnProvider,
                                   kOnnxRuntimeProviders[0],
                                   kOnnxRuntimeProviders[1],
                                   kOnnxRuntimeProviders[2],
                                   kOnnxRuntimeProviders[3],
                                   kReferenceProvider};

}  // namespace

std::span<const Provider> providers() { return kProviders; }

Result<const Provider*> find_provider(std::string_view name) {
  for (const Provider& provider : kProviders) {
    if (provider.name == name) return &provider;
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("provider is '{}'; it must be one of {}", shown(name, 40),
                          fmt::join(provider_names(), ", ")));
}

std::vector<std::string> provider_names() {
  std::vector<std::string> names;
  for (const Provider& provider : kProviders) names.emplace_back(provider.name);
  return names;
}

std::vector<std::string> provider_choices() {
  std::vector<std::string> choices = provider_names();
  choices.emplace(choices.begin(), kAutoProvider);
  return choices;
}

Result<const Provider*> first_provider(std::string_view choice) {
  return find_provider(choice == kAutoProvider ? kProviders.front().name : choice);
}

std::string identity_of(std::string_view choice) {
  std::vector<std::string> identities;
  for (const Provider& provider : kProviders) {
    const bool any = choice == kAutoProvider &&
                     (provider.take_over != nullptr || &provider == &kProviders.front());
    if (any || provider.name == choice) identities.push_back(provider.identity());
  }
  return fmt::format("{}", fmt::join(identities, " | "));
}

}  // namespace fovea::engine
