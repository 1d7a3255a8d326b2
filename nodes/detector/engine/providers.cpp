// The list of providers: a new one is a folder of its own and one row here.
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/detector/engine/cpu/cpu_engine.hpp"
#include "nodes/detector/engine/provider.hpp"
#include "nodes/detector/engine/reference/reference_engine.hpp"

namespace fovea::engine {

namespace {

constexpr std::array kProviders = {kCpuProvider, kOnednnProvider, kReferenceProvider};

}  // namespace

std::span<const Provider> providers() { return kProviders; }

Result<const Provider*> find_provider(std::string_view name) {
  for (const Provider& provider : kProviders) {
    if (provider.name == name) return &provider;
  }
  return fail(ErrorCode::kInvalidArgument, fmt::format("provider is '{}'; it must be one of {}",
                                                       name, fmt::join(provider_names(), ", ")));
}

std::vector<std::string> provider_names() {
  std::vector<std::string> names;
  for (const Provider& provider : kProviders) names.emplace_back(provider.name);
  return names;
}

}  // namespace fovea::engine
