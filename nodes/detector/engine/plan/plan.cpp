// The container and its checks. What a network looks like in bytes stands in archive.hpp.
#include "nodes/detector/engine/plan/plan.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "nodes/base/file_io.hpp"
#include "nodes/base/json.hpp"
#include "nodes/base/text.hpp"
#include "nodes/detector/engine/plan/archive.hpp"
#include "nodes/detector/engine/plan/crc32c.hpp"
#include "nodes/detector/engine/profile.hpp"

namespace fovea::engine {

namespace {

constexpr std::array<char, 8> kMagic = {'F', 'O', 'V', 'E', 'A', 'P', 'L', 'N'};
constexpr std::array<std::string_view, 4> kSections = {"manifest", "network", "weights",
                                                       "artifact"};

struct Header {
  std::array<char, 8> magic = kMagic;
  std::uint32_t version = kPlanVersion;
  std::uint32_t sections = kSections.size();
  std::uint64_t file_bytes = 0;
  std::uint32_t crc = 0;  // of header and table with this field zero
  std::array<std::uint8_t, 36> reserved{};
};
static_assert(sizeof(Header) == 64 && std::is_trivially_copyable_v<Header>);

struct SectionEntry {
  std::array<char, 16> name{};
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;  // multiple of 64
  std::uint32_t crc = 0;
  std::array<std::uint8_t, 28> reserved{};
};
static_assert(sizeof(SectionEntry) == 64 && std::is_trivially_copyable_v<SectionEntry>);

struct Preamble {
  Header header;
  std::array<SectionEntry, kSections.size()> table;
};
static_assert(sizeof(Preamble) == 64 * (1 + kSections.size()));

std::uint32_t crc_of(Preamble preamble) {
  preamble.header.crc = 0;
  return crc32c(std::as_bytes(std::span(&preamble, 1)));
}

std::array<char, 16> padded_name(std::string_view name) {
  std::array<char, 16> padded{};
  std::copy(name.begin(), name.end(), padded.begin());
  return padded;
}

tl::unexpected<Error> corrupt(std::string message) {
  return fail(ErrorCode::kCorrupt, "plan: " + std::move(message));
}

Result<Preamble> read_preamble(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(Preamble)) {
    return corrupt(
        fmt::format("{} bytes; the header alone takes {}", bytes.size(), sizeof(Preamble)));
  }
  Preamble preamble;
  std::memcpy(&preamble, bytes.data(), sizeof preamble);
  const Header& header = preamble.header;
  if (header.magic != kMagic) return corrupt("does not begin with FOVEAPLN; not a plan");
  if (header.version != kPlanVersion) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("plan: format version is {}; this build reads {}", header.version,
                            kPlanVersion));
  }
  if (header.crc != crc_of(preamble)) return corrupt("header checksum is wrong");
  if (header.file_bytes != bytes.size()) {
    return corrupt(fmt::format("{} bytes; its header says {}", bytes.size(), header.file_bytes));
  }
  if (header.sections != kSections.size()) {
    return corrupt(fmt::format("{} sections; expected {}", header.sections, kSections.size()));
  }
  std::uint64_t offset = sizeof(Preamble);
  for (std::size_t i = 0; i < kSections.size(); ++i) {
    const SectionEntry& entry = preamble.table[i];
    if (entry.name != padded_name(kSections[i]) || entry.offset != offset ||
        entry.bytes % kSectionAlignment != 0 || entry.bytes > bytes.size() - offset) {
      return corrupt(fmt::format("section {} ({}) is out of place", i, kSections[i]));
    }
    offset += entry.bytes;
  }
  if (offset != bytes.size()) return corrupt("bytes after the last section");
  return preamble;
}

Result<std::span<const std::byte>> section(std::span<const std::byte> bytes,
                                           const Preamble& preamble, std::size_t index) {
  const SectionEntry& entry = preamble.table[index];
  const auto content = bytes.subspan(entry.offset, entry.bytes);
  if (crc32c(content) != entry.crc) {
    return corrupt(fmt::format("checksum of section {} is wrong", kSections[index]));
  }
  return content;
}

