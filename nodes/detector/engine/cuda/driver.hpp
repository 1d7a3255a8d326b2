// The NVIDIA driver's library, found when it is asked for: never linked, so that one build runs with
// and without a GPU. Its types come from the CUDA toolkit's header.
#pragma once

#include <string>
#include <string_view>

#include <cuda.h>

#include "nodes/base/result.hpp"

namespace fovea::engine::cuda {

// The functions that are used: X(member, name in cuda.h).
#define FOVEA_CUDA_FUNCTIONS(X)               \
  X(initialize, cuInit)                       \
  X(driver_version, cuDriverGetVersion)       \
  X(error_name, cuGetErrorName)               \
  X(error_text, cuGetErrorString)             \
  X(device_count, cuDeviceGetCount)           \
  X(device_get, cuDeviceGet)                  \
  X(device_name, cuDeviceGetName)             \
  X(device_attribute, cuDeviceGetAttribute)   \
  X(retain_context, cuDevicePrimaryCtxRetain) \
  X(set_context, cuCtxSetCurrent)             \
  X(load_module, cuModuleLoadData)            \
  X(find_function, cuModuleGetFunction)       \
  X(function_set, cuFuncSetAttribute)         \
  X(launch, cuLaunchKernelEx)                 \
  X(allocate, cuMemAlloc)                     \
  X(free, cuMemFree)                          \
  X(memory_info, cuMemGetInfo)                \
  X(copy, cuMemcpyAsync)                      \
  X(create_stream, cuStreamCreate)            \
  X(destroy_stream, cuStreamDestroy)          \
  X(wait_stream, cuStreamSynchronize)         \
  X(create_event, cuEventCreate)              \
  X(destroy_event, cuEventDestroy)            \
  X(record_event, cuEventRecord)              \
  X(wait_event, cuEventSynchronize)           \
  X(elapsed, cuEventElapsedTime)              \
  X(create_graph, cuGraphCreate)              \
  X(destroy_graph, cuGraphDestroy)            \
  X(add_node, cuGraphAddNode)                 \
  X(instantiate, cuGraphInstantiate)          \
  X(upload_graph, cuGraphUpload)              \
  X(launch_graph, cuGraphLaunch)              \
  X(destroy_executable, cuGraphExecDestroy)

struct Driver {
#define FOVEA_CUDA_MEMBER(member, function) decltype(&function) member = nullptr;
  FOVEA_CUDA_FUNCTIONS(FOVEA_CUDA_MEMBER)
#undef FOVEA_CUDA_MEMBER

  // `what` was tried. Errors: kExhausted for memory, kUnavailable for everything else, in the driver's
  // words.
  Result<> check(CUresult result, std::string_view what) const;
};

// Loaded and initialised by the first call, for the whole process. Errors: kUnavailable, saying what is
// missing: no library, one that is too old, no GPU.
Result<const Driver*> find_driver();

}  // namespace fovea::engine::cuda
