// Running a program on the GPU: memory for a batch, one graph of launches per batch size, a stream.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nodes/detector/engine/cuda/gpu.hpp"
#include "nodes/detector/engine/cuda/program.hpp"
#include "nodes/detector/engine/cuda/schedule.hpp"
#include "nodes/detector/engine/engine.hpp"

namespace fovea::engine::cuda {

// A program whose kernels are found and whose constants are on the GPU. Immutable.
struct LoadedProgram {
  const Gpu* gpu = nullptr;
  Program program;
  std::vector<std::vector<CUfunction>> functions;  // by launch, by choice
  DeviceMemory constants;
};
Result<LoadedProgram> load_program(const Gpu& gpu, Program program);

class GpuContext final : public ExecutionContext {
 public:
  // Both must outlive it. Errors: kExhausted for memory of the GPU.
  static Result<std::unique_ptr<GpuContext>> create(const LoadedProgram& program,
                                                    const EngineInfo& info);
  ~GpuContext() override;
  GpuContext(const GpuContext&) = delete;
  GpuContext& operator=(const GpuContext&) = delete;

  const EngineInfo& info() const override { return info_; }
  // Takes memory of the host and of the GPU, item by item.
  Result<Fence> enqueue(std::span<const BatchItem> batch) override;
  bool record_layer_times(std::span<std::chrono::nanoseconds> times) override;

  // The median of what a batch of `images` takes by the GPU's clock, without copies.
  Result<std::chrono::nanoseconds> time_batches(std::size_t images, std::size_t repetitions);

  // For tuning. What a convolution computes by `choice` from numbers that depend on `launch` alone: its
  // output's lanes for one image, which are NaN before. Overwrites the arena.
  Result<std::vector<std::byte>> try_convolution(std::size_t launch, const Choice& choice,
                                                 CUfunction function);
  // The median time of one launch of many, each of which waits for the one before.
  Result<std::chrono::nanoseconds> time_choice(std::size_t launch, const Choice& choice,
                                               CUfunction function, std::size_t images);
  // The program's choices for `launch` have changed.
  void refresh(std::size_t launch);

  // Memory of one context.
  static std::size_t bytes(const LoadedProgram& program, const EngineInfo& info);

 private:
  GpuContext(const LoadedProgram& program, const EngineInfo& info)
      : program_(program), info_(info), driver_(program.gpu->driver()) {}
  Result<> prepare();
  CUdeviceptr resolve(const Address& address) const;
  std::vector<std::byte> bind(const Launch& launch, const Choice& choice) const;
  CUgraphNodeParams node(const Launch& launch, const Choice& choice, CUfunction function,
                         std::size_t images, void** parameters) const;
  // Outside any graph; `arguments`: bind()'s.
  Result<> launch_alone(const Launch& launch, const Choice& choice, CUfunction function,
                        std::size_t images, std::vector<std::byte>& arguments) const;
  Result<> add(CUgraph graph, const CUgraphNodeParams& node, std::span<const CUgraphNode> before,
               CUgraphNode& added, const std::string& layer) const;
  Result<std::chrono::nanoseconds> time_graph(CUgraphExec graph, std::size_t repetitions);
  Result<> build_graph(std::size_t images);
  Result<> run_and_time(std::size_t images);
  Result<> copy(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, const char* what) const;
  Result<> wait();

  const LoadedProgram& program_;
  const EngineInfo& info_;
  const Driver& driver_;
  Schedule schedule_;
  DeviceMemory arena_;
  DeviceMemory input_;
  std::vector<DeviceMemory> outputs_;
  // By launch, by choice, with addresses.
  std::vector<std::vector<std::vector<std::byte>>> arguments_;
  CUstream stream_ = nullptr;
  CUevent done_ = nullptr;
  std::vector<CUgraphExec> graphs_;  // by images - 1, null until asked for
  std::span<std::chrono::nanoseconds> times_;
};

}  // namespace fovea::engine::cuda
