// A compiled program as an engine.
#pragma once

#include <memory>

#include "nodes/detector/engine/cpu/program/program.hpp"
#include "nodes/detector/engine/engine.hpp"

namespace fovea::engine::cpu {

std::shared_ptr<const Engine> make_engine(Program program, EngineInfo info);

}  // namespace fovea::engine::cpu
