// Looking providers up in their list.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine/provider.hpp"

namespace fovea::engine {

Result<const Provider*> find_provider(std::string_view name) {
  for (const Provider& provider : providers()) {
    if (provider.name == name) return &provider;
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("provider is '{}'; it must be one of {}", shown(name, 40),
                          fmt::join(provider_names(), ", ")));
}

std::vector<std::string> provider_names() {
  std::vector<std::string> names;
  for (const Provider& provider : providers()) names.emplace_back(provider.name);
  return names;
}

std::vector<std::string> provider_choices() {
  std::vector<std::string> choices = provider_names();
  choices.emplace(choices.begin(), kAutoProvider);
  return choices;
}

Result<const Provider*> first_provider(std::string_view choice) {
  return find_provider(choice == kAutoProvider ? providers().front().name : choice);
}

std::string identity_of(std::string_view choice) {
  std::vector<std::string> identities;
  for (const Provider& provider : providers()) {
    const bool any = choice == kAutoProvider &&
                     (provider.take_over != nullptr || &provider == &providers().front());
    if (any || provider.name == choice) identities.push_back(provider.identity());
  }
  return fmt::format("{}", fmt::join(identities, " | "));
}

}  // namespace fovea::engine