Json parsed_report(const Plan& plan) {
  Json report = parse_json(plan.accuracy_report);
  return report.is_discarded() ? Json(nullptr) : report;
}

// Null for a network whose input is no image.
Json shapes_of(const Plan& plan) {
  const NetworkDefinition& network = plan.network;
  if (network.inputs.size() != 1 || network.value(network.inputs[0]).dims.size() != 4) return {};
  const OptimizationProfile profile = profile_of(network, plan.max_batch);
  return {{"min", profile.min}, {"opt", profile.opt}, {"max", profile.max}};
}

Json describe(const Plan& plan) {
  const NetworkDefinition& network = plan.network;
  auto tensors = [&](const std::vector<ValueId>& ids) {
    auto list = Json::array();
    for (const ValueId id : ids) {
      const Value& value = network.value(id);
      list.push_back(
          {{"name", value.name}, {"dtype", to_string(value.dtype)}, {"dims", value.dims}});
    }
    return list;
  };
  return {{"format", kPlanVersion},
          {"provider", plan.provider},
          {"precision", to_string(plan.precision)},
          {"max_batch", plan.max_batch},
          {"profile", shapes_of(plan)},
          {"threads", plan.threads},
          {"model_hash", plan.model_hash},
          {"producer", network.producer},
          {"opset", network.opset},
          {"layers", network.layers.size()},
          {"inputs", tensors(network.inputs)},
          {"outputs", tensors(network.outputs)},
          {"head",
           {{"kind", network.head.known() ? network.head.name : "none"},
            {"task", network.head.known()
                         ? Json(kTaskNames[static_cast<std::size_t>(network.head.spec.task())])
                         : Json(nullptr)},
            {"maps", to_string(network.head.spec)},
            {"classes", network.head.classes()},
            {"basis", to_string(network.head.basis)},
            {"note", network.head.note},
            {"warnings", network.head.warnings}}},
          {"picture", to_string(network.picture)},
          {"class_names", network.class_names},
          {"metadata", network.metadata},
          {"artifact_bytes", plan.artifact.size()},
          {"int8_layers",
           std::count_if(
               network.quantization.layers.begin(), network.quantization.layers.end(),
               [](const LayerQuantization& layer) { return layer.precision == Precision::kInt8; })},
          {"tactics", plan.tactics},
          {"accuracy", parsed_report(plan)}};
}

// A graph whose checksums match may still be forged: everything that later code uses as an index or
// an enum.
Result<> check_enums(const NetworkDefinition& network) {
  for (const Value& value : network.values) {
    if (value.dtype > DataType::kBool) return corrupt("a value has an unknown type");
  }
  for (const Layer& layer : network.layers) {
    if (layer.op > kLastOpType) return corrupt("a layer has an unknown operator");
    if (layer.activation > Activation::kHardSwish)
      return corrupt("a layer has an unknown activation");
  }
  if (network.head.basis > HeadBasis::kAssumed) return corrupt("the head has an unknown basis");
  return {};
}

// REQUIRES: a network that validates.
Result<> check_head(const NetworkDefinition& network) {
  if (const std::string problem = problem_of(network.head.spec); !problem.empty()) {
    return corrupt(problem);
  }
  if (const std::string problem = problem_of(network.picture); !problem.empty()) {
    return corrupt(problem);
  }
  for (const OutputMap& map : network.head.spec.maps) {
    const bool exists = std::any_of(
        network.outputs.begin(), network.outputs.end(),
        [&](ValueId output) { return network.value(output).name == map.tensor.view(); });
    if (!exists) {
      return corrupt(
          fmt::format("its head reads '{}', which is no output", shown(map.tensor.view(), 60)));
    }
  }
  return {};
}

}  // namespace

