// The GPU that engines run on, its memory and its kernels: one per process, made by the first use and
// kept, as the driver keeps its context.
//
// Thread safety: const methods from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "nodes/detector/engine/cuda/driver.hpp"
#include "nodes/detector/engine/cuda/program.hpp"

namespace fovea::engine::cuda {

// The variable that names the folder of the kernels; without it they are looked for beside the
// program, in ../lib/fovea/cuda.
inline constexpr const char* kKernelsVariable = "FOVEA_CUDA_KERNELS";

class Gpu {
 public:
  // Device 0 of those that CUDA_VISIBLE_DEVICES leaves. Errors: find_driver()'s; kUnavailable without
  // kernels for it.
  static Result<const Gpu*> find();

  const Driver& driver() const { return *driver_; }
  const std::string& name() const { return name_; }  // "NVIDIA H200"
  int capability() const { return capability_; }     // 90 for sm_90
  const GpuLimits& limits() const { return limits_; }
  // "NVIDIA H200 sm_90 132 SM driver 13.0": all that a choice of kernels depends on.
  std::string identity() const;

  // Makes this thread's calls go to the GPU. Cheap.
  Result<> enter() const;
  // Ready for launches with so much dynamic shared memory. Errors: kUnsupported if no module has it.
  Result<CUfunction> kernel(const std::string& name, std::uint32_t shared_bytes) const;

 private:
  Result<> open(const Driver& driver);
  Result<> load_kernels(const std::filesystem::path& folder);

  const Driver* driver_ = nullptr;
  CUcontext context_ = nullptr;
  std::string name_;
  int capability_ = 0;
  GpuLimits limits_;
  std::vector<CUmodule> modules_;
};

// Memory of the GPU. Errors of make(): kExhausted, with what is free.
class DeviceMemory {
 public:
  static Result<DeviceMemory> make(const Gpu& gpu, std::size_t bytes);
  DeviceMemory() = default;
  DeviceMemory(DeviceMemory&& other) noexcept
      : gpu_(other.gpu_), address_(std::exchange(other.address_, 0)) {}
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(gpu_, other.gpu_);
    std::swap(address_, other.address_);
    return *this;
  }
  ~DeviceMemory();

  CUdeviceptr address() const { return address_; }

 private:
  const Gpu* gpu_ = nullptr;
  CUdeviceptr address_ = 0;
};

}  // namespace fovea::engine::cuda
