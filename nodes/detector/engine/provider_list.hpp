// The list of providers: a new one is a folder of its own and one row here.
#pragma once

#include <array>

#include "nodes/detector/engine/cpu/cpu_engine.hpp"
#include "nodes/detector/engine/cuda/cuda_engine.hpp"
#include "nodes/detector/engine/onnxruntime/onnxruntime_engine.hpp"
#include "nodes/detector/engine/provider.hpp"
#include "nodes/detector/engine/reference/reference_engine.hpp"

namespace fovea::engine {

inline constexpr std::array kProviders = {kCpuProvider,
                                          kOnednnProvider,
                                          kCudaProvider,
                                          kOnnxRuntimeProviders[0],
                                          kOnnxRuntimeProviders[1],
                                          kOnnxRuntimeProviders[2],
                                          kOnnxRuntimeProviders[3],
                                          kReferenceProvider};

}  // namespace fovea::engine