std::vector<std::byte> serialize(const Plan& plan) {
  ArchiveWriter writer;
  writer(plan.provider);
  writer(std::string(to_string(plan.precision)));
  writer(plan.max_batch);
  writer(plan.threads);
  writer(plan.model_hash);
  writer(plan.network);
  writer(plan.tactics);
  writer(plan.accuracy_report);
  writer(static_cast<std::uint64_t>(plan.artifact.size()));
  // Metadata comes from a file and need not be UTF-8.
  const std::string manifest = describe(plan).dump(1, ' ', false, Json::error_handler_t::replace);
  const auto* text = reinterpret_cast<const std::byte*>(manifest.data());
  std::array<std::vector<std::byte>, kSections.size()> contents = {
      std::vector<std::byte>(text, text + manifest.size()), writer.take_bytes(),
      writer.take_weights(), std::vector<std::byte>(plan.artifact.begin(), plan.artifact.end())};

  Preamble preamble;
  std::uint64_t offset = sizeof preamble;
  for (std::size_t i = 0; i < contents.size(); ++i) {
    contents[i].resize(align_up(contents[i].size()));
    SectionEntry& entry = preamble.table[i];
    entry.name = padded_name(kSections[i]);
    entry.offset = offset;
    entry.bytes = contents[i].size();
    entry.crc = crc32c(contents[i]);
    offset += entry.bytes;
  }
  preamble.header.file_bytes = offset;
  preamble.header.crc = crc_of(preamble);

  std::vector<std::byte> bytes(offset);
  std::memcpy(bytes.data(), &preamble, sizeof preamble);
  for (std::size_t i = 0; i < contents.size(); ++i) {
    std::copy(contents[i].begin(), contents[i].end(),
              bytes.begin() + static_cast<std::ptrdiff_t>(preamble.table[i].offset));
  }
  return bytes;
}

Result<Plan> deserialize(std::span<const std::byte> bytes) {
  return deserialize(std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end()));
}

Result<Plan> deserialize(std::shared_ptr<const std::vector<std::byte>> file) {
  const std::span<const std::byte> bytes = *file;
  FOVEA_ASSIGN(const Preamble preamble, read_preamble(bytes));
  FOVEA_TRY(section(bytes, preamble, 0));
  FOVEA_ASSIGN(const auto graph, section(bytes, preamble, 1));
  FOVEA_ASSIGN(const auto weights, section(bytes, preamble, 2));
  FOVEA_ASSIGN(const auto artifact, section(bytes, preamble, 3));
  ArchiveReader reader(graph, weights, file);
  Plan plan;
  reader(plan.provider);
  std::string precision;
  reader(precision);
  reader(plan.max_batch);
  reader(plan.threads);
  reader(plan.model_hash);
  reader(plan.network);
  reader(plan.tactics);
  reader(plan.accuracy_report);
  std::uint64_t artifact_bytes = 0;
  reader(artifact_bytes);
  if (!reader.ok()) return corrupt("section network ends early or is inconsistent");
  if (!reader.at_end()) return corrupt("section network has bytes left over");
  if (artifact_bytes > artifact.size() || align_up(artifact_bytes) != artifact.size()) {
    return corrupt(
        fmt::format("section artifact has {} bytes for {}", artifact.size(), artifact_bytes));
  }
  const auto known = parse_precision(precision);
  if (!known) return corrupt(fmt::format("precision '{}' is unknown", shown(precision, 40)));
  plan.precision = *known;
  if (artifact_bytes > 0) plan.artifact = SharedBytes(artifact.first(artifact_bytes), file);
  FOVEA_TRY(check_enums(plan.network));
  if (auto valid = plan.network.validate(); !valid) return corrupt(valid.error().message);
  FOVEA_TRY(check_head(plan.network));
  return plan;
}

Result<std::string> read_manifest(std::span<const std::byte> bytes) {
  FOVEA_ASSIGN(const Preamble preamble, read_preamble(bytes));
  FOVEA_ASSIGN(const auto text, section(bytes, preamble, 0));
  std::string manifest(reinterpret_cast<const char*>(text.data()), text.size());
  manifest.resize(manifest.find_last_not_of('\0') + 1);
  return manifest;
}

Result<> save_plan(const Plan& plan, const std::string& path) {
  return write_file(path, serialize(plan));
}

Result<Plan> read_plan(const std::string& path) {
  // Read, not mapped: a mapped file that somebody truncates would end the process.
  FOVEA_ASSIGN(auto bytes, read_file(path));
  auto plan = deserialize(std::make_shared<const std::vector<std::byte>>(std::move(bytes)));
  if (!plan) return fail(plan.error().with_context(path));
  return plan;
}

}  // namespace fovea::engine
