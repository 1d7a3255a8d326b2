// Models and plans: what the engine reads from files.
#include <algorithm>
#include <cstring>
#include <utility>

#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/onnx/metadata.hpp"
#include "nodes/detector/engine/onnx/parser.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "nodes/detector/engine/plan/crc32c.hpp"
#include "nodes/detector/engine/plan/plan.hpp"
#include "nodes/detector/engine/quantization/calibration_table.hpp"
#include "tests/fuzz/targets.hpp"

namespace fovea::fuzz {

using namespace engine;

namespace {

// Small enough to run in a moment. A larger network is as valid, but the fuzzer learns nothing
// from waiting.
constexpr std::int64_t kMaxWork = 1 << 18;  // elements

// Values that a network holds for one image, and what shape inference says about them.
bool is_small(const NetworkDefinition& network) {
  NetworkDefinition shaped = network;
  if (const OptimizationProfile& sizes = network.profile; !sizes.empty()) {
    for (const Dims* end : {&sizes.min, &sizes.opt, &sizes.max}) {
      if (checked_volume(*end).value_or(kMaxWork) > kMaxWork / 16) return false;
    }
  }
  for (const ValueId id : shaped.inputs) {
    for (std::int64_t& extent : shaped.value(id).dims) {
      if (extent < 0) extent = 32;
    }
  }
  if (!infer_shapes(shaped, 1)) return true;  // refused at once
  std::int64_t elements = 0;
  for (const Value& value : shaped.values) {
    elements += checked_volume(value.dims).value_or(kMaxWork);
    if (elements > kMaxWork) return false;
  }
  return true;
}

// Makes every checksum right and the version today's, so that mutations reach what lies behind.
// Offsets as in plan.hpp: a header of 64 bytes (version at 8, file size at 16, CRC at 24), four
// entries of 64 (offset at 16, size at 24, CRC at 32).
void seal(std::vector<std::byte>& bytes) {
  constexpr std::size_t kPreamble = 320;
  if (bytes.size() < kPreamble) return;
  std::memcpy(bytes.data(), "FOVEAPLN", 8);
  std::memcpy(bytes.data() + 8, &kPlanVersion, sizeof kPlanVersion);
  const std::uint64_t size = bytes.size();
  std::memcpy(bytes.data() + 16, &size, sizeof size);
  for (std::size_t entry = 64; entry < kPreamble; entry += 64) {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    std::memcpy(&offset, bytes.data() + entry + 16, sizeof offset);
    std::memcpy(&length, bytes.data() + entry + 24, sizeof length);
    if (offset > bytes.size() || length > bytes.size() - offset) continue;
    const std::uint32_t crc = crc32c(std::span(bytes).subspan(offset, length));
    std::memcpy(bytes.data() + entry + 32, &crc, sizeof crc);
  }
  std::memset(bytes.data() + 24, 0, 4);
  const std::uint32_t crc = crc32c(std::span(bytes).first(kPreamble));
  std::memcpy(bytes.data() + 24, &crc, sizeof crc);
}

void run_once(const Engine& engine) {
  const EngineInfo& info = engine.info();
  const auto context = engine.create_execution_context();
  if (!context) return;
  const Bindings bindings(info);
  std::fill(bindings.input().begin(), bindings.input().end(), std::byte{0});
  (void)(*context)->execute(bindings.batch());
}

// What build_plan() does with a model: false if it cannot be lowered.
bool lower_and_run(NetworkDefinition network, const LoweringOptions& options) {
  const auto lowered = lower(std::move(network), options);
  if (!lowered) return false;
  require(lowered->validate().has_value(), "the passes leave an invalid network");
  Plan plan;
  plan.provider = "reference";
  plan.network = *lowered;
  if (!is_small(plan.network)) return true;
  const auto bytes = serialize(plan);
  const auto again = deserialize(bytes);
  require(again.has_value(), "a plan that was written cannot be read");
  require(serialize(*again) == bytes, "a plan reads as another one");
  const auto engine = load_engine(plan);
  if (engine) run_once(**engine);
  return true;
}

}  // namespace

bool run_onnx(std::span<const std::byte> input) {
  auto network = parse_onnx(input, "");
  if (!network) {
    require(!network.error().message.empty(), "an error says nothing");
    return false;
  }
  if (!is_small(*network)) return true;
  const bool taken = lower_and_run(*network, {});
  const OptimizationProfile sizes{"", {1, 3, 16, 16}, {1, 3, 16, 16}, {2, 3, 32, 32}};
  return lower_and_run(*network, {.profile = sizes, .adopt_quantization = true}) || taken;
}

bool run_plan(std::span<const std::byte> input) {
  std::vector<std::byte> bytes(input.begin(), input.end());
  seal(bytes);
  (void)read_manifest(bytes);
  auto plan = deserialize(bytes);
  if (!plan) return false;
  require(plan->network.validate().has_value(), "an invalid network was read");
  if (!is_small(plan->network)) return true;
  plan->max_batch = 1;
  plan->threads = 1;
  for (const char* provider : {"cpu", "reference"}) {
    plan->provider = provider;
    const auto engine = load_engine(*plan);
    if (engine) run_once(**engine);
  }
  return true;
}

// What was read can be written and read again.
bool run_calibration(std::span<const std::byte> input) {
  const auto table =
      calibration_from_json({reinterpret_cast<const char*>(input.data()), input.size()});
  if (!table) return false;
  const std::string text = to_json(*table);
  const auto again = calibration_from_json(text);
  require(again.has_value(), again ? "" : again.error().message.c_str());
  require(*again == *table && to_json(*again) == text, "a table reads as another one");
  return true;
}

bool run_metadata(std::span<const std::byte> input) {
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  const auto names = parse_class_names(text);
  return !parse_int_list(text).empty() || !names.empty();
}

}  // namespace fovea::fuzz
