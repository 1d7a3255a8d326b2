// Order matters: the manifest is written after the plan, so that an entry without a manifest is an
// unfinished one; both are written while the key's lock is held.
#include "nodes/detector/cache/plan_cache.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <optional>
#include <set>
#include <system_error>
#include <thread>
#include <tuple>

#include <fcntl.h>
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nodes/base/file_io.hpp"
#include "nodes/base/json.hpp"
#include "nodes/base/trusted_folder.hpp"
#include "nodes/detector/cache/cpu_features.hpp"
#include "nodes/detector/engine/plan/model_hash.hpp"
#include "nodes/detector/engine/plan/sha256.hpp"
#include "nodes/detector/engine/profile.hpp"
#include "nodes/detector/engine/provider.hpp"

namespace fovea {

namespace {

namespace fs = std::filesystem;

// Exclusive for the life of the object; the kernel drops it if the process dies. The lock belongs
// to the open file, so threads of one process exclude each other too.
class KeyLock {
 public:
  // While another one holds it, asks `wait` ten times a second. Errors: kUnavailable once that says no.
  static Result<KeyLock> acquire(const fs::path& file, const std::function<bool()>& wait) {
    FOVEA_ASSIGN(KeyLock lock, open(file));
    while (!lock.take()) {
      if (errno != EWOULDBLOCK && errno != EINTR) {
        return fail_errno(ErrorCode::kInternal, "lock " + file.string());
      }
      if (!wait()) return fail(ErrorCode::kUnavailable, "interrupted");
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return lock;
  }
  // Errors: kInternal at once if another one holds it.
  static Result<KeyLock> try_acquire(const fs::path& file) {
    FOVEA_ASSIGN(KeyLock lock, open(file));
    if (!lock.take()) return fail_errno(ErrorCode::kInternal, "lock " + file.string());
    return lock;
  }
  KeyLock(KeyLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  KeyLock& operator=(KeyLock&&) = delete;
  ~KeyLock() {
    if (fd_ >= 0) ::close(fd_);
  }

 private:
  explicit KeyLock(int fd) : fd_(fd) {}
  bool take() const { return ::flock(fd_, LOCK_EX | LOCK_NB) == 0; }
  static Result<KeyLock> open(const fs::path& file) {
    KeyLock lock(::open(file.c_str(),
                        O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600));
    struct stat status {};
    if (lock.fd_ < 0 || ::fstat(lock.fd_, &status) != 0)
      return fail_errno(ErrorCode::kInternal, "open " + file.string());
    if (!S_ISREG(status.st_mode) || (status.st_uid != ::geteuid() && status.st_uid != 0)) {
      return fail(ErrorCode::kInternal,  // who owns it might hold it for ever
                  fmt::format("{} belongs to user {}; it must be a file of user {} or root",
                              file.string(), status.st_uid, ::geteuid()));
    }
    return lock;
  }
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

bool is_key(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// Whose file it is, "KEY.plan", "KEY.json" and ".KEY.plan.tmp.AbCdEf" of a writer; empty if none's.
std::string key_of(const fs::path& file) {
  const std::string name = file.filename().string();
  const std::size_t start = name.starts_with('.') ? 1 : 0;
  const std::string key = name.substr(start, name.find('.', start) - start);
  return is_key(key) ? key : "";
}

bool is_temporary(const fs::path& file) {
  return file.filename().native().find(".tmp.") != std::string::npos;
}

// What a killed writer left behind; REQUIRES: the key's lock.
void remove_leftovers_of(const fs::path& folder, const std::string& key) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (is_temporary(entry.path()) && key_of(entry.path()) == key) fs::remove(entry.path(), error);
  }
}

// `file`, or nothing where another user or a link stands in its place: it is opened by name.
fs::path own_file(const fs::path& file) {
  struct stat status {};
  const bool absent = ::lstat(file.c_str(), &status) != 0;
  const bool ours = status.st_uid == ::geteuid() || status.st_uid == 0;
  return absent || (ours && !S_ISLNK(status.st_mode)) ? file : fs::path();
}

Result<engine::Plan> read_plan_file(const fs::path& file) {
  FOVEA_ASSIGN(auto bytes, read_trusted_file(file));
  auto plan = engine::deserialize(std::make_shared<const std::vector<std::byte>>(std::move(bytes)));
  if (!plan) return fail(plan.error().with_context(file.string()));
  return plan;
}

constexpr std::string_view kElsewhere =
    "FOVEA_CACHE_DIR, the parameter cache_dir and --cache-dir name another folder";

// "2", or "the fastest of 4, 8, 16".
std::string threads_of(const engine::BuilderConfig& config) {
  const std::vector<std::int32_t>& counts = config.tuning.thread_counts;
  if (config.tuning.level == 0 || counts.size() < 2) return std::to_string(config.threads);
  return fmt::format("the fastest of {}", fmt::join(counts, ", "));
}

// What the user says in place of the model's own.
std::string metadata_text(const std::map<std::string, std::string>& metadata) {
  std::string text;
  for (const auto& [key, value] : metadata) {
    text += fmt::format("{}{} {}", text.empty() ? "" : "; ", key, value);
  }
  return text;
}

}  // namespace

Result<KeyInputs> key_inputs(const PlanRequest& request) {
  FOVEA_ASSIGN(std::string model_hash, engine::hash_model(request.model));
  const engine::BuilderConfig& config = request.config;
  FOVEA_TRY(engine::first_provider(config.provider));
  return KeyInputs{
      {"model", std::move(model_hash)},
      {"provider", config.provider},
      {"provider_version", engine::identity_of(config.provider)},
      {"engine_version", fmt::format("{} plan {}", FOVEA_VERSION, engine::kPlanVersion)},
      {"precision", std::string(request.best ? kBestPrecision : to_string(config.precision))},
      {"calibration", config.calibration ? engine::hash_of(*config.calibration) : "none"},
      {"quantization", config.calibration ? engine::to_string(config.quantization) : "none"},
      {"accuracy", request.accuracy.empty() ? "none" : request.accuracy},
      {"max_batch", std::to_string(config.max_batch)},
      {"threads", threads_of(config)},
      {"keep_output0", config.keep_output0 ? "true" : "false"},
      {"head", config.head},
      {"picture", to_string(config.picture)},
      {"metadata", config.metadata.empty() ? "the model's" : metadata_text(config.metadata)},
      {"adopt_quantization", config.adopt_quantization ? "true" : "false"},
      {"input_size", fmt::format("{}x{}", config.input_width, config.input_height)},
      {"profile", config.profile.empty() ? "none" : engine::to_string(config.profile)},
      {"preprocessing", request.preprocessing.empty() ? "none" : request.preprocessing},
      {"cpu_features", cpu_features()},
      {"tuning", fmt::format("level {}", config.tuning.level)},
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
    : folder_(folder.empty() ? default_folder() : std::move(folder)), builder_(std::move(builder)) {
  const auto trusted = check_trusted_folder(folder_);
  if (trusted || trusted.error().code != ErrorCode::kInvalidArgument) return;
  is_used_ = false;
  refusal_ = fmt::format("the cache is not used: {}; {}", trusted.error().message, kElsewhere);
}

PlanCache PlanCache::none(Builder builder) {
  PlanCache cache({}, std::move(builder));
  cache.is_used_ = false;
  cache.refusal_.clear();
  return cache;
}

fs::path PlanCache::timing_cache() const {
  return is_used_ ? own_file(folder_ / "timing_cache.json") : fs::path();
}

fs::path PlanCache::calibration_table(const std::string& key) const {
  const fs::path folder = folder_ / "calibration";
  const auto trusted = check_trusted_folder(folder);
  const bool good = trusted || trusted.error().code != ErrorCode::kInvalidArgument;
  return is_used_ && good ? own_file(folder / (key + ".json")) : fs::path();
}

fs::path PlanCache::default_folder() {
  if (const auto given = environment("FOVEA_CACHE_DIR"); !given.empty()) return given;
  // The XDG specification ignores relative paths.
  if (const fs::path xdg = environment("XDG_CACHE_HOME"); xdg.is_absolute()) return xdg / "fovea";
  if (const fs::path home = environment("HOME"); home.is_absolute())
    return home / ".cache" / "fovea";
  return fmt::format("/tmp/fovea-cache-{}", ::geteuid());
}

fs::path PlanCache::path(const std::string& key, const char* suffix) const {
  return folder_ / (key + suffix);
}

Result<CacheEntry> PlanCache::read_entry(const fs::path& manifest) const {
  FOVEA_ASSIGN(const auto bytes, read_trusted_file(manifest, kMaxTextBytes));
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  const Json json = parse_json({text, bytes.size()});
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
  std::error_code error;
  entry.last_used = fs::last_write_time(path(entry.key, ".plan"), error);
  return entry;
}

Result<engine::Plan> PlanCache::find(const std::string& key, const KeyInputs& inputs) const {
  if (!is_used_) return fail(ErrorCode::kNotFound, "the cache is not used");
  const auto entry = read_entry(path(key, ".json"));
  if (!entry) {
    std::error_code error;
    if (entry.error().code == ErrorCode::kNotFound &&
        (fs::exists(path(key, ".json"), error) || fs::exists(path(key, ".plan"), error))) {
      return fail(ErrorCode::kCorrupt, "unfinished: " + entry.error().message);
    }
    return fail(entry.error());
  }
  if (entry->inputs != inputs || entry->key != key) {
    const std::string text = differences(entry->inputs, inputs).second;
    return fail(ErrorCode::kCorrupt,
                "it was built for another key: " + (text.empty() ? shortened(entry->key) : text));
  }
  auto plan = read_plan_file(path(key, ".plan"));
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
    auto entry = read_entry(file.path());
    if (entry && entry->key + ".json" == file.path().filename() &&
        plan_key(entry->inputs) == entry->key) {
      entries.push_back(std::move(*entry));
    }
  }
  std::sort(entries.begin(), entries.end(), [](const CacheEntry& a, const CacheEntry& b) {
    return std::tie(a.model, a.key) < std::tie(b.model, b.key);
  });
  return entries;
}

std::string PlanCache::why_missing(const PlanRequest& request, const KeyInputs& inputs,
                                   const Error& error) const {
  if (error.code != ErrorCode::kNotFound) return "cached plan is unusable: " + error.message;
  if (!is_used_) return refusal_.empty() ? "the cache is not used" : refusal_;
  const std::string model = absolute_path(request.model);
  std::optional<std::pair<std::size_t, std::string>> nearest;
  for (const CacheEntry& entry : list()) {
    if (entry.model != model) continue;
    // The fp32 plan that calibration uses is never served, so it is nobody's predecessor.
    const std::string* material = find_input(entry.inputs, "adopt_quantization");
    if (material != nullptr && *material != *find_input(inputs, "adopt_quantization")) continue;
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
  if (!plan) {
    status.damaged = plan.error().code != ErrorCode::kNotFound;
    status.reason = why_missing(request, status.inputs, plan.error());
  }
  return status;
}

Result<> PlanCache::store(CachedPlan& built, const PlanRequest& request,
                          const KeyInputs& inputs) const {
  if (built.plan.model_hash != *find_input(inputs, "model")) {
    return fail(ErrorCode::kUnavailable, "the model changed while it was being built");
  }
  remove_leftovers_of(folder_, built.key);
  const auto bytes = engine::serialize(built.plan);
  for (const char* suffix :
       {".plan", ".json"}) {  // a folder in the way would make rename fail for ever
    std::error_code error;
    if (fs::is_directory(path(built.key, suffix), error))
      fs::remove_all(path(built.key, suffix), error);
  }
  FOVEA_TRY(write_trusted_file(path(built.key, ".plan"), bytes));
  Json manifest = {{"key", built.key},
                   {"model_path", absolute_path(request.model)},
                   {"inputs", Json::object()},
                   {"plan_bytes", bytes.size()},
                   {"build_seconds", built.seconds}};
  for (const auto& [name, value] : inputs) manifest["inputs"][name] = value;
  const std::string text = manifest.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  FOVEA_TRY(write_trusted_file(path(built.key, ".json"), std::as_bytes(std::span(text))));
  built.kept = true;
  return {};
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

  const auto keep_going = [&going = request.config.tuning.keep_going] { return !going || going(); };
  const auto look_up = [&] {
    auto plan = find(result.key, inputs);
    if (plan) {
      result.plan = std::move(*plan);
      result.hit = result.kept = true;
      result.damaged = false;
      result.reason.clear();
      // What prune() goes by; not possible in a cache of somebody else's, which is theirs to prune.
      ::utimensat(AT_FDCWD, path(result.key, ".plan").c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
      result.seconds = elapsed();
    } else {
      result.damaged = plan.error().code != ErrorCode::kNotFound;
      result.reason = why_missing(request, inputs, plan.error());
    }
    return result.hit;
  };
  if (look_up()) return result;

  const auto lock = [&]() -> Result<KeyLock> {
    if (!is_used_) return fail(ErrorCode::kUnavailable, "");
    FOVEA_TRY(make_folders(folder_));
    return KeyLock::acquire(path(result.key, ".lock"), [&] {
      if (progress) progress("wait for another build", 0);
      return keep_going();
    });
  }();
  if (!keep_going()) return fail(ErrorCode::kUnavailable, "interrupted");
  if (lock && look_up()) return result;  // another process was faster

  FOVEA_ASSIGN(result.plan, builder_(request.model, request.config, progress));
  result.seconds = elapsed();
  if (!is_used_) {
    result.warning = refusal_;
    return result;
  }
  if (const Result<> stored = lock ? store(result, request, inputs) : fail(lock.error()); !stored) {
    result.warning = fmt::format("the plan is not cached in {}: {}; {}", folder_.string(),
                                 stored.error().message, kElsewhere);
  }
  return result;
}

Result<PruneReport> PlanCache::prune(std::uint64_t max_bytes, bool dry_run) const {
  PruneReport report;
  if (!is_used_) return fail(ErrorCode::kInvalidArgument, refusal_);
  std::error_code error;
  if (!fs::exists(folder_, error) && !error) return report;
  std::vector<CacheEntry> entries = list();
  std::sort(entries.begin(), entries.end(),
            [](const CacheEntry& a, const CacheEntry& b) { return a.last_used > b.last_used; });
  std::set<std::string> keep;
  for (CacheEntry& entry : entries) {
    if (report.kept_bytes + entry.bytes <= max_bytes) {
      report.kept_bytes += entry.bytes;
      ++report.kept;
      keep.insert(entry.key);
    } else {
      report.removed.push_back(std::move(entry));
    }
  }
  // Everything of ours whose key is not kept; leftovers of killed writers also for kept ones. Locks
  // stay: a file that is unlinked while someone waits for it no longer excludes anyone.
  std::set<fs::path> doomed;
  fs::directory_iterator files(folder_, error);
  if (error) return fail(ErrorCode::kInternal, folder_.string() + ": " + error.message());
  for (const auto& file : files) {
    const bool leftover = is_temporary(file.path());
    const std::string suffix = leftover ? "" : file.path().extension().string();
    if (key_of(file.path()).empty()) continue;
    if (leftover ||
        ((suffix == ".plan" || suffix == ".json") && !keep.contains(file.path().stem())))
      doomed.insert(file.path());
  }
  // Manifests sort before plans, and an entry without a manifest is an unfinished one.
  for (const fs::path& file : doomed) {
    const std::string key = key_of(file);
    const auto lock = dry_run ? Result<KeyLock>(fail(ErrorCode::kUnavailable, ""))
                              : KeyLock::try_acquire(path(key, ".lock"));
    if (!dry_run && !lock) {
      report.busy.insert(key);
      continue;
    }
    struct stat status {};
    if (::stat(file.c_str(), &status) == 0)
      report.freed_bytes += static_cast<std::uint64_t>(status.st_size);
    ++report.files;
    if (!dry_run) fs::remove_all(file, error);
    if (!dry_run && error)
      return fail(ErrorCode::kInternal, file.string() + ": " + error.message());
  }
  const auto clear = [&](const Leftovers& left) {
    report.files += left.files;
    report.freed_bytes += left.bytes;
  };
  clear(remove_leftovers(folder_, "timing_cache.json", dry_run));
  if (check_trusted_folder(folder_ / "calibration"))
    clear(remove_leftovers(folder_ / "calibration", "", dry_run));
  return report;
}

}  // namespace fovea
