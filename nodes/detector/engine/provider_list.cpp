// Alone in its file: a program that defines providers() itself, such as the bench's detector with a
// planted slowdown, is linked without this one.
#include "nodes/detector/engine/provider_list.hpp"

namespace fovea::engine {

std::span<const Provider> providers() { return kProviders; }

}  // namespace fovea::engine
