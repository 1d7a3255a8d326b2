#include "nodes/detector/engine/onnxruntime/library.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/base/text.hpp"

namespace fovea::engine::onnxruntime {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kName = "libonnxruntime.so";
constexpr std::size_t kMostShown = 200;

// libonnxruntime.so, or with a version behind it; its providers' libraries are none.
bool is_library_name(std::string_view name) {
  return name == kName || (name.starts_with(kName) && name[kName.size()] == '.');
}

// The newest by name, so that a folder with several versions gives the same one each time.
fs::path library_in(const fs::path& folder) {
  fs::path found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (is_library_name(name)) found = std::max(found, entry->path());
  }
  return found;
}

// The folders below `root` that may hold it, nearest first.
std::vector<fs::path> places_below(const fs::path& root) {
  const fs::path package = fs::path("onnxruntime") / "capi";
  std::vector<fs::path> places = {root, root / "lib", root / "lib64", root / "capi",
                                  root / package};
  std::vector<fs::path> pythons;
  std::error_code error;
  for (fs::directory_iterator entry(root / "lib", error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().filename().string().starts_with("python")) {
      pythons.push_back(entry->path() / "site-packages" / package);
    }
  }
  std::sort(pythons.begin(), pythons.end());
  places.insert(places.end(), pythons.begin(), pythons.end());
  return places;
}

// What to hand to the loader. Errors: kUnavailable.
Result<std::vector<std::string>> candidates(const std::string& root) {
  if (root.empty()) return std::vector<std::string>{"libonnxruntime.so.1", std::string(kName)};
  std::error_code error;
  if (fs::is_regular_file(root, error)) return std::vector<std::string>{root};
  if (!fs::is_directory(root, error)) {
    return fail(
        ErrorCode::kUnavailable,
        fmt::format("{}={}: neither a file nor a folder; it must name {} or a folder with it",
                    kRootVariable, shown(root, kMostShown), kName));
  }
  std::vector<std::string> looked_at;
  for (const fs::path& place : places_below(root)) {
    if (const fs::path file = library_in(place); !file.empty()) {
      return std::vector<std::string>{file.string()};
    }
    looked_at.push_back(shown(place.string(), kMostShown));
  }
  return fail(ErrorCode::kUnavailable,
              fmt::format("{}: no {} in {}", kRootVariable, kName, fmt::join(looked_at, ", ")));
}

Result<std::vector<std::string>> providers_of(const Library& library) {
  char** names = nullptr;
  int count = 0;
  FOVEA_TRY(check(library, library.api.available_providers(&names, &count), "its providers"));
  std::vector<std::string> providers(names, names + count);
  FOVEA_TRY(check(library, library.api.release_providers(names, count), "its providers"));
  return providers;
}

Result<std::unique_ptr<const Library>> open(const std::string& root) {
  FOVEA_ASSIGN(const std::vector<std::string> paths, candidates(root));
  void* handle = nullptr;
  std::string path;
  std::vector<std::string> reasons;
  for (const std::string& candidate : paths) {
    handle = ::dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
    path = candidate;
    if (handle != nullptr) break;
    const char* reason = ::dlerror();
    reasons.push_back(one_line(reason != nullptr ? reason : candidate));
  }
  if (handle == nullptr) {
    const std::string hint =
        root.empty() ? fmt::format("; {} may name it or a folder with it", kRootVariable) : "";
    return fail(ErrorCode::kUnavailable,
                fmt::format("ONNX Runtime cannot be loaded: {}{}", fmt::join(reasons, "; "), hint));
  }
  const std::string place = shown(path, kMostShown);
  void* symbol = ::dlsym(handle, "OrtGetApiBase");
  if (symbol == nullptr) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: it has no function OrtGetApiBase; it is no ONNX Runtime", place));
  }
  const ApiBase* base = reinterpret_cast<const ApiBase* (*)()>(symbol)();
  if (base == nullptr || base->table == nullptr || base->version == nullptr) {
    return fail(ErrorCode::kUnsupported, fmt::format("{}: it offers no interface", place));
  }
  std::string version = one_line(base->version());
  const void* const* table = base->table(kApiVersion);
  if (table == nullptr) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: ONNX Runtime {} is too old; it must be 1.{} or newer", place,
                            version, kApiVersion));
  }
  auto library =
      std::make_unique<Library>(Library{path, std::move(version), Api(table), nullptr, {}});
  FOVEA_TRY(check(*library, library->api.create_environment(kFatal, "fovea", &library->environment),
                  place));
  FOVEA_ASSIGN(library->execution_providers, providers_of(*library));
  return library;
}

}  // namespace

Result<> check(const Library& library, Status* status, std::string_view what) {
  if (status == nullptr) return {};
  std::string message = fmt::format("{}: ONNX Runtime {}: {}", what, library.version,
                                    one_line(library.api.message(status)));
  library.api.release_status(status);
  return fail(ErrorCode::kUnsupported, std::move(message));
}

Result<const Library*> find_library(const std::string& root) {
  static std::mutex mutex;
  // Never destroyed: its threads may outlive main().
  static auto& known = *new std::map<std::string, std::unique_ptr<const Library>>;
  const std::lock_guard lock(mutex);
  std::unique_ptr<const Library>& library = known[root];
  if (library == nullptr) {
    FOVEA_ASSIGN(library, open(root));
  }
  return library.get();
}

Result<const Library*> find_library() {
  const char* root = std::getenv(kRootVariable);
  return find_library(root != nullptr ? root : "");
}

}  // namespace fovea::engine::onnxruntime
