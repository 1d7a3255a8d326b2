// Chooses the tactic of every convolution of a network on the machine that will run it: each
// distinct one alone first, then the fastest few of each inside the network, where caches hold what
// they hold in earnest.
//
// Every kernel is checked on poisoned memory before it is timed, against the scalar one and against
// the others. Times of the rivals alternate, so that a busy moment hits them all. The first guess
// stays wherever nothing is measurably faster.
//
// Thread safety: any thread; the times assume that the machine is otherwise quiet, the results do
// not.
#pragma once

#include "nodes/detector/engine/cpu/native/compiler.hpp"
#include "nodes/detector/engine/cpu/native/convolution_timer.hpp"
#include "nodes/detector/engine/engine.hpp"

namespace fovea::engine::cpu::native {

// Tactics of every convolution that has a choice. From the timing cache if it knows them all.
// Nothing but a smaller effect comes from a CPU or network that our kernels do not serve, a timing
// cache that cannot be used, or an exceeded time limit; `report` says which.
// `make` replaces create_convolution() in tests.
// REQUIRES: what compile() requires; config.level 1..kMaxTuningLevel. Errors: those of compile()
// for layers, kExhausted, kUnavailable where config.keep_going says so.
Result<LayerTactics> tune(const NetworkDefinition& lowered, const EngineInfo& info,
                          const TuningConfig& config, const Progress& progress,
                          TuningReport& report,
                          const KernelFactory& make = kernels::create_convolution);

}  // namespace fovea::engine::cpu::native
