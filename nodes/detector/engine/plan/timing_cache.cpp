// The checksum covers the entries as they are dumped, so whitespace may
// differ and nothing else.
#include "nodes/detector/engine/plan/timing_cache.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <system_error>
#include <utility>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "nodes/base/file_io.hpp"
#include "nodes/base/trusted_folder.hpp"
#include "nodes/detector/engine/plan/crc32c.hpp"
#include "nodes/detector/engine/plan/plan.hpp"

namespace fovea::engine {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "fovea timing cache 1";
constexpr std::uintmax_t kMaxFileBytes = 64 << 20;  // several times what TimingLimits allow
constexpr int kMaxDepth = 16;                       // more than to_json() makes

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
#elif defined(__aarch64__)
  // No names, but numbers of maker and model; more than one where big and little cores stand together.
  std::string models = "ARM";
  for (int cpu = 0;; ++cpu) {
    const auto text = read_text_file(
        fmt::format("/sys/devices/system/cpu/cpu{}/regs/identification/midr_el1", cpu));
    if (!text) return models;
    const std::string model = " " + text->substr(0, text->find('\n'));
    if (models.find(model) == std::string::npos) models += model;
  }
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

Json to_json(const std::vector<TimedTactic>& tactics) {
  Json list = Json::array();
  for (const TimedTactic& timed : tactics) list.push_back({timed.tactic, timed.us});
  return list;
}

Json to_json(const TunedNetwork& network) {
  return {{"tactics", network.tactics},
          {"untuned_ms", network.untuned_ms},
          {"tuned_ms", network.tuned_ms}};
}

// nlohmann iterates over null and over lists as it does over objects. Throws Json::exception where
// there is no object.
const Json::object_t& object_of(const Json& json) { return json.get_ref<const Json::object_t&>(); }

// Throws Json::exception.
TimingTable table_from(const Json& json) {
  TimingTable table;
  for (const auto& [signature, list] : object_of(json.at("layers"))) {
    for (const Json& timed : list.get_ref<const Json::array_t&>()) {
      table.layers[signature].push_back(
          {timed.at(0).get<std::string>(), timed.at(1).get<double>()});
    }
  }
  for (const auto& [hash, network] : object_of(json.at("networks"))) {
    table.networks[hash] = {network.at("tactics").get<LayerTactics>(),
                            network.at("untuned_ms").get<double>(),
                            network.at("tuned_ms").get<double>()};
  }
  return table;
}

// The file's entries after all checks, in the order in which they were written.
struct Contents {
  Json entries = Json::object();
  TimingCache cache;
};

Result<Contents> read_contents(const std::filesystem::path& file) {
  const auto corrupt = [&](std::string_view reason) {
    return fail(ErrorCode::kCorrupt, fmt::format("{}: {}", file.string(), reason));
  };
  std::error_code error;
  if (std::filesystem::exists(file, error) && !std::filesystem::is_regular_file(file, error)) {
    return corrupt("is not a file");
  }
  if (const auto size = std::filesystem::file_size(file, error); !error && size > kMaxFileBytes) {
    return corrupt(fmt::format("has {} bytes; it must have {} at most", size, kMaxFileBytes));
  }
  FOVEA_ASSIGN(const auto bytes, read_file(file.string()));
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  // Dumping recurses: what is nested deeper than a timing cache is left out.
  const auto is_flat = [](int depth, Json::parse_event_t, const Json&) {
    return depth <= kMaxDepth;
  };
  const Json json = Json::parse(text, text + bytes.size(), is_flat, /*allow_exceptions=*/false);
  Contents contents;
  try {
    if (json.at("format").get<std::string>() != kFormat) {
      return corrupt(fmt::format("its format is not '{}'", kFormat));
    }
    contents.entries = json.at("entries");
    if (json.at("crc32c").get<std::string>() != checksum(contents.entries)) {
      return corrupt("its checksum is wrong");
    }
    for (const auto& [environment, table] : object_of(contents.entries)) {
      contents.cache[environment] = table_from(table);
    }
  } catch (const Json::exception&) {
    return corrupt("is not a timing cache");
  }
  return contents;
}

void put_last(Json& object, const std::string& key, Json value) {
  object.erase(key);
  object[key] = std::move(value);
}

// Drops entries of `kind`, "layers" or "networks", from the front until `most` are left.
void forget_oldest(Json& entries, const char* kind, std::size_t most) {
  std::size_t count = 0;
  for (const Json& table : entries) count += table.at(kind).size();
  for (Json& table : entries) {
    if (count <= most) return;
    std::size_t surplus = std::min(count - most, table.at(kind).size());
    count -= surplus;
    Json kept = Json::object();
    for (const auto& [key, value] : table.at(kind).items()) {
      if (surplus > 0) {
        --surplus;
      } else {
        kept[key] = std::move(value);
      }
    }
    table[kind] = std::move(kept);
  }
}

}  // namespace

std::string timing_environment(std::string_view cpu_features, std::int32_t threads) {
  return fmt::format("fovea {} plan {}, {}, {}, {} threads", FOVEA_VERSION, kPlanVersion,
                     cpu_name(), cpu_features, threads);
}

Result<TimingCache> read_timing_cache(const std::filesystem::path& file) {
  FOVEA_ASSIGN(Contents contents, read_contents(file));
  return std::move(contents.cache);
}

Result<> merge_into_file(const TimingCache& cache, const std::filesystem::path& file,
                         const TimingLimits& limits) {
  std::error_code error;
  if (std::filesystem::is_fifo(file, error)) {  // it would be waited for a reader, each time anew
    return fail(ErrorCode::kInvalidArgument, file.string() + ": not a regular file");
  }
  Json entries = read_contents(file).value_or(Contents()).entries;
  for (const auto& [environment, added] : cache) {
    Json table = entries.value(environment, Json{{"layers", Json::object()},  //
                                                 {"networks", Json::object()}});
    for (const auto& [signature, timed] : added.layers) {
      put_last(table["layers"], signature, to_json(timed));
    }
    for (const auto& [hash, network] : added.networks) {
      put_last(table["networks"], hash, to_json(network));
    }
    put_last(entries, environment, std::move(table));
  }
  forget_oldest(entries, "layers", limits.layers);
  forget_oldest(entries, "networks", limits.networks);
  Json left = Json::object();
  for (const auto& [environment, table] : entries.items()) {
    const bool empty = table["layers"].empty() && table["networks"].empty();
    if (!empty) left[environment] = std::move(table);
  }
  const Json json = {{"format", kFormat}, {"crc32c", checksum(left)}, {"entries", left}};
  const std::string text = dumped(json) + "\n";
  FOVEA_TRY(make_folders(file.parent_path()));
  return write_file(file.string(), std::as_bytes(std::span(text)));
}

}  // namespace fovea::engine
