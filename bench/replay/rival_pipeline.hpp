// The same pipeline as ours, stage by stage and process by process with the same code for each, but
// payloads travel inside ZeroMQ messages: copied in by the sender, out by the kernel and by the
// receiver. Stages wait for each other (PUSH / PULL with a queue of one), so it runs as fast as its
// slowest part.
#pragma once

#include "launch/bench/rival_figures.hpp"
#include "nodes/base/result.hpp"

namespace fovea::bench {

// Forks; call before any thread exists.
Result<RivalFigures> run_copying_pipeline(const RivalTask& task);

}  // namespace fovea::bench
