// Order matters: the manifest is written after the plan, so that an entry without a manifest is an
// unfinished one; both are written while the key's lock is held.
#include "nodes/detector/plan_cache.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <system_error>
#include <tuple>

#include <fcntl.h>
#include <fmt/core.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <unistd.h>

#include "nodes/detector/cpu_features.hpp"
#include "nodes/detector/engine/file_io.hpp"
#include "nodes/detector/engine/model_hash.hpp"
#include "nodes/detector/engine/sha256.hpp"

namespace fovea {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Exclusive for the life of the object; the kernel drops it if the process dies. The lock belongs
// to the open file, so threads of one process exclude each other too.
class KeyLock {
 public:
  static Result<KeyLock> acquire(const fs::path& file) {
    KeyLock lock(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (lock.fd_ < 0) return fail_errno(ErrorCode::kInternal, "open " + file.string());
    while (::flock(lock.fd_, LOCK_EX) != 0) {
      if (errno != EINTR) return fail_errno(ErrorCode::kInternal, "lock " + file.string());
    }
    return lock;
  }
  KeyLock(KeyLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  KeyLock& operator=(KeyLock&&) = delete;
  ~KeyLock() {
    if (fd_ >= 0) ::close(fd_);
  }

 private:
  explicit KeyLock(int fd) : fd_(fd) {}
  int fd_;
};

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

std::string absolute_path(const fs::path& path) {
  std::error_code error;
  const fs::path canonical = fs::weakly_canonical(path, error);
  return error ? path.string() : canonical.string();
}

const std::string* find_input(const KeyInputs& inputs, const std::string& name) {
  for (const auto& [key, value] : inputs) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::string shortened(const std::string& value) {
  return value.size() <= 40 ? value : value.substr(0, 12) + "...";
}

// "threads was 1, is 2; precision was ..." and how many differ.
std::pair<std::size_t, std::string> differences(const KeyInputs& was, const KeyInputs& is) {
  std::size_t count = 0;
  std::string text;
  for (const auto& [name, value] : is) {
    const std::string* old = find_input(was, name);
    if (old != nullptr && *old == value) continue;
    text += fmt::format("{}{} was {}, is {}", count++ == 0 ? "" : "; ", name,
                        old == nullptr ? "absent" : shortened(*old), shortened(value));
  }
  return {count, text};
}

// What a killed writer left behind; REQUIRES: the key's lock.
void remove_leftovers(const fs::path& folder, const std::string& key) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(key) && name.find(".tmp.") != std::string::npos)
      fs::remove(entry.path(), error);
  }
}

}  // namespace

Result<KeyInputs> key_inputs(const PlanRequest& request) {
  FOVEA_ASSIGN(std::string model_hash, engine::hash_model(request.model));
  const engine::BuilderConfig& config = request.config;
  return KeyInputs{
      {"model", std::move(model_hash)},
      {"provider", config.provider},
      {"provider_version", engine::provider_version(config.provider)},
      {"engine_version", fmt::format("{} plan {}", FOVEA_VERSION, engine::kPlanVersion)},
      {"precision", config.precision},
      {"max_batch", std::to_string(config.max_batch)},
      {"threads", std::to_string(config.threads)},
      {"keep_output0", config.keep_output0 ? "true" : "false"},
      {"input_size", fmt::format("{}x{}", config.input_width, config.input_height)},
      {"preprocessing", request.preprocessing.empty() ? "none" : request.preprocessing},
      {"cpu_features", cpu_features()},
  };
}

std::string plan_key(const KeyInputs& inputs) {
  engine::Sha256 hash;
  for (const auto& [name, value] : inputs) {
    // Lengths keep "a=b" + "c" and "a" + "b=c" apart.
    hash.add(fmt::format("{}:{}={}:{}\n", name.size(), name, value.size(), value));
  }
  return hash.finish();
}

PlanCache::PlanCache(fs::path folder, Builder builder)
    : folder_(folder.empty() ? default_folder() : std::move(folder)),
      builder_(std::move(builder)) {}

fs::path PlanCache::default_folder() {
  if (const auto given = environment("FOVEA_CACHE_DIR"); !given.empty()) return given;
  // The XDG specification ignores relative paths.
  if (const fs::path xdg = environment("XDG_CACHE_HOME"); xdg.is_absolute()) return xdg / "fovea";
  if (const fs::path home = environment("HOME"); home.is_absolute())
    return home / ".cache" / "fovea";
  return fmt::format("/tmp/fovea-cache-{}", ::getuid());
}

fs::path PlanCache::path(const std::string& key, const char* suffix) const {
  return folder_ / (key + suffix);
}

Result<CacheEntry> PlanCache::read_entry(const fs::path& manifest) const {
  FOVEA_ASSIGN(const auto bytes, engine::read_file(manifest.string()));
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  const Json json = Json::parse(text, text + bytes.size(), nullptr, /*allow_exceptions=*/false);
  CacheEntry entry;
  try {
    entry.key = json.at("key").get<std::string>();
    entry.model = json.at("model_path").get<std::string>();
    for (const auto& [name, value] : json.at("inputs").items()) {
      entry.inputs.emplace_back(name, value.get<std::string>());
    }
    entry.bytes = json.at("plan_bytes").get<std::uint64_t>();
    entry.build_seconds = json.at("build_seconds").get<double>();
  } catch (const Json::exception&) {
    return fail(ErrorCode::kCorrupt, manifest.string() + ": not a manifest of the plan cache");
  }
  if (entry.key + ".json" != manifest.filename() || plan_key(entry.inputs) != entry.key) {
    return fail(ErrorCode::kCorrupt, manifest.string() + ": its inputs do not make its key");
  }
  return entry;
}

