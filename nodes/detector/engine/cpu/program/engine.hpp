// A compiled program as an engine.
#pragma once

#include <memory>

#include "nodes/detector/engine/cpu/cpu_engine.hpp"
#include "nodes/detector/engine/cpu/program/program.hpp"

namespace fovea::engine::cpu {

std::shared_ptr<const CpuEngine> make_engine(Program program, EngineInfo info);

}  // namespace fovea::engine::cpu
