// What an engine does, layer by layer: the rows of `profile`, `diff` and `inspect --layers`.
// Internal to engine_cli*.cpp.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "nodes/detector/engine/plan/plan.hpp"
#include "nodes/detector/tool/engine_cli.hpp"

namespace fovea::engine_cli {

// One step of execution.
struct LayerRow {
  std::string layer;
  std::string op;  // "Conv + SiLU + residual"; empty for a conversion between layers
  std::string implementation;
  std::string precision;           // "fp32", "int8"
  std::vector<std::string> fused;  // names of the layers that it does the work of, too
  double gflop = 0;                // of one image: multiplications and additions of Conv and MatMul
  double ms = 0;                   // of one image; 0 until measured
  double gflop_per_s() const { return ms > 0 ? gflop / ms * 1e3 : 0; }
  // No provider has a fast kernel for it.
  bool on_reference() const { return implementation.find("reference") != std::string::npos; }
};

struct LayerTable {
  std::vector<LayerRow> rows;  // in order of execution; layers that became addresses are absent
  std::string precision;               // as executed, of the layers that the plan has in its own
  std::vector<std::string> declined;  // what runs on a slower path than it might, and why
  std::size_t context_bytes = 0;
  double ms = 0;  // of all rows; 0 until measured

  double share_pct(double of_ms) const { return ms > 0 ? 100 * of_ms / ms : 0; }
  // The rows that run on the reference kernels.
  struct Part {
    std::vector<std::string> layers;
    double ms = 0;
  };
  Part on_reference() const;
};

// Loads the engine for `size`, [height, width, 3], or the plan's own; with `seconds` > 0 also runs
// it for so long and takes the times. Errors: load_engine()'s; with `seconds`, kUnsupported for a
// provider that does not time its layers.
Result<LayerTable> describe_layers(const engine::Plan& plan, double seconds,
                                   engine::Dims size = {});

// "Conv + SiLU + residual".
std::string describe_operator(const engine::Layer& layer);

// Of one picture: multiplications and additions of all layers that multiply; nullopt for a network
// whose shapes do not settle.
std::optional<double> gigaflops(const engine::NetworkDefinition& network);

Command add_profile(CLI::App& app);
Command add_diff(CLI::App& app);

}  // namespace fovea::engine_cli