Result<engine::Plan> PlanCache::find(const std::string& key, const KeyInputs& inputs) const {
  FOVEA_ASSIGN(const CacheEntry entry, read_entry(path(key, ".json")));
  if (entry.inputs != inputs) return fail(ErrorCode::kCorrupt, "the manifest lists other inputs");
  auto plan = engine::read_plan(path(key, ".plan").string());
  if (!plan && plan.error().code == ErrorCode::kNotFound) {
    return fail(ErrorCode::kCorrupt,
                plan.error().message);  // there is a manifest, so it ought to be there
  }
  if (!plan) return plan;
  if (plan->model_hash != *find_input(inputs, "model") ||
      plan->provider != *find_input(inputs, "provider")) {
    return fail(ErrorCode::kCorrupt, "the plan was built from another model");
  }
  return plan;
}

std::vector<CacheEntry> PlanCache::list() const {
  std::vector<CacheEntry> entries;
  std::error_code error;
  for (const auto& file : fs::directory_iterator(folder_, error)) {
    if (file.path().extension() != ".json") continue;
    if (auto entry = read_entry(file.path())) entries.push_back(std::move(*entry));
  }
  std::sort(entries.begin(), entries.end(), [](const CacheEntry& a, const CacheEntry& b) {
    return std::tie(a.model, a.key) < std::tie(b.model, b.key);
  });
  return entries;
}

std::string PlanCache::why_missing(const PlanRequest& request, const KeyInputs& inputs,
                                   const Error& error) const {
  if (error.code != ErrorCode::kNotFound) return "cached plan is unusable: " + error.message;
  const std::string model = absolute_path(request.model);
  std::optional<std::pair<std::size_t, std::string>> nearest;
  for (const CacheEntry& entry : list()) {
    if (entry.model != model) continue;
    auto difference = differences(entry.inputs, inputs);
    if (!nearest || difference.first < nearest->first) nearest = std::move(difference);
  }
  return nearest ? nearest->second : "no plan of this model yet";
}

Result<CacheStatus> PlanCache::status(const PlanRequest& request) const {
  CacheStatus status;
  FOVEA_ASSIGN(status.inputs, key_inputs(request));
  status.key = plan_key(status.inputs);
  const auto plan = find(status.key, status.inputs);
  status.cached = plan.has_value();
  if (!plan) status.reason = why_missing(request, status.inputs, plan.error());
  return status;
}

Result<> PlanCache::store(const CachedPlan& built, const PlanRequest& request,
                          const KeyInputs& inputs) const {
  if (built.plan.model_hash != *find_input(inputs, "model")) {
    return fail(ErrorCode::kUnavailable, "the model changed while it was being built");
  }
  remove_leftovers(folder_, built.key);
  const auto bytes = engine::serialize(built.plan);
  for (const char* suffix :
       {".plan", ".json"}) {  // a folder in the way would make rename fail for ever
    std::error_code error;
    if (fs::is_directory(path(built.key, suffix), error))
      fs::remove_all(path(built.key, suffix), error);
  }
  FOVEA_TRY(engine::write_file_atomically(path(built.key, ".plan").string(), bytes));
  Json manifest = {{"key", built.key},
                   {"model_path", absolute_path(request.model)},
                   {"inputs", Json::object()},
                   {"plan_bytes", bytes.size()},
                   {"build_seconds", built.seconds}};
  for (const auto& [name, value] : inputs) manifest["inputs"][name] = value;
  const std::string text = manifest.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  return engine::write_file_atomically(path(built.key, ".json").string(),
                                       std::as_bytes(std::span(text)));
}

Result<CachedPlan> PlanCache::get_or_build(const PlanRequest& request,
                                           const engine::Progress& progress) const {
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  FOVEA_ASSIGN(const KeyInputs inputs, key_inputs(request));
  CachedPlan result;
  result.key = plan_key(inputs);

  const auto look_up = [&] {
    auto plan = find(result.key, inputs);
    if (plan) {
      result.plan = std::move(*plan);
      result.hit = true;
      result.reason.clear();
      result.seconds = elapsed();
    } else {
      result.reason = why_missing(request, inputs, plan.error());
    }
    return result.hit;
  };
  if (look_up()) return result;

  std::error_code error;
  fs::create_directories(folder_, error);  // if that fails, the lock says why
  const auto lock = KeyLock::acquire(path(result.key, ".lock"));
  if (lock && look_up()) return result;  // another process was faster

  FOVEA_ASSIGN(result.plan, builder_(request.model, request.config, progress));
  result.seconds = elapsed();
  const Result<> stored = lock ? store(result, request, inputs) : fail(lock.error());
  if (!stored) result.warning = "the plan is not cached: " + stored.error().message;
  return result;
}

}  // namespace fovea
