// See timing_cache.hpp. The checksum covers the entries as they are dumped, so whitespace may
// differ and nothing else.
#include "nodes/detector/engine/timing_cache.hpp"

#include <array>
#include <cmath>
#include <cstring>
#include <span>
#include <system_error>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "nodes/detector/engine/crc32c.hpp"
#include "nodes/detector/engine/file_io.hpp"
#include "nodes/detector/engine/plan.hpp"

namespace fovea::engine {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "fovea timing cache 1";

std::string cpu_name() {
#if defined(__x86_64__)
  std::array<unsigned, 12> words{};
  for (unsigned i = 0; i < 3; ++i) {
    unsigned* four = words.data() + i * 4;
    if (__get_cpuid(0x80000002U + i, &four[0], &four[1], &four[2], &four[3]) == 0) return "x86-64";
  }
  std::array<char, sizeof words + 1> text{};
  std::memcpy(text.data(), words.data(), sizeof words);
  const std::string_view name = text.data();
  const std::size_t first = std::min(name.find_first_not_of(' '), name.size());
  return std::string(name.substr(first, name.find_last_not_of(' ') + 1 - first));
#else
  return "unknown CPU";
#endif
}

std::string dumped(const Json& json) {
  return json.dump(1, ' ', false, Json::error_handler_t::replace);
}

std::string checksum(const Json& entries) {
  const std::string text = dumped(entries);
  return fmt::format("{:08x}", crc32c(std::as_bytes(std::span(text))));
}

Json to_json(const TimingTable& table) {
  Json layers = Json::object();
  for (const auto& [signature, tactics] : table.layers) {
    Json& list = layers[signature] = Json::array();
    for (const TimedTactic& timed : tactics) list.push_back({timed.tactic, timed.us});
  }
  Json networks = Json::object();
  for (const auto& [hash, network] : table.networks) {
    networks[hash] = {{"tactics", network.tactics},
                      {"untuned_ms", network.untuned_ms},
                      {"tuned_ms", network.tuned_ms}};
  }
  return {{"layers", std::move(layers)}, {"networks", std::move(networks)}};
}

// Throws Json::exception.
TimingTable table_from(const Json& json) {
  TimingTable table;
  for (const auto& [signature, list] : json.at("layers").items()) {
    for (const Json& timed : list) {
      table.layers[signature].push_back(
          {timed.at(0).get<std::string>(), timed.at(1).get<double>()});
    }
  }
  for (const auto& [hash, network] : json.at("networks").items()) {
    table.networks[hash] = {network.at("tactics").get<LayerTactics>(),
                            network.at("untuned_ms").get<double>(),
                            network.at("tuned_ms").get<double>()};
  }
  return table;
}

}  // namespace

std::string timing_environment(std::string_view cpu_features, std::int32_t threads) {
  return fmt::format("fovea {} plan {}, {}, {}, {} threads", FOVEA_VERSION, kPlanVersion,
                     cpu_name(), cpu_features, threads);
}

Result<TimingCache> read_timing_cache(const std::filesystem::path& file) {
  const auto corrupt = [&](std::string_view reason) {
    return fail(ErrorCode::kCorrupt, fmt::format("{}: {}", file.string(), reason));
  };
  std::error_code error;
  if (std::filesystem::exists(file, error) && !std::filesystem::is_regular_file(file, error)) {
    return corrupt("is not a file");
  }
  FOVEA_ASSIGN(const auto bytes, read_file(file.string()));
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  const Json json = Json::parse(text, text + bytes.size(), nullptr, /*allow_exceptions=*/false);
  TimingCache cache;
  try {
    if (json.at("format").get<std::string>() != kFormat) {
      return corrupt(fmt::format("its format is not '{}'", kFormat));
    }
    const Json& entries = json.at("entries");
    if (json.at("crc32c").get<std::string>() != checksum(entries)) {
      return corrupt("its checksum is wrong");
    }
    for (const auto& [environment, table] : entries.items()) {
      cache[environment] = table_from(table);
    }
  } catch (const Json::exception&) {
    return corrupt("is not a timing cache");
  }
  return cache;
}

Result<> merge_into_file(const TimingCache& cache, const std::filesystem::path& file) {
  TimingCache merged = read_timing_cache(file).value_or(TimingCache());
  for (const auto& [environment, table] : cache) {
    TimingTable& to = merged[environment];
    for (const auto& [signature, timed] : table.layers) to.layers[signature] = timed;
    for (const auto& [hash, network] : table.networks) to.networks[hash] = network;
  }
  Json entries = Json::object();
  for (const auto& [environment, table] : merged) entries[environment] = to_json(table);
  const Json json = {{"format", kFormat}, {"crc32c", checksum(entries)}, {"entries", entries}};
  const std::string text = dumped(json) + "\n";
  std::error_code error;
  std::filesystem::create_directories(file.parent_path(), error);  // writing says if that failed
  return write_file_atomically(file.string(), std::as_bytes(std::span(text)));
}

}  // namespace fovea::engine
