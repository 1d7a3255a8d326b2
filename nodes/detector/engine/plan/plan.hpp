// A built network as one file: what `fovea engine build` writes, the plan cache keeps and
// load_engine() runs. It holds the lowered graph with its weights and everything a consumer needs
// to know about the model, so the ONNX file is not needed again.
//
// Layout (little endian): a 64-byte header (magic, version, section count, file size, CRC of header
// and table), a table of named sections (name, offset, bytes, CRC-32C), then the sections, each
// padded to 64 bytes with zeros that its CRC covers. Sections: "manifest" (JSON, for people and
// tools), "network" (graph), "weights", "artifact" (the provider's own, opaque). Every byte of the file is covered by a checksum, and
// reading is bounds-checked, so damage or malice ends as an Error.
//
// Thread safety: plain values and pure functions. Equal plans serialize to equal bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nodes/detector/engine/network.hpp"
#include "nodes/detector/engine/tuning.hpp"

namespace fovea::engine {

// Rises with every change of the format, or of the tactics or what the passes and providers make of
// a network; plans of another version are refused (and, in the plan cache, rebuilt).
inline constexpr std::uint32_t kPlanVersion = 14;

struct Plan {
  std::string provider = "cpu";
  Precision precision = Precision::kFp32;
  std::int32_t max_batch = 1;
  std::int32_t threads = 1;
  std::string model_hash;     // SHA-256 of the ONNX bytes (and external data), hex
  NetworkDefinition network;  // lowered, shapes inferred for one item
  LayerTactics tactics;       // chosen by tuning; a layer without one takes the first guess
  // Provider::build()'s or ::take_over()'s; nobody else knows what it is. Often empty.
  SharedBytes artifact;
  // What the accuracy guard found, as JSON, for people: part of the manifest; empty without a
  // guard.
  std::string accuracy_report;
};

std::vector<std::byte> serialize(const Plan& plan);

// Errors: kCorrupt for anything that is not exactly what serialize() wrote (magic, truncation,
// checksum, inconsistent graph), kUnsupported for another version.
Result<Plan> deserialize(std::span<const std::byte> bytes);
// The same without a copy of the weights: the plan's constants keep `bytes` alive.
Result<Plan> deserialize(std::shared_ptr<const std::vector<std::byte>> bytes);

// The JSON manifest alone, checksum verified; cheap for listings (the weights are not looked at).
Result<std::string> read_manifest(std::span<const std::byte> bytes);

// Writes PATH atomically: a temporary file beside it, fsync, rename, fsync of the folder. Errors:
// kExhausted when the disk is full, kInternal otherwise; no partial file stays behind.
Result<> save_plan(const Plan& plan, const std::string& path);

// Errors: kNotFound, those of deserialize(), each with the path in front.
Result<Plan> read_plan(const std::string& path);

}  // namespace fovea::engine
