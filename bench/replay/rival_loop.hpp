// What a user would otherwise write: one process that reads a frame of each camera in turn, scales
// it, runs the network in f32 and decodes. Runs as fast as it can.
//
// The rivals get the best form of the model: cut off at its raw maps, which OpenCV needs and which
// spares both the slow tail; our decoder does the rest.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "launch/bench/rival_figures.hpp"
#include "nodes/base/result.hpp"
#include "nodes/detector/engine/engine.hpp"

namespace fovea::bench {

// [channels, height, width] f32 of one picture.
struct RawMap {
  std::size_t channels = 0, height = 0, width = 0;
  const float* values = nullptr;
};

// A network library, used by one thread.
class RivalNetwork {
 public:
  virtual ~RivalNetwork() = default;
  // `planes` is [3, height, width] f32, RGB, 0..1. Maps stay valid until the next call.
  virtual Result<std::vector<RawMap>> run(const std::vector<float>& planes) = 0;
};

// `file` is the cut model with input [1, 3, height, width].
Result<std::unique_ptr<RivalNetwork>> make_opencv_network(const std::string& file, int threads,
                                                          std::size_t height, std::size_t width);
// Errors: find_library()'s where there is no ONNX Runtime.
Result<std::unique_ptr<RivalNetwork>> make_onnxruntime_network(const std::string& file, int threads,
                                                               std::size_t height,
                                                               std::size_t width);

// `info` describes our engine of the same model: input size, head, names.
Result<RivalFigures> run_loop(const RivalTask& task, const engine::EngineInfo& info,
                              RivalNetwork& network);

}  // namespace fovea::bench
