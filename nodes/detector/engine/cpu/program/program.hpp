// A network compiled for the CPU: a list of steps over one arena. Immutable and shared; a context
// adds memory, threads and the addresses. Both CPU providers compile to it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "nodes/base/result.hpp"
#include "nodes/detector/engine/cpu/kernels/kernel.hpp"
#include "nodes/detector/engine/program/arena.hpp"

namespace fovea::engine::cpu {

// What runs a step that is no Kernel of ours (a library's primitive, the reference operator): one
// context's copy.
class Operation {
 public:
  virtual ~Operation() = default;
  // Allocates nothing.
  virtual Result<> run(const kernels::Arguments& arguments) = 0;
};
class OperationFactory {
 public:
  virtual ~OperationFactory() = default;
  virtual std::size_t scratch_bytes() const { return 0; }
  // `fixed` holds the addresses in the context's arena, which stay; those in the caller's memory
  // are null until run(). `threads` is for libraries that bring their own.
  virtual Result<std::unique_ptr<Operation>> create(int threads,
                                                    const kernels::Arguments& fixed) const = 0;
};

struct Step {
  std::string layer;           // what it computes, for errors and profiles
  std::vector<std::string> fused;  // LayerReport's
  std::string implementation;  // "avx512/4x5/weights", "onednn jit:avx512_core", "reference"
  std::unique_ptr<const kernels::Kernel> kernel;  // or:
  std::shared_ptr<const OperationFactory> operation;
  std::vector<Location> sources;
  std::vector<Location> destinations;
  std::vector<std::int32_t> refills;  // ArenaPlan::refills
};

struct Program {
  std::vector<Step> steps;
  Arena arena;
  std::vector<std::string> declined;  // "LAYER: reason" for each layer on a slow path
};

// Gives the program its arena. REQUIRES: all its steps are there.
void place_buffers(Program& program, std::vector<Buffer> buffers);

// Of one context with so many threads, the largest of all steps.
std::size_t scratch_bytes(const Program& program, int threads);

}  // namespace fovea::engine::cpu
